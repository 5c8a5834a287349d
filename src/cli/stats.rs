//! `cratehold stats`.

use super::as_of::{self, AsOf};
use super::{CommandResult, human, terminal};
use cratehold::archive::{Archive, Error};
use cratehold::deflate::Engine;
use cratehold::format::index::{Entry, EntryKind};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

/// Width of the drawn bars, in characters.
const BAR_CHARS: u64 = 40;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Of the releases known at this snapshot, day or instant.
    #[arg(long, value_name = "SNAP|DATE")]
    as_of: Option<AsOf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub fn run(folder: &Path, args: Args) -> CommandResult {
    let archive = as_of::open(folder, args.as_of)?;
    let mut entries = match args.as_of {
        None => archive.entries()?,
        Some(_) => known_entries(&archive)?,
    };
    // Seeds and notes are no crate files, but take room.
    let is_seed = |entry: &Entry| entry.kind == EntryKind::Seed;
    let seeds = entries.iter().filter(|entry| is_seed(entry)).count();
    let seed_bytes: u64 = entries
        .iter()
        .filter(|entry| is_seed(entry))
        .map(|entry| u64::from(entry.record_bytes))
        .sum();
    entries.retain(|entry| !is_seed(entry));
    let snapshot = archive.generation();
    let sum = |of: fn(&Entry) -> u64| entries.iter().map(of).sum::<u64>();
    let crate_bytes = sum(|entry| u64::from(entry.crate_bytes));
    let content_bytes = sum(|entry| u64::from(entry.content_bytes));
    let record_bytes = sum(|entry| u64::from(entry.record_bytes));
    // What was known then shares the drive with all that came later.
    let disk_bytes = match args.as_of {
        None => archive.disk_bytes()?,
        Some(_) => record_bytes,
    };
    let worst = Worst::of(&archive, &entries)?;
    let settings = archive.pack_settings()?;
    let mut engines: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    let mut depths: BTreeMap<u8, (u64, u64)> = BTreeMap::new();
    for entry in &entries {
        let engine = Engine::from_number(entry.engine).map_or("as it came", Engine::name);
        for slot in [
            engines.entry(engine).or_default(),
            depths.entry(entry.chain_depth).or_default(),
        ] {
            slot.0 += 1;
            slot.1 += u64::from(entry.record_bytes);
        }
    }
    if args.json {
        let by = |(key, (count, bytes)): (String, &(u64, u64))| {
            (key, serde_json::json!({ "crates": count, "record_bytes": bytes }))
        };
        let engines: serde_json::Map<_, _> = engines.iter().map(|(key, value)| by(((*key).into(), value))).collect();
        let depths: serde_json::Map<_, _> = depths.iter().map(|(key, value)| by((key.to_string(), value))).collect();
        let json = serde_json::json!({
            "snapshot": snapshot, "crates": entries.len(), "crate_bytes": crate_bytes,
            "content_bytes": content_bytes, "record_bytes": record_bytes, "disk_bytes": disk_bytes,
            "seeds": seeds, "seed_bytes": seed_bytes,
            "worst_chain_bytes": worst.chain_bytes, "worst_chain_depth": worst.chain_depth,
            "worst_release": worst.release, "optimized_packs": settings,
            "engines": engines, "chain_depths": depths,
        });
        say!("{json}");
        return Ok(ExitCode::SUCCESS);
    }
    say!("{} crate files in snapshot {snapshot}", entries.len());
    say!("  as .crate  {:>10}", human(crate_bytes));
    say!("  unpacked   {:>10}", human(content_bytes));
    let ratio = crate_bytes as f64 / disk_bytes.max(1) as f64;
    let place = if args.as_of.is_some() { "in packs" } else { "on disk " };
    say!(
        "  {place}   {:>10}  {ratio:.2} times smaller than the .crate files",
        human(disk_bytes)
    );
    say!(
        "  worst single read: {} of tar to decode in {} frames{}",
        human(worst.chain_bytes),
        worst.chain_depth + 1,
        worst
            .release
            .map_or_else(String::new, |release| format!(", for {release}"))
    );
    if seeds > 0 {
        say!("  seeds and notes: {} ({seeds})", human(seed_bytes));
    }
    for (settings, packs) in &settings {
        say!("  optimized packs: {packs}, with {settings}");
    }
    say!("\nwhere the bytes went, by engine");
    engines
        .iter()
        .for_each(|(engine, slot)| row(engine, *slot, record_bytes));
    say!("\nand by frames below in the chain");
    depths
        .iter()
        .for_each(|(depth, slot)| row(&depth.to_string(), *slot, record_bytes));
    Ok(ExitCode::SUCCESS)
}

/// The release that costs most to read.
struct Worst {
    chain_bytes: u64,
    chain_depth: u8,
    release: Option<String>,
}

impl Worst {
    fn of(archive: &Archive, entries: &[Entry]) -> Result<Worst, Error> {
        let worst = entries.iter().max_by_key(|entry| (entry.chain_bytes, entry.digest));
        let release = |entry: &Entry| {
            let meta = archive.record(entry)?;
            Ok::<_, Error>(terminal::shown(&format!("{}@{}", meta.name, meta.version)))
        };
        Ok(Worst {
            chain_bytes: worst.map_or(0, |entry| entry.chain_bytes),
            chain_depth: worst.map_or(0, |entry| entry.chain_depth),
            release: worst.map(release).transpose()?,
        })
    }
}

/// The entries of all releases that the manifest knows, removed ones too: their
/// bytes stay.
fn known_entries(archive: &Archive) -> Result<Vec<Entry>, Error> {
    let mut entries = BTreeMap::new();
    for state in archive.crates()? {
        for release in &state.releases {
            if let Some(entry) = archive.find(&release.digest)? {
                entries.insert(entry.digest, entry);
            }
        }
    }
    Ok(entries.into_values().collect())
}

fn row(label: &str, (count, bytes): (u64, u64), total: u64) {
    let bar = "#".repeat((bytes * BAR_CHARS / total.max(1)) as usize);
    say!("  {label:<12} {count:>8} {:>10}  {bar}", human(bytes));
}
