//! What the crash tests do to an archive: each a short list of steps that a crash may
//! interrupt anywhere. To add one, write what it does and give it a row in [`ALL`].

use super::images::Tracker;
use super::medium::{Image, Op, Recorder};
use super::oracle::History;
use crate::support::{self, take_in};
use cratehold::archive::{
    ApplyOptions, Archive, BundleOptions, ChainBudget, CommitInfo, DEFAULT_VOLUME_BYTES, EncodeOptions, Error,
    OptimizeOptions, ProtectOptions, PurgeOptions, RepairOptions, Since, Target, Trust, Writer, apply_on, bundle,
    repair_on,
};
use cratehold::format::manifest::EventKind;
use cratehold::format::manifest_event::Event;
use cratehold::ids::{Digest, Release};
use cratehold::store::Medium;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

pub struct Workload {
    pub name: &'static str,
    /// What is there before; all of it durable.
    before: fn(&Stage) -> Result<(), Error>,
    /// What a crash interrupts.
    run: fn(&Stage) -> Result<(), Error>,
    /// What is asked of every image besides, given the last snapshot acknowledged.
    also: fn(&Image, Option<u64>) -> Result<(), String>,
}

pub const ALL: &[Workload] = &[
    Workload {
        name: "first commit",
        before: |_| Ok(()),
        run: first,
        also: nothing,
    },
    Workload {
        name: "second commit",
        before: first,
        run: second,
        also: nothing,
    },
    Workload {
        name: "index merge",
        before: |stage| first(stage).and_then(|()| second(stage)),
        run: third,
        also: nothing,
    },
    Workload {
        name: "new pack",
        before: torn_pack,
        run: second,
        also: nothing,
    },
    Workload {
        name: "removal",
        before: |stage| first(stage).and_then(|()| second(stage)),
        run: removal,
        also: nothing,
    },
    Workload {
        name: "adoption",
        before: left_behind,
        run: adoption,
        also: nothing,
    },
    Workload {
        name: "rewriting packs",
        before: |stage| torn_pack(stage).and_then(|()| second(stage)),
        run: rewriting,
        also: nothing,
    },
    Workload {
        name: "purge",
        before: |stage| torn_pack(stage).and_then(|()| second(stage)),
        run: purging,
        also: no_traces,
    },
    Workload {
        name: "protection",
        before: protected,
        run: protection,
        also: stays_protected,
    },
    Workload {
        name: "a bundle of everything",
        before: |_| Ok(()),
        run: apply_first,
        also: nothing,
    },
    Workload {
        name: "a bundle of two snapshots",
        before: apply_first,
        run: apply_others,
        also: nothing,
    },
    Workload {
        name: "optimize",
        before: stored_large,
        run: optimize,
        also: nothing,
    },
    Workload {
        name: "optimize once more",
        before: |stage| stored_large(stage).and_then(|()| half_optimized(stage)),
        run: optimize,
        also: nothing,
    },
];

/// Where a workload plays.
pub struct Stage {
    pub medium: Arc<Recorder>,
    pub history: Mutex<History>,
}

impl Stage {
    pub fn on(medium: Arc<Recorder>) -> Stage {
        Stage {
            medium,
            history: Mutex::default(),
        }
    }

    fn writer(&self) -> Result<Writer, Error> {
        self.medium.unlock();
        let writer = Writer::open_on(self.medium.clone())?;
        writer.with_archive(|archive| self.told(archive))?;
        Ok(writer)
    }

    fn told(&self, archive: &Archive) -> Result<(), Error> {
        self.medium.acknowledge(archive.head().generation);
        self.history.lock().unwrap().note(archive)
    }

    fn commit(&self, writer: &Writer) -> Result<(), Error> {
        let result = writer.commit(&CommitInfo {
            source: "test".into(),
            ..CommitInfo::default()
        });
        if result.is_err() {
            // A writer that failed stays failed: nothing may be called committed by it.
            assert!(
                writer.commit(&CommitInfo::default()).is_err(),
                "committed after {result:?}"
            );
        }
        result?;
        writer.with_archive(|archive| self.told(archive))
    }

    /// Stores these releases, in this order, later versions against earlier ones.
    fn store(&self, writer: &Writer, releases: &[&str]) -> Result<(), Error> {
        let files: Vec<(Release, Vec<u8>)> = releases
            .iter()
            .map(|release| (release.parse().unwrap(), crate_file(release)))
            .collect();
        take_in(writer, &files)
            .into_iter()
            .try_for_each(|outcome| outcome.map(drop))
    }

