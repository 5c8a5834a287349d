//! What zlib and zlib-rs do alike at level 9: the lazy parse over a sliding window (`lazy`),
//! rings of chain steps for the searches (`ring`), and the blocks: the choice of a block's
//! form in `trees`, of codes in `huffman`, and the bits in `bits`. What a search finds is
//! each engine's own.

mod bits;
mod huffman;
pub(super) mod lazy;
pub(super) mod ring;
pub(super) mod trees;
