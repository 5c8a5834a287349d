//! Pages for people, over crates that mean harm.

use crate::client::Response;
use crate::world::World;
use crate::{Served, options, stocked};
use cratehold::archive::Archive;
use flate2::{Compression, write::GzEncoder};
use std::collections::BTreeSet;

const EVIL: &str = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&amp;\u{202e}\u{0}";

fn crate_of(stem: &str, files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::new(9)));
    for (path, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder
            .append_data(&mut header, format!("{stem}/{path}"), *bytes)
            .unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

/// What a tag may be here, and what its attributes.
const TAGS: &[&str] = &[
    "html",
    "head",
    "meta",
    "title",
    "link",
    "body",
    "a",
    "header",
    "nav",
    "form",
    "label",
    "input",
    "button",
    "main",
    "footer",
    "p",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "ul",
    "ol",
    "li",
    "div",
    "span",
    "strong",
    "em",
    "code",
    "pre",
    "dl",
    "dt",
    "dd",
    "section",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "details",
    "summary",
    "select",
    "option",
    "img",
    "figure",
    "svg",
    "rect",
    "text",
    "polygon",
    "polyline",
    "blockquote",
    "hr",
    "br",
    "del",
    "line",
];
const ATTRIBUTES: &[&str] = &[
    "lang",
    "charset",
    "name",
    "content",
    "rel",
    "href",
    "class",
    "aria-label",
    "action",
    "role",
    "for",
    "id",
    "type",
    "placeholder",
    "autocomplete",
    "autofocus",
    "value",
    "scope",
    "aria-current",
    "aria-labelledby",
    "selected",
    "src",
    "alt",
    "tabindex",
    "download",
    "viewBox",
    "x",
    "y",
    "x1",
    "x2",
    "y1",
    "y2",
    "width",
    "height",
    "points",
    "preserveAspectRatio",
    "aria-hidden",
    "title",
];

/// Every tag with its attributes; panics where one is not as a browser needs it.
fn tags(html: &str) -> Vec<(String, Vec<(String, String)>)> {
    let mut tags = Vec::new();
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        if rest.starts_with("!DOCTYPE html>") {
            continue;
        }
        let closing = rest.starts_with('/');
        let name: String = rest
            .trim_start_matches('/')
            .chars()
            .take_while(char::is_ascii_alphanumeric)
            .collect();
        assert!(
            TAGS.contains(&name.as_str()),
            "<{}",
            rest.chars().take(60).collect::<String>()
        );
        rest = &rest[usize::from(closing) + name.len()..];
        let mut attributes = Vec::new();
        loop {
            rest = rest.trim_start();
            if let Some(behind) = rest.strip_prefix('>').or_else(|| rest.strip_prefix("/>")) {
                rest = behind;
                break;
            }
            let end = rest.find(['=', '>', ' ']).unwrap();
            let attribute = rest[..end].to_owned();
            assert!(ATTRIBUTES.contains(&attribute.as_str()), "{attribute} of {name}");
            rest = &rest[end..];
            let mut value = String::new();
            if let Some(quoted) = rest.strip_prefix("=\"") {
                let end = quoted.find('"').unwrap();
                value = quoted[..end].to_owned();
                rest = &quoted[end + 1..];
            } else {
                assert!(!rest.starts_with('='), "{attribute} of {name} has no quotes");
            }
            attributes.push((attribute, value));
        }
        if !closing {
            tags.push((name, attributes));
        }
    }
    tags
}

