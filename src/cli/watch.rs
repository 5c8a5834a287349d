//! What `sync` shows on its way: a bar for people, a line a minute where standard error
//! is no terminal, and with `--json` one object a line for scripts.

use super::human;
use cratehold::sync::{Failure, Notice, Phase, Progress};
use serde_json::{Value, json};
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often scripts, and those without a terminal, hear how far it is.
const EVENT_INTERVAL: Duration = Duration::from_secs(1);
const LINE_INTERVAL: Duration = Duration::from_secs(60);

/// Shows what a run tells.
pub struct Watch {
    json: bool,
    bar: indicatif::ProgressBar,
    start: Instant,
    state: Mutex<State>,
}

struct State {
    phase: Option<Phase>,
    since: Instant,
    last: Option<Instant>,
    /// Whether nobody reads the events any more.
    gone: bool,
}

impl Watch {
    /// With `json`, events go to standard output, and nothing else is shown.
    pub fn new(json: bool) -> Watch {
        let bar = match json {
            true => indicatif::ProgressBar::hidden(),
            false => indicatif::ProgressBar::no_length(),
        };
        let start = Instant::now();
        Watch {
            json,
            bar,
            start,
            state: Mutex::new(State {
                phase: None,
                since: start,
                last: None,
                gone: false,
            }),
        }
    }

    /// Shows it.
    pub fn show(&self, notice: &Notice<'_>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if self.json {
            if let Notice::Progress(_) = notice {
                if state.last.is_some_and(|last| last.elapsed() < EVENT_INTERVAL) {
                    return;
                }
                state.last = Some(Instant::now());
            }
            if !state.gone {
                // A reader that has gone is no reason to end the work.
                let event = as_json(notice, self.start.elapsed());
                state.gone = writeln!(std::io::stdout(), "{event}").is_err();
            }
            return;
        }
        match notice {
            Notice::Phase(phase) => {
                state.phase = Some(*phase);
                state.since = Instant::now();
                let template = match phase {
                    Phase::Index | Phase::Reading | Phase::Downloading => "{bar:30} {msg}",
                    Phase::Planning | Phase::Committing => "{spinner} {msg}",
                };
                if let Ok(style) = indicatif::ProgressStyle::with_template(template) {
                    self.bar.set_style(style);
                }
                self.bar.set_position(0);
                self.bar.set_message(doing(*phase));
            }
            Notice::Progress(progress) => {
                let text = line(progress, state.since.elapsed());
                if !self.bar.is_hidden() {
                    if progress.total > 0 {
                        self.bar.set_length(progress.total);
                    }
                    self.bar.set_position(progress.done);
                    self.bar.set_message(text);
                } else if state.last.unwrap_or(self.start).elapsed() >= LINE_INTERVAL {
                    state.last = Some(Instant::now());
                    eprintln!("{text}");
                }
            }
            Notice::Failed(_) | Notice::Missing(_) | Notice::Committed { .. } => {}
        }
    }

    /// Takes the bar away.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}

fn doing(phase: Phase) -> &'static str {
    match phase {
        Phase::Index => "fetching the registry index",
        Phase::Reading => "reading the registry index",
        Phase::Planning => "finding out what is missing",
        Phase::Downloading => "downloading",
        Phase::Committing => "committing",
    }
}

/// How far it is after so long in this phase, for people.
fn line(progress: &Progress, spent: Duration) -> String {
    let Progress { done, total, .. } = *progress;
    let mut text = doing(progress.phase).to_owned();
    if let Some(step) = &progress.step {
        text += &format!(": {}", step.to_lowercase());
    }
    text += &match total {
        0 => format!(" {done}"),
        _ => format!(" {done} of {total}"),
    };
    let seconds = spent.as_secs_f64().max(0.001);
    let rate = done as f64 / seconds;
    match progress.phase {
        Phase::Downloading => {
            let bytes_rate = human((progress.bytes as f64 / seconds) as u64);
            text += &format!(" crates, {rate:.0}/s, {} at {bytes_rate}/s", human(progress.bytes));
        }
        Phase::Reading => text += &format!(" files, {rate:.0}/s"),
        _ => {}
    }
    if done > 0 && total > done && progress.step.is_none() {
        let left = Duration::from_secs_f64((total - done) as f64 / rate);
        text += &format!(", {} left", indicatif::HumanDuration(left));
    }
    if progress.stored_bytes > 0 {
        let ratio = progress.crate_bytes as f64 / progress.stored_bytes as f64;
        text += &format!("; {} stored, {ratio:.2} times smaller", human(progress.stored_bytes));
    }
    if progress.failed > 0 {
        text += &format!("; {} failed", progress.failed);
    }
    text
}

fn as_json(notice: &Notice<'_>, spent: Duration) -> Value {
    let failure =
        |event: &str, failure: &Failure| json!({"event": event, "what": failure.what, "cause": failure.cause});
    match notice {
        Notice::Phase(phase) => json!({"event": "phase", "phase": name(*phase), "seconds": seconds(spent)}),
        Notice::Progress(progress) => json!({
            "event": "progress", "phase": name(progress.phase), "step": progress.step, "done": progress.done,
            "total": progress.total, "bytes": progress.bytes, "crate_bytes": progress.crate_bytes,
            "stored_bytes": progress.stored_bytes, "failed": progress.failed, "seconds": seconds(spent),
        }),
        Notice::Failed(what) => failure("failed", what),
        Notice::Missing(what) => failure("missing", what),
        Notice::Committed { snapshot } => json!({"event": "committed", "snapshot": snapshot}),
    }
}

fn name(phase: Phase) -> &'static str {
    match phase {
        Phase::Index => "index",
        Phase::Reading => "reading",
        Phase::Planning => "planning",
        Phase::Downloading => "downloading",
        Phase::Committing => "committing",
    }
}

/// To the millisecond.
fn seconds(spent: Duration) -> f64 {
    (spent.as_secs_f64() * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_told_speed_end_ratio_and_failures() {
        let mut progress = Progress {
            phase: Phase::Downloading,
            step: None,
            done: 50,
            total: 150,
            bytes: 4_000_000,
            crate_bytes: 3_000_000,
            stored_bytes: 1_500_000,
            failed: 2,
        };
        assert_eq!(
            line(&progress, Duration::from_secs(2)),
            "downloading 50 of 150 crates, 25/s, 4.0 MB at 2.0 MB/s, 4 seconds left; 1.5 MB stored, 2.00 times smaller; 2 failed"
        );
        progress.phase = Phase::Index;
        progress.step = Some("Counting objects".into());
        (progress.stored_bytes, progress.failed) = (0, 0);
        assert_eq!(
            line(&progress, Duration::from_secs(2)),
            "fetching the registry index: counting objects 50 of 150"
        );
    }
}
