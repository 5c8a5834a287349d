//! What a server has to tell whoever runs it. Nothing is printed here.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

/// One request, answered. Of one that is no HTTP or too long, method, target and version
/// are `-`.
#[derive(Debug, Clone)]
pub struct Access {
    /// Who asked.
    pub peer: SocketAddr,
    /// When the request had been read.
    pub time: SystemTime,
    /// Its method.
    pub method: String,
    /// Its target as it came, still percent-encoded.
    pub target: String,
    /// Such as `HTTP/1.1`.
    pub version: String,
    /// The status it got.
    pub status: u16,
    /// Bytes of body handed to the system; fewer than the answer has if the client left.
    pub sent_bytes: u64,
    /// From reading the request to handing over the last byte.
    pub duration: Duration,
    /// What the client calls itself.
    pub user_agent: Option<String>,
}

/// What a server tells.
#[derive(Debug, Clone)]
pub enum Event {
    /// A request was answered.
    Access(Access),
    /// Something is wrong that whoever runs the server should know, in one line.
    Trouble(String),
}

/// Who is told. Called from the threads that serve, so it should not wait.
pub type Tell = dyn Fn(Event) + Send + Sync;
