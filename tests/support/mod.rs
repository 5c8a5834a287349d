//! A registry on loopback for tests: small, threaded, and as badly behaved as asked.
//!
//! Speaks just enough HTTP/1.1 to be talked to with keep-alive; logs every request.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test binary uses its part; a panic is how a test fails"
)]

pub mod drive;
pub mod served;

use cratehold::archive::{self, Arrival, Budget, EncodeOptions, Outcome, Writer, ingest};
use cratehold::ids::{Digest, Release};
use flate2::{Compression, write::GzEncoder};
use std::collections::{HashMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What a path does instead of serving its file.
#[derive(Debug, Clone)]
pub enum Act {
    /// This status, with these headers.
    Status(u16, &'static str),
    /// Status 200 and a web page.
    Html,
    /// Announces the whole file, sends so many bytes, closes.
    Cut(usize),
    /// The file, with bytes behind it that were not announced.
    Surplus,
    /// A body that never ends.
    Endless,
    /// Other bytes of the same length.
    Wrong,
    /// The file with more behind it, announced.
    Longer,
    /// The file, chunked, without a length.
    Chunked,
    /// The file, called gzip-encoded, as some servers call crate files.
    CalledGzip,
    /// Reads the request, answers nothing for ever.
    Silence,
    /// Sends so many bytes of the body, then nothing.
    Stall(usize),
    /// Sends a byte every so many milliseconds.
    Drip(u64),
    /// Redirects to this path or address.
    Redirect(String),
    /// Closes the connection without an answer.
    Close,
    /// Serves the file after so many milliseconds.
    Slow(u64),
}

#[derive(Debug, Clone)]
pub struct Request {
    pub path: String,
    pub head: String,
    pub status: u16,
}

#[derive(Default)]
struct State {
    files: Mutex<HashMap<String, Vec<u8>>>,
    lines: Mutex<HashMap<String, Vec<String>>>,
    once: Mutex<HashMap<String, VecDeque<Act>>>,
    always: Mutex<HashMap<String, Act>>,
    below: Mutex<Vec<(String, Act, Option<Instant>)>>,
    /// Milliseconds before each answer.
    latency: AtomicU64,
    log: Mutex<Vec<Arc<Mutex<Request>>>>,
    connections: AtomicUsize,
    busy: AtomicUsize,
    most_busy: AtomicUsize,
    ended: AtomicBool,
    /// Whether the server is gone, its open connections too.
    gone: AtomicBool,
}

pub struct Registry {
    pub port: u16,
    state: Arc<State>,
}

/// Where the registry index file of `name` is served.
pub fn index_path(name: &str) -> String {
    let name = name.to_lowercase();
    match name.len() {
        1 => format!("/index/1/{name}"),
        2 => format!("/index/2/{name}"),
        3 => format!("/index/3/{}/{name}", &name[..1]),
        _ => format!("/index/{}/{}/{name}", &name[..2], &name[2..4]),
    }
}

/// Where the crate file is served.
pub fn dl_path(release: &str) -> String {
    let (name, version) = release.split_once('@').unwrap();
    format!("/dl/{name}/{}/download", version.replace('+', "%2B"))
}

/// A registry line with a field that no program knows.
pub fn line(release: &str, crate_file: &[u8], yanked: bool) -> String {
    let (name, version) = release.split_once('@').unwrap();
    let cksum = Digest::of(crate_file);
    format!(
        r#"{{"name":"{name}","vers":"{version}","deps":[],"cksum":"{cksum}","features":{{}},"yanked":{yanked},"x-new": 1}}"#
    )
}

/// Takes these crate files in, in this order, later versions against earlier ones; what
/// became of each. Commits nothing.
pub fn take_in(writer: &Writer, files: &[(Release, Vec<u8>)]) -> Vec<Result<Outcome, archive::Error>> {
    let (sender, receiver) = crossbeam_channel::unbounded();
    let budget = Budget::new(1 << 30);
    for (order, (release, bytes)) in files.iter().enumerate() {
        let (release, file) = (release.clone(), Some((Digest::of(bytes), bytes.clone())));
        let permit = budget.take(bytes.len() as u64);
        let arrival = Arrival {
            release,
            order,
            of: files.len(),
            file,
            permit,
        };
        sender.send(arrival).unwrap();
    }
    drop(sender);
    let outcomes = Mutex::new(Vec::new());
    ingest(writer, &receiver, 1, EncodeOptions::default(), &|_, outcome| {
        outcomes.lock().unwrap().push(outcome);
    });
    outcomes.into_inner().unwrap()
}

/// What a release's crate file has that no other has.
pub fn noise(release: &str, bytes: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(release.bytes().map(u64::from).sum());
    (0..bytes).map(|_| random.u8(..)).collect()
}

/// Words of a small vocabulary in pseudo-random order: compresses as source does.
pub fn prose(seed: u64, bytes: usize) -> Vec<u8> {
    let words = [
        "fn ", "let ", "self.", "(x)", "\n    ", "mut ", "pub ", "struct ", "impl ", "->", "0x1f", ";",
    ];
    let mut random = fastrand::Rng::with_seed(seed);
    let mut text = Vec::new();
    while text.len() < bytes {
        text.extend_from_slice(words[random.usize(..words.len())].as_bytes());
    }
    text.truncate(bytes);
    text
}

/// A crate file as cargo makes them, with `noise` bytes that do not compress.
pub fn crate_file(release: &str, noise: usize) -> Vec<u8> {
    crate_file_of(release, &self::noise(release, noise))
}

/// A crate file as cargo makes them, with a file of these bytes.
pub fn crate_file_of(release: &str, bytes: &[u8]) -> Vec<u8> {
    let parsed: Release = release.parse().unwrap();
    let top = format!("{}-{}", parsed.name, parsed.version);
    let manifest = format!(
        "[package]\nname = \"{}\"\nversion = \"{}\"\n",
        parsed.name, parsed.version
    );
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::new(9)));
    for (path, bytes) in [("Cargo.toml", manifest.as_bytes()), ("src/noise.bin", bytes)] {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder
            .append_data(&mut header, format!("{top}/{path}"), bytes)
            .unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

/// A folder and all in it, copied.
pub fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_folder(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}

impl Registry {
    pub fn start() -> Registry {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State::default());
        let config = format!(r#"{{"dl":"http://127.0.0.1:{port}/dl","api":null}}"#);
        state
            .files
            .lock()
            .unwrap()
            .insert("/index/config.json".into(), config.into_bytes());
        let registry = Registry { port, state };
        registry.listen(listener);
        registry
    }

    fn listen(&self, listener: TcpListener) {
        let shared = self.state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.ended.load(Ordering::SeqCst) {
                    break;
                }
                let (stream, shared) = (stream.unwrap(), shared.clone());
                shared.connections.fetch_add(1, Ordering::Relaxed);
                std::thread::spawn(move || shared.converse(stream));
            }
        });
    }

    pub fn index(&self) -> String {
        format!("sparse+http://127.0.0.1:{}/index/", self.port)
    }

    /// Publishes a release and returns its crate file.
    pub fn publish(&self, release: &str) -> Vec<u8> {
        self.publish_sized(release, 300)
    }

    pub fn publish_sized(&self, release: &str, noise: usize) -> Vec<u8> {
        let bytes = crate_file(release, noise);
        self.serve(&dl_path(release), &bytes);
        let name = release.split_once('@').unwrap().0.to_owned();
        self.state
            .lines
            .lock()
            .unwrap()
            .entry(name.clone())
            .or_default()
            .push(line(release, &bytes, false));
        self.refresh(&name);
        bytes
    }

    pub fn lines(&self, name: &str) -> Vec<String> {
        self.state.lines.lock().unwrap()[name].clone()
    }

    pub fn set_lines(&self, name: &str, lines: &[String]) {
        self.state.lines.lock().unwrap().insert(name.to_owned(), lines.to_vec());
        self.refresh(name);
    }

    fn refresh(&self, name: &str) {
        let file = self.lines(name).join("\n") + "\n";
        self.serve(&index_path(name), file.as_bytes());
    }

    /// Serves these bytes at `path`.
    pub fn serve(&self, path: &str, bytes: &[u8]) {
        self.state.files.lock().unwrap().insert(path.to_owned(), bytes.to_vec());
    }

    /// Stops serving `path`.
    pub fn forget(&self, path: &str) {
        self.state.files.lock().unwrap().remove(path);
    }

    /// The next request for `path` gets this; one act a request.
    pub fn once(&self, path: &str, act: Act) {
        self.state
            .once
            .lock()
            .unwrap()
            .entry(path.to_owned())
            .or_default()
            .push_back(act);
    }

    /// Every request for `path` gets this, or its file again.
    pub fn always(&self, path: &str, act: Option<Act>) {
        let mut always = self.state.always.lock().unwrap();
        match act {
            Some(act) => always.insert(path.to_owned(), act),
            None => always.remove(path),
        };
    }

    /// Every request for what is below `prefix` gets this; for a while, or for ever.
    pub fn below(&self, prefix: &str, act: Act, how_long: Option<Duration>) {
        let until = how_long.map(|how_long| Instant::now() + how_long);
        self.state.below.lock().unwrap().push((prefix.to_owned(), act, until));
    }

    /// Lets every answer take so much longer.
    pub fn set_latency(&self, latency: Duration) {
        let millis = latency.as_millis() as u64;
        self.state.latency.store(millis, Ordering::Relaxed);
    }

    /// Goes: no connection is taken any more, and open ones end at their next request.
    pub fn vanish(&self) {
        self.state.gone.store(true, Ordering::SeqCst);
        self.state.ended.store(true, Ordering::SeqCst);
        // The listener closes when it has looked.
        while TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Is there again, at the same port.
    pub fn come_back(&self) {
        self.state.gone.store(false, Ordering::SeqCst);
        self.state.ended.store(false, Ordering::SeqCst);
        self.listen(TcpListener::bind(("127.0.0.1", self.port)).unwrap());
    }

    /// The requests so far whose path begins with `prefix`. A client may have its
    /// answer before the server has noted that; so this waits a little for those
    /// under way, of which some may never end.
    pub fn requests(&self, prefix: &str) -> Vec<Request> {
        let start = Instant::now();
        while self.state.busy.load(Ordering::SeqCst) > 0 && start.elapsed() < Duration::from_millis(100) {
            std::thread::sleep(Duration::from_millis(1));
        }
        let log = self.state.log.lock().unwrap();
        let requests = log.iter().map(|request| request.lock().unwrap().clone());
        requests.filter(|request| request.path.starts_with(prefix)).collect()
    }

    pub fn forget_requests(&self) {
        self.state.log.lock().unwrap().clear();
    }

    pub fn connection_count(&self) -> usize {
        self.state.connections.load(Ordering::Relaxed)
    }

    /// The most requests that were being answered at once.
    pub fn most_busy(&self) -> usize {
        self.state.most_busy.load(Ordering::Relaxed)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl State {
    fn converse(&self, mut stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        while let Some((path, head)) = read_request(&mut reader) {
            if self.gone.load(Ordering::SeqCst) {
                return;
            }
            let busy = self.busy.fetch_add(1, Ordering::SeqCst) + 1;
            self.most_busy.fetch_max(busy, Ordering::SeqCst);
            let request = Arc::new(Mutex::new(Request {
                path: path.clone(),
                head: head.clone(),
                status: 0,
            }));
            self.log.lock().unwrap().push(request.clone());
            let status = self.answer(&mut stream, &path, &head);
            request.lock().unwrap().status = status.unwrap_or(0);
            self.busy.fetch_sub(1, Ordering::SeqCst);
            if status.is_none() {
                return;
            }
        }
    }

    /// Answers one request; none if the connection is to be closed.
    fn answer(&self, stream: &mut TcpStream, path: &str, head: &str) -> Option<u16> {
        let act = self.once.lock().unwrap().get_mut(path).and_then(VecDeque::pop_front);
        let act = act.or_else(|| self.always.lock().unwrap().get(path).cloned());
        let act = act.or_else(|| self.act_below(path));
        match self.latency.load(Ordering::Relaxed) {
            0 => {}
            millis => std::thread::sleep(Duration::from_millis(millis)),
        }
        let file = self.files.lock().unwrap().get(path).cloned();
        let bytes = file.clone().unwrap_or_default();
        let page = b"<!DOCTYPE html>\n<html><body>Please log in</body></html>".to_vec();
        match act {
            None => {}
            Some(Act::Status(status, headers)) => return send(stream, status, headers, b"sorry"),
            Some(Act::Html) => return send(stream, 200, "Content-Type: text/html\r\n", &page),
            Some(Act::Cut(count)) => {
                let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", bytes.len());
                let _ = stream.write_all(&bytes[..count]);
                return None;
            }
            Some(Act::Surplus) => {
                send(stream, 200, "", &bytes)?;
                return stream.write_all(b"surplus!").ok().map(|()| 200);
            }
            Some(Act::Endless) => {
                let _ = write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
                while stream.write_all(&[b'x'; 4096]).is_ok() {}
                return None;
            }
            Some(Act::Wrong) => return send(stream, 200, "", &vec![b'w'; bytes.len()]),
            Some(Act::Longer) => return send(stream, 200, "", &[&bytes[..], b"more"].concat()),
            Some(Act::Chunked) => {
                write!(stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").ok()?;
                for chunk in bytes.chunks(100) {
                    write!(stream, "{:x}\r\n", chunk.len()).ok()?;
                    stream.write_all(&[chunk, b"\r\n"].concat()).ok()?;
                }
                return stream.write_all(b"0\r\n\r\n").ok().map(|()| 200);
            }
            Some(Act::CalledGzip) => return send(stream, 200, "Content-Encoding: gzip\r\n", &bytes),
            Some(Act::Silence) => {
                self.wait(stream);
                return None;
            }
            Some(Act::Stall(count)) => {
                let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", bytes.len());
                let _ = stream.write_all(&bytes[..count]);
                self.wait(stream);
                return None;
            }
            Some(Act::Drip(millis)) => {
                let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", bytes.len());
                for byte in &bytes {
                    stream.write_all(&[*byte]).ok()?;
                    std::thread::sleep(Duration::from_millis(millis));
                }
                return Some(200);
            }
            Some(Act::Redirect(to)) => return send(stream, 302, &format!("Location: {to}\r\n"), b""),
            Some(Act::Close) => return None,
            Some(Act::Slow(millis)) => std::thread::sleep(Duration::from_millis(millis)),
        }
        if file.is_none() {
            return send(stream, 404, "", b"not found");
        }
        let tag = format!("\"{}\"", &Digest::of(&bytes).to_string()[..16]);
        let same = head
            .lines()
            .any(|line| line.to_ascii_lowercase() == format!("if-none-match: {tag}"));
        match (path.starts_with("/index/"), same) {
            (true, true) => send(stream, 304, "", b""),
            (true, false) => send(stream, 200, &format!("ETag: {tag}\r\n"), &bytes),
            _ => send(stream, 200, "", &bytes),
        }
    }

    fn act_below(&self, path: &str) -> Option<Act> {
        let below = self.below.lock().unwrap();
        let now = Instant::now();
        let found = below
            .iter()
            .find(|(prefix, _, until)| path.starts_with(prefix.as_str()) && until.is_none_or(|until| now < until));
        found.map(|(_, act, _)| act.clone())
    }

    /// Does nothing until the client goes.
    fn wait(&self, stream: &mut TcpStream) {
        let _ = stream.read(&mut [0]);
    }
}

fn send(stream: &mut TcpStream, status: u16, headers: &str, body: &[u8]) -> Option<u16> {
    let length = match status {
        304 => String::new(),
        _ => format!("Content-Length: {}\r\n", body.len()),
    };
    let head = format!("HTTP/1.1 {status} Whatever\r\n{headers}{length}\r\n");
    stream
        .write_all(&[head.as_bytes(), body].concat())
        .ok()
        .map(|()| status)
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Option<(String, String)> {
    let mut head = String::new();
    loop {
        let start = head.len();
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
        if head[start..].trim().is_empty() {
            break;
        }
    }
    let path = head.split(' ').nth(1)?.to_owned();
    Some((path, head))
}
