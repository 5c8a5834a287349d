//! `cratehold extract`.

use super::{CommandResult, select};
use cratehold::archive::{Archive, tar_files, unpack_tar};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

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
}

pub fn run(folder: &Path, args: Args) -> CommandResult {
    if args.releases.len() > 1 && (args.output.is_some() || args.file.is_some()) {
        return Err("`--output` and `--file` take one release at a time".into());
    }
    let archive = Archive::open(folder)?;
    for wanted in &args.releases {
        let select::Selected { release, digest, .. } = select::select(&archive, wanted)?;
        if let Some(target) = &args.unpack {
            unpack_tar(&archive.read_tar(&digest)?, &release, target)?;
        } else if let Some(path) = &args.file {
            print_file(&archive.read_tar(&digest)?, path, &release.to_string())?;
        } else {
            let bytes = archive.read_crate(&digest)?;
            match &args.output {
                Some(output) if output.as_os_str() == "-" => std::io::stdout().write_all(&bytes)?,
                Some(output) => write_file(output, &bytes)?,
                None => write_file(&PathBuf::from(format!("{}.crate", release.stem())), &bytes)?,
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), String> {
    std::fs::write(path, bytes).map_err(|error| format!("{}: {error}", path.display()))
}

fn print_file(tar: &[u8], path: &str, release: &str) -> Result<(), Box<dyn std::error::Error>> {
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
