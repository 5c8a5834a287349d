//! Where an optimizer's crate files come from, and those it has at hand.

use crate::archive::encode::{self, Content};
use crate::archive::{Archive, Error, Writer, chain, form};
use crate::format::index::Entry;
use crate::format::pack::RecordMeta;
use crate::ids::Digest;
use crate::store::Medium;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

/// The archive whose crate files are read.
#[derive(Clone, Copy)]
pub(super) enum Source<'a> {
    /// The one that is written to: objects move while they are read.
    Own(&'a Writer),
    /// Another one, which does not change.
    Other(&'a Archive),
}

impl Source<'_> {
    pub fn find(&self, digest: &Digest) -> Result<Option<Entry>, Error> {
        match self {
            Source::Own(writer) => writer.find(digest),
            Source::Other(archive) => archive.find(digest),
        }
    }

    /// Its newest snapshot.
    pub fn snapshot(&self) -> Archive {
        match self {
            Source::Own(writer) => writer.with_archive(Archive::clone),
            Source::Other(archive) => (*archive).clone(),
        }
    }

    fn medium(&self) -> &dyn Medium {
        match self {
            Source::Own(writer) => writer.medium(),
            Source::Other(archive) => &*archive.medium,
        }
    }

    /// What is stored of `digest` now.
    fn read(&self, digest: &Digest, cached: &dyn Fn(&Digest) -> Option<Arc<Vec<u8>>>) -> Result<Stored, Error> {
        let attempt = || {
            let entry = self.find(digest)?.ok_or(Error::NotHeld { digest: *digest })?;
            chain::decode(self.medium(), &entry, &|base| self.find(base), cached, &|_, _| {})
        };
        // Between finding a place and reading it a pack may have been dropped.
        attempt().or_else(|error| match self {
            Source::Own(_) => attempt(),
            Source::Other(_) => Err(error),
        })
    }
}

type Stored = (RecordMeta, Arc<Vec<u8>>);

/// What is to be stored of a crate file.
pub(super) struct Remade {
    pub content: Content,
    /// Whether it was stored as it came, and an engine gives it by now.
    pub is_undone: bool,
}

/// What is to be stored of a crate file, made from what is stored of it now.
pub(super) fn remake(meta: &RecordMeta, stored: &Arc<Vec<u8>>) -> Result<Remade, Error> {
    let release = || format!("{}@{}", meta.name, meta.version);
    let fail = |cause: String| Error::Rejected(format!("{}: {cause}", release()));
    match encode::engine(meta).map_err(fail)? {
        None => {
            let content = encode::undo(stored.to_vec(), meta.id(), None, None)?;
            let is_undone = content.recipe.is_some();
            Ok(Remade { content, is_undone })
        }
        Some(engine) => {
            let tar = form::undo(meta, stored).map_err(|damage| fail(damage.to_string()))?;
            let recipe = encode::recipe(meta, engine, &tar);
            // Stored before there were normal forms, or since: it is the same now.
            let (bytes, transform) = form::content_of(tar.into_owned());
            let content = Content {
                digest: meta.id(),
                crate_bytes: meta.crate_bytes,
                bytes,
                transform,
                recipe: Some(recipe),
                wrong_engine: None,
            };
            Ok(Remade {
                content,
                is_undone: false,
            })
        }
    }
}

/// Contents made lately, so that what several need is made once; bounded in bytes.
pub(super) struct Contents<'a> {
    source: Source<'a>,
    limit_bytes: usize,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    stored: HashMap<Digest, Arc<Vec<u8>>>,
    made: HashMap<Digest, Arc<Remade>>,
    /// Oldest first.
    order: VecDeque<(Digest, usize)>,
    bytes: usize,
}

impl<'a> Contents<'a> {
    pub fn new(source: Source<'a>, limit_bytes: u64) -> Contents<'a> {
        Contents {
            source,
            limit_bytes: usize::try_from(limit_bytes).unwrap_or(usize::MAX),
            kept: Mutex::default(),
        }
    }

    /// What is to be stored of `digest`.
    pub fn of(&self, digest: &Digest) -> Result<Arc<Remade>, Error> {
        if let Some(made) = self.kept().made.get(digest) {
            return Ok(made.clone());
        }
        let (meta, stored) = self
            .source
            .read(digest, &|base| self.kept().stored.get(base).cloned())?;
        let made = Arc::new(remake(&meta, &stored)?);
        let bytes = made.content.bytes.len() + stored.len();
        let mut kept = self.kept();
        if kept.made.insert(*digest, made.clone()).is_none() {
            kept.stored.insert(*digest, stored);
            kept.order.push_back((*digest, bytes));
            kept.bytes += bytes;
            while kept.bytes > self.limit_bytes
                && let Some((oldest, bytes)) = kept.order.pop_front()
            {
                kept.made.remove(&oldest);
                kept.stored.remove(&oldest);
                kept.bytes -= bytes;
            }
        }
        Ok(made)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
