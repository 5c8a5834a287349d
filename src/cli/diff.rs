//! `cratehold diff`: of two snapshots here, of two releases in `diff_releases`.

use super::as_of::AsOf;
use super::{CommandResult, diff_releases};
use cratehold::archive::{Archive, ChangeKind};
use std::path::Path;
use std::process::ExitCode;

const DAY_SECONDS: u64 = 86_400;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The older snapshot, as a number or a date; or a release, NAME@VERSION, whose
    /// source tree is compared with that of another.
    #[arg(value_name = "OLD", required_unless_present = "since")]
    from: Option<String>,
    /// The newer snapshot or release.
    #[arg(value_name = "NEW", required_unless_present = "since")]
    to: Option<String>,
    /// Of two releases, only these files and folders.
    #[arg(value_name = "PATH")]
    pub paths: Vec<String>,
    /// Of two releases, only how much each file differs.
    #[arg(long, conflicts_with = "json")]
    pub stat: bool,
    /// Of two releases, so many lines around what differs.
    #[arg(short = 'U', long, value_name = "LINES", default_value_t = 3)]
    pub unified: usize,
    /// What changed on this day and later, or after this instant or snapshot.
    #[arg(long, value_name = "DATE", conflicts_with_all = ["from", "to"])]
    since: Option<AsOf>,
    /// Print JSON, one object a line.
    #[arg(long)]
    pub json: bool,
}

pub fn run(folder: &Path, args: Args) -> CommandResult {
    let is_release = |text: &Option<String>| text.as_ref().is_some_and(|text| text.contains('@'));
    if let (Some(from), Some(to), true) = (&args.from, &args.to, is_release(&args.from) || is_release(&args.to)) {
        return diff_releases::run(folder, from, to, &args);
    }
    if !args.paths.is_empty() || args.stat {
        eprintln!("error: files are compared between two releases: expected NAME@VERSION twice");
        return Ok(ExitCode::from(2));
    }
    let parse = |text: Option<String>| text.map(|text| text.parse::<AsOf>()).transpose();
    let (older, newer) = match (parse(args.from), parse(args.to)) {
        (Ok(older), Ok(newer)) => (older, newer),
        (Err(error), _) | (_, Err(error)) => {
            eprintln!("error: {error}");
            return Ok(ExitCode::from(2));
        }
    };
    let archive = Archive::open(folder)?;
    let newest = AsOf::Snapshot(archive.head().generation);
    let (from, to) = match (args.since, older, newer) {
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
