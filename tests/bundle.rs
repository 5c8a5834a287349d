//! `bundle` and `apply`: updates that are carried, and what can happen to them on the way.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use cratehold::archive::{
    ApplyOptions, ApplyReport, Archive, BundleError, BundleOptions, BundleReport, CommitInfo, DEFAULT_VOLUME_BYTES,
    Depth, EncodeOptions, MIN_VOLUME_BYTES, PurgeOptions, Since, Target, Trust, Writer, apply, apply_on, bundle,
};
use cratehold::deflate::gunzip;
use cratehold::format::manifest::EventKind;
use cratehold::format::manifest_event::Event;
use cratehold::ids::Digest;
use cratehold::store::Medium;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use support::drive::Drive;
use support::{crate_file, line};

struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Desk {
        Desk(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn open(&self, name: &str) -> Archive {
        Archive::open(&self.path(name)).unwrap()
    }

    /// Adds releases of some size to archive `name`, with their lines, in one commit.
    fn add_sized(&self, name: &str, releases: &[&str], noise: usize) {
        let writer = Writer::open(&self.path(name)).unwrap();
        for release in releases {
            let file = crate_file(release, noise);
            let digest = Digest::of(&file);
            let text = line(release, &file, false).into_bytes();
            let (crate_name, version) = release.split_once('@').unwrap();
            writer.note(
                crate_name,
                Event {
                    kind: EventKind::Added,
                    yanked: false,
                    generation: 0,
                    version: version.into(),
                    digest: Some(digest),
                    text: Some(text),
                },
            );
            writer
                .add(&release.parse().unwrap(), file, EncodeOptions::default())
                .unwrap();
        }
        self.commit(&writer);
    }

    fn add(&self, name: &str, releases: &[&str]) {
        self.add_sized(name, releases, 3000);
    }

    fn commit(&self, writer: &Writer) {
        let info = CommitInfo {
            source: "test".into(),
            ..CommitInfo::default()
        };
        writer.commit(&info).unwrap();
    }

    /// Yanks and removes, in a commit without bytes.
    fn change(&self, name: &str, kind: EventKind, release: &str) {
        let writer = Writer::open(&self.path(name)).unwrap();
        let (crate_name, version) = release.split_once('@').unwrap();
        writer.note(
            crate_name,
            Event {
                kind,
                yanked: kind == EventKind::Yanked,
                generation: 0,
                version: version.into(),
                digest: Some(Digest::of(&crate_file(release, 3000))),
                text: None,
            },
        );
        self.commit(&writer);
    }

    fn bundle_sized(&self, from: &str, since: Since<'_>, to: &str, volume_bytes: u64) -> BundleReport {
        let options = BundleOptions {
            volume_bytes,
            stem: None,
            stop: &|| false,
            begin: &|_| {},
            progress: &|_| {},
        };
        bundle(&self.open(from), since, &self.path(to), &options).unwrap()
    }

    fn bundle(&self, from: &str, since: Since<'_>, to: &str) -> BundleReport {
        self.bundle_sized(from, since, to, DEFAULT_VOLUME_BYTES)
    }

    fn apply(&self, to: &str, bundles: &[&str]) -> Result<ApplyReport, BundleError> {
        let paths: Vec<PathBuf> = bundles.iter().map(|name| self.path(name)).collect();
        apply(&self.path(to), &paths, &options(false))
    }

    /// That two archives tell the same and give the same bytes.
    fn assert_alike(&self, one: &str, other: &str) {
        let (one, other) = (self.open(one), self.open(other));
        assert_eq!(one.head().root, other.head().root);
        assert_eq!(one.transactions().unwrap(), other.transactions().unwrap());
        let told = |archive: &Archive| -> Vec<String> {
            let crates = archive.crates().unwrap();
            let all = crates.iter().flat_map(|state| {
                state.releases.iter().map(|release| {
                    let line = archive.line(release).unwrap();
                    format!(
                        "{}@{} {} {:?} {:?} {:?}",
                        state.name, release.version, release.digest, release.yanked, release.removed, line
                    )
                })
            });
            all.collect()
        };
        assert_eq!(told(&one), told(&other));
        let held = |archive: &Archive| -> BTreeMap<Digest, Digest> {
            let entries = archive.entries().unwrap().into_iter();
            entries
                .map(|entry| (entry.digest, Digest::of(&archive.read_crate(&entry.digest).unwrap())))
                .collect()
        };
        assert_eq!(held(&one), held(&other));
        for archive in [one, other] {
            assert_eq!(archive.verify(Depth::Full, 2, &|_| {}).unwrap().problems, vec![]);
        }
    }
}

fn options(dry_run: bool) -> ApplyOptions<'static> {
    ApplyOptions {
        dry_run,
        trust: Trust::default(),
        threads: 2,
        stop: &|| false,
        begin: &|_| {},
        progress: &|_| {},
    }
}

