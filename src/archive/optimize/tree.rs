//! Which content is compressed against which: the cheapest forest of bases within the
//! chain budget. Pure.
//!
//! Costs are in bytes, about. A base must not be reached from itself, and no chain may
//! cost more to decode than the budget allows; both make the exact optimum hard to find,
//! so several forests are grown, one of them from the optimum without a budget, and each is
//! improved, one better base at a time, until none is left. The same input gives the same
//! forest everywhere.

use super::arborescence::{self, Choice};

/// What a chain may cost. [R 11.1]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainBudget {
    /// Content bytes that any chain may have.
    pub bytes: u64,
    /// A chain may also have so many times its own content's bytes.
    pub factor: u64,
    /// Frames below one frame.
    pub depth: u32,
}

impl ChainBudget {
    /// Whether a content of `content_bytes` may have such a chain, itself included.
    pub fn allows(&self, content_bytes: u64, chain_bytes: u64, depth: u32) -> bool {
        depth <= self.depth && chain_bytes <= self.bytes.max(self.factor.saturating_mul(content_bytes))
    }
}

/// A content to place.
#[derive(Debug, Clone, Default)]
pub(super) struct Node {
    /// Its length.
    pub content_bytes: u64,
    /// What storing it without a base costs.
    pub alone: u64,
    /// What storing it against another costs, for those worth a thought.
    pub edges: Vec<Edge>,
    /// Whether it can be a base at all.
    pub is_base: bool,
}

/// A possible base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Edge {
    pub base: usize,
    pub cost: u64,
}

/// The bases of all nodes, and in which order to store them: each behind its base, and
/// as close behind as can be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Forest {
    pub bases: Vec<Option<usize>>,
    /// What each node costs so.
    pub costs: Vec<u64>,
    pub order: Vec<usize>,
    pub cost: u64,
}

/// The best forest found for `nodes`.
pub(super) fn grow(nodes: &[Node], budget: ChainBudget) -> Forest {
    let count = nodes.len();
    let ascending: Vec<usize> = (0..count).collect();
    let descending: Vec<usize> = (0..count).rev().collect();
    // What is large and whole first: the others are then told from it.
    let mut largest = ascending.clone();
    largest.sort_by_key(|&node| (std::cmp::Reverse(nodes[node].alone), node));
    let mut forests: Vec<Grown<'_>> = [ascending, descending, largest]
        .into_iter()
        .map(|order| {
            let mut grown = Grown::new(nodes, budget);
            for node in order {
                grown.place(node);
            }
            grown
        })
        .collect();
    forests.push(Grown::cheapest(nodes, budget));
    let improved = forests.into_iter().map(|mut grown| {
        grown.improve();
        grown
    });
    let best = improved.min_by_key(Grown::cost);
    best.map_or_else(
        || Forest {
            bases: Vec::new(),
            costs: Vec::new(),
            order: Vec::new(),
            cost: 0,
        },
        |grown| Forest {
            order: grown.order(),
            cost: grown.cost(),
            bases: grown.base,
            costs: grown.costs,
        },
    )
}

struct Grown<'a> {
    nodes: &'a [Node],
    budget: ChainBudget,
    placed: Vec<bool>,
    base: Vec<Option<usize>>,
    costs: Vec<u64>,
    children: Vec<Vec<usize>>,
    chain_bytes: Vec<u64>,
    depth: Vec<u32>,
}

