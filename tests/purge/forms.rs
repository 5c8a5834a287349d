//! Chains of normal forms and of tars as they are that lose a base. [R 5.8] [R 17.9]

use super::*;
use cratehold::archive::{ProtectOptions, RepairReport};

/// Versions of one crate, of which each is compressed against the one before; the tar of
/// `PLAIN` has no normal form.
const PLAIN: &str = "one@1.0.2";
const VERSIONS: [&str; 5] = ["one@1.0.0", "one@1.0.1", PLAIN, "one@1.0.3", "one@1.0.4"];

fn stock(folder: &Path) -> Files {
    let writer = Writer::open(folder).unwrap();
    let mut files = Files::new();
    for release in VERSIONS {
        let file = match release {
            PLAIN => without_normal_form(&crate_file(release, true)),
            _ => crate_file(release, release == "one@1.0.1"),
        };
        let parsed = release.parse().unwrap();
        writer.add(&parsed, file.clone(), EncodeOptions::default()).unwrap();
        writer.commit(&CommitInfo::default()).unwrap();
        files.insert(release.into(), file);
    }
    files
}

/// The same with a byte in the tar that is in nobody's header and nobody's body.
fn without_normal_form(file: &[u8]) -> Vec<u8> {
    use std::io::{Read, Write};
    let mut tar = Vec::new();
    flate2::read::GzDecoder::new(file).read_to_end(&mut tar).unwrap();
    *tar.last_mut().unwrap() = 1;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(9));
    gzip.write_all(&tar).unwrap();
    gzip.finish().unwrap()
}

/// Of each version its transform, and the version that it is compressed against.
fn forms(folder: &Path, files: &Files) -> BTreeMap<String, (u8, Option<String>)> {
    let archive = Archive::open(folder).unwrap();
    let metas = archive
        .entries()
        .unwrap()
        .into_iter()
        .map(|entry| archive.record(&entry).unwrap());
    let named = |digest| {
        files
            .iter()
            .find(|(_, file)| Digest::of(file) == Digest(digest))
            .unwrap()
            .0
            .clone()
    };
    metas
        .map(|meta| (named(meta.digest), (meta.transform, meta.base.map(named))))
        .collect()
}

fn expected(rows: &[(&str, u8, Option<&str>)]) -> BTreeMap<String, (u8, Option<String>)> {
    let row = |&(release, transform, base): &(&str, u8, Option<&str>)| {
        (release.to_owned(), (transform, base.map(str::to_owned)))
    };
    rows.iter().map(row).collect()
}

#[test]
fn a_chain_of_normal_forms_and_tars_is_compressed_anew_and_comes_back_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let files = stock(folder);
    assert_eq!(
        forms(folder, &files),
        expected(&[
            ("one@1.0.0", 1, None),
            ("one@1.0.1", 1, Some("one@1.0.0")),
            (PLAIN, 0, Some("one@1.0.1")),
            ("one@1.0.3", 1, Some(PLAIN)),
            ("one@1.0.4", 1, Some("one@1.0.3")),
        ])
    );

    // A normal form against a normal form goes: a tar as it is needs it.
    purge(folder, &[target("one@1.0.1")]).unwrap();
    let first = [("one@1.0.0", 1, None), (PLAIN, 0, Some("one@1.0.0"))];
    let rest = [("one@1.0.3", 1, Some(PLAIN)), ("one@1.0.4", 1, Some("one@1.0.3"))];
    assert_eq!(forms(folder, &files), expected(&[first, rest].concat()));
    assert_kept(folder, &files, &["one@1.0.1"]);

    // That tar goes: a normal form needs it.
    let gone = ["one@1.0.1", PLAIN];
    purge(folder, &[target(PLAIN)]).unwrap();
    assert_eq!(
        forms(folder, &files),
        expected(&[
            ("one@1.0.0", 1, None),
            ("one@1.0.3", 1, Some("one@1.0.0")),
            ("one@1.0.4", 1, Some("one@1.0.3")),
        ])
    );
    assert_no_traces(folder, &gone);
    assert_kept(folder, &files, &gone);
}

fn protect(folder: &Path) {
    let options = ProtectOptions {
        percent: 5,
        threads: 1,
        stop: &|| false,
        progress: &|_| {},
    };
    let report = Writer::open(folder).unwrap().protect(&options).unwrap();
    assert!(report.damaged.is_empty(), "{report:?}");
}

fn mend(folder: &Path) -> RepairReport {
    let options = RepairOptions {
        full: true,
        level: 3,
        ..RepairOptions::default()
    };
    repair(folder, &mut [], &options).unwrap()
}

#[test]
fn what_was_compressed_anew_is_protected_and_comes_back_from_lost_sectors() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let files = stock(folder);
    protect(folder);
    let gone = ["one@1.0.1", PLAIN];
    purge(folder, &gone.map(target)).unwrap();
    assert!(!Archive::open(folder).unwrap().coverage().unwrap().is_whole());
    protect(folder);
    let whole: BTreeMap<PathBuf, Vec<u8>> = all_files(folder)
        .into_iter()
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect();
    let packs = whole
        .iter()
        .filter(|(path, _)| path.extension().is_some_and(|extension| extension == "pak"));
    for (path, bytes) in packs {
        for sector in 0..bytes.len().div_ceil(4096) {
            let mut damaged = bytes.clone();
            let end = bytes.len().min((sector + 1) * 4096);
            damaged[sector * 4096..end].fill(0xee);
            std::fs::write(path, damaged).unwrap();
            let report = mend(folder);
            assert!(report.is_whole(), "sector {sector} of {}: {report:?}", path.display());
            assert!(
                std::fs::read(path).unwrap() == *bytes,
                "sector {sector} of {}",
                path.display()
            );
        }
    }
    // What the recovery data could make of it is no more than what is there.
    assert_no_traces(folder, &gone);
    assert_kept(folder, &files, &gone);
}
