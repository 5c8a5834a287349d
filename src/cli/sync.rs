//! `cratehold sync`.

use super::interrupt::{INTERRUPTED, stop_on_ctrl_c};
use super::selection::SelectionArgs;
use super::watch::Watch;
use super::{CommandResult, human, threads};
use cratehold::archive::{EncodeOptions, Writer};
use cratehold::ids::Release;
use cratehold::registry::{CRATES_IO, CRATES_IO_GIT, IndexUrl, RetryPolicy, Stop};
use cratehold::sync::{self, Options, Plan, Report};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

const EVENTS: &str = "\
With --json, each line of standard output is an object whose `event` says what it tells:
  phase      `phase` begins: index (git fetches), reading, planning, downloading, committing
  progress   at most once a second: `done` of `total` files (0: not known; while git
             fetches, what its `step` counts), `bytes` of crate files that have come,
             `crate_bytes` of those stored, `stored_bytes` they take, `failed` so far
  failed     `what` could not be had, and its `cause`
  missing    the same, for what the registry lists and the download server does not have
  committed  what came so far is in `snapshot`
  done       the last one: the summary; `complete` is true only if all that is wanted is held
  error      in place of `done`: the run could not be gone on with, and its `cause`
Times (`seconds`) are since the start.";

#[derive(Debug, clap::Args)]
#[command(mut_group("wanted", |group| group.required(true)))]
#[command(after_long_help = EVENTS)]
pub struct Args {
    #[command(flatten)]
    selection: SelectionArgs,
    /// Everything that the registry lists, by its git index.
    #[arg(long, group = "wanted", conflicts_with_all = ["lockfile", "crates", "list"])]
    all: bool,
    /// The registry index to ask: sparse+URL, or the URL or folder of a git one. By
    /// default crates.io's, with --all the git one.
    #[arg(long, value_name = "INDEX", value_parser = parse_index)]
    index: Option<IndexUrl>,
    /// Where the clone of a remote git index is kept; by default beside the archive,
    /// in ARCHIVE.index.
    #[arg(long, value_name = "DIR")]
    index_cache: Option<PathBuf>,
    // Clap waives `requires` for what other arguments exclude: so the conflicts are named.
    /// Believe a git index that lacks up to so many of the releases known here.
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with_all = ["lockfile", "crates", "list"])]
    accept_removals: u64,
    /// Only take in what a git index lists; fetch nothing.
    #[arg(long, conflicts_with_all = ["lockfile", "crates", "list"])]
    no_download: bool,
    /// Only say what would be fetched, and about how much that is. Nothing is written to
    /// the archive; a remote git index is cloned all the same.
    #[arg(long, conflicts_with = "no_download")]
    dry_run: bool,
    /// Ask at once for what was missing upstream, not after its pause: 1 day, then 2, 4,
    /// 8, 16 and 30. What is named by its version is always asked for.
    #[arg(long)]
    retry_missing: bool,
    /// Where crate files are, instead of where the registry says; may hold the
    /// markers {crate}, {version}, {prefix}, {lowerprefix} and {sha256-checksum}.
    #[arg(long, value_name = "TEMPLATE")]
    dl: Option<String>,
    /// Requests at once, and so the most that any one server gets from here.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=512))]
    jobs: u16,
    /// Take at most so much a second in all, such as 2MB; fewer requests are made at
    /// once then, so that each gets 32 kB a second.
    #[arg(long, value_name = "SIZE", value_parser = super::size::parse)]
    bandwidth: Option<u64>,
    /// Bytes of memory to work within. Crate files on their way in, and what is made
    /// of them, get three quarters; single crates that need more pass alone.
    #[arg(long, value_name = "SIZE", default_value = "2GiB", value_parser = super::size::parse)]
    memory: u64,
    /// The zstd level.
    #[arg(long, default_value_t = cratehold::archive::DEFAULT_LEVEL, value_parser = clap::value_parser!(i32).range(1..=22))]
    level: i32,
    /// Store crate files as they came, so that storing keeps up with any network; they
    /// take as much as they did on the way.
    #[arg(long, conflicts_with = "level")]
    fast: bool,
    /// Give up waiting for a server that sends nothing for so long.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
    /// Give up an answer that is not complete after so much waiting for it, however
    /// steadily it drips; the next run asks again.
    #[arg(long, value_name = "SECONDS", default_value_t = 1800, value_parser = clap::value_parser!(u64).range(1..=86400))]
    total_timeout: u64,
    /// When nothing comes from a server any more, wait so long for it to come back
    /// before giving up.
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(0..=86400))]
    patience: u64,
    /// Leave out crate files longer than this. Without it, one of more than 512 MiB is
    /// a failure.
    #[arg(long, value_name = "SIZE", value_parser = super::size::parse)]
    max_size: Option<u64>,
    /// Requests for one file before giving up on it in this run.
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=100))]
    attempts: u32,
    /// Whom a server's owner may write to, such as a mail address; sent along as
    /// part of the User-Agent.
    #[arg(long, value_name = "TEXT", env = "CRATEHOLD_CONTACT")]
    contact: Option<String>,
    /// Take in again what was erased here on purpose: NAME@VERSION.
    #[arg(long, value_name = "RELEASE")]
    accept_purged: Vec<Release>,
    /// Print what happens as JSON, one object a line: see below.
    #[arg(long)]
    json: bool,
}

