//! Repairs, crashed and failed everywhere: the next repair ends what this one began, and
//! what has been said to be whole is whole.
//!
//! What these begin with is damaged, so the oracle of the other workloads, who never
//! finds less than a whole snapshot, does not fit.

use super::images::Tracker;
use super::medium::{Fault, FaultKind, Image, Op, Recorder, Rules};
use super::oracle::is_of_a_crash;
use super::workloads::{Stage, crate_file, first, protect, purge, repair_options, search, second};
use super::{Tally, crash_everywhere, depth};
use cratehold::archive::{Archive, Depth, Error, Give, Source, Wanted, Writer, repair_on};
use cratehold::ids::Digest;
use cratehold::store::Medium;
use std::sync::Arc;

const RELEASES: [&str; 3] = ["one@1.0.0", "one@1.0.1", "one@1.0.2"];
/// Told of when a repair has ended well.
const MENDED: u64 = 1 << 40;

struct Repair {
    name: &'static str,
    /// Whether there is recovery data.
    is_protected: bool,
    damage: fn(&mut Image),
}

const REPAIRS: &[Repair] = &[
    Repair {
        name: "a damaged base",
        is_protected: false,
        damage: |image| flip(image, "packs/00000001.pak", 300),
    },
    Repair {
        name: "damaged sectors with recovery data",
        is_protected: true,
        damage: |image| flip(image, "packs/00000001.pak", 300),
    },
    Repair {
        name: "lost heads",
        is_protected: false,
        damage: |image| {
            image.files.remove("head0");
            image.files.remove("head1");
        },
    },
    Repair {
        name: "a damaged index",
        is_protected: false,
        damage: |image| {
            let names: Vec<String> = image
                .files
                .keys()
                .filter(|name| name.starts_with("index/"))
                .cloned()
                .collect();
            names.iter().for_each(|name| flip(image, name, 20));
        },
    },
];

fn flip(image: &mut Image, name: &str, at: usize) {
    let bytes = image.files.get_mut(name).unwrap();
    Arc::make_mut(bytes)[at] ^= 0x55;
}

/// A place that has every crate file.
struct Everything;

impl Source for Everything {
    fn name(&self) -> String {
        "everything".into()
    }

    fn obtain(&mut self, wanted: &[Wanted], give: &mut Give<'_>) {
        for wanted in wanted {
            let file = RELEASES
                .map(crate_file)
                .into_iter()
                .find(|file| Digest::of(file) == wanted.digest);
            if !give(wanted, file.ok_or_else(|| "not there".into())) {
                return;
            }
        }
    }
}

impl Repair {
    fn start(&self) -> Image {
        let stage = Stage::on(Recorder::new(Image::default()));
        first(&stage).unwrap();
        second(&stage).unwrap();
        if self.is_protected {
            stage.medium.unlock();
            protect(&Writer::open_on(stage.medium.clone()).unwrap()).unwrap();
        }
        let mut image = stage.medium.image();
        (self.damage)(&mut image);
        image
    }

    /// Recovery data has to do without.
    fn sources(&self) -> Vec<Box<dyn Source>> {
        match self.is_protected {
            true => Vec::new(),
            false => vec![Box::new(Everything)],
        }
    }

    fn run(&self, medium: &Arc<Recorder>) -> Result<(), Error> {
        medium.unlock();
        let on: Arc<dyn Medium> = medium.clone();
        let report = repair_on(&on, &mut self.sources(), &repair_options())?;
        if !report.is_whole() {
            return Err(Error::Rejected(format!("repairing: not whole: {report:?}")));
        }
        medium.acknowledge(MENDED);
        Ok(())
    }

    fn record(&self) -> (Image, Vec<Op>) {
        let start = self.start();
        let medium = Recorder::new(start.clone());
        self.run(&medium).unwrap();
        (start, medium.ops())
    }

    /// What a crash left is whole if that was said, and is mended by the next repair.
    fn check(&self, image: &Image, told: Option<u64>) -> Result<(), String> {
        if told == Some(MENDED) {
            is_whole(image)?;
        }
        let medium = Recorder::new(image.clone());
        self.run(&medium).map_err(|error| format!("the next repair: {error}"))?;
        is_whole(&medium.image())
    }
}

