//! Where a crate's file lies in a registry index.

use crate::ids::CrateName;

/// The folders above a crate: `1`, `2`, `3/s`, `se/rd`, in the name's own case.
pub(super) fn prefix(name: &CrateName) -> String {
    // A CrateName is ASCII and at least one byte long.
    let name = name.as_str();
    match name.len() {
        1 => "1".to_owned(),
        2 => "2".to_owned(),
        3 => format!("3/{}", &name[..1]),
        _ => format!("{}/{}", &name[..2], &name[2..4]),
    }
}

/// The path of the crate's file in the registry index, in lowercase.
pub fn index_path(name: &CrateName) -> String {
    format!("{}/{name}", prefix(name)).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_follow_the_length_of_the_name() {
        for (name, path) in [
            ("a", "1/a"),
            ("AB", "2/ab"),
            ("Syn", "3/s/syn"),
            ("rand", "ra/nd/rand"),
            ("Inflector", "in/fl/inflector"),
            ("a-_b", "a-/_b/a-_b"),
        ] {
            assert_eq!(index_path(&name.parse().unwrap()), path);
        }
    }
}
