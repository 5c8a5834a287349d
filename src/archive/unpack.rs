//! Writing a crate's source tree, never outside its target.

use super::Error;
use crate::ids::Release;
use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Unpacks `tar` below `target`, as `target/NAME-VERSION/…`; returns that folder.
///
/// As cargo does, only files and folders below `NAME-VERSION/` are taken; links,
/// devices and paths that lead elsewhere are refused before anything is written
/// for them. Nothing gets setuid bits.
///
/// # Errors
/// On such an entry, on a malformed tar, and when a file cannot be written.
pub fn unpack_tar(tar: &[u8], release: &Release, target: &Path) -> Result<PathBuf, Error> {
    let top = format!("{}-{}", release.name, release.version);
    let root = target.join(&top);
    let bad_tar = |error: io::Error| Error::Rejected(format!("{release}: not a tar: {error}"));
    let mut made = HashSet::new();
    let mut seen: HashMap<String, PathBuf> = HashMap::new();
    make_folder(&root, &mut made)?;
    for entry in tar::Archive::new(tar).entries().map_err(bad_tar)? {
        let entry = entry.map_err(bad_tar)?;
        let kind = entry.header().entry_type();
        if matches!(kind, tar::EntryType::XGlobalHeader | tar::EntryType::XHeader) {
            continue;
        }
        let shown = entry.path_bytes().escape_ascii().to_string();
        let refuse = |why: &str| Error::Rejected(format!("{release}: refused to unpack `{shown}`: {why}"));
        let relative = std::str::from_utf8(&entry.path_bytes())
            .ok()
            .and_then(|path| safe_path(path, &top))
            .ok_or_else(|| refuse("the path leaves its folder or cannot exist everywhere"))?;
        let path = root.join(relative);
        if kind.is_dir() {
            make_folder(&path, &mut made)?;
            continue;
        }
        if !kind.is_file() {
            return Err(refuse("only files and folders are unpacked"));
        }
        if let Some(parent) = path.parent() {
            make_folder(parent, &mut made)?;
        }
        // A link that was there before must not be written through.
        if fs::symlink_metadata(&path).is_ok_and(|found| found.is_symlink()) {
            return Err(refuse("a link is in its place"));
        }
        // Nor must one entry overwrite another where names that differ in case are one.
        let folded = path.to_string_lossy().to_lowercase();
        match seen.get(&folded) {
            Some(other) if *other != path && is_same_file(other, &path) => {
                return Err(refuse("another file's name differs from it only in case"));
            }
            _ => _ = seen.insert(folded, path.clone()),
        }
        let mut file = fs::File::create(&path).map_err(Error::io(path.display()))?;
        // The tar is in memory: one write a file, not one for every buffer.
        let from = usize::try_from(entry.raw_file_position()).unwrap_or(usize::MAX);
        let contents = tar.get(from..).and_then(|rest| rest.get(..entry.size() as usize));
        let contents = contents.ok_or_else(|| refuse("its contents are cut off"))?;
        file.write_all(contents).map_err(Error::io(path.display()))?;
        #[cfg(unix)]
        if entry.header().mode().is_ok_and(|mode| mode & 0o111 != 0) {
            use std::os::unix::fs::PermissionsExt;
            file.set_permissions(fs::Permissions::from_mode(0o755))
                .map_err(Error::io(path.display()))?;
        }
    }
    Ok(root)
}

/// The path below `top`, if it is one that is safe on every file system.
fn safe_path(path: &str, top: &str) -> Option<PathBuf> {
    let mut parts = path.split('/');
    if parts.next() != Some(top) {
        return None;
    }
    let mut safe = PathBuf::new();
    for part in parts {
        match part {
            "" | "." => {}
            ".." => return None,
            _ if part.contains(['\\', ':', '\0']) || (cfg!(windows) && is_odd_on_windows(part)) => return None,
            _ => safe.push(part),
        }
    }
    Some(safe)
}

/// Whether Windows would take this name for a device, or for another name.
fn is_odd_on_windows(part: &str) -> bool {
    let stem = part.split('.').next().unwrap_or(part).trim_end().to_ascii_uppercase();
    let numbered = |prefix: &str| {
        let digit = stem.strip_prefix(prefix).unwrap_or_default();
        digit.chars().count() == 1 && digit.contains(|c: char| c.is_ascii_digit() || "\u{b9}\u{b2}\u{b3}".contains(c))
    };
    matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$")
        || numbered("COM")
        || numbered("LPT")
        || part.ends_with(['.', ' '])
}

/// Whether two paths lead to one file; no if either is not there yet.
#[cfg(unix)]
fn is_same_file(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (fs::symlink_metadata(one), fs::symlink_metadata(other)) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}

