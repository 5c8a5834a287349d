//! Where pages lie. Names, versions and paths are encoded here and nowhere else.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// All but what a path may hold bare.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Addresses on this server.
#[derive(Clone)]
pub(super) struct Links {
    /// The path under which a proxy has it; usually empty.
    prefix: String,
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

impl Links {
    pub fn new(prefix: &str) -> Links {
        Links {
            prefix: prefix.to_owned(),
        }
    }

    pub fn home(&self) -> String {
        format!("{}/", self.prefix)
    }

    pub fn style(&self) -> String {
        format!("{}/style.css", self.prefix)
    }

    pub fn statistics(&self) -> String {
        format!("{}/statistics", self.prefix)
    }

    pub fn search(&self, query: &str, page: usize) -> String {
        format!("{}/?q={}&page={page}", self.prefix, encoded(query))
    }

    pub fn krate(&self, name: &str) -> String {
        format!("{}/crates/{}", self.prefix, encoded(name))
    }

    pub fn release(&self, name: &str, version: &str) -> String {
        format!("{}/{}", self.krate(name), encoded(version))
    }

    pub fn files(&self, name: &str, version: &str) -> String {
        format!("{}/files", self.release(name, version))
    }

    /// One file's page; `path` may be any text that a tar holds.
    pub fn file(&self, name: &str, version: &str, path: &str) -> String {
        format!("{}/{}", self.files(name, version), encoded_path(path))
    }

    pub fn raw(&self, name: &str, version: &str, path: &str) -> String {
        format!("{}/raw/{}", self.release(name, version), encoded_path(path))
    }

    pub fn diff(&self, name: &str) -> String {
        format!("{}/diff", self.krate(name))
    }

    pub fn diff_of(&self, name: &str, from: &str, to: &str) -> String {
        format!("{}?from={}&to={}", self.diff(name), encoded(from), encoded(to))
    }

    pub fn download(&self, digest: &crate::ids::Digest) -> String {
        format!("{}/dl/{digest}", self.prefix)
    }
}

fn encoded_path(path: &str) -> String {
    path.split('/').map(encoded).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::Links;

    #[test]
    fn whatever_a_tar_calls_its_files_stays_a_path() {
        let links = Links::new("/mirror");
        assert_eq!(
            links.file("a", "1.0.0+b", "src/\"><script>?#%é.rs"),
            "/mirror/crates/a/1.0.0%2Bb/files/src/%22%3E%3Cscript%3E%3F%23%25%C3%A9.rs"
        );
        assert_eq!(links.search("a&b", 2), "/mirror/?q=a%26b&page=2");
    }
}
