//! The commands as a person types them: what they print, their exit codes, and what
//! bad input gets.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use cratehold::ids::{Digest, Release};
use flate2::{Compression, write::GzEncoder};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// Files for a tar: path and contents.
type Files<'a> = &'a [(&'a str, &'a [u8])];

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn tar_of(files: Files<'_>) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, contents) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(contents.len() as u64);
        header.set_mode(0o644);
        // Written by hand, since the library would refuse what these tests need.
        let name = &mut header.as_old_mut().name;
        name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        builder.append(&header, *contents).unwrap();
    }
    builder.into_inner().unwrap()
}

fn crate_file(release: &str, extra: Files<'_>) -> Vec<u8> {
    let release: Release = release.parse().unwrap();
    let stem = release.stem();
    let manifest = format!(
        "[package]\nname = \"{}\"\nversion = \"{}\"\n",
        release.name, release.version
    );
    let source: String = (0..300)
        .map(|i| format!("pub fn f{i}() -> u32 {{ {} }}\n", i * 7919 % 1009))
        .collect();
    let (manifest_path, source_path) = (format!("{stem}/Cargo.toml"), format!("{stem}/src/lib.rs"));
    let mut files: Vec<(&str, &[u8])> = vec![(&manifest_path, manifest.as_bytes()), (&source_path, source.as_bytes())];
    files.extend_from_slice(extra);
    gzip(&tar_of(&files))
}

/// A folder with an archive and what is imported into it.
struct Desk(TempDir);

