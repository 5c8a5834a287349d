//! What each fuzz target does with its bytes: it must neither panic nor hang, and what it
//! checks must hold. Driven by libFuzzer (`fuzz_targets/`) and, with seeded random
//! bytes, by the ordinary test `tests/fuzz.rs`, which also replays what was found.
//!
//! Structures under a checksum get it put right first: or no change would pass it.

#[path = "../../tests/crash/medium.rs"]
#[allow(dead_code)]
mod medium;

use cratehold::archive::{
    Archive, CommitInfo, Depth, EncodeOptions, RepairOptions, Writer, release_of, repair_on, tar_files, unpack_tar,
};
use cratehold::deflate::{self, Engine, Recipe};
use cratehold::format::bundle::{PART_MAGIC, Part, VOLUME_MAGIC, VolumeHeader, directory};
use cratehold::format::head::Head;
use cratehold::format::index::IndexSegment;
use cratehold::format::manifest::{EventKind, ManifestSegment};
use cratehold::format::manifest_event::{Event, each_event};
use cratehold::format::normal_form::{self, NormalForm};
use cratehold::format::pack::{self, PackHeader, RecordMeta};
use cratehold::format::pages;
use cratehold::format::recovery;
use cratehold::ids::{Digest, Release};
use cratehold::registry::{
    CRATES_IO, DownloadTemplate, Http, HttpOptions, IndexConfig, IndexFile, Stop, parse_lockfile, retry_after,
};
use medium::{Image, Recorder};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

/// A target: hands bytes to what is tested.
type Target = fn(&[u8]);

/// Every target by name.
pub const TARGETS: &[(&str, Target)] = &[
    ("head", head),
    ("pack_record", pack_record),
    ("bundle", bundle),
    ("index_segment", index_segment),
    ("manifest", manifest),
    ("gzip", gzip),
    ("recipe", recipe),
    ("registry_line", registry_line),
    ("lockfile", lockfile),
    ("config_json", config_json),
    ("tar_walk", tar_walk),
    ("http_answer", http_answer),
    ("operations", operations),
    ("engines", engines),
    ("recovery", recovery_file),
    ("normal_form", normal_form),
];

fn crc_of(parts: &[&[u8]]) -> [u8; 4] {
    let mut crc = crc32fast::Hasher::new();
    parts.iter().for_each(|part| crc.update(part));
    crc.finalize().to_le_bytes()
}

/// A head file, as it is and with its length and checksum put right.
pub fn head(data: &[u8]) {
    let check = |bytes: &[u8]| {
        if let Ok(head) = Head::decode(bytes) {
            assert_eq!(Head::decode(&head.encode()).as_ref(), Ok(&head));
        }
    };
    check(data);
    let mut bytes = b"CRHHEAD1\x01\0\0\0".to_vec();
    bytes.extend((data.len() as u32).to_le_bytes());
    bytes.extend(crc_of(&[&bytes, data]));
    bytes.extend(data);
    check(&bytes);
}

/// A volume's header, a part and a directory.
pub fn bundle(data: &[u8]) {
    let framed = |magic: u32| {
        let length = (data.len() as u32 + 4).to_le_bytes();
        [&magic.to_le_bytes(), &length, data, &crc_of(&[data])].concat()
    };
    let bytes = framed(VOLUME_MAGIC);
    if let Ok((header, end)) = VolumeHeader::decode(&bytes) {
        assert_eq!(end, bytes.len() as u64);
        assert_eq!(
            VolumeHeader::decode(&header.encode()).map(|(again, _)| again),
            Ok(header.clone())
        );
        let (first, last) = (header.objects_of(1), header.objects_of(header.volumes()));
        assert!(first.start == 0 && last.end == header.all_objects());
        assert!(header.root() == header.base.hash || !header.chain.is_empty());
        let _ = header.id(data);
    }
    if let Ok((part, _)) = Part::decode(&framed(PART_MAGIC)) {
        assert_eq!(Part::decode(&part.clone().encode()).map(|(again, _)| again), Ok(part));
    }
    let _ = VolumeHeader::decode(data);
    let _ = Part::decode(data);
    assert_eq!(directory(data, data.len() / 32).is_ok(), data.len().is_multiple_of(32));
}

/// A pack's header and a record.
pub fn pack_record(data: &[u8]) {
    let check = |bytes: &[u8]| {
        let _ = PackHeader::decode(bytes);
        if let Ok((meta, at)) = RecordMeta::decode(bytes) {
            let frame = bytes.get(at as usize..).unwrap_or_default();
            let _ = pack::check_frame(&meta, frame);
            let _ = pack::check_content(&meta, frame);
            assert_eq!(RecordMeta::decode(&meta.encode()).map(|(again, _)| again), Ok(meta));
        }
    };
    check(data);
    for magic in [pack::PACK_MAGIC, pack::RECORD_MAGIC] {
        let mut bytes = magic.to_le_bytes().to_vec();
        bytes.extend((data.len() as u32 + 4).to_le_bytes());
        bytes.extend(data);
        bytes.extend(crc_of(&[data]));
        check(&bytes);
    }
}

