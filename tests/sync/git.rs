//! `sync --all` from a git registry index: nothing missed, nothing silently gone.

use super::*;
use crate::changes::history;
use crate::git_repository::{GitRepository, GitServer};
use crate::support::line;
use cratehold::format::manifest::EventKind::*;

struct World {
    registry: Registry,
    folder: tempfile::TempDir,
    git: GitRepository,
}

impl World {
    fn new() -> World {
        let registry = Registry::start();
        let folder = tempfile::tempdir().unwrap();
        let git = GitRepository::new(&folder.path().join("index.git"), &registry);
        World { registry, folder, git }
    }

    fn archive(&self) -> std::path::PathBuf {
        self.folder.path().join("archive")
    }

    fn options(&self) -> Options {
        let mut options = options(&self.registry);
        options.index = IndexUrl::parse(&self.git.folder.display().to_string()).unwrap();
        options
    }

    /// Its repository served over HTTP, and options to fetch it into a clone.
    fn serve(&self) -> (GitServer, Options) {
        let server = GitServer::start(self.folder.path());
        let mut options = self.options();
        options.index = IndexUrl::parse(&format!("http://127.0.0.1:{}/index.git", server.port)).unwrap();
        options.index_cache = self.folder.path().join("archive.index");
        options.http.idle_timeout = Duration::from_secs(20);
        (server, options)
    }

    fn all(&self) -> Report {
        self.all_with(&self.options()).unwrap()
    }

    fn all_with(&self, options: &Options) -> Result<Report, sync::Error> {
        run(&self.archive(), options, &Selection::everything())
    }

    fn publish(&mut self, release: &str) -> Vec<u8> {
        let bytes = self.registry.publish(release);
        self.git.take(&self.registry, release.split_once('@').unwrap().0);
        bytes
    }

    fn cursor(&self) -> Option<String> {
        Archive::open(&self.archive()).unwrap().cursor().unwrap()
    }
}

#[test]
fn everything_listed_is_fetched_and_the_commit_remembered() {
    let mut world = World::new();
    let files = ["a@1.0.0", "Bcd@0.1.0", "serde@1.0.0", "serde@1.0.1+b"].map(|release| world.publish(release));
    let commit = world.git.commit("first");
    let report = world.all();
    assert!(report.is_complete(), "{:?}", report.failures);
    assert_eq!((report.wanted, report.held, report.downloaded), (4, 0, 4));
    assert_eq!(world.cursor(), Some(commit));
    assert_holds(&world.archive(), &files.each_ref().map(Vec::as_slice));
    // Nothing new: nothing is asked for, nothing is committed.
    world.registry.forget_requests();
    let again = world.all();
    assert_eq!((again.held, again.snapshot), (4, report.snapshot));
    assert!(world.registry.requests("").is_empty());
    // Squashed to another parentless commit: of one tree, then with news in it.
    world.git.commit("squashed");
    assert_eq!(world.all().snapshot, report.snapshot);
    let news = world.publish("serde@2.0.0");
    let commit = world.git.commit("squashed again");
    let report = world.all();
    assert_eq!((report.wanted, report.held, report.downloaded), (5, 4, 1));
    assert_eq!(world.cursor(), Some(commit));
    assert_holds(&world.archive(), &[&news]);
}

#[test]
fn what_failed_is_fetched_by_a_later_run_though_the_index_is_the_same() {
    let mut world = World::new();
    world.publish("fine@1.0.0");
    let late = world.publish("late@1.0.0");
    world.registry.forget(&crate::support::dl_path("late@1.0.0"));
    world.git.commit("first");
    let report = world.all();
    assert_eq!((report.downloaded, report.missing_new), (1, 1));
    assert!(causes(&report)[0].contains("missing upstream"), "{:?}", causes(&report));
    world.registry.serve(&crate::support::dl_path("late@1.0.0"), &late);
    let mut options = world.options();
    options.retry_missing = true;
    let report = world.all_with(&options).unwrap();
    assert!(report.is_complete());
    assert_eq!((report.held, report.downloaded), (1, 1));
    assert_holds(&world.archive(), &[&late]);
}

