//! Memory maps of sealed files: the only place of the store with `unsafe`.
#![allow(
    unsafe_code,
    reason = "mapping a file is unsafe by nature; the proof stands at the call"
)]

use super::reads;
use std::fs::File;
use std::io::{self, Read};

/// A sealed file's bytes.
#[derive(Debug)]
pub enum FileBytes {
    /// Mapped.
    Mapped(memmap2::Mmap),
    /// Read into memory: empty files, and where maps are not safe.
    Held(Vec<u8>),
}

impl AsRef<[u8]> for FileBytes {
    fn as_ref(&self) -> &[u8] {
        match self {
            FileBytes::Mapped(map) => map,
            FileBytes::Held(bytes) => bytes,
        }
    }
}

pub(super) fn map(file: &File) -> io::Result<FileBytes> {
    let bytes = file.metadata()?.len();
    if bytes == 0 {
        return Ok(FileBytes::Held(Vec::new()));
    }
    if reads::is_plain(file) {
        let mut held = Vec::with_capacity(usize::try_from(bytes).map_err(|_| io::ErrorKind::OutOfMemory)?);
        let mut file: &File = file;
        file.read_to_end(&mut held)?;
        return Ok(FileBytes::Held(held));
    }
    // SAFETY: the map is only ever read, as plain bytes. Only segments are mapped,
    // which cratehold never changes or shortens once they have their name in a
    // head [R 10.1]. Should another program change one underneath, every page is
    // still bounds- and checksum-checked by `format::pages` when it is first used,
    // and no code relies on bytes staying equal for memory safety: all decoding is
    // safe code over slices whose length is fixed at the time of mapping. Should
    // another program cut the file short, or the drive be pulled out, the process
    // ends with SIGBUS; where that is to be expected `reads` has files read instead.
    unsafe { memmap2::Mmap::map(file) }.map(FileBytes::Mapped)
}
