//! A bad drive: what `copy` and `apply` must get along with.

use cratehold::store::{DiskMedium, FileBytes, Medium};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// A drive: a folder that may be full, be pulled out, or not keep what is written.
#[derive(Debug)]
pub struct Drive {
    pub disk: DiskMedium,
    pub room_bytes: AtomicU64,
    /// Writes and syncs until it is pulled out.
    pub calls_left: AtomicU64,
    /// Of all writes at offsets from here on, the last byte is changed.
    pub forgets_from: u64,
}

impl Drive {
    pub fn new(folder: &Path) -> Drive {
        Drive {
            disk: DiskMedium::new(folder),
            room_bytes: AtomicU64::new(u64::MAX),
            calls_left: AtomicU64::new(u64::MAX),
            forgets_from: u64::MAX,
        }
    }

    fn call(&self) -> io::Result<()> {
        let left = self.calls_left.load(Ordering::Relaxed);
        if left == 0 {
            return Err(io::Error::other("no such device"));
        }
        self.calls_left.store(left - 1, Ordering::Relaxed);
        Ok(())
    }
}

impl Medium for Drive {
    fn list(&self, folder: &str) -> io::Result<Vec<(String, u64)>> {
        self.disk.list(folder)
    }
    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.disk.read(name)
    }
    fn len(&self, name: &str) -> io::Result<u64> {
        self.disk.len(name)
    }
    fn read_at(&self, name: &str, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.disk.read_at(name, offset, len)
    }
    fn open_sealed(&self, name: &str) -> io::Result<FileBytes> {
        self.disk.open_sealed(name)
    }
    fn create(&self, name: &str) -> io::Result<()> {
        self.call()?;
        self.disk.create(name)
    }
    fn create_folder(&self, folder: &str) -> io::Result<()> {
        self.disk.create_folder(folder)
    }
    fn write_at(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.call()?;
        let room = self.room_bytes.load(Ordering::Relaxed);
        let fits = room.min(bytes.len() as u64);
        self.room_bytes.store(room - fits, Ordering::Relaxed);
        let mut kept = bytes[..fits as usize].to_vec();
        if let (true, Some(last)) = (offset >= self.forgets_from, kept.last_mut()) {
            *last ^= 1;
        }
        self.disk.write_at(name, offset, &kept)?;
        match fits < bytes.len() as u64 {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }
    fn sync(&self, name: &str) -> io::Result<()> {
        self.call()?;
        self.disk.sync(name)
    }
    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        self.call()?;
        self.disk.sync_folder(folder)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.call()?;
        self.disk.remove(name)
    }
    fn free_bytes(&self) -> Option<u64> {
        self.disk.free_bytes()
    }
    fn lock(&self) -> io::Result<()> {
        self.disk.lock()
    }
    fn describe(&self) -> String {
        self.disk.describe()
    }
}
