//! Storing and giving back a folder of real crate files, each figure beside what
//! it has to be measured against, in one run:
//!
//! ```console
//! $ cargo bench --bench corpus -- FOLDER [ARCHIVE]
//! ```
//!
//! Without a folder it takes what cargo itself has fetched. With an archive of that folder,
//! such as `optimize --to` makes, only what reads is measured, of that archive.
#![allow(clippy::unwrap_used, reason = "a panic is how a benchmark fails")]
#![allow(clippy::print_stdout, reason = "printing is what a benchmark is for")]

use cratehold::archive::{
    Archive, Arrival, Budget, CommitInfo, Depth, EncodeOptions, ImportOptions, Scan, Writer, import, ingest, unpack_tar,
};
use cratehold::deflate::{self, Recipe};
use cratehold::ids::{Digest, Release};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const PAIRED_RUNS: usize = 3;
const COLD_RUNS: usize = 40;

struct Crate {
    release: Release,
    path: PathBuf,
    crate_bytes: u64,
    digest: Digest,
    tar: Vec<u8>,
    recipe: Option<Recipe>,
}

fn main() {
    let mut paths = std::env::args().skip(1).filter(|arg| !arg.starts_with('-'));
    let folder = paths.next().map_or_else(cargo_cache, PathBuf::from);
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let crates = load(&folder, threads);
    let crate_bytes: u64 = crates.iter().map(|file| file.crate_bytes).sum();
    let tar_bytes: u64 = crates.iter().map(|file| file.tar.len() as u64).sum();
    println!(
        "{} crate files, {} of .crate, {} of tar, {threads} threads\n",
        crates.len(),
        megabytes(crate_bytes),
        megabytes(tar_bytes)
    );

    let work = tempfile::tempdir().unwrap();
    if let Some(held) = paths.next() {
        let archive = Archive::open(Path::new(&held)).unwrap();
        verify(&archive, threads, tar_bytes);
        singles(&archive, &crates);
        unpack_all(&archive, &crates, work.path(), threads);
        return;
    }
    let archive_folder = work.path().join("archive");
    store(&crates, &folder, &archive_folder, threads, crate_bytes);
    land(&crates, work.path(), threads, crate_bytes);
    let archive = Archive::open(&archive_folder).unwrap();
    verify(&archive, threads, tar_bytes);
    verify_beside_zstd(&archive, &archive_folder, &crates, work.path());
    singles(&archive, &crates);
    unpack_all(&archive, &crates, work.path(), threads);
    cold(&archive_folder, &crates);
}

fn cargo_cache() -> PathBuf {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    home.unwrap_or_default().join("registry/cache")
}

fn load(folder: &Path, threads: usize) -> Vec<Crate> {
    let scan = Scan::of(&[folder.to_owned()], threads);
    let files: Vec<_> = scan.crates.into_values().flatten().collect();
    let loaded = in_parallel(&files, threads, |file| {
        let bytes = std::fs::read(&file.path).unwrap();
        let undone = deflate::undo(&bytes, None).unwrap();
        Crate {
            release: file.release.clone(),
            path: file.path.clone(),
            crate_bytes: file.bytes,
            digest: Digest::of(&bytes),
            tar: undone.tar,
            recipe: undone.recipe,
        }
    });
    let mut crates: Vec<Crate> = loaded.into_iter().collect();
    // Large ones first, so that no thread is left with one at the end.
    crates.sort_by_key(|file| std::cmp::Reverse(file.tar.len()));
    assert!(!crates.is_empty(), "no crate files in {}", folder.display());
    crates
}

