//! Whom to believe: the root hash that pins a manifest, and signatures of it.
//! Spec section 12.
//!
//! The root fixes every release, digest and line that an archive tells of, and a
//! digest fixes its crate file. So who knows the root, or a key that has signed it,
//! need not trust whoever carried the archive.

use super::commit::replace;
use super::segments::remove_leftover;
use super::{Archive, Error};
use crate::format::manifest::Transaction;
use crate::ids::Digest;
use std::io::{self, Cursor};
use std::path::Path;

/// The text that is signed. [R 12.2]
pub const ROOT_FILE: &str = "root.txt";
/// Its signature, named as minisign does.
pub const SIGNATURE_FILE: &str = "root.txt.minisig";
/// No root text or signature is longer.
const MAX_BYTES: u64 = 4096;
/// 64 bytes in base64.
const SIGNATURE_BASE64_BYTES: usize = 88;
const TITLE: &str = "cratehold root 1";

/// A snapshot of the manifest, by what fixes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Root {
    /// The snapshot of the newest transaction; 0 if there is none.
    pub snapshot: u64,
    /// Its hash; zeros if there is none.
    pub hash: Digest,
}

impl Root {
    /// The text that is signed. [R 12.2]
    pub fn text(&self) -> String {
        format!("{TITLE}\nsnapshot {}\nroot {}\n", self.snapshot, self.hash)
    }

    /// Reads [`Root::text`].
    ///
    /// # Errors
    /// When it is not one.
    pub fn parse(text: &str) -> Result<Root, Error> {
        let parse = || {
            let rest = text.strip_prefix(TITLE)?.strip_prefix("\nsnapshot ")?;
            let (snapshot, rest) = rest.split_once("\nroot ")?;
            let root = Root {
                snapshot: snapshot.parse().ok()?,
                hash: rest.strip_suffix('\n')?.parse().ok()?,
            };
            // One text for each root: no other spelling of it is signed or read.
            (root.text() == text).then_some(root)
        };
        parse().ok_or_else(|| {
            let first = text.lines().next().unwrap_or_default().escape_default();
            Error::Untrusted(format!(
                "{ROOT_FILE}: expected `{TITLE}`, a snapshot and a root, found `{first}`…"
            ))
        })
    }
}

impl Archive {
    /// What fixes this snapshot's manifest. The chain of hashes below it is not
    /// recomputed: [`Archive::verify`] does that.
    ///
    /// # Errors
    /// When a manifest segment is damaged, or the head tells of another root than
    /// its newest transaction.
    pub fn root(&self) -> Result<Root, Error> {
        let transactions = self.transactions()?;
        let newest = transactions.last();
        let root = Root {
            snapshot: newest.map_or(0, |newest| newest.generation),
            hash: Digest(newest.map_or([0; 32], |newest| newest.hash)),
        };
        if self.until == u64::MAX && root.hash.0 != self.head.root {
            return Err(Error::Untrusted(format!(
                "{}: the head tells of root {}, its newest transaction of {}; `cratehold verify` says more",
                self.medium.describe(),
                Digest(self.head.root),
                root.hash
            )));
        }
        Ok(root)
    }

    /// Checks that the manifest is the one that `expected` fixes.
    ///
    /// # Errors
    /// When it is not; whether it only has grown since is said.
    pub fn check_root(&self, expected: &Digest) -> Result<(), Error> {
        let root = self.root()?;
        if root.hash == *expected {
            return Ok(());
        }
        Err(Error::Untrusted(format!(
            "root {expected} expected, found {} of snapshot {}: {}",
            root.hash,
            root.snapshot,
            self.relation(expected)?
        )))
    }

    /// How this manifest relates to another root.
    fn relation(&self, other: &Digest) -> Result<String, Error> {
        let transactions = self.transactions()?;
        let is_it = |made: &&Transaction| made.hash == other.0;
        let found = transactions.iter().find(is_it);
        Ok(match found {
            Some(earlier) => format!(
                "the archive has changed since; that was its snapshot {}",
                earlier.generation
            ),
            None => "it was never a root of this archive".into(),
        })
    }

