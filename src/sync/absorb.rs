//! From a crate's registry lines, and what the archive knew, to the events between.
//!
//! Where a file lists one version with two checksums, or one release twice, the
//! last line counts, as it does for cargo. Absorbing the same lines again gives no
//! event, whatever the file looks like: see the tests.

use crate::archive::{self, Archive, CrateState, LineReader, Writer};
use crate::format::manifest::EventKind;
use crate::format::manifest_event::Event;
use crate::ids::{Digest, Version};
use crate::registry::RegistryLine;
use std::collections::{HashMap, HashSet};

/// A release as the archive knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KnownRelease {
    pub version: Version,
    pub digest: Digest,
    pub yanked: bool,
    pub removed: bool,
    pub replaced: bool,
    /// Its registry line; none if no registry has listed it.
    pub line: Option<Vec<u8>>,
}

impl KnownRelease {
    fn is_live(&self) -> bool {
        !self.removed && !self.replaced
    }
}

/// What the archive knows of the crate `state`.
pub(super) fn known_releases(writer: &Writer, state: Option<&CrateState>) -> Result<Vec<KnownRelease>, archive::Error> {
    writer.with_archive(|archive| known_in(archive, state))
}

/// As [`known_releases`], of an archive that is not being written to.
pub(super) fn known_in(archive: &Archive, state: Option<&CrateState>) -> Result<Vec<KnownRelease>, archive::Error> {
    let Some(state) = state else { return Ok(Vec::new()) };
    let mut lines = LineReader::new(archive);
    let known = state.releases.iter().map(|release| {
        Ok(KnownRelease {
            version: release.version.clone(),
            digest: release.digest,
            yanked: release.yanked,
            removed: release.removed.is_some(),
            replaced: release.replaced.is_some(),
            line: lines.line(release)?,
        })
    });
    known.collect()
}

/// The events that lead from `known` to `lines`, a whole file, in its order.
pub(super) fn events(known: &[KnownRelease], lines: &[RegistryLine]) -> Vec<Event> {
    let mut state: Vec<KnownRelease> = known.to_vec();
    let mut places: HashMap<(Version, Digest), usize> = HashMap::new();
    for (at, release) in state.iter().enumerate() {
        places.insert((release.version.clone(), release.digest), at);
    }
    let (mut last_of_release, mut last_of_version) = (HashMap::new(), HashMap::new());
    for (i, line) in lines.iter().enumerate() {
        last_of_release.insert((line.version.clone(), line.digest), i);
        last_of_version.insert(line.version.clone(), i);
    }
    let mut events = Vec::new();
    for (i, line) in lines.iter().enumerate() {
        if last_of_release.get(&(line.version.clone(), line.digest)) != Some(&i) {
            continue;
        }
        let is_current = last_of_version.get(&line.version) == Some(&i);
        let at = places.get(&(line.version.clone(), line.digest)).copied();
        let mut rivals = state
            .iter()
            .enumerate()
            .filter(|(other, release)| Some(*other) != at && release.version == line.version)
            .map(|(_, release)| release.is_live())
            .peekable();
        let has_rival = rivals.peek().is_some();
        let has_live_rival = rivals.any(|live| live);
        let kind = match at.map(|at| &state[at]) {
            None if is_current && has_rival => Some(EventKind::Replaced),
            None => Some(EventKind::Added),
            Some(release) if is_current && (release.replaced || has_live_rival) => Some(EventKind::Replaced),
            Some(release) if release.removed => Some(EventKind::Restored),
            Some(release) if release.yanked != line.yanked && line.yanked => Some(EventKind::Yanked),
            Some(release) if release.yanked != line.yanked => Some(EventKind::Unyanked),
            Some(release) if release.line.as_deref() != Some(&line.raw) => Some(EventKind::Amended),
            Some(_) => None,
        };
        let Some(kind) = kind else { continue };
        events.push(event(kind, line));
        let was_removed = at.is_some_and(|at| state[at].removed);
        if kind == EventKind::Replaced {
            for rival in state.iter_mut().filter(|release| release.version == line.version) {
                rival.replaced = true;
            }
            if was_removed {
                events.push(event(EventKind::Restored, line));
            }
        }
        let release = KnownRelease {
            version: line.version.clone(),
            digest: line.digest,
            yanked: line.yanked,
            removed: false,
            replaced: kind != EventKind::Replaced && at.is_some_and(|at| state[at].replaced),
            line: Some(line.raw.clone()),
        };
        match at {
            Some(at) => state[at] = release,
            None => {
                places.insert((line.version.clone(), line.digest), state.len());
                state.push(release);
            }
        }
    }
    let listed: HashSet<_> = last_of_release.into_keys().collect();
    let gone = state
        .iter()
        .filter(|release| !listed.contains(&(release.version.clone(), release.digest)));
    events.extend(removals(gone));
    events
}

