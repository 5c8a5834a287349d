//! The archive as a read-only registry over HTTP, which cargo builds from, and as pages
//! for people.
//!
//! `front` has the connections, `routes` says what lies where, and every answer is an
//! `answer::Answer`. Nothing here writes to the archive or prints; what there is to tell
//! goes to [`Tell`].

mod ahead;
mod answer;
mod base;
mod body;
mod cache;
mod download;
mod front;
mod index;
mod log;
mod lru;
mod pages;
mod request;
mod routes;
mod site;
mod stream;

pub use base::BaseUrl;
pub use log::{Access, Event, Tell};

use crate::archive;
use crate::offer::View;
use site::Site;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Threads for what may have to wait for the drive, beside those that decode.
const LOOKUP_THREADS: usize = 4;
/// What a defect may still hold up when the server ends.
const LAST_WAIT: Duration = Duration::from_millis(500);

/// How one archive is served.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which releases the registry index lists.
    pub view: View,
    /// As the registry was at this snapshot.
    pub as_of: Option<u64>,
    /// The address that clients reach the server by, where it is not what their requests
    /// say: behind a proxy.
    pub base: Option<BaseUrl>,
    /// The most bytes of crate files that are in memory, kept or on their way to clients.
    pub cache_bytes: u64,
    /// How many crate files are rebuilt at a time.
    pub threads: usize,
    /// What one client may take.
    pub limits: Limits,
}

/// What one client may take from others.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at a time; more wait to be taken.
    pub connections: usize,
    /// Bytes of a request's line and headers; at least 8192.
    pub header_bytes: usize,
    /// The longest wait for a request, and the longest that a connection lies idle.
    pub header_read: Duration,
    /// The longest that a client may take for the next 16 KiB of an answer.
    pub stall: Duration,
    /// How long requests under way have for their end once the server is stopped.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 512,
            header_bytes: 16 << 10,
            header_read: Duration::from_secs(30),
            stall: Duration::from_secs(30),
            drain: Duration::from_secs(10),
        }
    }
}

/// A server that cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is not to be had.
    #[error("cannot listen on {address}: {source}; choose another with --listen, or port 0 for any free one")]
    Listen {
        /// As it was given.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// The archive cannot be opened.
    #[error(transparent)]
    Archive(#[from] archive::Error),
    /// No threads.
    #[error("cannot start the server's threads: {0}")]
    Threads(io::Error),
}

/// Ends a server from another thread.
#[derive(Debug, Clone)]
pub struct Stopper(Arc<watch::Sender<bool>>);

impl Stopper {
    /// No new requests are taken; those under way are answered.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

/// A server that has its address and its archive.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    site: Arc<Site>,
    limits: Limits,
    threads: usize,
    stop: Stopper,
}

impl Server {
    /// Opens the archive in `folder` and listens on `address`, such as `127.0.0.1:8080`.
    /// Takes as long with one crate as with all of them.
    ///
    /// # Errors
    /// When either cannot be had.
    pub fn bind(folder: &Path, address: &str, options: &Options, tell: Arc<Tell>) -> Result<Server, Error> {
        let taken = |source| Error::Listen {
            address: address.to_owned(),
            source,
        };
        let listener = TcpListener::bind(address).map_err(taken)?;
        listener.set_nonblocking(true).map_err(taken)?;
        let bound = listener.local_addr().map_err(taken)?;
        let site = Site::open(folder, options, BaseUrl::of(bound), tell)?;
        Ok(Server {
            listener,
            address: bound,
            site: Arc::new(site),
            limits: options.limits,
            threads: options.threads,
            stop: Stopper(Arc::new(watch::Sender::new(false))),
        })
    }

    /// Where it listens, with the port that the system chose for port 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What ends it.
    pub fn stopper(&self) -> Stopper {
        self.stop.clone()
    }

    /// Serves until stopped, and until requests under way are answered.
    ///
    /// # Errors
    /// When there are no threads to be had.
    pub fn run(self) -> Result<(), Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(self.threads)
            .max_blocking_threads(self.threads + LOOKUP_THREADS)
            .thread_name("serve")
            .enable_io()
            .enable_time()
            .build()
            .map_err(Error::Threads)?;
        let stopped = self.stop.0.subscribe();
        let served = runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(self.listener)?;
            front::serve(listener, self.site, self.limits, stopped).await;
            Ok(())
        });
        runtime.shutdown_timeout(LAST_WAIT);
        served.map_err(Error::Threads)
    }
}
