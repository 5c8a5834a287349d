//! Storing an archive's crate files anew, as small as they will go: at the highest level,
//! against the best bases, shelf by shelf, into packs whose bytes depend on the crate
//! files and the settings alone.
//!
//! All that a run knows when it begins is in the archive: each pack it writes says in a
//! note [R 5.15] of which shelf and with which settings it was made. A shelf is one
//! commit; what a run that was killed had written of the next one is used again.

mod arborescence;
mod candidates;
mod destination;
mod measure;
mod plan;
mod seed;
mod shelf;
mod sketch;
mod source;
mod spare;
mod tree;
mod work;

pub use destination::{optimize_to, optimize_to_on};
pub use tree::ChainBudget;

use super::neutral::NeutralPack;
use super::seeds::Seeds;
use super::{CommitInfo, Error, Writer, encode};
use crate::format::index::{Entry, EntryKind};
use crate::format::note::Note;
use crate::ids::Digest;
use plan::Plan;
use shelf::{Listing, Member};
use source::Source;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use work::{Line, Planned};

/// How shelves are planned: changes whenever the same crate files and settings would give
/// other packs.
const PLANNING: u32 = 3;

/// How to optimize.
pub struct OptimizeOptions<'a> {
    /// zstd's level, 1 to 22.
    pub level: i32,
    /// What any chain may cost.
    pub chain: ChainBudget,
    /// No pack is longer, unless a single record is.
    pub pack_bytes: u64,
    /// How many records are made at once; changes no byte of them.
    pub threads: usize,
    /// Contents and zstd's tables stay within this, about; changes no byte either.
    pub memory_bytes: u64,
    /// Asked between records whether to end early.
    pub stop: &'a (dyn Fn() -> bool + Sync),
    /// Told once how many bytes of crate files there are.
    pub begin: &'a (dyn Fn(u64) + Sync),
    /// Told of each crate file's bytes that are done, and whether they took any work.
    pub progress: &'a (dyn Fn(u64, bool) + Sync),
    /// Shown the archive that is written to after each commit.
    pub committed: &'a (dyn Fn(&super::Archive) + Sync),
}

impl OptimizeOptions<'_> {
    /// zstd's highest level.
    pub const DEFAULT_LEVEL: i32 = 22;
}

impl Default for ChainBudget {
    /// That of `sync` and `import`.
    fn default() -> ChainBudget {
        ChainBudget {
            bytes: encode::CHAIN_BUDGET_BYTES,
            factor: encode::CHAIN_BUDGET_FACTOR,
            depth: u32::from(encode::CHAIN_DEPTH),
        }
    }
}

/// What a run did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OptimizeReport {
    /// Shelves in all.
    pub shelves: u64,
    /// Those that were as they should be before.
    pub done_before: u64,
    /// Those written anew.
    pub made: u64,
    /// Those left as they were, for they would have become larger.
    pub kept: u64,
    /// Crate files stored anew.
    pub crates: u64,
    /// Of these, those whose frame an earlier run had made.
    pub spared: u64,
    /// Of these, those for which an engine was found.
    pub undone: u64,
    /// Seeds made.
    pub seeds: u64,
    /// Bytes in packs of the shelves made, before.
    pub before_bytes: u64,
    /// The same, now.
    pub after_bytes: u64,
    /// Whether it was asked to end early.
    pub stopped: bool,
}

/// What a run would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OptimizeForecast {
    /// Shelves in all.
    pub shelves: u64,
    /// Those that are as they should be.
    pub done: u64,
    /// Crate files in the others.
    pub crates: u64,
    /// Their bytes.
    pub crate_bytes: u64,
    /// Bytes of their contents as stored now, to be compressed.
    pub content_bytes: u64,
    /// Bytes of their records now.
    pub record_bytes: u64,
}

/// All that the bytes of a pack depend on beside its crate files.
fn settings_of(options: &OptimizeOptions<'_>) -> String {
    let ChainBudget { bytes, factor, depth } = options.chain;
    format!(
        "planning={PLANNING} level={} chain={bytes}/{factor}/{depth} pack={} zstd={} engines={}",
        options.level,
        options.pack_bytes,
        zstd::zstd_safe::version_number(),
        crate::deflate::Engine::ALL.len(),
    )
}

