//! Bad days of a git registry index: damaged, empty, half fetched, rewritten, another's.
//! Each ends with a clear message, and never with a line that no registry wrote.

use super::*;
use crate::endings::{assert_whole, ends};
use crate::git_repository::{GitRepository, GitServer};
use std::path::PathBuf;
use std::process::{Command, Stdio};

struct World {
    registry: Registry,
    folder: tempfile::TempDir,
    git: GitRepository,
    files: Vec<Vec<u8>>,
}

impl World {
    /// Ten crates, in one pack.
    fn new() -> World {
        let registry = Registry::start();
        let folder = tempfile::tempdir().unwrap();
        let mut git = GitRepository::new(&folder.path().join("index.git"), &registry);
        let mut files = Vec::new();
        for i in 0..10 {
            for version in ["1.0.0", "1.0.1"] {
                files.push(registry.publish(&format!("crate-{i}@{version}")));
            }
            git.take(&registry, &format!("crate-{i}"));
        }
        git.commit("first");
        let world = World {
            registry,
            folder,
            git,
            files,
        };
        world.git_does(&["repack", "-a", "-d", "-q"]);
        world.git_does(&["prune-packed", "-q"]);
        world
    }

    fn git_does(&self, args: &[&str]) {
        let mut git = Command::new("git");
        let status = git.arg("-C").arg(&self.git.folder).args(args).status();
        assert!(status.unwrap().success(), "{args:?}");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The program, with an archive and an index named from this folder.
    fn sync(&self, archive: &str, index: &str) -> Command {
        let mut sync = Command::new(env!("CARGO_BIN_EXE_cratehold"));
        for proxy in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
            sync.env_remove(proxy).env_remove(proxy.to_lowercase());
        }
        sync.current_dir(self.folder.path());
        sync.args(["-a", archive, "sync", "--all", "--index", index]);
        sync.args(["--patience", "1", "--attempts", "2"]);
        sync
    }

    fn files(&self) -> Vec<&[u8]> {
        self.files.iter().map(Vec::as_slice).collect()
    }

    /// The one file with this ending among the packs of the repository in `folder`.
    fn pack(folder: &Path, ending: &str) -> PathBuf {
        let entries = std::fs::read_dir(folder.join("objects/pack")).unwrap();
        let mut paths = entries.map(|entry| entry.unwrap().path());
        paths
            .find(|path| path.extension().is_some_and(|found| found == ending))
            .unwrap()
    }
}

