//! Canonical Huffman codes, chosen exactly as miniz chooses them.
//!
//! Any optimal code would serve a reader of the stream; only miniz's own choice
//! among equals, and its own way of shortening long codes, gives its bits.

/// Most symbols any of deflate's three alphabets has here.
const SYMBOLS_MAX: usize = 288;
/// Deepest tree that is told apart; block totals below 2^16 cannot reach it.
const DEPTH_MAX: usize = 32;

/// The codes of one alphabet of `N` symbols.
#[derive(Clone)]
pub(super) struct Codes<const N: usize> {
    /// Code of each symbol, first bit lowest, as it goes into the stream.
    pub(super) bits: [u16; N],
    /// Length of each code; 0 for a symbol that has none.
    pub(super) len_bits: [u8; N],
}

impl<const N: usize> Codes<N> {
    pub(super) const fn new() -> Self {
        Self {
            bits: [0; N],
            len_bits: [0; N],
        }
    }

    /// Chooses codes of at most `limit_bits` for symbols seen `counts` times.
    pub(super) fn fit(&mut self, counts: &[u16; N], limit_bits: usize) {
        let mut sorted = [0u32; SYMBOLS_MAX];
        let mut used = 0;
        for (symbol, &count) in counts.iter().enumerate() {
            if count != 0 {
                sorted[used] = u32::from(count) << 16 | symbol as u32;
                used += 1;
            }
        }
        let sorted = &mut sorted[..used];
        // By count, then by symbol: what miniz's stable radix sort gives.
        sorted.sort_unstable();

        let mut per_len = depths(sorted);
        limit_depth(&mut per_len, used, limit_bits);

        self.len_bits = [0; N];
        // The most frequent symbols, at the end, get the shortest codes.
        let mut rest = &sorted[..];
        for (len_bits, &symbols) in per_len.iter().enumerate().take(limit_bits + 1).skip(1) {
            let (longer, these) = rest.split_at(rest.len() - symbols as usize);
            for &entry in these {
                self.len_bits[(entry & 0xffff) as usize] = len_bits as u8;
            }
            rest = longer;
        }
        self.assign();
    }

    /// Gives every symbol the code of `len_bits` that deflate prescribes.
    pub(super) fn assign(&mut self) {
        let mut per_len = [0u32; 16];
        for &len_bits in &self.len_bits {
            per_len[usize::from(len_bits & 15)] += 1;
        }
        per_len[0] = 0;
        let mut next = [0u32; 16];
        for len_bits in 1..16 {
            next[len_bits] = (next[len_bits - 1] + per_len[len_bits - 1]) << 1;
        }
        for (bits, &len_bits) in self.bits.iter_mut().zip(&self.len_bits) {
            let len_bits = len_bits & 15;
            if len_bits == 0 {
                *bits = 0;
                continue;
            }
            let code = next[usize::from(len_bits)];
            next[usize::from(len_bits)] += 1;
            *bits = (code as u16).reverse_bits() >> (16 - len_bits);
        }
    }
}

/// How many leaves of an optimal tree lie at each depth.
///
/// `sorted` holds count << 16 | symbol, ascending. This is the in-place method
/// of Moffat and Katajainen; on equal weights a leaf is taken before a node.
fn depths(sorted: &[u32]) -> [u32; DEPTH_MAX + 1] {
    let mut per_len = [0; DEPTH_MAX + 1];
    let leaves = sorted.len();
    if leaves < 2 {
        per_len[1] = leaves as u32;
        return per_len;
    }

    // First the weight of each inner node, then its parent, then its depth.
    let mut nodes = [0u32; SYMBOLS_MAX];
    let (mut leaf, mut node) = (0, 0);
    for made in 0..leaves - 1 {
        for child in 0..2 {
            let take_node = leaf >= leaves || (node < made && nodes[node] < sorted[leaf] >> 16);
            let weight = if take_node {
                let weight = nodes[node];
                nodes[node] = made as u32;
                node += 1;
                weight
            } else {
                leaf += 1;
                sorted[leaf - 1] >> 16
            };
            nodes[made] = if child == 0 { weight } else { nodes[made] + weight };
        }
    }
    nodes[leaves - 2] = 0;
    for node in (0..leaves - 2).rev() {
        nodes[node] = nodes[nodes[node] as usize] + 1;
    }

    // Of the places at each depth, those that are not nodes are leaves.
    let (mut places, mut depth) = (1u32, 0u32);
    let mut unseen = &nodes[..leaves - 1];
    while places > 0 {
        let here = unseen.iter().rev().take_while(|&&of| of == depth).count();
        unseen = &unseen[..unseen.len() - here];
        per_len[(depth as usize).min(DEPTH_MAX)] += places - here as u32;
        places = 2 * here as u32;
        depth += 1;
    }
    per_len
}

/// Brings all leaves up to `limit_bits`, then makes room for those that came.
fn limit_depth(per_len: &mut [u32; DEPTH_MAX + 1], symbols: usize, limit_bits: usize) {
    if symbols <= 1 {
        return;
    }
    per_len[limit_bits] += per_len[limit_bits + 1..].iter().sum::<u32>();
    let taken: u32 = (1..=limit_bits)
        .map(|len_bits| per_len[len_bits] << (limit_bits - len_bits))
        .sum();
    // Each round splits the deepest leaf that is short of the limit, so that one
    // of the deepest leaves can move in beside it: one code place is won.
    for _ in 1 << limit_bits..taken {
        per_len[limit_bits] -= 1;
        if let Some(len_bits) = (1..limit_bits).rev().find(|&len_bits| per_len[len_bits] != 0) {
            per_len[len_bits] -= 1;
            per_len[len_bits + 1] += 2;
        }
    }
}