    fn note(&self, writer: &Writer, kind: EventKind, release: &str, text: Option<&str>) {
        let (name, version) = release.split_once('@').unwrap();
        let event = Event {
            kind,
            yanked: kind == EventKind::Yanked,
            generation: 0,
            version: version.into(),
            digest: Some(Digest::of(&crate_file(release))),
            text: text.map(|text| text.as_bytes().to_vec()),
        };
        writer.note(name, event);
    }
}

/// The crate files of the workloads, made once.
pub fn crate_file(release: &str) -> Vec<u8> {
    static MADE: Mutex<Vec<(String, Vec<u8>)>> = Mutex::new(Vec::new());
    let mut made = MADE.lock().unwrap();
    if let Some((_, bytes)) = made.iter().find(|(held, _)| held == release) {
        return bytes.clone();
    }
    let bytes = support::crate_file(release, 300);
    made.push((release.to_owned(), bytes.clone()));
    bytes
}

pub fn first(stage: &Stage) -> Result<(), Error> {
    let writer = stage.writer()?;
    stage.store(&writer, &["one@1.0.0", "one@1.0.1"])?;
    stage.commit(&writer)
}

pub fn second(stage: &Stage) -> Result<(), Error> {
    let writer = stage.writer()?;
    stage.store(&writer, &["one@1.0.2"])?;
    stage.note(&writer, EventKind::Yanked, "one@1.0.0", Some("a line"));
    stage.commit(&writer)
}

/// Two commits of one writer: segments are merged, and those before are swept away.
fn third(stage: &Stage) -> Result<(), Error> {
    let writer = stage.writer()?;
    stage.store(&writer, &["two@1.0.0", "two@1.0.2"])?;
    stage.commit(&writer)?;
    stage.store(&writer, &["two@1.0.1"])?;
    stage.commit(&writer)
}

fn removal(stage: &Stage) -> Result<(), Error> {
    let writer = stage.writer()?;
    stage.note(&writer, EventKind::Removed, "one@1.0.0", None);
    stage.commit(&writer)
}

/// Behind the committed bytes of the pack something torn: it will be sealed.
fn torn_pack(stage: &Stage) -> Result<(), Error> {
    first(stage)?;
    let name = "packs/00000001.pak";
    let bytes = stage.medium.len(name).unwrap();
    stage.medium.write_at(name, bytes, &[0x5c; 100]).unwrap();
    Ok(())
}

/// A writer that ended without a commit.
fn left_behind(stage: &Stage) -> Result<(), Error> {
    first(stage)?;
    let writer = stage.writer()?;
    stage.store(&writer, &["two@1.0.0", "two@1.0.1"])
}

fn adoption(stage: &Stage) -> Result<(), Error> {
    let writer = stage.writer()?;
    stage.commit(&writer)
}

fn nothing(_image: &Image, _told: Option<u64>) -> Result<(), String> {
    Ok(())
}

/// What `gc` does with a pack of which little is needed.
fn rewriting(stage: &Stage) -> Result<(), Error> {
    let writer = stage.writer()?;
    let mut garbage = writer.with_archive(|archive| archive.garbage(100))?;
    garbage.packs.truncate(1);
    assert_eq!(garbage.packs[0].pack, 1);
    writer.collect(&garbage, &|_| {})?;
    writer.with_archive(|archive| stage.told(archive))
}

const ERASED: &str = "one@1.0.1";
/// Two commits before; then one that lets go, one without the pack, one that settles.
const ERASED_IN: u64 = 5;

pub fn purge(writer: &Writer) -> Result<(), Error> {
    let options = PurgeOptions {
        reason: "asked to",
        level: 3,
        progress: &|_| {},
    };
    let erased = Target::Digest(Digest::of(&crate_file(ERASED)));
    writer.purge(&[erased], &options).map(drop)
}

fn purging(stage: &Stage) -> Result<(), Error> {
    let writer = stage.writer()?;
    purge(&writer)?;
    writer.with_archive(|archive| {
        assert_eq!(archive.head().generation, ERASED_IN);
        stage.told(archive)
    })
}

/// Once it has been said to be erased, no file has it, whatever a crash leaves.
fn no_traces(image: &Image, told: Option<u64>) -> Result<(), String> {
    match told {
        Some(told) if told >= ERASED_IN => search(image),
        _ => Ok(()),
    }
}