fn volumes(folder: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<PathBuf> = files
        .filter(|file| file.extension().is_some_and(|end| end == "chb"))
        .collect();
    files.sort();
    files
}

/// A to B to C: through every kind of event, with commits that brought no event and
/// others that brought no byte.
#[test]
fn what_travels_from_a_by_b_to_c_has_one_root_everywhere() {
    let desk = Desk::new();
    desk.add("a", &["alpha@1.0.0", "alpha@1.1.0", "beta@0.1.0"]);
    let whole = desk.bundle("a", Since::Nothing, "one");
    assert_eq!((whole.objects, whole.transactions, whole.base.0), (3, 1, 0));
    desk.apply("b", &["one"]).unwrap();
    desk.assert_alike("a", "b");
    desk.bundle("b", Since::Nothing, "one-by-b");
    desk.apply("c", &["one-by-b"]).unwrap();
    desk.assert_alike("a", "c");

    desk.change("a", EventKind::Yanked, "alpha@1.0.0");
    desk.change("a", EventKind::Removed, "beta@0.1.0");
    desk.add("a", &["alpha@1.2.0", "gamma@0.1.0"]);
    // Bytes without an event: the registry told of them before.
    let writer = Writer::open(&desk.path("a")).unwrap();
    writer.settle(&CommitInfo::default()).unwrap();
    drop(writer);
    let second = desk.bundle("a", Since::Snapshot(1), "two");
    assert_eq!((second.objects, second.transactions, second.base.0), (2, 3, 1));
    let report = desk.apply("b", &["two"]).unwrap();
    assert_eq!((report.new_objects, report.transactions, report.lacking), (2, 3, 0));
    assert_eq!(report.snapshot, desk.open("a").head().generation);
    desk.assert_alike("a", "b");
    // B has numbered its commits as A has, so that C may ask B in A's terms.
    desk.bundle("b", Since::Archive(&desk.open("c")), "two-by-b");
    desk.apply("c", &["two-by-b"]).unwrap();
    desk.assert_alike("a", "c");

    // And on: C to B, with what C does not have of its own.
    desk.add("a", &["alpha@1.3.0"]);
    let third = desk.bundle("a", Since::Snapshot(second.leads_to.0), "three");
    assert_eq!(third.objects, 1);
    desk.apply("c", &["three"]).unwrap();
    desk.bundle("c", Since::Snapshot(second.leads_to.0), "three-by-c");
    desk.apply("b", &["three-by-c"]).unwrap();
    desk.assert_alike("a", "b");
    desk.assert_alike("a", "c");
}

#[test]
fn doing_it_again_changes_nothing_and_the_same_bundle_is_the_same_bytes() {
    let desk = Desk::new();
    desk.add("a", &["alpha@1.0.0", "alpha@1.1.0"]);
    desk.add("a", &["alpha@1.2.0", "beta@1.0.0"]);
    desk.bundle("a", Since::Snapshot(1), "one");
    let first = std::fs::read(&volumes(&desk.path("one"))[0]).unwrap();
    let again = desk.bundle("a", Since::Snapshot(1), "one");
    assert_eq!(again.kept_volumes, 1);
    desk.bundle("a", Since::Snapshot(1), "other");
    assert_eq!(std::fs::read(&volumes(&desk.path("other"))[0]).unwrap(), first);
    // One that was being written when its writer was killed is made anew.
    for cut in [0, 3, 700, first.len() - 1] {
        std::fs::write(&volumes(&desk.path("other"))[0], &first[..cut]).unwrap();
        assert_eq!(desk.bundle("a", Since::Snapshot(1), "other").kept_volumes, 0);
        assert_eq!(std::fs::read(&volumes(&desk.path("other"))[0]).unwrap(), first);
    }

    desk.bundle("a", Since::Nothing, "all");
    desk.apply("b", &["all"]).unwrap();
    let generation = desk.open("b").head().generation;
    for bundle in ["all", "one", "other"] {
        let report = desk.apply("b", &[bundle]).unwrap();
        assert_eq!((report.new_objects, report.transactions), (0, 0), "{bundle}");
    }
    assert_eq!(desk.open("b").head().generation, generation);
}

