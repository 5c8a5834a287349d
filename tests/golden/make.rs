//! How the golden archive of format 1 and the bad files beside it were made, with
//! nothing but the format's own encoders: fixed ids and times, no writer, so that
//! every corner of the format is in it whether or not today's writer uses it.

use cratehold::deflate::{Engine, Recipe, redo};
use cratehold::format::head::{ExtraEntry, Head, PackEntry, SegmentEntry};
use cratehold::format::index::{self, Entry, EntryKind};
use cratehold::format::manifest::{EventKind, Transaction};
use cratehold::format::manifest_event::{Event, Events};
use cratehold::format::manifest_write;
use cratehold::format::normal_form;
use cratehold::format::pack::{PackHeader, RecordMeta};
use cratehold::format::pages;
use cratehold::ids::Digest;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, HashMap};

/// A file tree: path to bytes.
pub type Files = BTreeMap<String, Vec<u8>>;

const ARCHIVE_ID: [u8; 16] = *b"golden archive 1";
/// 2023-11-14 22:13:20 UTC; each commit is one second later.
const TIME: u64 = 1_700_000_000;

/// Pseudo-random bytes: `noise(1, n)` of the spec.
fn noise(bytes: usize) -> Vec<u8> {
    let mut x = 1u64;
    let step = |_| {
        x = x
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (x >> 33) as u8
    };
    (0..bytes).map(step).collect()
}

fn tar(name: &str, version: &str, source: &[u8]) -> Vec<u8> {
    let manifest = format!("[package]\nname = \"{name}\"\nversion = \"{version}\"\n");
    let mut builder = tar::Builder::new(Vec::new());
    for (path, bytes) in [("Cargo.toml", manifest.as_bytes()), ("src/lib.rs", source)] {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder
            .append_data(&mut header, format!("{name}-{version}/{path}"), bytes)
            .unwrap();
    }
    builder.into_inner().unwrap()
}

fn source(lines: usize, salt: usize) -> Vec<u8> {
    let line = |i: usize| format!("pub fn f{i}() -> u32 {{ {} }}\n", (i + salt / 7) * 7919 % 1009);
    (0..lines).map(line).collect::<String>().into_bytes()
}

fn trailer(tar: &[u8]) -> Vec<u8> {
    [crc32fast::hash(tar).to_le_bytes(), (tar.len() as u32).to_le_bytes()].concat()
}

/// What is special about a crate file.
#[derive(Clone, Copy, PartialEq)]
enum Shape {
    /// As cargo makes it.
    Usual(Engine),
    /// With a bare gzip header and bytes behind the trailer.
    Odd(Engine),
    /// Deflated as one stored block, which no engine does with text.
    Stored,
}

/// The archive while it is put together.
#[derive(Default)]
struct Maker {
    packs: BTreeMap<u32, Vec<u8>>,
    /// Content, chain depth and chain bytes of each object.
    held: HashMap<Digest, (Vec<u8>, u32, u64)>,
    entries: BTreeMap<Digest, Entry>,
    events: Events,
    extras: Vec<ExtraEntry>,
    generation: u64,
    files: Files,
}

impl Maker {
    fn new_pack(&mut self, pack: u32, archive_id: [u8; 16], number: u32) {
        let header = PackHeader {
            format_version: 1,
            archive_id,
            pack: number,
        };
        self.packs.insert(pack, header.encode());
    }

    /// Appends a crate file to the newest pack; returns its digest.
    fn store(&mut self, name: &str, version: &str, source: &[u8], shape: Shape, base: Option<Digest>) -> Digest {
        self.store_tar(name, version, tar(name, version, source), shape, base, false)
    }

    /// As [`Maker::store`], of any tar; stored in its normal form if asked for.
    fn store_tar(
        &mut self,
        name: &str,
        version: &str,
        tar: Vec<u8>,
        shape: Shape,
        base: Option<Digest>,
        is_normal: bool,
    ) -> Digest {
        let named = |os: u8| {
            [
                &[0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 2, os],
                format!("{name}-{version}.crate\0").as_bytes(),
            ]
            .concat()
        };
        let (os, header, trailer) = match shape {
            Shape::Usual(engine) => {
                let os = if engine == Engine::Miniz9 { 3 } else { 255 };
                (os, named(os), trailer(&tar))
            }
            Shape::Odd(_) => (
                7,
                vec![0x1f, 0x8b, 8, 0, 1, 2, 3, 4, 0, 7],
                [trailer(&tar), vec![0, 0, 0]].concat(),
            ),
            Shape::Stored => (255, named(255), trailer(&tar)),
        };
        let (crate_file, engine) = match shape {
            Shape::Usual(engine) | Shape::Odd(engine) => {
                let recipe = Recipe {
                    engine,
                    header: header.clone(),
                    trailer: trailer.clone(),
                };
                (redo(&tar, &recipe), engine.number())
            }
            Shape::Stored => {
                let length = tar.len() as u16;
                let block = [&[1][..], &length.to_le_bytes(), &(!length).to_le_bytes(), &tar].concat();
                ([&header[..], &block, &trailer].concat(), 0)
            }
        };
        let digest = Digest::of(&crate_file);
        let odd = matches!(shape, Shape::Odd(_));
        let meta = RecordMeta {
            kind: 1,
            digest: digest.0,
            name: name.into(),
            version: version.into(),
            crate_bytes: crate_file.len() as u64,
            engine,
            gzip_os: if engine == 0 { 0 } else { os },
            gzip_header: odd.then_some(header),
            gzip_trailer: odd.then_some(trailer),
            transform: u8::from(is_normal),
            ..blank()
        };
        let content = match engine {
            0 => crate_file,
            _ if is_normal => normal_form::encode(&tar).unwrap(),
            _ => tar,
        };
        self.append(meta, content, base);
        digest
    }

