//! The arrows between the rooms, as ARCHITECTURE.md has them.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::path::Path;

const ROOMS: [(&str, &[&str]); 10] = [
    ("ids.rs", &[]),
    ("format", &["ids"]),
    ("deflate", &["ids"]),
    ("store", &[]),
    ("archive", &["ids", "format", "deflate", "store"]),
    ("registry", &["ids"]),
    ("sync", &["ids", "format", "archive", "registry"]),
    ("offer", &["ids", "format", "archive", "registry", "sync"]),
    ("serve", &["ids", "format", "archive", "offer"]),
    (
        "cli",
        &[
            "ids", "format", "deflate", "archive", "registry", "sync", "offer", "serve",
        ],
    ),
];

fn sources(path: &Path, out: &mut Vec<(String, String)>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            sources(&entry.unwrap().path(), out);
        }
    } else if path.extension().is_some_and(|extension| extension == "rs") {
        out.push((path.display().to_string(), fs::read_to_string(path).unwrap()));
    }
}

#[test]
fn imports_follow_the_arrows_and_every_module_says_what_it_holds() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let others = [
        "ids", "format", "deflate", "store", "archive", "registry", "sync", "offer", "serve", "cli",
    ];
    for (room, allowed) in ROOMS {
        let mut files = Vec::new();
        sources(&src.join(room), &mut files);
        assert!(!files.is_empty(), "{room}");
        for (path, text) in files {
            assert!(text.starts_with("//!"), "{path} does not open with //!");
            for other in others
                .iter()
                .filter(|other| !room.starts_with(**other) && !allowed.contains(other))
            {
                for import in [format!("crate::{other}"), format!("cratehold::{other}")] {
                    assert!(!text.contains(&import), "{path} imports {import}");
                }
            }
        }
    }
}
