//! Searching the files of the crates held for lines that match a pattern.
//!
//! Crates are searched in parallel, each by one thread that goes from version to
//! version, so that bases are decoded once and a file that is as it was in the version
//! before is not searched again. What is found comes out in order all the same.

use super::walk::Recent;
use super::{Archive, Error, read};
use crate::ids::{CrateName, Digest, Release, Version};
use grep_matcher::Matcher as _;
use grep_regex::{RegexMatcher, RegexMatcherBuilder};
use grep_searcher::{BinaryDetection, Searcher, SearcherBuilder, Sink, SinkFinish, SinkMatch};
use std::collections::{BTreeMap, HashMap};
use std::ops::{ControlFlow, Range};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// What threads that are ahead of the output may keep of what they have found.
const AHEAD_BYTES: usize = 64 << 20;
/// What one crate's findings are handed on at.
const BATCH_BYTES: usize = 1 << 20;

/// What to look for.
#[derive(Debug)]
pub struct Pattern(RegexMatcher);

/// How a pattern is meant.
#[derive(Debug, Clone, Copy, Default)]
pub struct PatternOptions {
    /// Whether letters match in either case.
    pub ignore_case: bool,
    /// Whether it is the text itself rather than a regular expression.
    pub fixed: bool,
    /// Whether only whole words match.
    pub word: bool,
}

impl Pattern {
    /// The pattern that `text` says.
    ///
    /// # Errors
    /// When it is no regular expression of the `regex` crate.
    pub fn new(text: &str, options: PatternOptions) -> Result<Pattern, Error> {
        RegexMatcherBuilder::new()
            .case_insensitive(options.ignore_case)
            .fixed_strings(options.fixed)
            .word(options.word)
            // Lines end with this alone, so that no match spans two.
            .line_terminator(Some(b'\n'))
            .build(text)
            .map(Pattern)
            .map_err(|error| Error::Rejected(format!("`{text}` is no pattern: {error}")))
    }

    /// Where it matches within `line`.
    pub fn find_in(&self, line: &[u8]) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        let _ = self.0.find_iter(line, |range| {
            found.push(range.start()..range.end());
            true
        });
        found
    }
}

/// A line that matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its number, from 1.
    pub number: u64,
    /// Its bytes, without what ends it.
    pub text: Vec<u8>,
}

/// The lines of one file that match; none where only files were asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileMatches {
    /// The release.
    pub release: Release,
    /// The file's path below `NAME-VERSION/`.
    pub path: String,
    /// The lines, in order. Shared by the versions in which the file is the same.
    pub lines: Arc<Vec<Line>>,
}

/// What to search, and how.
pub struct GrepOptions<'a> {
    /// Crates to search, by name, and which of their releases; none for all that the
    /// registry has and is held.
    pub crates: Option<Vec<CrateName>>,
    /// Whether to take a release of these.
    pub takes: &'a (dyn Fn(&CrateName, &Version) -> bool + Sync),
    /// Of each crate only the newest release that is neither yanked nor, if there are
    /// others, a pre-release.
    pub latest: bool,
    /// One line of each file is enough.
    pub files_only: bool,
    /// So many threads.
    pub threads: usize,
    /// Asked between files.
    pub stop: &'a (dyn Fn() -> bool + Sync),
}

/// What was searched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GrepReport {
    /// Releases searched.
    pub releases: u64,
    /// Files looked at, the same file in two versions counted twice.
    pub files: u64,
    /// Of these, searched: not the same as in the version before.
    pub searched: u64,
    /// Bytes of the files looked at.
    pub bytes: u64,
    /// Releases that could not be read, and why.
    pub failures: Vec<String>,
}

impl Archive {
    /// Calls `found` with every file that has a line that matches, by crate, version
    /// and place in its tar. Binary files (with a zero byte) are passed over. Ends early
    /// when `found` says so.
    ///
    /// # Errors
    /// When the manifest is damaged; crates that are damaged are in the report.
    pub fn grep(
        &self,
        pattern: &Pattern,
        options: &GrepOptions<'_>,
        found: &mut (dyn FnMut(FileMatches) -> ControlFlow<()> + Send),
    ) -> Result<GrepReport, Error> {
        let names = match &options.crates {
            Some(names) => names.clone(),
            None => self.crate_names()?,
        };
        let next = AtomicUsize::new(0);
        let output = Output::new(found);
        let report = Mutex::new(GrepReport::default());
        std::thread::scope(|scope| {
            for _ in 0..options.threads.max(1) {
                scope.spawn(|| {
                    let mut search = Search::new(self, pattern, options, &output);
                    loop {
                        let turn = next.fetch_add(1, Ordering::Relaxed);
                        let Some(name) = names.get(turn) else { break };
                        search.krate(turn, name);
                        output.end(turn, std::mem::take(&mut search.batch));
                        if search.stopped() {
                            break;
                        }
                    }
                    let mut report = lock(&report);
                    report.releases += search.report.releases;
                    report.files += search.report.files;
                    report.searched += search.report.searched;
                    report.bytes += search.report.bytes;
                    report.failures.append(&mut search.report.failures);
                });
            }
        });
        let mut report = report.into_inner().unwrap_or_else(PoisonError::into_inner);
        report.failures.sort();
        Ok(report)
    }