impl Desk {
    fn new() -> Desk {
        Desk(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cratehold"));
        command.current_dir(self.0.path()).env_remove("CRATEHOLD_ARCHIVE");
        command.args(["--archive", "archive"]).args(args);
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Standard output of a command that must end well.
    fn good(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Standard error of a command that must end with `code`.
    fn bad(&self, code: i32, args: &[&str]) -> String {
        let output = self.run(args);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {error}");
        assert!(!error.contains("panicked"), "{error}");
        error
    }

    /// An archive of four releases of two crates.
    fn stocked() -> Desk {
        let desk = Desk::new();
        for release in ["alpha@1.0.0", "alpha@1.2.0", "alpha@2.0.0-rc.1", "beta-tools@0.3.1+b7"] {
            let stem = release.parse::<Release>().unwrap().stem();
            desk.write(&format!("crates/{stem}.crate"), &crate_file(release, &[]));
        }
        desk.good(&["import", "crates"]);
        desk
    }
}

fn assert_has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no `{part}` in: {text}");
    }
}

#[test]
fn crates_go_in_and_come_out_exactly() {
    let desk = Desk::stocked();
    let file = |stem: &str| std::fs::read(desk.path(&format!("crates/{stem}.crate"))).unwrap();
    assert_eq!(
        desk.run(&["extract", "alpha@1.0.0", "-o", "-"]).stdout,
        file("alpha-1.0.0")
    );
    // The newest that is no pre-release; a requirement; another spelling of the name.
    assert_eq!(desk.run(&["extract", "alpha", "-o", "-"]).stdout, file("alpha-1.2.0"));
    assert_eq!(
        desk.run(&["extract", "alpha@~1.0", "-o", "-"]).stdout,
        file("alpha-1.0.0")
    );
    desk.good(&["extract", "Beta_Tools", "-o", "x.crate"]);
    assert_eq!(
        std::fs::read(desk.path("x.crate")).unwrap(),
        file("beta-tools-0.3.1+b7")
    );
    desk.good(&["extract", "alpha@1.2.0", "beta-tools"]);
    assert_eq!(
        std::fs::read(desk.path("alpha-1.2.0.crate")).unwrap(),
        file("alpha-1.2.0")
    );
    desk.good(&["extract", "alpha@1.2.0", "alpha@1.0.0", "--unpack", "src"]);
    assert_has(
        &std::fs::read_to_string(desk.path("src/alpha-1.2.0/Cargo.toml")).unwrap(),
        &["version = \"1.2.0\""],
    );
    assert_has(
        &desk.good(&["extract", "alpha", "--file", "src/lib.rs"]),
        &["pub fn f299"],
    );
    assert_has(
        &desk.bad(1, &["extract", "alpha", "--file", "nope"]),
        &["has no file `nope`", "src/lib.rs"],
    );
}

#[test]
fn what_is_not_there_is_said_with_a_way_on() {
    let desk = Desk::stocked();
    assert_has(
        &desk.bad(1, &["extract", "alhpa"]),
        &["no crate `alhpa`", "did you mean `alpha`?"],
    );
    assert_has(
        &desk.bad(1, &["extract", "alpha@9.9.9"]),
        &["no held release matches", "1.2.0"],
    );
    assert_has(
        &desk.bad(1, &["extract", "alpha@one"]),
        &["neither a version nor a requirement"],
    );
    assert_has(
        &desk.bad(1, &["extract", "alpha", "nope"]),
        &["no crate `nope`", "1 of 2"],
    );
    assert!(desk.path("alpha-1.2.0.crate").exists());
    assert_has(&desk.bad(1, &["info", "nope"]), &["no crate `nope`"]);
    assert_has(&desk.bad(1, &["inspect", "pack", "7"]), &["no pack 7", "it has 1"]);
    assert_has(&desk.bad(2, &["extract"]), &["Usage"]);
    assert_has(&desk.bad(2, &["sync"]), &["--lockfile"]);
    let output = Command::new(env!("CARGO_BIN_EXE_cratehold"))
        .args(["-a", "no/such/folder", "list"])
        .output()
        .unwrap();
    assert_has(&String::from_utf8(output.stderr).unwrap(), &["not a cratehold archive"]);
    let none = desk.command(&[]).env_remove("CRATEHOLD_ARCHIVE").output().unwrap();
    assert_eq!(none.status.code(), Some(2));
}

#[test]
fn reports_can_be_read_by_people_and_by_scripts() {
    let desk = Desk::stocked();
    assert_has(&desk.good(&["list"]), &["alpha", "3 held", "4 releases of 2 crates"]);
    assert_has(&desk.good(&["list", "alpha"]), &["1.0.0", "2.0.0-rc.1"]);
    assert_eq!(desk.good(&["list", "--json"]).lines().count(), 4);
    for line in desk.good(&["list", "--json"]).lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(value["sha256"].as_str().unwrap().len(), 64);
    }
    assert_has(&desk.good(&["info", "alpha"]), &["3 held of 3 known", "1.2.0"]);
    assert_has(
        &desk.good(&["info", "alpha@1.2.0"]),
        &["base        alpha@1.0.0", "sha256"],
    );
    let info: serde_json::Value = serde_json::from_str(&desk.good(&["info", "alpha@1.2.0", "--json"])).unwrap();
    assert_eq!(
        (&info["base"], &info["chain_depth"]),
        (&"alpha@1.0.0".into(), &1.into())
    );
    assert_has(&desk.good(&["stats"]), &["4 crate files", "by engine", "##"]);
    let stats: serde_json::Value = serde_json::from_str(&desk.good(&["stats", "--json"])).unwrap();
    assert_eq!(stats["crates"], 4);
    for depth in [&["verify", "--quick"][..], &["verify"], &["verify", "--full"]] {
        assert_has(&desk.good(depth), &["4 crates verified", "all whole"]);
    }
    assert_has(
        &desk.good(&["inspect", "head"]),
        &["head1: snapshot 1, the newest", "root hash"],
    );
    assert_has(&desk.good(&["inspect", "pack"]), &["records"]);
    assert_has(&desk.good(&["inspect", "pack", "1"]), &["alpha@2.0.0-rc.1"]);
    assert_has(
        &desk.good(&["inspect", "index", "--entries"]),
        &["4 entries", "Blob pack 1"],
    );
    assert_has(
        &desk.good(&["inspect", "manifest"]),
        &["2 crates, 4 events", "by import"],
    );
    assert_has(&desk.good(&["inspect", "manifest", "alpha"]), &["Added alpha 1.0.0"]);
    assert_has(
        &desk.good(&["inspect", "frame", "alpha@1.2.0"]),
        &["1 frames below", "base: alpha@1.0.0"],
    );
}

