//! The library as oracle, the engine beside it, and makers of hard inputs.
#![allow(dead_code, reason = "each test program uses its own part")]

use cratehold::deflate::engines::miniz9::Miniz9;
use miniz_oxide::deflate::core::{
    CompressorOxide, TDEFLFlush, TDEFLStatus, compress, compress_to_output, create_comp_flags_from_zip_params,
};
use std::ops::ControlFlow;

fn compressor() -> CompressorOxide {
    CompressorOxide::new(create_comp_flags_from_zip_params(9, -15, 0))
}

/// The library's stream when it gets the input in pieces, as cratehold gives it.
pub fn library_in_pieces(input: &[u8], piece_bytes: usize) -> Vec<u8> {
    let mut compressor = compressor();
    let (mut out, mut stream, mut at) = (vec![0; 64 << 10], Vec::new(), 0);
    loop {
        let end = input.len().min(at + piece_bytes);
        let flush = if end == input.len() {
            TDEFLFlush::Finish
        } else {
            TDEFLFlush::None
        };
        let (status, taken, made) = compress(&mut compressor, &input[at..end], &mut out, flush);
        at += taken;
        stream.extend_from_slice(&out[..made]);
        match status {
            TDEFLStatus::Done => return stream,
            TDEFLStatus::Okay => {}
            _ => panic!("the library failed"),
        }
    }
}

/// The library's stream when it gets the input whole.
pub fn library_whole(input: &[u8]) -> Vec<u8> {
    let mut stream = Vec::new();
    let (status, _) = compress_to_output(&mut compressor(), input, TDEFLFlush::Finish, |bytes| {
        stream.extend_from_slice(bytes);
        true
    });
    assert_eq!(status, TDEFLStatus::Done);
    stream
}

/// The engine's stream.
pub fn own(engine: &mut Miniz9, input: &[u8]) -> Vec<u8> {
    let mut stream = Vec::new();
    let finished = engine.deflate(input, &mut |bytes| {
        assert!(bytes.len() <= 64 << 10, "pieces are small");
        stream.extend_from_slice(bytes);
        ControlFlow::Continue(())
    });
    assert!(finished);
    stream
}

/// Where the engine's stream leaves the library's, if it does.
pub fn difference(engine: &mut Miniz9, input: &[u8], whole_too: bool) -> Option<String> {
    let want = library_in_pieces(input, 32 << 10);
    if whole_too && library_whole(input) != want {
        return Some(format!(
            "the library depends on its feeding, input of {} bytes",
            input.len()
        ));
    }
    let got = own(engine, input);
    (got != want).then(|| {
        let at = got.iter().zip(&want).take_while(|(a, b)| a == b).count();
        format!(
            "{} input bytes: differs at {at} of {}, own length {}",
            input.len(),
            want.len(),
            got.len()
        )
    })
}

/// xorshift64*: the same inputs everywhere.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() >> 20) as usize % end
    }

    pub fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }

    pub fn letters(&mut self, alphabet: &[u8], count: usize) -> Vec<u8> {
        (0..count).map(|_| self.pick(alphabet)).collect()
    }
}

/// Bytes that hold the trigram `lead` `entries` times, each with another sequel.
pub fn bucket_entries(random: &mut Random, lead: [u8; 3], entries: usize) -> Vec<u8> {
    let mut made = Vec::new();
    for entry in 0..entries {
        made.extend_from_slice(&lead);
        made.extend_from_slice(&(entry as u16).to_be_bytes());
        made.push(0x80 | random.next() as u8);
    }
    made
}

/// A trigram of the same bucket as `gram` but with other bytes.
pub fn collision(random: &mut Random, gram: [u8; 3]) -> [u8; 3] {
    let [a, b, c] = gram;
    match random.below(3) {
        // Only the low five bits of the first byte count.
        0 => [a ^ 0x20 << random.below(3), b, c],
        // The low three bits of the second meet the high three of the third.
        1 => [a, b ^ 1, c ^ 0x20],
        _ => [a ^ 1, b ^ 0x20, c],
    }
}
