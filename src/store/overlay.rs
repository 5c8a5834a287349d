//! A [`Medium`] over another one that is only read: what is written stays in memory, and
//! goes with it. For trying out what a command would do.

use super::{FileBytes, Medium};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What has been written over another medium. A file is copied into memory whole when
/// it is first written to: meant for heads and segments, not for packs.
#[derive(Debug)]
pub struct Overlay {
    below: Arc<dyn Medium>,
    /// By name; none if it was removed.
    files: Mutex<BTreeMap<String, Option<Vec<u8>>>>,
}

impl Overlay {
    /// Over `below`, nothing written yet.
    pub fn new(below: Arc<dyn Medium>) -> Overlay {
        Overlay {
            below,
            files: Mutex::default(),
        }
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<String, Option<Vec<u8>>>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `written` of the file as it was written here, or else `below`.
    fn look<T>(
        &self,
        name: &str,
        written: impl FnOnce(&[u8]) -> io::Result<T>,
        below: impl FnOnce(&dyn Medium) -> io::Result<T>,
    ) -> io::Result<T> {
        match self.files().get(name) {
            Some(Some(bytes)) => written(bytes),
            Some(None) => Err(io::ErrorKind::NotFound.into()),
            None => below(&*self.below),
        }
    }
}

impl Medium for Overlay {
    fn list(&self, folder: &str) -> io::Result<Vec<(String, u64)>> {
        let mut found: BTreeMap<String, u64> = self.below.list(folder)?.into_iter().collect();
        for (path, bytes) in &*self.files() {
            let (of, name) = path.rsplit_once('/').unwrap_or(("", path));
            if of != folder {
                continue;
            }
            match bytes {
                Some(bytes) => found.insert(name.to_owned(), bytes.len() as u64),
                None => found.remove(name),
            };
        }
        Ok(found.into_iter().collect())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.look(name, |bytes| Ok(bytes.to_vec()), |below| below.read(name))
    }

    fn len(&self, name: &str) -> io::Result<u64> {
        self.look(name, |bytes| Ok(bytes.len() as u64), |below| below.len(name))
    }

    fn read_at(&self, name: &str, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let written = |bytes: &[u8]| {
            let start = usize::try_from(offset).unwrap_or(usize::MAX);
            let found = bytes.get(start..start.saturating_add(len));
            found
                .map(<[u8]>::to_vec)
                .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
        };
        self.look(name, written, |below| below.read_at(name, offset, len))
    }

    fn open_sealed(&self, name: &str) -> io::Result<FileBytes> {
        let written = |bytes: &[u8]| Ok(FileBytes::Held(bytes.to_vec()));
        self.look(name, written, |below| below.open_sealed(name))
    }

    fn create(&self, name: &str) -> io::Result<()> {
        if self.len(name).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.files().insert(name.to_owned(), Some(Vec::new()));
        Ok(())
    }

    fn create_folder(&self, _folder: &str) -> io::Result<()> {
        Ok(())
    }

    fn write_at(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let end = start.checked_add(bytes.len()).ok_or(io::ErrorKind::FileTooLarge)?;
        let mut files = self.files();
        if !files.contains_key(name) {
            files.insert(name.to_owned(), Some(self.below.read(name)?));
        }
        let Some(Some(file)) = files.get_mut(name) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        if file.len() < end {
            file.resize(end, 0);
        }
        file[start..end].copy_from_slice(bytes);
        Ok(())
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        self.len(name).map(drop)
    }

    fn sync_folder(&self, _folder: &str) -> io::Result<()> {
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.len(name)?;
        self.files().insert(name.to_owned(), None);
        Ok(())
    }

    /// Nobody else can write here.
    fn lock(&self) -> io::Result<()> {
        Ok(())
    }

    fn describe(&self) -> String {
        self.below.describe()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;
    use crate::store::DiskMedium;

    #[test]
    fn it_is_like_the_medium_below_which_stays_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("packs")).unwrap();
        for (name, text) in [("head0", "zero"), ("packs/1", "one"), ("packs/2", "two")] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let disk = Arc::new(DiskMedium::new(folder.path()));
        let overlay = Overlay::new(disk.clone());
        overlay.lock().unwrap();
        overlay.create("packs/3").unwrap();
        assert_eq!(
            overlay.create("packs/1").unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
        overlay.write_at("packs/3", 2, b"ee").unwrap();
        overlay.write_at("packs/1", 1, b"wn and more").unwrap();
        overlay.remove("packs/2").unwrap();
        overlay.sync("packs/3").unwrap();
        assert_eq!(
            overlay.list("packs").unwrap(),
            [("1".to_owned(), 12), ("3".to_owned(), 4)]
        );
        assert_eq!(overlay.list("").unwrap(), [("head0".to_owned(), 4)]);
        assert_eq!(overlay.read("packs/1").unwrap(), b"own and more");
        assert_eq!(overlay.read_at("packs/3", 1, 3).unwrap(), b"\0ee");
        assert_eq!(
            overlay.read_at("packs/3", 1, 4).unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
        assert_eq!(overlay.open_sealed("packs/1").unwrap().as_ref(), b"own and more");
        assert_eq!(overlay.open_sealed("head0").unwrap().as_ref(), b"zero");
        for result in [
            overlay.sync("packs/2"),
            overlay.write_at("packs/2", 0, b"x"),
            overlay.remove("none"),
        ] {
            assert_eq!(result.unwrap_err().kind(), io::ErrorKind::NotFound);
        }
        assert_eq!(disk.list("packs").unwrap(), [("1".to_owned(), 3), ("2".to_owned(), 3)]);
        assert_eq!(disk.read("packs/1").unwrap(), b"one");
    }
}
