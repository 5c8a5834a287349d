//! What can go wrong between here and the registry, in one line each.

use crate::ids::Digest;
use std::time::Duration;

/// A request, or an input file, that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An answer that is neither success nor absence.
    #[error("{url}: expected status 200, found {status}{}", advice(*status))]
    Status {
        /// What was asked for.
        url: String,
        /// The answer.
        status: u16,
        /// How long the server asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// The registry index lists it, the download server does not have it.
    #[error("missing upstream: {url} answered {status}, though the registry index lists it")]
    Missing {
        /// What was asked for.
        url: String,
        /// 403, 404, 410 or 451.
        status: u16,
    },
    /// Nothing came for too long.
    #[error("{url}: timed out ({phase}) after {} bytes; a longer --timeout may help", .found)]
    Timeout {
        /// What was asked for.
        url: String,
        /// What was waited for.
        phase: String,
        /// Bytes of the body that had come.
        found: u64,
    },
    /// It came, but not to an end.
    #[error(
        "{url}: not complete after {limit_seconds} s ({found} bytes); given up for this run, a longer --total-timeout may help"
    )]
    Endless {
        /// What was asked for.
        url: String,
        /// How long it was waited for, in seconds.
        limit_seconds: f64,
        /// Bytes of the body that had come.
        found: u64,
    },
    /// No connection that can be trusted.
    #[error(
        "{url}: no trusted connection: {cause}; check the address and this machine's clock, and set SSL_CERT_FILE to the certificates of a proxy that stands in between"
    )]
    Untrusted {
        /// What was asked for.
        url: String,
        /// What is wrong with it.
        cause: String,
    },
    /// No connection.
    #[error("{url}: cannot connect: {cause}; check the address, the network and any proxy")]
    Connect {
        /// What was asked for.
        url: String,
        /// What the system said.
        cause: String,
    },
    /// Redirected in circles.
    #[error("{url}: redirected more than {limit} times; check --index and --dl")]
    Redirects {
        /// What was asked for.
        url: String,
        /// How many were followed.
        limit: u32,
    },
    /// The connection ended before the body did.
    #[error("{url}: cut off: expected {expected} bytes, found {found}")]
    Cut {
        /// What was asked for.
        url: String,
        /// The length announced, or "more".
        expected: String,
        /// The length received.
        found: u64,
    },
    /// A body longer than allowed.
    #[error("{url}: too long: expected at most {limit_bytes} bytes, found {found}; see --max-size")]
    TooLong {
        /// What was asked for.
        url: String,
        /// The limit.
        limit_bytes: u64,
        /// What was announced, or had come.
        found: u64,
    },
    /// The bytes are not those that the registry promises.
    #[error("{url}: expected SHA-256 {expected}, found {found} ({bytes} bytes{})", html_note(*.html))]
    Checksum {
        /// What was asked for.
        url: String,
        /// The registry's `cksum`.
        expected: Digest,
        /// That of what came.
        found: Digest,
        /// How much came.
        bytes: u64,
        /// Whether it begins as a web page does.
        html: bool,
    },
    /// Anything else on the way.
    #[error("{url}: {cause}")]
    Transport {
        /// What was asked for.
        url: String,
        /// What went wrong.
        cause: String,
        /// Whether it may go right another time.
        transient: bool,
    },
    /// It answers, but not as a registry index.
    #[error("{url}: not what a registry index gives: {cause}")]
    NotAnIndex {
        /// What was asked for.
        url: String,
        /// How it differs.
        cause: String,
    },
    /// A setting that cannot be used.
    #[error("{0}")]
    Setting(String),
    /// An input file that cannot be used.
    #[error("{path}: {cause}")]
    File {
        /// The file, with its line where there is one.
        path: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The last of many failures in a row, after which nothing more was asked for.
    #[error("nothing comes from the server any more, so the rest was not asked for; last: {0}")]
    Outage(Box<Error>),
    /// Not asked for, or not again, because of an [`Error::Outage`].
    #[error("not asked for: nothing came from the server any more")]
    GivenUp,
    /// Given up because everyone was asked to stop.
    #[error("stopped before it was done")]
    Stopped,
}

impl Error {
    /// Whether the same request may go right a little later.
    pub fn is_transient(&self) -> bool {
        match self {
            Error::Status { status, .. } => matches!(status, 408 | 425 | 429 | 500..=599),
            Error::Timeout { .. } | Error::Connect { .. } | Error::Cut { .. } => true,
            Error::Transport { transient, .. } => *transient,
            _ => false,
        }
    }
}

fn advice(status: u16) -> &'static str {
    match status {
        401 => " (it wants a login, which cratehold cannot give)",
        403 => " (refused; set CRATEHOLD_CONTACT so that the server's owner knows who asks)",
        407 => " (the proxy wants a login: put it into HTTPS_PROXY)",
        429 => " (too many requests; try fewer --jobs, or later)",
        500..=599 => " (the server has trouble; try again later)",
        _ => "",
    }
}

fn html_note(html: bool) -> &'static str {
    if html {
        ", it looks like an HTML page: a login or error page, perhaps of a proxy"
    } else {
        ""
    }
}

/// Whether `bytes` begin as a web page does.
pub(super) fn looks_like_html(bytes: &[u8]) -> bool {
    let start: Vec<u8> = bytes
        .trim_ascii_start()
        .iter()
        .take(15)
        .map(u8::to_ascii_lowercase)
        .collect();
    start.starts_with(b"<!doctype html") || start.starts_with(b"<html") || start.starts_with(b"<head")
}
