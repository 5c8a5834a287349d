//! What exports look like, what they keep, and what they refuse.

use super::cargo::export_to;
use super::world::{World, crate_file, tree, versions};
use cratehold::archive::Archive;
use cratehold::ids::Digest;
use cratehold::offer::{ExportError, ExportOptions, ExportReport, Format, Layout, choose, export};
use cratehold::sync::Selection;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

fn names(folder: &Path) -> Vec<String> {
    tree(folder).into_keys().collect()
}

fn selection(wants: &[&str]) -> Selection {
    let mut selection = Selection::default();
    for want in wants {
        selection.add_crate(want.parse().unwrap());
    }
    selection
}

fn run(archive: &Archive, wants: &[&str], to: &Path, format: Format) -> Result<ExportReport, ExportError> {
    let chosen = choose(archive, &selection(wants), false).unwrap();
    let options = ExportOptions {
        format,
        threads: 2,
        stop: &|| false,
        progress: &|_| {},
    };
    export(archive, &chosen.releases, to, &options)
}

const VENDOR: Format = Format::Vendor { versioned_dirs: false };

#[test]
fn loose_files_lie_where_their_tools_look() {
    let world = World::stocked();
    for (layout, expected) in [
        (Layout::Flat, ["extra-0.3.1+b7.crate", "mid-1.0.0.crate"]),
        (
            Layout::GetAllCrates,
            ["3/m/mid/mid-1.0.0.crate", "ex/tr/extra/extra-0.3.1+b7.crate"],
        ),
        (
            Layout::Panamax,
            [
                "crates/3/m/mid/1.0.0/mid-1.0.0.crate",
                "crates/ex/tr/extra/0.3.1+b7/extra-0.3.1+b7.crate",
            ],
        ),
    ] {
        let to = world.path("loose").join(format!("{layout:?}"));
        let report = run(&world.archive(), &["mid", "extra"], &to, Format::Crates(layout)).unwrap();
        assert_eq!((report.written, report.kept), (2, 0));
        assert_eq!(names(&to), expected);
        let again = run(&world.archive(), &["mid", "extra"], &to, Format::Crates(layout)).unwrap();
        assert_eq!((again.written, again.kept), (0, 2));
        for bytes in tree(&to).into_values() {
            assert!(world.archive().find(&Digest::of(&bytes)).unwrap().is_some());
        }
    }
}

#[test]
fn a_second_export_mends_adds_and_keeps_what_is_there() {
    let world = World::stocked();
    let archive = world.archive();
    let to = world.path("local");
    run(&archive, &["leaf@1.1.0", "mid"], &to, Format::LocalRegistry).unwrap();
    let first = tree(&to);
    assert_eq!(versions(&first["index/le/af/leaf"]), ["1.1.0"]);
    std::fs::write(to.join("mid-1.0.0.crate"), b"damaged").unwrap();
    std::fs::create_dir(to.join(".cratehold-part")).unwrap();
    std::fs::write(to.join(".cratehold-part/half"), b"a crash left it").unwrap();
    let second = run(&archive, &["leaf@1.0.0", "mid"], &to, Format::LocalRegistry).unwrap();
    assert_eq!((second.written, second.kept), (2, 0));
    let now = tree(&to);
    assert_eq!(now["mid-1.0.0.crate"], first["mid-1.0.0.crate"]);
    assert_eq!(now["leaf-1.1.0.crate"], first["leaf-1.1.0.crate"]);
    assert_eq!(versions(&now["index/le/af/leaf"]), ["1.1.0", "1.0.0"]);
    assert!(!now.keys().any(|name| name.contains("part")));
    // What somebody removed is no longer listed.
    std::fs::remove_file(to.join("leaf-1.1.0.crate")).unwrap();
    run(&archive, &["leaf@1.0.0"], &to, Format::LocalRegistry).unwrap();
    assert_eq!(versions(&tree(&to)["index/le/af/leaf"]), ["1.0.0"]);
}

