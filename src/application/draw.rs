//! The draw, as everybody makes it who decides about a queue: joining, the tick, and whoever changes the settings.
//!
//! Making it fixes who takes part and reserves their places, under the lock of the queue's row. Writing the places takes
//! longer the more they are: a few are written at once, many in the ticks that follow, by whichever instance has the
//! lock. The order needs no place to be kept: seed and entrants don't change any more.

use crate::domain::{
    clock::Instant,
    id::QueueTokenId,
    queue::{DrawRepository, Queue},
    repository_error::RepositoryError,
    unit_of_work::UnitOfWork,
};

/// How many places one transaction writes at most: it keeps the queue's lock for a bounded time.
pub(crate) const BATCH: u32 = 2_000;

/// How many ranks are worked out before others get the thread.
const RANKS: usize = 512;

/// Gives those who came before the opening their places, if that is due. Whoever gives out other places does this first,
/// so that nobody who comes later stands before them. Tells whether anything was changed: the queue is to be stored then.
pub(crate) async fn settle(uow: &mut dyn UnitOfWork, queue: &mut Queue, now: Instant) -> Result<bool, RepositoryError> {
    let now = queue.present(now);
    let mut changed = queue.is_draw_due(now);
    if changed {
        let entrants = uow.draws().count_entrants(queue.concert_id, queue.last_number).await?;
        queue.make_draw(entrants, now);
        if entrants <= BATCH {
            let order = order(uow.draws(), queue).await?;
            place_next(uow, queue, &order, now).await?;
        }
    }
    if changed || queue.has_just_opened(now) {
        changed |= place_undrawn(uow, queue, now).await?;
    }
    Ok(changed)
}

/// The tokens of a draw that was made, in drawn order; none if there is no such draw.
pub(crate) async fn order(draws: &mut dyn DrawRepository, queue: &Queue) -> Result<Vec<QueueTokenId>, RepositoryError> {
    let Some((seed, made)) = queue.draw.and_then(|draw| Some((draw.seed, draw.made?))) else { return Ok(Vec::new()) };
    let entrants = draws.list_entrants(queue.concert_id, made.last_number).await?;
    let mut ranked = Vec::with_capacity(entrants.len());
    for entrants in entrants.chunks(RANKS) {
        ranked.extend(entrants.iter().map(|(id, entrant)| (seed.rank(entrant), *id)));
        tokio::task::yield_now().await;
    }
    ranked.sort_unstable();
    Ok(ranked.into_iter().map(|(_, id)| id).collect())
}

/// Writes the next places of a draw that was made; false if none was left to write.
pub(crate) async fn place_next(
    uow: &mut dyn UnitOfWork,
    queue: &mut Queue,
    order: &[QueueTokenId],
    now: Instant,
) -> Result<bool, RepositoryError> {
    let Some(made) = queue.pending_draw() else { return Ok(false) };
    let next = order.iter().skip(made.placed as usize).take(BATCH as usize).copied().collect::<Vec<_>>();
    if next.is_empty() {
        return Err(RepositoryError::stale("the entrants of a draw"));
    }
    let left = uow.draws().write_places(&next, made.base + made.placed + 1, queue.present(now)).await?;
    queue.departures += left;
    queue.note_placed(u32::try_from(next.len()).unwrap_or(u32::MAX));
    Ok(true)
}

/// Gives places, in order of joining, to those who came before an opening that has no draw, since the concert had its
/// own before.
pub(crate) async fn place_undrawn(
    uow: &mut dyn UnitOfWork,
    queue: &mut Queue,
    now: Instant,
) -> Result<bool, RepositoryError> {
    let mut changed = false;
    while queue.settings.is_open(now) && queue.pending_draw().is_none() {
        let scheduled = uow.queues().lock_scheduled(queue.concert_id, BATCH).await?;
        if scheduled.is_empty() {
            break;
        }
        let placed: Vec<_> = scheduled.into_iter().map(|token| queue.place(token)).collect();
        uow.queues().update_tokens(&placed, now).await?;
        changed = true;
    }
    Ok(changed)
}
