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

/// Decodes the content of `entry`; `find` looks bases up, `cached` may have them.
pub(super) fn decode(
    medium: &dyn Medium,
    entry: &Entry,
    find: &dyn Fn(&Digest) -> Result<Option<Entry>, Error>,
    cached: &dyn Fn(&Digest) -> Option<Arc<Vec<u8>>>,
) -> Result<(RecordMeta, Arc<Vec<u8>>), Error> {
    let mut todo = vec![(*entry, read_record(medium, entry)?)];
    let mut content: Option<Arc<Vec<u8>>> = None;
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
        let record =
            read_record(medium, &base_entry).map_err(|error| of(format!("its base cannot be read: {error}")))?;
        todo.push((base_entry, record));
    }
    while let Some((entry, record)) = todo.pop() {
        let decoded = decode_frame(&record, content.as_ref().map(|base| &base[..]))
            .and_then(|decoded| match pack::check_content(&record.meta, &decoded) {
                Ok(()) => Ok(decoded),
                Err(damage) => Err(damage.to_string()),
            })
            .map_err(|cause| blob_error(&entry, Some(&record.meta), cause))?;
        let decoded = Arc::new(decoded);
        if todo.is_empty() {
            return Ok((record.meta, decoded));
        }
        content = Some(decoded);
    }
    Err(blob_error(entry, None, "an empty chain"))
}

/// One frame's content, from its base's. [R 5.8]
pub(super) fn decode_frame(record: &Record, base: Option<&[u8]>) -> Result<Vec<u8>, String> {
    decode_bytes(record.frame(), record.meta.content_bytes, base)
}

pub(super) fn decode_bytes(frame: &[u8], content_bytes: u64, base: Option<&[u8]>) -> Result<Vec<u8>, String> {
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
    let mut content = Vec::new();
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

    #[test]
    fn a_declared_length_gets_no_memory_that_the_frame_cannot_fill() {
        let frame = zstd::bulk::compress(&[7; 1000], 3).unwrap();
        assert_eq!(decode_bytes(&frame, 1000, None).unwrap(), [7; 1000]);
        let error = decode_bytes(&frame, u64::from(u32::MAX), None).unwrap_err();
        assert!(error.contains("its frame can hold"), "{error}");
    }
}
