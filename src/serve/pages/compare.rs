//! `/crates/NAME/diff?from=A&to=B`: what changed between two versions.

use super::links::Links;
use super::{NoPage, Page, beginning, on_a_thread, pick, plural, visible};
use crate::archive::{FileChange, compare_trees};
use crate::serve::request::Asked;
use crate::serve::site::Site;
use maud::{Markup, html};
use similar::{ChangeTag, TextDiff};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The longest that all files together are compared for their smallest differences:
/// hostile ones could take hours.
const DIFF_LIMIT: Duration = Duration::from_secs(3);
/// Text of a page; beyond it files are only counted.
const SHOWN_BYTES: usize = 2 << 20;
/// What a line takes beside its text.
const LINE_OVERHEAD_BYTES: usize = 40;
/// Longer lines are cut.
const LINE_BYTES: usize = 2000;
const CONTEXT_LINES: usize = 3;

/// One file's difference.
struct Compared {
    path: String,
    change: &'static str,
    added: usize,
    removed: usize,
    /// None where the file is binary, or the page is full.
    hunks: Option<Markup>,
    why_none: &'static str,
}

pub(super) async fn page(site: &Arc<Site>, links: &Links, name: &str, asked: &Asked<'_>) -> Result<Page, NoPage> {
    let (from, to) = match (asked.query("from"), asked.query("to")) {
        (Some(from), Some(to)) => (from.to_owned(), to.to_owned()),
        _ => return Err(NoPage::Absent("Two versions are wanted: ?from=A&to=B.".into())),
    };
    let snapshot = site.snapshot().await;
    let (name, entries) = {
        let (snapshot, name, from, to) = (snapshot.clone(), name.to_owned(), from.clone(), to.clone());
        on_a_thread(move || {
            let state = pick::krate(&snapshot.archive, &name)?;
            let entry = |version: &str| pick::entry(&snapshot.archive, &state, pick::release(&state, version)?);
            let entries = (entry(&from)?, entry(&to)?);
            Ok((state.name.clone(), entries))
        })
        .await?
    };
    let old = site.tar(&snapshot, entries.0).await?;
    let new = site.tar(&snapshot, entries.1).await?;
    let links = links.clone();
    on_a_thread(move || {
        let compared = compare(&compare_trees(&old, &new)?);
        let count = |of: fn(&Compared) -> usize| compared.iter().map(of).sum::<usize>();
        let (added, removed) = (count(|file| file.added), count(|file| file.removed));
        let main = html! {
            nav.crumbs aria-label="Place" { ol {
                li { a href=(links.krate(&name)) { (name) } }
                li { span aria-current="page" { "comparison" } }
            } }
            h1 { (name) " from " a href=(links.release(&name, &from)) { (from) } " to " a href=(links.release(&name, &to)) { (to) } }
            p.note {
                (plural(compared.len() as u64, "file")) " differ, "
                span.plus { "+" (added) } " " span.minus { "−" (removed) } " lines · "
                a href=(links.diff_of(&name, &to, &from)) { "the other way round" }
            }
            @if compared.is_empty() { p { "The two have the same files with the same contents." } }
            @else {
                nav aria-label="Files that differ" { ul.changes {
                    @for (i, file) in compared.iter().enumerate() {
                        li {
                            span class={ "mark " (file.change) } { (file.change) } " "
                            a href=(format!("#file-{i}")) { (visible(&file.path)) } " "
                            span.plus { "+" (file.added) } " " span.minus { "−" (file.removed) }
                        }
                    }
                } }
            }
            @for (i, file) in compared.iter().enumerate() {
                section.file aria-labelledby=(format!("file-{i}")) {
                    h2.path #(format!("file-{i}")) { (visible(&file.path)) }
                    p.note {
                        @if file.change != "added" { a href=(links.file(&name, &from, &file.path)) { "in " (from) } " " }
                        @if file.change != "removed" { a href=(links.file(&name, &to, &file.path)) { "in " (to) } }
                    }
                    @match &file.hunks {
                        Some(hunks) => { div.code.diff role="region" aria-label=(format!("Difference of {}", file.path)) tabindex="0" { pre { code { (hunks) } } } }
                        None => { p.warning { (file.why_none) } }
                    }
                }
            }
        };
        Ok(Page {
            title: format!("{name} from {from} to {to}"),
            main,
        })
    })
    .await
}

fn compare(changes: &[FileChange<'_>]) -> Vec<Compared> {
    let deadline = Instant::now() + DIFF_LIMIT;
    let mut room = SHOWN_BYTES;
    changes.iter().map(|change| one(change, deadline, &mut room)).collect()
}

fn one(change: &FileChange<'_>, deadline: Instant, room: &mut usize) -> Compared {
    let mut compared = Compared {
        path: change.path.clone(),
        change: match (change.old, change.new) {
            (None, _) => "added",
            (_, None) => "removed",
            _ => "changed",
        },
        added: 0,
        removed: 0,
        hunks: None,
        why_none: "This is no text, or the page is full.",
    };
    let sides = [change.old.unwrap_or_default(), change.new.unwrap_or_default()];
    let (Ok(old), Ok(new)) = (std::str::from_utf8(sides[0]), std::str::from_utf8(sides[1])) else {
        compared.why_none = "This is no text.";
        return compared;
    };
    if old.contains('\0') || new.contains('\0') {
        compared.why_none = "This is no text.";
        return compared;
    }
    let diff = TextDiff::configure().deadline(deadline).diff_lines(old, new);
    for line in diff.iter_all_changes() {
        match line.tag() {
            ChangeTag::Insert => compared.added += 1,
            ChangeTag::Delete => compared.removed += 1,
            ChangeTag::Equal => {}
        }
    }
    if *room == 0 {
        compared.why_none = "The page is full: look at the two files themselves.";
        return compared;
    }
    let mut unified = diff.unified_diff();
    let hunks = unified.context_radius(CONTEXT_LINES).iter_hunks();
    compared.hunks = Some(html! {
        @for hunk in hunks {
            span.hunk { (hunk.header().to_string()) "\n" }
            @for line in hunk.iter_changes() {
                @if has_room(room, line.value()) { (row(line.tag(), line.value())) }
            }
        }
        @if *room == 0 { span.hunk { "The page is full.\n" } }
    });
    compared
}

/// Takes room for a line; whether there was some.
fn has_room(room: &mut usize, line: &str) -> bool {
    let had_some = *room > 0;
    *room = room.saturating_sub(line.len().min(LINE_BYTES) + LINE_OVERHEAD_BYTES);
    had_some
}

fn row(tag: ChangeTag, text: &str) -> Markup {
    let (mark, class) = match tag {
        ChangeTag::Equal => (" ", "same"),
        ChangeTag::Delete => ("-", "minus"),
        ChangeTag::Insert => ("+", "plus"),
    };
    let text = text.trim_end_matches(['\n', '\r']);
    let cut = beginning(text, LINE_BYTES).len();
    html! {
        span class={ "line " (class) } { (mark) (visible(&text[..cut])) @if cut < text.len() { "…" } "\n" }
    }
}
