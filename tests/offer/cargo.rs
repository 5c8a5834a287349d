//! The real cargo builds, adds and updates from what was exported, without a network.

use super::world::{World, tree};
use crate::support::Registry;
use crate::support::served::Served;
use cratehold::archive::Archive;
use cratehold::offer::{CargoSource, ExportOptions, FileNames, Format, cargo_config, choose, export};
use cratehold::sync::Selection;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A project, and the cargo that builds it from one source and from nothing else.
struct Project {
    folder: PathBuf,
    offline: bool,
}

impl Project {
    fn new(world: &World, name: &str, dependencies: &str) -> Project {
        let folder = world.path(name);
        std::fs::create_dir_all(folder.join("src")).unwrap();
        std::fs::create_dir_all(folder.join(".cargo")).unwrap();
        let manifest = "[package]\nname = \"project\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[dependencies]\n";
        std::fs::write(
            folder.join("Cargo.toml"),
            format!("{manifest}{dependencies}[workspace]\n"),
        )
        .unwrap();
        std::fs::write(folder.join("src/main.rs"), "fn main() {}\n").unwrap();
        let project = Project { folder, offline: true };
        project.replace(CargoSource::LocalRegistry(&world.path("nothing")));
        project
    }

    fn replace(&self, source: CargoSource<'_>) {
        std::fs::write(self.folder.join(".cargo/config.toml"), cargo_config(source, None)).unwrap();
    }

    fn run(&self, args: &[&str]) -> Result<String, String> {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.current_dir(&self.folder).args(args);
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            let is_of_cargo = name.starts_with("CARGO") || name.to_lowercase().ends_with("_proxy");
            if is_of_cargo || name.starts_with("RUSTFLAGS") || name.starts_with("RUSTC") {
                command.env_remove(name);
            }
        }
        command.env("CARGO_HOME", self.folder.join("home"));
        if self.offline {
            command.env("CARGO_NET_OFFLINE", "true");
        }
        let output = command.output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        match output.status.success() {
            true => Ok(error),
            false => Err(error),
        }
    }

    fn good(&self, args: &[&str]) -> String {
        self.run(args).unwrap_or_else(|error| panic!("cargo {args:?}: {error}"))
    }

    /// What cargo itself vendors from its source.
    fn vendored(&self) -> BTreeMap<String, Vec<u8>> {
        self.good(&["vendor", "--locked", "--respect-source-config", "by-cargo"]);
        tree(&self.folder.join("by-cargo"))
    }

    fn lock(&self) -> String {
        std::fs::read_to_string(self.folder.join("Cargo.lock")).unwrap()
    }

    fn locks(&self, name: &str, version: &str) -> bool {
        self.lock()
            .contains(&format!("name = \"{name}\"\nversion = \"{version}\""))
    }
}

pub fn export_to(archive: &Archive, selection: &Selection, to: &Path, format: Format) -> u64 {
    let chosen = choose(archive, selection, false).unwrap();
    assert_eq!(chosen.missing, []);
    let options = ExportOptions {
        format,
        threads: 2,
        stop: &|| false,
        progress: &|_| {},
    };
    let report = export(archive, &chosen.releases, to, &options).unwrap();
    assert_eq!(report.failures, []);
    report.written
}

/// Serves every file of a folder, as any file server would.
fn serve_folder(server: &Registry, folder: &Path, prefix: &str) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{prefix}/{}", path.file_name().unwrap().to_str().unwrap());
        match path.is_dir() {
            true => serve_folder(server, &path, &name),
            false => server.serve(&name, &std::fs::read(&path).unwrap()),
        }
    }
}

/// Exports to a static registry and serves that.
fn static_registry(archive: &Archive, selection: &Selection, to: &Path, names: FileNames) -> (Registry, String) {
    let server = Registry::start();
    let base_url = format!("http://127.0.0.1:{}/mirror", server.port);
    let index = format!("{base_url}/index/");
    export_to(archive, selection, to, Format::Registry { base_url, names });
    serve_folder(&server, to, "/mirror");
    (server, index)
}

const VENDOR: Format = Format::Vendor { versioned_dirs: false };

