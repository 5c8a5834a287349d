//! What may stand between here and a server: TLS that is not to be trusted, TLS that
//! is, and proxies.

use super::*;
use crate::binary::command;
use crate::endings::ends;
use crate::git_repository::{GitRepository, GitServer};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};

/// A TLS front of a registry on loopback, with a certificate that nobody has signed but
/// itself: `tls/README` says how it was made.
struct Front {
    port: u16,
    /// The certificate, in PEM form.
    certificate: PathBuf,
}

impl Front {
    /// One of the server at `behind`, whose certificate is for `host`.
    fn start(behind: u16, host: &str) -> Front {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sync/tls");
        let certificate = folder.join(format!("{host}.pem"));
        let chain = CertificateDer::from_pem_file(&certificate).unwrap();
        let key = PrivateKeyDer::from_pem_file(folder.join(format!("{host}.key"))).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![chain], key)
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let connection = ServerConnection::new(config.clone()).unwrap();
                let stream = StreamOwned::new(connection, stream.unwrap());
                // A client that trusts nobody goes in the middle of the handshake.
                std::thread::spawn(move || relay(stream, behind));
            }
        });
        Front { port, certificate }
    }
}

/// Passes one request on, and its answer back.
fn relay(stream: impl Read + Write, port: u16) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let (head, body) = message(&mut stream)?;
    let mut behind = BufReader::new(TcpStream::connect(("127.0.0.1", port))?);
    behind.get_mut().write_all(&[head.as_bytes(), &body].concat())?;
    let (answer, body) = message(&mut behind)?;
    let answer = answer.replacen("\r\n", "\r\nConnection: close\r\n", 1);
    stream.get_mut().write_all(&[answer.as_bytes(), &body].concat())?;
    stream.get_mut().flush()
}

/// A request or an answer: its head, and its body.
fn message(reader: &mut impl BufRead) -> std::io::Result<(String, Vec<u8>)> {
    let head = head(reader)?;
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    let length = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let mut body = vec![0; length.map_or(0, |(_, length)| length.trim().parse().unwrap())];
    reader.read_exact(&mut body)?;
    Ok((head, body))
}

/// The lines up to an empty one.
fn head(reader: &mut impl BufRead) -> std::io::Result<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(head)
}

/// A run against `host`:`port`, in nobody's environment.
fn sync(archive: &Path, base: &str, registry: &Registry) -> Command {
    let mut sync = command(archive, registry);
    for name in ["SSL_CERT_FILE", "SSL_CERT_DIR", "NO_PROXY", "no_proxy"] {
        sync.env_remove(name);
    }
    let index = format!("sparse+{base}/index/");
    // The last --index is the one that counts: clap would refuse two.
    let mut fresh = Command::new(sync.get_program());
    fresh.args(["--archive".as_ref(), archive.as_os_str()]);
    fresh.args([
        "sync",
        "--index",
        &index,
        "--dl",
        &format!("{base}/dl"),
        "--crate",
        "way",
    ]);
    for (name, value) in sync.get_envs() {
        match value {
            Some(value) => fresh.env(name, value),
            None => fresh.env_remove(name),
        };
    }
    fresh.args(["--attempts", "2", "--patience", "1", "--timeout", "5"]);
    fresh
}

#[test]
fn only_a_certificate_that_is_trusted_will_do() {
    let (registry, folder) = (Registry::start(), tempfile::tempdir().unwrap());
    let archive = folder.path().join("archive");
    let file = registry.publish("way@1.0.0");
    let front = Front::start(registry.port, "localhost");
    let base = format!("https://localhost:{}", front.port);
    let parts = ["no trusted connection", "UnknownIssuer", "SSL_CERT_FILE", "config.json"];
    ends(&mut sync(&archive, &base, &registry), &archive, 1, &parts, &[]);
    assert!(
        registry.requests("").is_empty(),
        "nothing is said to whom nobody trusts"
    );

    // Trusted, but somebody else's.
    let other = Front::start(registry.port, "other.test");
    let mut wrong = sync(&archive, &format!("https://localhost:{}", other.port), &registry);
    wrong.env("SSL_CERT_FILE", &other.certificate);
    ends(&mut wrong, &archive, 1, &["no trusted connection", "other.test"], &[]);

    // No TLS at all.
    let plain = format!("https://localhost:{}", registry.port);
    ends(
        &mut sync(&archive, &plain, &registry),
        &archive,
        1,
        &["error: https://localhost:"],
        &[],
    );

    // A list of authorities that is none.
    let mut bad = sync(&archive, &base, &registry);
    bad.env("SSL_CERT_FILE", folder.path().join("none.pem"));
    ends(&mut bad, &archive, 1, &["SSL_CERT_FILE", "none.pem"], &[]);

    let mut good = sync(&archive, &base, &registry);
    good.env("SSL_CERT_FILE", &front.certificate);
    ends(&mut good, &archive, 0, &["1 downloaded"], &[&file]);
}

