//! cargo itself, which knows no other registry than the archive.

use crate::world::World;
use crate::{Served, options};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A project of its own, whose cargo has never seen anything.
struct Project {
    folder: tempfile::TempDir,
}

impl Project {
    /// One that depends on `dependencies`, as they stand in a manifest.
    fn new(served: &Served, dependencies: &str, main: &str) -> Project {
        let project = Project {
            folder: tempfile::tempdir().unwrap(),
        };
        fs::create_dir_all(project.path().join("src")).unwrap();
        fs::create_dir_all(project.path().join("home")).unwrap();
        let manifest = format!(
            "[package]\nname = \"project\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n[dependencies]\n{dependencies}"
        );
        fs::write(project.path().join("Cargo.toml"), manifest).unwrap();
        fs::write(project.path().join("src/main.rs"), main).unwrap();
        project.use_server(served);
        project
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// What `serve` prints is all that cargo is told.
    fn use_server(&self, served: &Served) {
        let registry = cratehold::serve::BaseUrl::of(served.address).index();
        let config = format!(
            "[source.crates-io]\nreplace-with = \"cratehold\"\n\n[source.cratehold]\nregistry = \"{registry}\"\n"
        );
        fs::write(self.path().join("home/config.toml"), config).unwrap();
    }

    fn cargo(&self, args: &[&str]) -> Output {
        let cargo = std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from);
        let mut command = Command::new(cargo);
        // A proxy of this machine would be a way out.
        for name in [
            "http_proxy",
            "https_proxy",
            "HTTP_PROXY",
            "HTTPS_PROXY",
            "ALL_PROXY",
            "all_proxy",
        ] {
            command.env_remove(name);
        }
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("CARGO_") || name.to_string_lossy().starts_with("RUSTFLAGS") {
                command.env_remove(name);
            }
        }
        command
            .args(args)
            .current_dir(self.path())
            .env("CARGO_HOME", self.path().join("home"))
            .env("CARGO_TARGET_DIR", self.path().join("target"))
            .output()
            .unwrap()
    }

    fn run(&self, args: &[&str]) -> String {
        let output = self.cargo(args);
        assert!(
            output.status.success(),
            "{args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    fn fails(&self, args: &[&str]) -> String {
        let output = self.cargo(args);
        assert!(!output.status.success(), "{args:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    fn lockfile(&self) -> String {
        fs::read_to_string(self.path().join("Cargo.lock")).unwrap()
    }

    /// The locked versions of `name`.
    fn locked(&self, name: &str) -> Vec<String> {
        let lockfile = self.lockfile();
        let entries = lockfile.split("[[package]]");
        let of_name = entries.filter(|entry| entry.contains(&format!("name = \"{name}\"\n")));
        let version = |entry: &str| {
            entry
                .split("version = \"")
                .nth(1)
                .unwrap()
                .split('"')
                .next()
                .unwrap()
                .to_owned()
        };
        of_name.map(version).collect()
    }
}

const ON_LEAF: &str = r#"[{"name":"leaf","req":"^1","features":[],"optional":false,"default_features":true,"target":null,"kind":"normal"}]"#;

fn world() -> World {
    let mut world = World::new();
    world.publish_leaf("leaf@1.0.0");
    world.publish_leaf("leaf@1.1.0");
    world.publish(
        "mid@0.3.0",
        "[dependencies]\nleaf = \"1\"\n",
        "pub fn below() -> &'static str { leaf::version() }\n",
        ON_LEAF,
    );
    world.sync(&["leaf", "mid"]);
    world
}

#[test]
fn a_project_builds_and_its_lockfile_stays() {
    let world = world();
    let served = Served::start(&world.path("archive"), &options());
    let main = "fn main() { print!(\"{}\", mid::below()); }\n";
    let project = Project::new(&served, "mid = \"0.3\"\n", main);
    assert_eq!(project.run(&["run", "--quiet"]), "1.1.0");
    let lockfile = project.lockfile();
    assert!(
        lockfile.contains("registry+https://github.com/rust-lang/crates.io-index"),
        "{lockfile}"
    );
    // Again with nothing but the lockfile.
    fs::remove_dir_all(project.path().join("home")).unwrap();
    fs::create_dir_all(project.path().join("home")).unwrap();
    project.use_server(&served);
    project.run(&["fetch", "--locked"]);
    assert_eq!(project.lockfile(), lockfile);
}

#[test]
fn dependencies_are_added_updated_and_resolved() {
    let mut world = world();
    let served = Served::start(&world.path("archive"), &options());
    let project = Project::new(&served, "", "fn main() {}\n");
    project.run(&["add", "leaf@1.0"]);
    project.run(&["generate-lockfile"]);
    assert_eq!(project.locked("leaf"), ["1.1.0"]);
    let error = project.fails(&["add", "no-such-crate"]);
    assert!(error.contains("no-such-crate"), "{error}");
    world.publish_leaf("leaf@1.2.0");
    world.sync(&["leaf"]);
    // The server looks for new snapshots once a second.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    project.run(&["update"]);
    assert_eq!(project.locked("leaf"), ["1.2.0"]);
}

#[test]
fn yanked_and_removed_releases_stay_for_those_who_locked_them() {
    let mut world = world();
    let before = world.archive().generation();
    let served = Served::start(&world.path("archive"), &options());
    let main = "fn main() { print!(\"{}\", leaf::version()); }\n";
    let project = Project::new(&served, "leaf = \"1\"\n", main);
    project.run(&["generate-lockfile"]);
    assert_eq!(project.locked("leaf"), ["1.1.0"]);
    world.yank("leaf@1.1.0");
    world.remove("leaf@1.0.0");
    world.publish_leaf("leaf@1.0.5");
    world.sync(&["leaf"]);
    let served = Served::start(&world.path("archive"), &options());
    project.use_server(&served);
    assert_eq!(project.run(&["run", "--quiet", "--locked"]), "1.1.0");
    project.run(&["update"]);
    assert_eq!(project.locked("leaf"), ["1.0.5"]);
    // What the registry removed is kept for a lockfile that names it.
    let digest = |lockfile: &str| lockfile.split("checksum = \"").nth(1).unwrap()[..64].to_owned();
    let removed = world.archive().crate_state("leaf").unwrap().unwrap().releases[0].digest;
    let lockfile = project.lockfile();
    let locked = lockfile
        .replace("1.0.5", "1.0.0")
        .replace(&digest(&lockfile), &removed.to_string());
    fs::write(project.path().join("Cargo.lock"), &locked).unwrap();
    assert_eq!(project.run(&["run", "--quiet", "--locked"]), "1.0.0");
    // On a past day all is as it was then.
    let mut past = options();
    past.as_of = Some(before);
    let served = Served::start(&world.path("archive"), &past);
    project.use_server(&served);
    fs::remove_file(project.path().join("Cargo.lock")).unwrap();
    project.run(&["generate-lockfile"]);
    assert_eq!(project.locked("leaf"), ["1.1.0"]);
}
