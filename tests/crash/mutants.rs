//! Mistakes on purpose: each step that orders what reaches the medium is left out or
//! moved, one at a time, and some workload must come out wrong.
//!
//! What the program asked for is changed after it was recorded, so that what is tested
//! is the program as it is, without switches in it; nothing it does later depends on
//! whether a sync has done its work.

use super::faults;
use super::medium::{Fault, FaultKind, Op};
use super::repairs;
use super::workloads::{ALL, Recording};
use super::{Tally, crash_everywhere};

type Change = fn(&[Op]) -> Vec<Op>;

struct Mutant {
    what: &'static str,
    change: Change,
}

fn is_sync_of(op: &Op, begins: &str) -> bool {
    matches!(op, Op::Sync(name) if name.starts_with(begins))
}

fn is_folder_sync(op: &Op, name: &str) -> bool {
    matches!(op, Op::SyncFolder(folder) if folder == name)
}

/// Of the syncs of the archive's folder in the first commit, all but one.
fn without_nth_folder_sync(ops: &[Op], nth: usize) -> Vec<Op> {
    let of_creation = matches!(ops.first(), Some(Op::Create(name)) if name == "lock");
    let mut seen = 0;
    without(ops, |op| {
        let counts = of_creation && is_folder_sync(op, "");
        seen += usize::from(counts);
        counts && seen - 1 == nth
    })
}

/// Without the first step that `gone` picks.
fn without_first(ops: &[Op], gone: impl Fn(&Op) -> bool) -> Vec<Op> {
    let mut found = false;
    without(ops, |op| {
        !found && gone(op) && {
            found = true;
            true
        }
    })
}

fn without(ops: &[Op], mut gone: impl FnMut(&Op) -> bool) -> Vec<Op> {
    ops.iter().filter(|op| !gone(op)).cloned().collect()
}

/// Steps that `late` picks come after the head's sync rather than before its write.
fn after_the_head(ops: &[Op], late: impl Fn(&Op) -> bool) -> Vec<Op> {
    let (mut out, mut held) = (Vec::new(), Vec::new());
    for op in ops {
        if late(op) {
            held.push(op.clone());
            continue;
        }
        out.push(op.clone());
        if is_sync_of(op, "head") {
            out.append(&mut held);
        }
    }
    out.append(&mut held);
    out
}

/// The head's bytes are written before anything that the commit syncs.
fn head_first(ops: &[Op]) -> Vec<Op> {
    let mut out: Vec<Op> = Vec::new();
    for op in ops {
        let is_head = matches!(op, Op::Write { name, .. } | Op::Create(name) if name.starts_with("head"));
        let after = out.iter().rposition(|op| matches!(op, Op::Acknowledged(_)));
        match (is_head, after) {
            (true, Some(at)) => {
                let heads = out[at + 1..]
                    .iter()
                    .take_while(|op| matches!(op, Op::Create(name) if name.starts_with("head")));
                let at = at + 1 + heads.count();
                out.insert(at, op.clone());
            }
            _ => out.push(op.clone()),
        }
    }
    out
}

/// Every head goes to the same file, so over the newest.
fn one_head(ops: &[Op]) -> Vec<Op> {
    let renamed = |name: &String| {
        if name == "head1" {
            "head0".to_owned()
        } else {
            name.clone()
        }
    };
    ops.iter()
        .filter(|op| !matches!(op, Op::Create(name) if name == "head1"))
        .map(|op| match op {
            Op::Write { name, offset, bytes } => Op::Write {
                name: renamed(name),
                offset: *offset,
                bytes: bytes.clone(),
            },
            Op::Sync(name) => Op::Sync(renamed(name)),
            other => other.clone(),
        })
        .collect()
}

/// What a commit sweeps away goes with the commit before it.
fn sweep_early(ops: &[Op]) -> Vec<Op> {
    let mut out: Vec<Op> = Vec::new();
    for op in ops {
        let Op::Remove(name) = op else {
            out.push(op.clone());
            continue;
        };
        let heads = out
            .iter()
            .enumerate()
            .filter(|(_, op)| matches!(op, Op::Write { name, .. } if name.starts_with("head")));
        let heads: Vec<usize> = heads.map(|(at, _)| at).collect();
        match heads.len().checked_sub(2).map(|nth| heads[nth]) {
            Some(at) if !name.starts_with("README") => out.insert(at, op.clone()),
            _ => out.push(op.clone()),
        }
    }
    out
}

