//! Recovery data: lost sectors come back without any other copy, and what is not covered
//! is said to be so. Spec section 15.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![allow(clippy::print_stdout, reason = "figures, with --nocapture")]

#[path = "../support/mod.rs"]
mod support;

mod hostile;

use cratehold::archive::{
    Archive, CommitInfo, Coverage, Depth, EncodeOptions, ProtectOptions, ProtectReport, PurgeOptions, RepairOptions,
    RepairReport, Target, Writer, repair,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;
use support::crate_file;

const SECTOR_BYTES: usize = 4096;

/// Some megabytes that do not compress, in chains.
fn stocked(folder: &Path, releases: std::ops::Range<usize>, noise: usize) {
    let writer = Writer::open(folder).unwrap();
    for i in releases {
        let release = format!("crate{}@1.0.{i}", i % 5);
        writer
            .add(
                &release.parse().unwrap(),
                crate_file(&release, noise),
                EncodeOptions::default(),
            )
            .unwrap();
    }
    writer.commit(&CommitInfo::default()).unwrap();
}

fn protect(folder: &Path, percent: u8) -> ProtectReport {
    let options = ProtectOptions {
        percent,
        threads: 2,
        stop: &|| false,
        progress: &|_| {},
    };
    Writer::open(folder).unwrap().protect(&options).unwrap()
}

fn mend(folder: &Path) -> RepairReport {
    let options = RepairOptions {
        full: true,
        threads: 2,
        level: 3,
        ..RepairOptions::default()
    };
    repair(folder, &mut [], &options).unwrap()
}

fn coverage(folder: &Path) -> Coverage {
    Archive::open(folder).unwrap().coverage().unwrap()
}

fn problems(folder: &Path) -> Vec<String> {
    let archive = Archive::open(folder).unwrap();
    let report = archive.verify(Depth::Full, 2, &|_| {}).unwrap();
    report.problems.into_iter().map(|problem| problem.message).collect()
}

type Files = BTreeMap<PathBuf, Vec<u8>>;

fn files_in(folder: &Path, under: &[&str]) -> Files {
    let mut files = Files::new();
    for sub in under {
        for entry in std::fs::read_dir(folder.join(sub)).into_iter().flatten() {
            let path = entry.unwrap().path();
            files.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    files
}

const DATA: [&str; 3] = ["packs", "index", "manifest"];
const ALL: [&str; 4] = ["packs", "index", "manifest", "recovery"];

fn put(files: &Files) {
    files
        .iter()
        .for_each(|(path, bytes)| std::fs::write(path, bytes).unwrap());
}

/// Overwrites `percent` of all sectors, chosen at random, with garbage; says how many.
fn lose_sectors(files: &Files, percent: f64, random: &mut fastrand::Rng) -> usize {
    let mut lost = 0;
    for (path, bytes) in files {
        let mut bytes = bytes.clone();
        for sector in bytes.chunks_mut(SECTOR_BYTES) {
            if random.f64() * 100.0 < percent {
                random.fill(sector);
                lost += 1;
            }
        }
        std::fs::write(path, bytes).unwrap();
    }
    lost
}

#[test]
fn a_percent_of_random_sectors_comes_back_from_five_percent() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    stocked(folder, 0..20, 400_000);
    let start = Instant::now();
    let report = protect(folder, 5);
    let seconds = start.elapsed().as_secs_f64();
    let (bytes, covered, recovery) = coverage(folder).totals();
    assert_eq!((bytes, report.damaged.len()), (covered, 0));
    println!(
        "{bytes} bytes protected by {recovery} ({:.2} %), {:.0} MB/s",
        recovery as f64 * 100.0 / bytes as f64,
        bytes as f64 / 1e6 / seconds
    );
    // The least there is for small files counts for more here than in a whole archive.
    assert!(recovery * 100 < bytes * 9, "{recovery} for {bytes}");

    let whole = files_in(folder, &ALL);
    let mut all_lost = 0;
    for seed in 0..12 {
        let mut random = fastrand::Rng::with_seed(seed);
        put(&whole);
        let lost = lose_sectors(&whole, 1.0, &mut random);
        all_lost += lost;
        let report = mend(folder);
        assert!(
            report.is_whole() && report.unmended.is_empty(),
            "seed {seed}: {report:?}"
        );
        let mended = files_in(folder, &DATA);
        for (path, bytes) in &mended {
            assert!(whole.get(path) == Some(bytes), "seed {seed}: {}", path.display());
        }
        assert!(lost > 0);
    }
    assert!(all_lost > 12 * 15, "{all_lost}");
    // Recovery files with lost sectors are told of, and made anew.
    assert!(problems(folder).iter().all(|problem| problem.contains("makes it anew")));
    protect(folder, 5);
    assert_eq!(problems(folder), [""; 0]);
}

#[test]
fn a_burst_lost_files_and_lost_heads_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    stocked(folder, 0..10, 300_000);
    stocked(folder, 10..14, 1000);
    protect(folder, 5);
    let root = Archive::open(folder).unwrap().root().unwrap();
    let whole = files_in(folder, &DATA);

    // Whole segments are gone, a stretch of the pack is, and so are both heads.
    let pack = folder.join("packs/00000001.pak");
    let mut bytes = whole[&pack].clone();
    let (from, burst) = (bytes.len() / 3, bytes.len() * 4 / 100);
    bytes[from..from + burst].fill(0);
    std::fs::write(&pack, &bytes).unwrap();
    for path in whole.keys().filter(|path| !path.starts_with(folder.join("packs"))) {
        std::fs::remove_file(path).unwrap();
    }
    for head in ["head0", "head1"] {
        std::fs::remove_file(folder.join(head)).unwrap();
    }
    // And with it the front of the recovery file, table and all.
    let recovery = folder.join("recovery/00000001.p0");
    let mut parity = std::fs::read(&recovery).unwrap();
    parity[..2 * SECTOR_BYTES].fill(0);
    std::fs::write(&recovery, parity).unwrap();

    let report = mend(folder);
    assert!(report.is_whole(), "{report:?}");
    let notes = report.structure.join("\n");
    assert!(notes.contains("put back from recovery/00000001.p0"), "{notes}");
    for (path, bytes) in files_in(folder, &["packs", "manifest"]) {
        assert!(
            whole.get(&path).is_none_or(|whole| *whole == bytes),
            "{}",
            path.display()
        );
    }
    assert_eq!(Archive::open(folder).unwrap().root().unwrap().hash, root.hash);
    assert!(problems(folder).iter().all(|problem| problem.contains("makes it anew")));

    // The end of a pack is cut off.
    protect(folder, 5);
    let file = std::fs::OpenOptions::new().write(true).open(&pack).unwrap();
    file.set_len(whole[&pack].len() as u64 - 50_000).unwrap();
    assert!(mend(folder).is_whole());
    assert!(std::fs::read(&pack).unwrap() == whole[&pack]);
}

#[test]
fn too_much_loss_is_said_and_brings_no_wrong_byte() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    stocked(folder, 0..6, 300_000);
    protect(folder, 5);
    let pack = folder.join("packs/00000001.pak");
    let whole = std::fs::read(&pack).unwrap();
    let mut bytes = whole.clone();
    let burst = bytes.len() * 12 / 100;
    bytes[100_000..100_000 + burst].fill(7);
    std::fs::write(&pack, &bytes).unwrap();
    let report = mend(folder);
    assert!(!report.is_whole());
    assert!(
        report.structure[0].contains("is not enough for all: 0 put back"),
        "{report:?}"
    );
    let after = std::fs::read(&pack).unwrap();
    assert!(after[..bytes.len()] == bytes, "nothing was made up");
}

