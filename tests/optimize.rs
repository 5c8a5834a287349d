//! `optimize`, the program: killed at random moments, out of room, and what other readers
//! make of an archive that it has been at. Crashes of the medium are in `tests/crash/`.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![allow(clippy::print_stdout, reason = "figures, with --nocapture")]

mod support;

use cratehold::archive::{Archive, CommitInfo, Depth, EncodeOptions, Writer};
use cratehold::format::head::Head;
use cratehold::format::index::EntryKind;
use cratehold::ids::Digest;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use support::{crate_file_of, prose};

type Files = Vec<Vec<u8>>;

/// Versions of some crates, each a little other than the one before.
fn stock(folder: &Path, versions: std::ops::Range<u64>, files: &mut Files) {
    let writer = Writer::open(folder).unwrap();
    for krate in 0..12 {
        for version in versions.clone() {
            let release = format!("kept{krate}@1.{version}.0");
            let text = [
                prose(1, 4000),
                prose(100 + krate, 20_000),
                prose(1000 * krate + version, 500),
            ]
            .concat();
            let file = crate_file_of(&release, &text);
            let parsed = release.parse().unwrap();
            writer.add(&parsed, file.clone(), EncodeOptions::default()).unwrap();
            files.push(file);
        }
    }
    writer.commit(&CommitInfo::default()).unwrap();
}

fn command(archive: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cratehold"));
    command.arg("-a").arg(archive).args(args);
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

/// Every byte of it is there, and every crate file comes back.
fn assert_holds(folder: &Path, files: &Files) {
    let archive = Archive::open(folder).unwrap();
    assert_eq!(archive.verify(Depth::Full, 2, &|_| {}).unwrap().problems, vec![]);
    for file in files {
        assert!(archive.read_crate(&Digest::of(file)).unwrap() == *file);
    }
}

fn seeds(folder: &Path) -> usize {
    let entries = Archive::open(folder).unwrap().entries().unwrap();
    entries.iter().filter(|entry| entry.kind == EntryKind::Seed).count()
}

#[test]
fn killed_again_and_again_it_loses_nothing_and_comes_to_its_end() {
    let kills: u64 = std::env::var("CRATEHOLD_KILLS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(12);
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (mut files, mut version, mut ended) = (Files::new(), 0, 0);
    let mut usual = Duration::from_millis(300);
    for kill in 0..kills {
        // Once it has come to its end there has to be something new.
        if version == 0 || ended * 3 > version {
            stock(folder, version..version + 1, &mut files);
            version += 1;
        }
        let started = Instant::now();
        let mut optimize = command(folder, &["optimize", "--level", "19"]);
        let mut child = optimize.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let moment = usual.mul_f64(random.f64() * 1.1);
        while started.elapsed() < moment && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        match child.try_wait().unwrap() {
            Some(status) => {
                assert!(status.success(), "run {kill}: {status}");
                ended += 1;
                usual = (usual + started.elapsed()) / 2;
            }
            None => usual = usual.mul_f64(1.05),
        }
        let _ = child.kill();
        child.wait().unwrap();
        let report = Archive::open(folder).unwrap().verify(Depth::Tars, 2, &|_| {}).unwrap();
        let mut wrong = report
            .problems
            .iter()
            .filter(|problem| !problem.message.contains("/head"));
        assert_eq!(wrong.next(), None, "run {kill}");
        assert!(report.crates() == files.len() as u64, "run {kill}");
    }
    let last = command(folder, &["optimize", "--level", "19"]).output().unwrap();
    assert!(last.status.success(), "{}", said(&last));
    assert_holds(folder, &files);
    // Of what the killed runs left nothing stays.
    let archive = Archive::open(folder).unwrap();
    let packs = std::fs::read_dir(folder.join("packs")).unwrap().count();
    assert_eq!(packs, archive.head().packs.len());
    println!(
        "{kills} runs, {} killed before their end, {} crates: all whole",
        kills - ended,
        files.len()
    );
}

#[test]
fn without_room_it_says_so_and_goes_on_when_there_is_some() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut files = Files::new();
    stock(folder, 0..3, &mut files);
    // In blocks of 512 or 1024 bytes, as the shell has it: less than the new pack needs.
    let optimize = command(folder, &["optimize", "--level", "9"]);
    let mut limited = Command::new("sh");
    limited
        .args(["-c", "trap '' XFSZ; ulimit -f 12; exec \"$@\"", "sh"])
        .arg(optimize.get_program())
        .args(optimize.get_args());
    let full = limited.output().unwrap();
    let text = said(&full);
    assert_eq!(full.status.code(), Some(1), "{text}");
    assert!(text.contains("error: ") && text.contains("packs/"), "{text}");
    assert_holds(folder, &files);
    assert_eq!(seeds(folder), 0, "nothing of it counts yet");

    let whole = command(folder, &["optimize", "--level", "9"]).output().unwrap();
    assert!(whole.status.success(), "{}", said(&whole));
    assert_holds(folder, &files);
    assert!(seeds(folder) > 0);
}

/// What `optimize` writes needs no feature bit: a reader made from the text alone reads it.
/// One that is too old for what a later version writes says so. [R 9.4] [R 9.6]
#[test]
fn other_readers_read_it_or_say_why_not() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut files = Files::new();
    stock(folder, 0..2, &mut files);
    let optimized = command(folder, &["optimize", "--level", "9"]).output().unwrap();
    assert!(optimized.status.success(), "{}", said(&optimized));
    assert!(seeds(folder) > 1, "a seed and a note");
    let archive = Archive::open(folder).unwrap();
    let head = archive.head().clone();
    assert_eq!((head.incompatible_features, head.write_features), (0, 0));
    if std::env::var_os("CRATEHOLD_SKIP_PYTHON").is_none_or(|value| value != "1") {
        let reader = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/reader.py");
        let mut python = Command::new("python3");
        let verified = python
            .arg(reader)
            .arg("verify")
            .arg(folder)
            .env("PYTHONDONTWRITEBYTECODE", "1");
        let verified = verified.output().unwrap();
        assert!(verified.status.success(), "{}", said(&verified));
    }

    // Archives of a later version, as this one sees them.
    let newest = folder.join(format!("head{}", head.generation % 2));
    let other = folder.join(format!("head{}", 1 - head.generation % 2));
    std::fs::remove_file(other).unwrap();
    let put = |head: Head| std::fs::write(&newest, head.encode()).unwrap();
    put(Head {
        incompatible_features: 8,
        ..head.clone()
    });
    for args in [&["verify"][..], &["list"], &["extract", "kept1@1.0.0"], &["optimize"]] {
        let refused = command(folder, args).output().unwrap();
        let text = said(&refused);
        assert_eq!(refused.status.code(), Some(1), "{args:?}: {text}");
        assert!(text.contains("0x8: a newer cratehold is needed"), "{args:?}: {text}");
    }
    put(Head {
        write_features: 8,
        ..head.clone()
    });
    assert_holds(folder, &files);
    let refused = command(folder, &["optimize"]).output().unwrap();
    let text = said(&refused);
    assert_eq!(refused.status.code(), Some(1), "{text}");
    assert!(text.contains("newer cratehold"), "{text}");
    put(head);
    assert_holds(folder, &files);
}
