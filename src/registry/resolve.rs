//! Host names to addresses, remembered for a minute.
//!
//! ureq looks the name up for every request, even when it then uses a connection
//! that it has kept. For a hundred crates that made as many lookups, some of which
//! were lost and cost 5 s each: 20 s in all instead of a fraction of one.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// Short enough that a host which moves is found again by the retries.
const REMEMBERED_FOR: Duration = Duration::from_secs(60);

type Known = Option<(Instant, Vec<SocketAddr>)>;

/// The system's resolver behind a memory.
#[derive(Debug, Default)]
pub(super) struct RememberingResolver {
    resolver: DefaultResolver,
    /// By scheme, host and port. Each has its own lock, so that many who want one
    /// host wait for one lookup, and nobody for that of another.
    hosts: Mutex<HashMap<String, Arc<Mutex<Known>>>>,
}

impl Resolver for RememberingResolver {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let (scheme, authority) = (uri.scheme_str().unwrap_or_default(), uri.authority());
        let key = format!("{scheme}://{}", authority.map_or("", |authority| authority.as_str()));
        let host = {
            let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
            hosts.entry(key).or_default().clone()
        };
        let mut known = host.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = known.as_ref().filter(|(since, _)| since.elapsed() < REMEMBERED_FOR);
        if let Some((_, addresses)) = fresh {
            let mut resolved = self.empty();
            addresses.iter().for_each(|address| resolved.push(*address));
            return Ok(resolved);
        }
        let resolved = self.resolver.resolve(uri, config, timeout)?;
        *known = Some((Instant::now(), resolved.iter().copied().collect()));
        Ok(resolved)
    }
}
