//! The keys that verify the codes of tickets.

use axum::{
    Json,
    extract::State,
    http::{HeaderValue, header},
    response::IntoResponse,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{domain::ticket::TicketKey, interfaces::http::state::App};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_ticket_keys))
}

/// A public key in the form of a JSON Web Key (RFC 8037).
#[derive(Serialize, ToSchema)]
struct TicketKeyResponse {
    #[schema(example = "OKP")]
    kty: &'static str,
    #[schema(example = "Ed25519")]
    crv: &'static str,
    #[serde(rename = "use")]
    #[schema(example = "sig")]
    usage: &'static str,
    /// The key's id: the bytes 1 to 4 of a code, in hex.
    #[schema(pattern = "^[0-9a-f]{8}$", example = "2d5b2794")]
    kid: String,
    /// The public key in Base64url.
    #[schema(example = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")]
    x: String,
}

impl From<TicketKey> for TicketKeyResponse {
    fn from(key: TicketKey) -> Self {
        Self {
            kty: "OKP",
            crv: "Ed25519",
            usage: "sig",
            kid: format!("{:08x}", key.id),
            x: URL_SAFE_NO_PAD.encode(key.public_key),
        }
    }
}

/// The keys that verify codes, as a JSON Web Key Set.
#[derive(Serialize, ToSchema)]
struct TicketKeyListResponse {
    keys: Vec<TicketKeyResponse>,
}

/// Caches may store the keys for an hour, so a new key is known within an hour.
const CACHE_CONTROL: HeaderValue = HeaderValue::from_static("public, max-age=3600");

/// Lists the keys that verify the codes of tickets, the one that signs first.
///
/// They verify codes without a connection to the server: `docs/tickets.md` of the project shows how.
#[utoipa::path(get, path = "/tickets/keys", tag = "tickets",
    responses((status = 200, body = TicketKeyListResponse)))]
async fn list_ticket_keys(State(app): State<App>) -> impl IntoResponse {
    let keys = app.tickets.keys().into_iter().map(Into::into).collect();
    ([(header::CACHE_CONTROL, CACHE_CONTROL)], Json(TicketKeyListResponse { keys }))
}
