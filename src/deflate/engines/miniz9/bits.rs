//! The bit writer: deflate's bits, lowest first, into a byte buffer.

/// Bytes that a flush may write behind the last whole one.
const SLACK_BYTES: usize = 8;

/// Output of one block, with the bits that do not fill a byte yet.
pub(super) struct BitWriter {
    buffer: Vec<u8>,
    len_bytes: usize,
    pending: u64,
    pending_bits: u32,
}

impl BitWriter {
    pub(super) const fn new() -> Self {
        Self {
            buffer: Vec::new(),
            len_bytes: 0,
            pending: 0,
            pending_bits: 0,
        }
    }

    /// Forgets everything, for a new stream.
    pub(super) fn reset(&mut self) {
        (self.len_bytes, self.pending, self.pending_bits) = (0, 0, 0);
    }

    /// Makes sure that `more_bytes` can be written.
    pub(super) fn reserve(&mut self, more_bytes: usize) {
        let wanted_bytes = self.len_bytes + more_bytes + SLACK_BYTES;
        if self.buffer.len() < wanted_bytes {
            self.buffer.resize(wanted_bytes, 0);
        }
    }

    /// Adds bits without moving whole bytes out; at most 56 between flushes.
    #[inline]
    pub(super) fn add(&mut self, bits: u64, count_bits: u32) {
        self.pending |= bits << self.pending_bits;
        self.pending_bits += count_bits;
    }

    /// Moves whole bytes out, leaving at most 7 bits pending.
    #[inline]
    pub(super) fn flush(&mut self) {
        let at = self.len_bytes;
        self.buffer[at..at + SLACK_BYTES].copy_from_slice(&self.pending.to_le_bytes());
        self.len_bytes += (self.pending_bits >> 3) as usize;
        self.pending >>= self.pending_bits & !7;
        self.pending_bits &= 7;
    }

    /// Adds bits and moves whole bytes out.
    #[inline]
    pub(super) fn put(&mut self, bits: u64, count_bits: u32) {
        self.add(bits, count_bits);
        self.flush();
    }

    /// Fills the last byte up with zeros.
    pub(super) fn pad(&mut self) {
        self.pending_bits = self.pending_bits.next_multiple_of(8);
        self.flush();
    }

    /// Copies whole bytes; only right behind a pad.
    pub(super) fn copy(&mut self, bytes: &[u8]) {
        debug_assert_eq!(self.pending_bits, 0, "bytes start at a byte");
        self.buffer[self.len_bytes..self.len_bytes + bytes.len()].copy_from_slice(bytes);
        self.len_bytes += bytes.len();
    }

    /// Bits that wait for the rest of their byte.
    pub(super) fn pending_bits(&self) -> u32 {
        self.pending_bits
    }

    /// The whole bytes made so far.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer[..self.len_bytes]
    }

    /// Forgets the whole bytes but keeps the pending bits.
    pub(super) fn clear_bytes(&mut self) {
        self.len_bytes = 0;
    }
}
