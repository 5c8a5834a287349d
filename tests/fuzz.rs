//! Every fuzz target on seeded random bytes and on changed seeds, for a moment, and on
//! all that fuzzing has found (`fuzz/corpus/TARGET/`: small seeds and past crashes).
//!
//! `CRATEHOLD_FUZZ_ROUNDS=N` does N rounds a target (200 by default), a hundred times
//! as many of those that are quick.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![allow(clippy::print_stdout, reason = "figures, with --nocapture")]

#[path = "../fuzz/src/targets.rs"]
mod targets;

use std::path::Path;

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

fn changed(random: &mut fastrand::Rng, seed: &[u8]) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..random.usize(1..6) {
        if bytes.is_empty() {
            bytes.push(random.u8(..));
        }
        let at = random.usize(..bytes.len());
        match random.u8(..6) {
            0 => bytes[at] ^= 1 << random.u8(..8),
            1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff, 250, 251, 253][random.usize(..8)],
            2 => bytes.truncate(at),
            3 => bytes.insert(at, random.u8(..)),
            4 => _ = bytes.remove(at),
            _ => {
                let from = random.usize(..bytes.len());
                let piece: Vec<u8> = bytes[from..].iter().take(32).copied().collect();
                bytes.splice(at..at, piece);
            }
        }
    }
    bytes
}

