//! `/statistics`: what is held, how it grew, and where the bytes are.

use super::links::Links;
use super::{NoPage, Page, charts, counted, human, plural};
use crate::archive::{self, LineReader};
use crate::serve::site::{Site, Snapshot};
use maud::{Markup, html};
use std::collections::BTreeMap;
use std::sync::Arc;

const BIGGEST: usize = 20;
const PUBLISHED: &[u8] = b"\"pubtime\"";

/// Of one month.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Grown {
    releases: u64,
    crate_bytes: u64,
}

struct Big {
    name: String,
    versions: u64,
    crate_bytes: u64,
    record_bytes: u64,
}

/// Sums over a whole snapshot.
#[derive(Default)]
pub(super) struct Statistics {
    crates: u64,
    releases: u64,
    held: u64,
    yanked: u64,
    removed: u64,
    crate_bytes: u64,
    content_bytes: u64,
    record_bytes: u64,
    disk_bytes: u64,
    /// By `YYYY-MM`.
    months: BTreeMap<String, Grown>,
    /// Count and crate bytes by engine number.
    engines: BTreeMap<u8, (u64, u64)>,
    biggest: Vec<Big>,
}

impl Statistics {
    pub fn of(snapshot: &Snapshot) -> Result<Statistics, archive::Error> {
        let archive = &snapshot.archive;
        let mut sums = Statistics {
            disk_bytes: archive.disk_bytes()?,
            ..Statistics::default()
        };
        let month = |time: u64| super::day(time).get(..7).unwrap_or_default().to_owned();
        let committed: BTreeMap<u64, String> = archive
            .transactions()?
            .into_iter()
            .map(|transaction| (transaction.generation, month(transaction.time)))
            .collect();
        let mut lines = LineReader::new(archive);
        archive.each_crate(|state| {
            let mut big = Big {
                name: state.name.clone(),
                versions: 0,
                crate_bytes: 0,
                record_bytes: 0,
            };
            sums.crates += 1;
            for release in &state.releases {
                sums.releases += 1;
                sums.yanked += u64::from(release.yanked);
                sums.removed += u64::from(!release.is_current());
                let Some(entry) = archive.find(&release.digest)? else {
                    continue;
                };
                let crate_bytes = u64::from(entry.crate_bytes);
                sums.held += 1;
                sums.content_bytes += u64::from(entry.content_bytes);
                let engine = sums.engines.entry(entry.engine).or_default();
                *engine = (engine.0 + 1, engine.1 + crate_bytes);
                big.versions += 1;
                big.crate_bytes += crate_bytes;
                big.record_bytes += u64::from(entry.record_bytes);
                let published = lines.line(release)?.and_then(|line| published(&line));
                let month = published.or_else(|| committed.get(&release.added).cloned());
                let grown = sums.months.entry(month.unwrap_or_default()).or_default();
                grown.releases += 1;
                grown.crate_bytes += crate_bytes;
            }
            sums.crate_bytes += big.crate_bytes;
            sums.record_bytes += big.record_bytes;
            let at = sums
                .biggest
                .partition_point(|other| other.crate_bytes >= big.crate_bytes);
            if at < BIGGEST && big.versions > 0 {
                sums.biggest.insert(at, big);
                sums.biggest.truncate(BIGGEST);
            }
            Ok::<(), archive::Error>(())
        })?;
        sums.months.remove("");
        Ok(sums)
    }

    /// Every month from the first to the last, also those in which nothing came.
    fn all_months(&self) -> Vec<(String, Grown)> {
        let number = |month: &str| {
            let (year, month) = month.split_once('-')?;
            Some(year.parse::<u32>().ok()? * 12 + month.parse::<u32>().ok()?.checked_sub(1)?)
        };
        let ends = (self.months.keys().next(), self.months.keys().next_back());
        let (Some(first), Some(last)) = (ends.0.and_then(|m| number(m)), ends.1.and_then(|m| number(m))) else {
            return Vec::new();
        };
        // Dates come from strangers: no more than a hundred years of them.
        let first = first.max(last.saturating_sub(1200));
        let month = |number: u32| format!("{:04}-{:02}", number / 12, number % 12 + 1);
        let of = |month: String| {
            let grown = self.months.get(&month).copied().unwrap_or_default();
            (month, grown)
        };
        (first..=last).map(month).map(of).collect()
    }
}

