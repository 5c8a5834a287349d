//! Turning a crate file into a record: undo, compress against a base, check.

use super::Error;
use super::chain::decode_bytes;
use super::form;
use super::read::check_release;
use crate::deflate::{self, Engine};
use crate::format::index::Entry;
use crate::format::pack::{AS_IT_IS, RecordKind, RecordMeta};
use crate::ids::{Digest, Release};
use zstd::zstd_safe::{CCtx, CParameter};

/// The zstd level of `sync` and `import`; the benchmark says why.
pub const DEFAULT_LEVEL: i32 = 8;
/// At that level, twice as large a table as zstd would take: a content and its base are more
/// to look through than a level is tuned for. Level 8 with it makes the corpus 1.1 % smaller
/// than level 9 without, in the same time; zstd cuts it to the window of small contents.
const DEFAULT_HASH_LOG: u32 = 22;
/// zstd's highest level, and how many candidates it looks at there for each match, as a power
/// of two: 9 for what is long, if it is left to zstd. (Measured: no slower but where versions
/// of 20 MB are told from one another, and these take a third of a percent less.)
const HIGHEST_LEVEL: i32 = 22;
const HIGHEST_SEARCH_LOG: u32 = 13;
/// The level for crate files that no engine reproduces.
const RAW_LEVEL: i32 = 19;
/// The level for crate files of which nobody has asked whether one does.
const AS_THEY_CAME_LEVEL: i32 = 1;
/// A chain may cost as much as this many content bytes to read, or four times
/// the object's own, whichever is more (design measurements: about 15 ms).
pub(super) const CHAIN_BUDGET_BYTES: u64 = 32 << 20;
pub(super) const CHAIN_BUDGET_FACTOR: u64 = 4;
/// A frame has at most this many below it: each costs some ten microseconds to
/// begin with, however small it is.
pub(super) const CHAIN_DEPTH: u8 = 64;
/// Of a trailer that is the tar's CRC-32 and length alone. [R 8.4]
const STANDARD_TRAILER_BYTES: usize = 8;

/// How to store.
#[derive(Debug, Clone, Copy)]
pub struct EncodeOptions {
    /// zstd's level, 1 to 22.
    pub level: i32,
    /// Refuse a file that is not a gzipped tar of the release it is said to be.
    /// For files of which no registry has told the checksum; those whose checksum
    /// is right are stored whatever is in them.
    pub check_release: bool,
    /// Store crate files as they came, neither undone nor compressed against others: as
    /// fast as they can be written. They take what they take, until they are stored anew.
    pub as_they_came: bool,
}

impl Default for EncodeOptions {
    fn default() -> EncodeOptions {
        EncodeOptions {
            level: DEFAULT_LEVEL,
            check_release: false,
            as_they_came: false,
        }
    }
}

/// A crate file undone to what will be stored.
#[derive(Debug)]
pub(super) struct Content {
    pub digest: Digest,
    pub crate_bytes: u64,
    pub bytes: Vec<u8>,
    pub transform: u8,
    pub recipe: Option<deflate::Recipe>,
    pub wrong_engine: Option<Engine>,
}

/// Whether `content_bytes` on top of `base` is within the chain budget, with the
/// base at most `depth` frames up. [R 11.1]
pub(super) fn within_budget(content_bytes: u64, base: &Entry, depth: u8) -> bool {
    let budget_bytes = CHAIN_BUDGET_BYTES.max(CHAIN_BUDGET_FACTOR * content_bytes);
    content_bytes + base.chain_bytes <= budget_bytes && base.chain_depth < depth
}

/// Undoes `crate_file`. What no engine reproduces is kept as it came.
pub(super) fn undo(
    crate_file: Vec<u8>,
    digest: Digest,
    guess: Option<Engine>,
    expected: Option<&Release>,
) -> Result<Content, Error> {
    let crate_bytes = crate_file.len() as u64;
    let undone = deflate::undo(&crate_file, guess);
    if let Some(release) = expected {
        match &undone {
            Ok(undone) => check_release(&undone.tar, release)?,
            Err(error) => return Err(Error::Rejected(error.to_string())),
        }
    }
    match undone {
        Ok(deflate::Undone {
            tar,
            recipe: Some(recipe),
            wrong_engine,
        }) => {
            let (bytes, transform) = form::content_of(tar);
            Ok(Content {
                wrong_engine,
                digest,
                crate_bytes,
                bytes,
                transform,
                recipe: Some(recipe),
            })
        }
        // Its checksum is right, so these are the crate's bytes, odd as they are.
        Ok(_) | Err(_) => Ok(as_it_came(crate_file, digest)),
    }
}

