//! `cratehold import`.

use super::interrupt::{INTERRUPTED, stop_on_ctrl_c};
use super::{CommandResult, bytes_bar, human, threads};
use cratehold::archive::{self, EncodeOptions, ImportOptions, Scan, Writer};
use cratehold::ids::Release;
use cratehold::registry::Stop;
use cratehold::sync;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// `.crate` files, or folders of them.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// A registry index in the sparse layout: checksums must be its, and its lines
    /// are kept.
    #[arg(long, value_name = "DIR")]
    index: Option<PathBuf>,
    /// The zstd level.
    #[arg(long, default_value_t = cratehold::archive::DEFAULT_LEVEL, value_parser = clap::value_parser!(i32).range(1..=22))]
    level: i32,
    /// Take in again what was erased here on purpose: NAME@VERSION.
    #[arg(long, value_name = "RELEASE")]
    accept_purged: Vec<Release>,
}

pub fn run(folder: &Path, args: Args) -> CommandResult {
    if let Some(index) = args.index.as_ref().filter(|index| !index.is_dir()) {
        return Err(format!("{}: expected the folder of a registry index", index.display()).into());
    }
    let stop = Stop::default();
    stop_on_ctrl_c(&stop)?;
    let scan = Scan::of(&args.paths, threads());
    let writer = Writer::open(folder)?;
    writer.with_archive(super::note_clock);
    super::accept_purged(&writer, &args.accept_purged, "import")?;
    let bar = bytes_bar(scan.total_bytes());
    let options = ImportOptions {
        encode: EncodeOptions {
            level: args.level,
            check_release: true,
            ..EncodeOptions::default()
        },
        threads: threads(),
        expected: &|release| writer.known_digests(release).map_err(|error| error.to_string()),
        stop: &|| stop.is_set(),
        progress: &|bytes| bar.inc(bytes),
    };
    let report = match &args.index {
        Some(index) => sync::import_with_index(&writer, index, scan, &options).map_err(|error| error.to_string()),
        None => archive::import(&writer, scan, &options).map_err(|error| error.to_string()),
    };
    bar.finish_and_clear();
    let report = report?;
    say!(
        "{} crates stored ({} read, {} written), {} held already, {} failed",
        report.stored,
        human(report.crate_bytes),
        human(report.record_bytes),
        report.held,
        report.failures.len()
    );
    for (release, engine) in &report.wrong_engines {
        let engine = engine.name();
        eprintln!(
            "note: {release} is stored whole, but engine {engine} alone would not give it back: please report this"
        );
    }
    for failure in &report.failures {
        eprintln!("failed: {}: {}", failure.what, failure.cause);
    }
    if stop.is_set() {
        eprintln!("stopped: what was read is kept; run the same command again to go on");
        return Ok(ExitCode::from(INTERRUPTED));
    }
    Ok(if report.failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
