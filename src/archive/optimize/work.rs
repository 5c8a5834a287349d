//! The pipeline: one thread plans shelves, many make records, one writes them in order.
//!
//! Memory is bounded by permits, which are taken in the order in which records will be
//! written; so whoever waits for a record waits for one that is under way.

use super::measure::Scales;
use super::plan::{Plan, PlannedBase, Step, plan};
use super::shelf::{Listing, shelf_id};
use super::source::{Contents, Source};
use super::spare::Spares;
use super::{OptimizeOptions, settings_of};
use crate::archive::Error;
use crate::archive::budget::{Budget, Permit};
use crate::archive::encode::{self, Base, EncodeOptions};
use crate::format::pack::RecordMeta;
use crate::ids::Digest;
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What happens to one shelf.
pub(super) enum Planned {
    /// It is as these settings would make it.
    Done {
        crate_bytes: u64,
        /// The shelf's id.
        shelf: Digest,
    },
    /// Its records come next.
    Make(Arc<Plan>),
}

/// A record as it will be written.
pub(super) struct Made {
    pub meta: RecordMeta,
    pub frame: Vec<u8>,
    /// Whether it was taken over from an earlier run.
    pub is_spare: bool,
    /// Whether an engine gives a crate file that was stored as it came.
    pub is_undone: bool,
    _permit: Permit,
}

enum Item {
    Seed(usize),
    Step(Step),
}

struct Job {
    number: u64,
    plan: Arc<Plan>,
    item: Item,
    permit: Permit,
}

/// What the writing end sees.
pub(super) struct Line<'a> {
    plans: Receiver<Result<Planned, Error>>,
    made: Receiver<(u64, Result<Made, Error>)>,
    early: HashMap<u64, Result<Made, Error>>,
    next: u64,
    halt: &'a AtomicBool,
}

impl Line<'_> {
    /// The next shelf; none behind the last.
    pub fn next_shelf(&mut self) -> Option<Result<Planned, Error>> {
        self.plans.recv().ok()
    }

    /// The next record of the shelf; none if work was halted.
    pub fn next_record(&mut self) -> Option<Result<Made, Error>> {
        let number = self.next;
        self.next += 1;
        loop {
            if let Some(made) = self.early.remove(&number) {
                return Some(made);
            }
            let (found, made) = self.made.recv().ok()?;
            self.early.insert(found, made);
        }
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        self.halt.store(true, Ordering::Relaxed);
    }
}

/// Whether a shelf is stored as it will be already.
pub(super) type IsDone<'a> = dyn Fn(&[super::shelf::Member], &Digest) -> Result<bool, Error> + Sync + 'a;

/// Runs the pipeline over `shelves` and hands its writing end to `write`.
pub(super) fn run<T>(
    source: Source<'_>,
    spares: &Spares<'_>,
    listing: &Listing,
    shelves: &[Range<usize>],
    is_done: &IsDone<'_>,
    options: &OptimizeOptions<'_>,
    write: impl FnOnce(Line<'_>) -> T,
) -> T {
    let halt = AtomicBool::new(false);
    let budget = Budget::new(options.memory_bytes / 4 * 3);
    let contents = Contents::new(source, options.memory_bytes / 4);
    let threads = options.threads.max(1);
    let (plans_in, plans) = bounded(1);
    let (jobs_in, jobs) = unbounded::<Job>();
    let (made_in, made) = unbounded();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (jobs, made_in) = (jobs.clone(), made_in.clone());
            let (contents, halt) = (&contents, &halt);
            scope.spawn(move || {
                for job in jobs {
                    if !halt.load(Ordering::Relaxed) {
                        let number = job.number;
                        // Whoever is gone has no use for it.
                        let _ = made_in.send((number, make(job, contents, spares, options)));
                    }
                }
            });
        }
        drop((jobs, made_in));
        let (halt_ref, budget_ref, contents_ref) = (&halt, &budget, &contents);
        scope.spawn(move || {
            let feed = Feed {
                source,
                contents: contents_ref,
                plans: plans_in,
                jobs: jobs_in,
                budget: budget_ref,
                halt: halt_ref,
                number: 0,
            };
            feed.run(listing, shelves, is_done, options, threads);
        });
        let line = Line {
            plans,
            made,
            early: HashMap::new(),
            next: 0,
            halt: &halt,
        };
        let result = write(line);
        halt.store(true, Ordering::Relaxed);
        budget.lift();
        result
    })
}

struct Feed<'a> {
    source: Source<'a>,
    contents: &'a Contents<'a>,
    plans: Sender<Result<Planned, Error>>,
    jobs: Sender<Job>,
    budget: &'a Arc<Budget>,
    halt: &'a AtomicBool,
    number: u64,
}

