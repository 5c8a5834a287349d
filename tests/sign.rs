//! Root hashes and signatures: what pins an archive, and what a changed one gets.
//! [R 12.1] [R 12.2]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use cratehold::archive::{Archive, EncodeOptions, PublicKey, Root, SecretKey, Writer};
use cratehold::archive::{CommitInfo, ROOT_FILE, SIGNATURE_FILE};
use cratehold::format::bundle::{END_BYTES, Part, VolumeHeader};
use cratehold::ids::Digest;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn add(folder: &Path, release: &str) {
    let writer = Writer::open(folder).unwrap();
    let file = support::crate_file(release, 50);
    writer
        .add(&release.parse().unwrap(), file, EncodeOptions::default())
        .unwrap();
    writer.commit(&CommitInfo::default()).unwrap();
}

fn run(archive: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cratehold"));
    command
        .env_remove("CRATEHOLD_KEY_PASSWORD")
        .arg("-a")
        .arg(archive)
        .args(args);
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn a_root_pins_the_manifest_and_says_how_it_differs() {
    let folder = tempfile::tempdir().unwrap();
    let (archive, other) = (folder.path().join("a"), folder.path().join("b"));
    add(&archive, "one@1.0.0");
    let (code, first, _) = run(&archive, &["root"]);
    assert_eq!((code, first.trim().len()), (Some(0), 64));
    let (code, stdout, stderr) = run(&archive, &["verify", "--root", first.trim()]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("as expected"), "{stdout}");

    add(&archive, "one@1.1.0");
    let (code, _, stderr) = run(&archive, &["verify", "--root", first.trim()]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("that was its snapshot 1"), "{stderr}");
    assert_eq!(run(&archive, &["root", "--as-of", "1"]).1, first);
    let (_, json, _) = run(&archive, &["root", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["snapshot"], 2);

    add(&other, "one@1.0.0");
    let (code, _, stderr) = run(&other, &["verify", "--root", json["root"].as_str().unwrap()]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("never a root of this archive"), "{stderr}");
    assert_eq!(run(&other, &["verify", "--root", "abc"]).0, Some(2));
}

#[test]
fn a_signature_is_by_its_key_of_this_root_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("a");
    let key = |name: &str| folder.path().join(name).display().to_string();
    add(&archive, "one@1.0.0");
    for name in ["key", "other"] {
        let (code, stdout, stderr) = run(&archive, &["sign", "--new-key", &key(name)]);
        assert_eq!(code, Some(0), "{stderr}");
        assert!(
            stdout.starts_with("public key RW") && stderr.contains("no password"),
            "{stdout}{stderr}"
        );
    }
    assert_eq!(
        run(&archive, &["sign", "--new-key", &key("key")]).0,
        Some(1),
        "keys are never overwritten"
    );

    let (code, _, stderr) = run(&archive, &["verify", "--key", &key("key.pub")]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("has not been signed"), "{stderr}");
    let (code, stdout, _) = run(&archive, &["sign", "--secret-key", &key("key")]);
    assert_eq!(code, Some(0), "{stdout}");
    let (code, stdout, stderr) = run(&archive, &["verify", "--key", &key("key.pub")]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("of snapshot 1, signed by"), "{stdout}");
    let public = std::fs::read_to_string(key("key.pub")).unwrap();
    let public = public.lines().nth(1).unwrap();
    assert_eq!(
        run(&archive, &["verify", "--key", public]).0,
        Some(0),
        "the key itself will do"
    );
    let (code, _, stderr) = run(&archive, &["verify", "--key", &key("other.pub")]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("different from public key"), "{stderr}");

    // A good signature of an older root, then of one that this archive never had.
    add(&archive, "one@1.1.0");
    let (code, _, stderr) = run(&archive, &["verify", "--key", public]);
    assert_eq!(code, Some(1));
    assert!(
        stderr.contains("of snapshot 1 with root") && stderr.contains("changed since"),
        "{stderr}"
    );
    let stranger = folder.path().join("b");
    add(&stranger, "two@1.0.0");
    for name in [ROOT_FILE, SIGNATURE_FILE] {
        std::fs::copy(archive.join(name), stranger.join(name)).unwrap();
    }
    let (code, _, stderr) = run(&stranger, &["verify", "--key", public]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("never a root of this archive"), "{stderr}");
}

#[test]
fn every_change_of_a_signature_or_its_text_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    add(&path, "one@1.0.0");
    let public = SecretKey::create(&folder.path().join("key"), Some("word".into())).unwrap();
    let wrong = SecretKey::read(&folder.path().join("key"), Some("other".into()));
    assert!(wrong.unwrap_err().to_string().contains("Wrong password"));
    let secret = SecretKey::read(&folder.path().join("key"), Some("word".into())).unwrap();
    let archive = Archive::open(&path).unwrap();
    archive.sign(&secret).unwrap();
    assert_eq!(archive.check_signature(&public).unwrap(), archive.root().unwrap());
    for name in [ROOT_FILE, SIGNATURE_FILE] {
        let file = path.join(name);
        let good = std::fs::read(&file).unwrap();
        // The first line of a signature is a comment that nothing vouches for.
        let first = match name {
            SIGNATURE_FILE => good.iter().position(|byte| *byte == b'\n').unwrap() + 1,
            _ => 0,
        };
        for at in first..good.len() - 1 {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(&file, &bad).unwrap();
            assert!(archive.check_signature(&public).is_err(), "{name}: flip at {at}");
            std::fs::write(&file, &good[..at]).unwrap();
            assert!(archive.check_signature(&public).is_err(), "{name}: cut at {at}");
        }
        std::fs::write(&file, &good).unwrap();
    }
    archive.check_signature(&public).unwrap();
    assert!(PublicKey::read("RWnonsense").is_err());
}

