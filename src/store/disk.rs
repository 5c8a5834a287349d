//! A [`Medium`] that is a folder of the file system.

use super::{FileBytes, Medium, map};
use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// A folder on a disk.
#[derive(Debug)]
pub struct DiskMedium {
    folder: PathBuf,
    /// Open handles by name. All reading and writing is positional, so that threads
    /// share a handle without waiting for each other.
    handles: Mutex<HashMap<String, Arc<File>>>,
    lock: Mutex<Option<File>>,
}

impl DiskMedium {
    /// The folder at `path`, which need not exist yet.
    pub fn new(path: &Path) -> DiskMedium {
        DiskMedium {
            folder: path.to_owned(),
            handles: Mutex::default(),
            lock: Mutex::default(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        let mut path = self.folder.clone();
        path.extend(name.split('/').filter(|part| !part.is_empty()));
        path
    }

    fn handle(&self, name: &str, write: bool) -> io::Result<Arc<File>> {
        let key = format!("{name}{}", if write { "+" } else { "" });
        let mut handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(handle) = handles.get(&key) {
            return Ok(handle.clone());
        }
        let file = OpenOptions::new().read(true).write(write).open(self.path(name))?;
        let handle = Arc::new(file);
        handles.insert(key, handle.clone());
        Ok(handle)
    }
}

impl Drop for DiskMedium {
    /// Unlocks by name rather than by closing: a child process that another thread is
    /// just starting shares the handle until it runs its program, and would keep the
    /// lock for that moment.
    fn drop(&mut self) {
        let held = self.lock.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = held.take() {
            let _ = file.set_len(0);
            // Closing it unlocks too, if this fails.
            let _ = file.unlock();
        }
    }
}

impl Medium for DiskMedium {
    fn list(&self, folder: &str) -> io::Result<Vec<(String, u64)>> {
        let entries = match std::fs::read_dir(self.path(folder)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let mut files = Vec::new();
        for entry in entries {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if let (true, Ok(name)) = (metadata.is_file(), entry.file_name().into_string()) {
                files.push((name, metadata.len()));
            }
        }
        files.sort();
        Ok(files)
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        std::fs::read(self.path(name))
    }

    fn len(&self, name: &str) -> io::Result<u64> {
        Ok(std::fs::metadata(self.path(name))?.len())
    }

    fn read_at(&self, name: &str, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let file = self.handle(name, false)?;
        // Never trust a length from disk for an allocation: the file must have it.
        if offset.saturating_add(len as u64) > file.metadata()?.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut bytes = vec![0; len];
        positional::read_exact(&file, &mut bytes, offset)?;
        Ok(bytes)
    }

    fn read_into(&self, name: &str, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        positional::read_exact(&*self.handle(name, false)?, bytes, offset)
    }

    fn open_sealed(&self, name: &str) -> io::Result<FileBytes> {
        map::map(&File::open(self.path(name))?)
    }

    fn create(&self, name: &str) -> io::Result<()> {
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(self.path(name))
            .map(drop)
    }

    fn create_folder(&self, folder: &str) -> io::Result<()> {
        let path = self.path(folder);
        let missing: Vec<PathBuf> = path
            .ancestors()
            .take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists())
            .map(Path::to_owned)
            .collect();
        std::fs::create_dir_all(&path)?;
        for made in missing {
            // The one above may be another's, whose owner has to see to it.
            let above = made.parent().filter(|above| !above.as_os_str().is_empty());
            let _ = sync_folder_at(above.unwrap_or(Path::new(".")));
        }
        Ok(())
    }

    fn write_at(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        positional::write_all(&*self.handle(name, true)?, bytes, offset)
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        sync_all(&*self.handle(name, true)?)
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        sync_folder_at(&self.path(folder))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        handles.remove(name);
        handles.remove(&format!("{name}+"));
        std::fs::remove_file(self.path(name))
    }

    #[cfg(target_os = "linux")]
    fn forget(&self, name: &str) {
        if let Ok(file) = self.handle(name, false) {
            let _ = rustix::fs::fadvise(&*file, 0, None, rustix::fs::Advice::DontNeed);
        }
    }

    #[cfg(unix)]
    fn free_bytes(&self) -> Option<u64> {
        let free = rustix::fs::statvfs(&self.folder).ok()?;
        free.f_bavail.checked_mul(free.f_frsize)
    }

    fn lock(&self) -> io::Result<()> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.path("lock"))?;
        match file.try_lock() {
            Ok(()) => {
                *self.lock.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
                Ok(())
            }
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn sign_lock(&self, note: &str) {
        let held = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = held.as_ref() {
            // For people only: a full disk is no reason not to go on.
            let _ = file
                .set_len(0)
                .and_then(|()| positional::write_all(file, note.as_bytes(), 0));
        }
    }

    fn describe(&self) -> String {
        self.folder.display().to_string()
    }
}

#[cfg(unix)]
fn sync_folder_at(path: &Path) -> io::Result<()> {
    match File::open(path)?.sync_all() {
        // Some file systems (FAT through FUSE, network mounts) refuse this.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        other => other,
    }
}

/// Windows has no such call; NTFS journals its directory entries.
#[cfg(not(unix))]
fn sync_folder_at(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// Data and length of `file` onto the medium.
#[cfg(not(target_os = "macos"))]
fn sync_all(file: &File) -> io::Result<()> {
    file.sync_all()
}

/// As above. What the standard library asks for (F_FULLFSYNC: through the drive's own
/// cache too) some drives with foreign file systems, exFAT among them, do not know;
/// there, what they do know has to do.
#[cfg(target_os = "macos")]
fn sync_all(file: &File) -> io::Result<()> {
    const ENOTTY: i32 = 25;
    const ENOTSUP: i32 = 45;
    match file.sync_all() {
        Err(error) if matches!(error.raw_os_error(), Some(ENOTTY | ENOTSUP)) => Ok(rustix::fs::fsync(file)?),
        other => other,
    }
}

#[cfg(unix)]
mod positional {
    //! Reading and writing at an offset, which leaves a handle's own position alone.

    use std::fs::File;
    use std::io;
    use std::os::unix::fs::FileExt;

    pub(super) fn read_exact(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        file.read_exact_at(bytes, offset)
    }

    pub(super) fn write_all(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }
}

#[cfg(windows)]
mod positional {
    //! Reading and writing at an offset. Windows moves the handle's own position along,
    //! which nobody uses.

    use std::fs::File;
    use std::io;
    use std::os::windows::fs::FileExt;

    pub(super) fn read_exact(file: &File, mut bytes: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            match file.seek_read(bytes, offset) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => {
                    bytes = &mut bytes[read..];
                    offset += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    pub(super) fn write_all(file: &File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            match file.seek_write(bytes, offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    bytes = &bytes[written..];
                    offset += written as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
