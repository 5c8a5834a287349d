//! Files, maps and locks: all I/O of an archive goes through [`Medium`]; and memory of the
//! system ([`Room`]).
//!
//! Nothing here knows what the bytes mean. The only `unsafe` of the store is in
//! `map`.

mod disk;
mod holder;
mod map;
mod overlay;
mod reads;
mod room;

pub use disk::DiskMedium;
pub use holder::Holder;
pub use map::FileBytes;
pub use overlay::Overlay;
pub use reads::{Reads, set_reads};
pub use room::Room;

use std::io;

/// One archive's folder. Names are relative, with `/` between folder and file.
///
/// A published byte is never changed, except in the two heads; so handles may be
/// kept open, and a reader needs no lock.
pub trait Medium: Send + Sync + std::fmt::Debug {
    /// The files of a folder with their lengths, by name; none if it is absent.
    ///
    /// # Errors
    /// Whatever the operating system says.
    fn list(&self, folder: &str) -> io::Result<Vec<(String, u64)>>;

    /// A whole file, read into memory.
    ///
    /// # Errors
    /// Whatever the operating system says.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;

    /// A file's current length.
    ///
    /// # Errors
    /// Whatever the operating system says.
    fn len(&self, name: &str) -> io::Result<u64>;

    /// Exactly `len` bytes from `offset` on.
    ///
    /// # Errors
    /// `UnexpectedEof` when the file is shorter.
    fn read_at(&self, name: &str, offset: u64, len: usize) -> io::Result<Vec<u8>>;

    /// As [`Medium::read_at`], into memory that is there already: all of `bytes`.
    ///
    /// # Errors
    /// As [`Medium::read_at`].
    fn read_into(&self, name: &str, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        bytes.copy_from_slice(&self.read_at(name, offset, bytes.len())?);
        Ok(())
    }

    /// A whole file that will not change any more.
    ///
    /// # Errors
    /// Whatever the operating system says.
    fn open_sealed(&self, name: &str) -> io::Result<FileBytes>;

    /// Makes a new, empty file.
    ///
    /// # Errors
    /// `AlreadyExists` when there is one.
    fn create(&self, name: &str) -> io::Result<()>;

    /// Makes a folder, and those above it, where they are missing. The name of one inside
    /// the archive is on the medium after [`Medium::sync_folder`]; the archive's own (`""`)
    /// when this returns, as far as the system lets us.
    ///
    /// # Errors
    /// Whatever the operating system says.
    fn create_folder(&self, folder: &str) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// Whatever the operating system says, a full disk among it.
    fn write_at(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Returns once a file's data and length are on the medium. After an error
    /// nothing written since the last sync may be relied on.
    ///
    /// # Errors
    /// Whatever the operating system says.
    fn sync(&self, name: &str) -> io::Result<()>;

    /// Returns once a folder's entries are on the medium (`""` is the archive).
    ///
    /// # Errors
    /// Whatever the operating system says.
    fn sync_folder(&self, folder: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// Whatever the operating system says.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Lets go of what the operating system keeps of a synced file in memory, so that
    /// what is read next comes from the medium itself. Where that cannot be asked for,
    /// nothing happens.
    fn forget(&self, name: &str) {
        let _ = name;
    }

    /// How many bytes can still be written, where that is known.
    fn free_bytes(&self) -> Option<u64> {
        None
    }

    /// Becomes the one writer, until the medium is dropped.
    ///
    /// # Errors
    /// `WouldBlock` when another process is.
    fn lock(&self) -> io::Result<()>;

    /// Leaves a note in the lock file for those whom the lock keeps out, where there is
    /// one and that can be done. Whoever unlocks takes it away.
    fn sign_lock(&self, note: &str) {
        let _ = note;
    }

    /// The folder's path, for messages.
    fn describe(&self) -> String;
}
