//! What must hold of every image that a crash leaves.

use super::medium::{Image, Op, Recorder};
use cratehold::archive::{Archive, CommitInfo, Depth, EncodeOptions, Error, Writer};
use cratehold::deflate::gunzip;
use cratehold::format::head::Head;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// What every archive carries for people.
const GUIDES: [(&str, &str); 4] = [
    ("README.txt", include_str!("../../src/archive/readme.txt")),
    ("format-1.md.gz", include_str!("../../format-spec/format-1.md")),
    ("engines.md.gz", include_str!("../../format-spec/engines.md")),
    ("reader.py", include_str!("../../tools/reader.py")),
];

/// Whether the file `name` has `text` in it.
fn tells(name: &str, bytes: &[u8], text: &str) -> bool {
    match name.ends_with(".gz") {
        true => gunzip(bytes).is_ok_and(|unpacked| unpacked == text.as_bytes()),
        false => bytes == text.as_bytes(),
    }
}

/// What each snapshot of a workload holds, as told when it was committed.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// Several of one number, where a run that failed would have made another.
    pub states: BTreeMap<u64, Vec<Vec<String>>>,
}

/// All that a snapshot knows and holds, one line for each thing.
pub fn describe(archive: &Archive) -> Result<Vec<String>, Error> {
    let mut lines = Vec::new();
    for state in archive.crates()? {
        for release in &state.releases {
            let (yanked, removed, replaced) = (release.yanked, release.removed, release.replaced);
            let line = archive
                .line(release)?
                .map(|line| String::from_utf8_lossy(&line).into_owned());
            lines.push(format!(
                "{}@{} {} added {} yanked {yanked} removed {removed:?} replaced {replaced:?} purged {} line {line:?}",
                state.name, release.version, release.digest, release.added, release.purged
            ));
        }
    }
    lines.extend(
        archive
            .entries()?
            .iter()
            .map(|entry| format!("holds {} as {:?}", entry.digest, entry.kind)),
    );
    Ok(lines)
}

thread_local! {
    /// What was found whole before, by hash: most images differ only in what nobody reads.
    static FOUND_WHOLE: RefCell<HashSet<u64>> = RefCell::default();
}

/// Runs `check` unless it has been passed before with a `key` like this.
fn once<K: Hash>(key: K, check: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    let key = hasher.finish();
    if FOUND_WHOLE.with_borrow(|found| found.contains(&key)) {
        return Ok(());
    }
    check()?;
    FOUND_WHOLE.with_borrow_mut(|found| found.insert(key));
    Ok(())
}

/// All bytes that the snapshot is made of.
fn bytes_of<'a>(archive: &Archive, image: &'a Image) -> Vec<&'a [u8]> {
    let head = archive.head();
    let file = |name: String| image.files.get(&name).map_or(&[][..], |bytes| &bytes[..]);
    let packs = head.packs.iter().map(|entry| {
        let bytes = file(format!("packs/{:08}.pak", entry.pack));
        &bytes[..bytes.len().min(entry.bytes as usize)]
    });
    let indexes = head
        .indexes
        .iter()
        .map(|entry| file(format!("index/{:08}.idx", entry.generation)));
    let manifests = head
        .manifests
        .iter()
        .map(|entry| file(format!("manifest/{:08}.man", entry.generation)));
    packs.chain(indexes).chain(manifests).collect()
}

/// That a snapshot and all it holds can be read, unless these very bytes were before.
fn is_whole(archive: &Archive, image: &Image) -> Result<(), String> {
    once(
        ("whole", archive.head().generation, bytes_of(archive, image)),
        || match &problems(archive)?[..] {
            [] => Ok(()),
            [first, ..] => Err(first.clone()),
        },
    )
}

/// An archive with the problems of its heads left out: a crash while one is written
/// leaves it unusable, which is what the other is for. So too of recovery files, which
/// the next `protect` makes anew.
fn problems(archive: &Archive) -> Result<Vec<String>, String> {
    let report = archive
        .verify(Depth::Full, 1, &|_| {})
        .map_err(|error| error.to_string())?;
    let messages = report.problems.into_iter().map(|problem| problem.message);
    Ok(messages.filter(|message| !is_of_a_crash(message)).collect())
}

/// Whether `verify` finds what a crash may leave.
pub fn is_of_a_crash(problem: &str) -> bool {
    problem.contains("archive/head") || problem.contains("archive/recovery/")
}

/// The files with what differs from run to run (times, the archive's id while nothing
/// is committed) taken out.
fn comparable(image: &Image) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for (name, bytes) in &image.files {
        let bytes = match Head::decode(bytes) {
            Ok(head) if name.starts_with("head") => {
                let archive_id = if head.generation == 0 { [0; 16] } else { head.archive_id };
                Head {
                    time: 0,
                    archive_id,
                    previous_head: [0; 32],
                    ..head
                }
                .encode()
            }
            _ => bytes.to_vec(),
        };
        files.insert(name.clone(), bytes);
    }
    files
}

