//! Accounts: listing, reading and changing them.

use axum::{extract::State, response::IntoResponse};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    application::administration::UpdateUser,
    domain::{
        id::UserId,
        text::{Reason, search_term},
        user::{Role, UserDetails, UserFilter},
    },
    interfaces::http::{
        auth::Administrator,
        body::{AdminBody, FromBody, Object, read_optional},
        problem::{Code, HandlerResult},
        query::{Id, PageParameters, Query, cursor},
        state::App,
        values::{Amount, Timestamp, private_response, read_choice},
        words::Roles,
    },
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_users)).routes(routes!(get_user, update_user))
}

/// An account with its balance and live bookings.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct UserResponse {
    user_id: Uuid,
    #[schema(example = "jin@example.org")]
    email: String,
    #[schema(example = "Jin")]
    name: String,
    #[schema(value_type = Roles)]
    role: &'static str,
    /// Whether a mailed code confirmed the address.
    email_verified: bool,
    /// The time when the account was blocked; null for others.
    blocked_at: Option<Timestamp>,
    created_at: Timestamp,
    /// In points.
    balance: Amount,
    /// Bookings that are held, or confirmed for performances that haven't ended.
    live_bookings: u32,
}

impl From<UserDetails> for UserResponse {
    fn from(details: UserDetails) -> Self {
        let UserDetails { user, balance, live_bookings } = details;
        Self {
            user_id: user.id.0,
            email: user.email.as_str().to_owned(),
            name: user.name.as_str().to_owned(),
            role: user.role.name(),
            email_verified: user.email_verified_at.is_some(),
            blocked_at: user.blocked_at.map(Timestamp),
            created_at: Timestamp(user.created_at),
            balance: balance.into(),
            live_bookings,
        }
    }
}

/// A page of accounts, newest first.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct UserListResponse {
    items: Vec<UserResponse>,
    next_cursor: Option<String>,
}

/// Lists the accounts that aren't deleted, newest first.
#[utoipa::path(get, path = "/admin/users", tag = "administration", security(("accessToken" = [])),
    params(
        ("query" = Option<String>, Query, max_length = 200,
            description = "A part of the e-mail address or of the name, in any case."),
        ("role" = Option<Roles>, Query),
        ("blocked" = Option<bool>, Query, description = "Only blocked accounts, or only others."),
        PageParameters,
    ),
    responses((status = 200, body = UserListResponse)))]
async fn list_users(State(app): State<App>, _: Administrator, mut query: Query) -> HandlerResult<impl IntoResponse> {
    let request = query.page(UserId)?;
    let filter = UserFilter {
        query: query.parse("query", search_term).filter(|text| !text.is_empty()),
        role: query.choice("role"),
        blocked: query.flag("blocked"),
    };
    query.finish()?;
    let page = app.administration.list_users(&filter, request).await?;
    let next_cursor = page.last_of_more().map(|details| cursor(&[&details.user.id]));
    let items = page.items.into_iter().map(Into::into).collect();
    Ok(private_response(UserListResponse { items, next_cursor }))
}

/// Returns an account.
#[utoipa::path(get, path = "/admin/users/{userId}", tag = "administration", security(("accessToken" = [])),
    extensions(("x-problems" = json!([Code::USER_NOT_FOUND]))),
    params(("userId" = Uuid, Path)),
    responses((status = 200, body = UserResponse)))]
async fn get_user(State(app): State<App>, _: Administrator, Id(id): Id<UserId>) -> HandlerResult<impl IntoResponse> {
    Ok(private_response(UserResponse::from(app.administration.user(id).await?)))
}

/// Changes of an account with their reason: a role, blocking or unblocking, or both. Absent fields keep their values.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct UpdateUserRequest {
    #[schema(value_type = Roles, required = false)]
    role: Option<Role>,
    #[schema(required = false, example = true)]
    blocked: Option<bool>,
    /// For the action log.
    #[schema(value_type = String, min_length = 1, max_length = 500, pattern = r"\S", example = "Resold tickets.")]
    reason: Reason,
}

impl FromBody for UpdateUserRequest {
    fn read(object: &Object<'_>) -> Option<Self> {
        let role = read_optional(object.if_present("role"), |field| field.parse(read_choice));
        let blocked = read_optional(object.if_present("blocked"), |field| field.boolean());
        let reason = object.reason();
        let request = Self { role: role?, blocked: blocked?, reason: reason? };
        if request.role.is_none() && request.blocked.is_none() {
            return object.fail("must have at least one of role and blocked");
        }
        Some(request)
    }
}

/// Changes an account's role, blocks it, or unblocks it.
///
/// Blocking ends the account's sessions and queue tokens on every instance within a second; a login then fails with
/// `USER_BLOCKED`. A new role applies from the next request. The last administrator keeps the role.
#[utoipa::path(patch, path = "/admin/users/{userId}", tag = "administration", security(("accessToken" = [])),
    extensions(("x-problems" = json!([Code::USER_NOT_FOUND, Code::LAST_ADMIN]))),
    params(("userId" = Uuid, Path)),
    request_body = UpdateUserRequest,
    responses((status = 200, body = UserResponse)))]
async fn update_user(
    State(app): State<App>,
    Administrator(caller): Administrator,
    Id(user_id): Id<UserId>,
    AdminBody { value, .. }: AdminBody<UpdateUserRequest>,
) -> HandlerResult<impl IntoResponse> {
    let UpdateUserRequest { role, blocked, reason } = value;
    let command = UpdateUser { user_id, role, blocked, reason };
    Ok(private_response(UserResponse::from(app.administration.update_user(caller.user_id, &command).await?)))
}