/// The tool whose signatures these are must take them, where it is installed; the other
/// way round is tested everywhere, below.
#[test]
fn minisign_itself_takes_the_signature() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    add(&path, "one@1.0.0");
    let public = SecretKey::create(&folder.path().join("key"), None).unwrap();
    let secret = SecretKey::read(&folder.path().join("key"), None).unwrap();
    Archive::open(&path).unwrap().sign(&secret).unwrap();
    let program = std::env::var("MINISIGN").unwrap_or_else(|_| "minisign".into());
    let result = Command::new(program)
        .args(["-V", "-P", &public.to_string(), "-m"])
        .arg(path.join(ROOT_FILE))
        .output();
    match result {
        Ok(output) => assert!(output.status.success(), "{output:?}"),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound),
    }
}

/// What minisign 0.11 itself made, once, of the root of an archive that nothing was ever
/// committed to: `minisign -S -m root.txt`, with a key made for this and thrown away.
const MINISIGN_KEY: &str = "RWR3Z0TVmLW95ovG+fNhDD7wQ0+vCEh9nIA6JWWEFatZOeWgUqw+q+Zr";
const MINISIGN_SIGNATURE: &str = "untrusted comment: signature of a cratehold root
RUR3Z0TVmLW95rZlncFzFLTQmVvhPvRTVrj0Ygdtb3NBgcg5UeNC5mvebhUKGY/ObR11x1WXRsCVjS2vkkRdGg9MficJ7qBF5gE=
trusted comment: cratehold root of snapshot 0
oAB0tHVNNfqDMyskJbKTAX2imPreWXyXYte4qD+P7BhKJ9K9wZUHMvRMb5Bfe2p1uvPU2ovexkp4Ilzh8pQ/BA==
";

#[test]
fn a_signature_by_minisign_itself_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    drop(Writer::open(folder.path()).unwrap());
    let archive = Archive::open(folder.path()).unwrap();
    let root = archive.root().unwrap();
    std::fs::write(folder.path().join(ROOT_FILE), root.text()).unwrap();
    let signature = folder.path().join(SIGNATURE_FILE);
    std::fs::write(&signature, MINISIGN_SIGNATURE).unwrap();
    let key = PublicKey::read(MINISIGN_KEY).unwrap();
    assert_eq!(archive.check_signature(&key).unwrap(), root);
    // Of the signature itself, of the trusted comment, and of what vouches for that.
    for (from, to) in [("rZlnc", "rZlnd"), ("snapshot 0", "snapshot 1"), ("oAB0t", "oAB0u")] {
        std::fs::write(&signature, MINISIGN_SIGNATURE.replace(from, to)).unwrap();
        assert!(archive.check_signature(&key).is_err(), "{to}");
    }
    let other = SecretKey::create(&folder.path().join("key"), None).unwrap();
    std::fs::write(&signature, MINISIGN_SIGNATURE).unwrap();
    assert!(archive.check_signature(&other).is_err());
}

