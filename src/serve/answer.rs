//! What a request gets, and what HTTP makes of it: validators, ranges, and the headers
//! that keep a browser from taking contents for more than they are.

use super::request::Asked;
use crate::ids::Digest;
use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE,
    REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use std::ops::Range;
use std::time::{Duration, SystemTime};

/// Nothing may be loaded from anywhere but this server, and nothing may run.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";

/// How long a client may use what it got without asking again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// For ever: its address says its contents.
    Immutable,
    /// Until it has asked whether it is still the same.
    Revalidate,
    /// Not at all.
    No,
}

/// What a client may compare before it asks for a body.
#[derive(Debug, Clone, Default)]
pub(super) struct Validators {
    /// With its quotes.
    pub etag: Option<String>,
    /// Seconds since 1970 UTC.
    pub changed: Option<u64>,
}

impl Validators {
    /// Whether the client has it already. The entity tag decides if it sent one.
    pub fn is_held_by(&self, asked: &Asked<'_>) -> bool {
        if let Some(tags) = asked.header(IF_NONE_MATCH) {
            let named = |tag: &str| {
                let tag = tag.trim();
                tag == "*" || self.etag.as_deref() == Some(tag.strip_prefix("W/").unwrap_or(tag))
            };
            return tags.split(',').any(named);
        }
        let since = asked
            .header(IF_MODIFIED_SINCE)
            .and_then(|text| httpdate::parse_http_date(text).ok());
        match (since, self.changed) {
            (Some(since), Some(changed)) => time(changed) <= since,
            _ => false,
        }
    }

    /// Whether a client that has a part of it has a part of this.
    fn is_of_range(&self, asked: &Asked<'_>) -> bool {
        let Some(text) = asked.header(IF_RANGE) else {
            return true;
        };
        if text.starts_with('"') {
            return self.etag.as_deref() == Some(text);
        }
        let date = httpdate::parse_http_date(text).ok();
        date.is_some() && date == self.changed.map(time)
    }
}

fn time(seconds: u64) -> SystemTime {
    // Whatever a manifest says, HTTP's dates end with the year 9999.
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.min(253_402_300_799))
}

/// A body, or only how long it would be.
#[derive(Debug, Clone)]
pub(super) enum Content {
    Bytes(Bytes),
    /// For `HEAD`, where the bytes cost something.
    Length(u64),
}

/// What a request gets.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: StatusCode,
    pub content: Content,
    pub content_type: &'static str,
    pub keep: Keep,
    pub validators: Validators,
    /// Whether a part may be asked for.
    pub ranges: bool,
    /// Further headers.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// What the operator should know; the client is not told.
    pub trouble: Option<String>,
}

impl Answer {
    pub fn new(content_type: &'static str, keep: Keep, bytes: impl Into<Bytes>) -> Answer {
        Answer {
            status: StatusCode::OK,
            content: Content::Bytes(bytes.into()),
            content_type,
            keep,
            validators: Validators::default(),
            ranges: false,
            headers: Vec::new(),
            trouble: None,
        }
    }

    /// A status that is no success, and one line that says why.
    pub fn plain(status: StatusCode, line: &str) -> Answer {
        Answer {
            status,
            ..Answer::new("text/plain; charset=utf-8", Keep::No, format!("{line}\n"))
        }
    }

    /// Something here is broken; only the operator learns what.
    pub fn broken(trouble: String) -> Answer {
        Answer {
            trouble: Some(trouble),
            ..Answer::plain(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the archive cannot give this; its owner can see why in the log",
            )
        }
    }

    /// The client has it already.
    pub fn not_modified(keep: Keep, validators: Validators) -> Answer {
        Answer {
            status: StatusCode::NOT_MODIFIED,
            validators,
            ..Answer::new("", keep, Bytes::new())
        }
    }

