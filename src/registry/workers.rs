//! A pool of plain threads: items in, results out, in whatever order they end.

use crossbeam_channel::{Receiver, Sender};
use std::sync::Arc;

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