#[test]
fn a_root_text_has_one_spelling() {
    let root = Root {
        snapshot: 12,
        hash: Digest([0xab; 32]),
    };
    let text = root.text();
    assert_eq!(Root::parse(&text).unwrap(), root);
    for bad in [
        text.replace("12", "012"),
        text.replace("12", "+12"),
        text.to_uppercase(),
        text.replace("ab", "AB"),
        text.replace('\n', "\r\n"),
        format!("{text}\n"),
        format!(" {text}"),
        String::new(),
    ] {
        assert!(Root::parse(&bad).is_err(), "{bad:?}");
    }
}

/// What is given out of a stranger's archive is what its digest says, or nothing: the
/// archive's own checksums prove only that it was not damaged by accident.
#[test]
fn a_forged_tar_is_not_given_out() {
    let folder = tempfile::tempdir().unwrap();
    let (honest, forged) = (folder.path().join("a"), folder.path().join("b"));
    add(&honest, "one@1.0.0");
    // The same length and shape, other bytes: then one digest put for the other,
    // with every checksum made right.
    let (real, fake) = (
        support::crate_file("one@1.0.0", 50),
        support::crate_file("two@1.0.0", 50),
    );
    let writer = Writer::open(&forged).unwrap();
    writer
        .add(&"two@1.0.0".parse().unwrap(), fake.clone(), EncodeOptions::default())
        .unwrap();
    writer.commit(&CommitInfo::default()).unwrap();
    drop(writer);
    forge(&forged, Digest::of(&fake), Digest::of(&real));
    let archive = Archive::open(&forged).unwrap();
    let digest = Digest::of(&real);
    assert!(archive.find(&digest).unwrap().is_some());
    assert!(archive.read_tar(&digest).is_ok(), "its own checksums are right");
    assert!(archive.read_crate(&digest).is_err());
    assert!(archive.read_checked_tar(&digest).is_err());
    for args in [
        &["extract", "two@1.0.0", "--unpack", "x"][..],
        &["extract", "two@1.0.0", "--file", "Cargo.toml"],
        &["extract", "two@1.0.0", "-o", "-"],
    ] {
        let (code, stdout, stderr) = run(&forged, args);
        assert_eq!((code, stdout.as_str()), (Some(1), ""), "{args:?}");
        assert!(stderr.contains("came out as"), "{stderr}");
    }
    assert!(Archive::open(&honest).unwrap().read_checked_tar(&digest).is_ok());
}

/// Puts digest `to` for `from` in record, index and manifest, and mends every checksum.
fn forge(folder: &Path, from: Digest, to: Digest) {
    use cratehold::format::head::Head;
    use cratehold::format::index::{self, IndexSegment};
    use cratehold::format::manifest::ManifestSegment;
    use cratehold::format::manifest_event::{Event, Events, each_event};
    use cratehold::format::manifest_write;
    use cratehold::format::pack::{PackHeader, RecordMeta};
    let pack = folder.join("packs/00000001.pak");
    let bytes = std::fs::read(&pack).unwrap();
    let (_, start) = PackHeader::decode(&bytes).unwrap();
    let (mut meta, frame) = RecordMeta::decode(&bytes[start as usize..]).unwrap();
    meta.digest = to.0;
    let frame = bytes[start as usize..][frame as usize..].to_vec();
    std::fs::write(&pack, [&bytes[..start as usize], &meta.encode(), &frame].concat()).unwrap();

    let head_path = folder.join("head1");
    let mut head = Head::decode(&std::fs::read(&head_path).unwrap()).unwrap();
    let path = folder.join("index/00000001.idx");
    let segment = IndexSegment::open(std::fs::read(&path).unwrap()).unwrap();
    let mut entries: Vec<_> = segment.entries().map(Result::unwrap).collect();
    entries[0].digest = to;
    let index = index::encode(1, &entries);
    head.indexes[0].sha256 = Digest::of(&index).0;
    std::fs::write(&path, index).unwrap();

    let path = folder.join("manifest/00000001.man");
    let segment = ManifestSegment::open(std::fs::read(&path).unwrap()).unwrap();
    let mut events = Events::default();
    each_event(&segment, |name, event, _| {
        assert_eq!(event.digest, Some(from));
        let event = Event {
            kind: event.kind,
            yanked: false,
            generation: 1,
            version: event.version.into(),
            digest: Some(to),
            text: None,
        };
        events.push(name, event);
    })
    .unwrap();
    let mut transactions = segment.transactions().unwrap();
    events.seal(&mut transactions[0]);
    head.root = transactions[0].hash;
    let manifest = manifest_write::encode(1, &transactions, &events).unwrap();
    head.manifests[0].sha256 = Digest::of(&manifest).0;
    std::fs::write(&path, manifest).unwrap();
    std::fs::write(&head_path, head.encode()).unwrap();
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "chb"))
        .collect();
    files.sort();
    files
}

