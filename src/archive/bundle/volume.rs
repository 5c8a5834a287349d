//! Reading the volumes of a bundle.

use super::BundleError;
use crate::format::Damaged;
use crate::format::bundle::{
    BaseNote, END_BYTES, End, MAX_HEADER_BYTES, MAX_PART_BYTES, PART_MAGIC, Part, VOLUME_MAGIC, VolumeHeader,
};
use crate::format::pack::{self, MAX_META_BYTES, RECORD_MAGIC, RecordMeta};
use crate::store::{DiskMedium, Medium};
use sha2::{Digest as _, Sha256};
use std::path::Path;
use std::sync::Arc;

/// What is read at a time where only checksums matter.
const PIECE_BYTES: u64 = 4 << 20;
/// Before their bodies, skippable frames have magic and length.
const PREFIX_BYTES: usize = 8;

/// A volume that has a header and an end.
#[derive(Debug)]
pub(super) struct Volume {
    pub header: VolumeHeader,
    /// For messages.
    pub path: String,
    /// Length of the file.
    pub bytes: u64,
    medium: Arc<dyn Medium>,
    name: String,
    body_offset: u64,
    end: End,
}

/// What a volume has before its tail.
#[derive(Debug)]
pub(super) enum Frame {
    /// A base that the bundle does not have.
    Base(BaseNote),
    /// An object.
    Record {
        meta: Box<RecordMeta>,
        frame: Vec<u8>,
        offset: u64,
    },
}

/// Pieces of what stands behind all objects of a bundle.
#[derive(Debug, Default)]
pub(super) struct TailBytes {
    pub directory: Vec<u8>,
    pub manifest: Vec<u8>,
    pub signature: Vec<u8>,
}

/// Whether the file may be a volume that was being written when its writer ended: it is
/// empty, or begins as one or with nothing.
pub(super) fn looks_begun(medium: &dyn Medium, name: &str) -> bool {
    let Ok(bytes) = medium.len(name) else { return false };
    let start = medium.read_at(name, 0, bytes.min(4) as usize);
    start.is_ok_and(|start| start.iter().all(|&byte| byte == 0) || VOLUME_MAGIC.to_le_bytes().starts_with(&start))
}

