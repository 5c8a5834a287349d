//! A whole registry index: read for the first time, and kept up to date when nearly all
//! of it is held.
//!
//! ```console
//! $ cargo bench --bench registry -- INDEX.git        a real one, beside git itself
//! $ cargo bench --bench registry [-- RELEASES]       one made to its shape, held
//! ```
//!
//! The git program must be there: it streams the same files for comparison, and takes
//! in the index that is made.
#![allow(clippy::unwrap_used, reason = "a panic is how a benchmark fails")]
#![allow(clippy::print_stdout, reason = "printing is what a benchmark is for")]

#[path = "../tests/support/mod.rs"]
mod support;

use cratehold::archive::{Archive, CommitInfo, EncodeOptions, Writer};
use cratehold::format::head::{Head, SegmentEntry};
use cratehold::format::index::{self, Entry, EntryKind};
use cratehold::format::manifest::EventKind;
use cratehold::format::manifest_event::Event;
use cratehold::ids::{Digest, Release};
use cratehold::registry::{IndexUrl, Stop, index_path};
use cratehold::sync::{self, Notice, Options, Phase, Report, Selection};
use fastrand::Rng;
use std::fmt::Write as _;
use std::io::{BufWriter, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Instant;
use support::served::Served;

const RELEASES: usize = 3_000_000;
const PAIRED_RUNS: usize = 3;
/// As on crates.io today; the distribution below has 5.
const VERSIONS_PER_CRATE: usize = 12;
const NEW_RELEASES: usize = 10;
const ROUNDS: usize = 30;
const ONE_SYNC: &str = "--one-sync";
const FIRST_PLAN: &str = "--first-plan";

// The crates.io index of November 2019 (25,528 crates, 126,835 releases), in sixteenths:
// the middle of each.
const VERSIONS: [usize; 16] = [1, 1, 1, 1, 1, 1, 2, 2, 3, 3, 4, 5, 6, 8, 12, 22];
const DEPENDENCIES: [usize; 16] = [0, 0, 1, 1, 2, 2, 3, 3, 4, 5, 5, 7, 8, 9, 12, 18];
const NAME_BYTES: [usize; 16] = [3, 4, 5, 6, 7, 7, 8, 9, 10, 10, 11, 12, 13, 15, 17, 22];
const FEATURES: [usize; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 5];
/// Of a release and the one before it: how many have the same dependencies and features.
const SAME: f64 = 0.41;
const YANKED: f64 = 0.015;
/// The dependencies asked for most, each with its share of all 635,000 in thousandths;
/// the others are of 8,563 crates.
const POPULAR: [(&str, u32); 16] = [
    ("serde", 46),
    ("serde_json", 33),
    ("serde_derive", 32),
    ("log", 29),
    ("libc", 27),
    ("rand", 23),
    ("lazy_static", 21),
    ("clap", 20),
    ("hyper", 17),
    ("regex", 16),
    ("futures", 13),
    ("url", 13),
    ("chrono", 12),
    ("byteorder", 12),
    ("env_logger", 12),
    ("failure", 10),
];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    match &args[..] {
        [flag, folder, git] if flag == ONE_SYNC => return one_sync(Path::new(folder), Path::new(git)),
        [flag, folder, git] if flag == FIRST_PLAN => return first_plan(Path::new(folder), Path::new(git)),
        [git] if Path::new(git).is_dir() => return cold(Path::new(git)),
        _ => {}
    }
    let releases = args.iter().find_map(|arg| arg.parse().ok()).unwrap_or(RELEASES);
    held(releases);
}

fn options(git: &Path) -> Options {
    let mut options = Options::new(IndexUrl::parse(&git.display().to_string()).unwrap());
    options.threads = std::thread::available_parallelism().map_or(2, usize::from);
    options.no_download = true;
    options
}

/// Seconds that phases took, in their order.
type Phases = Vec<(Phase, f64)>;

/// Reads and plans, commits what is new of it, and fetches nothing.
fn plan(folder: &Path, git: &Path) -> (f64, Report, Phases) {
    let start = Instant::now();
    let writer = Writer::open(folder).unwrap();
    let begun = Mutex::new(Vec::new());
    let report = sync::run(
        &writer,
        &Selection::everything(),
        &options(git),
        &Stop::default(),
        &|notice| {
            if let Notice::Phase(phase) = notice {
                begun.lock().unwrap().push((phase, start.elapsed().as_secs_f64()));
            }
        },
    )
    .unwrap();
    let all = start.elapsed().as_secs_f64();
    let begun = begun.into_inner().unwrap();
    let ends = begun.iter().skip(1).map(|(_, begin)| *begin).chain([all]);
    let phases = begun
        .iter()
        .zip(ends)
        .map(|((phase, begin), end)| (*phase, end - begin));
    (all, report, phases.collect())
}

