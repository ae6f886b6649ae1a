//! Streams of a seat map: a snapshot or the missed changes, then each change.
//!
//! One task per performance reads the changed claims for all streams, five times a second. Holds that expire by the
//! clock are detected at the next read, like changes of any instance.

use std::{sync::Arc, time::Duration};

use tokio::sync::broadcast::error::RecvError;

use super::{
    facade::ConcertFacade,
    seat_maps::SeatMaps,
    seat_state::{SeatState, SeatSubscription},
    seat_update::SeatUpdate,
};
use crate::{
    application::{error::AppError, refresh},
    domain::{
        id::{ConcertId, PerformanceId},
        refusal::Refusal,
    },
};

/// The interval between reads of a followed performance's claims.
const REFRESH_INTERVAL: Duration = Duration::from_millis(200);

/// The updates of one performance. Dropping it ends the subscription.
pub struct SeatStream {
    seat_maps: Arc<SeatMaps>,
    state: Arc<SeatState>,
    subscription: SeatSubscription,
    last_version: Option<i64>,
}

impl ConcertFacade {
    /// Follows the seats of a performance, for the bearer of an active token of `concert_id`. A client with the version
    /// `last_version` gets the changes since then; without a version, or with an unknown one, it gets a snapshot first.
    ///
    /// # Errors
    ///
    /// [`Refusal::PerformanceNotFound`]; [`Refusal::QueueTokenWrongConcert`] for a performance of another concert.
    /// [`AppError::Overloaded`] if too many reads wait.
    pub async fn follow_seats(
        &self,
        id: PerformanceId,
        concert_id: ConcertId,
        last_version: Option<i64>,
    ) -> Result<SeatStream, AppError> {
        let state = self.seat_maps.state(id, concert_id).await?;
        self.seat_maps.read(&state).await?;
        let subscription = state.subscribe(last_version, self.seat_maps.now()).ok_or(Refusal::PerformanceNotFound)?;
        if state.try_start_refresh() {
            self.tasks.spawn(refresh_until_unused(Arc::clone(&self.seat_maps), Arc::clone(&state)));
        }
        metrics::gauge!("seat_map_followers").increment(1.0);
        Ok(SeatStream { seat_maps: Arc::clone(&self.seat_maps), state, subscription, last_version })
    }
}

impl SeatStream {
    /// Waits for the next update. Cancelling the wait loses no update.
    pub async fn next(&mut self) -> SeatUpdate {
        loop {
            if let Some(update) = self.subscription.initial.take() {
                self.last_version = Some(update.version());
                return update;
            }
            match self.subscription.changes.recv().await {
                Ok(changes) => self.subscription.initial = Some(SeatUpdate::Changes(changes)),
                // The client reads too slowly for the kept changes, so it is treated like one that reconnects.
                Err(RecvError::Lagged(_)) => {
                    metrics::counter!("seat_map_followers_lagged_total").increment(1);
                    if let Some(subscription) = self.state.subscribe(self.last_version, self.seat_maps.now()) {
                        self.subscription = subscription;
                    }
                }
                // The stream owns the state, and with it the sender, so the channel isn't closed.
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}

impl Drop for SeatStream {
    fn drop(&mut self) {
        metrics::gauge!("seat_map_followers").decrement(1.0);
    }
}

/// Refreshes a state until it has no subscriber.
async fn refresh_until_unused(seat_maps: Arc<SeatMaps>, state: Arc<SeatState>) {
    refresh::refresh_until_unused(
        REFRESH_INTERVAL,
        || async { seat_maps.read(&state).await.map(|_| ()) },
        || state.wait_until_unsubscribed(),
        || state.try_stop_refresh(),
        |error| {
            let performance_id = state.performance_id().0;
            tracing::warn!(performance_id, %error, "could not refresh a seat map that streams follow");
        },
    )
    .await;
}
