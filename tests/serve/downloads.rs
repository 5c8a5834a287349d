//! `/dl/SHA256`: exact bytes or none.

use crate::support::crate_file;
use crate::{Served, options, stocked};
use cratehold::archive::{Archive, PurgeOptions, Target, Writer};
use cratehold::ids::Digest;
use std::fs::OpenOptions;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

/// Spoils the object's frame in its pack.
pub fn damage(folder: &Path, digest: &Digest) {
    let entry = Archive::open(folder).unwrap().find(digest).unwrap().unwrap();
    let pack = folder.join(format!("packs/{:08}.pak", entry.pack));
    let mut file = OpenOptions::new().read(true).write(true).open(pack).unwrap();
    let at = SeekFrom::Start(u64::from(entry.record_offset + entry.record_bytes) - 20);
    let mut byte = [0];
    file.seek(at).unwrap();
    file.read_exact(&mut byte).unwrap();
    file.seek(at).unwrap();
    file.write_all(&[byte[0] ^ 1]).unwrap();
}

#[test]
fn a_crate_file_comes_exactly_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let file = crate_file("leaf@1.0.0", 100_000);
    stocked(folder.path(), &[("leaf@1.0.0", &file)]);
    let served = Served::start(folder.path(), &options());
    let mut client = served.client();
    let digest = Digest::of(&file).to_string();
    for target in [format!("/dl/{digest}"), format!("/dl/{}", digest.to_uppercase())] {
        let got = client.ask("GET", &target, &["Accept-Encoding: gzip"]);
        assert_eq!(
            (got.status, got.header("content-type")),
            (200, Some("application/gzip"))
        );
        assert_eq!(got.header("content-encoding"), None);
        assert_eq!(got.header("etag"), Some(format!("\"{digest}\"").as_str()));
        assert_eq!(got.header("x-content-type-options"), Some("nosniff"));
        assert!(got.header("cache-control").unwrap().contains("immutable"));
        assert!(got.body == file);
    }
    let head = client.ask("HEAD", &format!("/dl/{digest}"), &["Range: bytes=0-1"]);
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), Some(file.len().to_string().as_str()));
    let same = format!("If-None-Match: \"{digest}\"");
    assert_eq!(client.ask("GET", &format!("/dl/{digest}"), &[&same]).status, 304);
    for (digest, status) in [
        (Digest::of(b"another").to_string(), 404),
        ("0123".into(), 404),
        ("z".repeat(64), 404),
        (format!("{digest}/"), 404),
    ] {
        assert_eq!(
            client.ask("GET", &format!("/dl/{digest}"), &[]).status,
            status,
            "{digest}"
        );
    }
}

#[test]
fn a_part_may_be_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let file = crate_file("leaf@1.0.0", 1000);
    stocked(folder.path(), &[("leaf@1.0.0", &file)]);
    let served = Served::start(folder.path(), &options());
    let digest = Digest::of(&file).to_string();
    let (target, length) = (format!("/dl/{digest}"), file.len());
    let mut client = served.client();
    for (range, part) in [
        ("bytes=0-9", 0..10),
        ("bytes=100-", 100..length),
        ("bytes=-7", length - 7..length),
        ("bytes=5-999999999", 5..length),
    ] {
        let got = client.ask("GET", &target, &[&format!("Range: {range}")]);
        assert_eq!(got.status, 206, "{range}");
        let expected = format!("bytes {}-{}/{length}", part.start, part.end - 1);
        assert_eq!(got.header("content-range"), Some(expected.as_str()));
        assert!(got.body == file[part], "{range}");
    }
    let outside = client.ask("GET", &target, &[&format!("Range: bytes={length}-")]);
    assert_eq!((outside.status, outside.body.len()), (416, 0));
    assert_eq!(
        outside.header("content-range"),
        Some(format!("bytes */{length}").as_str())
    );
    // Several parts, or a part of something else, are the whole.
    for headers in [
        &["Range: bytes=0-1,5-6"][..],
        &["Range: bytes=0-1", "If-Range: \"something else\""],
    ] {
        let got = client.ask("GET", &target, headers);
        assert_eq!((got.status, got.body.len()), (200, length), "{headers:?}");
    }
    let same = format!("If-Range: \"{digest}\"");
    assert_eq!(client.ask("GET", &target, &["Range: bytes=0-1", &same]).status, 206);
}

