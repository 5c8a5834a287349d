//! A registry's download server as a source for repairing an archive.

use super::Options;
use crate::archive::{Archive, Give, Source, Wanted};
use crate::ids::Digest;
use crate::registry::{
    self, CRATES_IO, DownloadTemplate, Error, Http, HttpOptions, IndexUrl, Job, RegistryIndex, SparseIndex, Stop,
    Ticket, fetch_pool, receive, same_registry, send,
};
use std::collections::HashMap;

/// The download server of a registry.
#[derive(Debug)]
pub struct DownloadServer {
    http: Http,
    options: registry::FetchOptions,
    template: DownloadTemplate,
    shown: String,
    stop: Stop,
}

/// Nothing travels along: so few files are fetched at once that nobody has to wait.
struct Nothing;

impl Ticket for Nothing {
    fn expect(&mut self, _crate_bytes: u64) {}

    fn arrived(&mut self, _crate_file: &[u8]) {}
}

impl DownloadServer {
    /// The server that `options.dl` names, or else that of the registry that
    /// `archive` mirrors; of crates.io, if it mirrors none.
    ///
    /// # Errors
    /// When the registry's `config.json` cannot be had, or there is no telling
    /// without cloning a git index.
    pub fn new(archive: Option<&Archive>, options: &Options, stop: &Stop) -> Result<DownloadServer, super::Error> {
        let http = Http::new(HttpOptions {
            connections: options.fetch.jobs,
            ..options.http.clone()
        })?;
        let dl = match &options.dl {
            Some(dl) => dl.clone(),
            None => {
                let known = archive.map(Archive::known_registry).transpose()?.flatten();
                let known = known.unwrap_or_else(|| CRATES_IO.to_owned());
                let index = match same_registry(&known, CRATES_IO) {
                    true => CRATES_IO.to_owned(),
                    false => known,
                };
                let IndexUrl::Sparse(url) = IndexUrl::parse(&index)? else {
                    return Err(Error::Setting(format!(
                        "where {index} has its crate files would take cloning it: say it with --dl=TEMPLATE"
                    ))
                    .into());
                };
                let policy = options.fetch.policy.clone();
                SparseIndex::new(http.clone(), &url, policy, stop.clone()).config()?.dl
            }
        };
        Ok(DownloadServer {
            http,
            options: options.fetch.clone(),
            template: DownloadTemplate::parse(&dl)?,
            shown: dl,
            stop: stop.clone(),
        })
    }
}

impl Source for DownloadServer {
    fn name(&self) -> String {
        self.shown.clone()
    }

    fn obtain(&mut self, wanted: &[Wanted], give: &mut Give<'_>) {
        let (known, unknown): (Vec<&Wanted>, Vec<&Wanted>) = wanted.iter().partition(|wanted| wanted.release.is_some());
        for wanted in unknown {
            give(
                wanted,
                Err("no release of it is known, so it cannot be asked for".into()),
            );
        }
        let (jobs, fetched) = match fetch_pool::<Nothing>(self.http.clone(), self.options.clone(), self.stop.clone()) {
            Ok(pool) => pool,
            Err(error) => {
                known.iter().all(|wanted| give(wanted, Err(error.to_string())));
                return;
            }
        };
        let (template, stop) = (&self.template, &self.stop);
        let by_digest: HashMap<Digest, &Wanted> = known.iter().map(|wanted| (wanted.digest, *wanted)).collect();
        std::thread::scope(|scope| {
            // Moved in, so that the workers end when all has been asked.
            let asked = &known;
            scope.spawn(move || {
                for wanted in asked {
                    let Some(release) = wanted.release.clone() else {
                        continue;
                    };
                    let job = Job {
                        url: template.url(&release, &wanted.digest),
                        release,
                        digest: wanted.digest,
                        ticket: Nothing,
                    };
                    if !send(&jobs, job, stop) {
                        break;
                    }
                }
            });
            while let Some(fetched) = receive(&fetched, stop) {
                let Some(wanted) = by_digest.get(&fetched.job.digest) else {
                    continue;
                };
                if !give(wanted, fetched.result.map_err(|error| error.to_string())) {
                    break;
                }
            }
            drop(fetched);
        });
    }

    /// Asking for a file is fetching it: a dry run does without.
    fn look(&mut self, _wanted: &[Wanted], _has: &mut dyn FnMut(&Wanted)) {}
}
