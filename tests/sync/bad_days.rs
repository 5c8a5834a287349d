//! One test for each way in which a server or a disk can fail: a clear error, the
//! other crates unharmed, nothing wrong stored, and the next run mends it.

use super::*;
use crate::support::{Act, crate_file, dl_path, index_path};
use cratehold::store::{DiskMedium, FileBytes, Medium};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

/// `bad@1.0.1` behaves as told, among good ones; its failure must name `parts` and
/// cost `requests`. Then all is well again, and only it is fetched.
fn bad_day(act: Act, requests: usize, parts: &[&str]) {
    let registry = Registry::start();
    let folder = tempfile::tempdir().unwrap();
    let releases = ["bad@1.0.0", "bad@1.0.1", "bad@1.0.2", "good@1.0.0"];
    let files = releases.map(|release| registry.publish_sized(release, 5000));
    registry.always(&dl_path("bad@1.0.1"), Some(act));
    let report = sync(folder.path(), &registry, &["bad", "good"]);
    assert_eq!((report.wanted, report.downloaded), (4, 3), "{:?}", causes(&report));
    assert!(!report.is_complete());
    let causes = causes(&report);
    assert_eq!(causes.len(), 1, "{causes:?}");
    let url = format!("http://127.0.0.1:{}{}", registry.port, dl_path("bad@1.0.1"));
    for part in parts.iter().chain([&"bad@1.0.1: ", &&url[..]]) {
        assert!(causes[0].contains(part), "{} lacks {part}", causes[0]);
    }
    assert_eq!(registry.requests(&dl_path("bad@1.0.1")).len(), requests);
    assert_holds(folder.path(), &[&files[0], &files[2], &files[3]]);
    assert!(
        Archive::open(folder.path())
            .unwrap()
            .find(&Digest::of(&files[1]))
            .unwrap()
            .is_none()
    );

    registry.always(&dl_path("bad@1.0.1"), None);
    registry.forget_requests();
    let mut options = options(&registry);
    options.retry_missing = true;
    let mended = run(folder.path(), &options, &selection(&["bad", "good"])).unwrap();
    assert_eq!((mended.downloaded, mended.held, mended.is_complete()), (1, 3, true));
    assert_eq!(registry.requests("/dl/").len(), 1);
    assert_holds(folder.path(), &files.each_ref().map(Vec::as_slice));
}

#[test]
fn status_403() {
    bad_day(Act::Status(403, ""), 1, &["missing upstream", "403"]);
}

#[test]
fn status_404() {
    bad_day(Act::Status(404, ""), 1, &["missing upstream", "404"]);
}

#[test]
fn status_410() {
    bad_day(Act::Status(410, ""), 1, &["missing upstream", "410"]);
}

#[test]
fn status_451() {
    bad_day(Act::Status(451, ""), 1, &["missing upstream", "451"]);
}

#[test]
fn status_429() {
    bad_day(Act::Status(429, ""), 4, &["429", "too many requests", "fewer --jobs"]);
}

#[test]
fn status_500() {
    bad_day(
        Act::Status(500, ""),
        4,
        &["expected status 200, found 500", "try again later"],
    );
}

#[test]
fn status_503() {
    bad_day(Act::Status(503, ""), 4, &["503"]);
}

#[test]
fn html_with_status_200() {
    bad_day(Act::Html, 2, &["expected SHA-256", "looks like an HTML page"]);
}

#[test]
fn wrong_bytes() {
    bad_day(Act::Wrong, 2, &["expected SHA-256", "found"]);
}

#[test]
fn too_few_bytes() {
    bad_day(Act::Cut(777), 4, &["cut off: expected", "found 777"]);
}

#[test]
fn too_many_bytes() {
    bad_day(Act::Longer, 2, &["expected SHA-256"]);
}

#[test]
fn no_answer_for_ever() {
    bad_day(Act::Silence, 4, &["timed out", "nothing came for 0.3 s", "--timeout"]);
}

#[test]
fn a_body_that_stalls() {
    bad_day(Act::Stall(700), 4, &["timed out", "after 700 bytes"]);
}

#[test]
fn a_connection_closed_without_an_answer() {
    bad_day(Act::Close, 4, &["ended the connection without an answer"]);
}

#[test]
fn a_redirect_loop() {
    let to = dl_path("bad@1.0.1");
    bad_day(Act::Redirect(to), 6, &["redirected more than 5 times"]);
}

