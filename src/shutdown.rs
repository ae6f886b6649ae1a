//! Signals: the first one stops the server gently, the second at once.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Cancels `soft` at the first SIGTERM or SIGINT, and `hard` at the second.
pub async fn watch_signals(soft: CancellationToken, hard: CancellationToken) {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("signals can't be watched: the server stops only when it is killed");
        return;
    };
    either(&mut terminate, &mut interrupt).await;
    tracing::info!("stopping: requests under way are finished, new connections are refused");
    soft.cancel();
    either(&mut terminate, &mut interrupt).await;
    tracing::warn!("stopping at once");
    hard.cancel();
}

async fn either(one: &mut Signal, other: &mut Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}
