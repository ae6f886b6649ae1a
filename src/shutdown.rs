//! Signals: the first one stops the server gently, the second at once.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::interfaces::http::serve::Stages;

/// Stops gently at the first SIGTERM or SIGINT, and at once at the second.
///
/// SIGTERM comes from whoever runs servers behind a proxy: for `delay` the server only says that it is leaving, so that
/// the proxy finds out before its connections are refused. SIGINT comes from somebody at a terminal.
pub async fn watch_signals(delay: Duration, stages: Stages) {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("signals can't be watched: the server stops only when it is killed");
        return;
    };
    let delay = tokio::select! {
        _ = terminate.recv() => delay,
        _ = interrupt.recv() => Duration::ZERO,
    };
    tracing::info!(delay_seconds = delay.as_secs_f64(), "leaving: not ready any more, requests are still served");
    stages.leaving.cancel();
    let second = first_signal(&mut terminate, &mut interrupt);
    let mut second = std::pin::pin!(second);
    if tokio::time::timeout(delay, second.as_mut()).await.is_err() {
        tracing::info!("stopping: requests under way are finished, new connections are refused");
        stages.draining.cancel();
        second.await;
    }
    tracing::warn!("stopping at once");
    stages.aborting.cancel();
}

async fn first_signal(one: &mut Signal, other: &mut Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}
