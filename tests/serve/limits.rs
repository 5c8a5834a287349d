//! Clients that take their time, and how a server ends.

use crate::support::crate_file;
use crate::{Served, options, stocked};
use cratehold::ids::Digest;
use std::net::TcpStream;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(300);
/// A busy machine may be this late.
const LATE: Duration = Duration::from_secs(10);

fn stocked_sized(folder: &std::path::Path, noise: usize) -> (String, Vec<u8>) {
    let file = crate_file("leaf@1.0.0", noise);
    stocked(folder, &[("leaf@1.0.0", &file)]);
    (format!("/dl/{}", Digest::of(&file)), file)
}

#[test]
fn slow_and_idle_clients_are_let_go() {
    let folder = tempfile::tempdir().unwrap();
    let (target, _) = stocked_sized(folder.path(), 10);
    let mut quick = options();
    quick.limits.header_read = SHORT;
    let served = Served::start(folder.path(), &quick);
    // Nothing, half a request, a request a byte at a time, a request and then nothing.
    for beginning in ["", "GET / HTTP/1.1\r\nHost", "G"] {
        let (mut client, start) = (served.client(), Instant::now());
        client.send(beginning);
        if beginning == "G" {
            while client.try_send("x") && start.elapsed() < LATE {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        client.rest();
        assert!(start.elapsed() < LATE, "{beginning:?}");
    }
    let mut client = served.client();
    assert_eq!(client.ask("GET", &target, &[]).status, 200);
    let start = Instant::now();
    assert!(client.is_closed() && start.elapsed() < LATE);
}

#[test]
fn a_client_that_takes_nothing_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let (target, file) = stocked_sized(folder.path(), 1 << 20);
    let mut quick = options();
    quick.limits.stall = SHORT;
    quick.limits.connections = 1;
    let served = Served::start(folder.path(), &quick);
    let mut client = served.client();
    assert!(client.ask("GET", &target, &[]).body == file);
    // More than the system's buffers take.
    let requests = 64;
    client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").repeat(requests));
    // There is one place, which the next client gets only when this one has lost it.
    assert!(served.get(&target).body == file);
    let got = client.rest().len();
    assert!(
        got < requests * file.len(),
        "all {got} bytes went to a client that took none"
    );
}

#[test]
fn more_clients_than_allowed_wait_for_their_turn() {
    let folder = tempfile::tempdir().unwrap();
    let (target, file) = stocked_sized(folder.path(), 10);
    let mut few = options();
    few.limits.connections = 2;
    let served = Served::start(folder.path(), &few);
    let (mut first, mut second) = (served.client(), served.client());
    assert!(first.ask("GET", &target, &[]).body == file);
    assert!(second.ask("GET", &target, &[]).body == file);
    let mut third = served.client();
    third.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
    std::thread::sleep(SHORT);
    assert_eq!(served.accesses(2).len(), 2);
    drop(first);
    assert!(third.read(false).unwrap().body == file);
}

#[test]
fn a_stop_lets_requests_under_way_end_and_takes_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let (target, file) = stocked_sized(folder.path(), 1 << 20);
    let mut served = Served::start(folder.path(), &options());
    let (mut busy, mut idle) = (served.client(), served.client());
    assert_eq!(idle.ask("HEAD", &target, &[]).status, 200);
    // Answers to all of these do not fit into the system's buffers.
    let requests = 24;
    busy.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").repeat(requests));
    assert!(busy.read(false).unwrap().body == file);
    served.stop();
    assert!(idle.is_closed());
    // The one under way comes whole, whichever of them it is by now.
    while let Some(response) = busy.read(false) {
        assert!(response.body == file);
    }
    let start = Instant::now();
    served.join();
    assert!(start.elapsed() < LATE);
    assert!(TcpStream::connect(served.address).is_err());
}

#[test]
fn a_stop_waits_for_nobody_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let (target, _) = stocked_sized(folder.path(), 1 << 20);
    let mut quick = options();
    (quick.limits.stall, quick.limits.drain) = (Duration::from_secs(600), SHORT);
    let mut served = Served::start(folder.path(), &quick);
    let mut client = served.client();
    client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").repeat(64));
    std::thread::sleep(SHORT);
    let start = Instant::now();
    served.stop();
    served.join();
    assert!(start.elapsed() < LATE);
}
