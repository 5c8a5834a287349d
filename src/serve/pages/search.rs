//! `/`: crates by name.

use super::links::Links;
use super::{NoPage, Page, beginning, counted, on_a_thread, pick, plural};
use crate::serve::request::Asked;
use crate::serve::site::{Site, Snapshot};
use maud::{Markup, html};
use std::sync::Arc;

const ROWS: usize = 40;
/// No name is longer.
const MAX_QUERY_BYTES: usize = 64;

pub(super) async fn page(site: &Arc<Site>, links: &Links, asked: &Asked<'_>) -> Result<Page, NoPage> {
    let snapshot = site.snapshot().await;
    let query = asked.query("q").unwrap_or_default().trim();
    let query = beginning(query, MAX_QUERY_BYTES).replace(char::is_control, "");
    let page: usize = asked.query("page").and_then(|text| text.parse().ok()).unwrap_or(1);
    let names = site.catalogs.names(&snapshot).await?;
    let total = names.len() as u64;
    let (found, shown) = {
        let (query, snapshot) = (query.clone(), snapshot.clone());
        on_a_thread(move || {
            let found = names.search(&query);
            let start = page.saturating_sub(1).saturating_mul(ROWS);
            let shown = found.iter().skip(start).take(ROWS);
            let rows: Result<Vec<(String, Markup)>, NoPage> = shown.map(|&i| row(&snapshot, names.name(i))).collect();
            Ok((found.len(), rows?))
        })
        .await?
    };
    let pages = found.div_ceil(ROWS).max(1);
    let linked = |(name, row): (String, Markup)| html! { li { a.name href=(links.krate(&name)) { (name) } (row) } };
    let main = html! {
        h1 { @if query.is_empty() { "Crates in this archive" } @else { "Crates like “" (query) "”" } }
        form.search action=(links.home()) role="search" aria-label="Crates" {
            label for="search" { "Name of a crate, or a part of it" }
            div.row {
                input #search type="search" name="q" value=(query) autocomplete="off" autofocus[query.is_empty()];
                button { "Search" }
            }
        }
        p.note { (plural(found as u64, "crate")) " of " (counted(total)) @if pages > 1 { ", page " (page) " of " (pages) } }
        @if shown.is_empty() {
            p { "Nothing here. Names are matched in any part and any spelling of " code { "-" } " and " code { "_" } "." }
        }
        ul.crates { @for item in shown { (linked(item)) } }
        @if pages > 1 {
            nav.pages aria-label="Pages" {
                @if page > 1 { a rel="prev" href=(links.search(&query, page - 1)) { "← Previous" } }
                @if page < pages { a rel="next" href=(links.search(&query, page + 1)) { "Next →" } }
            }
        }
    };
    let title = if query.is_empty() {
        "Crates".into()
    } else {
        format!("{query} · Search")
    };
    Ok(Page { title, main })
}

fn row(snapshot: &Snapshot, name: &str) -> Result<(String, Markup), NoPage> {
    let archive = &snapshot.archive;
    let Some(state) = archive.crate_state(name)? else {
        return Ok((name.to_owned(), html! {}));
    };
    let mut held = 0;
    for release in &state.releases {
        held += u64::from(archive.find(&release.digest)?.is_some());
    }
    let newest = pick::newest(archive, &state)?;
    let is_gone = state.current().next().is_none();
    Ok((
        state.name.clone(),
        html! {
            @if let Some(newest) = newest { " " span.version { (newest.version.as_str()) } }
            " " span.note {
                @if held == 0 { "listed, none held" } @else { (plural(held, "version")) " held" }
            }
            @if is_gone { " " span.mark.removed { "removed" } }
        },
    ))
}
