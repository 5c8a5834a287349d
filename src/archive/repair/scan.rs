//! Finding the records of a pack without an index, past damage too. [R 10.8]

use super::super::write::entry_of;
use crate::format::index::Entry;
use crate::format::pack::{self, MAX_PACK_BYTES, PackHeader, RECORD_MAGIC, RecordMeta};

/// A record found in a pack.
#[derive(Debug)]
pub(in crate::archive) struct Found {
    pub entry: Entry,
    /// Its frame's checksum is right.
    pub is_whole: bool,
    /// It follows the header or another record at once. What only looks like a record
    /// may lie inside a frame, so one that is in line goes before one that is not.
    pub is_in_line: bool,
}

/// What is in a pack file.
#[derive(Debug)]
pub(in crate::archive) struct Scanned {
    /// Its header, if that can be read.
    pub header: Option<PackHeader>,
    /// Its records, in order.
    pub records: Vec<Found>,
    /// Where the last of them ends, or the header.
    pub end: u64,
}

/// Finds the records in `bytes`, the file of pack number `pack`.
pub(in crate::archive) fn scan(bytes: &[u8], pack: u32) -> Scanned {
    let (header, mut at) = match PackHeader::decode(bytes) {
        Ok((header, end)) => (Some(header), end as usize),
        Err(_) => (None, 0),
    };
    let mut is_in_line = header.is_some();
    let mut scanned = Scanned {
        header,
        records: Vec::new(),
        end: at as u64,
    };
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let Ok((meta, frame_offset)) = RecordMeta::decode(rest) else {
            is_in_line = false;
            match next_magic(bytes, at + 1) {
                Some(next) => at = next,
                None => break,
            }
            continue;
        };
        let record_bytes = frame_offset + meta.frame_bytes;
        let end = at as u64 + record_bytes;
        if end > MAX_PACK_BYTES {
            at += 1;
            continue;
        }
        let frame = rest.get(frame_offset as usize..record_bytes as usize);
        let is_whole = frame.is_some_and(|frame| pack::check_frame(&meta, frame).is_ok());
        scanned.records.push(Found {
            entry: entry_of(&meta, pack, at as u64, record_bytes),
            is_whole,
            is_in_line,
        });
        scanned.end = end.min(bytes.len() as u64);
        // A frame that is not whole may have lost more than bytes: records behind it
        // are where their magic is.
        is_in_line = is_whole || (is_in_line && bytes.get(end as usize..).is_some_and(starts_record));
        at = match is_in_line {
            true => end as usize,
            false => match next_magic(bytes, at + frame_offset as usize) {
                Some(next) => next,
                None => break,
            },
        };
    }
    scanned
}

fn starts_record(bytes: &[u8]) -> bool {
    bytes.is_empty() || bytes.starts_with(&RECORD_MAGIC.to_le_bytes())
}

fn next_magic(bytes: &[u8], from: usize) -> Option<usize> {
    let magic = RECORD_MAGIC.to_le_bytes();
    let mut at = from;
    while let Some(found) = bytes.get(at..)?.iter().position(|byte| *byte == magic[0]) {
        at += found;
        if bytes[at..].starts_with(&magic) {
            return Some(at);
        }
        at += 1;
    }
    None
}
