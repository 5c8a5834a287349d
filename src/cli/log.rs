//! `cratehold log`.

use super::{CommandResult, date};
use cratehold::archive::Archive;
use cratehold::format::manifest::EventKind::{self, Added, Amended, Removed, Replaced, Restored, Unyanked, Yanked};
use std::path::Path;
use std::process::ExitCode;

const NOTE: &str = "\
A snapshot that only brought the bytes of releases known before changed nothing that is \
listed here, and has no line: so numbers may be left out. Dates are what the writing \
machine's clock said; the order is that of the numbers.";

#[derive(Debug, clap::Args)]
#[command(after_help = NOTE)]
pub struct Args {
    /// Print JSON, one object a line.
    #[arg(long)]
    json: bool,
}

const COLUMNS: [(EventKind, &str); 6] = [
    (Added, "added"),
    (Yanked, "yanked"),
    (Unyanked, "unyanked"),
    (Removed, "removed"),
    (Restored, "restored"),
    (Replaced, "replaced"),
];

pub fn run(folder: &Path, args: Args) -> CommandResult {
    let archive = Archive::open(folder)?;
    let snapshots = archive.snapshots()?;
    if args.json {
        for snapshot in &snapshots {
            let made = &snapshot.transaction;
            let mut json = serde_json::json!({
                "snapshot": made.generation, "time": made.time, "date": date(made.time), "source": made.source,
                "registry": made.registry, "cursor": made.cursor, "events": made.event_count,
                "amended": snapshot.count(Amended),
            });
            for (kind, name) in COLUMNS {
                json[name] = snapshot.count(kind).into();
            }
            say!("{json}");
        }
        return Ok(ExitCode::SUCCESS);
    }
    let heads: String = COLUMNS.iter().map(|(_, name)| format!(" {name:>9}")).collect();
    say!("{:>8}  {:<20}  {:<8}{heads}", "snapshot", "date", "source");
    for snapshot in &snapshots {
        let made = &snapshot.transaction;
        let counts: String = COLUMNS
            .iter()
            .map(|(kind, _)| format!(" {:>9}", snapshot.count(*kind)))
            .collect();
        say!(
            "{:>8}  {:<20}  {:<8}{counts}",
            made.generation,
            date(made.time),
            made.source
        );
    }
    Ok(ExitCode::SUCCESS)
}
