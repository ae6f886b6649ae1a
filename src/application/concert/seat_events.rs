//! Following a seat map: everything first, or what was missed, and then each change.
//!
//! However many follow a performance, one task reads its claims for all of them, several times a second. It need not
//! know of changes: holds that end by the clock show at the next reading like those that somebody gave up anywhere.

use std::{sync::Arc, time::Duration};

use tokio::{sync::broadcast::error::RecvError, time::sleep};

use super::{
    ConcertFacade,
    seat_board::{Board, Following, SeatNews},
    seat_map::SeatMaps,
};
use crate::{
    application::error::AppError,
    domain::{
        id::{ConcertId, PerformanceId},
        refusal::Refusal,
    },
};

/// How often claims are read for those who follow.
const REFRESH: Duration = Duration::from_millis(200);

/// Follows one performance. Dropping it is all it takes to end that.
pub struct SeatViewer {
    seat_maps: Arc<SeatMaps>,
    board: Arc<Board>,
    following: Following,
    told: Option<i64>,
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
        told: Option<i64>,
    ) -> Result<SeatViewer, AppError> {
        let board = self.seat_maps.board(id, concert_id).await?;
        self.seat_maps.read(&board).await?;
        let following = board.follow(told, self.seat_maps.now()).ok_or(Refusal::PerformanceNotFound)?;
        if board.begin_watch() {
            self.tasks.spawn(watch(Arc::clone(&self.seat_maps), Arc::clone(&board)));
        }
        metrics::gauge!("seat_map_followers").increment(1.0);
        Ok(SeatViewer { seat_maps: Arc::clone(&self.seat_maps), board, following, told })
    }
}

impl SeatViewer {
    /// Waits for something to tell. Giving up waiting loses nothing.
    pub async fn next(&mut self) -> SeatNews {
        loop {
            if let Some(news) = self.following.first.take() {
                self.told = Some(news.version());
                return news;
            }
            match self.following.changes.recv().await {
                Ok(changes) => self.following.first = Some(SeatNews::Changes(changes)),
                // Too slow for what is kept: told as somebody who comes back.
                Err(RecvError::Lagged(_)) => {
                    metrics::counter!("seat_map_followers_lagged_total").increment(1);
                    if let Some(following) = self.board.follow(self.told, self.seat_maps.now()) {
                        self.following = following;
                    }
                }
                // The board is there as long as this.
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}

impl Drop for SeatViewer {
    fn drop(&mut self) {
        metrics::gauge!("seat_map_followers").decrement(1.0);
    }
}

/// Reads a board for those who follow it, until nobody does. While the database is away, nobody is told anything.
async fn watch(seat_maps: Arc<SeatMaps>, board: Arc<Board>) {
    let mut failing = false;
    while !board.end_watch() {
        match seat_maps.read(&board).await {
            Ok(_) => failing = false,
            Err(error) => {
                if !failing {
                    tracing::warn!(performance = board.performance_id().0, %error, "those who follow the seats must wait");
                }
                failing = true;
            }
        }
        tokio::select! {
            () = board.unfollowed() => {}
            () = sleep(REFRESH) => {}
        }
    }
}