    fn crate_names(&self) -> Result<Vec<CrateName>, Error> {
        let mut names = Vec::new();
        self.each_crate(|state| {
            names.extend(state.name.parse::<CrateName>().ok());
            Ok::<(), Error>(())
        })?;
        Ok(names)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One thread's search.
struct Search<'a> {
    archive: &'a Archive,
    pattern: &'a Pattern,
    options: &'a GrepOptions<'a>,
    output: &'a Output<'a>,
    searcher: Searcher,
    recent: Recent,
    batch: Vec<FileMatches>,
    batch_bytes: usize,
    report: GrepReport,
}

/// The lines of one file that match, if any does.
type Matches = Option<Arc<Vec<Line>>>;

/// The files of the version before: where they lie in its tar, and what was found.
#[derive(Default)]
struct Before {
    tar: Arc<Vec<u8>>,
    files: HashMap<String, (Range<usize>, Matches)>,
}

impl<'a> Search<'a> {
    fn new(
        archive: &'a Archive,
        pattern: &'a Pattern,
        options: &'a GrepOptions<'a>,
        output: &'a Output<'a>,
    ) -> Search<'a> {
        Search {
            archive,
            pattern,
            options,
            output,
            searcher: SearcherBuilder::new()
                .binary_detection(BinaryDetection::quit(0))
                .line_number(true)
                .build(),
            recent: Recent::default(),
            batch: Vec::new(),
            batch_bytes: 0,
            report: GrepReport::default(),
        }
    }

    fn stopped(&self) -> bool {
        (self.options.stop)() || self.output.is_closed()
    }

    fn krate(&mut self, turn: usize, name: &CrateName) {
        self.batch_bytes = 0;
        let releases = match self.releases(name) {
            Ok(releases) => releases,
            Err(error) => return self.report.failures.push(error.to_string()),
        };
        let mut before = Before::default();
        for (release, digest) in releases {
            if self.stopped() {
                return;
            }
            let tar = match self.tar(&digest) {
                Ok(tar) => tar,
                Err(error) => {
                    self.report.failures.push(error.to_string());
                    continue;
                }
            };
            self.report.releases += 1;
            match self.release(turn, &release, tar, &before) {
                Ok(now) => before = now,
                Err(error) => self.report.failures.push(format!("{release}: {error}")),
            }
        }
    }

    /// The releases of a crate that are to be searched, oldest version first.
    fn releases(&self, name: &CrateName) -> Result<Vec<(Release, Digest)>, Error> {
        let Some(state) = self.archive.crate_state(name.as_str())? else {
            return Ok(Vec::new());
        };
        let name: CrateName = state.name.parse().unwrap_or_else(|_| name.clone());
        let mut held = Vec::new();
        for release in state.current() {
            if (self.options.takes)(&name, &release.version) && self.archive.find(&release.digest)?.is_some() {
                held.push(release);
            }
        }
        held.sort_by(|a, b| a.version.cmp(&b.version));
        if self.options.latest {
            let stable = held
                .iter()
                .rev()
                .find(|release| !release.yanked && release.version.semver().pre.is_empty());
            let newest = stable.or_else(|| held.iter().rev().find(|release| !release.yanked));
            held = newest.or(held.last()).copied().into_iter().collect();
        }
        let release = |version: &Version| Release {
            name: name.clone(),
            version: version.clone(),
        };
        Ok(held.iter().map(|held| (release(&held.version), held.digest)).collect())
    }

    fn tar(&mut self, digest: &Digest) -> Result<Arc<Vec<u8>>, Error> {
        let entry = self.archive.find(digest)?.ok_or(Error::NotHeld { digest: *digest })?;
        let (meta, content) = self.archive.decode(&entry, &|digest| self.recent.get(digest))?;
        self.recent.put(*digest, content.clone());
        read::tar_of(&entry, &meta, content)
    }

