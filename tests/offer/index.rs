//! Registry index files: which releases they list, and that the lines are the
//! registry's own.

use super::world::{World, crate_file, versions};
use cratehold::archive::Archive;
use cratehold::ids::Digest;
use cratehold::offer::{IndexFile, Offer, View, config_json};

fn file(archive: Archive, view: View, name: &str) -> Option<IndexFile> {
    Offer::new(archive, view).index_file(name).unwrap()
}

#[test]
fn what_is_held_is_listed_byte_for_byte() {
    let mut world = World::new();
    for release in ["Leaf-x@1.0.0", "Leaf-x@1.1.0", "Leaf-x@2.0.0"] {
        world.publish_leaf(release);
    }
    world.sync(&["Leaf-x@^1"]);
    let held = file(world.archive(), View::Held, "leaf_X").unwrap();
    assert_eq!(held.path, "le/af/leaf-x");
    assert_eq!(
        held.text,
        format!("{}\n", world.lines["Leaf-x"][..2].join("\n")).as_bytes()
    );
    assert_eq!((held.line_count, held.made_up), (2, 0));
    let full = file(world.archive(), View::Full, "leaf-x").unwrap();
    assert_eq!(full.text, format!("{}\n", world.lines["Leaf-x"].join("\n")).as_bytes());
    assert_ne!(held.etag, full.etag);
    assert_eq!(file(world.archive(), View::Held, "Leaf-x").unwrap(), held);
    assert_eq!(file(world.archive(), View::Held, "leaf"), None);
}

#[test]
fn a_path_is_found_only_as_cargo_spells_it() {
    let mut world = World::new();
    world.publish_leaf("Le-f@1.0.0");
    world.publish_leaf("abc@1.0.0");
    world.sync(&["le-f", "abc"]);
    let offer = Offer::new(world.archive(), View::Held);
    let has = |path: &str| offer.index_file_at(path).unwrap().is_some();
    assert!(has("le/-f/le-f") && has("3/a/abc"));
    for path in [
        "le/_f/le_f",
        "Le/-f/Le-f",
        "le-f",
        "/le/-f/le-f",
        "le/-f/le-f/",
        "3/a/../a/abc",
        "3/b/abc",
        "",
        "/",
        "config.json",
    ] {
        assert!(!has(path), "{path}");
    }
}

#[test]
fn yanked_removed_and_replaced_releases_stay_out_of_new_choices() {
    let mut world = World::new();
    for release in ["turn@1.0.0", "turn@1.1.0", "turn@1.2.0", "turn@1.3.0"] {
        world.publish_leaf(release);
    }
    world.sync(&["turn"]);
    let before = world.archive().generation();
    world.yank("turn@1.1.0");
    world.remove("turn@1.2.0");
    world.sync(&["turn"]);
    let other = crate_file("turn@1.3.0", "", "pub fn other() {}\n");
    let old = Digest::of(&crate_file(
        "turn@1.3.0",
        "",
        "pub fn version() -> &'static str { \"1.3.0\" }\n",
    ));
    let replaced = world.lines["turn"][2].replace(&old.to_string(), &Digest::of(&other).to_string());
    assert_ne!(replaced, world.lines["turn"][2]);
    world.lines.get_mut("turn").unwrap()[2] = replaced.clone();
    world.registry.serve(&crate::support::dl_path("turn@1.3.0"), &other);
    world.show("turn");
    world.sync(&["turn"]);

    let now = file(world.archive(), View::Held, "turn").unwrap();
    assert_eq!(versions(&now.text), ["1.0.0", "1.1.0!", "1.2.0!", "1.3.0"]);
    let text = String::from_utf8(now.text).unwrap();
    assert!(text.contains(&replaced) && !text.contains(&old.to_string()));
    // Only the word has changed in the line of what was removed.
    assert!(text.contains(r#""yanked":true,"x-new": 1}"#));
    let full = file(world.archive(), View::Full, "turn").unwrap();
    assert_eq!(versions(&full.text), ["1.0.0", "1.1.0!", "1.3.0"]);
    let then = file(world.archive().at(before), View::Held, "turn").unwrap();
    assert_eq!(versions(&then.text), ["1.0.0", "1.1.0", "1.2.0", "1.3.0"]);
    assert!(String::from_utf8(then.text).unwrap().contains(&old.to_string()));
}

#[test]
fn releases_without_a_line_get_one_made_of_their_manifest() {
    let mut world = World::new();
    world.publish_leaf("mix@1.0.0");
    world.sync(&["mix"]);
    let new = crate_file("mix@1.1.0", "[dependencies]\nleaf = \"1\"\n", "");
    let digest = world.import("mix@1.1.0", &new);
    let offer = Offer::new(world.archive(), View::Held);
    let mixed = offer.index_file("mix").unwrap().unwrap();
    assert_eq!((mixed.line_count, mixed.made_up), (2, 1));
    assert_eq!(versions(&mixed.text), ["1.0.0", "1.1.0"]);
    let last: serde_json::Value = serde_json::from_slice(mixed.text.split(|b| *b == b'\n').nth(1).unwrap()).unwrap();
    assert_eq!(last["deps"][0]["req"], "^1");
    assert_eq!(last["cksum"], digest.to_string());
    assert_eq!(offer.index_file("mix").unwrap().unwrap(), mixed);

    // One that has no manifest to speak of is left out, and that is said.
    world.import("mix@1.2.0", &crate_file("mix@1.2.0", "[dependencies]\nleaf = 1\n", ""));
    let mixed = Offer::new(world.archive(), View::Held)
        .index_file("mix")
        .unwrap()
        .unwrap();
    assert_eq!(versions(&mixed.text), ["1.0.0", "1.1.0"]);
    assert_eq!(mixed.left_out[0].0.to_string(), "mix@1.2.0");
    assert!(mixed.left_out[0].1.contains("Cargo.toml, line"), "{:?}", mixed.left_out);
}

#[test]
fn config_json_is_what_cargo_reads() {
    let text = config_json("http://h/\"{crate}", None);
    assert_eq!(text, br#"{"dl":"http://h/\"{crate}"}"#);
    let parsed = cratehold::registry::IndexConfig::parse("x", &config_json("http://h/", Some("http://a"))).unwrap();
    assert_eq!(
        (parsed.dl.as_str(), parsed.api.as_deref()),
        ("http://h/", Some("http://a"))
    );
}
