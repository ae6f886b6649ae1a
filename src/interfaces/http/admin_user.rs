//! Administration of accounts, and the action log.

use axum::{extract::State, response::IntoResponse};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::{
    auth::Administrator,
    body::{AdminBody, FromBody, Object, optionally},
    problem::{Code, HandlerResult},
    query::{Id, Query, cursor, cursor_part},
    state::App,
    values::{Amount, Timestamp, private},
    words::{ActionKinds, Roles},
};
use crate::{
    application::administration::UpdateUser,
    domain::{
        administration::ActionEntry,
        id::{ActionId, UserId},
        text::{Reason, search_term},
        user::{Role, UserDetails, UserFilter},
    },
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_users))
        .routes(routes!(get_user, update_user))
        .routes(routes!(list_actions))
}

/// The roles by name.
const ROLES: [(&str, Role); 2] = [("USER", Role::User), ("ADMIN", Role::Admin)];

/// A change of an account, and why: a role, blocking or unblocking, or both. What is absent stays.
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
        let role = optionally(object.given("role"), |field| field.choice(&ROLES));
        let blocked = optionally(object.given("blocked"), |field| field.boolean());
        let reason = object.required("reason").and_then(|field| field.parse(Reason::new));
        let request = Self { role: role?, blocked: blocked?, reason: reason? };
        if request.role.is_none() && request.blocked.is_none() {
            return object.fail("must have at least one of role and blocked");
        }
        Some(request)
    }
}

/// An account, as administrators see it.
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
    /// Whether a code that was mailed to the address came back.
    email_verified: bool,
    /// Since when the account is blocked; null for others.
    blocked_at: Option<Timestamp>,
    created_at: Timestamp,
    /// Points.
    balance: Amount,
    /// How many bookings are held, or confirmed for performances that haven't ended.
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

/// One successful write of an administrator.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ActionResponse {
    action_id: Uuid,
    /// The administrator.
    actor_id: Uuid,
    #[schema(value_type = ActionKinds)]
    action: &'static str,
    /// The id of what was written.
    target_id: String,
    /// What was asked for, in words; empty where the action says it all.
    #[schema(example = "blocked")]
    details: String,
    /// The administrator's reason; null where none is asked for.
    reason: Option<String>,
    created_at: Timestamp,
}

impl From<ActionEntry> for ActionResponse {
    fn from(entry: ActionEntry) -> Self {
        let ActionEntry { id, action, created_at } = entry;
        Self {
            action_id: id.0,
            actor_id: action.actor.0,
            action: action.kind.name(),
            target_id: action.target,
            details: action.details,
            reason: action.reason.map(|reason| reason.as_str().to_owned()),
            created_at: Timestamp(created_at),
        }
    }
}

/// A page of the action log, newest first.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ActionListResponse {
    items: Vec<ActionResponse>,
    next_cursor: Option<String>,
}

/// Accounts, newest first, without deleted ones.
#[utoipa::path(get, path = "/admin/users", tag = "administration", security(("accessToken" = [])),
    params(
        ("query" = Option<String>, Query, max_length = 200,
            description = "A part of the e-mail address or of the name, in any case."),
        ("role" = Option<Roles>, Query),
        ("blocked" = Option<bool>, Query, description = "Only blocked accounts, or only others."),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 100, description = "At most so many; 20 if absent."),
        ("cursor" = Option<String>, Query, max_length = 200, pattern = "^[A-Za-z0-9_-]+$",
            description = "The nextCursor of the page before."),
    ),
    responses((status = 200, body = UserListResponse)))]
async fn list_users(State(app): State<App>, _: Administrator, mut query: Query) -> HandlerResult<impl IntoResponse> {
    let limit = query.limit();
    let before = query.cursor::<1>()?.map(|[id]| cursor_part(&id)).transpose()?.map(UserId);
    let filter = UserFilter {
        query: query.parse("query", search_term).filter(|text| !text.is_empty()),
        role: query.choice("role", &ROLES),
        blocked: query.choice("blocked", &[("true", true), ("false", false)]),
        before,
    };
    query.finish()?;
    let page = app.administration.list_users(&filter, limit).await?;
    let next_cursor = page.last_of_more().map(|details| cursor(&[&details.user.id]));
    let items = page.items.into_iter().map(Into::into).collect();
    Ok(private(UserListResponse { items, next_cursor }))
}

/// An account.
#[utoipa::path(get, path = "/admin/users/{userId}", tag = "administration", security(("accessToken" = [])),
    extensions(("x-problems" = json!([Code::USER_NOT_FOUND]))),
    params(("userId" = Uuid, Path)),
    responses((status = 200, body = UserResponse)))]
async fn get_user(State(app): State<App>, _: Administrator, Id(id): Id<UserId>) -> HandlerResult<impl IntoResponse> {
    Ok(private(UserResponse::from(app.administration.user(id).await?)))
}

/// Changes an account's role, blocks it, or unblocks it.
///
/// Blocking ends the account's sessions and queue tokens on every server within a second; logging in is then
/// `USER_BLOCKED`. A role counts from the next request on. The only administrator can't be lost.
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
    Ok(private(UserResponse::from(app.administration.update_user(caller.user_id, &command).await?)))
}

/// The action log: one entry for each successful administrative write, newest first.
#[utoipa::path(get, path = "/admin/actions", tag = "administration", security(("accessToken" = [])),
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 100, description = "At most so many; 20 if absent."),
        ("cursor" = Option<String>, Query, max_length = 200, pattern = "^[A-Za-z0-9_-]+$",
            description = "The nextCursor of the page before."),
    ),
    responses((status = 200, body = ActionListResponse)))]
async fn list_actions(State(app): State<App>, _: Administrator, mut query: Query) -> HandlerResult<impl IntoResponse> {
    let limit = query.limit();
    let before = query.cursor::<1>()?.map(|[id]| cursor_part(&id)).transpose()?.map(ActionId);
    query.finish()?;
    let page = app.administration.actions(before, limit).await?;
    let next_cursor = page.last_of_more().map(|entry| cursor(&[&entry.id]));
    let items = page.items.into_iter().map(Into::into).collect();
    Ok(private(ActionListResponse { items, next_cursor }))
}