impl Writer {
    /// Stores everything anew, as `options` say; safe at any moment, and what a run that
    /// was stopped or killed did not do is done by the next one.
    ///
    /// # Errors
    /// When something held cannot be read or is not what its digest says, or writing
    /// fails. What is committed by then stays.
    pub fn optimize(&self, options: &OptimizeOptions<'_>) -> Result<OptimizeReport, Error> {
        run(Source::Own(self), self, options)
    }
}

impl super::Archive {
    /// What [`Writer::optimize`] would do.
    ///
    /// # Errors
    /// When the archive is damaged.
    pub fn forecast_optimize(&self, options: &OptimizeOptions<'_>) -> Result<OptimizeForecast, Error> {
        let listing = Listing::of(self)?;
        let settings = settings_of(options);
        let notes = spare::notes(self)?;
        let mut forecast = OptimizeForecast::default();
        for crates in listing.shelves() {
            let members = listing.members(crates);
            let shelf = shelf::shelf_id(&members, &settings);
            forecast.shelves += 1;
            if is_done(&members, &shelf, &notes, &|digest| self.find(digest))? {
                forecast.done += 1;
                continue;
            }
            for member in &members {
                let Some(entry) = self.find(&member.digest)? else {
                    continue;
                };
                forecast.crates += 1;
                forecast.crate_bytes += member.crate_bytes;
                forecast.content_bytes += u64::from(entry.content_bytes);
                forecast.record_bytes += u64::from(entry.record_bytes);
            }
        }
        Ok(forecast)
    }

    /// The settings of the packs that were optimized, each with their number of packs.
    ///
    /// # Errors
    /// When the archive is damaged.
    pub fn pack_settings(&self) -> Result<BTreeMap<String, u64>, Error> {
        let mut settings = BTreeMap::new();
        for note in spare::notes(self)?.into_values() {
            *settings.entry(note.settings).or_default() += 1;
        }
        Ok(settings)
    }
}

