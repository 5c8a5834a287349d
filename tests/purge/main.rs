//! `purge`: the bytes are in no file of the archive any more, raw, decoded or re-based,
//! and nothing brings them back unasked. [R 14.1] to [R 14.4]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../support/mod.rs"]
mod support;

mod forms;
mod seeds;

use cratehold::archive::{
    Archive, CommitInfo, Depth, EncodeOptions, Error, PurgeOptions, PurgePlan, RepairOptions, Target, Writer, repair,
};
use cratehold::format::pack::{PackHeader, RecordMeta};
use cratehold::ids::{Digest, Release};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use support::{Registry, copy_folder};

const MARKER: &str = "MARK-of-the-erased-crate-";

/// A crate file of text: what all versions share, what this one has of its own, and,
/// if `marked`, markers through all of it.
fn crate_file(release: &str, marked: bool) -> Vec<u8> {
    let parsed: Release = release.parse().unwrap();
    let version = &parsed.version;
    let mut random = fastrand::Rng::with_seed(7);
    let mut text: String = (0..400)
        .map(|i| format!("fn shared_{i}() {{ {:x} }}\n", random.u64(..)))
        .collect();
    for i in 0..40 {
        text += &format!(
            "fn own_{i}() {{ \"{}\" }}\n",
            Digest::of(format!("{release}{i}").as_bytes())
        );
        if marked {
            text += &format!("// {MARKER}{version}-{i}\n");
        }
    }
    pack(&parsed, &text)
}

/// A crate file with this text in it.
fn pack(release: &Release, text: &str) -> Vec<u8> {
    use flate2::{Compression, write::GzEncoder};
    let (name, version) = (&release.name, &release.version);
    let manifest = format!("[package]\nname = \"{name}\"\nversion = \"{version}\"\n");
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::new(9)));
    for (path, bytes) in [("Cargo.toml", manifest.as_bytes()), ("src/lib.rs", text.as_bytes())] {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder
            .append_data(&mut header, format!("{name}-{version}/{path}"), bytes)
            .unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

const RELEASES: [(&str, bool); 7] = [
    ("one@1.0.0", false),
    ("one@1.0.1", true),
    ("one@1.0.2", false),
    ("one@1.0.3", true),
    ("one@1.0.4", false),
    ("two@1.0.0", false),
    ("two@1.0.1", false),
];

type Files = BTreeMap<String, Vec<u8>>;

/// One commit each, so that each version is the base of the next.
fn stocked(folder: &Path) -> Files {
    let writer = Writer::open(folder).unwrap();
    let mut files = Files::new();
    for (release, marked) in RELEASES {
        let file = crate_file(release, marked);
        writer
            .add(&release.parse().unwrap(), file.clone(), EncodeOptions::default())
            .unwrap();
        writer.commit(&CommitInfo::default()).unwrap();
        files.insert(release.into(), file);
    }
    files
}

fn target(release: &str) -> Target {
    Target::Release(release.parse().unwrap())
}

fn purge(folder: &Path, targets: &[Target]) -> Result<PurgePlan, Error> {
    let options = PurgeOptions {
        reason: "a court said so",
        level: 9,
        progress: &|_| {},
    };
    Writer::open(folder).unwrap().purge(targets, &options)
}

fn all_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(all_files(&path)),
            false => files.push(path),
        }
    }
    files
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

fn content_of(archive: &Archive, digest: &Digest) -> Option<Arc<Vec<u8>>> {
    let entry = archive.find(digest).unwrap()?;
    let found = Mutex::new(None);
    archive.walk_contents(vec![entry], 1, &|_, decoded| {
        *found.lock().unwrap() = decoded.ok().map(|(_, content)| content);
    });
    found.into_inner().unwrap()
}

/// The frames of a pack file, whether anything points to them or not, decoded against
/// the content of their base if that is still held, else against nothing.
fn decoded_frames(archive: &Archive, pack: &[u8]) -> Vec<Vec<u8>> {
    let (_, start) = PackHeader::decode(pack).unwrap();
    let mut at = start as usize;
    let mut decoded = Vec::new();
    while at < pack.len() {
        let (meta, frame_offset) = RecordMeta::decode(&pack[at..]).unwrap();
        let frame = &pack[at + frame_offset as usize..][..meta.frame_bytes as usize];
        let base = meta.base.and_then(|base| content_of(archive, &Digest(base)));
        let mut context = zstd::zstd_safe::DCtx::create();
        if let Some(base) = &base {
            context.ref_prefix(&base[..]).unwrap();
        }
        let mut content = Vec::with_capacity(meta.content_bytes as usize);
        let _ = context.decompress(&mut content, frame);
        decoded.push(content);
        at += (frame_offset + meta.frame_bytes) as usize;
    }
    decoded
}

