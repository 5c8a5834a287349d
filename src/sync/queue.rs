//! What is to be fetched, by crate. Compact, for on a first day it may be a whole
//! registry: 56 bytes a release beside its version's text.

use crate::ids::{Digest, Release};
use std::ops::Range;

/// What is held of a crate already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Held {
    /// How many of its crate files.
    pub count: u64,
    /// Their bytes.
    pub crate_bytes: u64,
    /// Of the last of them, the bytes of its crate file and of its content: what a
    /// neighbour takes in memory.
    pub last: Option<(u32, u32)>,
}

impl Held {
    /// Counts one more.
    pub fn add(&mut self, crate_bytes: u32, content_bytes: u32) {
        self.count += 1;
        self.crate_bytes += u64::from(crate_bytes);
        self.last = Some((crate_bytes, content_bytes));
    }
}

/// A release that is to be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Queued {
    /// As its own line spells it.
    pub release: Release,
    pub digest: Digest,
    /// Whether it is known to be missing upstream.
    pub was_absent: bool,
    /// Whether it is a failure if it is missing still: it was named by its version.
    pub named: bool,
}

struct Item {
    digest: Digest,
    /// Where its name and its version begin in the text, counted from its crate's.
    name_at: u32,
    version_at: u32,
    name_bytes: u8,
    version_bytes: u8,
    was_absent: bool,
    named: bool,
}

struct OfCrate {
    items: Range<usize>,
    text_at: usize,
    /// As the manifest spells it.
    name_bytes: u8,
    held: Held,
    /// How many releases are asked for before these.
    before: usize,
}

/// Everything to be fetched, in the order in which it is asked for.
#[derive(Default)]
pub(super) struct Queue {
    crates: Vec<OfCrate>,
    items: Vec<Item>,
    text: String,
}

/// The queue's entry at one place.
#[derive(Debug)]
pub(super) struct At<'a> {
    /// The crate as the manifest spells it.
    pub crate_name: &'a str,
    /// What is held of the crate.
    pub held: Held,
    /// Its place among the crate's, from 0 on, and how many these are.
    pub order: usize,
    pub of: usize,
    pub queued: Queued,
}

impl Queue {
    /// Adds the releases of one crate, in ascending order; `name` is as the manifest
    /// spells it.
    pub fn push(&mut self, name: &str, held: Held, releases: &[Queued]) {
        if releases.is_empty() {
            return;
        }
        let (first, text_at) = (self.items.len(), self.text.len());
        self.text.push_str(name);
        let (mut last_name, mut last_at) = (name.to_owned(), 0);
        for queued in releases {
            // Registries spell the name alike in every line, but for a few.
            if queued.release.name.as_str() != last_name {
                last_name = queued.release.name.to_string();
                last_at = self.text.len() - text_at;
                self.text.push_str(&last_name);
            }
            let version_at = self.text.len() - text_at;
            self.text.push_str(queued.release.version.as_str());
            self.items.push(Item {
                digest: queued.digest,
                name_at: last_at as u32,
                version_at: version_at as u32,
                name_bytes: last_name.len() as u8,
                version_bytes: queued.release.version.as_str().len() as u8,
                was_absent: queued.was_absent,
                named: queued.named,
            });
        }
        self.crates.push(OfCrate {
            items: first..self.items.len(),
            text_at,
            name_bytes: name.len() as u8,
            held,
            before: first,
        });
    }

    /// Adds all of `other` behind.
    pub fn append(&mut self, other: Queue) {
        let (items, text) = (self.items.len(), self.text.len());
        self.crates.extend(other.crates.into_iter().map(|of_crate| OfCrate {
            items: of_crate.items.start + items..of_crate.items.end + items,
            text_at: of_crate.text_at + text,
            before: of_crate.before + items,
            ..of_crate
        }));
        self.items.extend(other.items);
        self.text.push_str(&other.text);
    }

    /// How many releases.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Of how many crates.
    pub fn crate_count(&self) -> usize {
        self.crates.len()
    }

    /// What is held of each crate, and how many releases of it are to be fetched.
    pub fn crates(&self) -> impl Iterator<Item = (Held, usize)> {
        self.crates.iter().map(|of_crate| (of_crate.held, of_crate.items.len()))
    }

