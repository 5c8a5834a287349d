//! The registry: sparse index, lockfiles, downloads. Knows nothing of archives.
