//! Fetching from a registry that is far away: small crates, each answer 50 ms later.
//!
//! ```console
//! $ cargo bench --bench fetch [-- CRATES]
//! ```
//!
//! One job is measured on a sample and scaled: all of it would take minutes.
#![allow(clippy::unwrap_used, reason = "a panic is how a benchmark fails")]
#![allow(clippy::print_stdout, reason = "printing is what a benchmark is for")]

#[path = "../tests/support/mod.rs"]
mod support;

use cratehold::archive::Writer;
use cratehold::registry::{IndexUrl, Stop};
use cratehold::sync::{self, Notice, Options, Phase, Selection};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use support::Registry;

const CRATES: usize = 5_000;
const LATENCY: Duration = Duration::from_millis(50);
const SAMPLE: usize = 100;
const JOBS: [usize; 5] = [1, 16, 64, 128, 256];

fn main() {
    let crates = std::env::args().find_map(|arg| arg.parse().ok()).unwrap_or(CRATES);
    let registry = Registry::start();
    for i in 0..crates {
        registry.publish(&format!("small-{i}@1.0.0"));
    }
    // What all of it takes without waiting: the CPU's own limit.
    let [at_once, _, _] = run(&registry, 64, crates);
    println!("{crates} crates without latency: {at_once:.1} s of this machine's work, the server's among it");
    registry.set_latency(LATENCY);
    let mut one_job = None;
    for jobs in JOBS {
        let count = if jobs == 1 { SAMPLE.min(crates) } else { crates };
        let [all, reading, downloading] = run(&registry, jobs, count).map(|s| s * crates as f64 / count as f64);
        let one_job = *one_job.get_or_insert(all);
        println!(
            "{jobs} jobs: {all:.1} s (reading {reading:.1} s, downloading {downloading:.1} s), {:.1} times as fast as one",
            one_job / all
        );
    }
}

/// Syncs the first so many crates into a new archive; seconds in all, of reading the
/// index, and of downloading.
fn run(registry: &Registry, jobs: usize, crates: usize) -> [f64; 3] {
    registry.forget_requests();
    let folder = tempfile::tempdir().unwrap();
    let writer = Writer::open(folder.path()).unwrap();
    let mut options = Options::new(IndexUrl::parse(&registry.index()).unwrap());
    options.fetch.jobs = jobs;
    options.threads = std::thread::available_parallelism().map_or(2, usize::from);
    let mut selection = Selection::default();
    (0..crates).for_each(|i| selection.add_crate(format!("small-{i}").parse().unwrap()));
    let begun = Mutex::new(Vec::new());
    let start = Instant::now();
    let report = sync::run(&writer, &selection, &options, &Stop::default(), &|notice| {
        if let Notice::Phase(phase) = notice {
            begun.lock().unwrap().push((phase, start.elapsed().as_secs_f64()));
        }
    });
    let all = start.elapsed().as_secs_f64();
    let report = report.unwrap();
    assert_eq!((report.downloaded, report.failed), (crates as u64, 0));
    let begun = begun.into_inner().unwrap();
    let begin = |wanted: Phase| begun.iter().find(|(phase, _)| *phase == wanted).unwrap().1;
    let (reading, downloading, end) = (
        begin(Phase::Reading),
        begin(Phase::Downloading),
        begin(Phase::Committing),
    );
    [all, downloading - reading, end - downloading]
}
