//! A pool of plain threads: items in, results out, in whatever order they end.

use super::Stop;
use crossbeam_channel::{Receiver, RecvTimeoutError, SendTimeoutError, Sender};
use std::sync::Arc;
use std::time::Duration;

/// How late `stop` may be noticed by whoever waits for a channel.
const GLANCE: Duration = Duration::from_millis(50);

/// Sends `item`, however long it takes; false if nobody receives or `stop` is set.
pub fn send<I>(sender: &Sender<I>, mut item: I, stop: &Stop) -> bool {
    while !stop.is_set() {
        item = match sender.send_timeout(item, GLANCE) {
            Ok(()) => return true,
            Err(SendTimeoutError::Timeout(item)) => item,
            Err(SendTimeoutError::Disconnected(_)) => return false,
        };
    }
    false
}

/// The next result, however long it takes; none if there will be no more or
/// `stop` is set.
pub fn receive<O>(receiver: &Receiver<O>, stop: &Stop) -> Option<O> {
    while !stop.is_set() {
        match receiver.recv_timeout(GLANCE) {
            Ok(result) => return Some(result),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return None,
        }
    }
    None
}

/// Starts `count` threads that turn items into results until the sender is
/// dropped, or nobody receives any more.
///
/// The threads are not joined: one may hang in a system call for as long as a
/// timeout allows, and whoever has been told to stop must not wait for it. Both
/// channels are bounded by `count`, so that no more than that lies between.
///
/// # Errors
/// When the system gives no thread at all; fewer than asked for will do.
pub fn workers<I: Send + 'static, O: Send + 'static>(
    count: usize,
    work: impl Fn(I) -> O + Send + Sync + 'static,
) -> std::io::Result<(Sender<I>, Receiver<O>)> {
    let (items, take) = crossbeam_channel::bounded::<I>(count);
    let (give, results) = crossbeam_channel::bounded::<O>(count);
    let work = Arc::new(work);
    for started in 0..count.max(1) {
        let (take, give, work) = (take.clone(), give.clone(), work.clone());
        let thread = std::thread::Builder::new().name("fetch".into()).spawn(move || {
            for item in take {
                if give.send(work(item)).is_err() {
                    break;
                }
            }
        });
        match thread {
            Ok(_) => {}
            Err(_) if started > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok((items, results))
}
