//! The cheapest forest of bases there is when chains may be as long as they like: a
//! minimum arborescence, by Chu, Liu and Edmonds. Pure.
//!
//! Every node takes its cheapest base; where that makes a loop, the loop becomes one node
//! of a smaller graph, in which taking a base means giving up the loop's own at the node
//! that is entered; until there is no loop.

/// Loops within loops are followed so deep; what is deeper is cut open at once, where that
/// costs least.
const MAX_ROUNDS: u32 = 40;

/// A possible base of a node, `None` for being stored alone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Choice {
    pub node: usize,
    pub base: Option<usize>,
    pub cost: u64,
}

/// The choice to take for each of `count` nodes, by its number in `choices`. Every node needs
/// one without a base. Of equal ones the first counts.
pub(super) fn cheapest(count: usize, choices: &[Choice]) -> Vec<usize> {
    cheapest_within(MAX_ROUNDS, count, choices)
}

fn cheapest_within(rounds: u32, count: usize, choices: &[Choice]) -> Vec<usize> {
    // Cheapest choice of each node, and the loops that these make.
    let mut best: Vec<Option<usize>> = vec![None; count];
    for (at, choice) in choices.iter().enumerate() {
        let best = &mut best[choice.node];
        if best.is_none_or(|held| choice.cost < choices[held].cost) {
            *best = Some(at);
        }
    }
    let mut taken: Vec<usize> = best.into_iter().flatten().collect();
    let loops = loops(&taken, choices);
    if loops.is_empty() {
        return taken;
    }
    if rounds == 0 {
        cut(&mut taken, &loops, choices);
        return taken;
    }
    // Each loop as one node, all others as they are.
    let mut place: Vec<Option<usize>> = vec![None; count];
    for (number, nodes) in loops.iter().enumerate() {
        nodes.iter().for_each(|&node| place[node] = Some(number));
    }
    let mut places = loops.len();
    let place: Vec<usize> = place
        .into_iter()
        .map(|place| {
            place.unwrap_or_else(|| {
                places += 1;
                places - 1
            })
        })
        .collect();
    let mut smaller = Vec::new();
    let mut origin = Vec::new();
    for (at, choice) in choices.iter().enumerate() {
        let node = place[choice.node];
        let base = choice.base.map(|base| place[base]);
        if base != Some(node) {
            let given_up = if node < loops.len() {
                choices[taken[choice.node]].cost
            } else {
                0
            };
            smaller.push(Choice {
                node,
                base,
                cost: choice.cost - given_up,
            });
            origin.push(at);
        }
    }
    for at in cheapest_within(rounds - 1, places, &smaller) {
        let choice = origin[at];
        taken[choices[choice].node] = choice;
    }
    taken
}

/// Opens each loop at the node that costs least more when it is stored alone.
fn cut(taken: &mut [usize], loops: &[Vec<usize>], choices: &[Choice]) {
    let mut number = vec![None; taken.len()];
    for (at, nodes) in loops.iter().enumerate() {
        nodes.iter().for_each(|&node| number[node] = Some(at));
    }
    let mut least: Vec<Option<(u64, usize)>> = vec![None; loops.len()];
    for (at, choice) in choices.iter().enumerate() {
        if let (Some(number), None) = (number[choice.node], choice.base) {
            let more = (choice.cost - choices[taken[choice.node]].cost, at);
            let least = &mut least[number];
            *least = Some(least.map_or(more, |held| held.min(more)));
        }
    }
    for (_, at) in least.into_iter().flatten() {
        taken[choices[at].node] = at;
    }
}

/// The loops among the choices taken.
fn loops(taken: &[usize], choices: &[Choice]) -> Vec<Vec<usize>> {
    let mut seen_from: Vec<Option<usize>> = vec![None; taken.len()];
    let mut loops = Vec::new();
    for start in 0..taken.len() {
        let mut at = Some(start);
        while let Some(node) = at
            && seen_from[node].is_none()
        {
            seen_from[node] = Some(start);
            at = choices[taken[node]].base;
        }
        if let Some(entry) = at
            && seen_from[entry] == Some(start)
        {
            let mut nodes = vec![entry];
            let mut next = choices[taken[entry]].base;
            while let Some(node) = next.filter(|&node| node != entry) {
                nodes.push(node);
                next = choices[taken[node]].base;
            }
            loops.push(nodes);
        }
    }
    loops
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(choices: &[Choice], taken: &[usize]) -> u64 {
        taken.iter().map(|&at| choices[at].cost).sum()
    }

    /// The least there is, by trying everything.
    fn least(count: usize, choices: &[Choice]) -> u64 {
        let of: Vec<Vec<usize>> = (0..count)
            .map(|node| (0..choices.len()).filter(|&at| choices[at].node == node).collect())
            .collect();
        let mut least = u64::MAX;
        for mut number in 0..of.iter().map(Vec::len).product::<usize>() {
            let taken: Vec<usize> = of
                .iter()
                .map(|of| {
                    let at = of[number % of.len()];
                    number /= of.len();
                    at
                })
                .collect();
            if loops(&taken, choices).is_empty() {
                least = least.min(cost(choices, &taken));
            }
        }
        least
    }

    #[test]
    fn nothing_is_cheaper() {
        let mut random = fastrand::Rng::with_seed(3);
        for round in 0..400 {
            let count = 2 + round % 4;
            let mut choices = Vec::new();
            for node in 0..count {
                choices.push(Choice {
                    node,
                    base: None,
                    cost: random.u64(5..60),
                });
                for base in (0..count).filter(|&base| base != node) {
                    if random.u8(0..4) > 0 {
                        let cost = random.u64(0..30);
                        let base = Some(base);
                        choices.push(Choice { node, base, cost });
                    }
                }
            }
            let taken = cheapest(count, &choices);
            assert!(taken.iter().enumerate().all(|(node, &at)| choices[at].node == node));
            assert!(loops(&taken, &choices).is_empty());
            assert_eq!(cost(&choices, &taken), least(count, &choices));
            for rounds in 0..2 {
                let taken = cheapest_within(rounds, count, &choices);
                assert!(loops(&taken, &choices).is_empty());
            }
        }
    }
}
