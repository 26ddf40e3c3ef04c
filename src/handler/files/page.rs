//! A listing as HTML without scripts, for screens of any width, in light and dark mode.

use std::fmt::Write;

use super::listing::{
    Column, DirectoryEntry, ENTRIES_MAX, Listing, Order, show_number, show_size, show_time,
};
use crate::handler::root::FileKind;
use crate::http::page::{self, escape, show_bytes};
use crate::http::path;

const STYLE: &str = include_str!("page.css");

/// Renders the listing of the directory at the decoded `path`. `rest`: what follows the route's path in it, since what is
/// above that is not of the same files.
pub(crate) fn render(path: &[u8], rest: &[u8], listing: &Listing, order: Order) -> String {
    let mut page = page::begin(&format!("Index of {}", show_bytes(path)), STYLE);
    page.reserve(256 * listing.entries.len());
    push_heading(&mut page, path, rest);
    if listing.is_cut {
        let most = show_number(ENTRIES_MAX as u64);
        push(
            &mut page,
            format_args!(
                "<p>This directory has more than {most} entries. Only {most} of them were read.</p>\n"
            ),
        );
    }
    if listing.entries.is_empty() {
        page.push_str("<p>No entries.</p>\n");
    } else {
        push_table(&mut page, listing, order, !rest.is_empty());
    }
    page.push_str(page::END);
    page
}

/// The path, with links to the directories above, up to that of the route.
fn push_heading(page: &mut String, path: &[u8], rest: &[u8]) {
    let linked = rest.iter().filter(|&&byte| byte == b'/').count();
    let segments: Vec<_> = path.split_inclusive(|&byte| byte == b'/').collect();
    page.push_str("<nav aria-label=\"Path\">\n<h1>Index of ");
    for (index, segment) in segments.iter().enumerate() {
        let name = show_bytes(segment.strip_suffix(b"/").unwrap_or(segment));
        let name = if name.is_empty() { name } else { format!("<bdi>{name}</bdi>") };
        match segments.len() - 1 - index {
            0 => push(page, format_args!("<span aria-current=\"page\">{name}/</span>")),
            up if up <= linked => push(page, format_args!("<a href=\"{}\">{name}/</a>", "../".repeat(up))),
            _ => push(page, format_args!("{name}/")),
        }
    }
    page.push_str("</h1>\n</nav>\n");
}

/// Appends formatted text, which cannot fail for a `String`.
fn push(page: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = page.write_fmt(text);
}

fn push_table(page: &mut String, listing: &Listing, order: Order, has_parent: bool) {
    let directories =
        listing.entries.iter().filter(|entry| entry.metadata.kind == FileKind::Directory).count();
    let files = listing.entries.len() - directories;
    let plural = |count: usize, one, many| {
        format!("{} {}", show_number(count as u64), if count == 1 { one } else { many })
    };
    let (directories, files) =
        (plural(directories, "directory", "directories"), plural(files, "file", "files"));
    push(page, format_args!("<table>\n<caption>{directories}, {files}</caption>\n<thead>\n<tr>"));
    for column in Column::ALL {
        let heading = match column {
            Column::Name => "Name",
            Column::Size => "Size",
            Column::Modified => "Modified <abbr title=\"Coordinated Universal Time\">UTC</abbr>",
        };
        let (mut next, mut sorted) = (Order::usual(column), "");
        if column == order.column {
            next = order.reverse();
            let words = [" aria-sort=\"ascending\"", " aria-sort=\"descending\""];
            sorted = words[usize::from(order.is_descending)];
        }
        let (name, direction) = (column.name(), next.direction());
        push(
            page,
            format_args!(
                "<th scope=\"col\"{sorted}><a href=\"?sort={name}&amp;order={direction}\">{heading}</a></th>"
            ),
        );
    }
    page.push_str("</tr>\n</thead>\n<tbody>\n");
    if has_parent {
        page.push_str(
            "<tr><th scope=\"row\"><a href=\"../\">Parent directory</a></th><td></td><td></td></tr>\n",
        );
    }
    for entry in &listing.entries {
        push_row(page, entry);
    }
    page.push_str("</tbody>\n</table>\n");
}

