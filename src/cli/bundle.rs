//! `cratehold bundle`.

use super::as_of::AsOf;
use super::interrupt::{INTERRUPTED, on_ctrl_c};
use super::{CommandResult, bytes_bar, human, size};
use cratehold::archive::{
    Archive, BundleError, BundleOptions, BundleReport, DEFAULT_VOLUME_BYTES, MIN_VOLUME_BYTES, Since, VOLUME_SUFFIX,
    bundle,
};
use cratehold::registry::Stop;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only what is new since this snapshot, or the last one of a day. The archive that
    /// takes it in must have come at least so far. Without this, everything.
    #[arg(long, value_name = "SNAP|DATE", conflicts_with = "since_archive")]
    since: Option<AsOf>,
    /// Only what this archive lacks, an earlier state of the same one.
    #[arg(long, value_name = "DIR")]
    since_archive: Option<PathBuf>,
    /// The folder for the volumes; or a file, if the name ends in .chb.
    #[arg(short, long, value_name = "DIR|FILE")]
    output: PathBuf,
    /// No volume is larger; the default is below FAT32's 4 GiB.
    #[arg(long, value_name = "SIZE", value_parser = size::parse, default_value_t = DEFAULT_VOLUME_BYTES)]
    volume_size: u64,
    /// Say what was made as one JSON object.
    #[arg(long)]
    json: bool,
}

pub fn run(archive: &Path, args: Args) -> CommandResult {
    if args.volume_size < MIN_VOLUME_BYTES {
        return Err(format!("--volume-size: volumes are at least {MIN_VOLUME_BYTES} bytes").into());
    }
    let archive = Archive::open(archive)?;
    let there = args.since_archive.as_deref().map(Archive::open).transpose()?;
    let since = match (&there, args.since) {
        (Some(there), _) => Since::Archive(there),
        (None, Some(since)) => match since.snapshot(&archive)? {
            0 => Since::Nothing,
            snapshot => Since::Snapshot(snapshot),
        },
        (None, None) => Since::Nothing,
    };
    let (folder, stem) = output(&args.output)?;
    let stop = Stop::default();
    on_ctrl_c(&stop, "whole volumes are kept")?;
    let bar = bytes_bar(0);
    let options = BundleOptions {
        volume_bytes: args.volume_size,
        stem: stem.as_deref(),
        stop: &|| stop.is_set(),
        begin: &|bytes| bar.set_length(bytes),
        progress: &|bytes| bar.inc(bytes),
    };
    let result = bundle(&archive, since, &folder, &options);
    bar.finish_and_clear();
    let report = match result {
        Err(stopped @ BundleError::Stopped) => {
            eprintln!("{stopped}");
            return Ok(ExitCode::from(INTERRUPTED));
        }
        result => result?,
    };
    match args.json {
        true => say!("{}", json(&report, &folder)),
        false => tell(&report, &folder),
    }
    Ok(ExitCode::SUCCESS)
}

/// The folder to write to, and what the names in it begin with if that was said.
fn output(path: &Path) -> Result<(PathBuf, Option<String>), String> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let stem = name.strip_suffix(VOLUME_SUFFIX).filter(|_| !path.is_dir());
    let Some(stem) = stem else {
        return Ok((path.to_owned(), None));
    };
    if stem.is_empty() {
        return Err(format!("{}: expected a name before {VOLUME_SUFFIX}", path.display()));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    Ok((folder.unwrap_or(Path::new(".")).to_owned(), Some(stem.to_owned())))
}

fn tell(report: &BundleReport, folder: &Path) {
    let ((base, _), (snapshot, root)) = (report.base, report.leads_to);
    let from = match base {
        0 => "everything up to".to_owned(),
        base => format!("from snapshot {base} to"),
    };
    let kept = match report.kept_volumes {
        0 => String::new(),
        kept => format!(" ({kept} there already)"),
    };
    let volumes = match &report.volumes[..] {
        [(name, _)] => folder.join(name).display().to_string(),
        volumes => format!("{} volumes in {}", volumes.len(), folder.display()),
    };
    say!(
        "{from} {snapshot}: {} objects, {} transactions, {} in {volumes}{kept}; it leads to root {root}{}",
        report.objects,
        report.transactions,
        human(report.bytes),
        if report.is_signed { ", signed" } else { "" }
    );
}

fn json(report: &BundleReport, folder: &Path) -> serde_json::Value {
    let volume = |(name, bytes): &(String, u64)| serde_json::json!({ "path": folder.join(name), "bytes": bytes });
    serde_json::json!({
        "base_snapshot": report.base.0,
        "base_root": report.base.1.to_string(),
        "snapshot": report.leads_to.0,
        "root": report.leads_to.1.to_string(),
        "transactions": report.transactions,
        "objects": report.objects,
        "bytes": report.bytes,
        "signed": report.is_signed,
        "volumes": report.volumes.iter().map(volume).collect::<Vec<_>>(),
        "kept_volumes": report.kept_volumes,
    })
}
