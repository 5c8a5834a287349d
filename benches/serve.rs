//! `serve` beside a static file server that has the same crate files loose, in memory.
//!
//! ```console
//! $ cargo bench --bench serve -- ~/.cargo/registry/cache [LOCKFILE]
//! ```
//!
//! The folder must have every crate of the lockfile, by default this project's own.
#![allow(clippy::unwrap_used, reason = "a panic is how a benchmark fails")]
#![allow(clippy::print_stdout, reason = "printing is what a benchmark is for")]

#[path = "../tests/support/mod.rs"]
mod support;

use cratehold::archive::{Archive, EncodeOptions, ImportOptions, LineReader, Scan, Writer, import};
use cratehold::offer::{Offer, View};
use cratehold::registry::{IndexUrl, Stop};
use cratehold::sync::{self, Options, Selection};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use support::Registry;
use support::served::Served;

const PAIRED_RUNS: usize = 3;
const CLIENTS: usize = 4;
const INDEX_TIME: Duration = Duration::from_secs(5);

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let Some(crates) = args.first() else {
        println!("nothing measured: give a folder of crate files");
        return;
    };
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock");
    let lockfile = std::fs::read(args.get(1).map_or(own, String::as_str)).unwrap();
    let work = tempfile::tempdir().unwrap();
    let (imported, folder) = (work.path().join("imported"), work.path().join("archive"));
    take_in(&imported, Path::new(crates));
    let (files, selection) = loose(&imported);
    // As a registry's archive is: with lines, which the first has to make.
    let writer = Writer::open(&folder).unwrap();
    let options = Options::new(IndexUrl::parse(&files.index()).unwrap());
    let report = sync::run(&writer, &selection, &options, &Stop::default(), &|_| {}).unwrap();
    assert!(report.is_complete(), "{:?}", report.failures);
    drop(writer);
    fetch(&folder, &files, &lockfile);
    index(&folder);
}

fn take_in(folder: &Path, crates: &Path) {
    let writer = Writer::open(folder).unwrap();
    let options = ImportOptions {
        encode: EncodeOptions::default(),
        threads: 2,
        expected: &|_| Ok(Vec::new()),
        stop: &|| false,
        progress: &|_| {},
    };
    import(&writer, Scan::of(&[crates.to_owned()], 2), &options).unwrap();
}

/// The same registry as files in memory, and all of it.
fn loose(folder: &Path) -> (Registry, Selection) {
    let mut selection = Selection::default();
    let archive = Archive::open(folder).unwrap();
    let offer = Offer::new(archive.clone(), View::Held);
    let mut lines = LineReader::new(&archive);
    let registry = Registry::start();
    let config = format!(
        r#"{{"dl":"http://127.0.0.1:{}/dl/{{sha256-checksum}}"}}"#,
        registry.port
    );
    registry.serve("/index/config.json", config.as_bytes());
    let (mut count, mut bytes) = (0, 0);
    for state in archive.crates().unwrap() {
        if let Some(file) = offer.index_file_of(&state, &mut lines).unwrap() {
            registry.serve(&format!("/index/{}", file.path), &file.text);
        }
        for release in &state.releases {
            let want = format!("{}@={}", state.name, release.version);
            selection.add_crate(want.parse().unwrap());
            let file = archive.read_crate(&release.digest).unwrap();
            (count, bytes) = (count + 1, bytes + file.len());
            registry.serve(&format!("/dl/{}", release.digest), &file);
        }
    }
    println!("{count} crate files, {:.1} MB", bytes as f64 / 1e6);
    (registry, selection)
}

/// The most memory it has had, in MB, where the system tells.
fn peak_mb(served: &Served) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", served.child.id())).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024.0 / 1e6)
}

/// `cargo fetch` of a lockfile by a cargo that has nothing, in seconds.
fn cargo_fetch(port: u16, lockfile: &[u8]) -> f64 {
    let project = tempfile::tempdir().unwrap();
    let path = |name: &str| -> PathBuf { project.path().join(name) };
    std::fs::create_dir_all(path("src")).unwrap();
    std::fs::create_dir_all(path("home")).unwrap();
    std::fs::write(path("src/lib.rs"), "").unwrap();
    std::fs::write(path("Cargo.lock"), lockfile).unwrap();
    std::fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"), path("Cargo.toml")).unwrap();
    let manifest = std::fs::read_to_string(path("Cargo.toml")).unwrap();
    let manifest: String = manifest.split("[[bench]]").next().unwrap().to_owned();
    std::fs::write(path("Cargo.toml"), manifest).unwrap();
    std::fs::write(path("README.md"), "").unwrap();
    let config = format!(
        "[source.crates-io]\nreplace-with = \"a\"\n[source.a]\nregistry = \"sparse+http://127.0.0.1:{port}/index/\"\n"
    );
    std::fs::write(path("home/config.toml"), config).unwrap();
    let start = Instant::now();
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["fetch", "--locked"])
        .current_dir(project.path())
        .env("CARGO_HOME", path("home"))
        .output()
        .unwrap();
    let seconds = start.elapsed().as_secs_f64();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    seconds
}

fn fetch(folder: &Path, files: &Registry, lockfile: &[u8]) {
    let wanted = String::from_utf8_lossy(lockfile).matches("\nchecksum = ").count();
    println!("cargo fetch of {wanted} crates, seconds:");
    for _ in 0..PAIRED_RUNS {
        let loose_s = cargo_fetch(files.port, lockfile);
        let served = Served::start(folder);
        let first_s = cargo_fetch(served.port, lockfile);
        let again_s = cargo_fetch(served.port, lockfile);
        println!(
            "  loose files {loose_s:.2}; serve {first_s:.2}, {:.2} times; again, from its cache, {again_s:.2}, {:.2} times; {:.0} MB at most",
            first_s / loose_s,
            again_s / loose_s,
            peak_mb(&served).unwrap_or(f64::NAN)
        );
    }
}

/// Requests a second for index files, the clients on the same cores.
fn index(folder: &Path) {
    let archive = Archive::open(folder).unwrap();
    let offer = Offer::new(archive.clone(), View::Held);
    let paths: Vec<String> = archive
        .crates()
        .unwrap()
        .iter()
        .filter_map(|state| offer.index_file(&state.name).unwrap())
        .map(|file| file.path)
        .collect();
    let served = Served::start(folder);
    let start = Instant::now();
    let counts: Vec<usize> = std::thread::scope(|scope| {
        let client = |first: usize| {
            let (paths, port) = (&paths, served.port);
            scope.spawn(move || {
                let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", port)).unwrap());
                stream.get_ref().set_nodelay(true).unwrap();
                let mut count = 0;
                while start.elapsed() < INDEX_TIME {
                    let path = &paths[(first + count * 7) % paths.len()];
                    let request = format!("GET /index/{path} HTTP/1.1\r\nHost: a\r\n\r\n");
                    stream.get_mut().write_all(request.as_bytes()).unwrap();
                    read(&mut stream);
                    count += 1;
                }
                count
            })
        };
        let clients: Vec<_> = (0..CLIENTS).map(client).collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    let count: usize = counts.iter().sum();
    println!(
        "index files of {} crates: {:.0} requests a second from {CLIENTS} clients; {:.0} MB at most",
        paths.len(),
        count as f64 / start.elapsed().as_secs_f64(),
        peak_mb(&served).unwrap_or(f64::NAN)
    );
}

fn read(stream: &mut BufReader<TcpStream>) {
    let (mut line, mut length) = (String::new(), 0);
    loop {
        line.clear();
        stream.read_line(&mut line).unwrap();
        if let Some(text) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
            length = text.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
}
