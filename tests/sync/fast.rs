//! `sync --fast`: crate files are kept as they came, and are crates all the same.

use super::*;
use crate::support::dl_path;
use std::process::Command;

fn fast(registry: &Registry) -> Options {
    let mut options = options(registry);
    options.encode.as_they_came = true;
    options
}

fn engine(folder: &Path, file: &[u8]) -> u8 {
    let archive = Archive::open(folder).unwrap();
    archive.find(&Digest::of(file)).unwrap().unwrap().engine
}

#[test]
fn what_lies_as_it_came_is_verified_and_no_base() {
    let registry = Registry::start();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let undone = registry.publish("fast@0.9.0");
    assert!(sync(folder, &registry, &["fast"]).is_complete());
    assert_ne!(engine(folder, &undone), 0);
    let landed = [registry.publish("fast@1.0.0"), registry.publish("fast@1.1.0")];
    let report = run(folder, &fast(&registry), &selection(&["fast"])).unwrap();
    assert_eq!((report.downloaded, report.held, report.is_complete()), (2, 1, true));
    assert!(
        report.stored_bytes > report.downloaded_bytes,
        "its own bytes and what tells of them"
    );
    assert!(landed.iter().all(|file| engine(folder, file) == 0));
    // The same bytes again are not stored again, however they lie.
    registry.publish("fast@1.2.0");
    let mut lines = registry.lines("fast");
    lines[3] = crate::support::line("fast@1.2.0", &landed[0], false);
    registry.set_lines("fast", &lines);
    registry.serve(&dl_path("fast@1.2.0"), &landed[0]);
    let report = run(folder, &fast(&registry), &selection(&["fast"])).unwrap();
    assert_eq!((report.downloaded, report.held), (0, 4));
    // The next one is compressed against the one that is a tar.
    let next = registry.publish("fast@1.3.0");
    assert!(sync(folder, &registry, &["fast"]).is_complete());
    let archive = Archive::open(folder).unwrap();
    let entry = archive.find(&Digest::of(&next)).unwrap().unwrap();
    assert_ne!(entry.engine, 0);
    assert_eq!(archive.record(&entry).unwrap().base, Some(Digest::of(&undone).0));
    assert_holds(folder, &[&undone, &landed[0], &landed[1], &next]);
}

#[test]
fn every_command_takes_it_for_the_crate_it_is() {
    let registry = Registry::start();
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("archive");
    let files = [registry.publish("fast@1.0.0"), registry.publish("fast@1.1.0")];
    let command = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cratehold"));
        let output = command.arg("-a").arg(&archive).args(args).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let index = registry.index();
    let (code, _, stderr) = command(&["sync", "--fast", "--index", &index, "--crate", "fast"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert_eq!(engine(&archive, &files[0]), 0);
    let out = folder.path().join("out");
    let path = out.display().to_string();
    assert_eq!(command(&["extract", "fast@1.0.0", "--unpack", &path]).0, Some(0));
    let manifest = std::fs::read_to_string(out.join("fast-1.0.0/Cargo.toml")).unwrap();
    assert!(manifest.contains("version = \"1.0.0\""), "{manifest}");
    assert_eq!(command(&["extract", "fast@1.0.0", "--file", "Cargo.toml"]).1, manifest);
    let (code, found, _) = command(&["grep", "version = .1.1"]);
    assert_eq!(code, Some(0));
    assert!(
        found.contains("fast-1.1.0/Cargo.toml") && !found.contains("fast-1.0.0"),
        "{found}"
    );
    let (_, difference, stderr) = command(&["diff", "fast@1.0.0", "fast@1.1.0", "Cargo.toml"]);
    assert!(
        difference.contains("-version = \"1.0.0\"\n+version = \"1.1.0\""),
        "{difference}{stderr}"
    );
    let stats: serde_json::Value = serde_json::from_str(&command(&["stats", "--json"]).1).unwrap();
    assert_eq!(stats["engines"]["as it came"]["crates"], 2);
    for depth in [&[][..], &["--quick"], &["--full"]] {
        assert_eq!(command(&[&["verify"], depth].concat()).0, Some(0));
    }
    let crate_file = folder.path().join("one.crate");
    let path = crate_file.display().to_string();
    assert_eq!(command(&["extract", "fast@1.1.0", "-o", &path]).0, Some(0));
    assert_eq!(std::fs::read(crate_file).unwrap(), files[1]);
}
