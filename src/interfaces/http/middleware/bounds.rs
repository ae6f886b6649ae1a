//! What a request may take: headers, a place among those under way, time.

use std::time::Duration;

use axum::{
    extract::Request,
    http::{HeaderMap, StatusCode},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tokio::{
    sync::Semaphore,
    time::{sleep, timeout},
};

use crate::{
    application::error::AppError,
    interfaces::http::{
        problem::{Code, Problem},
        router::BASE_PATH,
        state::App,
    },
};

/// The most bytes of all headers together.
const MAX_HEADER_BYTES: usize = 64 * 1024;

/// How long an administrator's request waits for one of the few places that there are for them.
const ADMINISTRATION_PATIENCE: Duration = Duration::from_secs(5);

/// How long a request may go on after the database was lost: most find out by themselves, once they have been read.
const LOSS_PATIENCE: Duration = Duration::from_millis(250);

/// The most API requests under way at once, each kind with places of its own.
#[derive(Debug)]
pub struct Places {
    /// Of everybody.
    pub sale: Semaphore,
    /// Of administrators: long ones, that must not take the connections of each other, of the jobs, or of the sale.
    pub administration: Semaphore,
}

/// Answers within bounds, or says which of them was reached.
///
/// What operators ask is always let in. A request is given up, too, once the database has stopped answering: it would
/// wait for nothing.
pub(super) async fn bound(app: &App, request: Request, next: Next) -> Response {
    if length(request.headers()) > MAX_HEADER_BYTES {
        return Problem::new(Code::HEADERS_TOO_LARGE, "The headers are too large.").into_response();
    }
    let path = request.uri().path().strip_prefix(BASE_PATH);
    let place = match path {
        None => Ok(None),
        Some(path) if path.starts_with("/admin/") => {
            match timeout(ADMINISTRATION_PATIENCE, app.places.administration.acquire()).await {
                Ok(place) => place.map(Some).map_err(|_| AppError::Overloaded),
                Err(_) => Err(AppError::Overloaded),
            }
        }
        Some(_) => app.places.sale.try_acquire().map(Some).map_err(|_| AppError::Overloaded),
    };
    let _place = match place {
        Ok(place) => place,
        Err(error) => return Problem::from(error).into_response(),
    };
    let lost = async {
        app.database.lost().await;
        sleep(LOSS_PATIENCE).await;
    };
    let is_api = path.is_some();
    tokio::select! {
        biased;
        answer = timeout(app.settings.request_timeout, next.run(request)) => {
            answer.unwrap_or_else(|_| StatusCode::GATEWAY_TIMEOUT.into_response())
        }
        () = lost, if is_api => Problem::from(AppError::lost()).into_response(),
    }
}

fn length(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}
