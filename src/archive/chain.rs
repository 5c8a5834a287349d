//! Decoding a frame and the bases it needs.

use super::Error;
use crate::format::frame::content_bound;
use crate::format::index::{Entry, EntryKind};
use crate::format::pack::{self, RecordMeta};
use crate::ids::Digest;
use crate::store::Medium;
use std::sync::Arc;

/// No chain is longer: it would be a loop or an attack. [R 11.2]
pub(super) const MAX_CHAIN_FRAMES: usize = 10_000;

/// Nor has any more content than this: four times the largest there can be, which is what
/// a writer keeps within, and seconds of decoding rather than hours. [R 11.2]
const MAX_CHAIN_BYTES: u64 = 1 << 34;

/// What is checked and not kept is read in pieces of this.
const CHECK_BYTES: u64 = 128 << 10;

/// A record read from its pack, its frame's checksum verified.
#[derive(Debug)]
pub struct Record {
    /// What the record says of itself.
    pub meta: RecordMeta,
    bytes: Vec<u8>,
    frame_offset: usize,
}

impl Record {
    /// Metadata and frame, as they lie in the pack.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The zstd frame.
    pub fn frame(&self) -> &[u8] {
        &self.bytes[self.frame_offset..]
    }
}

pub(super) fn blob_error(entry: &Entry, meta: Option<&RecordMeta>, cause: impl ToString) -> Error {
    Error::Blob {
        release: meta.map_or_else(|| "blob".to_owned(), |meta| format!("{}@{}", meta.name, meta.version)),
        digest: entry.digest,
        pack: super::names::pack_name(entry.pack),
        offset: u64::from(entry.record_offset),
        cause: cause.to_string(),
    }
}

/// Reads the record that `entry` points to.
pub(super) fn read_record(medium: &dyn Medium, entry: &Entry) -> Result<Record, Error> {
    let name = super::names::pack_name(entry.pack);
    let bytes = medium
        .read_at(&name, u64::from(entry.record_offset), entry.record_bytes as usize)
        .map_err(|error| blob_error(entry, None, error))?;
    let (meta, frame_offset) = RecordMeta::decode(&bytes).map_err(|damage| blob_error(entry, None, damage))?;
    if meta.id() != entry.digest {
        return Err(blob_error(
            entry,
            Some(&meta),
            format!("the record there is of {}", meta.id()),
        ));
    }
    let record = Record {
        meta,
        bytes,
        frame_offset: frame_offset as usize,
    };
    pack::check_frame(&record.meta, record.frame()).map_err(|damage| blob_error(entry, Some(&record.meta), damage))?;
    Ok(record)
}

/// As [`read_record`], but keeps no more than `buffer` of it: memory that stays in the
/// processor's own is read into twice as fast as what the system has to find first.
pub(super) fn check_record(medium: &dyn Medium, entry: &Entry, buffer: &mut Vec<u8>) -> Result<RecordMeta, Error> {
    let name = super::names::pack_name(entry.pack);
    let (mut at, mut left) = (u64::from(entry.record_offset), u64::from(entry.record_bytes));
    let mut read = |buffer: &mut Vec<u8>| {
        buffer.resize(left.min(CHECK_BYTES) as usize, 0);
        let done = medium.read_into(&name, at, buffer);
        at += buffer.len() as u64;
        left -= buffer.len() as u64;
        done.map(|()| left).map_err(|error| blob_error(entry, None, error))
    };
    let mut left = read(buffer)?;
    let (meta, frame_offset) = match RecordMeta::decode(buffer) {
        Ok(decoded) if decoded.0.id() == entry.digest => decoded,
        // What is wrong, if it is not only long, is for the other to say.
        _ => return Ok(read_record(medium, entry)?.meta),
    };
    let mut crc32 = crc32fast::Hasher::new();
    crc32.update(&buffer[frame_offset as usize..]);
    while left > 0 {
        left = read(buffer)?;
        crc32.update(buffer);
    }
    let frame_bytes = u64::from(entry.record_bytes) - frame_offset;
    pack::check_frame_sum(&meta, frame_bytes, || crc32.finalize())
        .map_err(|damage| blob_error(entry, Some(&meta), damage))?;
    Ok(meta)
}

/// The records that a content is decoded from.
pub(super) struct Chain {
    /// Where the content itself lies.
    pub(super) entry: Entry,
    /// Its own.
    pub(super) record: Record,
    /// That of its base, that of the base of this, and so on.
    pub(super) bases: Vec<(Entry, Record)>,
    /// The content that the last of them is told from.
    pub(super) start: Option<Arc<Vec<u8>>>,
}

