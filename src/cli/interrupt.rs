//! Ctrl-C: asked once, finish and commit; asked twice, stop at once.

use cratehold::registry::Stop;

/// What a shell shows for a program that Ctrl-C has ended.
pub const INTERRUPTED: u8 = 130;

/// The first Ctrl-C asks to stop, the second one does not ask.
pub fn stop_on_ctrl_c(stop: &Stop) -> Result<(), ctrlc::Error> {
    on_ctrl_c(stop, "storing what has arrived")
}

/// As [`stop_on_ctrl_c`], saying that `what` comes first.
pub fn on_ctrl_c(stop: &Stop, what: &'static str) -> Result<(), ctrlc::Error> {
    let stop = stop.clone();
    call_on_ctrl_c(what, move || stop.set())
}

/// As [`on_ctrl_c`], asking by `ask`.
pub fn call_on_ctrl_c(what: &'static str, ask: impl Fn() + Send + 'static) -> Result<(), ctrlc::Error> {
    let mut asked = false;
    ctrlc::set_handler(move || {
        if asked {
            // Safe at any moment: an archive is never worse than its last commit.
            std::process::exit(i32::from(INTERRUPTED));
        }
        asked = true;
        eprintln!("\nstopping: {what}; Ctrl-C again stops at once");
        ask();
    })
}
