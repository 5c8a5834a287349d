//! `cratehold import`.

use super::{CommandResult, bytes_bar, human, threads};
use cratehold::archive::{Arrival, Budget, CommitInfo, EncodeOptions, Outcome, Writer, ingest};
use cratehold::format::manifest::EventKind;
use cratehold::format::manifest_write::Event;
use cratehold::ids::{Digest, Release};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;

/// What may be in flight: a few of the largest crates and their tars.
const BUDGET_BYTES: u64 = 1 << 30;
/// Tars are about this many times larger than crate files.
const TAR_FACTOR: u64 = 8;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// `.crate` files, or folders of them.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The zstd level.
    #[arg(long, default_value_t = cratehold::archive::DEFAULT_LEVEL, value_parser = clap::value_parser!(i32).range(1..=22))]
    level: i32,
}

struct Found {
    path: PathBuf,
    bytes: u64,
}

pub fn run(folder: &Path, args: Args) -> CommandResult {
    let mut failures: Vec<String> = Vec::new();
    let mut files = Vec::new();
    for path in &args.paths {
        walk(path, true, &mut files, &mut failures);
    }
    let crates = identify(files, &mut failures);
    let writer = Writer::open(folder)?;
    let total = crates.values().flatten().map(|(_, found)| found.bytes).sum();
    let bar = bytes_bar(total);
    let tally = Mutex::new((0u64, 0u64, 0u64, failures));
    let digests: Mutex<HashMap<Release, Digest>> = Mutex::default();
    let budget = Budget::new(BUDGET_BYTES);
    let (sender, receiver) = crossbeam_channel::bounded::<Arrival>(threads() * 2);
    let options = EncodeOptions { level: args.level };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Large crates first, so that no core is left with one at the end.
            let mut crates: Vec<_> = crates.iter().collect();
            crates.sort_by_key(|(_, files)| std::cmp::Reverse(files.iter().map(|(_, found)| found.bytes).sum::<u64>()));
            for (_, files) in crates {
                for (order, (release, found)) in files.iter().enumerate() {
                    let permit = budget.take(found.bytes * TAR_FACTOR);
                    let file = match std::fs::read(&found.path) {
                        Ok(bytes) => Some((Digest::of(&bytes), bytes)),
                        Err(error) => {
                            let message = format!("{}: {error}", found.path.display());
                            lock(&tally).3.push(message);
                            None
                        }
                    };
                    if let Some((digest, _)) = &file {
                        lock(&digests).insert(release.clone(), *digest);
                    }
                    let arrival = Arrival {
                        release: release.clone(),
                        order,
                        file,
                        permit,
                    };
                    if sender.send(arrival).is_err() {
                        return;
                    }
                    bar.inc(found.bytes);
                }
            }
            drop(sender);
        });
        ingest(&writer, &receiver, threads(), options, &|release, result| {
            let mut tally = lock(&tally);
            match result {
                Ok(Outcome::Stored { record_bytes, .. }) => {
                    tally.0 += 1;
                    tally.1 += record_bytes;
                }
                Ok(Outcome::Held) => tally.2 += 1,
                Ok(Outcome::Skipped) => {}
                Err(error) => tally.3.push(format!("{release}: {error}")),
            }
        });
    });
    bar.finish_and_clear();
    let (stored, stored_bytes, held, failures) = tally.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    note_releases(
        &writer,
        &digests.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner),
    )?;
    writer.commit(&CommitInfo {
        source: "import".into(),
        ..CommitInfo::default()
    })?;
    say!(
        "{stored} crates stored ({} read, {} written), {held} held already, {} failed",
        human(total),
        human(stored_bytes),
        failures.len()
    );
    for failure in &failures {
        eprintln!("failed: {failure}");
    }
    Ok(if failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Notes what the manifest does not know yet.
fn note_releases(writer: &Writer, digests: &HashMap<Release, Digest>) -> Result<(), cratehold::archive::Error> {
    let mut sorted: Vec<_> = digests.iter().collect();
    sorted.sort();
    for (release, digest) in sorted {
        if writer.find(digest)?.is_none() {
            continue;
        }
        let state = writer.with_archive(|archive| archive.crate_state(release.name.as_str()))?;
        let same = |known: &&cratehold::archive::ReleaseState| known.version == release.version;
        let known: Vec<_> = state
            .iter()
            .flat_map(|state| state.releases.iter().filter(same))
            .collect();
        if known.iter().any(|known| known.digest == *digest) {
            continue;
        }
        let kind = if known.is_empty() {
            EventKind::Added
        } else {
            EventKind::Replaced
        };
        let version = release.version.to_string();
        let event = Event {
            kind,
            yanked: false,
            generation: 0,
            version,
            digest: Some(*digest),
            text: None,
        };
        writer.note(release.name.as_str(), event);
    }
    Ok(())
}

fn walk(path: &Path, named: bool, files: &mut Vec<Found>, failures: &mut Vec<String>) {
    let mut fail = |error: std::io::Error| failures.push(format!("{}: {error}", path.display()));
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => return fail(error),
    };
    if metadata.is_dir() {
        match std::fs::read_dir(path) {
            Ok(entries) => {
                let mut below: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
                below.sort();
                below.iter().for_each(|path| walk(path, false, files, failures));
            }
            Err(error) => fail(error),
        }
    } else if named || path.extension().is_some_and(|extension| extension == "crate") {
        files.push(Found {
            path: path.to_owned(),
            bytes: metadata.len(),
        });
    }
}

/// Name and version of each file, from inside its tar, in version order.
fn identify(files: Vec<Found>, failures: &mut Vec<String>) -> BTreeMap<String, Vec<(Release, Found)>> {
    let mut crates: BTreeMap<String, Vec<(Release, Found)>> = BTreeMap::new();
    for found in files {
        match read_release(&found.path) {
            Ok(release) => crates.entry(release.name.key()).or_default().push((release, found)),
            Err(error) => failures.push(format!("{}: {error}", found.path.display())),
        }
    }
    crates
        .values_mut()
        .for_each(|files| files.sort_by(|a, b| a.0.version.cmp(&b.0.version)));
    crates
}

fn read_release(path: &Path) -> Result<Release, Box<dyn std::error::Error>> {
    let tar = cratehold::deflate::gunzip(&std::fs::read(path)?)?;
    Ok(cratehold::archive::release_of(&tar)?)
}
