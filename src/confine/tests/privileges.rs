//! Users, capabilities and core files.

use crate::sys::CONNECTION;
use std::process::Command;

use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::geteuid;

use super::*;

fn status_of_program() -> String {
    let output = Command::new("/bin/cat").arg("/proc/self/status").output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn programs_have_no_privileges() {
    in_own_process("privileges::programs_have_no_privileges", || {
        apply(&programs(), &[], &[], None, CONNECTION).unwrap();
        assert_eq!(prctl::get_dumpable(), Ok(false));
        assert_eq!(getrlimit(Resource::RLIMIT_CORE), Ok((0, 0)));
        let zero = "\t0000000000000000\n";
        let own = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        assert!(own.contains(&format!("CapPrm:{zero}")), "{own}");
        let status = status_of_program();
        for set in ["Inh", "Prm", "Eff", "Amb"] {
            assert!(status.contains(&format!("Cap{set}:{zero}")), "{status}");
        }
        if geteuid().is_root() {
            assert!(status.contains(&format!("CapBnd:{zero}")), "{status}");
        }
        assert!(status.contains("NoNewPrivs:\t1\n") && status.contains("Seccomp:\t2\n"), "{status}");
    });
}

#[test]
fn services_have_users_of_their_own() {
    in_own_process("privileges::services_have_users_of_their_own", || {
        if !geteuid().is_root() {
            return;
        }
        let user = User { name: String::new(), uid: 65_533, gid: 65_532, groups: vec![65_532, 65_531] };
        // In either case.
        apply(&Confinement { user: Some(user), ..Confinement::default() }, &[], &[], None, CONNECTION)
            .unwrap();
        let status = status_of_program();
        for line in [
            "Uid:\t65533\t65533\t65533\t65533\n",
            "Gid:\t65532\t65532\t65532\t65532\n",
            "Groups:\t65531 65532 \n",
            "CapPrm:\t0000000000000000\n",
            "CapBnd:\t0000000000000000\n",
        ] {
            assert!(status.contains(line), "{line}{status}");
        }
        assert_eq!(prctl::get_dumpable(), Ok(false));
    });
}

#[test]
fn confinement_that_is_off_denies_nothing_but_core_files() {
    in_own_process("privileges::confinement_that_is_off_denies_nothing_but_core_files", || {
        let status_before = status_of_program();
        apply(&Confinement::default(), &[], &[], None, CONNECTION).unwrap();
        assert_eq!(getrlimit(Resource::RLIMIT_CORE), Ok((0, 0)));
        let status = status_of_program();
        for name in ["CapEff", "CapBnd", "NoNewPrivs", "Seccomp"] {
            let find = |status: &str| status.lines().find(|line| line.starts_with(name)).map(str::to_owned);
            assert_eq!(find(&status), find(&status_before));
        }
    });
}

#[test]
fn core_files_are_kept_where_wanted() {
    in_own_process("privileges::core_files_are_kept_where_wanted", || {
        let before = getrlimit(Resource::RLIMIT_CORE);
        apply(&Confinement { core: true, ..children() }, &[], &[], None, CONNECTION).unwrap();
        assert_eq!(getrlimit(Resource::RLIMIT_CORE), before);
        // A child may make itself dumpable, as the key asks.
        assert_eq!(prctl::set_dumpable(true), Ok(()));
    });
}