/// "reading 0.52 s, committing 0.12 s".
fn told(phases: &Phases) -> String {
    let each = phases.iter().filter(|(_, seconds)| *seconds >= 0.0005);
    let each = each.map(|(phase, seconds)| format!("{phase:?} {seconds:.3} s").to_lowercase());
    each.collect::<Vec<_>>().join(", ")
}

/// What the newest snapshot's segments take.
fn segment_bytes(folder: &Path) -> [u64; 2] {
    let archive = Archive::open(folder).unwrap();
    let head = archive.head();
    [&head.indexes, &head.manifests].map(|segments| segments.iter().map(|segment| segment.bytes).sum())
}

/// A real registry index, for the first time and again, beside git streaming its files.
fn cold(git: &Path) {
    let work = tempfile::tempdir().unwrap();
    for run in 0..PAIRED_RUNS {
        let start = Instant::now();
        let streamed = stream(git);
        let git_s = start.elapsed().as_secs_f64();
        let folder = work.path().join(run.to_string());
        let (first_s, report, phases) = plan(&folder, git);
        let (again_s, ..) = plan(&folder, git);
        let reading_s = first_s
            - phases
                .iter()
                .filter(|(phase, _)| *phase == Phase::Committing)
                .map(|(_, s)| s)
                .sum::<f64>();
        let [_, manifest_bytes] = segment_bytes(&folder);
        println!(
            "{} releases: git cat-file --batch of {streamed} bytes {git_s:.2} s; read and planned in {reading_s:.2} s, {:.2} times; with the commit {first_s:.2} s, {:.2} times ({}); unchanged {:.0} ms; manifest {:.1} bytes a release",
            report.wanted,
            reading_s / git_s,
            first_s / git_s,
            told(&phases),
            again_s * 1e3,
            manifest_bytes as f64 / report.wanted as f64
        );
    }
}

