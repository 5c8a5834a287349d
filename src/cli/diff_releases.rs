//! `cratehold diff NAME@A NAME@B`: what differs between two source trees.

use super::select::{Which, select};
use super::terminal::{printable, shown, wants_colour};
use super::{CommandResult, diff};
use cratehold::archive::{Archive, FileChange, compare_trees};
use similar::{ChangeTag, TextDiff};
use std::io::{BufWriter, ErrorKind, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// The longest that one file is compared for its smallest difference: hostile ones
/// could take hours. What comes out then is right, but longer.
const DIFF_LIMIT: Duration = Duration::from_secs(2);

/// One file's difference, counted.
struct Counted<'a> {
    change: &'a FileChange<'a>,
    /// None where the file is binary.
    diff: Option<TextDiff<'a, 'a, [u8]>>,
    added: usize,
    removed: usize,
}

pub fn run(folder: &Path, from: &str, to: &str, args: &diff::Args) -> CommandResult {
    let archive = Archive::open(folder)?;
    let (from, to) = (select(&archive, from, Which::All)?, select(&archive, to, Which::All)?);
    let (old, new) = (archive.read_tar(&from.digest)?, archive.read_tar(&to.digest)?);
    let (old_stem, new_stem) = (from.release.stem(), to.release.stem());
    let mut out = BufWriter::new(std::io::stdout());
    let mut print = || -> Result<(), Box<dyn std::error::Error>> {
        let changes = compare_trees(&old, &new)?;
        let wanted = |path: &str| {
            args.paths.is_empty()
                || args
                    .paths
                    .iter()
                    .any(|prefix| Path::new(path).starts_with(Path::new(prefix)))
        };
        for change in changes.iter().filter(|change| wanted(&change.path)) {
            let counted = count(change);
            if args.json {
                writeln!(out, "{}", json(&counted))?;
            } else if args.stat {
                writeln!(out, "{}", stat(&counted))?;
            } else {
                unified(&mut out, &counted, (&old_stem, &new_stem), args.unified)?;
            }
        }
        out.flush()?;
        Ok(())
    };
    match print() {
        Err(error) if is_broken_pipe(&*error) => Ok(ExitCode::SUCCESS),
        other => other.map(|()| ExitCode::SUCCESS),
    }
}

fn is_broken_pipe(error: &(dyn std::error::Error + 'static)) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

fn count<'a>(change: &'a FileChange<'a>) -> Counted<'a> {
    let sides = [change.old.unwrap_or_default(), change.new.unwrap_or_default()];
    let mut counted = Counted {
        change,
        diff: None,
        added: 0,
        removed: 0,
    };
    if sides.iter().any(|bytes| bytes.contains(&0)) {
        return counted;
    }
    let diff = TextDiff::configure().timeout(DIFF_LIMIT).diff_lines(sides[0], sides[1]);
    for line in diff.iter_all_changes() {
        match line.tag() {
            ChangeTag::Insert => counted.added += 1,
            ChangeTag::Delete => counted.removed += 1,
            ChangeTag::Equal => {}
        }
    }
    counted.diff = Some(diff);
    counted
}

fn kind(change: &FileChange<'_>) -> &'static str {
    match (change.old, change.new) {
        (None, _) => "added",
        (_, None) => "removed",
        _ => "changed",
    }
}

fn json(counted: &Counted<'_>) -> serde_json::Value {
    serde_json::json!({
        "path": counted.change.path, "change": kind(counted.change), "binary": counted.diff.is_none(),
        "added_lines": counted.added, "removed_lines": counted.removed,
    })
}

fn stat(counted: &Counted<'_>) -> String {
    let path = shown(&counted.change.path);
    match counted.diff {
        None => format!("{:7}  {:>7} {:>7}  {path}", kind(counted.change), "binary", ""),
        Some(_) => format!(
            "{:7}  {:>7} {:>7}  {path}",
            kind(counted.change),
            format!("+{}", counted.added),
            format!("-{}", counted.removed)
        ),
    }
}

/// The difference as `patch` takes it.
fn unified(
    out: &mut impl Write,
    counted: &Counted<'_>,
    stems: (&str, &str),
    context_lines: usize,
) -> std::io::Result<()> {
    let colour = wants_colour();
    let name = |stem: &str, side: Option<&[u8]>| match side {
        Some(_) => format!("{stem}/{}", shown(&counted.change.path)),
        None => "/dev/null".to_owned(),
    };
    let (old, new) = (name(stems.0, counted.change.old), name(stems.1, counted.change.new));
    let Some(diff) = &counted.diff else {
        return writeln!(out, "Binary files {old} and {new} differ");
    };
    let paint = |code: &'static str| if colour { code } else { "" };
    let plain = paint("\x1b[0m");
    writeln!(out, "{}--- {old}\n+++ {new}{plain}", paint("\x1b[1m"))?;
    for hunk in diff.unified_diff().context_radius(context_lines).iter_hunks() {
        writeln!(out, "{}{}{plain}", paint("\x1b[36m"), hunk.header())?;
        for line in hunk.iter_changes() {
            let (mark, code) = match line.tag() {
                ChangeTag::Equal => (' ', ""),
                ChangeTag::Delete => ('-', paint("\x1b[31m")),
                ChangeTag::Insert => ('+', paint("\x1b[32m")),
            };
            write!(out, "{code}{mark}")?;
            let text = line.value();
            let (text, end) = match text.strip_suffix(b"\n") {
                Some(text) => (text, "\n"),
                None => (text, "\n\\ No newline at end of file\n"),
            };
            match colour {
                true => printable(out, text)?,
                false => out.write_all(text)?,
            }
            write!(out, "{}{end}", if code.is_empty() { "" } else { plain })?;
        }
    }
    Ok(())
}