/// With --bandwidth, each request is to get at least so much: one that gets less
/// looks like a stalled client to its server.
const LEAST_BYTES_PER_SECOND: u64 = 32_000;

fn parse_index(text: &str) -> Result<IndexUrl, String> {
    IndexUrl::parse(text).map_err(|error| error.to_string())
}

pub fn run(folder: &Path, args: Args) -> CommandResult {
    let index = match (args.index, args.all) {
        (Some(index), _) => index,
        (None, true) => IndexUrl::parse(CRATES_IO_GIT)?,
        (None, false) => IndexUrl::parse(CRATES_IO)?,
    };
    let selection = args.selection.selection(args.all, &index.registry())?;
    let mut options = Options::new(index);
    options.index_cache = args.index_cache.unwrap_or_else(|| beside(folder));
    options.accept_removals = args.accept_removals;
    options.no_download = args.no_download;
    options.dl = args.dl;
    options.http.contact = args.contact;
    options.http.idle_timeout = Duration::from_secs(args.timeout);
    options.http.connect_timeout = Duration::from_secs(args.timeout);
    options.http.total_timeout = Duration::from_secs(args.total_timeout);
    options.http.bytes_per_second = args.bandwidth;
    options.fetch.jobs = usize::from(args.jobs);
    if let Some(bandwidth) = args.bandwidth {
        let lines = usize::try_from(bandwidth / LEAST_BYTES_PER_SECOND).unwrap_or(usize::MAX);
        options.fetch.jobs = options.fetch.jobs.min(lines.max(1));
    }
    options.budget_bytes = args.memory / 4 * 3;
    if let Some(longest) = args.max_size {
        // The format counts a crate file's bytes in 32 bits.
        options.fetch.max_crate_bytes = longest.min(u64::from(u32::MAX));
        options.leave_out_longer = true;
    }
    options.fetch.policy = RetryPolicy {
        attempts: args.attempts,
        patience: Duration::from_secs(args.patience),
        ..RetryPolicy::default()
    };
    options.encode = EncodeOptions {
        level: args.level,
        as_they_came: args.fast,
        ..EncodeOptions::default()
    };
    options.dry_run = args.dry_run;
    options.retry_missing = args.retry_missing;
    options.threads = threads();
    let stop = Stop::default();
    stop_on_ctrl_c(&stop)?;
    let writer = match args.dry_run {
        true => Writer::rehearse(folder)?,
        false => Writer::open(folder)?,
    };
    writer.with_archive(super::note_clock);
    super::accept_purged(&writer, &args.accept_purged, "sync")?;
    let watch = Watch::new(args.json);
    let result = sync::run(&writer, &selection, &options, &stop, &|notice| watch.show(&notice));
    watch.end();
    if let (true, Err(error)) = (args.json, &result) {
        say!("{}", serde_json::json!({"event": "error", "cause": error.to_string()}));
    }
    let report = result?;
    if args.json {
        say!("{}", as_json(&report));
    } else if let Some(plan) = &report.plan {
        tell_plan(&report, plan, args.bandwidth);
    } else {
        summarize(&report);
    }
    for (release, engine) in &report.wrong_engines {
        eprintln!(
            "note: {release} is stored whole, but engine {engine} alone would not give it back: please report this"
        );
    }
    for absence in &report.absences {
        eprintln!("missing: {}: {}", absence.what, absence.cause);
    }
    for failure in &report.failures {
        eprintln!("failed: {}: {}", failure.what, failure.cause);
    }
    let unsaid = report.failed - report.failures.len() as u64;
    if unsaid > 0 {
        eprintln!("failed: {unsaid} more");
    }
    if let Some(cause) = &report.gave_up {
        eprintln!("gave up: {cause}");
    }
    if report.stopped {
        eprintln!("stopped: what had arrived is kept; run the same command again to go on");
        return Ok(ExitCode::from(INTERRUPTED));
    }
    if report.left > 0 && report.gave_up.is_none() && !args.json {
        say!(
            "{} releases are listed and not held; run this without --no-download",
            report.left
        );
    }
    if report.is_well() || ((args.no_download || args.dry_run) && report.failed == 0) {
        return Ok(ExitCode::SUCCESS);
    }
    let only_missing = report.failed == 0 && report.left == 0 && report.gave_up.is_none();
    eprintln!(
        "not everything could be had; the same command tries again just what is missing{}",
        if only_missing {
            ", after a day, then ever less often, or at once with --retry-missing"
        } else {
            ""
        }
    );
    Ok(ExitCode::FAILURE)
}

