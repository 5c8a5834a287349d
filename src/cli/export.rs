//! `cratehold export`.

use super::as_of::{self, AsOf};
use super::interrupt::{INTERRUPTED, on_ctrl_c};
use super::selection::SelectionArgs;
use super::{CommandResult, bytes_bar, cargo_config, human, threads};
use cratehold::archive::Archive;
use cratehold::offer::{self, ExportOptions, ExportReport, FileNames, Layout};
use cratehold::registry::{CRATES_IO, Stop};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
#[command(mut_group("wanted", |group| group.required(true)))]
pub struct Args {
    /// What to make.
    #[arg(long, value_enum)]
    format: Format,
    /// The folder: a new one, an empty one, or one that holds such an export already.
    /// What is there and right is kept, and nothing there is lost.
    #[arg(value_name = "DEST")]
    to: PathBuf,
    #[command(flatten)]
    selection: SelectionArgs,
    /// Everything that is held.
    #[arg(long, group = "wanted", conflicts_with_all = ["lockfile", "crates", "list"])]
    all: bool,
    /// Also what the registry no longer has; it is listed as yanked. What is named
    /// exactly, as lockfiles do, is exported in any case.
    #[arg(long)]
    removed: bool,
    /// As the registry was at this snapshot, day or instant.
    #[arg(long, value_name = "SNAP|DATE")]
    as_of: Option<AsOf>,
    /// For `vendor`: every folder has its version in its name, not only those of older
    /// versions.
    #[arg(long)]
    versioned_dirs: bool,
    /// For `crates`: where the files lie.
    #[arg(long, value_enum, default_value_t = LayoutName::Flat)]
    layout: LayoutName,
    /// For `registry`: the address that DEST will have, such as http://HOST/mirror; cargo
    /// takes no other than whole ones. Without this the one that DEST was made for before,
    /// or else http://127.0.0.1:8000, where `python3 -m http.server` serves.
    #[arg(long, value_name = "URL", value_parser = parse_url)]
    dl_base: Option<String>,
    /// For `registry`: what crate files are called. By checksum for servers that take
    /// the `+` in some versions for a space.
    #[arg(long, value_enum, default_value_t = NameBy::Release)]
    names: NameBy,
    /// Print a summary as one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// A cargo local registry: crate files and an index.
    LocalRegistry,
    /// Source trees, as `cargo vendor` makes them.
    Vendor,
    /// Crate files only.
    Crates,
    /// A sparse registry that any file server can serve.
    Registry,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum LayoutName {
    /// serde-1.0.0.crate
    Flat,
    /// se/rd/serde/serde-1.0.0.crate
    GetAllCrates,
    /// crates/se/rd/serde/1.0.0/serde-1.0.0.crate
    Panamax,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum NameBy {
    /// crates/se/rd/serde/serde-1.0.0.crate
    Release,
    /// crates/SHA-256.crate
    Sha256,
}

fn parse_url(text: &str) -> Result<String, String> {
    match text.starts_with("http://") || text.starts_with("https://") {
        true => Ok(text.trim_end_matches('/').to_owned()),
        false => Err("expected an address that begins with http:// or https://".into()),
    }
}

impl Args {
    /// The address of a static registry.
    fn base_url(&self) -> String {
        let given = self.dl_base.clone();
        given.unwrap_or_else(|| cargo_config::registry_url(&self.to))
    }

    fn format(&self) -> offer::Format {
        match self.format {
            Format::LocalRegistry => offer::Format::LocalRegistry,
            Format::Vendor => offer::Format::Vendor {
                versioned_dirs: self.versioned_dirs,
            },
            Format::Crates => offer::Format::Crates(match self.layout {
                LayoutName::Flat => Layout::Flat,
                LayoutName::GetAllCrates => Layout::GetAllCrates,
                LayoutName::Panamax => Layout::Panamax,
            }),
            Format::Registry => offer::Format::Registry {
                base_url: self.base_url(),
                names: match self.names {
                    NameBy::Release => FileNames::Release,
                    NameBy::Sha256 => FileNames::Sha256,
                },
            },
        }
    }

    /// The lines for cargo's configuration, if cargo can build from what was made.
    fn cargo_config(&self, archive: &Archive) -> Result<Option<String>, Box<dyn std::error::Error>> {
        let kind = match self.format {
            Format::LocalRegistry => cargo_config::Kind::LocalRegistry,
            Format::Vendor => cargo_config::Kind::Vendor,
            Format::Registry => cargo_config::Kind::Registry,
            Format::Crates => return Ok(None),
        };
        let place = match self.format {
            Format::Registry => self.base_url(),
            _ => self.to.to_string_lossy().into_owned(),
        };
        let registry = archive.known_registry()?;
        cargo_config::lines(kind, &place, registry.as_deref()).map(Some)
    }
}

pub fn run(folder: &Path, args: Args) -> CommandResult {
    let format = args.format();
    let archive = as_of::open(folder, args.as_of)?;
    let registry = archive.known_registry()?.unwrap_or_else(|| CRATES_IO.to_owned());
    let selection = args.selection.clone().selection(args.all, &registry)?;
    let chosen = offer::choose(&archive, &selection, args.removed)?;
    let stop = Stop::default();
    on_ctrl_c(&stop, "what was exported is kept")?;
    let bar = bytes_bar(chosen.crate_bytes());
    let options = ExportOptions {
        format,
        threads: threads(),
        stop: &|| stop.is_set(),
        progress: &|bytes| bar.inc(bytes),
    };
    let result = offer::export(&archive, &chosen.releases, &args.to, &options);
    bar.finish_and_clear();
    let mut report = result?;
    let missing = chosen.missing.len();
    report.failures.splice(0..0, chosen.missing);
    let config = args.cargo_config(&archive)?;
    if args.json {
        say!("{}", as_json(&report, &args.to, config.as_deref()));
    } else {
        summarize(&report, missing, &args.to);
    }
    for failure in &report.failures {
        eprintln!("failed: {}: {}", failure.what, failure.cause);
    }
    if report.stopped {
        eprintln!("stopped: what was exported is kept; run the same command again to go on");
        return Ok(ExitCode::from(INTERRUPTED));
    }
    if let Some(config) = config.filter(|_| !args.json && report.written + report.kept > 0) {
        let config = config.trim_end();
        say!("\nfor cargo to build from it, and from nothing else, in .cargo/config.toml:\n\n{config}");
        if args.format == Format::Registry && args.base_url() == cargo_config::FILE_SERVER_URL {
            let to = std::path::absolute(&args.to)?;
            say!(
                "\nto serve it to this machine, with any file server, such as:\n\npython3 -m http.server --bind 127.0.0.1 --directory \"{}\" 8000",
                to.display()
            );
        }
    }
    Ok(match report.failures.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn summarize(report: &ExportReport, missing: usize, to: &Path) {
    say!(
        "{}: {} releases exported ({}), {} there already, {} missing from the archive, {} failed{}",
        to.display(),
        report.written,
        human(report.written_bytes),
        report.kept,
        missing,
        report.failures.len() - missing,
        if report.stopped { ", stopped before the end" } else { "" },
    );
    if report.made_up > 0 {
        say!(
            "note: {} lines of the index were made from the crates' own Cargo.toml, for no registry has listed them in this archive; `cratehold sync` brings the registry's",
            report.made_up
        );
    }
}

fn as_json(report: &ExportReport, to: &Path, config: Option<&str>) -> serde_json::Value {
    let failures = report.failures.iter();
    let failed: Vec<_> = failures
        .map(|failure| serde_json::json!({"what": failure.what, "cause": failure.cause}))
        .collect();
    serde_json::json!({
        "path": to.to_string_lossy(), "written": report.written, "written_bytes": report.written_bytes,
        "kept": report.kept, "made_up": report.made_up, "failed": failed, "stopped": report.stopped,
        "complete": failed.is_empty() && !report.stopped, "cargo_config": config,
    })
}
