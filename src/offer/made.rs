//! Registry lines for releases that no registry has listed here: what publishing them
//! would have made of their own `Cargo.toml`.
//!
//! cargo sends the manifest's dependencies and features, crates.io makes the line of
//! them: features that say `dep:` or `?/`, and all that need these, go to `features2`, and
//! `v` is then 2.

use crate::ids::{Digest, Release};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Longer ones are no manifest that cargo ever made.
const MAX_MANIFEST_BYTES: usize = 10 << 20;

/// One line, its fields in the order in which crates.io writes them.
#[derive(Debug, Serialize)]
struct Line {
    name: String,
    vers: String,
    deps: Vec<Dependency>,
    cksum: String,
    features: BTreeMap<String, Vec<String>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    features2: BTreeMap<String, Vec<String>>,
    yanked: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    links: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rust_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    v: Option<u32>,
}

#[derive(Debug, Serialize, PartialEq, Eq, PartialOrd, Ord)]
struct Dependency {
    name: String,
    req: String,
    features: Vec<String>,
    optional: bool,
    default_features: bool,
    target: Option<String>,
    kind: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    registry: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    package: Option<String>,
}

/// In the order in which crates.io sorts dependencies of one name.
#[derive(Debug, Clone, Copy, Serialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Normal,
    Build,
    Dev,
}

#[derive(Debug, Deserialize)]
struct Manifest {
    #[serde(alias = "project")]
    package: Package,
    #[serde(flatten)]
    tables: Tables,
    #[serde(default)]
    target: BTreeMap<String, Tables>,
    #[serde(default)]
    features: BTreeMap<String, Vec<String>>,
}

