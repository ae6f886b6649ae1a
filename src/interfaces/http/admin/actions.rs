//! The action log of administrators.

use axum::{extract::State, response::IntoResponse};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    domain::{administration::ActionEntry, id::ActionId},
    interfaces::http::{
        auth::Administrator,
        problem::HandlerResult,
        query::{PageParameters, Query, cursor},
        state::App,
        values::{Timestamp, private_response},
        words::ActionKinds,
    },
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_actions))
}

/// One successful write of an administrator.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ActionResponse {
    action_id: Uuid,
    /// The id of the administrator who wrote.
    actor_id: Uuid,
    #[schema(value_type = ActionKinds)]
    action: &'static str,
    /// The id of the written object.
    target_id: String,
    /// The requested change in words; empty if the action has no details.
    #[schema(example = "blocked")]
    details: String,
    /// The administrator's reason; null if the action requires none.
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

/// Lists the action log, newest first: one entry for each successful administrative write.
#[utoipa::path(get, path = "/admin/actions", tag = "administration", security(("accessToken" = [])),
    params(
        PageParameters,
    ),
    responses((status = 200, body = ActionListResponse)))]
async fn list_actions(State(app): State<App>, _: Administrator, mut query: Query) -> HandlerResult<impl IntoResponse> {
    let request = query.page(ActionId)?;
    query.finish()?;
    let page = app.administration.actions(request).await?;
    let next_cursor = page.last_of_more().map(|entry| cursor(&[&entry.id]));
    let items = page.items.into_iter().map(Into::into).collect();
    Ok(private_response(ActionListResponse { items, next_cursor }))
}