/// How many bytes `git cat-file --batch` gives of all files of the newest commit.
fn stream(git: &Path) -> u64 {
    let list = git_command(git, &["ls-tree", "-r", "HEAD"]).output().unwrap().stdout;
    let list = String::from_utf8(list).unwrap();
    let ids: String = list
        .lines()
        .map(|line| format!("{}\n", line.split_whitespace().nth(2).unwrap()))
        .collect();
    let mut child = git_command(git, &["cat-file", "--batch"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let feeder = std::thread::spawn(move || input.write_all(ids.as_bytes()).unwrap());
    let bytes = std::io::copy(&mut child.stdout.take().unwrap(), &mut std::io::sink()).unwrap();
    feeder.join().unwrap();
    child.wait().unwrap();
    bytes
}

fn git_command(git: &Path, args: &[&str]) -> Command {
    let mut command = Command::new("git");
    command.arg("-C").arg(git).args(args);
    command
}

/// An archive that holds everything but a few releases, synced with its registry index.
fn held(releases: usize) {
    let work = tempfile::tempdir().unwrap();
    let (folder, git) = (work.path().join("archive"), work.path().join("index.git"));
    let start = Instant::now();
    let mut crates = crates(releases);
    import(&git, &mut crates, "first");
    println!(
        "{} crates, {releases} releases: their git index made in {:.0} s",
        crates.len(),
        start.elapsed().as_secs_f64()
    );
    in_child(FIRST_PLAN, &folder, &git);
    hold(&folder, &crates, &git);
    let [index_bytes, manifest_bytes] = segment_bytes(&folder).map(|bytes| bytes as f64 / releases as f64);
    println!("index {index_bytes:.1} bytes a release, manifest {manifest_bytes:.1}");
    // Ten crates get a release more.
    let step = crates.len() / NEW_RELEASES;
    let mut changed: Vec<Crate> = crates.into_iter().step_by(step.max(1)).take(NEW_RELEASES).collect();
    for each in &mut changed {
        let line = each.lines.lines().last().unwrap().to_owned();
        let version = format!("{}.0.0", 1000 + each.versions);
        let cksum = Digest::of(format!("{} {version}", each.name).as_bytes()).to_string();
        let line = with_value(&with_value(&line, "vers", &version), "cksum", &cksum);
        writeln!(each.lines, "{line}").unwrap();
    }
    import(&git, &mut changed, "second");
    in_child(ONE_SYNC, &folder, &git);
}

/// In a process of its own, so that its peak of memory is its own.
fn in_child(what: &str, folder: &Path, git: &Path) {
    let child = Command::new(std::env::current_exe().unwrap())
        .args([Path::new(what), folder, git])
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    print!("{}", String::from_utf8_lossy(&child.stdout));
    assert!(child.status.success());
}

/// A first day: everything is absorbed and nothing is held, so that all of it is to be
/// fetched; up to where the first request would be made.
fn first_plan(folder: &Path, git: &Path) {
    let start = Instant::now();
    let writer = Writer::open(folder).unwrap();
    let mut options = options(git);
    (options.no_download, options.dry_run) = (false, true);
    let (everything, stop) = (Selection::everything(), Stop::default());
    let report = sync::run(&writer, &everything, &options, &stop, &|_| {}).unwrap();
    println!(
        "absorbed, and {} to fetch: {:.1} s; peak memory: {}",
        report.plan.unwrap().releases,
        start.elapsed().as_secs_f64(),
        peak()
    );
}

/// `line` with another value for a key whose value is text.
fn with_value(line: &str, key: &str, value: &str) -> String {
    let begin = format!("\"{key}\":\"");
    let (before, rest) = line.split_once(&begin).unwrap();
    let (_, behind) = rest.split_once('"').unwrap();
    format!("{before}{begin}{value}\"{behind}")
}

fn one_sync(folder: &Path, git: &Path) {
    let before = Archive::open(folder).unwrap().head().generation;
    let (plan_s, report, phases) = plan(folder, git);
    let archive = Archive::open(folder).unwrap();
    let segments = archive.head().indexes.iter().chain(&archive.head().manifests);
    let new = segments.filter(|segment| segment.generation > before);
    let written: u64 = new.map(|segment| segment.bytes).sum();
    println!(
        "{} of {} to fetch: found and committed in {plan_s:.2} s ({}), {written} bytes written",
        report.left,
        report.wanted,
        told(&phases)
    );
    assert_eq!(report.left, NEW_RELEASES as u64);
    println!("peak memory: {}", peak());
    let mut names: Vec<String> = Vec::new();
    archive
        .each_crate(|state| {
            names.push(state.name);
            Ok::<(), cratehold::archive::Error>(())
        })
        .unwrap();
    let start = Instant::now();
    let picks = 1000;
    for i in 0..picks {
        let state = archive.crate_state(&names[i * 7919 % names.len()]).unwrap().unwrap();
        archive.line(state.releases.last().unwrap()).unwrap();
    }
    println!(
        "a crate's releases by name, and a line: {:.0} us",
        start.elapsed().as_secs_f64() * 1e6 / picks as f64
    );
    drop(archive);

    let writer = Writer::open(folder).unwrap();
    let (mut all_ms, mut most_written) = (Vec::new(), 0);
    for round in 0..ROUNDS {
        for i in 0..NEW_RELEASES {
            let event = Event {
                kind: EventKind::Added,
                yanked: false,
                generation: 0,
                version: format!("2000.{round}.0"),
                digest: Some(Digest::of(format!("{round} {i}").as_bytes())),
                text: Some(format!("{{\"round\":{round}}}").into_bytes()),
            };
            writer.note(&names[(round * 31 + i * 7919) % names.len()], event);
        }
        let start = Instant::now();
        writer.commit(&CommitInfo::default()).unwrap();
        all_ms.push(start.elapsed().as_secs_f64() * 1e3);
        let newest = writer.with_archive(|archive| archive.head().manifests.last().map_or(0, |segment| segment.bytes));
        most_written = most_written.max(newest);
    }
    all_ms.sort_by(f64::total_cmp);
    println!(
        "{ROUNDS} commits of {NEW_RELEASES}: median {:.1} ms, worst {:.1} ms, at most {most_written} bytes of manifest",
        all_ms[ROUNDS / 2],
        all_ms[ROUNDS - 1]
    );
    // One crate that is really there, among all that are only said to be.
    let (release, bytes) = ("zz-real@1.0.0", support::crate_file("zz-real@1.0.0", 300));
    let parsed: Release = release.parse().unwrap();
    writer.add(&parsed, bytes, EncodeOptions::default()).unwrap();
    writer.commit(&CommitInfo::default()).unwrap();
    drop(writer);
    let name = &names[names.len() / 2];
    let out = folder.join("extracted");
    let out = out.to_str().unwrap();
    for (what, args) in [
        ("list NAME", vec!["list", name]),
        ("info NAME", vec!["info", name]),
        ("info RELEASE", vec!["info", release]),
        ("extract RELEASE", vec!["extract", release, "-o", out]),
        ("--version, which opens nothing", vec!["--version"]),
    ] {
        println!("{what}: {:.1} ms, the whole process", process_ms(folder, &args));
    }
    serve(folder, name);
}

/// From the start of `serve` to its first answer, and what a person or cargo then waits for.
fn serve(folder: &Path, name: &str) {
    let release: Release = format!("{name}@1.0.0").parse().unwrap();
    let asked = [
        ("/index/config.json".to_owned(), "started and answered"),
        (format!("/index/{}", index_path(&release.name)), "an index file"),
        (format!("/?q={}", &name[..name.len().min(2)]), "a search by name"),
        (format!("/crates/{name}"), "a crate's page"),
    ];
    let mut all_ms = vec![Vec::new(); asked.len()];
    for _ in 0..ROUNDS {
        let mut start = Instant::now();
        let served = Served::start(folder);
        for ((path, _), all_ms) in asked.iter().zip(&mut all_ms) {
            let mut stream = TcpStream::connect(("127.0.0.1", served.port)).unwrap();
            write!(
                stream,
                "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            )
            .unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).unwrap();
            assert!(answer.starts_with(b"HTTP/1.1 200"), "{path}");
            all_ms.push(start.elapsed().as_secs_f64() * 1e3);
            start = Instant::now();
        }
    }
    for ((_, what), mut all_ms) in asked.iter().zip(all_ms) {
        all_ms.sort_by(f64::total_cmp);
        println!(
            "serve, {what}: {:.1} ms, at most {:.1}",
            all_ms[ROUNDS / 2],
            all_ms[ROUNDS - 1]
        );
    }
}

/// The median of some whole processes, in milliseconds.
fn process_ms(folder: &Path, args: &[&str]) -> f64 {
    let mut all_ms: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let _ = std::fs::remove_file(folder.join("extracted"));
            let start = Instant::now();
            let mut program = Command::new(env!("CARGO_BIN_EXE_cratehold"));
            let output = program.arg("-a").arg(folder).args(args).output().unwrap();
            let ms = start.elapsed().as_secs_f64() * 1e3;
            assert!(
                output.status.success(),
                "{args:?}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
            ms
        })
        .collect();
    all_ms.sort_by(f64::total_cmp);
    all_ms[ROUNDS / 2]
}

fn peak() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or("not known on this system", str::trim).to_owned()
}