#[test]
fn vendored_crates_keep_their_folders() {
    let world = World::stocked();
    let archive = world.archive();
    let to = world.path("vendor");
    let has = |folder: &str, version: &str| {
        let manifest = std::fs::read_to_string(to.join(folder).join("Cargo.toml")).unwrap();
        manifest.contains(&format!("version = \"{version}\""))
    };
    run(&archive, &["leaf@^1"], &to, VENDOR).unwrap();
    assert!(has("leaf", "1.1.0") && has("leaf-1.0.0", "1.0.0"));
    let before = tree(&to);
    let report = run(&archive, &["leaf"], &to, VENDOR).unwrap();
    assert_eq!((report.written, report.kept), (1, 2));
    assert!(has("leaf", "1.1.0") && has("leaf-2.0.0", "2.0.0"));
    let after = tree(&to);
    assert!(before.iter().all(|(name, bytes)| after[name] == *bytes));
    // A file that was changed is put right.
    std::fs::write(to.join("leaf-1.0.0/src/lib.rs"), b"changed").unwrap();
    let report = run(&archive, &["leaf"], &to, VENDOR).unwrap();
    assert_eq!((report.written, report.kept), (1, 2));
    assert_eq!(tree(&to), after);
    // Its checksums are those of its files.
    let sums: serde_json::Value = serde_json::from_slice(&after["leaf/.cargo-checksum.json"]).unwrap();
    assert_eq!(
        sums["files"]["src/lib.rs"],
        Digest::of(&after["leaf/src/lib.rs"]).to_string()
    );
    assert_eq!(sums["files"].as_object().unwrap().len(), 2);
    assert!(!to.join("leaf/tests").exists());

    let versioned = world.path("versioned");
    run(
        &archive,
        &["leaf@^1"],
        &versioned,
        Format::Vendor { versioned_dirs: true },
    )
    .unwrap();
    let folders: Vec<String> = names(&versioned)
        .into_iter()
        .filter(|name| name.ends_with(".toml"))
        .collect();
    assert_eq!(folders, ["leaf-1.0.0/Cargo.toml", "leaf-1.1.0/Cargo.toml"]);
}

#[test]
fn other_bytes_of_a_release_are_never_overwritten() {
    let world = World::new();
    let one = crate_file("twice@1.0.0", "", "pub fn one() {}\n");
    world.import("twice@1.0.0", &one);
    let (local, vendor) = (world.path("local"), world.path("vendor"));
    for (to, format) in [(&local, Format::LocalRegistry), (&vendor, VENDOR)] {
        run(&world.archive(), &["twice"], to, format).unwrap();
    }
    let before = (tree(&local), tree(&vendor));
    // The registry has put other bytes in its place.
    let writer = cratehold::archive::Writer::open(&world.path("archive")).unwrap();
    let other = crate_file("twice@1.0.0", "", "pub fn other() {}\n");
    writer
        .add(&"twice@1.0.0".parse().unwrap(), other.clone(), Default::default())
        .unwrap();
    let event = cratehold::format::manifest_event::Event {
        kind: cratehold::format::manifest::EventKind::Replaced,
        yanked: false,
        generation: 0,
        version: "1.0.0".into(),
        digest: Some(Digest::of(&other)),
        text: None,
    };
    writer.note("twice", event);
    writer.commit(&Default::default()).unwrap();
    drop(writer);
    for (to, format) in [(&local, Format::LocalRegistry), (&vendor, VENDOR)] {
        let report = run(&world.archive(), &["twice"], to, format).unwrap();
        assert_eq!((report.written, report.kept), (0, 0));
        assert!(
            report.failures[0].cause.contains(&Digest::of(&one).to_string()),
            "{:?}",
            report.failures
        );
    }
    assert_eq!((tree(&local), tree(&vendor)), before);
}

#[test]
fn a_folder_of_something_else_is_left_alone() {
    let world = World::stocked();
    let to = world.path("mine");
    std::fs::create_dir(&to).unwrap();
    std::fs::write(to.join("thesis.txt"), b"years of work").unwrap();
    for format in [Format::LocalRegistry, VENDOR, Format::Crates(Layout::Flat)] {
        let error = run(&world.archive(), &["leaf"], &to, format).unwrap_err().to_string();
        assert!(
            error.contains("thesis.txt") && error.contains("name a new folder"),
            "{error}"
        );
    }
    assert_eq!(names(&to), ["thesis.txt"]);
    // One kind of export is something else to another.
    let local = world.path("local");
    run(&world.archive(), &["leaf"], &local, Format::LocalRegistry).unwrap();
    let error = run(&world.archive(), &["leaf"], &local, VENDOR)
        .unwrap_err()
        .to_string();
    assert!(error.contains("nor a folder of vendored crates"), "{error}");
}

#[test]
fn being_stopped_leaves_an_export_that_the_next_goes_on_with() {
    let world = World::stocked();
    let archive = world.archive();
    let to = world.path("local");
    let chosen = choose(&archive, &Selection::everything(), false).unwrap();
    let asked = AtomicUsize::new(0);
    let options = ExportOptions {
        format: Format::LocalRegistry,
        threads: 1,
        stop: &|| asked.load(Ordering::Relaxed) >= 3,
        progress: &|_| {
            asked.fetch_add(1, Ordering::Relaxed);
        },
    };
    let report = export(&archive, &chosen.releases, &to, &options).unwrap();
    assert!(report.stopped);
    assert_eq!(report.written, 3);
    let listed: usize = tree(&to)
        .iter()
        .filter(|(name, _)| name.starts_with("index/"))
        .map(|(_, text)| versions(text).len())
        .sum();
    assert_eq!(listed, 3);
    let left = export_to(&archive, &Selection::everything(), &to, Format::LocalRegistry);
    assert_eq!(left, chosen.releases.len() as u64 - 3);
}

