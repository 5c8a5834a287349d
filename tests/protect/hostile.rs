//! Recovery files that are in order and made for other bytes: they change nothing. [R 15.6]

use super::*;
use cratehold::format::pack::{PackHeader, RecordMeta};
use cratehold::format::recovery::{self, PAYLOAD_BYTES, SHARD_BYTES, Shape, TargetKind};
use reed_solomon_simd::encode;
use sha2::{Digest as _, Sha256};

/// Makes a file's bytes other ones.
type Change<'a> = &'a dyn Fn(&mut Vec<u8>, &mut fastrand::Rng);

/// A recovery file that is right in all ways for `bytes`, able to make up for all of them.
fn recovery_for(archive_id: [u8; 16], kind: TargetKind, number: u64, bytes: &[u8]) -> Vec<u8> {
    let shape = Shape {
        sha256: Sha256::digest(bytes).into(),
        ..Shape::plan(archive_id, kind, number, bytes.len() as u64, 100)
    };
    assert_eq!(shape.groups, 1);
    let mut padded = bytes.to_vec();
    padded.resize(bytes.len().next_multiple_of(SHARD_BYTES), 0);
    let shards: Vec<&[u8]> = padded.chunks(SHARD_BYTES).collect();
    let made = encode(shards.len(), shape.recovery_shards as usize, &shards).unwrap();
    let all = shards.iter().copied().chain(made.iter().map(|shard| &shard[..]));
    let payloads = recovery::table(&all.map(crc32fast::hash).collect::<Vec<u32>>());
    let spare = encode(payloads.len(), payloads.len(), &payloads).unwrap();
    assert!(spare.iter().all(|payload| payload.len() == PAYLOAD_BYTES));
    let block = |(i, payload): (usize, &Vec<u8>)| recovery::encode_block(&shape, i as u32, payload);
    let count = payloads.len();
    let mut file: Vec<u8> = payloads.iter().enumerate().flat_map(block).collect();
    file.extend(made.concat());
    file.extend(
        spare
            .iter()
            .enumerate()
            .flat_map(|(i, payload)| block((count + i, payload))),
    );
    assert_eq!(file.len() as u64, shape.file_bytes());
    file
}

/// Of each file with recovery data: its path, kind and number.
fn covered(folder: &Path) -> Vec<(PathBuf, TargetKind, u64)> {
    let data = files_in(folder, &DATA).into_keys();
    let parse = |path: PathBuf| {
        let number = path.file_stem()?.to_str()?.parse().ok()?;
        let kind = match path.extension()?.to_str()? {
            "pak" => TargetKind::Pack,
            "idx" => TargetKind::Index,
            _ => TargetKind::Manifest,
        };
        Some((path, kind, number))
    };
    data.filter_map(parse).collect()
}

fn recovery_path(folder: &Path, kind: TargetKind, number: u64, slot: u8) -> PathBuf {
    let letter = match kind {
        TargetKind::Pack => 'p',
        TargetKind::Index => 'i',
        TargetKind::Manifest => 'm',
    };
    folder.join(format!("recovery/{number:08}.{letter}{slot}"))
}

fn archive_id(folder: &Path) -> [u8; 16] {
    Archive::open(folder).unwrap().head().archive_id
}

/// The records of a pack file: where each begins, where its frame does, where it ends.
fn records(pack: &[u8]) -> Vec<(usize, usize, usize)> {
    let (_, start) = PackHeader::decode(pack).unwrap();
    let mut at = start as usize;
    let mut records = Vec::new();
    while at < pack.len() {
        let (meta, frame_offset) = RecordMeta::decode(&pack[at..]).unwrap();
        let frame = at + frame_offset as usize;
        let end = frame + meta.frame_bytes as usize;
        records.push((at, frame, end));
        at = end;
    }
    records
}

