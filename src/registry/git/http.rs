//! Git's smart protocol over the one HTTP client of this program: the same TLS,
//! proxies, time limits and User-Agent as for all else.

use super::super::Http;
use gix_transport::client::blocking_io::http::{self as git, GetResponse, PostBodyDataKind, PostResponse};
use std::io::{self, BufReader, Cursor, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What git's transport asks; see [`git::Http`].
pub(super) struct GitHttp {
    http: Http,
}

impl GitHttp {
    pub(super) fn new(http: Http) -> GitHttp {
        GitHttp { http }
    }
}

/// One request and its answer. A POST is sent when its answer is first read: its
/// body is complete by then, and small, for only one commit is ever asked for.
struct Exchange {
    http: Http,
    url: String,
    headers: Vec<(String, String)>,
    /// What to send; none for a GET.
    post: Option<Vec<u8>>,
    state: State,
}

enum State {
    Waiting,
    Answered(Answered),
    Failed(String),
}

struct Answered {
    headers: Cursor<Vec<u8>>,
    body: Box<dyn Read + Send>,
}

impl Exchange {
    fn send(&self) -> State {
        let answer = match self.http.exchange(&self.url, &self.headers, self.post.as_deref()) {
            Ok(answer) => answer,
            Err(error) => return State::Failed(error.to_string()),
        };
        if answer.status != 200 {
            return State::Failed(answer.into_status_error().to_string());
        }
        let (headers, body) = answer.into_stream();
        State::Answered(Answered {
            headers: Cursor::new(headers),
            body,
        })
    }

    fn answer(&mut self) -> io::Result<&mut Answered> {
        if matches!(self.state, State::Waiting) {
            self.state = self.send();
        }
        match &mut self.state {
            State::Answered(answered) => Ok(answered),
            State::Failed(cause) => Err(io::Error::other(cause.clone())),
            State::Waiting => Err(io::Error::other("no answer")),
        }
    }
}

#[derive(Clone)]
pub(super) struct Shared(Arc<Mutex<Exchange>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Exchange> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The headers of the answer.
pub(super) struct Headers(Shared);
/// The body of the answer.
pub(super) struct Body(Shared);

impl Read for Headers {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.lock().answer()?.headers.read(buffer)
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.lock().answer()?.body.read(buffer)
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.lock().post.get_or_insert_default().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl GitHttp {
    fn exchange(&self, url: &str, headers: impl IntoIterator<Item = impl AsRef<str>>, post: Option<Vec<u8>>) -> Shared {
        let split = |line: &str| {
            let (name, value) = line.split_once(':')?;
            // The client names itself, and lengths are its own to say.
            let own = ["user-agent", "content-length", "transfer-encoding", "expect"];
            let is_own = own.iter().any(|own| name.trim().eq_ignore_ascii_case(own));
            (!is_own && !value.trim().is_empty()).then(|| (name.trim().to_owned(), value.trim().to_owned()))
        };
        Shared(Arc::new(Mutex::new(Exchange {
            http: self.http.clone(),
            url: url.to_owned(),
            headers: headers.into_iter().filter_map(|line| split(line.as_ref())).collect(),
            post,
            state: State::Waiting,
        })))
    }
}

impl git::Http for GitHttp {
    type Headers = BufReader<Headers>;
    type ResponseBody = BufReader<Body>;
    type PostBody = Shared;

    fn get(
        &mut self,
        url: &str,
        _base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> gix::Result<GetResponse<Self::Headers, Self::ResponseBody>> {
        let shared = self.exchange(url, headers, None);
        Ok(GetResponse {
            headers: BufReader::new(Headers(shared.clone())),
            body: BufReader::new(Body(shared)),
        })
    }

    fn post(
        &mut self,
        url: &str,
        _base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
        _body: PostBodyDataKind,
    ) -> gix::Result<PostResponse<Self::Headers, Self::ResponseBody, Self::PostBody>> {
        let shared = self.exchange(url, headers, Some(Vec::new()));
        Ok(PostResponse {
            post_body: shared.clone(),
            headers: BufReader::new(Headers(shared.clone())),
            body: BufReader::new(Body(shared)),
        })
    }

    fn configure(&mut self, _config: &dyn std::any::Any) -> gix::Result {
        Ok(())
    }
}
