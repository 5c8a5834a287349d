//! Doing what was planned: pieces first, then the heads, then tidying up.

use super::plan::{CHUNK_BYTES, Destination, Piece, PieceKind};
use super::{CopyError, CopyOptions, CopyReport, plan};
use crate::archive::names::{named_files, numbered, recovery_files};
use crate::archive::{Archive, Error};
use crate::store::Medium;
use std::collections::HashSet;
use std::io;

/// Chunks read ahead of the writing.
const AHEAD_CHUNKS: usize = 4;

/// Bytes written and their checksum, to be read back.
struct Written {
    name: String,
    offset: u64,
    bytes: usize,
    crc32: u32,
}

struct Run<'a> {
    from: &'a Archive,
    to: &'a dyn Medium,
    options: &'a CopyOptions<'a>,
    written: Vec<Written>,
    report: CopyReport,
    /// Bytes still to be written, at most.
    left_bytes: u64,
}

pub(super) fn run(
    from: &Archive,
    there: &Destination,
    pieces: Vec<Piece>,
    options: &CopyOptions<'_>,
) -> Result<CopyReport, CopyError> {
    let of = |kinds: &[PieceKind]| -> u64 {
        let those = pieces.iter().filter(|piece| kinds.contains(&piece.kind));
        those.map(|piece| piece.bytes).sum()
    };
    let missing_bytes = of(&[PieceKind::Missing]);
    if let Some(free_bytes) = there.medium.free_bytes().filter(|free| *free < missing_bytes) {
        return Err(CopyError::NoRoom {
            path: there.medium.describe(),
            needed_bytes: missing_bytes,
            free_bytes,
        });
    }
    // What is missing is written and read back.
    (options.begin)(2 * missing_bytes + of(&[PieceKind::Leftover, PieceKind::Kept]));
    let named_bytes: u64 = named_files(&from.head).map(|(_, bytes)| bytes).sum();
    let mut run = Run {
        from,
        to: &*there.medium,
        options,
        written: Vec::new(),
        report: CopyReport {
            snapshot: from.head.generation,
            ..CopyReport::default()
        },
        left_bytes: missing_bytes,
    };
    for piece in pieces {
        run.piece(&piece)?;
    }
    let has_recovery = there.medium.list("recovery").is_ok_and(|files| !files.is_empty());
    for folder in ["packs", "index", "manifest"]
        .into_iter()
        .chain(has_recovery.then_some("recovery"))
    {
        run.sync_folder(folder)?;
    }
    for (name, bytes) in plan::companions(from, there) {
        run.replace(name, &bytes)?;
    }
    run.sync_folder("")?;
    run.heads(there)?;
    run.tidy_up();
    run.report.kept_bytes = named_bytes.saturating_sub(run.report.copied_bytes);
    Ok(run.report)
}