fn push_row(page: &mut String, entry: &DirectoryEntry) {
    let slash = if entry.metadata.kind == FileKind::Directory { "/" } else { "" };
    // After `./`, no name is taken for a scheme, a host or a query.
    let link = escape(&path::encode(&entry.name));
    let name = show_bytes(&entry.name);
    push(
        page,
        format_args!("<tr><th scope=\"row\"><a href=\"./{link}{slash}\"><bdi>{name}</bdi>{slash}</a></th>"),
    );
    match entry.metadata.kind {
        FileKind::Directory => page.push_str("<td></td>"),
        FileKind::File => {
            let (size, exact) = (show_size(entry.metadata.size), show_number(entry.metadata.size));
            push(page, format_args!("<td><span title=\"{exact} bytes\">{size}</span></td>"));
        }
    }
    let time = show_time(entry.metadata.seconds);
    let (date, clock) = (&time[..10], &time[11..16]);
    push(page, format_args!("<td><time datetime=\"{time}\">{date} <span>{clock}</span></time></td></tr>\n"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handler::root::Metadata;

    fn render_names(path: &[u8], names: &[&[u8]]) -> String {
        let metadata = Metadata {
            kind: FileKind::File,
            size: 1536,
            device: 1,
            inode: 1,
            seconds: 784_111_777,
            nanoseconds: 0,
        };
        let entries = names.iter().map(|name| DirectoryEntry { name: name.to_vec(), metadata }).collect();
        render(path, b"", &Listing { entries, is_cut: false }, Order::usual(Column::Name))
    }

    #[test]
    fn any_name_becomes_a_link() {
        for (name, link, text) in [
            (&b"a b.txt"[..], "./a%20b.txt", "a b.txt"),
            (b"javascript:alert(1)", "./javascript:alert(1)", "javascript:alert(1)"),
            (b"<b>&amp;\"'", "./%3Cb%3E&amp;amp;%22&#39;", "&lt;b&gt;&amp;amp;&quot;&#39;"),
            (b"100%?#", "./100%25%3F%23", "100%?#"),
            (b"new\nline\x7f\x1b", "./new%0Aline%7F%1B", "new\u{fffd}line\u{fffd}\u{fffd}"),
            (b"\xff\xc3\xa9", "./%FF%C3%A9", "\u{fffd}\u{e9}"),
            ("\u{202e}gpj.exe".as_bytes(), "./%E2%80%AEgpj.exe", "\u{fffd}gpj.exe"),
            (b"back\\slash", "./back%5Cslash", "back\\slash"),
        ] {
            let page = render_names(b"/", &[name]);
            let expected = format!("<a href=\"{link}\"><bdi>{text}</bdi></a>");
            assert!(page.contains(&expected), "{expected}\n{page}");
        }
    }

    #[test]
    fn every_byte_of_a_name_comes_back_from_its_link() {
        let every: Vec<u8> = (1..=255).filter(|&byte| byte != b'/').collect();
        let page = render_names(b"/", &[&every]);
        let (_, rest) = page.split_once("<a href=\"./").unwrap();
        let (link, _) = rest.split_once('"').unwrap();
        let link = link.replace("&#39;", "'").replace("&amp;", "&");
        assert_eq!(&*path::DecodedPath::new(&link).unwrap(), every);
        assert!(!page.bytes().any(|byte| byte < b' ' && byte != b'\n'));
    }

    #[test]
    fn paths_are_escaped_and_sizes_are_exact() {
        let page = render_names(b"/<i>/", &[b"a"]);
        assert_eq!(page.matches("&lt;i&gt;").count(), 2);
        assert!(!page.contains("<i>"));
        assert!(page.contains("<td><span title=\"1,536 bytes\">1.5 KiB</span></td>"), "{page}");
        assert!(
            page.contains("<time datetime=\"1994-11-06T08:49:37Z\">1994-11-06 <span>08:49</span></time>")
        );
        assert!(page.contains("<caption>0 directories, 1 file</caption>"), "{page}");
    }

    #[test]
    fn path_links_to_the_directories_of_the_route() {
        let listing = Listing { entries: Vec::new(), is_cut: false };
        for (path, rest, expected) in [
            ("/", "", "<span aria-current=\"page\">/</span>"),
            ("/a/", "a/", "<a href=\"../\">/</a><span aria-current=\"page\"><bdi>a</bdi>/</span>"),
            ("/a/", "", "/<span aria-current=\"page\"><bdi>a</bdi>/</span>"),
            (
                "/top/<b>/c/",
                "<b>/c/",
                "/<a href=\"../../\"><bdi>top</bdi>/</a><a href=\"../\"><bdi>&lt;b&gt;</bdi>/</a>\
                 <span aria-current=\"page\"><bdi>c</bdi>/</span>",
            ),
        ] {
            let page = render(path.as_bytes(), rest.as_bytes(), &listing, Order::usual(Column::Name));
            assert!(page.contains(&format!("<h1>Index of {expected}</h1>")), "{path}\n{page}");
        }
    }

    #[test]
    fn headings_link_to_the_orders() {
        let metadata =
            Metadata { kind: FileKind::File, size: 1, device: 1, inode: 1, seconds: 0, nanoseconds: 0 };
        let entries = vec![DirectoryEntry { name: b"a".into(), metadata }];
        let listing = Listing { entries, is_cut: false };
        for (query, column, directions) in [
            ("", 0, ["desc", "desc", "desc"]),
            ("order=desc", 0, ["asc", "desc", "desc"]),
            ("sort=size", 1, ["asc", "asc", "desc"]),
            ("sort=modified&order=asc", 2, ["asc", "desc", "desc"]),
        ] {
            let order = Order::from_query(Some(query));
            let page = render(b"/", b"", &listing, order);
            let words = if order.is_descending { "descending" } else { "ascending" };
            for (index, (own, direction)) in Column::ALL.into_iter().zip(directions).enumerate() {
                let sorted = if index == column { format!(" aria-sort=\"{words}\"") } else { String::new() };
                let name = own.name();
                let link =
                    format!("<th scope=\"col\"{sorted}><a href=\"?sort={name}&amp;order={direction}\">");
                assert!(page.contains(&link), "{query} {link}\n{page}");
            }
        }
    }

    #[test]
    fn empty_and_cut_listings_have_a_note() {
        let mut listing = Listing { entries: Vec::new(), is_cut: false };
        let page = render(b"/a/", b"a/", &listing, Order::usual(Column::Name));
        assert!(page.contains("No entries") && !page.contains("<table"), "{page}");
        assert!(page.contains("<a href=\"../\">") && !page.contains("10,000"), "{page}");
        listing.is_cut = true;
        let page = render(b"/", b"", &listing, Order::usual(Column::Name));
        assert!(page.contains("more than 10,000 entries") && !page.contains("../"), "{page}");
    }
}
