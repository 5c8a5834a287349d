//! The registry index of an export: what it lists lies beside it.

use super::files::{Folder, digest_of};
use super::{ExportError, ExportOptions, ExportReport, Format, each, layout, lock};
use crate::archive::{Archive, LineReader};
use crate::ids::{CrateName, Digest, Release};
use crate::offer::{ChosenRelease, Offer, View, config_json};
use crate::registry;
use crate::sync::Failure;
use std::collections::{HashMap, HashSet};
use std::io;
use std::ops::Range;
use std::sync::Mutex;

/// Lists the releases of `chosen` that are `exported`, beside those that earlier exports
/// have put there.
pub(super) fn write(
    archive: &Archive,
    chosen: &[ChosenRelease],
    folder: &Folder,
    options: &ExportOptions<'_>,
    exported: &(dyn Fn(usize) -> bool + Sync),
    report: &mut ExportReport,
) -> Result<(), ExportError> {
    let crates = by_crate(chosen);
    let offer = Offer::new(archive.clone(), View::Held);
    let fatal: Mutex<Option<ExportError>> = Mutex::new(None);
    let shared = Mutex::new(report);
    each(options.threads, crates.len(), &|i| {
        let range = crates[i].clone();
        let digests: HashSet<Digest> = range
            .clone()
            .filter(|&at| exported(at))
            .map(|at| chosen[at].digest)
            .collect();
        if digests.is_empty() || lock(&fatal).is_some() {
            return;
        }
        let name = &chosen[range.start].release.name;
        match one(archive, &offer, name, &digests, folder, &options.format) {
            Ok((made_up, failures)) => {
                let mut report = lock(&shared);
                report.made_up += made_up;
                report.failures.extend(failures);
            }
            Err(error) => {
                lock(&fatal).get_or_insert(error);
            }
        }
    });
    if let Some(error) = lock(&fatal).take() {
        return Err(error);
    }
    // What a server reads first comes last.
    folder.publish()?;
    if let Format::Registry { base_url, names } = &options.format {
        folder.put(layout::CONFIG_PLACE, &config_json(&names.dl(base_url), None))?;
    }
    Ok(())
}

/// The ranges of `chosen` that are of one crate each.
fn by_crate(chosen: &[ChosenRelease]) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for (at, one) in chosen.iter().enumerate() {
        match ranges.last_mut() {
            Some(range) if chosen[range.start].release.name == one.release.name => range.end = at + 1,
            _ => ranges.push(at..at + 1),
        }
    }
    ranges
}

/// Writes the file of one crate; how many lines were made for it, and what is not listed.
fn one(
    archive: &Archive,
    offer: &Offer,
    name: &CrateName,
    digests: &HashSet<Digest>,
    folder: &Folder,
    format: &Format,
) -> Result<(u64, Vec<Failure>), ExportError> {
    let Some(state) = archive.crate_state(name.as_str())? else {
        return Ok((0, Vec::new()));
    };
    let Some(file) = offer.index_file_of_chosen(&state, digests, &mut LineReader::new(archive))? else {
        return Ok((0, Vec::new()));
    };
    let place = format!("index/{}", file.path);
    let path = folder.at(&place);
    let before = match std::fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        bytes => bytes.map_err(ExportError::io(&path))?,
    };
    let text = merge(&before, &file.text, &|release, digest| {
        let crate_file = folder.at(&layout::place(release, digest, format));
        Ok(digest_of(&crate_file)? == Some(*digest))
    })?;
    if text != before {
        folder.put(&place, &text)?;
    }
    let left_out = file.left_out.into_iter();
    let failures = left_out.map(|(release, cause)| Failure {
        what: release.to_string(),
        cause: format!("is exported, but not listed: {cause}"),
    });
    Ok((file.made_up as u64, failures.collect()))
}

/// The lines of `before` whose crate file `is_there`, with those of `now` in the place
/// of their versions or behind.
fn merge(
    before: &[u8],
    now: &[u8],
    is_there: &dyn Fn(&Release, &Digest) -> Result<bool, ExportError>,
) -> Result<Vec<u8>, ExportError> {
    let now = registry::IndexFile::parse(now).lines;
    let mut new: HashMap<String, Vec<u8>> = HashMap::new();
    for line in &now {
        new.insert(line.version.to_string(), line.raw.clone());
    }
    let mut lines: Vec<Vec<u8>> = Vec::new();
    for line in registry::IndexFile::parse(before).lines {
        if let Some(newer) = new.remove(line.version.as_str()) {
            lines.push(newer);
            continue;
        }
        let release = Release {
            name: line.name,
            version: line.version,
        };
        if !now.iter().any(|now| now.version == release.version) && is_there(&release, &line.digest)? {
            lines.push(line.raw);
        }
    }
    lines.extend(now.iter().filter_map(|line| new.remove(line.version.as_str())));
    let mut text = lines.join(&b'\n');
    text.push(b'\n');
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;

    fn line(version: &str, mark: &str) -> String {
        let digest = Digest::of(version.as_bytes());
        format!(r#"{{"name":"a","vers":"{version}","cksum":"{digest}","x":"{mark}"}}"#)
    }

    #[test]
    fn earlier_lines_stay_while_their_files_do() {
        let before = format!(
            "{}\n{}\n{}\nnot a line\n",
            line("1.0.0", "old"),
            line("1.1.0", "old"),
            line("1.2.0", "old")
        );
        let now = format!("{}\n{}\n", line("1.1.0", "new"), line("1.3.0", "new"));
        let there = |release: &Release, _: &Digest| Ok(release.version.as_str() != "1.2.0");
        let merged = merge(before.as_bytes(), now.as_bytes(), &there).unwrap();
        let expected = format!(
            "{}\n{}\n{}\n",
            line("1.0.0", "old"),
            line("1.1.0", "new"),
            line("1.3.0", "new")
        );
        assert_eq!(String::from_utf8(merged.clone()).unwrap(), expected);
        assert_eq!(merge(&merged, now.as_bytes(), &there).unwrap(), merged);
        assert_eq!(merge(b"", now.as_bytes(), &there).unwrap(), now.as_bytes());
    }
}
