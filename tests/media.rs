//! Archives on media that cannot be written to, and on drives that go away.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use cratehold::archive::{Archive, CommitInfo, Depth, EncodeOptions, Writer};
use cratehold::ids::Digest;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use support::crate_file;

fn archive_in(folder: &Path) {
    let writer = Writer::open(folder).unwrap();
    for release in ["alpha@1.0.0", "alpha@1.1.0"] {
        let file = crate_file(release, 20_000);
        writer
            .add(&release.parse().unwrap(), file, EncodeOptions::default())
            .unwrap();
    }
    writer.commit(&CommitInfo::default()).unwrap();
}

fn cratehold(arguments: &[&str], folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cratehold"))
        .args(arguments)
        .current_dir(folder)
        .env_remove("CRATEHOLD_ARCHIVE")
        .env_remove("CRATEHOLD_NO_MMAP")
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A folder that cannot be written to: mounted so, where this user may mount, else by its
/// permissions.
struct ReadOnly<'a> {
    folder: &'a Path,
    is_mounted: bool,
}

impl ReadOnly<'_> {
    fn make(folder: &Path) -> ReadOnly<'_> {
        let mount = |arguments: &[&str]| {
            let done = Command::new("mount").args(arguments).arg(folder).output();
            done.is_ok_and(|output| output.status.success())
        };
        let is_mounted = mount(&["--bind", folder.to_str().unwrap()]) && mount(&["-o", "remount,ro,bind"]);
        let made = ReadOnly { folder, is_mounted };
        made.permit(false);
        made
    }

    #[cfg(unix)]
    fn permit(&self, writing: bool) {
        use std::os::unix::fs::PermissionsExt;
        for folder in ["", "packs", "index", "manifest"].map(|name| self.folder.join(name)) {
            for entry in std::fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_file() {
                    let mode = if writing { 0o644 } else { 0o444 };
                    let _ = std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode));
                }
            }
            let mode = if writing { 0o755 } else { 0o555 };
            let _ = std::fs::set_permissions(folder, std::fs::Permissions::from_mode(mode));
        }
    }

    #[cfg(not(unix))]
    fn permit(&self, _writing: bool) {}

    /// Whether it really cannot be written to: root may write anywhere but on such a mount.
    fn holds(&self) -> bool {
        std::fs::write(self.folder.join("probe"), b"x").is_err()
    }
}

impl Drop for ReadOnly<'_> {
    fn drop(&mut self) {
        if self.is_mounted {
            let _ = Command::new("umount").arg(self.folder).output();
        }
        self.permit(true);
    }
}

/// That a server of the archive gives what lies at `targets`.
fn serves(folder: &Path, targets: &[&str]) {
    let options = cratehold::serve::Options {
        view: cratehold::offer::View::Held,
        as_of: None,
        base: None,
        cache_bytes: 16 << 20,
        threads: 2,
        limits: cratehold::serve::Limits::default(),
    };
    let server = cratehold::serve::Server::bind(folder, "127.0.0.1:0", &options, Arc::new(|_| {})).unwrap();
    let (address, stopper) = (server.address(), server.stopper());
    let running = std::thread::spawn(|| server.run().unwrap());
    for target in targets {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert!(
            answer.starts_with(b"HTTP/1.1 200 "),
            "{target}: {}",
            answer[..200.min(answer.len())].escape_ascii()
        );
    }
    stopper.stop();
    running.join().unwrap();
}

#[test]
fn an_archive_that_cannot_be_written_to_gives_all_it_has_and_says_so_to_writers() {
    let desk = tempfile::tempdir().unwrap();
    let folder = desk.path().join("a");
    archive_in(&folder);
    std::fs::write(desk.path().join("new.crate"), crate_file("beta@1.0.0", 100)).unwrap();
    let read_only = ReadOnly::make(&folder);
    if !read_only.holds() {
        // Neither mounts nor permissions bind this user.
        return;
    }
    for command in [
        &["list"][..],
        &["info", "alpha@1.0.0"],
        &["stats"],
        &["log"],
        &["root"],
        &["verify", "--full"],
        &["grep", "package"],
        &["extract", "alpha@1.1.0", "-o", "back.crate"],
        &["diff", "alpha@1.0.0", "alpha@1.1.0", "--stat"],
        &["bundle", "-o", "carried"],
        &["gc", "--dry-run"],
        &["copy", "b"],
        &["copy", "part", "--crate", "alpha@1.0.0"],
        &["export", "--format", "local-registry", "local", "--all"],
        &["export", "--format", "vendor", "vendor", "--all"],
        &["cargo-config", "--for", "serve"],
    ] {
        let output = cratehold(&[&["-a", "a"], command].concat(), desk.path());
        assert!(output.status.code() == Some(0), "{command:?}: {}", said(&output));
    }
    let root = Archive::open(&folder).unwrap().root().unwrap();
    let told = std::fs::read_to_string(desk.path().join("b/root.txt")).unwrap();
    assert_eq!(told, root.text());
    assert_eq!(
        std::fs::read(desk.path().join("back.crate")).unwrap(),
        crate_file("alpha@1.1.0", 20_000)
    );
    let digest = Digest::of(&crate_file("alpha@1.1.0", 20_000));
    let download = format!("/dl/{digest}");
    serves(
        &folder,
        &["/index/al/ph/alpha", "/crates/alpha", "/statistics", &download],
    );
    for command in [
        &["import", "new.crate"][..],
        &["apply", "carried"],
        &["purge", "alpha@1.0.0", "--reason", "test", "--yes"],
    ] {
        let output = cratehold(&[&["-a", "a"], command].concat(), desk.path());
        let text = said(&output);
        let is_plain = text.contains("a: cannot be changed:") && text.contains("a copy of it elsewhere can be changed");
        // What is in already needs no writing.
        let is_in = command[0] == "apply" && text.contains("already has it");
        assert!(
            is_plain && output.status.code() == Some(1) || is_in,
            "{command:?}: {text}"
        );
    }
    drop(read_only);
    let archive = Archive::open(&folder).unwrap();
    assert_eq!(archive.verify(Depth::Full, 1, &|_| {}).unwrap().problems, vec![]);
}

/// A file that becomes short under its reader is what a mapped file on a drive that is
/// pulled out comes to: the process would end with SIGBUS.
#[test]
fn read_plainly_a_file_that_goes_away_is_an_error_and_no_crash() {
    let desk = tempfile::tempdir().unwrap();
    archive_in(desk.path());
    cratehold::archive::set_reads(cratehold::archive::Reads::Plain);
    let archive = Archive::open(desk.path()).unwrap();
    for folder in ["index", "manifest", "packs"] {
        for file in std::fs::read_dir(desk.path().join(folder)).unwrap() {
            let file = std::fs::OpenOptions::new().write(true).open(file.unwrap().path());
            file.unwrap().set_len(100).unwrap();
        }
    }
    // Index and manifest have been read; packs are read when they are asked.
    let digest = Digest::of(&crate_file("alpha@1.0.0", 20_000));
    assert!(archive.find(&digest).unwrap().is_some());
    assert_eq!(archive.crate_state("alpha").unwrap().unwrap().releases.len(), 2);
    let error = archive.read_crate(&digest).unwrap_err().to_string();
    assert!(error.contains("packs/00000001.pak"), "{error}");
    // A process that opens it now finds the empty state before, and says what is wrong.
    let output = cratehold(&["-a", ".", "--no-mmap", "verify"], desk.path());
    assert!(
        output.status.code() == Some(1) && said(&output).contains("snapshot 1 cannot be opened"),
        "{}",
        said(&output)
    );
}
