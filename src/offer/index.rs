//! A crate's registry index file, put together from what the archive knows and holds.

use super::made_line;
use crate::archive::{Archive, CrateState, Error, LineReader, ReleaseState};
use crate::ids::{CrateName, Digest, Release};
use crate::registry::{RegistryLine, index_path};
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

/// What made lines may take in memory: some 40,000 of them.
const MADE_BYTES: usize = 32 << 20;

/// Which releases are listed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum View {
    /// Exactly those whose bytes the archive can give, so that cargo never resolves to
    /// something missing. What the registry has removed is among them, but as yanked:
    /// a lockfile that names it still builds, and nothing chooses it anew.
    #[default]
    Held,
    /// What the registry lists, held or not, and what is held without ever having been
    /// listed.
    Full,
}

/// A crate's registry index file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexFile {
    /// Its path in the registry index, such as `se/rd/serde`.
    pub path: String,
    /// The registry's lines, each ended by a line feed, byte for byte and in its order.
    pub text: Vec<u8>,
    /// Stands for `text` in HTTP, quotes included.
    pub etag: String,
    /// Not changed since then, in seconds since 1970 UTC.
    pub changed: u64,
    /// How many lines there are.
    pub line_count: usize,
    /// How many of them are not the registry's, which has not listed those releases
    /// here, but were made from their own `Cargo.toml`.
    pub made_up: usize,
    /// Releases that would be listed, if a line could be made for them; and why not.
    pub left_out: Vec<(Release, String)>,
}

/// What an archive offers to cargo.
#[derive(Debug)]
pub struct Offer {
    archive: Archive,
    view: View,
    made: Mutex<MadeLines>,
}

/// A line made here, or why it could not be.
type Made = Result<Arc<[u8]>, String>;

/// A release to list.
struct Listed<'a> {
    state: &'a ReleaseState,
    yanked: bool,
}

impl Offer {
    /// What `archive` offers; of a past day, if it is given [as of](Archive::at) then.
    pub fn new(archive: Archive, view: View) -> Offer {
        Offer {
            archive,
            view,
            made: Mutex::default(),
        }
    }

    /// The archive.
    pub fn archive(&self) -> &Archive {
        &self.archive
    }

    /// The registry index file at `path`, such as `se/rd/serde`; none where crates.io
    /// would have none, so other spellings of a name have none.
    ///
    /// # Errors
    /// When the archive is damaged where this looks.
    pub fn index_file_at(&self, path: &str) -> Result<Option<IndexFile>, Error> {
        let name = path.rsplit('/').next().unwrap_or_default();
        match name.parse::<CrateName>() {
            Ok(name) if index_path(&name) == path => {}
            _ => return Ok(None),
        }
        let file = self.index_file(name)?;
        Ok(file.filter(|file| file.path == path))
    }

    /// The registry index file of the crate `name`, in any spelling; none if there is
    /// no release to list.
    ///
    /// # Errors
    /// When the archive is damaged where this looks.
    pub fn index_file(&self, name: &str) -> Result<Option<IndexFile>, Error> {
        match self.archive.crate_state(name)? {
            Some(state) => self.index_file_of(&state, &mut LineReader::new(&self.archive)),
            None => Ok(None),
        }
    }

    /// As [`Offer::index_file`]; for many crates in the order of
    /// [`Archive::each_crate`], with one reader for all.
    ///
    /// # Errors
    /// As [`Offer::index_file`].
    pub fn index_file_of(&self, state: &CrateState, lines: &mut LineReader<'_>) -> Result<Option<IndexFile>, Error> {
        let Ok(name) = state.name.parse::<CrateName>() else {
            return Ok(None);
        };
        let listed = self.listed(state)?;
        self.file_of(&name, &listed, lines)
    }

    /// As [`Offer::index_file_of`], of the releases in `chosen` only, whether or not
    /// the registry still has them.
    ///
    /// # Errors
    /// As [`Offer::index_file`].
    pub fn index_file_of_chosen(
        &self,
        state: &CrateState,
        chosen: &HashSet<Digest>,
        lines: &mut LineReader<'_>,
    ) -> Result<Option<IndexFile>, Error> {
        let Ok(name) = state.name.parse::<CrateName>() else {
            return Ok(None);
        };
        let chosen = state.releases.iter().filter(|release| chosen.contains(&release.digest));
        let listed = one_of_each_version(chosen);
        self.file_of(&name, &listed, lines)
    }

