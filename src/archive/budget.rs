//! A bound on the bytes in flight between threads that take and threads that give.

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

fn lock(used: &Mutex<Used>) -> MutexGuard<'_, Used> {
    used.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A bound on the bytes in flight.
///
/// Permits are numbered as they are taken. Whoever holds the oldest never waits, in
/// [`Permit::resize`] either; so as long as work is begun in the order of its
/// permits, someone can always go on, and all get their turn.
#[derive(Debug)]
pub struct Budget {
    limit_bytes: u64,
    used: Mutex<Used>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct Used {
    bytes: u64,
    peak_bytes: u64,
    next: u64,
    permits: BTreeSet<u64>,
    lifted: bool,
}

impl Budget {
    /// A budget of `limit_bytes`.
    pub fn new(limit_bytes: u64) -> Arc<Budget> {
        Arc::new(Budget {
            limit_bytes,
            used: Mutex::default(),
            freed: Condvar::new(),
        })
    }

    /// Waits until there is room; one item is always let through, whatever its size.
    pub fn take(self: &Arc<Budget>, bytes: u64) -> Permit {
        let mut used = lock(&self.used);
        while !used.lifted && used.bytes > 0 && used.bytes.saturating_add(bytes) > self.limit_bytes {
            used = self.freed.wait(used).unwrap_or_else(PoisonError::into_inner);
        }
        used.bytes += bytes;
        used.peak_bytes = used.peak_bytes.max(used.bytes);
        let number = used.next;
        used.next += 1;
        used.permits.insert(number);
        Permit {
            budget: self.clone(),
            number,
            bytes,
        }
    }

    /// Lets everyone pass from now on: for when all there is left to do is to end.
    pub fn lift(&self) {
        lock(&self.used).lifted = true;
        self.freed.notify_all();
    }

    /// The most bytes that were in flight at once.
    pub fn peak_bytes(&self) -> u64 {
        lock(&self.used).peak_bytes
    }
}

/// Part of a [`Budget`], given back when dropped.
#[derive(Debug)]
pub struct Permit {
    budget: Arc<Budget>,
    number: u64,
    bytes: u64,
}

impl Permit {
    /// Makes the permit one for `bytes`, waiting for room if it grows and is not
    /// the oldest.
    pub fn resize(&mut self, bytes: u64) {
        let mut used = lock(&self.budget.used);
        while !used.lifted
            && bytes > self.bytes
            && (used.bytes - self.bytes).saturating_add(bytes) > self.budget.limit_bytes
            && used.permits.first() != Some(&self.number)
        {
            used = self.budget.freed.wait(used).unwrap_or_else(PoisonError::into_inner);
        }
        used.bytes = (used.bytes - self.bytes).saturating_add(bytes);
        used.peak_bytes = used.peak_bytes.max(used.bytes);
        drop(used);
        self.bytes = bytes;
        self.budget.freed.notify_all();
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut used = lock(&self.budget.used);
        used.bytes = used.bytes.saturating_sub(self.bytes);
        used.permits.remove(&self.number);
        drop(used);
        self.budget.freed.notify_all();
    }
}
