//! Following a seat map: everything first, or what was missed, and then each change.
//!
//! However many follow a performance, one task reads its claims for all of them, several times a second. It need not
//! know of changes: holds that end by the clock show at the next reading like those that somebody gave up anywhere.

use std::{sync::Arc, time::Duration};

use tokio::{sync::broadcast::error::RecvError, time::sleep};

use super::{
    ConcertFacade,
    seat_map::SeatMaps,
    seat_state::{SeatState, SeatSubscription, SeatUpdate},
};
use crate::{
    application::error::AppError,
    domain::{
        id::{ConcertId, PerformanceId},
        refusal::Refusal,
    },
};

/// How often claims are read for those who follow.
const REFRESH_INTERVAL: Duration = Duration::from_millis(200);

/// Follows one performance. Dropping it is all it takes to end that.
pub struct SeatStream {
    seat_maps: Arc<SeatMaps>,
    state: Arc<SeatState>,
    subscription: SeatSubscription,
    last_version: Option<i64>,
}

impl ConcertFacade {
    /// Follows the seats of a performance, for the bearer of an active token of `concert_id`. Whoever has version
    /// `told` of the map hears first what they missed; everybody else, and who missed too much, hears everything.
    ///
    /// `PerformanceNotFound`, or `QueueTokenWrongConcert` when the performance is another concert's.
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
    /// Waits for something to tell. Giving up waiting loses nothing.
    pub async fn next(&mut self) -> SeatUpdate {
        loop {
            if let Some(update) = self.subscription.initial.take() {
                self.last_version = Some(update.version());
                return update;
            }
            match self.subscription.changes.recv().await {
                Ok(changes) => self.subscription.initial = Some(SeatUpdate::Changes(changes)),
                // Too slow for what is kept: told as somebody who comes back.
                Err(RecvError::Lagged(_)) => {
                    metrics::counter!("seat_map_followers_lagged_total").increment(1);
                    if let Some(subscription) = self.state.subscribe(self.last_version, self.seat_maps.now()) {
                        self.subscription = subscription;
                    }
                }
                // The board is there as long as this.
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

/// Reads a board for those who follow it, until nobody does. While the database is away, nobody is told anything.
async fn refresh_until_unused(seat_maps: Arc<SeatMaps>, state: Arc<SeatState>) {
    let mut failing = false;
    while !state.try_stop_refresh() {
        match seat_maps.read(&state).await {
            Ok(_) => failing = false,
            Err(error) => {
                if !failing {
                    tracing::warn!(performance = state.performance_id().0, %error, "those who follow the seats must wait");
                }
                failing = true;
            }
        }
        tokio::select! {
            () = state.wait_until_unsubscribed() => {}
            () = sleep(REFRESH_INTERVAL) => {}
        }
    }
}
