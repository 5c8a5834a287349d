//! `diff NAME@A NAME@B`: what `diff` says of the unpacked trees.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use cratehold::archive::{CommitInfo, EncodeOptions, Writer};
use flate2::{Compression, write::GzEncoder};
use std::path::Path;
use std::process::{Command, Output};

type Files<'a> = &'a [(&'a str, &'a [u8])];

fn add(folder: &Path, release: &str, files: Files<'_>) {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::new(9)));
    for (path, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        let path = format!("{}/{path}", release.replace('@', "-"));
        builder.append_data(&mut header, path, *bytes).unwrap();
    }
    let file = builder.into_inner().unwrap().finish().unwrap();
    let writer = Writer::open(folder).unwrap();
    writer
        .add(&release.parse().unwrap(), file, EncodeOptions::default())
        .unwrap();
    writer.commit(&CommitInfo::default()).unwrap();
}

fn cratehold(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cratehold"));
    command.arg("-a").arg(folder).args(args).output().unwrap()
}

fn out(folder: &Path, args: &[&str]) -> String {
    let output = cratehold(folder, args);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn stocked() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let numbers: String = (0..20).map(|i| format!("{i}\n")).collect();
    let changed = numbers.replace("\n9\n", "\nnine\n");
    let old: Files<'_> = &[
        ("src/lib.rs", numbers.as_bytes()),
        ("src/gone.rs", b"bye\n"),
        ("same", b"same"),
        ("data", b"\0old"),
    ];
    // A path that comes twice: the last counts.
    let new: Files<'_> = &[
        ("same", b"not this"),
        ("src/lib.rs", changed.as_bytes()),
        ("same", b"same"),
        ("data", b"\0new"),
        ("src/new.rs", b"hi"),
    ];
    add(folder.path(), "demo@1.0.0", old);
    add(folder.path(), "demo@1.1.0", new);
    folder
}

#[test]
fn a_difference_is_one_that_patch_takes() {
    let folder = stocked();
    let diff = out(folder.path(), &["diff", "demo@1.0.0", "demo@1.1.0"]);
    let expected = "Binary files demo-1.0.0/data and demo-1.1.0/data differ\n\
        --- demo-1.0.0/src/gone.rs\n+++ /dev/null\n@@ -1 +0,0 @@\n-bye\n\
        --- demo-1.0.0/src/lib.rs\n+++ demo-1.1.0/src/lib.rs\n@@ -7,7 +7,7 @@\n 6\n 7\n 8\n-9\n+nine\n 10\n 11\n 12\n\
        --- /dev/null\n+++ demo-1.1.0/src/new.rs\n@@ -0,0 +1 @@\n+hi\n\\ No newline at end of file\n";
    assert_eq!(diff, expected);
    let one = out(
        folder.path(),
        &["diff", "demo@1.0.0", "demo@1.1.0", "src/lib.rs", "-U", "0"],
    );
    assert!(one.ends_with("@@ -10 +10 @@\n-9\n+nine\n"), "{one}");
    assert_eq!(out(folder.path(), &["diff", "demo@1.1", "demo@1.1.0"]), "");
}

#[test]
fn counts_and_json() {
    let folder = stocked();
    let stat = out(folder.path(), &["diff", "--stat", "demo@1.0.0", "demo@1.1.0", "src"]);
    let fields: Vec<Vec<&str>> = stat.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        fields,
        [
            ["removed", "+0", "-1", "src/gone.rs"],
            ["changed", "+1", "-1", "src/lib.rs"],
            ["added", "+1", "-0", "src/new.rs"],
        ]
    );
    let json = out(folder.path(), &["diff", "--json", "demo@1.0.0", "demo@1.1.0", "data"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let expected = serde_json::json!({
        "path": "data", "change": "changed", "binary": true, "added_lines": 0, "removed_lines": 0,
    });
    assert_eq!(json, expected);
}

#[test]
fn snapshots_are_still_compared_and_mistakes_are_said() {
    let folder = stocked();
    assert_eq!(out(folder.path(), &["diff", "1", "2"]), "+ demo@1.1.0\n");
    for (args, code) in [
        (&["diff", "demo@1.0.0", "demo@3.0.0"][..], 1),
        (&["diff", "demo@1.0.0", "2"], 1),
        (&["diff", "1", "2", "src"], 2),
        (&["diff", "1", "yesterday"], 2),
    ] {
        let output = cratehold(folder.path(), args);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert!(output.stderr.starts_with(b"error: "), "{output:?}");
    }
}
