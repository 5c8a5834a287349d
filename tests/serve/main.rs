//! `serve` over loopback: its protocol byte by byte, its limits, and cargo itself.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../support/mod.rs"]
mod support;
#[allow(dead_code, reason = "each test binary uses its part")]
#[path = "../offer/world.rs"]
mod world;

mod binary;
mod cargo;
mod client;
mod downloads;
mod index;
mod limits;
mod pages;
mod requests;
mod style;

use client::{Client, Response};
use cratehold::archive::{CommitInfo, Writer};
use cratehold::offer::View;
use cratehold::serve::{Access, Event, Limits, Options, Server, Stopper};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A server on a port of its own, ended when dropped.
struct Served {
    address: SocketAddr,
    stopper: Stopper,
    events: Arc<Mutex<Vec<Event>>>,
    thread: Option<JoinHandle<()>>,
}

/// Limits that lose no time.
fn options() -> Options {
    Options {
        view: View::Held,
        as_of: None,
        base: None,
        cache_bytes: 64 << 20,
        threads: 2,
        limits: Limits {
            header_read: Duration::from_secs(5),
            stall: Duration::from_secs(5),
            drain: Duration::from_secs(5),
            ..Limits::default()
        },
    }
}

impl Served {
    fn start(folder: &Path, options: &Options) -> Served {
        let events = Arc::new(Mutex::new(Vec::new()));
        let told = events.clone();
        let tell = Arc::new(move |event| told.lock().unwrap().push(event));
        let server = Server::bind(folder, "127.0.0.1:0", options, tell).unwrap();
        Served {
            address: server.address(),
            stopper: server.stopper(),
            events,
            thread: Some(std::thread::spawn(|| server.run().unwrap())),
        }
    }

    fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// One request on a connection of its own; `headers` are whole lines.
    fn ask(&self, method: &str, target: &str, headers: &[&str]) -> Response {
        self.client().ask(method, target, headers)
    }

    fn get(&self, target: &str) -> Response {
        self.ask("GET", target, &[])
    }

    /// What requests were answered, once there are `count` of them.
    fn accesses(&self, count: usize) -> Vec<Access> {
        let start = Instant::now();
        loop {
            let events = self.events.lock().unwrap();
            let accesses = events.iter().filter_map(|event| match event {
                Event::Access(access) => Some(access.clone()),
                Event::Trouble(_) => None,
            });
            let accesses: Vec<Access> = accesses.collect();
            if accesses.len() >= count || start.elapsed() > Duration::from_secs(5) {
                assert_eq!(accesses.len(), count, "{accesses:?}");
                return accesses;
            }
            drop(events);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn troubles(&self) -> Vec<String> {
        let events = self.events.lock().unwrap();
        let troubles = events.iter().filter_map(|event| match event {
            Event::Trouble(trouble) => Some(trouble.clone()),
            Event::Access(_) => None,
        });
        troubles.collect()
    }

    /// Asks it to end.
    fn stop(&self) {
        self.stopper.stop();
    }

    /// Waits for its end, which somebody has asked for.
    fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop();
        self.join();
    }
}

/// An archive of these crate files, of which no registry has said anything.
fn stocked(folder: &Path, files: &[(&str, &[u8])]) {
    let writer = Writer::open(folder).unwrap();
    for (release, bytes) in files {
        writer
            .add(&release.parse().unwrap(), bytes.to_vec(), Default::default())
            .unwrap();
    }
    writer.commit(&CommitInfo::default()).unwrap();
}
