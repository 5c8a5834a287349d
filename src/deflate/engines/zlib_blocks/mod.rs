//! How zlib and zlib-rs write the blocks of a stream, which they do alike: the choice of
//! codes in `huffman`, of a block's form in `trees`, and the bits in `bits`.

mod bits;
mod huffman;
pub(super) mod trees;
