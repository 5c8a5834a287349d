//! `repair`: what is damaged comes back whole from wherever whole bytes are, or is
//! named. [R 10.8]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use cratehold::archive::{
    Archive, CommitInfo, Depth, EncodeOptions, LooseFiles, RepairOptions, RepairReport, Source, Writer, repair,
};
use cratehold::ids::Digest;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use support::{Registry, copy_folder, crate_file};

const RELEASES: [&str; 5] = ["one@1.0.0", "one@1.0.1", "one@1.0.2", "two@0.1.0", "two@0.2.0"];

/// Versions that build on each other, each committed: only then is it a base.
fn stocked(folder: &Path) -> Vec<Vec<u8>> {
    let writer = Writer::open(folder).unwrap();
    let files: Vec<Vec<u8>> = RELEASES.map(|release| crate_file(release, 3000)).to_vec();
    for (release, file) in RELEASES.iter().zip(&files) {
        writer
            .add(&release.parse().unwrap(), file.clone(), EncodeOptions::default())
            .unwrap();
        writer.commit(&CommitInfo::default()).unwrap();
    }
    files
}

fn options() -> RepairOptions<'static> {
    RepairOptions {
        full: true,
        threads: 2,
        level: 3,
        ..RepairOptions::default()
    }
}

fn run(folder: &Path, sources: Vec<Box<dyn Source>>) -> RepairReport {
    let mut sources = sources;
    repair(folder, &mut sources, &options()).unwrap()
}

fn assert_whole(folder: &Path, files: &[Vec<u8>]) {
    let archive = Archive::open(folder).unwrap();
    for (release, file) in RELEASES.iter().zip(files) {
        assert_eq!(&archive.read_crate(&Digest::of(file)).unwrap(), file, "{release}");
        let (name, version) = release.split_once('@').unwrap();
        let known = archive.release_state(name, version).unwrap().unwrap();
        assert_eq!(known.digest, Digest::of(file));
    }
    assert_eq!(archive.verify(Depth::Full, 2, &|_| {}).unwrap().problems, vec![]);
}

/// Damages one byte of the frame of each of these.
fn damage(folder: &Path, files: &[&Vec<u8>]) {
    let archive = Archive::open(folder).unwrap();
    for file in files {
        let entry = archive.find(&Digest::of(file)).unwrap().unwrap();
        let path = folder.join(format!("packs/{:08}.pak", entry.pack));
        let mut pack = std::fs::read(&path).unwrap();
        pack[(entry.record_offset + entry.record_bytes - 5) as usize] ^= 0x40;
        std::fs::write(&path, pack).unwrap();
    }
}

struct Desk {
    folder: tempfile::TempDir,
    files: Vec<Vec<u8>>,
}

