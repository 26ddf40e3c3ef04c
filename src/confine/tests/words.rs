//! What an administrator reads.

use super::*;

#[test]
fn gaps_name_what_old_kernels_lack() {
    let gap = |confinement: &Confinement, abi| {
        gaps::find_landlock_gap(confinement, abi).map(|gap| (gap.word, gap.sentence))
    };
    for abi in [6, 7] {
        assert_eq!((gap(&programs(), abi), gap(&children(), abi)), (None, None));
    }
    // Children of services without programs make no call that Landlock would have to deny.
    assert_eq!(gap(&children(), 2), None);
    let (word, sentence) = gap(&programs(), 2).unwrap();
    assert_eq!(word, "landlock-abi-2");
    for part in ["signal other processes of their user", "TCP", "truncate"] {
        assert!(sentence.contains(part), "{sentence}");
    }
    assert!(!gap(&Confinement { network: true, ..programs() }, 3).unwrap().1.contains("TCP"));
    assert_eq!(gap(&children(), 0).unwrap().0, "landlock");
    assert_eq!(find_gaps(&Confinement::default()), []);
}

#[test]
fn descriptions_name_what_is_reached() {
    let files = Confinement { roots: vec!["/srv/www".into()], ..children() };
    assert_eq!(
        files.describe("programs"),
        "children read /srv/www, write nothing, start no program, reach no network"
    );
    let git = Confinement {
        execute: vec!["/usr/lib/git-core/git-http-backend".into()],
        writable: vec!["/srv/git".into()],
        user: Some(User { name: "33".into(), uid: 33, gid: 33, groups: Vec::new() }),
        ..programs()
    };
    assert_eq!(
        git.describe("programs"),
        "as user 33, programs read all files that their user may, write /tmp /var/tmp /srv/git, run \
         /usr/lib/git-core/git-http-backend and what system directories have, reach no network"
    );
    assert!(Confinement::default().describe("programs").starts_with("not confined (confine = false): "));
}

#[test]
fn each_half_alone_is_described() {
    let reach = |starts_programs, network, landlock, seccomp| {
        let confinement = Confinement {
            is_on: true,
            starts_programs,
            network,
            landlock,
            seccomp,
            ..Confinement::default()
        };
        confinement.describe("programs")
    };
    let files = "reach all files and processes that their user may (landlock = false)";
    let tcp = "reach no TCP port; UDP and other sockets are not confined";
    let calls = "use all system calls (seccomp = false)";
    let denied = "read no file, write nothing, start no program";
    assert_eq!(reach(false, false, true, false), format!("children {denied}, {tcp}, {calls}"));
    assert_eq!(
        reach(false, false, false, true),
        format!("children {files}, start no program, reach no network")
    );
    assert_eq!(reach(true, false, false, true), format!("programs {files}, reach no network"));
    assert_eq!(reach(true, true, false, true), format!("programs {files}, reach the network"));
    assert_eq!(reach(true, false, false, false), format!("programs {files}, reach the network, {calls}"));
    let programs = reach(true, false, true, false);
    assert!(programs.ends_with(&format!(", {tcp}, {calls}")), "{programs}");
    assert!(reach(true, true, true, false).ends_with(&format!(", reach the network, {calls}")));
}
