//! `--root` and `--key` of `verify`: that this is the archive it is said to be.

use cratehold::archive::{Archive, Error, PublicKey};
use cratehold::ids::Digest;

#[derive(Debug, clap::Args)]
pub struct Trust {
    /// The root hash that the archive must have, as `cratehold root` printed it.
    #[arg(long, value_name = "HASH")]
    root: Option<Digest>,
    /// The minisign public key that must have signed the root: a file, or the key.
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
}