/// That no marker is anywhere: raw, decoded, or in what is given out.
fn assert_no_traces(folder: &Path, gone: &[&str]) {
    let archive = Archive::open(folder).unwrap();
    for path in all_files(folder) {
        let bytes = std::fs::read(&path).unwrap();
        assert!(!contains(&bytes, MARKER.as_bytes()), "{}", path.display());
        // Neither the crate file itself nor what it is stored as.
        if path.extension().is_some_and(|extension| extension == "pak") {
            for (i, content) in decoded_frames(&archive, &bytes).into_iter().enumerate() {
                assert!(
                    !contains(&content, MARKER.as_bytes()),
                    "frame {i} of {}",
                    path.display()
                );
            }
        }
    }
    for release in gone {
        let (name, version) = release.split_once('@').unwrap();
        let known = archive.release_state(name, version).unwrap().unwrap();
        assert!(known.purged, "{release}");
        assert!(archive.read_crate(&known.digest).is_err());
        let (_, reason) = archive.purge_of(&known).unwrap().unwrap();
        assert_eq!(reason, "a court said so");
    }
    assert_eq!(archive.verify(Depth::Full, 2, &|_| {}).unwrap().problems, vec![]);
}

fn assert_kept(folder: &Path, files: &Files, gone: &[&str]) {
    let archive = Archive::open(folder).unwrap();
    for (release, file) in files.iter().filter(|(release, _)| !gone.contains(&&release[..])) {
        assert_eq!(&archive.read_crate(&Digest::of(file)).unwrap(), file, "{release}");
    }
}

/// What each record is, byte for byte.
fn records(folder: &Path) -> BTreeMap<Digest, Vec<u8>> {
    let archive = Archive::open(folder).unwrap();
    let read = |entry: cratehold::format::index::Entry| {
        let pack = std::fs::read(folder.join(format!("packs/{:08}.pak", entry.pack))).unwrap();
        let (from, bytes) = (entry.record_offset as usize, entry.record_bytes as usize);
        (entry.digest, pack[from..from + bytes].to_vec())
    };
    archive.entries().unwrap().into_iter().map(read).collect()
}

#[test]
fn no_byte_of_it_is_left_and_no_other_crate_is_touched() {
    let folder = tempfile::tempdir().unwrap();
    let files = stocked(folder.path());
    let before = records(folder.path());
    let archive = Archive::open(folder.path()).unwrap();
    let found: usize = all_files(folder.path())
        .iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "pak"))
        .flat_map(|path| decoded_frames(&archive, &std::fs::read(path).unwrap()))
        .filter(|content| contains(content, MARKER.as_bytes()))
        .count();
    assert_eq!(found, 2, "the search finds what is there");
    drop(archive);

    let gone = ["one@1.0.1", "one@1.0.3"];
    let plan = purge(folder.path(), &gone.map(target)).unwrap();
    assert_eq!(
        (plan.releases.len(), plan.held.len(), plan.packs.len()),
        (2, 2, 1),
        "{plan:?}"
    );
    let rebased = ["one@1.0.2", "one@1.0.4"].map(|release| Digest::of(&files[release]));
    assert_eq!(plan.dependents, rebased);
    assert_no_traces(folder.path(), &gone);
    assert_kept(folder.path(), &files, &gone);
    let after = records(folder.path());
    for (digest, record) in &after {
        assert_eq!(record == &before[digest], !rebased.contains(digest), "{digest}");
        let (was, is) = (
            RecordMeta::decode(&before[digest]).unwrap().0,
            RecordMeta::decode(record).unwrap().0,
        );
        assert!(is.chain_depth <= was.chain_depth && is.chain_bytes <= was.chain_bytes);
    }
    let archive = Archive::open(folder.path()).unwrap();
    let base = archive.chain(&rebased[0]).unwrap()[1].1.version.clone();
    assert_eq!(base, "1.0.0", "compressed against what is left of its chain");

    // Once more: nothing to do, nothing done.
    let generation = archive.head().generation;
    assert!(purge(folder.path(), &gone.map(target)).unwrap().is_done());
    assert_eq!(Archive::open(folder.path()).unwrap().head().generation, generation);
}