/// A crate's registry index file.
struct Crate {
    name: String,
    versions: usize,
    lines: String,
}

fn pick(random: &mut Rng, sixteenths: &[usize; 16]) -> usize {
    sixteenths[random.usize(..16)]
}

fn word(random: &mut Rng, bytes: usize) -> String {
    let syllables = ["ra", "to", "li", "ser", "mu", "co", "de", "ni", "pa", "ox", "en", "ta"];
    let mut word = String::new();
    while word.len() < bytes {
        word += syllables[random.usize(..syllables.len())];
        if random.u8(..8) == 0 && word.len() + 1 < bytes {
            word.push('-');
        }
    }
    word.truncate(bytes);
    word
}

fn crates(releases: usize) -> Vec<Crate> {
    let mut random = Rng::with_seed(1);
    let others: Vec<String> = (0..8563).map(|_| word(&mut random, 9)).collect();
    let (mut crates, mut made) = (std::collections::BTreeMap::new(), 0);
    while made < releases {
        let length = pick(&mut random, &NAME_BYTES) + 3;
        // A letter first and last, and no two alike.
        let name = format!("{}{:x}", word(&mut random, length), crates.len() % 4096);
        let versions = (pick(&mut random, &VERSIONS) * VERSIONS_PER_CRATE)
            .div_ceil(5)
            .min(releases - made);
        if crates.contains_key(&name) {
            continue;
        }
        made += versions;
        let lines = lines(&mut random, &name, versions, &others);
        crates.insert(name.clone(), Crate { name, versions, lines });
    }
    crates.into_values().collect()
}

