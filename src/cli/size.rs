//! Sizes as people type them: `2GiB`, `500 MB`, `64k`.

/// Reads a size in bytes. `kB`, `MB`, `GB` are powers of 1000; `KiB`, `MiB`, `GiB`
/// and the bare letters are powers of 1024, as for curl and dd.
pub fn parse(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').len();
    let (number, unit) = text.split_at(digits);
    let bad = || format!("`{text}`: expected a size such as 500MB, 2GiB or 65536");
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "kb" => 1000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return Err(bad()),
    };
    let number: f64 = number.parse().map_err(|_| bad())?;
    let bytes = number * factor as f64;
    // Beyond this a float no longer counts single bytes; no drive is so large.
    if !(1.0..9e15).contains(&bytes) {
        return Err(bad());
    }
    Ok(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn sizes_are_read_or_refused() {
        for (text, bytes) in [
            ("65536", 65536),
            ("2GiB", 2 << 30),
            ("1.5 k", 1536),
            ("500MB", 500_000_000),
            ("64K", 65536),
            ("10 mib", 10 << 20),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for bad in ["", "GB", "-1", "0", "1.2.3k", "5 apples", "99999999T", "1e9"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