impl Desk {
    fn new() -> Desk {
        let folder = tempfile::tempdir().unwrap();
        let files = stocked(&folder.path().join("a"));
        copy_folder(&folder.path().join("a"), &folder.path().join("good"));
        Desk { folder, files }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn archive(&self) -> PathBuf {
        self.path("a")
    }

    fn good(&self) -> Vec<Box<dyn Source>> {
        vec![Box::new(Archive::open(&self.path("good")).unwrap())]
    }
}

#[test]
fn a_damaged_base_is_mended_from_another_archive_and_with_it_all_above() {
    let desk = Desk::new();
    damage(&desk.archive(), &[&desk.files[0]]);
    let report = run(&desk.archive(), Vec::new());
    assert_eq!(
        (report.objects, report.damaged, report.unmended.len()),
        (5, 3, 3),
        "{report:?}"
    );
    assert!(report.unmended[0].1.contains("checksum"), "{report:?}");

    let report = run(&desk.archive(), desk.good());
    let from: Vec<&str> = report.mended.iter().map(|(_, from)| from.as_str()).collect();
    assert_eq!(from[1..], ["its base", "its base"], "{report:?}");
    assert!(report.is_whole());
    assert_whole(&desk.archive(), &desk.files);
    let again = run(&desk.archive(), Vec::new());
    assert_eq!((again.damaged, again.structure), (0, vec![]));
}

#[test]
fn what_only_lost_its_base_is_stored_without_it() {
    let desk = Desk::new();
    damage(&desk.archive(), &[&desk.files[0]]);
    // The base itself is nowhere to be had.
    let loose = desk.path("loose/deep");
    std::fs::create_dir_all(&loose).unwrap();
    for (i, file) in desk.files.iter().enumerate().skip(1) {
        std::fs::write(loose.join(format!("any name {i}")), file).unwrap();
    }
    std::fs::write(loose.join("wrong"), vec![7; desk.files[0].len()]).unwrap();
    let report = run(
        &desk.archive(),
        vec![Box::new(LooseFiles::new(vec![desk.path("loose")]))],
    );
    assert_eq!(report.mended.len(), 2, "{report:?}");
    assert_eq!(report.unmended.len(), 1);
    assert_eq!(report.unmended[0].0, "one@1.0.0");
    assert!(report.unmended[0].1.contains("no file with this SHA-256"), "{report:?}");
    let archive = Archive::open(&desk.archive()).unwrap();
    for file in &desk.files[1..] {
        assert_eq!(&archive.read_crate(&Digest::of(file)).unwrap(), file);
    }
    // Let go of, it is what `sync` finds missing.
    let forget = RepairOptions {
        forget: true,
        ..options()
    };
    assert_eq!(repair(&desk.archive(), &mut [], &forget).unwrap().unmended.len(), 1);
    let archive = Archive::open(&desk.archive()).unwrap();
    assert!(archive.find(&Digest::of(&desk.files[0])).unwrap().is_none());
    assert_eq!(archive.verify(Depth::Full, 2, &|_| {}).unwrap().problems, vec![]);
    assert!(archive.release_state("one", "1.0.0").unwrap().is_some());
}

#[test]
fn wrong_bytes_mend_nothing() {
    struct Liar;
    impl Source for Liar {
        fn name(&self) -> String {
            "liar".into()
        }

        fn obtain(&mut self, wanted: &[cratehold::archive::Wanted], give: &mut cratehold::archive::Give<'_>) {
            wanted.iter().all(|wanted| give(wanted, Ok(b"trust me".to_vec())));
        }
    }
    let desk = Desk::new();
    damage(&desk.archive(), &[&desk.files[4]]);
    let report = run(&desk.archive(), vec![Box::new(Liar)]);
    assert!(report.mended.is_empty());
    assert!(report.unmended[0].1.contains("liar: expected SHA-256"), "{report:?}");
}

#[test]
fn an_index_is_rebuilt_from_packs_with_or_without_heads() {
    let lose: [&[&str]; 6] = [
        &["head0"],
        &["head1"],
        &["head0", "head1"],
        &["index"],
        &["head0", "head1", "index"],
        &["head0", "head1", "index", "manifest"],
    ];
    for lost in lose {
        let desk = Desk::new();
        for name in lost {
            let path = desk.archive().join(name);
            match path.is_dir() {
                true => std::fs::remove_dir_all(&path).unwrap(),
                false => std::fs::remove_file(&path).unwrap(),
            }
        }
        let report = run(&desk.archive(), Vec::new());
        assert!(
            report.is_whole() && !report.structure.is_empty(),
            "{lost:?}: {report:?}"
        );
        assert_whole(&desk.archive(), &desk.files);
        let again = run(&desk.archive(), Vec::new());
        assert_eq!(again.structure, Vec::<String>::new(), "{lost:?}");
        // It goes on as an archive does.
        let writer = Writer::open(&desk.archive()).unwrap();
        let more = crate_file("three@1.0.0", 50);
        writer
            .add(&"three@1.0.0".parse().unwrap(), more, EncodeOptions::default())
            .unwrap();
        writer.commit(&CommitInfo::default()).unwrap();
        drop(writer);
        assert_whole(&desk.archive(), &desk.files);
    }
}

#[test]
fn flips_in_heads_segments_and_packs_come_right() {
    for (name, at) in [
        ("head0", 40),
        ("head1", 40),
        ("index", 20),
        ("index", 4200),
        ("manifest", 20),
        ("manifest", 4200),
        ("packs", 3),
        ("packs", 60),
    ] {
        let desk = Desk::new();
        let paths: Vec<PathBuf> = match name.starts_with("head") {
            true => vec![desk.archive().join(name)],
            false => std::fs::read_dir(desk.archive().join(name))
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .collect(),
        };
        for path in paths {
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[at] ^= 4;
            std::fs::write(&path, bytes).unwrap();
        }
        let report = run(&desk.archive(), desk.good());
        assert!(report.is_whole(), "{name} at {at}: {report:?}");
        assert_whole(&desk.archive(), &desk.files);
        assert_eq!(
            run(&desk.archive(), Vec::new()).structure,
            Vec::<String>::new(),
            "{name} at {at}"
        );
    }
}

#[test]
fn a_lost_or_cut_pack_is_made_up_for() {
    for cut in [None, Some(4000), Some(0)] {
        let desk = Desk::new();
        let pack = desk.archive().join("packs/00000001.pak");
        match cut {
            None => std::fs::remove_file(&pack).unwrap(),
            Some(len) => std::fs::File::options()
                .write(true)
                .open(&pack)
                .unwrap()
                .set_len(len)
                .unwrap(),
        }
        let report = run(&desk.archive(), desk.good());
        assert!(report.is_whole() && report.damaged > 0, "{cut:?}: {report:?}");
        assert_whole(&desk.archive(), &desk.files);
    }
}

fn program(archive: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cratehold"));
    for proxy in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env_remove(proxy).env_remove(proxy.to_lowercase());
    }
    let Output { status, stdout, stderr } = command.arg("-a").arg(archive).args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn the_download_server_gives_what_is_damaged_and_no_more() {
    let registry = Registry::start();
    let desk = Desk::new();
    for release in RELEASES {
        registry.publish_sized(release, 3000);
    }
    damage(&desk.archive(), &[&desk.files[0], &desk.files[4]]);
    let archive = desk.archive();
    let before = std::fs::read(archive.join("head0")).unwrap();
    let dl = format!("--dl=http://127.0.0.1:{}/dl", registry.port);
    let good = desk.path("good").display().to_string();
    let (code, stdout, stderr) = program(&archive, &["repair", "--dry-run", "--from", &good]);
    assert_eq!(code, Some(1), "{stdout}{stderr}");
    assert!(stdout.contains("could be mended: one@1.0.0, from"), "{stdout}");
    assert_eq!(
        std::fs::read(archive.join("head0")).unwrap(),
        before,
        "a dry run writes nothing"
    );

    let (code, stdout, stderr) = program(&archive, &["repair", &dl]);
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    assert!(stdout.contains("4 damaged, 4 mended, 0 not"), "{stdout}");
    assert_eq!(registry.requests("/dl/").len(), 2);
    assert_whole(&archive, &desk.files);

    damage(&archive, &[&desk.files[4]]);
    registry.forget(&support::dl_path("two@0.2.0"));
    let (code, stdout, _) = program(&archive, &["repair", &dl, "--json"]);
    assert_eq!(code, Some(1));
    let json: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(json["unmended"][0]["what"], "two@0.2.0");
    assert!(
        json["unmended"][0]["cause"]
            .as_str()
            .unwrap()
            .contains("missing upstream"),
        "{stdout}"
    );
    let (code, _, stderr) = program(&desk.path("nowhere"), &["repair"]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("not a cratehold archive"), "{stderr}");
}
