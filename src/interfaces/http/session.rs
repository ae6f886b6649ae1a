//! The caller's sessions and password.

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::IntoResponse,
};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::{
    auth::Caller,
    body::{Body, EmptyBody, FromBody, Object},
    client_network::ClientNetwork,
    problem::{BODY_CODES, Code, HandlerResult},
    query::{Id, PageParameters, Query, cursor},
    rate_limit::{LogIn, RateLimited},
    state::App,
    values::{Timestamp, private_response},
};
use crate::domain::{
    id::SessionId,
    text::normalized,
    user::{Password, SessionSummary},
};

/// The most stored characters of a `User-Agent`.
const USER_AGENT_LENGTH: usize = 200;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(change_password))
        .routes(routes!(list_sessions, end_all_sessions))
        .routes(routes!(end_session))
}

/// The printable ASCII characters of the client's `User-Agent`.
pub(super) fn user_agent(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::USER_AGENT)?.as_bytes();
    let printable = value.iter().filter(|byte| (b' '..=b'~').contains(byte)).map(|byte| char::from(*byte));
    let text: String = printable.take(USER_AGENT_LENGTH).collect();
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// The password to replace, and its replacement.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct ChangePasswordRequest {
    #[schema(format = Password, example = "correct horse battery")]
    current_password: String,
    #[schema(value_type = String, format = Password, min_length = 10, max_length = 128, example = "staple battery horse")]
    new_password: Password,
}

impl FromBody for ChangePasswordRequest {
    fn read(object: &Object<'_>) -> Option<Self> {
        let current = object.required("currentPassword").and_then(|field| field.text()).map(|text| normalized(&text));
        let new = object.required("newPassword").and_then(|field| field.parse(Password::new));
        Some(Self { current_password: current?, new_password: new? })
    }
}

/// Changes the caller's password.
///
/// Every other session of the caller ends. A wrong current password counts as a failed login.
#[utoipa::path(post, path = "/users/me/password", tag = "users", security(("accessToken" = [])),
    extensions(("x-problems" = json!([Code::INVALID_CREDENTIALS, Code::RATE_LIMITED]))),
    request_body = ChangePasswordRequest,
    responses((status = 204, description = "The password is changed.")))]
async fn change_password(
    State(app): State<App>,
    _: RateLimited<LogIn>,
    caller: Caller,
    ClientNetwork(client): ClientNetwork,
    Body { value, .. }: Body<ChangePasswordRequest>,
) -> HandlerResult<StatusCode> {
    let ChangePasswordRequest { current_password, new_password } = value;
    app.users.change_password(caller.user_id, caller.session_id, current_password, new_password, client).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A session: one login on one device.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SessionResponse {
    session_id: Uuid,
    created_at: Timestamp,
    /// The login, or the newest exchange of its refresh token.
    last_used_at: Timestamp,
    /// The `User-Agent` of the login; null without one.
    #[schema(example = "Mozilla/5.0 (X11; Linux x86_64)")]
    user_agent: Option<String>,
    /// Whether the request's access token belongs to this session.
    current: bool,
}

impl SessionResponse {
    fn of(session: SessionSummary, current: SessionId) -> Self {
        Self {
            session_id: session.id.0,
            created_at: Timestamp(session.created_at),
            last_used_at: Timestamp(session.last_used_at),
            user_agent: session.user_agent,
            current: session.id == current,
        }
    }
}

/// A page of sessions, newest first.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SessionListResponse {
    items: Vec<SessionResponse>,
    next_cursor: Option<String>,
}

/// Lists the caller's sessions that have not ended, newest first.
#[utoipa::path(get, path = "/users/me/sessions", tag = "users", security(("accessToken" = [])),
    params(
        PageParameters,
    ),
    responses((status = 200, body = SessionListResponse)))]
async fn list_sessions(State(app): State<App>, caller: Caller, mut query: Query) -> HandlerResult<impl IntoResponse> {
    let request = query.page(SessionId)?;
    query.finish()?;
    let page = app.users.sessions(caller.user_id, request).await?;
    let next_cursor = page.last_of_more().map(|session| cursor(&[&session.id]));
    let items = page.items.into_iter().map(|session| SessionResponse::of(session, caller.session_id)).collect();
    Ok(private_response(SessionListResponse { items, next_cursor }))
}

/// Ends one of the caller's sessions.
///
/// Its access and refresh tokens become invalid on every instance within a second.
#[utoipa::path(delete, path = "/users/me/sessions/{sessionId}", tag = "users", security(("accessToken" = [])),
    extensions(("x-problems" = json!([BODY_CODES, Code::SESSION_NOT_FOUND]))),
    params(("sessionId" = Uuid, Path)),
    responses((status = 204, description = "The session has ended.")))]
async fn end_session(
    State(app): State<App>,
    caller: Caller,
    Id(id): Id<SessionId>,
    _: EmptyBody,
) -> HandlerResult<StatusCode> {
    app.users.end_session(caller.user_id, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends every session of the caller, this one included.
///
/// Their access and refresh tokens become invalid on every instance within a second.
#[utoipa::path(delete, path = "/users/me/sessions", tag = "users", security(("accessToken" = [])),
    extensions(("x-problems" = json!([BODY_CODES]))),
    responses((status = 204, description = "Every session has ended.")))]
async fn end_all_sessions(State(app): State<App>, caller: Caller, _: EmptyBody) -> HandlerResult<StatusCode> {
    app.users.end_all_sessions(caller.user_id).await?;
    Ok(StatusCode::NO_CONTENT)
}
