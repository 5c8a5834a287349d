//! Undoing and redoing the gzip layer of crate files. Pure: no I/O.
//!
//! A crate file is its tar deflated by one of a few deflate implementations. If
//! one of them gives the same bytes again, the tar and a small [`Recipe`] are all
//! that needs storing. Spec section 8.

pub mod engines;
mod gzip;

pub use engines::Engine;
pub use gzip::{UndoError, gunzip, gunzip_start, unpack_limit_bytes};

use std::cell::OnceCell;
use std::convert::Infallible;
use std::ops::ControlFlow;

/// What turns a tar back into the crate file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// Who deflated it.
    pub engine: Engine,
    /// The gzip header, exactly.
    pub header: Vec<u8>,
    /// Everything behind the deflate stream, exactly.
    pub trailer: Vec<u8>,
}

/// A crate file with its gzip layer undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undone {
    /// What was inside.
    pub tar: Vec<u8>,
    /// None when no engine gives the same bytes again.
    pub recipe: Option<Recipe>,
    /// An engine of our own that gives other bytes than the library it stands for: a
    /// defect to be reported. The recipe holds all the same, by the library.
    pub wrong_engine: Option<Engine>,
}

/// An engine failed; this is a defect of the engine, not of the input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("engine {0} failed")]
pub struct RedoError(pub &'static str);

/// Undoes `crate_file` and finds the engine that made it, trying `guess` first.
///
/// Each trial compares the output as it is produced and ends at the first
/// difference, so that a wrong guess costs little.
///
/// # Errors
/// When it is not a whole and consistent gzip file, or unpacks to more than
/// cargo itself would take.
pub fn undo(crate_file: &[u8], guess: Option<Engine>) -> Result<Undone, UndoError> {
    let parts = gzip::parse(crate_file)?;
    let mut order: Vec<Engine> = guess.into_iter().collect();
    for engine in Engine::likely_order(parts.header[9]) {
        if !order.contains(&engine) {
            order.push(engine);
        }
    }
    let by_engine = order
        .iter()
        .find(|engine| gives(&parts, |sink| Ok(engine.deflate(&parts.tar, sink))));
    // None of our engines gives it: if a library does, ours is wrong, and the file is
    // stored by what the library gives.
    let by_library = match by_engine {
        Some(_) => None,
        None => order
            .iter()
            .find(|engine| gives(&parts, |sink| engine.deflate_by_library(&parts.tar, sink))),
    };
    let recipe = by_engine.or(by_library).map(|&engine| Recipe {
        engine,
        header: parts.header.to_vec(),
        trailer: parts.trailer.to_vec(),
    });
    Ok(Undone {
        tar: parts.tar,
        recipe,
        wrong_engine: by_library.copied(),
    })
}

/// Whether what `deflate` makes is the file's deflate stream; it is stopped at the
/// first difference.
fn gives(
    parts: &gzip::Parts<'_>,
    deflate: impl FnOnce(&mut dyn FnMut(&[u8]) -> ControlFlow<()>) -> Result<bool, RedoError>,
) -> bool {
    let mut rest = parts.stream;
    let finished = deflate(&mut |out| match rest.strip_prefix(out) {
        Some(behind) => {
            rest = behind;
            ControlFlow::Continue(())
        }
        None => ControlFlow::Break(()),
    });
    finished == Ok(true) && rest.is_empty()
}

/// The crate file that `recipe` makes of `tar`.
pub fn redo(tar: &[u8], recipe: &Recipe) -> Vec<u8> {
    let Ok(made) = assemble::<Infallible>(tar, recipe, |sink| Ok(recipe.engine.deflate(tar, sink)));
    made
}

/// As [`redo`], on so many threads if the tar is long enough for that: for one crate
/// alone. Whoever has many gives each thread its own.
///
/// The threads find their memory while `make` makes the tar, which is some `likely_bytes`
/// long, and its recipe by this engine. None if it makes none.
pub fn redo_on<'t>(
    threads: usize,
    engine: Engine,
    likely_bytes: usize,
    make: impl FnOnce() -> Option<(&'t [u8], Recipe)>,
) -> Option<Vec<u8>> {
    let made = OnceCell::new();
    let tar = || {
        let (tar, recipe) = make()?;
        made.set((tar.len(), recipe)).ok()?;
        Some(tar)
    };
    let mut stream = Vec::new();
    engine.deflate_on(threads, likely_bytes, tar, &mut |bytes| {
        // Only what is there gets memory, whatever was likely.
        if let (true, Some((tar_bytes, recipe))) = (stream.is_empty(), made.get()) {
            stream.reserve(tar_bytes / 4);
            stream.extend_from_slice(&recipe.header);
        }
        stream.extend_from_slice(bytes);
        ControlFlow::Continue(())
    })?;
    let (_, recipe) = made.into_inner()?;
    stream.extend_from_slice(&recipe.trailer);
    Some(stream)
}

/// As [`redo`], by the library that the engine stands for: for when [`redo`] gives
/// other bytes than the digest says, and as the yardstick of speed.
///
/// # Errors
/// When the library fails.
pub fn redo_by_library(tar: &[u8], recipe: &Recipe) -> Result<Vec<u8>, RedoError> {
    assemble(tar, recipe, |sink| recipe.engine.deflate_by_library(tar, sink))
}

fn assemble<E>(
    tar: &[u8],
    recipe: &Recipe,
    deflate: impl FnOnce(&mut dyn FnMut(&[u8]) -> ControlFlow<()>) -> Result<bool, E>,
) -> Result<Vec<u8>, E> {
    let mut out = Vec::with_capacity(recipe.header.len() + recipe.trailer.len() + tar.len() / 4);
    out.extend_from_slice(&recipe.header);
    deflate(&mut |bytes| {
        out.extend_from_slice(bytes);
        ControlFlow::Continue(())
    })?;
    out.extend_from_slice(&recipe.trailer);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words of a small vocabulary in pseudo-random order: compresses as source does.
    fn prose(bytes: usize) -> Vec<u8> {
        let words = [
            "fn ", "let ", "self.", "(x)", "\n    ", "mut ", "pub ", "struct ", "impl ", "->", "0x1f", ";",
        ];
        let (mut state, mut out) = (1u64, Vec::new());
        while out.len() < bytes {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            out.extend_from_slice(words[(state >> 33) as usize % words.len()].as_bytes());
            if state >> 60 == 0 {
                out.extend((state >> 20).to_string().bytes());
            }
        }
        out
    }

    fn standard(engine: Engine, tar: &[u8]) -> Vec<u8> {
        let header = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255];
        let trailer = [crc32fast::hash(tar).to_le_bytes(), (tar.len() as u32).to_le_bytes()].concat();
        redo(
            tar,
            &Recipe {
                engine,
                header,
                trailer,
            },
        )
    }

    #[test]
    fn every_engine_round_trips_and_is_recognised() {
        for bytes in [0, 1, 10, 70_000, 400_000] {
            let tar = prose(bytes);
            for engine in Engine::ALL {
                let file = standard(engine, &tar);
                let undone = undo(&file, None).unwrap();
                assert_eq!(undone.tar, tar);
                let recipe = undone.recipe.unwrap();
                assert_eq!(redo(&tar, &recipe), file, "{engine:?} {bytes}");
            }
        }
    }

    #[test]
    fn another_deflate_has_no_recipe() {
        use std::io::Write;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&prose(50_000)).unwrap();
        let undone = undo(&encoder.finish().unwrap(), Some(Engine::Zlib9Mem8)).unwrap();
        assert_eq!(undone.recipe, None);
        assert_eq!(undone.tar, prose(50_000));
    }

    #[test]
    fn cut_and_flipped_files_are_errors_or_harmless() {
        let tar = prose(3000);
        let file = standard(Engine::Zlib9Mem8, &tar);
        for at in 0..file.len() {
            assert!(undo(&file[..at], None).is_err(), "cut at {at}");
            let mut bad = file.clone();
            bad[at] ^= 4;
            if let Ok(undone) = undo(&bad, None) {
                assert_eq!(undone.tar, tar, "flip at {at}");
                let redone = undone.recipe.map(|recipe| redo(&tar, &recipe));
                assert!(redone.is_none_or(|redone| redone == bad), "flip at {at}");
            }
        }
    }
}
