//! A crate's README, rendered so that nothing in it can do anything.
//!
//! Only what is on a list comes through: HTML in it is left out, links lead to the web or
//! into the page, and pictures are their texts, for nothing is ever loaded from elsewhere.
//! What may be wider than the page can be reached, and so scrolled, with the keyboard.

use super::beginning;
use maud::{Markup, PreEscaped};
use pulldown_cmark::{CowStr, Event, HeadingLevel, Options, Parser, Tag, TagEnd, html};

/// Longer ones are cut; none that people read is.
pub(super) const MAX_README_BYTES: usize = 512 << 10;
/// Deeper nesting takes time that grows with its square, in some browsers for ever.
const MAX_DEPTH: usize = 64;
/// Of the heading above a README.
const HEADING_ABOVE: HeadingLevel = HeadingLevel::H2;

pub(super) fn render(text: &str) -> Markup {
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH;
    let mut images = 0usize;
    let mut depth = 0usize;
    let mut heading = HEADING_ABOVE;
    let events = Parser::new_ext(beginning(text, MAX_README_BYTES), options).filter_map(|event| match event {
        Event::Html(_) | Event::InlineHtml(_) => None,
        Event::Start(Tag::HtmlBlock) | Event::End(TagEnd::HtmlBlock) => None,
        Event::Start(Tag::Image { .. }) => {
            images += 1;
            (images == 1).then_some(Event::Text("[picture: ".into()))
        }
        Event::End(TagEnd::Image) => {
            images = images.saturating_sub(1);
            (images == 0).then_some(Event::Text("]".into()))
        }
        // Within a picture's text only text counts.
        Event::Start(_) | Event::End(_) if images > 0 => None,
        Event::Start(tag) => {
            depth += 1;
            (depth <= MAX_DEPTH).then(|| start(tag, &mut heading))
        }
        Event::End(tag) => {
            depth = depth.saturating_sub(1);
            (depth < MAX_DEPTH).then_some(match tag {
                TagEnd::Heading(_) => Event::End(TagEnd::Heading(heading)),
                TagEnd::CodeBlock => Event::Html("</code></pre>\n".into()),
                TagEnd::Table => Event::Html("</tbody></table></div>\n".into()),
                tag => Event::End(tag),
            })
        }
        event => Some(event),
    });
    let mut out = String::new();
    html::push_html(&mut out, events);
    PreEscaped(out)
}

/// The tag, leading nowhere that it should not. `heading` is the level of the last one.
fn start<'a>(tag: Tag<'a>, heading: &mut HeadingLevel) -> Event<'a> {
    Event::Start(match tag {
        Tag::Link {
            link_type,
            dest_url,
            title,
            id,
        } => Tag::Link {
            link_type,
            dest_url: if is_harmless(&dest_url) {
                dest_url
            } else {
                CowStr::Borrowed("#")
            },
            title,
            id,
        },
        Tag::Heading { level, .. } => {
            *heading = lowered(level, *heading);
            Tag::Heading {
                level: *heading,
                id: None,
                classes: Vec::new(),
                attrs: Vec::new(),
            }
        }
        Tag::CodeBlock(_) => return Event::Html("<pre tabindex=\"0\"><code>".into()),
        // Its columns' alignment would be said by a `style`, which the page's policy forbids.
        Tag::Table(_) => return Event::Html("<div class=\"scroll\" tabindex=\"0\"><table>".into()),
        tag => tag,
    })
}

/// Below the page's own headings, and no more than one step below the heading before.
fn lowered(level: HeadingLevel, before: HeadingLevel) -> HeadingLevel {
    let below = HEADING_ABOVE as usize + level as usize;
    HeadingLevel::try_from(below.min(before as usize + 1)).unwrap_or(HeadingLevel::H6)
}

fn is_harmless(url: &str) -> bool {
    let lower = url.trim().to_ascii_lowercase();
    ["https://", "http://", "mailto:", "#"]
        .iter()
        .any(|start| lower.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_text_and_links_comes_through() {
        for hostile in [
            "<script>alert(1)</script>",
            "a <img src=x onerror=alert(1)> b",
            "[a](javascript:alert(1))",
            "[a](JaVaScRiPt:alert(1))",
            "[a]( data:text/html,<script>)",
            "<javascript:alert(1)>",
            "![a](https://tracker.example/x.png)",
            "![<script>](x)",
            "[a]: javascript:alert(1)\n[a]",
            "<svg/onload=alert(1)>",
            "# a {#id .class onclick=x}",
            "<div style='position:fixed'>",
            "```\"onmouseover=alert(1)\n<script>\n```",
            "[x](http://a\"onclick=alert(1))",
            "<iframe src=//a></iframe>",
            "| a |\n|:-:|\n| b |",
        ] {
            let out = render(hostile).into_string();
            let lower = out.to_lowercase();
            for bad in [
                "<script",
                "<img",
                "<svg",
                "<iframe",
                "<div s",
                "\"javascript:",
                "href=\"data",
                "style=",
            ] {
                assert!(!lower.contains(bad), "{hostile}: {out}");
            }
            // No tag has an attribute that it was not meant to have.
            for tag in out.split('<').skip(1).map(|rest| rest.split('>').next().unwrap()) {
                let names = tag.split('"').step_by(2).flat_map(str::split_whitespace).skip(1);
                for name in names {
                    assert!(
                        ["href=", "class=", "title=", "tabindex=", "/"].contains(&name),
                        "{hostile}: {out}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_is_harmless_stays() {
        let out =
            render("# A\n\n**b** `c<d` [e](https://f.example/?a=1&b)\n\n| x |\n|---|\n| y |\n\n```rust\ng < h\n```\n")
                .into_string();
        for part in [
            "<h3>A</h3>",
            "<strong>b</strong>",
            "<code>c&lt;d</code>",
            "<a href=\"https://f.example/?a=1&amp;b\">e</a>",
            "<div class=\"scroll\" tabindex=\"0\"><table><thead><tr><th>x</th></tr></thead><tbody>\n<tr><td>y</td></tr>\n</tbody></table></div>",
            "<pre tabindex=\"0\"><code>g &lt; h\n</code></pre>",
        ] {
            assert!(out.contains(part), "{part}: {out}");
        }
        // No heading is more than one step below the one before.
        let out = render("### a\n# b\n### c\n###### d\n###### e\n# f\n").into_string();
        let levels: Vec<&str> = out.split("</h").skip(1).map(|rest| &rest[..1]).collect();
        assert_eq!(levels, ["3", "3", "4", "5", "6", "3"], "{out}");
        assert!(render(&"> ".repeat(5000)).into_string().matches("<blockquote>").count() <= MAX_DEPTH);
    }
}
