//! The entries of a directory, up to a limit: those that the handler serves.

use std::cmp::Ordering;
use std::time::{Duration, SystemTime};

use nix::dir::{Dir, Type};
use nix::fcntl::AtFlags;
use nix::sys::stat::fstatat;

use super::natural;
use crate::handler::root::{FileKind, LookupError, Metadata, OpenFile, Root, is_hidden};
use crate::http::date::LAST_SECOND;

/// Names that are read of one directory, at most.
pub(crate) const ENTRIES_MAX: usize = 10_000;

/// A file or directory in a listing.
#[derive(Debug)]
pub(crate) struct DirectoryEntry {
    /// Any bytes but NUL and `/`.
    pub(crate) name: Vec<u8>,
    pub(crate) metadata: Metadata,
}

/// A directory's entries.
#[derive(Debug)]
pub(crate) struct Listing {
    pub(crate) entries: Vec<DirectoryEntry>,
    /// The directory has more than [`ENTRIES_MAX`] names.
    pub(crate) is_cut: bool,
}

/// What a listing is sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Column {
    Name,
    Size,
    Modified,
}

impl Column {
    pub(crate) const ALL: [Self; 3] = [Self::Name, Self::Size, Self::Modified];

    /// The name in a query.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Size => "size",
            Self::Modified => "modified",
        }
    }
}

/// The order of a listing. Directories always come first, and equal entries are in the order of their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) column: Column,
    pub(crate) is_descending: bool,
}

impl Order {
    /// Names from the first, sizes from the largest, times from the latest.
    pub(crate) fn usual(column: Column) -> Self {
        Self { column, is_descending: column != Column::Name }
    }

    pub(crate) fn reverse(self) -> Self {
        Self { is_descending: !self.is_descending, ..self }
    }

    /// The name of the direction in a query.
    pub(crate) fn direction(self) -> &'static str {
        if self.is_descending { "desc" } else { "asc" }
    }

    /// The order that a query selects by `sort` and `order`. What it does not select is as usual.
    pub(crate) fn from_query(query: Option<&str>) -> Self {
        let pairs = query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
        let find = |name| pairs.clone().find(|(own, _)| *own == name).map(|(_, value)| value);
        let named = |column: &Column| find("sort") == Some(column.name());
        let usual = Self::usual(Column::ALL.into_iter().find(named).unwrap_or(Column::Name));
        match find("order") {
            Some("asc") => Self { is_descending: false, ..usual },
            Some("desc") => Self { is_descending: true, ..usual },
            _ => usual,
        }
    }
}

/// Reads the directory at `path`, which is empty or ends with `/`.
pub(crate) fn read_directory(root: &Root, path: &[u8], directory: OpenFile) -> Result<Listing, LookupError> {
    let mut directory = Dir::from_fd(directory.fd)?;
    let mut listing = Listing { entries: Vec::new(), is_cut: false };
    let mut names = Vec::new();
    for entry in directory.iter() {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        if names.len() == ENTRIES_MAX {
            listing.is_cut = true;
            break;
        }
        names.push((name.to_owned(), entry.file_type()));
    }
    for (name, file_type) in names {
        if is_hidden(name.to_bytes()) {
            continue;
        }
        let metadata = match file_type {
            // A link is shown as its target, if requests may follow it.
            Some(Type::Symlink) | None => root.examine(&[path, name.to_bytes()].concat()).ok(),
            Some(_) => {
                let stat = fstatat(&directory, name.as_c_str(), AtFlags::AT_SYMLINK_NOFOLLOW);
                stat.ok().as_ref().and_then(Metadata::new) // removed in the meantime, or not served
            }
        };
        listing.entries.extend(metadata.map(|metadata| DirectoryEntry { name: name.into_bytes(), metadata }));
    }
    Ok(listing)
}

impl Listing {
    pub(crate) fn sort(&mut self, order: Order) {
        self.entries.sort_by_cached_key(|entry| (natural::key(&entry.name), entry.name.clone()));
        if order == Order::usual(Column::Name).reverse() {
            self.entries.reverse();
        }
        // Equal entries stay in the order of their names.
        self.entries.sort_by(|DirectoryEntry { metadata: a, .. }, DirectoryEntry { metadata: b, .. }| {
            let is_file = |metadata: &Metadata| metadata.kind == FileKind::File;
            let compared = match order.column {
                Column::Size if is_file(a) => a.size.cmp(&b.size),
                Column::Name | Column::Size => Ordering::Equal,
                Column::Modified => (a.seconds, a.nanoseconds).cmp(&(b.seconds, b.nanoseconds)),
            };
            let directed = if order.is_descending { compared.reverse() } else { compared };
            is_file(a).cmp(&is_file(b)).then(directed)
        });
    }
}

/// A size with a unit, and one decimal if it is below 10.
pub(crate) fn show_size(size: u64) -> String {
    if size < 1024 {
        return format!("{size} B");
    }
    let mut shift = 0;
    for unit in ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] {
        let tenths = ((u128::from(size) >> shift) * 10 + 512) >> 10;
        shift += 10;
        if tenths < 100 {
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
        if tenths < 10240 - 5 {
            return format!("{} {unit}", (tenths + 5) / 10);
        }
    }
    unreachable!("2^64 bytes are 16 EiB");
}