#[test]
fn a_locked_project_builds_from_every_kind_though_the_registry_has_moved_on() {
    let mut world = World::stocked();
    let everything = world.path("everything");
    export_to(
        &world.archive(),
        &Selection::everything(),
        &everything,
        Format::LocalRegistry,
    );
    let mut project = Project::new(
        &world,
        "project",
        "mid = { version = \"1\", features = [\"more\"] }\nside = \"1\"\ngone = \"1\"\nleaf = \"2\"\n",
    );
    project.replace(CargoSource::LocalRegistry(&everything));
    std::fs::write(
        project.folder.join("src/main.rs"),
        "fn main() { assert_eq!(mid::say() + &side::say() + mid::version() + gone::version(), \"1.0.01.0.00.3.1+b71.0.0\") }\n",
    )
    .unwrap();
    project.good(&["run"]);
    let lock = project.lock();
    assert!(
        project.locks("leaf", "1.0.0") && project.locks("extra", "0.3.1+b7"),
        "{lock}"
    );

    // What the lockfile names is yanked here, and has left the registry there.
    world.yank("leaf@1.0.0");
    world.publish_leaf("gone@2.0.0");
    world.remove("gone@1.0.0");
    world.sync(&["leaf", "gone"]);
    let mut selection = Selection::default();
    selection
        .add_lockfile(&project.folder.join("Cargo.lock"), &world.registry.index())
        .unwrap();
    let build = |project: &Project, source: CargoSource<'_>| {
        project.replace(source);
        let _ = std::fs::remove_dir_all(project.folder.join("home"));
        let _ = std::fs::remove_dir_all(project.folder.join("target"));
        project.good(&["run", "--locked"]);
        assert_eq!(project.lock(), lock);
    };
    let local = world.path("local");
    assert_eq!(
        export_to(&world.archive(), &selection, &local, Format::LocalRegistry),
        6
    );
    build(&project, CargoSource::LocalRegistry(&local));
    let vendor = world.path("vendor");
    assert_eq!(export_to(&world.archive(), &selection, &vendor, VENDOR), 6);
    assert_eq!(tree(&vendor), project.vendored());
    build(&project, CargoSource::Directory(&vendor));
    project.offline = false;
    for (names, folder) in [(FileNames::Release, "static"), (FileNames::Sha256, "by-sum")] {
        let (server, index) = static_registry(&world.archive(), &selection, &world.path(folder), names);
        build(&project, CargoSource::Sparse(&index));
        assert_eq!(server.requests("/mirror/crates/").len(), 6);
    }
}

#[test]
fn nothing_new_is_resolved_to_what_is_yanked_removed_or_missing() {
    let mut world = World::stocked();
    world.yank("leaf@1.1.0");
    world.publish_leaf("gone@0.9.0");
    world.sync(&["leaf", "gone"]);
    world.remove("gone@1.0.0");
    world.sync(&["gone"]);
    // Listed since, never fetched.
    world.publish_leaf("leaf@1.2.0");
    world.sync(&["leaf@1.0.0"]);

    let all = Selection::everything();
    let mut chosen = choose(&world.archive(), &all, true).unwrap().releases;
    chosen.retain(|one| one.release.to_string() != "leaf@2.0.0");
    let local = world.path("local");
    let options = ExportOptions {
        format: Format::LocalRegistry,
        threads: 2,
        stop: &|| false,
        progress: &|_| {},
    };
    assert!(
        export(&world.archive(), &chosen, &local, &options)
            .unwrap()
            .failures
            .is_empty()
    );
    let project = Project::new(&world, "project", "");
    project.replace(CargoSource::LocalRegistry(&local));
    project.good(&["add", "leaf"]);
    let manifest = std::fs::read_to_string(project.folder.join("Cargo.toml")).unwrap();
    assert!(manifest.contains("leaf = \"1.0.0\""), "{manifest}");
    project.good(&["add", "gone@*"]);
    project.good(&["generate-lockfile"]);
    assert!(
        project.locks("leaf", "1.0.0") && project.locks("gone", "0.9.0"),
        "{}",
        project.lock()
    );
    assert!(project.run(&["add", "no-such-crate"]).is_err());

    // One more in the same folder, and `update` finds it.
    let mut more = Selection::default();
    more.add_crate("leaf@2.0.0".parse().unwrap());
    assert_eq!(export_to(&world.archive(), &more, &local, Format::LocalRegistry), 1);
    project.good(&["update"]);
    assert!(project.locks("leaf", "1.0.0"));
    project.good(&["add", "leaf@2"]);
    project.good(&["update"]);
    assert!(project.locks("leaf", "2.0.0"), "{}", project.lock());
    project.good(&["check", "--locked"]);
}