#[test]
fn a_whole_crate_and_bytes_by_their_digest() {
    let folder = tempfile::tempdir().unwrap();
    let files = stocked(folder.path());
    let plan = purge(
        folder.path(),
        &[
            Target::Crate("one".into()),
            Target::Digest(Digest::of(&files["two@1.0.0"])),
        ],
    );
    assert_eq!(plan.unwrap().releases.len(), 6);
    let gone = [
        "one@1.0.0",
        "one@1.0.1",
        "one@1.0.2",
        "one@1.0.3",
        "one@1.0.4",
        "two@1.0.0",
    ];
    assert_no_traces(folder.path(), &gone);
    assert_kept(folder.path(), &files, &gone);

    let error = purge(folder.path(), &[target("three@1.0.0")]).unwrap_err().to_string();
    assert!(error.contains("three@1.0.0 is not known"), "{error}");
    for (reason, says) in [(" ", "is empty"), ("two\nlines", "line feed")] {
        let error = cratehold::archive::check_reason(reason).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

/// Old records that nothing points to, a torn tail, and leftovers go too.
#[test]
fn what_nothing_points_to_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let files = stocked(folder);
    let pack = std::fs::read(folder.join("packs/00000001.pak")).unwrap();
    // A second record of the same digest in a pack of its own, as an earlier repair may
    // have left it; then torn bytes behind, and a pack that no head names.
    let digest = Digest::of(&files["one@1.0.1"]);
    let writer = Writer::open(folder).unwrap();
    let archive = Archive::open(folder).unwrap();
    let garbage = cratehold::archive::Garbage {
        files: vec![],
        packs: archive.garbage(100).unwrap().packs,
    };
    writer.collect(&garbage, &|_| {}).unwrap();
    drop(writer);
    let newest = archive.head().packs.len() as u32 + 1;
    let path = folder.join(format!("packs/{newest:08}.pak"));
    assert!(archive.find(&digest).unwrap().is_some());
    let mut bytes = std::fs::read(&path).unwrap();
    let entry = archive.find(&digest).unwrap().unwrap();
    let record = &pack[entry.record_offset as usize..][..entry.record_bytes as usize];
    bytes.extend_from_slice(&record[..record.len() - 3]);
    std::fs::write(&path, bytes).unwrap();

    purge(folder, &["one@1.0.1", "one@1.0.3"].map(target)).unwrap();
    assert_no_traces(folder, &["one@1.0.1", "one@1.0.3"]);
    let left = all_files(&folder.join("packs"));
    let archive = Archive::open(folder).unwrap();
    assert_eq!(left.len(), archive.head().packs.len(), "{left:?}");
}

#[test]
fn nothing_brings_it_back_unasked() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("a");
    let files = stocked(&at);
    let old = folder.path().join("old");
    copy_folder(&at, &old);
    let gone = ["one@1.0.1", "one@1.0.3"];
    purge(&at, &gone.map(target)).unwrap();

    // Taking the file in again.
    let release: Release = gone[0].parse().unwrap();
    let file = files[gone[0]].clone();
    let writer = Writer::open(&at).unwrap();
    let error = writer
        .add(&release, file.clone(), EncodeOptions::default())
        .unwrap_err();
    assert!(matches!(error, Error::Purged { snapshot: 8, .. }), "{error}");
    assert!(error.to_string().contains("a court said so"), "{error}");
    drop(writer);

    // A repair whose source has it, with both heads and the index lost, and with a pack
    // of before the purge lying there again.
    for name in ["head0", "head1"] {
        std::fs::remove_file(at.join(name)).unwrap();
    }
    for path in all_files(&at.join("index")) {
        std::fs::remove_file(path).unwrap();
    }
    std::fs::copy(old.join("packs/00000001.pak"), at.join("packs/00000001.pak")).unwrap();
    let mut sources: Vec<Box<dyn cratehold::archive::Source>> = vec![Box::new(Archive::open(&old).unwrap())];
    let options = RepairOptions {
        full: true,
        threads: 2,
        level: 3,
        ..RepairOptions::default()
    };
    let report = repair(&at, &mut sources, &options).unwrap();
    assert!(report.is_whole(), "{report:?}");
    let notes = report.structure.join("\n");
    assert!(notes.contains("one@1.0.1: erased on purpose"), "{notes}");
    let archive = Archive::open(&at).unwrap();
    for release in gone {
        assert_eq!(archive.find(&Digest::of(&files[release])).unwrap(), None);
    }
    drop(archive);
    purge(&at, &gone.map(target)).unwrap();
    assert_no_traces(&at, &gone);
    assert_kept(&at, &files, &gone);

    // Asked for, it comes back, and stays.
    let writer = Writer::open(&at).unwrap();
    writer
        .accept_purged(std::slice::from_ref(&release), &CommitInfo::default())
        .unwrap();
    writer.add(&release, file.clone(), EncodeOptions::default()).unwrap();
    writer.commit(&CommitInfo::default()).unwrap();
    drop(writer);
    let archive = Archive::open(&at).unwrap();
    assert_eq!(archive.read_crate(&Digest::of(&file)).unwrap(), file);
    assert_eq!(archive.purged().unwrap().len(), 1);
}