/// In decimal, in groups of three digits.
pub(crate) fn show_number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `YYYY-MM-DDTHH:MM:SSZ` (RFC 3339), clamped to the years 1970 to 9999.
pub(crate) fn show_time(seconds: i64) -> String {
    let seconds = u64::try_from(seconds).unwrap_or(0).min(LAST_SECOND);
    humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).to_string()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;

    fn names(listing: &Listing) -> Vec<String> {
        listing.entries.iter().map(|entry| String::from_utf8_lossy(&entry.name).into_owned()).collect()
    }

    #[test]
    fn only_served_files_are_listed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join("root/sub").join(name);
        fs::create_dir_all(at("folder")).unwrap();
        for name in ["file", ".hidden", ".htpasswd"] {
            fs::write(at(name), "").unwrap();
        }
        fs::create_dir(at(".well-known")).unwrap();
        symlink("file", at("link")).unwrap();
        symlink("../sub", at("link-to-folder")).unwrap();
        symlink("../../out", at("out")).unwrap();
        symlink("nothing", at("dangling")).unwrap();
        mkfifo(&at("fifo"), Mode::S_IRWXU).unwrap();
        fs::write(folder.path().join("out"), "").unwrap();
        for (follow, expected) in [
            (true, &[".well-known", "folder", "link-to-folder", "file", "link"][..]),
            (false, &[".well-known", "folder", "file"]),
        ] {
            let root = Root::open(&folder.path().join("root"), follow).unwrap();
            let mut listing = read_directory(&root, b"sub/", root.find(b"sub/").unwrap()).unwrap();
            listing.sort(Order::usual(Column::Name));
            assert_eq!(names(&listing), expected);
            assert!(!listing.is_cut);
        }
    }

    #[test]
    fn a_large_directory_is_cut() {
        let folder = tempfile::tempdir().unwrap();
        let fill = |count: usize| {
            for number in 0..count {
                // Links are faster to create than files.
                let _ = symlink("target", folder.path().join(number.to_string()));
            }
        };
        fs::write(folder.path().join("target"), "").unwrap();
        let root = Root::open(folder.path(), true).unwrap();
        let read = || read_directory(&root, b"", root.find(b"").unwrap()).unwrap();
        fill(ENTRIES_MAX - 1);
        let listing = read();
        assert_eq!((listing.entries.len(), listing.is_cut), (ENTRIES_MAX, false));
        fill(ENTRIES_MAX);
        let listing = read();
        assert_eq!((listing.entries.len(), listing.is_cut), (ENTRIES_MAX, true));
    }

    #[test]
    fn directories_come_first_in_any_order() {
        let metadata =
            |kind, size, seconds| Metadata { kind, size, device: 1, inode: 1, seconds, nanoseconds: 0 };
        let entries = [
            ("b", metadata(FileKind::File, 1, 3)),
            ("A", metadata(FileKind::File, 2, 1)),
            ("c", metadata(FileKind::File, 3, 2)),
            ("y", metadata(FileKind::Directory, 4096, 1)),
            ("z", metadata(FileKind::Directory, 8192, 9)),
        ];
        let entries = entries.map(|(name, metadata)| DirectoryEntry { name: name.into(), metadata });
        let mut listing = Listing { entries: entries.into(), is_cut: false };
        for (query, expected) in [
            (Some("sort=size"), ["y", "z", "c", "A", "b"]),
            (Some("sort=size&order=desc"), ["y", "z", "c", "A", "b"]),
            (Some("order=asc&sort=size"), ["y", "z", "b", "A", "c"]),
            (Some("sort=modified"), ["z", "y", "b", "c", "A"]),
            (Some("sort=modified&order=asc"), ["y", "z", "A", "c", "b"]),
            (Some("sort=other"), ["y", "z", "A", "b", "c"]),
            (Some("order=other&sort=name&sort=size"), ["y", "z", "A", "b", "c"]),
            (Some("order=desc"), ["z", "y", "c", "b", "A"]),
            (Some("?&=&sort&order"), ["y", "z", "A", "b", "c"]),
            (None, ["y", "z", "A", "b", "c"]),
        ] {
            listing.sort(Order::from_query(query));
            assert_eq!(names(&listing), expected, "{query:?}");
        }
    }

    #[test]
    fn equal_entries_are_in_the_order_of_their_names() {
        let metadata =
            Metadata { kind: FileKind::File, size: 1, device: 1, inode: 1, seconds: 1, nanoseconds: 0 };
        let names_in_order = ["1", "2", "10", "A", "a", "a01", "a1"];
        let mut listing = Listing { entries: Vec::new(), is_cut: false };
        for start in 0..names_in_order.len() {
            let (after, before) = names_in_order.split_at(start);
            let rotated = before.iter().chain(after);
            listing.entries =
                rotated.map(|name| DirectoryEntry { name: name.as_bytes().into(), metadata }).collect();
            for query in ["", "sort=size", "sort=size&order=asc", "sort=modified"] {
                listing.sort(Order::from_query(Some(query)));
                assert_eq!(names(&listing), names_in_order, "{query}");
            }
        }
    }

    #[test]
    fn sizes_are_short_and_exact_ones_are_grouped() {
        for (size, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (10 * 1024 - 52, "9.9 KiB"),
            (10 * 1024 - 51, "10 KiB"),
            (1023 * 1024, "1023 KiB"),
            (1024 * 1024 - 1, "1.0 MiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "16 EiB"),
        ] {
            assert_eq!(show_size(size), shown, "{size}");
        }
        for (number, shown) in [(0, "0"), (999, "999"), (1000, "1,000"), (5_368_709_120, "5,368,709,120")] {
            assert_eq!(show_number(number), shown);
        }
    }

    #[test]
    fn times_are_clamped() {
        assert_eq!(show_time(784_111_777), "1994-11-06T08:49:37Z");
        assert_eq!(show_time(i64::MIN), "1970-01-01T00:00:00Z");
        assert_eq!(show_time(i64::MAX), "9999-12-31T23:59:59Z");
    }
}
