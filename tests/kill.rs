//! SIGKILL at random moments of real syncs from a registry on loopback; at the end all is
//! there and verifies in full. `tools/kill-loop [KILLS]` runs it 200 times; by default it
//! is 25 times.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![allow(clippy::print_stdout, reason = "figures, with --nocapture")]

#[path = "support/mod.rs"]
mod support;

use cratehold::archive::{Archive, Depth};
use cratehold::ids::Digest;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::Registry;

fn sync(archive: &Path, registry: &Registry, wants: &[String]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cratehold"));
    for proxy in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env_remove(proxy).env_remove(proxy.to_lowercase());
    }
    command
        .arg("--archive")
        .arg(archive)
        .args(["sync", "--index", &registry.index()]);
    for want in wants {
        command.args(["--crate", want]);
    }
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

#[test]
fn whatever_is_killed_nothing_committed_is_lost() {
    let kills: u32 = std::env::var("CRATEHOLD_KILLS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(25);
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("archive");
    let registry = Registry::start();
    let mut files: Vec<Vec<u8>> = Vec::new();
    let (mut wants, mut version, mut commits, mut ended) = (Vec::new(), 0, 0, 0);
    // What a whole run takes, to choose moments within it.
    let mut usual = Duration::from_millis(400);
    for kill in 0..kills {
        // A little more to fetch each time, of a few crates.
        for _ in 0..random.usize(1..6) {
            let name = format!("kill{}", random.u8(0..6));
            version += 1;
            files.push(registry.publish_sized(&format!("{name}@0.{version}.0"), random.usize(200..20_000)));
            if !wants.contains(&name) {
                wants.push(name);
            }
        }
        let started = Instant::now();
        let mut child = sync(&archive, &registry, &wants).spawn().unwrap();
        let moment = usual.mul_f64(random.f64() * 1.1);
        while started.elapsed() < moment && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let whole = child.try_wait().unwrap().is_some();
        let _ = child.kill();
        child.wait().unwrap();
        if whole {
            ended += 1;
            usual = (usual + started.elapsed()) / 2;
        } else {
            usual = usual.mul_f64(1.02);
        }
        // What is committed is whole, after every single kill.
        match Archive::open(&archive) {
            Ok(opened) => {
                let generation = opened.head().generation;
                assert!(
                    generation >= commits,
                    "kill {kill}: snapshot {generation} after {commits}"
                );
                commits = generation;
                let report = opened.verify(Depth::Quick, 2, &|_| {}).unwrap();
                let wrong = report
                    .problems
                    .iter()
                    .find(|problem| !problem.message.contains("/head"));
                assert_eq!(wrong, None, "kill {kill}");
            }
            Err(error) => assert_eq!(commits, 0, "kill {kill}: {error}"),
        }
    }
    let last = sync(&archive, &registry, &wants).output().unwrap();
    assert!(last.status.success(), "{}", String::from_utf8_lossy(&last.stderr));
    let opened = Archive::open(&archive).unwrap();
    let report = opened.verify(Depth::Full, 2, &|_| {}).unwrap();
    assert_eq!(report.problems, vec![]);
    for file in &files {
        assert_eq!(&opened.read_crate(&Digest::of(file)).unwrap(), file);
    }
    println!(
        "{kills} runs, {} killed before their end, {} snapshots, {} crates: all whole",
        kills - ended,
        opened.head().generation,
        files.len()
    );
}