    fn release(&mut self, turn: usize, release: &Release, tar: Arc<Vec<u8>>, before: &Before) -> Result<Before, Error> {
        let mut files = HashMap::with_capacity(before.files.len());
        read::tar_ranges(&tar, |path, range| {
            let bytes = &tar[range.clone()];
            self.report.files += 1;
            self.report.bytes += bytes.len() as u64;
            let same = before
                .files
                .get(&path)
                .filter(|(was, _)| before.tar[was.clone()] == *bytes);
            let lines = match same {
                Some((_, lines)) => lines.clone(),
                None => {
                    self.report.searched += 1;
                    self.lines(bytes).map(Arc::new)
                }
            };
            if let Some(lines) = &lines {
                self.batch_bytes += path.len() + lines.iter().map(|line| line.text.len() + 32).sum::<usize>() + 64;
                self.batch.push(FileMatches {
                    release: release.clone(),
                    path: path.clone(),
                    lines: lines.clone(),
                });
                if self.batch_bytes > BATCH_BYTES {
                    self.output.now(turn, std::mem::take(&mut self.batch));
                    self.batch_bytes = 0;
                }
            }
            files.insert(path, (range, lines));
            match self.stopped() {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        })?;
        Ok(Before { tar, files })
    }

    /// The lines of a file that match, if any does.
    fn lines(&mut self, bytes: &[u8]) -> Option<Vec<Line>> {
        let mut collect = Collect {
            lines: Vec::new(),
            first_only: self.options.files_only,
            binary: false,
        };
        // A slice that is searched with this sink fails in no way.
        let searched = self.searcher.search_slice(&self.pattern.0, bytes, &mut collect);
        (searched.is_ok() && !collect.binary && !collect.lines.is_empty()).then_some(collect.lines)
    }
}

struct Collect {
    lines: Vec<Line>,
    first_only: bool,
    binary: bool,
}

impl Sink for Collect {
    type Error = std::io::Error;

    fn matched(&mut self, _: &Searcher, found: &SinkMatch<'_>) -> Result<bool, std::io::Error> {
        let text = found.bytes();
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        self.lines.push(Line {
            number: found.line_number().unwrap_or(0),
            text: text.to_vec(),
        });
        Ok(!self.first_only)
    }

    fn finish(&mut self, _: &Searcher, end: &SinkFinish) -> Result<(), std::io::Error> {
        self.binary = end.binary_byte_offset().is_some();
        Ok(())
    }
}

/// What is called with each file that matches.
type Found<'a> = dyn FnMut(FileMatches) -> ControlFlow<()> + Send + 'a;

/// Hands on what is found in the order of turns, whichever thread is done first.
struct Output<'a> {
    state: Mutex<OutputState<'a>>,
    turned: Condvar,
    closed: AtomicBool,
}

struct OutputState<'a> {
    turn: usize,
    /// What turns that are still to come have found, ended ones.
    ahead: BTreeMap<usize, Vec<FileMatches>>,
    ahead_bytes: usize,
    found: &'a mut Found<'a>,
}

impl<'a> Output<'a> {
    fn new<'b: 'a>(found: &'a mut (dyn FnMut(FileMatches) -> ControlFlow<()> + Send + 'b)) -> Output<'a> {
        Output {
            state: Mutex::new(OutputState {
                turn: 0,
                ahead: BTreeMap::new(),
                ahead_bytes: 0,
                found,
            }),
            turned: Condvar::new(),
            closed: AtomicBool::new(false),
        }
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    fn hand_on(&self, state: &mut OutputState<'_>, batch: Vec<FileMatches>) {
        for file in batch {
            if self.is_closed() {
                return;
            }
            if (state.found)(file).is_break() {
                self.closed.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Waits until it is `turn`'s turn. All turns before it end by themselves, for
    /// threads take turns in order and none waits but for those before it.
    fn wait(&self, turn: usize) -> MutexGuard<'_, OutputState<'a>> {
        let mut state = lock(&self.state);
        while state.turn != turn && !self.is_closed() {
            state = self.turned.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state
    }

    /// Hands on part of what `turn` finds.
    fn now(&self, turn: usize, batch: Vec<FileMatches>) {
        let mut state = self.wait(turn);
        self.hand_on(&mut state, batch);
        drop(state);
        self.turned.notify_all();
    }

    /// The rest of what `turn` finds.
    fn end(&self, turn: usize, batch: Vec<FileMatches>) {
        let bytes = bytes_of(&batch);
        let mut state = lock(&self.state);
        if state.turn != turn && state.ahead_bytes + bytes > AHEAD_BYTES {
            drop(state);
            state = self.wait(turn);
        }
        state.ahead_bytes += bytes;
        state.ahead.insert(turn, batch);
        loop {
            let next = state.turn;
            let Some(batch) = state.ahead.remove(&next) else { break };
            state.ahead_bytes -= bytes_of(&batch);
            self.hand_on(&mut state, batch);
            state.turn += 1;
        }
        drop(state);
        self.turned.notify_all();
    }
}

fn bytes_of(batch: &[FileMatches]) -> usize {
    let lines = batch.iter().flat_map(|file| file.lines.iter());
    lines.map(|line| line.text.len() + 32).sum()
}