/// As the real ones are: a git registry index behind TLS.
#[test]
fn a_git_index_is_fetched_over_tls() {
    let (registry, folder) = (Registry::start(), tempfile::tempdir().unwrap());
    let archive = folder.path().join("archive");
    let file = registry.publish("way@1.0.0");
    let mut git = GitRepository::new(&folder.path().join("index.git"), &registry);
    git.take(&registry, "way");
    git.commit("first");
    let front = Front::start(GitServer::start(folder.path()).port, "localhost");
    let index = format!("https://localhost:{}/index.git", front.port);
    let all = || {
        let mut all = Command::new(env!("CARGO_BIN_EXE_cratehold"));
        all.args(["--archive".as_ref(), archive.as_os_str()]);
        all.args(["sync", "--all", "--index", &index, "--timeout", "5"]);
        all.env_remove("SSL_CERT_DIR");
        all
    };
    let mut stranger = all();
    stranger.env_remove("SSL_CERT_FILE");
    ends(
        &mut stranger,
        &archive,
        1,
        &["cannot fetch the registry index", "UnknownIssuer"],
        &[],
    );
    let mut known = all();
    known.env("SSL_CERT_FILE", &front.certificate);
    ends(&mut known, &archive, 0, &["1 downloaded"], &[&file]);
    assert!(
        folder.path().join("archive.index/HEAD").exists(),
        "a bare clone beside the archive"
    );
}

/// A proxy that knows where every host is: at one port here.
struct Proxy {
    port: u16,
    /// The hosts that were asked for.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    fn start(registry: &Registry) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, behind) = (listener.local_addr().unwrap().port(), registry.port);
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let noted = noted.clone();
                std::thread::spawn(move || tunnel(stream.unwrap(), behind, &noted));
            }
        });
        Proxy { port, asked }
    }
}

fn tunnel(stream: TcpStream, port: u16, asked: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let head = head(&mut reader)?;
    let host = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next());
    asked.lock().unwrap().push(host.unwrap_or(&head).to_owned());
    let (mut to_client, mut behind) = (stream, TcpStream::connect(("127.0.0.1", port))?);
    to_client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    let mut from_behind = behind.try_clone()?;
    std::thread::spawn(move || std::io::copy(&mut from_behind, &mut to_client));
    std::io::copy(&mut reader, &mut behind).map(drop)
}

#[test]
fn proxies_are_asked_unless_they_are_not_to_be() {
    let (registry, folder) = (Registry::start(), tempfile::tempdir().unwrap());
    let archive = folder.path().join("archive");
    let file = registry.publish("way@1.0.0");
    let proxy = Proxy::start(&registry);
    let address = format!("http://127.0.0.1:{}", proxy.port);
    // A host that only the proxy knows.
    let mut through = sync(&archive, "http://registry.invalid", &registry);
    ends(
        through.env("HTTP_PROXY", &address),
        &archive,
        0,
        &["1 downloaded"],
        &[&file],
    );
    let asked = proxy.asked.lock().unwrap().clone();
    assert!(
        !asked.is_empty() && asked.iter().all(|host| host == "registry.invalid:80"),
        "{asked:?}"
    );

    // One that is not there, for others than this host only.
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let archive = folder.path().join("other");
    let base = format!("http://127.0.0.1:{}", registry.port);
    let mut by_dead = sync(&archive, &base, &registry);
    by_dead.env("HTTP_PROXY", format!("http://{dead}"));
    ends(&mut by_dead, &archive, 1, &["cannot connect", "any proxy"], &[]);
    by_dead.env("NO_PROXY", "127.0.0.1");
    ends(&mut by_dead, &archive, 0, &["1 downloaded"], &[&file]);
    // What is no proxy's address is said, and a password in it is not.
    let mut bad = sync(&archive, &base, &registry);
    bad.env("HTTP_PROXY", "socks5://me:secret@127.0.0.1:1");
    let said = ends(
        &mut bad,
        &archive,
        1,
        &["HTTP_PROXY: expected the address of a proxy"],
        &[],
    );
    assert!(!said.contains("secret"), "{said}");
}
