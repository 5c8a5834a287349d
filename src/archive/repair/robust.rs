//! Reading what can be read of a file on a failing medium.

use super::super::Error;
use crate::store::Medium;

/// Read at once while all goes well, and where it does not.
const CHUNK_BYTES: usize = 1 << 20;
const SECTOR_BYTES: usize = 4096;

/// `len` bytes of a file from `offset` on, as many as there are; a sector that cannot
/// be read comes out as zeros. Empty if there is no such file.
///
/// # Errors
/// When the folder itself cannot be read.
pub(in crate::archive) fn read(medium: &dyn Medium, name: &str, offset: u64, len: u64) -> Result<Vec<u8>, Error> {
    let file_bytes = match medium.len(name) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
        Err(error) => return Err(Error::io(name)(error)),
    };
    let end = offset.saturating_add(len).min(file_bytes);
    let mut bytes = Vec::new();
    let mut at = offset.min(end);
    while at < end {
        let chunk = CHUNK_BYTES.min((end - at) as usize);
        match medium.read_at(name, at, chunk) {
            Ok(read) => bytes.extend_from_slice(&read),
            Err(_) => {
                for from in (0..chunk).step_by(SECTOR_BYTES) {
                    let sector = SECTOR_BYTES.min(chunk - from);
                    let read = medium.read_at(name, at + from as u64, sector);
                    bytes.extend_from_slice(&read.unwrap_or_else(|_| vec![0; sector]));
                }
            }
        }
        at += chunk as u64;
    }
    Ok(bytes)
}