impl Volume {
    pub(super) fn open(path: &Path) -> Result<Volume, BundleError> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let medium: Arc<dyn Medium> = Arc::new(DiskMedium::new(folder.unwrap_or(Path::new("."))));
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let mut volume = Volume::open_on(&medium, name)?;
        volume.path = path.display().to_string();
        Ok(volume)
    }

    /// Reads header and end; what is between them is looked at when it is asked for.
    pub(super) fn open_on(medium: &Arc<dyn Medium>, name: &str) -> Result<Volume, BundleError> {
        let path = format!("{}/{name}", medium.describe());
        let read = |offset: u64, bytes: u64| medium.read_at(name, offset, bytes as usize);
        let bytes = medium.len(name).map_err(BundleError::io(&path))?;
        let not_one = |damage| BundleError::NotAVolume {
            path: path.clone(),
            damage,
        };
        let prefix = read(0, bytes.min(PREFIX_BYTES as u64)).map_err(BundleError::io(&path))?;
        let (magic, body_bytes) = split_prefix(&prefix).map_err(not_one)?;
        if magic != VOLUME_MAGIC || body_bytes > MAX_HEADER_BYTES {
            let found = prefix.escape_ascii().to_string();
            return Err(not_one(Damaged::new("volume header", 0, "a volume's magic", found)));
        }
        let header_bytes = body_bytes + PREFIX_BYTES as u64;
        if header_bytes + END_BYTES > bytes {
            return Err(BundleError::Unfinished { path });
        }
        let start = read(0, header_bytes).map_err(BundleError::io(&path))?;
        let (header, body_offset) = VolumeHeader::decode(&start).map_err(not_one)?;
        let last = read(bytes - END_BYTES, END_BYTES).map_err(BundleError::io(&path))?;
        let end = match Part::decode(&last) {
            Ok((Part::End(end), _)) if (body_offset..=bytes - END_BYTES).contains(&end.tail_offset) => end,
            _ => return Err(BundleError::Unfinished { path }),
        };
        Ok(Volume {
            header,
            path,
            bytes,
            medium: medium.clone(),
            name: name.to_owned(),
            body_offset,
            end,
        })
    }

    pub(super) fn damaged(&self, offset: u64, cause: impl ToString) -> BundleError {
        BundleError::Damaged {
            path: self.path.clone(),
            volume: self.header.volume,
            offset,
            cause: cause.to_string(),
        }
    }

    /// Whether all of it is as it was written, by its SHA-256. `progress` hears of the
    /// bytes.
    pub(super) fn is_whole(&self, progress: &dyn Fn(u64)) -> Result<bool, BundleError> {
        let mut hasher = Sha256::new();
        let (mut at, end) = (0, self.bytes - END_BYTES);
        while at < end {
            let bytes = (end - at).min(PIECE_BYTES);
            let read = self.medium.read_at(&self.name, at, bytes as usize);
            hasher.update(read.map_err(BundleError::io(&self.path))?);
            at += bytes;
            progress(bytes);
        }
        Ok(hasher.finalize()[..] == self.end.sha256)
    }

    /// Calls `visit` with all that comes before the tail, in order, each frame's own
    /// checksum found right; then the SHA-256 of the whole is checked.
    pub(super) fn read(&self, visit: &mut dyn FnMut(Frame) -> Result<(), BundleError>) -> Result<(), BundleError> {
        let mut reader = Reader {
            volume: self,
            at: 0,
            hasher: Sha256::new(),
        };
        reader.take(self.body_offset)?;
        while reader.at < self.end.tail_offset {
            let offset = reader.at;
            let bytes = reader.frame()?;
            let (magic, _) = split_prefix(&bytes).map_err(|damage| self.damaged(offset, damage))?;
            if magic == PART_MAGIC {
                match Part::decode(&bytes) {
                    Ok((Part::Base(note), _)) => visit(Frame::Base(note))?,
                    Ok(_) => return Err(self.damaged(offset, "expected a record, found the tail")),
                    Err(damage) => return Err(self.damaged(offset, damage)),
                }
                continue;
            }
            let (meta, _) = RecordMeta::decode(&bytes).map_err(|damage| self.damaged(offset, damage))?;
            let frame = reader.take(meta.frame_bytes)?;
            pack::check_frame(&meta, &frame).map_err(|damage| self.damaged(offset + bytes.len() as u64, damage))?;
            visit(Frame::Record {
                meta: Box::new(meta),
                frame,
                offset,
            })?;
        }
        while reader.at < self.bytes - END_BYTES {
            let left = self.bytes - END_BYTES - reader.at;
            reader.take(left.min(PIECE_BYTES))?;
        }
        if reader.hasher.finalize()[..] != self.end.sha256 {
            return Err(self.damaged(0, "the SHA-256 of the whole is not the one at its end"));
        }
        Ok(())
    }

    /// The pieces of directory, manifest and signature in this volume.
    pub(super) fn tail(&self, tail: &mut TailBytes) -> Result<(), BundleError> {
        let mut reader = Reader {
            volume: self,
            at: self.end.tail_offset,
            hasher: Sha256::new(),
        };
        while reader.at < self.bytes - END_BYTES {
            let offset = reader.at;
            match Part::decode(&reader.frame()?) {
                Ok((Part::Directory(bytes), _)) => tail.directory.extend(bytes),
                Ok((Part::Manifest(bytes), _)) => tail.manifest.extend(bytes),
                Ok((Part::Signature(bytes), _)) => tail.signature.extend(bytes),
                Ok(_) => return Err(self.damaged(offset, "expected a piece of directory, manifest or signature")),
                Err(damage) => return Err(self.damaged(offset, damage)),
            }
        }
        Ok(())
    }
}

/// Magic and length of a skippable frame.
fn split_prefix(bytes: &[u8]) -> Result<(u32, u64), Damaged> {
    let short = || Damaged::new("frame", 0, "8 bytes", bytes.len());
    let (magic, rest) = bytes.split_first_chunk::<4>().ok_or_else(short)?;
    let (length, _) = rest.split_first_chunk::<4>().ok_or_else(short)?;
    Ok((u32::from_le_bytes(*magic), u64::from(u32::from_le_bytes(*length))))
}

/// Takes bytes from a volume, and hashes them on the way.
struct Reader<'a> {
    volume: &'a Volume,
    at: u64,
    hasher: Sha256,
}

impl Reader<'_> {
    fn take(&mut self, bytes: u64) -> Result<Vec<u8>, BundleError> {
        let volume = self.volume;
        if bytes > volume.bytes - END_BYTES - self.at.min(volume.bytes - END_BYTES) {
            return Err(volume.damaged(self.at, format!("expected {bytes} more bytes, it ends before")));
        }
        let taken = volume.medium.read_at(&volume.name, self.at, bytes as usize);
        let taken = taken.map_err(BundleError::io(&volume.path))?;
        self.hasher.update(&taken);
        self.at += bytes;
        Ok(taken)
    }

    /// A whole skippable frame.
    fn frame(&mut self) -> Result<Vec<u8>, BundleError> {
        let offset = self.at;
        let mut bytes = self.take(PREFIX_BYTES as u64)?;
        let damaged = |cause: Damaged| self.volume.damaged(offset, cause);
        let (magic, length) = split_prefix(&bytes).map_err(damaged)?;
        let most = match magic {
            RECORD_MAGIC => MAX_META_BYTES,
            PART_MAGIC => MAX_PART_BYTES,
            _ => {
                let found = format!("{magic:08x}");
                return Err(damaged(Damaged::new("frame", 0, "a record or a part", found)));
            }
        };
        if length > most {
            return Err(damaged(Damaged::new(
                "frame length",
                4,
                format!("at most {most}"),
                length,
            )));
        }
        bytes.extend(self.take(length)?);
        Ok(bytes)
    }
}