fn run(archive: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cratehold"));
    command
        .arg("-a")
        .arg(archive)
        .args(args)
        .current_dir(archive.parent().unwrap());
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn the_commands_tell_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("a");
    let registry = Registry::start();
    for release in ["one@1.0.0", "one@1.0.1", "one@1.1.0"] {
        registry.publish(release);
    }
    let index = registry.index();
    let sync: [&str; 5] = ["sync", "--index", &index, "--crate", "one"];
    assert_eq!(run(&at, &sync).0, Some(0));

    let reason = "a court said so";
    let (code, stdout, _) = run(&at, &["purge", "one@1.0.1", "--reason", reason, "--dry-run"]);
    assert_eq!(code, Some(0));
    assert!(
        stdout.contains("1 releases") && stdout.contains("1 packs to be rewritten"),
        "{stdout}"
    );
    let (code, _, stderr) = run(&at, &["purge", "one@1.0.1", "--reason", reason]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("give --yes"), "{stderr}");
    assert_eq!(run(&at, &["purge", "one@^1", "--reason", reason]).0, Some(2));
    let (code, stdout, stderr) = run(&at, &["purge", "one@1.0.1", "--reason", reason, "--yes", "--json"]);
    assert_eq!(code, Some(0), "{stderr}");
    let json: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(
        (&json["erased"], &json["releases"][0]["was_held"]),
        (&true.into(), &true.into())
    );

    let (code, _, stderr) = run(&at, &["extract", "one@1.0.1"]);
    assert_eq!(code, Some(1));
    assert!(
        stderr.contains("was erased from this archive on purpose, in snapshot 2, 2"),
        "{stderr}"
    );
    assert!(stderr.contains(reason), "{stderr}");
    assert_eq!(run(&at, &["extract", "one"]).0, Some(0), "others can be had");
    assert!(run(&at, &["list", "one"]).1.contains("erased here in snapshot 2"));
    assert!(run(&at, &["list", "--purged"]).1.contains("one@1.0.1"));
    let (code, stdout, _) = run(&at, &["info", "one@1.0.1"]);
    assert_eq!(code, Some(0));
    assert!(stdout.contains(reason), "{stdout}");
    assert!(
        run(&at, &["info", "one@1.0.1", "--json"])
            .1
            .contains("\"vers\":\"1.0.1\""),
        "its line is kept"
    );
    assert_eq!(run(&at, &["verify", "--full"]).0, Some(0));

    // The registry still lists it.
    registry.forget_requests();
    let (code, stdout, stderr) = run(&at, &sync);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("left out: 1 releases that were erased"), "{stdout}");
    let (code, _, stderr) = run(&at, &["sync", "--index", &index, "--crate", "one@1.0.1"]);
    assert_eq!(code, Some(1));
    assert!(
        stderr.contains(reason) && stderr.contains("--accept-purged"),
        "{stderr}"
    );
    assert!(registry.requests("/dl/").is_empty(), "it is not even asked for");
    std::fs::write(folder.path().join("x.crate"), support::crate_file("one@1.0.1", 300)).unwrap();
    let (code, _, stderr) = run(&at, &["import", "x.crate"]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains(reason), "{stderr}");
    let (code, _, stderr) = run(
        &at,
        &[
            "sync",
            "--index",
            &index,
            "--crate",
            "one",
            "--accept-purged",
            "one@1.0.1",
        ],
    );
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(run(&at, &["extract", "one@1.0.1"]).0, Some(0));
}