#[test]
fn a_body_without_end() {
    let registry = Registry::start();
    let folder = tempfile::tempdir().unwrap();
    registry.publish("end@1.0.0");
    registry.publish_sized("end@1.0.1", 100_000);
    registry.always(&dl_path("end@1.0.0"), Some(Act::Endless));
    let mut options = options(&registry);
    options.fetch.max_crate_bytes = 50_000;
    let report = run(folder.path(), &options, &selection(&["end"])).unwrap();
    let causes = causes(&report);
    assert!(causes[0].contains("expected at most 50000 bytes"), "{causes:?}");
    assert!(causes[1].contains("see --max-size"), "{causes:?}");
    assert_eq!(registry.requests("/dl/").len(), 2);
}

#[test]
fn connection_refused() {
    let registry = Registry::start();
    let folder = tempfile::tempdir().unwrap();
    registry.publish("ref@1.0.0");
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mut options = options(&registry);
    options.dl = Some(format!("http://{closed}/dl"));
    let report = run(folder.path(), &options, &selection(&["ref"])).unwrap();
    assert!(causes(&report)[0].contains("cannot connect"), "{:?}", causes(&report));

    options.index = IndexUrl::parse(&format!("sparse+http://{closed}/")).unwrap();
    let fresh = tempfile::tempdir().unwrap();
    let error = run(fresh.path(), &options, &selection(&["ref"]))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("cannot connect") && error.contains("config.json"),
        "{error}"
    );
}

#[test]
fn trouble_that_passes_is_not_a_failure() {
    let registry = Registry::start();
    let folder = tempfile::tempdir().unwrap();
    registry.publish_sized("pass@1.0.0", 5000);
    for act in [Act::Status(503, ""), Act::Cut(100), Act::Wrong] {
        registry.once(&dl_path("pass@1.0.0"), act);
    }
    for act in [Act::Status(500, ""), Act::Close, Act::Cut(10)] {
        registry.once(&index_path("pass"), act);
    }
    let mut options = options(&registry);
    options.fetch.policy.checksum_attempts = 4;
    let report = run(folder.path(), &options, &selection(&["pass"])).unwrap();
    assert!(report.is_complete(), "{:?}", report.failures);
    assert_eq!(registry.requests("/dl/").len(), 4);
}

#[test]
fn retry_after_is_honoured() {
    let registry = Registry::start();
    let folder = tempfile::tempdir().unwrap();
    registry.publish("wait@1.0.0");
    registry.once(&dl_path("wait@1.0.0"), Act::Status(429, "Retry-After: 1\r\n"));
    let start = Instant::now();
    assert!(sync(folder.path(), &registry, &["wait"]).is_complete());
    assert!(start.elapsed() >= Duration::from_secs(1));

    registry.publish("wait@1.0.1");
    registry.once(
        &dl_path("wait@1.0.1"),
        Act::Status(503, "Retry-After: Fri, 31 Dec 2100 23:59:59 GMT\r\n"),
    );
    let report = sync(folder.path(), &registry, &["wait"]);
    assert!(causes(&report)[0].contains("503"), "too long to wait for");
}

#[test]
fn registry_index_failures_are_of_their_crate_only() {
    let registry = Registry::start();
    let folder = tempfile::tempdir().unwrap();
    for name in ["iok", "ihtml", "iempty", "i500", "i403", "iother", "ibad"] {
        registry.publish(&format!("{name}@1.0.0"));
    }
    registry.always(&index_path("ihtml"), Some(Act::Html));
    registry.serve(&index_path("iempty"), b"\n");
    registry.always(&index_path("i500"), Some(Act::Status(500, "")));
    registry.always(&index_path("i403"), Some(Act::Status(403, "")));
    registry.serve(
        &index_path("iother"),
        (registry.lines("iok").join("\n") + "\n").as_bytes(),
    );
    let good = registry.lines("ibad");
    registry.set_lines("ibad", &[good[0].clone(), "{\"name\":\"ibad\",\"vers\":\"1\"".into()]);
    let wants = [
        "iok",
        "ihtml",
        "iempty",
        "i500",
        "i403",
        "iother",
        "ibad",
        "inone@1.0.0",
    ];
    let report = sync(folder.path(), &registry, &wants);
    let causes = causes(&report);
    assert_eq!(report.downloaded, 2, "{causes:?}");
    for (what, part) in [
        ("i403", "found 403"),
        ("i500", "found 500"),
        ("ibad in the registry index, line 2", "EOF"),
        ("iempty", "found an empty file"),
        ("ihtml", "found an HTML page"),
        ("inone@1.0.0", "no crate inone in the registry index"),
        ("iother", "the file of another crate, iok"),
    ] {
        let cause = causes.iter().find(|cause| cause.starts_with(&format!("{what}: ")));
        assert!(cause.is_some_and(|cause| cause.contains(part)), "{what}: {causes:?}");
    }
    assert_eq!(causes.len(), 7);
    // The bad line is looked at again, though the file has not changed.
    registry.forget_requests();
    assert!(!sync(folder.path(), &registry, &["ibad"]).is_complete());
    assert_eq!(registry.requests(&index_path("ibad"))[0].status, 200);
}

