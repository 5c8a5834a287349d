//! What lies where.

use super::answer::Answer;
use super::request::Asked;
use super::site::Site;
use super::{download, index, pages};
use hyper::StatusCode;
use std::sync::Arc;

pub(super) async fn answer(site: &Arc<Site>, asked: &Asked<'_>) -> Answer {
    match &asked.parts()[..] {
        ["index", "config.json"] => index::config(site, asked),
        ["index", path @ ..] => index::file(site, &path.join("/")).await,
        ["dl", checksum] => download::crate_file(site, asked, checksum).await,
        ["dl", ..] => Answer::plain(StatusCode::NOT_FOUND, "there is nothing of this name"),
        _ => pages::answer(site, asked).await,
    }
}
