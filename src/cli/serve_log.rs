//! What `cratehold serve` tells: requests to `--log`, troubles to standard error.

use cratehold::serve::{Access, Event, Tell};
use crossbeam_channel::{Receiver, Sender, TrySendError};
use serde_json::json;
use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::SystemTime;

/// Lines that may wait to be written. Beyond them lines are dropped, and counted: a slow
/// drive slows no client.
const WAITING_LINES: usize = 8192;

/// What a line of the log looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// The common log format of web servers.
    Common,
    /// One JSON object a line; troubles among them.
    Json,
}

/// Writes on a thread of its own.
pub struct LogWriter {
    sender: Sender<Option<Event>>,
    dropped: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

struct Output {
    name: String,
    file: Option<BufWriter<Box<dyn Write + Send>>>,
    format: LogFormat,
    dropped: Arc<AtomicU64>,
}

impl LogWriter {
    /// Begins to write to `path`, to standard output if that is `-`, or nowhere.
    pub fn start(path: Option<&Path>, format: LogFormat) -> Result<LogWriter, String> {
        let name = path.map(|path| path.display().to_string()).unwrap_or_default();
        let file: Option<Box<dyn Write + Send>> = match path {
            None => None,
            Some(path) if path.as_os_str() == "-" => Some(Box::new(io::stdout())),
            Some(path) => {
                let file = OpenOptions::new().append(true).create(true).open(path);
                Some(Box::new(file.map_err(|error| format!("--log {name}: {error}"))?))
            }
        };
        let (sender, receiver) = crossbeam_channel::bounded(WAITING_LINES);
        let dropped = Arc::new(AtomicU64::new(0));
        let output = Output {
            name,
            file: file.map(BufWriter::new),
            format,
            dropped: dropped.clone(),
        };
        let thread = std::thread::spawn(move || output.write_all(&receiver));
        Ok(LogWriter {
            sender,
            dropped,
            thread,
        })
    }

    /// What is to be told of each event.
    pub fn tell(&self) -> Arc<Tell> {
        let (sender, dropped) = (self.sender.clone(), self.dropped.clone());
        Arc::new(move |event| {
            if let Err(TrySendError::Full(_)) = sender.try_send(Some(event)) {
                dropped.fetch_add(1, Ordering::Relaxed);
            }
        })
    }

    /// Returns once all that was told is written.
    pub fn finish(self) {
        let _ = self.sender.send(None);
        let _ = self.thread.join();
    }
}

impl Output {
    fn write_all(mut self, events: &Receiver<Option<Event>>) {
        while let Ok(Some(event)) = events.recv() {
            match &event {
                Event::Trouble(trouble) => {
                    eprintln!("{trouble}");
                    if self.format == LogFormat::Json {
                        self.write(&json!({ "time": rfc3339(SystemTime::now()), "trouble": trouble }).to_string());
                    }
                }
                Event::Access(access) => match self.format {
                    LogFormat::Common => self.write(&common(access)),
                    LogFormat::Json => self.write(&json_line(access)),
                },
            }
            if events.is_empty() {
                self.flush();
            }
            match self.dropped.swap(0, Ordering::Relaxed) {
                0 => {}
                dropped => eprintln!("--log {}: too slow: {dropped} lines were dropped", self.name),
            }
        }
        self.flush();
    }

    fn write(&mut self, line: &str) {
        let written = self.file.as_mut().map_or(Ok(()), |file| writeln!(file, "{line}"));
        self.check(written);
    }

    fn flush(&mut self) {
        let flushed = self.file.as_mut().map_or(Ok(()), BufWriter::flush);
        self.check(flushed);
    }

    /// A log that cannot be written ends; the server does not.
    fn check(&mut self, done: io::Result<()>) {
        if let Err(error) = done {
            eprintln!("--log {}: {error}; nothing more is logged", self.name);
            // Not flushed again on the way out.
            if let Some(file) = self.file.take() {
                let _ = file.into_parts();
            }
        }
    }
}

fn rfc3339(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time).map_or_else(|_| String::new(), |time| format!("{time:.3}"))
}

/// `HOST - - [TIME] "REQUEST" STATUS BYTES`. Clients choose targets: what could end the
/// quotes or the line is escaped.
fn common(access: &Access) -> String {
    let time = jiff::Timestamp::try_from(access.time);
    let time = time.map_or_else(
        |_| String::new(),
        |time| time.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string(),
    );
    let bytes = match access.sent_bytes {
        0 => "-".to_owned(),
        bytes => bytes.to_string(),
    };
    format!(
        "{} - - [{time}] \"{} {} {}\" {} {bytes}",
        access.peer.ip(),
        escaped(&access.method),
        escaped(&access.target),
        access.version,
        access.status
    )
}

fn escaped(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '"' | '\\' => format!("\\{c}"),
            ' '..='~' => c.to_string(),
            other => other.escape_default().to_string(),
        })
        .collect()
}

fn json_line(access: &Access) -> String {
    json!({
        "time": rfc3339(access.time), "peer": access.peer.to_string(), "method": access.method,
        "target": access.target, "version": access.version, "status": access.status,
        "bytes": access.sent_bytes, "seconds": access.duration.as_secs_f64(), "user_agent": access.user_agent,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn access(target: &str) -> Access {
        Access {
            peer: "127.0.0.1:4000".parse().unwrap(),
            time: SystemTime::UNIX_EPOCH + Duration::from_millis(86_400_500),
            method: "GET".into(),
            target: target.into(),
            version: "HTTP/1.1".into(),
            status: 200,
            sent_bytes: 12,
            duration: Duration::from_millis(250),
            user_agent: Some("cargo".into()),
        }
    }

    #[test]
    fn lines_are_lines_whatever_was_asked_for() {
        assert_eq!(
            common(&access("/index/config.json")),
            "127.0.0.1 - - [02/Jan/1970:00:00:00 +0000] \"GET /index/config.json HTTP/1.1\" 200 12"
        );
        let odd = common(&access("/a\" 1\n\u{1b}[2J\u{e9}"));
        assert!(odd.contains(r#""GET /a\" 1\n\u{1b}[2J\u{e9} HTTP/1.1""#), "{odd}");
        let line: serde_json::Value = serde_json::from_str(&json_line(&access("/a\"\n"))).unwrap();
        assert_eq!((&line["target"], &line["bytes"]), (&json!("/a\"\n"), &json!(12)));
        assert_eq!(line["time"], "1970-01-02T00:00:00.500Z");
    }
}
