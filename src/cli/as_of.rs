//! `--as-of SNAP|DATE`: from what was typed to a past snapshot.

use super::date;
use cratehold::archive::{Archive, Error};
use std::path::Path;
use std::str::FromStr;

/// A snapshot by its number, or the last one of a day or instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AsOf {
    /// This snapshot.
    Snapshot(u64),
    /// The last one up to the end of a day: its last second since 1970 UTC.
    Day(u64),
    /// The last one up to this second since 1970 UTC.
    Time(u64),
}

impl FromStr for AsOf {
    type Err = String;

    fn from_str(text: &str) -> Result<AsOf, String> {
        if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
            let number = text.parse();
            return number.map(AsOf::Snapshot).map_err(|error| format!("`{text}`: {error}"));
        }
        let after_1970 =
            |seconds: i64| u64::try_from(seconds).map_err(|_| format!("`{text}`: expected a time after 1970"));
        if let Ok(instant) = text.parse::<jiff::Timestamp>() {
            return after_1970(instant.as_second()).map(AsOf::Time);
        }
        match end_of_day(text) {
            Some(last) => after_1970(last).map(AsOf::Day),
            None => Err(format!(
                "`{text}`: expected the number of a snapshot, a day such as 2026-11-25, or an RFC 3339 time such as 2026-11-25T12:00:00Z"
            )),
        }
    }
}

/// The last second, in UTC, of a day written `2026-11-25`.
fn end_of_day(text: &str) -> Option<i64> {
    let last: jiff::Timestamp = format!("{text}T23:59:59Z").parse().ok()?;
    Some(last.as_second())
}

impl AsOf {
    /// The number of the snapshot that is meant.
    pub fn snapshot(self, archive: &Archive) -> Result<u64, Box<dyn std::error::Error>> {
        match self {
            AsOf::Snapshot(number) => {
                let newest = archive.head().generation;
                if number > newest {
                    return Err(
                        format!("no snapshot {number}: the newest is {newest}; `cratehold log` lists them").into(),
                    );
                }
                Ok(number)
            }
            AsOf::Day(time) | AsOf::Time(time) => match archive.snapshot_at(time)? {
                Some(number) => Ok(number),
                None => {
                    let transactions = archive.transactions()?;
                    let first = transactions
                        .first()
                        .map(|first| format!("its first is snapshot {}, of {}", first.generation, date(first.time)));
                    let first = first.unwrap_or_else(|| "it has none yet".into());
                    Err(format!("no snapshot of {} or before: {first}", date(time)).into())
                }
            },
        }
    }
}

/// The archive in `folder`, as it was at `as_of` if that is given.
pub fn open(folder: &Path, as_of: Option<AsOf>) -> Result<Archive, Box<dyn std::error::Error>> {
    let archive = Archive::open(folder)?;
    match as_of {
        None => Ok(archive),
        Some(as_of) => Ok(archive.at(as_of.snapshot(&archive)?)),
    }
}

/// "snapshot 7, 2026-11-25 12:00 UTC".
pub fn when(archive: &Archive, generation: u64) -> Result<String, Error> {
    let time = archive.snapshot_time(generation)?;
    Ok(time.map_or_else(
        || format!("snapshot {generation}"),
        |time| format!("snapshot {generation}, {}", date(time)),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_days_and_instants_are_told_apart() {
        let parse = |text: &str| text.parse::<AsOf>();
        assert_eq!(parse("12"), Ok(AsOf::Snapshot(12)));
        assert_eq!(parse("1970-01-02"), Ok(AsOf::Day(2 * 86_400 - 1)));
        assert_eq!(parse("1970-01-02T00:00:00Z"), Ok(AsOf::Time(86_400)));
        assert_eq!(parse("1970-01-02T01:00:00+01:00"), Ok(AsOf::Time(86_400)));
        for bad in [
            "",
            "-1",
            "yesterday",
            "2026-13-01",
            "2026-11-25T12:00",
            "1969-12-30",
            "99999999999999999999",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
