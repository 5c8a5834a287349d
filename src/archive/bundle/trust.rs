//! Whether bundles lead to where whoever takes them in expects, by a root hash or a key.
//!
//! Looked at before anything is written. A root fixes every transaction below it, and so
//! every release, digest and line: of a chain of bundles it is enough to know the last.

use super::BundleError;
use super::lineage::Here;
use crate::archive::sign::{PublicKey, SignedRoot};
use crate::ids::Digest;

/// What bundles are held to; to nothing by default, as by whoever trusts the drive.
#[derive(Debug, Clone, Copy, Default)]
pub struct Trust<'a> {
    /// The root that they must lead to.
    pub root: Option<&'a Digest>,
    /// The key that must have signed that root, by a signature that they carry.
    pub key: Option<&'a PublicKey>,
}

impl Trust<'_> {
    /// Whether anything is asked for.
    pub(super) fn is_asked_for(&self) -> bool {
        self.root.is_some() || self.key.is_some()
    }

    /// That bundles with these `signatures`, of which the last one lies at `path`, lead to
    /// what is asked for. `here` is the archive with all of them in it, `is_known` whether
    /// it has known of all of it before.
    pub(super) fn check(
        &self,
        here: &Here,
        is_known: bool,
        signatures: &[SignedRoot],
        path: &str,
    ) -> Result<(), BundleError> {
        let refused = |cause: String| BundleError::Untrusted {
            path: path.to_owned(),
            cause,
        };
        let root = Digest(here.root());
        // What is told already is not told anew by an old bundle.
        let leads_to = |hash: &Digest| *hash == root || is_known && here.knows(&hash.0);
        if let Some(expected) = self.root.filter(|expected| !leads_to(expected)) {
            return Err(refused(format!("leads to root {root}, and {expected} is expected")));
        }
        let Some(key) = self.key else {
            return Ok(());
        };
        let Some(signed) = signatures
            .iter()
            .rev()
            .find(|signed| signed.root().is_ok_and(|signed| leads_to(&signed.hash)))
        else {
            let cause = format!(
                "carries no signature of root {root}, to which it leads; `cratehold sign` before `bundle` gives it one"
            );
            return Err(refused(cause));
        };
        signed.check(key).map(drop).map_err(|error| refused(error.to_string()))
    }

    /// That a bundle whose last volume is not here cannot be looked at.
    pub(super) fn unknown(path: &str, volumes: u32) -> BundleError {
        BundleError::Untrusted {
            path: path.to_owned(),
            cause: format!("where it leads stands in volume {volumes}, the last; bring all volumes together"),
        }
    }
}
