//! A medium in memory that notes down what is asked of it, and fails when told to.

use cratehold::store::{FileBytes, Medium};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// Files by name, and the folders that are there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Image {
    pub files: BTreeMap<String, Arc<Vec<u8>>>,
    pub folders: BTreeSet<String>,
}

/// One step of a workload, in the order in which it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    CreateFolder(String),
    Create(String),
    Write {
        name: String,
        offset: u64,
        bytes: Arc<Vec<u8>>,
    },
    Sync(String),
    /// A sync that failed: what was not synced by then is never made durable by a later
    /// one, for an operating system reports such an error once and forgets the bytes.
    FailedSync(String),
    SyncFolder(String),
    Remove(String),
    /// The workload was told that this snapshot is committed.
    Acknowledged(u64),
}

/// What goes wrong at a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// EIO.
    Io,
    /// ENOSPC, for whatever needs room.
    Full,
    /// ENOSPC after half of the bytes.
    Short,
}

/// Which calls go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    pub at: usize,
    pub kind: FaultKind,
    pub for_ever: bool,
}

/// What a file system forbids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rules {
    /// Nothing.
    Posix,
    /// Names that differ only in case are one; no file reaches 4 GiB.
    Fat32,
}

#[derive(Debug)]
struct State {
    image: Image,
    ops: Vec<Op>,
    calls: usize,
    fault: Option<Fault>,
    locked: bool,
}

/// The medium.
#[derive(Debug)]
pub struct Recorder {
    state: Mutex<State>,
    rules: Rules,
}

fn folder_of(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(folder, _)| folder)
}

impl Recorder {
    pub fn new(image: Image) -> Arc<Recorder> {
        Recorder::with(image, Rules::Posix, None)
    }

    pub fn with(image: Image, rules: Rules, fault: Option<Fault>) -> Arc<Recorder> {
        let state = Mutex::new(State {
            image,
            ops: Vec::new(),
            calls: 0,
            fault,
            locked: false,
        });
        Arc::new(Recorder { state, rules })
    }

    fn with_state<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn image(&self) -> Image {
        self.with_state(|state| state.image.clone())
    }

    pub fn ops(&self) -> Vec<Op> {
        self.with_state(|state| state.ops.clone())
    }

    pub fn calls(&self) -> usize {
        self.with_state(|state| state.calls)
    }

    /// The process that held the lock has ended.
    pub fn unlock(&self) {
        self.with_state(|state| state.locked = false);
    }

    pub fn acknowledge(&self, generation: u64) {
        self.with_state(|state| state.ops.push(Op::Acknowledged(generation)));
    }

    /// Whether the call that begins now is to fail, and how.
    fn call(&self, state: &mut State, needs_room: bool) -> Option<FaultKind> {
        let now = state.calls;
        state.calls += 1;
        let fault = state.fault?;
        let hit = if fault.for_ever {
            now >= fault.at
        } else {
            now == fault.at
        };
        (hit && (needs_room || fault.kind == FaultKind::Io)).then_some(fault.kind)
    }

    fn find(&self, state: &State, name: &str) -> Option<String> {
        match self.rules {
            Rules::Posix => state.image.files.contains_key(name).then(|| name.to_owned()),
            Rules::Fat32 => state
                .image
                .files
                .keys()
                .find(|held| held.eq_ignore_ascii_case(name))
                .cloned(),
        }
    }

    fn bytes(&self, name: &str) -> io::Result<Arc<Vec<u8>>> {
        self.with_state(|state| {
            if self.call(state, false).is_some() {
                return Err(eio());
            }
            let held = self.find(state, name).ok_or(io::ErrorKind::NotFound)?;
            Ok(state.image.files[&held].clone())
        })
    }
}

fn eio() -> io::Error {
    io::Error::from_raw_os_error(5)
}

fn enospc() -> io::Error {
    io::ErrorKind::StorageFull.into()
}

fn error_of(kind: FaultKind) -> io::Error {
    if kind == FaultKind::Io { eio() } else { enospc() }
}

/// Writes into a file, which grows as needed; what is between is zeros.
pub fn overlay(file: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let (from, to) = (offset as usize, offset as usize + bytes.len());
    if file.len() < to {
        file.resize(to, 0);
    }
    file[from..to].copy_from_slice(bytes);
}

