//! A small server for queues in Redis, without authentication, tokens or events.

use std::path::Path;

use axum::{
    Router, extract,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};

use super::queue::{Place, RedisQueues};

/// Serves until the process is killed.
pub(crate) async fn serve(address: &str, socket: &str) -> anyhow::Result<()> {
    let queues = RedisQueues::connect(Path::new(socket)).await?;
    let router = Router::new()
        .route("/readyz", get(async || StatusCode::OK))
        .route("/queues/{queue}/users/{user}", get(poll).post(join))
        .with_state(queues);
    let listener = tokio::net::TcpListener::bind(address).await?;
    Ok(axum::serve(listener, router.into_make_service()).await?)
}

async fn join(
    extract::State(queues): extract::State<RedisQueues>,
    extract::Path((queue, user)): extract::Path<(u64, u64)>,
) -> Response {
    respond(StatusCode::CREATED, &queues.join(queue, user).await)
}

async fn poll(
    extract::State(queues): extract::State<RedisQueues>,
    extract::Path((queue, user)): extract::Path<(u64, u64)>,
) -> Response {
    respond(StatusCode::OK, &queues.poll(queue, user).await)
}

fn respond(status: StatusCode, place: &redis::RedisResult<Place>) -> Response {
    let body = match place {
        Ok(Place::Waiting(position)) => format!("{{\"status\":\"WAITING\",\"position\":{position}}}"),
        Ok(Place::Admitted) => "{\"status\":\"ACTIVE\",\"position\":0}".to_owned(),
        Ok(Place::Unknown) => return StatusCode::NOT_FOUND.into_response(),
        Err(_) => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    };
    (status, [(CONTENT_TYPE, "application/json")], body).into_response()
}
