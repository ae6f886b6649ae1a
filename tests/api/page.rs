//! The page at `/`: what it may load, and how long it may be kept.

use axum::http::Method;
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};

use crate::support::TestApp;

/// The addresses of the files that the index loads.
fn assets(index: &str) -> Vec<String> {
    let quoted = index.split('"').skip(1).step_by(2);
    quoted.filter(|text| text.starts_with("/assets/")).map(str::to_owned).collect()
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn the_page_loads_only_its_own_files_and_has_no_inline_code(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let anonymous = app.anonymous();
    let index = anonymous.get("/").await.expect(200);
    let policy = index.header("content-security-policy").to_owned();
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"), "{policy}");
    assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
    assert_eq!(index.header("x-content-type-options"), "nosniff");
    let text = String::from_utf8(index.bytes).unwrap();
    assert!(!text.contains("http://") && !text.contains("https://") && !text.contains("{version}"), "{text}");
    assert!(!text.contains("<style") && !text.contains("style=") && !text.contains("<script>"), "{text}");
    let assets = assets(&text);
    assert_eq!(assets.len(), 3, "{assets:?}");
    for asset in &assets {
        let file = anonymous.get(asset).await.expect(200);
        assert_eq!(file.header("cache-control"), "public, max-age=31536000, immutable", "{asset}");
        assert_eq!(file.header("x-content-type-options"), "nosniff", "{asset}");
        assert!(!file.bytes.is_empty(), "{asset}");
    }
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn an_unchanged_index_is_304_in_each_encoding(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let anonymous = app.anonymous();
    let mut tags = Vec::new();
    for encoding in ["gzip, br", "identity"] {
        let accept = ("Accept-Encoding", encoding);
        let index = anonymous.send(Method::GET, "/", &[accept], None).await.expect(200);
        assert_eq!(index.header("cache-control"), "no-cache");
        assert_eq!(index.headers.contains_key("content-encoding"), encoding != "identity", "{encoding}");
        let tag = index.header("etag").to_owned();
        let again = anonymous.send(Method::GET, "/", &[accept, ("If-None-Match", &tag)], None).await.expect(304);
        assert!(again.bytes.is_empty());
        tags.push(tag);
    }
    assert_ne!(tags[0], tags[1], "each encoding is its own sequence of bytes");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn another_versions_asset_is_answered_but_not_kept(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let anonymous = app.anonymous();
    let foreign = anonymous.get("/assets/0123456789abcdef/app.js").await.expect(200);
    assert_eq!(foreign.header("cache-control"), "no-store");
    anonymous.get("/assets/0123456789abcdef/other.js").await.expect_problem(404, "NOT_FOUND");
    anonymous.get("/concerts").await.expect_problem(404, "NOT_FOUND");
}