impl<'a> Grown<'a> {
    fn new(nodes: &'a [Node], budget: ChainBudget) -> Grown<'a> {
        Grown {
            nodes,
            budget,
            placed: vec![false; nodes.len()],
            base: vec![None; nodes.len()],
            costs: nodes.iter().map(|node| node.alone).collect(),
            children: vec![Vec::new(); nodes.len()],
            chain_bytes: nodes.iter().map(|node| node.content_bytes).collect(),
            depth: vec![0; nodes.len()],
        }
    }

    /// The cheapest forest without a budget, but for the bases that it does not allow.
    fn cheapest(nodes: &'a [Node], budget: ChainBudget) -> Grown<'a> {
        let mut choices: Vec<Choice> = Vec::new();
        for (node, of) in nodes.iter().enumerate() {
            choices.push(Choice {
                node,
                base: None,
                cost: of.alone,
            });
            let edges = of.edges.iter().filter(|edge| nodes[edge.base].is_base);
            choices.extend(edges.map(|edge| Choice {
                node,
                base: Some(edge.base),
                cost: edge.cost,
            }));
        }
        let mut grown = Grown::new(nodes, budget);
        let taken = arborescence::cheapest(nodes.len(), &choices);
        // From the roots on, so that each chain is known when something is put on it.
        let mut above: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
        let mut todo = Vec::new();
        for node in (0..nodes.len()).rev() {
            match choices[taken[node]].base {
                Some(base) => above[base].push(node),
                None => todo.push(node),
            }
        }
        while let Some(node) = todo.pop() {
            let Choice { base, cost, .. } = choices[taken[node]];
            match base {
                Some(base) if grown.is_possible(node, base) => {
                    grown.placed[node] = true;
                    grown.rebase(node, base, cost);
                }
                _ => grown.place(node),
            }
            todo.extend(&above[node]);
        }
        grown
    }

    fn cost(&self) -> u64 {
        self.costs.iter().sum()
    }

    /// Gives `node` the best base among those placed already.
    fn place(&mut self, node: usize) {
        self.placed[node] = true;
        let nodes = self.nodes;
        let possible = nodes[node].edges.iter().filter(|edge| {
            self.placed[edge.base] && edge.cost < nodes[node].alone && self.is_possible(node, edge.base)
        });
        if let Some(edge) = possible.min_by_key(|edge| (edge.cost, self.chain_bytes[edge.base], edge.base)) {
            self.rebase(node, edge.base, edge.cost);
        }
    }

    /// Takes better bases as long as there are any.
    fn improve(&mut self) {
        loop {
            let mut changed = false;
            for node in 0..self.nodes.len() {
                let nodes = self.nodes;
                let better = nodes[node]
                    .edges
                    .iter()
                    .filter(|edge| edge.cost < self.costs[node] && self.is_possible(node, edge.base));
                if let Some(edge) = better.min_by_key(|edge| (edge.cost, self.chain_bytes[edge.base], edge.base)) {
                    self.rebase(node, edge.base, edge.cost);
                    changed = true;
                }
            }
            if !changed {
                break;
            }
        }
    }

    /// Whether `base` under `node` makes no loop and keeps every chain above in budget.
    fn is_possible(&self, node: usize, base: usize) -> bool {
        if !self.nodes[base].is_base {
            return false;
        }
        let mut below = Some(base);
        while let Some(at) = below {
            if at == node {
                return false;
            }
            below = self.base[at];
        }
        let more_bytes =
            self.chain_bytes[base] as i64 + self.nodes[node].content_bytes as i64 - self.chain_bytes[node] as i64;
        let more_depth = i64::from(self.depth[base]) + 1 - i64::from(self.depth[node]);
        let mut todo = vec![node];
        while let Some(at) = todo.pop() {
            let chain_bytes = (self.chain_bytes[at] as i64 + more_bytes) as u64;
            let depth = (i64::from(self.depth[at]) + more_depth) as u32;
            if !self.budget.allows(self.nodes[at].content_bytes, chain_bytes, depth) {
                return false;
            }
            todo.extend_from_slice(&self.children[at]);
        }
        true
    }

    fn rebase(&mut self, node: usize, base: usize, cost: u64) {
        if let Some(old) = self.base[node] {
            self.children[old].retain(|child| *child != node);
        }
        self.base[node] = Some(base);
        self.costs[node] = cost;
        self.children[base].push(node);
        let mut todo = vec![node];
        while let Some(at) = todo.pop() {
            if let Some(base) = self.base[at] {
                self.chain_bytes[at] = self.chain_bytes[base] + self.nodes[at].content_bytes;
                self.depth[at] = self.depth[base] + 1;
            }
            todo.extend_from_slice(&self.children[at]);
        }
    }

    /// Bases first; of several on one base the one with the least above it first, so
    /// that the base has just been decoded when the others are read.
    fn order(&self) -> Vec<usize> {
        let mut above = vec![1usize; self.nodes.len()];
        let mut by_depth: Vec<usize> = (0..self.nodes.len()).collect();
        by_depth.sort_by_key(|&node| std::cmp::Reverse(self.depth[node]));
        for node in by_depth {
            if let Some(base) = self.base[node] {
                above[base] += above[node];
            }
        }
        let mut order = Vec::with_capacity(self.nodes.len());
        let roots = (0..self.nodes.len()).filter(|&node| self.base[node].is_none());
        for root in roots {
            let mut todo = vec![root];
            while let Some(node) = todo.pop() {
                order.push(node);
                let mut children = self.children[node].clone();
                children.sort_by_key(|&child| std::cmp::Reverse((above[child], child)));
                todo.extend(children);
            }
        }
        order
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;

    const BUDGET: ChainBudget = ChainBudget {
        bytes: 1000,
        factor: 4,
        depth: 64,
    };

    fn nodes(costs: &[&[u64]], content_bytes: u64) -> Vec<Node> {
        let node = |(at, costs): (usize, &&[u64])| Node {
            content_bytes,
            alone: costs[at],
            edges: (0..costs.len())
                .filter(|&base| base != at)
                .map(|base| Edge {
                    base,
                    cost: costs[base],
                })
                .collect(),
            is_base: true,
        };
        costs.iter().enumerate().map(node).collect()
    }

    #[test]
    fn the_newest_is_the_root_if_that_is_cheapest() {
        // 2 holds all that 0 and 1 hold, so these are nothing against it.
        let nodes = nodes(&[&[50, 1, 1], &[40, 60, 1], &[50, 40, 80]], 10);
        let forest = grow(&nodes, BUDGET);
        assert_eq!(forest.bases[2], None);
        assert_eq!(forest.cost, 82);
    }

    #[test]
    fn no_chain_is_beyond_the_budget_and_no_loop_is_made() {
        let mut random = fastrand::Rng::with_seed(7);
        for content_bytes in [1, 90, 300, 600, 5000] {
            for depth in [1, 3, 64] {
                let costs: Vec<Vec<u64>> = (0..40)
                    .map(|at| {
                        (0..40)
                            .map(|base| if at == base { 500 } else { random.u64(1..600) })
                            .collect()
                    })
                    .collect();
                let costs: Vec<&[u64]> = costs.iter().map(Vec::as_slice).collect();
                let nodes = nodes(&costs, content_bytes);
                let budget = ChainBudget { depth, ..BUDGET };
                let forest = grow(&nodes, budget);
                assert_eq!(grow(&nodes, budget), forest);
                let mut chains = vec![None; nodes.len()];
                for &node in &forest.order {
                    let below = forest.bases[node].map_or((0, 0), |base| {
                        let (bytes, depth): (u64, u32) = chains[base].unwrap();
                        (bytes, depth + 1)
                    });
                    let chain = (below.0 + content_bytes, below.1);
                    assert!(budget.allows(content_bytes, chain.0, chain.1));
                    chains[node] = Some(chain);
                }
                assert!(chains.iter().all(Option::is_some));
                assert!(forest.cost < 40 * 500 || content_bytes * 2 > 1000.max(4 * content_bytes));
            }
        }
    }

    #[test]
    fn what_cannot_be_a_base_is_none() {
        let mut nodes = nodes(&[&[50, 1], &[1, 60]], 10);
        nodes[1].is_base = false;
        assert_eq!(grow(&nodes, BUDGET).bases, [None, Some(0)]);
    }
}