    fn append(&mut self, mut meta: RecordMeta, content: Vec<u8>, base: Option<Digest>) {
        let below = base.map(|base| &self.held[&base]);
        let frame = compress(&content, below.map(|(content, _, _)| &content[..]));
        meta.content_bytes = content.len() as u64;
        meta.content_crc32 = crc32fast::hash(&content);
        meta.frame_bytes = frame.len() as u64;
        meta.frame_crc32 = crc32fast::hash(&frame);
        meta.base = base.map(|base| base.0);
        meta.chain_depth = below.map_or(0, |(_, depth, _)| depth + 1);
        meta.chain_bytes = content.len() as u64 + below.map_or(0, |(_, _, bytes)| *bytes);
        let record = [meta.encode(), frame].concat();
        let (&pack, bytes) = self.packs.iter_mut().next_back().unwrap();
        let entry = Entry {
            digest: meta.id(),
            pack,
            record_offset: bytes.len() as u32,
            record_bytes: record.len() as u32,
            crate_bytes: meta.crate_bytes as u32,
            content_bytes: meta.content_bytes as u32,
            chain_bytes: meta.chain_bytes,
            // Written before entries had it.
            held_since: 0,
            kind: if meta.kind == 2 {
                EntryKind::Seed
            } else {
                EntryKind::Blob
            },
            engine: meta.engine,
            chain_depth: meta.chain_depth as u8,
        };
        bytes.extend(record);
        self.entries.insert(entry.digest, entry);
        self.held
            .insert(entry.digest, (content, meta.chain_depth, meta.chain_bytes));
    }

    /// Notes an event whose text is the registry's line.
    fn note(&mut self, kind: EventKind, name: &str, version: &str, digest: Digest, yanked: bool) {
        let line = format!(
            r#"{{"name":"{name}","vers":"{version}","deps":[],"cksum":"{digest}","features":{{}},"yanked":{yanked}}}"#
        );
        let text = (kind != EventKind::Removed).then(|| line.into_bytes());
        self.event(
            name,
            Event {
                kind,
                yanked,
                generation: 0,
                version: version.into(),
                digest: Some(digest),
                text,
            },
        );
    }

    fn event(&mut self, name: &str, event: Event) {
        self.events.push(
            name,
            Event {
                generation: self.generation,
                ..event
            },
        );
    }

    fn etag(&mut self, name: &str, tag: &str) {
        let text = Some(tag.as_bytes().to_vec());
        let event = Event {
            kind: EventKind::Etag,
            yanked: false,
            generation: 0,
            version: String::new(),
            digest: None,
            text,
        };
        self.event(name, event);
    }

    fn publish(&mut self, name: String, bytes: Vec<u8>) -> SegmentEntry {
        let sha256 = Sha256::digest(&bytes).into();
        let entry = SegmentEntry {
            generation: self.generation,
            bytes: bytes.len() as u64,
            sha256,
        };
        self.files.insert(name, bytes);
        entry
    }

    /// The head of the next generation, with a new segment of each kind.
    fn commit(&mut self, old: &Head, cursor: &str) -> Head {
        let entries: Vec<Entry> = std::mem::take(&mut self.entries).into_values().collect();
        let events = std::mem::take(&mut self.events);
        let generation = self.generation;
        let mut transaction = Transaction {
            generation,
            parent: old.root,
            time: TIME + generation,
            registry: "https://registry.example/index".into(),
            cursor: cursor.into(),
            source: "sync".into(),
            event_count: 0,
            hash: [0; 32],
        };
        events.seal(&mut transaction);
        let root = transaction.hash;
        let index = self.publish(
            format!("index/{generation:08}.idx"),
            index::encode(generation, &entries),
        );
        let manifest = manifest_write::encode(generation, &[transaction], &events).unwrap();
        let manifest = self.publish(format!("manifest/{generation:08}.man"), manifest);
        let packs = self.packs.iter().map(|(&pack, bytes)| PackEntry {
            pack,
            bytes: bytes.len() as u64,
            sealed: self.packs.keys().last() != Some(&pack),
        });
        let head = Head {
            generation,
            time: TIME + generation,
            previous_head: old.hash(),
            root,
            extras: self.extras.clone(),
            packs: packs.collect(),
            indexes: [old.indexes.clone(), vec![index]].concat(),
            manifests: [old.manifests.clone(), vec![manifest]].concat(),
            ..old.clone()
        };
        self.files.insert(format!("head{}", generation % 2), head.encode());
        self.generation += 1;
        head
    }
}

fn blank() -> RecordMeta {
    RecordMeta {
        kind: 1,
        digest: [0; 32],
        name: String::new(),
        version: String::new(),
        crate_bytes: 0,
        content_bytes: 0,
        content_crc32: 0,
        frame_bytes: 0,
        frame_crc32: 0,
        base: None,
        chain_depth: 0,
        chain_bytes: 0,
        transform: 0,
        engine: 0,
        gzip_os: 0,
        gzip_header: None,
        gzip_trailer: None,
    }
}