impl Run<'_> {
    fn writing(&self, name: &str) -> impl FnOnce(io::Error) -> CopyError + use<> {
        CopyError::writing(format!("{}/{name}", self.to.describe()), self.left_bytes)
    }

    fn sync_folder(&self, folder: &str) -> Result<(), CopyError> {
        self.to.sync_folder(folder).map_err(self.writing(folder))
    }

    fn piece(&mut self, piece: &Piece) -> Result<(), CopyError> {
        match self.to.create(&piece.name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // An extra in a folder of its own.
                if let Some((folder, _)) = piece.name.rsplit_once('/') {
                    self.to.create_folder(folder).map_err(self.writing(folder))?;
                }
                self.to.create(&piece.name).map_err(self.writing(&piece.name))?;
            }
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(self.writing(&piece.name)(error)),
            _ => {}
        }
        let (from, stop) = (self.from, self.options.stop);
        std::thread::scope(|scope| {
            let (send, chunks) = crossbeam_channel::bounded(AHEAD_CHUNKS);
            scope.spawn(move || {
                let end = piece.offset + piece.bytes;
                let mut at = piece.offset;
                while at < end && !stop() {
                    let bytes = CHUNK_BYTES.min(end - at);
                    let read = from.medium.read_at(&piece.name, at, bytes as usize);
                    let failed = read.is_err();
                    if send.send((at, read)).is_err() || failed {
                        break;
                    }
                    at += bytes;
                }
            });
            for (offset, read) in chunks {
                let path = || format!("{}/{}", self.from.medium.describe(), piece.name);
                let bytes = read.map_err(|error| CopyError::reading(path())(error))?;
                self.chunk(piece, offset, &bytes)?;
            }
            Ok::<(), CopyError>(())
        })?;
        if (self.options.stop)() {
            return Err(CopyError::Stopped);
        }
        self.read_back(&piece.name)
    }

    fn chunk(&mut self, piece: &Piece, offset: u64, bytes: &[u8]) -> Result<(), CopyError> {
        let count = bytes.len() as u64;
        if piece.kind != PieceKind::Missing {
            (self.options.progress)(count);
            let theirs = self.to.read_at(&piece.name, offset, bytes.len());
            if theirs.is_ok_and(|theirs| theirs == bytes) {
                return Ok(());
            }
            if piece.kind == PieceKind::Kept {
                if !plan::source_is_whole(self.from, &piece.name, offset, count) {
                    return Err(CopyError::DamagedSource {
                        path: self.to.describe(),
                        file: piece.name.clone(),
                        offset,
                    });
                }
                self.report.mended_bytes += count;
            }
        }
        self.to
            .write_at(&piece.name, offset, bytes)
            .map_err(self.writing(&piece.name))?;
        self.report.copied_bytes += count;
        if piece.kind == PieceKind::Missing {
            self.left_bytes -= count;
            (self.options.progress)(count);
        }
        self.written.push(Written {
            name: piece.name.clone(),
            offset,
            bytes: bytes.len(),
            crc32: crc32fast::hash(bytes),
        });
        Ok(())
    }

    /// Syncs what was written, and compares what comes back with it.
    fn read_back(&mut self, name: &str) -> Result<(), CopyError> {
        let written = std::mem::take(&mut self.written);
        if written.is_empty() {
            return Ok(());
        }
        self.to.sync(name).map_err(self.writing(name))?;
        self.to.forget(name);
        for Written {
            name,
            offset,
            bytes,
            crc32,
        } in written
        {
            if (self.options.stop)() {
                return Err(CopyError::Stopped);
            }
            let back = self.to.read_at(&name, offset, bytes).map_err(self.writing(&name))?;
            if crc32fast::hash(&back) != crc32 {
                let path = format!("{}/{name}", self.to.describe());
                return Err(CopyError::Unfaithful { path, offset });
            }
            (self.options.progress)(bytes as u64);
        }
        Ok(())
    }

    /// Writes a file that no head names.
    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), CopyError> {
        match self.to.remove(name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(self.writing(name)(error)),
            _ => {}
        }
        self.to.create(name).map_err(self.writing(name))?;
        self.to.write_at(name, 0, bytes).map_err(self.writing(name))?;
        self.to.sync(name).map_err(self.writing(name))
    }

    /// The head into both slots, the newest one there last: at every moment one of
    /// them is whole. [R 10.14]
    fn heads(&self, there: &Destination) -> Result<(), CopyError> {
        let head = &self.from.head;
        for name in plan::head_order(there) {
            if plan::has_head(there, name, head) {
                continue;
            }
            let created = match self.to.create(name) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(self.writing(name)(error)),
                result => result.is_ok(),
            };
            self.to.write_at(name, 0, &head.encode()).map_err(self.writing(name))?;
            self.to.sync(name).map_err(self.writing(name))?;
            if created {
                self.sync_folder("")?;
            }
            self.to.forget(name);
            if !plan::has_head(there, name, head) {
                let path = format!("{}/{name}", self.to.describe());
                return Err(CopyError::Unfaithful { path, offset: 0 });
            }
        }
        // What a reader does, so that nobody is the first to find out.
        Archive::open_on(there.medium.clone()).map_err(|error| match error {
            Error::Io { path, source } => CopyError::Gone { path, source },
            other => CopyError::Archive(other),
        })?;
        Ok(())
    }

    /// Removes what only the state before needed. What cannot be removed now is left
    /// to the next commit.
    fn tidy_up(&mut self) {
        let named: HashSet<String> = named_files(&self.from.head).map(|(name, _)| name).collect();
        let ours = recovery_files(&*self.from.medium).unwrap_or_default();
        for file in recovery_files(self.to).unwrap_or_default() {
            let is_ours = named.contains(&file.target.name()) && ours.iter().any(|ours| ours.name == file.name);
            if !is_ours && self.to.remove(&file.name).is_ok() {
                self.report.removed_files += 1;
            }
        }
        for folder in ["packs", "index", "manifest"] {
            for file in numbered(self.to, folder).unwrap_or_default() {
                if !named.contains(&file.name) && self.to.remove(&file.name).is_ok() {
                    self.report.removed_files += 1;
                }
            }
        }
    }
}