/// The month in which a registry line says that it was published.
fn published(line: &[u8]) -> Option<String> {
    let at = line.windows(PUBLISHED.len()).position(|window| window == PUBLISHED)?;
    // Not every registry writes its lines without spaces.
    let value = line
        .get(at + PUBLISHED.len()..)?
        .trim_ascii_start()
        .strip_prefix(b":")?;
    let text = value.trim_ascii_start().strip_prefix(b"\"")?.get(..7)?;
    let is_month = text.iter().enumerate().all(|(i, byte)| match i {
        4 => *byte == b'-',
        _ => byte.is_ascii_digit(),
    });
    let text = std::str::from_utf8(text).ok()?;
    let is_real = is_month && text.starts_with("20") && ("01"..="12").contains(&&text[5..]);
    is_real.then(|| text.to_owned())
}

fn engine(number: u8) -> &'static str {
    match number {
        0 => "kept as it came",
        1 => "miniz",
        2 => "zlib, memLevel 9",
        3 => "zlib, memLevel 8",
        4 => "zlib-rs 0.6",
        5 => "zlib-rs 0.5",
        _ => "another engine",
    }
}

pub(super) async fn page(site: &Arc<Site>, links: &Links) -> Result<Page, NoPage> {
    let snapshot = site.snapshot().await;
    let sums = site.catalogs.statistics(&snapshot).await?;
    let ratio = sums.crate_bytes as f64 / sums.disk_bytes.max(1) as f64;
    let months = sums.all_months();
    let new: Vec<(String, u64)> = months
        .iter()
        .map(|(month, grown)| (month.clone(), grown.releases))
        .collect();
    let mut total_bytes = 0;
    let total: Vec<(String, u64)> = months
        .iter()
        .map(|(month, grown)| {
            total_bytes += grown.crate_bytes;
            (month.clone(), total_bytes)
        })
        .collect();
    let fact = |label: &str, value: String| -> Markup {
        html! { div { dt { (label) } dd { (value) } } }
    };
    let main = html! {
        h1 { "Statistics" }
        p.note { "Snapshot " (counted(snapshot.archive.generation())) " of this archive." }
        dl.facts {
            (fact("Crates", counted(sums.crates)))
            (fact("Releases known", counted(sums.releases)))
            (fact("Releases held", counted(sums.held)))
            (fact("Yanked", counted(sums.yanked)))
            (fact("No longer in the registry", counted(sums.removed)))
            (fact("As .crate files", human(sums.crate_bytes)))
            (fact("As tars", human(sums.content_bytes)))
            (fact("On this drive", human(sums.disk_bytes)))
            (fact("Times smaller", format!("{ratio:.2}")))
        }
        @if !months.is_empty() {
            h2 { "Releases by month" }
            (charts::columns("Releases published in each month", &new, &counted))
            h2 { "All .crate files so far" }
            (charts::area("Bytes of all crate files published up to each month", &total, &human))
        }
        h2 { "By engine" }
        p.note { "Which implementation of deflate made the crate files." }
        (charts::bars(["Engine", "Crate files", "As .crate"], sums.engines.iter().map(|(&number, &(count, bytes))| {
            (html! { (engine(number)) }, plural(count, "file"), human(bytes), bytes)
        }).collect()))
        h2 { "Biggest crates" }
        p.note { "By the bytes of all their versions." }
        (charts::bars(["Crate", "In the archive", "As .crate"], sums.biggest.iter().map(|big| {
            let name = html! { a href=(links.krate(&big.name)) { (big.name) } " " span.note { (plural(big.versions, "version")) } };
            (name, human(big.record_bytes), human(big.crate_bytes), big.crate_bytes)
        }).collect()))
    };
    Ok(Page {
        title: "Statistics".into(),
        main,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_are_read_where_they_are_some() {
        for (line, month) in [
            (r#"{"pubtime":"2024-05-06T07:08:09Z"}"#, Some("2024-05")),
            (r#"{"pubtime" : "2024-05-06T07:08:09Z"}"#, Some("2024-05")),
            (r#"{"pubtime":"2024-13-06"}"#, None),
            (r#"{"pubtime":"9999-12-06"}"#, None),
            (r#"{"pubtime":"20<b>..."}"#, None),
            (r#"{"pubtime":""#, None),
            ("{}", None),
        ] {
            assert_eq!(published(line.as_bytes()).as_deref(), month, "{line}");
        }
        let mut sums = Statistics::default();
        for month in ["2019-11", "2020-02"] {
            sums.months.entry(month.into()).or_default().releases = 3;
        }
        let months: Vec<(String, u64)> = sums.all_months().into_iter().map(|(m, g)| (m, g.releases)).collect();
        let expected = [("2019-11", 3), ("2019-12", 0), ("2020-01", 0), ("2020-02", 3)];
        assert_eq!(months, expected.map(|(month, count)| (month.to_owned(), count)));
    }
}
