//! When to try again, and after how long. Pure: no clock, no sleep, no dice.

use super::Error;
use std::time::{Duration, SystemTime};

/// How persistent to be.
#[derive(Debug, Clone)]
pub struct RetryPolicy {
    /// Requests for one file, the first included.
    pub attempts: u32,
    /// Requests for one file whose bytes come out wrong: a proxy may have cut or
    /// mixed something up once, but not for ever.
    pub checksum_attempts: u32,
    /// The delay after the first failure, doubled after each further one.
    pub first_delay: Duration,
    /// No delay grows beyond this.
    pub max_delay: Duration,
    /// A server that asks for more patience than this has to wait for another run.
    pub max_retry_after: Duration,
    /// When nothing at all comes any more, so long is waited for it to begin again.
    pub patience: Duration,
}

impl Default for RetryPolicy {
    /// Six requests within about half a minute; ten minutes if the server asks for it.
    fn default() -> RetryPolicy {
        RetryPolicy {
            attempts: 6,
            checksum_attempts: 3,
            first_delay: Duration::from_secs(1),
            max_delay: Duration::from_secs(60),
            max_retry_after: Duration::from_secs(600),
            patience: Duration::from_secs(300),
        }
    }
}

/// What to do after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Wait so long, then ask again.
    Wait(Duration),
    /// It will not get better in this run.
    GiveUp,
}

impl RetryPolicy {
    /// What to do after the `failed`th failure in a row (from 1 on). `jitter` is
    /// a random number from 0 to 1, so that many waiting at once come back apart.
    pub fn next(&self, failed: u32, error: &Error, jitter: f64) -> Next {
        let (attempts, asked) = match error {
            Error::Checksum { .. } => (self.checksum_attempts, None),
            Error::Status { retry_after, .. } if error.is_transient() => (self.attempts, *retry_after),
            _ if error.is_transient() => (self.attempts, None),
            _ => return Next::GiveUp,
        };
        if failed >= attempts || asked.is_some_and(|asked| asked > self.max_retry_after) {
            return Next::GiveUp;
        }
        let doubled = self.first_delay.saturating_mul(1 << (failed - 1).min(20));
        let delay = doubled.min(self.max_delay).mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0);
        // Never earlier than asked, and a little apart from the others.
        Next::Wait(asked.map_or(delay, |asked| asked + self.first_delay.mul_f64(jitter.clamp(0.0, 1.0))))
    }
}

/// A Retry-After header: seconds from `now`, or an HTTP date.
pub fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    match value.parse::<u64>() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => {
            let date = httpdate::parse_http_date(value).ok()?;
            Some(date.duration_since(now).unwrap_or_default())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: u16, retry_after: Option<u64>) -> Error {
        Error::Status {
            url: String::new(),
            status,
            retry_after: retry_after.map(Duration::from_secs),
        }
    }

    #[test]
    fn delays_grow_are_jittered_and_end() {
        let policy = RetryPolicy::default();
        let wait = |failed, jitter| policy.next(failed, &status(503, None), jitter);
        assert_eq!(wait(1, 1.0), Next::Wait(Duration::from_secs(1)));
        assert_eq!(wait(1, 0.0), Next::Wait(Duration::from_millis(500)));
        assert_eq!(wait(2, 1.0), Next::Wait(Duration::from_secs(2)));
        assert_eq!(wait(5, 1.0), Next::Wait(Duration::from_secs(16)));
        assert_eq!(wait(6, 1.0), Next::GiveUp);
        let patient = RetryPolicy { attempts: 99, ..policy };
        let wait = patient.next(98, &status(500, None), 1.0);
        assert_eq!(wait, Next::Wait(Duration::from_secs(60)));
    }

    #[test]
    fn the_server_is_given_the_time_it_asks_for() {
        let policy = RetryPolicy::default();
        let wait = |seconds| policy.next(1, &status(429, Some(seconds)), 0.0);
        assert_eq!(wait(30), Next::Wait(Duration::from_secs(30)));
        assert_eq!(wait(601), Next::GiveUp);
    }

    #[test]
    fn absence_and_refusal_are_final() {
        let policy = RetryPolicy::default();
        for code in [400, 401, 403, 404, 410, 451] {
            assert_eq!(policy.next(1, &status(code, None), 0.5), Next::GiveUp, "{code}");
        }
        let missing = Error::Missing {
            url: String::new(),
            status: 404,
        };
        assert_eq!(policy.next(1, &missing, 0.5), Next::GiveUp);
        assert_eq!(policy.next(1, &Error::Stopped, 0.5), Next::GiveUp);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        assert_eq!(retry_after(" 120 ", now), Some(Duration::from_secs(120)));
        let date = |text| retry_after(text, now);
        assert_eq!(date("Sun, 06 Nov 1994 08:50:37 GMT"), Some(Duration::from_secs(60)));
        assert_eq!(date("Sun, 06 Nov 1994 08:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(date("soon"), None);
        assert_eq!(date("-1"), None);
    }
}
