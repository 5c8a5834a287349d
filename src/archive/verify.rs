//! Checking that everything that is held can be given back.

use super::{Archive, Error, chain, encode, form, read};
use crate::format::index::{Entry, EntryKind};
use crate::format::pack::RecordMeta;
use crate::ids::Digest;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};

/// Content bytes between two looks at whether to stop.
const ROUND_BYTES: u64 = 256 << 20;

/// How deep to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// Heads, manifests, indexes and the checksum of every frame.
    Quick,
    /// Also every tar decoded and its checksum checked.
    Tars,
    /// Also every crate file rebuilt and its SHA-256 checked.
    Full,
}

/// Bytes of a file of the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file, relative to the archive.
    pub file: String,
    /// Where they begin.
    pub offset: u64,
    /// How many.
    pub bytes: u64,
}

impl Place {
    pub(super) fn of(file: &str, offset: u64, bytes: u64) -> Place {
        let file = file.to_owned();
        Place { file, offset, bytes }
    }
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The release it hurts, if it can be told.
    pub release: Option<String>,
    /// The bytes among which the damage is, if it can be told.
    pub place: Option<Place>,
    /// What is wrong and where.
    pub message: String,
}

/// How far through the packs: everything before it has been checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The pack.
    pub pack: u32,
    /// Offset of a record in it.
    pub offset: u32,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.pack, self.offset)
    }
}

impl FromStr for Position {
    type Err = String;

    fn from_str(text: &str) -> Result<Position, String> {
        let parsed = text.split_once(':').and_then(|(pack, offset)| {
            let (pack, offset) = (pack.parse().ok()?, offset.parse().ok()?);
            Some(Position { pack, offset })
        });
        parsed.ok_or_else(|| format!("`{text}` is not a position: expected PACK:OFFSET, such as 3:1048576"))
    }
}

/// What to verify.
pub struct VerifyOptions<'a> {
    /// How deep to look.
    pub depth: Depth,
    /// On how many threads.
    pub threads: usize,
    /// Of all objects, the percentage to check, chosen at random; none for all.
    pub sample_percent: Option<f64>,
    /// Pass over what lies before this.
    pub from: Option<Position>,
    /// Asked now and then whether to end early.
    pub stop: &'a (dyn Fn() -> bool + Sync),
    /// Hears the content bytes of each object done.
    pub progress: &'a (dyn Fn(u64) + Sync),
}

/// What was checked and what is wrong.
#[derive(Debug, Clone, Default)]
pub struct VerifyReport {
    /// Objects checked.
    pub objects: u64,
    /// How many of them are seeds, and so no crate files.
    pub seeds: u64,
    /// Content bytes decoded.
    pub content_bytes: u64,
    /// Where to go on, if it was stopped.
    pub stopped_at: Option<Position>,
    /// Everything found wrong.
    pub problems: Vec<Problem>,
}

/// Hears what became of each object: its record and the content bytes read.
type Note<'a> = dyn Fn(&Entry, Result<(RecordMeta, u64), Error>) + Sync + 'a;

impl VerifyReport {
    /// Crate files checked.
    pub fn crates(&self) -> u64 {
        self.objects - self.seeds
    }
}

impl Archive {
    /// Checks the archive on `threads` threads; `progress` hears the content
    /// bytes of each object done.
    ///
    /// # Errors
    /// Only when it cannot be gone on with; damage is in the report.
    pub fn verify(&self, depth: Depth, threads: usize, progress: &(dyn Fn(u64) + Sync)) -> Result<VerifyReport, Error> {
        self.verify_part(&VerifyOptions {
            depth,
            threads,
            sample_percent: None,
            from: None,
            stop: &|| false,
            progress,
        })
    }