fn store(crates: &[Crate], folder: &Path, archive: &Path, threads: usize, crate_bytes: u64) {
    let (mut deflating, mut redoing, mut storing) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..PAIRED_RUNS {
        redoing.push(timed(|| {
            in_parallel(crates, threads, |file| {
                let recipe = file.recipe.as_ref()?;
                Some(deflate::redo(&file.tar, recipe).len())
            });
        }));
        deflating.push(timed(|| {
            in_parallel(crates, threads, |file| {
                let recipe = file.recipe.as_ref()?;
                Some(deflate::redo_by_library(&file.tar, recipe).unwrap().len())
            });
        }));
        let _ = std::fs::remove_dir_all(archive);
        storing.push(timed(|| {
            let writer = Writer::open(archive).unwrap();
            let options = ImportOptions {
                encode: EncodeOptions {
                    check_release: true,
                    ..EncodeOptions::default()
                },
                threads,
                expected: &|_| Ok(Vec::new()),
                stop: &|| false,
                progress: &|_| {},
            };
            let report = import(&writer, Scan::of(&[folder.to_owned()], threads), &options).unwrap();
            assert_eq!(report.failures, vec![]);
        }));
    }
    let disk_bytes = Archive::open(archive).unwrap().disk_bytes().unwrap();
    println!("storing");
    println!(
        "  each tar deflated once, library  {:>9.2} s",
        median(&mut deflating.clone())
    );
    println!(
        "  the same, engines of our own     {:>9.2} s",
        median(&mut redoing.clone())
    );
    println!(
        "  stored, default level            {:>9.2} s",
        median(&mut storing.clone())
    );
    println!(
        "  ratio to the libraries, paired   {:>9.2}",
        paired(&storing, &deflating)
    );
    let by_libraries: Vec<f64> = (0..PAIRED_RUNS)
        .map(|run| storing[run] - redoing[run] + deflating[run])
        .collect();
    println!(
        "  faster than if libraries did it  {:>9.2} times",
        paired(&by_libraries, &storing)
    );
    println!(
        "  archive, everything              {:>9}, {:.2} times smaller than the .crate files",
        megabytes(disk_bytes),
        crate_bytes as f64 / disk_bytes as f64
    );
    let exact = crates.iter().filter(|file| file.recipe.is_some()).count();
    println!("  rebuilt by an engine             {exact:>9} of {}\n", crates.len());
}

/// What `sync` does with crate files whose checksums are known, once it has them: as they
/// came, as `--fast` does, beside the default; both with their commit.
fn land(crates: &[Crate], work: &Path, threads: usize, crate_bytes: u64) {
    let mut by_crate: BTreeMap<String, Vec<&Crate>> = BTreeMap::new();
    for file in crates {
        by_crate.entry(file.release.name.key()).or_default().push(file);
    }
    by_crate
        .values_mut()
        .for_each(|files| files.sort_by(|a, b| a.release.version.cmp(&b.release.version)));
    let by_crate: Vec<Vec<&Crate>> = by_crate.into_values().collect();
    let run = |as_they_came: bool| {
        let folder = work.join("landed");
        let _ = std::fs::remove_dir_all(&folder);
        let options = EncodeOptions {
            as_they_came,
            ..EncodeOptions::default()
        };
        timed(|| {
            let writer = Writer::open(&folder).unwrap();
            let (sender, receiver) = crossbeam_channel::bounded(threads * 2);
            let budget = Budget::new(1 << 30);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let sender = sender;
                    for files in &by_crate {
                        for (order, file) in files.iter().enumerate() {
                            let arrival = Arrival {
                                release: file.release.clone(),
                                order,
                                of: files.len(),
                                file: Some((file.digest, std::fs::read(&file.path).unwrap())),
                                permit: budget.take(file.crate_bytes),
                            };
                            sender.send(arrival).unwrap();
                        }
                    }
                });
                ingest(&writer, &receiver, threads, options, &|_, outcome| {
                    outcome.unwrap();
                });
            });
            writer.commit(&CommitInfo::default()).unwrap();
        })
    };
    let (mut fast, mut default) = (Vec::new(), Vec::new());
    for _ in 0..PAIRED_RUNS {
        fast.push(run(true));
        default.push(run(false));
    }
    println!("landing what a network gives, and committing");
    for (name, seconds) in [("--fast", &mut fast), ("default", &mut default)] {
        let rate = crate_bytes as f64 / 1e6 / median(seconds);
        println!("  {name:<8} {:>7.2} s  {rate:>7.0} MB/s of .crate", median(seconds));
    }
    println!();
}

