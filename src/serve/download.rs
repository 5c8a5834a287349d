//! `/dl/SHA256`: exact crate files, checked before the first byte goes out.

use super::answer::{Answer, Content, Keep, Validators};
use super::cache::BuildError;
use super::request::Asked;
use super::site::{Place, Site};
use crate::ids::Digest;
use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::{HeaderValue, RETRY_AFTER};
use std::sync::Arc;

/// Not `Content-Encoding: gzip`: a client would undo it, and find the checksum of a tar.
const CRATE_TYPE: &str = "application/gzip";

pub(super) async fn crate_file(site: &Arc<Site>, asked: &Asked<'_>, checksum: &str) -> Answer {
    let Ok(digest) = checksum.parse::<Digest>() else {
        return Answer::plain(
            StatusCode::NOT_FOUND,
            "expected the SHA-256 of a crate file behind /dl/",
        );
    };
    let snapshot = site.snapshot().await;
    let entry = match snapshot.place(&digest) {
        Ok(Place::Held(entry)) => entry,
        Ok(Place::Gone) => {
            return Answer::plain(
                StatusCode::GONE,
                "the archive held this crate file once and no longer does",
            );
        }
        Ok(Place::Absent) => {
            return Answer::plain(
                StatusCode::NOT_FOUND,
                "the archive holds no crate file with this checksum",
            );
        }
        Err(error) => return Answer::broken(error.to_string()),
    };
    let validators = Validators {
        etag: Some(format!("\"{digest}\"")),
        changed: None,
    };
    if validators.is_held_by(asked) {
        return Answer::not_modified(Keep::Immutable, validators);
    }
    let whole = |content| Answer {
        content,
        validators,
        ranges: true,
        ..Answer::new(CRATE_TYPE, Keep::Immutable, Bytes::new())
    };
    if asked.head_only {
        return whole(Content::Length(u64::from(entry.crate_bytes)));
    }
    match site.crate_file(&snapshot, entry).await {
        Ok(bytes) => whole(Content::Bytes(bytes)),
        Err(error) => refused(&error),
    }
}

/// What a client is told of a crate that cannot be given now, or not at all.
pub(super) fn refused(error: &BuildError) -> Answer {
    match error {
        BuildError::Archive(_) | BuildError::Defect => Answer::broken(error.to_string()),
        BuildError::Busy => {
            let mut answer = Answer::plain(StatusCode::SERVICE_UNAVAILABLE, "too busy; try again");
            answer.headers.push((RETRY_AFTER, HeaderValue::from_static("5")));
            answer.trouble = Some(error.to_string());
            answer
        }
    }
}
