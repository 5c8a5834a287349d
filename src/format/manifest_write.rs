//! Building manifest segments. Spec section 7.

use super::manifest::{MAGIC, Transaction};
use super::manifest_draft::{Compressor, Draft, EncodedBlock};
use super::manifest_event::Events;
use super::{pages, wire};

/// Builds a segment of `transactions` (oldest first) and their events.
///
/// # Errors
/// When zstd cannot compress.
pub fn encode(generation: u64, transactions: &[Transaction], events: &Events) -> std::io::Result<Vec<u8>> {
    let mut encoder = SegmentEncoder::default();
    let mut compressor = Compressor::new()?;
    let mut draft = Draft::default();
    for ((_, name), events) in &events.0 {
        draft.push(name.as_str().into(), events.clone());
        if draft.is_full() {
            encoder.push_all(&std::mem::take(&mut draft).encode(&mut compressor)?);
        }
    }
    encoder.push_all(&draft.encode(&mut compressor)?);
    let header = encoder.finish(generation, transactions);
    Ok([header, encoder.take()].concat())
}

/// Builds a segment from its blocks, piece by piece: what is ready goes behind room
/// for one page, and last of all the header.
#[derive(Debug, Default)]
pub struct SegmentEncoder {
    pages: pages::Encoder,
    directory: Vec<u8>,
    crate_count: u64,
    event_count: u64,
}

impl SegmentEncoder {
    /// Appends a block; blocks come in the order of names.
    pub fn push(&mut self, block: &EncodedBlock<'_>) {
        self.directory.extend(block.prefix.to_le_bytes());
        self.directory.extend(self.pages.body_bytes().to_le_bytes());
        self.crate_count += u64::from(block.crate_count);
        self.event_count += u64::from(block.event_count);
        self.pages.push(&block.bytes);
    }

    fn push_all(&mut self, blocks: &[EncodedBlock<'_>]) {
        blocks.iter().for_each(|block| self.push(block));
    }

    /// How many bytes wait to be taken.
    pub fn ready_bytes(&self) -> usize {
        self.pages.ready_bytes()
    }

    /// What has come since this was asked last; it goes behind what was taken before.
    pub fn take(&mut self) -> Vec<u8> {
        self.pages.take()
    }

    /// Ends the segment: what is to be taken then is the last. Returns the header
    /// page, which goes before all of it.
    pub fn finish(&mut self, generation: u64, transactions: &[Transaction]) -> Vec<u8> {
        let blocks = (0, self.pages.body_bytes());
        let transactions = wire::encode(&transactions.to_vec());
        self.pages.push(&self.directory);
        self.pages.push(&transactions);
        let directory = (blocks.1, self.directory.len() as u64);
        let transactions = (directory.0 + directory.1, transactions.len() as u64);
        let sections = [transactions, blocks, directory].into_iter();
        let mut fields: Vec<u64> = sections.flat_map(|(offset, bytes)| [offset, bytes]).collect();
        fields.extend([self.crate_count, self.event_count]);
        self.pages.finish(MAGIC, generation, &fields)
    }
}

#[cfg(test)]
mod tests;
