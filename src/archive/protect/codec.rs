//! Reed and Solomon's code by way of the library, many groups at once.

use crate::format::recovery::{PAYLOAD_BYTES, SHARD_BYTES};
use reed_solomon_simd::{Error, ReedSolomonDecoder, ReedSolomonEncoder};

/// What the library says cannot happen with shapes that were checked; if it does, it is
/// an error like any other.
pub(super) fn said(error: Error) -> String {
    format!("recovery data: {error}")
}

/// An encoder for one group of `data` shards.
pub(super) fn encoder(data: u64, recovery_shards: u32) -> Result<ReedSolomonEncoder, String> {
    ReedSolomonEncoder::new(data as usize, recovery_shards as usize, SHARD_BYTES).map_err(said)
}

/// A decoder for one group of `data` shards.
pub(super) fn decoder(data: u64, recovery_shards: u32) -> Result<ReedSolomonDecoder, String> {
    ReedSolomonDecoder::new(data as usize, recovery_shards as usize, SHARD_BYTES).map_err(said)
}

/// As many spare payloads as there are payloads. [R 15.4]
pub(super) fn spare_payloads(payloads: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, String> {
    let mut encoder = ReedSolomonEncoder::new(payloads.len(), payloads.len(), PAYLOAD_BYTES).map_err(said)?;
    for payload in payloads {
        encoder.add_original_shard(payload).map_err(said)?;
    }
    let spare = encoder.encode().map_err(said)?;
    Ok(spare.recovery_iter().map(<[u8]>::to_vec).collect())
}

/// Fills in the first half of `blocks`, payloads and then spare ones, if enough of all
/// are there.
pub(super) fn restore_payloads(blocks: &mut [Option<Vec<u8>>]) -> Result<(), String> {
    let count = blocks.len() / 2;
    let (payloads, spare) = blocks.split_at_mut(count);
    let there = payloads.iter().chain(spare.iter()).flatten().count();
    if payloads.iter().all(Option::is_some) || there < count {
        return Ok(());
    }
    let mut decoder = ReedSolomonDecoder::new(count, count, PAYLOAD_BYTES).map_err(said)?;
    for (i, payload) in payloads.iter().enumerate() {
        if let Some(payload) = payload {
            decoder.add_original_shard(i, payload).map_err(said)?;
        }
    }
    for (i, payload) in spare.iter().enumerate() {
        if let Some(payload) = payload {
            decoder.add_recovery_shard(i, payload).map_err(said)?;
        }
    }
    let restored = decoder.decode().map_err(said)?;
    for (i, payload) in restored.restored_original_iter() {
        if let Some(missing) = payloads.get_mut(i) {
            *missing = Some(payload.to_vec());
        }
    }
    Ok(())
}