/// A tar of every kind of header that is met: old, GNU and ustar ones, a long path in
/// each way, times and owners, a folder, sums and times as older writers put them.
fn odd_tar(name: &str, version: &str) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let top = format!("{name}-{version}");
    let deep = format!("{top}/{}/{}", "folder/".repeat(9), "name-".repeat(12));
    let long = format!("{top}/{}", "folder/".repeat(20));
    type Odd = fn(&mut tar::Header);
    let members: [(&str, tar::Header, Odd); 7] = [
        ("Cargo.toml", tar::Header::new_old(), |header| header.set_uid(1000)),
        ("src/lib.rs", tar::Header::new_gnu(), |header| {
            header.set_mtime(1_420_070_400);
        }),
        ("src/a.rs", tar::Header::new_gnu(), |header| {
            header.set_mtime(1_420_070_401);
        }),
        ("src/", tar::Header::new_ustar(), |header| {
            header.set_entry_type(tar::EntryType::Directory);
        }),
        (&deep, tar::Header::new_ustar(), |header| {
            header.set_username("someone").unwrap();
        }),
        (&long, tar::Header::new_gnu(), |header| header.set_mode(0o755)),
        ("notime", tar::Header::new_gnu(), |header| {
            header.as_mut_bytes()[136..148].fill(0);
        }),
    ];
    for (i, (path, mut header, odd)) in members.into_iter().enumerate() {
        let body = match path.ends_with('/') && i == 3 {
            true => Vec::new(),
            false => source(10 * i, i),
        };
        header.set_size(body.len() as u64);
        header.set_mode(0o644);
        odd(&mut header);
        let path = match path.starts_with(&top) {
            true => format!("{path}x"),
            false => format!("{top}/{path}"),
        };
        builder.append_data(&mut header, path, &body[..]).unwrap();
    }
    builder.into_inner().unwrap()
}

/// A small archive of objects with transform 1, some against bases without it and the
/// other way round; with what its crate files hold.
pub fn normal_archive() -> (Files, Vec<(Digest, Vec<u8>)>) {
    let mut maker = Maker {
        generation: 1,
        ..Maker::default()
    };
    maker.new_pack(1, ARCHIVE_ID, 1);
    let mut tars = Vec::new();
    let mut base = None;
    let usual = Engine::ALL.into_iter().map(Shape::Usual);
    let shapes = usual.chain([Shape::Odd(Engine::Zlib9Mem8), Shape::Stored]);
    for (i, shape) in shapes.enumerate() {
        let version = format!("1.0.{i}");
        // The second as it is, so that bases of both kinds have records of both on them.
        let is_normal = i != 1 && shape != Shape::Stored;
        let bytes = tar("normal", &version, &source(150 + i, i));
        let digest = maker.store_tar("normal", &version, bytes.clone(), shape, base, is_normal);
        base = (shape != Shape::Stored).then_some(digest);
        maker.note(EventKind::Added, "normal", &version, digest, false);
        tars.push((digest, bytes));
    }
    let bytes = odd_tar("normal", "2.0.0");
    let shape = Shape::Usual(Engine::Zlib9Mem8);
    let digest = maker.store_tar("normal", "2.0.0", bytes.clone(), shape, None, true);
    maker.note(EventKind::Added, "normal", "2.0.0", digest, false);
    tars.push((digest, bytes));
    let empty = Head {
        archive_id: ARCHIVE_ID,
        incompatible_features: 0,
        write_features: 0,
        generation: 0,
        time: TIME,
        previous_head: [0; 32],
        root: [0; 32],
        packs: Vec::new(),
        indexes: Vec::new(),
        manifests: Vec::new(),
        extras: Vec::new(),
    };
    maker.files.insert("head0".into(), empty.encode());
    maker.commit(&empty, "");
    for (pack, bytes) in &maker.packs {
        maker.files.insert(format!("packs/{pack:08}.pak"), bytes.clone());
    }
    (maker.files, tars)
}

/// A zstd frame with `base` as raw-content prefix. [R 5.7]
fn compress(content: &[u8], base: Option<&[u8]>) -> Vec<u8> {
    use zstd::zstd_safe::{CCtx, CParameter, compress_bound};
    let mut context = CCtx::create();
    context.set_parameter(CParameter::CompressionLevel(19)).unwrap();
    context.set_parameter(CParameter::WindowLog(18)).unwrap();
    if let Some(base) = base {
        context.ref_prefix(base).unwrap();
    }
    let mut frame = Vec::with_capacity(compress_bound(content.len()));
    context.compress2(&mut frame, content).unwrap();
    frame
}

