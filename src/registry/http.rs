//! One HTTP client for everything: time limits, size limits, keep-alive, errors.
//!
//! Bodies are taken as they come: whatever `Content-Encoding` says, nothing is
//! decoded.

use super::error::Error;
use super::{Stop, resolve::RememberingResolver, retry_after};
use std::io::Read;
use std::time::{Duration, SystemTime};
use ureq::http::HeaderMap;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::transport::DefaultConnector;

const MAX_REDIRECTS: u32 = 5;
/// The rest of an answer that nobody wants is read up to here, so that its
/// connection can be used again.
const DRAIN_BYTES: u64 = 64 << 10;
const CHUNK_BYTES: usize = 64 << 10;

/// How to talk to servers.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// Connections kept open to one host, and so the most requests at once.
    pub connections: usize,
    /// A connection, TLS included, must be made within this.
    pub connect_timeout: Duration,
    /// Bytes must come at least this often.
    pub idle_timeout: Duration,
    /// One answer must be complete within this, however steadily it drips.
    pub total_timeout: Duration,
    /// Whom a server's owner may write to; part of the User-Agent.
    pub contact: Option<String>,
}

impl Default for HttpOptions {
    fn default() -> HttpOptions {
        HttpOptions {
            connections: 16,
            connect_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(30),
            total_timeout: Duration::from_secs(3600),
            contact: None,
        }
    }
}

/// The client; its connections are shared by all threads.
#[derive(Debug, Clone)]
pub struct Http {
    agent: ureq::Agent,
    options: HttpOptions,
}

impl Http {
    /// A client. Proxies come from HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY;
    /// SSL_CERT_FILE replaces the built-in root certificates.
    ///
    /// # Errors
    /// When SSL_CERT_FILE or the contact cannot be used.
    pub fn new(options: HttpOptions) -> Result<Http, Error> {
        let mut user_agent = format!("cratehold/{}", env!("CARGO_PKG_VERSION"));
        if let Some(contact) = options.contact.as_deref().filter(|contact| !contact.is_empty()) {
            if !contact.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
                let contact = contact.escape_debug();
                let message = format!("contact `{contact}`: expected printable ASCII, such as a mail address");
                return Err(Error::Setting(message));
            }
            user_agent = format!("{user_agent} ({contact})");
        }
        let config = ureq::Agent::config_builder()
            .user_agent(user_agent)
            .accept_encoding("identity")
            .http_status_as_error(false)
            .max_redirects(MAX_REDIRECTS)
            .max_idle_connections(2 * options.connections)
            .max_idle_connections_per_host(options.connections)
            .timeout_resolve(Some(options.connect_timeout))
            .timeout_connect(Some(options.connect_timeout))
            .timeout_per_read(Some(options.idle_timeout))
            .timeout_per_write(Some(options.idle_timeout))
            .timeout_global(Some(options.total_timeout))
            .tls_config(tls()?)
            .build();
        Ok(Http {
            agent: ureq::Agent::with_parts(config, DefaultConnector::default(), RememberingResolver::default()),
            options,
        })
    }

    /// Asks for `url`; any status is an answer.
    ///
    /// # Errors
    /// When none comes.
    pub fn get(&self, url: &str, header: Option<(&str, &str)>) -> Result<Answer, Error> {
        let header = header.map(|(name, value)| (name.to_owned(), value.to_owned()));
        self.exchange(url, header.as_slice(), None)
    }

    /// Sends `post`, or asks if there is nothing to send, with these headers; any
    /// status is an answer.
    ///
    /// # Errors
    /// When none comes.
    pub(super) fn exchange(
        &self,
        url: &str,
        headers: &[(String, String)],
        post: Option<&[u8]>,
    ) -> Result<Answer, Error> {
        let response = match post {
            None => {
                let add =
                    |request: ureq::RequestBuilder<_>, (name, value): &(String, String)| request.header(name, value);
                headers.iter().fold(self.agent.get(url), add).call()
            }
            Some(bytes) => {
                let add =
                    |request: ureq::RequestBuilder<_>, (name, value): &(String, String)| request.header(name, value);
                headers.iter().fold(self.agent.post(url), add).send(bytes)
            }
        };
        let response = response.map_err(|error| self.no_answer(url, error))?;
        let (parts, body) = response.into_parts();
        Ok(Answer {
            url: url.to_owned(),
            status: parts.status.as_u16(),
            headers: parts.headers,
            body,
            idle_timeout: self.options.idle_timeout,
        })
    }

    fn no_answer(&self, url: &str, error: ureq::Error) -> Error {
        let url = url.to_owned();
        let connect = |cause: String| Error::Connect {
            url: url.clone(),
            cause,
        };
        match error {
            ureq::Error::TooManyRedirects => Error::Redirects {
                url,
                limit: MAX_REDIRECTS,
            },
            ureq::Error::HostNotFound => connect("the host's name cannot be resolved".into()),
            ureq::Error::ConnectionFailed => connect("no address of the host answers".into()),
            ureq::Error::ConnectProxyFailed(cause) => connect(format!("the proxy refuses: {cause}")),
            ureq::Error::Io(error) if is_end(&error) => Error::Transport {
                url,
                cause: format!("the server ended the connection without an answer ({error})"),
                transient: true,
            },
            ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => Error::Transport {
                url,
                cause: error.to_string(),
                transient: false,
            },
            ureq::Error::Io(error) => connect(error.to_string()),
            other => common(url, other, 0, self.options.idle_timeout),
        }
    }
}