/// Holds a page to what all pages must be, for browsers, for readers' machines, and
/// whatever a crate says. Returns where its links lead.
fn check(response: &Response) -> BTreeSet<String> {
    assert_eq!(response.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = response.header("content-security-policy").unwrap();
    assert!(
        policy.starts_with("default-src 'none';") && !policy.contains("unsafe"),
        "{policy}"
    );
    assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
    let html = response.text();
    assert!(!html.contains('\0'));
    let tags = tags(html);
    let value = |attributes: &[(String, String)], wanted: &str| {
        let found = attributes.iter().find(|(name, _)| name == wanted);
        found.map(|(_, value)| value.clone())
    };
    let (mut links, mut ids, mut labelled) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut level = 0;
    for (name, attributes) in &tags {
        for key in ["href", "src", "action"] {
            let Some(link) = value(attributes, key) else { continue };
            let is_own = link.starts_with('/') && !link.starts_with("//") || link.starts_with('#');
            let is_web =
                key == "href" && name == "a" && ["http://", "https://", "mailto:"].iter().any(|s| link.starts_with(s));
            assert!(is_own || is_web, "{key} {link}");
            links.insert(link);
        }
        if let Some(id) = value(attributes, "id") {
            assert!(ids.insert(id.clone()), "two of id {id}");
        }
        if name == "label" {
            labelled.insert(value(attributes, "for").unwrap());
        }
        if name == "img" {
            assert!(!value(attributes, "alt").unwrap().is_empty());
        }
        if let Some(heading) = name.strip_prefix('h').and_then(|digit| digit.parse::<u32>().ok()) {
            assert!(heading <= level + 1, "h{heading} below h{level}");
            level = heading;
        }
    }
    assert!(html.contains("</title>"));
    let count = |wanted: &str| tags.iter().filter(|(name, _)| name == wanted).count();
    for one in ["html", "main", "h1", "header", "footer"] {
        assert_eq!(count(one), 1, "{one}");
    }
    for (name, attributes) in &tags {
        if name == "input" || name == "select" {
            assert!(
                labelled.contains(&value(attributes, "id").unwrap()),
                "{attributes:?} has no label"
            );
        }
        for reference in ["aria-labelledby", "for"] {
            if let Some(id) = value(attributes, reference) {
                assert!(ids.contains(&id), "{reference} {id} leads nowhere");
            }
        }
    }
    links
}

fn evil_manifest(version: &str) -> String {
    let evil = EVIL.replace('\0', "").replace('"', "\\\"");
    format!(
        "[package]\nname = \"evil\"\nversion = \"{version}\"\ndescription = \"{evil}\"\nlicense = \"{evil}\"\n\
         repository = \"javascript:alert(1)\"\nhomepage = \"https://a.example/\\\" onclick=\\\"alert(1)\"\n\
         keywords = [\"{evil}\"]\nauthors = [\"{evil}\"]\n\n[dependencies.\"{evil}\"]\nversion = \"1\"\n"
    )
}

#[test]
fn crates_that_mean_harm_are_text() {
    let folder = tempfile::tempdir().unwrap();
    let readme =
        format!("# {EVIL}\n{EVIL}\n\n[a](javascript:alert(1)) <b onclick=alert(1)>\n\n```{EVIL}\n{EVIL}\n```\n");
    let files = |version: &str, source: &str| {
        let manifest = evil_manifest(version);
        crate_of(
            &format!("evil-{version}"),
            &[
                ("Cargo.toml", manifest.as_bytes()),
                ("README.md", readme.as_bytes()),
                ("src/\"><script>alert(1)</script>.rs", source.as_bytes()),
                ("src/%2e%2e%2f?x=#y &amp;.rs", source.as_bytes()),
                ("page.html", b"<script>alert(1)</script>"),
                (
                    "picture.svg",
                    b"<svg onload=alert(1) xmlns='http://www.w3.org/2000/svg'/>",
                ),
                ("\u{202e}txt.exe", b"\0\x01"),
            ],
        )
    };
    let first = files(
        "1.0.0",
        "fn a() { \"</code></pre><script>alert(1)</script>\" } // <!-- -->\n",
    );
    let second = files("2.0.0-\u{61}lpha.1", "fn b() { '<' }\n</span><script>\n");
    stocked(
        folder.path(),
        &[("evil@1.0.0", &first), ("evil@2.0.0-alpha.1", &second)],
    );
    let served = Served::start(folder.path(), &options());
    let mut client = served.client();
    let mut seen = BTreeSet::new();
    let query = "%3Cscript%3Ealert(1)%3C/script%3E%22%27";
    let mut todo: Vec<String> = vec![
        "/".into(),
        format!("/?q={query}"),
        format!("/?q=evil&page={query}"),
        format!("/crates/{query}"),
        format!("/crates/evil/{query}"),
        format!("/crates/evil/1.0.0/files/{query}"),
        format!("/crates/evil/diff?from={query}&to={query}"),
        format!("/{query}"),
        "/crates/evil/diff?from=1.0.0&to=2.0.0-alpha.1".into(),
        "/crates/EVIL".into(),
    ];
    while let Some(target) = todo.pop() {
        let target = target.split('#').next().unwrap().replace("&amp;", "&");
        if !target.starts_with('/') || !seen.insert(target.clone()) {
            continue;
        }
        let page = client.ask("GET", &target, &[]);
        let is_raw = target.contains("/raw/") || target.starts_with("/dl/") || target == "/style.css";
        let is_made =
            target.ends_with("/diff") || target.contains("alert(1)") && !target.contains("/files/") && !is_raw;
        assert!(
            page.status == 200 || page.status == 404 && (is_made || target.contains(query)),
            "{target}: {}",
            page.status
        );
        if is_raw {
            assert_ne!(page.header("content-type"), Some("text/html"));
            assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
            continue;
        }
        todo.extend(check(&page));
    }
    // Every file was found by its link, whatever it is called.
    assert_eq!(
        seen.iter().filter(|target| target.contains("/1.0.0/files/")).count(),
        7 + 1,
        "{seen:#?}"
    );
    for (path, content_type) in [
        ("page.html", "text/plain; charset=utf-8"),
        ("picture.svg", "text/plain; charset=utf-8"),
        ("%E2%80%AEtxt.exe", "application/octet-stream"),
    ] {
        let raw = client.ask("GET", &format!("/crates/evil/1.0.0/raw/{path}"), &[]);
        assert_eq!(raw.header("content-type"), Some(content_type), "{path}");
    }
}

const ON_LEAF: &str = r#"[{"name":"renamed","package":"leaf","req":"^1","features":[],"optional":true,"default_features":true,"target":null,"kind":"normal"},{"name":"nowhere","req":"^9","features":[],"optional":false,"default_features":true,"target":null,"kind":"dev"}]"#;

fn world() -> World {
    let mut world = World::new();
    for version in ["1.0.0", "1.1.0", "1.2.0"] {
        world.publish_leaf(&format!("leaf@{version}"));
    }
    world.publish(
        "mid@0.3.0",
        "description = \"in the middle\"\n",
        "pub fn below() {}\n",
        ON_LEAF,
    );
    world.sync(&["leaf", "mid"]);
    world.yank("leaf@1.1.0");
    world.remove("leaf@1.2.0");
    world.sync(&["leaf"]);
    world
}

#[test]
fn what_is_held_can_be_found_and_read() {
    let world = world();
    let served = Served::start(&world.path("archive"), &options());
    let mut client = served.client();
    let mut page = |target: &str| {
        let page = client.ask("GET", target, &[]);
        assert_eq!(page.status, 200, "{target}");
        check(&page);
        page.text().to_owned()
    };
    for (target, parts) in [
        ("/", &["href=\"/crates/leaf\"", "href=\"/crates/mid\"", "2 crates"][..]),
        ("/?q=EA", &["href=\"/crates/leaf\"", "1 crate"]),
        (
            "/crates/mid",
            &[
                "in the middle",
                "as renamed",
                "optional",
                "href=\"/crates/leaf/1.0.0\"",
                "not held",
                "0.3.0",
            ],
        ),
        (
            "/crates/leaf",
            &[
                "yanked",
                "removed from the registry",
                "3 held of 3 known",
                "download=\"leaf-1.0.0.crate\"",
            ],
        ),
        (
            "/crates/leaf/1.2.0",
            &["removed from the registry", "download=\"leaf-1.2.0.crate\""],
        ),
        (
            "/crates/leaf/1.0.0/files",
            &["/crates/leaf/1.0.0/files/src/lib.rs", "3 files"],
        ),
        (
            "/crates/leaf/1.0.0/files/src/lib.rs",
            &["id=\"L1\"", "href=\"#L1\"", "<span class=\"k\">fn</span>"],
        ),
        (
            "/crates/leaf/diff?from=1.0.0&to=1.1.0",
            &["2 files differ", "line plus", "line minus", "1.1.0"],
        ),
        (
            "/statistics",
            &["Releases held", "zlib", "polyline", "href=\"/crates/leaf\""],
        ),
    ] {
        let text = page(target);
        for part in parts {
            assert!(text.contains(part), "{target}: {part} is not in {text}");
        }
    }
    assert!(!page("/?q=EA").contains("/crates/mid"));
    for absent in [
        "/crates/none",
        "/crates/leaf/9.9.9",
        "/crates/leaf/1.0.0/files/none",
        "/crates/leaf/diff",
        "/x/y",
    ] {
        let got = client.ask("GET", absent, &[]);
        assert_eq!(got.status, 404, "{absent}");
        check(&got);
    }
    // Asked again, nothing is sent again.
    let first = client.ask("GET", "/crates/leaf", &[]);
    let same = format!("If-None-Match: {}", first.header("etag").unwrap());
    assert_eq!(client.ask("GET", "/crates/leaf", &[&same]).status, 304);
    let style = client.ask("GET", "/style.css", &[]);
    assert_eq!(style.header("content-type"), Some("text/css; charset=utf-8"));
    assert!(!style.text().contains("url(") && !style.text().contains("@import"));
}

#[test]
fn a_proxys_path_stands_before_every_link() {
    let world = world();
    let mut behind = options();
    behind.base = Some("https://crates.example/mirror".parse().unwrap());
    let served = Served::start(&world.path("archive"), &behind);
    for target in ["/", "/crates/leaf", "/crates/leaf/1.0.0/files", "/statistics"] {
        for link in check(&served.get(target)) {
            assert!(
                !link.starts_with('/') || link.starts_with("/mirror/"),
                "{target}: {link}"
            );
        }
    }
}

#[test]
fn a_damaged_crate_has_a_page_and_no_files() {
    let world = world();
    let digest = world.archive().crate_state("mid").unwrap().unwrap().releases[0].digest;
    crate::downloads::damage(&world.path("archive"), &digest);
    let served = Served::start(&world.path("archive"), &options());
    let page = served.get("/crates/mid");
    assert_eq!(page.status, 200);
    check(&page);
    assert!(page.text().contains("cannot be read"), "{}", page.text());
    assert_eq!(served.get("/crates/mid/0.3.0/files").status, 500);
    assert!(served.troubles().iter().any(|trouble| trouble.contains("mid@0.3.0")));
    assert!(Archive::open(&world.path("archive")).is_ok());
}

#[test]
fn long_files_and_differences_are_cut_on_pages_and_whole_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let lines = "\n".repeat(300_000);
    let long = "x".repeat(3 << 20);
    let many: String = (0..100_000).map(|i| format!("{i}\n")).collect();
    let files = |version: &str, many: &str| {
        let manifest = format!("[package]\nname = \"long\"\nversion = \"{version}\"\n");
        crate_of(
            &format!("long-{version}"),
            &[
                ("Cargo.toml", manifest.as_bytes()),
                ("lines.rs", lines.as_bytes()),
                ("long.rs", long.as_bytes()),
                ("many.rs", many.as_bytes()),
            ],
        )
    };
    let (first, second) = (files("1.0.0", &many), files("1.0.1", ""));
    stocked(folder.path(), &[("long@1.0.0", &first), ("long@1.0.1", &second)]);
    let served = Served::start(folder.path(), &options());
    let mut client = served.client();
    for target in [
        "/crates/long/1.0.0/files/lines.rs",
        "/crates/long/1.0.0/files/long.rs",
        "/crates/long/diff?from=1.0.0&to=1.0.1",
    ] {
        let page = client.ask("GET", target, &[]);
        assert_eq!(page.status, 200);
        assert!(page.body.len() < 8 << 20, "{target}: {} bytes", page.body.len());
        assert!(
            page.text().contains("Only the first") || page.text().contains("The page is full"),
            "{target}"
        );
    }
    let raw = client.ask("GET", "/crates/long/1.0.0/raw/long.rs", &[]);
    assert!(raw.text() == long);
}