/// The header's own fields from the front of `data`, the rest as body.
fn segment(magic: &[u8; 8], fields: usize, data: &[u8]) -> Option<Vec<u8>> {
    let (front, body) = data.split_at_checked(fields * 2)?;
    // Two bytes a field: offsets and lengths near those that are possible.
    let fields: Vec<u64> = front
        .chunks_exact(2)
        .map(|two| u64::from(u16::from_le_bytes([two[0], two[1]])))
        .collect();
    Some(pages::encode(magic, 7, &fields, body))
}

/// An index segment with right page checksums.
pub fn index_segment(data: &[u8]) {
    let check = |bytes: &[u8]| {
        let Ok(segment) = IndexSegment::open(bytes) else { return };
        let is_sound = segment.verify().is_ok();
        for entry in segment.entries().take(1000).flatten() {
            let found = segment.find(&entry.digest);
            if is_sound {
                assert_eq!(found, Ok(Some(entry)));
            }
        }
        let _ = segment.find(&Digest::of(data));
    };
    check(data);
    if let Some(bytes) = segment(b"CRHINDX1", 3, data) {
        check(&bytes);
    }
}

/// A manifest segment with right page checksums.
pub fn manifest(data: &[u8]) {
    let check = |bytes: &[u8]| {
        let Ok(segment) = ManifestSegment::open(bytes) else {
            return;
        };
        let _ = segment.verify_pages();
        let _ = segment.transactions();
        let _ = each_event(&segment, |_, _, _| {});
        for record in segment.crates().take(1000).map_while(Result::ok) {
            for event in record.events().take(1000).map_while(Result::ok) {
                let _ = segment.text(record.name(), &event);
            }
            let _ = segment.find(record.name()).map(|found| found.len());
        }
        let _ = segment.find("serde").map(|found| found.len());
    };
    check(data);
    if let Some(bytes) = segment(b"CRHMANI1", 8, data) {
        check(&bytes);
    }
}

/// A crate file: undone, what comes out gives the same bytes again.
pub fn gzip(data: &[u8]) {
    if let Ok(undone) = deflate::undo(data, None) {
        assert!(
            undone.wrong_engine.is_none(),
            "engine {:?} differs from its library",
            undone.wrong_engine
        );
        if let Some(recipe) = undone.recipe {
            assert_eq!(deflate::redo(&undone.tar, &recipe), data);
        }
    }
    let _ = deflate::gunzip_start(data, 4096);
}

/// Any recipe on any tar: no panic, and a round trip by way of `undo`, if it is gzip.
pub fn recipe(data: &[u8]) {
    let [engine, cut, rest @ ..] = data else { return };
    let (header, tar) = rest.split_at(usize::from(*cut).min(rest.len()));
    let engine = Engine::ALL[usize::from(*engine) % Engine::ALL.len()];
    let odd = Recipe {
        engine,
        header: header.to_vec(),
        trailer: header.to_vec(),
    };
    let made = deflate::redo(tar, &odd);
    let _ = deflate::undo(&made, Some(engine));
    let mut front = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255];
    let trailer = [crc_of(&[tar]), (tar.len() as u32).to_le_bytes()].concat();
    let proper = Recipe {
        engine,
        header: std::mem::take(&mut front),
        trailer,
    };
    let file = deflate::redo(tar, &proper);
    match deflate::undo(&file, Some(engine)) {
        Ok(undone) => {
            assert_eq!(undone.tar, tar);
            let recipe = undone
                .recipe
                .unwrap_or_else(|| panic!("{engine:?} does not know its own"));
            assert_eq!(deflate::redo(tar, &recipe), file);
        }
        Err(error) => panic!("{error}"),
    }
}

/// A registry index file.
pub fn registry_line(data: &[u8]) {
    let file = IndexFile::parse(data);
    for line in &file.lines {
        assert!(data.windows(line.raw.len().max(1)).any(|part| part == line.raw));
    }
}

/// A file of this process for parsers that take paths.
fn scratch(name: &str, data: &[u8]) -> PathBuf {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    let path = FOLDER.get_or_init(|| tempfile::tempdir().unwrap()).path().join(name);
    std::fs::write(&path, data).unwrap();
    path
}

/// A Cargo.lock.
pub fn lockfile(data: &[u8]) {
    let path = scratch("Cargo.lock", data);
    if let Err(error) = parse_lockfile(&path, CRATES_IO) {
        assert!(!error.to_string().contains('\n'), "{error}");
    }
}