/// Looks for the bytes that do not compress, and so lie in packs as they are.
pub fn search(image: &Image) -> Result<(), String> {
    let traces = &support::noise(ERASED, 300)[..24];
    let found = |bytes: &[u8]| bytes.windows(traces.len()).any(|window| window == traces);
    match image.files.iter().find(|(_, bytes)| found(bytes)) {
        Some((name, _)) => Err(format!("{name} has bytes of what was erased")),
        None => Ok(()),
    }
}

/// Recovery data of a pack that has grown since.
fn protected(stage: &Stage) -> Result<(), Error> {
    first(stage)?;
    protect(&stage.writer()?)?;
    second(stage)
}

pub fn protect(writer: &Writer) -> Result<(), Error> {
    let options = ProtectOptions {
        percent: 5,
        threads: 1,
        stop: &|| false,
        progress: &|_| {},
    };
    writer.protect(&options).map(drop)
}

fn protection(stage: &Stage) -> Result<(), Error> {
    let writer = stage.writer()?;
    protect(&writer)?;
    writer.with_archive(|archive| stage.told(archive))
}

/// What was protected before is protected still: damage to it is mended.
fn stays_protected(image: &Image, _told: Option<u64>) -> Result<(), String> {
    let mut image = image.clone();
    let pack = "packs/00000001.pak";
    let whole = image.files[pack].clone();
    let mut damaged = whole.to_vec();
    damaged[200..300].fill(0xee);
    image.files.insert(pack.into(), Arc::new(damaged));
    let medium: Arc<dyn Medium> = Recorder::new(image);
    repair_on(&medium, &mut [], &repair_options()).map_err(|error| error.to_string())?;
    match medium.read(pack).map_err(|error| error.to_string())? == *whole {
        true => Ok(()),
        false => Err("damage to what was protected is not mended".into()),
    }
}

pub fn repair_options() -> RepairOptions<'static> {
    RepairOptions {
        full: true,
        level: 3,
        ..RepairOptions::default()
    }
}

/// Bundles of an archive that went through three snapshots: the first, and the other two
/// in one.
fn bundles() -> &'static [PathBuf; 2] {
    static MADE: OnceLock<(tempfile::TempDir, [PathBuf; 2])> = OnceLock::new();
    let (_, paths) = MADE.get_or_init(|| {
        let drive = tempfile::tempdir().unwrap();
        let paths = ["first", "others"].map(|name| drive.path().join(name));
        let stage = Stage::on(Recorder::new(Image::default()));
        let carry = |since: Since<'_>, to: &Path| {
            let archive = Archive::open_on(stage.medium.clone()).unwrap();
            let options = BundleOptions {
                volume_bytes: DEFAULT_VOLUME_BYTES,
                stem: None,
                stop: &|| false,
                begin: &|_| {},
                progress: &|_| {},
            };
            bundle(&archive, since, to, &options).unwrap();
        };
        told(&stage, EventKind::Added, "one@1.0.0", &["one@1.0.0", "one@1.0.1"]).unwrap();
        carry(Since::Nothing, &paths[0]);
        told(&stage, EventKind::Yanked, "one@1.0.1", &["one@1.0.2"]).unwrap();
        told(&stage, EventKind::Removed, "one@1.0.0", &[]).unwrap();
        carry(Since::Snapshot(1), &paths[1]);
        (drive, paths)
    });
    paths
}

/// A commit of bytes and of what was said of a release.
fn told(stage: &Stage, kind: EventKind, release: &str, stored: &[&str]) -> Result<(), Error> {
    let writer = stage.writer()?;
    stage.store(&writer, stored)?;
    stage.note(&writer, kind, release, Some("a line"));
    stage.commit(&writer)
}

fn take_bundle(medium: &Arc<Recorder>, path: &Path) -> Result<(), Error> {
    medium.unlock();
    let medium: Arc<dyn Medium> = medium.clone();
    let options = ApplyOptions {
        dry_run: false,
        trust: Trust::default(),
        threads: 1,
        stop: &|| false,
        begin: &|_| {},
        progress: &|_| {},
    };
    let taken = apply_on(&medium, &[path.to_owned()], &options);
    taken
        .map(drop)
        .map_err(|error| Error::Rejected(format!("apply: {error}")))
}