#[test]
fn an_archive_without_registry_lines_builds_all_the_same() {
    let world = World::stocked();
    let from = world.archive();
    let import = World::new();
    for one in choose(&from, &Selection::everything(), false).unwrap().releases {
        import.import(&one.release.to_string(), &from.read_crate(&one.digest).unwrap());
    }
    let local = import.path("local");
    export_to(
        &import.archive(),
        &Selection::everything(),
        &local,
        Format::LocalRegistry,
    );
    let project = Project::new(
        &import,
        "project",
        "mid = { version = \"1\", features = [\"more\"] }\nside = \"1\"\n",
    );
    project.replace(CargoSource::LocalRegistry(&local));
    project.good(&["check"]);
    assert!(project.locks("leaf", "1.0.0") && project.locks("extra", "0.3.1+b7"));
}

/// This project's own dependencies, from the cache of the cargo that built it, really
/// built; and vendored byte for byte as `cargo vendor` does it. Takes minutes:
/// `cargo test --release --test offer -- --ignored`.
#[test]
#[ignore = "takes minutes, and needs the crate files of this project's dependencies in cargo's cache"]
fn a_project_with_many_dependencies_builds_and_is_vendored_as_by_cargo() {
    use cratehold::archive::{EncodeOptions, ImportOptions, Scan, Writer, import};
    let home = std::env::var_os("CARGO_HOME").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cargo"),
        PathBuf::from,
    );
    let world = World::new();
    let writer = Writer::open(&world.path("archive")).unwrap();
    let options = ImportOptions {
        encode: EncodeOptions::default(),
        threads: 2,
        expected: &|_| Ok(Vec::new()),
        stop: &|| false,
        progress: &|_| {},
    };
    let report = import(&writer, Scan::of(&[home.join("registry/cache")], 2), &options).unwrap();
    assert_eq!(report.failures, []);
    drop(writer);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let lockfile = root.join("Cargo.lock");
    let mut selection = Selection::default();
    selection
        .add_lockfile(&lockfile, cratehold::registry::CRATES_IO)
        .unwrap();
    // Some packages are only for other systems, and never were in the cache.
    let mut chosen = choose(&world.archive(), &selection, false).unwrap();
    chosen.missing.clear();
    let export_all = |to: &Path, format: Format| {
        let options = ExportOptions {
            format,
            threads: 2,
            stop: &|| false,
            progress: &|_| {},
        };
        let report = export(&world.archive(), &chosen.releases, to, &options).unwrap();
        assert_eq!(report.failures, []);
    };
    let mut project = Project::new(&world, "project", "");
    let manifest = std::fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let (before, _) = manifest.split_once("[[bench]]").unwrap();
    // What is tested is that everything is there and compiles, not how well.
    let quick = "[profile.dev]\nopt-level = 0\ndebug = false\n";
    std::fs::write(
        project.folder.join("Cargo.toml"),
        format!("{before}[workspace]\n{quick}"),
    )
    .unwrap();
    let _ = std::fs::copy(&lockfile, project.folder.join("Cargo.lock")).unwrap();
    let lock = project.lock();
    let local = world.path("local");
    export_all(&local, Format::LocalRegistry);
    let vendor = world.path("vendor");
    export_all(&vendor, VENDOR);
    project.replace(CargoSource::LocalRegistry(&local));
    for (name, bytes) in project.vendored() {
        assert_eq!(std::fs::read(vendor.join(&name)).unwrap(), bytes, "{name}");
    }
    for source in [CargoSource::LocalRegistry(&local), CargoSource::Directory(&vendor)] {
        project.replace(source);
        project.good(&["build", "--locked"]);
        assert_eq!(project.lock(), lock);
        let _ = std::fs::remove_dir_all(project.folder.join("target"));
    }
    project.offline = false;
    let server = Registry::start();
    let base_url = format!("http://127.0.0.1:{}/mirror", server.port);
    let index = format!("{base_url}/index/");
    let mirror = world.path("mirror");
    let names = FileNames::Release;
    export_all(&mirror, Format::Registry { base_url, names });
    serve_folder(&server, &mirror, "/mirror");
    let serving = Served::start(&world.path("archive"));
    let served = format!("http://127.0.0.1:{}/index/", serving.port);
    for index in [index, served] {
        project.replace(CargoSource::Sparse(&index));
        project.good(&["build", "--locked"]);
        assert_eq!(project.lock(), lock);
        let _ = std::fs::remove_dir_all(project.folder.join("target"));
    }
}
