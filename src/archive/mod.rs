//! The archive: snapshots to read, a writer to add and commit, verification.
//!
//! Knows the format, the deflate room and the store; knows nothing of
//! registries, networks or terminals.

mod adopt;
mod alone;
mod budget;
mod bundle;
mod chain;
mod commit;
mod compare;
mod copy;
mod create;
mod diff;
mod encode;
mod error;
mod form;
mod gc;
mod grep;
mod history;
mod import;
mod ingest;
mod inspect;
mod lock;
mod names;
mod neutral;
mod open;
mod optimize;
mod protect;
mod purge;
mod read;
mod relocate;
mod repair;
mod seed_cache;
mod seeds;
mod segments;
mod sign;
mod snapshots;
mod structure;
mod unpack;
mod verify;
mod walk;
mod write;

pub use budget::{Budget, Permit};
pub use bundle::{
    ApplyOptions, ApplyReport, BundleError, BundleOptions, BundleReport, DEFAULT_VOLUME_BYTES, MIN_VOLUME_BYTES, Since,
    Trust, VOLUME_SUFFIX, apply, apply_on, bundle, bundle_on,
};
pub use commit::now;
pub use compare::{FileChange, compare_trees};
pub use copy::{CopyError, CopyOptions, CopyReport, PartCrate, PartOptions, PartReport, copy, copy_on, copy_part};
pub use diff::{Change, ChangeKind};
pub use encode::{DEFAULT_LEVEL, EncodeOptions};
pub use error::Error;
pub use gc::{Garbage, Leftover, PackShare, Why};
pub use grep::{FileMatches, GrepOptions, GrepReport, Line, Pattern, PatternOptions};
pub use history::{Absence, CrateState, LineReader, ReleaseState};
pub use import::{CrateFile, Failure, ImportOptions, ImportReport, Scan, import};
pub use ingest::{Arrival, Outcome, ingest};
pub use inspect::{HeadFile, RecordPlace, head_files};
pub use names::COMPANIONS;
pub use open::Archive;
pub use optimize::{ChainBudget, OptimizeForecast, OptimizeOptions, OptimizeReport, optimize_to, optimize_to_on};
pub use protect::{Coverage, FileCoverage, ProtectOptions, ProtectReport};
pub use purge::{PurgeOptions, PurgePlan, PurgedRelease, Target, check_reason};
pub use read::{FileEntry, Visit, release_of, tar_files};
pub use repair::{Give, LooseFiles, RepairOptions, RepairReport, Source, Wanted, repair, repair_on};
pub use sign::{PublicKey, ROOT_FILE, Root, SIGNATURE_FILE, SecretKey};
pub use snapshots::Snapshot;
pub use unpack::unpack_tar;
pub use verify::{Depth, Place, Position, Problem, VerifyOptions, VerifyReport};
pub use walk::Decoded;
pub use write::{CommitInfo, Writer};

/// How this process reads index and manifest; see `--no-mmap`.
pub use crate::store::{Reads, set_reads};

/// What every archive carries for whoever finds the drive.
pub(crate) const README_TXT: &str = include_str!("readme.txt");
/// The normative description of the bytes, as carried in every archive.
pub(crate) const SPEC: &str = include_str!("../../format-spec/format-1.md");
/// The independent reader, as carried in every archive.
pub(crate) const READER_PY: &str = include_str!("../../tools/reader.py");
/// What each engine does, as carried in every archive.
pub(crate) const ENGINES: &str = include_str!("../../format-spec/engines.md");
