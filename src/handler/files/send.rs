//! Sends a file, parts of it, or 304.

use std::io;
use std::ops::Range;
use std::os::fd::AsFd;

use super::Files;
use super::conditions::{self, Validators, Verdict};
use super::ranges::{self, Selection};
use super::request_log::RequestLog;
use crate::handler::exchange::Exchange;
use crate::handler::root::{Metadata, OpenFile};
use crate::http::compress::{Choice, forbids_transform};
use crate::http::encoding::{self, Coding};
use crate::http::failure::Failure;
use crate::http::response::{Head, ResponseContent};
use crate::http::stream::Interrupted;
use crate::outcome::Outcome;

/// Field values that the responses for one file have in common.
struct Description<'a> {
    media_type: &'a str,
    coding: Option<Coding>,
    /// It is compressed on its way.
    is_compressed: bool,
    varies: bool,
    entity_tag: String,
    last_modified: String,
}

impl Files {
    /// Answers with the file at `path`.
    pub(super) fn send_file(
        &self,
        exchange: &mut Exchange<'_, '_>,
        file: OpenFile,
        path: &[u8],
    ) -> Result<Outcome, Failure> {
        let (file, coding) = match self.media_types.find_coding(path) {
            None => self.choose_variant(exchange, file, path),
            coding => (file, coding),
        };
        let size = file.metadata.size;
        let media_type = &self.media_types.find(path);
        let choice = match coding {
            None if !self.compress.is_empty() => self.choose_coding(exchange, media_type, size),
            _ => Choice::Never,
        };
        let mut validators = Validators::new(&file.metadata, exchange.response.now());
        if let Some(coding) = choice.coding() {
            validators.add_coding(coding.name());
        }
        let description = Description {
            media_type,
            coding: coding.or(choice.coding()),
            is_compressed: choice.coding().is_some(),
            // Also without a variant, since one may be added later.
            varies: self.precompressed || choice != Choice::Never,
            entity_tag: validators.entity_tag(),
            last_modified: validators.last_modified(),
        };
        match conditions::check(exchange.request, &validators) {
            Verdict::Proceed => {}
            Verdict::NotModified => {
                let mut head = exchange.response.head(304);
                self.add_validators(&mut head, &description);
                head.send_nothing()?;
                return Ok(Outcome::Served);
            }
            Verdict::Failed => {
                exchange.response.error(412, "the file does not match the preconditions")?;
                return Ok(Outcome::Served);
            }
        }
        let log = RequestLog::of(exchange);
        if let Some(coding) = choice.coding() {
            let mut head = exchange.response.head(200);
            self.add_description(&mut head, &description);
            head.field("Content-Type", description.media_type);
            let framed = head.start(None).into_framed();
            return super::coded::send(&log, exchange.response, framed, file, coding);
        }
        match select_ranges(exchange, &validators, size) {
            Selection::Whole => {
                let mut head = exchange.response.head(200);
                self.add_description(&mut head, &description);
                head.field("Content-Type", description.media_type);
                send_parts(&log, head.start(Some(size)), &file, &[(String::new(), 0..size)], "")
            }
            Selection::Unsatisfiable => {
                let range = format!("bytes */{size}");
                exchange.response.error_with(
                    416,
                    "the range is beyond the end of the file",
                    "Content-Range",
                    &range,
                )?;
                Ok(Outcome::Served)
            }
            Selection::Parts(parts) if parts.len() == 1 => {
                let part = &parts[0];
                let mut head = exchange.response.head(206);
                self.add_description(&mut head, &description);
                head.field("Content-Type", description.media_type);
                head.field("Content-Range", show_range(part, size));
                send_parts(
                    &log,
                    head.start(Some(part.end - part.start)),
                    &file,
                    &[(String::new(), part.clone())],
                    "",
                )
            }
            Selection::Parts(parts) => {
                // No file can contain the id of this connection in advance.
                let boundary = format!("lsbaws-{}", exchange.identity.id);
                let (parts, end) = separate(parts, &boundary, description.media_type, size);
                let length = |(head, part): &(String, Range<u64>)| head.len() as u64 + part.end - part.start;
                let length = parts.iter().map(length).sum::<u64>() + end.len() as u64;
                let mut head = exchange.response.head(206);
                self.add_description(&mut head, &description);
                head.field("Content-Type", format!("multipart/byteranges; boundary={boundary}"));
                send_parts(&log, head.start(Some(length)), &file, &parts, &end)
            }
        }
    }

