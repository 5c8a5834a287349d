//! `cratehold verify`.

use super::{CommandResult, bytes_bar, human, threads};
use cratehold::archive::{Archive, Depth};
use std::path::Path;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only heads, manifests, indexes and the checksum of every frame.
    #[arg(long, conflicts_with = "full")]
    quick: bool,
    /// Also rebuild every `.crate` and check its SHA-256.
    #[arg(long)]
    full: bool,
    #[command(flatten)]
    trust: super::trust::Trust,
}

pub fn run(folder: &Path, args: Args) -> CommandResult {
    let archive = Archive::open(folder)?;
    let trusted = args.trust.check(&archive)?;
    let depth = match (args.quick, args.full) {
        (true, _) => Depth::Quick,
        (_, true) => Depth::Full,
        _ => Depth::Tars,
    };
    let total = archive
        .entries()
        .map_or(0, |entries| entries.iter().map(|e| u64::from(e.content_bytes)).sum());
    let bar = bytes_bar(total);
    let report = archive.verify(depth, threads(), &|bytes| bar.inc(bytes))?;
    bar.finish_and_clear();
    for problem in &report.problems {
        match &problem.release {
            Some(release) => eprintln!("damaged: {release}: {}", problem.message),
            None => eprintln!("damaged: {}", problem.message),
        }
    }
    if report.problems.is_empty() {
        trusted.iter().for_each(|found| say!("{found}"));
        say!(
            "{} crates verified, {} of tar read: all whole",
            report.objects,
            human(report.content_bytes)
        );
        return Ok(ExitCode::SUCCESS);
    }
    Err(format!("{} problems among {} crates", report.problems.len(), report.objects).into())
}