#[test]
fn removals_and_yanks_are_noted_and_bytes_stay() {
    let mut world = World::new();
    let files = ["gone@1.0.0", "part@1.0.0", "part@1.1.0"].map(|release| world.publish(release));
    world.publish("keep-on@1.0.0");
    world.git.commit("first");
    assert!(world.all().is_complete());
    world.git.remove("gone");
    world.git.put("part", &(line("part@1.0.0", &files[1], true) + "\n"));
    world.git.commit("second");
    let report = world.all();
    assert!(report.is_complete(), "{:?}", report.failures);
    assert_eq!((report.wanted, report.held), (2, 2));
    let kinds = |name: &str| -> Vec<_> {
        history(&world.archive(), name)
            .into_iter()
            .map(|(kind, _)| kind)
            .collect()
    };
    assert_eq!(kinds("gone"), [Added, Removed]);
    assert_eq!(kinds("part"), [Added, Added, Yanked, Removed]);
    assert_eq!(kinds("keep-on"), [Added]);
    assert_holds(&world.archive(), &files.each_ref().map(Vec::as_slice));
}

/// A repository made anew has none of the commits that the archive knows: then
/// everything is read, and what is not there is gone all the same.
#[test]
fn without_the_old_commit_everything_is_read() {
    let mut world = World::new();
    world.publish("gone@1.0.0");
    world.publish("stays@1.0.0");
    world.git.commit("first");
    assert!(world.all().is_complete());
    std::fs::remove_dir_all(&world.git.folder).unwrap();
    world.git = GitRepository::new(&world.git.folder, &world.registry);
    world.git.take(&world.registry, "stays");
    world.publish("fresh@1.0.0");
    let commit = world.git.commit("anew");
    let report = world.all();
    assert!(report.is_complete(), "{:?}", report.failures);
    assert_eq!((report.wanted, report.held, report.downloaded), (2, 1, 1));
    assert_eq!(history(&world.archive(), "gone").len(), 2);
    assert_eq!(history(&world.archive(), "stays").len(), 1);
    assert_eq!(world.cursor(), Some(commit));
}

#[test]
fn an_index_that_lost_much_is_not_believed_unless_told_to() {
    let mut world = World::new();
    let many = |name: &str, count: usize| -> String {
        let line = |i| line(&format!("{name}@1.0.{i}"), format!("{name}{i}").as_bytes(), false);
        (0..count).map(|i| line(i) + "\n").collect()
    };
    for (name, count) in [("lose", 101), ("stay", 500)] {
        let file = many(name, count);
        world.git.put(name, &file);
    }
    let first = world.git.commit("first");
    let mut options = world.options();
    options.no_download = true;
    let before = world.all_with(&options).unwrap();
    assert_eq!((before.wanted, before.left, before.is_complete()), (601, 601, false));
    world.git.remove("lose");
    let second = world.git.commit("second");
    let error = world.all_with(&options).unwrap_err().to_string();
    assert!(error.contains("lacks 101 of the 601 releases"), "{error}");
    assert!(error.contains("--accept-removals 101"), "{error}");
    assert_eq!(world.cursor(), Some(first.clone()));
    options.accept_removals = 100;
    assert!(world.all_with(&options).is_err());
    assert_eq!(world.cursor(), Some(first));
    options.accept_removals = 101;
    assert_eq!(world.all_with(&options).unwrap().wanted, 500);
    assert_eq!(world.cursor(), Some(second));
}

#[test]
fn a_file_that_cannot_be_read_removes_nothing_and_is_read_again() {
    let mut world = World::new();
    world.publish("odd@1.0.0");
    world.publish("odd@1.0.1");
    world.publish("mixed@1.0.0");
    let first = world.git.commit("first");
    assert!(world.all().is_complete());
    let lines = world.registry.lines("odd");
    world.git.put("odd", &format!("{}\nnot json\n", lines[0]));
    world.git.put("mixed", &lines[0]);
    world.git.commit("second");
    for _ in 0..2 {
        let causes = causes(&world.all()).join("\n");
        assert!(causes.contains("odd in the registry index, line 2"), "{causes}");
        assert!(
            causes.contains("mixed: the registry index gives the file of another crate"),
            "{causes}"
        );
        assert_eq!(world.cursor(), Some(first.clone()));
    }
    assert_eq!(history(&world.archive(), "odd").len(), 2);
    world.git.put("odd", &(lines.join("\n") + "\n"));
    world.git.take(&world.registry, "mixed");
    world.git.commit("mended");
    assert!(world.all().is_complete());
}

