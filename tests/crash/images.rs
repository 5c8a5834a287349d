//! What a medium may hold after a crash, given what was asked of it before.
//!
//! Of each write since the file's last sync: all, nothing, its front or its back up to a
//! 512-byte border, or garbage; where it makes the file longer, the length may have grown
//! without the bytes. Of each name and folder since the last sync of its folder: any
//! state it has been in, whatever became of the file itself and of other names.

use super::medium::{Image, Op, overlay};
use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

const SECTOR_BYTES: u64 = 512;

#[derive(Debug, Clone)]
struct Pending {
    offset: u64,
    bytes: Arc<Vec<u8>>,
    lost: bool,
}

#[derive(Debug, Clone, Default)]
struct File {
    durable: Arc<Vec<u8>>,
    pending: Vec<Pending>,
}

/// What a name stands for: durably, and after each change that may not be durable.
#[derive(Debug, Clone, Default)]
struct Entry {
    durable: Option<usize>,
    pending: Vec<Option<usize>>,
}

impl Entry {
    fn now(&self) -> Option<usize> {
        *self.pending.last().unwrap_or(&self.durable)
    }
}

/// The medium's durable state and what is on its way there.
#[derive(Debug, Clone, Default)]
pub struct Tracker {
    files: Vec<File>,
    names: BTreeMap<String, Entry>,
    folders: BTreeMap<String, Entry>,
}

fn folder_of(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(folder, _)| folder)
}

impl Tracker {
    pub fn new(image: &Image) -> Tracker {
        let mut tracker = Tracker::default();
        for (name, bytes) in &image.files {
            tracker.files.push(File {
                durable: bytes.clone(),
                pending: Vec::new(),
            });
            let entry = Entry {
                durable: Some(tracker.files.len() - 1),
                pending: Vec::new(),
            };
            tracker.names.insert(name.clone(), entry);
        }
        for folder in &image.folders {
            tracker.folders.insert(
                folder.clone(),
                Entry {
                    durable: Some(0),
                    pending: Vec::new(),
                },
            );
        }
        tracker
    }

    fn file(&mut self, name: &str) -> Option<&mut File> {
        let at = self.names.get(name)?.now()?;
        self.files.get_mut(at)
    }

    pub fn apply(&mut self, op: &Op) {
        match op {
            Op::CreateFolder(folder) => self.folders.entry(folder.clone()).or_default().pending.push(Some(0)),
            Op::Create(name) => {
                self.files.push(File::default());
                let at = self.files.len() - 1;
                self.names.entry(name.clone()).or_default().pending.push(Some(at));
            }
            Op::Remove(name) => self.names.entry(name.clone()).or_default().pending.push(None),
            Op::Write { name, offset, bytes } => {
                if let Some(file) = self.file(name) {
                    file.pending.push(Pending {
                        offset: *offset,
                        bytes: bytes.clone(),
                        lost: false,
                    });
                }
            }
            Op::Sync(name) => {
                if let Some(file) = self.file(name) {
                    let durable = Arc::make_mut(&mut file.durable);
                    for write in file.pending.drain(..) {
                        if write.lost {
                            // Only the length is sure to be there.
                            let end = write.offset as usize + write.bytes.len();
                            durable.resize(durable.len().max(end), 0);
                        } else {
                            overlay(durable, write.offset, &write.bytes);
                        }
                    }
                }
            }
            Op::FailedSync(name) => {
                if let Some(file) = self.file(name) {
                    file.pending.iter_mut().for_each(|write| write.lost = true);
                }
            }
            Op::SyncFolder(folder) => {
                let within = |(name, _): &(&String, &mut Entry)| folder_of(name) == folder;
                let names = self.names.iter_mut().filter(within);
                for (_, entry) in names.chain(self.folders.iter_mut().filter(within)) {
                    entry.durable = entry.now();
                    entry.pending.clear();
                }
            }
            Op::Acknowledged(_) => {}
        }
    }