/// Changes a file that git has made read-only.
fn rewrite(path: &Path, bytes: &[u8]) {
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// Whatever byte of a pack is flipped: either the run says that the index is damaged,
/// or it finds exactly the lines that the registry wrote. `CRATEHOLD_ROT_STRIDE=1` flips
/// every byte.
#[test]
fn a_flipped_byte_never_makes_a_line() {
    let world = World::new();
    let pack = World::pack(&world.git.folder, "pack");
    let good = std::fs::read(&pack).unwrap();
    let mut options = options(&world.registry);
    options.index = IndexUrl::parse(&world.git.folder.display().to_string()).unwrap();
    options.no_download = true;
    let read = |at: usize| {
        let archive = world.path(&format!("archive-{at}"));
        let result = run(&archive, &options, &Selection::everything());
        let lines = Archive::open(&archive).map_or(0, |opened| {
            assert_eq!(opened.verify(Depth::Full, 1, &|_| {}).unwrap().problems, vec![]);
            let mut count = 0;
            for i in 0..10 {
                let name = format!("crate-{i}");
                let Some(state) = opened.crate_state(&name).unwrap() else {
                    continue;
                };
                for release in &state.releases {
                    let line = String::from_utf8(opened.line(release).unwrap().unwrap()).unwrap();
                    assert!(world.registry.lines(&name).contains(&line), "byte {at}: {line}");
                    count += 1;
                }
            }
            count
        });
        // Only for room: a file system in user space keeps a file, and so its folder, as long
        // as somebody still has it open.
        let _ = std::fs::remove_dir_all(&archive);
        (result, lines)
    };
    assert_eq!(read(good.len()).1, 20);
    let (mut said, mut unhurt) = (0, 0);
    let stride = std::env::var("CRATEHOLD_ROT_STRIDE").map_or(23, |stride| stride.parse().unwrap());
    for at in (0..good.len()).step_by(stride) {
        let mut bytes = good.clone();
        bytes[at] ^= 1 << (at % 8);
        rewrite(&pack, &bytes);
        match read(at) {
            (Err(error), _) => {
                let error = error.to_string();
                assert!(!error.contains('\n'), "{error}");
                said += 1;
            }
            (Ok(report), lines) if report.failed == 0 => {
                assert_eq!(lines, 20, "byte {at}");
                unhurt += 1;
            }
            (Ok(_), _) => said += 1,
        }
    }
    // Checksums at its end, and what nobody reads.
    assert!(said > 4 * unhurt, "{said} noticed, {unhurt} unhurt");
}

#[test]
fn a_damaged_repository_is_named_and_mended_by_another() {
    let world = World::new();
    let pack = World::pack(&world.git.folder, "pack");
    let good = std::fs::read(&pack).unwrap();
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 0x10;
    for bytes in [&flipped[..], &good[..good.len() / 2], &[]] {
        rewrite(&pack, bytes);
        let parts = ["error: ", "index.git"];
        ends(
            &mut world.sync("archive", "index.git"),
            &world.path("archive"),
            1,
            &parts,
            &[],
        );
    }
    rewrite(&pack, &good);
    let parts = ["20 downloaded", "0 failed"];
    ends(
        &mut world.sync("archive", "index.git"),
        &world.path("archive"),
        0,
        &parts,
        &world.files(),
    );
}

#[test]
fn an_empty_repository_is_no_reason_to_remove_anything() {
    let mut world = World::new();
    let archive = world.path("archive");
    ends(
        &mut world.sync("archive", "index.git"),
        &archive,
        0,
        &["20 downloaded"],
        &world.files(),
    );
    let kept = world.git.files.clone();
    // No commit at all.
    std::fs::rename(&world.git.folder, world.path("aside")).unwrap();
    world.git = GitRepository::new(&world.path("index.git"), &world.registry);
    let parts = ["expected a git repository", "--index"];
    ends(
        &mut world.sync("archive", "index.git"),
        &archive,
        1,
        &parts,
        &world.files(),
    );
    // A commit of an empty tree, and one of a config alone.
    world.git.files.clear();
    world.git.commit("nothing");
    ends(
        &mut world.sync("archive", "index.git"),
        &archive,
        1,
        &["config.json"],
        &world.files(),
    );
    world
        .git
        .files
        .insert("config.json".into(), kept["config.json"].clone());
    world.git.commit("nearly nothing");
    // Few releases: believed. Their bytes stay.
    ends(
        &mut world.sync("archive", "index.git"),
        &archive,
        0,
        &["0 crates wanted"],
        &world.files(),
    );
    world.git.files = kept;
    world.git.commit("all back");
    ends(
        &mut world.sync("archive", "index.git"),
        &archive,
        0,
        &["20 held already"],
        &world.files(),
    );
}

fn clone_files(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for below in ["", "objects/pack", "refs/cratehold"] {
        for entry in std::fs::read_dir(folder.join(below)).unwrap() {
            names.push(entry.unwrap().file_name().into_string().unwrap());
        }
    }
    names
}

/// What a fetch that was killed leaves is cleared away by the next, which goes on.
#[test]
fn a_fetch_that_was_killed_hurts_nothing() {
    let mut world = World::new();
    let archive = world.path("archive");
    let server = GitServer::start(world.folder.path());
    let url = format!("http://127.0.0.1:{}/index.git", server.port);
    let cache = world.path("archive.index");
    // While it is being made.
    std::fs::create_dir_all(cache.join("making/objects")).unwrap();
    std::fs::write(cache.join("cratehold.lock"), "").unwrap();
    std::fs::create_dir_all(cache.join("refs")).unwrap();
    ends(
        &mut world.sync("archive", &url),
        &archive,
        0,
        &["20 downloaded"],
        &world.files(),
    );
    assert!(!cache.join("making").exists());
    // While it is being fetched into: locks of git, and half a pack.
    for left in [
        "shallow.lock",
        "refs/cratehold/head.lock",
        "packed-refs.lock",
        "config.lock",
        "HEAD.lock",
    ] {
        std::fs::write(cache.join(left), "").unwrap();
    }
    std::fs::write(cache.join("objects/pack/.tmpAbCdEf"), "PACK").unwrap();
    world.files.push(world.registry.publish("crate-0@2.0.0"));
    world.git.take(&world.registry, "crate-0");
    world.git.commit("second");
    ends(
        &mut world.sync("archive", &url),
        &archive,
        0,
        &["1 downloaded"],
        &world.files(),
    );
    let names = clone_files(&cache);
    assert!(!names.iter().any(|name| name.starts_with(".tmp")), "{names:?}");
    let locks: Vec<_> = names.iter().filter(|name| name.ends_with(".lock")).collect();
    assert_eq!(locks, ["cratehold.lock"]);
    // A repository that somebody else has made is left as it is.
    let theirs = world.path("theirs");
    gix::init_bare(&theirs).unwrap();
    std::fs::write(theirs.join("config.lock"), "").unwrap();
    let mut sync = world.sync("archive", &url);
    ends(
        sync.args(["--index-cache", "theirs"]),
        &archive,
        0,
        &["21 held"],
        &world.files(),
    );
    assert!(theirs.join("config.lock").exists() && !theirs.join("cratehold.lock").exists());
}

/// Really killed, at moments of its own choosing.
#[test]
fn a_run_killed_while_it_fetches_or_reads_is_gone_on_with() {
    let world = World::new();
    let archive = world.path("archive");
    let server = GitServer::start(world.folder.path());
    let url = format!("http://127.0.0.1:{}/index.git", server.port);
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..10 {
        let mut sync = world.sync("archive", &url);
        let mut child = sync.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(random.u64(1..120)));
        let _ = child.kill();
        child.wait().unwrap();
    }
    ends(
        &mut world.sync("archive", &url),
        &archive,
        0,
        &[" 0 failed"],
        &world.files(),
    );
}