#[test]
fn recovery_files_of_other_bytes_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    stocked(folder, 0..4, 30_000);
    stocked(folder, 4..6, 30_000);
    protect(folder, 5);
    let head = |name| (folder.join(name), std::fs::read(folder.join(name)).unwrap());
    let heads: Files = ["head0", "head1"].map(head).into();
    let whole = files_in(folder, &DATA);
    let honest = files_in(folder, &["recovery"]);
    let id = archive_id(folder);
    let mut random = fastrand::Rng::with_seed(3);
    let noise = |bytes: &mut [u8], random: &mut fastrand::Rng| random.fill(bytes);
    let changes: [(&str, Change<'_>); 4] = [
        ("all bytes", &|bytes, random| noise(bytes, random)),
        ("one byte in the middle", &|bytes, _| {
            let at = bytes.len() / 2;
            bytes[at] ^= 1;
        }),
        ("a sector", &|bytes, random| {
            let at = bytes.len() / 2 / SHARD_BYTES * SHARD_BYTES;
            let end = bytes.len().min(at + SHARD_BYTES);
            noise(&mut bytes[at..end], random);
        }),
        ("a shorter file", &|bytes, random| {
            bytes.truncate(bytes.len() / 2);
            noise(bytes, random);
        }),
    ];
    for (what, change) in changes {
        for lost_heads in [false, true] {
            for (path, kind, number) in covered(folder) {
                put(&honest);
                let mut other = whole[&path].clone();
                change(&mut other, &mut random);
                let at = recovery_path(folder, kind, number, 0);
                std::fs::write(&at, recovery_for(id, kind, number, &other)).unwrap();
                // Whoever only looks is told of it too, and of nothing else; but for what is
                // beside a file that no head names any more.
                let archive = Archive::open(folder).unwrap();
                let files = archive.coverage().unwrap().files;
                let is_named = files.iter().any(|file| path == folder.join(&file.name));
                let report = archive.verify(Depth::Quick, 1, &|_| {}).unwrap();
                let problems: Vec<&str> = report.problems.iter().map(|problem| &problem.message[..]).collect();
                match &problems[..] {
                    [problem] => assert!(problem.contains("made for other bytes than those of"), "{problem}"),
                    _ => assert!(
                        problems.is_empty() && !is_named,
                        "{what}, {}: {report:?}",
                        path.display()
                    ),
                }
                if lost_heads {
                    for head in ["head0", "head1"] {
                        std::fs::remove_file(folder.join(head)).unwrap();
                    }
                }
                let report = mend(folder);
                let context = format!("{what}, {lost_heads}, {}: {report:?}", path.display());
                assert!(report.is_whole(), "{context}");
                assert!(
                    report.structure[0].contains("made for other bytes than those of"),
                    "{context}"
                );
                let after = files_in(folder, &DATA);
                for (path, bytes) in &whole {
                    // What was rebuilt without heads is new; and old segments may go then.
                    assert!(after.get(path).map_or(lost_heads, |after| after == bytes), "{context}");
                }
                put(&heads);
                put(&whole);
                // What was made without the heads is not of this archive.
                for path in files_in(folder, &DATA).into_keys() {
                    if !whole.contains_key(&path) {
                        std::fs::remove_file(path).unwrap();
                    }
                }
            }
        }
    }
    // Whoever protects once more does not count on such a file.
    put(&honest);
    let pack = folder.join("packs/00000001.pak");
    let mut other = whole[&pack].clone();
    noise(&mut other, &mut random);
    let hostile = recovery_for(id, TargetKind::Pack, 1, &other);
    std::fs::write(recovery_path(folder, TargetKind::Pack, 1, 1), &hostile).unwrap();
    let report = protect(folder, 5);
    assert_eq!((report.covered, report.damaged.len()), (1, 0), "{report:?}");
    let left = files_in(folder, &["recovery"]);
    assert!(left.values().all(|bytes| *bytes != hostile));
    let mut damaged = whole[&pack].clone();
    damaged[9000] ^= 1;
    std::fs::write(&pack, damaged).unwrap();
    assert!(mend(folder).is_whole());
    assert!(files_in(folder, &DATA) == whole);
}

#[test]
fn what_is_damaged_is_not_made_into_something_else() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    stocked(folder, 0..4, 30_000);
    protect(folder, 5);
    let id = archive_id(folder);
    let pack = folder.join("packs/00000001.pak");
    let whole = std::fs::read(&pack).unwrap();
    let honest = recovery_path(folder, TargetKind::Pack, 1, 0);
    let own = std::fs::read(&honest).unwrap();
    let (start, frame, end) = records(&whole)[1];
    let mut damaged = whole.clone();
    damaged[(frame + end) / 2] ^= 1;

    // In place of the damaged record another one, whole in all but what the index says.
    let mut forged = whole.clone();
    let (mut meta, _) = RecordMeta::decode(&whole[start..]).unwrap();
    forged[frame + 100] ^= 1;
    meta.frame_crc32 = crc32fast::hash(&forged[frame..end]);
    meta.digest[0] ^= 1;
    forged[start..frame].copy_from_slice(&meta.encode());
    // What it was, and a byte more: of the record before, which is whole and ends in the same sector.
    let mut grasping = whole.clone();
    grasping[start - 1] ^= 1;
    for other in [forged, grasping] {
        std::fs::write(&pack, &damaged).unwrap();
        std::fs::write(&honest, recovery_for(id, TargetKind::Pack, 1, &other)).unwrap();
        let report = mend(folder);
        assert!(!report.is_whole(), "{report:?}");
        assert!(report.structure[0].contains("made for other bytes"), "{report:?}");
        assert!(std::fs::read(&pack).unwrap() == damaged);
        // Beside it what is its own still counts.
        std::fs::write(recovery_path(folder, TargetKind::Pack, 1, 1), &own).unwrap();
        let report = mend(folder);
        assert!(report.is_whole(), "{report:?}");
        assert!(std::fs::read(&pack).unwrap() == whole);
        std::fs::remove_file(recovery_path(folder, TargetKind::Pack, 1, 1)).unwrap();
    }
}
