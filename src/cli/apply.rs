//! `cratehold apply`.

use super::interrupt::{INTERRUPTED, on_ctrl_c};
use super::{CommandResult, bytes_bar, human, threads};
use cratehold::archive::{ApplyOptions, ApplyReport, BundleError, apply};
use cratehold::registry::Stop;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Volumes of bundles, or folders that have them. Several bundles are taken in in
    /// the order in which they lead on.
    #[arg(required = true, value_name = "BUNDLE")]
    bundles: Vec<PathBuf>,
    /// Check the bundles and say what they would bring; write nothing.
    #[arg(long)]
    dry_run: bool,
    /// Say what was done as one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    trust: super::trust::Trust,
}

pub fn run(archive: &Path, args: Args) -> CommandResult {
    let stop = Stop::default();
    on_ctrl_c(&stop, "what was taken in is kept")?;
    let bar = bytes_bar(0);
    let key = args.trust.key()?;
    let options = ApplyOptions {
        dry_run: args.dry_run,
        trust: args.trust.of_bundles(key.as_ref()),
        threads: threads(),
        stop: &|| stop.is_set(),
        begin: &|bytes| bar.set_length(bytes),
        progress: &|bytes| bar.inc(bytes),
    };
    let result = apply(archive, &args.bundles, &options);
    bar.finish_and_clear();
    let report = match result {
        Err(stopped @ BundleError::Stopped) => {
            eprintln!("{stopped}");
            return Ok(ExitCode::from(INTERRUPTED));
        }
        result => result?,
    };
    match args.json {
        true => say!("{}", json(&report)),
        false => tell(&report, args.dry_run),
    }
    if report.lacking > 0 {
        eprintln!(
            "note: the archive it came from held {} objects more than are here: bytes that came there before the bundle's base; \
             `bundle --since-archive` or a bundle of everything brings them",
            report.lacking
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn tell(report: &ApplyReport, is_dry_run: bool) {
    let ApplyReport { snapshot, root, .. } = report;
    let is_in = report.new_objects == 0 && report.transactions == 0 && report.waiting.is_none();
    if is_in {
        say!("the archive already has it: snapshot {snapshot}, root {root}");
    } else {
        let would = if is_dry_run { "would be " } else { "" };
        let size = match report.new_bytes {
            0 => String::new(),
            bytes => format!(" ({})", human(bytes)),
        };
        let held = match report.held_objects {
            0 => String::new(),
            held => format!(", {held} held already"),
        };
        say!(
            "{} objects {would}taken in{size}{held}, {} transactions; archive {} snapshot {snapshot}, root {root}",
            report.new_objects,
            report.transactions,
            if is_dry_run { "would be" } else { "is now" }
        );
    }
    if report.purged_objects > 0 {
        say!(
            "{} objects were erased here on purpose and were not taken in",
            report.purged_objects
        );
    }
    if report.erased_objects > 0 {
        let verb = if is_dry_run { "would be" } else { "were" };
        let count = report.erased_objects;
        say!("{count} objects {verb} erased for good, as where the bundle was made: `list --purged` says why");
    }
    if let Some((volumes, all, path)) = &report.waiting {
        let numbers: Vec<String> = volumes.iter().map(u32::to_string).collect();
        say!(
            "of the bundle of {path} still to come: volume {} of {all}; until then the root stays as it is",
            numbers.join(", ")
        );
    }
}

fn json(report: &ApplyReport) -> serde_json::Value {
    let waiting = report.waiting.as_ref();
    serde_json::json!({
        "bundles": report.bundles,
        "volumes": report.volumes,
        "new_objects": report.new_objects,
        "new_bytes": report.new_bytes,
        "held_objects": report.held_objects,
        "purged_objects": report.purged_objects,
        "erased_objects": report.erased_objects,
        "transactions": report.transactions,
        "volumes_to_come": waiting.map_or(&[][..], |(volumes, _, _)| &volumes[..]),
        "lacking": report.lacking,
        "snapshot": report.snapshot,
        "root": report.root.to_string(),
    })
}
