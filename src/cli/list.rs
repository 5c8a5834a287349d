//! `cratehold list`.

use super::as_of::{self, AsOf};
use super::{CommandResult, date, human, select};
use cratehold::archive::{Archive, CrateState};
use cratehold::sync::next_asking;
use std::collections::HashMap;
use std::path::Path;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// One crate, to list its releases.
    name: Option<String>,
    /// What the registry no longer has, with when it vanished.
    #[arg(long)]
    removed: bool,
    /// What was erased here on purpose, with when and why.
    #[arg(long, conflicts_with = "removed")]
    purged: bool,
    /// What the registry index lists and its download server does not have, with since
    /// when, and from when on `sync` asks again.
    #[arg(long, conflicts_with_all = ["removed", "purged"])]
    missing: bool,
    /// As the registry was at this snapshot, day or instant.
    #[arg(long, value_name = "SNAP|DATE")]
    as_of: Option<AsOf>,
    /// Print JSON, one object a line.
    #[arg(long)]
    json: bool,
}

pub fn run(folder: &Path, args: Args) -> CommandResult {
    let archive = as_of::open(folder, args.as_of)?;
    let crates = match &args.name {
        Some(name) => match archive.crate_state(name)? {
            Some(state) => vec![state],
            None => return Err(select::unknown(&archive, name)?.into()),
        },
        None => archive.crates()?,
    };
    if args.removed {
        return removed(&archive, &crates, args.json);
    }
    if args.purged {
        return purged(&archive, &crates, args.json);
    }
    if args.missing {
        return missing(&archive, &crates, args.json);
    }
    let (mut releases, mut crate_bytes) = (0u64, 0u64);
    for state in &crates {
        let mut held = Vec::new();
        for release in state.current() {
            if let Some(entry) = archive.find(&release.digest)? {
                held.push((release, entry));
            }
        }
        held.sort_by(|a, b| a.0.version.cmp(&b.0.version));
        releases += held.len() as u64;
        crate_bytes += held.iter().map(|(_, entry)| u64::from(entry.crate_bytes)).sum::<u64>();
        if args.json {
            for (release, entry) in &held {
                let line = serde_json::json!({
                    "name": state.name, "version": release.version.as_str(), "sha256": release.digest.to_string(),
                    "yanked": release.yanked, "crate_bytes": entry.crate_bytes, "content_bytes": entry.content_bytes,
                });
                say!("{line}");
            }
        } else if args.name.is_some() {
            for (release, entry) in &held {
                let mark = if release.yanked { "  yanked" } else { "" };
                say!(
                    "{:<24} {:>10}{mark}",
                    release.version.as_str(),
                    human(u64::from(entry.crate_bytes))
                );
            }
            for release in state.releases.iter().filter(|release| release.purged) {
                let how = select::erasure(&archive, release)?;
                say!("{:<24} {:>10}  erased here {how}", release.version.as_str(), "-");
            }
        } else if let Some((newest, _)) = held.last() {
            say!("{:<32} {:>5} held, newest {}", state.name, held.len(), newest.version);
        }
    }
    if !args.json && args.name.is_none() {
        let disk = archive.disk_bytes()?;
        let ratio = crate_bytes as f64 / disk.max(1) as f64;
        say!(
            "{releases} releases of {} crates: {} of .crate files in {} on disk, {ratio:.2} times smaller",
            crates.len(),
            human(crate_bytes),
            human(disk)
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Releases that were asked for in vain, by name and version.
fn missing(archive: &Archive, crates: &[CrateState], json: bool) -> CommandResult {
    let made = archive.transactions()?.into_iter();
    let times: HashMap<u64, u64> = made.map(|made| (made.generation, made.time)).collect();
    let time = |generation: u64| times.get(&generation).copied().unwrap_or_default();
    for state in crates {
        let mut absent = Vec::new();
        for release in state.current().filter(|release| release.is_listed() && !release.purged) {
            if let (Some(absence), None) = (release.absence, archive.find(&release.digest)?) {
                absent.push((release, absence));
            }
        }
        absent.sort_by(|a, b| a.0.version.cmp(&b.0.version));
        for (release, absence) in absent {
            let (since, last) = (time(absence.first), time(absence.last));
            let next = next_asking(absence.count, last);
            if json {
                let line = serde_json::json!({
                    "name": state.name, "version": release.version.as_str(), "sha256": release.digest.to_string(),
                    "asked": absence.count, "since_snapshot": absence.first, "since_time": since,
                    "last_snapshot": absence.last, "last_time": last, "next_time": next,
                });
                say!("{line}");
                continue;
            }
            let what = format!("{}@{}", state.name, release.version);
            let (since, last, next) = (date(since), date(last), date(next));
            let count = absence.count;
            say!("{what:<32}  missing since {since}; asked {count} times, last {last}, again from {next}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Releases that the registry had and has no longer, by name and version; those of
/// one version are told apart by their checksums.
fn removed(archive: &Archive, crates: &[CrateState], json: bool) -> CommandResult {
    for state in crates {
        let mut gone: Vec<_> = state.releases.iter().filter(|release| !release.is_current()).collect();
        gone.sort_by(|a, b| a.version.cmp(&b.version));
        for release in gone {
            let held = archive.find(&release.digest)?.is_some();
            if json {
                let time = |generation: Option<u64>| generation.map_or(Ok(None), |made| archive.snapshot_time(made));
                let line = serde_json::json!({
                    "name": state.name, "version": release.version.as_str(), "sha256": release.digest.to_string(),
                    "removed_snapshot": release.removed, "removed_time": time(release.removed)?,
                    "replaced_snapshot": release.replaced, "replaced_time": time(release.replaced)?, "held": held,
                });
                say!("{line}");
                continue;
            }
            let fate = select::fate(archive, release)?;
            let what = format!("{}@{}", state.name, release.version);
            let note = if held { "" } else { ", not held" };
            say!("{what:<32}  {fate}{note}  sha256 {}", release.digest);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Releases whose bytes were erased here, by name and version.
fn purged(archive: &Archive, crates: &[CrateState], json: bool) -> CommandResult {
    for state in crates {
        let mut purged: Vec<_> = state.releases.iter().filter(|release| release.purged).collect();
        purged.sort_by(|a, b| a.version.cmp(&b.version));
        for release in purged {
            if json {
                let (snapshot, reason) = archive.purge_of(release)?.unwrap_or_default();
                let line = serde_json::json!({
                    "name": state.name, "version": release.version.as_str(), "sha256": release.digest.to_string(),
                    "purged_snapshot": snapshot, "purged_time": archive.snapshot_time(snapshot)?, "reason": reason,
                });
                say!("{line}");
                continue;
            }
            let what = format!("{}@{}", state.name, release.version);
            let how = select::erasure(archive, release)?;
            say!("{what:<32}  erased {how}  sha256 {}", release.digest);
        }
    }
    Ok(ExitCode::SUCCESS)
}
