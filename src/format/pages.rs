//! Segments: files of 4 KiB pages, each with a checksum of its own, so that
//! opening one costs the same at any size and yet no unchecked byte is used.
//! Spec section 6.

use super::{Damaged, FORMAT_VERSION, u32_at, u64_at};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// The unit of checking.
pub const PAGE_BYTES: usize = 4096;
/// Where a header's own fields begin. [R 6.2]
const FIELDS_OFFSET: usize = 32;
/// How many u64 fields a segment kind may have.
pub const MAX_FIELDS: usize = 16;

/// Builds a segment file from its body.
pub fn encode(magic: &[u8; 8], generation: u64, fields: &[u64], body: &[u8]) -> Vec<u8> {
    let mut encoder = Encoder::default();
    encoder.push(body);
    let header = encoder.finish(magic, generation, fields);
    [header, encoder.take()].concat()
}

/// Builds a segment file piece by piece: first all of its body, whose bytes are to be
/// taken and written in between, behind room for one page; then the header.
#[derive(Debug, Default)]
pub struct Encoder {
    ready: Vec<u8>,
    body_bytes: u64,
    page: crc32fast::Hasher,
    checksums: Vec<u8>,
}

impl Encoder {
    /// Appends to the body.
    pub fn push(&mut self, mut bytes: &[u8]) {
        self.ready.extend_from_slice(bytes);
        while !bytes.is_empty() {
            let room = PAGE_BYTES - self.body_bytes as usize % PAGE_BYTES;
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.page.update(now);
            self.body_bytes += now.len() as u64;
            if now.len() == room {
                let page = std::mem::take(&mut self.page);
                self.checksums.extend(page.finalize().to_le_bytes());
            }
            bytes = later;
        }
    }

    /// Length of the body so far.
    pub fn body_bytes(&self) -> u64 {
        self.body_bytes
    }

    /// How many bytes wait to be taken.
    pub fn ready_bytes(&self) -> usize {
        self.ready.len()
    }

    /// What has come since this was asked last; it goes behind what was taken before.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.ready)
    }

    /// Ends the body: what is to be taken then is the last. Returns the header page,
    /// which goes before all of it.
    pub fn finish(&mut self, magic: &[u8; 8], generation: u64, fields: &[u64]) -> Vec<u8> {
        let body_bytes = self.body_bytes;
        let padding = body_bytes.next_multiple_of(PAGE_BYTES as u64) - body_bytes;
        self.push(&[0; PAGE_BYTES][..padding as usize]);
        self.ready.append(&mut self.checksums);
        let mut header = Vec::with_capacity(PAGE_BYTES);
        header.extend_from_slice(magic);
        header.extend(FORMAT_VERSION.to_le_bytes());
        header.extend([0; 4]);
        header.extend(generation.to_le_bytes());
        header.extend(body_bytes.to_le_bytes());
        for field in fields {
            header.extend(field.to_le_bytes());
        }
        header.resize(PAGE_BYTES, 0);
        let crc = crc32fast::hash(&header);
        header[12..16].copy_from_slice(&crc.to_le_bytes());
        header
    }
}

fn header_crc32(header: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&header[..12]);
    crc.update(&[0; 4]);
    crc.update(&header[16..PAGE_BYTES]);
    crc.finalize()
}

/// The parts of a segment file that are right by their checksums, in order: its header,
/// pages of its body, checksums of these. Nothing, if no segment can have that length.
pub fn right_ranges(file: &[u8]) -> Vec<Range<u64>> {
    let page = PAGE_BYTES as u64;
    let Some(body) = (file.len() as u64).checked_sub(page) else {
        return Vec::new();
    };
    let pages = body / (page + 4);
    if body % (page + 4) != 0 {
        return Vec::new();
    }
    let checksum_at = |i: u64| page * (pages + 1) + 4 * i;
    let bytes = |i: u64| &file[(page * i) as usize..(page * (i + 1)) as usize];
    let is_right = |i: &u64| crc32fast::hash(bytes(i + 1)) == u32_at(file, checksum_at(*i) as usize);
    let right: Vec<u64> = (0..pages).filter(is_right).collect();
    let mut ranges = Vec::new();
    if header_crc32(bytes(0)) == u32_at(file, 12) {
        ranges.push(0..page);
    }
    ranges.extend(right.iter().map(|i| page * (i + 1)..page * (i + 2)));
    ranges.extend(right.iter().map(|i| checksum_at(*i)..checksum_at(i + 1)));
    ranges
}

/// A segment's bytes, each page checked when it is first touched.
#[derive(Debug)]
pub struct Pages<B> {
    bytes: B,
    body_bytes: u64,
    generation: u64,
    fields: [u64; MAX_FIELDS],
    /// One bit per body page: its checksum was found right.
    checked: Vec<AtomicU64>,
}

