//! The Huffman codes that zlib builds.
//!
//! Many Huffman codes are optimal for the same frequencies. Which one zlib picks
//! follows from the order in which its heap gives out nodes of equal weight and from
//! how it shortens codes that are too long, so both are reproduced here exactly.

/// Literals, the end of block and the length codes.
pub(super) const LITERAL_CODES: usize = 286;
/// The longest code word deflate allows.
pub(super) const CODE_LIMIT_BITS: u8 = 15;

/// Leaves and inner nodes of the largest tree.
const NODES: usize = 2 * LITERAL_CODES - 1;

/// A Huffman code word as it is sent, first bit lowest.
#[derive(Clone, Copy, Default)]
pub(super) struct CodeWord {
    pub(super) bits: u16,
    pub(super) length_bits: u8,
}

/// The codes of one alphabet.
pub(super) struct Code<const SYMBOLS: usize> {
    pub(super) words: [CodeWord; SYMBOLS],
    /// Symbols up to the last one that has a code word.
    pub(super) used: usize,
}

impl<const SYMBOLS: usize> Code<SYMBOLS> {
    /// The code that zlib builds for these frequencies, whose sum is at most 65,533.
    pub(super) fn build(frequencies: &[u16; SYMBOLS], limit_bits: u8) -> Self {
        let mut lengths = [0; SYMBOLS];
        let used = assign_lengths(frequencies, limit_bits, &mut lengths);
        let mut code = Self::from_lengths(&lengths);
        code.used = used;
        code
    }

    /// The canonical code with these lengths.
    pub(super) fn from_lengths(lengths: &[u8; SYMBOLS]) -> Self {
        let mut next_words = [0u16; CODE_LIMIT_BITS as usize + 2];
        for &length in lengths.iter().filter(|&&length| length > 0) {
            next_words[usize::from(length) + 1] += 1;
        }
        let mut word = 0;
        for next in &mut next_words {
            word = (word + *next) << 1;
            *next = word;
        }
        let words = lengths.map(|length_bits| {
            if length_bits == 0 {
                return CodeWord::default();
            }
            let next = &mut next_words[usize::from(length_bits)];
            let bits = next.reverse_bits() >> (16 - length_bits);
            *next += 1;
            CodeWord { bits, length_bits }
        });
        Code { words, used: SYMBOLS }
    }

    /// Bits that symbols with these frequencies take, without extra bits.
    pub(super) fn cost_bits(&self, frequencies: &[u16; SYMBOLS]) -> u64 {
        let pairs = self.words.iter().zip(frequencies);
        pairs
            .map(|(word, &frequency)| u64::from(word.length_bits) * u64::from(frequency))
            .sum()
    }

    pub(super) fn lengths(&self) -> impl Iterator<Item = u8> {
        self.words[..self.used].iter().map(|word| word.length_bits)
    }
}

/// A min-heap of tree nodes as zlib keeps it: which of two nodes of equal weight comes
/// out first depends on every step of these two procedures.
struct Heap {
    /// Entries from 1 on; the sons of entry `i` are entries `2i` and `2i + 1`.
    nodes: [u16; LITERAL_CODES + 1],
    len: usize,
}

impl Heap {
    /// Moves the entry at `parent` down until no son is smaller. A son moves up only when
    /// strictly smaller, and of equal sons the right one is preferred.
    fn sift_down(&mut self, weights: &[u32; NODES], mut parent: usize) {
        let moving = self.nodes[parent];
        let weight = weights[usize::from(moving)];
        loop {
            let mut son = parent * 2;
            if son > self.len {
                break;
            }
            let mut son_weight = weights[usize::from(self.nodes[son])];
            if son < self.len {
                let right_weight = weights[usize::from(self.nodes[son + 1])];
                if right_weight <= son_weight {
                    son += 1;
                    son_weight = right_weight;
                }
            }
            if weight <= son_weight {
                break;
            }
            self.nodes[parent] = self.nodes[son];
            parent = son;
        }
        self.nodes[parent] = moving;
    }

    fn pop(&mut self, weights: &[u32; NODES]) -> u16 {
        let smallest = self.nodes[1];
        self.nodes[1] = self.nodes[self.len];
        self.len -= 1;
        self.sift_down(weights, 1);
        smallest
    }
}