    /// What whoever runs sees, whatever has reached the medium.
    pub fn seen(&self) -> Image {
        let mut image = Image::default();
        let there = |entry: &Entry| entry.now();
        image.folders = self
            .folders
            .iter()
            .filter(|(_, entry)| there(entry).is_some())
            .map(|(name, _)| name.clone())
            .collect();
        for (name, entry) in &self.names {
            let Some(at) = there(entry) else { continue };
            let mut bytes = self.files[at].durable.clone();
            for write in &self.files[at].pending {
                overlay(Arc::make_mut(&mut bytes), write.offset, &write.bytes);
            }
            image.files.insert(name.clone(), bytes);
        }
        image
    }

    /// Calls `visit` with every image that a crash now may leave; at most about `cap`
    /// of them, if there are more: then those in which one thing or two went otherwise
    /// than all others, and for the rest random ones. Says whether it was all of them.
    pub fn images(&self, cap: usize, seed: u64, visit: &mut dyn FnMut(Image) -> bool) -> bool {
        // One choice for each name, folder and write that may have more than one outcome.
        let mut choices: Vec<Choice<'_>> = Vec::new();
        for (is_folder, entries) in [(true, &self.folders), (false, &self.names)] {
            for (name, entry) in entries {
                let mut states = vec![entry.durable];
                states.extend(&entry.pending);
                states.dedup();
                if states.len() > 1 {
                    choices.push(Choice::Name {
                        is_folder,
                        name,
                        states,
                    });
                }
            }
        }
        let reachable: HashSet<usize> = self
            .names
            .values()
            .flat_map(|entry| entry.pending.iter().chain([&entry.durable]).flatten().copied())
            .collect();
        for (at, file) in self.files.iter().enumerate().filter(|(at, _)| reachable.contains(at)) {
            let mut len = file.durable.len() as u64;
            for (nth, write) in file.pending.iter().enumerate() {
                let end = write.offset + write.bytes.len() as u64;
                choices.push(Choice::Write {
                    file: at,
                    nth,
                    outcomes: outcomes(write, end > len),
                });
                len = len.max(end);
            }
        }
        let counts: Vec<usize> = choices.iter().map(Choice::count).collect();
        let all = counts
            .iter()
            .try_fold(1usize, |product, &n| product.checked_mul(n).filter(|&n| n <= cap));
        let mut seen = HashSet::new();
        let mut emit = |picks: &[usize]| {
            let image = self.image(&choices, picks);
            let mut hasher = DefaultHasher::new();
            image.hash(&mut hasher);
            !seen.insert(hasher.finish()) || visit(image)
        };
        if all.is_some() {
            let mut picks = vec![0; counts.len()];
            loop {
                if !emit(&picks) {
                    return true;
                }
                let Some(at) = (0..picks.len()).find(|&at| picks[at] + 1 < counts[at]) else {
                    return true;
                };
                picks[at] += 1;
                picks[..at].fill(0);
            }
        }
        // Everything arrived (the last outcome of each), or nothing (the first), but for one or two.
        let bases = [counts.iter().map(|n| n - 1).collect::<Vec<_>>(), vec![0; counts.len()]];
        let mut left = cap;
        for base in &bases {
            for (at, &n) in counts.iter().enumerate() {
                for pick in 0..n {
                    let mut picks = base.clone();
                    picks[at] = pick;
                    left = left.saturating_sub(1);
                    if left == 0 || !emit(&picks) {
                        return false;
                    }
                }
            }
        }
        let mut random = fastrand::Rng::with_seed(seed);
        while left > 0 {
            left -= 1;
            let base = &bases[random.usize(..2)];
            let all_random = random.bool();
            let two = [random.usize(..counts.len()), random.usize(..counts.len())];
            let picks: Vec<usize> = (0..counts.len())
                .map(|at| {
                    if all_random || two.contains(&at) {
                        random.usize(..counts[at])
                    } else {
                        base[at]
                    }
                })
                .collect();
            if !emit(&picks) {
                return false;
            }
        }
        false
    }

