//! `cratehold extract`.

use super::as_of::{self, AsOf};
use super::{CommandResult, select, threads};
use cratehold::archive::{Archive, Error, tar_files, unpack_tar};
use cratehold::ids::{Digest, Release};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Releases: NAME, NAME@VERSION (exact) or NAME@REQUIREMENT.
    #[arg(required = true, value_name = "RELEASE")]
    releases: Vec<String>,
    /// Where to write the one `.crate` file; `-` is standard output.
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["unpack", "file"])]
    output: Option<PathBuf>,
    /// Write the source tree to DIR/NAME-VERSION instead.
    #[arg(long, value_name = "DIR")]
    unpack: Option<PathBuf>,
    /// Print one file of the crate instead.
    #[arg(long, value_name = "PATH", conflicts_with = "unpack")]
    file: Option<String>,
    /// Also what the registry no longer has.
    #[arg(long)]
    removed: bool,
    /// The checksum, where one version was published with more than one.
    #[arg(long, value_name = "HEX")]
    sha256: Option<Digest>,
    /// Trust the archive's own checksums for trees and files: do not rebuild each
    /// `.crate` to check its SHA-256. Faster; for archives that you made yourself.
    #[arg(long)]
    unchecked: bool,
    /// As the registry was at this snapshot, day or instant.
    #[arg(long, value_name = "SNAP|DATE")]
    as_of: Option<AsOf>,
}

impl Args {
    fn which(&self) -> select::Which {
        select::Which::Chosen {
            removed: self.removed,
            sha256: self.sha256,
        }
    }
}

pub fn run(folder: &Path, args: Args) -> CommandResult {
    let archive = as_of::open(folder, args.as_of)?;
    if let [wanted] = &args.releases[..] {
        let select::Selected { release, digest, .. } = select::select(&archive, wanted, args.which())?;
        one(&archive, &args, &release, &digest)?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.output.is_some() || args.file.is_some() || args.sha256.is_some() {
        return Err("`--output`, `--file` and `--sha256` take one release at a time".into());
    }
    many(&archive, &args)
}

fn one(archive: &Archive, args: &Args, release: &Release, digest: &Digest) -> Result<(), Box<dyn std::error::Error>> {
    if let Some(target) = &args.unpack {
        unpack_tar(&tar(archive, args, digest)?, release, target)?;
    } else if let Some(path) = &args.file {
        print_file(&tar(archive, args, digest)?, path, release)?;
    } else {
        let bytes = archive.read_crate(digest)?;
        match &args.output {
            Some(output) if output.as_os_str() == "-" => std::io::stdout().write_all(&bytes)?,
            Some(output) => write_file(output, &bytes)?,
            None => write_file(&crate_path(release), &bytes)?,
        }
    }
    Ok(())
}

fn tar(archive: &Archive, args: &Args, digest: &Digest) -> Result<Arc<Vec<u8>>, Error> {
    match args.unchecked {
        true => archive.read_tar(digest),
        false => archive.read_checked_tar(digest),
    }
}

/// All of them at once, each base decoded as few times as can be. One that fails
/// stops none of the others.
fn many(archive: &Archive, args: &Args) -> CommandResult {
    let mut releases: BTreeMap<Digest, Vec<Release>> = BTreeMap::new();
    let failures = Mutex::new(Vec::new());
    let fail = |failure: String| failures.lock().unwrap_or_else(|held| held.into_inner()).push(failure);
    for wanted in &args.releases {
        match select::select(archive, wanted, args.which()) {
            Ok(selected) => releases.entry(selected.digest).or_default().push(selected.release),
            Err(error) => fail(error.to_string()),
        }
    }
    let digests: Vec<Digest> = releases.keys().copied().collect();
    match &args.unpack {
        Some(target) => {
            let unpack = |digest: &Digest, tar: Result<Arc<Vec<u8>>, Error>| {
                for release in &releases[digest] {
                    let unpacked = tar.as_ref().map(|tar| unpack_tar(tar, release, target));
                    match unpacked {
                        Ok(Ok(_)) => {}
                        Ok(Err(error)) => fail(error.to_string()),
                        Err(error) => fail(error.to_string()),
                    }
                }
            };
            match args.unchecked {
                true => archive.read_tars(&digests, threads(), &unpack),
                false => archive.read_checked_tars(&digests, threads(), &unpack),
            }
        }
        None => archive.read_crates(&digests, threads(), &|digest, bytes| {
            for release in &releases[digest] {
                let written = bytes.as_ref().map(|bytes| write_file(&crate_path(release), bytes));
                match written {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => fail(error),
                    Err(error) => fail(error.to_string()),
                }
            }
        }),
    }
    let mut failures = failures.into_inner().unwrap_or_else(|held| held.into_inner());
    failures.sort();
    failures.iter().for_each(|failure| eprintln!("failed: {failure}"));
    match failures.len() {
        0 => Ok(ExitCode::SUCCESS),
        failed => Err(format!("{failed} of {} releases were not extracted", args.releases.len()).into()),
    }
}

/// Where a crate file goes when nothing else is said: the current folder.
fn crate_path(release: &Release) -> PathBuf {
    PathBuf::from(format!("{}.crate", release.stem()))
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), String> {
    std::fs::write(path, bytes).map_err(|error| format!("{}: {error}", path.display()))
}

fn print_file(tar: &[u8], path: &str, release: &Release) -> Result<(), Box<dyn std::error::Error>> {
    let (mut found, mut paths) = (None, Vec::new());
    tar_files(tar, |entry, contents| {
        if entry.path == path {
            let mut bytes = Vec::new();
            found = Some(contents.read_to_end(&mut bytes).map(|_| bytes));
        }
        paths.push(entry.path);
    })?;
    match found {
        Some(bytes) => Ok(std::io::stdout().write_all(&bytes?)?),
        None => Err(format!("{release} has no file `{path}`; it has: {}", paths.join(", ")).into()),
    }
}