/// `crate_file` as it came.
pub(super) fn as_it_came(crate_file: Vec<u8>, digest: Digest) -> Content {
    Content {
        digest,
        crate_bytes: crate_file.len() as u64,
        bytes: crate_file,
        transform: AS_IT_IS,
        recipe: None,
        wrong_engine: None,
    }
}

/// The base a record is compressed against.
#[derive(Debug, Clone, Copy)]
pub(super) struct Base<'a> {
    pub digest: Digest,
    pub content: &'a [u8],
    pub chain_depth: u32,
    pub chain_bytes: u64,
}

/// The record's metadata and its frame, decoded again and compared.
pub(super) fn encode(
    release: &Release,
    content: &Content,
    base: Option<Base<'_>>,
    options: EncodeOptions,
) -> Result<(RecordMeta, Vec<u8>), Error> {
    let level = match content.recipe {
        Some(_) => options.level,
        None if options.as_they_came => AS_THEY_CAME_LEVEL,
        None => RAW_LEVEL,
    };
    let frame = checked_frame(&content.bytes, base, level)
        .map_err(|cause| Error::Rejected(format!("{release}: cannot be compressed: {cause}")))?;
    Ok((meta_of(release, content, base, &frame), frame))
}

/// The metadata of a record whose frame is `frame`.
pub(super) fn meta_of(release: &Release, content: &Content, base: Option<Base<'_>>, frame: &[u8]) -> RecordMeta {
    let mut meta = RecordMeta {
        kind: RecordKind::Blob as u8,
        digest: content.digest.0,
        name: release.name.to_string(),
        version: release.version.to_string(),
        crate_bytes: content.crate_bytes,
        content_bytes: content.bytes.len() as u64,
        content_crc32: crc32fast::hash(&content.bytes),
        frame_bytes: frame.len() as u64,
        frame_crc32: crc32fast::hash(frame),
        base: base.map(|base| base.digest.0),
        chain_depth: base.map_or(0, |base| base.chain_depth + 1),
        chain_bytes: content.bytes.len() as u64 + base.map_or(0, |base| base.chain_bytes),
        transform: content.transform,
        engine: 0,
        gzip_os: 0,
        gzip_header: None,
        gzip_trailer: None,
    };
    if let Some(recipe) = &content.recipe {
        meta.engine = recipe.engine.number();
        meta.gzip_os = recipe.header.get(9).copied().unwrap_or(255);
        meta.gzip_header = (recipe.header != standard_header(&meta)).then(|| recipe.header.clone());
        // That it begins with the tar's sums was found when the gzip was undone.
        meta.gzip_trailer = (recipe.trailer.len() != STANDARD_TRAILER_BYTES).then(|| recipe.trailer.clone());
    }
    meta
}

/// The record of a seed, decoded again and compared. [R 5.4]
pub(super) fn encode_seed(content: &[u8], level: i32) -> Result<(RecordMeta, Vec<u8>), Error> {
    let frame = checked_frame(content, None, level)
        .map_err(|cause| Error::Rejected(format!("a seed cannot be compressed: {cause}")))?;
    let content_bytes = content.len() as u64;
    let meta = RecordMeta {
        kind: RecordKind::Seed as u8,
        digest: Digest::of(content).0,
        name: String::new(),
        version: String::new(),
        crate_bytes: content_bytes,
        content_bytes,
        content_crc32: crc32fast::hash(content),
        frame_bytes: frame.len() as u64,
        frame_crc32: crc32fast::hash(&frame),
        base: None,
        chain_depth: 0,
        chain_bytes: content_bytes,
        transform: 0,
        engine: 0,
        gzip_os: 0,
        gzip_header: None,
        gzip_trailer: None,
    };
    Ok((meta, frame))
}

/// The record of `meta` once more, its content compressed against another base or none:
/// all else that it says stays.
pub(super) fn encode_again(
    meta: &RecordMeta,
    content: &[u8],
    base: Option<Base<'_>>,
    level: i32,
) -> Result<(RecordMeta, Vec<u8>), Error> {
    let level = if meta.engine == 0 { RAW_LEVEL } else { level };
    let fail =
        |cause: String| Error::Rejected(format!("{}@{}: cannot be compressed: {cause}", meta.name, meta.version));
    let frame = checked_frame(content, base, level).map_err(fail)?;
    let meta = RecordMeta {
        frame_bytes: frame.len() as u64,
        frame_crc32: crc32fast::hash(&frame),
        base: base.map(|base| base.digest.0),
        chain_depth: base.map_or(0, |base| base.chain_depth + 1),
        chain_bytes: content.len() as u64 + base.map_or(0, |base| base.chain_bytes),
        ..meta.clone()
    };
    Ok((meta, frame))
}