#[test]
fn bundles_given_together_are_taken_in_in_their_order() {
    let desk = Desk::new();
    for (snapshot, release) in [(0, "alpha@1.0.0"), (1, "alpha@1.1.0"), (2, "beta@1.0.0")] {
        desk.add("a", &[release]);
        let since = match snapshot {
            0 => Since::Nothing,
            snapshot => Since::Snapshot(snapshot),
        };
        desk.bundle("a", since, "drive");
    }
    let report = desk.apply("b", &["drive"]).unwrap();
    assert_eq!((report.bundles, report.new_objects, report.transactions), (3, 3, 3));
    desk.assert_alike("a", "b");

    // A bundle of everything is also a way on for who has some of it.
    desk.add("a", &["beta@1.1.0"]);
    desk.bundle("a", Since::Nothing, "all");
    let report = desk.apply("b", &["all"]).unwrap();
    assert_eq!(
        (report.new_objects, report.held_objects, report.transactions),
        (1, 3, 1)
    );
    desk.assert_alike("a", "b");
}

#[test]
fn what_does_not_go_on_from_here_is_refused_and_changes_nothing() {
    let desk = Desk::new();
    desk.add("a", &["alpha@1.0.0"]);
    desk.bundle("a", Since::Nothing, "one");
    desk.add("a", &["alpha@1.1.0"]);
    desk.bundle("a", Since::Snapshot(1), "two");
    desk.add("a", &["alpha@1.2.0"]);
    desk.bundle("a", Since::Snapshot(2), "three");
    let refused = |to: &str, bundle: &str, says: &[&str]| {
        let error = desk.apply(to, &[bundle]).unwrap_err().to_string();
        assert!(says.iter().all(|say| error.contains(say)), "{error}");
        let paths = [desk.path(bundle)];
        let dry = apply(&desk.path(to), &paths, &options(true)).unwrap_err().to_string();
        assert_eq!(dry, error);
    };
    refused("b", "two", &["no snapshot here yet", "bundle of everything"]);
    assert!(!desk.path("b").exists());
    desk.apply("b", &["one"]).unwrap();
    let roots: Vec<String> = desk
        .open("a")
        .transactions()
        .unwrap()
        .iter()
        .map(|made| Digest(made.hash).to_string())
        .collect();
    refused("b", "three", &["from snapshot 2", &roots[1], &roots[0], "from 1 to 2"]);

    desk.add("stranger", &["delta@1.0.0"]);
    refused("stranger", "one", &["of another archive"]);
    refused("stranger", "two", &["of another archive"]);

    desk.apply("own-way", &["one"]).unwrap();
    desk.add("own-way", &["delta@1.0.0"]);
    let before = desk.open("own-way").head().clone();
    refused("own-way", "two", &["gone its own way since snapshot 1"]);
    assert_eq!(*desk.open("own-way").head(), before);
}

