//! Rot: every byte of a small but complete archive flipped, every file cut at every
//! length. Never a panic or a wrong byte; and `verify` names each flip that matters, the
//! bytes it is among, and the crates it hurts.
//!
//! `CRATEHOLD_ROT_STRIDE=1` looks at every single byte (7 by default; every byte of the heads
//! always).
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "support/mod.rs"]
mod support;

use cratehold::archive::{
    Archive, CommitInfo, Depth, EncodeOptions, ImportOptions, Problem, Scan, VerifyReport, Writer, import,
};
use cratehold::format::manifest::EventKind;
use cratehold::format::manifest_event::Event;
use cratehold::ids::Digest;
use cratehold::store::{FileBytes, Medium};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// The archive's files in memory, for reading only.
#[derive(Debug, Clone, Default)]
struct Files(BTreeMap<String, Arc<Vec<u8>>>);

impl Files {
    fn load(folder: &Path) -> Files {
        let mut files = Files::default();
        for part in ["", "packs", "index", "manifest"] {
            for entry in std::fs::read_dir(folder.join(part)).unwrap() {
                let entry = entry.unwrap();
                if entry.path().is_file() {
                    let name = Path::new(part).join(entry.file_name()).to_str().unwrap().to_owned();
                    files.0.insert(name, Arc::new(std::fs::read(entry.path()).unwrap()));
                }
            }
        }
        files
    }

    fn bytes(&self, name: &str) -> io::Result<&Arc<Vec<u8>>> {
        self.0.get(name).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn with(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> Files {
        let mut files = self.clone();
        change(Arc::make_mut(files.0.get_mut(name).unwrap()));
        files
    }
}

fn read_only<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

impl Medium for Files {
    fn list(&self, folder: &str) -> io::Result<Vec<(String, u64)>> {
        let files = self.0.iter().filter_map(|(name, bytes)| {
            let (within, short) = name.rsplit_once('/').unwrap_or(("", name));
            (within == folder).then(|| (short.to_owned(), bytes.len() as u64))
        });
        Ok(files.collect())
    }
    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        Ok(self.bytes(name)?.to_vec())
    }
    fn len(&self, name: &str) -> io::Result<u64> {
        Ok(self.bytes(name)?.len() as u64)
    }
    fn read_at(&self, name: &str, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let part = self
            .bytes(name)?
            .get(offset as usize..)
            .and_then(|rest| rest.get(..len));
        Ok(part.ok_or(io::ErrorKind::UnexpectedEof)?.to_vec())
    }
    fn open_sealed(&self, name: &str) -> io::Result<FileBytes> {
        Ok(FileBytes::Held(self.bytes(name)?.to_vec()))
    }
    fn create(&self, _: &str) -> io::Result<()> {
        read_only()
    }
    fn create_folder(&self, _: &str) -> io::Result<()> {
        read_only()
    }
    fn write_at(&self, _: &str, _: u64, _: &[u8]) -> io::Result<()> {
        read_only()
    }
    fn sync(&self, _: &str) -> io::Result<()> {
        read_only()
    }
    fn sync_folder(&self, _: &str) -> io::Result<()> {
        read_only()
    }
    fn remove(&self, _: &str) -> io::Result<()> {
        read_only()
    }
    fn lock(&self) -> io::Result<()> {
        read_only()
    }
    fn describe(&self) -> String {
        "archive".into()
    }
}

struct Sample {
    files: Files,
    /// Every crate file, by digest.
    crates: BTreeMap<Digest, Vec<u8>>,
    /// What each record in the packs belongs to: pack, first byte, behind its last, release.
    records: Vec<(String, u64, u64, String)>,
}

/// Several crates with chains, a removal, two heads.
fn sample() -> &'static Sample {
    static SAMPLE: OnceLock<Sample> = OnceLock::new();
    SAMPLE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let archive_folder = folder.path().join("archive");
        let releases = [
            "one@1.0.0",
            "one@1.0.1",
            "one@1.1.0",
            "two@0.1.0",
            "two@0.1.1",
            "three@3.0.0",
        ];
        let mut crates = BTreeMap::new();
        for part in [&releases[..4], &releases[4..]] {
            let loose = tempfile::tempdir().unwrap();
            for release in part {
                let bytes = support::crate_file(release, 120);
                let name = release.replace('@', "-") + ".crate";
                std::fs::write(loose.path().join(name), &bytes).unwrap();
                crates.insert(Digest::of(&bytes), bytes);
            }
            let writer = Writer::open(&archive_folder).unwrap();
            let options = ImportOptions {
                encode: EncodeOptions::default(),
                threads: 1,
                expected: &|_| Ok(Vec::new()),
                stop: &|| false,
                progress: &|_| {},
            };
            let report = import(&writer, Scan::of(&[loose.path().to_owned()], 1), &options).unwrap();
            assert_eq!(report.failures, vec![]);
        }
        let writer = Writer::open(&archive_folder).unwrap();
        for (kind, release, text) in [
            (EventKind::Removed, "one@1.0.0", None),
            (EventKind::Amended, "two@0.1.0", Some(b"a line".to_vec())),
        ] {
            let (name, version) = release.split_once('@').unwrap();
            let event = Event {
                kind,
                yanked: false,
                generation: 0,
                version: version.into(),
                digest: Some(Digest::of(&support::crate_file(release, 120))),
                text,
            };
            writer.note(name, event);
        }
        writer.commit(&CommitInfo::default()).unwrap();
        let archive = Archive::open(&archive_folder).unwrap();
        assert!(
            archive.entries().unwrap().iter().any(|entry| entry.chain_depth > 0),
            "no chain"
        );
        let records = archive.entries().unwrap().into_iter().map(|entry| {
            let meta = archive.record(&entry).unwrap();
            let from = u64::from(entry.record_offset);
            let name = format!("packs/{:08}.pak", entry.pack);
            (
                name,
                from,
                from + u64::from(entry.record_bytes),
                format!("{}@{}", meta.name, meta.version),
            )
        });
        let records = records.collect();
        Sample {
            files: Files::load(&archive_folder),
            crates,
            records,
        }
    })
}

