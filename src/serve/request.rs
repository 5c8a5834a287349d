//! A request, taken apart and refused where it makes no sense.

use hyper::header::{HOST, HeaderMap};
use hyper::{Method, StatusCode, Uri, Version};

/// Why a request is refused at once: the status, and one line for whoever reads it.
pub(super) type Refusal = (StatusCode, &'static str);

/// What is asked for.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    /// Without the body, as `HEAD` asks.
    pub head_only: bool,
    /// The path's parts, decoded; the last one is empty behind a final `/`.
    pub path: Vec<String>,
    /// What stands behind `?`, decoded.
    pub query: Vec<(String, String)>,
    /// The server as the client calls it, if it says so.
    pub host: Option<&'a str>,
    pub headers: &'a HeaderMap,
}

impl<'a> Asked<'a> {
    pub fn parse(
        method: &Method,
        uri: &'a Uri,
        version: Version,
        headers: &'a HeaderMap,
    ) -> Result<Asked<'a>, Refusal> {
        let head_only = match *method {
            Method::GET => false,
            Method::HEAD => true,
            _ => return Err((StatusCode::METHOD_NOT_ALLOWED, "this server knows GET and HEAD only")),
        };
        let host = host(uri, version, headers)?;
        let raw = uri.path().strip_prefix('/').unwrap_or_default();
        let path: Option<Vec<String>> = raw.split('/').map(decode).collect();
        let path = path.ok_or((StatusCode::BAD_REQUEST, "the path is not percent-encoded UTF-8"))?;
        // A part that a file system would take for more than a name is none here.
        let tricky = |part: &String| part == "." || part == ".." || part.contains(['/', '\\', '\0']);
        if path.iter().any(tricky) {
            return Err((StatusCode::NOT_FOUND, "there is no such page"));
        }
        let mut query = Vec::new();
        for pair in uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty())
        {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            match (decode(&key.replace('+', " ")), decode(&value.replace('+', " "))) {
                (Some(key), Some(value)) => query.push((key, value)),
                _ => return Err((StatusCode::BAD_REQUEST, "the query is not percent-encoded UTF-8")),
            }
        }
        Ok(Asked {
            head_only,
            path,
            query,
            host,
            headers,
        })
    }

    /// The path's parts, to be matched.
    pub fn parts(&self) -> Vec<&str> {
        self.path.iter().map(String::as_str).collect()
    }

    /// The first value of `key` in the query.
    pub fn query(&self, key: &str) -> Option<&str> {
        let found = self.query.iter().find(|(other, _)| other == key);
        found.map(|(_, value)| value.as_str())
    }

    /// The header's text, if there is one that is text.
    pub fn header(&self, name: hyper::header::HeaderName) -> Option<&'a str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// The host as the client named it; it goes into `config.json`, so it must be one.
fn host<'a>(uri: &'a Uri, version: Version, headers: &'a HeaderMap) -> Result<Option<&'a str>, Refusal> {
    let bad = (StatusCode::BAD_REQUEST, "the Host header is not one host and port");
    let mut named = headers.get_all(HOST).iter();
    let host = match (uri.authority(), named.next()) {
        (Some(authority), _) => Some(authority.as_str()),
        (None, Some(value)) => Some(value.to_str().map_err(|_| bad)?),
        (None, None) if version == Version::HTTP_11 => {
            return Err((StatusCode::BAD_REQUEST, "HTTP/1.1 wants a Host header"));
        }
        (None, None) => None,
    };
    if named.next().is_some() || host.is_some_and(|host| !is_host(host)) {
        return Err(bad);
    }
    Ok(host.filter(|host| !host.is_empty()))
}

/// Letters, digits and what names, addresses and ports are written with; a client may
/// also say that it knows no name.
fn is_host(host: &str) -> bool {
    let good = |c: u8| c.is_ascii_alphanumeric() || b"-._~:[]".contains(&c);
    host.len() <= 255 && host.bytes().all(good)
}

/// Undoes percent-encoding; none if there is a stray `%` or it is not UTF-8.
fn decode(text: &str) -> Option<String> {
    let digit = |byte: Option<u8>| byte.and_then(|byte| (byte as char).to_digit(16));
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => (digit(bytes.next())? << 4 | digit(bytes.next())?) as u8,
            byte => byte,
        });
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(target: &str) -> Result<Vec<String>, u16> {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, "a:1".parse().unwrap());
        let uri: Uri = target.parse().unwrap();
        Asked::parse(&Method::GET, &uri, Version::HTTP_11, &headers)
            .map(|asked| asked.path)
            .map_err(|(status, _)| status.as_u16())
    }

    #[test]
    fn paths_are_decoded_once_and_tricks_are_not_found() {
        assert_eq!(parse("/a/b%2Bc+d/").unwrap(), ["a", "b+c+d", ""]);
        assert_eq!(parse("/%252e%252e").unwrap(), ["%2e%2e"]);
        assert_eq!(parse("/caf%C3%A9").unwrap(), ["café"]);
        for trick in ["/..", "/a/../b", "/%2e%2e/a", "/a%2Fb", "/a%5cb", "/a%00", "/./a"] {
            assert_eq!(parse(trick), Err(404), "{trick}");
        }
        for bad in ["/%", "/%4", "/%zz", "/%ff", "/a?b=%g0"] {
            assert_eq!(parse(bad), Err(400), "{bad}");
        }
    }

    #[test]
    fn hosts_are_hosts() {
        for (host, good) in [
            ("localhost:8080", true),
            ("[::1]:80", true),
            ("", true),
            ("a b", false),
            ("a\"b", false),
            ("a/b", false),
            ("user@host", false),
        ] {
            assert_eq!(is_host(host), good, "{host}");
        }
    }
}
