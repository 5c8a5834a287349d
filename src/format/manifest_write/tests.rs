//! Segments built and read again.

use super::super::manifest::{EventKind, EventRef, ManifestSegment, TextReader};
use super::super::manifest_event::{Event, each_event};
use super::*;
use crate::ids::Digest;

fn event(generation: u64, version: &str, text: Option<&str>) -> Event {
    Event {
        kind: EventKind::Added,
        yanked: false,
        generation,
        version: version.into(),
        digest: Some(Digest::of(version.as_bytes())),
        text: text.map(|text| text.as_bytes().to_vec()),
    }
}

fn line(name: &str, version: &str) -> String {
    let cksum = Digest::of(version.as_bytes());
    format!(r#"{{"name":"{name}","vers":"{version}","deps":[],"cksum":"{cksum}","features":{{}},"yanked":false}}"#)
}

fn sample(crates: usize) -> Events {
    let mut events = Events::default();
    for i in 0..crates {
        let name = format!("Crate-{i:05}");
        for version in ["1.0.0", "1.0.1+build", "2.0.0"] {
            events.push(&name, event(1, version, Some(&line(&name, version))));
        }
    }
    events
}

#[test]
fn every_name_is_found_with_its_lines_byte_for_byte() {
    for crates in [0, 1, 2, 700] {
        let events = sample(crates);
        let bytes = encode(1, &[], &events).unwrap();
        let segment = ManifestSegment::open(&bytes[..]).unwrap();
        segment.verify_pages().unwrap();
        for i in 0..crates {
            let found = segment.find(&format!("crate_{i:05}")).unwrap();
            assert_eq!(found.len(), 1, "{i}");
            assert_eq!(**found[0].name(), format!("Crate-{i:05}"));
            for event in found[0].events() {
                let event = event.unwrap();
                let text = segment.text(found[0].name(), &event).unwrap();
                assert_eq!(String::from_utf8(text).unwrap(), line(found[0].name(), event.version));
            }
        }
        assert!(segment.find("crate-99999").unwrap().is_empty());
        assert!(segment.find("a").unwrap().is_empty());
        let mut back = Events::default();
        each_event(&segment, |name, event, text| {
            back.push(name, Event::of(event, text));
        })
        .unwrap();
        assert_eq!(back, events);
    }
}

/// Many long lines of one crate take several frames, each of which can be read
/// alone, forwards and backwards.
#[test]
fn a_crate_may_have_more_texts_than_a_frame() {
    let mut events = Events::default();
    let long = |i: u64| format!("{}{i}{}", "x".repeat(60_000), "y".repeat(i as usize * 7 % 100));
    for i in 0..200 {
        events.push("a", event(1, &format!("1.{i}.0"), Some(&long(i))));
        let noise: Vec<u8> = (0..3000u64).map(|at| 32 + (at * at * (i + 7) % 89) as u8).collect();
        events.push(
            "b",
            event(1, &format!("1.{i}.0"), Some(std::str::from_utf8(&noise).unwrap())),
        );
    }
    let bytes = encode(1, &[], &events).unwrap();
    let segment = ManifestSegment::open(&bytes[..]).unwrap();
    segment.verify_pages().unwrap();
    for name in ["a", "b"] {
        let found = segment.find(name).unwrap();
        let all: Vec<EventRef<'_>> = found[0].events().map(Result::unwrap).collect();
        let expected: Vec<&Event> = events.0[&(name.to_owned(), name.to_owned())].iter().collect();
        let mut reader = TextReader::new(&segment);
        for i in (0..200).chain((0..200).rev()).chain([7, 199, 0, 100]) {
            let expected = expected[i].text.as_ref().unwrap();
            assert_eq!(&reader.text(name, &all[i]).unwrap(), expected, "{name} {i}");
            assert_eq!(&segment.text(name, &all[i]).unwrap(), expected, "{name} {i}");
        }
    }
}

#[test]
fn the_hash_covers_every_field() {
    let base = Transaction {
        generation: 1,
        parent: [0; 32],
        time: 5,
        registry: "r".into(),
        cursor: String::new(),
        source: "sync".into(),
        event_count: 0,
        hash: [0; 32],
    };
    let hash = |change: &dyn Fn(&mut Transaction, &mut Events)| {
        let (mut transaction, mut events) = (base.clone(), sample(2));
        change(&mut transaction, &mut events);
        events.seal(&mut transaction);
        transaction.hash
    };
    let plain = hash(&|_, _| {});
    assert_ne!(plain, hash(&|t, _| t.time += 1));
    assert_ne!(plain, hash(&|t, _| t.parent[0] = 1));
    assert_ne!(plain, hash(&|_, e| e.push("z", event(1, "1.0.0", None))));
    assert_eq!(plain, hash(&|_, _| {}));
}
