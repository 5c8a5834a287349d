//! Whether a bundle goes on from where an archive is. [R 16.9]

use super::BundleError;
use crate::archive::{Archive, Error};
use crate::format::bundle::{Link, VolumeHeader};
use crate::format::manifest::Transaction;
use crate::ids::Digest;

/// Where an archive is on the way from a bundle's base to where it leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It knows all that the bundle tells.
    Told,
    /// It knows the bundle's transactions up to this generation, which may be none.
    Before(u64),
}

/// What of an archive matters here.
#[derive(Debug, Default)]
pub(super) struct Here {
    pub generation: u64,
    pub transactions: Vec<Transaction>,
}

impl Here {
    pub(super) fn of(archive: &Archive) -> Result<Here, Error> {
        Ok(Here {
            generation: archive.head.generation,
            transactions: archive.transactions()?,
        })
    }

    pub(super) fn root(&self) -> [u8; 32] {
        self.transactions.last().map_or([0; 32], |newest| newest.hash)
    }

    /// Whether this was a root of the archive.
    pub(super) fn knows(&self, root: &[u8; 32]) -> bool {
        self.transactions.iter().any(|made| made.hash == *root)
    }

    /// Whether everything up to the bundle's base is here, and how much more.
    pub(super) fn standing(&self, header: &VolumeHeader, path: &str) -> Result<Standing, BundleError> {
        let base = header.base;
        let Some(first) = self.transactions.first() else {
            if base.hash == [0; 32] && base.generation == 0 {
                return Ok(match header.chain.is_empty() {
                    true => Standing::Told,
                    false => Standing::Before(0),
                });
            }
            return Err(BundleError::NothingHere {
                path: path.to_owned(),
                base: base.generation,
                base_root: Digest(base.hash),
            });
        };
        if header.first != first.hash {
            return Err(BundleError::Stranger {
                path: path.to_owned(),
                theirs: Digest(header.first),
                ours: Digest(first.hash),
            });
        }
        let root = self.root();
        let knows = |hash: [u8; 32]| self.knows(&hash);
        let newest = self.transactions.last().map_or(0, |newest| newest.generation);
        let earlier = BundleError::Earlier {
            path: path.to_owned(),
            base: base.generation,
            base_root: Digest(base.hash),
            snapshot: self.generation,
            root: Digest(root),
        };
        if knows(header.root()) && (self.generation >= base.generation || header.root() != root) {
            return Ok(Standing::Told);
        }
        if root == base.hash {
            // The same events, but perhaps not all bytes: those may come in commits of
            // their own. [R 16.9]
            return match self.generation >= base.generation {
                true => Ok(Standing::Before(newest)),
                false => Err(earlier),
            };
        }
        if header.chain.iter().any(|link| link.hash == root) {
            return Ok(Standing::Before(newest));
        }
        match base.hash == [0; 32] || knows(base.hash) {
            true => Err(BundleError::Diverged {
                path: path.to_owned(),
                base: base.generation,
                new_root: Digest(header.root()),
                root: Digest(root),
            }),
            false => Err(earlier),
        }
    }

    /// As it will be when the bundle has been taken in; how many transactions are new.
    pub(super) fn advance(&mut self, header: &VolumeHeader, standing: Standing) -> u64 {
        let known = self.transactions.len();
        if let Standing::Before(after) = standing {
            let new = header.chain.iter().filter(|link| link.generation > after);
            self.transactions.extend(new.map(made));
        }
        self.generation = self.generation.max(header.generation);
        (self.transactions.len() - known) as u64
    }
}

/// As much of a transaction as a header tells.
fn made(link: &Link) -> Transaction {
    Transaction {
        generation: link.generation,
        parent: [0; 32],
        time: 0,
        registry: String::new(),
        cursor: String::new(),
        source: String::new(),
        event_count: 0,
        hash: link.hash,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;

    fn link(generation: u64) -> Link {
        Link {
            generation,
            hash: [generation as u8; 32],
        }
    }

    fn here(generation: u64, transactions: &[u64]) -> Here {
        let made = |generation: &u64| Transaction {
            generation: *generation,
            parent: [0; 32],
            time: 0,
            registry: String::new(),
            cursor: String::new(),
            source: String::new(),
            event_count: 1,
            hash: [*generation as u8; 32],
        };
        Here {
            generation,
            transactions: transactions.iter().map(made).collect(),
        }
    }

    /// From snapshot `base`, after transaction `root`, over `chain` to `generation`.
    fn header(base: u64, root: u64, chain: &[u64], generation: u64) -> VolumeHeader {
        VolumeHeader {
            format_version: 1,
            bundle_id: [0; 32],
            volume: 1,
            base: Link {
                generation: base,
                ..link(root)
            },
            generation,
            first: [1; 32],
            chain: chain.iter().map(|&made| link(made)).collect(),
            held: 0,
            objects: vec![0],
        }
    }

    #[test]
    fn who_goes_on_from_where_is_told_apart() {
        let says = |here: &Here, header: &VolumeHeader| match here.standing(header, "x") {
            Ok(standing) => format!("{standing:?}"),
            Err(error) => error.to_string(),
        };
        let bundle = header(3, 3, &[4, 6], 6);
        assert_eq!(says(&here(3, &[1, 3]), &bundle), "Before(3)");
        assert_eq!(says(&here(5, &[1, 3]), &bundle), "Before(3)");
        assert_eq!(says(&here(4, &[1, 3, 4]), &bundle), "Before(4)");
        assert_eq!(says(&here(6, &[1, 3, 4, 6]), &bundle), "Told");
        assert_eq!(says(&here(9, &[1, 3, 4, 6, 9]), &bundle), "Told");
        assert!(says(&here(1, &[1]), &bundle).contains("first apply the bundle that leads from 1 to 3"));
        assert!(says(&here(7, &[1, 3, 7]), &bundle).contains("its own way since snapshot 3"));
        assert!(says(&here(0, &[]), &bundle).contains("a bundle of everything"));
        assert!(says(&here(3, &[2, 3]), &bundle).contains("another archive"));
        // Of everything.
        let whole = header(0, 0, &[1, 3], 3);
        assert_eq!(says(&here(0, &[]), &whole), "Before(0)");
        assert_eq!(says(&here(1, &[1]), &whole), "Before(1)");
        assert!(says(&here(2, &[1, 2]), &whole).contains("its own way"));
        // Bytes that came without an event, in snapshot 4; then more of them.
        let bytes_only = header(4, 3, &[], 5);
        assert_eq!(says(&here(4, &[1, 3]), &bytes_only), "Told");
        assert!(says(&here(3, &[1, 3]), &bytes_only).contains("from 3 to 4"));
    }
}