#[test]
fn what_is_no_crate_is_refused_and_the_rest_goes_on() {
    let desk = Desk::new();
    let whole = crate_file("good@1.0.0", &[]);
    desk.write("in/good.crate", &whole);
    desk.write("in/text.crate", b"<html>not a crate</html>");
    desk.write("in/empty.crate", b"");
    desk.write("in/cut.crate", &whole[..whole.len() - 20]);
    desk.write("in/notar.crate", &gzip(&[b'x'; 2000]));
    desk.write("in/nodash.crate", &gzip(&tar_of(&[("readme/Cargo.toml", b"")])));
    desk.write("in/nomanifest.crate", &gzip(&tar_of(&[("a-1.0.0/README", b"")])));
    desk.write("in/escape.crate", &gzip(&tar_of(&[("../evil-1.0.0/Cargo.toml", b"")])));
    desk.write("in/ignored.txt", b"not looked at");
    let error = desk.bad(1, &["import", "in", "missing.crate"]);
    assert_has(
        &error,
        &[
            "text.crate: not gzip",
            "empty.crate: not gzip: expected the bytes 1f 8b 08 at its start, found an empty file",
            "good@1.0.0: truncated",
            "notar.crate: not a tar",
            "nodash.crate: not a crate: its tar begins with `readme/Cargo.toml`",
            "a@1.0.0: not a crate: its tar has no a-1.0.0/Cargo.toml",
            "escape.crate: not a crate",
            "missing.crate: ",
        ],
    );
    assert!(!error.contains("ignored"), "{error}");
    assert_eq!(desk.run(&["extract", "good@1.0.0", "-o", "-"]).stdout, whole);
    assert_has(&desk.good(&["verify", "--full"]), &["1 crates verified"]);
}

#[test]
fn a_gzip_bomb_is_refused_as_cargo_refuses_it() {
    let desk = Desk::new();
    let mut tar = tar_of(&[("bomb-1.0.0/Cargo.toml", b"")]);
    tar.truncate(512);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&tar).unwrap();
    let zeros = vec![0; 1 << 20];
    (0..513).for_each(|_| encoder.write_all(&zeros).unwrap());
    desk.write("bomb.crate", &encoder.finish().unwrap());
    assert_has(
        &desk.bad(1, &["import", "bomb.crate"]),
        &["bomb@1.0.0: unpacks to more than"],
    );
}

#[test]
fn unpacking_never_leaves_its_folder() {
    let desk = Desk::new();
    for (i, path) in [
        "x-1.0.{}/../../evil",
        "/tmp/evil-{}",
        "y-1.0.0/evil",
        "x-1.0.{}/a/../../../evil",
    ]
    .iter()
    .enumerate()
    {
        let release = format!("x@1.0.{i}");
        let file = crate_file(&release, &[(&path.replace("{}", &i.to_string()), b"evil")]);
        desk.write(&format!("in/{i}.crate"), &file);
        desk.good(&["import", "in"]);
        // The bytes are the crate's, whatever they are; only unpacking is refused.
        assert_eq!(desk.run(&["extract", &release, "-o", "-"]).stdout, file);
        let error = desk.bad(1, &["extract", &release, "--unpack", "deep/er/src"]);
        assert_has(&error, &["refused to unpack", "leaves its folder"]);
    }
    let evil = |name: &str| desk.path(name).exists();
    assert!(!evil("evil") && !evil("deep/evil") && !evil("deep/er/evil") && !evil("deep/er/src/evil"));
    assert!(!desk.path("deep/er/src/y-1.0.0").exists());
}

