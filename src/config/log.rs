//! `[log]`

use super::findings::Place;
use super::keywords::keywords;
use super::scalar::{FilePath, Flag, Integer, Scalar, Text};
use super::table::{keys, table};
use crate::access::{self, Format, Template};
use crate::journal::{self, Level, LineFormat, Target};

/// The default format.
const COMBINED: &str = "combined";

keys! {
    /// `[log]`
    LogKeys {
        target: Target = Target::Auto,
        level: Level = Level::Info,
        max_rate: Integer<0, 1_000_000> = Integer::new(1000),
        verbose: Flag = Flag(false),
        format: LineFormat = LineFormat::Text,
        access: AccessKeys = AccessKeys::default(),
    }
}

keys! {
    /// `[log.access]`
    AccessKeys {
        target: Option<AccessTarget> = None,
        format: FormatText = FormatText(COMBINED.into()),
    }
}

table!(LogKeys);
table!(AccessKeys);

keywords!(Target { Auto = "auto", Journal = "journal", Stderr = "stderr" });
keywords!(LineFormat { Text = "text", Json = "json" });
keywords!(Level { Error = "error", Warn = "warn", Info = "info", Debug = "debug" });

impl LogKeys {
    pub(super) fn build(&self) -> journal::LogSettings {
        let LogKeys { target, level, max_rate, verbose, format, .. } = self;
        let max_rate = max_rate.get();
        journal::LogSettings { target: *target, level: *level, max_rate, verbose: verbose.0, format: *format }
    }

    /// Access lines are written if they have a target.
    pub(super) fn build_access(&self, place: &Place<'_>) -> Option<access::Settings> {
        let AccessKeys { target, format: FormatText(format) } = &self.access;
        let place = place.key("access");
        let format = place.key("format").check(match &**format {
            COMBINED => Ok(Format::Combined),
            "json" => Ok(Format::Json),
            text => Template::parse(text).map(Format::Template),
        });
        if target.is_none() && self.access.format.0 != COMBINED {
            place.reject(
                "a format without a target; set target = \"journal\", \"stderr\" or the path of a file",
            );
        }
        let AccessTarget(target) = target.as_ref()?;
        if let access::Target::File(path) = target {
            place.key("target").check(access::check_file(path));
        }
        Some(access::Settings { target: target.clone(), format: format? })
    }
}

/// The format of access lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FormatText(String);

impl Scalar for FormatText {
    fn expected() -> String {
        Text::expected()
    }
    fn from_text(text: &str) -> Option<Self> {
        Some(Self(text.into()))
    }
    fn to_toml(&self) -> toml::Value {
        self.0.as_str().into()
    }
    fn words() -> Vec<&'static str> {
        vec![COMBINED, "json"]
    }
}

/// Where access lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AccessTarget(access::Target);

impl Scalar for AccessTarget {
    fn expected() -> String {
        r#""journal", "stderr" or the absolute path of a file"#.into()
    }
    fn from_text(text: &str) -> Option<Self> {
        Some(Self(match text {
            "journal" => access::Target::Journal,
            "stderr" => access::Target::Stderr,
            path => access::Target::File(FilePath::from_text(path)?.0),
        }))
    }
    fn words() -> Vec<&'static str> {
        vec!["journal", "stderr"]
    }
    fn to_toml(&self) -> toml::Value {
        match &self.0 {
            access::Target::Journal => "journal".into(),
            access::Target::Stderr => "stderr".into(),
            access::Target::File(path) => FilePath(path.clone()).to_toml(),
        }
    }
}
