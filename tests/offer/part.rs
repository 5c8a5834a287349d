//! `copy` with a selection: a part of an archive as an archive of its own.

use super::world::{World, crate_file, versions};
use cratehold::archive::{Archive, Depth};
use cratehold::ids::Digest;
use cratehold::offer::{Offer, View, choose};
use cratehold::sync::Selection;
use std::path::Path;
use std::process::Command;

fn copy(world: &World, args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cratehold"));
    command.env_remove("CRATEHOLD_ARCHIVE").current_dir(world.folder.path());
    let output = command.arg("copy").args(args).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn good(world: &World, args: &[&str]) -> String {
    let (code, stdout, stderr) = copy(world, args);
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{args:?}: {stdout}");
    stdout
}

/// The releases held, each given back exactly.
fn held(folder: &Path) -> Vec<String> {
    let archive = Archive::open(folder).unwrap();
    let verified = archive.verify(Depth::Full, 2, &|_| {}).unwrap();
    assert_eq!(verified.problems, []);
    let chosen = choose(&archive, &Selection::everything(), true).unwrap();
    let held = chosen.releases.iter().map(|one| {
        assert_eq!(Digest::of(&archive.read_crate(&one.digest).unwrap()), one.digest);
        one.release.to_string()
    });
    let held: Vec<String> = held.collect();
    assert_eq!(archive.entries().unwrap().len(), held.len());
    held
}

/// Versions of one crate that differ in a line, so that each is stored against another.
fn family(world: &mut World) {
    let body: String = (0..400)
        .map(|i| format!("pub fn f{i}() -> u32 {{ {} }}\n", i * 7919 % 1009))
        .collect();
    for minor in 0..6 {
        let source = format!("{body}pub fn version() -> u32 {{ {minor} }}\n");
        world.publish(&format!("fam@1.{minor}.0"), "", &source, "[]");
        world.sync(&["fam"]);
    }
}

#[test]
fn a_part_holds_what_was_selected_and_knows_all_of_its_crates() {
    let mut world = World::stocked();
    family(&mut world);
    world.yank("leaf@1.1.0");
    world.remove("leaf@2.0.0");
    world.sync(&["leaf"]);
    let whole = world.archive();
    let is_delta = |version: &str| {
        let release = whole.release_state("fam", version).unwrap().unwrap();
        let entry = whole.find(&release.digest).unwrap().unwrap();
        whole.record(&entry).unwrap().base.is_some()
    };
    assert!((0..6).filter(|minor| is_delta(&format!("1.{minor}.0"))).count() >= 4);

    let args = [
        "archive",
        "part",
        "--crate",
        "leaf",
        "--crate",
        "fam@1.1.0",
        "--crate",
        "fam@>=1.4",
    ];
    let said = good(&world, &args);
    assert!(said.contains("5 releases of 2 crates copied and read back"), "{said}");
    let part = world.path("part");
    let expected = ["fam@1.1.0", "fam@1.4.0", "fam@1.5.0", "leaf@1.0.0", "leaf@1.1.0"];
    assert_eq!(held(&part), expected);
    let open = Archive::open(&part).unwrap();
    assert_ne!(open.head().archive_id, whole.head().archive_id);
    let transactions = open.transactions().unwrap();
    assert!(
        transactions[0].source.contains("part of archive"),
        "{}",
        transactions[0].source
    );
    assert!(transactions[0].source.contains(&Digest(whole.head().root).to_string()));
    assert_eq!(open.known_registry().unwrap(), whole.known_registry().unwrap());
    // What the registry says of the crates is the same in both, yanks and removals too.
    for name in ["leaf", "fam"] {
        let full = |archive: &Archive| {
            Offer::new(archive.clone(), View::Full)
                .index_file(name)
                .unwrap()
                .unwrap()
                .text
        };
        assert_eq!(full(&open), full(&whole), "{name}");
    }
    let offered = Offer::new(open.clone(), View::Held)
        .index_file("leaf")
        .unwrap()
        .unwrap();
    assert_eq!(versions(&offered.text), ["1.0.0", "1.1.0!"]);
    let state = open.crate_state("leaf").unwrap().unwrap();
    assert_eq!(
        state
            .releases
            .iter()
            .filter(|release| release.removed.is_some())
            .count(),
        1
    );
    assert_eq!(open.crate_state("mid").unwrap(), None);

    // Again: nothing to do; with more: that is added.
    let said = good(&world, &args);
    assert!(
        said.contains("0 releases of 2 crates copied") && said.contains("5 there already"),
        "{said}"
    );
    assert_eq!(Archive::open(&part).unwrap().head().generation, open.head().generation);
    world.publish_leaf("leaf@1.3.0");
    world.sync(&["leaf"]);
    good(&world, &["archive", "part", "--crate", "leaf@1.3.0", "--crate", "fam"]);
    assert_eq!(held(&part).len(), 9);
    let lists = |folder: &str| {
        let offer = Offer::new(Archive::open(&world.path(folder)).unwrap(), View::Full);
        offer.index_file("leaf").unwrap().unwrap().text
    };
    assert_eq!(lists("part"), lists("archive"));
}

#[test]
fn a_lockfile_or_a_filter_makes_a_part_and_what_is_missing_is_named() {
    let mut world = World::stocked();
    world.remove("gone@1.0.0");
    world.publish_leaf("gone@1.1.0");
    world.sync(&["gone"]);
    let sum = Digest::of(&crate_file(
        "gone@1.0.0",
        "",
        "pub fn version() -> &'static str { \"1.0.0\" }\n",
    ));
    let package = |name: &str, version: &str, more: &str| {
        format!(
            "[[package]]\nname = \"{name}\"\nversion = \"{version}\"\nsource = \"registry+https://github.com/rust-lang/crates.io-index\"\n{more}\n"
        )
    };
    let lock = [
        "version = 4\n".to_owned(),
        package("gone", "1.0.0", &format!("checksum = \"{sum}\"")),
        package("leaf", "1.0.0", ""),
        package("leaf", "7.0.0", ""),
    ];
    std::fs::write(world.path("Cargo.lock"), lock.concat()).unwrap();
    let (code, stdout, stderr) = copy(&world, &["archive", "part", "--lockfile", "Cargo.lock"]);
    assert_eq!(code, Some(1), "{stdout}");
    assert!(
        stdout.contains("2 releases of 2 crates") && stdout.contains("1 missing"),
        "{stdout}"
    );
    assert!(
        stderr.contains("failed: leaf@7.0.0: the archive does not know this version"),
        "{stderr}"
    );
    assert_eq!(held(&world.path("part")), ["gone@1.0.0", "leaf@1.0.0"]);

    good(&world, &["archive", "newest", "--latest", "1", "--exclude", "m*"]);
    assert_eq!(
        held(&world.path("newest")),
        ["extra@0.3.1+b7", "gone@1.1.0", "leaf@2.0.0", "side@1.0.0"]
    );
    let (code, _, stderr) = copy(&world, &["archive", "none", "--only", "zzz*"]);
    assert_eq!(code, Some(1));
    assert!(
        stderr.contains("nothing was copied") && !world.path("none").exists(),
        "{stderr}"
    );
}

#[test]
fn a_part_is_an_archive_like_any_other() {
    let mut world = World::stocked();
    good(&world, &["archive", "part", "--crate", "leaf@1.0.0"]);
    // It is an archive like any other: it syncs from the registry.
    std::fs::rename(world.path("archive"), world.path("whole")).unwrap();
    std::fs::rename(world.path("part"), world.path("archive")).unwrap();
    world.publish_leaf("leaf@3.0.0");
    world.sync(&["leaf@3.0.0"]);
    assert_eq!(held(&world.path("archive")), ["leaf@1.0.0", "leaf@3.0.0"]);
    let (code, _, stderr) = copy(&world, &["whole", "archive", "--crate", "leaf"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert_eq!(held(&world.path("archive")).len(), 4);
}

#[test]
fn other_archives_and_damage_are_refused_or_named() {
    let world = World::stocked();
    let other = World::stocked();
    for (args, part) in [
        (vec!["archive", "archive", "--crate", "leaf"], "same folder"),
        (vec!["archive", "part", "--crate", "leaf", "--check"], "whole copies"),
        (vec!["archive", "part", "--removed"], "goes with a selection"),
    ] {
        let (code, _, stderr) = copy(&world, &args);
        assert_eq!(code, Some(1), "{args:?}");
        assert!(stderr.contains(part), "{stderr}");
    }
    let there = other.path("archive");
    let there = there.to_str().unwrap();
    let (code, _, stderr) = copy(&world, &["archive", there, "--crate", "leaf"]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("another archive is there"), "{stderr}");
    good(&world, &["archive", "copied"]);
    let (_, _, stderr) = copy(&world, &["archive", "copied", "--crate", "leaf"]);
    assert!(stderr.contains("it is the whole archive"), "{stderr}");

    // One rotten object: it is named, the others come along.
    let archive = world.archive();
    let release = archive.release_state("leaf", "1.0.0").unwrap().unwrap();
    let entry = archive.find(&release.digest).unwrap().unwrap();
    let pack = world.path(&format!("archive/packs/{:08}.pak", entry.pack));
    let mut bytes = std::fs::read(&pack).unwrap();
    bytes[entry.record_offset as usize + entry.record_bytes as usize - 5] ^= 1;
    std::fs::write(&pack, bytes).unwrap();
    let (code, stdout, stderr) = copy(&world, &["archive", "part", "--crate", "leaf@1.0.0", "--crate", "mid"]);
    assert_eq!(code, Some(1), "{stdout}");
    assert!(
        stderr.contains("leaf@1.0.0") && stderr.contains("failed: leaf"),
        "{stderr}"
    );
    assert_eq!(held(&world.path("part")), ["mid@1.0.0"]);
}
