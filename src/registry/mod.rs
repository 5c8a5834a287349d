//! The registry's side: its index, its lines, lockfiles, and fetching crate files.
//!
//! Knows nothing of archives: what comes out of here are verified bytes and typed
//! errors. Both kinds of registry index, sparse and git,
//! stand behind [`RegistryIndex`].

mod config;
mod error;
mod fetch;
mod git;
mod http;
mod index;
mod line;
mod list;
mod lockfile;
mod outage;
mod pace;
mod path;
mod proxy;
mod resolve;
mod retry;
mod roots;
mod sparse;
mod stop;
mod throttle;
mod workers;

pub use config::{DownloadTemplate, IndexConfig};
pub use error::Error;
pub use fetch::{FetchOptions, Fetched, Job, Pool, Ticket, fetch_pool};
pub use git::{BlobReader, FetchCounts, GitIndex, GitPlace, IndexBlob, TreeChanges};
pub use http::{Http, HttpOptions};
pub use index::{CRATES_IO, CRATES_IO_GIT, CrateFile, IndexUrl, RegistryIndex, same_registry};
pub use line::{IndexFile, MAX_SCHEMA, RegistryLine};
pub use list::{List, parse_list};
pub use lockfile::{LockedRelease, Lockfile, parse_lockfile};
pub use path::index_path;
pub use retry::{Next, RetryPolicy, retry_after};
pub use sparse::SparseIndex;
pub use stop::Stop;
pub use workers::{receive, send, workers};
