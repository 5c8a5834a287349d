//! What zlib and zlib-rs do alike at level 9: the lazy parse over a sliding window (`lazy`),
//! also on several threads (`parallel`), and the blocks: where each ends (`blocks`), the
//! choice of its form in `trees`, and of codes in `huffman`. What a search finds is each
//! engine's own.

pub(super) mod blocks;
mod huffman;
pub(super) mod lazy;
pub(super) mod parallel;
pub(super) mod trees;
