//! `cratehold verify`.

use super::interrupt::{INTERRUPTED, on_ctrl_c};
use super::{CommandResult, bytes_bar, human, threads};
use cratehold::archive::{Archive, Depth, Position, Problem, VerifyOptions, VerifyReport};
use cratehold::registry::Stop;
use std::path::Path;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only heads, manifests, indexes and the checksum of every frame.
    #[arg(long, conflicts_with = "full")]
    quick: bool,
    /// Also rebuild every `.crate` and check its SHA-256.
    #[arg(long)]
    full: bool,
    /// Check only so many of the crates, chosen anew each time: for a daily look.
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    sample: Option<f64>,
    /// Go on where a run that was stopped said it had come to.
    #[arg(long, value_name = "POSITION")]
    from: Option<Position>,
    /// One JSON object, for programs.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    trust: super::trust::Trust,
}

fn percent(text: &str) -> Result<f64, String> {
    let number: Option<f64> = text.strip_suffix('%').unwrap_or(text).parse().ok();
    number
        .filter(|number| *number > 0.0 && *number <= 100.0)
        .ok_or_else(|| "expected a percentage above 0, at most 100, such as 1%".into())
}

pub fn run(folder: &Path, args: Args) -> CommandResult {
    let archive = Archive::open(folder)?;
    let trusted = args.trust.check(&archive)?;
    let depth = match (args.quick, args.full) {
        (true, _) => Depth::Quick,
        (_, true) => Depth::Full,
        _ => Depth::Tars,
    };
    let total: u64 = archive
        .entries()
        .map_or(0, |entries| entries.iter().map(|e| u64::from(e.content_bytes)).sum());
    let bar = bytes_bar((total as f64 * args.sample.unwrap_or(100.0) / 100.0) as u64);
    let stop = Stop::default();
    on_ctrl_c(&stop, "finishing what is being checked")?;
    let report = archive.verify_part(&VerifyOptions {
        depth,
        threads: threads(),
        sample_percent: args.sample,
        from: args.from,
        stop: &|| stop.is_set(),
        progress: &|bytes| bar.inc(bytes),
    })?;
    bar.finish_and_clear();
    if args.json {
        say!("{}", json(&report));
    } else {
        report.problems.iter().for_each(complain);
    }
    if !report.problems.is_empty() {
        return Err(format!("{} problems among {} crates", report.problems.len(), report.crates()).into());
    }
    if !args.json {
        trusted.iter().for_each(|found| say!("{found}"));
        let what = if args.sample.is_some() {
            "chosen at random, verified"
        } else {
            "verified"
        };
        let read = human(report.content_bytes);
        say!("{} crates {what}, {read} of tar read: all whole", report.crates());
        let coverage = archive.coverage()?;
        if !coverage.is_none() {
            say!("{}", super::protect::summary(&coverage));
        }
    }
    let Some(position) = report.stopped_at else {
        return Ok(ExitCode::SUCCESS);
    };
    eprintln!("stopped; the rest: `cratehold verify --from {position}`");
    Ok(ExitCode::from(INTERRUPTED))
}

fn complain(problem: &Problem) {
    let bytes = match &problem.place {
        Some(place) => format!(
            " [{}, bytes {} to {}]",
            place.file,
            place.offset,
            place.offset + place.bytes
        ),
        None => String::new(),
    };
    let release = problem
        .release
        .as_ref()
        .map_or_else(String::new, |release| format!("{release}: "));
    eprintln!("damaged: {release}{}{bytes}", problem.message);
}

fn json(report: &VerifyReport) -> serde_json::Value {
    let problem = |problem: &Problem| {
        let place = problem.place.as_ref();
        serde_json::json!({
            "release": problem.release,
            "message": problem.message,
            "file": place.map(|place| &place.file),
            "offset": place.map(|place| place.offset),
            "bytes": place.map(|place| place.bytes),
        })
    };
    serde_json::json!({
        "crates": report.crates(),
        "content_bytes": report.content_bytes,
        "stopped_at": report.stopped_at.map(|position| position.to_string()),
        "problems": report.problems.iter().map(problem).collect::<Vec<_>>(),
    })
}
