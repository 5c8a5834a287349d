//! `cratehold repair`.

use super::interrupt::{INTERRUPTED, stop_on_ctrl_c};
use super::{CommandResult, bytes_bar, threads};
use cratehold::archive::{self, Archive, LooseFiles, RepairOptions, RepairReport, Source};
use cratehold::registry::{CRATES_IO, IndexUrl, Stop};
use cratehold::sync::{DownloadServer, Options};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Take what is damaged from another archive, or from crate files and folders of
    /// them, under whatever names.
    #[arg(long, value_name = "PATH")]
    from: Vec<PathBuf>,
    /// Fetch what is still damaged from the registry's download server, or from the
    /// one that this template names, as `--dl` of `sync`.
    #[arg(long, value_name = "TEMPLATE", num_args = 0..=1, require_equals = true)]
    dl: Option<Option<String>>,
    /// Only say what is wrong, and what recovery data and `--from` could mend.
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Rebuild every `.crate` to find what is damaged, not only its tar.
    #[arg(long)]
    full: bool,
    /// Let go of what cannot be mended, so that `sync` fetches it anew.
    #[arg(long)]
    forget: bool,
    /// Print what was found and done as one JSON object.
    #[arg(long)]
    json: bool,
}

pub fn run(folder: &Path, args: Args) -> CommandResult {
    let stop = Stop::default();
    let mut sources: Vec<Box<dyn Source>> = Vec::new();
    for path in &args.from {
        if !path.exists() {
            return Err(format!("{}: not there", path.display()).into());
        }
        let is_archive = path.join("head0").exists() || path.join("head1").exists();
        sources.push(match is_archive {
            true => Box::new(Archive::open(path)?),
            false => Box::new(LooseFiles::new(vec![path.clone()])),
        });
    }
    let opened = Archive::open(folder).ok();
    if let Some(dl) = args.dl.clone().filter(|_| !args.dry_run) {
        let options = Options {
            dl,
            ..Options::new(IndexUrl::parse(CRATES_IO)?)
        };
        sources.push(Box::new(DownloadServer::new(opened.as_ref(), &options, &stop)?));
    }
    let entries = opened.and_then(|archive| archive.entries().ok()).unwrap_or_default();
    let bar = bytes_bar(entries.iter().map(|entry| u64::from(entry.content_bytes)).sum());
    stop_on_ctrl_c(&stop)?;
    let options = RepairOptions {
        dry_run: args.dry_run,
        full: args.full,
        forget: args.forget,
        threads: threads(),
        level: archive::DEFAULT_LEVEL,
        progress: &|bytes| bar.inc(bytes),
    };
    let report = archive::repair(folder, &mut sources, &options);
    bar.finish_and_clear();
    let report = report?;
    match args.json {
        true => say!("{}", as_json(&report)),
        false => show(&report, args.dry_run),
    }
    if stop.is_set() {
        eprintln!("stopped: what was mended is kept; run the same command again to go on");
        return Ok(ExitCode::from(INTERRUPTED));
    }
    if report.is_whole() && !(args.dry_run && (report.damaged > 0 || !report.structure.is_empty())) {
        return Ok(ExitCode::SUCCESS);
    }
    if !args.json {
        advise(&report, args.dry_run);
    }
    Ok(ExitCode::FAILURE)
}

fn show(report: &RepairReport, dry_run: bool) {
    for note in &report.structure {
        say!("found: {note}");
    }
    let mended = if dry_run { "could be mended" } else { "mended" };
    for (what, from) in &report.mended {
        say!("{mended}: {what}, from {from}");
    }
    for (what, cause) in &report.unmended {
        eprintln!("not mended: {what}: {cause}");
    }
    if report.is_blind {
        say!("the archive does not open as it is, so a dry run sees no further; `cratehold repair` makes it open");
        return;
    }
    say!(
        "{} objects looked at: {} damaged, {} {mended}, {} not",
        report.objects,
        report.damaged,
        report.mended.len(),
        report.unmended.len()
    );
}

fn advise(report: &RepairReport, dry_run: bool) {
    if !dry_run && !report.unmended.is_empty() {
        eprintln!(
            "whole bytes may be had from --from ARCHIVE_OR_FOLDER or --dl; --forget lets go of the rest, for `sync` to fetch"
        );
    }
}

fn as_json(report: &RepairReport) -> serde_json::Value {
    let mended = report.mended.iter();
    let mended: Vec<_> = mended
        .map(|(what, from)| serde_json::json!({"what": what, "from": from}))
        .collect();
    let unmended = report.unmended.iter();
    let unmended: Vec<_> = unmended
        .map(|(what, cause)| serde_json::json!({"what": what, "cause": cause}))
        .collect();
    serde_json::json!({
        "structure": report.structure, "objects": report.objects, "damaged": report.damaged,
        "mended": mended, "unmended": unmended, "whole": report.is_whole(),
    })
}
