//! `cratehold serve`.

use super::as_of::AsOf;
use super::cargo_config::{self, Kind};
use super::interrupt::call_on_ctrl_c;
use super::serve_log::{LogFormat, LogWriter};
use super::{CommandResult, size, threads};
use cratehold::archive::Archive;
use cratehold::offer::View;
use cratehold::serve::{BaseUrl, Limits, Options, Server};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The address to listen on; port 0 is any free one.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    listen: String,
    /// The address that clients reach this server by, if it is not the one that they
    /// connect to: that of a proxy before it.
    #[arg(long, value_name = "URL")]
    url: Option<BaseUrl>,
    /// What the registry index lists.
    #[arg(long, value_enum, default_value_t = Index::Held)]
    index: Index,
    /// As the registry was at this snapshot, day or instant.
    #[arg(long, value_name = "SNAP|DATE")]
    as_of: Option<AsOf>,
    /// The most memory for crate files, kept and on their way: 256MiB, 2GB.
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = size::parse)]
    cache: u64,
    /// Connections at a time; more wait.
    #[arg(long, value_name = "N", default_value_t = Limits::default().connections as u32, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    connections: u32,
    /// Append a line for each request to FILE; `-` is standard output.
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// What these lines look like.
    #[arg(long, value_enum, default_value_t = LogFormat::Common, requires = "log")]
    log_format: LogFormat,
}

/// What the registry index lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Index {
    /// What the archive can give, so that cargo never chooses what is missing.
    Held,
    /// All that the registry lists, held or not.
    Full,
}

pub fn run(folder: &Path, args: Args) -> CommandResult {
    let archive = Archive::open(folder)?;
    let as_of = args.as_of.map(|as_of| as_of.snapshot(&archive)).transpose()?;
    let options = Options {
        view: match args.index {
            Index::Held => View::Held,
            Index::Full => View::Full,
        },
        as_of,
        base: args.url.clone(),
        cache_bytes: args.cache,
        threads: threads(),
        limits: Limits {
            connections: args.connections as usize,
            ..Limits::default()
        },
    };
    let log = LogWriter::start(args.log.as_deref(), args.log_format)?;
    let server = Server::bind(folder, &args.listen, &options, log.tell())?;
    let stopper = server.stopper();
    call_on_ctrl_c("answering the requests under way", move || stopper.stop())?;
    let address = server.address();
    let base = args.url.unwrap_or_else(|| BaseUrl::of(address));
    let snapshot = as_of.unwrap_or(archive.head().generation);
    say!(
        "serving snapshot {snapshot} of {} at {base}/, listening on {address} (Ctrl-C ends it)",
        folder.display()
    );
    say!("for cargo to build from it, and from nothing else, in .cargo/config.toml:\n");
    let registry = archive.known_registry()?;
    say!(
        "{}",
        cargo_config::lines(Kind::Serve, &base.to_string(), registry.as_deref())?
    );
    std::io::stdout().flush()?;
    server.run()?;
    log.finish();
    // Being stopped is how a server ends.
    Ok(ExitCode::SUCCESS)
}
