//! Sends a file that is compressed on its way.

use std::fs::File;
use std::io::{self, Read};

use super::request_log::RequestLog;
use crate::handler::root::OpenFile;
use crate::http::compress::Encoder;
use crate::http::encoding::Coding;
use crate::http::failure::Failure;
use crate::http::response::{Framed, Responder};
use crate::outcome::Outcome;

/// Bytes of the file that are read at once.
const PART: usize = 64 << 10;

/// Sends the content, as long as it was when the file was opened.
#[cold]
#[inline(never)]
pub(super) fn send(
    log: &RequestLog<'_>,
    response: &mut Responder<'_>,
    mut framed: Framed,
    file: OpenFile,
    coding: Coding,
) -> Result<Outcome, Failure> {
    if framed.is_complete() {
        response.flush(false)?; // HEAD
        return Ok(Outcome::Served);
    }
    let mut left = file.metadata.size;
    let mut file = File::from(file.fd);
    let mut encoder = match Encoder::new(coding, Some(left)) {
        Ok(encoder) => encoder,
        Err(error) => return stop(log, response, &error),
    };
    let mut part = vec![0; PART];
    while left > 0 {
        let wanted = usize::try_from(left).map_or(PART, |left| left.min(PART));
        let coded = match file.read(&mut part[..wanted]) {
            Ok(0) => return stop(log, response, &io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                left -= count as u64;
                encoder.write(&part[..count])
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        match coded {
            Ok(coded) => framed.queue(response, &coded),
            Err(error) => return stop(log, response, &error),
        }
        if response.queued() >= PART {
            response.flush(true)?;
        }
    }
    match encoder.finish() {
        Ok(coded) => framed.queue(response, &coded),
        Err(error) => return stop(log, response, &error),
    }
    framed.end(response);
    response.flush(false)?;
    Ok(Outcome::Served)
}

/// Leaves the content without its end, so that the client detects it.
fn stop(log: &RequestLog<'_>, response: &mut Responder<'_>, error: &io::Error) -> Result<Outcome, Failure> {
    response.close_after();
    response.flush(false)?;
    Ok(log.fail(error))
}
