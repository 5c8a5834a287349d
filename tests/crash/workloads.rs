//! What the crash tests do to an archive: each a short list of steps that a crash may
//! interrupt anywhere. To add one, write what it does and give it a row in [`ALL`].

use super::medium::{Image, Op, Recorder};
use super::oracle::History;
use crate::support::{self, take_in};
use cratehold::archive::{Archive, CommitInfo, Error, Writer};
use cratehold::format::manifest::EventKind;
use cratehold::format::manifest_event::Event;
use cratehold::ids::{Digest, Release};
use cratehold::store::Medium;
use std::sync::{Arc, Mutex};

pub struct Workload {
    pub name: &'static str,
    /// What is there before; all of it durable.
    before: fn(&Stage) -> Result<(), Error>,
    /// What a crash interrupts.
    run: fn(&Stage) -> Result<(), Error>,
}

pub const ALL: &[Workload] = &[
    Workload {
        name: "first commit",
        before: |_| Ok(()),
        run: first,
    },
    Workload {
        name: "second commit",
        before: first,
        run: second,
    },
    Workload {
        name: "index merge",
        before: |stage| first(stage).and_then(|()| second(stage)),
        run: third,
    },
    Workload {
        name: "new pack",
        before: torn_pack,
        run: second,
    },
    Workload {
        name: "removal",
        before: |stage| first(stage).and_then(|()| second(stage)),
        run: removal,
    },
    Workload {
        name: "adoption",
        before: left_behind,
        run: adoption,
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
fn crate_file(release: &str) -> Vec<u8> {
    static MADE: Mutex<Vec<(String, Vec<u8>)>> = Mutex::new(Vec::new());
    let mut made = MADE.lock().unwrap();
    if let Some((_, bytes)) = made.iter().find(|(held, _)| held == release) {
        return bytes.clone();
    }
    let bytes = support::crate_file(release, 300);
    made.push((release.to_owned(), bytes.clone()));
    bytes
}

fn first(stage: &Stage) -> Result<(), Error> {
    let writer = stage.writer()?;
    stage.store(&writer, &["one@1.0.0", "one@1.0.1"])?;
    stage.commit(&writer)
}

fn second(stage: &Stage) -> Result<(), Error> {
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

/// A workload as it was asked for, from a durable start.
pub struct Recording {
    pub start: Image,
    pub ops: Vec<Op>,
    pub history: History,
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
        Recording {
            start,
            ops: stage.medium.ops(),
            history: stage.history.into_inner().unwrap(),
        }
    }
}
