//! One long crate file alone, as fast as it can be: on all cores, in memory that is found
//! quickly, and with no sum checked but the one that counts, the crate file's own.
//!
//! What does not come out is left to the careful way, which says what is wrong.

use super::chain::{Chain, Record, decompress, room_bytes};
use super::encode::{engine, recipe};
use crate::deflate;
use crate::format::normal_form::NormalForm;
use crate::format::pack::NORMAL_FORM;
use crate::ids::Digest;
use crate::store::Room;
use std::cell::OnceCell;
use std::ops::ControlFlow;
use std::thread;

/// Shorter contents are quick either way.
const LEAST_BYTES: usize = 256 << 10;

/// The crate file that `chain` holds, if it is long and comes out right; then `show` sees the
/// tar in it.
pub(super) fn rebuild(chain: &Chain, show: impl FnOnce(&[u8])) -> Option<Vec<u8>> {
    let meta = &chain.record.meta;
    let engine = engine(meta).ok()??;
    let likely_bytes = usize::try_from(meta.content_bytes).ok()?;
    if likely_bytes < LEAST_BYTES {
        return None;
    }
    let records = || chain.bases.iter().map(|(_, record)| record).chain([&chain.record]);
    // The tar is longer than its normal form, though mostly by less than this.
    let longest_bytes = records().map(|record| record.meta.content_bytes).max()? / 4 * 5;
    let room = || Room::new(usize::try_from(longest_bytes).ok()?).ok();
    let (mut content, mut spare) = (room()?, room()?);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let made = OnceCell::new();
    let crate_file = deflate::redo_on(threads, engine, likely_bytes, || {
        let content_bytes = decode(chain, &mut content, &mut spare)?;
        let content = &content[..content_bytes];
        let tar = made.get_or_init(|| match meta.transform {
            NORMAL_FORM => tar_of(content, &mut spare),
            _ => Some(content),
        });
        tar.map(|tar| (tar, recipe(meta, engine, tar)))
    })?;
    if Digest::of(&crate_file) != meta.id() {
        return None;
    }
    made.into_inner()?.map(show);
    Some(crate_file)
}

/// Decodes the content of `chain` into the front of `content`, and says how long it is.
fn decode(chain: &Chain, content: &mut Room, spare: &mut Room) -> Option<usize> {
    let bases = chain.bases.iter().rev().map(|(_, record)| record);
    let (mut start, mut content_bytes) = (chain.start.as_deref(), 0);
    for record in bases.chain([&chain.record]) {
        let base = start.take().map_or(&content[..content_bytes], Vec::as_slice);
        content_bytes = decode_frame(spare, record, record.meta.base.map(|_| base))?;
        std::mem::swap(content, spare);
    }
    Some(content_bytes)
}

/// Decodes the content of `record` into the front of `room`, and says how long it is.
fn decode_frame(room: &mut Room, record: &Record, base: Option<&[u8]>) -> Option<usize> {
    let content_bytes = room_bytes(record.frame(), record.meta.content_bytes).ok()?;
    decompress(room.get_mut(..content_bytes)?, record.frame(), base).ok()
}

