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
    assert_eq!(files.describe(), "children read /srv/www, write nothing, start no program, reach no network");
    let git = Confinement {
        execute: vec!["/usr/lib/git-core/git-http-backend".into()],
        writable: vec!["/srv/git".into()],
        user: Some(User { uid: 33, gid: 33, groups: Vec::new() }),
        ..programs()
    };
    assert_eq!(
        git.describe(),
        "as user 33, programs read all files that their user may, write /tmp /var/tmp /srv/git, run \
         /usr/lib/git-core/git-http-backend and what system directories have, reach no network"
    );
    assert!(Confinement::default().describe().starts_with("not confined (confine = false): "));
}