    /// Writes the root beside the archive's other files, for whoever finds it. It says
    /// which snapshot it is of, so that an old one is known for what it is. [R 12.3]
    ///
    /// # Errors
    /// When there is a signature, which would be of another text; when the manifest is
    /// damaged, or the file cannot be written.
    pub fn write_root(&self) -> Result<Root, Error> {
        let root = self.root()?;
        if self.medium.len(SIGNATURE_FILE).is_ok() {
            return Err(Error::Untrusted(format!(
                "{}/{ROOT_FILE}: is signed; `cratehold sign` writes and signs it anew",
                self.medium.describe()
            )));
        }
        replace(&*self.medium, ROOT_FILE, root.text().as_bytes())?;
        let synced = self.medium.sync_folder("");
        synced.map_err(Error::io(self.medium.describe()))?;
        Ok(root)
    }

    /// Signs the root with a minisign key, beside the archive's other files, after
    /// recomputing the whole chain of hashes.
    ///
    /// # Errors
    /// When the chain is broken, the key cannot be used or a file not be written.
    pub fn sign(&self, key: &SecretKey) -> Result<Root, Error> {
        self.verify_chain().map_err(Error::Untrusted)?;
        let root = self.root()?;
        let text = root.text();
        let comment = format!("cratehold snapshot {} root {}", root.snapshot, root.hash);
        let signature = minisign::sign(None, &key.0, Cursor::new(&text), Some(&comment), None)
            .map_err(|error| Error::Untrusted(format!("cannot sign: {error}")))?;
        replace(&*self.medium, ROOT_FILE, text.as_bytes())?;
        replace(&*self.medium, SIGNATURE_FILE, signature.into_string().as_bytes())?;
        let synced = self.medium.sync_folder("");
        synced.map_err(Error::io(self.medium.describe()))?;
        Ok(root)
    }

    /// Checks that `key` has signed this archive's root.
    ///
    /// # Errors
    /// When there is no signature, it is not by this key, or it is of another root.
    pub fn check_signature(&self, key: &PublicKey) -> Result<Root, Error> {
        let signed = SignedRoot {
            text: self.read_small(ROOT_FILE)?,
            signature: self.read_small(SIGNATURE_FILE)?,
        };
        let signed = signed.check(key)?;
        let root = self.root()?;
        if signed == root {
            return Ok(root);
        }
        Err(Error::Untrusted(format!(
            "the signature is good, but of snapshot {} with root {}, and the archive's is {} of snapshot {}: {}; sign it again if that is right",
            signed.snapshot,
            signed.hash,
            root.hash,
            root.snapshot,
            self.relation(&signed.hash)?
        )))
    }

    /// What lies beside the archive as its signature, if both files are there and text.
    /// Whose it is, and whether it is good, a key says.
    pub(super) fn signed_root(&self) -> Option<SignedRoot> {
        Some(SignedRoot {
            text: self.read_small(ROOT_FILE).ok()?,
            signature: self.read_small(SIGNATURE_FILE).ok()?,
        })
    }

    /// Whether a signature lies beside the archive that is of `root` as it says itself.
    pub(super) fn has_signature_of(&self, root: &Root) -> bool {
        self.signed_root()
            .is_some_and(|signed| signed.root().is_ok_and(|found| found == *root))
    }

    /// Lays a signature beside the archive, in the place of one of another root.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(super) fn keep_signature(&self, signed: &SignedRoot) -> Result<(), Error> {
        let io = || Error::io(self.medium.describe());
        // Whatever a crash leaves, no signature lies beside a text that it is not of.
        remove_leftover(&*self.medium, SIGNATURE_FILE)?;
        self.medium.sync_folder("").map_err(io())?;
        replace(&*self.medium, ROOT_FILE, signed.text.as_bytes())?;
        self.medium.sync_folder("").map_err(io())?;
        replace(&*self.medium, SIGNATURE_FILE, signed.signature.as_bytes())?;
        self.medium.sync_folder("").map_err(io())
    }

    fn read_small(&self, name: &str) -> Result<String, Error> {
        let path = format!("{}/{name}", self.medium.describe());
        let bytes = self.medium.len(name).and_then(|bytes| match bytes {
            0..=MAX_BYTES => self.medium.read(name),
            _ => Err(io::Error::other(format!("{bytes} bytes, expected at most {MAX_BYTES}"))),
        });
        let bytes = bytes.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Error::Untrusted(format!("{path}: not there: this archive has not been signed")),
            _ => Error::io(&path)(error),
        })?;
        String::from_utf8(bytes).map_err(|_| Error::Untrusted(format!("{path}: not text")))
    }
}

/// A root text and what claims to be its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SignedRoot {
    pub text: String,
    pub signature: String,
}