#[cfg(not(unix))]
fn is_same_file(one: &Path, other: &Path) -> bool {
    match (fs::canonicalize(one), fs::canonicalize(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

fn make_folder(path: &Path, made: &mut HashSet<PathBuf>) -> Result<(), Error> {
    if !made.contains(path) {
        fs::create_dir_all(path).map_err(Error::io(path.display()))?;
        if fs::symlink_metadata(path)
            .map_err(Error::io(path.display()))?
            .is_symlink()
        {
            return Err(Error::Rejected(format!(
                "{}: is a link; refused to unpack through it",
                path.display()
            )));
        }
        made.insert(path.to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;

    #[test]
    fn paths_that_leave_are_refused() {
        for bad in [
            "x-1.0.0/../y",
            "/etc/passwd",
            "y/z",
            "../x-1.0.0/a",
            "x-1.0.0/a\\..\\b",
            "x-1.0.0/C:/a",
            "",
        ] {
            assert_eq!(safe_path(bad, "x-1.0.0"), None, "{bad}");
        }
        assert_eq!(safe_path("x-1.0.0/src/./lib.rs", "x-1.0.0"), Some("src/lib.rs".into()));
    }

    #[test]
    fn names_that_windows_takes_for_others_are_known() {
        for odd in [
            "CON",
            "con.rs",
            "Aux.txt",
            "nul",
            "COM1",
            "lpt9.x",
            "COM\u{b9}",
            "CONIN$",
            "a.",
            "a ",
            "nul .txt",
        ] {
            assert!(is_odd_on_windows(odd), "{odd}");
        }
        for plain in ["config", "com", "com10", "auxiliary.rs", ".gitignore", "lpt", "nulls"] {
            assert!(!is_odd_on_windows(plain), "{plain}");
        }
    }

    fn tar_with(entries: &[(tar::EntryType, &str, &str, u32)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (kind, path, text, mode) in entries {
            let mut header = tar::Header::new_ustar();
            header.set_entry_type(*kind);
            let is_link = !matches!(kind, tar::EntryType::Regular);
            header.set_size(if is_link { 0 } else { text.len() as u64 });
            header.set_mode(*mode);
            header.set_path(path).unwrap();
            if is_link {
                header.set_link_name(text).unwrap();
            }
            header.set_cksum();
            let contents = if is_link { &[][..] } else { text.as_bytes() };
            builder.append(&header, contents).unwrap();
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn only_files_and_folders_are_made() {
        use tar::EntryType::*;
        let release: Release = "x@1.0.0".parse().unwrap();
        for kind in [Symlink, Link, Char, Block, Fifo, GNUSparse, Continuous] {
            let folder = tempfile::tempdir().unwrap();
            let tar = tar_with(&[(kind, "x-1.0.0/odd", "/etc/passwd", 0o644)]);
            assert!(unpack_tar(&tar, &release, folder.path()).is_err(), "{kind:?}");
            assert!(
                fs::symlink_metadata(folder.path().join("x-1.0.0/odd")).is_err(),
                "{kind:?}"
            );
        }
    }

    #[cfg(unix)]
    #[test]
    fn nothing_is_setuid_and_links_that_were_there_are_not_followed() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let release: Release = "x@1.0.0".parse().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let tar = tar_with(&[(tar::EntryType::Regular, "x-1.0.0/run", "text", 0o7777)]);
        unpack_tar(&tar, &release, folder.path()).unwrap();
        let mode = |path: &str| fs::metadata(folder.path().join(path)).unwrap().permissions().mode();
        assert_eq!(mode("x-1.0.0/run") & 0o7777, 0o755);

        let outside = tempfile::tempdir().unwrap();
        fs::remove_dir_all(folder.path().join("x-1.0.0")).unwrap();
        symlink(outside.path(), folder.path().join("x-1.0.0")).unwrap();
        assert!(unpack_tar(&tar, &release, folder.path()).is_err());
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    }

    /// A hard link stands for a file system on which both names are one file.
    #[cfg(unix)]
    #[test]
    fn names_that_fold_into_one_are_refused_where_they_do() {
        let release: Release = "x@1.0.0".parse().unwrap();
        let files = [
            (tar::EntryType::Regular, "x-1.0.0/README", "one", 0o644),
            (tar::EntryType::Regular, "x-1.0.0/readme", "other", 0o644),
        ];
        let folder = tempfile::tempdir().unwrap();
        let root = unpack_tar(&tar_with(&files), &release, folder.path()).unwrap();
        assert_eq!(fs::read(root.join("README")).unwrap(), b"one");
        unpack_tar(&tar_with(&files), &release, folder.path()).unwrap();
        fs::remove_file(root.join("readme")).unwrap();
        fs::hard_link(root.join("README"), root.join("readme")).unwrap();
        let error = unpack_tar(&tar_with(&files), &release, folder.path()).unwrap_err();
        assert!(error.to_string().contains("only in case"), "{error}");
    }

    #[test]
    fn links_and_escapes_write_nothing_outside() {
        let folder = tempfile::tempdir().unwrap();
        let release: Release = "x@1.0.0".parse().unwrap();
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        header.set_path("x-1.0.0/link").unwrap();
        header.set_link_name("/tmp").unwrap();
        header.set_cksum();
        builder.append(&header, io::empty()).unwrap();
        let error = unpack_tar(&builder.into_inner().unwrap(), &release, folder.path()).unwrap_err();
        assert!(error.to_string().contains("only files and folders"), "{error}");
        assert!(!folder.path().join("x-1.0.0/link").exists());
    }
}
