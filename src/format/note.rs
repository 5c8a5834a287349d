//! Notes: what a program that writes packs says of one, in the pack itself. [R 5.15]

use super::Damaged;
use crate::ids::Digest;
use std::fmt::Write as _;

/// The first line of every note.
const TITLE: &str = "cratehold note 1";

/// What a pack says of how it was made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Note {
    /// All that its bytes depend on beside the crate files in it.
    pub settings: String,
    /// What stands for its crate files, releases and settings.
    pub shelf: Option<Digest>,
    /// Its number among the packs of that shelf, from 1.
    pub part: u32,
    /// The seeds of the shelf, each with the crate files that its content came from.
    pub seeds: Vec<(Digest, Vec<Digest>)>,
}

impl Note {
    /// Whether the content of a seed record is a note.
    pub fn is_note(content: &[u8]) -> bool {
        content
            .strip_prefix(TITLE.as_bytes())
            .is_some_and(|rest| rest.starts_with(b"\n"))
    }

    /// The note's text.
    pub fn encode(&self) -> Vec<u8> {
        let mut text = format!("{TITLE}\nsettings {}\n", self.settings);
        // Writing to a string cannot fail.
        if let Some(shelf) = &self.shelf {
            let _ = writeln!(text, "shelf {shelf}");
        }
        let _ = writeln!(text, "part {}", self.part);
        for (seed, sources) in &self.seeds {
            let _ = write!(text, "seed {seed} from");
            for source in sources {
                let _ = write!(text, " {source}");
            }
            text.push('\n');
        }
        text.into_bytes()
    }

    /// Reads a note; lines that begin with an unknown word are passed over.
    ///
    /// # Errors
    /// When it is none, or a known line is not as it should be.
    pub fn decode(content: &[u8]) -> Result<Note, Damaged> {
        let text = std::str::from_utf8(content)
            .ok()
            .and_then(|text| text.strip_prefix(TITLE)?.strip_prefix('\n'))
            .ok_or_else(|| Damaged::new("note", 0, format!("`{TITLE}` and a line feed"), "other bytes"))?;
        let mut note = Note::default();
        for line in text.lines() {
            let bad = |expected: &str| Damaged::new("note", 0, expected, line.chars().take(80).collect::<String>());
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            match word {
                "settings" => note.settings = rest.to_owned(),
                "shelf" => note.shelf = Some(rest.parse().map_err(|_| bad("`shelf` and a SHA-256"))?),
                "part" => note.part = rest.parse().map_err(|_| bad("`part` and a number"))?,
                "seed" => {
                    let mut words = rest.split(' ');
                    let seed = words.next().and_then(|word| word.parse().ok());
                    let sources: Option<Vec<Digest>> = match words.next() {
                        Some("from") => words.map(|word| word.parse().ok()).collect(),
                        _ => None,
                    };
                    let both = seed.zip(sources);
                    note.seeds
                        .push(both.ok_or_else(|| bad("`seed`, a SHA-256, `from`, SHA-256s"))?);
                }
                _ => {}
            }
        }
        Ok(note)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;

    #[test]
    fn notes_round_trip_and_strange_lines_are_passed_over() {
        let of = |text: &str| Digest::of(text.as_bytes());
        let note = Note {
            settings: "level=22 chain=33554432/4/64".into(),
            shelf: Some(of("shelf")),
            part: 2,
            seeds: vec![(of("one"), vec![of("a"), of("b")]), (of("two"), vec![])],
        };
        let text = note.encode();
        assert!(Note::is_note(&text));
        assert_eq!(Note::decode(&text), Ok(note.clone()));
        assert_eq!(Note::decode(&[&text[..], b"later words\n"].concat()), Ok(note));
    }

    #[test]
    fn what_is_no_note_is_refused() {
        for text in [
            &b""[..],
            b"cratehold note 10\n",
            b"cratehold note 1",
            b"cratehold note 1\nshelf 12\n",
            b"cratehold note 1\npart x\n",
            b"cratehold note 1\nseed 12 from\n",
            b"cratehold note 1\n\xff",
        ] {
            assert!(Note::decode(text).is_err(), "{}", text.escape_ascii());
        }
        assert!(!Note::is_note(b"cratehold note 10\n"));
    }
}
