//! The lines of `.cargo/config.toml` by which cargo builds from an archive.

use crate::registry::{CRATES_IO, same_registry};
use std::path::Path;

/// The name of the source that stands in for the registry.
const NAME: &str = "cratehold";

/// What cargo is to build from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CargoSource<'a> {
    /// A sparse registry index, by its http or https address.
    Sparse(&'a str),
    /// A local registry.
    LocalRegistry(&'a Path),
    /// A directory source, as `cargo vendor` makes.
    Directory(&'a Path),
}

/// The lines that put `source` in the place of `registry`, the one that the archive
/// mirrors; of crates.io if none is given.
pub fn cargo_config(source: CargoSource<'_>, registry: Option<&str>) -> String {
    let place = match source {
        CargoSource::Sparse(url) => {
            let url = url.strip_prefix("sparse+").unwrap_or(url).trim_end_matches('/');
            format!("registry = {}", quoted(&format!("sparse+{url}/")))
        }
        CargoSource::LocalRegistry(folder) => format!("local-registry = {}", quoted(&folder.to_string_lossy())),
        CargoSource::Directory(folder) => format!("directory = {}", quoted(&folder.to_string_lossy())),
    };
    let replaced = match registry.filter(|registry| !same_registry(registry, CRATES_IO)) {
        None => "[source.crates-io]\n".to_owned(),
        Some(registry) => format!("[source.mirrored]\nregistry = {}\n", quoted(registry)),
    };
    format!("{replaced}replace-with = \"{NAME}\"\n\n[source.{NAME}]\n{place}\n")
}

/// As a TOML basic string, whose escapes are those of JSON.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;

    #[test]
    fn every_kind_is_toml_that_says_what_was_given() {
        let odd = Path::new("C:\\new \"x\"\u{7f}\u{1}");
        for (source, key, value) in [
            (
                CargoSource::Sparse("http://h:1/index"),
                "registry",
                "sparse+http://h:1/index/",
            ),
            (
                CargoSource::Sparse("sparse+http://h:1/index/"),
                "registry",
                "sparse+http://h:1/index/",
            ),
            (CargoSource::LocalRegistry(odd), "local-registry", odd.to_str().unwrap()),
            (CargoSource::Directory(Path::new("/v")), "directory", "/v"),
        ] {
            let config: toml::Value = toml::from_str(&cargo_config(source, None)).unwrap();
            assert_eq!(config["source"]["crates-io"]["replace-with"].as_str(), Some(NAME));
            assert_eq!(config["source"][NAME][key].as_str(), Some(value));
        }
    }

    #[test]
    fn another_registry_is_replaced_by_its_address() {
        let lines = |registry| cargo_config(CargoSource::Directory(Path::new("/v")), Some(registry));
        assert!(lines("https://github.com/rust-lang/crates.io-index").starts_with("[source.crates-io]\nreplace-with"));
        assert!(
            lines("sparse+https://x.test/").starts_with("[source.mirrored]\nregistry = \"sparse+https://x.test/\"\n")
        );
    }
}
