//! What no client should send.

use crate::support::crate_file;
use crate::{Served, options, stocked};
use cratehold::ids::Digest;

fn stocked_one(folder: &std::path::Path) -> String {
    let file = crate_file("leaf@1.0.0", 100);
    stocked(folder, &[("leaf@1.0.0", &file)]);
    format!("/dl/{}", Digest::of(&file))
}

#[test]
fn only_reading_is_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let target = stocked_one(folder.path());
    let served = Served::start(folder.path(), &options());
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW"] {
        let got = served.ask(method, &target, &["Content-Length: 0"]);
        assert_eq!((got.status, got.header("allow")), (405, Some("GET, HEAD")), "{method}");
    }
    let mut client = served.client();
    client.send("POST /index/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nhalf a bo");
    assert_eq!(client.read(false).unwrap().status, 405);
}

#[test]
fn bad_encodings_tricks_and_hosts_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    stocked_one(folder.path());
    let served = Served::start(folder.path(), &options());
    for (target, status) in [
        ("/index/%", 400),
        ("/index/%zz", 400),
        ("/%ff%fe", 400),
        ("/dl/%00", 404),
        ("/../head0", 404),
        ("/index/../head0", 404),
        ("/index/%2e%2e/%2e%2e/etc/passwd", 404),
        ("/index/..%2f..%2fhead0", 404),
        ("/index/..%5chead0", 404),
        ("//etc/passwd", 404),
        ("/index/le/af/leaf%0d%0aX-Evil:%201", 404),
    ] {
        let got = served.get(target);
        assert_eq!(got.status, status, "{target}");
        assert_eq!(got.header("x-evil"), None);
        assert!(!got.text().contains("root") && !got.text().contains("evil"), "{target}");
    }
    for (head, status) in [
        ("GET /index/config.json HTTP/1.1\r\n\r\n", 400),
        ("GET /index/config.json HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("GET /index/config.json HTTP/1.1\r\nHost: a\"b\r\n\r\n", 400),
        ("GET /index/config.json HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
        ("GET http://other/index/config.json HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        ("GET /index/config.json HTTP/1.1\r\nHost:\r\n\r\n", 200),
        ("complete nonsense\r\n\r\n", 400),
        ("GET /\u{1} HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
    ] {
        let mut client = served.client();
        client.send(head);
        assert_eq!(client.read(false).unwrap().status, status, "{head:?}");
    }
}

#[test]
fn giant_heads_are_refused_and_cost_nothing() {
    let folder = tempfile::tempdir().unwrap();
    stocked_one(folder.path());
    let served = Served::start(folder.path(), &options());
    let long = "x".repeat(20_000);
    let many: String = (0..200).map(|i| format!("X-{i}: y\r\n")).collect();
    for (head, statuses) in [
        (format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"), &[414, 431][..]),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n"), &[431]),
    ] {
        let mut client = served.client();
        client.send(&head);
        // What was not read of it may cost the client the answer, but then it has none.
        let status = client.read(false).map(|response| response.status);
        assert!(status.is_none_or(|status| statuses.contains(&status)), "{status:?}");
    }
    let mut client = served.client();
    client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n"));
    assert_eq!(client.read(false).unwrap().status, 431);
    // One that never ends is cut off long before it fills memory.
    let mut client = served.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nX: ");
    let sent = (0..1000).take_while(|_| client.try_send(&long)).count();
    assert!(sent < 1000, "20 MB of a header were taken");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let target = stocked_one(folder.path());
    let served = Served::start(folder.path(), &options());
    let mut client = served.client();
    let one = |method: &str, target: &str| format!("{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n");
    let all = [
        one("GET", "/index/config.json"),
        one("GET", &target),
        one("HEAD", &target),
        one("GET", "/none"),
        one("GET", &target),
    ];
    client.send(all.concat());
    let heads = [false, false, true, false, false];
    let got: Vec<_> = heads.map(|head_only| client.read(head_only).unwrap()).into();
    let statuses: Vec<u16> = got.iter().map(|response| response.status).collect();
    assert_eq!(statuses, [200, 200, 200, 404, 200]);
    assert!(got[1].body == got[4].body && !got[1].body.is_empty());
}

#[test]
fn every_answer_is_logged_as_sent() {
    let folder = tempfile::tempdir().unwrap();
    let target = stocked_one(folder.path());
    let served = Served::start(folder.path(), &options());
    let bytes = served.ask("GET", &target, &["User-Agent: a test"]).body.len() as u64;
    served.ask("HEAD", &target, &[]);
    served.get("/none?q=%20");
    let logged = served.accesses(3);
    let brief: Vec<_> = logged
        .iter()
        .map(|access| {
            (
                access.method.as_str(),
                access.target.as_str(),
                access.status,
                access.sent_bytes,
            )
        })
        .collect();
    assert_eq!(brief[0], ("GET", target.as_str(), 200, bytes));
    assert_eq!(brief[1], ("HEAD", target.as_str(), 200, 0));
    assert_eq!((brief[2].1, brief[2].2), ("/none?q=%20", 404));
    assert_eq!(logged[0].user_agent.as_deref(), Some("a test"));
    assert_eq!(logged[0].version, "HTTP/1.1");
}

#[test]
fn what_is_no_request_is_logged_too() {
    let folder = tempfile::tempdir().unwrap();
    stocked_one(folder.path());
    let served = Served::start(folder.path(), &options());
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(20_000));
    for (i, (head, method, status)) in [
        ("complete nonsense\r\n\r\n", "-", 400),
        ("GE(T / HTTP/1.1\r\nHost: a\r\n\r\n", "-", 400),
        (long.as_str(), "-", 431),
        ("BREW / HTTP/1.1\r\nHost: a\r\n\r\n", "BREW", 405),
    ]
    .into_iter()
    .enumerate()
    {
        let mut client = served.client();
        client.try_send(head);
        // A connection that stays open has its line once its answer is there.
        let _ = client.read(false);
        let last = served.accesses(i + 1).pop().unwrap();
        assert_eq!((last.method.as_str(), last.status), (method, status), "{head:.20}");
    }
}
