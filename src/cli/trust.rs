//! `--root` and `--key` of `verify` and `apply`: that this is what it is said to be.

use cratehold::archive::{self, Archive, Error, PublicKey};
use cratehold::ids::Digest;

#[derive(Debug, clap::Args)]
pub struct Trust {
    /// The root hash that it must have or lead to, as `cratehold root` or `bundle` printed
    /// it.
    #[arg(long, value_name = "HASH")]
    root: Option<Digest>,
    /// The minisign public key that must have signed that root: a file, or the key.
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
}

impl Trust {
    /// Holds the archive's root to both; that the root is that of everything below it
    /// is for [`Archive::verify`] to say. Returns what was found, for people.
    pub fn check(&self, archive: &Archive) -> Result<Vec<String>, Error> {
        let mut found = Vec::new();
        if let Some(expected) = &self.root {
            archive.check_root(expected)?;
            found.push(format!("root {expected}, as expected"));
        }
        if let Some(key) = &self.key {
            let root = archive.check_signature(&PublicKey::read(key)?)?;
            found.push(format!(
                "root {} of snapshot {}, signed by {key}",
                root.hash, root.snapshot
            ));
        }
        Ok(found)
    }

    /// The key, read.
    pub fn key(&self) -> Result<Option<PublicKey>, Error> {
        self.key.as_deref().map(PublicKey::read).transpose()
    }

    /// What bundles must lead to; `key` is what [`Trust::key`] gave.
    pub fn of_bundles<'a>(&'a self, key: Option<&'a PublicKey>) -> archive::Trust<'a> {
        archive::Trust {
            root: self.root.as_ref(),
            key,
        }
    }
}
