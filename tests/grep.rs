//! `grep`: every line that matches, once per version, and nothing else.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use cratehold::archive::{
    Archive, CommitInfo, EncodeOptions, FileMatches, GrepOptions, GrepReport, Pattern, PatternOptions, Writer,
};
use flate2::{Compression, write::GzEncoder};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Command, Output};

fn crate_file(stem: &str, files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::new(9)));
    for (path, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder
            .append_data(&mut header, format!("{stem}/{path}"), *bytes)
            .unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

/// Two versions of one crate that share a file, a pre-release, and another crate.
fn stocked(folder: &Path) {
    let lib = b"fn one() {}\r\n// a Needle here\nfn two() { needle() }".as_slice();
    type Files<'a> = &'a [(&'a str, &'a [u8])];
    let crates: [(&str, Files<'_>); 4] = [
        ("alpha@1.0.0", &[("src/lib.rs", lib), ("src/old.rs", b"needle\n")]),
        (
            "alpha@1.10.0",
            &[("src/lib.rs", lib), ("data.bin", b"needle\0\n"), ("empty", b"")],
        ),
        ("alpha@2.0.0-rc.1", &[("src/lib.rs", b"no such thing")]),
        ("Beta@0.1.0", &[("a.b/needle.txt", b"x\n\n a.b needles\n")]),
    ];
    let writer = Writer::open(folder).unwrap();
    for (release, files) in crates {
        let file = crate_file(&release.replace('@', "-"), files);
        writer
            .add(&release.parse().unwrap(), file, EncodeOptions::default())
            .unwrap();
        writer.commit(&CommitInfo::default()).unwrap();
    }
}

fn search(archive: &Archive, pattern: &str, options: PatternOptions, latest: bool) -> (Vec<String>, GrepReport) {
    let pattern = Pattern::new(pattern, options).unwrap();
    let options = GrepOptions {
        crates: None,
        takes: &|_, _| true,
        latest,
        files_only: false,
        threads: 3,
        stop: &|| false,
    };
    let mut found = Vec::new();
    let mut collect = |file: FileMatches| {
        for line in &*file.lines {
            let text = String::from_utf8_lossy(&line.text).into_owned();
            found.push(format!("{} {}:{}:{text}", file.release, file.path, line.number));
        }
        ControlFlow::Continue(())
    };
    let report = archive.grep(&pattern, &options, &mut collect).unwrap();
    (found, report)
}

#[test]
fn lines_come_by_crate_version_and_file_and_a_file_is_searched_once() {
    let folder = tempfile::tempdir().unwrap();
    stocked(folder.path());
    let archive = Archive::open(folder.path()).unwrap();
    let ignore_case = PatternOptions {
        ignore_case: true,
        ..PatternOptions::default()
    };
    let (found, report) = search(&archive, "needle", ignore_case, false);
    assert_eq!(
        found,
        [
            "alpha@1.0.0 src/lib.rs:2:// a Needle here",
            "alpha@1.0.0 src/lib.rs:3:fn two() { needle() }",
            "alpha@1.0.0 src/old.rs:1:needle",
            "alpha@1.10.0 src/lib.rs:2:// a Needle here",
            "alpha@1.10.0 src/lib.rs:3:fn two() { needle() }",
            "Beta@0.1.0 a.b/needle.txt:3: a.b needles",
        ]
    );
    assert_eq!((report.releases, report.files, report.searched), (4, 7, 6));
    assert_eq!(report.failures, Vec::<String>::new());
}

#[test]
fn patterns_are_meant_as_asked() {
    let folder = tempfile::tempdir().unwrap();
    stocked(folder.path());
    let archive = Archive::open(folder.path()).unwrap();
    let count = |pattern: &str, options: PatternOptions| search(&archive, pattern, options, false).0.len();
    let plain = PatternOptions::default();
    assert_eq!(count("a.b|one", plain), 3);
    assert_eq!(count("a.b|one", PatternOptions { fixed: true, ..plain }), 0);
    assert_eq!(count("needle", plain), 4);
    assert_eq!(count("needle", PatternOptions { word: true, ..plain }), 3);
    // No match spans two lines.
    assert_eq!(count(r"\}\s+//", plain), 0);
    assert_eq!(search(&archive, "needle", plain, true).0.len(), 2);
    assert!(Pattern::new("(", plain).is_err());
}

#[test]
fn whoever_has_enough_ends_it() {
    let folder = tempfile::tempdir().unwrap();
    stocked(folder.path());
    let archive = Archive::open(folder.path()).unwrap();
    let pattern = Pattern::new(".", PatternOptions::default()).unwrap();
    let options = GrepOptions {
        crates: None,
        takes: &|_, _| true,
        latest: false,
        files_only: true,
        threads: 2,
        stop: &|| false,
    };
    let mut files = 0;
    let mut one = |file: FileMatches| {
        files += 1;
        assert_eq!(file.lines.len(), 1);
        ControlFlow::Break(())
    };
    archive.grep(&pattern, &options, &mut one).unwrap();
    assert_eq!(files, 1);
}

fn cratehold(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cratehold"))
        .arg("-a")
        .arg(folder)
        .args(args)
        .output()
        .unwrap()
}

#[test]
fn the_command_prints_lines_files_or_json() {
    let folder = tempfile::tempdir().unwrap();
    stocked(folder.path());
    let out = |args: &[&str]| {
        let output = cratehold(folder.path(), args);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(
        out(&["grep", "--crate", "alpha@^1", "two"]),
        "alpha-1.0.0/src/lib.rs:3:fn two() { needle() }\nalpha-1.10.0/src/lib.rs:3:fn two() { needle() }\n"
    );
    assert_eq!(
        out(&["grep", "-l", "--latest", "needle"]),
        "alpha-1.10.0/src/lib.rs\nBeta-0.1.0/a.b/needle.txt\n"
    );
    let json: serde_json::Value = serde_json::from_str(&out(&["grep", "--json", "-F", "a.b"])).unwrap();
    let expected = serde_json::json!({
        "name": "Beta", "version": "0.1.0", "path": "a.b/needle.txt", "line": 3,
        "text": " a.b needles", "matches": [[1, 4]],
    });
    assert_eq!(json, expected);
    assert_eq!(cratehold(folder.path(), &["grep", "("]).status.code(), Some(2));
    let unknown = cratehold(folder.path(), &["grep", "--crate", "alpa", "x"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&unknown.stderr).contains("alpha"),
        "{unknown:?}"
    );
}
