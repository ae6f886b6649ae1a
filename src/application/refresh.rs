//! The refreshing of streams: one task reads for all subscribers, as long as there are any.

use std::time::Duration;

use tokio::time::sleep;

use super::error::AppError;

/// Runs `refresh` every `interval` until `try_stop` finds no subscriber; `unsubscribed` completes once the last one has
/// unsubscribed.
///
/// `try_stop` must exclude new subscribers while it decides: a later subscriber starts another task. While `refresh`
/// fails, nothing is published; only the first of consecutive failures is passed to `warn`.
pub(super) async fn refresh_until_unused<R, U>(
    interval: Duration,
    refresh: impl Fn() -> R,
    unsubscribed: impl Fn() -> U,
    try_stop: impl Fn() -> bool,
    warn: impl Fn(&AppError),
) where
    R: Future<Output = Result<(), AppError>>,
    U: Future<Output = ()>,
{
    let mut is_failing = false;
    while !try_stop() {
        let result = refresh().await;
        if let Err(error) = &result
            && !is_failing
        {
            warn(error);
        }
        is_failing = result.is_err();
        tokio::select! {
            () = unsubscribed() => {}
            () = sleep(interval) => {}
        }
    }
}
