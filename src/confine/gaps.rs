//! What this kernel cannot do of a confinement.

use std::fs;

use landlock::{ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, Scope};
use serde::{Deserialize, Serialize};

use super::{Confinement, filter};

/// A part of the confinement that this kernel does not have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Gap {
    /// For a field of a record, such as `landlock-abi-2`.
    pub(crate) word: String,
    /// A sentence, without a period.
    pub(crate) sentence: String,
}

/// What this kernel lacks for a confinement. Applies nothing.
pub(crate) fn find_gaps(confinement: &Confinement) -> Vec<Gap> {
    if !confinement.is_on {
        return Vec::new();
    }
    let mut gaps = Vec::new();
    if confinement.landlock {
        gaps.extend(find_landlock_gap(confinement, landlock_abi()));
    }
    if confinement.seccomp && !(filter::IS_KNOWN_ARCHITECTURE && has_seccomp()) {
        let sentence = "this kernel or processor has no seccomp filter: processes may use all system calls";
        gaps.push(Gap { word: "seccomp".into(), sentence: sentence.into() });
    }
    gaps
}

/// Whether the kernel has filters of system calls. (The sandbox of a unit may hide /proc/sys.)
fn has_seccomp() -> bool {
    fs::read_to_string("/proc/self/status").is_ok_and(|status| status.contains("\nSeccomp:"))
}

/// Linux versions by the first ABI of Landlock that the confinement can use completely.
const COMPLETE: &str = "Linux 6.12";

pub(super) fn find_landlock_gap(confinement: &Confinement, abi: u8) -> Option<Gap> {
    if abi == 0 {
        let sentence = "the kernel has no Landlock, or it is not enabled (lsm= of the kernel's command line): \
                        processes reach all files and processes that their user may";
        return Some(Gap { word: "landlock".into(), sentence: sentence.into() });
    }
    let Confinement { starts_programs, network, seccomp, .. } = confinement;
    let lacks = [
        (6, !seccomp || *starts_programs, "signal other processes of their user"),
        (6, !seccomp || *starts_programs, "connect to its abstract sockets"),
        (4, !network && (!seccomp || *starts_programs), "connect an open TCP socket to another address"),
        (3, !seccomp || *starts_programs, "truncate files outside \"writable\""),
    ];
    let reach: Vec<_> = lacks
        .iter()
        .filter(|(least, counts, _)| *counts && abi < *least)
        .map(|(_, _, reach)| *reach)
        .collect();
    let mut parts = Vec::new();
    if !reach.is_empty() {
        parts.push(format!("processes can {}", reach.join(", ")));
    }
    if abi < 2 && *starts_programs {
        parts.push("programs cannot move files to another directory".into());
    }
    (!parts.is_empty()).then(|| Gap {
        word: format!("landlock-abi-{abi}"),
        sentence: format!(
            "the kernel has Landlock ABI {abi}, complete since {COMPLETE}: {}",
            parts.join("; ")
        ),
    })
}

/// The version of Landlock, as far as it matters here: 0 to 6.
fn landlock_abi() -> u8 {
    let rights = [
        (6, has_scope()),
        (5, strict().handle_access(AccessFs::IoctlDev).is_ok()),
        (4, strict().handle_access(AccessNet::ConnectTcp).is_ok()),
        (3, strict().handle_access(AccessFs::Truncate).is_ok()),
        (2, strict().handle_access(AccessFs::Refer).is_ok()),
        (1, strict().handle_access(AccessFs::Execute).is_ok()),
    ];
    rights.into_iter().find(|(_, is_known)| *is_known).map_or(0, |(abi, _)| abi)
}

/// Whether the kernel has the scopes of signals and abstract sockets.
fn has_scope() -> bool {
    strict().scope(Scope::from_all(ABI::V6)).is_ok()
}

/// A ruleset that fails with what the kernel does not have.
fn strict() -> Ruleset {
    Ruleset::default().set_compatibility(CompatLevel::HardRequirement)
}
