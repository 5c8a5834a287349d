//! Deflate's bit stream: values packed from the lowest bit up into bytes.

/// A bit stream under construction, in a buffer that never grows.
pub(super) struct BitWriter {
    buffer: Box<[u8]>,
    at_bytes: usize,
    /// Bits not yet in the buffer, the next one lowest; fewer than 8 between calls.
    pending: u64,
    pending_bits: u32,
}

impl BitWriter {
    /// What a single [`BitWriter::put`] takes, with up to 7 bits pending already.
    pub(super) const PUT_LIMIT_BITS: u32 = 56;

    /// A writer that holds up to `capacity_bytes` between two calls of [`BitWriter::take`].
    pub(super) fn new(capacity_bytes: usize) -> Self {
        let slack_bytes = size_of::<u64>();
        BitWriter {
            buffer: vec![0; capacity_bytes + slack_bytes].into_boxed_slice(),
            at_bytes: 0,
            pending: 0,
            pending_bits: 0,
        }
    }

    /// Forgets everything written.
    pub(super) fn reset(&mut self) {
        (self.at_bytes, self.pending, self.pending_bits) = (0, 0, 0);
    }

    /// Appends the low `count_bits` of `value`, whose other bits are zero.
    #[inline(always)]
    pub(super) fn put(&mut self, value: u64, count_bits: u32) {
        debug_assert!(count_bits <= Self::PUT_LIMIT_BITS && value >> count_bits == 0);
        self.pending |= value << self.pending_bits;
        self.pending_bits += count_bits;
        // Eight bytes are stored each time and only the whole ones are kept: no branch.
        self.buffer[self.at_bytes..][..8].copy_from_slice(&self.pending.to_le_bytes());
        self.at_bytes += (self.pending_bits / 8) as usize;
        self.pending >>= self.pending_bits & !7;
        self.pending_bits &= 7;
    }

    /// Bits that wait for the rest of their byte.
    pub(super) fn pending_bits(&self) -> u32 {
        self.pending_bits
    }

    /// Fills the byte begun with zeros.
    pub(super) fn align(&mut self) {
        self.put(0, (8 - self.pending_bits) % 8);
    }

    /// Appends whole bytes. The stream is at a byte boundary.
    pub(super) fn put_bytes(&mut self, bytes: &[u8]) {
        debug_assert_eq!(self.pending_bits, 0);
        self.buffer[self.at_bytes..][..bytes.len()].copy_from_slice(bytes);
        self.at_bytes += bytes.len();
    }

    /// The whole bytes made since the last call; what is left of a byte stays pending.
    pub(super) fn take(&mut self) -> &[u8] {
        let taken_bytes = std::mem::take(&mut self.at_bytes);
        &self.buffer[..taken_bytes]
    }
}
