//! Inputs with a known shape.
#![allow(dead_code, reason = "each user needs only some of these")]

/// A small pseudo-random generator: the same inputs on every machine.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        let mut random = Random(seed ^ 0x9e37_79b9_7f4a_7c15);
        random.next();
        random.next();
        random
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// Below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// From `low` to `high`, both included.
    pub fn within(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    pub fn byte(&mut self) -> u8 {
        (self.next() >> 32) as u8
    }

    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.byte()).collect()
    }

    /// Bytes drawn evenly from `alphabet`.
    pub fn letters(&mut self, alphabet: &[u8], count: usize) -> Vec<u8> {
        (0..count).map(|_| alphabet[self.below(alphabet.len())]).collect()
    }
}

/// Lines of a table as programs generate them: counters and hexadecimal numbers.
pub fn table(seed: u64, count: usize) -> Vec<u8> {
    let mut random = Random::new(seed);
    let mut out = Vec::new();
    for row in 0.. {
        if out.len() >= count {
            break;
        }
        out.extend(
            format!(
                "    (0x{:04x}, {:6}, {}),\n",
                random.below(1 << 16),
                row,
                random.below(1000)
            )
            .bytes(),
        );
    }
    out.truncate(count);
    out
}

/// A random unit of `period` bytes over and over.
pub fn periodic(seed: u64, period: usize, count: usize) -> Vec<u8> {
    Random::new(seed)
        .bytes(period)
        .into_iter()
        .cycle()
        .take(count)
        .collect()
}

/// Words of a small vocabulary, unevenly drawn: compresses as source text does.
pub fn prose(seed: u64, count: usize) -> Vec<u8> {
    let mut random = Random::new(seed);
    let words: Vec<Vec<u8>> = (0..400)
        .map(|_| {
            let length = random.within(1, 9);
            random.letters(b"etaoinshrdlucmfw_(){}.;: ", length)
        })
        .collect();
    let mut out = Vec::new();
    while out.len() < count {
        let rank = random.below(words.len());
        let rank = random.below(rank + 1);
        out.extend_from_slice(&words[rank]);
        out.push(if random.below(8) == 0 { b'\n' } else { b' ' });
    }
    out.truncate(count);
    out
}