/// A registry's config.json, and addresses made by it.
pub fn config_json(data: &[u8]) {
    if let Ok(config) = IndexConfig::parse("http://localhost/config.json", data)
        && let Ok(template) = DownloadTemplate::parse(&config.dl)
    {
        let release: Release = "serde@1.0.0+b".parse().unwrap();
        let _ = template.url(&release, &Digest::of(data));
    }
}

/// A tar: walked, and unpacked, which leaves nothing outside its folder.
pub fn tar_walk(data: &[u8]) {
    let _ = release_of(data);
    let _ = tar_files(data, |_, contents| {
        _ = contents.take(1 << 16).read_to_end(&mut Vec::new())
    });
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("target");
    std::fs::create_dir(&target).unwrap();
    let release: Release = "x@1.0.0".parse().unwrap();
    let _ = unpack_tar(data, &release, &target);
    let names = |path: &std::path::Path| -> Vec<_> {
        std::fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect()
    };
    assert_eq!(names(folder.path()), ["target"]);
    assert!(names(&target).iter().all(|name| name == "x-1.0.0"));
}

/// A server's answer, byte for byte, to the fetcher's client.
pub fn http_answer(data: &[u8]) {
    static SERVER: OnceLock<(u16, Arc<Mutex<Vec<u8>>>)> = OnceLock::new();
    let (port, answer) = SERVER.get_or_init(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let answer = Arc::new(Mutex::new(Vec::new()));
        let shared = answer.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { continue };
                let mut seen: Vec<u8> = Vec::new();
                let mut buffer = [0; 4096];
                while !seen.windows(4).any(|end| end == b"\r\n\r\n") {
                    match stream.read(&mut buffer) {
                        Ok(read) if read > 0 => seen.extend(&buffer[..read]),
                        _ => break,
                    }
                }
                let bytes = shared.lock().unwrap().clone();
                let _ = stream.write_all(&bytes);
            }
        });
        (port, answer)
    });
    *answer.lock().unwrap() = data.to_vec();
    // One connection for each answer: the server closes it behind the bytes.
    let options = HttpOptions {
        idle_timeout: Duration::from_secs(2),
        total_timeout: Duration::from_secs(5),
        ..HttpOptions::default()
    };
    let http = Http::new(options).unwrap();
    if let Ok(answer) = http.get(&format!("http://127.0.0.1:{port}/"), None) {
        if let Some(value) = answer.header("retry-after") {
            let _ = retry_after(value, std::time::UNIX_EPOCH);
        }
        let _ = answer.content_bytes();
        if let Ok(bytes) = answer.read(1 << 20, &Stop::default(), |_, _| {}) {
            assert!(bytes.len() <= 1 << 20);
        }
    }
}

/// Adding, noting, committing, ending without a commit, in any order, against a map.
pub fn operations(data: &[u8]) {
    let mut image = Image::default();
    let mut committed: BTreeMap<Digest, Vec<u8>> = BTreeMap::new();
    let mut known: BTreeMap<Digest, Vec<u8>> = BTreeMap::new();
    let mut open: Option<(Arc<Recorder>, Writer)> = None;
    for &byte in data.iter().take(40) {
        let (medium, writer) = open.take().unwrap_or_else(|| {
            let medium = Recorder::new(image.clone());
            let writer = Writer::open_on(medium.clone()).unwrap();
            (medium, writer)
        });
        let number = byte >> 3;
        match byte & 7 {
            0..=3 => {
                let release: Release = format!("c{}@1.0.{}", number % 4, number / 4).parse().unwrap();
                let file = format!("the bytes of {release}, which are no gzip").into_bytes();
                let digest = Digest::of(&file);
                writer
                    .add(
                        &release,
                        file.clone(),
                        EncodeOptions {
                            level: 1,
                            ..EncodeOptions::default()
                        },
                    )
                    .unwrap();
                known.insert(digest, file);
            }
            4 => {
                let event = Event {
                    kind: EventKind::from_number(number % 10 + 1).unwrap(),
                    yanked: byte & 8 != 0,
                    generation: 0,
                    version: format!("1.0.{}", number / 4),
                    digest: None,
                    text: (byte & 16 != 0).then(|| vec![byte; 3]),
                };
                writer.note(&format!("c{}", number % 4), event);
            }
            5 | 6 => {
                writer.commit(&CommitInfo::default()).unwrap();
                let archive = Archive::open_on(medium.clone()).unwrap();
                let held: Vec<Digest> = archive.entries().unwrap().iter().map(|entry| entry.digest).collect();
                for digest in &held {
                    committed.insert(*digest, known[digest].clone());
                }
                assert_eq!(held.len(), committed.len());
                for (digest, file) in &committed {
                    assert_eq!(&archive.read_crate(digest).unwrap(), file);
                }
            }
            _ => {
                image = medium.image();
                continue;
            }
        }
        image = medium.image();
        open = Some((medium, writer));
    }
    drop(open);
    if let Ok(archive) = Archive::open_on(Recorder::new(image)) {
        assert_eq!(archive.entries().unwrap().len(), committed.len());
        assert_eq!(archive.verify(Depth::Full, 1, &|_| {}).unwrap().problems, vec![]);
    }
}

