//! `cratehold root`.

use super::CommandResult;
use super::as_of::{self, AsOf};
use std::path::Path;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The root of this snapshot, day or instant.
    #[arg(long, value_name = "SNAP|DATE")]
    as_of: Option<AsOf>,
    /// Write it into the archive's root.txt too, with its snapshot's number, for whoever
    /// finds the drive. `copy` and `apply` do that by themselves.
    #[arg(long, conflicts_with = "as_of")]
    write: bool,
    /// Print it as one JSON object, with its snapshot's number.
    #[arg(long)]
    json: bool,
}

pub fn run(folder: &Path, args: Args) -> CommandResult {
    let archive = as_of::open(folder, args.as_of)?;
    let root = match args.write {
        true => archive.write_root()?,
        false => archive.root()?,
    };
    if args.json {
        let json = serde_json::json!({"root": root.hash.to_string(), "snapshot": root.snapshot});
        say!("{json}");
    } else {
        say!("{}", root.hash);
    }
    Ok(ExitCode::SUCCESS)
}