#[test]
fn checksums_of_a_registry_index_are_held_to() {
    let desk = Desk::new();
    let line = |version: &str, bytes: &[u8], yanked: bool| {
        let cksum = Digest::of(bytes);
        format!(
            r#"{{"name":"gamma","vers":"{version}","deps":[],"cksum":"{cksum}","features":{{}},"yanked":{yanked}}}"#
        )
    };
    let (one, two, three) = (
        crate_file("gamma@1.0.0", &[]),
        crate_file("gamma@1.1.0", &[]),
        crate_file("gamma@1.2.0", &[]),
    );
    let lines = [
        line("1.0.0", &one, false),
        line("1.1.0", &two, true),
        line("1.2.0", b"other", false),
    ];
    desk.write("index/ga/mm/gamma", (lines.join("\n") + "\n").as_bytes());
    for (name, bytes) in [
        ("1", &one),
        ("2", &two),
        ("3", &three),
        ("4", &crate_file("gamma@3.0.0", &[])),
    ] {
        desk.write(&format!("in/{name}.crate"), bytes);
    }
    let error = desk.bad(1, &["import", "in", "--index", "index"]);
    assert_has(
        &error,
        &[
            "3.crate: wrong bytes for gamma@1.2.0: expected SHA-256",
            "gamma@3.0.0 is not in the registry index",
        ],
    );
    assert_has(
        &desk.bad(1, &["import", "in", "--index", "nowhere"]),
        &["nowhere: expected the folder of a registry"],
    );
    // What is listed but not held is not given; what is yanked is not chosen unasked.
    assert_eq!(desk.run(&["extract", "gamma", "-o", "-"]).stdout, one);
    assert_eq!(desk.run(&["extract", "gamma@1.1.0", "-o", "-"]).stdout, two);
    assert_has(&desk.bad(1, &["extract", "gamma@^1.1"]), &["is yanked", "@1.1.0"]);
    let events = desk.good(&["inspect", "manifest", "gamma"]);
    lines.iter().for_each(|line| assert_has(&events, &[line]));
    // From now on the archive itself knows the checksum.
    assert_has(
        &desk.bad(1, &["import", "in/3.crate"]),
        &["wrong bytes for gamma@1.2.0"],
    );
}

#[test]
fn other_bytes_for_a_known_release_are_refused() {
    let desk = Desk::stocked();
    desk.write(
        "again/alpha.crate",
        &crate_file("alpha@1.0.0", &[("alpha-1.0.0/new", b"new")]),
    );
    let error = desk.bad(1, &["import", "again"]);
    assert_has(&error, &["wrong bytes for alpha@1.0.0: expected SHA-256"]);
    assert_has(
        &desk.good(&["import", "crates"]),
        &["0 crates stored", "4 held already"],
    );
}

#[test]
fn a_head_that_cannot_be_used_is_not_passed_over_in_silence() {
    let desk = Desk::stocked();
    desk.write("more/more.crate", &crate_file("more@1.0.0", &[]));
    desk.good(&["import", "more"]);
    let path = desk.path("archive/head0");
    let mut head = std::fs::read(&path).unwrap();
    head[100] ^= 1;
    std::fs::write(&path, &head).unwrap();
    // The snapshot before is opened, and whole, but that is not what was committed.
    assert_has(&desk.good(&["list"]), &["4 releases of 2 crates"]);
    assert_has(
        &desk.bad(1, &["verify"]),
        &["head0: head checksum", "snapshot 1 was opened instead"],
    );
    // Nothing is lost: the next writer takes the records in again.
    desk.good(&["import", "more"]);
    assert_has(&desk.good(&["verify", "--full"]), &["5 crates verified", "all whole"]);
}

#[cfg(unix)]
#[test]
fn a_full_disk_is_said_and_loses_nothing() {
    let desk = Desk::stocked();
    // Noise, so that it does not fit however it is compressed.
    let noise: Vec<u8> = (0..40_000u32).flat_map(|i| Digest::of(&i.to_le_bytes()).0).collect();
    desk.write(
        "big/big.crate",
        &crate_file("big@1.0.0", &[("big-1.0.0/noise", &noise)]),
    );
    let limited = |desk: &Desk, args: &str| {
        let program = env!("CARGO_BIN_EXE_cratehold");
        let script = format!("trap '' XFSZ; ulimit -f 500; exec {program} -a archive {args}");
        Command::new("sh")
            .current_dir(desk.0.path())
            .args(["-c", &script])
            .output()
            .unwrap()
    };
    let output = limited(&desk, "import big");
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert_has(
        &error,
        &["writing failed", "00000001.pak", "what was committed before is whole"],
    );
    assert_has(&desk.good(&["verify", "--full"]), &["4 crates verified", "all whole"]);
    assert_has(&desk.good(&["import", "big"]), &["1 crates stored"]);
    assert_has(&desk.good(&["verify", "--full"]), &["5 crates verified", "all whole"]);
}

