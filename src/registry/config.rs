//! A registry index's `config.json`, and the address of a crate file.

use super::path::prefix;
use super::{Error, error::looks_like_html};
use crate::ids::{Digest, Release};

/// What `config.json` says.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct IndexConfig {
    /// Where crate files are, with or without markers.
    pub dl: String,
    /// The registry's API; nothing here uses it.
    #[serde(default)]
    pub api: Option<String>,
    /// Whether every request needs a login.
    #[serde(default, rename = "auth-required")]
    pub auth_required: bool,
}

impl IndexConfig {
    /// Reads the `config.json` that came from `url`.
    ///
    /// # Errors
    /// When it is not one, or the registry needs a login.
    pub fn parse(url: &str, bytes: &[u8]) -> Result<IndexConfig, Error> {
        let config: IndexConfig = serde_json::from_slice(bytes).map_err(|error| Error::NotAnIndex {
            url: url.to_owned(),
            cause: if looks_like_html(bytes) {
                "expected JSON with `dl`, found an HTML page; check --index".into()
            } else {
                format!("expected JSON with `dl`: {error}; check --index")
            },
        })?;
        if config.auth_required {
            return Err(Error::Setting(format!(
                "{url}: the registry asks for a login (`auth-required`), which cratehold cannot give"
            )));
        }
        Ok(config)
    }
}

const MARKERS: [&str; 5] = ["{crate}", "{version}", "{prefix}", "{lowerprefix}", "{sha256-checksum}"];

/// Turns a release into the address of its crate file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DownloadTemplate(String);

impl DownloadTemplate {
    /// A `dl` as `config.json` has it: with markers, or a folder to append
    /// `/{crate}/{version}/download` to.
    ///
    /// # Errors
    /// When it is no http or https address.
    pub fn parse(dl: &str) -> Result<DownloadTemplate, Error> {
        if !dl.starts_with("https://") && !dl.starts_with("http://") {
            return Err(Error::Setting(format!(
                "`{dl}` is no place to download from: expected an address that begins with https:// or http://"
            )));
        }
        if MARKERS.iter().any(|marker| dl.contains(marker)) {
            return Ok(DownloadTemplate(dl.to_owned()));
        }
        Ok(DownloadTemplate(format!(
            "{}/{{crate}}/{{version}}/download",
            dl.trim_end_matches('/')
        )))
    }

    /// The address of the crate file with this checksum; the name's case is kept.
    pub fn url(&self, release: &Release, digest: &Digest) -> String {
        let prefix = prefix(&release.name);
        // `+` means a space to some servers, so it is never sent bare.
        self.0
            .replace("{crate}", release.name.as_str())
            .replace("{version}", &release.version.as_str().replace('+', "%2B"))
            .replace("{prefix}", &prefix)
            .replace("{lowerprefix}", &prefix.to_ascii_lowercase())
            .replace("{sha256-checksum}", &digest.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(dl: &str, release: &str) -> String {
        let release = release.parse().unwrap();
        DownloadTemplate::parse(dl).unwrap().url(&release, &Digest([0xab; 32]))
    }

    #[test]
    fn without_markers_the_download_path_is_appended() {
        for dl in ["https://x.test/crates", "https://x.test/crates/"] {
            assert_eq!(
                url(dl, "Abc@1.0.0+a.b"),
                "https://x.test/crates/Abc/1.0.0%2Ba.b/download"
            );
        }
    }

    #[test]
    fn every_marker_is_filled_in() {
        let dl = "http://x.test/{prefix}/{lowerprefix}/{crate}-{version}.crate?{sha256-checksum}";
        let sum = "ab".repeat(32);
        assert_eq!(
            url(dl, "Serde@1.0.0"),
            format!("http://x.test/Se/rd/se/rd/Serde-1.0.0.crate?{sum}")
        );
        assert!(DownloadTemplate::parse("ftp://x.test").is_err());
    }

    #[test]
    fn config_is_read_and_refused() {
        let parse = |text: &str| IndexConfig::parse("http://x.test/config.json", text.as_bytes());
        let config = parse(r#"{"dl":"https://x.test/crates","api":"https://x.test","new":1}"#).unwrap();
        assert_eq!(config.dl, "https://x.test/crates");
        let cause = |text| parse(text).unwrap_err().to_string();
        assert!(cause("<!DOCTYPE html><p>hello").contains("HTML page"));
        assert!(cause("{}").contains("missing field `dl`"));
        assert!(cause(r#"{"dl":"x","auth-required":true}"#).contains("login"));
    }
}