#[test]
fn a_damaged_crate_is_an_error_that_names_it_and_never_wrong_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let (bad, good) = (crate_file("bad@1.0.0", 5000), crate_file("good@1.0.0", 5000));
    stocked(folder.path(), &[("bad@1.0.0", &bad), ("good@1.0.0", &good)]);
    let digest = Digest::of(&bad);
    damage(folder.path(), &digest);
    let served = Served::start(folder.path(), &options());
    let mut client = served.client();
    for _ in 0..2 {
        let got = client.ask("GET", &format!("/dl/{digest}"), &[]);
        assert_eq!(got.status, 500);
        assert!(
            !got.text().contains("bad@1.0.0") && !got.text().contains("packs"),
            "{}",
            got.text()
        );
    }
    let troubles = served.troubles();
    assert_eq!(troubles.len(), 2);
    assert!(
        troubles[0].contains("bad@1.0.0") && troubles[0].contains("packs/"),
        "{troubles:?}"
    );
    assert!(client.ask("GET", &format!("/dl/{}", Digest::of(&good)), &[]).body == good);
}

#[test]
fn memory_for_a_few_serves_many() {
    let folder = tempfile::tempdir().unwrap();
    let releases: Vec<String> = (0..8).map(|i| format!("leaf@1.{i}.0")).collect();
    let files: Vec<Vec<u8>> = releases.iter().map(|release| crate_file(release, 400_000)).collect();
    let stock: Vec<(&str, &[u8])> = releases.iter().zip(&files).map(|(r, f)| (r.as_str(), &f[..])).collect();
    stocked(folder.path(), &stock);
    let mut small = options();
    small.cache_bytes = 900_000;
    let served = Served::start(folder.path(), &small);
    std::thread::scope(|scope| {
        for turn in 0..6 {
            let (served, files) = (&served, &files);
            scope.spawn(move || {
                let mut client = served.client();
                for i in 0..files.len() {
                    let file = &files[(i + turn) % files.len()];
                    assert!(client.ask("GET", &format!("/dl/{}", Digest::of(file)), &[]).body == *file);
                }
            });
        }
    });
}

#[test]
fn what_was_erased_is_gone_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (bad, good) = (crate_file("bad@1.0.0", 5000), crate_file("good@1.0.0", 5000));
    stocked(folder.path(), &[("bad@1.0.0", &bad), ("good@1.0.0", &good)]);
    let served = Served::start(folder.path(), &options());
    let mut client = served.client();
    // Rebuilt and kept in memory before it is erased.
    assert!(client.ask("GET", &format!("/dl/{}", Digest::of(&bad)), &[]).body == bad);
    let writer = Writer::open(folder.path()).unwrap();
    let options = PurgeOptions {
        reason: "a test",
        level: 3,
        progress: &|_| {},
    };
    let target = Target::Release("bad@1.0.0".parse().unwrap());
    writer.purge(&[target], &options).unwrap();
    drop(writer);
    // The server looks for new snapshots once a second.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    for method in ["GET", "HEAD"] {
        assert_eq!(
            client.ask(method, &format!("/dl/{}", Digest::of(&bad)), &[]).status,
            410
        );
    }
    // Its neighbour's pack was rewritten under the server.
    assert!(client.ask("GET", &format!("/dl/{}", Digest::of(&good)), &[]).body == good);
    assert_eq!(client.ask("GET", "/index/3/b/bad", &[]).status, 404);
}