#[test]
fn volumes_are_small_enough_and_each_is_missed() {
    let desk = Desk::new();
    desk.add_sized("a", &["alpha@1.0.0", "alpha@1.0.1"], 600_000);
    desk.add_sized("a", &["beta@1.0.0", "beta@1.0.1", "beta@1.0.2", "gamma@1.0.0"], 500_000);
    let report = desk.bundle_sized("a", Since::Nothing, "many", MIN_VOLUME_BYTES);
    assert!(report.volumes.len() >= 4, "{report:?}");
    assert!(report.volumes.iter().all(|(_, bytes)| *bytes <= MIN_VOLUME_BYTES));
    let files = volumes(&desk.path("many"));
    for missing in 0..files.len() {
        let some: Vec<PathBuf> = files
            .iter()
            .enumerate()
            .filter(|(i, _)| *i != missing)
            .map(|(_, file)| file.clone())
            .collect();
        let folder = desk.path(&format!("without-{missing}"));
        let result = apply(&folder, &some, &options(false));
        if missing + 1 == files.len() {
            // All but the last: what is in them is taken in, and the last may follow.
            let (volumes, all, _) = result.unwrap().waiting.unwrap();
            assert_eq!((volumes, all), (vec![files.len() as u32], files.len() as u32));
        } else {
            let error = result.unwrap_err().to_string();
            assert!(
                error.contains(&format!("volume {} of {}", missing + 1, files.len())),
                "{error}"
            );
            assert!(!folder.exists());
        }
    }
    // One at a time, as from drives that hold no more.
    for file in &files {
        apply(&desk.path("b"), std::slice::from_ref(file), &options(false)).unwrap();
    }
    desk.assert_alike("a", "b");
    // The last first is missing all others.
    let last = files.last().unwrap();
    let error = apply(&desk.path("c"), std::slice::from_ref(last), &options(false)).unwrap_err();
    assert!(matches!(error, BundleError::Missing { .. }), "{error}");

    let options = BundleOptions {
        volume_bytes: MIN_VOLUME_BYTES,
        stem: None,
        stop: &|| false,
        begin: &|_| {},
        progress: &|_| {},
    };
    desk.add_sized("a", &["huge@1.0.0"], 1_200_000);
    let error = bundle(&desk.open("a"), Since::Snapshot(2), &desk.path("huge"), &options).unwrap_err();
    assert!(
        error.to_string().contains("huge@1.0.0") && error.to_string().contains("--volume-size"),
        "{error}"
    );
}

#[test]
fn every_flip_and_cut_is_noticed_and_the_archive_stays_whole() {
    let desk = Desk::new();
    desk.add("a", &["alpha@1.0.0"]);
    desk.bundle("a", Since::Nothing, "one");
    desk.apply("b", &["one"]).unwrap();
    desk.add("a", &["alpha@1.1.0", "beta@1.0.0"]);
    desk.bundle("a", Since::Snapshot(1), "two");
    let good = std::fs::read(&volumes(&desk.path("two"))[0]).unwrap();
    let bad = desk.path("000001-000002-001.chb");
    let root = desk.open("b").head().root;
    let mut said = BTreeMap::<String, usize>::new();
    for at in (0..good.len()).step_by(37) {
        let mut bytes = good.clone();
        bytes[at] ^= 1 << (at % 8);
        std::fs::write(&bad, &bytes).unwrap();
        let error = apply(&desk.path("b"), std::slice::from_ref(&bad), &options(false)).unwrap_err();
        assert!(error.to_string().contains("000001-000002-001.chb"), "{error}");
        let kind = format!("{error:?}").split([' ', '{']).next().unwrap().to_owned();
        *said.entry(kind).or_default() += 1;
        let dry = apply(&desk.path("b"), std::slice::from_ref(&bad), &options(true));
        assert!(dry.is_err(), "flip at {at}");
    }
    assert!(
        said.contains_key("Damaged") && said.contains_key("NotAVolume"),
        "{said:?}"
    );
    for cut in (0..good.len()).step_by(101) {
        std::fs::write(&bad, &good[..cut]).unwrap();
        let error = apply(&desk.path("b"), std::slice::from_ref(&bad), &options(false)).unwrap_err();
        assert!(
            matches!(error, BundleError::Unfinished { .. } | BundleError::NotAVolume { .. }),
            "cut at {cut}: {error}"
        );
    }
    let archive = desk.open("b");
    assert_eq!(archive.head().root, root);
    assert_eq!(archive.verify(Depth::Full, 2, &|_| {}).unwrap().problems, vec![]);
    desk.apply("b", &["two"]).unwrap();
    desk.assert_alike("a", "b");
}

