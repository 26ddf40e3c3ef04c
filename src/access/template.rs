//! A format of the administrator's own: text with names in braces.

use std::fmt::Write;

use super::line::AccessLine;
use super::show::{show_clf_time, show_request, show_text, show_word};

/// A format such as `{client} "{request}" {status}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Name(Name),
}

macro_rules! names {
    ($($variant:ident = $word:literal),+ $(,)?) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        enum Name { $($variant),+ }

        impl Name {
            const ALL: &'static [(&'static str, Self)] = &[$(($word, Self::$variant)),+];
        }
    };
}

names! {
    Client = "client",
    Peer = "peer",
    User = "user",
    Time = "time",
    ClfTime = "clf_time",
    Scheme = "scheme",
    Host = "host",
    Request = "request",
    Method = "method",
    Target = "target",
    Protocol = "protocol",
    Status = "status",
    Bytes = "bytes",
    Duration = "duration",
    Referer = "referer",
    UserAgent = "user_agent",
    Reason = "reason",
    Service = "service",
    Listener = "listener",
    Connection = "connection",
    RequestId = "request_id",
    TraceId = "trace_id",
}

impl Template {
    /// Reads a template. `{{` and `}}` stand for braces.
    ///
    /// # Errors
    /// A sentence about a name that does not exist, or a brace that stands alone.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.contains(char::is_control) {
            return Err("a format is one line of text without control characters".into());
        }
        let (mut parts, mut plain, mut rest) = (Vec::new(), String::new(), text);
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                plain.push_str(brace);
                rest = after;
                continue;
            }
            let name = rest.split_once('}').filter(|_| brace == "{");
            let Some((name, after)) = name else {
                return Err(format!("'{brace}' stands alone; write {brace}{brace} for a brace"));
            };
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            parts.push(Part::Name(find_name(name)?));
            rest = after;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        match parts.iter().any(|part| matches!(part, Part::Name(_))) {
            true => Ok(Self { parts }),
            false => Err(format!(
                "expected \"combined\", \"json\" or a text with names such as {{status}}, of: {}",
                list()
            )),
        }
    }

    /// Appends a line.
    pub(super) fn write(&self, line: &AccessLine<'_>, out: &mut String) {
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Name(name) => name.write(line, out),
            }
        }
    }
}

fn find_name(word: &str) -> Result<Name, String> {
    let found = Name::ALL.iter().find(|(name, _)| *name == word);
    found.map(|&(_, name)| name).ok_or_else(|| format!("unknown name {{{word}}}, expected one of {}", list()))
}

fn list() -> String {
    Name::ALL.iter().map(|(name, _)| format!("{{{name}}}")).collect::<Vec<_>>().join(", ")
}

impl Name {
    fn write(self, line: &AccessLine<'_>, out: &mut String) {
        let answered = line.answered;
        let _ = match self {
            Self::Client => write!(out, "{}", line.client()),
            Self::Peer => write!(out, "{}", line.identity.peer),
            Self::User => write!(out, "{}", show_word(answered.user)),
            Self::Time => write!(out, "{}", humantime::format_rfc3339_millis(line.started())),
            Self::ClfTime => write!(out, "{}", show_clf_time(line.started())),
            Self::Scheme => write!(out, "{}", line.scheme),
            Self::Host => write!(out, "{}", show_word(answered.host)),
            Self::Request => write!(out, "{}", show_request(line)),
            Self::Method => write!(out, "{}", show_word(answered.method)),
            Self::Target => write!(out, "{}", show_word(answered.target)),
            Self::Protocol => write!(out, "{}", show_word(line.protocol().as_bytes())),
            Self::Status => write!(out, "{}", answered.status),
            Self::Bytes => write!(out, "{}", answered.content),
            Self::Duration => write!(out, "{:.6}", line.duration().as_secs_f64()),
            Self::Referer => write!(out, "{}", show_text(answered.referer)),
            Self::UserAgent => write!(out, "{}", show_text(answered.agent)),
            Self::Reason => write!(out, "{}", show_text(answered.reason)),
            Self::Service => write!(out, "{}", show_word(line.service.as_bytes())),
            Self::Listener => write!(out, "{}", show_word(line.identity.listener.as_bytes())),
            Self::Connection => write!(out, "{}", line.identity.id),
            Self::RequestId => write!(out, "{}", show_word(answered.id)),
            Self::TraceId => write!(out, "{}", show_word(answered.trace_id)),
        }; // into a String: never fails
    }
}
