//! One HTTP client for everything: time limits, size limits, keep-alive, errors.
//!
//! Bodies are taken as they come: whatever `Content-Encoding` says, nothing is
//! decoded.

use super::error::Error;
use super::pace::{Pace, TooSlow};
use super::throttle::Throttle;
use super::{Stop, proxy::proxy_for, resolve::RememberingResolver, retry_after, roots::tls};
use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use ureq::http::HeaderMap;
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
    /// Bytes must come at least this often, and more than a drip of them.
    pub idle_timeout: Duration,
    /// One answer must be complete after so much waiting for it, however steadily it
    /// comes. Not for the stream of a git fetch, which is as long as it is.
    pub total_timeout: Duration,
    /// All answers together take at most so many bytes a second.
    pub bytes_per_second: Option<u64>,
    /// Whom a server's owner may write to; part of the User-Agent.
    pub contact: Option<String>,
}

impl Default for HttpOptions {
    fn default() -> HttpOptions {
        HttpOptions {
            connections: 64,
            connect_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(30),
            total_timeout: Duration::from_secs(1800),
            bytes_per_second: None,
            contact: None,
        }
    }
}

/// The client; its connections are shared by all threads.
#[derive(Debug, Clone)]
pub struct Http {
    /// For `https://`.
    secure: ureq::Agent,
    /// For `http://`.
    plain: ureq::Agent,
    options: HttpOptions,
    throttle: Option<Arc<Throttle>>,
}

impl Http {
    /// A client. Proxies come from HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY;
    /// SSL_CERT_FILE and SSL_CERT_DIR replace the built-in root certificates.
    ///
    /// # Errors
    /// When one of these or the contact cannot be used.
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
        let tls = tls()?;
        let agent = |proxy| {
            let config = ureq::Agent::config_builder()
                .user_agent(&user_agent)
                .accept_encoding("identity")
                .http_status_as_error(false)
                .max_redirects(MAX_REDIRECTS)
                .max_idle_connections(2 * options.connections)
                .max_idle_connections_per_host(options.connections)
                .timeout_resolve(Some(options.connect_timeout))
                .timeout_connect(Some(options.connect_timeout))
                .timeout_per_read(Some(options.idle_timeout))
                .timeout_per_write(Some(options.idle_timeout))
                // The header of an answer; its body has a `Pace`.
                .timeout_recv_response(Some(4 * options.idle_timeout))
                .proxy(proxy)
                .tls_config(tls.clone())
                .build();
            ureq::Agent::with_parts(config, DefaultConnector::default(), RememberingResolver::default())
        };
        Ok(Http {
            secure: agent(proxy_for("https")?),
            plain: agent(proxy_for("http")?),
            throttle: options.bytes_per_second.map(|limit| Arc::new(Throttle::new(limit))),
            options,
        })
    }

    /// See [`HttpOptions::connections`].
    pub fn connections(&self) -> usize {
        self.options.connections
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
        let agent = match url.starts_with("https:") {
            true => &self.secure,
            false => &self.plain,
        };
        let response = match post {
            None => {
                let add =
                    |request: ureq::RequestBuilder<_>, (name, value): &(String, String)| request.header(name, value);
                headers.iter().fold(agent.get(url), add).call()
            }
            Some(bytes) => {
                let add =
                    |request: ureq::RequestBuilder<_>, (name, value): &(String, String)| request.header(name, value);
                headers.iter().fold(agent.post(url), add).send(bytes)
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
            total_timeout: self.options.total_timeout,
            throttle: self.throttle.clone(),
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
            // What rustls says of a certificate comes as this, too.
            ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => Error::Untrusted {
                url,
                cause: error.to_string(),
            },
            ureq::Error::Tls(cause) => Error::Untrusted {
                url,
                cause: cause.to_owned(),
            },
            ureq::Error::Rustls(error) => Error::Untrusted {
                url,
                cause: error.to_string(),
            },
            ureq::Error::Io(error) => connect(error.to_string()),
            other => common(url, other, 0, self.options.idle_timeout),
        }
    }
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
    total_timeout: Duration,
    throttle: Option<Arc<Throttle>>,
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
        let throttle = self.throttle;
        let mut lines = Vec::new();
        for (name, value) in &self.headers {
            lines.extend_from_slice(name.as_str().as_bytes());
            lines.extend_from_slice(b": ");
            lines.extend_from_slice(value.as_bytes());
            lines.push(b'\n');
        }
        let reader = self.body.into_reader();
        match throttle {
            None => (lines, Box::new(reader)),
            Some(throttle) => (lines, Box::new(Throttled { reader, throttle })),
        }
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
        let mut pace = Pace::new(self.idle_timeout, self.total_timeout);
        if let Some(throttle) = &self.throttle {
            chunk.truncate(throttle.piece_bytes());
        }
        loop {
            if stop.is_set() {
                return Err(Error::Stopped);
            }
            let before = Instant::now();
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
            let took = before.elapsed();
            let total = (bytes.len() + count) as u64;
            if total > limit_bytes {
                return Err(too_long(&self.url, total));
            }
            if announced.is_none_or(|announced| total < announced) {
                match pace.note(took, count) {
                    Ok(()) => {}
                    Err(TooSlow::Drip) => {
                        return Err(Error::Timeout {
                            url: self.url,
                            phase: format!("next to nothing came for {} s", self.idle_timeout.as_secs_f64()),
                            found: total,
                        });
                    }
                    Err(TooSlow::Total) => {
                        return Err(Error::Endless {
                            url: self.url,
                            limit_seconds: self.total_timeout.as_secs_f64(),
                            found: total,
                        });
                    }
                }
            }
            if let Some(throttle) = &self.throttle {
                throttle.pay(count, stop);
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

/// A stream that is held to the common limit.
struct Throttled<R> {
    reader: R,
    throttle: Arc<Throttle>,
}

impl<R: Read> Read for Throttled<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let most = buffer.len().min(self.throttle.piece_bytes());
        let count = self.reader.read(&mut buffer[..most])?;
        self.throttle.pay(count, &Stop::default());
        Ok(count)
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
