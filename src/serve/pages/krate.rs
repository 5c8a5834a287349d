//! `/crates/NAME` and `/crates/NAME/VERSION`: one release, and all of its crate.

use super::facts::{self, Facts};
use super::links::Links;
use super::{NoPage, Page, counted, day, human, on_a_thread, pick, visible};
use crate::archive::{Archive, CrateState, LineReader, ReleaseState};
use crate::format::index::Entry;
use crate::offer::made_line;
use crate::serve::log::Event;
use crate::serve::site::{Site, Snapshot};
use maud::{Markup, html};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Versions that are shown at once; the others fold out.
const VERSIONS: usize = 25;

/// One line of the table of versions.
struct Row {
    release: ReleaseState,
    entry: Option<Entry>,
    /// When it was published, or since when the archive knows it.
    date: String,
}

/// The release is held, and yet its files cannot be had.
#[derive(Clone, Copy)]
struct Unreadable;

/// What is known before the crate file is opened.
struct Known {
    state: CrateState,
    rows: Vec<Row>,
    /// Which of them is shown.
    chosen: usize,
    line: Option<Vec<u8>>,
}

pub(super) async fn page(site: &Arc<Site>, links: &Links, name: &str, version: Option<&str>) -> Result<Page, NoPage> {
    let snapshot = site.snapshot().await;
    let known = {
        let (snapshot, name, version) = (snapshot.clone(), name.to_owned(), version.map(str::to_owned));
        on_a_thread(move || Known::of(&snapshot.archive, &name, version.as_deref())).await?
    };
    // A damaged crate still has a page, which says so.
    let tar = match known.rows[known.chosen].entry {
        Some(entry) => Some(site.tar(&snapshot, entry).await),
        None => None,
    };
    if let Some(Err(error)) = &tar {
        site.tell(Event::Trouble(format!("the page of {}: {error}", known.state.name)));
    }
    let links = links.clone();
    on_a_thread(move || {
        let tar = tar.as_ref().map(|tar| tar.as_deref().map_err(|_| Unreadable));
        Ok(known.page(&snapshot, &links, tar))
    })
    .await
}

impl Known {
    fn of(archive: &Archive, name: &str, version: Option<&str>) -> Result<Known, NoPage> {
        let state = pick::krate(archive, name)?;
        let chosen = match version {
            Some(version) => Some(pick::release(&state, version)?),
            None => pick::newest(archive, &state)?,
        };
        let Some(chosen) = chosen.cloned() else {
            return Err(NoPage::Absent(format!(
                "The archive knows no release of {}.",
                state.name
            )));
        };
        let committed: BTreeMap<u64, u64> = archive
            .transactions()?
            .into_iter()
            .map(|transaction| (transaction.generation, transaction.time))
            .collect();
        let mut lines = LineReader::new(archive);
        let (mut rows, mut chosen_line) = (Vec::new(), None);
        for release in &state.releases {
            let line = lines.line(release)?;
            let published = line.as_deref().and_then(published);
            let since = || {
                committed
                    .get(&release.added)
                    .map_or_else(String::new, |&time| day(time))
            };
            rows.push(Row {
                release: release.clone(),
                entry: archive.find(&release.digest)?,
                date: published.unwrap_or_else(since),
            });
            if *release == chosen {
                chosen_line = line;
            }
        }
        rows.sort_by(|a, b| b.release.version.cmp(&a.release.version));
        let at = rows.iter().position(|row| row.release == chosen).unwrap_or(0);
        Ok(Known {
            state,
            rows,
            chosen: at,
            line: chosen_line,
        })
    }

