//! Accounts and logins.

use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::IntoResponse,
};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::{
    auth::Caller,
    body::{Body, EmptyBody, FromBody, Object},
    client_language::ClientLanguage,
    client_network::ClientNetwork,
    problem::{BODY_CODES, Code, HandlerResult},
    query::Query,
    rate_limit::{LogIn, RateLimited, Refresh, SignUp},
    session::user_agent,
    state::App,
    values::{Timestamp, private_response},
    words::Roles,
};
use crate::{
    application::user::{ProfileInfo, TokensInfo},
    domain::{
        text::{Email, Name, normalized},
        user::Password,
    },
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(sign_up))
        .routes(routes!(log_in))
        .routes(routes!(refresh_tokens))
        .routes(routes!(log_out))
        .routes(routes!(get_profile, rename, delete_account))
}

/// An account to create.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct SignUpRequest {
    /// Unique, compared without case.
    #[schema(value_type = String, format = Email, max_length = 254, example = "jin@example.org")]
    email: Email,
    /// Any characters.
    #[schema(value_type = String, format = Password, min_length = 10, max_length = 128, example = "correct horse battery")]
    password: Password,
    #[schema(value_type = String, min_length = 1, max_length = 200, pattern = r"\S", example = "Jin")]
    name: Name,
}

impl FromBody for SignUpRequest {
    fn read(object: &Object<'_>) -> Option<Self> {
        let email = object.required("email").and_then(|field| field.parse(Email::new));
        let password = object.required("password").and_then(|field| field.parse(Password::new));
        let name = object.required("name").and_then(|field| field.parse(Name::new));
        Some(Self { email: email?, password: password?, name: name? })
    }
}

/// An account.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ProfileResponse {
    user_id: Uuid,
    #[schema(example = "jin@example.org")]
    email: String,
    #[schema(example = "Jin")]
    name: String,
    #[schema(value_type = Roles)]
    role: &'static str,
    created_at: Timestamp,
    /// Whether a mailed code confirmed the address.
    email_verified: bool,
}

impl From<ProfileInfo> for ProfileResponse {
    fn from(profile: ProfileInfo) -> Self {
        Self {
            user_id: profile.id.0,
            email: profile.email.as_str().to_owned(),
            name: profile.name.as_str().to_owned(),
            role: profile.role.name(),
            created_at: Timestamp(profile.created_at),
            email_verified: profile.email_verified,
        }
    }
}

/// Creates an account, and mails a code that verifies its address.
#[utoipa::path(post, path = "/users", tag = "users",
    extensions(("x-problems" = json!([Code::EMAIL_TAKEN, Code::RATE_LIMITED]))),
    request_body = SignUpRequest,
    responses((status = 201, body = ProfileResponse, headers(("Location" = String, description = "The account.")))))]
async fn sign_up(
    State(app): State<App>,
    _: RateLimited<SignUp>,
    ClientNetwork(client): ClientNetwork,
    ClientLanguage(language): ClientLanguage,
    Body { value, .. }: Body<SignUpRequest>,
) -> HandlerResult<impl IntoResponse> {
    let profile = app.users.sign_up(value.email, value.password, value.name, client, language).await?;
    let location = [(header::LOCATION, HeaderValue::from_static("/api/v1/users/me"))];
    Ok((StatusCode::CREATED, location, private_response(ProfileResponse::from(profile))))
}

/// The credentials of an account.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct LogInRequest {
    #[schema(value_type = String, format = Email, max_length = 254, example = "jin@example.org")]
    email: Email,
    #[schema(format = Password, example = "correct horse battery")]
    password: String,
}

impl FromBody for LogInRequest {
    fn read(object: &Object<'_>) -> Option<Self> {
        let email = object.required("email").and_then(|field| field.parse(Email::new));
        // Of any length: an impossible password is answered like a wrong one.
        let password = object.required("password").and_then(|field| field.text()).map(|text| normalized(&text));
        Some(Self { email: email?, password: password? })
    }
}

/// The tokens of a login.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TokensResponse {
    /// The token of the header `Authorization: Bearer <accessToken>`.
    access_token: String,
    /// Always `Bearer`.
    #[schema(pattern = "^Bearer$", example = "Bearer")]
    token_type: &'static str,
    /// The lifetime of the access token in seconds.
    #[schema(example = 3_600)]
    expires_in: i64,
    /// Exchanged for new tokens. Repeating the exchange within seconds returns the same ones; a later use ends the
    /// session.
    refresh_token: String,
    /// The lifetime of the refresh token in seconds.
    #[schema(example = 1_209_600)]
    refresh_expires_in: i64,
    user_id: Uuid,
}

impl From<TokensInfo> for TokensResponse {
    fn from(tokens: TokensInfo) -> Self {
        Self {
            access_token: tokens.access_token,
            token_type: "Bearer",
            expires_in: tokens.expires_in_seconds,
            refresh_token: tokens.refresh_token,
            refresh_expires_in: tokens.refresh_expires_in_seconds,
            user_id: tokens.user_id.0,
        }
    }
}

/// Logs in.
///
/// An unknown address and a wrong password get the same answer. Too many failures delay further attempts for the
/// account (`RATE_LIMITED`).
#[utoipa::path(post, path = "/auth/login", tag = "users",
    extensions(("x-problems" = json!([Code::INVALID_CREDENTIALS, Code::USER_BLOCKED, Code::RATE_LIMITED]))),
    request_body = LogInRequest,
    responses((status = 200, body = TokensResponse)))]
