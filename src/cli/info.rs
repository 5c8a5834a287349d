//! `cratehold info`.

use super::as_of::{self, AsOf};
use super::{CommandResult, human, select};
use cratehold::archive::{Archive, ReleaseState};
use cratehold::deflate::Engine;
use serde_json::{Value, json};
use std::path::Path;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A crate, or one release of it: NAME[@VERSION or REQUIREMENT].
    #[arg(value_name = "RELEASE")]
    wanted: String,
    /// As the registry was at this snapshot, day or instant.
    #[arg(long, value_name = "SNAP|DATE")]
    as_of: Option<AsOf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub fn run(folder: &Path, args: Args) -> CommandResult {
    let archive = as_of::open(folder, args.as_of)?;
    if args.wanted.contains('@') {
        return release(&archive, &args);
    }
    let Some(state) = archive.crate_state(&args.wanted)? else {
        return Err(select::unknown(&archive, &args.wanted)?.into());
    };
    let (mut held, mut missing, mut crate_bytes, mut record_bytes) = (Vec::new(), 0u64, 0u64, 0u64);
    for release in &state.releases {
        match archive.find(&release.digest)? {
            Some(entry) => {
                crate_bytes += u64::from(entry.crate_bytes);
                record_bytes += u64::from(entry.record_bytes);
                held.push(release);
            }
            None if release.absence.is_some() && release.is_current() => missing += 1,
            None => {}
        }
    }
    held.sort_by(|a, b| a.version.cmp(&b.version));
    let chosen = select::select(&archive, &args.wanted, select::Which::Current).ok();
    let chosen = chosen.map(|chosen| chosen.release.version.to_string());
    let yanked = held.iter().filter(|release| release.yanked).count();
    if args.json {
        let json = json!({
            "name": state.name, "listed": state.current().count(), "held": held.len(), "yanked": yanked,
            "missing": missing, "chosen": chosen, "crate_bytes": crate_bytes, "record_bytes": record_bytes,
            "versions": held.iter().map(|release| release.version.as_str()).collect::<Vec<_>>(),
        });
        say!("{json}");
        return Ok(ExitCode::SUCCESS);
    }
    say!("{}", state.name);
    say!(
        "  releases    {} held of {} known, {yanked} yanked",
        held.len(),
        state.releases.len()
    );
    if let Some(chosen) = chosen {
        say!("  newest      {chosen} (what `extract {}` gives)", state.name);
    }
    let erased = state.releases.iter().filter(|release| release.purged).count();
    if erased > 0 {
        say!(
            "  erased      {erased} on purpose; `list {} --purged` says why",
            state.name
        );
    }
    if missing > 0 {
        say!(
            "  missing     {missing} upstream: listed there, and not to be had; `list {} --missing` says since when",
            state.name
        );
    }
    say!("  as .crate   {}", human(crate_bytes));
    say!("  in packs    {}", human(record_bytes));
    Ok(ExitCode::SUCCESS)
}

fn release(archive: &Archive, args: &Args) -> CommandResult {
    let select::Selected { release, state, digest } = match select::select(archive, &args.wanted, select::Which::All) {
        Ok(selected) => selected,
        Err(error) => {
            return match select::purged(archive, &args.wanted)? {
                Some(purged) => erased(archive, args, &purged),
                None => Err(error),
            };
        }
    };
    let chain = archive.chain(&digest)?;
    let Some((entry, meta)) = chain.first() else {
        return Err(format!("{release}: not held").into());
    };
    let line = archive.line(&state)?;
    let parsed: Option<Value> = line.as_deref().and_then(|line| serde_json::from_slice(line).ok());
    let engine = Engine::from_number(meta.engine).map_or("as it came", Engine::name);
    let base = chain.get(1).map(|(_, base)| format!("{}@{}", base.name, base.version));
    if args.json {
        let json = json!({
            "name": release.name.as_str(), "version": release.version.as_str(), "sha256": digest.to_string(),
            "yanked": state.yanked, "added_snapshot": state.added, "removed_snapshot": state.removed,
            "replaced_snapshot": state.replaced, "crate_bytes": meta.crate_bytes, "content_bytes": meta.content_bytes,
            "record_bytes": entry.record_bytes, "engine": engine, "base": base, "chain_depth": meta.chain_depth,
            "chain_bytes": meta.chain_bytes, "pack": entry.pack, "record_offset": entry.record_offset,
            "registry_line": parsed,
        });
        say!("{json}");
        return Ok(ExitCode::SUCCESS);
    }
    say!("{release}");
    say!("  sha256      {digest}");
    say!("  registry    {}", select::standing(archive, &state)?);
    say!("  as .crate   {}", human(meta.crate_bytes));
    say!("  unpacked    {}", human(meta.content_bytes));
    say!(
        "  in packs    {}, pack {} at offset {}",
        human(u64::from(entry.record_bytes)),
        entry.pack,
        entry.record_offset
    );
    say!("  engine      {engine}");
    if let Some(base) = base {
        let cost = human(meta.chain_bytes);
        say!(
            "  base        {base} ({} frames below, {cost} to decode)",
            meta.chain_depth
        );
    }
    match parsed {
        Some(line) => describe_line(&line),
        None => say!("  no registry line is known; `sync` brings it"),
    }
    Ok(ExitCode::SUCCESS)
}

/// What is left to tell of a release whose bytes were erased here.
fn erased(archive: &Archive, args: &Args, state: &ReleaseState) -> CommandResult {
    let line = archive.line(state)?;
    let parsed: Option<Value> = line.as_deref().and_then(|line| serde_json::from_slice(line).ok());
    let name = args.wanted.split('@').next().unwrap_or_default();
    let (snapshot, reason) = archive.purge_of(state)?.unwrap_or_default();
    if args.json {
        let json = json!({
            "name": name, "version": state.version.as_str(), "sha256": state.digest.to_string(),
            "yanked": state.yanked, "added_snapshot": state.added, "removed_snapshot": state.removed,
            "replaced_snapshot": state.replaced, "purged_snapshot": snapshot, "purged_reason": reason,
            "registry_line": parsed,
        });
        say!("{json}");
        return Ok(ExitCode::SUCCESS);
    }
    say!("{name}@{}", state.version);
    say!("  sha256      {}", state.digest);
    say!("  registry    {}", select::standing(archive, state)?);
    parsed.iter().for_each(describe_line);
    Ok(ExitCode::SUCCESS)
}

fn describe_line(line: &Value) {
    let text = |key: &str| line.get(key).and_then(Value::as_str);
    if let Some(version) = text("rust_version") {
        say!("  needs Rust  {version}");
    }
    if let Some(time) = text("pubtime") {
        say!("  published   {time}");
    }
    let mut features: Vec<&str> = ["features", "features2"]
        .iter()
        .filter_map(|key| line.get(*key)?.as_object())
        .flat_map(|features| features.keys().map(String::as_str))
        .collect();
    features.sort_unstable();
    if !features.is_empty() {
        say!("  features    {}", features.join(", "));
    }
    for dep in line.get("deps").and_then(Value::as_array).into_iter().flatten() {
        let text = |key: &str| dep.get(key).and_then(Value::as_str).unwrap_or_default();
        let kind = match text("kind") {
            "" | "normal" => String::new(),
            kind => format!(" ({kind})"),
        };
        let optional = dep.get("optional").and_then(Value::as_bool).unwrap_or(false);
        say!(
            "  depends on  {} {}{kind}{}",
            text("name"),
            text("req"),
            if optional { " (optional)" } else { "" }
        );
    }
}
