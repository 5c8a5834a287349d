//! A registry of small crates that really build, and an archive of it.

use crate::support::{Registry, dl_path, line};
use cratehold::archive::{Archive, Writer};
use cratehold::ids::{Digest, Release};
use cratehold::registry::IndexUrl;
use cratehold::sync::{self, Options, Selection};
use flate2::{Compression, write::GzEncoder};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A crate file of `release` with this manifest below `[package]`, and this library.
pub fn crate_file(release: &str, manifest: &str, source: &str) -> Vec<u8> {
    let parsed: Release = release.parse().unwrap();
    let head = format!(
        "[package]\nname = \"{}\"\nversion = \"{}\"\nedition = \"2021\"\n",
        parsed.name, parsed.version
    );
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::new(9)));
    for (path, text) in [
        ("Cargo.toml", format!("{head}{manifest}")),
        ("src/lib.rs", source.to_owned()),
        ("tests/data/.gitignore", "*.tmp\n".to_owned()),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        let path = format!("{}/{path}", parsed.stem());
        builder.append_data(&mut header, path, text.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

pub struct World {
    pub folder: TempDir,
    pub registry: Registry,
    pub lines: BTreeMap<String, Vec<String>>,
}

impl World {
    pub fn new() -> World {
        World {
            folder: tempfile::tempdir().unwrap(),
            registry: Registry::start(),
            lines: BTreeMap::new(),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn archive(&self) -> Archive {
        Archive::open(&self.path("archive")).unwrap()
    }

    /// Publishes a release with these `deps` and other fields in its line, `deps` being
    /// JSON; its manifest says the same in its own words.
    pub fn publish(&mut self, release: &str, manifest: &str, source: &str, deps: &str) -> Vec<u8> {
        let bytes = crate_file(release, manifest, source);
        let text = line(release, &bytes, false).replace("\"deps\":[]", &format!("\"deps\":{deps}"));
        self.registry.serve(&dl_path(release), &bytes);
        let name = release.split_once('@').unwrap().0;
        self.lines.entry(name.to_owned()).or_default().push(text);
        self.show(name);
        bytes
    }

    /// A release without dependencies, whose library says its version.
    pub fn publish_leaf(&mut self, release: &str) -> Vec<u8> {
        let (_, version) = release.split_once('@').unwrap();
        let source = format!("pub fn version() -> &'static str {{ \"{version}\" }}\n");
        self.publish(release, "", &source, "[]")
    }

    /// Serves the lines of `name` as they are now.
    pub fn show(&self, name: &str) {
        self.registry.set_lines(name, &self.lines[name]);
    }

    pub fn yank(&mut self, release: &str) {
        let (name, version) = release.split_once('@').unwrap();
        let field = format!("\"vers\":\"{version}\"");
        for line in self.lines.get_mut(name).unwrap() {
            if line.contains(&field) {
                *line = line.replace("\"yanked\":false", "\"yanked\":true");
            }
        }
        self.show(name);
    }

    /// The registry no longer has this release.
    pub fn remove(&mut self, release: &str) {
        let (name, version) = release.split_once('@').unwrap();
        let field = format!("\"vers\":\"{version}\"");
        self.lines.get_mut(name).unwrap().retain(|line| !line.contains(&field));
        self.registry.forget(&dl_path(release));
        self.show(name);
    }

    /// Brings the archive up to what `wants` asks for.
    pub fn sync(&self, wants: &[&str]) {
        let mut selection = Selection::default();
        for want in wants {
            selection.add_crate(want.parse().unwrap());
        }
        let writer = Writer::open(&self.path("archive")).unwrap();
        let options = Options::new(IndexUrl::parse(&self.registry.index()).unwrap());
        let report = sync::run(&writer, &selection, &options, &Default::default(), &|_| {}).unwrap();
        assert!(report.is_complete(), "{:?}", report.failures);
    }

    /// Stores a release of which no registry has said anything.
    pub fn import(&self, release: &str, bytes: &[u8]) -> Digest {
        let writer = Writer::open(&self.path("archive")).unwrap();
        writer
            .add(&release.parse().unwrap(), bytes.to_vec(), Default::default())
            .unwrap();
        writer.commit(&Default::default()).unwrap();
        Digest::of(bytes)
    }
}

/// The versions that a registry index file lists, in its order, with `!` behind those
/// that are yanked.
pub fn versions(text: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(text).unwrap();
    assert!(text.ends_with('\n'));
    text.lines()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let mark = if line["yanked"] == true { "!" } else { "" };
            format!("{}{mark}", line["vers"].as_str().unwrap())
        })
        .collect()
}

/// A dependency as a registry line has it.
pub fn dep(name: &str, req: &str, more: &str) -> String {
    let plain = format!(
        r#"{{"name":"{name}","req":"{req}","features":[],"optional":false,"default_features":true,"target":null,"kind":"normal"}}"#
    );
    match more {
        "optional" => plain.replace("\"optional\":false", "\"optional\":true"),
        "" => plain,
        package => plain.replace(
            "\"kind\":\"normal\"",
            &format!("\"kind\":\"normal\",\"package\":\"{package}\""),
        ),
    }
}

impl World {
    /// `leaf`, of which there are several; `mid`, which needs it under two names and may
    /// need `extra`; and `gone`, which will not stay.
    pub fn stocked() -> World {
        let mut world = World::new();
        for release in ["leaf@1.0.0", "leaf@1.1.0", "leaf@2.0.0", "extra@0.3.1+b7", "gone@1.0.0"] {
            world.publish_leaf(release);
        }
        let deps = [
            dep("extra", "^0.3", "optional"),
            dep("leaf", "^1", ""),
            dep("old-leaf", "=1.0.0", "leaf"),
        ];
        world.publish(
            "mid@1.0.0",
            "[dependencies]\nleaf = \"1\"\n[dependencies.extra]\nversion = \"0.3\"\noptional = true\n[features]\nmore = [\"dep:extra\"]\n",
            "pub fn say() -> String { leaf::version().into() }\n#[cfg(feature = \"more\")]\npub use extra::version;\n",
            &format!("[{},{}]", deps[0], deps[1]),
        );
        let line = world.lines.get_mut("mid").unwrap();
        line[0] = line[0].replace("\"x-new\": 1", "\"features2\":{\"more\":[\"dep:extra\"]},\"v\":2");
        world.show("mid");
        world.publish(
            "side@1.0.0",
            "[dependencies]\nold-leaf = { package = \"leaf\", version = \"=1.0.0\" }\n",
            "pub fn say() -> String { old_leaf::version().into() }\n",
            &format!("[{}]", deps[2]),
        );
        world.sync(&["leaf", "mid", "extra", "gone", "side"]);
        world
    }
}

/// Every file below a folder, with its bytes.
pub fn tree(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    fn add(root: &Path, folder: &Path, files: &mut BTreeMap<String, Vec<u8>>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => add(root, &path, files),
                false => {
                    let name = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
                    files.insert(name, std::fs::read(&path).unwrap());
                }
            }
        }
    }
    let mut files = BTreeMap::new();
    add(folder, folder, &mut files);
    files
}
