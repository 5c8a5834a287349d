//! Proxies as curl and cargo find them: HTTPS_PROXY for `https://`, HTTP_PROXY for
//! `http://`, ALL_PROXY for what has none of its own, and NO_PROXY for exceptions;
//! each in small letters too, which then count first.

use super::Error;

/// The proxy for addresses with this `scheme`, by the environment.
pub(super) fn proxy_for(scheme: &str) -> Result<Option<ureq::Proxy>, Error> {
    choose(scheme, |name| {
        std::env::var(name.to_ascii_lowercase())
            .or_else(|_| std::env::var(name))
            .ok()
            .filter(|value| !value.trim().is_empty())
    })
}

fn choose(scheme: &str, get: impl Fn(&str) -> Option<String>) -> Result<Option<ureq::Proxy>, Error> {
    let own = format!("{}_PROXY", scheme.to_ascii_uppercase());
    let found = [own.as_str(), "ALL_PROXY"]
        .into_iter()
        .find_map(|name| get(name).map(|value| (name, value)));
    let Some((name, value)) = found else { return Ok(None) };
    // The value may hold a password, so it is not repeated.
    let bad = |_| {
        Error::Setting(format!(
            "{name}: expected the address of a proxy, such as http://host:3128 (SOCKS is not supported)"
        ))
    };
    let proxy = ureq::Proxy::new(value.trim()).map_err(bad)?;
    use ureq::ProxyProtocol::{Http, Https};
    if !matches!(proxy.protocol(), Http | Https) || proxy.host().is_empty() {
        return Err(bad(ureq::Error::InvalidProxyUrl));
    }
    let mut builder = ureq::Proxy::builder(proxy.protocol())
        .host(proxy.host())
        .port(proxy.port());
    if let Some(name) = proxy.username() {
        builder = builder.username(name);
    }
    if let Some(password) = proxy.password() {
        builder = builder.password(password);
    }
    let exceptions = get("NO_PROXY").unwrap_or_default();
    for host in exceptions.split(',').map(str::trim).filter(|host| !host.is_empty()) {
        builder = builder.no_proxy(host);
        // As for curl and cargo, a domain stands for what is below it, too.
        let bare = host.trim_start_matches('.');
        builder = builder.no_proxy(bare);
        if !bare.starts_with('*') && bare.parse::<std::net::IpAddr>().is_err() {
            builder = builder.no_proxy(&format!(".{bare}"));
        }
    }
    builder.build().map(Some).map_err(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(scheme: &str, set: &[(&str, &str)]) -> Result<Option<ureq::Proxy>, Error> {
        choose(scheme, |name| {
            let found = set.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn each_scheme_has_its_own_or_the_one_for_all() {
        let set = [("HTTPS_PROXY", "http://s:1"), ("ALL_PROXY", "http://u:p%40@a:2")];
        assert_eq!(proxy("https", &set).unwrap().unwrap().host(), "s");
        let all = proxy("http", &set).unwrap().unwrap();
        assert_eq!((all.host(), all.port()), ("a", 2));
        assert_eq!((all.username(), all.password()), (Some("u"), Some("p@")));
        assert!(proxy("http", &set[..1]).unwrap().is_none());
    }

    #[test]
    fn what_is_no_proxy_is_said_without_its_password() {
        for bad in ["socks5://secret@a:1", "http://:secret", "secret://a"] {
            let error = proxy("http", &[("HTTP_PROXY", bad)]).unwrap_err().to_string();
            assert!(
                error.contains("HTTP_PROXY") && !error.contains("secret"),
                "{bad}: {error}"
            );
        }
    }

    #[test]
    fn exceptions_hold_for_domains_and_what_is_below() {
        let set = [("HTTP_PROXY", "a:1"), ("NO_PROXY", "x.test, .y.test,127.0.0.1")];
        let proxy = proxy("http", &set).unwrap().unwrap();
        let skipped = |host: &str| proxy.is_no_proxy(&format!("http://{host}/").parse().unwrap());
        assert!(skipped("x.test") && skipped("a.x.test") && skipped("b.y.test") && skipped("127.0.0.1"));
        assert!(!skipped("z.test") && !skipped("ax.test"));
    }
}
