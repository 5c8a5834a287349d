//! `cratehold protect`.

use super::interrupt::{INTERRUPTED, on_ctrl_c};
use super::{CommandResult, bytes_bar, human, threads};
use cratehold::archive::{Archive, Coverage, ProtectOptions, ProtectReport, Writer};
use cratehold::registry::Stop;
use std::path::Path;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Of each hundred sectors of 4 KiB, so many may be lost; the recovery data takes
    /// about as much room. What is protected already keeps what it has, if that is more.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=100))]
    percent: u8,
    /// Only tell what is protected and what is not, by recovery data that is itself whole.
    #[arg(long, conflicts_with_all = ["percent", "remove"])]
    check: bool,
    /// Remove all recovery data.
    #[arg(long, conflicts_with = "percent")]
    remove: bool,
    /// Print what was found or done as one JSON object.
    #[arg(long)]
    json: bool,
}

pub fn run(folder: &Path, args: Args) -> CommandResult {
    if args.check {
        return check(&Archive::open(folder)?, args.json);
    }
    let writer = Writer::open(folder)?;
    if args.remove {
        let bytes = writer.unprotect()?;
        match args.json {
            true => say!("{}", serde_json::json!({"removed_bytes": bytes})),
            false => say!("{} of recovery data removed", human(bytes)),
        }
        return Ok(ExitCode::SUCCESS);
    }
    let (total, _, _) = writer.with_archive(Archive::coverage)?.totals();
    let bar = bytes_bar(total);
    let stop = Stop::default();
    on_ctrl_c(&stop, "finishing the file that is being protected")?;
    let report = writer.protect(&ProtectOptions {
        percent: args.percent,
        threads: threads(),
        stop: &|| stop.is_set(),
        progress: &|bytes| bar.inc(bytes),
    });
    bar.finish_and_clear();
    let report = report?;
    let coverage = writer.with_archive(Archive::coverage)?;
    match args.json {
        true => say!("{}", as_json(&coverage, Some(&report))),
        false => {
            say!(
                "{} files protected now ({}, {} of recovery data), {} were already",
                report.covered,
                human(report.covered_bytes),
                human(report.recovery_bytes),
                report.kept
            );
            say!("{}", summary(&coverage));
        }
    }
    for (file, cause) in &report.damaged {
        eprintln!("not protected: {file}: {cause}");
    }
    if report.stopped {
        eprintln!("stopped: what was protected stays so; run the same command again to go on");
        return Ok(ExitCode::from(INTERRUPTED));
    }
    if report.damaged.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    Err("damaged files were left out: `cratehold repair` them, then run this again".into())
}

fn check(archive: &Archive, json: bool) -> CommandResult {
    let coverage = archive.coverage()?;
    let problems = archive.check_recovery()?;
    if json {
        let mut answer = as_json(&coverage, None);
        answer["problems"] = problems
            .iter()
            .map(|(file, cause)| serde_json::json!({"file": file, "message": cause}))
            .collect();
        say!("{answer}");
    } else {
        for file in &coverage.files {
            match (file.covered_bytes, file.is_whole()) {
                (0, _) => say!("not protected   {} ({})", file.name, human(file.bytes)),
                (_, false) => say!(
                    "not wholly      {}: {} of {}, against the loss of {} %",
                    file.name,
                    human(file.covered_bytes),
                    human(file.bytes),
                    file.percent
                ),
                _ => say!("protected       {}: against the loss of {} %", file.name, file.percent),
            }
        }
        say!("{}", summary(&coverage));
    }
    for (file, cause) in &problems {
        eprintln!("damaged: {file}: {cause}; `cratehold protect` makes it anew");
    }
    match coverage.is_whole() && problems.is_empty() {
        true => Ok(ExitCode::SUCCESS),
        false => Ok(ExitCode::FAILURE),
    }
}

/// One line on how much of an archive is protected.
pub fn summary(coverage: &Coverage) -> String {
    let (bytes, covered, recovery) = coverage.totals();
    let whole = coverage.files.iter().filter(|file| file.is_whole()).count();
    let advice = match coverage.is_whole() {
        true => "",
        false => "; `cratehold protect` does the rest",
    };
    format!(
        "protected: {whole} of {} files, {} of {}, by {} of recovery data{advice}",
        coverage.files.len(),
        human(covered),
        human(bytes),
        human(recovery)
    )
}

fn as_json(coverage: &Coverage, report: Option<&ProtectReport>) -> serde_json::Value {
    let files = coverage.files.iter().map(|file| {
        serde_json::json!({
            "name": file.name, "bytes": file.bytes, "covered_bytes": file.covered_bytes,
            "percent": file.percent, "recovery_bytes": file.recovery_bytes,
        })
    });
    let (bytes, covered, recovery) = coverage.totals();
    let damaged = report.map(|report| {
        let damaged = report.damaged.iter();
        let damaged = damaged.map(|(file, cause)| serde_json::json!({"name": file, "cause": cause}));
        damaged.collect::<Vec<_>>()
    });
    serde_json::json!({
        "files": files.collect::<Vec<_>>(), "bytes": bytes, "covered_bytes": covered,
        "recovery_bytes": recovery, "whole": coverage.is_whole(),
        "files_protected_now": report.map(|report| report.covered), "damaged": damaged,
    })
}
