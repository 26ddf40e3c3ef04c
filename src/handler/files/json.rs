//! A listing as JSON, for programs: that of nginx, with a link for each entry.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use httpdate::HttpDate;
use serde::Serialize;

use super::listing::{DirectoryEntry, Listing};
use crate::handler::root::FileKind;
use crate::http::date::LAST_SECOND;
use crate::http::path;

#[derive(Serialize)]
struct Item<'a> {
    /// U+FFFD replaces invalid UTF-8; the link has every byte.
    name: Cow<'a, str>,
    r#type: &'static str,
    mtime: String,
    /// Of files.
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    url: String,
}

impl<'a> Item<'a> {
    fn new(entry: &'a DirectoryEntry) -> Self {
        let is_directory = entry.metadata.kind == FileKind::Directory;
        let seconds = u64::try_from(entry.metadata.seconds).unwrap_or(0).min(LAST_SECOND);
        let slash = if is_directory { "/" } else { "" };
        Self {
            name: String::from_utf8_lossy(&entry.name),
            r#type: if is_directory { "directory" } else { "file" },
            mtime: HttpDate::from(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).to_string(),
            size: (!is_directory).then_some(entry.metadata.size),
            url: format!("./{}{slash}", path::encode(&entry.name)),
        }
    }
}

/// An array of the entries, each on its line.
pub(super) fn render(listing: &Listing) -> String {
    // No key and no value of these types fails.
    let item = |entry| serde_json::to_string(&Item::new(entry)).unwrap_or_default();
    let items: Vec<_> = listing.entries.iter().map(item).collect();
    ["[\n", &items.join(",\n"), "\n]\n"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handler::root::Metadata;

    #[test]
    fn entries_have_what_those_of_nginx_have() {
        let metadata =
            |kind, seconds| Metadata { kind, size: 5, device: 1, inode: 1, seconds, nanoseconds: 0 };
        let entries = vec![
            DirectoryEntry { name: b"a b".into(), metadata: metadata(FileKind::Directory, 784_111_777) },
            DirectoryEntry { name: b"\"\\\n\xff".into(), metadata: metadata(FileKind::File, -1) },
        ];
        let text = render(&Listing { entries, is_cut: false });
        assert_eq!(
            text,
            "[\n{\"name\":\"a b\",\"type\":\"directory\",\"mtime\":\"Sun, 06 Nov 1994 08:49:37 GMT\",\
             \"url\":\"./a%20b/\"},\n{\"name\":\"\\\"\\\\\\n\u{fffd}\",\"type\":\"file\",\
             \"mtime\":\"Thu, 01 Jan 1970 00:00:00 GMT\",\"size\":5,\"url\":\"./%22%5C%0A%FF\"}\n]\n"
        );
        assert_eq!(render(&Listing { entries: Vec::new(), is_cut: false }), "[\n\n]\n");
    }
}