    fn image(&self, choices: &[Choice<'_>], picks: &[usize]) -> Image {
        let mut image = Image::default();
        let mut names: BTreeMap<&str, Option<usize>> = self
            .names
            .iter()
            .map(|(name, entry)| (name.as_str(), entry.durable))
            .collect();
        let mut folders: BTreeMap<&str, Option<usize>> = self
            .folders
            .iter()
            .map(|(name, entry)| (name.as_str(), entry.durable))
            .collect();
        let mut writes: BTreeMap<usize, Vec<(&Pending, Outcome)>> = BTreeMap::new();
        for (choice, &pick) in choices.iter().zip(picks) {
            match choice {
                Choice::Name {
                    is_folder: true,
                    name,
                    states,
                } => _ = folders.insert(name, states[pick]),
                Choice::Name { name, states, .. } => _ = names.insert(name, states[pick]),
                Choice::Write { file, nth, outcomes } => {
                    let write = &self.files[*file].pending[*nth];
                    writes.entry(*file).or_default().push((write, outcomes[pick]));
                }
            }
        }
        image.folders = folders
            .iter()
            .filter(|(_, at)| at.is_some())
            .map(|(name, _)| (*name).to_owned())
            .collect();
        for (name, at) in names {
            let folder = folder_of(name);
            let Some(at) = at.filter(|_| folder.is_empty() || image.folders.contains(folder)) else {
                continue;
            };
            let mut bytes = self.files[at].durable.clone();
            for (write, outcome) in writes.get(&at).into_iter().flatten() {
                outcome.apply(write, &mut bytes);
            }
            image.files.insert(name.to_owned(), bytes);
        }
        image
    }
}

enum Choice<'a> {
    Name {
        is_folder: bool,
        name: &'a str,
        states: Vec<Option<usize>>,
    },
    Write {
        file: usize,
        nth: usize,
        outcomes: Vec<Outcome>,
    },
}

impl Choice<'_> {
    fn count(&self) -> usize {
        match self {
            Choice::Name { states, .. } => states.len(),
            Choice::Write { outcomes, .. } => outcomes.len(),
        }
    }
}

/// What became of one write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Absent,
    /// The file has its new length, its bytes are zeros.
    LengthOnly,
    Garbage,
    /// Only the bytes before this offset of the file; the length only as far.
    Front(u64),
    /// The same, but the file has its new length.
    FrontAndLength(u64),
    /// Only the bytes from this offset of the file on.
    Back(u64),
    Present,
}

fn outcomes(write: &Pending, grows: bool) -> Vec<Outcome> {
    let end = write.offset + write.bytes.len() as u64;
    let mut outcomes = vec![Outcome::Absent];
    let first = (write.offset + 1).next_multiple_of(SECTOR_BYTES);
    for cut in (first..end).step_by(SECTOR_BYTES as usize) {
        outcomes.extend([Outcome::Front(cut), Outcome::Back(cut)]);
        if grows {
            outcomes.push(Outcome::FrontAndLength(cut));
        }
    }
    if grows {
        outcomes.push(Outcome::LengthOnly);
    }
    outcomes.extend([Outcome::Garbage, Outcome::Present]);
    outcomes
}

impl Outcome {
    fn apply(self, write: &Pending, file: &mut Arc<Vec<u8>>) {
        if self == Outcome::Absent {
            return;
        }
        let file = Arc::make_mut(file);
        let bytes = &write.bytes[..];
        let end = write.offset as usize + bytes.len();
        let part = |cut: u64| (cut - write.offset) as usize;
        match self {
            Outcome::Absent => {}
            Outcome::LengthOnly => file.resize(file.len().max(end), 0),
            Outcome::Garbage => {
                let mut random = fastrand::Rng::with_seed(end as u64);
                let garbage: Vec<u8> = bytes.iter().map(|_| random.u8(..)).collect();
                overlay(file, write.offset, &garbage);
            }
            Outcome::Front(cut) => overlay(file, write.offset, &bytes[..part(cut)]),
            Outcome::FrontAndLength(cut) => {
                overlay(file, write.offset, &bytes[..part(cut)]);
                file.resize(file.len().max(end), 0);
            }
            Outcome::Back(cut) => overlay(file, cut, &bytes[part(cut)..]),
            Outcome::Present => overlay(file, write.offset, bytes),
        }
    }
}
