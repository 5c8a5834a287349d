//! Bundles between archives that hold the same in different forms.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use super::*;
use crate::archive::{CommitInfo, Depth, EncodeOptions, Writer, encode};
use crate::ids::{Digest, Release};
use flate2::{Compression, write::GzEncoder};
use std::path::Path;

fn crate_file(release: &Release) -> Vec<u8> {
    let top = format!("{}-{}", release.name, release.version);
    let source: String = (0..3000).map(|i| format!("pub fn f{i}() {{}}\n")).collect();
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::new(9)));
    for (path, text) in [("Cargo.toml", &top), ("src/lib.rs", &source)] {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        let path = format!("{top}/{path}");
        builder.append_data(&mut header, path, text.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

fn add(folder: &Path, version: &str) -> Digest {
    let release: Release = format!("demo@{version}").parse().unwrap();
    let file = crate_file(&release);
    let digest = Digest::of(&file);
    let writer = Writer::open(folder).unwrap();
    writer.add(&release, file, EncodeOptions::default()).unwrap();
    writer.commit(&CommitInfo::default()).unwrap();
    digest
}

fn carry(from: &Path, since: Since<'_>, to: &Path) -> ApplyReport {
    let drive = tempfile::tempdir().unwrap();
    let options = BundleOptions {
        volume_bytes: DEFAULT_VOLUME_BYTES,
        stem: None,
        stop: &|| false,
        begin: &|_| {},
        progress: &|_| {},
    };
    bundle(&Archive::open(from).unwrap(), since, drive.path(), &options).unwrap();
    let options = ApplyOptions {
        dry_run: false,
        trust: Trust::default(),
        threads: 1,
        stop: &|| false,
        begin: &|_| {},
        progress: &|_| {},
    };
    apply(to, &[drive.path().to_owned()], &options).unwrap()
}

/// Holds the crate file of `demo@version` as it came, without a word of it.
fn hold_raw(folder: &Path, version: &str) {
    let release: Release = format!("demo@{version}").parse().unwrap();
    let bytes = crate_file(&release);
    let digest = Digest::of(&bytes);
    let content = encode::as_it_came(bytes, digest);
    let (meta, frame) = encode::encode(&release, &content, None, EncodeOptions::default()).unwrap();
    let writer = Writer::open(folder).unwrap();
    writer.append(&meta, &frame).unwrap();
    writer.settle(&CommitInfo::default()).unwrap();
}

#[test]
fn a_base_may_be_held_in_another_form_than_where_the_bundle_was_made() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (a, b) = (a.path(), b.path());
    // The base in the bundle itself, held here as it came; then one it leaves out.
    hold_raw(b, "1.0.0");
    add(a, "1.0.0");
    add(a, "1.0.1");
    let report = carry(a, Since::Nothing, b);
    assert_eq!((report.new_objects, report.held_objects), (1, 1));
    let last = add(a, "1.0.2");
    let archive = Archive::open(a).unwrap();
    assert_eq!(archive.find(&last).unwrap().unwrap().chain_depth, 2);
    let report = carry(a, Since::Snapshot(2), b);
    assert_eq!(report.new_objects, 1);
    let there = Archive::open(b).unwrap();
    assert_eq!(there.head().root, archive.head().root);
    assert_eq!(there.verify(Depth::Full, 1, &|_| {}).unwrap().problems, []);
    assert_eq!(there.entries().unwrap().len(), 3);
}