/// The golden archive: two commits, three packs, every engine, every event kind.
pub fn archive() -> Files {
    use EventKind::*;
    let mut maker = Maker {
        generation: 1,
        ..Maker::default()
    };
    let empty = Head {
        archive_id: ARCHIVE_ID,
        incompatible_features: 0,
        write_features: 0,
        generation: 0,
        time: TIME,
        previous_head: [0; 32],
        root: [0; 32],
        packs: Vec::new(),
        indexes: Vec::new(),
        manifests: Vec::new(),
        extras: Vec::new(),
    };

    // Commit 1. Pack 1 is the archive's own: a seed, and one chain that every
    // engine has a part in.
    maker.new_pack(1, ARCHIVE_ID, 1);
    let content = source(60, 0);
    let seed = Digest::of(&content);
    let meta = RecordMeta {
        kind: 2,
        digest: seed.0,
        crate_bytes: content.len() as u64,
        ..blank()
    };
    maker.append(meta, content, None);
    let (mut base, mut alpha) = (seed, Vec::new());
    for (i, &engine) in Engine::ALL.iter().enumerate() {
        let version = format!("1.{i}.0");
        base = maker.store(
            "alpha",
            &version,
            &source(150, 20 * i),
            Shape::Usual(engine),
            Some(base),
        );
        maker.note(Added, "alpha", &version, base, false);
        alpha.push(base);
    }
    let odd = maker.store(
        "Odd-Name",
        "1.0.0+build.5",
        &source(20, 3),
        Shape::Odd(Engine::Zlib9Mem8),
        None,
    );
    maker.note(Added, "Odd-Name", "1.0.0+build.5", odd, false);
    let raw = maker.store("raw-stored", "0.1.0", &source(20, 4), Shape::Stored, None);
    maker.note(Added, "raw-stored", "0.1.0", raw, false);
    let usual = Shape::Usual(Engine::Zlib9Mem8);
    let [gone, back, first, purged] = ["gone", "back", "replaced", "purged"].map(|name| {
        let digest = maker.store(name, "0.1.0", &source(10, 5), usual, None);
        maker.note(Added, name, "0.1.0", digest, false);
        digest
    });
    let mut base = None;
    for i in 0..30 {
        let (name, version) = ("many", format!("0.0.{i}"));
        let digest = maker.store(name, &version, &source(8, 7 * i), Shape::Usual(Engine::ZlibRs06), base);
        maker.note(Added, name, &version, digest, i % 10 == 9);
        base = Some(digest);
    }
    // Pack 2 is of no archive in particular [R 5.10]. Its noise is more literals
    // than a zlib block holds at memLevel 8, and fewer than at 9.
    maker.new_pack(2, [0; 16], 0);
    let mut base = None;
    for (version, engine) in [
        ("1.0.0", Engine::Zlib9Mem9),
        ("1.0.1", Engine::Zlib9Mem8),
        ("1.0.2", Engine::ZlibRs05),
    ] {
        let digest = maker.store("noise", version, &noise(17_000), Shape::Usual(engine), base);
        maker.note(Added, "noise", version, digest, false);
        base = Some(digest);
    }
    maker.etag("alpha", "\"first\"");
    let head1 = maker.commit(&empty, "1111111111111111111111111111111111111111");

    // Commit 2: what can become of releases.
    maker.new_pack(3, ARCHIVE_ID, 3);
    maker.note(Yanked, "alpha", "1.1.0", alpha[1], true);
    maker.note(Amended, "alpha", "1.0.0", alpha[0], false);
    maker.note(Unyanked, "many", "0.0.9", Digest::of(b"no such crate file"), false);
    maker.etag("alpha", "\"second\"");
    // Stored twice: the newer entry decides, and both are right.
    assert_eq!(
        maker.store("alpha", "1.0.0", &source(150, 0), Shape::Usual(Engine::Miniz9), None),
        alpha[0]
    );
    maker.note(Removed, "gone", "0.1.0", gone, false);
    maker.note(Removed, "back", "0.1.0", back, false);
    maker.note(Restored, "back", "0.1.0", back, true);
    let second = maker.store("replaced", "0.1.0", &source(11, 5), usual, Some(first));
    maker.note(Replaced, "replaced", "0.1.0", second, false);
    maker.entries.insert(
        purged,
        Entry {
            digest: purged,
            ..Entry::purged(Digest([0; 32]))
        },
    );
    let reason = Some(b"\x02taken down on request".to_vec());
    let purge = |kind, text| Event {
        kind,
        yanked: false,
        generation: 0,
        version: "0.1.0".into(),
        digest: Some(purged),
        text,
    };
    maker.event("purged", purge(Purged, reason));
    let missing = Event {
        digest: Some(Digest([7; 32])),
        ..purge(Missing, Some(b"403".to_vec()))
    };
    maker.event("missing", missing);
    // The same name again, spelled in another way.
    let respelled = maker.store(
        "odd_name",
        "1.0.1",
        &source(20, 9),
        Shape::Usual(Engine::ZlibRs06),
        Some(odd),
    );
    maker.note(Added, "odd_name", "1.0.1", respelled, false);
    let note = b"An extra that no reader knows.\n".to_vec();
    let extra = ExtraEntry {
        path: "extra/note.txt".into(),
        bytes: note.len() as u64,
        sha256: Sha256::digest(&note).into(),
    };
    maker.files.insert(extra.path.clone(), note);
    maker.extras.push(extra);
    maker.commit(&head1, "2222222222222222222222222222222222222222");

    // What no head names: a torn append, and leavings. [R 5.14] [R 2.2]
    let mut files = maker.files;
    for (pack, mut bytes) in maker.packs {
        if pack == 3 {
            bytes.extend(b"\x5c\x2a\x4d\x18 torn");
        }
        files.insert(format!("packs/{pack:08}.pak"), bytes);
    }
    files.insert("index/00000007.idx".into(), b"left behind".to_vec());
    files
}