impl SignedRoot {
    /// The root that the text names.
    ///
    /// # Errors
    /// When it names none.
    pub(super) fn root(&self) -> Result<Root, Error> {
        Root::parse(&self.text)
    }

    /// Checks that `key` has signed the text; the root that it names.
    ///
    /// # Errors
    /// When it has not, or the text names no root.
    pub(super) fn check(&self, key: &PublicKey) -> Result<Root, Error> {
        let fail = |cause: String| Error::Untrusted(format!("{SIGNATURE_FILE}: {cause}"));
        // The library takes a comment's signature of any length, and then its bytes.
        if self.signature.lines().nth(3).map(|line| line.trim().len()) != Some(SIGNATURE_BASE64_BYTES) {
            return Err(fail("not a whole minisign signature".into()));
        }
        let signature =
            minisign::SignatureBox::from_string(&self.signature).map_err(|error| fail(error.to_string()))?;
        minisign::verify(&key.0, &signature, Cursor::new(&self.text), true, false, false)
            .map_err(|error| fail(error.to_string()))?;
        self.root()
    }
}

/// A minisign secret key.
pub struct SecretKey(minisign::SecretKey);

impl std::fmt::Debug for SecretKey {
    /// Never shows the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretKey")
    }
}

impl SecretKey {
    /// Reads a key file. Without `password`, one that has a password asks for it on
    /// the terminal.
    ///
    /// # Errors
    /// When it is no key, or the password is wrong.
    pub fn read(path: &Path, password: Option<String>) -> Result<SecretKey, Error> {
        let text = std::fs::read_to_string(path).map_err(Error::io(path.display()))?;
        let fail = |error: minisign::PError| Error::Untrusted(format!("{}: {error}", path.display()));
        let boxed = || minisign::SecretKeyBox::from_string(&text);
        if let Ok(key) = boxed().and_then(minisign::SecretKeyBox::into_unencrypted_secret_key) {
            return Ok(SecretKey(key));
        }
        let key = boxed()
            .and_then(|boxed| boxed.into_secret_key(password))
            .map_err(fail)?;
        Ok(SecretKey(key))
    }

    /// Makes a key pair: the secret key at `path`, the public one at `path.pub`;
    /// neither file may be there yet. Without `password` the secret key has none.
    ///
    /// # Errors
    /// When a file is there or cannot be written.
    pub fn create(path: &Path, password: Option<String>) -> Result<PublicKey, Error> {
        let fail = |error: minisign::PError| Error::Untrusted(format!("cannot make a key: {error}"));
        let pair = match password {
            None => minisign::KeyPair::generate_unencrypted_keypair(),
            password => minisign::KeyPair::generate_encrypted_keypair(password),
        }
        .map_err(fail)?;
        let mut public_path = path.as_os_str().to_owned();
        public_path.push(".pub");
        let public = pair.pk.to_box().map_err(fail)?.into_string();
        let secret = pair.sk.to_box(None).map_err(fail)?.into_string();
        write_new(path, secret.as_bytes(), true)?;
        write_new(Path::new(&public_path), public.as_bytes(), false)?;
        Ok(PublicKey(pair.pk))
    }
}

fn write_new(path: &Path, bytes: &[u8], secret: bool) -> Result<(), Error> {
    use std::io::Write;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if secret {
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    }
    #[cfg(not(unix))]
    let _ = secret;
    let written = options.open(path).and_then(|mut file| file.write_all(bytes));
    written.map_err(Error::io(path.display()))
}

/// A minisign public key.
#[derive(Debug, Clone)]
pub struct PublicKey(minisign::PublicKey);

impl PublicKey {
    /// A key file's path, or the key itself: the 56 characters that begin with `RW`.
    ///
    /// # Errors
    /// When it is neither.
    pub fn read(text: &str) -> Result<PublicKey, Error> {
        if let Ok(key) = minisign::PublicKey::from_base64(text) {
            return Ok(PublicKey(key));
        }
        let contents = std::fs::read_to_string(text).map_err(Error::io(text))?;
        minisign::PublicKeyBox::from_string(&contents)
            .and_then(minisign::PublicKeyBox::into_public_key)
            .map(PublicKey)
            .map_err(|error| Error::Untrusted(format!("{text}: {error}")))
    }
}

impl std::fmt::Display for PublicKey {
    /// As minisign's `-P` takes it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.to_base64())
    }
}