#[test]
fn a_full_or_pulled_out_target_is_whole_and_the_next_run_goes_on() {
    let desk = Desk::new();
    desk.add("a", &["alpha@1.0.0"]);
    desk.bundle("a", Since::Nothing, "one");
    desk.add("a", &["alpha@1.1.0", "beta@1.0.0", "gamma@1.0.0"]);
    desk.bundle("a", Since::Snapshot(1), "two");
    let limits = (0..60).map(|calls| (u64::MAX, calls));
    let rooms = (0..12).map(|room| (room * 1200, u64::MAX));
    let (mut failed, mut full) = (0, 0);
    for (room_bytes, calls) in limits.chain(rooms) {
        let to = format!("b-{room_bytes}-{calls}");
        desk.apply(&to, &["one"]).unwrap();
        let medium: Arc<dyn Medium> = Arc::new(Drive {
            room_bytes: AtomicU64::new(room_bytes),
            calls_left: AtomicU64::new(calls),
            ..Drive::new(&desk.path(&to))
        });
        let result = apply_on(&medium, &[desk.path("two")], &options(false));
        drop(medium);
        if let Err(error) = result {
            failed += 1;
            full += usize::from(matches!(error, BundleError::Full { .. }));
            let archive = desk.open(&to);
            assert_eq!(
                archive.verify(Depth::Full, 2, &|_| {}).unwrap().problems,
                vec![],
                "{to}"
            );
        }
        desk.apply(&to, &["two"]).unwrap();
        desk.assert_alike("a", &to);
        std::fs::remove_dir_all(desk.path(&to)).unwrap();
    }
    assert!(failed > 15 && full > 5, "{failed} failed, {full} full");
}

#[test]
fn what_the_archive_holds_already_is_not_stored_again() {
    let desk = Desk::new();
    desk.add("a", &["alpha@1.0.0"]);
    desk.bundle("a", Since::Nothing, "one");
    desk.apply("b", &["one"]).unwrap();
    desk.add("a", &["alpha@1.1.0", "alpha@1.2.0"]);
    let two = desk.bundle("a", Since::Snapshot(1), "two");
    assert_eq!(two.objects, 2);
    // Its bytes came another way, without a word of the registry.
    let writer = Writer::open(&desk.path("b")).unwrap();
    let release = "alpha@1.1.0";
    let files = [(release.parse().unwrap(), crate_file(release, 3000))];
    support::take_in(&writer, &files).remove(0).unwrap();
    writer.settle(&CommitInfo::default()).unwrap();
    drop(writer);
    let report = desk.apply("b", &["two"]).unwrap();
    assert_eq!((report.new_objects, report.held_objects), (1, 1));
    desk.assert_alike("a", "b");
}

/// What was erased at A goes at B too, bytes and all; and what B has erased by itself
/// does not come back.
#[test]
fn erasing_travels_too_and_nothing_erased_comes_back() {
    let desk = Desk::new();
    desk.add("a", &["alpha@1.0.0", "alpha@1.1.0", "beta@1.0.0"]);
    desk.bundle("a", Since::Nothing, "one");
    desk.apply("b", &["one"]).unwrap();
    let purge = |name: &str, release: &str| {
        let writer = Writer::open(&desk.path(name)).unwrap();
        let options = PurgeOptions {
            reason: "a court said so",
            level: 3,
            progress: &|_| {},
        };
        let target = Target::Release(release.parse().unwrap());
        writer.purge(&[target], &options).unwrap();
    };
    purge("a", "alpha@1.0.0");
    desk.add("a", &["alpha@1.2.0"]);
    desk.bundle("a", Since::Snapshot(1), "two");
    let paths = [desk.path("two")];
    let dry = apply(&desk.path("b"), &paths, &options(true)).unwrap();
    assert_eq!((dry.erased_objects, dry.new_objects), (1, 1));
    let report = desk.apply("b", &["two"]).unwrap();
    assert_eq!((report.erased_objects, report.new_objects), (1, 1));
    desk.assert_alike("a", "b");
    let gone = Digest::of(&crate_file("alpha@1.0.0", 3000));
    let archive = desk.open("b");
    assert_eq!(archive.find(&gone).unwrap(), None);
    assert_eq!(archive.purged().unwrap()[0].reason, "a court said so");
    // Not in any pack, in whatever form: its noise does not compress.
    let noise = &archive.read_tar(&Digest::of(&crate_file("alpha@1.1.0", 3000))).unwrap()[2048..2148].to_vec();
    let pack_bytes = |name: &str| -> Vec<u8> {
        let packs = std::fs::read_dir(desk.path(name).join("packs")).unwrap();
        packs
            .flat_map(|pack| std::fs::read(pack.unwrap().path()).unwrap())
            .collect()
    };
    let has = |bytes: &[u8], part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
    assert!(has(&pack_bytes("b"), noise), "the proof looks in the right place");
    let whole = gunzip(&crate_file("alpha@1.0.0", 3000)).unwrap();
    assert!(!has(&pack_bytes("b"), &whole[2048..2148]));
    assert_eq!(desk.apply("b", &["one", "two"]).unwrap().new_objects, 0);
    assert_eq!(desk.open("b").find(&gone).unwrap(), None);

    // Wanted again at A, and so at B.
    let writer = Writer::open(&desk.path("a")).unwrap();
    let release = "alpha@1.0.0".parse().unwrap();
    writer.accept_purged(&[release], &CommitInfo::default()).unwrap();
    let file = crate_file("alpha@1.0.0", 3000);
    writer
        .add(&"alpha@1.0.0".parse().unwrap(), file, EncodeOptions::default())
        .unwrap();
    desk.commit(&writer);
    drop(writer);
    let since = desk.open("b").root().unwrap().snapshot;
    desk.bundle("a", Since::Snapshot(since), "three");
    desk.apply("b", &["three"]).unwrap();
    desk.assert_alike("a", "b");

    // B goes its own way: it erases. Bytes on their way to it stay out.
    purge("b", "beta@1.0.0");
    let erased = Digest::of(&crate_file("beta@1.0.0", 3000));
    let error = desk.apply("b", &["one"]).map(|report| report.new_objects);
    assert_eq!(error.unwrap(), 0);
    assert_eq!(desk.open("b").find(&erased).unwrap(), None);
}