#[test]
fn a_damaged_clone_is_named_so_that_it_can_be_removed() {
    let mut world = World::new();
    let archive = world.path("archive");
    let server = GitServer::start(world.folder.path());
    let url = format!("http://127.0.0.1:{}/index.git", server.port);
    ends(
        &mut world.sync("archive", &url),
        &archive,
        0,
        &["20 downloaded"],
        &world.files(),
    );
    let cache = world.path("archive.index");
    let pack = World::pack(&cache, "pack");
    let good = std::fs::read(&pack).unwrap();
    rewrite(&pack, &good[..good.len() / 2]);
    let news = world.registry.publish("crate-1@3.0.0");
    world.git.take(&world.registry, "crate-1");
    world.git.commit("second");
    // Whether the run needs what is damaged is git's business; it must not be silent.
    let (code, stdout, stderr) = crate::binary::output(&mut world.sync("archive", &url));
    match code {
        Some(0) => assert_holds(&archive, &[&news]),
        _ => assert!(stderr.contains("archive.index"), "{stdout}{stderr}"),
    }
    assert_whole(&archive);
    std::fs::remove_dir_all(&cache).unwrap();
    world.files.push(news);
    ends(
        &mut world.sync("archive", &url),
        &archive,
        0,
        &[" 0 failed"],
        &world.files(),
    );
}

#[test]
fn two_fetches_into_one_clone_do_not_mix() {
    let world = World::new();
    let server = GitServer::start(world.folder.path());
    let url = format!("http://127.0.0.1:{}/index.git", server.port);
    let archive = world.path("archive");
    ends(
        &mut world.sync("archive", &url),
        &archive,
        0,
        &["20 downloaded"],
        &world.files(),
    );
    let lock = std::fs::File::options()
        .write(true)
        .open(world.path("archive.index/cratehold.lock"))
        .unwrap();
    lock.try_lock().unwrap();
    let parts = ["another cratehold is fetching into this clone", "--index-cache"];
    ends(&mut world.sync("archive", &url), &archive, 1, &parts, &[]);
    drop(lock);
    ends(&mut world.sync("archive", &url), &archive, 0, &["20 held"], &[]);
}

#[test]
fn rewritten_and_switched() {
    let mut world = World::new();
    let archive = world.path("archive");
    ends(
        &mut world.sync("archive", "index.git"),
        &archive,
        0,
        &["20 downloaded"],
        &world.files(),
    );
    // Squashed, its old objects gone: only what is new is news.
    world.files.push(world.registry.publish("crate-9@2.0.0"));
    world.git.take(&world.registry, "crate-9");
    world.git.commit("squashed");
    world.git_does(&["reflog", "expire", "--expire=now", "--all"]);
    world.git_does(&["gc", "--prune=now", "-q"]);
    let parts = ["21 crates wanted", "1 downloaded", "20 held already"];
    ends(
        &mut world.sync("archive", "index.git"),
        &archive,
        0,
        &parts,
        &world.files(),
    );
    // Another registry's index is refused, whatever is in it.
    GitRepository::new(&world.path("other.git"), &world.registry).commit("another");
    let parts = ["this archive mirrors", "index.git", "other.git", "another --archive"];
    ends(
        &mut world.sync("archive", "other.git"),
        &archive,
        1,
        &parts,
        &world.files(),
    );
}

/// Ctrl-C while git waits for a server that says nothing.
#[cfg(unix)]
#[test]
fn a_server_that_hangs_is_not_waited_for_when_asked_to_stop() {
    let world = World::new();
    let archive = world.path("archive");
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://127.0.0.1:{}/index.git", silent.local_addr().unwrap().port());
    for signal in ["-INT", "-TERM"] {
        let mut sync = world.sync("archive", &url);
        let child = sync.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (_connection, _) = silent.accept().unwrap();
        let start = std::time::Instant::now();
        let id = child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(130), "{stderr}");
        assert!(stderr.contains("run the same command again"), "{stderr}");
        // A second where the machine is at rest; far less than any timeout.
        assert!(start.elapsed() < Duration::from_secs(10));
        assert_whole(&archive);
    }
}