/// As [`events`] of a crate that nothing is known of, as all are when a registry is read
/// for the first time: nearly always each line is another version, and simply added.
pub(super) fn first_events(lines: Vec<RegistryLine>) -> Vec<Event> {
    let mut versions = HashSet::with_capacity(lines.len());
    if !lines.iter().all(|line| versions.insert(line.version.as_str())) {
        return events(&[], &lines);
    }
    let added = |line: RegistryLine| Event {
        kind: EventKind::Added,
        yanked: line.yanked,
        generation: 0,
        version: line.version.as_str().to_owned(),
        digest: Some(line.digest),
        text: Some(line.raw),
    };
    lines.into_iter().map(added).collect()
}

/// The events of releases that the registry no longer lists. What it never listed,
/// such as an imported crate, it cannot remove.
pub(super) fn removals<'a>(gone: impl IntoIterator<Item = &'a KnownRelease>) -> Vec<Event> {
    let listed = gone
        .into_iter()
        .filter(|release| release.is_live() && release.line.is_some());
    listed
        .map(|release| Event {
            kind: EventKind::Removed,
            yanked: release.yanked,
            generation: 0,
            version: release.version.to_string(),
            digest: Some(release.digest),
            text: None,
        })
        .collect()
}

/// The tag of a crate's registry index file, or empty: none is known any more.
pub(super) fn etag_event(tag: String) -> Event {
    Event {
        kind: EventKind::Etag,
        yanked: false,
        generation: 0,
        version: String::new(),
        digest: None,
        text: Some(tag.into_bytes()),
    }
}