/// Input for the engines: bytes as they are, or repeated and shifted, so that there are
/// matches near and far.
fn stretched(data: &[u8]) -> Vec<u8> {
    let [times, shift, seed @ ..] = data else {
        return Vec::new();
    };
    let mut out = Vec::new();
    for i in 0..u32::from(*times) + 1 {
        out.extend_from_slice(seed);
        out.resize(out.len() + usize::from(*shift) * (i as usize % 3), i as u8);
        if out.len() > 200_000 {
            break;
        }
    }
    out
}

/// Each engine of our own beside the library it stands for.
pub fn engines(data: &[u8]) {
    let input = stretched(data);
    for engine in Engine::ALL {
        let recipe = Recipe {
            engine,
            header: Vec::new(),
            trailer: Vec::new(),
        };
        let own = deflate::redo(&input, &recipe);
        assert!(
            own == deflate::redo_by_library(&input, &recipe).unwrap(),
            "{engine:?} differs from its library"
        );
    }
}

/// Recovery data of any shape, its checksums right, beside a small archive: what it asks
/// for is bounded, and what is given out is right or nothing.
pub fn recovery_file(data: &[u8]) {
    static START: OnceLock<(Image, Digest, [u8; 16])> = OnceLock::new();
    let _ = recovery::decode_block(data);
    let Some((header, rest)) = data.split_at_checked(80) else {
        return;
    };
    let (image, digest, archive_id) = START.get_or_init(|| {
        let medium = Recorder::new(Image::default());
        let bytes = vec![7; 9000];
        let digest = Digest::of(&bytes);
        let added = Writer::open_on(medium.clone()).and_then(|writer| {
            let release = Release {
                name: "one".parse().unwrap_or_else(|_| unreachable!()),
                version: "1.0.0".parse().unwrap_or_else(|_| unreachable!()),
            };
            writer.add(&release, bytes, EncodeOptions::default())?;
            writer.commit(&CommitInfo::default())?;
            writer.with_archive(|archive| Ok(archive.head().archive_id))
        });
        (medium.image(), digest, added.unwrap_or_default())
    });
    let mut file = Vec::new();
    for i in 0..8u32 {
        let mut block = b"CRHRECO1\x01\0\0\0\0\0\0\0".to_vec();
        block.extend_from_slice(archive_id);
        block.extend_from_slice(&header[16..]);
        block[32..36].copy_from_slice(&1u32.to_le_bytes());
        block[36..40].copy_from_slice(&i.to_le_bytes());
        block[40..48].copy_from_slice(&1u64.to_le_bytes());
        block.resize(128, 0);
        block.extend(rest.iter().take(3968));
        block.resize(recovery::SHARD_BYTES, 0);
        let crc32 = crc_of(&[&block]);
        block[12..16].copy_from_slice(&crc32);
        file.extend(block);
    }
    let mut image = image.clone();
    image.folders.insert("recovery".into());
    image.files.insert("recovery/00000001.p0".into(), Arc::new(file));
    let medium = Recorder::new(image);
    let Ok(archive) = Archive::open_on(medium.clone()) else {
        unreachable!("no head names recovery data")
    };
    let _ = archive.coverage();
    let _ = archive.verify(Depth::Quick, 1, &|_| {});
    let options = RepairOptions {
        full: true,
        level: 1,
        ..RepairOptions::default()
    };
    let on: Arc<dyn cratehold::store::Medium> = medium.clone();
    let _ = repair_on(&on, &mut [], &options);
    if let Ok(bytes) = Archive::open_on(medium).and_then(|archive| archive.read_crate(digest)) {
        assert_eq!(Digest::of(&bytes), *digest);
    }
}

/// Both ways: a tar that has a normal form comes back from it, and whatever else is taken
/// for one gives a tar of the length it announces, in bounds, or an error.
pub fn normal_form(data: &[u8]) {
    let there_and_back = |tar: &[u8]| {
        if let Some(content) = normal_form::encode(tar) {
            let form = NormalForm::parse(&content).unwrap();
            assert_eq!(form.tar_bytes(), tar.len() as u64);
            assert!(form.tar().unwrap() == tar);
        }
    };
    there_and_back(data);
    if let Ok(form) = NormalForm::parse(data) {
        assert!(form.tar_bytes() <= (1 << 20) + 64 * data.len() as u64);
        if let Ok(tar) = form.tar() {
            assert_eq!(tar.len() as u64, form.tar_bytes());
            there_and_back(&tar);
        }
    }
}
