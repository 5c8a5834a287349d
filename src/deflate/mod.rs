//! Undoing and redoing the gzip layer of crate files. Pure: no I/O.
