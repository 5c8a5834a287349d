//! Bad days as people meet them: what the program says, its exit code, and an archive
//! that `verify` calls whole.

use super::*;
use crate::binary::{command, output};
use crate::support::{Act, dl_path};
use std::process::Command;
use std::time::SystemTime;

/// What is left to be said when something could not be had.
pub const AGAIN: &str = "the same command tries again just what is missing";

/// Runs `sync`, which must end with this code and say these parts; `verify` must call
/// the archive whole, and these files must be in it. Gives what it said.
pub fn ends(sync: &mut Command, archive: &Path, code: i32, parts: &[&str], files: &[&[u8]]) -> String {
    let (found, stdout, stderr) = output(sync);
    let said = format!("{stdout}{stderr}");
    assert_eq!(found, Some(code), "{said}");
    for part in parts {
        assert!(said.contains(part), "expected `{part}` in: {said}");
    }
    if code == 1 {
        assert!(stderr.lines().count() <= 40, "short enough to be read: {stderr}");
        let last = stderr.lines().last().unwrap_or_default();
        assert!(last.contains(AGAIN) || last.starts_with("error: "), "{stderr}");
    }
    if code != 0 {
        assert!(!said.contains(r#""complete":true"#));
    }
    assert_whole(archive);
    assert_holds(archive, files);
    said
}

/// `verify` says so.
pub fn assert_whole(archive: &Path) {
    let mut verify = Command::new(env!("CARGO_BIN_EXE_cratehold"));
    let (code, stdout, stderr) = output(verify.arg("-a").arg(archive).args(["verify", "--full"]));
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
}

/// One crate's file comes as told, among good ones.
fn one_bad(act: Act, parts: &[&str]) {
    let (registry, folder) = (Registry::start(), tempfile::tempdir().unwrap());
    let files = ["bad@1.0.0", "bad@1.0.1", "good@1.0.0"].map(|release| registry.publish_sized(release, 5000));
    registry.always(&dl_path("bad@1.0.1"), Some(act));
    let sync = || {
        let mut command = command(folder.path(), &registry);
        command.args(["--crate", "bad", "--crate", "good", "--attempts", "2", "--timeout", "1"]);
        command.arg("--retry-missing");
        command
    };
    let told = match parts.contains(&"missing upstream") {
        true => ["missing: bad@1.0.1: ", "0 failed, 1 missing upstream"],
        false => ["failed: bad@1.0.1: ", "1 failed"],
    };
    let mut expected = vec!["2 downloaded", AGAIN];
    expected.extend(told);
    expected.extend(parts);
    ends(&mut sync(), folder.path(), 1, &expected, &[&files[0], &files[2]]);
    registry.always(&dl_path("bad@1.0.1"), None);
    let parts = ["1 downloaded", "2 held already", "0 failed"];
    ends(
        &mut sync(),
        folder.path(),
        0,
        &parts,
        &files.each_ref().map(Vec::as_slice),
    );
}

#[test]
fn one_crate_that_always_fails() {
    let loop_to = dl_path("bad@1.0.1");
    let days: [(Act, &[&str]); 10] = [
        (Act::Status(404, ""), &["missing upstream", "answered 404"]),
        (Act::Status(429, "Retry-After: 1\r\n"), &["found 429", "fewer --jobs"]),
        (Act::Status(503, ""), &["found 503", "try again later"]),
        (Act::Html, &["looks like an HTML page"]),
        (Act::Wrong, &["expected SHA-256", "found"]),
        (Act::Cut(777), &["cut off: expected", "found 777"]),
        (Act::Stall(700), &["timed out", "after 700 bytes"]),
        (Act::Drip(20), &["next to nothing came for 1 s", "--timeout"]),
        (Act::Redirect(loop_to), &["redirected more than 5 times"]),
        (Act::Close, &["ended the connection without an answer"]),
    ];
    // They mostly wait, so all at once.
    std::thread::scope(|scope| {
        for (act, parts) in days {
            scope.spawn(move || one_bad(act, parts));
        }
    });
}

#[test]
fn a_server_that_goes_in_the_middle() {
    let (registry, folder) = (Registry::start(), tempfile::tempdir().unwrap());
    let files: Vec<_> = (0..30).map(|i| registry.publish(&format!("gone@1.0.{i}"))).collect();
    registry.below("/dl/", Act::Slow(50), None);
    let patient = |seconds: &str| {
        let mut command = command(folder.path(), &registry);
        command.args([
            "--crate",
            "gone",
            "--jobs",
            "4",
            "--attempts",
            "2",
            "--patience",
            seconds,
        ]);
        command
    };
    let sync = || patient("1");
    let said = std::thread::scope(|scope| {
        scope.spawn(|| {
            while registry.requests("/dl/").len() < 6 {
                std::thread::sleep(Duration::from_millis(5));
            }
            registry.vanish();
        });
        let parts = [
            "gave up: nothing comes from the server any more",
            "cannot connect",
            AGAIN,
        ];
        ends(&mut sync(), folder.path(), 1, &parts, &[])
    });
    assert!(!said.contains(" 0 downloaded"), "what had come is kept: {said}");
    // Not there at all: said at once, and nothing is lost.
    ends(
        &mut patient("0"),
        folder.path(),
        1,
        &["cannot connect", "config.json"],
        &[],
    );
    registry.come_back();
    let files: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
    ends(&mut sync(), folder.path(), 0, &["0 failed"], &files);
}

#[test]
fn a_server_that_has_trouble_for_a_while() {
    let (registry, folder) = (Registry::start(), tempfile::tempdir().unwrap());
    let files: Vec<_> = (0..12).map(|i| registry.publish(&format!("while@1.0.{i}"))).collect();
    let files: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
    registry.below("/", Act::Status(503, ""), Some(Duration::from_secs(2)));
    let parts = ["12 downloaded", "0 failed"];
    ends(
        command(folder.path(), &registry).args(["--crate", "while"]),
        folder.path(),
        0,
        &parts,
        &files,
    );
    // And one whose trouble does not end.
    let news: Vec<_> = (0..12).map(|i| registry.publish(&format!("while@2.0.{i}"))).collect();
    registry.below("/dl/", Act::Status(503, ""), None);
    let mut sync = command(folder.path(), &registry);
    sync.args(["--crate", "while", "--patience", "1", "--attempts", "3"]);
    let parts = ["gave up", "found 503", "12 held already", "0 downloaded", AGAIN];
    let said = ends(&mut sync, folder.path(), 1, &parts, &files);
    assert!(!said.contains("complete"), "{said}");
    let archive = Archive::open(folder.path()).unwrap();
    assert!(archive.find(&Digest::of(&news[0])).unwrap().is_none());
}

#[test]
fn a_server_that_asks_for_time_is_given_it() {
    let seconds = || (SystemTime::now() + Duration::from_secs(2), "2".to_owned());
    // A date has whole seconds.
    let date = || {
        let until = httpdate::HttpDate::from(SystemTime::now() + Duration::from_secs(4));
        (SystemTime::from(until), until.to_string())
    };
    let ways: [&dyn Fn() -> (SystemTime, String); 2] = [&seconds, &date];
    for way in ways {
        let (registry, folder) = (Registry::start(), tempfile::tempdir().unwrap());
        let file = registry.publish("wait@1.0.0");
        let (until, value) = way();
        let header = format!("Retry-After: {value}\r\n").leak();
        registry.once(&dl_path("wait@1.0.0"), Act::Status(429, header));
        ends(
            command(folder.path(), &registry).args(["--crate", "wait"]),
            folder.path(),
            0,
            &["1 downloaded"],
            &[&file],
        );
        assert!(SystemTime::now() >= until, "{header}");
        assert_eq!(registry.requests("/dl/").len(), 2);
    }
}

#[test]
fn a_redirect_to_another_host_is_followed() {
    let (registry, other, folder) = (Registry::start(), Registry::start(), tempfile::tempdir().unwrap());
    let file = registry.publish("move@1.0.0");
    other.serve("/elsewhere.crate", &file);
    let to = format!("http://localhost:{}/elsewhere.crate", other.port);
    registry.always(&dl_path("move@1.0.0"), Some(Act::Redirect(to)));
    let mut sync = command(folder.path(), &registry);
    ends(
        sync.args(["--crate", "move"]),
        folder.path(),
        0,
        &["1 downloaded"],
        &[&file],
    );
    assert_eq!(other.requests("/elsewhere").len(), 1);
}

/// Dates are what the clock says, also when it was set back: that is said, the order of
/// snapshots stays that of their numbers, and nothing is lost.
#[test]
fn a_clock_that_was_set_back() {
    let (registry, folder) = (Registry::start(), tempfile::tempdir().unwrap());
    let first = registry.publish("clock@1.0.0");
    let sync = || {
        let mut command = command(folder.path(), &registry);
        command.args(["--crate", "clock"]);
        command
    };
    ends(&mut sync(), folder.path(), 0, &["archive is now snapshot 1"], &[&first]);
    // As if the first had been made in a hundred years.
    let mut head = Archive::open(folder.path()).unwrap().head().clone();
    head.time += 100 * 365 * 86_400;
    std::fs::write(folder.path().join("head1"), head.encode()).unwrap();
    let second = registry.publish("clock@1.0.1");
    let parts = [
        "note: this machine's clock says 20",
        "the newest snapshot is of 21",
        "now snapshot 2",
    ];
    ends(&mut sync(), folder.path(), 0, &parts, &[&first, &second]);
    // Set right again: nothing to say, and both are there as of today.
    let (code, _, stderr) = output(&mut sync());
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    let today = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
    let mut list = Command::new(env!("CARGO_BIN_EXE_cratehold"));
    list.arg("-a").arg(folder.path());
    let (code, stdout, _) = output(list.args(["list", "clock", "--as-of", &today]));
    assert_eq!(code, Some(0));
    assert!(stdout.contains("1.0.0") && stdout.contains("1.0.1"), "{stdout}");
}