/// One altered file, and a part of what must be said of it.
pub struct Defect {
    pub name: &'static str,
    pub file: &'static str,
    pub bytes: Vec<u8>,
    pub says: String,
}

const HEAD: &str = "head0";
const PACK: &str = "packs/00000003.pak";
const INDEX: &str = "index/00000002.idx";
const MANIFEST: &str = "manifest/00000002.man";

/// The bad files: one defect each, all checksums right unless they are the defect.
pub fn defects(files: &Files) -> Vec<Defect> {
    let mut defects = heads(&files[HEAD]);
    defects.extend(packs(&files[PACK]));
    for (file, magic) in [(INDEX, "CRHINDX1"), (MANIFEST, "CRHMANI1")] {
        defects.extend(segments(file, magic, &files[file]));
    }
    defects.extend(indexes(&files[INDEX]));
    defects.extend(manifests(&files[MANIFEST]));
    defects
}

fn altered(bytes: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    change(&mut bytes);
    bytes
}

fn put(bytes: &mut [u8], at: usize, new: &[u8]) {
    bytes[at..at + new.len()].copy_from_slice(new);
}

fn heads(good: &[u8]) -> Vec<Defect> {
    let head = Head::decode(good).unwrap();
    let resealed = |change: &dyn Fn(&mut Vec<u8>)| {
        altered(good, |bytes| {
            change(bytes);
            let length = u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize;
            let crc = crc32fast::hash(&[&bytes[..16], &bytes[20..20 + length]].concat());
            put(bytes, 16, &crc.to_le_bytes());
        })
    };
    let with = |change: &dyn Fn(&mut Head)| {
        let mut head = head.clone();
        change(&mut head);
        head.encode()
    };
    let defect = |name, bytes, says: &str| Defect {
        name,
        file: HEAD,
        bytes,
        says: says.into(),
    };
    vec![
        defect(
            "head-magic",
            resealed(&|bytes| bytes[7] = b'2'),
            "head magic at offset 0: expected CRHHEAD1",
        ),
        defect(
            "head-version",
            resealed(&|bytes| bytes[8] = 2),
            "format version at offset 8: expected 1, found 2",
        ),
        defect(
            "head-checksum",
            altered(good, |bytes| bytes[16] ^= 1),
            "head checksum at offset 16",
        ),
        defect(
            "head-flip",
            altered(good, |bytes| bytes[60] ^= 1),
            "head checksum at offset 16",
        ),
        defect("head-empty", Vec::new(), "head at offset 0: expected 20 bytes"),
        defect("head-cut", good[..100].to_vec(), "head at offset 20"),
        defect(
            "head-length",
            altered(good, |bytes| put(bytes, 12, &[255; 4])),
            "expected 4294967295 bytes",
        ),
        defect(
            "head-left-over",
            resealed(&|bytes| {
                let length = u32::from_le_bytes(bytes[12..16].try_into().unwrap()) + 1;
                put(bytes, 12, &length.to_le_bytes());
            }),
            "expected the end, found 1 more bytes",
        ),
        defect(
            "head-feature",
            with(&|head| head.incompatible_features = 2),
            "found 0x2: a newer cratehold is needed",
        ),
        // What a feature changes need not decode; its bit must be seen first. [R 9.7]
        defect(
            "head-feature-layout",
            resealed(&|bytes| {
                bytes[36] = 2;
                put(bytes, 12, &20u32.to_le_bytes());
            }),
            "found 0x2: a newer cratehold is needed",
        ),
        defect(
            "head-root",
            with(&|head| head.root[0] ^= 1),
            "root hash is not that of the newest transaction",
        ),
        defect(
            "head-pack-missing",
            with(&|head| head.packs[0].pack = 8),
            "packs/00000008.pak",
        ),
        defect(
            "head-pack-short",
            with(&|head| head.packs[2].bytes = 1 << 40),
            "expected at least 1099511627776 bytes",
        ),
        defect(
            "head-segment-length",
            with(&|head| head.indexes[1].bytes += 1),
            "segment length by the head",
        ),
        defect(
            "head-segment-other",
            with(&|head| head.manifests[1].sha256 = [0; 32]),
            "its SHA-256 is not the one in the head",
        ),
    ]
}

/// Where the records of a pack begin, with their metadata and frames.
fn records(pack: &[u8]) -> Vec<(usize, RecordMeta, Vec<u8>)> {
    let mut at = PackHeader::decode(pack).unwrap().1 as usize;
    let mut records = Vec::new();
    while let Ok((meta, end)) = RecordMeta::decode(&pack[at..]) {
        let start = at + end as usize;
        let frame = pack[start..start + meta.frame_bytes as usize].to_vec();
        let next = start + frame.len();
        records.push((at, meta, frame));
        at = next;
    }
    records
}

