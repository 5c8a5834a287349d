//! Holding all connections together to so many bytes a second.

use super::Stop;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// So much may come at once after a pause, as time at the rate.
const BURST: Duration = Duration::from_millis(250);

/// A limit shared by all who read.
#[derive(Debug)]
pub(super) struct Throttle {
    bytes_per_second: u64,
    /// Until when the bytes that have come are paid for.
    paid_until: Mutex<Option<Instant>>,
}

impl Throttle {
    pub(super) fn new(bytes_per_second: u64) -> Throttle {
        Throttle {
            bytes_per_second: bytes_per_second.max(1),
            paid_until: Mutex::new(None),
        }
    }

    /// The most to read in one piece, so that no reader takes all of a second.
    pub(super) fn piece_bytes(&self) -> usize {
        usize::try_from(self.bytes_per_second / 8)
            .unwrap_or(usize::MAX)
            .clamp(1 << 10, 64 << 10)
    }

    /// Waits until `count` bytes that have just come are paid for, or `stop` is set.
    pub(super) fn pay(&self, count: usize, stop: &Stop) {
        let wait = self.charge(count, Instant::now());
        if !wait.is_zero() {
            stop.wait(wait);
        }
    }

    /// How long whoever has read `count` bytes is to wait. Turns are in the order of
    /// asking.
    fn charge(&self, count: usize, now: Instant) -> Duration {
        let price = Duration::from_secs_f64(count as f64 / self.bytes_per_second as f64);
        let mut paid = self.paid_until.lock().unwrap_or_else(PoisonError::into_inner);
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        let until = paid.map_or(earliest, |paid| paid.max(earliest)) + price;
        *paid = Some(until);
        until.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_cost_time_at_the_rate_in_order() {
        let throttle = Throttle::new(1000);
        let now = Instant::now();
        // The burst is a quarter of a second.
        assert_eq!(throttle.charge(250, now), Duration::ZERO);
        assert_eq!(throttle.charge(1000, now), Duration::from_secs(1));
        assert_eq!(throttle.charge(500, now), Duration::from_millis(1500));
        // Time that nobody used is not saved up beyond the burst.
        let later = now + Duration::from_secs(100);
        assert_eq!(throttle.charge(1250, later), Duration::from_secs(1));
    }
}
