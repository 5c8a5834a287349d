//! Pages for people: what is held, what is in it, and what changed between two versions.
//!
//! Plain HTML without scripts, and nothing from elsewhere. Crates are written by strangers:
//! whatever comes of them goes through `maud`, which escapes it, or through `readme`, which
//! lets through only what is on a list.

mod catalog;
mod charts;
mod compare;
mod facts;
mod files;
mod highlight;
mod krate;
mod links;
mod pick;
mod readme;
mod search;
mod statistics;

pub(super) use catalog::Catalogs;
use links::Links;

use super::answer::{Answer, Keep};
use super::cache::BuildError;
use super::download::refused;
use super::request::Asked;
use super::site::Site;
use crate::archive;
use hyper::StatusCode;
use hyper::body::Bytes;
use maud::{DOCTYPE, Markup, html};
use std::sync::Arc;

const STYLE: &str = include_str!("style.css");

/// Why there is no page.
enum NoPage {
    /// There is nothing of this name; in words.
    Absent(String),
    /// It cannot be read.
    Archive(archive::Error),
    /// It cannot be rebuilt, or not now.
    Build(Arc<BuildError>),
    /// A defect.
    Defect,
}

impl From<archive::Error> for NoPage {
    fn from(error: archive::Error) -> NoPage {
        NoPage::Archive(error)
    }
}

impl From<Arc<BuildError>> for NoPage {
    fn from(error: Arc<BuildError>) -> NoPage {
        NoPage::Build(error)
    }
}

/// A page's title and what is on it.
struct Page {
    title: String,
    main: Markup,
}

/// The page that is asked for.
pub(super) async fn answer(site: &Arc<Site>, asked: &Asked<'_>) -> Answer {
    let links = Links::new(site.named_base.as_ref().map_or("", |base| base.path()));
    let parts = asked.parts();
    let page = match &parts[..] {
        [""] => search::page(site, &links, asked).await,
        ["style.css"] => return Answer::new("text/css; charset=utf-8", Keep::Revalidate, STYLE).with_tag(),
        ["statistics"] => statistics::page(site, &links).await,
        ["crates", name] => krate::page(site, &links, name, None).await,
        ["crates", name, "diff"] => compare::page(site, &links, name, asked).await,
        ["crates", name, version] => krate::page(site, &links, name, Some(version)).await,
        ["crates", name, version, "raw", path @ ..] => match files::raw(site, name, version, &path.join("/")).await {
            Ok(answer) => return answer,
            Err(no_page) => Err(no_page),
        },
        ["crates", name, version, "files"] | ["crates", name, version, "files", ""] => {
            files::list(site, &links, name, version).await
        }
        ["crates", name, version, "files", path @ ..] => {
            files::page(site, &links, name, version, &path.join("/")).await
        }
        _ => Err(NoPage::Absent("There is no such page.".into())),
    };
    match page {
        // Slow readers of long pages must not add up to more than what was allowed.
        Ok(page) => match site.crates.hold(document(&links, &page).into_bytes()).await {
            Ok(bytes) => html_answer(StatusCode::OK, bytes).with_tag(),
            Err(error) => refused(&error),
        },
        Err(NoPage::Absent(why)) => {
            let page = Page {
                title: "Not found".into(),
                main: html! {
                    h1 { "Not found" }
                    p { (why) }
                    p { a href=(links.home()) { "Search the archive" } }
                },
            };
            html_answer(StatusCode::NOT_FOUND, document(&links, &page))
        }
        Err(NoPage::Archive(error)) => Answer::broken(error.to_string()),
        Err(NoPage::Build(error)) => refused(&error),
        Err(NoPage::Defect) => Answer::broken("making the page ended in a defect of this program".into()),
    }
}

fn html_answer(status: StatusCode, document: impl Into<Bytes>) -> Answer {
    Answer {
        status,
        ..Answer::new("text/html; charset=utf-8", Keep::Revalidate, document)
    }
}

fn document(links: &Links, page: &Page) -> String {
    let document = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (page.title) " · cratehold" }
                link rel="stylesheet" href=(links.style());
            }
            body {
                a.skip href="#main" { "To the contents" }
                header {
                    nav aria-label="Site" {
                        a.home href=(links.home()) { "cratehold" }
                        a href=(links.statistics()) { "Statistics" }
                    }
                    form action=(links.home()) role="search" aria-label="From any page" {
                        label.hidden for="top-search" { "Name of a crate" }
                        input #top-search type="search" name="q" placeholder="Search crates" autocomplete="off";
                        button { "Search" }
                    }
                }
                main #main { (page.main) }
                footer { p { "Served from an archive. Nothing on these pages comes from elsewhere." } }
            }
        }
    };
    document.into_string()
}

/// Runs what may have to wait for the drive where waiting is allowed.
async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, NoPage> + Send + 'static,
) -> Result<T, NoPage> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(NoPage::Defect))
}

/// Text of strangers, in which what turns the order of what is read around is seen for
/// what it is: code may say one thing and show another.
fn visible(text: &str) -> Markup {
    let turns =
        |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}');
    html! {
        @for piece in text.split_inclusive(turns) {
            @match piece.chars().next_back().filter(|c| turns(*c)) {
                Some(odd) => {
                    (piece[..piece.len() - odd.len_utf8()])
                    span.odd title="turns the order of reading around" { "U+" (format!("{:04X}", u32::from(odd))) }
                }
                None => { (piece) }
            }
        }
    }
}

/// The beginning of a text: at most so many bytes, and whole characters.
fn beginning(text: &str, most_bytes: usize) -> &str {
    let ends = (0..=most_bytes.min(text.len())).rev();
    let end = ends.into_iter().find(|&end| text.is_char_boundary(end));
    &text[..end.unwrap_or(0)]
}

/// A byte count for people.
fn human(bytes: u64) -> String {
    match bytes {
        0..1000 => format!("{bytes} B"),
        1000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}

/// A count for people: `1 234 567`, with spaces that do not break.
fn counted(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// `1 release`, `2 releases`.
fn plural(number: u64, one: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        _ => format!("{} {one}s", counted(number)),
    }
}

/// A day, from seconds since 1970 UTC.
fn day(seconds: u64) -> String {
    let time = i64::try_from(seconds)
        .ok()
        .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    time.map_or_else(String::new, |time| time.strftime("%Y-%m-%d").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_for_people() {
        assert_eq!(
            visible("a\u{202e}b<")
                .into_string()
                .matches("U+202E</span>b&lt;")
                .count(),
            1
        );
        let cut = ["", "a", "a", "aé"];
        assert!((0..).zip(cut).all(|(bytes, cut)| beginning("aéb", bytes) == cut));
        assert_eq!(beginning("aéb", 9), "aéb");
        assert_eq!(counted(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!((counted(0), counted(999)), ("0".into(), "999".into()));
        assert_eq!(
            (plural(1, "file"), plural(2, "file")),
            ("1 file".into(), "2 files".into())
        );
        assert_eq!(
            (human(999), human(1000), day(86_400)),
            ("999 B".into(), "1.0 kB".into(), "1970-01-02".into())
        );
    }
}