impl Feed<'_> {
    fn run(
        mut self,
        listing: &Listing,
        shelves: &[Range<usize>],
        is_done: &IsDone<'_>,
        options: &OptimizeOptions<'_>,
        threads: usize,
    ) {
        let settings = settings_of(options);
        let ended = || self.halt.load(Ordering::Relaxed) || (options.stop)();
        for crates in shelves {
            if ended() {
                return;
            }
            let members = listing.members(crates.clone());
            let shelf = shelf_id(&members, &settings);
            let scales = Scales {
                contents: self.contents,
                budget: self.budget,
                threads,
                ended: &ended,
            };
            let planned = match is_done(&members, &shelf) {
                Ok(true) => Ok(Planned::Done {
                    crate_bytes: listing.crate_bytes(crates.clone()),
                    shelf,
                }),
                Ok(false) => match plan(self.source, members, shelf, options.chain, scales) {
                    Ok(None) => return,
                    Ok(Some(plan)) => Ok(Planned::Make(Arc::new(plan))),
                    Err(error) => Err(error),
                },
                Err(error) => Err(error),
            };
            let made = match &planned {
                Ok(Planned::Make(plan)) => Some(plan.clone()),
                _ => None,
            };
            let failed = planned.is_err();
            if self.plans.send(planned).is_err() || failed {
                return;
            }
            if let Some(plan) = made {
                self.hand_out(&plan, options.level);
            }
        }
    }

    fn hand_out(&mut self, plan: &Arc<Plan>, level: i32) {
        let seeds = plan.seeds.iter().enumerate().map(|(at, seed)| {
            let bytes = work_bytes(seed.content.len() as u64, 0, level);
            (Item::Seed(at), bytes)
        });
        let steps = plan.steps.iter().map(|step| {
            let bytes = work_bytes(step.content_bytes, step.base_bytes, level);
            (Item::Step(*step), bytes)
        });
        for (item, bytes) in seeds.chain(steps) {
            if self.halt.load(Ordering::Relaxed) {
                return;
            }
            let job = Job {
                number: self.number,
                plan: plan.clone(),
                item,
                permit: self.budget.take(bytes),
            };
            self.number += 1;
            if self.jobs.send(job).is_err() {
                return;
            }
        }
    }
}

/// What making a record takes in memory: contents, frame, and zstd's tables, which at high
/// levels are twelve bytes for each byte of the window, up to 640 MiB.
pub(super) fn work_bytes(content_bytes: u64, base_bytes: u64, level: i32) -> u64 {
    const MOST_TABLE_BYTES: u64 = 640 << 20;
    let window_bytes = (content_bytes + base_bytes).next_power_of_two();
    let tables = if level < 10 { window_bytes } else { 12 * window_bytes };
    4 * content_bytes + 2 * base_bytes + tables.min(MOST_TABLE_BYTES)
}

fn make(job: Job, contents: &Contents<'_>, spares: &Spares<'_>, options: &OptimizeOptions<'_>) -> Result<Made, Error> {
    let Job {
        plan, item, mut permit, ..
    } = job;
    let (meta, frame, is_spare, is_undone) = match item {
        Item::Seed(at) => {
            let (meta, frame) = encode::encode_seed(&plan.seeds[at].content, options.level)?;
            (meta, frame, false, false)
        }
        Item::Step(step) => make_step(&plan, step, contents, spares, options.level)?,
    };
    permit.resize(frame.len() as u64);
    Ok(Made {
        meta,
        frame,
        is_spare,
        is_undone,
        _permit: permit,
    })
}

type Record = (RecordMeta, Vec<u8>, bool, bool);

fn make_step(
    plan: &Plan,
    step: Step,
    contents: &Contents<'_>,
    spares: &Spares<'_>,
    level: i32,
) -> Result<Record, Error> {
    let member = &plan.members[step.member];
    let made = contents.of(&member.digest)?;
    let content = &made.content;
    let held;
    let base = match step.base {
        None => None,
        Some(PlannedBase::Seed(at)) => Some((plan.seeds[at].digest, &plan.seeds[at].content[..])),
        Some(PlannedBase::Member(at)) => {
            held = contents.of(&plan.members[at].digest)?;
            Some((plan.members[at].digest, &held.content.bytes[..]))
        }
    };
    let base = base.map(|(digest, content)| Base {
        digest,
        content,
        chain_depth: step.base_depth,
        chain_bytes: step.base_chain_bytes,
    });
    let spare = spares.frame(&member.digest, base.map(|base| base.digest));
    let prefix = base.map(|base| base.content);
    let spare = spare.filter(|frame| encode::gives(frame, &content.bytes, prefix) == Ok(true));
    let is_spare = spare.is_some();
    let (meta, frame) = match spare {
        Some(frame) => (encode::meta_of(&member.release, content, base, &frame), frame),
        None => {
            let options = EncodeOptions {
                level,
                ..EncodeOptions::default()
            };
            encode::encode(&member.release, content, base, options)?
        }
    };
    // What it replaces will be gone: so it must give the crate file, not only its content.
    encode::redo(&meta, &content.bytes)
        .map_err(|cause| Error::Rejected(format!("{}: {cause}; nothing of it was changed", member.release)))?;
    Ok((meta, frame, is_spare, made.is_undone))
}