#[test]
fn no_registry_index_is_said_plainly() {
    let registry = Registry::start();
    let folder = tempfile::tempdir().unwrap();
    let error = || {
        run(folder.path(), &options(&registry), &selection(&["a"]))
            .unwrap_err()
            .to_string()
    };
    registry.always("/index/config.json", Some(Act::Html));
    assert!(error().contains("expected JSON with `dl`, found an HTML page"));
    registry.always("/index/config.json", Some(Act::Status(404, "")));
    assert!(error().contains("found status 404; check --index"));
    registry.always("/index/config.json", None);
    registry.serve("/index/config.json", br#"{"dl":"x","auth-required":true}"#);
    assert!(error().contains("login"));
    registry.serve("/index/config.json", br#"{"dl":"ftp://x"}"#);
    assert!(error().contains("http://"));
}

/// A disk with so many bytes left.
#[derive(Debug)]
struct SmallDisk(DiskMedium, AtomicI64);

impl Medium for SmallDisk {
    fn list(&self, folder: &str) -> io::Result<Vec<(String, u64)>> {
        self.0.list(folder)
    }
    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.0.read(name)
    }
    fn len(&self, name: &str) -> io::Result<u64> {
        self.0.len(name)
    }
    fn read_at(&self, name: &str, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.0.read_at(name, offset, len)
    }
    fn open_sealed(&self, name: &str) -> io::Result<FileBytes> {
        self.0.open_sealed(name)
    }
    fn create(&self, name: &str) -> io::Result<()> {
        self.0.create(name)
    }
    fn create_folder(&self, folder: &str) -> io::Result<()> {
        self.0.create_folder(folder)
    }
    fn write_at(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let room = self.1.fetch_sub(bytes.len() as i64, Ordering::SeqCst).max(0) as usize;
        if room < bytes.len() {
            // As a full disk does: some of it, then the error.
            self.0.write_at(name, offset, &bytes[..room])?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0.write_at(name, offset, bytes)
    }
    fn sync(&self, name: &str) -> io::Result<()> {
        self.0.sync(name)
    }
    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        self.0.sync_folder(folder)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }
    fn lock(&self) -> io::Result<()> {
        self.0.lock()
    }
    fn describe(&self) -> String {
        self.0.describe()
    }
}

#[test]
fn a_full_disk_loses_nothing() {
    let registry = Registry::start();
    let folder = tempfile::tempdir().unwrap();
    let first = registry.publish("full@1.0.0");
    assert!(sync(folder.path(), &registry, &["full"]).is_complete());
    let mut files: Vec<_> = (1..12)
        .map(|i| registry.publish_sized(&format!("full@1.0.{i}"), 10_000))
        .collect();
    files.push(first.clone());
    for room in [0, 35_000, 200_000] {
        let medium = SmallDisk(DiskMedium::new(folder.path()), AtomicI64::new(room));
        let writer = Writer::open_on(Arc::new(medium)).unwrap();
        let result = sync::run(
            &writer,
            &selection(&["full"]),
            &options(&registry),
            &Stop::default(),
            &|_| {},
        );
        if let Err(error) = result {
            let error = error.to_string();
            assert!(
                error.contains("make room") && error.contains("nothing committed is lost"),
                "{error}"
            );
        } else {
            assert_eq!(room, 200_000);
        }
        drop(writer);
        assert_holds(folder.path(), &[&first]);
    }
    let report = sync(folder.path(), &registry, &["full"]);
    assert!(report.is_complete(), "{:?}", report.failures);
    assert_holds(folder.path(), &files.iter().map(Vec::as_slice).collect::<Vec<_>>());
}

#[test]
fn what_stands_in_a_proxy_for_another_file_is_not_stored() {
    let registry = Registry::start();
    let folder = tempfile::tempdir().unwrap();
    registry.publish("swap@1.0.0");
    registry.serve(&dl_path("swap@1.0.0"), &crate_file("swap@6.6.6", 300));
    let report = sync(folder.path(), &registry, &["swap"]);
    assert!(causes(&report)[0].contains("expected SHA-256"));
    assert_eq!(Archive::open(folder.path()).unwrap().entries().unwrap().len(), 0);
}