    /// As [`Archive::verify`], of all or a part of the objects, until told to stop. Heads,
    /// segments and pack headers are always checked whole.
    ///
    /// # Errors
    /// As [`Archive::verify`].
    pub fn verify_part(&self, options: &VerifyOptions<'_>) -> Result<VerifyReport, Error> {
        let mut report = VerifyReport {
            problems: self.verify_structure(),
            ..VerifyReport::default()
        };
        let is_sound = report.problems.is_empty();
        // Of a whole archive nobody asks for them.
        let names = LazyLock::new(|| self.names());
        let mut entries = self.readable_entries();
        if !is_sound {
            report.problems.extend(self.lost_to_the_index(&names, &entries));
        }
        if let Some(from) = options.from {
            entries.retain(|entry| position(entry) >= from);
        }
        if let Some(percent) = options.sample_percent {
            entries.retain(|_| fastrand::f64() * 100.0 < percent);
        }
        entries.sort_by_key(position);
        let shared = Mutex::new(report);
        let note = |entry: &Entry, result: Result<(RecordMeta, u64), Error>| {
            let history = match &result {
                Ok((meta, _)) if !is_sound => self.history_of(meta).err(),
                _ => None,
            };
            let mut report = shared.lock().unwrap_or_else(PoisonError::into_inner);
            report.objects += 1;
            report.seeds += u64::from(entry.kind == EntryKind::Seed);
            let mut problem = |release: Option<String>, place, error: Error| {
                let message = error.to_string();
                report.problems.push(Problem {
                    release,
                    place,
                    message,
                });
            };
            match result {
                Ok((meta, bytes)) => {
                    if let Some(error) = history {
                        problem(Some(format!("{}@{}", meta.name, meta.version)), None, error);
                    }
                    report.content_bytes += bytes;
                }
                Err(error) => {
                    let pack = super::names::pack_name(entry.pack);
                    let place = Place::of(&pack, u64::from(entry.record_offset), u64::from(entry.record_bytes));
                    problem(names.get(&entry.digest).cloned(), Some(place), error);
                }
            }
            drop(report);
            (options.progress)(u64::from(entry.content_bytes));
        };
        let mut rest = &entries[..];
        while let Some(first) = rest.first() {
            if (options.stop)() {
                let mut report = shared.lock().unwrap_or_else(PoisonError::into_inner);
                report.stopped_at = Some(position(first));
                break;
            }
            let mut round_bytes = 0;
            let round = rest.iter().take_while(|entry| {
                let goes_on = round_bytes < ROUND_BYTES;
                round_bytes += u64::from(entry.content_bytes);
                goes_on
            });
            let (round, behind) = rest.split_at(round.count());
            rest = behind;
            self.verify_round(round, options, &note);
        }
        let mut report = shared.into_inner().unwrap_or_else(PoisonError::into_inner);
        report
            .problems
            .sort_by(|a, b| (&a.release, &a.message).cmp(&(&b.release, &b.message)));
        Ok(report)
    }

    fn verify_round(&self, entries: &[Entry], options: &VerifyOptions<'_>, note: &Note<'_>) {
        if options.depth == Depth::Quick {
            in_parallel(entries, options.threads, |entry, buffer| {
                let checked = chain::check_record(&*self.medium, entry, buffer);
                note(entry, checked.map(|meta| (meta, 0)));
            });
        } else {
            self.walk_contents(entries.to_vec(), options.threads, &|entry, decoded| {
                let checked = decoded.and_then(|(meta, content)| {
                    let bytes = check_content(entry, &meta, &content, options.depth)?;
                    Ok((meta, bytes))
                });
                note(entry, checked);
            });
        }
    }

    /// Every object held, as far as the index can be read.
    pub(super) fn readable_entries(&self) -> Vec<Entry> {
        let mut entries = BTreeMap::new();
        for segment in &self.indexes {
            for entry in segment.entries().filter_map(Result::ok) {
                entries.insert(entry.digest, entry);
            }
        }
        let held = entries.into_values().filter(|entry| entry.kind != EntryKind::Purged);
        held.collect()
    }

    /// Releases whose place the index can no longer tell.
    fn lost_to_the_index(&self, names: &HashMap<Digest, String>, entries: &[Entry]) -> Vec<Problem> {
        let readable: std::collections::HashSet<Digest> = entries.iter().map(|entry| entry.digest).collect();
        let lost = names.iter().filter(|(digest, _)| !readable.contains(digest));
        lost.filter_map(|(digest, name)| {
            let error = self.find(digest).err()?;
            Some(Problem {
                release: Some(name.clone()),
                place: None,
                message: error.to_string(),
            })
        })
        .collect()
    }

    /// Reads what the manifest says of the release of a record.
    fn history_of(&self, meta: &RecordMeta) -> Result<(), Error> {
        match self.release_state(&meta.name, &meta.version)? {
            Some(release) => self.line(&release).map(drop),
            None => Ok(()),
        }
    }
}

fn position(entry: &Entry) -> Position {
    Position {
        pack: entry.pack,
        offset: entry.record_offset,
    }
}

/// Checks what decoding has not: that the tar can be made, that an engine gives the
/// crate file again.
fn check_content(entry: &Entry, meta: &RecordMeta, content: &[u8], depth: Depth) -> Result<u64, Error> {
    if depth == Depth::Full || meta.engine == 0 {
        read::rebuild(entry, meta, content)?;
    } else {
        encode::engine(meta)
            .and_then(|_| form::check(meta, content).map_err(|damage| damage.to_string()))
            .map_err(|cause| chain::blob_error(entry, Some(meta), cause))?;
    }
    Ok(content.len() as u64)
}

/// Each thread has a buffer of its own for `work`.
fn in_parallel<T: Sync>(items: &[T], threads: usize, work: impl Fn(&T, &mut Vec<u8>) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                let mut buffer = Vec::new();
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    work(item, &mut buffer);
                }
            });
        }
    });
}