    /// Status, headers and body as they are sent; `asked` if the request could be read.
    pub fn into_parts(self, asked: Option<&Asked<'_>>) -> (StatusCode, HeaderMap, Bytes) {
        let (mut status, mut headers) = (self.status, HeaderMap::new());
        let mut put = |name: HeaderName, value: &str| {
            // What is put here are dates, numbers, digests and texts of this file.
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        };
        if status == StatusCode::OK
            && let Some(asked) = asked
            && self.validators.is_held_by(asked)
        {
            return Answer::not_modified(self.keep, self.validators).into_parts(None);
        }
        put(X_CONTENT_TYPE_OPTIONS, "nosniff");
        put(CONTENT_SECURITY_POLICY, POLICY);
        put(REFERRER_POLICY, "no-referrer");
        put(
            CACHE_CONTROL,
            match self.keep {
                Keep::Immutable => "public, max-age=31536000, immutable",
                Keep::Revalidate => "no-cache",
                Keep::No => "no-store",
            },
        );
        if let Some(etag) = &self.validators.etag {
            put(ETAG, etag);
        }
        if let Some(changed) = self.validators.changed {
            put(LAST_MODIFIED, &httpdate::fmt_http_date(time(changed)));
        }
        let mut bytes = match self.content {
            Content::Bytes(bytes) => bytes,
            Content::Length(length) => {
                put(CONTENT_LENGTH, &length.to_string());
                Bytes::new()
            }
        };
        if status != StatusCode::NOT_MODIFIED {
            put(CONTENT_TYPE, self.content_type);
        }
        if self.ranges {
            put(ACCEPT_RANGES, "bytes");
            let wanted = asked.filter(|asked| !asked.head_only && self.validators.is_of_range(asked));
            let wanted = wanted.and_then(|asked| asked.header(RANGE));
            match wanted.map_or(Wanted::Whole, |text| range(text, bytes.len())) {
                Wanted::Whole => {}
                Wanted::Part(part) => {
                    status = StatusCode::PARTIAL_CONTENT;
                    put(
                        CONTENT_RANGE,
                        &format!("bytes {}-{}/{}", part.start, part.end - 1, bytes.len()),
                    );
                    bytes = bytes.slice(part);
                }
                Wanted::Outside => {
                    status = StatusCode::RANGE_NOT_SATISFIABLE;
                    put(CONTENT_RANGE, &format!("bytes */{}", bytes.len()));
                    bytes = Bytes::new();
                }
            }
        }
        for (name, value) in self.headers {
            headers.insert(name, value);
        }
        if asked.is_some_and(|asked| asked.head_only) {
            let length = headers.get(CONTENT_LENGTH).is_none().then_some(bytes.len());
            if let Some(length) = length {
                headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
            }
            bytes = Bytes::new();
        }
        (status, headers, bytes)
    }

    /// With an entity tag of its bytes.
    pub fn with_tag(mut self) -> Answer {
        if let Content::Bytes(bytes) = &self.content {
            // 128 bits tell any two pages of one address apart.
            self.validators.etag = Some(format!("\"{}\"", &Digest::of(bytes).to_string()[..32]));
        }
        self
    }

    /// As is, for clients who call this server `host`.
    pub fn varies_by_host(mut self) -> Answer {
        self.headers.push((VARY, HeaderValue::from_static("host")));
        self
    }
}

/// What a `Range` header comes to.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    /// It asks for none that is known here, such as several at once.
    Whole,
    Part(Range<usize>),
    Outside,
}

fn range(text: &str, length: usize) -> Wanted {
    let Some((first, last)) = text.strip_prefix("bytes=").and_then(|text| text.trim().split_once('-')) else {
        return Wanted::Whole;
    };
    let number = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
        // A number with more digits than that is beyond any file.
        true => Some(text.parse::<usize>().unwrap_or(usize::MAX)),
        false => None,
    };
    match (number(first), number(last)) {
        (Some(first), None) if last.is_empty() && first < length => Wanted::Part(first..length),
        (Some(_), None) if last.is_empty() => Wanted::Outside,
        (Some(first), Some(last)) if first > last => Wanted::Whole,
        (Some(first), Some(last)) if first < length => Wanted::Part(first..last.saturating_add(1).min(length)),
        (Some(_), Some(_)) => Wanted::Outside,
        (None, Some(last)) if first.is_empty() && last > 0 && length > 0 => {
            Wanted::Part(length.saturating_sub(last)..length)
        }
        (None, Some(_)) if first.is_empty() => Wanted::Outside,
        _ => Wanted::Whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_standard_says() {
        for (text, wanted) in [
            ("bytes=0-0", Wanted::Part(0..1)),
            ("bytes=2-", Wanted::Part(2..10)),
            ("bytes=2-99", Wanted::Part(2..10)),
            ("bytes=-3", Wanted::Part(7..10)),
            ("bytes=-99", Wanted::Part(0..10)),
            ("bytes=10-", Wanted::Outside),
            ("bytes=10-20", Wanted::Outside),
            ("bytes=-0", Wanted::Outside),
            ("bytes=99999999999999999999999-", Wanted::Outside),
            ("bytes=0-99999999999999999999999", Wanted::Part(0..10)),
            ("bytes=5-2", Wanted::Whole),
            ("bytes=0-1,3-4", Wanted::Whole),
            ("bytes=-", Wanted::Whole),
            ("bytes=+1-2", Wanted::Whole),
            ("items=0-1", Wanted::Whole),
        ] {
            assert_eq!(range(text, 10), wanted, "{text}");
        }
        assert_eq!(range("bytes=0-", 0), Wanted::Outside);
        assert_eq!(range("bytes=-1", 0), Wanted::Outside);
    }
}