fn drive(name: &str) {
    let (_, target) = targets::TARGETS.iter().find(|(target, _)| *target == name).unwrap();
    let seeds = corpus(name);
    assert!(!seeds.is_empty(), "fuzz/corpus/{name} is empty");
    seeds.iter().for_each(|seed| target(seed));
    let rounds: u64 = std::env::var("CRATEHOLD_FUZZ_ROUNDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(200);
    // Decoders of structures take microseconds.
    let is_quick = matches!(
        name,
        "head"
            | "pack_record"
            | "bundle"
            | "index_segment"
            | "manifest"
            | "registry_line"
            | "config_json"
            | "normal_form"
    );
    let rounds = if is_quick { rounds * 100 } else { rounds };
    let started = std::time::Instant::now();
    for round in 0..rounds {
        let mut random = fastrand::Rng::with_seed(round);
        let bytes = match round % 4 {
            0 => (0..random.usize(..300)).map(|_| random.u8(..)).collect(),
            _ => changed(&mut random, &seeds[round as usize % seeds.len()]),
        };
        if std::panic::catch_unwind(|| target(&bytes)).is_err() {
            let path = std::env::temp_dir().join(format!("cratehold-fuzz-{name}-{round}"));
            std::fs::write(&path, &bytes).unwrap();
            panic!("{name}: round {round}; its bytes are in {}", path.display());
        }
    }
    println!(
        "{name}: {} seeds, {rounds} rounds in {:?}",
        seeds.len(),
        started.elapsed()
    );
}

macro_rules! drive {
    ($($name:ident)*) => {
        $(#[test] fn $name() { drive(stringify!($name)); })*

        #[test]
        fn every_target_is_driven() {
            let names: Vec<&str> = targets::TARGETS.iter().map(|(name, _)| *name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
        }
    };
}

drive! {
    head pack_record bundle index_segment manifest gzip recipe registry_line lockfile config_json tar_walk
    http_answer operations engines recovery normal_form
}

/// Makes the seeds again, from the golden archive and the repository's own files:
/// `cargo test --test fuzz -- --ignored make_seeds`
#[test]
#[ignore = "writes into fuzz/corpus"]
fn make_seeds() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let golden = root.join("tests/golden/format-1");
    let put = |target: &str, name: &str, bytes: &[u8]| {
        let folder = root.join("fuzz/corpus").join(target);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(name), bytes).unwrap();
    };
    for name in ["head0", "head1"] {
        let bytes = std::fs::read(golden.join(name)).unwrap();
        let used = 20 + u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize;
        put("head", name, &bytes[..used]);
        put("head", &format!("{name}-structure"), &bytes[20..used]);
    }
    let pack = std::fs::read(golden.join("packs/00000003.pak")).unwrap();
    put("pack_record", "pack", &pack[..pack.len().min(2000)]);
    let meta = u32::from_le_bytes(pack[4..8].try_into().unwrap()) as usize;
    put("pack_record", "header", &pack[8..8 + meta - 4]);
    let at = 8 + meta;
    let meta = u32::from_le_bytes(pack[at + 4..at + 8].try_into().unwrap()) as usize;
    put("pack_record", "record", &pack[at + 8..at + 8 + meta - 4]);
    for (target, file, fields) in [
        ("index_segment", "index/00000002.idx", 3),
        ("manifest", "manifest/00000002.man", 8),
    ] {
        let bytes = std::fs::read(golden.join(file)).unwrap();
        put(target, "segment", &bytes);
        let field = |i: usize| u64::from_le_bytes(bytes[32 + 8 * i..40 + 8 * i].try_into().unwrap()) as u16;
        let body_bytes = u64::from_le_bytes(bytes[24..32].try_into().unwrap()) as usize;
        let mut seed: Vec<u8> = (0..fields).flat_map(|i| field(i).to_le_bytes()).collect();
        seed.extend(&bytes[4096..4096 + body_bytes]);
        put(target, "fields-and-body", &seed);
    }
    let archive = cratehold::archive::Archive::open(&golden).unwrap();
    for entry in archive.entries().unwrap() {
        let small = entry.kind == cratehold::format::index::EntryKind::Blob && entry.crate_bytes < 3000;
        if let (true, Ok(bytes)) = (small, archive.read_crate(&entry.digest)) {
            put("gzip", &format!("engine-{}", entry.engine), &bytes);
        }
        if let (true, true, Ok(tar)) = (small, entry.content_bytes < 5000, archive.read_tar(&entry.digest)) {
            put("tar_walk", "crate", &tar);
            put("normal_form", "tar", &tar);
            if let Some(content) = cratehold::format::normal_form::encode(&tar) {
                put("normal_form", "content", &content);
            }
        }
    }
    let odd = cratehold::archive::Archive::open(&root.join("tests/golden/transform-1")).unwrap();
    let digest = odd
        .crate_state("normal")
        .unwrap()
        .unwrap()
        .releases
        .last()
        .unwrap()
        .digest;
    let tar = odd.read_tar(&digest).unwrap();
    put("normal_form", "odd-tar", &tar);
    put(
        "normal_form",
        "odd-content",
        &cratehold::format::normal_form::encode(&tar).unwrap(),
    );
    put(
        "recipe",
        "prose",
        &[&[2, 10][..], b"0123456789", &b"pub fn a() -> u32 { 7 }\n".repeat(20)].concat(),
    );
    let line = br#"{"name":"serde","vers":"1.0.0","deps":[{"name":"a","req":"^1","features":[],"optional":false,"default_features":true,"target":null,"kind":"normal"}],"cksum":"0000000000000000000000000000000000000000000000000000000000000000","features":{"std":[]},"yanked":false,"v":2}"#;
    put("registry_line", "two", &[&line[..], b"\n", line, b"\n"].concat());
    let lock = std::fs::read(root.join("Cargo.lock")).unwrap();
    put("lockfile", "own", &lock[..1500]);
    put("lockfile", "byte-order-mark", "\u{feff}a[[package]]\n".as_bytes());
    put("lockfile", "version-1", b"[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nsource = \"registry+https://github.com/rust-lang/crates.io-index\"\n\n[metadata]\n\"checksum a 1.0.0 (registry+https://github.com/rust-lang/crates.io-index)\" = \"<none>\"\n");
    put(
        "config_json",
        "crates-io",
        br#"{"dl":"https://static.crates.io/crates","api":"https://crates.io"}"#,
    );
    put(
        "config_json",
        "markers",
        br#"{"dl":"http://h/{prefix}/{lowerprefix}/{crate}-{version}?{sha256-checksum}","auth-required":false}"#,
    );
    put(
        "http_answer",
        "whole",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nRetry-After: 3\r\n\r\nhello",
    );
    put(
        "http_answer",
        "chunked",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    );
    put("http_answer", "redirect", b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n");
    put(
        "http_answer",
        "late",
        b"HTTP/1.1 429 Slow\r\nRetry-After: Fri, 31 Dec 1999 23:59:59 GMT\r\n\r\n",
    );
    put(
        "operations",
        "some",
        &[0, 8, 5, 16, 7, 24, 6, 4, 5, 32, 7, 40, 5, 0x34, 5],
    );
    put(
        "engines",
        "words",
        &[&[40, 3][..], b"pub fn let mut self. struct impl ->"].concat(),
    );
    put(
        "engines",
        "noise",
        &(0..200u8).map(|i| i.wrapping_mul(167) ^ (i >> 3)).collect::<Vec<_>>(),
    );
}
