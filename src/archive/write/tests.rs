//! Packs that come and go.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use super::*;
use crate::archive::EncodeOptions;
use crate::archive::encode;

fn stored(writer: &Writer, text: &[u8]) -> Digest {
    let release = "demo@1.0.0".parse().unwrap();
    let digest = Digest::of(text);
    let content = encode::undo(text.to_vec(), digest, None, None).unwrap();
    let (meta, frame) = encode::encode(&release, &content, None, EncodeOptions::default()).unwrap();
    writer.append(&meta, &frame).unwrap();
    digest
}

fn packs(folder: &Path) -> Vec<String> {
    let mut files: Vec<String> = std::fs::read_dir(folder.join("packs"))
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    files
}

#[test]
fn a_dropped_pack_leaves_with_the_commit_after_the_next_and_is_never_taken_in_again() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let writer = Writer::open(folder).unwrap();
    let digest = stored(&writer, b"first");
    writer.commit(&CommitInfo::default()).unwrap();

    let first = BTreeSet::from([1]);
    let refused = writer.drop_packs(&first).unwrap_err().to_string();
    assert!(refused.contains(&digest.to_string()), "{refused}");

    writer.state().new_pack(&*writer.medium).unwrap();
    stored(&writer, b"first");
    writer.drop_packs(&first).unwrap();
    writer.commit(&CommitInfo::default()).unwrap();
    drop(writer);
    assert_eq!(packs(folder), ["00000001.pak", "00000002.pak"]);

    // It is still there, whole and with the archive's own number; nothing takes it in.
    let writer = Writer::open(folder).unwrap();
    assert_eq!(writer.commit(&CommitInfo::default()).unwrap(), None);
    assert_eq!(writer.find(&digest).unwrap().unwrap().pack, 2);
    stored(&writer, b"second");
    writer.commit(&CommitInfo::default()).unwrap();
    assert_eq!(packs(folder), ["00000002.pak"]);
    assert_eq!(
        writer.with_archive(|archive| archive.read_crate(&digest)).unwrap(),
        b"first"
    );
}

#[test]
fn dropping_the_last_pack_keeps_its_number_taken() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let writer = Writer::open(folder).unwrap();
    let digest = stored(&writer, b"first");
    writer.commit(&CommitInfo::default()).unwrap();
    writer.forget(digest);
    writer.drop_packs(&BTreeSet::from([1])).unwrap();
    writer.commit(&CommitInfo::default()).unwrap();
    drop(writer);
    let writer = Writer::open(folder).unwrap();
    assert_eq!(writer.find(&digest).unwrap(), None);
    assert_eq!(
        writer
            .with_archive(|archive| archive.head().packs.clone())
            .iter()
            .map(|entry| entry.pack)
            .collect::<Vec<_>>(),
        [2]
    );
}
