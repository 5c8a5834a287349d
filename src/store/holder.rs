//! Who holds a lock: the note that the one writer leaves in the lock file.
//!
//! For people only. The lock itself is the operating system's: a note that a writer
//! left when it was killed says nothing, and is only ever looked at while somebody
//! holds the lock.

use std::fmt;

/// The process that holds a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its number.
    pub process: u32,
    /// The machine's name; empty if it has none.
    pub host: String,
    /// Since when, in seconds since 1970 UTC.
    pub since: u64,
}

impl Holder {
    /// This process, from `now` on, in seconds since 1970 UTC.
    pub fn this(now: u64) -> Holder {
        Holder {
            process: std::process::id(),
            host: host(),
            since: now,
        }
    }

    /// What to write into the lock file.
    pub fn note(&self) -> String {
        format!("process {}\nhost {}\nsince {}\n", self.process, self.host, self.since)
    }

    /// Reads a note; none if it is not whole.
    pub fn parse(note: &[u8]) -> Option<Holder> {
        let mut lines = std::str::from_utf8(note).ok()?.strip_suffix('\n')?.split('\n');
        let mut value = |key: &str| lines.next()?.strip_prefix(key)?.strip_prefix(' ');
        let holder = Holder {
            process: value("process")?.parse().ok()?,
            host: value("host")?.to_owned(),
            since: value("since")?.parse().ok()?,
        };
        // It is printed, and anybody may have written it.
        let is_plain = holder.host.chars().all(|c| !c.is_control());
        (lines.next().is_none() && is_plain).then_some(holder)
    }

    /// Whether there may be such a process: false if its number is no process's of
    /// this very machine.
    pub fn may_live(&self) -> bool {
        self.host != host() || is_process(self.process)
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}", self.process)?;
        if !self.host.is_empty() {
            write!(f, " on {}", self.host)?;
        }
        let since = i64::try_from(self.since).ok();
        match since.and_then(|since| jiff::Timestamp::from_second(since).ok()) {
            Some(since) => write!(f, ", since {since}"),
            None => Ok(()),
        }
    }
}

#[cfg(target_os = "linux")]
fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname");
    name.map_or_else(|_| String::new(), |name| name.trim_end().to_owned())
}

#[cfg(not(target_os = "linux"))]
fn host() -> String {
    let name = std::env::var("HOSTNAME").or_else(|_| std::env::var("COMPUTERNAME"));
    name.unwrap_or_default()
}

/// Elsewhere than on Linux that would take a call of the system for which the standard
/// library has no word, only for the moment between locking and signing.
fn is_process(number: u32) -> bool {
    let processes = std::path::Path::new("/proc");
    !cfg!(target_os = "linux") || !processes.join("self").exists() || processes.join(number.to_string()).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_back_and_half_a_note_is_none() {
        let holder = Holder::this(1_700_000_000);
        let note = holder.note();
        assert_eq!(Holder::parse(note.as_bytes()), Some(holder.clone()));
        for end in 0..note.len() {
            assert_eq!(Holder::parse(&note.as_bytes()[..end]), None, "{end}");
        }
        assert_eq!(Holder::parse(format!("{note}more\n").as_bytes()), None);
        assert_eq!(Holder::parse(b"process 1\nhost \x1b[2J\nsince 1\n"), None);
        assert!(holder.to_string().ends_with(", since 2023-11-14T22:13:20Z"), "{holder}");
    }

    #[test]
    fn who_is_gone_is_not_named() {
        let mut holder = Holder::this(0);
        assert!(holder.may_live());
        // Beyond the largest number that any system gives.
        holder.process = i32::MAX as u32 - 1;
        assert_eq!(holder.may_live(), cfg!(not(target_os = "linux")));
        holder.host.push_str(" elsewhere");
        assert!(holder.may_live());
    }
}
