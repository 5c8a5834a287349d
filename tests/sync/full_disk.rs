//! A disk that is full in the middle, really: by the system's own limit on the length of
//! files, and where we may, by a small file system in memory.
#![cfg(unix)]

use super::*;
use crate::binary::{command, output};
use crate::endings::{assert_whole, ends};
use std::process::Command;

/// Ten crates of 100 kB that do not compress, after one that is small.
fn registry() -> (Registry, Vec<u8>, Vec<Vec<u8>>) {
    let registry = Registry::start();
    let small = registry.publish("small@1.0.0");
    let files = (0..10).map(|i| registry.publish_sized(&format!("full-{i}@1.0.0"), 100_000));
    let files = files.collect();
    (registry, small, files)
}

/// `sync` of all of them, by way of a shell that does something first.
fn through_shell(registry: &Registry, archive: &Path, script: &str) -> Command {
    let sync = names(command(archive, registry));
    let mut shell = Command::new("sh");
    shell
        .args(["-c", script, "sh"])
        .arg(sync.get_program())
        .args(sync.get_args());
    for (name, _) in sync.get_envs() {
        shell.env_remove(name);
    }
    shell
}

fn names(mut sync: Command) -> Command {
    for i in 0..10 {
        sync.args(["--crate", &format!("full-{i}")]);
    }
    sync
}

#[test]
fn a_file_that_may_grow_no_more() {
    let (registry, small, files) = registry();
    let folder = tempfile::tempdir().unwrap();
    let small_first = &["--crate", "small"];
    ends(
        command(folder.path(), &registry).args(small_first),
        folder.path(),
        0,
        &["1 downloaded"],
        &[&small],
    );
    // In blocks of 512 or 1024 bytes, as the shell has it. Without the trap, the first
    // write beyond would be the end of the process rather than an error.
    let mut limited = through_shell(&registry, folder.path(), "trap '' XFSZ; ulimit -f 400; exec \"$@\"");
    let parts = ["error: ", "nothing committed is lost", "make room"];
    ends(&mut limited, folder.path(), 1, &parts, &[&small]);
    let files: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
    ends(
        &mut names(command(folder.path(), &registry)),
        folder.path(),
        0,
        &["0 failed"],
        &files,
    );
}

/// In a mount namespace of its own, so that nothing is left when it ends.
#[test]
fn a_small_file_system() {
    let (registry, _, files) = registry();
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("place");
    std::fs::create_dir(&place).unwrap();
    let archive = place.join("archive");
    // Full: an error. With room again: all of it, whole, and brought out of there.
    let script = format!(
        "mount -t tmpfs -o size=600k tmpfs {0} || exit 99; \
         \"$@\" && exit 98; \
         $1 -a {0}/archive verify --full || exit 97; \
         mount -o remount,size=64m {0} || exit 99; \
         \"$@\" || exit 96; \
         $1 -a {0}/archive verify --full || exit 95; \
         cp -r {0}/archive {0}.kept",
        place.display()
    );
    let inner = through_shell(&registry, &archive, &script);
    let mut alone = Command::new("unshare");
    alone.arg("-rm").arg(inner.get_program()).args(inner.get_args());
    for (name, _) in inner.get_envs() {
        alone.env_remove(name);
    }
    let Ok(run) = alone.output() else { return };
    let said = String::from_utf8_lossy(&run.stdout).into_owned() + &String::from_utf8_lossy(&run.stderr);
    if run.status.code() == Some(99) || said.contains("unshare") {
        // Not every system lets everybody mount; the test above is for those.
        return;
    }
    assert_eq!(run.status.code(), Some(0), "{said}");
    for part in [
        "error: ",
        "No space left on device",
        "nothing committed is lost",
        "make room",
    ] {
        assert!(said.contains(part), "expected `{part}` in: {said}");
    }
    let kept = folder.path().join("place.kept");
    assert_whole(&kept);
    assert_holds(&kept, &files.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let (code, ..) = output(&mut names(command(&kept, &registry)));
    assert_eq!(code, Some(0));
}
