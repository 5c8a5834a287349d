//! `cratehold diff`.

use super::CommandResult;
use super::as_of::AsOf;
use cratehold::archive::{Archive, ChangeKind};
use std::path::Path;
use std::process::ExitCode;

const DAY_SECONDS: u64 = 86_400;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The older snapshot, as a number or a date.
    #[arg(value_name = "SNAP", required_unless_present = "since")]
    from: Option<AsOf>,
    /// The newer one, as a number or a date.
    #[arg(value_name = "SNAP", required_unless_present = "since")]
    to: Option<AsOf>,
    /// What changed on this day and later, or after this instant or snapshot.
    #[arg(long, value_name = "DATE", conflicts_with_all = ["from", "to"])]
    since: Option<AsOf>,
    /// Print JSON, one object a line.
    #[arg(long)]
    json: bool,
}

pub fn run(folder: &Path, args: Args) -> CommandResult {
    let archive = Archive::open(folder)?;
    let newest = AsOf::Snapshot(archive.head().generation);
    let (from, to) = match (args.since, args.from, args.to) {
        (None, Some(from), Some(to)) => (from.snapshot(&archive)?, to),
        // Before the first snapshot there was nothing, and all is new since.
        (Some(AsOf::Day(end)), ..) => (
            archive.snapshot_at(end.saturating_sub(DAY_SECONDS))?.unwrap_or(0),
            newest,
        ),
        (Some(AsOf::Time(time)), ..) => (archive.snapshot_at(time)?.unwrap_or(0), newest),
        (Some(since), ..) => (since.snapshot(&archive)?, newest),
        _ => return Err("expected two snapshots, or --since DATE".into()),
    };
    let to = to.snapshot(&archive)?;
    if from > to {
        return Err(format!("snapshot {from} is newer than {to}: name the older one first").into());
    }
    for change in archive.changes(from, to)? {
        let (mark, kind) = words(change.kind);
        if args.json {
            let json = serde_json::json!({
                "change": kind, "name": change.name, "version": change.version.as_str(),
                "sha256": change.digest.to_string(),
            });
            say!("{json}");
        } else {
            say!("{mark} {}@{}", change.name, change.version);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn words(kind: ChangeKind) -> (char, &'static str) {
    match kind {
        ChangeKind::Added => ('+', "added"),
        ChangeKind::Removed => ('-', "removed"),
        ChangeKind::Yanked => ('y', "yanked"),
        ChangeKind::Unyanked => ('u', "unyanked"),
        ChangeKind::Replaced => ('=', "replaced"),
        ChangeKind::Restored => ('r', "restored"),
    }
}