/// A frame that has been decoded again and compared.
fn checked_frame(content: &[u8], base: Option<Base<'_>>, level: i32) -> Result<Vec<u8>, String> {
    let prefix = base.map(|base| base.content);
    let frame = compress(content, prefix, level)?;
    match gives(&frame, content, prefix)? {
        true => Ok(frame),
        false => Err("zstd did not give back what it was given".into()),
    }
}

/// Whether `frame` decodes to `content`.
pub(super) fn gives(frame: &[u8], content: &[u8], base: Option<&[u8]>) -> Result<bool, String> {
    Ok(decode_bytes(frame, content.len() as u64, base)? == content)
}

/// The gzip header that cargo writes. [R 8.3]
fn standard_header(meta: &RecordMeta) -> Vec<u8> {
    let mut header = vec![0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 2, meta.gzip_os];
    header.extend_from_slice(format!("{}-{}.crate\0", meta.name, meta.version).as_bytes());
    header
}

/// The gzip trailer of RFC 1952. [R 8.4]
fn standard_trailer(tar: &[u8]) -> Vec<u8> {
    [crc32fast::hash(tar).to_le_bytes(), (tar.len() as u32).to_le_bytes()].concat()
}

/// The crate file that `content` stands for, with its digest checked.
pub(super) fn redo(meta: &RecordMeta, content: &[u8]) -> Result<Vec<u8>, String> {
    let engine = engine(meta)?;
    let inside = form::undo(meta, content).map_err(|damage| damage.to_string())?;
    let recipe = engine.map(|engine| recipe(meta, engine, &inside));
    let expected = meta.id();
    let bytes = match &recipe {
        None => content.to_vec(),
        Some(recipe) => deflate::redo(&inside, recipe),
    };
    let found = Digest::of(&bytes);
    if found == expected {
        return Ok(bytes);
    }
    // Should an engine of our own ever be wrong, the library is right.
    if let Some(recipe) = &recipe {
        let bytes = deflate::redo_by_library(&inside, recipe).map_err(|error| error.to_string())?;
        if Digest::of(&bytes) == expected {
            return Ok(bytes);
        }
    }
    Err(format!("the crate file came out as {found}"))
}

/// Who deflated the crate file; none if the content is the crate file.
pub(super) fn engine(meta: &RecordMeta) -> Result<Option<Engine>, String> {
    if meta.engine == 0 {
        return Ok(None);
    }
    let known = Engine::from_number(meta.engine);
    known
        .map(Some)
        .ok_or_else(|| format!("needs engine {}: a newer cratehold is needed", meta.engine))
}

/// What makes the crate file of its tar.
pub(super) fn recipe(meta: &RecordMeta, engine: Engine, tar: &[u8]) -> deflate::Recipe {
    deflate::Recipe {
        engine,
        header: meta.gzip_header.clone().unwrap_or_else(|| standard_header(meta)),
        trailer: meta.gzip_trailer.clone().unwrap_or_else(|| standard_trailer(tar)),
    }
}

pub(super) fn compress(content: &[u8], base: Option<&[u8]>, level: i32) -> Result<Vec<u8>, String> {
    let zstd = |code| zstd::zstd_safe::get_error_name(code).to_owned();
    // Where a content follows its base in memory at once, zstd takes the two for one and
    // makes another frame: as good, but frames are to be the same on any machine.
    let apart = base
        .filter(|base| base.as_ptr_range().end == content.as_ptr())
        .map(<[u8]>::to_vec);
    let base = apart.as_deref().or(base);
    let reach = content.len() + base.map_or(0, <[u8]>::len);
    // The window must reach back over the whole base. [R 5.7]
    let window_log = usize::BITS - reach.leading_zeros();
    let mut context = CCtx::create();
    for parameter in [
        CParameter::CompressionLevel(level),
        CParameter::WindowLog(window_log.clamp(10, 30)),
        CParameter::EnableLongDistanceMatching(reach > 1 << 20),
        CParameter::ChecksumFlag(false),
    ] {
        context.set_parameter(parameter).map_err(zstd)?;
    }
    if level == HIGHEST_LEVEL {
        context
            .set_parameter(CParameter::SearchLog(HIGHEST_SEARCH_LOG))
            .map_err(zstd)?;
    }
    if level == DEFAULT_LEVEL {
        context
            .set_parameter(CParameter::HashLog(DEFAULT_HASH_LOG))
            .map_err(zstd)?;
    }
    if let Some(base) = base {
        context.ref_prefix(base).map_err(zstd)?;
    }
    let mut frame = Vec::with_capacity(zstd::zstd_safe::compress_bound(content.len()));
    context.compress2(&mut frame, content).map_err(zstd)?;
    Ok(frame)
}