fn event(kind: EventKind, line: &RegistryLine) -> Event {
    Event {
        kind,
        yanked: line.yanked,
        generation: 0,
        version: line.version.to_string(),
        digest: Some(line.digest),
        text: Some(line.raw.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use EventKind::*;

    fn line(version: &str, seed: &str, yanked: bool) -> RegistryLine {
        let digest = Digest::of(seed.as_bytes());
        let raw = format!(r#"{{"name":"a","vers":"{version}","cksum":"{digest}","yanked":{yanked}}}"#);
        RegistryLine::parse(raw.as_bytes()).unwrap()
    }

    /// As the archive folds events.
    fn fold(known: &mut Vec<KnownRelease>, events: &[Event]) {
        for event in events {
            let (version, digest): (Version, _) = (event.version.parse().unwrap(), event.digest.unwrap());
            if event.kind == Replaced {
                for other in known.iter_mut().filter(|o| o.version == version && o.digest != digest) {
                    other.replaced = true;
                }
            }
            let at = known.iter().position(|o| o.version == version && o.digest == digest);
            let at = at.unwrap_or_else(|| {
                known.push(KnownRelease {
                    version,
                    digest,
                    yanked: false,
                    removed: false,
                    replaced: false,
                    line: None,
                });
                known.len() - 1
            });
            let state = &mut known[at];
            match event.kind {
                Removed => state.removed = true,
                Restored => state.removed = false,
                Replaced => state.replaced = false,
                _ => {}
            }
            state.yanked = event.yanked;
            state.line = event.text.clone().or(state.line.take());
        }
    }

    /// Absorbs each file in turn; after each, absorbing it again gives nothing.
    fn kinds(files: &[&[RegistryLine]]) -> Vec<Vec<EventKind>> {
        let mut known = Vec::new();
        let mut all = Vec::new();
        for file in files {
            let events = events(&known, file);
            fold(&mut known, &events);
            assert_eq!(super::events(&known, file), vec![], "absorbing again changes nothing");
            for line in *file {
                let now = known.iter().filter(|o| o.version == line.version && o.is_live());
                assert_eq!(now.count(), 1, "one live release a version");
            }
            all.push(events.iter().map(|event| event.kind).collect());
        }
        all
    }

    #[test]
    fn every_transition_has_its_event() {
        let (one, two) = (line("1.0.0", "x", false), line("2.0.0", "y", false));
        let yanked = line("1.0.0", "x", true);
        let other = line("1.0.0", "z", false);
        let mut amended = one.clone();
        amended.raw.push(b' ');
        let files: [&[RegistryLine]; 8] = [
            &[one.clone(), two.clone()],
            &[yanked.clone(), two.clone()],
            &[one.clone(), two.clone()],
            &[amended, two.clone()],
            std::slice::from_ref(&two),
            &[one.clone(), two.clone()],
            &[other.clone(), two.clone()],
            &[one.clone(), two.clone()],
        ];
        assert_eq!(
            kinds(&files),
            [
                vec![Added, Added],
                vec![Yanked],
                vec![Unyanked],
                vec![Amended],
                vec![Removed],
                vec![Restored],
                vec![Replaced],
                vec![Replaced],
            ]
        );
    }

    #[test]
    fn the_short_way_for_new_crates_leads_to_the_same() {
        let (one, two, yanked) = (
            line("1.0.0", "x", false),
            line("2.0.0", "y", true),
            line("1.0.0", "x", true),
        );
        let files: [&[RegistryLine]; 4] = [
            &[],
            &[one.clone(), two.clone()],
            &[one.clone(), yanked, two.clone()],
            &[one, two, line("1.0.0", "z", false)],
        ];
        for file in files {
            assert_eq!(first_events(file.to_vec()), events(&[], file));
        }
    }

    #[test]
    fn two_checksums_and_doubled_lines_settle() {
        let (one, other) = (line("1.0.0", "x", false), line("1.0.0", "z", false));
        let yanked = line("1.0.0", "x", true);
        let files: [&[RegistryLine]; 6] = [
            &[one.clone(), other.clone()],
            &[other.clone(), one.clone()],
            &[one.clone(), yanked.clone()],
            &[one.clone(), one.clone()],
            &[],
            &[other.clone(), one.clone(), other.clone()],
        ];
        assert_eq!(
            kinds(&files),
            [
                vec![Added, Replaced],
                vec![Replaced],
                vec![Yanked],
                vec![Unyanked],
                vec![Removed],
                vec![Restored, Replaced],
            ]
        );
    }

    #[test]
    fn what_was_removed_may_come_back_with_other_bytes() {
        let (one, other) = (line("1.0.0", "x", false), line("1.0.0", "z", false));
        let files: [&[RegistryLine]; 5] = [
            std::slice::from_ref(&one),
            &[],
            std::slice::from_ref(&other),
            &[],
            std::slice::from_ref(&one),
        ];
        let expected = [
            vec![Added],
            vec![Removed],
            vec![Replaced],
            vec![Removed],
            vec![Replaced, Restored],
        ];
        assert_eq!(kinds(&files), expected);
    }

    #[test]
    fn an_imported_crate_is_not_removed_and_gets_its_line() {
        let one = line("1.0.0", "x", true);
        let mut known = vec![KnownRelease {
            version: one.version.clone(),
            digest: one.digest,
            yanked: false,
            removed: false,
            replaced: false,
            line: None,
        }];
        assert_eq!(events(&known, &[line("2.0.0", "y", false)])[0].kind, Added);
        assert_eq!(events(&known, &[line("2.0.0", "y", false)]).len(), 1);
        let events = events(&known, std::slice::from_ref(&one));
        assert_eq!(events[0].kind, Yanked);
        fold(&mut known, &events);
        assert_eq!(known[0].line.as_deref(), Some(&one.raw[..]));
    }
}
