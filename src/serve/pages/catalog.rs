//! What pages need of all crates at once: made when first asked for, once a snapshot.
//! Nothing of it is made when a server starts.

use super::NoPage;
use super::statistics::Statistics;
use crate::archive;
use crate::ids::{CrateName, name_key};
use crate::serve::site::Snapshot;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Mutex;

/// Which snapshot something was made of.
type Id = ([u8; 16], u64);

/// The newest of what was made, and of which snapshot.
struct Kept<T>(Mutex<Option<(Id, Arc<T>)>>);

impl<T: Send + Sync + 'static> Kept<T> {
    async fn get(
        self: &Arc<Self>,
        snapshot: &Arc<Snapshot>,
        make: fn(&Snapshot) -> Result<T, archive::Error>,
    ) -> Result<Arc<T>, NoPage> {
        let (this, snapshot) = (self.clone(), snapshot.clone());
        let head = snapshot.archive.head();
        let id = (head.archive_id, head.generation);
        // On its own: a client that leaves does not make the next one begin anew.
        let made = tokio::spawn(async move {
            let mut kept = this.0.lock().await;
            if let Some((of, made)) = &*kept
                && *of == id
            {
                return Ok(made.clone());
            }
            let made = tokio::task::spawn_blocking(move || make(&snapshot)).await;
            let made = Arc::new(made.map_err(|_| NoPage::Defect)??);
            *kept = Some((id, made.clone()));
            Ok(made)
        });
        made.await.unwrap_or(Err(NoPage::Defect))
    }
}

impl<T> Default for Kept<T> {
    fn default() -> Kept<T> {
        Kept(Mutex::new(None))
    }
}

/// See the module.
#[derive(Default)]
pub(in crate::serve) struct Catalogs {
    names: Arc<Kept<Names>>,
    statistics: Arc<Kept<Statistics>>,
}

impl Catalogs {
    pub(super) async fn names(&self, snapshot: &Arc<Snapshot>) -> Result<Arc<Names>, NoPage> {
        self.names.get(snapshot, Names::of).await
    }

    pub(super) async fn statistics(&self, snapshot: &Arc<Snapshot>) -> Result<Arc<Statistics>, NoPage> {
        self.statistics.get(snapshot, Statistics::of).await
    }
}

/// The names of all crates, in one text each that can be searched at once.
pub(super) struct Names {
    /// Names as published, each behind a line feed.
    names: String,
    /// The same in lowercase and with `_` for `-`, each as long as its name.
    keys: String,
    /// Where each begins, then where the next would.
    starts: Vec<usize>,
}

impl Names {
    fn of(snapshot: &Snapshot) -> Result<Names, archive::Error> {
        let archive = &snapshot.archive;
        let mut by_key = BTreeMap::new();
        let mut put = |name: &str| {
            // Anything else no page could lead to; it is ASCII.
            if name.parse::<CrateName>().is_ok() {
                by_key.insert(name_key(name), name.to_owned());
            }
        };
        if archive.generation() == archive.head().generation {
            // Names alone, which takes a fraction of putting their events together.
            for (i, segment) in archive.manifest_segments().iter().enumerate() {
                for record in segment.crates() {
                    let record = record.map_err(archive::Error::damaged(format!("manifest segment {i}")))?;
                    put(record.name());
                }
            }
        } else {
            archive.each_crate(|state| {
                put(&state.name);
                Ok::<(), archive::Error>(())
            })?;
        }
        Ok(Names::from_sorted(by_key.into_iter()))
    }

    fn from_sorted(names: impl Iterator<Item = (String, String)>) -> Names {
        let mut all = Names {
            names: String::from("\n"),
            keys: String::from("\n"),
            starts: vec![1],
        };
        for (key, name) in names {
            for (text, part) in [(&mut all.keys, key), (&mut all.names, name)] {
                text.push_str(&part);
                text.push('\n');
            }
            all.starts.push(all.keys.len());
        }
        all
    }

    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// The name with this number.
    pub fn name(&self, i: usize) -> &str {
        &self.names[self.starts[i]..self.starts[i + 1] - 1]
    }

    /// The numbers of the names that hold `query`: itself, those that begin with it, the
    /// others; each by name.
    pub fn search(&self, query: &str) -> Vec<usize> {
        let query = name_key(query);
        if query.is_empty() {
            return (0..self.len()).collect();
        }
        if !query.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Vec::new();
        }
        let (mut first, mut others) = (Vec::new(), Vec::new());
        let mut last = None;
        for (at, _) in self.keys.match_indices(&query) {
            let i = self.starts.partition_point(|&start| start <= at) - 1;
            if last.replace(i) == Some(i) {
                continue;
            }
            match at == self.starts[i] {
                true => first.push(i),
                false => others.push(i),
            }
        }
        // Sorted as they are, the name itself comes before those that it begins.
        first.extend(others);
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_by_any_part_and_spelling() {
        let names = ["Serde", "a", "de", "demo-serde", "serde-json", "serde_serde", "x_ser"];
        let mut sorted: Vec<(String, String)> = names.iter().map(|name| (name_key(name), (*name).to_owned())).collect();
        sorted.sort();
        let names = Names::from_sorted(sorted.into_iter());
        let search = |query: &str| -> Vec<&str> { names.search(query).into_iter().map(|i| names.name(i)).collect() };
        assert_eq!(search("serde"), ["Serde", "serde-json", "serde_serde", "demo-serde"]);
        assert_eq!(search("SERDE_J"), ["serde-json"]);
        assert_eq!(search("de"), ["de", "demo-serde", "Serde", "serde-json", "serde_serde"]);
        assert_eq!(search("").len(), 7);
        for none in ["zz", "a\nde", "\n", "é", "e d"] {
            assert_eq!(search(none), [""; 0], "{none:?}");
        }
    }
}