/// `ARCHIVE.index`, not within it: a clone is no part of what is carried away.
fn beside(archive: &Path) -> PathBuf {
    let mut path = archive.components().as_path().as_os_str().to_owned();
    path.push(".index");
    path.into()
}

fn summarize(report: &Report) {
    say!(
        "{} crates wanted: {} downloaded ({}, {} stored), {} held already, {} failed{}{}; archive is now snapshot {}",
        report.wanted,
        report.downloaded,
        human(report.downloaded_bytes),
        human(report.stored_bytes),
        report.held,
        report.failed,
        missing_note(report),
        if report.stopped { ", stopped before the end" } else { "" },
        report.snapshot
    );
    left_out(report);
}

/// Those that the registry index lists and its server does not have.
fn missing_note(report: &Report) -> String {
    match report.missing {
        0 => String::new(),
        count => format!(", {count} missing upstream"),
    }
}

fn tell_plan(report: &Report, plan: &Plan, bandwidth: Option<u64>) {
    say!(
        "{} crates wanted: {} held already, {} failed{}; nothing was written",
        report.wanted,
        report.held,
        report.failed,
        missing_note(report)
    );
    say!(
        "would download {} crate files of {} crates: about {}, about {} stored",
        plan.releases,
        plan.crates,
        human(plan.download_bytes),
        human(plan.stored_bytes)
    );
    if let (Some(seconds), Some(bandwidth)) = (plan.seconds, bandwidth) {
        let time = indicatif::HumanDuration(Duration::from_secs(seconds));
        say!("at {}/s that is about {time}", human(bandwidth));
    }
    say!("(a registry index tells no sizes: these are judged by what is held)");
    left_out(report);
}

fn left_out(report: &Report) {
    for (count, from) in [
        (report.git_count, "git repositories"),
        (report.other_count, "other registries"),
    ] {
        if count > 0 {
            say!("left out: {count} lockfile packages from {from}");
        }
    }
    if report.excluded > 0 {
        let count = report.excluded;
        say!("left out: {count} of what was named, by --only and --exclude");
    }
    if report.purged > 0 {
        say!(
            "left out: {} releases that were erased here on purpose; `cratehold list --purged` says why",
            report.purged
        );
    }
    if report.too_long > 0 {
        say!("left out: {} crates longer than --max-size", report.too_long);
    }
}

fn as_json(report: &Report) -> serde_json::Value {
    let failures = report.failures.iter();
    let failed: Vec<_> = failures
        .map(|failure| serde_json::json!({"what": failure.what, "cause": failure.cause}))
        .collect();
    serde_json::json!({
        "event": "done", "wanted": report.wanted, "held": report.held, "downloaded": report.downloaded,
        "downloaded_bytes": report.downloaded_bytes, "stored_bytes": report.stored_bytes, "failed": failed,
        "left_out": {"git": report.git_count, "other_registries": report.other_count, "too_long": report.too_long,
            "excluded": report.excluded, "purged": report.purged},
        "missing": report.missing, "missing_new": report.missing_new,
        "absent": report.absences.iter().map(|absence| serde_json::json!({"what": absence.what, "cause": absence.cause})).collect::<Vec<_>>(),
        "plan": report.plan.map(|plan| serde_json::json!({
            "crates": plan.crates, "releases": plan.releases, "download_bytes": plan.download_bytes,
            "stored_bytes": plan.stored_bytes, "seconds": plan.seconds,
        })),
        "failed_count": report.failed, "gave_up": report.gave_up,
        "snapshot": report.snapshot, "left": report.left, "stopped": report.stopped, "complete": report.is_complete(),
    })
}