fn verify(archive: &Archive, threads: usize, tar_bytes: u64) {
    println!("verifying");
    for (name, depth) in [
        ("--quick", Depth::Quick),
        ("default", Depth::Tars),
        ("--full", Depth::Full),
    ] {
        let seconds = timed(|| {
            let report = archive.verify(depth, threads, &|_| {}).unwrap();
            assert_eq!(report.problems, vec![]);
        });
        let rate = tar_bytes as f64 / 1e6 / seconds;
        println!("  {name:<8} {seconds:>7.2} s  {rate:>7.0} MB/s of tar");
    }
    println!();
}

/// On one thread: the default beside `zstd -t` of the same tars, each compressed on its
/// own at the same level; `--quick` beside reading the packs.
fn verify_beside_zstd(archive: &Archive, archive_folder: &Path, crates: &[Crate], work: &Path) {
    let tars = work.join("tars.zst");
    let frames = crates
        .iter()
        .flat_map(|file| zstd::bulk::compress(&file.tar, cratehold::archive::DEFAULT_LEVEL).unwrap());
    std::fs::write(&tars, frames.collect::<Vec<u8>>()).unwrap();
    let tar_bytes: usize = crates.iter().map(|file| file.tar.len()).sum();
    let verify = |depth| timed(|| assert_eq!(archive.verify(depth, 1, &|_| {}).unwrap().problems, vec![]));
    let (mut own, mut zstd, mut quick, mut read) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..PAIRED_RUNS {
        own.push(verify(Depth::Tars));
        zstd.push(timed(|| {
            let tool = Command::new("zstd").arg("-tq").arg(&tars).status();
            assert!(
                tool.is_ok_and(|status| status.success()),
                "the `zstd` program is needed"
            );
        }));
        quick.push(verify(Depth::Quick));
        read.push(timed(|| {
            for pack in std::fs::read_dir(archive_folder.join("packs")).unwrap() {
                assert!(std::fs::read(pack.unwrap().path()).is_ok());
            }
        }));
    }
    let (own, zstd, quick, read) = (
        median(&mut own),
        median(&mut zstd),
        median(&mut quick),
        median(&mut read),
    );
    println!("verifying on one thread");
    println!(
        "  default {own:.2} s, {:.0} MB/s of tar; zstd -t {zstd:.2} s; ratio {:.2}",
        tar_bytes as f64 / 1e6 / own,
        own / zstd
    );
    println!("  --quick {quick:.3} s; reading the packs {read:.3} s\n");
}

fn singles(archive: &Archive, crates: &[Crate]) {
    println!("one crate at a time, in process");
    let mut tars = Vec::new();
    for file in crates {
        tars.push(timed(|| {
            let tar = archive.read_tar(&file.digest).unwrap();
            assert_eq!(tar.len(), file.tar.len());
        }));
    }
    report_milliseconds("its tar", &mut tars);
    let mut files = Vec::new();
    for file in crates.iter().filter(|file| file.tar.len() < 3_000_000) {
        files.push(timed(|| {
            let bytes = archive.read_crate(&file.digest).unwrap();
            assert_eq!(bytes.len() as u64, file.crate_bytes);
        }));
    }
    report_milliseconds("its .crate (tars below 3 MB)", &mut files);
    println!();
}

