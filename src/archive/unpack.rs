//! Writing a crate's source tree, never outside its target.

use super::Error;
use crate::ids::Release;
use std::collections::HashSet;
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
            _ if part.contains(['\\', ':', '\0']) || is_reserved_on_windows(part) => return None,
            _ => safe.push(part),
        }
    }
    Some(safe)
}

fn is_reserved_on_windows(part: &str) -> bool {
    let stem = part.split('.').next().unwrap_or(part).to_ascii_uppercase();
    let numbered = |prefix: &str| {
        stem.strip_prefix(prefix)
            .is_some_and(|digit| digit.len() == 1 && digit.as_bytes()[0].is_ascii_digit())
    };
    cfg!(windows) && (matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL") || numbered("COM") || numbered("LPT"))
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
