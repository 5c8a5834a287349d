//! Listed by the registry index, and not to be had: noted once, asked for again ever
//! less often, and told apart from a server that refuses everything.

use super::*;
use crate::changes::history;
use crate::support::{Act, dl_path};
use cratehold::archive::now;
use cratehold::format::manifest::EventKind::*;
use std::process::Command;

const DAY: u64 = 86_400;

fn missing_count(folder: &Path, name: &str) -> usize {
    let events = history(folder, name).into_iter();
    events.filter(|(kind, _)| *kind == Missing).count()
}

/// A run at the time that `clock` tells; gives its report, and how often `gone@1.1.0`
/// was asked for.
fn run_at(folder: &Path, registry: &Registry, wants: &[&str], clock: fn() -> u64) -> (Report, usize) {
    registry.forget_requests();
    let mut options = options(registry);
    options.clock = clock;
    let report = run(folder, &options, &selection(wants)).unwrap();
    (report, registry.requests(&dl_path("gone@1.1.0")).len())
}

#[test]
fn absence_is_noted_and_asked_about_ever_less_often() {
    let registry = Registry::start();
    let folder = tempfile::tempdir().unwrap();
    registry.publish("gone@1.0.0");
    let late = registry.publish("gone@1.1.0");
    registry.forget(&dl_path("gone@1.1.0"));
    let folder = folder.path();
    let (report, asked) = run_at(folder, &registry, &["gone"], now);
    assert_eq!((report.wanted, report.downloaded, report.failed, asked), (2, 1, 0, 1));
    assert_eq!((report.missing, report.missing_new), (1, 1));
    assert!(!report.is_complete() && !report.is_well());
    assert!(
        causes(&report)[0].contains("gone@1.1.0: missing upstream: http://"),
        "{:?}",
        causes(&report)
    );
    let first = report.snapshot;
    // The same day it is not asked for, and that is no failure; nor is anything complete.
    let (report, asked) = run_at(folder, &registry, &["gone"], now);
    assert_eq!(
        (report.wanted, report.held, report.missing, report.missing_new),
        (2, 1, 1, 0)
    );
    assert_eq!((asked, report.snapshot), (0, first));
    assert!(report.is_well() && !report.is_complete());
    // A day later it is; the next pause is of two days.
    let (report, asked) = run_at(folder, &registry, &["gone"], || now() + DAY);
    assert_eq!((asked, report.missing, report.missing_new), (1, 1, 0));
    assert_eq!(missing_count(folder, "gone"), 2);
    assert_eq!(run_at(folder, &registry, &["gone"], || now() + DAY).1, 0);
    assert_eq!(run_at(folder, &registry, &["gone"], || now() + 2 * DAY).1, 1);
    assert_eq!(run_at(folder, &registry, &["gone"], || now() + 3 * DAY).1, 0);
    // By a clock that was set back it is asked for at once.
    assert_eq!(run_at(folder, &registry, &["gone"], || now() - DAY).1, 1);
    assert_eq!(missing_count(folder, "gone"), 4);
    // Whoever names it hears of it; that it is not there is no news to the archive.
    let (report, asked) = run_at(folder, &registry, &["gone@1.1.0"], now);
    assert_eq!((asked, report.missing_new, report.is_well()), (1, 1, false));
    assert_eq!(missing_count(folder, "gone"), 4);
    let archive = Archive::open(folder).unwrap();
    let absence = archive
        .release_state("gone", "1.1.0")
        .unwrap()
        .unwrap()
        .absence
        .unwrap();
    assert_eq!((absence.count, absence.first), (4, first));
    assert!(
        archive
            .at(first)
            .release_state("gone", "1.1.0")
            .unwrap()
            .unwrap()
            .absence
            .unwrap()
            .count
            == 1
    );
    registry.serve(&dl_path("gone@1.1.0"), &late);
    let mut options = options(&registry);
    options.retry_missing = true;
    let report = run(folder, &options, &selection(&["gone"])).unwrap();
    assert!(report.is_complete(), "{:?}", causes(&report));
    assert_holds(folder, &[&late]);
    assert_eq!(run_at(folder, &registry, &["gone"], now).0.missing, 0);
}

#[test]
fn what_comes_back_to_the_registry_is_asked_for_at_once() {
    let registry = Registry::start();
    let folder = tempfile::tempdir().unwrap();
    registry.publish("gone@1.0.0");
    registry.publish("gone@1.1.0");
    registry.forget(&dl_path("gone@1.1.0"));
    let lines = registry.lines("gone");
    assert_eq!(run_at(folder.path(), &registry, &["gone"], now).1, 1);
    registry.set_lines("gone", &lines[..1]);
    assert_eq!(run_at(folder.path(), &registry, &["gone"], now).0.missing, 0);
    registry.set_lines("gone", &lines);
    let (report, asked) = run_at(folder.path(), &registry, &["gone"], now);
    assert_eq!((asked, report.missing_new), (1, 1));
}