/// Takes a bundle in. The older head tells of a commit on the way, if there was one.
fn apply_bundle(stage: &Stage, path: &Path) -> Result<(), Error> {
    if let Ok(before) = Archive::open_on(stage.medium.clone()) {
        stage.told(&before)?;
    }
    let rehearsal = Recorder::new(stage.medium.image());
    take_bundle(&rehearsal, path).unwrap();
    let mut image = rehearsal.image();
    let newest = Archive::open_on(rehearsal)?.head().generation;
    image.files.remove(&format!("head{}", newest % 2));
    if let Ok(on_the_way) = Archive::open_on(Recorder::new(image)) {
        stage.history.lock().unwrap().note(&on_the_way)?;
    }
    take_bundle(&stage.medium, path)?;
    stage.told(&Archive::open_on(stage.medium.clone())?)
}

fn apply_first(stage: &Stage) -> Result<(), Error> {
    apply_bundle(stage, &bundles()[0])
}

/// Two snapshots at once: one number is skipped, so that a commit comes between, or the
/// newest head would be written over. [R 10.17]
fn apply_others(stage: &Stage) -> Result<(), Error> {
    apply_bundle(stage, &bundles()[1])
}

/// Crate files whose packs will be smaller: of one text, and none against another.
fn stored_large(stage: &Stage) -> Result<(), Error> {
    let writer = stage.writer()?;
    for release in ["one@1.0.0", "one@1.0.1", "two@1.0.0"] {
        let file = support::crate_file_of(release, &support::prose(1, 4000));
        writer.add(&release.parse().unwrap(), file, EncodeOptions::default())?;
    }
    stage.commit(&writer)
}

fn optimize(stage: &Stage) -> Result<(), Error> {
    optimize_until(stage, usize::MAX)
}

/// A run that was stopped: it leaves a pack that no head names.
fn half_optimized(stage: &Stage) -> Result<(), Error> {
    optimize_until(stage, 2)
}

/// Stopped once so many crate files are written.
fn optimize_until(stage: &Stage, most: usize) -> Result<(), Error> {
    let writer = stage.writer()?;
    let told = Mutex::new(Ok(()));
    let written = AtomicUsize::new(0);
    let committed = |archive: &Archive| {
        let mut told = told.lock().unwrap();
        if told.is_ok() {
            *told = stage.told(archive);
        }
    };
    let report = writer.optimize(&OptimizeOptions {
        level: 3,
        chain: ChainBudget::default(),
        pack_bytes: 1 << 30,
        threads: 1,
        memory_bytes: 64 << 20,
        stop: &|| written.load(Ordering::Relaxed) >= most,
        begin: &|_| {},
        progress: &|_, _| _ = written.fetch_add(1, Ordering::Relaxed),
        committed: &committed,
    })?;
    assert_eq!(report.stopped, most != usize::MAX);
    told.into_inner().unwrap()
}

/// A workload as it was asked for, from a durable start.
pub struct Recording {
    pub start: Image,
    pub ops: Vec<Op>,
    pub history: History,
    also: fn(&Image, Option<u64>) -> Result<(), String>,
}

impl Recording {
    /// Checks an image that a crash left; see [`History::check`].
    pub fn check(&self, image: &Image, told: Option<u64>, thorough: bool) -> Result<(), String> {
        self.history.check(image, told, thorough)?;
        (self.also)(image, told)
    }

    /// Every snapshot that was committed on the way, told of or not.
    fn note_commits(&mut self) {
        let mut tracker = Tracker::new(&self.start);
        for op in &self.ops {
            tracker.apply(op);
            if matches!(op, Op::Sync(name) if name.starts_with("head"))
                && let Ok(archive) = Archive::open_on(Recorder::new(tracker.seen()))
            {
                self.history.note(&archive).unwrap();
            }
        }
    }
}

impl Workload {
    pub fn start(&self) -> (Image, History) {
        let stage = Stage::on(Recorder::new(Image::default()));
        (self.before)(&stage).unwrap();
        (stage.medium.image(), stage.history.into_inner().unwrap())
    }

    pub fn run(&self, stage: &Stage) -> Result<(), Error> {
        (self.run)(stage)
    }

    pub fn record(&self) -> Recording {
        let (start, before) = self.start();
        let stage = Stage::on(Recorder::new(start.clone()));
        *stage.history.lock().unwrap() = before;
        self.run(&stage).unwrap();
        let mut recording = Recording {
            start,
            ops: stage.medium.ops(),
            history: stage.history.into_inner().unwrap(),
            also: self.also,
        };
        recording.note_commits();
        recording
    }
}