fn command(world: &World, args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cratehold"));
    let output = command
        .current_dir(world.folder.path())
        .args(["--archive", "archive"])
        .args(args)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn the_command_says_what_it_did_and_what_is_missing() {
    let world = World::stocked();
    let list = |text: &str| std::fs::write(world.path("list.txt"), text).unwrap();
    list("leaf@1.0.0\nleaf@9.0.0\nnobody@1.0.0\n");
    let export = ["export", "--format", "local-registry", "out", "--list", "list.txt"];
    let (code, stdout, stderr) = command(&world, &export);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(
        stdout.contains("1 releases exported") && stdout.contains("2 missing from the archive"),
        "{stdout}"
    );
    assert!(
        stderr.contains("failed: leaf@9.0.0: the archive does not know this version; the newest held is 2.0.0"),
        "{stderr}"
    );
    assert!(
        stderr.contains("failed: nobody@1.0.0: this archive knows no crate nobody"),
        "{stderr}"
    );
    list("leaf@1.0.0\n");
    let (code, stdout, stderr) = command(&world, &export);
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    let place: PathBuf = std::path::absolute(world.path("out")).unwrap();
    assert!(stdout.contains("1 there already"), "{stdout}");
    let config = &stdout[stdout.find("[source.").unwrap()..];
    assert!(config.contains("local-registry = ") && config.contains(place.file_name().unwrap().to_str().unwrap()));
    // The archive mirrors another registry than crates.io, so that one is replaced.
    assert!(
        config.contains(&format!("registry = \"{}\"", world.registry.index())),
        "{config}"
    );
    let (_, printed, _) = command(&world, &["cargo-config", "--for", "local-registry", "out"]);
    assert_eq!(printed, config);

    let (code, stdout, _) = command(
        &world,
        &[
            "export", "--format", "vendor", "v", "--crate", "leaf", "--latest", "1", "--json",
        ],
    );
    assert_eq!(code, Some(0));
    let summary: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&summary["written"], &summary["complete"]), (&1.into(), &true.into()));
    assert!(world.path("v/leaf/Cargo.toml").exists());
}

/// Cargo wants a whole address: that of a file server on this machine until another is
/// named, which is then kept.
#[test]
fn a_static_registry_has_an_address_that_need_not_be_named() {
    let world = World::stocked();
    let export = ["export", "--format", "registry", "r", "--crate", "leaf"];
    let dl = |world: &World| {
        let config = std::fs::read(world.path("r/index/config.json")).unwrap();
        let config: serde_json::Value = serde_json::from_slice(&config).unwrap();
        config["dl"].as_str().unwrap().to_owned()
    };
    let (code, stdout, stderr) = command(&world, &export);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(
        dl(&world).starts_with("http://127.0.0.1:8000/crates/{"),
        "{}",
        dl(&world)
    );
    let lines = "registry = \"sparse+http://127.0.0.1:8000/index/\"";
    assert!(
        stdout.contains(lines) && stdout.contains("python3 -m http.server"),
        "{stdout}"
    );
    for args in [
        &["cargo-config", "--for", "registry"][..],
        &["cargo-config", "--for", "registry", "r"],
    ] {
        assert!(command(&world, args).1.contains(lines), "{args:?}");
    }
    let moved = [&export[..], &["--dl-base", "http://h.test/mirror/"]].concat();
    let (code, stdout, _) = command(&world, &moved);
    assert!(code == Some(0) && !stdout.contains("python3"), "{stdout}");
    for _ in 0..2 {
        assert!(
            dl(&world).starts_with("http://h.test/mirror/crates/{"),
            "{}",
            dl(&world)
        );
        let (_, stdout, _) = command(&world, &["cargo-config", "--for", "registry", "r"]);
        assert!(stdout.contains("sparse+http://h.test/mirror/index/"), "{stdout}");
        command(&world, &export);
    }
}

#[test]
fn wrong_command_lines_are_told_apart() {
    let world = World::stocked();
    for (args, part) in [
        (vec!["export", "--format", "vendor", "v"], "required"),
        (
            vec!["export", "--format", "registry", "r", "--all", "--dl-base", "ftp://x"],
            "http://",
        ),
        (vec!["cargo-config", "--for", "vendor"], "PATH|URL"),
    ] {
        let (code, _, stderr) = command(&world, &args);
        assert_eq!(code, Some(2), "{args:?}: {stderr}");
        assert!(stderr.contains(part), "{stderr}");
    }
    let (code, stdout, _) = command(&world, &["cargo-config", "--for", "serve", "http://host:1/"]);
    assert_eq!(code, Some(0));
    assert!(
        stdout.contains("registry = \"sparse+http://host:1/index/\""),
        "{stdout}"
    );
}
