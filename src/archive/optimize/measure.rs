//! What storing a content takes, alone or against another: by compressing it so, at a level
//! that is fast and yet ranks bases as the highest one does.

use super::shelf::Member;
use super::source::Contents;
use super::work::work_bytes;
use crate::archive::Error;
use crate::archive::budget::Budget;
use crate::archive::encode::compress;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// zstd's level for that. (Measured: what 3 to 12 choose is the same to a thousandth at
/// level 22; 1 chooses worse.)
const LEVEL: i32 = 3;
/// The level for what a seed is worth, which is much that is short: the level above does not
/// see it. (Measured: for a tar of 5 MB it sees a third of a percent where 12 sees 1.1 and 22
/// has 1.2.)
const SEED_LEVEL: i32 = 12;

/// What measuring takes.
#[derive(Clone, Copy)]
pub(super) struct Scales<'a> {
    pub contents: &'a Contents<'a>,
    /// Bounds the memory.
    pub budget: &'a Arc<Budget>,
    pub threads: usize,
    /// Asked before each content whether to end.
    pub ended: &'a (dyn Fn() -> bool + Sync),
}

/// What a content takes, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Costs {
    pub alone: u64,
    /// In the order of the bases asked for.
    pub against: Vec<u64>,
}

impl Scales<'_> {
    /// What each of `members` takes alone and against its `bases`, other members; none if
    /// it was asked to end.
    ///
    /// # Errors
    /// When a member cannot be read.
    pub fn costs(&self, members: &[Member], bases: &[Vec<usize>]) -> Result<Option<Vec<Costs>>, Error> {
        self.each(members.len(), |at| {
            let member = &members[at];
            let made = self.contents.of(&member.digest)?;
            let content = &made.content.bytes;
            let mut costs = Costs {
                alone: self.alone(content)?,
                against: Vec::with_capacity(bases[at].len()),
            };
            for &base in &bases[at] {
                let base = self.contents.of(&members[base].digest)?;
                costs
                    .against
                    .push(self.size(content, Some(&base.content.bytes), LEVEL)?);
            }
            Ok(costs)
        })
    }

    /// What those of `members` that are `wanted` take against `seed`, where they take
    /// `alone` without it; none if it was asked to end.
    ///
    /// # Errors
    /// When a member cannot be read.
    pub fn against_seed(
        &self,
        members: &[Member],
        seed: &[u8],
        wanted: &(dyn Fn(usize) -> bool + Sync),
        alone: &(dyn Fn(usize) -> u64 + Sync),
    ) -> Result<Option<Vec<Option<u64>>>, Error> {
        self.each(members.len(), |at| {
            if !wanted(at) {
                return Ok(None);
            }
            let made = self.contents.of(&members[at].digest)?;
            let content = &made.content.bytes;
            let (without, with) = (
                self.size(content, None, SEED_LEVEL)?,
                self.size(content, Some(seed), SEED_LEVEL)?,
            );
            // In the measure of all other costs.
            let scaled = u128::from(alone(at)) * u128::from(with) / u128::from(without.max(1));
            Ok(Some(scaled as u64))
        })
    }

    /// What `content` takes alone.
    ///
    /// # Errors
    /// When zstd has no memory.
    pub fn alone(&self, content: &[u8]) -> Result<u64, Error> {
        self.size(content, None, LEVEL)
    }

    fn size(&self, content: &[u8], base: Option<&[u8]>, level: i32) -> Result<u64, Error> {
        let base_bytes = base.map_or(0, <[u8]>::len) as u64;
        let _permit = self.budget.take(work_bytes(content.len() as u64, base_bytes, level));
        match compress(content, base, level) {
            Ok(frame) => Ok(frame.len() as u64),
            Err(cause) => Err(Error::Rejected(format!("a content cannot be compressed: {cause}"))),
        }
    }

    /// `measure` of all numbers below `count`, in order; none if it was asked to end.
    fn each<T: Send>(
        &self,
        count: usize,
        measure: impl Fn(usize) -> Result<T, Error> + Sync,
    ) -> Result<Option<Vec<T>>, Error> {
        let next = AtomicUsize::new(0);
        let has_ended = AtomicBool::new(false);
        let measured: Mutex<Vec<Option<Result<T, Error>>>> = Mutex::new((0..count).map(|_| None).collect());
        std::thread::scope(|scope| {
            for _ in 0..self.threads.max(1) {
                scope.spawn(|| {
                    loop {
                        let at = next.fetch_add(1, Ordering::Relaxed);
                        if at >= count || has_ended.load(Ordering::Relaxed) {
                            break;
                        }
                        if (self.ended)() {
                            has_ended.store(true, Ordering::Relaxed);
                            break;
                        }
                        let result = measure(at);
                        let failed = result.is_err();
                        measured.lock().unwrap_or_else(PoisonError::into_inner)[at] = Some(result);
                        if failed {
                            has_ended.store(true, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        let measured = measured.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut all = Vec::with_capacity(count);
        let mut is_whole = true;
        for result in measured {
            match result.transpose()? {
                Some(result) => all.push(result),
                None => is_whole = false,
            }
        }
        Ok(is_whole.then_some(all))
    }
}