/// Opens and reads everything: what comes out is right, or an error that is one line.
fn read_all(files: &Files) -> Result<VerifyReport, String> {
    let line = |error: &dyn std::fmt::Display| {
        let message = error.to_string();
        assert!(
            !message.is_empty() && message.len() < 900 && !message.contains('\n'),
            "{message}"
        );
        message
    };
    let archive = Archive::open_on(Arc::new(files.clone())).map_err(|error| line(&error))?;
    for (digest, bytes) in &sample().crates {
        match archive.read_crate(digest) {
            Ok(read) => assert!(read == *bytes, "a wrong byte of {digest}"),
            Err(error) => _ = line(&error),
        }
    }
    match archive.crates() {
        Ok(states) => {
            for release in states.iter().flat_map(|state| &state.releases) {
                let _ = archive.line(release).map_err(|error| line(&error));
            }
        }
        Err(error) => _ = line(&error),
    }
    let report = archive.verify(Depth::Full, 1, &|_| {}).map_err(|error| line(&error))?;
    for problem in &report.problems {
        line(&problem.message);
    }
    Ok(report)
}

fn stride() -> usize {
    std::env::var("CRATEHOLD_ROT_STRIDE")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(7)
}

/// Whether nothing depends on this byte: what is behind the head's structure [R 4.3], and
/// files that the newest head does not name.
fn is_idle(name: &str, bytes: &[u8], at: usize) -> bool {
    match name {
        _ if name.ends_with(".idx") || name.ends_with(".man") => !is_named(name),
        "head0" | "head1" => at >= 20 + u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize,
        _ => !name.contains('/'),
    }
}

/// Whether the newest head names this segment.
fn is_named(name: &str) -> bool {
    let archive = Archive::open_on(Arc::new(sample().files.clone())).unwrap();
    let head = archive.head();
    let segments = if name.starts_with("index/") {
        &head.indexes
    } else {
        &head.manifests
    };
    segments
        .iter()
        .any(|entry| name.contains(&format!("/{:08}.", entry.generation)))
}