/// Reads the records that the content of `entry` is decoded from, down to the first base
/// that `cached` has; `find` looks bases up.
pub(super) fn read(
    medium: &dyn Medium,
    entry: &Entry,
    find: &dyn Fn(&Digest) -> Result<Option<Entry>, Error>,
    cached: &dyn Fn(&Digest) -> Option<Arc<Vec<u8>>>,
) -> Result<Chain, Error> {
    let mut chain = Chain {
        entry: *entry,
        record: read_record(medium, entry)?,
        bases: Vec::new(),
        start: None,
    };
    let mut chain_bytes = 0u64;
    loop {
        let meta = &chain.bases.last().map_or(&chain.record, |(_, record)| record).meta;
        let Some(digest) = meta.base.map(Digest) else {
            return Ok(chain);
        };
        chain.start = cached(&digest);
        if chain.start.is_some() {
            return Ok(chain);
        }
        let of = |cause: String| blob_error(entry, Some(&chain.record.meta), cause);
        let base_entry = find(&digest)?.ok_or_else(|| of(format!("its base {digest} is not held")))?;
        if chain.bases.len() + 1 >= MAX_CHAIN_FRAMES {
            return Err(of(format!("its chain has more than {MAX_CHAIN_FRAMES} frames")));
        }
        chain_bytes += meta.content_bytes;
        if chain_bytes > MAX_CHAIN_BYTES {
            return Err(of(format!(
                "its chain has more than {MAX_CHAIN_BYTES} bytes of content"
            )));
        }
        let record =
            read_record(medium, &base_entry).map_err(|error| of(format!("its base cannot be read: {error}")))?;
        chain.bases.push((base_entry, record));
    }
}

impl Chain {
    /// Decodes the seed that the chain begins with, if there is one to be decoded, and shows
    /// it to `on_the_way`.
    pub(super) fn decode_seed(&mut self, on_the_way: &dyn Fn(&Entry, &Arc<Vec<u8>>)) -> Result<(), Error> {
        if let Some((entry, record)) = self.bases.pop_if(|(entry, _)| entry.kind == EntryKind::Seed) {
            let seed = Arc::new(decode_checked(Vec::new(), &entry, &record, None)?);
            on_the_way(&entry, &seed);
            self.start = Some(seed);
        }
        Ok(())
    }

    /// The content, with the metadata of its record; `on_the_way` is shown the bases that
    /// were decoded for it.
    pub(super) fn decode(
        self,
        on_the_way: &dyn Fn(&Entry, &Arc<Vec<u8>>),
    ) -> Result<(RecordMeta, Arc<Vec<u8>>), Error> {
        let mut base = self.start;
        // Memory that the system has to find first takes as long as decoding into it: so what
        // only the frames above needed is used again.
        let mut spare = Vec::new();
        for (entry, record) in self.bases.iter().rev() {
            let decoded = Arc::new(decode_checked(spare, entry, record, base.as_deref())?);
            on_the_way(entry, &decoded);
            let done_with = base.replace(decoded).map(Arc::try_unwrap);
            spare = done_with.and_then(Result::ok).unwrap_or_default();
        }
        if spare.capacity() as u64 > self.record.meta.content_bytes / 4 * 5 {
            // It may be kept for long, so that it gets no more than it needs.
            spare = Vec::new();
        }
        let content = decode_checked(spare, &self.entry, &self.record, base.as_deref())?;
        Ok((self.record.meta, Arc::new(content)))
    }
}

/// The content of `record` in the memory of `room`, checked.
fn decode_checked(room: Vec<u8>, entry: &Entry, record: &Record, base: Option<&Vec<u8>>) -> Result<Vec<u8>, Error> {
    let meta = &record.meta;
    let content = decode_into(room, record.frame(), meta.content_bytes, base.map(Vec::as_slice))
        .map_err(|cause| blob_error(entry, Some(meta), cause))?;
    pack::check_content(meta, &content).map_err(|damage| blob_error(entry, Some(meta), damage))?;
    Ok(content)
}

/// [`read`] and [`Chain::decode`].
pub(super) fn decode(
    medium: &dyn Medium,
    entry: &Entry,
    find: &dyn Fn(&Digest) -> Result<Option<Entry>, Error>,
    cached: &dyn Fn(&Digest) -> Option<Arc<Vec<u8>>>,
    on_the_way: &dyn Fn(&Entry, &Arc<Vec<u8>>),
) -> Result<(RecordMeta, Arc<Vec<u8>>), Error> {
    read(medium, entry, find, cached)?.decode(on_the_way)
}

/// One frame's content, from its base's. [R 5.8]
pub(super) fn decode_frame(record: &Record, base: Option<&[u8]>) -> Result<Vec<u8>, String> {
    decode_bytes(record.frame(), record.meta.content_bytes, base)
}

pub(super) fn decode_bytes(frame: &[u8], content_bytes: u64, base: Option<&[u8]>) -> Result<Vec<u8>, String> {
    decode_into(Vec::new(), frame, content_bytes, base)
}

/// As [`decode_bytes`], in the memory of `content`.
fn decode_into(mut content: Vec<u8>, frame: &[u8], content_bytes: u64, base: Option<&[u8]>) -> Result<Vec<u8>, String> {
    let room_bytes = room_bytes(frame, content_bytes)?;
    content.clear();
    content
        .try_reserve_exact(room_bytes)
        .map_err(|_| format!("no memory for {content_bytes} bytes of content"))?;
    decompress(&mut content, frame, base)?;
    Ok(content)
}