    /// Puts the crates first for which `cost` says most for all releases together, so
    /// that no thread is left alone with one at the end.
    pub fn costly_first(&mut self, cost: impl Fn(Held) -> u64) {
        let all = |of_crate: &OfCrate| cost(of_crate.held).saturating_mul(of_crate.items.len() as u64);
        self.crates
            .sort_by_cached_key(|of_crate| std::cmp::Reverse(all(of_crate)));
        let mut before = 0;
        for of_crate in &mut self.crates {
            of_crate.before = before;
            before += of_crate.items.len();
        }
    }

    /// The release that is asked for at `place`, from 0 on.
    pub fn at(&self, place: usize) -> Option<At<'_>> {
        let after = self.crates.partition_point(|of_crate| of_crate.before <= place);
        let of_crate = self.crates.get(after.checked_sub(1)?)?;
        let order = place - of_crate.before;
        let item = self
            .items
            .get(of_crate.items.start + order)
            .filter(|_| order < of_crate.items.len())?;
        let text = |at: u32, bytes: u8| {
            let start = of_crate.text_at + at as usize;
            self.text.get(start..start + usize::from(bytes))
        };
        let release = Release {
            name: text(item.name_at, item.name_bytes)?.parse().ok()?,
            version: text(item.version_at, item.version_bytes)?.parse().ok()?,
        };
        Some(At {
            crate_name: text(0, of_crate.name_bytes)?,
            held: of_crate.held,
            order,
            of: of_crate.items.len(),
            queued: Queued {
                release,
                digest: item.digest,
                was_absent: item.was_absent,
                named: item.named,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queued(release: &str) -> Queued {
        Queued {
            release: release.parse().unwrap(),
            digest: Digest::of(release.as_bytes()),
            was_absent: release.contains('+'),
            named: release.ends_with("0"),
        }
    }

    #[test]
    fn everything_comes_out_as_it_went_in_the_costly_first() {
        let crates = [
            ("a", vec!["a@1.0.0"]),
            ("Big-Name", vec!["Big-Name@0.1.0", "big_name@0.2.0+b", "Big-Name@0.3.0"]),
            ("none", vec![]),
            ("b", vec!["b@1.0.0-rc.1", "b@1.0.0"]),
        ];
        let mut queue = Queue::default();
        let mut held = Held::default();
        held.add(7, 70);
        held.add(5, 50);
        for (name, releases) in &crates[..2] {
            queue.push(
                name,
                held,
                &releases.iter().map(|release| queued(release)).collect::<Vec<_>>(),
            );
        }
        let mut other = Queue::default();
        for (name, releases) in &crates[2..] {
            other.push(
                name,
                Held::default(),
                &releases.iter().map(|release| queued(release)).collect::<Vec<_>>(),
            );
        }
        queue.append(other);
        let all = |queue: &Queue| -> Vec<(String, usize, usize, Queued)> {
            let at = |place| queue.at(place).unwrap();
            let places = (0..queue.len()).map(at);
            places
                .map(|at| (at.crate_name.to_owned(), at.order, at.of, at.queued))
                .collect()
        };
        let expected = |order: &[usize]| -> Vec<(String, usize, usize, Queued)> {
            let crates = order.iter().map(|&i| &crates[i]);
            let of_crate = crates.flat_map(|(name, releases)| {
                let releases_of = releases.iter().enumerate();
                releases_of.map(|(i, release)| ((*name).to_owned(), i, releases.len(), queued(release)))
            });
            of_crate.collect()
        };
        assert_eq!((queue.len(), queue.crate_count()), (6, 3));
        assert_eq!(all(&queue), expected(&[0, 1, 3]));
        queue.costly_first(|held| 1 + held.crate_bytes);
        assert_eq!(all(&queue), expected(&[1, 0, 3]));
        assert_eq!(queue.at(0).unwrap().held, held);
        assert_eq!((held.count, held.crate_bytes, held.last), (2, 12, Some((5, 50))));
        assert!(queue.at(6).is_none() && Queue::default().at(0).is_none());
    }
}