fn lines(random: &mut Rng, name: &str, versions: usize, others: &[String]) -> String {
    let (mut lines, mut middle, mut features) = (String::new(), String::new(), String::new());
    let (dependencies, feature_count) = (pick(random, &DEPENDENCIES), pick(random, &FEATURES));
    let named: Vec<String> = (0..dependencies).map(|_| dependency(random, others)).collect();
    for i in 0..versions {
        let version = format!("{}.{}.{}", i / 40, i / 4 % 10, i % 4);
        if i == 0 || random.f64() > SAME {
            middle.clear();
            for (at, dependency) in named.iter().enumerate() {
                let comma = if at > 0 { "," } else { "" };
                let (major, minor) = (random.u8(..2), random.u8(..10));
                let kind = if at % 4 == 3 { "dev" } else { "normal" };
                write!(middle, r#"{comma}{{"name":"{dependency}","req":"^{major}.{minor}","features":[],"optional":{},"default_features":true,"target":null,"kind":"{kind}"}}"#, at % 7 == 6).unwrap();
            }
            features.clear();
            for at in 0..feature_count {
                let comma = if at > 0 { "," } else { "" };
                write!(
                    features,
                    r#"{comma}"feature-{at}":["{}"]"#,
                    named.first().map_or("", |name| name)
                )
                .unwrap();
            }
        }
        let cksum = Digest::of(format!("{name} {version}").as_bytes());
        let yanked = random.f64() < YANKED;
        writeln!(lines, r#"{{"name":"{name}","vers":"{version}","deps":[{middle}],"cksum":"{cksum}","features":{{{features}}},"yanked":{yanked},"links":null}}"#).unwrap();
    }
    lines
}

fn dependency(random: &mut Rng, others: &[String]) -> String {
    let mut left = random.u32(..1000);
    for (name, share) in POPULAR {
        match left.checked_sub(share) {
            None => return name.to_owned(),
            Some(rest) => left = rest,
        }
    }
    // Few are asked for much more often than most.
    let at = (random.f64().powi(3) * others.len() as f64) as usize;
    others[at].clone()
}

/// Commits the files of these crates, besides those that are there.
fn import(git: &Path, crates: &mut [Crate], message: &str) {
    let is_new = !git.exists();
    if is_new {
        assert!(
            Command::new("git")
                .args(["init", "-q", "--bare", "-b", "main"])
                .arg(git)
                .status()
                .unwrap()
                .success()
        );
    }
    // The least compression: nobody's time is measured here but the reader's.
    let mut child = git_command(git, &["-c", "core.compression=1", "fast-import", "--quiet"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufWriter::new(child.stdin.take().unwrap());
    let file = |out: &mut BufWriter<_>, path: &str, text: &str| {
        write!(out, "M 100644 inline {path}\ndata {}\n{text}\n", text.len()).unwrap();
    };
    write!(
        out,
        "commit refs/heads/main\ncommitter b <b@b> 1700000000 +0000\ndata {}\n{message}\n",
        message.len()
    )
    .unwrap();
    if is_new {
        file(
            &mut out,
            "config.json",
            r#"{"dl":"http://127.0.0.1:1/{crate}/{version}"}"#,
        );
    } else {
        out.write_all(b"from refs/heads/main^0\n").unwrap();
    }
    for each in crates {
        file(&mut out, &index_path(&each.name.parse().unwrap()), &each.lines);
    }
    drop(out);
    assert!(child.wait().unwrap().success());
}

/// Makes the archive hold every release, though no crate is behind them: an index in
/// place of what there is, named by the head.
fn hold(folder: &Path, crates: &[Crate], git: &Path) {
    let mut entries: Vec<Entry> = Vec::new();
    for each in crates {
        for line in each.lines.lines() {
            let at = line.find(r#""cksum":""#).unwrap() + 9;
            entries.push(Entry {
                digest: line[at..at + 64].parse().unwrap(),
                pack: 1 + (entries.len() / 100_000) as u32,
                record_offset: entries.len() as u32,
                record_bytes: 4000,
                crate_bytes: 30_000,
                content_bytes: 150_000,
                chain_bytes: 1 << 20,
                held_since: 1,
                kind: EntryKind::Blob,
                engine: 3,
                chain_depth: 3,
            });
        }
    }
    entries.sort_unstable_by_key(|entry| entry.digest);
    let bytes = index::encode(1, &entries);
    let old: Head = Archive::open(folder).unwrap().head().clone();
    let segment = SegmentEntry {
        generation: 1,
        bytes: bytes.len() as u64,
        sha256: Digest::of(&bytes).0,
    };
    std::fs::create_dir_all(folder.join("index")).unwrap();
    std::fs::write(folder.join("index/00000001.idx"), bytes).unwrap();
    let head = Head {
        generation: old.generation + 1,
        previous_head: old.hash(),
        indexes: vec![segment],
        ..old
    };
    let name: PathBuf = folder.join(format!("head{}", head.generation % 2));
    std::fs::write(name, head.encode()).unwrap();
    let (_, report, _) = plan(folder, git);
    assert_eq!((report.left, report.held), (0, report.wanted), "all is held now");
}
