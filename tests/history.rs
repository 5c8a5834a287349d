//! What a crate's events add up to, however its name was spelled and however
//! segments were merged. [R 7.13]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use cratehold::archive::{Archive, CommitInfo, Writer};
use cratehold::format::manifest::EventKind;
use cratehold::format::manifest_event::Event;
use cratehold::ids::Digest;

fn line(name: &str, digest: Digest) -> String {
    format!(r#"{{"name":"{name}","vers":"1.0.0","cksum":"{digest}"}}"#)
}

/// The second spelling comes first in the order of records; only generations
/// tell that its event is the later one.
#[test]
fn spellings_of_one_name_are_folded_in_the_order_of_generations() {
    let folder = tempfile::tempdir().unwrap();
    let writer = Writer::open(folder.path()).unwrap();
    let (first, second) = (Digest::of(b"first"), Digest::of(b"second"));
    for (name, kind, digest) in [
        ("odd_name", EventKind::Added, first),
        ("Odd-Name", EventKind::Replaced, second),
    ] {
        let event = Event {
            kind,
            yanked: false,
            generation: 0,
            version: "1.0.0".into(),
            digest: Some(digest),
            text: Some(line(name, digest).into_bytes()),
        };
        writer.note(name, event);
        writer.commit(&CommitInfo::default()).unwrap();
    }
    drop(writer);
    let archive = Archive::open(folder.path()).unwrap();
    assert_eq!(archive.manifest_segments().len(), 1, "the commits were merged");
    let state = archive.crate_state("ODD_NAME").unwrap().unwrap();
    assert_eq!(archive.crates().unwrap(), std::slice::from_ref(&state));
    assert_eq!(state.name, "Odd-Name");
    let found: Vec<_> = state
        .releases
        .iter()
        .map(|one| (one.digest, one.added, one.replaced))
        .collect();
    assert_eq!(found, [(first, 1, Some(2)), (second, 2, None)]);
    for (name, release) in ["odd_name", "Odd-Name"].into_iter().zip(&state.releases) {
        let text = archive.line(release).unwrap().unwrap();
        assert_eq!(String::from_utf8(text).unwrap(), line(name, release.digest));
    }
    let chosen = archive.release_state("odd-name", "1.0.0").unwrap().unwrap();
    assert_eq!(chosen.digest, second);
}