/// The file that a recovery file is for. [R 15.1]
fn covered_by(path: &Path) -> Option<String> {
    let number = path.file_stem()?.to_str()?;
    Some(match path.extension()?.to_str()?.get(..1)? {
        "p" => format!("packs/{number}.pak"),
        "i" => format!("index/{number}.idx"),
        _ => format!("manifest/{number}.man"),
    })
}

#[test]
fn what_is_new_is_told_and_covered_and_what_goes_takes_its_recovery_data_along() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    stocked(folder, 0..4, 50_000);
    assert!(coverage(folder).is_none());
    let first = protect(folder, 5);
    assert_eq!((first.covered, first.kept), (3, 0));
    assert!(coverage(folder).is_whole());
    let again = protect(folder, 5);
    assert_eq!((again.covered, again.kept), (0, 3), "nothing new");

    stocked(folder, 4..6, 50_000);
    let now = coverage(folder);
    assert!(!now.is_whole() && !now.is_none());
    let pack = now.files.iter().find(|file| file.name.starts_with("packs/")).unwrap();
    assert!(
        pack.covered_bytes > 0 && pack.covered_bytes < pack.bytes,
        "what was, still is: {pack:?}"
    );
    protect(folder, 5);
    assert!(coverage(folder).is_whole());
    let more = protect(folder, 60);
    assert_eq!(
        more.covered, 1,
        "more is asked for; small files have as much as they can"
    );
    assert_eq!(protect(folder, 5).covered, 0, "less is not");
    let names: Vec<PathBuf> = files_in(folder, &["recovery"]).into_keys().collect();
    let of_pack = names.iter().filter(|path| path.to_string_lossy().contains(".p"));
    assert_eq!(of_pack.count(), 1, "the new one in place of the old: {names:?}");

    // Another drive gets it too.
    let other = tempfile::tempdir().unwrap();
    let options = cratehold::archive::CopyOptions {
        check: false,
        stop: &|| false,
        begin: &|_| {},
        progress: &|_| {},
    };
    cratehold::archive::copy(&Archive::open(folder).unwrap(), other.path(), &options).unwrap();
    assert_eq!(coverage(other.path()), coverage(folder));

    // Recovery data of a pack has what the pack has.
    let of_what = |folder: &Path| -> Vec<String> {
        let names = files_in(folder, &["recovery"]).into_keys();
        names.filter_map(|path| covered_by(&path)).collect()
    };
    assert!(of_what(folder).contains(&"packs/00000001.pak".into()));
    let target = Target::Crate("crate1".into());
    let options = PurgeOptions {
        reason: "asked to",
        level: 3,
        progress: &|_| {},
    };
    Writer::open(folder).unwrap().purge(&[target], &options).unwrap();
    let left = of_what(folder);
    assert!(
        left.iter()
            .all(|name| !name.starts_with("packs/") && folder.join(name).exists()),
        "{left:?}"
    );
    cratehold::archive::copy(
        &Archive::open(folder).unwrap(),
        other.path(),
        &cratehold::archive::CopyOptions {
            check: false,
            stop: &|| false,
            begin: &|_| {},
            progress: &|_| {},
        },
    )
    .unwrap();
    assert_eq!(of_what(other.path()), left);
    protect(folder, 5);
    assert!(coverage(folder).is_whole());
    assert!(Writer::open(folder).unwrap().unprotect().unwrap() > 0);
}

