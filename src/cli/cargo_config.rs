//! `cratehold cargo-config`.

use super::CommandResult;
use cratehold::archive::Archive;
use cratehold::offer::{CargoSource, cargo_config, registry_base};
use std::path::Path;
use std::process::ExitCode;

/// Where `serve` listens when nothing else is said.
const SERVE_URL: &str = "http://127.0.0.1:8080";
/// Where a static registry is taken to be when nothing else is said: as Python's file
/// server has it.
pub const FILE_SERVER_URL: &str = "http://127.0.0.1:8000";

#[derive(Debug, clap::Args)]
pub struct Args {
    /// What cargo is to build from.
    #[arg(long = "for", value_enum, value_name = "KIND")]
    kind: Kind,
    /// The address of a server or static registry, or the folder of an export.
    #[arg(value_name = "PATH|URL", required_if_eq_any([("kind", "local-registry"), ("kind", "vendor")]))]
    place: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// A running `cratehold serve`; by default the one on this machine.
    Serve,
    /// An `export --format local-registry`.
    LocalRegistry,
    /// An `export --format vendor`.
    Vendor,
    /// An `export --format registry`, by its folder, or the address that it is served at;
    /// by default one on this machine.
    Registry,
}

/// Prints the lines for the registry that the archive mirrors; without one, for crates.io.
pub fn run(folder: Option<&Path>, args: Args) -> CommandResult {
    let registry = match folder {
        Some(folder) => Archive::open(folder)?.known_registry()?,
        None => None,
    };
    let place = match (args.kind, args.place.as_deref()) {
        (Kind::Registry, Some(folder)) if Path::new(folder).is_dir() => registry_url(Path::new(folder)),
        (_, Some(place)) => place.to_owned(),
        (Kind::Registry, None) => FILE_SERVER_URL.to_owned(),
        (_, None) => SERVE_URL.to_owned(),
    };
    let lines = lines(args.kind, &place, registry.as_deref())?;
    print!("{lines}");
    Ok(ExitCode::SUCCESS)
}

/// The address that the static registry in `folder` was made for, or is to be.
pub fn registry_url(folder: &Path) -> String {
    registry_base(folder).unwrap_or_else(|| FILE_SERVER_URL.to_owned())
}

/// The lines for an export or server of this kind at `place`.
pub fn lines(kind: Kind, place: &str, registry: Option<&str>) -> Result<String, Box<dyn std::error::Error>> {
    let folder = || std::path::absolute(place).map_err(|error| format!("{place}: {error}"));
    Ok(match kind {
        Kind::LocalRegistry => cargo_config(CargoSource::LocalRegistry(&folder()?), registry),
        Kind::Vendor => cargo_config(CargoSource::Directory(&folder()?), registry),
        Kind::Serve | Kind::Registry => {
            let url = place.strip_prefix("sparse+").unwrap_or(place).trim_end_matches('/');
            if !url.starts_with("http://") && !url.starts_with("https://") {
                return Err(format!("`{place}`: expected an address that begins with http:// or https://").into());
            }
            let url = url.strip_suffix("/index").unwrap_or(url);
            cargo_config(CargoSource::Sparse(&format!("{url}/index/")), registry)
        }
    })
}
