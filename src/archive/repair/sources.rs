//! Where whole bytes may come from.

use super::survey::Wanted;
use crate::archive::Archive;
use crate::ids::Digest;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Takes what a source has of each object wanted, or why it has not; says whether to
/// go on.
pub type Give<'a> = dyn FnMut(&Wanted, Result<Vec<u8>, String>) -> bool + 'a;

/// A place that crate files may come from. Nobody needs to trust it.
pub trait Source {
    /// Its name, for people.
    fn name(&self) -> String;

    /// Gives what it has, in the order in which it is wanted where that is no trouble.
    fn obtain(&mut self, wanted: &[Wanted], give: &mut Give<'_>);

    /// Says which it has, as far as that can be told cheaply.
    fn look(&mut self, wanted: &[Wanted], has: &mut dyn FnMut(&Wanted)) {
        self.obtain(wanted, &mut |wanted, bytes| {
            if bytes.is_ok_and(|bytes| Digest::of(&bytes) == wanted.digest) {
                has(wanted);
            }
            true
        });
    }
}

impl Source for Archive {
    fn name(&self) -> String {
        self.medium.describe()
    }

    fn obtain(&mut self, wanted: &[Wanted], give: &mut Give<'_>) {
        for wanted in wanted {
            let bytes = self.read_crate(&wanted.digest).map_err(|error| error.to_string());
            if !give(wanted, bytes) {
                return;
            }
        }
    }
}

/// Crate files on a disk, in any layout and under any name.
#[derive(Debug, Clone)]
pub struct LooseFiles {
    paths: Vec<PathBuf>,
    by_length: Option<HashMap<u64, Vec<PathBuf>>>,
    digests: HashMap<PathBuf, Digest>,
}

impl LooseFiles {
    /// The files among `paths`, and all below its folders.
    pub fn new(paths: Vec<PathBuf>) -> LooseFiles {
        LooseFiles {
            paths,
            by_length: None,
            digests: HashMap::new(),
        }
    }

    fn find(&mut self, wanted: &Wanted) -> Option<Vec<u8>> {
        let paths = &self.paths;
        let by_length = self.by_length.get_or_insert_with(|| {
            let mut files = HashMap::new();
            paths.iter().for_each(|path| collect(path, &mut files));
            files
        });
        // Whose length is not known may be any file.
        let candidates: Vec<&PathBuf> = match wanted.crate_bytes {
            0 => by_length.values().flatten().collect(),
            bytes => by_length.get(&bytes)?.iter().collect(),
        };
        for path in candidates {
            if self.digests.get(path).is_some_and(|digest| *digest != wanted.digest) {
                continue;
            }
            let Ok(bytes) = std::fs::read(path) else { continue };
            let digest = Digest::of(&bytes);
            if digest == wanted.digest {
                return Some(bytes);
            }
            self.digests.insert(path.clone(), digest);
        }
        None
    }
}

fn collect(path: &Path, files: &mut HashMap<u64, Vec<PathBuf>>) {
    let Ok(metadata) = std::fs::metadata(path) else { return };
    if metadata.is_file() {
        files.entry(metadata.len()).or_default().push(path.to_owned());
        return;
    }
    let Ok(entries) = std::fs::read_dir(path) else { return };
    for entry in entries.flatten() {
        // A link to a folder further up would never end.
        if !(entry.path().is_symlink() && entry.path().is_dir()) {
            collect(&entry.path(), files);
        }
    }
}

impl Source for LooseFiles {
    fn name(&self) -> String {
        let paths: Vec<String> = self.paths.iter().map(|path| path.display().to_string()).collect();
        paths.join(", ")
    }

    fn obtain(&mut self, wanted: &[Wanted], give: &mut Give<'_>) {
        for wanted in wanted {
            let bytes = self.find(wanted).ok_or_else(|| "no file with this SHA-256".to_owned());
            if !give(wanted, bytes) {
                return;
            }
        }
    }
}