/// Over HTTP, into a bare clone, and by force when the history is rewritten.
#[test]
fn a_remote_index_is_fetched_shallow_and_by_force() {
    let mut world = World::new();
    world.publish("far@1.0.0");
    world.git.commit("first");
    let (server, mut options) = world.serve();
    let report = world.all_with(&options).unwrap();
    assert!(report.is_complete(), "{:?}", report.failures);
    assert_eq!(report.downloaded, 1);
    world.publish("far@1.0.1");
    let commit = world.git.commit("squashed");
    assert_eq!(world.all_with(&options).unwrap().downloaded, 1);
    assert_eq!(world.cursor(), Some(commit));
    assert!(world.all_with(&options).unwrap().is_complete());
    // The same index answers for single crates too.
    let report = run(&world.archive(), &options, &selection(&["far", "none"])).unwrap();
    assert_eq!((report.held, report.failures.len()), (2, 1));
    // Another repository is another registry.
    options.index = IndexUrl::parse(&format!("http://127.0.0.1:{}/nothing.git", server.port)).unwrap();
    let error = world.all_with(&options).unwrap_err().to_string();
    assert!(error.contains("would mix two registries"), "{error}");
    let elsewhere = world.folder.path().join("other");
    options.index_cache = world.folder.path().join("other.index");
    let error = run(&elsewhere, &options, &Selection::everything())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("nothing.git: cannot fetch the registry index"),
        "{error}"
    );
    assert!(error.contains("404"), "{error}");
}

/// Each fetch adds a pack, and years of fetches would add thousands.
#[test]
fn a_clone_with_many_packs_is_fetched_anew() {
    let mut world = World::new();
    world.publish("worn@1.0.0");
    world.git.commit("first");
    let (_server, options) = world.serve();
    assert!(world.all_with(&options).unwrap().is_complete());
    let folder = options.index_cache.join("objects/pack");
    let packs = || {
        let files = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path());
        let mut packs: Vec<_> = files
            .filter(|path| path.extension().is_some_and(|end| end == "pack"))
            .collect();
        packs.sort();
        packs
    };
    let first = packs();
    assert_eq!(first.len(), 1);
    for i in 0..50 {
        for end in ["pack", "idx"] {
            let copy = folder.join(format!("pack-{i:040x}.{end}"));
            std::fs::copy(first[0].with_extension(end), copy).unwrap();
        }
    }
    world.publish("worn@1.0.1");
    let commit = world.git.commit("second");
    assert_eq!(world.all_with(&options).unwrap().downloaded, 1);
    let second = packs();
    assert_eq!(second.len(), 1, "{second:?}");
    assert_ne!(first, second);
    // A fetch that fails has made the clone forget what it had; the next one mends it.
    for i in 0..51 {
        for end in ["pack", "idx"] {
            let copy = folder.join(format!("pack-{i:040x}.{end}"));
            std::fs::copy(second[0].with_extension(end), copy).unwrap();
        }
    }
    let away = world.folder.path().join("away.git");
    std::fs::rename(&world.git.folder, &away).unwrap();
    assert!(world.all_with(&options).is_err());
    std::fs::rename(&away, &world.git.folder).unwrap();
    assert!(world.all_with(&options).unwrap().is_complete());
    assert_eq!(packs(), second, "the same commit makes the same pack");
    assert_eq!(world.cursor(), Some(commit));
}