/// Whether every member lies in a pack of this very shelf.
fn is_done(
    members: &[Member],
    shelf: &Digest,
    notes: &BTreeMap<u32, Note>,
    find: &dyn Fn(&Digest) -> Result<Option<Entry>, Error>,
) -> Result<bool, Error> {
    for member in members {
        let entry = find(&member.digest)?;
        let note = entry.and_then(|entry| notes.get(&entry.pack));
        if note.is_none_or(|note| note.shelf != Some(*shelf)) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn run(source: Source<'_>, writer: &Writer, options: &OptimizeOptions<'_>) -> Result<OptimizeReport, Error> {
    let info = CommitInfo {
        source: "optimize".into(),
        ..CommitInfo::default()
    };
    // What was adopted when this writer was opened counts too.
    if writer.commit(&info)?.is_some() {
        writer.with_archive(options.committed);
    }
    let snapshot = source.snapshot();
    let listing = Listing::of(&snapshot)?;
    let shelves = listing.shelves();
    let total = shelves.iter().map(|crates| listing.crate_bytes(crates.clone()));
    (options.begin)(total.sum());
    let notes = writer.with_archive(spare::notes)?;
    let settings = settings_of(options);
    let spares = spare::Spares::find(source, writer, &notes, &settings)?;
    let is_done = |members: &[Member], shelf: &Digest| is_done(members, shelf, &notes, &|digest| writer.find(digest));
    let mut run = Run {
        source,
        writer,
        options,
        settings,
        info,
        current: HashSet::new(),
        shares: shares(writer)?,
        report: OptimizeReport {
            shelves: shelves.len() as u64,
            ..OptimizeReport::default()
        },
    };
    work::run(source, &spares, &listing, &shelves, &is_done, options, |line| {
        run.write(line)
    })?;
    if !run.report.stopped {
        run.let_go()?;
    }
    Ok(run.report)
}

/// What is found in one pack.
#[derive(Debug, Clone, Copy, Default)]
struct Share {
    /// Crate files.
    blobs: u64,
    /// Bytes of their records.
    record_bytes: u64,
    has_seeds: bool,
    /// Of the pack's bytes those that go with these crate files: their records, and in
    /// proportion all else, what nothing points to among it.
    bytes: u64,
}

fn shares(writer: &Writer) -> Result<HashMap<u32, Share>, Error> {
    let mut shares: HashMap<u32, Share> = HashMap::new();
    for entry in writer.packs() {
        shares.entry(entry.pack).or_default().bytes = entry.bytes;
    }
    for entry in writer.entries()? {
        let share = shares.entry(entry.pack).or_default();
        match entry.kind {
            EntryKind::Seed => share.has_seeds = true,
            _ => {
                share.blobs += 1;
                share.record_bytes += u64::from(entry.record_bytes);
            }
        }
    }
    Ok(shares)
}

struct Run<'a> {
    source: Source<'a>,
    writer: &'a Writer,
    options: &'a OptimizeOptions<'a>,
    settings: String,
    info: CommitInfo,
    /// The shelves that are as they should be.
    current: HashSet<Digest>,
    shares: HashMap<u32, Share>,
    report: OptimizeReport,
}

impl Run<'_> {
    /// Writes shelf after shelf, and commits each.
    fn write(&mut self, mut line: Line<'_>) -> Result<(), Error> {
        while let Some(planned) = line.next_shelf() {
            match planned? {
                Planned::Done { crate_bytes, shelf } => {
                    self.current.insert(shelf);
                    self.report.done_before += 1;
                    (self.options.progress)(crate_bytes, false);
                }
                Planned::Make(plan) => {
                    let Some(packs) = self.write_shelf(&plan, &mut line)? else {
                        self.report.stopped = true;
                        return Ok(());
                    };
                    self.settle_shelf(&plan, packs)?;
                }
            }
        }
        self.report.stopped = (self.options.stop)();
        Ok(())
    }

    /// Writes the packs of a shelf; none if it was asked to stop. What is written then
    /// is there for the next run.
    fn write_shelf(&mut self, plan: &Plan, line: &mut Line<'_>) -> Result<Option<Vec<NeutralPack>>, Error> {
        let medium = self.writer.medium();
        let mut packs: Vec<NeutralPack> = Vec::new();
        for at in 0..plan.seeds.len() + plan.steps.len() {
            if (self.options.stop)() {
                return Ok(None);
            }
            let Some(made) = line.next_record() else {
                return Ok(None);
            };
            let made = made?;
            let record_bytes = made.meta.encode().len() as u64 + made.meta.frame_bytes;
            let full = |pack: &NeutralPack| pack.bytes() + record_bytes > self.options.pack_bytes;
            if packs.last().is_none_or(full) {
                let mut pack = NeutralPack::create(medium, self.writer.next_pack()?)?;
                let note = self.note(plan, packs.len() as u32 + 1);
                let (meta, frame) = encode::encode_seed(&note.encode(), self.options.level)?;
                pack.append(medium, &meta, &frame)?;
                packs.push(pack);
            }
            if let Some(pack) = packs.last_mut() {
                pack.append(medium, &made.meta, &made.frame)?;
            }
            if let Some(step) = at.checked_sub(plan.seeds.len()).map(|at| plan.steps[at]) {
                self.report.crates += 1;
                self.report.spared += u64::from(made.is_spare);
                self.report.undone += u64::from(made.is_undone);
                (self.options.progress)(plan.members[step.member].crate_bytes, !made.is_spare);
            }
        }
        Ok(Some(packs))
    }

    fn note(&self, plan: &Plan, part: u32) -> Note {
        let seeds = plan.seeds.iter().map(|seed| (seed.digest, seed.sources.clone()));
        Note {
            settings: self.settings.clone(),
            shelf: Some(plan.shelf),
            part,
            seeds: seeds.collect(),
        }
    }

    /// What crate files with records of so many bytes take of a pack.
    fn share_bytes(&self, pack: u32, record_bytes: u64) -> u64 {
        let share = self.shares.get(&pack).copied().unwrap_or_default();
        (u128::from(share.bytes) * u128::from(record_bytes) / u128::from(share.record_bytes.max(1))) as u64
    }

    /// Makes the packs of a shelf count, unless what was there before is smaller.
    fn settle_shelf(&mut self, plan: &Plan, packs: Vec<NeutralPack>) -> Result<(), Error> {
        // By pack: crate files, and bytes of their records.
        let mut before: HashMap<u32, (u64, u64)> = HashMap::new();
        let mut before_bytes = 0;
        for member in &plan.members {
            if let (Source::Other(_), Some(entry)) = (self.source, self.source.find(&member.digest)?) {
                before_bytes += u64::from(entry.record_bytes);
            }
            if let Some(entry) = self.writer.find(&member.digest)? {
                let (blobs, bytes) = before.entry(entry.pack).or_default();
                *blobs += 1;
                *bytes += u64::from(entry.record_bytes);
            }
        }
        if let Source::Own(_) = self.source {
            before_bytes = before
                .iter()
                .map(|(pack, (_, bytes))| self.share_bytes(*pack, *bytes))
                .sum();
        }
        let after_bytes: u64 = packs.iter().map(NeutralPack::bytes).sum();
        if after_bytes > before_bytes && matches!(self.source, Source::Own(_)) {
            for pack in packs {
                let name = super::names::pack_name(pack.pack());
                self.writer.medium().remove(&name).map_err(Error::io(&name))?;
            }
            self.report.kept += 1;
            return Ok(());
        }
        let mut dead = BTreeSet::new();
        for (pack, (blobs, record_bytes)) in before {
            let share_bytes = self.share_bytes(pack, record_bytes);
            let share = self.shares.entry(pack).or_default();
            share.bytes -= share_bytes;
            share.blobs = share.blobs.saturating_sub(blobs);
            share.record_bytes = share.record_bytes.saturating_sub(record_bytes);
            if share.blobs == 0 && !share.has_seeds {
                dead.insert(pack);
            }
        }
        self.writer.install(packs)?;
        if !dead.is_empty() {
            self.writer.drop_packs(&dead)?;
        }
        self.commit()?;
        self.current.insert(plan.shelf);
        self.report.made += 1;
        self.report.seeds += plan.seeds.len() as u64;
        self.report.before_bytes += before_bytes;
        self.report.after_bytes += after_bytes;
        Ok(())
    }

    /// Lets go of seeds and notes that no record needs any more, and of packs of which
    /// nothing is needed; commits until no head names them.
    fn let_go(&mut self) -> Result<(), Error> {
        let notes = self.writer.with_archive(spare::notes)?;
        let is_current = |pack: &u32| {
            let note = notes.get(pack);
            note.is_some_and(|note| note.shelf.is_some_and(|shelf| self.current.contains(&shelf)))
        };
        let mut needed: HashSet<Digest> = HashSet::new();
        for (_, note) in notes.iter().filter(|(pack, _)| is_current(pack)) {
            needed.insert(Digest::of(&note.encode()));
            needed.extend(note.seeds.iter().map(|(seed, _)| *seed));
        }
        let entries = self.writer.entries()?;
        let others = entries.iter().filter(|entry| !is_current(&entry.pack));
        let mut bases: HashSet<Digest> = HashSet::new();
        for entry in others.filter(|entry| entry.kind == EntryKind::Blob) {
            bases.extend(self.writer.read_meta(&entry.digest)?.base.map(Digest));
        }
        // What other seeds were made from is still asked when a crate is erased. [R 14.3]
        bases.retain(|base| !needed.contains(base));
        let seeds = self.writer.with_archive(Seeds::of)?;
        needed.extend(seeds.notes_of(&|seed| bases.contains(seed)));
        needed.extend(bases);
        let mut live: BTreeMap<u32, u64> = BTreeMap::new();
        for entry in &entries {
            if entry.kind == EntryKind::Seed && !needed.contains(&entry.digest) {
                self.writer.forget(entry.digest);
            } else {
                *live.entry(entry.pack).or_default() += 1;
            }
        }
        let packs = self.writer.packs();
        let newest = packs.last().map(|entry| entry.pack);
        let dead: BTreeSet<u32> = packs
            .iter()
            .map(|entry| entry.pack)
            // An empty pack with the highest number is there to keep it taken. [R 10.10]
            .filter(|pack| !live.contains_key(pack) && Some(*pack) != newest)
            .collect();
        if !dead.is_empty() {
            self.writer.drop_packs(&dead)?;
        }
        if self.commit()? || self.report.made > 0 {
            self.writer.settle(&self.info)?;
            self.writer.with_archive(self.options.committed);
        }
        Ok(())
    }

    fn commit(&self) -> Result<bool, Error> {
        let is_new = self.writer.commit(&self.info)?.is_some();
        if is_new {
            self.writer.with_archive(self.options.committed);
        }
        Ok(is_new)
    }
}

#[cfg(test)]
mod tests;
