//! The draw, for those who want to check it.

use futures::{Stream, TryStreamExt, stream};

use super::QueueFacade;
use crate::{
    application::{Ports, error::AppError},
    domain::{
        id::ConcertId,
        queue::{DRAW_ALGORITHM, DrawMade, Queue},
        refusal::Refusal,
    },
};

/// How many entrants are read at once.
const PAGE: u32 = 2_000;

/// What everybody may know of a draw.
#[derive(Clone, Debug)]
pub struct DrawInfo {
    /// What binds to the seed.
    pub commitment: String,
    /// The order, exactly.
    pub algorithm: &'static str,
    /// The opening as it is set.
    pub sales_open_at: Option<crate::domain::clock::Instant>,
    /// The seed and how many took part, once the draw was made.
    pub made: Option<(String, u32)>,
}

impl QueueFacade {
    /// What is known of a concert's draw, or `ConcertNotFound`, `DrawNotFound`.
    pub async fn draw(&self, id: ConcertId) -> Result<DrawInfo, AppError> {
        let queue = self.drawing(id).await?;
        let draw = queue.draw.ok_or(Refusal::DrawNotFound)?;
        Ok(DrawInfo {
            commitment: draw.seed.commitment(),
            algorithm: DRAW_ALGORITHM,
            sales_open_at: queue.settings.sales_open_at,
            made: draw.made.map(|made| (draw.seed.hex(), made.entrant_count)),
        })
    }

    /// The entrants in drawn order, a line each, a few thousand at a time; `ConcertNotFound`, `DrawNotFound`,
    /// `DrawNotMade` until all of the order is written.
    ///
    /// No connection is held while the reader is slow.
    pub async fn entrants(
        &self,
        id: ConcertId,
    ) -> Result<impl Stream<Item = Result<String, AppError>> + Send + 'static, AppError> {
        let made = self.drawing(id).await?.draw.ok_or(Refusal::DrawNotFound)?.made;
        let made = made.filter(|made| !made.is_pending()).ok_or(Refusal::DrawNotMade)?;
        let ports = self.ports.clone();
        Ok(stream::try_unfold(0, move |read| page(ports.clone(), id, made, read)).into_stream())
    }

    async fn drawing(&self, id: ConcertId) -> Result<Queue, AppError> {
        let mut repositories = self.ports.database.read().await?;
        Ok(repositories.queues().find_queue(id).await?.ok_or(Refusal::ConcertNotFound)?)
    }
}

/// The lines after the first `read` ones, and how many were read then.
async fn page(ports: Ports, id: ConcertId, made: DrawMade, read: u32) -> Result<Option<(String, u32)>, AppError> {
    let limit = PAGE.min(made.entrant_count - read);
    if limit == 0 {
        return Ok(None);
    }
    let mut repositories = ports.database.read().await?;
    let drawn = repositories.draws().list_drawn(id, made.base + read, limit).await?;
    let lines = drawn.iter().map(|(_, entrant)| entrant.hex() + "\n").collect();
    Ok(Some((lines, read + limit)))
}
