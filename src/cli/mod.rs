//! The command line: the only place that prints. One file per command.
//!
//! Exit codes: 0 all is well; 1 something failed, as said on standard error;
//! 2 the command line is wrong; 130 `sync` was stopped by Ctrl-C (or SIGTERM, SIGHUP)
//! and has kept what had arrived.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "printing is what this room is for"
)]

/// Prints a line. Whoever reads may have gone (`list | head`): then the work is done.
macro_rules! say {
    ($($arg:tt)*) => {
        $crate::cli::print_line(format_args!($($arg)*))
    };
}

mod apply;
mod as_of;
mod bundle;
mod cargo_config;
mod copy;
mod diff;
mod diff_releases;
mod export;
mod extract;
mod gc;
mod grep;
mod import;
mod info;
mod inspect;
mod interrupt;
mod list;
mod log;
mod optimize;
mod protect;
mod purge;
mod repair;
mod root;
mod select;
mod selection;
mod serve;
mod serve_log;
mod sign;
mod size;
mod stats;
mod sync;
mod terminal;
mod trust;
mod verify;
mod watch;

use clap::{Parser, Subcommand};
use cratehold::archive::{CommitInfo, Writer};
use cratehold::archive::{Reads, set_reads};
use cratehold::ids::Release;
use std::path::PathBuf;
use std::process::ExitCode;

/// Holds crates.io: small, verifiable, and exact to the last byte.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
struct Args {
    /// The archive's folder.
    #[arg(short, long, env = "CRATEHOLD_ARCHIVE", global = true, value_name = "DIR")]
    archive: Option<PathBuf>,
    /// Read index and manifest into memory, so that a drive may be pulled out and that is
    /// an error, not a crash. By itself on FAT, exFAT, FUSE and network file systems;
    /// `--no-mmap=false` never.
    #[arg(
        long,
        env = "CRATEHOLD_NO_MMAP",
        global = true,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = clap::builder::BoolishValueParser::new()
    )]
    no_mmap: Option<bool>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Fetch what a lockfile, a list or you name, unless it is held.
    Sync(Box<sync::Args>),
    /// Take in `.crate` files, and folders of them in any layout.
    Import(import::Args),
    /// Give back exact `.crate` bytes, a source tree, or one file.
    Extract(extract::Args),
    /// List crates, or one crate's releases.
    List(list::Args),
    /// One crate or release: sizes, checksum, registry line.
    Info(info::Args),
    /// The snapshots: when, by what, and what changed in each.
    Log(log::Args),
    /// The releases that changed between two snapshots or since a date, or the files
    /// that changed between two releases.
    Diff(diff::Args),
    /// The lines of the crates' files that match a pattern.
    Grep(grep::Args),
    /// What is held, and where the bytes went.
    Stats(stats::Args),
    /// Make or refresh a whole archive on another drive, and read back what was written.
    Copy(copy::Args),
    /// Write releases as a folder that cargo builds from: a local registry, vendored
    /// sources, a static registry; or as loose crate files.
    Export(export::Args),
    /// The lines of `.cargo/config.toml` by which cargo builds from an archive.
    CargoConfig(cargo_config::Args),
    /// Serve the archive over HTTP, as a registry that cargo builds from.
    Serve(serve::Args),
    /// Write what is new since a snapshot as files to carry to another archive.
    Bundle(bundle::Args),
    /// Take in what `bundle` has written elsewhere.
    Apply(apply::Args),
    /// Check that everything held can be given back.
    Verify(verify::Args),
    /// The hash that fixes all that the archive tells of releases.
    Root(root::Args),
    /// Sign the root hash with a minisign key, or make such a key.
    Sign(sign::Args),
    /// Put right what is damaged, from other places that have it.
    Repair(repair::Args),
    /// Write recovery data, from which `repair` puts lost sectors back without any other copy.
    Protect(protect::Args),
    /// Remove what no snapshot needs, after showing it.
    Gc(gc::Args),
    /// Store everything anew, as small as it will go.
    Optimize(optimize::Args),
    /// Erase a crate's bytes for good, for legal reasons; the fact stays.
    Purge(purge::Args),
    /// What is on disk, in words, for people who debug.
    Inspect(inspect::Args),
}

/// Clocks of two machines that a drive is carried between differ by so much.
const CLOCK_SLACK_SECONDS: u64 = 120;

/// What a command ends with: an error is one line for a person.
type CommandResult = Result<ExitCode, Box<dyn std::error::Error>>;