/// The tar of this normal form, in `room` or in one that is long enough.
fn tar_of<'a>(content: &[u8], room: &'a mut Room) -> Option<&'a [u8]> {
    let form = NormalForm::parse(content).ok()?;
    let tar_bytes = usize::try_from(form.tar_bytes()).ok()?;
    if room.len() < tar_bytes {
        *room = Room::new(tar_bytes).ok()?;
    }
    let mut left = &mut room[..tar_bytes];
    let whole = form.pieces(
        |piece| match std::mem::take(&mut left).split_at_mut_checked(piece.len()) {
            Some((now, later)) => {
                now.copy_from_slice(piece);
                left = later;
                ControlFlow::Continue(())
            }
            None => ControlFlow::Break(()),
        },
    );
    (whole.ok()?.is_continue() && left.is_empty()).then_some(&room[..tar_bytes])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;
    use crate::archive::encode::{self, Base, EncodeOptions};
    use crate::archive::{Archive, CommitInfo, Writer};
    use crate::deflate::{Engine, Recipe};
    use crate::format::pack::RecordMeta;

    /// A crate file of so many files, each of so many bytes of words that depend on `version`.
    fn crate_file(engine: Engine, version: u64, files: usize, file_bytes: usize) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for file in 0..files {
            let mut header = tar::Header::new_gnu();
            header.set_size(file_bytes as u64);
            let words = (0u64..).flat_map(|i| format!("word{} ", i * i % 977 + i / 500 % version).into_bytes());
            let body: Vec<u8> = words.take(file_bytes).collect();
            tar.append_data(&mut header, format!("demo-1.0.{version}/{file}"), &body[..])
                .unwrap();
        }
        let tar = tar.into_inner().unwrap();
        let recipe = Recipe {
            engine,
            header: vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255],
            trailer: [crc32fast::hash(&tar).to_le_bytes(), (tar.len() as u32).to_le_bytes()].concat(),
        };
        deflate::redo(&tar, &recipe)
    }

    /// An archive of these crate files, each told from the one before, under these digests.
    fn archive_of(crate_files: &[(Vec<u8>, Digest)]) -> (tempfile::TempDir, Archive) {
        let folder = tempfile::tempdir().unwrap();
        let writer = Writer::open(folder.path()).unwrap();
        let mut last: Option<(Digest, Vec<u8>, RecordMeta)> = None;
        for (file, digest) in crate_files {
            let content = encode::undo(file.clone(), *digest, None, None).unwrap();
            let base = last.as_ref().map(|(digest, content, meta)| Base {
                digest: *digest,
                content,
                chain_depth: meta.chain_depth,
                chain_bytes: meta.chain_bytes,
            });
            let release = "demo@1.0.0".parse().unwrap();
            let (meta, frame) = encode::encode(&release, &content, base, EncodeOptions::default()).unwrap();
            writer.append(&meta, &frame).unwrap();
            last = Some((*digest, content.bytes, meta));
        }
        writer.commit(&CommitInfo::default()).unwrap();
        drop(writer);
        let archive = Archive::open(folder.path()).unwrap();
        (folder, archive)
    }

    fn chain(archive: &Archive, digest: &Digest) -> Chain {
        let entry = archive.find(digest).unwrap().unwrap();
        archive.read_chain(&entry, &|_| None).unwrap()
    }

    #[test]
    fn each_of_a_long_chain_comes_out() {
        for engine in Engine::ALL {
            // The last is almost nothing but headers, which its normal form has not.
            let shapes = [(3, 200_000), (4, 200_000), (1, 300_000), (400, 1000), (4000, 70)];
            let files = shapes
                .into_iter()
                .zip(1..)
                .map(|((files, file_bytes), version)| crate_file(engine, version, files, file_bytes));
            let files: Vec<_> = files.map(|file| (file.clone(), Digest::of(&file))).collect();
            let (_folder, archive) = archive_of(&files);
            for (file, digest) in &files {
                let chain = chain(&archive, digest);
                assert!(chain.record.meta.engine > 0);
                let mut shown = Vec::new();
                let rebuilt = rebuild(&chain, |tar| shown = tar.to_vec());
                assert!(rebuilt.as_ref() == Some(file), "{engine:?}");
                assert!(shown == deflate::gunzip(file).unwrap(), "{engine:?}");
                assert!(archive.read_crate(digest).unwrap() == *file);
                assert!(*archive.read_checked_tar(digest).unwrap() == shown);
            }
        }
    }

    #[test]
    fn what_is_short_or_as_it_came_is_left_to_the_careful_way() {
        let short = crate_file(Engine::Zlib9Mem8, 1, 1, 1000);
        let odd = crate_file(Engine::Zlib9Mem8, 1, 3, 200_000)[1..].repeat(9);
        let files = [short, odd].map(|file| (file.clone(), Digest::of(&file)));
        let (_folder, archive) = archive_of(&files);
        for (file, digest) in &files {
            assert_eq!(rebuild(&chain(&archive, digest), |_| unreachable!()), None);
            assert!(archive.read_crate(digest).unwrap() == *file);
        }
        assert_eq!(chain(&archive, &files[1].1).record.meta.engine, 0);
    }

    #[test]
    fn what_comes_out_with_another_digest_is_not_given() {
        let file = crate_file(Engine::Zlib9Mem8, 1, 3, 200_000);
        let digest = Digest::of(b"another");
        let (_folder, archive) = archive_of(&[(file.clone(), digest)]);
        assert_eq!(rebuild(&chain(&archive, &digest), |_| unreachable!()), None);
        let came_out = format!("came out as {}", Digest::of(&file));
        let error = archive.read_crate(&digest).unwrap_err().to_string();
        assert!(error.contains(&came_out), "{error}");
        let error = archive.read_checked_tar(&digest).unwrap_err().to_string();
        assert!(error.contains(&came_out), "{error}");
    }

    #[test]
    fn a_frame_that_does_not_decode_gives_nothing() {
        let file = crate_file(Engine::Zlib9Mem8, 1, 3, 200_000);
        let digest = Digest::of(&file);
        let (_folder, archive) = archive_of(&[(file, digest)]);
        let mut chain = chain(&archive, &digest);
        // Told from something else than it was.
        chain.bases.push((chain.entry, self::chain(&archive, &digest).record));
        chain.record.meta.base = Some(digest.0);
        chain.record.meta.content_bytes -= 1;
        assert_eq!(rebuild(&chain, |_| unreachable!()), None);
    }
}