    fn page(&self, snapshot: &Snapshot, links: &Links, tar: Option<Result<&[u8], Unreadable>>) -> Page {
        let row = &self.rows[self.chosen];
        let (name, version) = (self.state.name.as_str(), row.release.version.as_str());
        let is_unreadable = matches!(tar, Some(Err(Unreadable)));
        let tar = tar.and_then(Result::ok);
        let facts = tar.map(Facts::of).unwrap_or_default();
        let line = self.line_of(tar);
        let held = self.rows.iter().filter(|row| row.entry.is_some()).count();
        let main = html! {
            h1 { (name) " " span.version { (version) } " " (marks(row)) }
            @if let Some(description) = &facts.description { p.lead { (visible(description)) } }
            @if is_unreadable {
                p.warning role="alert" { "This release cannot be read here; the archive's owner can see why in the log." }
            }
            @if let Some(entry) = &row.entry {
                p.actions {
                    a.button href=(links.files(name, version)) { "Browse its files" }
                    a.button.quiet href=(links.download(&row.release.digest)) download=(format!("{name}-{version}.crate")) {
                        "Download " (human(u64::from(entry.crate_bytes)))
                    }
                }
            } @else {
                p.warning { @if row.release.purged { "Its bytes were erased here." } @else { "Its bytes are not held here." } }
            }
            dl.facts {
                div { dt { "Published" } dd { (row.date) } }
                @if let Some(entry) = &row.entry {
                    div { dt { "Unpacked" } dd { (human(u64::from(entry.content_bytes))) } }
                    div { dt { "In the archive" } dd { (human(u64::from(entry.record_bytes))) } }
                }
                @for (label, value) in &facts.rows { div { dt { (label) } dd { (facts::value(value)) } } }
                div.wide { dt { "SHA-256" } dd { code { (row.release.digest) } } }
            }
            section aria-labelledby="versions" {
                h2 #versions { "Versions" }
                p.note { (counted(held as u64)) " held of " (counted(self.rows.len() as u64)) " known" }
                (versions(links, name, &self.rows[..self.rows.len().min(VERSIONS)], version))
                @if self.rows.len() > VERSIONS {
                    details {
                        summary { "The other " (self.rows.len() - VERSIONS) }
                        (versions(links, name, &self.rows[VERSIONS..], version))
                    }
                }
                @if held > 1 { (self.diff_form(links)) }
            }
            section aria-labelledby="dependencies" {
                h2 #dependencies { "Dependencies" }
                @match &line {
                    Some(line) => { (facts::dependencies(&snapshot.archive, links, line)) }
                    None => { p.note { "Not known: the registry said nothing of it, and its bytes cannot be read." } }
                }
            }
            @if let Some(readme) = &facts.readme {
                section.readme aria-labelledby="readme" { h2 #readme { "README" } (readme) }
            }
        };
        Page {
            title: format!("{name} {version}"),
            main,
        }
    }

    /// The registry's line, or the one that publishing the crate would have made.
    fn line_of(&self, tar: Option<&[u8]>) -> Option<Value> {
        let row = &self.rows[self.chosen].release;
        if let Some(line) = &self.line {
            return serde_json::from_slice(line).ok();
        }
        let release = crate::ids::Release {
            name: self.state.name.parse().ok()?,
            version: row.version.clone(),
        };
        let made = made_line(&release, &row.digest, tar?, row.yanked).ok()?;
        serde_json::from_slice(&made).ok()
    }

    /// To compare the chosen release with another one: the one below it, until said
    /// otherwise.
    fn diff_form(&self, links: &Links) -> Markup {
        let held: Vec<&str> = self
            .rows
            .iter()
            .filter(|row| row.entry.is_some())
            .map(|row| row.release.version.as_str())
            .collect();
        let chosen = self.rows[self.chosen].release.version.as_str();
        let at = held.iter().position(|version| *version == chosen).unwrap_or(0);
        let (to, from) = if at + 1 < held.len() {
            (at, at + 1)
        } else {
            (at.saturating_sub(1), at)
        };
        let choice = |id: &str, label: &str, chosen: usize| -> Markup {
            html! {
                label for=(id) { (label) }
                select #(id) name=(id) {
                    @for (i, version) in held.iter().enumerate() {
                        option value=(version) selected[i == chosen] { (version) }
                    }
                }
            }
        };
        html! {
            form.row.compare action=(links.diff(&self.state.name)) {
                (choice("from", "What changed from", from))
                (choice("to", "to", to))
                button { "Compare" }
            }
        }
    }
}

/// The day on which a registry line says that it was published.
fn published(line: &[u8]) -> Option<String> {
    let line: Value = serde_json::from_slice(line).ok()?;
    let day = line.get("pubtime")?.as_str()?.get(..10)?;
    let is_day = day.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    is_day.then(|| day.to_owned())
}

fn marks(row: &Row) -> Markup {
    let release = &row.release;
    html! {
        @if release.yanked { span.mark.yanked { "yanked" } " " }
        @if release.removed.is_some() { span.mark.removed { "removed from the registry" } " " }
        @if release.replaced.is_some() { span.mark.removed { "replaced in the registry" } " " }
        @if release.purged { span.mark.removed { "erased here" } }
        @else if row.entry.is_none() { span.mark.absent { "not held" } }
    }
}

fn versions(links: &Links, name: &str, rows: &[Row], shown: &str) -> Markup {
    html! {
        div.scroll { table {
            thead { tr {
                th scope="col" { "Version" }
                th scope="col" { "Date" }
                th.number scope="col" { "As .crate" }
                th scope="col" { span.hidden { "Marks" } }
            } }
            tbody { @for row in rows {
                @let version = row.release.version.as_str();
                tr.shown[version == shown] {
                    th scope="row" {
                        a href=(links.release(name, version)) aria-current=[(version == shown).then_some("page")] { (version) }
                    }
                    td { (row.date) }
                    td.number { @if let Some(entry) = &row.entry { (human(u64::from(entry.crate_bytes))) } }
                    td { (marks(row)) }
                }
            } }
        } }
    }
}
