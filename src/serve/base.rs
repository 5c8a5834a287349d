//! The address that clients reach the server by.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

/// `http://HOST:PORT` or `https://HOST/PATH`, without a `/` at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl(String);

impl BaseUrl {
    /// That of a server that listens on `address`.
    pub fn of(address: SocketAddr) -> BaseUrl {
        BaseUrl(format!("http://{address}"))
    }

    /// That of a server that a client calls `host`, over plain HTTP.
    pub(super) fn of_host(host: &str) -> BaseUrl {
        BaseUrl(format!("http://{host}"))
    }

    /// What cargo's settings name as the registry.
    pub fn index(&self) -> String {
        format!("sparse+{self}/index/")
    }

    /// What `config.json` names: crate files by their checksum.
    pub fn dl(&self) -> String {
        format!("{self}/dl/{{sha256-checksum}}")
    }

    /// What stands before each path: empty, or the path under which a proxy has this
    /// server.
    pub(super) fn path(&self) -> &str {
        let rest = self.0.split_once("://").map_or("", |(_, rest)| rest);
        rest.find('/').map_or("", |at| &rest[at..])
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for BaseUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<BaseUrl, String> {
        let bad = |why: &str| {
            format!(
                "`{}`: {why}; expected an address such as https://crates.example/mirror",
                text.escape_debug()
            )
        };
        let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
        let rest = rest.ok_or_else(|| bad("begins with neither http:// nor https://"))?;
        if rest.is_empty() || rest.starts_with('/') {
            return Err(bad("names no host"));
        }
        let good = |c: u8| c.is_ascii_alphanumeric() || b"-._~:[]/%".contains(&c);
        if !rest.bytes().all(good) {
            return Err(bad("has characters that have no place there"));
        }
        Ok(BaseUrl(text.trim_end_matches('/').to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_or_refused() {
        let url: BaseUrl = "https://a.example/mirror/".parse().unwrap();
        assert_eq!(url.index(), "sparse+https://a.example/mirror/index/");
        assert_eq!(url.dl(), "https://a.example/mirror/dl/{sha256-checksum}");
        assert_eq!(url.path(), "/mirror");
        assert_eq!("http://[::1]:80".parse::<BaseUrl>().unwrap().path(), "");
        for bad in [
            "",
            "a.example",
            "http://",
            "http:///x",
            "http://a b",
            "http://a/\"",
            "ftp://a",
            "http://a?b",
        ] {
            assert!(bad.parse::<BaseUrl>().is_err(), "{bad}");
        }
    }
}
