//! What a crate says of itself: its `Cargo.toml`, its README, its registry line.

use super::links::Links;
use super::{beginning, readme, visible};
use crate::archive::{Archive, CrateState, tar_files};
use maud::{Markup, html};
use serde_json::Value;

/// Longer manifests are not read.
const MAX_MANIFEST_BYTES: u64 = 1 << 20;
const MAX_README_BYTES: u64 = 4 << 20;
/// More dependencies than anybody reads.
const MAX_DEPENDENCIES: usize = 500;

/// Of one release, as its own files say.
#[derive(Default)]
pub(super) struct Facts {
    pub description: Option<String>,
    /// Label and value, in the order in which they are shown.
    pub rows: Vec<(&'static str, String)>,
    pub readme: Option<Markup>,
}

impl Facts {
    /// Whatever is odd in `tar` is left out.
    pub fn of(tar: &[u8]) -> Facts {
        let manifest = file(tar, MAX_MANIFEST_BYTES, |path| path == "Cargo.toml");
        let manifest = manifest.and_then(|(_, bytes)| String::from_utf8(bytes).ok());
        let manifest = manifest.and_then(|text| text.parse::<toml::Table>().ok());
        let package = manifest
            .as_ref()
            .and_then(|table| table.get("package").or_else(|| table.get("project")));
        let package = package.and_then(toml::Value::as_table);
        let text = |key: &str| Some(package?.get(key)?.as_str()?.trim().to_owned()).filter(|text| !text.is_empty());
        let list = |key: &str| {
            let parts = package?.get(key)?.as_array()?.iter().filter_map(toml::Value::as_str);
            Some(parts.collect::<Vec<_>>().join(", ")).filter(|text| !text.is_empty())
        };
        let rows = [
            ("Licence", text("license").or_else(|| text("license-file"))),
            ("Needs Rust", text("rust-version")),
            ("Edition", text("edition")),
            ("Repository", text("repository")),
            ("Homepage", text("homepage")),
            ("Documentation", text("documentation")),
            ("Authors", list("authors")),
            ("Keywords", list("keywords")),
        ];
        let named = text("readme");
        let is_readme = |path: &str| match &named {
            Some(named) => path == named.trim_start_matches("./"),
            None => ["readme.md", "readme", "readme.txt"].contains(&path.to_ascii_lowercase().as_str()),
        };
        let readme = file(tar, MAX_README_BYTES, is_readme).map(|(path, bytes)| {
            // No browser takes it in a page.
            let text = String::from_utf8_lossy(&bytes).replace('\0', "\u{fffd}");
            match path.to_ascii_lowercase().ends_with(".md") {
                true => readme::render(&text),
                false => html! { pre { (visible(beginning(&text, readme::MAX_README_BYTES))) } },
            }
        });
        Facts {
            description: text("description"),
            rows: rows
                .into_iter()
                .filter_map(|(label, value)| Some((label, value?)))
                .collect(),
            readme,
        }
    }
}

/// A value, as a link if it leads to the web.
pub(super) fn value(text: &str) -> Markup {
    let is_web = (text.starts_with("https://") || text.starts_with("http://")) && !text.contains(char::is_whitespace);
    html! { @if is_web { a href=(text) rel="noreferrer" { (text) } } @else { (visible(text)) } }
}

/// The last file of the tar that is `wanted`, unless it is longer than `most_bytes`.
pub(super) fn file(tar: &[u8], most_bytes: u64, wanted: impl Fn(&str) -> bool) -> Option<(String, Vec<u8>)> {
    let mut found = None;
    let read = tar_files(tar, |entry, contents| {
        if wanted(&entry.path) {
            let mut bytes = Vec::new();
            let is_read = entry.bytes <= most_bytes && contents.read_to_end(&mut bytes).is_ok();
            found = is_read.then_some((entry.path, bytes));
        }
    });
    read.ok().and(found)
}

/// The dependencies that a registry line names, with links to what is held of them.
pub(super) fn dependencies(archive: &Archive, links: &Links, line: &Value) -> Markup {
    let all = line
        .get("deps")
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    let of_kind = |kind: &str| -> Vec<&Value> {
        let is = |dep: &&Value| dep.get("kind").and_then(Value::as_str).unwrap_or("normal") == kind;
        all.iter().filter(is).take(MAX_DEPENDENCIES).collect()
    };
    html! {
        @if all.is_empty() { p.note { "None." } }
        @for (kind, title) in [("normal", "To run"), ("build", "To build"), ("dev", "To test")] {
            @let deps = of_kind(kind);
            @if !deps.is_empty() {
                h3 { (title) }
                ul.dependencies { @for dep in deps { li { (dependency(archive, links, dep)) } } }
            }
        }
    }
}

fn dependency(archive: &Archive, links: &Links, dep: &Value) -> Markup {
    let text = |key: &str| dep.get(key).and_then(Value::as_str);
    let alias = text("name").unwrap_or_default();
    let name = text("package").unwrap_or(alias);
    let requirement = text("req").unwrap_or_default();
    let optional = dep.get("optional").and_then(Value::as_bool).unwrap_or(false);
    let state = archive.crate_state(name).ok().flatten();
    let best = state.as_ref().and_then(|state| matching(archive, state, requirement));
    html! {
        @match &state {
            Some(state) => { a.name href=(links.krate(&state.name)) { (name) } }
            None => { span.name { (name) } }
        }
        " " code { (requirement) }
        @if name != alias { " " span.note { "as " (alias) } }
        @if optional { " " span.mark { "optional" } }
        @if let Some(target) = text("target") { " " span.note { "on " code { (target) } } }
        " "
        @match (&state, best) {
            (Some(state), Some(version)) => { span.note { "→ " a href=(links.release(&state.name, &version)) { (version) } } }
            _ => { span.mark.absent { "not held" } }
        }
    }
}

/// The version held that cargo would choose for `requirement`.
fn matching(archive: &Archive, state: &CrateState, requirement: &str) -> Option<String> {
    let requirement: semver::VersionReq = requirement.parse().ok()?;
    let matching = state
        .current()
        .filter(|release| !release.yanked && requirement.matches(release.version.semver()));
    let held = matching.filter(|release| archive.find(&release.digest).is_ok_and(|entry| entry.is_some()));
    held.max_by_key(|release| &release.version)
        .map(|release| release.version.to_string())
}