/// Sets `lengths` to zlib's code lengths for `frequencies`, none above `limit_bits`, and
/// returns the count of symbols up to the last one that has a code.
fn assign_lengths(frequencies: &[u16], limit_bits: u8, lengths: &mut [u8]) -> usize {
    // A weight is the frequency and, below it, the height of the subtree: zlib prefers
    // the flatter of two subtrees with equal frequency.
    const HEIGHT_BITS: u32 = 8;
    let mut weights = [0u32; NODES];
    let mut heap = Heap {
        nodes: [0; LITERAL_CODES + 1],
        len: 0,
    };
    let mut used = 0;
    let mut push_leaf = |symbol: usize, frequency: u16| {
        weights[symbol] = u32::from(frequency) << HEIGHT_BITS;
        heap.len += 1;
        heap.nodes[heap.len] = symbol as u16;
    };
    let mut leaves = 0;
    for (symbol, &frequency) in frequencies.iter().enumerate() {
        if frequency > 0 {
            push_leaf(symbol, frequency);
            leaves += 1;
            used = symbol + 1;
        }
    }
    // Every code has at least two words. The ones made up are the lowest symbols that
    // keep the alphabet short: the next one while within the first three, else symbol 0.
    while leaves < 2 {
        if used < 3 {
            push_leaf(used, 1);
            used += 1;
        } else {
            push_leaf(0, 1);
        }
        leaves += 1;
    }

    for parent in (1..=heap.len / 2).rev() {
        heap.sift_down(&weights, parent);
    }
    let mut parents = [0u16; NODES];
    // Nodes in the order in which they left the heap, lightest first.
    let mut order = [0u16; NODES];
    let mut ordered = 0;
    let first_inner = frequencies.len();
    let mut inner = first_inner;
    while heap.len >= 2 {
        let lightest = heap.pop(&weights);
        let second = heap.nodes[1];
        let (a, b) = (weights[usize::from(lightest)], weights[usize::from(second)]);
        let height_mask = (1 << HEIGHT_BITS) - 1;
        let height = (a & height_mask).max(b & height_mask) + 1;
        weights[inner] = (a & !height_mask) + (b & !height_mask) + height;
        for son in [lightest, second] {
            parents[usize::from(son)] = inner as u16;
            order[ordered] = son;
            ordered += 1;
        }
        heap.nodes[1] = inner as u16;
        heap.sift_down(&weights, 1);
        inner += 1;
    }

    // Depths from the root down; the root itself stays at 0.
    let mut depths = [0u8; NODES];
    let mut counts = [0u16; CODE_LIMIT_BITS as usize + 1];
    let mut overflow = 0;
    for &node in order[..ordered].iter().rev() {
        let node = usize::from(node);
        let mut depth = depths[usize::from(parents[node])] + 1;
        // Inner nodes count as overflow too, and what hangs below them hangs at the limit.
        if depth > limit_bits {
            depth = limit_bits;
            overflow += 1;
        }
        depths[node] = depth;
        if node < first_inner {
            counts[usize::from(depth)] += 1;
        }
    }
    let mut leaves = order[..ordered]
        .iter()
        .map(|&node| usize::from(node))
        .filter(|&node| node < first_inner);
    if overflow == 0 {
        leaves.for_each(|leaf| lengths[leaf] = depths[leaf]);
        return used;
    }
    let limit = usize::from(limit_bits);
    while overflow > 0 {
        // The deepest leaf above the limit moves down a level and takes one that was too
        // deep as its brother.
        let Some(level) = (1..limit).rev().find(|&level| counts[level] > 0) else {
            break;
        };
        counts[level] -= 1;
        counts[level + 1] += 2;
        counts[limit] -= 1;
        overflow -= 2;
    }
    // The leaves that left the heap first get the longest codes. Only now: where weights
    // are equal, depths need not follow that order.
    for level in (1..=limit).rev() {
        for leaf in leaves.by_ref().take(usize::from(counts[level])) {
            lengths[leaf] = level as u8;
        }
    }
    used
}
