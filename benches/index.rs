//! Finding things among three million releases, with no crate behind them:
//!
//! ```console
//! $ cargo bench --bench index [-- RELEASES]
//! ```
#![allow(clippy::unwrap_used, reason = "a panic is how a benchmark fails")]
#![allow(clippy::print_stdout, reason = "printing is what a benchmark is for")]

use cratehold::archive::Archive;
use cratehold::format::head::{Head, SegmentEntry};
use cratehold::format::index::{self, Entry, EntryKind};
use cratehold::format::manifest::{EventKind, Transaction};
use cratehold::format::manifest_event::{Event, Events};
use cratehold::format::manifest_write;
use cratehold::ids::Digest;
use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

const RELEASES: u32 = 3_000_000;
/// As on crates.io.
const VERSIONS_PER_CRATE: u32 = 12;
const LOOKUPS: u32 = 200_000;
const ONE_LOOKUP: &str = "--one-lookup";

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let Some(at) = args.iter().position(|arg| arg == ONE_LOOKUP) {
        return one_lookup(Path::new(&args[at + 1]));
    }
    let releases = args.iter().find_map(|arg| arg.parse().ok()).unwrap_or(RELEASES);
    println!("{:>10} releases: what it costs to open an archive and find one", "");
    for releases in [releases / 100, releases] {
        measure(releases.max(VERSIONS_PER_CRATE));
    }
}

fn measure(releases: u32) {
    let folder = tempfile::tempdir().unwrap();
    let bytes = build(folder.path(), releases);
    let start = Instant::now();
    let opens = 200;
    for _ in 0..opens {
        black_box(Archive::open(folder.path()).unwrap());
    }
    let open_us = start.elapsed().as_secs_f64() * 1e6 / f64::from(opens);

    let archive = Archive::open(folder.path()).unwrap();
    let picks: Vec<u32> = (0..LOOKUPS).map(|i| i.wrapping_mul(2_654_435_761) % releases).collect();
    let digests: Vec<Digest> = picks.iter().map(|&i| digest(i)).collect();
    let names: Vec<(String, String)> = picks.iter().map(|&i| (name(i), version(i))).collect();
    let by_digest = || {
        digests
            .iter()
            .for_each(|digest| assert!(archive.find(black_box(digest)).unwrap().is_some()))
    };
    let by_name = || {
        for (i, (name, version)) in names.iter().enumerate() {
            let found = archive.release_state(black_box(name), black_box(version)).unwrap();
            assert_eq!(found.unwrap().digest, digests[i]);
        }
    };
    let nanoseconds = |lookups: &dyn Fn()| {
        lookups();
        let start = Instant::now();
        lookups();
        start.elapsed().as_secs_f64() * 1e9 / f64::from(LOOKUPS)
    };
    println!(
        "{releases:>10}: open {open_us:.0} us, by digest {:.0} ns, by name and version {:.0} ns; {:.1} bytes a release in index and manifest",
        nanoseconds(&by_digest),
        nanoseconds(&by_name),
        bytes as f64 / f64::from(releases)
    );
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .arg(ONE_LOOKUP)
        .arg(folder.path())
        .output()
        .unwrap();
    print!("{}", String::from_utf8_lossy(&child.stdout));
}

fn one_lookup(folder: &Path) {
    let archive = Archive::open(folder).unwrap();
    let found = archive.release_state(&name(7), &version(7)).unwrap().unwrap();
    assert!(archive.find(&found.digest).unwrap().is_some());
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap_or("VmHWM: not known on this system");
    println!(
        "{:>10}  resident after one lookup by name and digest: {}",
        "",
        peak.trim_start_matches("VmHWM:").trim()
    );
}

fn digest(i: u32) -> Digest {
    Digest::of(&i.to_le_bytes())
}

fn name(i: u32) -> String {
    let crate_number = i / VERSIONS_PER_CRATE;
    // Names that share their beginnings, as real ones do.
    let family = ["serde", "tokio-util", "aws-sdk", "my_crate", "windows-api", "z"][(crate_number % 6) as usize];
    format!("{family}-{:x}", crate_number.wrapping_mul(2_654_435_761))
}

fn version(i: u32) -> String {
    let n = i % VERSIONS_PER_CRATE;
    format!("{}.{}.{}", n / 9, n % 3, n)
}

/// Writes an archive's head, index and manifest; returns their length.
fn build(folder: &Path, releases: u32) -> u64 {
    let mut entries: Vec<Entry> = (0..releases)
        .map(|i| Entry {
            digest: digest(i),
            pack: 1 + i / 100_000,
            record_offset: i,
            record_bytes: 4000,
            crate_bytes: 30_000,
            content_bytes: 150_000,
            chain_bytes: 1 << 20,
            held_since: 1,
            kind: EntryKind::Blob,
            engine: 3,
            chain_depth: 3,
        })
        .collect();
    entries.sort_unstable_by_key(|entry| entry.digest);
    let index = index::encode(1, &entries);
    drop(entries);

    let mut events = Events::default();
    for i in 0..releases {
        let event = Event {
            kind: EventKind::Added,
            yanked: false,
            generation: 1,
            version: version(i),
            digest: Some(digest(i)),
            text: None,
        };
        events.push(&name(i), event);
    }
    let mut transaction = Transaction {
        generation: 1,
        parent: [0; 32],
        time: 0,
        registry: String::new(),
        cursor: String::new(),
        source: "bench".into(),
        event_count: 0,
        hash: [0; 32],
    };
    events.seal(&mut transaction);
    let root = transaction.hash;
    let manifest = manifest_write::encode(1, &[transaction], &events).unwrap();
    drop(events);

    let segment = |bytes: &[u8]| SegmentEntry {
        generation: 1,
        bytes: bytes.len() as u64,
        sha256: Digest::of(bytes).0,
    };
    let head = Head {
        archive_id: [1; 16],
        incompatible_features: 0,
        write_features: 0,
        generation: 1,
        time: 0,
        previous_head: [0; 32],
        root,
        packs: Vec::new(),
        indexes: vec![segment(&index)],
        manifests: vec![segment(&manifest)],
        extras: Vec::new(),
    };
    for part in ["packs", "index", "manifest"] {
        std::fs::create_dir(folder.join(part)).unwrap();
    }
    std::fs::write(folder.join("index/00000001.idx"), &index).unwrap();
    std::fs::write(folder.join("manifest/00000001.man"), &manifest).unwrap();
    std::fs::write(folder.join("head1"), head.encode()).unwrap();
    (index.len() + manifest.len()) as u64
}