fn unpack_all(archive: &Archive, crates: &[Crate], work: &Path, threads: usize) {
    let digests: Vec<Digest> = crates.iter().map(|file| file.digest).collect();
    let releases: HashMap<Digest, &Release> = crates.iter().map(|file| (file.digest, &file.release)).collect();
    let (mut from_archive, mut from_loose) = (Vec::new(), Vec::new());
    for run in 0..PAIRED_RUNS {
        // In turn, so that neither always writes behind the other.
        for loose in [run % 2 == 0, run % 2 != 0] {
            let target = work.join("unpacked");
            let _ = std::fs::remove_dir_all(&target);
            std::fs::create_dir(&target).unwrap();
            let seconds = timed(|| {
                if loose {
                    in_parallel(crates, threads, |file| {
                        let file = std::fs::File::open(&file.path).unwrap();
                        tar::Archive::new(flate2::read::GzDecoder::new(file))
                            .unpack(&target)
                            .unwrap();
                    });
                } else {
                    archive.read_tars(&digests, threads, &|digest, tar| {
                        unpack_tar(&tar.unwrap(), releases[digest], &target).unwrap();
                    });
                }
            });
            if loose { &mut from_loose } else { &mut from_archive }.push(seconds);
        }
    }
    println!("unpacking every crate to its files (TMPDIR says on which disk)");
    println!(
        "  loose files, tar and flate2      {:>9.2} s",
        median(&mut from_loose.clone())
    );
    println!(
        "  from the archive                 {:>9.2} s",
        median(&mut from_archive.clone())
    );
    println!(
        "  ratio, paired                    {:>9.2}\n",
        paired(&from_archive, &from_loose)
    );
}

/// Whole processes, as a script would run them.
fn cold(archive: &Path, crates: &[Crate]) {
    let mut by_size: Vec<&Crate> = crates.iter().collect();
    by_size.sort_by_key(|file| file.crate_bytes);
    let last = by_size.len() - 1;
    let of_500_kb = by_size.partition_point(|file| file.crate_bytes < 500_000).min(last);
    println!("one crate, whole cold process: `extract -o -` beside `gzip -dc` of the loose file");
    for (name, at) in [
        ("a quarter are smaller", last / 4),
        ("half are", last / 2),
        ("nine in ten are", last * 9 / 10),
        ("the first of 500 kB", of_500_kb),
    ] {
        let file = by_size[at];
        let (mut own, mut gzip) = (Vec::new(), Vec::new());
        for _ in 0..COLD_RUNS {
            let mut extract = Command::new(env!("CARGO_BIN_EXE_cratehold"));
            extract
                .arg("-a")
                .arg(archive)
                .args(["extract", &file.release.to_string(), "-o", "-"]);
            own.push(run(&mut extract));
            gzip.push(run(Command::new("gzip").arg("-dc").arg(&file.path)));
        }
        let difference = median(&mut own.iter().zip(&gzip).map(|(own, gzip)| own - gzip).collect::<Vec<_>>());
        println!(
            "  {} ({}, {:.0} kB): {:.2} ms, gzip {:.2} ms, {:.2} ms more, {:.2} times as long",
            file.release,
            name,
            file.crate_bytes as f64 / 1e3,
            1e3 * median(&mut own),
            1e3 * median(&mut gzip),
            1e3 * difference,
            paired(&own, &gzip)
        );
    }
}

fn run(command: &mut Command) -> f64 {
    timed(|| {
        let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().unwrap();
        assert!(output.status.success());
    })
}

fn timed(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().max(Duration::from_nanos(1)).as_secs_f64()
}

fn in_parallel<T: Sync, R: Send>(items: &[T], threads: usize, work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let mut done = Vec::new();
                    while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                        done.push(work(item));
                    }
                    done
                })
            })
            .collect();
        running.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The median of the ratios, pair by pair.
fn paired(a: &[f64], b: &[f64]) -> f64 {
    median(&mut a.iter().zip(b).map(|(a, b)| a / b).collect::<Vec<_>>())
}

fn report_milliseconds(name: &str, seconds: &mut [f64]) {
    let mean = seconds.iter().sum::<f64>() / seconds.len() as f64;
    let middle = median(seconds);
    let worst = seconds.last().copied().unwrap_or(0.0);
    println!(
        "  {name:<30} median {:.2} ms, mean {:.2} ms, worst {:.1} ms",
        1e3 * middle,
        1e3 * mean,
        1e3 * worst
    );
}

fn megabytes(bytes: u64) -> String {
    format!("{:.2} MB", bytes as f64 / 1e6)
}