/// Without what comes behind the last head's sync and before the purge is said to be done.
fn without_last_folder_syncs(ops: &[Op]) -> Vec<Op> {
    let last_head = ops.iter().rposition(|op| is_sync_of(op, "head")).unwrap_or(ops.len());
    let kept = ops.iter().enumerate();
    kept.filter(|(at, op)| *at < last_head || !matches!(op, Op::SyncFolder(folder) if !folder.is_empty()))
        .map(|(_, op)| op.clone())
        .collect()
}

/// The first head of several is never written; so the last goes over the newest.
fn without_a_commit_between(ops: &[Op]) -> Vec<Op> {
    let is_write = |op: &Op| matches!(op, Op::Write { name, .. } if name.starts_with("head"));
    let writes: Vec<usize> = (0..ops.len()).filter(|at| is_write(&ops[*at])).collect();
    let (Some(&first), true) = (writes.first(), writes.len() > 1) else {
        return ops.to_vec();
    };
    let sync = ops[first..]
        .iter()
        .position(|op| is_sync_of(op, "head"))
        .map(|at| first + at);
    let kept = ops
        .iter()
        .enumerate()
        .filter(|(at, _)| *at != first && Some(*at) != sync);
    kept.map(|(_, op)| op.clone()).collect()
}

/// Each recovery file goes before the one that takes its place is made.
fn old_recovery_first(ops: &[Op]) -> Vec<Op> {
    let mut out: Vec<Op> = Vec::new();
    for op in ops {
        let first = out
            .iter()
            .position(|op| matches!(op, Op::Create(name) if name.starts_with("recovery/")));
        match (op, first) {
            (Op::Remove(name), Some(at)) if name.starts_with("recovery/") => out.insert(at, op.clone()),
            _ => out.push(op.clone()),
        }
    }
    out
}

const MUTANTS: &[Mutant] = &[
    Mutant {
        what: "packs are not synced",
        change: |ops| without(ops, |op| is_sync_of(op, "packs/")),
    },
    Mutant {
        what: "the folder of the packs is not synced",
        change: |ops| without(ops, |op| is_folder_sync(op, "packs")),
    },
    Mutant {
        what: "index segments are not synced",
        change: |ops| without(ops, |op| is_sync_of(op, "index/")),
    },
    Mutant {
        what: "the folder of the index is not synced",
        change: |ops| without(ops, |op| is_folder_sync(op, "index")),
    },
    Mutant {
        what: "manifest segments are not synced",
        change: |ops| without(ops, |op| is_sync_of(op, "manifest/")),
    },
    Mutant {
        what: "the folder of the manifest is not synced",
        change: |ops| without(ops, |op| is_folder_sync(op, "manifest")),
    },
    Mutant {
        what: "heads are not synced",
        change: |ops| without(ops, |op| is_sync_of(op, "head")),
    },
    Mutant {
        what: "the name of `lock` is not synced first",
        change: |ops| without_nth_folder_sync(ops, 0),
    },
    Mutant {
        what: "the names of what is in a new archive are not synced before its head",
        change: |ops| without_nth_folder_sync(ops, 1),
    },
    Mutant {
        what: "the name of `head0` is not synced",
        change: |ops| without_nth_folder_sync(ops, 2),
    },
    Mutant {
        what: "the name of `head1` is not synced",
        change: |ops| without_nth_folder_sync(ops, 3),
    },
    Mutant {
        what: "README.txt is not synced",
        change: |ops| without(ops, |op| is_sync_of(op, "README.txt")),
    },
    Mutant {
        what: "format-1.md.gz is not synced",
        change: |ops| without(ops, |op| is_sync_of(op, "format-1.md.gz")),
    },
    Mutant {
        what: "engines.md.gz is not synced",
        change: |ops| without(ops, |op| is_sync_of(op, "engines.md.gz")),
    },
    Mutant {
        what: "reader.py is not synced",
        change: |ops| without(ops, |op| is_sync_of(op, "reader.py")),
    },
    Mutant {
        what: "packs are synced behind the head",
        change: |ops| after_the_head(ops, |op| is_sync_of(op, "packs/")),
    },
    Mutant {
        what: "the folder of the packs is synced behind the head",
        change: |ops| after_the_head(ops, |op| is_folder_sync(op, "packs")),
    },
    Mutant {
        what: "index segments are synced behind the head",
        change: |ops| after_the_head(ops, |op| is_sync_of(op, "index/")),
    },
    Mutant {
        what: "the folder of the index is synced behind the head",
        change: |ops| after_the_head(ops, |op| is_folder_sync(op, "index")),
    },
    Mutant {
        what: "manifest segments are synced behind the head",
        change: |ops| after_the_head(ops, |op| is_sync_of(op, "manifest/")),
    },
    Mutant {
        what: "the folder of the manifest is synced behind the head",
        change: |ops| after_the_head(ops, |op| is_folder_sync(op, "manifest")),
    },
    Mutant {
        what: "the head is written before anything is synced",
        change: head_first,
    },
    Mutant {
        what: "each head is written over the newest",
        change: one_head,
    },
    Mutant {
        what: "the sweep comes one commit early",
        change: sweep_early,
    },
    Mutant {
        what: "the removal of what a purge erased is not synced",
        change: without_last_folder_syncs,
    },
    Mutant {
        what: "a recovery file is not synced before the old one goes",
        change: |ops| without(ops, |op| is_sync_of(op, "recovery/")),
    },
    Mutant {
        what: "the name of a recovery file is not synced before the old one goes",
        change: |ops| without(ops, |op| is_folder_sync(op, "recovery")),
    },
    Mutant {
        what: "an old recovery file goes before the new one is there",
        change: old_recovery_first,
    },
];