/// Runs the command line of this process.
pub fn run() -> ExitCode {
    let args = Args::parse();
    match args.no_mmap {
        Some(true) => set_reads(Reads::Plain),
        Some(false) => set_reads(Reads::Mapped),
        None => {}
    }
    let command = match args.command {
        // It can name both archives itself.
        Command::Copy(copy) => return finish(copy::run(args.archive.as_deref(), copy)),
        // It can do without one.
        Command::CargoConfig(config) => return finish(cargo_config::run(args.archive.as_deref(), config)),
        command => command,
    };
    let Some(archive) = args.archive else {
        eprintln!("error: no archive given: use `--archive DIR` or set CRATEHOLD_ARCHIVE");
        return ExitCode::from(2);
    };
    let result = match command {
        Command::Copy(args) => copy::run(Some(&archive), args),
        Command::CargoConfig(args) => cargo_config::run(Some(&archive), args),
        Command::Export(args) => export::run(&archive, args),
        Command::Apply(args) => apply::run(&archive, args),
        Command::Bundle(args) => bundle::run(&archive, args),
        Command::Sync(args) => sync::run(&archive, *args),
        Command::Import(args) => import::run(&archive, args),
        Command::Diff(args) => diff::run(&archive, args),
        Command::Extract(args) => extract::run(&archive, args),
        Command::Gc(args) => gc::run(&archive, args),
        Command::Grep(args) => grep::run(&archive, args),
        Command::Info(args) => info::run(&archive, args),
        Command::Inspect(args) => inspect::run(&archive, args),
        Command::List(args) => list::run(&archive, args),
        Command::Log(args) => log::run(&archive, args),
        Command::Optimize(args) => optimize::run(&archive, args),
        Command::Protect(args) => protect::run(&archive, args),
        Command::Purge(args) => purge::run(&archive, args),
        Command::Repair(args) => repair::run(&archive, args),
        Command::Root(args) => root::run(&archive, args),
        Command::Serve(args) => serve::run(&archive, args),
        Command::Sign(args) => sign::run(&archive, args),
        Command::Stats(args) => stats::run(&archive, args),
        Command::Verify(args) => verify::run(&archive, args),
    };
    finish(result)
}

fn finish(result: CommandResult) -> ExitCode {
    result.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}

/// As many threads as there are cores.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

/// A byte count for people.
fn human(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}

/// A time in seconds since 1970, for people.
fn date(seconds: u64) -> String {
    let time = i64::try_from(seconds)
        .ok()
        .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    time.map_or_else(
        || format!("{seconds} s after 1970"),
        |time| time.strftime("%Y-%m-%d %H:%M UTC").to_string(),
    )
}

/// Says so if this machine's clock is behind the archive's newest snapshot: what is
/// committed now would be dated before it.
fn note_clock(archive: &cratehold::archive::Archive) {
    let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = since_1970.map_or(0, |since| since.as_secs());
    let newest = archive.head().time;
    if newest > now.saturating_add(CLOCK_SLACK_SECONDS) {
        eprintln!(
            "note: this machine's clock says {}, the newest snapshot is of {}: if the clock was set back, `log` and --as-of DATE go by what it says now",
            date(now),
            date(newest)
        );
    }
}

/// A progress bar over bytes; silent when standard error is not a terminal.
fn bytes_bar(total: u64) -> indicatif::ProgressBar {
    let style = indicatif::ProgressStyle::with_template(
        "{bar:30} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec}, {eta} left {msg}",
    );
    let bar = indicatif::ProgressBar::new(total);
    style.map_or(bar.clone(), |style| bar.with_style(style))
}

/// Asks before something is lost, unless `yes` has been said already.
fn confirm(question: &str, yes: bool) -> Result<(), Box<dyn std::error::Error>> {
    use std::io::{IsTerminal, Write};
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err("nothing was changed: give --yes, since there is no terminal to ask on".into());
    }
    eprint!("{question} [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    match matches!(answer.trim(), "y" | "Y" | "yes") {
        true => Ok(()),
        false => Err("nothing was changed".into()),
    }
}

/// Lets in again what was erased on purpose, as `source` was told to.
fn accept_purged(writer: &Writer, releases: &[Release], source: &str) -> Result<(), cratehold::archive::Error> {
    let info = CommitInfo {
        source: source.into(),
        ..CommitInfo::default()
    };
    match releases {
        [] => Ok(()),
        releases => writer.accept_purged(releases, &info),
    }
}

fn print_line(line: std::fmt::Arguments<'_>) {
    use std::io::Write;
    if let Err(error) = writeln!(std::io::stdout(), "{line}") {
        let gone = error.kind() == std::io::ErrorKind::BrokenPipe;
        if !gone {
            eprintln!("error: standard output: {error}");
        }
        std::process::exit(i32::from(!gone));
    }
}