async fn log_in(
    State(app): State<App>,
    _: RateLimited<LogIn>,
    ClientNetwork(client): ClientNetwork,
    headers: HeaderMap,
    Body { value, .. }: Body<LogInRequest>,
) -> HandlerResult<impl IntoResponse> {
    let user_agent = user_agent(&headers);
    let tokens = app.users.log_in(&value.email, value.password, client, user_agent.as_deref()).await?;
    Ok(private_response(TokensResponse::from(tokens)))
}

/// A refresh token to exchange.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct RefreshRequest {
    /// The newest refresh token of the session.
    #[schema(example = "A9v3qk0BkvN4Kn8CcYqSw0mDx1pRkQ2Vd0pWzSxRkQm1u3h8cJ5yT7aLbN4eFgXoIiUwZqKrYb2P0vJtq9Qy1Zs3xWnE")]
    refresh_token: String,
}

impl FromBody for RefreshRequest {
    fn read(object: &Object<'_>) -> Option<Self> {
        let refresh_token = object.required("refreshToken").and_then(|field| field.text());
        Some(Self { refresh_token: refresh_token? })
    }
}

/// Exchanges a refresh token for new tokens.
///
/// Repeating the exchange within `REFRESH_REUSE_SECONDS` (10) returns the first answer again, so a lost answer doesn't
/// end the session. A later use means that the token was copied, and ends the session with all its tokens. A session
/// ends at the latest `SESSION_MAX_DAYS` (90) after its login.
#[utoipa::path(post, path = "/auth/refresh", tag = "users",
    extensions(("x-problems" = json!([Code::INVALID_REFRESH_TOKEN, Code::RATE_LIMITED]))),
    request_body = RefreshRequest,
    responses((status = 200, body = TokensResponse)))]
async fn refresh_tokens(
    State(app): State<App>,
    _: RateLimited<Refresh>,
    Body { value, .. }: Body<RefreshRequest>,
) -> HandlerResult<impl IntoResponse> {
    let tokens = app.users.refresh(&value.refresh_token).await?;
    Ok(private_response(TokensResponse::from(tokens)))
}

/// Ends the login of the access token.
///
/// Its access and refresh tokens become invalid on every instance within a second.
#[utoipa::path(post, path = "/auth/logout", tag = "users", security(("accessToken" = [])),
    extensions(("x-problems" = json!([BODY_CODES]))),
    responses((status = 204, description = "The login has ended.")))]
async fn log_out(State(app): State<App>, caller: Caller, _: EmptyBody) -> HandlerResult<StatusCode> {
    app.users.log_out(caller.session_id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Returns the caller's account.
#[utoipa::path(get, path = "/users/me", tag = "users", security(("accessToken" = [])),
    responses((status = 200, body = ProfileResponse)))]
async fn get_profile(State(app): State<App>, caller: Caller) -> HandlerResult<impl IntoResponse> {
    let profile = app.users.profile(caller.user_id).await?;
    Ok(private_response(ProfileResponse::from(profile)))
}

/// The new name of an account.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct RenameRequest {
    #[schema(value_type = String, min_length = 1, max_length = 200, pattern = r"\S", example = "Jin Park")]
    name: Name,
}

impl FromBody for RenameRequest {
    fn read(object: &Object<'_>) -> Option<Self> {
        let name = object.required("name").and_then(|field| field.parse(Name::new));
        Some(Self { name: name? })
    }
}

/// Renames the caller's account.
#[utoipa::path(patch, path = "/users/me", tag = "users", security(("accessToken" = [])),
    request_body = RenameRequest,
    responses((status = 200, body = ProfileResponse)))]
async fn rename(
    State(app): State<App>,
    caller: Caller,
    Body { value, .. }: Body<RenameRequest>,
) -> HandlerResult<impl IntoResponse> {
    let profile = app.users.rename(caller.user_id, value.name).await?;
    Ok(private_response(ProfileResponse::from(profile)))
}

/// Deletes the caller's account.
///
/// Its sessions end, its tokens leave every queue, its wallet closes, and its personal data is erased. An account with
/// live bookings is refused: held ones, or confirmed ones for performances that haven't ended. A performance ends six
/// hours after its start. An account with points is refused, too, unless `forfeitBalance` is true.
#[utoipa::path(delete, path = "/users/me", tag = "users",
    extensions(("x-problems" = json!([
        BODY_CODES, Code::USER_HAS_LIVE_BOOKINGS, Code::BALANCE_NOT_ZERO, Code::LAST_ADMIN,
    ]))),
    security(("accessToken" = [])),
    params(("forfeitBalance" = Option<bool>, Query, description = "Whether the user forfeits the balance.")),
    responses((status = 204, description = "The account is deleted.")))]
async fn delete_account(
    State(app): State<App>,
    caller: Caller,
    mut query: Query,
    _: EmptyBody,
) -> HandlerResult<StatusCode> {
    let forfeits_balance = query.flag("forfeitBalance").unwrap_or(false);
    query.finish()?;
    app.users.delete_account(caller.user_id, forfeits_balance).await?;
    Ok(StatusCode::NO_CONTENT)
}
