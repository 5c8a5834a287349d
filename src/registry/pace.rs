//! When an answer comes too slowly to be waited for. Pure: told how long each read
//! took, so that pauses of our own making never count.

use std::time::Duration;

/// Fewer bytes than this within one idle timeout are as good as none: a server that
/// drips is given up on like one that is silent.
const DRIP_BYTES: u64 = 1 << 10;

/// What is wrong with the pace of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TooSlow {
    /// It drips.
    Drip,
    /// It has taken too long in all.
    Total,
}

/// The pace of one answer.
#[derive(Debug)]
pub(super) struct Pace {
    idle: Duration,
    total: Duration,
    spent: Duration,
    window: Duration,
    window_bytes: u64,
}

impl Pace {
    pub(super) fn new(idle: Duration, total: Duration) -> Pace {
        Pace {
            idle,
            total,
            spent: Duration::ZERO,
            window: Duration::ZERO,
            window_bytes: 0,
        }
    }

    /// Notes that `count` bytes were waited for so long.
    pub(super) fn note(&mut self, took: Duration, count: usize) -> Result<(), TooSlow> {
        self.spent += took;
        self.window += took;
        self.window_bytes += count as u64;
        if self.spent > self.total {
            return Err(TooSlow::Total);
        }
        if self.window_bytes >= DRIP_BYTES {
            (self.window, self.window_bytes) = (Duration::ZERO, 0);
        } else if self.window > self.idle {
            return Err(TooSlow::Drip);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drips_and_endless_answers_are_noticed() {
        let (second, pace) = (Duration::from_secs(1), || {
            Pace::new(Duration::from_secs(30), Duration::from_secs(100))
        });
        let mut drip = pace();
        assert!((0..30).all(|_| drip.note(second, 20).is_ok()));
        assert_eq!(drip.note(second, 20), Err(TooSlow::Drip));
        let mut slow = pace();
        assert!((0..100).all(|_| slow.note(second, 50).is_ok()));
        assert_eq!(slow.note(second, 50), Err(TooSlow::Total));
    }
}
