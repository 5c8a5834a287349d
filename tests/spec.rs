//! The spec's own examples, read out of its text and held against the code: the
//! worked structure of R 3.5 and the engines' test vectors of R 8.6.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use cratehold::deflate::{Engine, Recipe, redo};
use cratehold::format::manifest::FRAGMENTS;
use cratehold::format::normal_form::{self, NormalForm};
use cratehold::format::pack::RecordMeta;
use cratehold::format::wire;
use cratehold::ids::Digest;

const SPEC: &str = include_str!("../format-spec/format-1.md");

/// The cells of every table row behind the line that starts with `from`, up to
/// the next heading.
fn rows(from: &str) -> Vec<Vec<String>> {
    let lines = SPEC.lines().skip_while(|line| !line.starts_with(from)).skip(1);
    lines
        .take_while(|line| !line.starts_with('#'))
        .filter(|line| line.starts_with("| ") && !line.contains("FIELD") && !line.contains("INPUT"))
        .map(|line| {
            line.trim_matches('|')
                .split('|')
                .map(|cell| cell.trim().trim_matches('`').to_owned())
                .collect()
        })
        .collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

#[test]
fn the_worked_example_is_what_the_code_reads_and_writes() {
    let rows = rows("R 3.5");
    let bytes: Vec<u8> = rows.iter().flat_map(|row| unhex(&row[2])).collect();
    let expected = RecordMeta {
        kind: 1,
        digest: [0x11; 32],
        name: "demo".into(),
        version: "1.0.0".into(),
        crate_bytes: 250,
        content_bytes: 3584,
        content_crc32: 0x89ab_cdef,
        frame_bytes: 251,
        frame_crc32: 0x0123_4567,
        base: Some([0x22; 32]),
        chain_depth: 1,
        chain_bytes: 1 << 32,
        transform: 0,
        engine: 3,
        gzip_os: 255,
        gzip_header: None,
        gzip_trailer: Some(vec![0xaa, 0xbb, 0xcc]),
    };
    assert_eq!(wire::decode::<RecordMeta>(&bytes, "example"), Ok(expected.clone()));
    assert_eq!(wire::encode(&expected), bytes);
    // The table of R 5.5 has the same fields in the same order.
    let fields: Vec<String> = rows.into_iter().map(|row| row[0].clone()).collect();
    let table: Vec<String> = self::rows("R 5.5").into_iter().map(|row| row[0].clone()).collect();
    assert_eq!(fields, table);
}

#[test]
fn the_fragments_of_registry_lines_are_those_of_the_code() {
    let rows = rows("R 7.21");
    let found: Vec<(usize, &str)> = rows[1..]
        .iter()
        .map(|row| (row[0].parse().unwrap(), row[1].as_str()))
        .collect();
    let expected: Vec<(usize, &str)> = (4..).zip(FRAGMENTS).collect();
    assert_eq!(found, expected);
}

/// An input of R 8.6 by its name there, such as `prose(1, 300000)`.
fn input(name: &str) -> Vec<u8> {
    const WORDS: [&str; 12] = [
        "fn ", "let ", "self.", "(x)", "\n    ", "mut ", "pub ", "struct ", "impl ", "->", "0x1f", ";",
    ];
    let (kind, arguments) = name.trim_end_matches(')').split_once('(').unwrap();
    let (seed, bytes) = arguments.split_once(", ").unwrap();
    let (mut x, bytes): (u64, usize) = (seed.parse().unwrap(), bytes.parse().unwrap());
    let mut out = Vec::new();
    while out.len() < bytes {
        x = x
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        if kind == "noise" {
            out.push((x >> 33) as u8);
            continue;
        }
        out.extend_from_slice(WORDS[(x >> 33) as usize % 12].as_bytes());
        match kind {
            "prose" if x >> 60 == 0 => out.extend((x >> 20).to_string().bytes()),
            "runs" if x >> 60 == 0 => out.resize(out.len() + (x >> 20) as usize % 600, 0),
            "prose" | "runs" => {}
            other => panic!("the spec names an input `{other}` that it does not describe"),
        }
    }
    out.truncate(bytes);
    out
}

/// The engines' bytes must never change: archives depend on them.
#[test]
fn every_engine_gives_the_vectors_of_the_spec() {
    let rows = rows("R 8.6");
    let mut digests: Vec<(String, u8, String)> = Vec::new();
    let mut wrong = String::new();
    for row in &rows {
        let [name, number, length, digest] = &row[..] else {
            panic!("{row:?}")
        };
        let engine = Engine::from_number(number.parse().unwrap()).unwrap();
        let recipe = Recipe {
            engine,
            header: Vec::new(),
            trailer: Vec::new(),
        };
        let stream = redo(&input(name), &recipe);
        let found = (stream.len().to_string(), Digest::of(&stream).to_string());
        if (length, digest) != (&found.0, &found.1) {
            wrong += &format!("| {name} | {number} | {} | `{}` |\n", found.0, found.1);
        }
        digests.push((name.clone(), engine.number(), found.1));
    }
    assert!(
        wrong.is_empty(),
        "these rows of the spec are not what the engines give:\n{wrong}"
    );
    // The vectors are of use only if they tell every two engines apart.
    for a in 1..=5 {
        for b in 1..a {
            let of = |number| {
                digests
                    .iter()
                    .filter(move |row| row.1 == number)
                    .map(|row| (&row.0, &row.2))
            };
            assert!(
                of(a).count() > 0 && !of(a).eq(of(b)),
                "no vector tells engines {a} and {b} apart"
            );
        }
    }
}

#[test]
fn the_worked_normal_form_is_what_the_code_reads_and_writes() {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, text) in [
        ("Cargo.toml", "[package]\n"),
        ("src/lib.rs", "//! Demo.\npub fn f() {}\n"),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        let path = format!("demo-1.0.0/{path}");
        builder.append_data(&mut header, path, text.as_bytes()).unwrap();
    }
    let tar = builder.into_inner().unwrap();
    let content: Vec<u8> = rows("R 17.10").iter().flat_map(|row| unhex(&row[2])).collect();
    assert_eq!(normal_form::encode(&tar).unwrap(), content);
    let form = NormalForm::parse(&content).unwrap();
    assert!(form.tar().unwrap() == tar);
    assert!(SPEC.contains(&format!("{} bytes\nwith SHA-256 `{}`", tar.len(), Digest::of(&tar))));
}