/// Mistakes of one command only, as its own workload must notice them: that others order
/// their steps well says nothing of it.
const OF_ONE: &[(&str, &[Mutant])] = &[
    (
        "optimize",
        &[
            Mutant {
                what: "a pack that was optimized is not synced",
                change: |ops| without(ops, |op| is_sync_of(op, "packs/")),
            },
            Mutant {
                what: "the name of a pack that was optimized is not synced",
                change: |ops| without(ops, |op| is_folder_sync(op, "packs")),
            },
            Mutant {
                what: "a pack that was optimized is synced behind the head",
                change: |ops| after_the_head(ops, |op| is_sync_of(op, "packs/")),
            },
            Mutant {
                what: "the index of what was optimized is not synced",
                change: |ops| without(ops, |op| is_sync_of(op, "index/")),
            },
            Mutant {
                what: "packs go one commit before what was optimized counts",
                change: sweep_early,
            },
        ],
    ),
    (
        "optimize once more",
        &[
            Mutant {
                what: "what a run of optimize goes on with is not synced",
                change: |ops| without(ops, |op| is_sync_of(op, "packs/")),
            },
            Mutant {
                what: "the index of what a run of optimize goes on with is not synced",
                change: |ops| without(ops, |op| is_sync_of(op, "index/")),
            },
            Mutant {
                what: "packs that a run of optimize goes on from go one commit early",
                change: sweep_early,
            },
        ],
    ),
    (
        "rewriting packs",
        &[Mutant {
            what: "a pack goes one commit before what was moved out of it counts",
            change: sweep_early,
        }],
    ),
    (
        "purge",
        &[
            Mutant {
                what: "what a purge compresses anew is not synced",
                change: |ops| without(ops, |op| is_sync_of(op, "packs/")),
            },
            Mutant {
                what: "the fact that a purge notes is not synced",
                change: |ops| without(ops, |op| is_sync_of(op, "manifest/")),
            },
            Mutant {
                what: "a pack with what is erased goes one commit early",
                change: sweep_early,
            },
        ],
    ),
    (
        "a bundle of two snapshots",
        &[
            Mutant {
                what: "bytes out of a bundle are not synced",
                change: |ops| without(ops, |op| is_sync_of(op, "packs/")),
            },
            Mutant {
                what: "bytes out of a bundle are synced behind the head that tells of them",
                change: |ops| after_the_head(ops, |op| is_sync_of(op, "packs/")),
            },
            Mutant {
                what: "what a bundle tells is not synced",
                change: |ops| without(ops, |op| is_sync_of(op, "manifest/")),
            },
            Mutant {
                what: "no commit comes between where a bundle skips a number",
                change: without_a_commit_between,
            },
        ],
    ),
];

/// Mistakes of a run that comes after one that was killed.
const AFTER_A_KILL: &[Mutant] = &[
    Mutant {
        what: "the head that a killed writer left is not synced",
        change: |ops| without_first(ops, |op| is_sync_of(op, "head")),
    },
    Mutant {
        what: "the names that a killed writer left are not synced",
        change: |ops| without_first(ops, |op| is_folder_sync(op, "")),
    },
];

