//! `/index/`: the registry index as cargo's sparse protocol has it.

use super::ahead;
use super::answer::{Answer, Keep, Validators};
use super::base::BaseUrl;
use super::log::Event;
use super::lru::Lru;
use super::request::Asked;
use super::site::{Site, Snapshot};
use crate::archive;
use crate::offer;
use hyper::StatusCode;
use hyper::body::Bytes;
use std::sync::{Arc, Mutex, PoisonError};

/// The most bytes of registry index files that are kept of one snapshot.
const KEPT_BYTES: usize = 32 << 20;
/// What a file takes beside its text, about.
const FILE_OVERHEAD_BYTES: usize = 256;

/// One crate's file.
#[derive(Clone)]
struct File {
    text: Bytes,
    validators: Validators,
}

impl File {
    fn weight(&self) -> usize {
        self.text.len() + FILE_OVERHEAD_BYTES
    }
}

/// The files of one snapshot that were asked for lately.
#[derive(Default)]
pub(super) struct IndexFiles(Mutex<(Lru<String, File>, usize)>);

impl IndexFiles {
    fn get(&self, path: &str) -> Option<File> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .0
            .get(&path.to_owned())
    }

    fn keep(&self, path: &str, file: File) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (files, bytes) = &mut *kept;
        *bytes += file.weight();
        *bytes -= files.keep(path.to_owned(), file).map_or(0, |before| before.weight());
        while *bytes > KEPT_BYTES {
            *bytes -= files.forget_oldest().map_or(*bytes, |oldest| oldest.weight());
        }
    }
}

/// Where crate files are, as this client reaches them.
pub(super) fn config(site: &Site, asked: &Asked<'_>) -> Answer {
    let base = match (&site.named_base, asked.host) {
        (None, Some(host)) => BaseUrl::of_host(host),
        (named, _) => named.clone().unwrap_or_else(|| site.bound_base.clone()),
    };
    let json = offer::config_json(&base.dl(), None);
    Answer::new("application/json", Keep::Revalidate, json).varies_by_host()
}

/// The file at `path`, such as `se/rd/serde`.
pub(super) async fn file(site: &Arc<Site>, path: &str) -> Answer {
    let snapshot = site.snapshot().await;
    let file = match snapshot.files.get(path) {
        Some(file) => Some(file),
        None => {
            let (made_of, made_at) = (snapshot.clone(), path.to_owned());
            let made = tokio::task::spawn_blocking(move || made(&made_of, &made_at));
            match made.await {
                Ok(Ok((file, troubles))) => {
                    if file.is_some() {
                        ahead::suggest(site, &snapshot, path.rsplit('/').next().unwrap_or(path));
                    }
                    for trouble in troubles {
                        site.tell(Event::Trouble(trouble));
                    }
                    file
                }
                Ok(Err(error)) => return Answer::broken(error.to_string()),
                Err(_) => return Answer::broken("making the registry index file ended in a defect".into()),
            }
        }
    };
    let Some(file) = file else {
        return Answer::plain(StatusCode::NOT_FOUND, "the registry index has no such crate");
    };
    Answer {
        validators: file.validators,
        ..Answer::new("text/plain; charset=utf-8", Keep::Revalidate, file.text)
    }
}

/// The file as the archive has it, and what the operator should know of it.
fn made(snapshot: &Snapshot, path: &str) -> Result<(Option<File>, Vec<String>), archive::Error> {
    let Some(found) = snapshot.offer.index_file_at(path)? else {
        return Ok((None, Vec::new()));
    };
    let left_out = found.left_out.iter();
    let troubles = left_out.map(|(release, cause)| format!("{release} is not listed: {cause}"));
    let troubles = troubles.collect();
    if found.line_count == 0 {
        return Ok((None, troubles));
    }
    let file = File {
        validators: Validators {
            etag: Some(found.etag),
            changed: Some(found.changed),
        },
        text: found.text.into(),
    };
    snapshot.files.keep(path, file.clone());
    Ok((Some(file), troubles))
}
