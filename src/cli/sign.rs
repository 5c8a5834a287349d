//! `cratehold sign`.

use super::CommandResult;
use cratehold::archive::{Archive, ROOT_FILE, SIGNATURE_FILE, SecretKey};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub struct Args {
    /// Sign with this minisign secret key. Its password, if it has one, is asked for,
    /// or taken from CRATEHOLD_KEY_PASSWORD.
    #[arg(long, value_name = "FILE", group = "what")]
    secret_key: Option<PathBuf>,
    /// Make a minisign key pair, FILE and FILE.pub, and sign nothing. The secret key
    /// gets the password in CRATEHOLD_KEY_PASSWORD, or none.
    #[arg(long, value_name = "FILE", group = "what")]
    new_key: Option<PathBuf>,
    /// Print what was done as one JSON object.
    #[arg(long)]
    json: bool,
}

pub fn run(folder: &Path, args: Args) -> CommandResult {
    let password = std::env::var("CRATEHOLD_KEY_PASSWORD").ok();
    if let Some(path) = &args.new_key {
        let bare = password.is_none();
        let public = SecretKey::create(path, password.clone())?;
        if bare {
            eprintln!("note: {} has no password: whoever reads it can sign", path.display());
        }
        match args.json {
            true => say!("{}", serde_json::json!({"public_key": public.to_string()})),
            false => say!("public key {public}, also in {}.pub", path.display()),
        }
    }
    if let Some(path) = &args.secret_key {
        let archive = Archive::open(folder)?;
        let root = archive.sign(&SecretKey::read(path, password)?)?;
        let files = [ROOT_FILE, SIGNATURE_FILE];
        match args.json {
            true => {
                let (hash, snapshot) = (root.hash.to_string(), root.snapshot);
                say!(
                    "{}",
                    serde_json::json!({"root": hash, "snapshot": snapshot, "files": files})
                );
            }
            false => say!(
                "signed root {} of snapshot {}: {} and {} in the archive",
                root.hash,
                root.snapshot,
                files[0],
                files[1]
            ),
        }
    }
    Ok(ExitCode::SUCCESS)
}