    /// The precompressed variant with the highest weight, or the file itself.
    fn choose_variant(
        &self,
        exchange: &Exchange<'_, '_>,
        file: OpenFile,
        path: &[u8],
    ) -> (OpenFile, Option<Coding>) {
        if self.precompressed {
            for coding in encoding::find_acceptable(exchange.request.field("Accept-Encoding")) {
                let variant = self.root.find_file(&[path, coding.suffix().as_bytes()].concat());
                if let Ok(variant) = variant
                    && !is_stale(&variant.metadata, &file.metadata)
                {
                    return (variant, Some(coding));
                }
            }
        }
        (file, None)
    }

    /// How a file without a precompressed variant is compressed.
    #[cold]
    fn choose_coding(&self, exchange: &Exchange<'_, '_>, media_type: &str, size: u64) -> Choice {
        let cache_control = self.cache_control.iter().map(String::as_bytes);
        match forbids_transform(cache_control) {
            true => Choice::Never,
            false => self.compress.choose(exchange.request, media_type.as_bytes(), Some(size)),
        }
    }

    /// The fields that a 304 has as well (RFC 9110, section 15.4.5).
    fn add_validators(&self, head: &mut Head<'_, '_>, description: &Description<'_>) {
        head.field("ETag", &description.entity_tag).field("Last-Modified", &description.last_modified);
        if let Some(cache_control) = &self.cache_control {
            head.field("Cache-Control", cache_control);
        }
        if description.varies {
            head.field("Vary", "Accept-Encoding");
        }
    }

    fn add_description(&self, head: &mut Head<'_, '_>, description: &Description<'_>) {
        self.add_validators(head, description);
        if let Some(coding) = description.coding {
            head.field("Content-Encoding", coding.name());
        }
        if !description.is_compressed {
            head.field("Accept-Ranges", "bytes");
        }
        head.no_sniff();
    }
}

/// Whether the original was changed after the variant was made. In whole seconds, since some compression programs
/// copy the time without its fraction.
fn is_stale(variant: &Metadata, original: &Metadata) -> bool {
    variant.seconds < original.seconds
}

/// Ranges are for GET only (RFC 9110, section 14.2), and apply to the variant that is sent (section 14).
fn select_ranges(exchange: &Exchange<'_, '_>, validators: &Validators, size: u64) -> Selection {
    let mut values = exchange.request.field("Range");
    match (values.next(), values.next()) {
        (Some(value), None)
            if exchange.request.method == "GET"
                && conditions::allows_ranges(exchange.request, validators) =>
        {
            ranges::select(value, size)
        }
        _ => Selection::Whole,
    }
}

fn show_range(part: &Range<u64>, size: u64) -> String {
    format!("bytes {}-{}/{size}", part.start, part.end - 1)
}

/// The parts of a `multipart/byteranges` (RFC 9110, section 14.6), each with the text before it, and the text after
/// the last.
fn separate(
    parts: Vec<Range<u64>>,
    boundary: &str,
    media_type: &str,
    size: u64,
) -> (Vec<(String, Range<u64>)>, String) {
    let mut line_end = "";
    let parts = parts.into_iter().map(|part| {
        let range = show_range(&part, size);
        let head =
            format!("{line_end}--{boundary}\r\nContent-Type: {media_type}\r\nContent-Range: {range}\r\n\r\n");
        line_end = "\r\n";
        (head, part)
    });
    (parts.collect(), format!("\r\n--{boundary}--\r\n"))
}

/// Sends parts of a file, each after its text, and `end`.
fn send_parts(
    log: &RequestLog<'_>,
    mut content: ResponseContent<'_, '_>,
    file: &OpenFile,
    parts: &[(String, Range<u64>)],
    end: &str,
) -> Result<Outcome, Failure> {
    for (text, part) in parts {
        content.queue(text.as_bytes());
        match content.send_file(file.as_fd(), part.start, part.end - part.start) {
            Ok(()) => {}
            // The file is shorter than announced, or cannot be read. The connection closes before the end of the
            // content, so that the client detects it.
            Err(Interrupted::Gone(error)) if is_of_file(&error) => {
                return Ok(log.fail(&error));
            }
            Err(interrupted) => return Err(interrupted.into()),
        }
    }
    content.queue(end.as_bytes());
    content.finish()?;
    Ok(Outcome::Served)
}

/// Whether an error of sendfile(2) concerns the file rather than the socket.
fn is_of_file(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EIO | libc::EINVAL | libc::EOVERFLOW | libc::ENOMEM))
}
