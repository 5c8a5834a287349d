//! `cratehold optimize`.

use super::interrupt::{INTERRUPTED, on_ctrl_c};
use super::{CommandResult, bytes_bar, human, size, threads};
use cratehold::archive::{
    Archive, ChainBudget, OptimizeForecast, OptimizeOptions, OptimizeReport, Writer, optimize_to,
};
use cratehold::registry::Stop;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Tar bytes that one core compresses in a second at level 22, about; for a forecast.
const CORE_BYTES_PER_SECOND: u64 = 1_300_000;
/// A pack is as long as any writer makes them.
const PACK_BYTES: u64 = 1 << 30;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The zstd level.
    #[arg(long, default_value_t = OptimizeOptions::DEFAULT_LEVEL, value_parser = clap::value_parser!(i32).range(1..=22))]
    level: i32,
    /// Write the optimized archive into this folder, and leave this one as it is.
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// What reading one release may cost: so many bytes to decode, or so many times its
    /// own, whichever is more. Larger is smaller on disk and slower to read.
    #[arg(long, value_name = "SIZE/FACTOR", default_value = "32MiB/4", value_parser = chain)]
    max_chain: ChainBudget,
    /// Only say what there is to do.
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Bytes of memory to work within; single crates that need more pass alone.
    #[arg(long, value_name = "SIZE", default_value = "4GiB", value_parser = size::parse)]
    memory: u64,
    /// How many crate files to compress at once; as many as there are cores by default.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Print what was done as one JSON object.
    #[arg(long)]
    json: bool,
}

/// Reads `SIZE/FACTOR`, or either alone: `32MiB`, `/8`.
fn chain(text: &str) -> Result<ChainBudget, String> {
    let default = ChainBudget::default();
    let (bytes, factor) = match text.split_once('/') {
        Some((bytes, factor)) => (bytes, Some(factor)),
        None => (text, None),
    };
    let bytes = match bytes {
        "" => default.bytes,
        bytes => size::parse(bytes)?,
    };
    let factor = match factor {
        None => default.factor,
        Some(factor) => match factor.parse() {
            Ok(factor @ 1..=1000) => factor,
            _ => {
                return Err(format!(
                    "`{text}`: expected a size and a factor from 1 to 1000, such as 32MiB/4"
                ));
            }
        },
    };
    Ok(ChainBudget {
        bytes,
        factor,
        ..default
    })
}

pub fn run(folder: &Path, args: Args) -> CommandResult {
    let threads = args.threads.map_or_else(threads, usize::from);
    let stop = Stop::default();
    let bar = bytes_bar(0);
    let options = OptimizeOptions {
        level: args.level,
        chain: args.max_chain,
        pack_bytes: PACK_BYTES,
        threads,
        memory_bytes: args.memory,
        stop: &|| stop.is_set(),
        begin: &|bytes| bar.set_length(bytes),
        progress: &|bytes, is_work| match is_work {
            true => bar.inc(bytes),
            // What is there already says nothing of how long the rest takes.
            false => bar.set_length(bar.length().unwrap_or(bytes).saturating_sub(bytes)),
        },
        committed: &|_| {},
    };
    if args.dry_run {
        let forecast = Archive::open(folder)?.forecast_optimize(&options)?;
        tell_forecast(&forecast, threads, args.json);
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(to) = &args.to
        && to
            .canonicalize()
            .is_ok_and(|to| folder.canonicalize().is_ok_and(|folder| folder == to))
    {
        return Err(format!(
            "{}: is this archive itself; leave --to out to optimize it",
            to.display()
        )
        .into());
    }
    // Opened first: a mistyped path makes no archive.
    let archive = Archive::open(folder)?;
    on_ctrl_c(&stop, "what was written is kept for the next run")?;
    let result = match &args.to {
        Some(to) => optimize_to(&archive, to, &options),
        None => Writer::open(folder).and_then(|writer| writer.optimize(&options)),
    };
    bar.finish_and_clear();
    let report = result?;
    let place = args.to.as_deref().unwrap_or(folder);
    let disk_bytes = Archive::open(place)?.disk_bytes()?;
    match args.json {
        true => say!("{}", as_json(&report, disk_bytes)),
        false => tell(&report, place, disk_bytes),
    }
    if report.stopped {
        eprintln!("stopped: what was written is kept; run the same command again to go on");
        return Ok(ExitCode::from(INTERRUPTED));
    }
    Ok(ExitCode::SUCCESS)
}

fn tell_forecast(forecast: &OptimizeForecast, threads: usize, json: bool) {
    let seconds = forecast.content_bytes / CORE_BYTES_PER_SECOND / threads as u64;
    if json {
        let json = serde_json::json!({
            "shelves": forecast.shelves, "shelves_done": forecast.done, "crates": forecast.crates,
            "crate_bytes": forecast.crate_bytes, "content_bytes": forecast.content_bytes,
            "record_bytes": forecast.record_bytes, "seconds_at_level_22": seconds,
        });
        say!("{json}");
        return;
    }
    let OptimizeForecast { shelves, done, .. } = forecast;
    if done == shelves {
        say!("nothing to do: all of it is as these settings would make it");
        return;
    }
    say!(
        "{} of {shelves} shelves to make: {} crate files, {} of tar, in {} now",
        shelves - done,
        forecast.crates,
        human(forecast.content_bytes),
        human(forecast.record_bytes)
    );
    say!(
        "about {} at level 22 on {threads} threads; up to {} are needed on the drive until it is done",
        duration(seconds),
        human(forecast.record_bytes)
    );
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} minutes", seconds / 60),
        _ => format!("{:.1} hours", seconds as f64 / 3600.0),
    }
}

fn tell(report: &OptimizeReport, place: &Path, disk_bytes: u64) {
    if report.made == 0 && report.kept == 0 && !report.stopped {
        say!("nothing to do: all of it is as these settings would make it");
        return;
    }
    say!(
        "{} crate files stored anew: {} now, {} before",
        report.crates,
        human(report.after_bytes),
        human(report.before_bytes)
    );
    if report.undone > 0 {
        say!("{} that were stored as they came are undone now", report.undone);
    }
    if report.spared > 0 {
        say!("{} of these had been compressed by an earlier run", report.spared);
    }
    if report.done_before > 0 {
        say!("{} of {} shelves were done before", report.done_before, report.shelves);
    }
    if report.kept > 0 {
        let kept = report.kept;
        say!("{kept} shelves left as they were: these settings would make them larger");
    }
    say!("{} is {} on disk", place.display(), human(disk_bytes));
}

fn as_json(report: &OptimizeReport, disk_bytes: u64) -> serde_json::Value {
    serde_json::json!({
        "shelves": report.shelves, "done_before": report.done_before, "made": report.made, "kept": report.kept,
        "crates": report.crates, "spared": report.spared, "undone": report.undone, "seeds": report.seeds,
        "before_bytes": report.before_bytes, "after_bytes": report.after_bytes, "disk_bytes": disk_bytes,
        "stopped": report.stopped,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chain_budgets_are_read_or_refused() {
        for (text, bytes, factor) in [("64MiB/8", 64 << 20, 8), ("1GB", 1_000_000_000, 4), ("/2", 32 << 20, 2)] {
            let budget = chain(text).map(|budget| (budget.bytes, budget.factor));
            assert_eq!(budget, Ok((bytes, factor)), "{text}");
        }
        for bad in ["x", "1MiB/0", "1MiB/x", "1MiB/2/3", "/1001"] {
            assert!(chain(bad).is_err(), "{bad}");
        }
    }
}
