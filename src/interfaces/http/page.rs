//! The page at `/`: a client of the API for buyers and operators, embedded in the binary.
//!
//! Its source is in `web/`, and `scripts/web build` compiles it into `web/dist`.

use std::{io::Write, sync::LazyLock};

use axum::{
    Router,
    body::Bytes,
    extract::Path,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use flate2::{Compression, write::GzEncoder};
use sha2::{Digest, Sha256};

use super::{
    problem::{Code, Problem},
    values::{matches_if_none_match, strong_etag},
};

const INDEX: &str = include_str!("../../../web/dist/index.html");

/// The files that the page loads: name, media type, content.
const ASSETS: [(&str, &str, &[u8]); 3] = [
    ("app.js", "text/javascript; charset=utf-8", include_bytes!("../../../web/dist/app.js")),
    ("app.css", "text/css; charset=utf-8", include_bytes!("../../../web/dist/app.css")),
    ("icon.svg", "image/svg+xml", include_bytes!("../../../web/dist/icon.svg")),
];

/// The placeholder in the index for the version in each asset's URL.
const VERSION_MARK: &str = "{version}";

/// Permits the page to load from and to call this server only. Pictures of tickets' codes are blobs that the page
/// makes.
const CONTENT_SECURITY_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data: blob:; \
     base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'",
);

/// The content of an asset with this binary's version never changes.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// While instances of two versions run, one may get a request for the other's asset. It sends its own, which no cache
/// may store.
const FOREIGN_VERSION: HeaderValue = HeaderValue::from_static("no-store");

const REVALIDATE: HeaderValue = HeaderValue::from_static("no-cache");

static PAGE: LazyLock<Page> = LazyLock::new(Page::new);

pub(super) fn routes() -> Router {
    Router::new().route("/", get(get_index)).route("/assets/{version}/{file}", get(get_asset))
}

struct Page {
    /// Identifies the content of all files.
    version: String,
    index: File,
    assets: Vec<File>,
}

/// A file, compressed once.
struct File {
    name: &'static str,
    media_type: HeaderValue,
    content: Bytes,
    gzip: Bytes,
}

impl Page {
    fn new() -> Self {
        let mut digest = Sha256::new_with_prefix(INDEX);
        for (_, _, content) in ASSETS {
            digest.update(content);
        }
        let digest = digest.finalize();
        let version = format!("{:016x}", digest.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes)));
        let index = INDEX.replace(VERSION_MARK, &version);
        let asset = |(name, media_type, content)| {
            File::new(name, HeaderValue::from_static(media_type), Bytes::from_static(content))
        };
        Self {
            index: File::new("index.html", HeaderValue::from_static("text/html; charset=utf-8"), index.into()),
            assets: ASSETS.map(asset).into(),
            version,
        }
    }
}

impl File {
    fn new(name: &'static str, media_type: HeaderValue, content: Bytes) -> Self {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        // Writing to memory can't fail; without the compressed form the other one is sent.
        let gzip = encoder.write_all(&content).and_then(|()| encoder.finish()).unwrap_or_default();
        Self { name, media_type, content, gzip: gzip.into() }
    }

    fn response(&self, request: &HeaderMap, cache_control: HeaderValue, etag: Option<HeaderValue>) -> Response {
        const VARY: (HeaderName, HeaderValue) = (header::VARY, HeaderValue::from_static("accept-encoding"));
        let gzip = !self.gzip.is_empty() && accepts_gzip(request);
        let content = if gzip { &self.gzip } else { &self.content };
        let encoding = gzip.then_some([(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"))]);
        let headers = [(header::CONTENT_TYPE, self.media_type.clone()), (header::CACHE_CONTROL, cache_control), VARY];
        let etag = etag.map(|etag| [(header::ETAG, etag)]);
        (SECURITY_HEADERS, headers, etag, encoding, content.clone()).into_response()
    }
}

const SECURITY_HEADERS: [(HeaderName, HeaderValue); 4] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
];

/// Whether `Accept-Encoding` lists gzip with a weight other than 0.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        parts.next() == Some("gzip") && !parts.any(|weight| matches!(weight, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}

async fn get_index(headers: HeaderMap) -> Response {
    // Each encoding is its own sequence of bytes.
    let encoding = if accepts_gzip(&headers) { "-gzip" } else { "" };
    let etag = strong_etag(&format_args!("{}{encoding}", PAGE.version));
    if matches_if_none_match(&headers, &etag) {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, etag), (header::CACHE_CONTROL, REVALIDATE)]).into_response();
    }
    PAGE.index.response(&headers, REVALIDATE, Some(etag))
}

async fn get_asset(Path((version, name)): Path<(String, String)>, headers: HeaderMap) -> Response {
    let Some(file) = PAGE.assets.iter().find(|file| file.name == name) else {
        return Problem::new(Code::NOT_FOUND, "The page has no such file.").into_response();
    };
    let cache_control = if version == PAGE.version { IMMUTABLE } else { FOREIGN_VERSION };
    file.response(&headers, cache_control, None)
}
