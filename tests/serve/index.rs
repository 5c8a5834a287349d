//! The sparse registry index.

use crate::client::Response;
use crate::world::{World, versions};
use crate::{Served, options, stocked};
use cratehold::offer::View;
use cratehold::serve::BaseUrl;
use std::time::{Duration, Instant};

fn dl(response: &Response) -> String {
    let config: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
    config["dl"].as_str().unwrap().to_owned()
}

#[test]
fn config_names_the_server_as_its_client_does() {
    let folder = tempfile::tempdir().unwrap();
    stocked(folder.path(), &[]);
    let served = Served::start(folder.path(), &options());
    let config = served.get("/index/config.json");
    assert_eq!(
        (config.status, config.header("content-type")),
        (200, Some("application/json"))
    );
    assert_eq!(dl(&config), "http://server.test/dl/{sha256-checksum}");
    // HTTP/1.0 has no Host.
    let mut client = served.client();
    client.send("GET /index/config.json HTTP/1.0\r\n\r\n");
    let config = client.read(false).unwrap();
    assert_eq!(dl(&config), format!("http://{}/dl/{{sha256-checksum}}", served.address));
    let mut named = options();
    named.base = Some("https://crates.example/mirror/".parse::<BaseUrl>().unwrap());
    let served = Served::start(folder.path(), &named);
    let config = served.get("/index/config.json");
    assert_eq!(dl(&config), "https://crates.example/mirror/dl/{sha256-checksum}");
}

#[test]
fn files_are_the_registrys_lines_with_validators() {
    let mut world = World::new();
    world.publish_leaf("a-leaf@1.0.0");
    world.publish_leaf("a-leaf@1.1.0");
    world.sync(&["a-leaf"]);
    let served = Served::start(&world.path("archive"), &options());
    let mut client = served.client();
    let file = client.ask("GET", "/index/a-/le/a-leaf", &[]);
    assert_eq!(file.status, 200);
    assert_eq!(file.text(), world.lines["a-leaf"].join("\n") + "\n");
    let (etag, date) = (file.header("etag").unwrap(), file.header("last-modified").unwrap());
    assert!(etag.starts_with('"') && etag.ends_with('"'), "{etag}");
    let other = "\"0123456789abcdef\"";
    for (header, status) in [
        (format!("If-None-Match: {etag}"), 304),
        (format!("If-None-Match: W/{etag}"), 304),
        (format!("If-None-Match: {other}, {etag}"), 304),
        ("If-None-Match: *".into(), 304),
        (format!("If-None-Match: {other}"), 200),
        (format!("If-Modified-Since: {date}"), 304),
        ("If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT".into(), 200),
        ("If-Modified-Since: yesterday".into(), 200),
    ] {
        let again = client.ask("GET", "/index/a-/le/a-leaf", &[&header]);
        assert_eq!(again.status, status, "{header}");
        assert_eq!(again.header("etag"), Some(etag));
        assert_eq!(again.body.len(), if status == 304 { 0 } else { file.body.len() });
    }
    // The entity tag decides where both are sent.
    let both = [format!("If-None-Match: {other}"), format!("If-Modified-Since: {date}")];
    assert_eq!(
        client.ask("GET", "/index/a-/le/a-leaf", &[&both[0], &both[1]]).status,
        200
    );
    let head = client.ask("HEAD", "/index/a-/le/a-leaf", &[]);
    assert_eq!(
        head.header("content-length"),
        Some(file.body.len().to_string().as_str())
    );
}

#[test]
fn what_is_absent_is_not_found() {
    let mut world = World::new();
    world.publish_leaf("A-Leaf@1.0.0");
    world.sync(&["A-Leaf"]);
    let served = Served::start(&world.path("archive"), &options());
    assert_eq!(served.get("/index/a-/le/a-leaf").status, 200);
    for target in [
        "/index/a_/le/a_leaf",
        "/index/A-/Le/A-Leaf",
        "/index/a-leaf",
        "/index/a-/le/a-leaf/",
        "/index//a-/le/a-leaf",
        "/index/1/a-leaf",
        "/index/no/ne/none",
        "/index/",
        "/index",
        "/index/head0",
        "/head0",
        "/dl/",
    ] {
        assert_eq!(served.get(target).status, 404, "{target}");
    }
}

#[test]
fn only_what_is_held_is_listed_unless_asked_for() {
    let mut world = World::new();
    world.publish_leaf("leaf@1.0.0");
    world.publish_leaf("leaf@2.0.0");
    world.sync(&["leaf@^1"]);
    let served = Served::start(&world.path("archive"), &options());
    assert_eq!(versions(&served.get("/index/le/af/leaf").body), ["1.0.0"]);
    let mut full = options();
    full.view = View::Full;
    let served = Served::start(&world.path("archive"), &full);
    assert_eq!(versions(&served.get("/index/le/af/leaf").body), ["1.0.0", "2.0.0"]);
}

#[test]
fn new_snapshots_are_seen_and_past_ones_stay() {
    let mut world = World::new();
    world.publish_leaf("leaf@1.0.0");
    world.sync(&["leaf"]);
    let mut past = options();
    past.as_of = Some(world.archive().generation());
    let (now, past) = (
        Served::start(&world.path("archive"), &options()),
        Served::start(&world.path("archive"), &past),
    );
    assert_eq!(versions(&now.get("/index/le/af/leaf").body), ["1.0.0"]);
    let file = world.publish_leaf("leaf@1.1.0");
    world.yank("leaf@1.0.0");
    world.sync(&["leaf"]);
    let start = Instant::now();
    loop {
        let versions = versions(&now.get("/index/le/af/leaf").body);
        if versions == ["1.0.0!", "1.1.0"] {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(10), "{versions:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
    let digest = cratehold::ids::Digest::of(&file);
    assert_eq!(now.get(&format!("/dl/{digest}")).body, file);
    assert_eq!(versions(&past.get("/index/le/af/leaf").body), ["1.0.0"]);
}

#[test]
fn what_cannot_be_listed_is_told_to_the_operator() {
    let folder = tempfile::tempdir().unwrap();
    let bad = crate::world::crate_file("odd@1.0.0", "[dependencies]\nx = [1]\n", "");
    stocked(folder.path(), &[("odd@1.0.0", &bad)]);
    let served = Served::start(folder.path(), &options());
    assert_eq!(served.get("/index/3/o/odd").status, 404);
    let troubles = served.troubles();
    assert!(troubles[0].starts_with("odd@1.0.0 is not listed: "), "{troubles:?}");
}