fn is_among(problem: &Problem, name: &str, at: usize) -> bool {
    problem
        .place
        .as_ref()
        .is_some_and(|place| place.file == name && (place.offset..place.offset + place.bytes).contains(&(at as u64)))
}

fn flips_of(matches: impl Fn(&str) -> bool, stride: usize) {
    let sample = sample();
    let mut count = 0;
    for (name, bytes) in sample.files.0.iter().filter(|(name, _)| matches(name)) {
        for at in (0..bytes.len()).step_by(stride) {
            if is_idle(name, bytes, at) {
                continue;
            }
            count += 1;
            let files = sample.files.with(name, |bytes| bytes[at] ^= 1 << (at % 8));
            let report = match read_all(&files) {
                Ok(report) => report,
                // Both heads name the file, and it does not open.
                Err(error) => {
                    assert!(error.contains(name.as_str()), "{name} at {at}: {error}");
                    continue;
                }
            };
            assert!(
                report.problems.iter().any(|problem| is_among(problem, name, at)),
                "{name}: nobody says that byte {at} is wrong: {:?}",
                report.problems
            );
            let owner = sample
                .records
                .iter()
                .find(|(pack, from, to, _)| pack == name && (*from..*to).contains(&(at as u64)));
            if let Some((.., release)) = owner {
                let hurt = |problem: &Problem| problem.release.as_ref() == Some(release);
                assert!(
                    report.problems.iter().any(hurt),
                    "{name} at {at}: {release} is hurt: {:?}",
                    report.problems
                );
            }
        }
    }
    assert!(count > 100, "{count} flips");
}

#[test]
fn every_flip_in_a_pack_is_named() {
    flips_of(|name| name.starts_with("packs/"), stride().min(2));
}

#[test]
fn every_flip_in_an_index_segment_is_named() {
    flips_of(|name| name.starts_with("index/"), stride());
}

#[test]
fn every_flip_in_a_manifest_segment_is_named() {
    flips_of(|name| name.starts_with("manifest/"), stride());
}

#[test]
fn every_flip_in_a_head_is_named() {
    flips_of(|name| name.starts_with("head"), 1);
}

#[test]
fn every_cut_is_named_or_leads_to_the_snapshot_before() {
    let sample = sample();
    let whole = Archive::open_on(Arc::new(sample.files.clone()))
        .unwrap()
        .head()
        .generation;
    for (name, bytes) in sample
        .files
        .0
        .iter()
        .filter(|(name, _)| name.contains('/') || name.starts_with("head"))
    {
        for len in (0..bytes.len()).step_by(stride()) {
            let files = sample.files.with(name, |bytes| bytes.truncate(len));
            match read_all(&files) {
                Err(error) => assert!(error.contains(name.as_str()) || error.contains("head"), "{error}"),
                Ok(report) if !report.problems.is_empty() => {}
                Ok(_) => {
                    // Only what no head names, and the head's idle end, may go unnoticed.
                    assert!(
                        name.starts_with("head") || !is_named(name),
                        "{name} cut to {len}: nobody noticed"
                    );
                    let opened = Archive::open_on(Arc::new(files)).unwrap();
                    assert_eq!(opened.head().generation, whole);
                }
            }
        }
    }
}

/// Damage in the index or the manifest says whose crates it hurts.
#[test]
fn damage_in_segments_names_the_crates() {
    let sample = sample();
    for folder in ["index/", "manifest/"] {
        let archive = Archive::open_on(Arc::new(sample.files.clone())).unwrap();
        let newest = match folder {
            "index/" => format!("index/{:08}.idx", archive.head().indexes[0].generation),
            _ => format!("manifest/{:08}.man", archive.head().manifests[0].generation),
        };
        let files = sample.files.with(&newest, |bytes| bytes[4096 + 200] ^= 1);
        let report = read_all(&files).unwrap();
        let hurt: Vec<&String> = report
            .problems
            .iter()
            .filter_map(|problem| problem.release.as_ref())
            .collect();
        assert!(hurt.len() >= 3, "{newest}: {:?}", report.problems);
    }
}