impl Medium for Recorder {
    fn list(&self, folder: &str) -> io::Result<Vec<(String, u64)>> {
        self.with_state(|state| {
            if self.call(state, false).is_some() {
                return Err(eio());
            }
            let files = state.image.files.iter().filter(|(name, _)| folder_of(name) == folder);
            let short = |name: &str| name.rsplit('/').next().unwrap_or_default().to_owned();
            Ok(files.map(|(name, bytes)| (short(name), bytes.len() as u64)).collect())
        })
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        Ok(self.bytes(name)?.to_vec())
    }

    fn len(&self, name: &str) -> io::Result<u64> {
        Ok(self.bytes(name)?.len() as u64)
    }

    fn read_at(&self, name: &str, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let bytes = self.bytes(name)?;
        let part = bytes.get(offset as usize..).and_then(|rest| rest.get(..len));
        Ok(part.ok_or(io::ErrorKind::UnexpectedEof)?.to_vec())
    }

    fn open_sealed(&self, name: &str) -> io::Result<FileBytes> {
        Ok(FileBytes::Held(self.bytes(name)?.to_vec()))
    }

    fn create(&self, name: &str) -> io::Result<()> {
        self.with_state(|state| {
            if let Some(kind) = self.call(state, true) {
                return Err(error_of(kind));
            }
            if self.find(state, name).is_some() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            let folder = folder_of(name);
            if !folder.is_empty() && !state.image.folders.contains(folder) {
                return Err(io::ErrorKind::NotFound.into());
            }
            state.image.files.insert(name.to_owned(), Arc::default());
            state.ops.push(Op::Create(name.to_owned()));
            Ok(())
        })
    }

    fn create_folder(&self, folder: &str) -> io::Result<()> {
        self.with_state(|state| {
            if let Some(kind) = self.call(state, true) {
                return Err(error_of(kind));
            }
            if !folder.is_empty() && state.image.folders.insert(folder.to_owned()) {
                state.ops.push(Op::CreateFolder(folder.to_owned()));
            }
            Ok(())
        })
    }

    fn write_at(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.with_state(|state| {
            let fault = self.call(state, true);
            let taken = match fault {
                None => bytes,
                Some(FaultKind::Short) => &bytes[..bytes.len() / 2],
                Some(kind) => return Err(error_of(kind)),
            };
            let held = self.find(state, name).ok_or(io::ErrorKind::NotFound)?;
            if self.rules == Rules::Fat32 && offset + bytes.len() as u64 >= 1 << 32 {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            let file = state.image.files.entry(held.clone()).or_default();
            overlay(Arc::make_mut(file), offset, taken);
            state.ops.push(Op::Write {
                name: held,
                offset,
                bytes: Arc::new(taken.to_vec()),
            });
            fault.map_or(Ok(()), |kind| Err(error_of(kind)))
        })
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        self.with_state(|state| {
            let held = self.find(state, name).ok_or(io::ErrorKind::NotFound)?;
            let fault = self.call(state, true);
            state.ops.push(match fault {
                None => Op::Sync(held),
                Some(_) => Op::FailedSync(held),
            });
            fault.map_or(Ok(()), |kind| Err(error_of(kind)))
        })
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        self.with_state(|state| {
            if let Some(kind) = self.call(state, true) {
                return Err(error_of(kind));
            }
            state.ops.push(Op::SyncFolder(folder.to_owned()));
            Ok(())
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.with_state(|state| {
            if self.call(state, false).is_some() {
                return Err(eio());
            }
            let held = self.find(state, name).ok_or(io::ErrorKind::NotFound)?;
            state.image.files.remove(&held);
            state.ops.push(Op::Remove(held));
            Ok(())
        })
    }

    fn lock(&self) -> io::Result<()> {
        self.with_state(|state| {
            if let Some(kind) = self.call(state, true) {
                return Err(error_of(kind));
            }
            if state.locked {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            state.locked = true;
            if self.find(state, "lock").is_none() {
                state.image.files.insert("lock".to_owned(), Arc::default());
                state.ops.push(Op::Create("lock".to_owned()));
            }
            Ok(())
        })
    }

    fn describe(&self) -> String {
        "archive".into()
    }
}
