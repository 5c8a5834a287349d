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

#[test]
fn an_entry_says_since_when_its_object_is_held_whatever_became_of_its_record() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let writer = Writer::open(folder).unwrap();
    let info = CommitInfo::default();
    let since = |writer: &Writer, digest: &Digest| writer.find(digest).unwrap().unwrap().held_since;
    let [one, gone] = [b"one", b"two"].map(|text| stored(&writer, text));
    writer.commit(&info).unwrap();
    let three = stored(&writer, b"three");
    writer.commit(&info).unwrap();
    assert_eq!([one, gone, three].map(|digest| since(&writer, &digest)), [1, 1, 2]);

    // Moved, and merged into another segment.
    writer.move_records(&BTreeSet::from([1]), &|_| {}).unwrap();
    writer.forget(gone);
    writer.commit(&info).unwrap();
    assert_eq!([one, three].map(|digest| since(&writer, &digest)), [1, 2]);
    stored(&writer, b"two");
    writer.commit(&info).unwrap();
    assert_eq!(since(&writer, &gone), 4);

    // Adopted: by the commit that adopts, not by the run that appended.
    let late = stored(&writer, b"late");
    drop(writer);
    let writer = Writer::open(folder).unwrap();
    writer.settle(&info).unwrap();
    assert_eq!(since(&writer, &late), 5);
}