fn packs(good: &[u8]) -> Vec<Defect> {
    let records = records(good);
    // The last record: odd_name@1.0.1, against a base in another pack.
    let (at, meta, frame) = records.last().unwrap().clone();
    let header = |change: &dyn Fn(&mut PackHeader)| {
        let (mut header, end) = PackHeader::decode(good).unwrap();
        change(&mut header);
        altered(good, |bytes| put(&mut bytes[..end as usize], 0, &header.encode()))
    };
    let with = |change: &dyn Fn(&mut RecordMeta, &mut Vec<u8>)| {
        let (mut meta, mut frame) = (meta.clone(), frame.clone());
        change(&mut meta, &mut frame);
        altered(good, |bytes| put(bytes, at, &[meta.encode(), frame].concat()))
    };
    let flip = |at: usize| altered(good, |bytes| bytes[at] ^= 1);
    let defect = |name, bytes, says: &str| Defect {
        name,
        file: PACK,
        bytes,
        says: says.into(),
    };
    vec![
        defect(
            "pack-magic",
            flip(0),
            "pack header at offset 0: expected magic 184d2a5b",
        ),
        defect(
            "pack-version",
            header(&|header| header.format_version = 2),
            "pack format version at offset 8: expected 1",
        ),
        defect("pack-header-checksum", flip(12), "pack header at offset 0"),
        defect("pack-cut", good[..at].to_vec(), "expected at least"),
        defect(
            "record-magic",
            flip(at),
            "record metadata at offset 0: expected magic 184d2a5c",
        ),
        defect(
            "record-length",
            altered(good, |bytes| put(bytes, at + 4, &[255; 4])),
            "a length from 4 to 1048576",
        ),
        defect(
            "record-checksum",
            flip(at + 20),
            "record metadata at offset 0: expected",
        ),
        defect(
            "record-kind",
            with(&|meta, _| meta.kind = 9),
            "record kind at offset 8: expected 1 or 2, found 9",
        ),
        // What has this transform by mistake is no normal form.
        defect(
            "record-transform",
            with(&|meta, _| meta.transform = 1),
            "normal form of a tar at offset",
        ),
        defect(
            "record-unknown-transform",
            with(&|meta, _| meta.transform = 2),
            "content transform at offset 8: expected 0 or 1 (or a newer cratehold), found 2",
        ),
        defect(
            "record-engine",
            with(&|meta, _| meta.engine = 99),
            "needs engine 99: a newer cratehold is needed",
        ),
        defect(
            "record-wrong-engine",
            with(&|meta, _| meta.engine = 1),
            "the crate file came out as",
        ),
        defect(
            "record-digest",
            with(&|meta, _| meta.digest[0] ^= 1),
            "the record there is of",
        ),
        defect(
            "record-base-not-held",
            with(&|meta, _| meta.base = Some([7; 32])),
            "its base 0707070707",
        ),
        defect(
            "record-base-loop",
            with(&|meta, _| meta.base = Some(meta.digest)),
            "its chain has more than 10000 frames",
        ),
        defect(
            "record-base-other",
            with(&|meta, _| meta.base = Some(records[0].1.digest)),
            "odd_name@1.0.1",
        ),
        defect(
            "record-content-length",
            with(&|meta, _| meta.content_bytes -= 1),
            "odd_name@1.0.1",
        ),
        defect(
            "record-content-checksum",
            with(&|meta, _| meta.content_crc32 ^= 1),
            "content checksum",
        ),
        defect(
            "frame-flip",
            flip(at + meta.encode().len() + frame.len() - 1),
            "frame checksum",
        ),
        defect(
            "frame-not-zstd",
            with(&|meta, frame| {
                frame[0] ^= 1;
                meta.frame_crc32 = crc32fast::hash(frame);
            }),
            "Unknown frame descriptor",
        ),
    ]
}

const PAGE_BYTES: usize = 4096;

/// Makes every checksum of an altered segment right again.
fn reseal(mut bytes: Vec<u8>) -> Vec<u8> {
    let pages = bytes.len() / (PAGE_BYTES + 4);
    put(&mut bytes, 12, &[0; 4]);
    let crc = crc32fast::hash(&bytes[..PAGE_BYTES]);
    put(&mut bytes, 12, &crc.to_le_bytes());
    for page in 1..=pages {
        let crc = crc32fast::hash(&bytes[page * PAGE_BYTES..(page + 1) * PAGE_BYTES]);
        put(
            &mut bytes,
            (pages + 1) * PAGE_BYTES + 4 * (page - 1),
            &crc.to_le_bytes(),
        );
    }
    bytes
}

/// The header's own field `i` of a segment.
fn field(bytes: &[u8], i: usize) -> usize {
    u64::from_le_bytes(bytes[32 + 8 * i..40 + 8 * i].try_into().unwrap()) as usize
}