/// Opens for writing, which takes in what was not committed, and commits that.
fn recover(image: &Image) -> Result<Arc<Recorder>, String> {
    let medium = Recorder::new(image.clone());
    recover_on(&medium)?;
    Ok(medium)
}

pub fn recover_on(medium: &Arc<Recorder>) -> Result<(), String> {
    let writer = Writer::open_on(medium.clone()).map_err(|error| format!("opening to write: {error}"))?;
    medium.acknowledge(writer.with_archive(|archive| archive.head().generation));
    let committed = writer
        .commit(&CommitInfo::default())
        .map_err(|error| format!("recovering: {error}"))?;
    if let Some(generation) = committed {
        medium.acknowledge(generation);
    }
    Ok(())
}

impl History {
    /// The snapshots told of in `ops`, as they are on the medium at the end.
    pub fn note(&mut self, archive: &Archive) -> Result<(), Error> {
        self.states
            .entry(archive.head().generation)
            .or_default()
            .push(describe(archive)?);
        Ok(())
    }

    /// Checks an image that a crash left when `acknowledged` was the last snapshot told
    /// of. `thorough`: also that a run after it goes on.
    pub fn check(&self, image: &Image, acknowledged: Option<u64>, thorough: bool) -> Result<(), String> {
        let opened = match Archive::open_on(Recorder::new(image.clone())) {
            Ok(archive) => Some(archive),
            Err(Error::NotAnArchive { .. } | Error::NoHead { .. }) if acknowledged.is_none() => None,
            Err(error) => return Err(format!("opening: {error}")),
        };
        let mut held = Vec::new();
        if let Some(archive) = &opened {
            let generation = archive.head().generation;
            if Some(generation) < acknowledged {
                return Err(format!(
                    "snapshot {generation} opened, {acknowledged:?} was acknowledged"
                ));
            }
            held = describe(archive).map_err(|error| format!("listing: {error}"))?;
            match self.states.get(&generation) {
                Some(expected) if expected.contains(&held) => {}
                Some(_) => return Err(format!("snapshot {generation} is not what was committed")),
                None => return Err(format!("snapshot {generation} was never committed")),
            }
            is_whole(archive, image).map_err(|error| format!("verifying snapshot {generation}: {error}"))?;
            for (name, text) in GUIDES {
                if !image.files.get(name).is_some_and(|bytes| tells(name, bytes, text)) {
                    return Err(format!("the archive's {name} is not there or not whole"));
                }
            }
        }
        once(("recovers", image, thorough), || recovers(image, &held, thorough))
    }
}

/// The recovery of an image in which a snapshot holds `held`.
fn recovers(image: &Image, held: &[String], thorough: bool) -> Result<(), String> {
    let recovered = recover(image)?;
    let again = recover(image)?;
    if comparable(&recovered.image()) != comparable(&again.image()) {
        return Err("recovering twice gives different bytes".into());
    }
    let settled = recover(&recovered.image())?;
    if settled.image() != recovered.image() {
        return Err("recovering what is recovered changes it".into());
    }
    let archive = Archive::open_on(recovered.clone()).map_err(|error| format!("after recovery: {error}"))?;
    let now = describe(&archive).map_err(|error| format!("after recovery: {error}"))?;
    if let Some(lost) = held.iter().find(|line| !now.contains(line)) {
        return Err(format!("recovery lost `{lost}`"));
    }
    if let [first, ..] = &problems(&archive)?[..] {
        return Err(format!("verifying what was recovered: {first}"));
    }
    if thorough { goes_on(&recovered, &now) } else { Ok(()) }
}

/// A run after the recovery stores one crate more, and all is whole.
fn goes_on(medium: &Arc<Recorder>, before: &[String]) -> Result<(), String> {
    let medium = Recorder::new(medium.image());
    go_on(&medium).map_err(|error| format!("the next run: {error}"))?;
    let archive = Archive::open_on(medium).map_err(|error| format!("after the next run: {error}"))?;
    let now = describe(&archive).map_err(|error| format!("after the next run: {error}"))?;
    if let Some(lost) = before.iter().find(|line| !now.contains(line)) {
        return Err(format!("the next run lost `{lost}`"));
    }
    let report = archive
        .verify(Depth::Full, 1, &|_| {})
        .map_err(|error| error.to_string())?;
    match report.problems.first() {
        Some(problem) if !is_of_a_crash(&problem.message) => {
            Err(format!("verifying the next run: {}", problem.message))
        }
        _ => Ok(()),
    }
}

/// Stores one more small crate.
pub fn go_on(medium: &Arc<Recorder>) -> Result<(), Error> {
    let writer = Writer::open_on(medium.clone())?;
    let release = "next@1.0.0".parse().map_err(|_| Error::Rejected("a name".into()))?;
    writer.add(&release, b"any bytes will do".to_vec(), EncodeOptions::default())?;
    writer.commit(&CommitInfo::default())?;
    Ok(())
}

/// The last snapshot acknowledged in `ops`.
pub fn acknowledged(ops: &[Op]) -> Option<u64> {
    ops.iter().rev().find_map(|op| match op {
        Op::Acknowledged(generation) => Some(*generation),
        _ => None,
    })
}
