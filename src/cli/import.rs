//! `cratehold import`.

use super::{CommandResult, bytes_bar, human, threads};
use cratehold::archive::{EncodeOptions, ImportOptions, Scan, Writer, import};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// `.crate` files, or folders of them.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The zstd level.
    #[arg(long, default_value_t = cratehold::archive::DEFAULT_LEVEL, value_parser = clap::value_parser!(i32).range(1..=22))]
    level: i32,
}

pub fn run(folder: &Path, args: Args) -> CommandResult {
    let scan = Scan::of(&args.paths, threads());
    let writer = Writer::open(folder)?;
    let bar = bytes_bar(scan.total_bytes());
    let stop = AtomicBool::new(false);
    let options = ImportOptions {
        encode: EncodeOptions {
            level: args.level,
            check_release: true,
        },
        threads: threads(),
        expected: &|release| writer.known_digests(release).map_err(|error| error.to_string()),
        stop: &stop,
        progress: &|bytes| bar.inc(bytes),
    };
    let report = import(&writer, scan, &options);
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
    for failure in &report.failures {
        eprintln!("failed: {}: {}", failure.what, failure.cause);
    }
    Ok(if report.failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