#[test]
fn a_server_that_refuses_everything_lacks_nothing() {
    let registry = Registry::start();
    let folder = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..8).map(|i| format!("all{i}")).collect();
    let wants: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut files = Vec::new();
    for name in &names {
        let release = format!("{name}@1.0.0");
        files.push(registry.publish(&release));
        registry.always(&dl_path(&release), Some(Act::Status(403, "")));
    }
    let report = sync(folder.path(), &registry, &wants);
    assert_eq!((report.failed, report.missing, report.downloaded), (8, 0, 0));
    let told = report.gave_up.clone().unwrap();
    assert!(
        told.contains("8 of 8 crate files asked for were refused") && told.contains("status 403"),
        "{told}"
    );
    assert!(
        told.contains("none was noted as missing") && told.contains("CRATEHOLD_CONTACT"),
        "{told}"
    );
    assert!(!report.is_well());
    assert!(names.iter().all(|name| missing_count(folder.path(), name) == 0));
    for name in &names {
        registry.always(&dl_path(&format!("{name}@1.0.0")), None);
    }
    // Nothing was noted: all of it is asked for by the next run.
    assert!(sync(folder.path(), &registry, &wants).is_complete());
    assert_holds(folder.path(), &files.iter().map(Vec::as_slice).collect::<Vec<_>>());
}

#[test]
fn a_server_that_refuses_most_is_not_asked_for_all() {
    let registry = Registry::start();
    let folder = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..250).map(|i| format!("most{i}")).collect();
    for (i, name) in names.iter().enumerate() {
        let release = format!("{name}@1.0.0");
        registry.publish_sized(&release, 10);
        if i % 3 != 0 {
            registry.forget(&dl_path(&release));
        }
    }
    let wants: Vec<&str> = names.iter().map(String::as_str).collect();
    let report = sync(folder.path(), &registry, &wants);
    assert!(report.gave_up.is_some() && report.left > 100, "{} left", report.left);
    assert_eq!(report.missing, 0);
    assert_eq!(report.wanted, report.downloaded + report.failed + report.left);
    assert!(registry.requests("/dl/").len() < 150);
    assert!(names.iter().all(|name| missing_count(folder.path(), name) == 0));
}

#[test]
fn what_is_missing_is_listed_with_the_time_of_its_next_asking() {
    let registry = Registry::start();
    let folder = tempfile::tempdir().unwrap();
    registry.publish("gone@1.0.0");
    registry.publish("gone@1.1.0");
    registry.forget(&dl_path("gone@1.1.0"));
    let start = now();
    assert_eq!(sync(folder.path(), &registry, &["gone"]).missing_new, 1);
    let list = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cratehold"));
        let output = command
            .arg("-a")
            .arg(folder.path())
            .args(["list", "--missing"])
            .args(args)
            .output()
            .unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let text = list(&[]);
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(
        text.starts_with("gone@1.1.0 ") && text.contains("asked 1 times"),
        "{text}"
    );
    let line: serde_json::Value = serde_json::from_str(&list(&["gone", "--json"])).unwrap();
    assert_eq!(
        (&line["name"], &line["version"], &line["asked"]),
        (&"gone".into(), &"1.1.0".into(), &1.into())
    );
    let since = line["since_time"].as_u64().unwrap();
    assert!((start..=now()).contains(&since), "{line}");
    assert_eq!(line["next_time"].as_u64().unwrap(), since + DAY);
    let program = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cratehold"));
        crate::binary::output(command.arg("-a").arg(folder.path()).args(args))
    };
    let (_, told, _) = program(&["info", "gone"]);
    assert!(told.contains("  missing     1 upstream"), "{told}");
    let (code, _, told) = program(&["extract", "gone@1.1.0"]);
    assert_eq!(code, Some(1));
    assert!(
        told.contains("gone@1.1.0 is in the registry index, but its download server does not have it")
            && told.contains("asked once"),
        "{told}"
    );
    // What failed in another way is only not held.
    registry.publish("gone@1.2.0");
    registry.always(&dl_path("gone@1.2.0"), Some(Act::Wrong));
    assert_eq!(sync(folder.path(), &registry, &["gone"]).failed, 1);
    let (code, _, told) = program(&["info", "gone@1.2.0"]);
    assert_eq!(code, Some(1));
    assert!(
        told.contains("gone@1.2.0 is in the registry but not held: `cratehold sync --crate gone@=1.2.0` fetches it"),
        "{told}"
    );
}
