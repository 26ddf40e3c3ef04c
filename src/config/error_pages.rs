//! The key `error_pages`, of a service and of a route with the handler `files`.

use std::fs;
use std::path::Path;

use super::findings::Place;
use super::hidden::describe_hidden;
use super::lists::TextMap;
use crate::handler::error_pages::{ErrorPage, PAGE_MAX, ServicePages, Statuses};
use crate::handler::files::media::MediaTypes;
use crate::handler::root::{FileKind, Root};

/// The pages of a route, by paths below its root. `root`: nothing if it could not be opened; then no page can be looked
/// for.
pub(super) fn build_route_pages(
    pages: TextMap,
    place: &Place<'_>,
    root: Option<&Root>,
    media_types: &MediaTypes,
) -> Option<Vec<ErrorPage>> {
    pages.check_each(place, |status, path| {
        let statuses = parse_statuses(&status)?;
        if !is_below(&path) {
            return Err(format!(
                "expected a path below the root, such as \"errors/404.html\", found {path:?}"
            ));
        }
        if let Some(root) = root {
            check_file(root, &path)?.ok_or_else(|| format!("no such file below root: {path:?}"))?;
        }
        Ok(make_page(statuses, path, media_types))
    })
}

/// The pages of a service, by absolute paths.
pub(super) fn build_service_pages(pages: TextMap, place: &Place<'_>) -> Option<ServicePages> {
    let media_types = MediaTypes { charset: "utf-8".into(), own: Vec::new() };
    let mut service = ServicePages::default();
    for (root, page) in pages.check_each(place, |status, path| open_page(&status, &path, &media_types))? {
        match service.0.iter_mut().find(|(known, _)| known.path() == root.path()) {
            Some((_, pages)) => pages.push(page),
            None => service.0.push((root, vec![page])),
        }
    }
    Some(service)
}

/// Opens the directory of a page of a service.
fn open_page(status: &str, path: &str, media_types: &MediaTypes) -> Result<(Root, ErrorPage), String> {
    let statuses = parse_statuses(status)?;
    let (folder, name) = match path.rsplit_once('/') {
        Some((folder, name)) if path.starts_with('/') && is_below(name) => (folder, name),
        _ => {
            return Err(format!(
                "expected an absolute path, such as \"/srv/errors/404.html\", found {path:?}"
            ));
        }
    };
    let missing = |error: &str| {
        let hidden = describe_hidden(Path::new(path));
        format!("expected a file, found {path}: {error}{hidden}")
    };
    let folder = Path::new(if folder.is_empty() { "/" } else { folder });
    let root = Root::open(folder, true).map_err(|errno| missing(errno.desc()))?;
    check_file(&root, name)?.ok_or_else(|| match fs::metadata(path) {
        Err(error) => missing(&error.to_string()),
        Ok(metadata) if metadata.is_file() => missing("a symbolic link that leads out of its directory"),
        Ok(_) => missing("not a regular file"),
    })?;
    Ok((root, make_page(statuses, name.to_owned(), media_types)))
}

/// `None`: no such file.
fn check_file(root: &Root, path: &str) -> Result<Option<()>, String> {
    match root.examine(path.as_bytes()) {
        Ok(metadata) if metadata.kind == FileKind::File && metadata.size > PAGE_MAX => {
            Err(format!("expected a file of at most {} MiB: {path:?}", PAGE_MAX >> 20))
        }
        Ok(metadata) if metadata.kind == FileKind::File => Ok(Some(())),
        _ => Ok(None),
    }
}

fn make_page(statuses: Statuses, path: String, media_types: &MediaTypes) -> ErrorPage {
    let media_type = media_types.find(path.as_bytes()).into_owned();
    let coding = media_types.find_coding(path.as_bytes()).map(|coding| coding.name().to_owned());
    ErrorPage { statuses, path, media_type, coding }
}

fn parse_statuses(text: &str) -> Result<Statuses, String> {
    let statuses = match text {
        "4xx" => Some(Statuses::Class(4)),
        "5xx" => Some(Statuses::Class(5)),
        _ if text.len() == 3 => {
            text.parse().ok().filter(|status| (400..600).contains(status)).map(Statuses::One)
        }
        _ => None,
    };
    statuses.ok_or_else(|| "expected a status from 400 to 599, 4xx or 5xx".into())
}

/// Whether a path stays below the directory that it starts from.
pub(super) fn is_below(path: &str) -> bool {
    !path.contains('\0') && path.split('/').all(|segment| !["", ".", ".."].contains(&segment))
}