/// The volume, whose header tells of another root, and all else of that.
fn claiming(volume: &[u8], root: Digest) -> Vec<u8> {
    let (mut header, body) = VolumeHeader::decode(volume).unwrap();
    let (bytes, last) = volume.split_at(volume.len() - END_BYTES as usize);
    let (Part::End(mut end), _) = Part::decode(last).unwrap() else {
        panic!("a volume ends so")
    };
    let (Part::Directory(directory), _) = Part::decode(&bytes[end.tail_offset as usize..]).unwrap() else {
        panic!("the directory stands first")
    };
    header.chain.last_mut().unwrap().hash = root.0;
    header.bundle_id = header.id(&directory);
    let mut forged = header.encode();
    assert_eq!(forged.len() as u64, body);
    forged.extend(&bytes[body as usize..]);
    end.sha256 = Digest::of(&forged).0;
    forged.extend(Part::End(end).encode());
    forged
}

/// [R 16.12]
#[test]
fn bundles_lead_to_the_root_expected_or_nothing_of_them_is_taken_in() {
    let folder = tempfile::tempdir().unwrap();
    let [a, b, stranger, drive, forged] =
        ["a", "b", "stranger", "drive", "forged"].map(|name| folder.path().join(name));
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    add(&a, "one@1.0.0");
    add(&stranger, "one@1.0.1");
    let (_, json, _) = run(&a, &["bundle", "-o", &text(&drive), "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let root = json["root"].as_str().unwrap().to_owned();
    assert_eq!(root, run(&a, &["root"]).1.trim());
    let theirs = run(&stranger, &["root"]).1.trim().to_owned();

    let (code, _, stderr) = run(&b, &["apply", "--root", &theirs, &text(&drive)]);
    assert_eq!(code, Some(1));
    assert!(
        stderr.contains(&format!("leads to root {root}, and {theirs} is expected")),
        "{stderr}"
    );
    // One that only says that it leads there.
    std::fs::create_dir(&forged).unwrap();
    let volume = std::fs::read(&files(&drive)[0]).unwrap();
    std::fs::write(forged.join("x.chb"), claiming(&volume, theirs.parse().unwrap())).unwrap();
    for more in [&["--root", &theirs][..], &[]] {
        let (code, _, stderr) = run(&b, &[&["apply", &text(&forged)], more].concat());
        assert_eq!(code, Some(1));
        assert!(stderr.contains("not those that its header names"), "{stderr}");
    }
    assert!(!b.exists());
    let (code, _, stderr) = run(&b, &["apply", "--root", &root, &text(&drive)]);
    assert_eq!(code, Some(0), "{stderr}");

    // Of several, the last counts; and what is known already is not asked again.
    add(&a, "two@1.0.0");
    run(&a, &["bundle", "--since", "1", "-o", &text(&drive)]);
    let newer = run(&a, &["root"]).1.trim().to_owned();
    let (code, _, stderr) = run(&b, &["apply", "--root", &root, &text(&drive)]);
    assert_eq!(code, Some(1), "{stderr}");
    for expected in [&newer, &newer, &root] {
        let (code, _, stderr) = run(&b, &["apply", "--root", expected, &text(&drive)]);
        assert_eq!(code, Some(0), "{stderr}");
    }
    assert_eq!(run(&b, &["root"]).1.trim(), newer);
}

/// [R 16.12]
#[test]
fn a_signature_goes_with_the_bundle() {
    let folder = tempfile::tempdir().unwrap();
    let [a, b, drive] = ["a", "b", "drive"].map(|name| folder.path().join(name));
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    add(&a, "one@1.0.0");
    let [ours, other] = ["ours", "other"].map(|name| text(&folder.path().join(name)));
    for key in [&ours, &other] {
        assert_eq!(run(&a, &["sign", "--new-key", key]).0, Some(0));
    }
    let (our_key, other_key) = (format!("{ours}.pub"), format!("{other}.pub"));
    let bundle = || run(&a, &["bundle", "-o", &text(&drive)]).1;
    let apply = |more: &[&str]| run(&b, &[&["apply", &text(&drive)], more].concat());
    let sign = || assert_eq!(run(&a, &["sign", "--secret-key", &ours]).0, Some(0));

    assert!(!bundle().contains("signed"));
    let (code, _, stderr) = apply(&["--key", &our_key]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("carries no signature"), "{stderr}");
    // The same bundle, signed since.
    sign();
    assert!(bundle().trim().ends_with(", signed"));
    assert!(bundle().contains("1 there already"));
    let (code, _, stderr) = apply(&["--key", &other_key]);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(!b.exists());
    assert_eq!(apply(&["--key", &our_key, "--dry-run"]).0, Some(0));
    let (code, _, stderr) = apply(&["--key", &our_key]);
    assert_eq!(code, Some(0), "{stderr}");
    let (code, _, stderr) = run(&b, &["verify", "--key", &our_key]);
    assert_eq!(code, Some(0), "{stderr}");

    // What came since, unsigned at first; then the signature alone is news.
    add(&a, "two@1.0.0");
    std::fs::remove_dir_all(&drive).unwrap();
    assert!(!bundle().contains("signed"));
    assert_eq!(apply(&["--key", &our_key]).0, Some(1));
    assert_eq!(apply(&[]).0, Some(0));
    let (_, _, stderr) = run(&b, &["verify", "--key", &our_key]);
    assert!(stderr.contains("the signature is good, but of snapshot 1"), "{stderr}");
    sign();
    assert!(bundle().contains("signed"));
    assert_eq!(apply(&["--key", &our_key]).0, Some(0));
    assert_eq!(run(&b, &["verify", "--key", &our_key]).0, Some(0));
    // B signs for itself: that stays.
    let own = std::fs::read(b.join(SIGNATURE_FILE)).unwrap();
    assert_eq!(run(&b, &["sign", "--secret-key", &other]).0, Some(0));
    assert_eq!(apply(&[]).0, Some(0));
    assert_ne!(std::fs::read(b.join(SIGNATURE_FILE)).unwrap(), own);
    assert_eq!(run(&b, &["verify", "--key", &other_key]).0, Some(0));
}

#[test]
fn where_a_bundle_leads_is_told_by_its_last_volume() {
    let folder = tempfile::tempdir().unwrap();
    let [a, b, drive] = ["a", "b", "drive"].map(|name| folder.path().join(name));
    let writer = Writer::open(&a).unwrap();
    for release in ["one@1.0.0", "two@1.0.0", "three@1.0.0"] {
        let file = support::crate_file(release, 600_000);
        writer
            .add(&release.parse().unwrap(), file, EncodeOptions::default())
            .unwrap();
    }
    writer.commit(&CommitInfo::default()).unwrap();
    drop(writer);
    run(&a, &["sign", "--new-key", folder.path().join("key").to_str().unwrap()]);
    run(
        &a,
        &["sign", "--secret-key", folder.path().join("key").to_str().unwrap()],
    );
    let (code, _, stderr) = run(&a, &["bundle", "-o", drive.to_str().unwrap(), "--volume-size", "1MiB"]);
    assert_eq!(code, Some(0), "{stderr}");
    let volumes = files(&drive);
    assert!(volumes.len() > 1);
    let root = run(&a, &["root"]).1.trim().to_owned();
    let (code, _, stderr) = run(&b, &["apply", "--root", &root, volumes[0].to_str().unwrap()]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("the last; bring all volumes together"), "{stderr}");
    assert!(!b.exists());
    assert_eq!(run(&b, &["apply", "--root", &root, drive.to_str().unwrap()]).0, Some(0));
}
