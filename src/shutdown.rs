//! Signals: the first one stops the server gracefully, the second at once.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::interfaces::http::serve::ShutdownStages;

/// Starts a graceful stop at the first SIGTERM or SIGINT, and aborts at the second signal.
///
/// After SIGTERM the server still accepts connections for `delay` but isn't ready, so that a proxy stops sending
/// requests before connections are refused. SIGINT, sent from a terminal, skips the delay.
pub async fn watch_signals(delay: Duration, stages: ShutdownStages) {
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
        tracing::info!("stopping: requests in flight are finished, new connections are refused");
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
