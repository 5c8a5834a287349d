//! `/crates/NAME/VERSION/files`: what is in a crate.

use super::links::Links;
use super::{NoPage, Page, beginning, highlight, human, on_a_thread, pick, plural, visible};
use crate::archive::compare_trees;
use crate::serve::answer::{Answer, Keep};
use crate::serve::site::Site;
use hyper::body::Bytes;
use maud::{Markup, html};
use std::sync::Arc;

/// Longer files are cut where they are shown as pages; as they are they come whole.
const SHOWN_BYTES: usize = 512 << 10;
/// More files than anybody looks through.
const LISTED_FILES: usize = 5000;
/// Of their paths, which may be of any length.
const LISTED_BYTES: usize = 1 << 20;
/// Lines of a file, each of which costs a page much more than itself.
const SHOWN_LINES: usize = 20_000;
/// What a browser may show as a picture; none of them can hold a script.
const PICTURES: [(&str, &str); 6] = [
    (".png", "image/png"),
    (".jpg", "image/jpeg"),
    (".jpeg", "image/jpeg"),
    (".gif", "image/gif"),
    (".webp", "image/webp"),
    (".ico", "image/x-icon"),
];

fn picture(path: &str) -> Option<&'static str> {
    let path = path.to_ascii_lowercase();
    let found = PICTURES.iter().find(|(ending, _)| path.ends_with(ending));
    found.map(|(_, content_type)| *content_type)
}

/// The tar of a release, and its crate's name in the right spelling.
async fn tar(site: &Arc<Site>, name: &str, version: &str) -> Result<(String, Bytes), NoPage> {
    let snapshot = site.snapshot().await;
    let (spelled, entry) = {
        let (snapshot, name, version) = (snapshot.clone(), name.to_owned(), version.to_owned());
        on_a_thread(move || {
            let state = pick::krate(&snapshot.archive, &name)?;
            let release = pick::release(&state, &version)?;
            let entry = pick::entry(&snapshot.archive, &state, release)?;
            Ok((state.name, entry))
        })
        .await?
    };
    let tar = site.tar(&snapshot, entry).await?;
    Ok((spelled, tar))
}

/// Where one is: the crate, its version, its files, and the parts of a path.
fn crumbs(links: &Links, name: &str, version: &str, path: Option<&str>) -> Markup {
    html! {
        nav.crumbs aria-label="Place" { ol {
            li { a href=(links.krate(name)) { (name) } }
            li { a href=(links.release(name, version)) { (version) } }
            @match path {
                None => { li { span aria-current="page" { "files" } } }
                Some(path) => {
                    li { a href=(links.files(name, version)) { "files" } }
                    li { span aria-current="page" { (visible(path)) } }
                }
            }
        } }
    }
}

pub(super) async fn list(site: &Arc<Site>, links: &Links, name: &str, version: &str) -> Result<Page, NoPage> {
    let (name, tar) = tar(site, name, version).await?;
    let (links, version) = (links.clone(), version.to_owned());
    on_a_thread(move || {
        let files = compare_trees(&[], &tar)?;
        let length = |bytes: Option<&[u8]>| bytes.map_or(0, |bytes| bytes.len() as u64);
        let bytes: u64 = files.iter().map(|file| length(file.new)).sum();
        let mut room = LISTED_BYTES;
        let listed: Vec<_> = files
            .iter()
            .take(LISTED_FILES)
            .take_while(|file| {
                room = room.saturating_sub(file.path.len());
                room > 0
            })
            .collect();
        let row = |path: &str, bytes: u64| -> Markup {
            let (folder, file) = path
                .rsplit_once('/')
                .map_or(("", path), |(folder, _)| (folder, &path[folder.len() + 1..]));
            html! { tr {
                th scope="row" { a href=(links.file(&name, &version, path)) {
                    @if !folder.is_empty() { span.folder { (visible(folder)) "/" } }
                    (visible(file))
                } }
                td.number { (human(bytes)) }
            } }
        };
        let main = html! {
            (crumbs(&links, &name, &version, None))
            h1 { "Files of " (name) " " span.version { (version) } }
            p.note { (plural(files.len() as u64, "file")) ", " (human(bytes)) }
            div.scroll { table.files {
                thead { tr { th scope="col" { "File" } th.number scope="col" { "Bytes" } } }
                tbody { @for file in &listed { (row(&file.path, length(file.new))) } }
            } }
            @if files.len() > listed.len() { p.warning { "Only the first " (listed.len()) " are listed." } }
        };
        Ok(Page {
            title: format!("Files of {name} {version}"),
            main,
        })
    })
    .await
}

pub(super) async fn page(
    site: &Arc<Site>,
    links: &Links,
    name: &str,
    version: &str,
    path: &str,
) -> Result<Page, NoPage> {
    let (name, tar) = tar(site, name, version).await?;
    let (links, version, path) = (links.clone(), version.to_owned(), path.to_owned());
    on_a_thread(move || {
        let bytes = one(&tar, &path)?;
        let main = html! {
            (crumbs(&links, &name, &version, Some(&path)))
            h1.path { (visible(&path)) }
            p.note { (human(bytes.len() as u64)) " · " a href=(links.raw(&name, &version, &path)) { "as it is" } }
            (contents(&links, &name, &version, &path, bytes))
        };
        Ok(Page {
            title: format!("{path} · {name} {version}"),
            main,
        })
    })
    .await
}

fn contents(links: &Links, name: &str, version: &str, path: &str, bytes: &[u8]) -> Markup {
    if picture(path).is_some() {
        return html! { p { img.picture src=(links.raw(name, version, path)) alt=(format!("The picture {path}")); } };
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => text,
        _ => return html! { p.warning { "This is no text." } },
    };
    let shown = beginning(text, SHOWN_BYTES);
    let ends = shown.match_indices('\n').nth(SHOWN_LINES - 1);
    let shown = ends.map_or(shown, |(end, _)| &shown[..=end]);
    html! {
        @if shown.len() < text.len() {
            p.warning { "Only the first " (human(shown.len() as u64)) " are shown." }
        }
        div.code role="region" aria-label=(format!("Contents of {path}")) tabindex="0" { pre { code {
            @for (i, line) in highlight::lines(path, shown).into_iter().enumerate() {
                span.line id=(format!("L{}", i + 1)) { a.number href=(format!("#L{}", i + 1)) { (i + 1) } (line) "\n" }
            }
        } } }
    }
}

/// The bytes of a file in the tar, where they lie.
fn one<'a>(tar: &'a [u8], path: &str) -> Result<&'a [u8], NoPage> {
    // What a tree has that nothing has not: all of it.
    let mut files = compare_trees(&[], tar)?.into_iter();
    let found = files.find(|file| file.path == path).and_then(|file| file.new);
    found.ok_or_else(|| NoPage::Absent(format!("The crate has no file “{path}”.")))
}

/// A file's bytes, as a picture or as text; never as a page.
pub(super) async fn raw(site: &Arc<Site>, name: &str, version: &str, path: &str) -> Result<Answer, NoPage> {
    let (_, tar) = tar(site, name, version).await?;
    let path = path.to_owned();
    on_a_thread(move || {
        let bytes = one(&tar, &path)?;
        let content_type = picture(&path).unwrap_or(match std::str::from_utf8(bytes) {
            Ok(text) if !text.contains('\0') => "text/plain; charset=utf-8",
            _ => "application/octet-stream",
        });
        // A part of the tar, whose memory is counted.
        Ok(Answer::new(content_type, Keep::Revalidate, tar.slice_ref(bytes)).with_tag())
    })
    .await
}