fn tls() -> Result<TlsConfig, Error> {
    let builder = TlsConfig::builder();
    let Some(path) = std::env::var_os("SSL_CERT_FILE").filter(|path| !path.is_empty()) else {
        return Ok(builder.build());
    };
    let fail = |cause: String| Error::File {
        path: format!("SSL_CERT_FILE {}", path.display()),
        cause,
    };
    let pem = std::fs::read(&path).map_err(|error| fail(error.to_string()))?;
    let mut roots = Vec::new();
    for item in parse_pem(&pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => roots.push(certificate),
            Ok(_) => {}
            Err(error) => return Err(fail(error.to_string())),
        }
    }
    if roots.is_empty() {
        return Err(fail("expected certificates in PEM form, found none".into()));
    }
    Ok(builder.root_certs(RootCerts::from(roots)).build())
}

fn is_end(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(
        error.kind(),
        UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe
    )
}

/// Errors that may come before and within a body alike.
fn common(url: String, error: ureq::Error, found: u64, idle_timeout: Duration) -> Error {
    match error {
        ureq::Error::Timeout(ureq::Timeout::PerRead | ureq::Timeout::PerWrite) => Error::Timeout {
            url,
            phase: format!("nothing came for {} s", idle_timeout.as_secs_f64()),
            found,
        },
        ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => Error::Timeout {
            url,
            phase: "no connection".into(),
            found,
        },
        ureq::Error::Timeout(_) => Error::Timeout {
            url,
            phase: "too slow in all".into(),
            found,
        },
        other => Error::Transport {
            url,
            transient: matches!(other, ureq::Error::Protocol(_) | ureq::Error::Io(_)),
            cause: other.to_string(),
        },
    }
}

/// An answer whose body has not been read yet.
#[derive(Debug)]
pub struct Answer {
    url: String,
    /// The status code.
    pub status: u16,
    headers: HeaderMap,
    body: ureq::Body,
    idle_timeout: Duration,
}

impl Answer {
    /// A header's value, if it is there and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The announced length of the body.
    pub fn content_bytes(&self) -> Option<u64> {
        self.body.content_length()
    }

    /// The headers, one a line, and the body as it comes.
    pub(super) fn into_stream(self) -> (Vec<u8>, Box<dyn Read + Send>) {
        let mut lines = Vec::new();
        for (name, value) in &self.headers {
            lines.extend_from_slice(name.as_str().as_bytes());
            lines.extend_from_slice(b": ");
            lines.extend_from_slice(value.as_bytes());
            lines.push(b'\n');
        }
        (lines, Box::new(self.body.into_reader()))
    }

    /// This answer as the failure that its status says.
    pub fn into_status_error(mut self) -> Error {
        let retry_after = self
            .header("retry-after")
            .and_then(|value| retry_after(value, SystemTime::now()));
        if self.content_bytes().is_some_and(|bytes| bytes <= DRAIN_BYTES) {
            let _ = std::io::copy(&mut self.body.as_reader().take(DRAIN_BYTES), &mut std::io::sink());
        }
        Error::Status {
            url: self.url,
            status: self.status,
            retry_after,
        }
    }

    /// Reads the body, of at most `limit_bytes`; `seen` hears each piece, and how
    /// long the whole is known to be so far, before it is kept.
    ///
    /// # Errors
    /// When it ends early, is too long, stalls, or `stop` is set.
    pub fn read(mut self, limit_bytes: u64, stop: &Stop, mut seen: impl FnMut(&[u8], u64)) -> Result<Vec<u8>, Error> {
        let announced = self.content_bytes();
        let too_long = |url: &str, found| Error::TooLong {
            url: url.to_owned(),
            limit_bytes,
            found,
        };
        if let Some(bytes) = announced.filter(|&bytes| bytes > limit_bytes) {
            return Err(too_long(&self.url, bytes));
        }
        let mut bytes = Vec::new();
        let mut chunk = vec![0; CHUNK_BYTES];
        seen(&[], announced.unwrap_or(0));
        // What a server announces is no reason to allocate it all.
        bytes.reserve(announced.unwrap_or(0).min(16 << 20) as usize);
        let mut reader = self.body.as_reader();
        loop {
            if stop.is_set() {
                return Err(Error::Stopped);
            }
            let count = match reader.read(&mut chunk) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    return Err(cut_off(
                        self.url,
                        error,
                        announced,
                        bytes.len() as u64,
                        self.idle_timeout,
                    ));
                }
            };
            let total = (bytes.len() + count) as u64;
            if total > limit_bytes {
                return Err(too_long(&self.url, total));
            }
            seen(&chunk[..count], total.max(announced.unwrap_or(0)));
            bytes.extend_from_slice(&chunk[..count]);
        }
        match announced {
            Some(expected) if expected != bytes.len() as u64 => Err(Error::Cut {
                url: self.url,
                expected: expected.to_string(),
                found: bytes.len() as u64,
            }),
            _ => Ok(bytes),
        }
    }
}

fn cut_off(url: String, error: std::io::Error, announced: Option<u64>, found: u64, idle_timeout: Duration) -> Error {
    match ureq::Error::from(error) {
        ureq::Error::Io(error) if is_end(&error) => Error::Cut {
            url,
            expected: announced.map_or_else(|| "more than these".to_owned(), |bytes| bytes.to_string()),
            found,
        },
        other => common(url, other, found, idle_timeout),
    }
}