/// Mistakes of and after a run in which a sync failed, once.
const AFTER_A_FAILED_SYNC: &[(&str, Change, Change)] = &[
    (
        "a head whose sync failed is not taken back",
        |ops| {
            let mut failed = false;
            without(ops, |op| {
                failed |= matches!(op, Op::FailedSync(name) if name.starts_with("head"));
                failed && matches!(op, Op::Write { name, .. } | Op::Remove(name) if name.starts_with("head"))
            })
        },
        <[Op]>::to_vec,
    ),
    (
        "records whose sync failed are not written anew",
        <[Op]>::to_vec,
        |ops| {
            without_first(
                ops,
                |op| matches!(op, Op::Write { name, .. } if name.starts_with("packs/")),
            )
        },
    ),
];

/// Mistakes of a repair.
const IN_REPAIRS: &[(&str, Change)] = &[
    ("sectors that were put back are not synced", |ops| {
        // That comes before anything is opened, so before the heads are synced.
        let opened = ops.iter().position(|op| is_sync_of(op, "head")).unwrap_or(ops.len());
        let mut at = 0;
        without(ops, |op| {
            at += 1;
            at <= opened && is_sync_of(op, "packs/")
        })
    }),
    ("a rebuilt index is not synced", |ops| {
        without(ops, |op| is_sync_of(op, "index/"))
    }),
    ("the name of a rebuilt index is not synced", |ops| {
        without(ops, |op| is_folder_sync(op, "index"))
    }),
    ("the head of a rebuilt archive is not synced", |ops| {
        without(ops, |op| is_sync_of(op, "head"))
    }),
];

/// Images for one moment: a mistake shows in one of the first.
const CAP: usize = 600;

/// The workload that shows the mistake, and how.
fn killed_by(mutant: &Mutant, recordings: &[(&'static str, Recording)]) -> Option<(&'static str, String)> {
    recordings.iter().find_map(|(name, recording)| {
        let ops = (mutant.change)(&recording.ops);
        if ops == recording.ops {
            return None;
        }
        let mut check = |image: &super::Image, told| recording.check(image, told, false);
        let failure = crash_everywhere(&recording.start, &ops, 0, CAP, &mut check, &mut Tally::default());
        Some((*name, failure.err()?))
    })
}

#[test]
fn every_mistake_is_noticed() {
    let recordings: Vec<(&str, Recording)> = ALL.iter().map(|workload| (workload.name, workload.record())).collect();
    let mut table = "| mistake | noticed by | as |\n|---|---|---|\n".to_owned();
    let mut survivors = Vec::new();
    let mut row = |what: &'static str, found: Option<(&str, String)>| match found {
        Some((name, error)) => {
            let symptom = error.rsplit_once("): ").map_or(&error[..], |(_, symptom)| symptom);
            let symptom: String = symptom.chars().take(90).collect();
            table += &format!("| {what} | {name} | {} |\n", symptom.replace('|', "/"));
        }
        None => survivors.push(what),
    };
    for mutant in MUTANTS {
        row(mutant.what, killed_by(mutant, &recordings));
    }
    for (workload, mutants) in OF_ONE {
        let own = recordings.iter().position(|(name, _)| name == workload).unwrap();
        for mutant in *mutants {
            row(mutant.what, killed_by(mutant, &recordings[own..=own]));
        }
    }
    for mutant in AFTER_A_KILL {
        let result = faults::every_kill(&mutant.change);
        row(mutant.what, result.err().map(|error| ("a kill, then a crash", error)));
    }
    let once = |at| Fault {
        at,
        kind: FaultKind::Io,
        for_ever: false,
    };
    for (what, faulty, next) in AFTER_A_FAILED_SYNC {
        let result = faults::every_call(&once, [faulty, next]);
        row(what, result.err().map(|error| ("a failed sync, then a crash", error)));
    }
    let mut row = |what: &'static str, found: Option<String>| match found {
        Some(error) => {
            let symptom: String = error.chars().take(90).collect();
            table += &format!("| {what} | repairs | {} |\n", symptom.replace('|', "/"));
        }
        None => survivors.push(what),
    };
    for (what, change) in IN_REPAIRS {
        row(what, repairs::noticed(*change, CAP));
    }
    println!("{table}");
    assert_eq!(survivors, [""; 0], "mistakes that no workload notices");
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/README.md")).unwrap();
    for row in table.lines() {
        let what = row.split(" | ").next().unwrap();
        assert!(readme.contains(what), "tests/README.md lacks: {what}");
    }
}
