//! The keys of `handler = "files"`.

use super::compress::{CompressName, build_codings};
use super::{check_path, is_field_value};
use crate::config::error_pages::{build_route_pages, is_below};
use crate::config::findings::Place;
use crate::config::hidden::describe_hidden;
use crate::config::keywords::keywords;
use crate::config::lists::{List, NonEmptyList, TextMap};
use crate::config::scalar::{FilePath, Flag, Text};
use crate::config::table::keys;
use crate::handler::files::Files;
use crate::handler::files::media::MediaTypes;
use crate::handler::root::Root;
use crate::http::is_token;

keys! {
    /// The further keys of a route with the handler `files`.
    FilesKeys {
        root: Option<FilePath> = None,
        index: NonEmptyList<Text> = NonEmptyList(vec![Text("index.html".into())]),
        listing: Flag = Flag(false),
        symlinks: Symlinks = Symlinks::Inside,
        charset: Text = Text("utf-8".into()),
        types: TextMap = TextMap::default(),
        precompressed: Flag = Flag(false),
        compress: List<CompressName> = List(Vec::new()),
        cache_control: Option<Text> = None,
        error_pages: TextMap = TextMap::default(),
        fallback: Option<Text> = None,
    }
}

/// Which symbolic links are followed below a root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Symlinks {
    /// Those that lead to something below it.
    Inside,
    Refuse,
}

keywords!(Symlinks { Inside = "inside", Refuse = "refuse" });

impl FilesKeys {
    pub(super) fn build(self, place: &Place<'_>) -> Option<Files> {
        let root = place.key("root").check(open_root(self.root, self.symlinks == Symlinks::Inside));
        let index = place.key("index").check(check_index(self.index.0));
        let charset = place.key("charset").check(check_charset(self.charset.0));
        let own = self.types.check_each(&place.key("types"), check_type);
        let cache_control = self.cache_control.map(|Text(value)| check_cache_control(value)).transpose();
        let cache_control = place.key("cache_control").check(cache_control);
        let media_types = MediaTypes { charset: charset.unwrap_or_default(), own: own.unwrap_or_default() };
        let error_pages =
            build_route_pages(self.error_pages, &place.key("error_pages"), root.as_ref(), &media_types);
        let fallback = self.fallback.map(|Text(path)| check_path(&path)).transpose();
        let fallback = place.key("fallback").check(fallback);
        Some(Files {
            root: root?,
            index: index?,
            listing: self.listing.0,
            media_types,
            precompressed: self.precompressed.0,
            compress: build_codings(self.compress),
            cache_control: cache_control?,
            error_pages: error_pages?,
            fallback: fallback?,
        })
    }
}

/// Opens the directory of the key `root`.
pub(super) fn open_root(path: Option<FilePath>, follow_symlinks: bool) -> Result<Root, String> {
    let Some(FilePath(path)) = path else {
        return Err("expected a directory, such as \"/srv/www\", found nothing".into());
    };
    Root::open(&path, follow_symlinks).map_err(|errno| {
        let hidden = describe_hidden(&path);
        format!("expected a directory, found {}: {}{hidden}", path.display(), errno.desc())
    })
}

fn check_index(names: Vec<Text>) -> Result<Vec<String>, String> {
    let names: Vec<_> = names.into_iter().map(|Text(name)| name).collect();
    match names.iter().find(|name| name.contains('/') || !is_below(name)) {
        Some(name) => Err(format!("expected the name of a file, such as \"index.html\", found {name:?}")),
        None => Ok(names),
    }
}

fn check_charset(charset: String) -> Result<String, String> {
    if charset.bytes().all(is_token) {
        return Ok(charset);
    }
    Err(format!("expected a charset, such as \"utf-8\", found {charset:?}"))
}

fn check_cache_control(value: String) -> Result<String, String> {
    if !value.trim().is_empty() && is_field_value(&value) {
        return Ok(value);
    }
    Err(format!("expected a field value, such as \"max-age=3600\", found {value:?}"))
}

fn check_type(extension: String, media_type: String) -> Result<(String, String), String> {
    if extension.contains(['.', '/']) {
        return Err(format!("expected an extension such as \"txt\", without dots, found {extension:?}"));
    }
    let (kind, subtype) =
        media_type.split(';').next().and_then(|name| name.split_once('/')).unwrap_or_default();
    let is_name = |name: &str| !name.is_empty() && name.trim_end().bytes().all(is_token);
    if !is_name(kind) || !is_name(subtype) || !is_field_value(&media_type) {
        return Err(format!("expected a media type, such as \"text/plain\", found {media_type:?}"));
    }
    Ok((extension, media_type))
}