    /// The releases that this view lists, in the registry's order.
    fn listed<'a>(&self, state: &'a CrateState) -> Result<Vec<Listed<'a>>, Error> {
        let mut offered = Vec::new();
        for release in &state.releases {
            let is_held = self.archive.find(&release.digest)?.is_some();
            let is_offered = match self.view {
                View::Held => is_held,
                View::Full => release.is_current() && (release.is_listed() || is_held),
            };
            if is_offered {
                offered.push(release);
            }
        }
        Ok(one_of_each_version(offered.into_iter()))
    }

    fn file_of(
        &self,
        name: &CrateName,
        listed: &[Listed<'_>],
        lines: &mut LineReader<'_>,
    ) -> Result<Option<IndexFile>, Error> {
        let mut file = IndexFile {
            path: index_path(name),
            text: Vec::new(),
            etag: String::new(),
            changed: self.archive.head().time,
            line_count: 0,
            made_up: 0,
            left_out: Vec::new(),
        };
        let mut texts = Vec::new();
        let mut to_make = Vec::new();
        for (at, Listed { state, yanked }) in listed.iter().enumerate() {
            match lines.line(state)? {
                Some(line) => texts.push(Some(with_yanked(line, *yanked))),
                None => {
                    texts.push(None);
                    to_make.push(at);
                }
            }
        }
        for (at, made) in self.make(name, listed, &to_make) {
            match made {
                Ok(line) => {
                    file.made_up += 1;
                    texts[at] = Some(line.to_vec());
                }
                Err(cause) => {
                    let version = listed[at].state.version.clone();
                    let name = name.clone();
                    file.left_out.push((Release { name, version }, cause));
                }
            }
        }
        for text in texts.into_iter().flatten() {
            file.line_count += 1;
            file.text.extend(text);
            file.text.push(b'\n');
        }
        if file.line_count == 0 && file.left_out.is_empty() {
            return Ok(None);
        }
        // 128 bits tell any two texts apart that a crate will ever have.
        file.etag = format!("\"{}\"", &Digest::of(&file.text).to_string()[..32]);
        Ok(Some(file))
    }

    /// A line for each of the places `to_make` of `listed`, from its `Cargo.toml`.
    fn make(&self, name: &CrateName, listed: &[Listed<'_>], to_make: &[usize]) -> Vec<(usize, Made)> {
        let mut made: Vec<(usize, Made)> = Vec::new();
        let mut unknown: HashMap<Digest, Vec<usize>> = HashMap::new();
        {
            let known = self.made.lock().unwrap_or_else(PoisonError::into_inner);
            for &at in to_make {
                let Listed { state, yanked } = listed[at];
                match known.get(&state.digest, state.version.as_str(), yanked) {
                    Some(line) => made.push((at, Ok(line))),
                    None => unknown.entry(state.digest).or_default().push(at),
                }
            }
        }
        let digests: Vec<Digest> = unknown.keys().copied().collect();
        let new = Mutex::new(Vec::new());
        self.archive.read_tars(&digests, 1, &|digest, tar| {
            for &at in &unknown[digest] {
                let Listed { state, yanked } = listed[at];
                let release = Release {
                    name: name.clone(),
                    version: state.version.clone(),
                };
                let line = match &tar {
                    Ok(tar) => made_line(&release, digest, tar, yanked),
                    Err(error) => Err(error.to_string()),
                };
                new.lock().unwrap_or_else(PoisonError::into_inner).push((at, line));
            }
        });
        let mut known = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        for (at, line) in new.into_inner().unwrap_or_else(PoisonError::into_inner) {
            let Listed { state, yanked } = listed[at];
            let line = line.map(Arc::<[u8]>::from);
            if let Ok(line) = &line {
                known.put(&state.digest, state.version.as_str(), yanked, line.clone());
            }
            made.push((at, line));
        }
        made.sort_by_key(|(at, _)| *at);
        made
    }
}

/// Of releases with one exact version, cargo can be told one only: the one that the
/// registry has, else the last that it had. What it no longer has counts as yanked.
fn one_of_each_version<'a>(releases: impl Iterator<Item = &'a ReleaseState>) -> Vec<Listed<'a>> {
    let mut listed: Vec<Listed<'a>> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for state in releases {
        let yanked = state.yanked || !state.is_current();
        match places.get(state.version.as_str()) {
            Some(&at) if listed[at].state.is_current() && !state.is_current() => {}
            Some(&at) => listed[at] = Listed { state, yanked },
            None => {
                places.insert(state.version.as_str(), listed.len());
                listed.push(Listed { state, yanked });
            }
        }
    }
    listed
}

/// The line as it is, if it says so; else with `yanked` put right and nothing else.
fn with_yanked(line: Vec<u8>, yanked: bool) -> Vec<u8> {
    if RegistryLine::parse(&line).map_or(true, |parsed| parsed.yanked == yanked) {
        return line;
    }
    // A text in quotes cannot hold this unescaped, so it is the field itself.
    let (from, to) = match yanked {
        true => ("\"yanked\":false", "\"yanked\":true"),
        false => ("\"yanked\":true", "\"yanked\":false"),
    };
    match String::from_utf8(line) {
        Ok(text) if text.matches(from).count() == 1 => text.replace(from, to).into_bytes(),
        Ok(text) => match serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&text) {
            Ok(mut fields) => {
                fields.insert("yanked".into(), yanked.into());
                serde_json::Value::Object(fields).to_string().into_bytes()
            }
            Err(_) => text.into_bytes(),
        },
        Err(error) => error.into_bytes(),
    }
}

/// The `config.json` of a registry index whose crate files are at `dl`, with or
/// without markers; `api` is for whatever else a registry can do.
pub fn config_json(dl: &str, api: Option<&str>) -> Vec<u8> {
    let mut config = serde_json::Map::new();
    config.insert("dl".into(), dl.into());
    if let Some(api) = api {
        config.insert("api".into(), api.into());
    }
    serde_json::Value::Object(config).to_string().into_bytes()
}

/// Lines made before, the oldest of which goes first.
#[derive(Debug, Default)]
struct MadeLines {
    lines: HashMap<(Digest, String, bool), Arc<[u8]>>,
    order: VecDeque<(Digest, String, bool)>,
    bytes: usize,
}

impl MadeLines {
    fn get(&self, digest: &Digest, version: &str, yanked: bool) -> Option<Arc<[u8]>> {
        self.lines.get(&(*digest, version.to_owned(), yanked)).cloned()
    }

    fn put(&mut self, digest: &Digest, version: &str, yanked: bool, line: Arc<[u8]>) {
        let key = (*digest, version.to_owned(), yanked);
        self.bytes += line.len();
        match self.lines.insert(key.clone(), line) {
            Some(same) => self.bytes -= same.len(),
            None => self.order.push_back(key),
        }
        while self.bytes > MADE_BYTES {
            let Some(oldest) = self.order.pop_front() else { break };
            self.bytes -= self.lines.remove(&oldest).map_or(0, |line| line.len());
        }
    }
}
