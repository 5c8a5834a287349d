//! The sparse registry index: one small file a crate, over HTTP, with tags that
//! spare reading what has not changed.

use super::outage::{Outage, Verdict};
use super::{CrateFile, Error, Http, IndexConfig, Next, RegistryIndex, RetryPolicy, Stop, index_path};
use crate::ids::CrateName;
use std::time::Instant;

/// The longest registry index file that is read. The longest of crates.io has a
/// few million bytes.
const MAX_FILE_BYTES: u64 = 256 << 20;
const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// A sparse registry index.
#[derive(Debug)]
pub struct SparseIndex {
    http: Http,
    url: String,
    registry: String,
    policy: RetryPolicy,
    outage: Outage,
    stop: Stop,
}

impl SparseIndex {
    /// The index at `url`, which ends in `/`.
    pub fn new(http: Http, url: &str, policy: RetryPolicy, stop: Stop) -> SparseIndex {
        SparseIndex {
            outage: Outage::new(http.connections(), policy.patience),
            http,
            url: url.to_owned(),
            registry: format!("sparse+{url}"),
            policy,
            stop,
        }
    }

    fn retrying<T>(&self, request: impl Fn() -> Result<T, Error>) -> Result<T, Error> {
        let mut failed = 0;
        while !self.outage.pass(&self.stop) {
            let error = match request() {
                Ok(done) => {
                    self.outage.answered();
                    return Ok(done);
                }
                Err(Error::Stopped) => return Err(Error::Stopped),
                Err(error) => error,
            };
            failed += 1;
            let next = self.policy.next(failed, &error, fastrand::f64());
            match self.outage.failed(failed == 1, error.is_transient(), Instant::now()) {
                Verdict::GiveUp => return Err(Error::Outage(Box::new(error))),
                Verdict::Everyone => {
                    failed -= 1;
                    continue;
                }
                Verdict::Own => {}
            }
            match next {
                Next::Wait(delay) if !self.stop.wait(delay) => {}
                Next::Wait(_) => break,
                Next::GiveUp => return Err(error),
            }
        }
        Err(match self.outage.is_given_up() && !self.stop.is_set() {
            true => Error::GivenUp,
            false => Error::Stopped,
        })
    }

    fn read(&self, name: &CrateName, tag: Option<&str>) -> Result<CrateFile, Error> {
        let url = format!("{}{}", self.url, index_path(name));
        // An entity tag is quoted, a Last-Modified date is not.
        let condition = tag.map(|tag| {
            let is_entity_tag = tag.starts_with('"') || tag.starts_with("W/");
            (
                if is_entity_tag {
                    "if-none-match"
                } else {
                    "if-modified-since"
                },
                tag,
            )
        });
        let answer = self.http.get(&url, condition)?;
        match answer.status {
            200 => {
                let tag = answer
                    .header("etag")
                    .or_else(|| answer.header("last-modified"))
                    .map(str::to_owned);
                let bytes = answer.read(MAX_FILE_BYTES, &self.stop, |_, _| {})?;
                if bytes.trim_ascii().is_empty() || super::error::looks_like_html(&bytes) {
                    let cause = if bytes.trim_ascii().is_empty() {
                        "expected registry lines, found an empty file"
                    } else {
                        "expected registry lines, found an HTML page"
                    };
                    return Err(Error::NotAnIndex {
                        url,
                        cause: cause.to_owned(),
                    });
                }
                Ok(CrateFile::Read { bytes, tag })
            }
            304 if tag.is_some() => Ok(CrateFile::Unchanged),
            404 | 410 | 451 => {
                let _ = answer.into_status_error();
                Ok(CrateFile::Absent)
            }
            _ => Err(answer.into_status_error()),
        }
    }
}

impl RegistryIndex for SparseIndex {
    fn registry(&self) -> &str {
        &self.registry
    }

    fn config(&self) -> Result<IndexConfig, Error> {
        let url = format!("{}config.json", self.url);
        let bytes = self.retrying(|| {
            let answer = self.http.get(&url, None)?;
            match answer.status {
                200 => answer.read(MAX_CONFIG_BYTES, &self.stop, |_, _| {}),
                404 | 410 | 451 => Err(Error::NotAnIndex {
                    url: url.clone(),
                    cause: format!(
                        "expected its config.json, found status {}; check --index",
                        answer.status
                    ),
                }),
                _ => Err(answer.into_status_error()),
            }
        })?;
        IndexConfig::parse(&url, &bytes)
    }

    fn crate_file(&self, name: &CrateName, tag: Option<&str>) -> Result<CrateFile, Error> {
        self.retrying(|| self.read(name, tag))
    }
}
