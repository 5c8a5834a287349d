//! The program itself: what it prints, how it ends, and Ctrl-C.

use super::*;
use crate::support::{Act, dl_path, index_path};
use std::process::{Command, Output, Stdio};

pub fn command(folder: &Path, registry: &Registry) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cratehold"));
    for proxy in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env_remove(proxy).env_remove(proxy.to_lowercase());
    }
    command
        .arg("--archive")
        .arg(folder)
        .args(["sync", "--index", &registry.index()]);
    command
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

pub fn output(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code(), text(&stdout), text(&stderr))
}

/// The events that `--json` gave.
fn events(stdout: &str) -> Vec<serde_json::Value> {
    let lines = stdout.lines();
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The last of them.
fn summary(stdout: &str) -> serde_json::Value {
    let summary = events(stdout).pop().unwrap();
    assert_eq!(summary["event"], "done", "{stdout}");
    summary
}

#[test]
fn json_tells_what_happens_one_object_a_line() {
    let registry = Registry::start();
    let folder = tempfile::tempdir().unwrap();
    for release in ["ev@1.0.0", "ev@1.0.1", "ev@1.0.2"] {
        registry.publish(release);
    }
    registry.forget(&dl_path("ev@1.0.1"));
    registry.always(&dl_path("ev@1.0.2"), Some(Act::Wrong));
    let (code, stdout, stderr) = output(command(folder.path(), &registry).args([
        "--crate",
        "ev",
        "--crate",
        "none",
        "--attempts",
        "1",
        "--json",
    ]));
    assert_eq!(code, Some(1), "{stdout}{stderr}");
    let events = events(&stdout);
    let told = |event: &str| -> Vec<_> { events.iter().filter(|told| told["event"] == event).collect() };
    let phases: Vec<_> = told("phase").iter().map(|told| told["phase"].clone()).collect();
    assert_eq!(phases, ["reading", "downloading", "committing"]);
    assert!(!told("progress").is_empty());
    assert_eq!(told("missing").len(), 1);
    assert_eq!(told("missing")[0]["what"], "ev@1.0.1");
    let failed: Vec<_> = told("failed").iter().map(|told| told["what"].clone()).collect();
    assert_eq!(failed, ["none", "ev@1.0.2"]);
    assert_eq!(told("committed")[0]["snapshot"], 1);
    let done = told("done");
    assert_eq!(
        (done.len(), &done[0]["complete"], &done[0]["failed_count"]),
        (1, &false.into(), &2.into())
    );
    assert_eq!((&done[0]["missing"], &done[0]["missing_new"]), (&1.into(), &1.into()));
    assert_eq!(done[0]["absent"][0]["what"], "ev@1.0.1");
    assert_eq!(events.last(), Some(done[0]));

    // What ends a run at once is an event, too.
    registry.always("/index/config.json", Some(Act::Html));
    let (code, stdout, _) = output(command(folder.path(), &registry).args(["--crate", "ev", "--json"]));
    assert_eq!(code, Some(1));
    let last: serde_json::Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    assert_eq!(last["event"], "error");
    assert!(last["cause"].as_str().unwrap().contains("HTML page"), "{last}");
}

#[test]
fn it_says_what_it_did_and_exits_accordingly() {
    let registry = Registry::start();
    let folder = tempfile::tempdir().unwrap();
    registry.publish("bin@1.0.0");
    registry.publish("bin@1.0.1");
    registry.publish("list@1.0.0");
    registry.forget(&dl_path("bin@1.0.1"));
    let list = folder.path().join("list.txt");
    std::fs::write(&list, "list@1.0.0\n").unwrap();
    let archive = folder.path().join("archive");
    let sync = || {
        let mut command = command(&archive, &registry);
        command.args(["--crate", "bin", "--list"]).arg(&list);
        command
    };
    let (code, stdout, stderr) = output(&mut sync());
    assert_eq!(code, Some(1), "{stdout}{stderr}");
    assert!(stdout.starts_with("3 crates wanted: 2 downloaded ("), "{stdout}");
    assert!(
        stdout.contains("0 held already, 0 failed, 1 missing upstream; archive is now snapshot 1"),
        "{stdout}"
    );
    assert!(
        stderr.starts_with("missing: bin@1.0.1: missing upstream: http://"),
        "{stderr}"
    );
    assert!(
        stderr
            .trim_end()
            .lines()
            .last()
            .unwrap()
            .contains("tries again just what is missing, after a day"),
        "{stderr}"
    );

    registry.serve(&dl_path("bin@1.0.1"), &support::crate_file("bin@1.0.1", 300));
    // Known to be missing and not asked for again so soon, it is no failure any more.
    let (code, stdout, stderr) = output(&mut sync());
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(
        stdout.contains("0 downloaded") && stdout.contains("1 missing upstream"),
        "{stdout}"
    );
    let (code, stdout, _) = output(sync().args(["--json", "--retry-missing"]));
    assert_eq!(code, Some(0));
    let summary = summary(&stdout);
    assert_eq!(summary["downloaded"], 1);
    assert_eq!(summary["held"], 2);
    assert_eq!(summary["complete"], true);
    assert_eq!(summary["failed"], serde_json::json!([]));

    let (code, stdout, stderr) = output(&mut sync());
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(
        stdout.contains("0 downloaded") && stdout.contains("3 held already"),
        "{stdout}"
    );
}

#[test]
fn what_is_left_out_for_its_length_is_said() {
    let registry = Registry::start();
    let folder = tempfile::tempdir().unwrap();
    registry.publish("long@1.0.0");
    let sync = || {
        let mut command = command(&folder.path().join("archive"), &registry);
        command.args(["--crate", "long", "--max-size", "100"]);
        command
    };
    let (code, stdout, stderr) = output(&mut sync());
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    assert!(stdout.contains("left out: 1 crates longer than --max-size"), "{stdout}");
    let (_, stdout, _) = output(sync().arg("--json"));
    let summary = summary(&stdout);
    assert_eq!(summary["left_out"]["too_long"], 1);
    assert_eq!(summary["downloaded"], 0);
}

#[test]
fn a_selection_is_made_by_flags_and_what_it_leaves_out_is_said() {
    let registry = Registry::start();
    let folder = tempfile::tempdir().unwrap();
    for release in ["serde@1.0.0", "serde@1.1.0", "serde-json@1.0.0", "syn@1.0.0"] {
        registry.publish(release);
    }
    let list = folder.path().join("list.txt");
    std::fs::write(&list, "serde@1.0.0\nsyn@1.0.0\n").unwrap();
    let sync = || {
        let mut command = command(&folder.path().join("archive"), &registry);
        command
            .args(["--crate", "serde", "--crate", "serde-json", "--list"])
            .arg(&list);
        command.args([
            "--only",
            "serde*",
            "--only",
            "tokio*",
            "--exclude",
            "*_json",
            "--latest",
            "1",
        ]);
        command
    };
    let (code, stdout, stderr) = output(&mut sync());
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    assert!(stdout.starts_with("2 crates wanted: 2 downloaded ("), "{stdout}");
    assert!(
        stdout.contains("left out: 2 of what was named, by --only and --exclude"),
        "{stdout}"
    );
    let (_, stdout, _) = output(sync().arg("--json"));
    let summary = summary(&stdout);
    assert_eq!(
        (&summary["left_out"]["excluded"], &summary["held"]),
        (&2.into(), &2.into())
    );
}

#[test]
fn a_wrong_command_line_is_exit_code_2() {
    let registry = Registry::start();
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("archive");
    let (code, _, stderr) = output(&mut command(&archive, &registry));
    assert_eq!(code, Some(2));
    assert!(stderr.contains("--lockfile") && stderr.contains("required"), "{stderr}");
    for (args, part) in [
        (["--crate", "a b"], "crate name"),
        (["--crate", "a@1.y"], "neither a full version nor"),
        (["--only", "[a"], "no glob on crate names"),
        (["--latest", "0"], "--latest"),
        (["--jobs", "0"], "1..=512"),
        (["--timeout", "0"], "1..=3600"),
    ] {
        let (code, _, stderr) = output(command(&archive, &registry).args(args).args(["--crate", "b"]));
        assert_eq!(code, Some(2), "{args:?}");
        assert!(stderr.contains(part), "{stderr}");
    }
    for (args, part) in [
        (
            &["--crate", "a", "--index", "no/such/folder"][..],
            "expected sparse+URL",
        ),
        (&["--all", "--crate", "a"], "cannot be used with"),
        (&["--crate", "a", "--no-download"], "cannot be used with"),
        (&["--crate", "a", "--accept-removals", "5"], "cannot be used with"),
    ] {
        let mut program = Command::new(env!("CARGO_BIN_EXE_cratehold"));
        let (code, _, stderr) = output(program.arg("-a").arg(&archive).arg("sync").args(args));
        assert_eq!(code, Some(2), "{args:?}");
        assert!(stderr.contains(part), "{stderr}");
    }
    let (code, _, stderr) = output(command(&archive, &registry).args(["--lockfile", "none.lock"]));
    assert_eq!(code, Some(1));
    assert!(stderr.starts_with("error: none.lock: "), "{stderr}");
    assert!(!archive.exists(), "no archive is made for a command that cannot work");
}

/// Starts a run whose version 3 of 6 hangs, and waits until the others are there.
#[cfg(unix)]
fn hanging(archive: &Path, registry: &Registry) -> (std::process::Child, Vec<Vec<u8>>) {
    let files = (0..6).map(|i| registry.publish(&format!("slow@1.0.{i}"))).collect();
    registry.always(&dl_path("slow@1.0.3"), Some(Act::Stall(100)));
    let child = command(archive, registry)
        .args(["--crate", "slow", "--jobs", "2"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while registry
        .requests("/dl/")
        .iter()
        .filter(|request| request.status == 200)
        .count()
        < 5
    {
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::sleep(Duration::from_millis(300));
    (child, files)
}

#[cfg(unix)]
fn interrupt(child: &std::process::Child) {
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
}

#[cfg(unix)]
#[test]
fn ctrl_c_keeps_what_has_arrived() {
    let registry = Registry::start();
    let folder = tempfile::tempdir().unwrap();
    let (child, files) = hanging(folder.path(), &registry);
    interrupt(&child);
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let (stdout, stderr) = (text(&stdout), text(&stderr));
    assert_eq!(status.code(), Some(130), "{stdout}{stderr}");
    assert!(
        stdout.contains("5 downloaded") && stdout.contains("stopped before the end"),
        "{stdout}"
    );
    assert!(stderr.contains("run the same command again to go on"), "{stderr}");
    let arrived: Vec<&[u8]> = [0, 1, 2, 4, 5].map(|i: usize| files[i].as_slice()).to_vec();
    assert_holds(folder.path(), &arrived);
    registry.always(&dl_path("slow@1.0.3"), None);
    registry.forget_requests();
    let (code, ..) = output(command(folder.path(), &registry).args(["--crate", "slow"]));
    assert_eq!(code, Some(0));
    assert_eq!(registry.requests("/dl/").len(), 1);
    assert_holds(folder.path(), &files.iter().map(Vec::as_slice).collect::<Vec<_>>());
}

#[cfg(unix)]
#[test]
fn ctrl_c_does_not_wait_for_a_registry_index_that_hangs() {
    for path in [index_path("slow"), "/index/config.json".to_owned()] {
        let registry = Registry::start();
        let folder = tempfile::tempdir().unwrap();
        registry.publish("slow@1.0.0");
        registry.always(&path, Some(Act::Silence));
        let child = command(folder.path(), &registry)
            .args(["--crate", "slow"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        while registry.requests(&path).is_empty() {
            std::thread::sleep(Duration::from_millis(10));
        }
        let start = std::time::Instant::now();
        interrupt(&child);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
        assert!(start.elapsed() < Duration::from_secs(5));
    }
}

#[cfg(unix)]
#[test]
fn a_kill_at_any_moment_loses_no_more_than_the_run() {
    let registry = Registry::start();
    let folder = tempfile::tempdir().unwrap();
    let first = registry.publish("kept@1.0.0");
    assert!(sync(folder.path(), &registry, &["kept"]).is_complete());
    let (mut child, files) = hanging(folder.path(), &registry);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_holds(folder.path(), &[&first]);
    registry.always(&dl_path("slow@1.0.3"), None);
    let (code, ..) = output(command(folder.path(), &registry).args(["--crate", "slow"]));
    assert_eq!(code, Some(0));
    assert_holds(folder.path(), &files.iter().map(Vec::as_slice).collect::<Vec<_>>());
}
