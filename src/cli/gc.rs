//! `cratehold gc`.

use super::{CommandResult, bytes_bar, confirm, human};
use cratehold::archive::{Archive, Garbage, Why, Writer};
use std::path::Path;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only show what would be removed.
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Do not ask.
    #[arg(short, long)]
    yes: bool,
    /// Rewrite packs of which less than this is still needed; 0 rewrites none.
    #[arg(long, value_name = "PERCENT", default_value_t = 75, value_parser = clap::value_parser!(u8).range(0..=100))]
    min_live: u8,
    /// Print what was found and done as one JSON object.
    #[arg(long)]
    json: bool,
}

pub fn run(folder: &Path, args: Args) -> CommandResult {
    let garbage = Archive::open(folder)?.garbage(args.min_live)?;
    if !args.json {
        show(&garbage);
    }
    let is_clean = garbage.files.is_empty() && garbage.packs.is_empty();
    if args.dry_run || is_clean {
        if args.json {
            say!("{}", as_json(&garbage, None));
        }
        return Ok(ExitCode::SUCCESS);
    }
    confirm("Remove this?", args.yes)?;
    let writer = Writer::open(folder)?;
    // Taking in what was not committed may have given a file or a record its use.
    let garbage = writer.with_archive(|archive| archive.garbage(args.min_live))?;
    let bar = bytes_bar(garbage.packs.iter().map(|pack| pack.live_bytes).sum());
    let freed = writer.collect(&garbage, &|bytes| bar.inc(bytes));
    bar.finish_and_clear();
    let freed = freed?;
    match args.json {
        true => say!("{}", as_json(&garbage, Some(freed))),
        false => say!("{} freed", human(freed)),
    }
    Ok(ExitCode::SUCCESS)
}

fn show(garbage: &Garbage) {
    for file in &garbage.files {
        let why = match file.why {
            Why::Older => "only the snapshot before names it",
            Why::Unnamed => "no snapshot names it",
        };
        say!("{:>10}  {}: {why}", human(file.bytes), file.name);
    }
    for pack in &garbage.packs {
        let dead = pack.bytes.saturating_sub(pack.live_bytes);
        say!(
            "{:>10}  packs/{:08}.pak: to be rewritten, {} of it is needed",
            human(dead),
            pack.pack,
            human(pack.live_bytes)
        );
    }
    match garbage.files.len() + garbage.packs.len() {
        0 => say!("nothing to remove: every file is needed"),
        count => say!("{:>10}  in {count} files", human(garbage.free_bytes())),
    }
}

fn as_json(garbage: &Garbage, freed: Option<u64>) -> serde_json::Value {
    let files = garbage.files.iter().map(|file| {
        let why = match file.why {
            Why::Older => "older",
            Why::Unnamed => "unnamed",
        };
        serde_json::json!({"name": file.name, "bytes": file.bytes, "why": why})
    });
    let packs = garbage
        .packs
        .iter()
        .map(|pack| serde_json::json!({"pack": pack.pack, "bytes": pack.bytes, "live_bytes": pack.live_bytes}));
    serde_json::json!({
        "files": files.collect::<Vec<_>>(), "packs": packs.collect::<Vec<_>>(),
        "free_bytes": garbage.free_bytes(), "freed_bytes": freed,
    })
}