/// What `import --index` has learned was never said by the commit that the cursor names.
#[test]
fn an_older_index_that_was_imported_is_checked_against_the_git_index() {
    let mut world = World::new();
    let file = world.publish("tag@1.0.0");
    let commit = world.git.commit("first");
    assert!(world.all().is_complete());
    let index = world.folder.path().join("older/3/t");
    std::fs::create_dir_all(&index).unwrap();
    let gone = support::line("tag@0.9.0", b"gone", false);
    std::fs::write(
        index.join("tag"),
        format!("{gone}\n{}\n", world.registry.lines("tag")[0]),
    )
    .unwrap();
    std::fs::write(world.folder.path().join("tag-1.0.0.crate"), &file).unwrap();
    let mut import = std::process::Command::new(env!("CARGO_BIN_EXE_cratehold"));
    import.current_dir(world.folder.path());
    let import = import.args(["-a", "archive", "import", "tag-1.0.0.crate", "--index", "older"]);
    let (code, stdout, stderr) = binary::output(import);
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    assert_eq!(lines(&world.archive(), "tag").len(), 2);
    assert_eq!(world.cursor().as_deref(), Some("-"));
    assert!(world.all().is_complete(), "the same commit, read again");
    assert_eq!(lines(&world.archive(), "tag"), world.registry.lines("tag"));
    assert_eq!(world.cursor(), Some(commit));
}

#[test]
fn what_is_no_git_index_is_said() {
    let world = World::new();
    let empty = world.all_with(&world.options()).unwrap_err().to_string();
    assert!(empty.contains("expected a git repository"), "{empty}");
    let mut options = options(&world.registry);
    let error = world.all_with(&options).unwrap_err().to_string();
    assert!(error.contains("--all needs a git registry index"), "{error}");
    options.index = IndexUrl::parse(&world.folder.path().display().to_string()).unwrap();
    let error = world.all_with(&options).unwrap_err().to_string();
    assert!(error.contains("expected a git repository"), "{error}");
    let mut bare = GitRepository::new(&world.folder.path().join("bare.git"), &world.registry);
    bare.files.remove("config.json");
    bare.commit("no config");
    options.index = IndexUrl::parse(&bare.folder.display().to_string()).unwrap();
    let error = world.all_with(&options).unwrap_err().to_string();
    assert!(
        error.contains("config.json: no such file") || error.contains("no such file in commit"),
        "{error}"
    );
}

#[test]
fn the_program_says_what_is_listed_and_not_held() {
    let mut world = World::new();
    world.publish("one@1.0.0");
    world.publish("two@1.0.0");
    world.git.commit("first");
    let run = |args: &[&str]| {
        let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_cratehold"));
        program.current_dir(world.folder.path());
        let output = program
            .args(["-a", "archive", "sync", "--all", "--index", "index.git"])
            .args(args);
        let output = output.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (output.status.code(), text(&output.stdout) + &text(&output.stderr))
    };
    let (code, text) = run(&["--no-download"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("2 releases are listed and not held"), "{text}");
    assert!(world.registry.requests("").is_empty());
    let (_, json) = run(&["--no-download", "--json"]);
    assert!(
        json.contains(r#""complete":false"#) && json.contains(r#""left":2"#),
        "{json}"
    );
    let (code, text) = run(&[]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("2 downloaded"), "{text}");
}

/// A clone is another place to read the same registry from.
#[test]
fn a_clone_is_the_registry_that_it_was_cloned_from() {
    let mut world = World::new();
    let file = world.publish("clone@1.0.0");
    world.git.commit("first");
    let index = || IndexUrl::parse(&world.git.folder.display().to_string()).unwrap();
    let by_folder = index().registry();
    assert!(by_folder.starts_with("file://"), "{by_folder}");
    assert!(world.all().is_complete());
    let config = world.git.folder.join("config");
    let before = std::fs::read_to_string(&config).unwrap();
    let with_origin =
        |url: &str| std::fs::write(&config, format!("{before}[remote \"origin\"]\n\turl = {url}\n")).unwrap();
    with_origin("https://github.com/rust-lang/crates.io-index.git");
    let clone = index();
    assert!(
        clone.is("sparse+https://index.crates.io/")
            && clone.is("registry+https://github.com/rust-lang/crates.io-index")
    );
    assert!(!clone.is("sparse+https://x.test/"));
    // What an archive has from before is the same one, too.
    assert!(clone.is(&by_folder));
    assert!(world.all().is_complete());
    assert_holds(&world.archive(), &[&file]);
    with_origin("../elsewhere");
    assert_eq!(index().registry(), by_folder);
}
