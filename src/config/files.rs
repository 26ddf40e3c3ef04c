//! From the keys of a route to the handler `files`. Opens its root.

use std::collections::BTreeMap;

use super::error::{Wrong, is_field_value, take, take_text, wrong};
use super::keywords::Symlinks;
use super::lists::List;
use super::raw;
use super::values::{FilePath, Flag, Text};
use crate::handler::files::media::MediaTypes;
use crate::handler::files::{Files, PAGE_STATUSES};
use crate::handler::root::Root;
use crate::http::is_token;

pub fn build_files(mut raw: raw::Route) -> Result<Files, Wrong> {
    let root = open_root(raw.root.take(), take(&mut raw.symlinks) == Symlinks::Inside)?;
    let List(index) = take(&mut raw.index);
    let index: Vec<_> = index.into_iter().map(|Text(name)| name).collect();
    if let Some(name) = index.iter().find(|name| name.contains('/') || !is_below(name)) {
        return wrong(
            "index",
            format!("expected the name of a file, such as \"index.html\", found {name:?}"),
        );
    }
    let (Flag(listing), Flag(precompressed)) = (take(&mut raw.listing), take(&mut raw.precompressed));
    let media_types = build_media_types(take_text(&mut raw.charset), take(&mut raw.types))?;
    let cache_control = raw.cache_control.take().map(|Text(value)| value);
    if let Some(value) = &cache_control
        && (value.trim().is_empty() || !is_field_value(value))
    {
        return wrong(
            "cache_control",
            format!("expected a field value, such as \"max-age=3600\", found {value:?}"),
        );
    }
    let error_pages = build_error_pages(&root, take(&mut raw.error_pages))?;
    Ok(Files { root, index, listing, media_types, precompressed, cache_control, error_pages })
}

/// Opens the directory of the key `root`.
pub fn open_root(path: Option<FilePath>, follow_symlinks: bool) -> Result<Root, Wrong> {
    let Some(FilePath(path)) = path else {
        return wrong("root", "expected a directory, such as \"/srv/www\", found nothing");
    };
    match Root::open(&path, follow_symlinks) {
        Ok(root) => Ok(root),
        Err(errno) => {
            let found = format!("found {}: {}", path.display(), errno.desc());
            wrong("root", format!("expected a directory, {found}"))
        }
    }
}

/// A path that stays below where it starts.
fn is_below(path: &str) -> bool {
    !path.contains('\0') && path.split('/').all(|segment| !["", ".", ".."].contains(&segment))
}

fn build_media_types(charset: String, types: BTreeMap<String, Text>) -> Result<MediaTypes, Wrong> {
    if !charset.bytes().all(is_token) {
        return wrong("charset", format!("expected a charset, such as \"utf-8\", found {charset:?}"));
    }
    let mut own = Vec::new();
    for (extension, Text(media_type)) in types {
        let key = format!("types.{extension}");
        if extension.contains(['.', '/']) {
            return wrong(
                &key,
                format!("expected an extension such as \"txt\", without dots, found {extension:?}"),
            );
        }
        let (kind, subtype) =
            media_type.split(';').next().and_then(|name| name.split_once('/')).unwrap_or_default();
        let is_name = |name: &str| !name.is_empty() && name.trim_end().bytes().all(is_token);
        if !is_name(kind) || !is_name(subtype) || !is_field_value(&media_type) {
            return wrong(
                &key,
                format!("expected a media type, such as \"text/plain\", found {media_type:?}"),
            );
        }
        own.push((extension, media_type));
    }
    Ok(MediaTypes { charset, own })
}

fn build_error_pages(root: &Root, pages: BTreeMap<String, Text>) -> Result<Vec<(u16, String)>, Wrong> {
    let mut checked = Vec::new();
    for (status, Text(path)) in pages {
        let key = format!("error_pages.{status}");
        let Some(status) = PAGE_STATUSES.into_iter().find(|known| known.to_string() == status) else {
            return wrong(
                &key,
                format!("expected one of the statuses {}", PAGE_STATUSES.map(|s| s.to_string()).join(", ")),
            );
        };
        if !is_below(&path) {
            return wrong(
                &key,
                format!("expected a path below the root, such as \"errors/404.html\", found {path:?}"),
            );
        }
        if !root.is_file(path.as_bytes()) {
            return wrong(&key, format!("expected a file below the root, found {path:?}, where none is"));
        }
        checked.push((status, path));
    }
    Ok(checked)
}
