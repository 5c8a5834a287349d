//! Recovery data: how fast it is made, what room it takes, and how fast lost sectors come
//! back. `cargo bench --bench protect -- MEGABYTES` (256 by default).
#![allow(clippy::unwrap_used, reason = "a panic is how a bench fails")]
#![allow(clippy::print_stdout, reason = "figures are what it is for")]

#[path = "../tests/support/mod.rs"]
mod support;

use cratehold::archive::{Archive, CommitInfo, Depth, EncodeOptions, ProtectOptions, RepairOptions, Writer, repair};
use std::path::Path;
use std::time::Instant;

const PERCENT: u8 = 5;
const LOST_PERCENT: f64 = 1.0;
const CRATE_BYTES: usize = 8 << 20;

fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let start = Instant::now();
    let done = work();
    (done, start.elapsed().as_secs_f64())
}

fn main() {
    let megabytes: usize = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(256);
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let writer = Writer::open(folder).unwrap();
    for i in 0..(megabytes << 20).div_ceil(CRATE_BYTES) {
        let release = format!("crate{i}@1.0.0");
        let options = EncodeOptions {
            level: 1,
            ..EncodeOptions::default()
        };
        let file = support::crate_file(&release, CRATE_BYTES);
        writer.add(&release.parse().unwrap(), file, options).unwrap();
    }
    writer.commit(&CommitInfo::default()).unwrap();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let options = ProtectOptions {
        percent: PERCENT,
        threads,
        stop: &|| false,
        progress: &|_| {},
    };
    let (_, seconds) = timed(|| writer.protect(&options).unwrap());
    drop(writer);
    let (bytes, _, recovery_bytes) = Archive::open(folder).unwrap().coverage().unwrap().totals();
    println!(
        "protect --percent {PERCENT}: {:.0} MB in {seconds:.2} s, {:.0} MB/s on {threads} threads; {:.2} % of room",
        bytes as f64 / 1e6,
        bytes as f64 / 1e6 / seconds,
        recovery_bytes as f64 * 100.0 / bytes as f64
    );
    let (_, seconds) = timed(|| {
        Archive::open(folder)
            .unwrap()
            .verify(Depth::Quick, threads, &|_| {})
            .unwrap()
    });
    println!("verify --quick of all of it: {seconds:.2} s");

    let lost = lose_sectors(folder);
    let options = RepairOptions {
        threads,
        level: 9,
        ..RepairOptions::default()
    };
    let (report, seconds) = timed(|| repair(folder, &mut [], &options).unwrap());
    assert!(report.is_whole(), "{report:?}");
    println!(
        "repair of {lost} sectors lost, {LOST_PERCENT} % of packs, index, manifest and recovery data: {seconds:.2} s"
    );
}

fn lose_sectors(folder: &Path) -> usize {
    let mut random = fastrand::Rng::with_seed(1);
    let mut lost = 0;
    for sub in ["packs", "index", "manifest", "recovery"] {
        for entry in std::fs::read_dir(folder.join(sub)).unwrap() {
            let path = entry.unwrap().path();
            let mut bytes = std::fs::read(&path).unwrap();
            for sector in bytes.chunks_mut(4096) {
                if random.f64() * 100.0 < LOST_PERCENT {
                    random.fill(sector);
                    lost += 1;
                }
            }
            std::fs::write(&path, bytes).unwrap();
        }
    }
    lost
}
