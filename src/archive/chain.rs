//! Decoding a frame and the bases it needs.

use super::Error;
use crate::format::frame::content_bound;
use crate::format::index::Entry;
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

/// Decodes the content of `entry`; `find` looks bases up, `cached` may have them, and
/// `on_the_way` is shown those that were decoded.
pub(super) fn decode(
    medium: &dyn Medium,
    entry: &Entry,
    find: &dyn Fn(&Digest) -> Result<Option<Entry>, Error>,
    cached: &dyn Fn(&Digest) -> Option<Arc<Vec<u8>>>,
    on_the_way: &dyn Fn(&Entry, &Arc<Vec<u8>>),
) -> Result<(RecordMeta, Arc<Vec<u8>>), Error> {
    let mut todo = vec![(*entry, read_record(medium, entry)?)];
    let mut content: Option<Arc<Vec<u8>>> = None;
    let mut chain_bytes = 0u64;
    while let Some(base) = todo.last().and_then(|(_, record)| record.meta.base).map(Digest) {
        if let Some(held) = cached(&base) {
            content = Some(held);
            break;
        }
        let of = |cause: String| blob_error(entry, todo.first().map(|(_, record)| &record.meta), cause);
        let base_entry = find(&base)?.ok_or_else(|| of(format!("its base {base} is not held")))?;
        if todo.len() >= MAX_CHAIN_FRAMES {
            return Err(of(format!("its chain has more than {MAX_CHAIN_FRAMES} frames")));
        }
        chain_bytes += todo.last().map_or(0, |(_, record)| record.meta.content_bytes);
        if chain_bytes > MAX_CHAIN_BYTES {
            return Err(of(format!(
                "its chain has more than {MAX_CHAIN_BYTES} bytes of content"
            )));
        }
        let record =
            read_record(medium, &base_entry).map_err(|error| of(format!("its base cannot be read: {error}")))?;
        todo.push((base_entry, record));
    }
    // Memory that the system has to find first takes as long as decoding into it: so what
    // only the frames above needed is used again.
    let mut spare = Vec::new();
    while let Some((entry, record)) = todo.pop() {
        let is_last = todo.is_empty();
        let base = content.as_ref().map(|base| &base[..]);
        let mut room = std::mem::take(&mut spare);
        if is_last && room.capacity() as u64 > record.meta.content_bytes / 4 * 5 {
            // It may be kept for long, so that it gets no more than it needs.
            room = Vec::new();
        }
        let decoded = decode_into(room, record.frame(), record.meta.content_bytes, base)
            .and_then(|decoded| match pack::check_content(&record.meta, &decoded) {
                Ok(()) => Ok(decoded),
                Err(damage) => Err(damage.to_string()),
            })
            .map_err(|cause| blob_error(&entry, Some(&record.meta), cause))?;
        let decoded = Arc::new(decoded);
        if is_last {
            return Ok((record.meta, decoded));
        }
        on_the_way(&entry, &decoded);
        if let Some(Ok(done_with)) = content.replace(decoded).map(Arc::try_unwrap) {
            spare = done_with;
        }
    }
    Err(blob_error(entry, None, "an empty chain"))
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
    // Lengths that are only declared get no memory: a small record could ask for 4 GiB.
    // Of what is no frame zstd says why, and needs none.
    let room_bytes = match content_bound(frame) {
        Some(bound) if content_bytes > bound => {
            return Err(format!(
                "{content_bytes} bytes of content declared, its frame can hold {bound}"
            ));
        }
        Some(_) => content_bytes,
        None => 0,
    };
    content.clear();
    content
        .try_reserve_exact(room_bytes as usize)
        .map_err(|_| format!("no memory for {content_bytes} bytes of content"))?;
    let zstd = |code| zstd::zstd_safe::get_error_name(code).to_owned();
    let mut context = zstd::zstd_safe::DCtx::create();
    if let Some(base) = base {
        context.ref_prefix(base).map_err(zstd)?;
    }
    context.decompress(&mut content, frame).map_err(zstd)?;
    Ok(content)
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
