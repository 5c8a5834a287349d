//! `cratehold serve` as it is run.

use crate::client::Client;
use crate::stocked;
use crate::support::crate_file;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cratehold"));
    command.arg("-a").arg(folder).arg("serve").args(args);
    command
}

/// A server that is killed if the test ends before it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What it prints up to the last line of what is to be copied.
fn start(folder: &Path, args: &[&str]) -> (Running, String, BufReader<std::process::ChildStdout>) {
    let mut child = command(folder, args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    while !text.contains("registry = ") {
        assert_ne!(out.read_line(&mut text).unwrap(), 0, "{text}");
    }
    (Running(child), text, out)
}

#[cfg(unix)]
#[test]
fn it_says_where_it_is_logs_and_ends_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("archive");
    stocked(&archive, &[("leaf@1.0.0", &crate_file("leaf@1.0.0", 10))]);
    let log = folder.path().join("log");
    let (mut running, text, mut out) = start(
        &archive,
        &[
            "--listen",
            "127.0.0.1:0",
            "--log",
            log.to_str().unwrap(),
            "--cache",
            "1MB",
        ],
    );
    let address = text.split("http://").nth(1).unwrap().split('/').next().unwrap();
    assert!(
        text.contains(&format!("registry = \"sparse+http://{address}/index/\"")),
        "{text}"
    );
    let mut client = Client::connect(address.parse().unwrap());
    let file = client.ask("GET", "/index/le/af/leaf", &[]);
    assert_eq!(file.status, 200);
    let killed = Command::new("kill")
        .args(["-TERM", &running.0.id().to_string()])
        .status();
    assert!(killed.unwrap().success());
    assert_eq!(running.0.wait().unwrap().code(), Some(0));
    let line = std::fs::read_to_string(log).unwrap();
    let end = format!("\"GET /index/le/af/leaf HTTP/1.1\" 200 {}\n", file.body.len());
    assert!(line.starts_with("127.0.0.1 - - [") && line.ends_with(&end), "{line}");
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert!(rest.trim().is_empty(), "{rest}");
}

#[test]
fn the_log_may_be_json_on_standard_output() {
    let folder = tempfile::tempdir().unwrap();
    stocked(folder.path(), &[]);
    let (_running, text, mut out) = start(
        folder.path(),
        &[
            "--listen",
            "127.0.0.1:0",
            "--log",
            "-",
            "--log-format",
            "json",
            "--url",
            "http://a.example/x/",
        ],
    );
    assert!(text.contains("\"sparse+http://a.example/x/index/\""), "{text}");
    // Behind a proxy its own address is what is to be known.
    let address = text
        .split("listening on ")
        .nth(1)
        .unwrap()
        .split_whitespace()
        .next()
        .unwrap();
    assert_eq!(
        Client::connect(address.parse().unwrap())
            .ask("GET", "/index/no", &[])
            .status,
        404
    );
    let mut line = String::new();
    while line.trim().is_empty() {
        line.clear();
        assert_ne!(out.read_line(&mut line).unwrap(), 0);
    }
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&line["status"], &line["target"]), (&404.into(), &"/index/no".into()));
}

#[test]
fn what_cannot_be_is_said_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("archive");
    stocked(&archive, &[]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let nowhere = folder.path().join("no/log");
    for (folder, args, code, part) in [
        (&*archive, &["--listen", &taken][..], 1, "--listen"),
        (&*archive, &["--listen", "nonsense"], 1, "nonsense"),
        (&*archive, &["--url", "ftp://x"], 2, "http://"),
        (&*archive, &["--log", nowhere.to_str().unwrap()], 1, "no/log"),
        (&*archive, &["--as-of", "99"], 1, "no snapshot 99"),
        (
            folder.path(),
            &["--listen", "127.0.0.1:0"],
            1,
            "not a cratehold archive",
        ),
    ] {
        let output = command(folder, args).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?} {error}");
        assert!(error.starts_with("error: ") && error.contains(part), "{args:?} {error}");
    }
}
