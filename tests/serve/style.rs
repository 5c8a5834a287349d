//! The style sheet's colours, light and dark, as people with weak sight need them.

use std::collections::{BTreeMap, BTreeSet};

const STYLE: &str = include_str!("../../src/serve/pages/style.css");

/// What text needs before what is behind it, by WCAG 2.2 level AA.
const TEXT: f64 = 4.5;
/// What a line, a column or a frame needs that says something.
const GRAPHIC: f64 = 3.0;

/// Colours of the front, those that they may stand on, and the contrast needed.
const PAIRS: &[(&[&str], &[&str], f64)] = &[
    (
        &["ink", "soft", "link"],
        &["paper", "panel", "shade", "hit", "warn-shade"],
        TEXT,
    ),
    // Code in files and READMEs, and the line that a link leads to.
    (
        &["comment", "text", "value", "keyword", "name", "mark"],
        &["panel", "shade", "hit"],
        TEXT,
    ),
    (&["plus"], &["plus-shade", "paper", "panel", "shade"], TEXT),
    (&["minus"], &["minus-shade", "paper", "panel", "shade"], TEXT),
    // Buttons; characters that turn text around.
    (&["accent-ink"], &["accent"], TEXT),
    (&["paper"], &["minus"], TEXT),
    (&["accent"], &["paper"], TEXT),
    // Focus, charts, the mark of a line or a warning.
    (&["accent"], &["paper", "panel", "shade", "hit", "warn-shade"], GRAPHIC),
];
/// Lines that only please: whatever they part is told apart without them.
const ORNAMENTS: &[&str] = &["edge"];

/// The colours of a `:root` block by name.
fn colours(block: &str) -> BTreeMap<&str, [u8; 3]> {
    let lines = block.lines().filter_map(|line| line.trim().strip_prefix("--"));
    lines
        .map(|line| {
            let (name, value) = line.split_once(": #").unwrap();
            let number = u32::from_str_radix(value.strip_suffix(';').unwrap(), 16).unwrap();
            let [_, red, green, blue] = number.to_be_bytes();
            (name, [red, green, blue])
        })
        .collect()
}

/// The colours in light and in dark, and the rules behind them.
fn sheet() -> ([BTreeMap<&'static str, [u8; 3]>; 2], &'static str) {
    let mut roots = STYLE.splitn(3, ":root {").skip(1);
    let (light, rest) = (roots.next().unwrap(), roots.next().unwrap());
    let light = light.split_once('}').unwrap().0;
    let (dark, rules) = rest.split_once('}').unwrap();
    ([colours(light), colours(dark)], rules)
}

/// The properties that name a colour: property and colour.
fn uses(rules: &'static str) -> BTreeSet<(&'static str, &'static str)> {
    let declarations = rules.split(['{', ';', '}']).filter_map(|part| part.split_once(':'));
    let named = |value: &'static str| {
        value
            .split("var(--")
            .skip(1)
            .map(|rest| rest.split_once(')').unwrap().0)
    };
    declarations
        .flat_map(|(property, value)| named(value).map(move |name| (property.trim(), name)))
        .collect()
}

fn luminance(colour: [u8; 3]) -> f64 {
    let linear = colour.map(|part| {
        let part = f64::from(part) / 255.0;
        match part <= 0.04045 {
            true => part / 12.92,
            false => ((part + 0.055) / 1.055).powf(2.4),
        }
    });
    0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
}

fn contrast(a: [u8; 3], b: [u8; 3]) -> f64 {
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

#[test]
fn every_pair_of_colours_can_be_told_apart() {
    assert_eq!(format!("{:.1}", contrast([255; 3], [0; 3])), "21.0");
    assert_eq!(format!("{:.2}", contrast([0x77; 3], [255; 3])), "4.48");
    let (sheets, _) = sheet();
    for (sheet, colours) in ["light", "dark"].iter().zip(&sheets) {
        for (fronts, grounds, needed) in PAIRS {
            for (front, ground) in fronts
                .iter()
                .flat_map(|front| grounds.iter().map(move |on| (front, on)))
            {
                let found = contrast(colours[front], colours[ground]);
                assert!(found >= *needed, "{sheet}: {front} on {ground}: {found:.2} of {needed}");
            }
        }
    }
}

#[test]
fn every_colour_is_one_of_the_pairs() {
    let ([light, dark], rules) = sheet();
    assert!(light.keys().eq(dark.keys()));
    assert!(!rules.contains("rgb") && !rules.contains("hsl"), "colours have names");
    let hexadecimal = rules
        .split('#')
        .skip(1)
        .any(|rest| rest.starts_with(|c: char| c.is_ascii_hexdigit()));
    assert!(!hexadecimal, "colours have names");
    let is_front = |name: &str, least: f64| PAIRS.iter().any(|pair| pair.2 >= least && pair.0.contains(&name));
    let is_ground = |name: &str| PAIRS.iter().any(|pair| pair.1.contains(&name));
    let uses = uses(rules);
    assert!(uses.len() > 30, "{uses:?}");
    for (property, name) in &uses {
        let is_told = match *property {
            "color" => is_front(name, TEXT),
            "background" => is_ground(name) || is_front(name, GRAPHIC),
            _ => is_front(name, GRAPHIC) || ORNAMENTS.contains(name),
        };
        assert!(is_told, "{property}: {name} is in no pair");
    }
    let used: BTreeSet<&str> = uses.iter().map(|(_, name)| *name).collect();
    assert!(light.keys().copied().eq(used.iter().copied()), "{used:?}");
}