/// What decoding `frame` takes. Lengths that are only declared get no memory: a small record
/// could ask for 4 GiB. Of what is no frame zstd says why, and needs none.
pub(super) fn room_bytes(frame: &[u8], content_bytes: u64) -> Result<usize, String> {
    match content_bound(frame) {
        Some(bound) if content_bytes > bound => Err(format!(
            "{content_bytes} bytes of content declared, its frame can hold {bound}"
        )),
        Some(_) => Ok(content_bytes as usize),
        None => Ok(0),
    }
}

/// Decodes `frame` into the front of `room`, and says how long it is.
pub(super) fn decompress(
    room: &mut (impl zstd::zstd_safe::WriteBuf + ?Sized),
    frame: &[u8],
    base: Option<&[u8]>,
) -> Result<usize, String> {
    let zstd = |code| zstd::zstd_safe::get_error_name(code).to_owned();
    let mut context = zstd::zstd_safe::DCtx::create();
    if let Some(base) = base {
        context.ref_prefix(base).map_err(zstd)?;
    }
    context.decompress(room, frame).map_err(zstd)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;

    /// A chain of records, each of one frame over the content of the one before; the
    /// last is the first to be read.
    fn chain_of(count: usize, frame: &[u8], content_bytes: u64, content_crc32: u32) -> (tempfile::TempDir, Vec<Entry>) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("packs")).unwrap();
        let (mut pack, mut entries) = (Vec::new(), Vec::new());
        for i in 0..count as u64 {
            let digest = |i: u64| Digest::of(&i.to_le_bytes());
            let meta = RecordMeta {
                kind: 1,
                digest: digest(i).0,
                name: "bomb".into(),
                version: "1.0.0".into(),
                crate_bytes: content_bytes,
                content_bytes,
                content_crc32,
                frame_bytes: frame.len() as u64,
                frame_crc32: crc32fast::hash(frame),
                base: i.checked_sub(1).map(|base| digest(base).0),
                chain_depth: 1,
                chain_bytes: 1,
                transform: 0,
                engine: 0,
                gzip_os: 0,
                gzip_header: None,
                gzip_trailer: None,
            };
            let record = [&meta.encode(), frame].concat();
            let offset = pack.len() as u64;
            entries.push(super::super::write::entry_of(&meta, 1, offset, record.len() as u64));
            pack.extend(record);
        }
        std::fs::write(folder.path().join("packs/00000001.pak"), pack).unwrap();
        (folder, entries)
    }

    fn decode_last(folder: &tempfile::TempDir, entries: &[Entry]) -> Result<usize, String> {
        let medium = crate::store::DiskMedium::new(folder.path());
        let find = |digest: &Digest| Ok(entries.iter().find(|entry| entry.digest == *digest).copied());
        let decoded = decode(&medium, entries.last().unwrap(), &find, &|_| None, &|_, _| {});
        decoded
            .map(|(_, content)| content.len())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_chain_of_ten_thousand_tiny_frames_is_read_and_one_more_refused() {
        let frame = zstd::bulk::compress(b"tiny", 3).unwrap();
        let (folder, mut entries) = chain_of(MAX_CHAIN_FRAMES + 1, &frame, 4, crc32fast::hash(b"tiny"));
        let error = decode_last(&folder, &entries).unwrap_err();
        assert!(error.contains("more than 10000 frames"), "{error}");
        entries.pop();
        assert_eq!(decode_last(&folder, &entries), Ok(4));
    }

    /// 32 kB in the pack, 1 GiB as content, and a chain of them: refused before anything
    /// is decoded, so without the memory and the minutes.
    #[test]
    fn a_chain_of_bombs_is_refused_before_it_goes_off() {
        const BLOCK_BYTES: u32 = 128 << 10;
        const CONTENT_BYTES: u32 = 1 << 30;
        // Single-segment, content length of 4 bytes; then blocks of one byte, repeated.
        let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0xa0];
        frame.extend(CONTENT_BYTES.to_le_bytes());
        let blocks = CONTENT_BYTES / BLOCK_BYTES;
        for i in 1..=blocks {
            let header = BLOCK_BYTES << 3 | 1 << 1 | u32::from(i == blocks);
            frame.extend_from_slice(&header.to_le_bytes()[..3]);
            frame.push(0);
        }
        assert!(frame.len() < 40_000);
        assert_eq!(content_bound(&frame), Some(u64::from(CONTENT_BYTES)));
        let (folder, entries) = chain_of(20, &frame, u64::from(CONTENT_BYTES), 0);
        let error = decode_last(&folder, &entries).unwrap_err();
        assert!(error.contains("more than 17179869184 bytes of content"), "{error}");
    }

    #[test]
    fn a_declared_length_gets_no_memory_that_the_frame_cannot_fill() {
        let frame = zstd::bulk::compress(&[7; 1000], 3).unwrap();
        assert_eq!(decode_bytes(&frame, 1000, None).unwrap(), [7; 1000]);
        let error = decode_bytes(&frame, u64::from(u32::MAX), None).unwrap_err();
        assert!(error.contains("its frame can hold"), "{error}");
    }
}
