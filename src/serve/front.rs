//! Connections: how many there are, how long each may take, and how they end.

use super::body::Sent;
use super::log::{Access, Event};
use super::request::Asked;
use super::site::Site;
use super::stream::Stream;
use super::{Limits, answer::Answer, routes};
use hyper::body::Incoming;
use hyper::header::{ALLOW, HeaderValue, USER_AGENT};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

/// Header lines; cargo and browsers send fewer than 20.
const MAX_HEADERS: usize = 64;
/// When no connection can be taken, such as for want of file handles.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers until `stopped`, and then until every request under way has its answer or
/// [`Limits::drain`] is over.
pub(super) async fn serve(listener: TcpListener, site: Arc<Site>, limits: Limits, mut stopped: watch::Receiver<bool>) {
    let most = u32::try_from(limits.connections).unwrap_or(u32::MAX).max(1);
    let slots = Arc::new(Semaphore::new(most as usize));
    loop {
        // Who comes when all slots are taken waits in the system's queue.
        let taken = tokio::select! {
            slot = slots.clone().acquire_owned() => slot,
            _ = stopped.wait_for(|stopped| *stopped) => break,
        };
        let Ok(slot) = taken else { break };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.wait_for(|stopped| *stopped) => break,
        };
        let (tcp, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                site.tell(Event::Trouble(format!("a connection could not be taken: {error}")));
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (site, stopped) = (site.clone(), stopped.clone());
        tokio::spawn(async move {
            converse(tcp, peer, site, limits, stopped).await;
            drop(slot);
        });
    }
    drop(listener);
    // All slots are free once every connection has ended.
    let _ = tokio::time::timeout(limits.drain, slots.acquire_many(most)).await;
}

async fn converse(
    tcp: TcpStream,
    peer: SocketAddr,
    site: Arc<Site>,
    limits: Limits,
    mut stopped: watch::Receiver<bool>,
) {
    // A small answer should not wait for the next one.
    let _ = tcp.set_nodelay(true);
    let stream = TokioIo::new(Stream::new(tcp, limits.stall));
    let log = site.clone();
    let service = service_fn(move |request| {
        let site = site.clone();
        async move { Ok::<_, Infallible>(respond(&site, peer, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_read)
        .max_buf_size(limits.header_bytes)
        .max_headers(MAX_HEADERS)
        .serve_connection(stream, service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        _ = stopped.wait_for(|stopped| *stopped) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    // What goes wrong here is the client's: it left, was too slow, or spoke no HTTP, of
    // which the last was answered.
    if let Err(error) = ended
        && error.is_parse()
    {
        log.tell(Event::Access(unread(peer, error.is_parse_too_large())));
    }
}

/// A request that was answered without being understood.
fn unread(peer: SocketAddr, is_too_large: bool) -> Access {
    let status = match is_too_large {
        true => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        false => StatusCode::BAD_REQUEST,
    };
    Access {
        peer,
        time: SystemTime::now(),
        method: "-".into(),
        target: "-".into(),
        version: "-".into(),
        status: status.as_u16(),
        sent_bytes: 0,
        duration: Duration::ZERO,
        user_agent: None,
    }
}

async fn respond(site: &Arc<Site>, peer: SocketAddr, request: Request<Incoming>) -> Response<Sent> {
    let (start, time) = (Instant::now(), SystemTime::now());
    // A body that was sent along is nothing to a server that only gives.
    let (head, _) = request.into_parts();
    let asked = Asked::parse(&head.method, &head.uri, head.version, &head.headers);
    let (status, headers, bytes) = match &asked {
        Ok(asked) => {
            let mut answer = routes::answer(site, asked).await;
            if let Some(trouble) = answer.trouble.take() {
                site.tell(Event::Trouble(format!("{}: {trouble}", head.uri.path().escape_debug())));
            }
            answer.into_parts(Some(asked))
        }
        Err((status, line)) => {
            let mut answer = Answer::plain(*status, line);
            if *status == StatusCode::METHOD_NOT_ALLOWED {
                answer.headers.push((ALLOW, HeaderValue::from_static("GET, HEAD")));
            }
            answer.into_parts(None)
        }
    };
    let access = Access {
        peer,
        time,
        method: head.method.to_string(),
        target: head.uri.to_string(),
        version: format!("{:?}", head.version),
        status: status.as_u16(),
        sent_bytes: 0,
        duration: Duration::ZERO,
        user_agent: asked.ok().and_then(|asked| asked.header(USER_AGENT).map(str::to_owned)),
    };
    let log = site.clone();
    let when_done = Box::new(move |sent_bytes| {
        log.tell(Event::Access(Access {
            sent_bytes,
            duration: start.elapsed(),
            ..access
        }));
    });
    let mut response = Response::new(Sent::new(bytes, when_done));
    (*response.status_mut(), *response.headers_mut()) = (status, headers);
    response
}