fn cratehold(arguments: &[&str], folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cratehold"))
        .args(arguments)
        .current_dir(folder)
        .env_remove("CRATEHOLD_ARCHIVE")
        .output()
        .unwrap()
}

#[test]
fn the_commands_say_what_they_did() {
    let desk = Desk::new();
    desk.add("a", &["alpha@1.0.0"]);
    desk.add("a", &["beta@1.0.0"]);
    let run = |arguments: &[&str]| {
        let output = cratehold(arguments, desk.0.path());
        let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        (output.status.code().unwrap(), text)
    };
    let (code, text) = run(&["-a", "a", "bundle", "--since", "1", "-o", "out/new.chb"]);
    assert!(
        code == 0 && text.starts_with("from snapshot 1 to 2: 1 objects, 1 transactions"),
        "{text}"
    );
    assert!(desk.path("out/new.chb").exists() && !desk.path("out/README.txt").exists());
    let (code, text) = run(&["-a", "a", "bundle", "-o", "all", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &json["objects"], &json["snapshot"]), (0, &2.into(), &2.into()));
    assert!(desk.path("all/000000-000002-001.chb").exists() && desk.path("all/README.txt").exists());

    let (code, text) = run(&["-a", "b", "apply", "out/new.chb"]);
    assert!(
        code == 1 && text.contains("error: out/new.chb: goes on from snapshot 1"),
        "{text}"
    );
    let (code, text) = run(&["-a", "b", "apply", "--dry-run", "all"]);
    assert!(code == 0 && text.contains("2 objects would be taken in"), "{text}");
    assert!(!desk.path("b").exists());
    let (code, text) = run(&["-a", "b", "apply", "all"]);
    assert!(code == 0 && text.contains("archive is now snapshot 2"), "{text}");
    let (code, text) = run(&["-a", "b", "apply", "all", "out/new.chb"]);
    assert!(code == 0 && text.contains("already has it"), "{text}");
    let (code, text) = run(&["-a", "b", "apply", "a"]);
    assert!(code == 1 && text.contains("no file in it ends with .chb"), "{text}");
    let (code, text) = run(&["-a", "b", "apply", "a/README.txt"]);
    assert!(code == 1 && text.contains("not a volume of a bundle"), "{text}");
    let (code, text) = run(&["-a", "a", "bundle", "--since", "7", "-o", "x"]);
    assert!(code == 1 && text.contains("no snapshot 7"), "{text}");
    std::fs::write(desk.path("taken.chb"), b"my diary").unwrap();
    let (code, text) = run(&["-a", "a", "bundle", "-o", "taken.chb"]);
    assert!(code == 1 && text.contains("not a volume of this bundle"), "{text}");
    assert_eq!(std::fs::read(desk.path("taken.chb")).unwrap(), b"my diary");
}