impl<B: AsRef<[u8]>> Pages<B> {
    /// Checks the header page and the file's length; the body waits. [R 6.3]
    ///
    /// # Errors
    /// On any mismatch.
    pub fn open(bytes: B, magic: &[u8; 8]) -> Result<Pages<B>, Damaged> {
        let all = bytes.as_ref();
        let header = super::slice(all, 0, PAGE_BYTES as u64, "segment header")?;
        if &header[..8] != magic {
            return Err(Damaged::new(
                "segment magic",
                0,
                magic.escape_ascii(),
                header[..8].escape_ascii(),
            ));
        }
        if u32_at(header, 8) != FORMAT_VERSION {
            return Err(Damaged::new(
                "segment format version",
                8,
                FORMAT_VERSION,
                u32_at(header, 8),
            ));
        }
        let found = header_crc32(header);
        if found != u32_at(header, 12) {
            let expected = format!("{:08x}", u32_at(header, 12));
            return Err(Damaged::new(
                "segment header checksum",
                12,
                expected,
                format!("{found:08x}"),
            ));
        }
        let generation = u64_at(header, 16);
        let body_bytes = u64_at(header, 24);
        let pages = body_bytes.div_ceil(PAGE_BYTES as u64);
        let expected = pages
            .checked_mul(PAGE_BYTES as u64 + 4)
            .and_then(|n| n.checked_add(PAGE_BYTES as u64));
        if expected != Some(all.len() as u64) {
            let expected = expected.map_or("a possible length".into(), |n| format!("{n} bytes"));
            return Err(Damaged::new("segment length", 24, expected, all.len()));
        }
        let mut fields = [0; MAX_FIELDS];
        for (i, field) in fields.iter_mut().enumerate() {
            *field = u64_at(header, FIELDS_OFFSET + 8 * i);
        }
        let checked = (0..pages.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        Ok(Pages {
            bytes,
            body_bytes,
            generation,
            fields,
            checked,
        })
    }

    /// The generation that wrote the segment.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The header's own field `i`, below [`MAX_FIELDS`].
    pub fn field(&self, i: usize) -> u64 {
        self.fields[i]
    }

    /// Length of the whole file.
    pub fn file_bytes(&self) -> u64 {
        self.bytes.as_ref().len() as u64
    }

    /// Length of the body.
    pub fn body_bytes(&self) -> u64 {
        self.body_bytes
    }

    /// Body bytes from `offset` on, every page of them checked.
    ///
    /// # Errors
    /// When they lie outside the body, or a page's checksum is wrong; the
    /// offset named is that of the page in the file.
    #[inline]
    pub fn get(&self, offset: u64, len: u64) -> Result<&[u8], Damaged> {
        let end = offset.checked_add(len).filter(|&end| end <= self.body_bytes);
        let Some(end) = end else {
            return Err(Damaged::new(
                "segment reference",
                offset,
                format!("within {}", self.body_bytes),
                len,
            ));
        };
        if len > 0 {
            for page in offset as usize / PAGE_BYTES..=(end as usize - 1) / PAGE_BYTES {
                let bit = 1 << (page % 64);
                if self.checked[page / 64].load(Ordering::Relaxed) & bit == 0 {
                    self.check_page(page)?;
                    self.checked[page / 64].fetch_or(bit, Ordering::Relaxed);
                }
            }
        }
        Ok(&self.bytes.as_ref()[PAGE_BYTES + offset as usize..PAGE_BYTES + end as usize])
    }

    #[cold]
    fn check_page(&self, page: usize) -> Result<(), Damaged> {
        let all = self.bytes.as_ref();
        let pages = (self.body_bytes as usize).div_ceil(PAGE_BYTES);
        let at = PAGE_BYTES * (page + 1);
        let expected = u32_at(all, PAGE_BYTES * (pages + 1) + 4 * page);
        let found = crc32fast::hash(&all[at..at + PAGE_BYTES]);
        if expected == found {
            return Ok(());
        }
        Err(Damaged::new(
            "segment page checksum",
            at as u64,
            format!("{expected:08x}"),
            format!("{found:08x}"),
        ))
    }

    /// Checks every page, whatever was checked before.
    ///
    /// # Errors
    /// The first page that is wrong.
    pub fn verify(&self) -> Result<(), Damaged> {
        (0..(self.body_bytes as usize).div_ceil(PAGE_BYTES)).try_for_each(|page| self.check_page(page))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flip_and_cut_is_noticed() {
        let body: Vec<u8> = (0..9000u32).map(|i| (i * 7 % 251) as u8).collect();
        let bytes = encode(b"TESTTEST", 4, &[11, 12], &body);
        let pages = Pages::open(&bytes[..], b"TESTTEST").unwrap();
        assert_eq!((pages.generation(), pages.field(1), pages.body_bytes()), (4, 12, 9000));
        assert_eq!(pages.get(4000, 5000).unwrap(), &body[4000..]);
        assert!(pages.get(1, 9000).is_err());
        assert!(pages.get(u64::MAX, 2).is_err());
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            let noticed = Pages::open(&bad[..], b"TESTTEST").and_then(|pages| pages.verify());
            assert!(noticed.is_err(), "flip at {at}");
            assert!(Pages::open(&bytes[..at], b"TESTTEST").is_err(), "cut at {at}");
        }
    }

    #[test]
    fn what_is_right_in_a_damaged_file_is_told() {
        let bytes = encode(b"TESTTEST", 4, &[11, 12], &[7; 9000]);
        let all = [0..4096, 4096..8192, 8192..12288, 12288..16384];
        let checksums = [16384..16388, 16388..16392, 16392..16396];
        assert_eq!(right_ranges(&bytes), [&all[..], &checksums].concat());
        for (at, lost) in [(40, vec![0]), (5000, vec![1, 4]), (16390, vec![2, 5])] {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            let mut left = [&all[..], &checksums].concat();
            for i in lost.iter().rev() {
                left.remove(*i);
            }
            assert_eq!(right_ranges(&bad), left, "flip at {at}");
        }
        for cut in [0, 4095, 16395] {
            assert_eq!(right_ranges(&bytes[..cut]), []);
        }
    }
}
