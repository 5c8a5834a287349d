//! `cratehold list`.

use super::{CommandResult, human, select};
use cratehold::archive::Archive;
use std::path::Path;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// One crate, to list its releases.
    name: Option<String>,
    /// Print JSON, one object a line.
    #[arg(long)]
    json: bool,
}

pub fn run(folder: &Path, args: Args) -> CommandResult {
    let archive = Archive::open(folder)?;
    let crates = match &args.name {
        Some(name) => match archive.crate_state(name)? {
            Some(state) => vec![state],
            None => return Err(select::unknown(&archive, name)?.into()),
        },
        None => archive.crates()?,
    };
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
                    "yanked": release.yanked, "crate_bytes": entry.crate_bytes, "tar_bytes": entry.content_bytes,
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