#[derive(Debug, Deserialize)]
struct Package {
    links: Option<String>,
    #[serde(rename = "rust-version")]
    rust_version: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Tables {
    #[serde(default)]
    dependencies: BTreeMap<String, Wanted>,
    #[serde(default, rename = "build-dependencies", alias = "build_dependencies")]
    build: BTreeMap<String, Wanted>,
    #[serde(default, rename = "dev-dependencies", alias = "dev_dependencies")]
    dev: BTreeMap<String, Wanted>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Wanted {
    Version(String),
    Table(Box<Table>),
}

#[derive(Debug, Default, Deserialize)]
struct Table {
    version: Option<String>,
    #[serde(default)]
    features: Vec<String>,
    #[serde(default)]
    optional: bool,
    #[serde(rename = "default-features", alias = "default_features")]
    default_features: Option<bool>,
    package: Option<String>,
    #[serde(rename = "registry-index")]
    registry_index: Option<String>,
}

/// The registry line, without a newline, of a release whose tar is `tar`: as a
/// registry would have made it when the crate was published.
///
/// # Errors
/// One line that says what is wrong with its `Cargo.toml`.
pub fn made_line(release: &Release, digest: &Digest, tar: &[u8], yanked: bool) -> Result<Vec<u8>, String> {
    let text = manifest_of(release, tar)?;
    let manifest: Manifest = toml::from_str(&text).map_err(|error| {
        let before = error.span().map_or(0, |span| span.start);
        let line = text.bytes().take(before).filter(|byte| *byte == b'\n').count() + 1;
        format!("its Cargo.toml, line {line}: {}", error.message().replace('\n', " "))
    })?;
    let mut deps = Vec::new();
    add_tables(&mut deps, None, manifest.tables);
    for (target, tables) in manifest.target {
        add_tables(&mut deps, Some(&target), tables);
    }
    deps.sort_by(|a, b| (&a.name, a.kind).cmp(&(&b.name, b.kind)).then_with(|| a.cmp(b)));
    let (features, features2) = split(manifest.features);
    let line = Line {
        name: release.name.to_string(),
        vers: release.version.to_string(),
        deps,
        cksum: digest.to_string(),
        features,
        v: (!features2.is_empty()).then_some(2),
        features2,
        yanked,
        links: manifest.package.links,
        rust_version: manifest.package.rust_version,
    };
    serde_json::to_vec(&line).map_err(|error| error.to_string())
}

type Features = BTreeMap<String, Vec<String>>;

/// Parts from the `features` those that a cargo which does not know `features2` cannot
/// read, and all that need one of these.
fn split(features: Features) -> (Features, Features) {
    let is_new = |value: &String| value.starts_with("dep:") || value.contains("?/");
    let (mut old, mut new): (Features, Features) =
        features.into_iter().partition(|(_, values)| !values.iter().any(is_new));
    loop {
        let needs_new = |values: &[String]| values.iter().any(|value| new.contains_key(value));
        let (stay, go): (Features, Features) = old.into_iter().partition(|(_, values)| !needs_new(values));
        old = stay;
        if go.is_empty() {
            return (old, new);
        }
        new.extend(go);
    }
}

/// The text of the `Cargo.toml` at the top of `tar`.
fn manifest_of(release: &Release, tar: &[u8]) -> Result<String, String> {
    let path = format!("{}/Cargo.toml", release.stem());
    let bad = |error: std::io::Error| format!("not a tar: {error}");
    let mut found = None;
    for entry in tar::Archive::new(tar).entries().map_err(bad)? {
        let entry = entry.map_err(bad)?;
        if entry.header().entry_type().is_file() && *entry.path_bytes() == *path.as_bytes() {
            // As with unpacking, the last of several is what counts.
            let from = usize::try_from(entry.raw_file_position()).unwrap_or(usize::MAX);
            let rest = tar.get(from..).unwrap_or_default();
            found = rest.get(..usize::try_from(entry.size()).unwrap_or(usize::MAX));
        }
    }
    let bytes = found.ok_or_else(|| format!("its tar has no {path}"))?;
    if bytes.len() > MAX_MANIFEST_BYTES {
        return Err(format!("{path} has {} bytes, which no manifest has", bytes.len()));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| format!("{path}: {error}"))?;
    Ok(text.trim_start_matches('\u{feff}').to_owned())
}

fn add_tables(deps: &mut Vec<Dependency>, target: Option<&str>, tables: Tables) {
    for (kind, wanted) in [
        (Kind::Normal, tables.dependencies),
        (Kind::Build, tables.build),
        (Kind::Dev, tables.dev),
    ] {
        deps.extend(
            wanted
                .into_iter()
                .filter_map(|(name, wanted)| dependency(name, wanted, kind, target)),
        );
    }
}

/// What a registry is told of one dependency; nothing of one that only its author's
/// folders have, which only tests may need.
fn dependency(name: String, wanted: Wanted, kind: Kind, target: Option<&str>) -> Option<Dependency> {
    let table = match wanted {
        Wanted::Version(version) => Table {
            version: Some(version),
            ..Table::default()
        },
        Wanted::Table(table) => *table,
    };
    if kind == Kind::Dev && table.version.is_none() {
        return None;
    }
    Some(Dependency {
        name,
        req: requirement(table.version.as_deref().unwrap_or("*")),
        features: table.features,
        optional: table.optional,
        default_features: table.default_features.unwrap_or(true),
        target: target.map(str::to_owned),
        kind,
        registry: table.registry_index,
        package: table.package,
    })
}

/// The requirement as cargo writes it. Very old ones that it no longer reads stay as
/// they are: cargo then passes over this one release.
fn requirement(text: &str) -> String {
    semver::VersionReq::parse(text).map_or_else(|_| text.trim().to_owned(), |requirement| requirement.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;

    fn tar(path: &str, text: &str) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        builder.append_data(&mut header, path, text.as_bytes()).unwrap();
        builder.into_inner().unwrap()
    }

    fn line(manifest: &str) -> Result<serde_json::Value, String> {
        let release = "a-b@1.0.0+x".parse().unwrap();
        let tar = tar("a-b-1.0.0+x/Cargo.toml", manifest);
        let line = made_line(&release, &Digest([0xab; 32]), &tar, true)?;
        Ok(serde_json::from_slice(&line).unwrap())
    }

    #[test]
    fn a_plain_manifest_gives_a_plain_line() {
        let line = line("[package]\nname='a-b'\nversion='1.0.0+x'\n").unwrap();
        let sum = "ab".repeat(32);
        assert_eq!(
            line.to_string(),
            serde_json::json!({"name": "a-b", "vers": "1.0.0+x", "deps": [], "cksum": sum, "features": {}, "yanked": true})
                .to_string()
        );
    }

    #[test]
    fn dependencies_of_all_kinds_are_told() {
        let line = line(
            r#"
            [project]
            links = "z"
            rust-version = "1.70"
            [dependencies]
            z = "1.2"
            old = { package = "new-name", version = ">= 1, <3", optional = true, features = ["f"], default-features = false }
            [build-dependencies.cc]
            version = "*"
            [dev_dependencies]
            z = "=1.2.3"
            mine = { path = "../mine" }
            [target.'cfg(unix)'.dependencies]
            libc = { version = "0.2", default_features = false }
            [features]
            default = ["old"]
            all = ["more"]
            more = ["new", "z/x"]
            new = ["dep:old"]
            weak = ["old?/f"]
            "#,
        )
        .unwrap();
        let dep = |at: usize, key: &str| line["deps"][at][key].clone();
        let names: Vec<_> = (0..5)
            .map(|at| (dep(at, "name"), dep(at, "kind"), dep(at, "req")))
            .collect();
        let expected = [
            ("cc", "build", "*"),
            ("libc", "normal", "^0.2"),
            ("old", "normal", ">=1, <3"),
            ("z", "normal", "^1.2"),
            ("z", "dev", "=1.2.3"),
        ];
        assert_eq!(
            names,
            expected.map(|(name, kind, req)| (name.into(), kind.into(), req.into()))
        );
        assert_eq!(line["deps"].as_array().unwrap().len(), 5);
        assert_eq!(dep(1, "target"), "cfg(unix)");
        assert_eq!(dep(1, "default_features"), false);
        assert_eq!(dep(2, "package"), "new-name");
        assert_eq!(
            (dep(2, "optional"), dep(2, "default_features")),
            (true.into(), false.into())
        );
        assert_eq!(line["features"], serde_json::json!({"default": ["old"]}));
        assert_eq!(
            line["features2"],
            serde_json::json!({"all": ["more"], "more": ["new", "z/x"], "new": ["dep:old"], "weak": ["old?/f"]})
        );
        assert_eq!(
            (&line["v"], &line["links"], &line["rust_version"]),
            (&2.into(), &"z".into(), &"1.70".into())
        );
    }

    #[test]
    fn what_is_no_manifest_is_said() {
        assert!(line("[package").unwrap_err().contains("Cargo.toml, line 1"));
        assert!(line("[dependencies]\n").unwrap_err().contains("package"));
        let release = "a@1.0.0".parse().unwrap();
        let said = made_line(&release, &Digest([0; 32]), &tar("a-1.0.0/src/Cargo.toml", ""), false).unwrap_err();
        assert_eq!(said, "its tar has no a-1.0.0/Cargo.toml");
        assert!(
            made_line(&release, &Digest([0; 32]), &[1; 600], false)
                .unwrap_err()
                .contains("tar")
        );
    }
}
