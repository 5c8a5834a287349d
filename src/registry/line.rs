//! A registry index file: one JSON object a line, kept byte for byte.

use crate::ids::{CrateName, Digest, Version};
use std::borrow::Cow;

/// The newest line schema (`v`) that is understood.
pub const MAX_SCHEMA: u32 = 2;

/// One line: a release as the registry lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryLine {
    /// The line without its newline.
    pub raw: Vec<u8>,
    /// The name as published.
    pub name: CrateName,
    /// The exact version.
    pub version: Version,
    /// The crate file's checksum.
    pub digest: Digest,
    /// Whether it is yanked.
    pub yanked: bool,
    /// Its `v`; lines above [`MAX_SCHEMA`] are kept, not acted on.
    pub schema: u32,
}

#[derive(serde::Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    vers: Cow<'a, str>,
    #[serde(borrow)]
    cksum: Cow<'a, str>,
    yanked: Option<bool>,
    v: Option<u32>,
}

impl RegistryLine {
    /// Reads one line, given without its newline.
    ///
    /// # Errors
    /// One line that says what is wrong.
    pub fn parse(raw: &[u8]) -> Result<RegistryLine, String> {
        let fields: Fields<'_> = serde_json::from_slice(raw).map_err(|error| error.to_string())?;
        let said = |error: crate::ids::InvalidId| error.to_string();
        Ok(RegistryLine {
            raw: raw.to_vec(),
            name: fields.name.parse().map_err(said)?,
            version: fields.vers.parse().map_err(said)?,
            digest: fields.cksum.parse().map_err(said)?,
            yanked: fields.yanked.unwrap_or(false),
            schema: fields.v.unwrap_or(1),
        })
    }

    /// Whether this program knows what the line means.
    pub fn is_understood(&self) -> bool {
        self.schema <= MAX_SCHEMA
    }
}

/// A crate's whole registry index file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IndexFile {
    /// Its lines, in their order.
    pub lines: Vec<RegistryLine>,
    /// Lines that cannot be read: their number from 1 on, and why.
    pub bad: Vec<(usize, String)>,
}

impl IndexFile {
    /// Reads a file; blank lines are nothing.
    pub fn parse(bytes: &[u8]) -> IndexFile {
        let mut file = IndexFile::default();
        for (i, raw) in bytes.split(|&byte| byte == b'\n').enumerate() {
            if raw.trim_ascii().is_empty() {
                continue;
            }
            match RegistryLine::parse(raw) {
                Ok(line) => file.lines.push(line),
                Err(cause) => file.bad.push((i + 1, cause)),
            }
        }
        file
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_keep_every_byte_and_unknown_fields() {
        let sum = "ab".repeat(32);
        let first = format!(r#"{{"name": "A","vers":"1.0.0+b","cksum":"{sum}","yanked":true,"new":[1]}}"#);
        let second = format!(r#"{{"cksum":"{sum}","v":3,"vers":"2.0.0","name":"A"}}"#);
        let file = IndexFile::parse(format!("{first}\r\n\n{second}\nnot json\n").as_bytes());
        assert_eq!(file.lines[0].raw, format!("{first}\r").as_bytes());
        assert!(file.lines[0].yanked && file.lines[0].is_understood());
        assert_eq!(file.lines[0].version.as_str(), "1.0.0+b");
        assert!(!file.lines[1].is_understood());
        assert_eq!(file.bad.len(), 1);
        assert_eq!(file.bad[0].0, 4);
    }

    #[test]
    fn bad_names_versions_and_checksums_are_said() {
        let sum = "ab".repeat(32);
        for (name, version, sum, part) in [
            ("../a", "1.0.0", &sum, "crate name"),
            ("a", "1.0", &sum, "version"),
            ("a", "1.0.0", &"ab".to_owned(), "checksum"),
        ] {
            let raw = format!(r#"{{"name":"{name}","vers":"{version}","cksum":"{sum}"}}"#);
            let cause = RegistryLine::parse(raw.as_bytes()).unwrap_err();
            assert!(cause.contains(part), "{cause}");
        }
    }
}
