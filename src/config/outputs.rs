//! Where access lines go, and what is missing there. Not an error: the journal may come, and so may a directory.

use std::path::Path;

use crate::access::Target;
use crate::supervisor::settings::Settings;

/// The socket of journald for entries (systemd-journald.service(8)).
const JOURNAL: &str = "/run/systemd/journal/socket";
/// What the directories begin with that systemd makes when it starts lsbaws.service and lsbaws@.service (`LogsDirectory=`).
const MADE_BY_SYSTEMD: &str = "/var/log/lsbaws";

/// A sentence, if access lines have no place to go on this host.
pub(super) fn find_missing(settings: &Settings) -> Option<String> {
    let sentence = match &settings.access.as_ref()?.target {
        Target::Journal if !Path::new(JOURNAL).exists() => {
            format!("this host has no journal: {JOURNAL} does not exist")
        }
        Target::File(path) => {
            let directory = path.parent().filter(|directory| !directory.is_dir())?.display().to_string();
            if directory.starts_with(MADE_BY_SYSTEMD) {
                return None;
            }
            format!("there is no directory {directory}; make it, for the user of the daemon")
        }
        Target::Journal | Target::Stderr => return None,
    };
    Some(format!("log.access.target: {sentence}"))
}
