//! Source text as spans that a style sheet colours.
//!
//! Not a highlighting library: those match regular expressions, which hostile text can
//! make take for ever, and know no TOML. This looks at each byte once. What it does not
//! know is plain text; it is never wrong about what the text is, only about its colours.

mod languages;
mod lexer;

use super::visible;
use languages::language;
use lexer::Lexer;
use maud::{Markup, html};

/// What a piece of text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Comment,
    Text,
    Number,
    Keyword,
    /// A type, by its capital; a table's header in TOML.
    Name,
    /// A macro, an attribute, a lifetime, a key.
    Mark,
}

impl Kind {
    fn class(self) -> Option<&'static str> {
        Some(match self {
            Kind::Plain => return None,
            Kind::Comment => "c",
            Kind::Text => "s",
            Kind::Number => "n",
            Kind::Keyword => "k",
            Kind::Name => "t",
            Kind::Mark => "m",
        })
    }
}

/// The lines of `text`, as `path` is written.
pub(super) fn lines(path: &str, text: &str) -> Vec<Markup> {
    let text = &text.replace("\r\n", "\n");
    let pieces = match language(path) {
        Some(language) => Lexer::new(text, language).pieces(),
        None => vec![(0..text.len(), Kind::Plain)],
    };
    let mut lines = Vec::new();
    let mut line: Vec<(&str, Kind)> = Vec::new();
    for (range, kind) in pieces {
        let mut rest = &text[range];
        while let Some((before, behind)) = rest.split_once('\n') {
            line.push((before, kind));
            lines.push(markup(&line));
            line.clear();
            rest = behind;
        }
        line.push((rest, kind));
    }
    if line.iter().any(|(text, _)| !text.is_empty()) {
        lines.push(markup(&line));
    }
    lines
}

fn markup(line: &[(&str, Kind)]) -> Markup {
    html! {
        @for (text, kind) in line.iter().filter(|(text, _)| !text.is_empty()) {
            @match kind.class() {
                Some(class) => { span class=(class) { (visible(text)) } }
                None => { (visible(text)) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn html(path: &str, text: &str) -> String {
        let lines = lines(path, text).into_iter().map(maud::Markup::into_string);
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn rust_is_told_apart() {
        for (text, expected) in [
            (
                "let x = 1;",
                "<span class=\"k\">let</span> x = <span class=\"n\">1</span>;",
            ),
            ("'a' 'a", "<span class=\"s\">'a'</span> <span class=\"m\">'a</span>"),
            ("r#\"a\"b\"# c", "<span class=\"s\">r#&quot;a&quot;b&quot;#</span> c"),
            ("/* a /* b */ c */ d", "<span class=\"c\">/* a /* b */ c */</span> d"),
            (
                "println!(Vec)",
                "<span class=\"m\">println!</span>(<span class=\"t\">Vec</span>)",
            ),
            ("a // b\nc", "a <span class=\"c\">// b</span>\nc"),
            (
                "\"a\nb\"",
                "<span class=\"s\">&quot;a</span>\n<span class=\"s\">b&quot;</span>",
            ),
        ] {
            assert_eq!(html("a.rs", text), expected, "{text}");
        }
        let toml = html("Cargo.toml", "[a]\nb-c = \"d\" # e");
        assert!(toml.contains("<span class=\"m\">b-c</span>"), "{toml}");
        let toml = html("Cargo.toml", "a = \"\"\"\nb = \\\"\n\"\"\"\nc = 1");
        assert!(
            toml.contains("<span class=\"s\">b = ") && toml.contains("<span class=\"m\">c</span>"),
            "{toml}"
        );
    }

    #[test]
    fn whatever_it_is_nothing_is_lost_or_let_through() {
        let mut random = fastrand::Rng::with_seed(7);
        let parts = [
            "\"",
            "'",
            "/*",
            "*/",
            "//",
            "\n",
            "r#",
            "#[",
            "]",
            "\\",
            "é",
            "a",
            "<script>",
            "&",
            "b'",
            "1.",
            "!",
            "[",
            "\u{1F980}",
        ];
        for round in 0..3000 {
            let text: String = (0..random.usize(..30))
                .map(|_| parts[random.usize(..parts.len())])
                .collect();
            let path = ["a.rs", "a.toml", "a.c", "a.py", "a.json", "a"][round % 6];
            let html = html(path, &text);
            assert!(!html.contains("<script"), "{text}");
            let mut plain = html.replace("</span>", "");
            while let Some(start) = plain.find("<span") {
                let end = start + plain[start..].find('>').unwrap();
                plain.replace_range(start..=end, "");
            }
            let plain = plain
                .replace("&lt;", "<")
                .replace("&gt;", ">")
                .replace("&quot;", "\"")
                .replace("&amp;", "&");
            let expected: Vec<&str> = text.strip_suffix('\n').unwrap_or(&text).split('\n').collect();
            assert_eq!(plain, expected.join("\n"), "{text:?}");
        }
    }
}
