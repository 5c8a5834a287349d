//! Which contents are worth a thought as bases of which: their neighbours, and those that
//! look alike. What they are worth indeed is measured ([`super::measure`]). Pure.

use super::plan::Looked;
use super::shelf::Member;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Of a crate's versions those so many before and behind are measured in any case: where
/// small changes are everywhere, sketches share nothing and zstd still finds much.
const NEIGHBOURS: usize = 1;
/// Of those that look most alike so many are looked at, of its own crate and of others.
const ALIKE: usize = 8;
/// And so many of each are measured. (Measured: with twice as many a twentieth of a
/// percent less.)
const ALIKE_OWN: usize = 3;
const ALIKE_OTHERS: usize = 2;
/// Others have to have more than this of it.
const LEAST_SHARED_PERCENT: u64 = 3;
/// Of a crate's versions so many on each side are looked at for that.
const ALIKE_REACH: usize = 512;
/// By how many of so many smallest hashes they share.
const HASHES: usize = 64;
/// A piece that more members have tells nothing of families.
const MAX_SHARING: usize = 48;

/// For each member those that may be its base, ascending.
pub(super) fn candidates(members: &[Member], looked: &[Looked]) -> Vec<Vec<usize>> {
    let keys: Vec<String> = members.iter().map(|member| member.release.name.key()).collect();
    let others = of_other_crates(&keys, looked);
    let mut candidates: Vec<Vec<usize>> = vec![Vec::new(); members.len()];
    let mut start = 0;
    while start < members.len() {
        let end = (start..members.len())
            .find(|&at| keys[at] != keys[start])
            .unwrap_or(members.len());
        for node in (start..end).filter(|&node| looked[node].is_tar) {
            let bases = &mut candidates[node];
            bases.extend(node.saturating_sub(NEIGHBOURS).max(start)..(node + NEIGHBOURS + 1).min(end));
            bases.extend(previous_of_line(members, start, node));
            let from = node.saturating_sub(ALIKE_REACH).max(start);
            let alike = most_alike(looked, node, from..(node + ALIKE_REACH + 1).min(end));
            bases.extend(nearest(looked, node, alike).take(ALIKE_OWN).map(|(_, base)| base));
            let own_bytes = looked[node].sketch.bytes();
            let others = nearest(looked, node, others[node].clone())
                .filter(|(beside, _)| beside * 100 < own_bytes * (100 - LEAST_SHARED_PERCENT));
            bases.extend(others.take(ALIKE_OTHERS).map(|(_, base)| base));
            bases.sort_unstable();
            bases.dedup();
            bases.retain(|&base| base != node && looked[base].is_tar);
        }
        start = end;
    }
    candidates
}

/// `bases` with the bytes that each of them lacks, least first.
fn nearest(looked: &[Looked], node: usize, bases: Vec<usize>) -> impl Iterator<Item = (u64, usize)> {
    let beside = |base: usize| looked[node].sketch.bytes_beside(&looked[base].sketch);
    let mut bases: Vec<(u64, usize)> = bases.into_iter().map(|base| (beside(base), base)).collect();
    bases.sort_by_key(|&(beside, base)| (beside, base.abs_diff(node), base));
    bases.into_iter()
}

/// The version before this one with the same two first numbers.
fn previous_of_line(members: &[Member], start: usize, node: usize) -> Option<usize> {
    let line = |at: usize| {
        let version = members[at].release.version.semver();
        (version.major, version.minor)
    };
    (start..node).rev().find(|&before| line(before) == line(node))
}

/// Those in `reach` that share most of their smallest hashes with `node`.
fn most_alike(looked: &[Looked], node: usize, reach: std::ops::Range<usize>) -> Vec<usize> {
    let own: Vec<u64> = looked[node].sketch.smallest(HASHES).collect();
    let shared = |other: usize| {
        let mut theirs = looked[other].sketch.smallest(HASHES).peekable();
        own.iter()
            .filter(|hash| {
                while theirs.next_if(|their| their < *hash).is_some() {}
                theirs.peek() == Some(hash)
            })
            .count()
    };
    let mut others: Vec<(usize, usize)> = reach
        .filter(|&other| other != node)
        .map(|other| (shared(other), other))
        .filter(|(shared, _)| *shared > 0)
        .collect();
    others.sort_by_key(|&(shared, other)| (Reverse(shared), other.abs_diff(node), other));
    others.truncate(ALIKE);
    others.into_iter().map(|(_, other)| other).collect()
}

/// For each member those of other crates that share most of their smallest hashes.
fn of_other_crates(keys: &[String], looked: &[Looked]) -> Vec<Vec<usize>> {
    let mut having: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (node, look) in looked.iter().enumerate().filter(|(_, look)| look.is_tar) {
        for hash in look.sketch.smallest(HASHES) {
            having.entry(hash).or_default().push(node);
        }
    }
    let mut shared: Vec<BTreeMap<usize, usize>> = vec![BTreeMap::new(); looked.len()];
    for nodes in having.values().filter(|nodes| nodes.len() <= MAX_SHARING) {
        for &node in nodes {
            for &other in nodes.iter().filter(|&&other| keys[other] != keys[node]) {
                *shared[node].entry(other).or_default() += 1;
            }
        }
    }
    let best = |shared: BTreeMap<usize, usize>| {
        let mut others: Vec<(usize, usize)> = shared.into_iter().map(|(other, count)| (count, other)).collect();
        others.sort_by_key(|&(count, other)| (Reverse(count), other));
        others.truncate(ALIKE);
        others.into_iter().map(|(_, other)| other).collect()
    };
    shared.into_iter().map(best).collect()
}