#[test]
fn verify_takes_a_sample_or_goes_on_from_a_position() {
    let desk = Desk::stocked();
    assert_has(
        &desk.good(&["verify", "--sample", "100%"]),
        &["4 crates chosen at random"],
    );
    assert_has(
        &desk.good(&["verify", "--full", "--from", "1:0"]),
        &["4 crates verified"],
    );
    assert_has(
        &desk.good(&["verify", "--quick", "--from", "2:0"]),
        &["0 crates verified"],
    );
    let json: serde_json::Value = serde_json::from_str(&desk.good(&["verify", "--json"])).unwrap();
    assert_eq!(
        (&json["crates"], &json["stopped_at"]),
        (&4.into(), &serde_json::Value::Null)
    );
    assert_has(&desk.bad(2, &["verify", "--from", "here"]), &["PACK:OFFSET"]);
    assert_has(&desk.bad(2, &["verify", "--sample", "0"]), &["percentage"]);
    let pack = desk.path("archive/packs/00000001.pak");
    let mut bytes = std::fs::read(&pack).unwrap();
    let at = bytes.len() - 3;
    bytes[at] ^= 1;
    std::fs::write(&pack, bytes).unwrap();
    let output = desk.run(&["verify", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let problem = &json["problems"][0];
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(problem["file"], "packs/00000001.pak");
    let (from, bytes) = (problem["offset"].as_u64().unwrap(), problem["bytes"].as_u64().unwrap());
    assert!((from..from + bytes).contains(&(at as u64)), "{json}");
    assert_has(&desk.bad(1, &["verify"]), &["[packs/00000001.pak, bytes "]);
}

/// A run that is stopped says where to go on, and there is nothing twice or left out.
#[test]
fn verify_can_be_stopped_and_resumed() {
    use cratehold::archive::{Archive, Depth, VerifyOptions};
    let desk = Desk::stocked();
    let archive = Archive::open(&desk.path("archive")).unwrap();
    let part = |from, stop| {
        let stop = move || stop;
        let options = VerifyOptions {
            depth: Depth::Tars,
            threads: 1,
            sample_percent: None,
            from,
            stop: &stop,
            progress: &|_| {},
        };
        archive.verify_part(&options).unwrap()
    };
    let stopped = part(None, true);
    assert_eq!((stopped.objects, stopped.stopped_at.is_some()), (0, true));
    let rest = part(stopped.stopped_at, false);
    assert_eq!((rest.objects, rest.stopped_at), (4, None));
}

#[test]
fn listing_into_a_closed_pipe_ends_quietly() {
    let desk = Desk::stocked();
    let mut child = desk
        .command(&["list", "--json"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn the_archive_explains_itself_to_whoever_finds_it() {
    let desk = Desk::stocked();
    let read = |name: &str| std::fs::read_to_string(desk.path("archive").join(Path::new(name))).unwrap();
    assert_has(&read("README.txt"), &["cratehold archive", "format-1.md", "reader.py"]);
    let unpacked = |name: &str| {
        let file = std::fs::File::open(desk.path("archive").join(name)).unwrap();
        std::io::read_to_string(flate2::read::GzDecoder::new(file)).unwrap()
    };
    assert_has(&unpacked("format-1.md.gz"), &["R 4.7"]);
    assert_has(&unpacked("engines.md.gz"), &["zlib, level 9", "miniz, level 9"]);
    assert_has(&read("reader.py"), &["python3"]);
}

#[test]
fn gc_shows_before_it_removes_and_asks() {
    let desk = Desk::stocked();
    desk.good(&["gc", "--yes"]);
    assert_has(&desk.good(&["gc"]), &["nothing to remove"]);
    desk.write("archive/index/00000099.idx", b"left over");
    assert_has(
        &desk.good(&["gc", "--dry-run"]),
        &["index/00000099.idx: no snapshot names it", "in 1 files"],
    );
    assert_has(&desk.bad(1, &["gc"]), &["nothing was changed: give --yes"]);
    assert!(desk.path("archive/index/00000099.idx").exists());
    let done: serde_json::Value = serde_json::from_str(&desk.good(&["gc", "--yes", "--json"])).unwrap();
    assert_eq!(done["files"][0]["name"], "index/00000099.idx");
    assert!(!desk.path("archive/index/00000099.idx").exists());
    assert_has(&desk.good(&["verify", "--full"]), &["4 crates verified", "all whole"]);
}
