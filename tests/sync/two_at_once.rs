//! Two runs at once: the second says who holds the lock, and never names a process
//! that is gone.

use super::*;
use crate::binary::{command, output};
use crate::endings::{assert_whole, ends};
use crate::support::{Act, dl_path};
use std::fs::File;
use std::process::{Child, Stdio};

/// A run that waits for a server which never answers.
fn waiting(archive: &Path, registry: &Registry) -> Child {
    registry.always(&dl_path("two@1.0.0"), Some(Act::Silence));
    let before = registry.requests("/dl/").len();
    let mut sync = command(archive, registry);
    sync.args(["--crate", "two"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let child = sync.spawn().unwrap();
    while registry.requests("/dl/").len() == before {
        std::thread::sleep(Duration::from_millis(10));
    }
    child
}

#[test]
fn the_second_says_who_is_first() {
    let (registry, folder) = (Registry::start(), tempfile::tempdir().unwrap());
    let archive = folder.path().join("archive");
    let file = registry.publish("two@1.0.0");
    let mut first = waiting(&archive, &registry);
    let process = format!("process {}", first.id());
    let today = jiff::Timestamp::now().strftime("since %Y-%m-").to_string();
    let parts = [
        "another cratehold is writing to this archive: ",
        process.as_str(),
        today.as_str(),
        "wait for it",
    ];
    ends(
        command(&archive, &registry).args(["--crate", "two"]),
        &archive,
        1,
        &parts,
        &[],
    );
    first.kill().unwrap();
    first.wait().unwrap();
    // What the killed one left says nothing to whoever comes next.
    assert!(
        std::fs::read_to_string(archive.join("lock"))
            .unwrap()
            .starts_with(&process)
    );
    registry.always(&dl_path("two@1.0.0"), None);
    ends(
        command(&archive, &registry).args(["--crate", "two"]),
        &archive,
        0,
        &["1 downloaded"],
        &[&file],
    );
    assert_eq!(std::fs::read(archive.join("lock")).unwrap(), b"", "nobody writes now");
}

#[test]
fn a_process_that_is_gone_is_not_named() {
    let (registry, folder) = (Registry::start(), tempfile::tempdir().unwrap());
    let archive = folder.path().join("archive");
    registry.publish("two@1.0.0");
    let mut killed = waiting(&archive, &registry);
    killed.kill().unwrap();
    killed.wait().unwrap();
    // Held by somebody who leaves no note, over the note of the one that was killed.
    let lock = File::options().write(true).open(archive.join("lock")).unwrap();
    lock.try_lock().unwrap();
    let (code, _, stderr) = output(command(&archive, &registry).args(["--crate", "two"]));
    assert_eq!(code, Some(1));
    assert!(
        stderr.contains("another cratehold is writing to this archive; wait"),
        "{stderr}"
    );
    assert!(!stderr.contains(&killed.id().to_string()), "{stderr}");
    drop(lock);
    assert_whole(&archive);
}
