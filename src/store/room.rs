//! Memory for what is long and soon done with.

use memmap2::MmapMut;
use std::io;
use std::ops::{Deref, DerefMut};

/// What memory is asked for in multiples of: a large page of most processors.
const LARGE_PAGE_BYTES: usize = 2 << 20;

/// Zeroed memory from the system, in large pages where it has some to give. To find 2.3 MB
/// of small pages takes it four times as long as to write to them, of large ones as long
/// again.
#[derive(Debug)]
pub struct Room(MmapMut);

impl Room {
    /// Of at least so many bytes, of which those never written to take none.
    ///
    /// # Errors
    /// When the system has no such memory.
    pub fn new(least_bytes: usize) -> io::Result<Room> {
        let bytes = least_bytes
            .max(1)
            .checked_next_multiple_of(LARGE_PAGE_BYTES)
            .ok_or(io::ErrorKind::OutOfMemory)?;
        let map = MmapMut::map_anon(bytes)?;
        // Without them it is only slower.
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        Ok(Room(map))
    }
}

impl Deref for Room {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for Room {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;

    #[test]
    fn a_room_is_zeroed_and_long_enough_or_refused() {
        for bytes in [0, 1, LARGE_PAGE_BYTES, LARGE_PAGE_BYTES + 1] {
            let mut room = Room::new(bytes).unwrap();
            assert!(room.len() >= bytes && room.iter().all(|&byte| byte == 0));
            room.fill(7);
        }
        assert!(Room::new(usize::MAX).is_err());
        assert!(Room::new(usize::MAX / 2).is_err());
    }
}