fn is_whole(image: &Image) -> Result<(), String> {
    let say = |error: Error| error.to_string();
    let archive = Archive::open_on(Recorder::new(image.clone())).map_err(say)?;
    for release in RELEASES {
        let file = crate_file(release);
        match archive.read_crate(&Digest::of(&file)).map_err(say)? == file {
            true => {}
            false => return Err(format!("{release} is another")),
        }
    }
    let report = archive.verify(Depth::Full, 1, &|_| {}).map_err(say)?;
    let mut problems = report.problems.into_iter().map(|problem| problem.message);
    match problems.find(|problem| !is_of_a_crash(problem)) {
        Some(problem) => Err(problem),
        None => Ok(()),
    }
}

/// What the mistake `change` comes to, if anything.
pub fn noticed(change: fn(&[Op]) -> Vec<Op>, cap: usize) -> Option<String> {
    REPAIRS.iter().find_map(|repair| {
        let (start, ops) = repair.record();
        let changed = change(&ops);
        if changed == ops {
            return None;
        }
        let mut check = |image: &Image, told| repair.check(image, told);
        let result = crash_everywhere(&start, &changed, 0, cap, &mut check, &mut Tally::default());
        result.err().map(|error| format!("{}: {error}", repair.name))
    })
}

#[test]
fn a_crash_in_a_repair() {
    for repair in REPAIRS {
        let (start, ops) = repair.record();
        let mut tally = Tally::default();
        let mut check = |image: &Image, told| repair.check(image, told);
        let result = crash_everywhere(&start, &ops, 0, 150 * depth(), &mut check, &mut tally);
        println!("{}: {tally:?}", repair.name);
        if let Err(error) = result {
            panic!("{}: {error}", repair.name);
        }
    }
}

#[test]
fn every_call_of_a_repair_fails_once_or_for_ever() {
    for repair in REPAIRS {
        let start = repair.start();
        for (kind, for_ever) in [
            (FaultKind::Io, false),
            (FaultKind::Full, true),
            (FaultKind::Short, false),
        ] {
            let mut at = 0;
            loop {
                let fault = Fault { at, kind, for_ever };
                let medium = Recorder::with(start.clone(), Rules::Posix, Some(fault));
                let result = repair.run(&medium);
                if let Err(error) = &result {
                    let message = error.to_string();
                    assert!(
                        !message.contains('\n') && message.contains(": "),
                        "not a clear line: {message}"
                    );
                }
                if result.is_ok() && medium.calls() <= at {
                    break;
                }
                let next = Recorder::new(medium.image());
                repair
                    .check(&next.image(), None)
                    .unwrap_or_else(|error| panic!("{}: {fault:?}: {error}", repair.name));
                at += 1;
            }
            assert!(at > 10, "{}", repair.name);
        }
    }
}

/// Killed anywhere, a purge is finished by the same command: nothing of it is left, raw,
/// and what is kept is whole.
#[test]
fn a_killed_purge_is_finished_by_the_next() {
    let stage = Stage::on(Recorder::new(Image::default()));
    first(&stage).unwrap();
    stage.medium.unlock();
    protect(&Writer::open_on(stage.medium.clone()).unwrap()).unwrap();
    second(&stage).unwrap();
    let start = stage.medium.image();
    assert!(search(&start).is_err(), "the search finds what is there");
    let medium = Recorder::new(start.clone());
    purge(&Writer::open_on(medium.clone()).unwrap()).unwrap();
    search(&medium.image()).unwrap();
    let ops = medium.ops();
    let finish = |image: Image| {
        let medium = Recorder::new(image);
        purge(&Writer::open_on(medium.clone()).map_err(|error| error.to_string())?)
            .map_err(|error| error.to_string())?;
        search(&medium.image())?;
        let archive = Archive::open_on(medium).map_err(|error| error.to_string())?;
        for release in ["one@1.0.0", "one@1.0.2"] {
            archive
                .read_crate(&Digest::of(&crate_file(release)))
                .map_err(|error| error.to_string())?;
        }
        Ok::<(), String>(())
    };
    let mut tracker = Tracker::new(&start);
    for at in 0..=ops.len() {
        finish(tracker.seen()).unwrap_or_else(|error| panic!("killed before step {at}: {error}"));
        if let Some(op) = ops.get(at) {
            tracker.apply(op);
        }
    }
    let mut check = |image: &Image, _| finish(image.clone());
    crash_everywhere(&start, &ops, 0, 60 * depth(), &mut check, &mut Tally::default()).unwrap();
}