/// Defects that both kinds of segment can have.
fn segments(file: &'static str, magic: &str, good: &[u8]) -> Vec<Defect> {
    let names: [&'static str; 8] = match file {
        INDEX => [
            "index-magic",
            "index-version",
            "index-header-checksum",
            "index-page-checksum",
            "index-cut",
            "index-length",
            "index-generation",
            "index-empty",
        ],
        _ => [
            "manifest-magic",
            "manifest-version",
            "manifest-header-checksum",
            "manifest-page-checksum",
            "manifest-cut",
            "manifest-length",
            "manifest-generation",
            "manifest-empty",
        ],
    };
    let resealed = |change: &dyn Fn(&mut Vec<u8>)| reseal(altered(good, change));
    let bytes = [
        resealed(&|bytes| bytes[7] = b'9'),
        resealed(&|bytes| bytes[8] = 2),
        altered(good, |bytes| bytes[12] ^= 1),
        altered(good, |bytes| bytes[PAGE_BYTES + 70] ^= 1),
        good[..good.len() - 1].to_vec(),
        resealed(&|bytes| put(bytes, 24, &[255; 8])),
        resealed(&|bytes| bytes[16] = 3),
        Vec::new(),
    ];
    let says = [
        &format!("segment magic at offset 0: expected {magic}"),
        "segment format version at offset 8: expected 1, found 2",
        "segment header checksum at offset 12",
        "segment page checksum at offset 4096",
        "segment length at offset 24",
        "segment length at offset 24: expected a possible length",
        "segment generation at offset 16: expected 2, found 3",
        "segment header at offset 0: expected 4096 bytes",
    ];
    let defect = |((name, bytes), says): ((&'static str, Vec<u8>), &str)| Defect {
        name,
        file,
        bytes,
        says: says.into(),
    };
    names.into_iter().zip(bytes).zip(says).map(defect).collect()
}

fn indexes(good: &[u8]) -> Vec<Defect> {
    let entries = PAGE_BYTES + field(good, 2);
    let resealed = |change: &dyn Fn(&mut Vec<u8>)| reseal(altered(good, change));
    let defect = |name, bytes, says: &str| Defect {
        name,
        file: INDEX,
        bytes,
        says: says.into(),
    };
    // The entry of the last record of pack 3.
    let offset = |at: usize| u32::from_le_bytes(good[at + 36..at + 40].try_into().unwrap());
    let odd_name = (0..field(good, 0))
        .map(|i| entries + 64 * i)
        .max_by_key(|&at| offset(at))
        .unwrap();
    vec![
        defect("index-count", resealed(&|bytes| bytes[32] += 1), "index layout"),
        defect("index-fanout-bits", resealed(&|bytes| bytes[40] = 60), "index layout"),
        defect(
            "index-entries-offset",
            resealed(&|bytes| put(bytes, 48, &[255; 8])),
            "index layout",
        ),
        defect(
            "index-fanout",
            resealed(&|bytes| bytes[PAGE_BYTES + 4] = 1),
            "index fanout",
        ),
        defect("index-unsorted", resealed(&|bytes| bytes[entries] = 255), "index order"),
        defect(
            "index-twice",
            resealed(&|bytes| bytes.copy_within(entries..entries + 32, entries + 64)),
            "index order",
        ),
        defect(
            "index-kind",
            resealed(&|bytes| bytes[entries + 60] = 9),
            "index entry kind at offset 60: expected 1, 2 or 3",
        ),
        defect(
            "index-pack",
            resealed(&|bytes| bytes[odd_name + 32] = 9),
            "packs/00000009.pak",
        ),
        defect(
            "index-offset",
            resealed(&|bytes| bytes[odd_name + 39] = 255),
            "in packs/00000003.pak at offset 42",
        ),
        defect(
            "index-record-length",
            resealed(&|bytes| bytes[odd_name + 40] ^= 1),
            "frame length",
        ),
    ]
}

/// The one block of a manifest segment, taken apart.
struct Block {
    /// Records, events, digests, text frames, as the header says.
    counts: [u32; 4],
    records: Vec<u8>,
    digests: Vec<u8>,
    /// Each frame's count of texts, and the texts.
    texts: Vec<(u32, Vec<u8>)>,
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

impl Block {
    fn of(bytes: &[u8]) -> Block {
        let counts = [8, 12, 16, 20].map(|at| number(bytes, at));
        let mut at = 24 + 12 * counts[3] as usize;
        let mut take = |length: u32| {
            at += length as usize;
            &bytes[at - length as usize..at]
        };
        let unzstd = |frame: &[u8], length: u32| zstd::bulk::decompress(frame, length as usize).unwrap();
        let records = unzstd(take(number(bytes, 0)), number(bytes, 4));
        let digests = take(32 * counts[2]).to_vec();
        let texts = (0..counts[3] as usize).map(|i| {
            let entry = &bytes[24 + 12 * i..36 + 12 * i];
            (number(entry, 8), unzstd(take(number(entry, 0)), number(entry, 4)))
        });
        Block {
            counts,
            texts: texts.collect(),
            records,
            digests,
        }
    }

    fn encode(&self) -> Vec<u8> {
        let records = compress(&self.records, None);
        let frames: Vec<Vec<u8>> = self.texts.iter().map(|(_, text)| compress(text, None)).collect();
        let mut numbers = vec![records.len() as u32, self.records.len() as u32];
        numbers.extend(self.counts);
        for ((count, text), frame) in self.texts.iter().zip(&frames) {
            numbers.extend([frame.len() as u32, text.len() as u32, *count]);
        }
        let numbers: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        [numbers, records, self.digests.clone(), frames.concat()].concat()
    }
}

/// A manifest segment with a change in its one block.
fn rebuilt(good: &[u8], change: &dyn Fn(&mut Block)) -> Vec<u8> {
    let section = |i: usize| &good[PAGE_BYTES + field(good, 2 * i)..][..field(good, 2 * i + 1)];
    assert_eq!(section(2).len(), 24, "one block");
    let mut block = Block::of(section(1));
    change(&mut block);
    let sections = [section(0), &block.encode(), section(2)];
    let (mut fields, mut body) = (Vec::new(), Vec::new());
    for section in sections {
        fields.extend([body.len() as u64, section.len() as u64]);
        body.extend_from_slice(section);
    }
    fields.extend([field(good, 6) as u64, field(good, 7) as u64]);
    let generation = u64::from_le_bytes(good[16..24].try_into().unwrap());
    pages::encode(b"CRHMANI1", generation, &fields, &body)
}

fn manifests(good: &[u8]) -> Vec<Defect> {
    let section = |i: usize| PAGE_BYTES + field(good, 2 * i);
    let (transactions, blocks, directory) = (section(0), section(1), section(2));
    let resealed = |change: &dyn Fn(&mut Vec<u8>)| reseal(altered(good, change));
    let rebuilt = |change: &dyn Fn(&mut Block)| rebuilt(good, change);
    let defect = |name, bytes, says: &str| Defect {
        name,
        file: MANIFEST,
        bytes,
        says: says.into(),
    };
    // The first record is alpha's: length, name, three counts; then its first event.
    let block = Block::of(&good[blocks..]);
    let event = block.records.windows(5).position(|window| window == b"alpha").unwrap() + 8;
    assert_eq!(
        block.records[event] & 0x1f,
        EventKind::Yanked as u8,
        "the first event of alpha"
    );
    assert_eq!(block.counts[3], 1, "one text frame");
    let texts = blocks + 36 + number(good, blocks) as usize + block.digests.len();
    vec![
        defect(
            "manifest-section",
            resealed(&|bytes| put(bytes, 40, &[255; 4])),
            "manifest section at offset 32",
        ),
        defect(
            "manifest-section-overflow",
            resealed(&|bytes| put(bytes, 32, &[255; 8])),
            "manifest section at offset 32",
        ),
        defect(
            "manifest-directory-part",
            resealed(&|bytes| bytes[72] -= 1),
            "manifest directory at offset 64",
        ),
        defect(
            "manifest-directory-offset",
            resealed(&|bytes| bytes[directory + 23] = 1),
            "manifest directory",
        ),
        defect(
            "manifest-transactions",
            resealed(&|bytes| bytes[transactions] = 200),
            "transactions at offset 0",
        ),
        defect(
            "manifest-parent",
            resealed(&|bytes| bytes[transactions + 2] ^= 1),
            "hash chain breaks at snapshot 2",
        ),
        defect(
            "manifest-cursor",
            resealed(&|bytes| {
                let at = bytes.windows(8).position(|window| window == b"22222222").unwrap();
                bytes[at] = b'3';
            }),
            "hash chain breaks at snapshot 2",
        ),
        defect(
            "manifest-block-records",
            resealed(&|bytes| put(bytes, blocks, &[255; 4])),
            "crate block",
        ),
        defect(
            "manifest-block-frames",
            resealed(&|bytes| put(bytes, blocks + 20, &[255; 4])),
            "crate block",
        ),
        defect(
            "manifest-block-counts",
            resealed(&|bytes| bytes[blocks + 8] += 1),
            "manifest counts",
        ),
        defect(
            "manifest-digest-left",
            rebuilt(&|block| {
                block.counts[2] += 1;
                block.digests.extend([7; 32]);
            }),
            "records, digests and texts",
        ),
        defect(
            "manifest-records-frame",
            resealed(&|bytes| bytes[blocks + 36] ^= 1),
            "crate records at offset 0: expected a zstd frame",
        ),
        defect(
            "manifest-record-length",
            rebuilt(&|block| block.records[0] = 251),
            "crate record",
        ),
        defect(
            "manifest-record-count",
            rebuilt(&|block| block.records[event - 3] = 250),
            "crate record",
        ),
        defect(
            "manifest-record-digests",
            rebuilt(&|block| block.records[event - 2] = 250),
            "crate record",
        ),
        defect(
            "manifest-event-kind",
            rebuilt(&|block| block.records[event] |= 0x1f),
            "event kind at offset 0: expected 1 to 10, found 31",
        ),
        defect(
            "manifest-event-flags",
            rebuilt(&|block| block.records[event] ^= 0x40),
            "hash chain breaks at snapshot 2",
        ),
        defect(
            "manifest-event-stray",
            rebuilt(&|block| block.records[event + 1] = 1),
            "events belong to no transaction",
        ),
        defect(
            "manifest-text-oversized",
            resealed(&|bytes| put(bytes, blocks + 28, &[255; 4])),
            "text frame",
        ),
        defect(
            "manifest-text-length",
            resealed(&|bytes| bytes[blocks + 28] ^= 1),
            "text frame",
        ),
        defect(
            "manifest-text-frame",
            resealed(&|bytes| bytes[texts] ^= 1),
            "text frame at offset 0: expected a zstd frame",
        ),
        defect(
            "manifest-text-outside",
            resealed(&|bytes| put(bytes, blocks + 24, &[255; 4])),
            "crate block",
        ),
        defect(
            "manifest-text-count",
            rebuilt(&|block| block.texts[0].0 += 1),
            "records, digests and texts",
        ),
        defect(
            "manifest-text-kept",
            rebuilt(&|block| block.texts[0].1[0] = 200),
            "event text at offset 0: expected at most 0 bytes of the text before, found 200",
        ),
        defect(
            "manifest-text-zero",
            rebuilt(&|block| block.texts[0].1[4] = 0),
            "event text at offset 0: expected no byte 0 within, found one",
        ),
    ]
}