#[test]
fn any_flip_in_a_recovery_file_does_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    stocked(folder, 0..3, 30_000);
    protect(folder, 5);
    let data = files_in(folder, &DATA);
    let recovery = files_in(folder, &["recovery"]);
    let mut random = fastrand::Rng::with_seed(5);
    for round in 0..60 {
        put(&recovery);
        for (path, bytes) in &recovery {
            let mut bytes = bytes.clone();
            // Headers are hit as often as all else; and some files are cut.
            let limit = if round % 2 == 0 { 128 } else { bytes.len() };
            let at = random.usize(..limit);
            bytes[at] ^= 1 << random.u8(..8);
            if round % 5 == 0 {
                bytes.truncate(random.usize(..bytes.len()));
            }
            std::fs::write(path, bytes).unwrap();
        }
        assert!(problems(folder).iter().all(|problem| problem.contains("makes it anew")));
        assert!(mend(folder).is_whole());
        assert!(files_in(folder, &DATA) == data, "round {round}");
    }
    // A damaged file gets none: it would keep the damage.
    put(&recovery);
    let (pack, bytes) = data.iter().find(|(path, _)| path.ends_with("00000001.pak")).unwrap();
    let mut bytes = bytes.clone();
    bytes[20_000] ^= 1;
    std::fs::write(pack, bytes).unwrap();
    let report = protect(folder, 100);
    assert_eq!(report.damaged.len(), 1, "{report:?}");
    assert!(mend(folder).is_whole(), "what there was is of use still");
    assert!(files_in(folder, &DATA) == data);
}

#[test]
fn the_command_says_what_is_covered() {
    let folder = tempfile::tempdir().unwrap();
    stocked(folder.path(), 0..3, 2000);
    let run = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cratehold"));
        let output = command.arg("-a").arg(folder.path()).args(args).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, stdout, _) = run(&["protect", "--check"]);
    assert_eq!(code, Some(1));
    assert!(stdout.contains("not protected   packs/00000001.pak"), "{stdout}");
    assert!(!run(&["verify"]).1.contains("protected"));
    let (code, stdout, stderr) = run(&["protect", "--percent", "10"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("3 files protected now"), "{stdout}");
    assert_eq!(run(&["protect", "--check"]).0, Some(0));
    assert!(run(&["verify"]).1.contains("protected: 3 of 3 files"));
    let recovery = folder.path().join("recovery/00000001.p0");
    let whole = std::fs::read(&recovery).unwrap();
    let mut bytes = whole.clone();
    bytes[5000] ^= 1;
    std::fs::write(&recovery, bytes).unwrap();
    let (code, stdout, stderr) = run(&["protect", "--check", "--json"]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("damaged: recovery/00000001.p0: 1 of its"), "{stderr}");
    let json: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(json["problems"][0]["file"], "recovery/00000001.p0");
    std::fs::write(&recovery, whole).unwrap();

    stocked(folder.path(), 3..5, 2000);
    assert!(run(&["verify"]).1.contains("`cratehold protect` does the rest"));
    let (code, stdout, _) = run(&["protect", "--check", "--json"]);
    assert_eq!(code, Some(1));
    let json: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(json["whole"], false);
    let pack = folder.path().join("packs/00000001.pak");
    let mut bytes = std::fs::read(&pack).unwrap();
    bytes[2000] ^= 1;
    std::fs::write(&pack, bytes).unwrap();
    let (_, stdout, _) = run(&["repair", "--dry-run"]);
    assert!(stdout.contains("has what puts them back"), "{stdout}");
    let (code, stdout, stderr) = run(&["repair"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(
        stdout.contains("1 damaged sector of 4 KiB; put back from recovery/"),
        "{stdout}"
    );
    assert!(run(&["protect", "--remove"]).1.contains("removed"));
}
