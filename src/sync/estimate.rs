//! What a run would fetch, and about how much that is: registry indexes tell no sizes.

use super::queue::Queue;
use super::{Error, Options};
use crate::archive::Archive;

/// The mean of the 415 crate files that the figures of the README are of; it is near
/// that of all of crates.io.
const TYPICAL_CRATE_BYTES: u64 = 173_000;
/// What these take in packs at the default level, of a hundred bytes.
const TYPICAL_STORED_PERCENT: u64 = 41;
/// The mean of so many crate files says more of the next than the one above.
const TELLING_COUNT: u64 = 100;

/// What a run would fetch. All bytes are estimates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Plan {
    /// Crates of which something would be fetched.
    pub crates: u64,
    /// Crate files that would be fetched.
    pub releases: u64,
    /// Their bytes: for each, the mean of what is held of its crate; where nothing is,
    /// that of the whole archive, if it holds a hundred; else 173 kB.
    pub download_bytes: u64,
    /// What they would take in packs, if they compress as what is held does; where
    /// nothing is held, to 41 %.
    pub stored_bytes: u64,
    /// How long they would be on the way, if the bandwidth is limited.
    pub seconds: Option<u64>,
}

/// What fetching `queue` into `archive` would mean.
pub(super) fn estimate(archive: &Archive, queue: &Queue, options: &Options) -> Result<Plan, Error> {
    let (mut count, mut crate_bytes, mut record_bytes) = (0u64, 0u64, 0u64);
    archive.each_entry(|entry| {
        count += 1;
        crate_bytes += u64::from(entry.crate_bytes);
        record_bytes += u64::from(entry.record_bytes);
    })?;
    let mean = match count >= TELLING_COUNT {
        true => crate_bytes / count,
        false => TYPICAL_CRATE_BYTES,
    };
    let of_crates = queue.crates().map(|(held, releases)| {
        let mean = held.crate_bytes.checked_div(held.count).unwrap_or(mean);
        mean.saturating_mul(releases as u64)
    });
    let download_bytes = of_crates.fold(0, u64::saturating_add);
    let stored_bytes = if options.encode.as_they_came {
        download_bytes
    } else if crate_bytes > 0 {
        (download_bytes as f64 * (record_bytes as f64 / crate_bytes as f64)) as u64
    } else {
        download_bytes / 100 * TYPICAL_STORED_PERCENT
    };
    Ok(Plan {
        crates: queue.crate_count() as u64,
        releases: queue.len() as u64,
        download_bytes,
        stored_bytes,
        seconds: options
            .http
            .bytes_per_second
            .map(|bytes_per_second| download_bytes.div_ceil(bytes_per_second.max(1))),
    })
}
