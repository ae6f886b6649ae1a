//! Draws: joins, ticks and changes of a queue's settings make a draw that is due before they decide.
//!
//! A draw fixes its entrants and reserves their places, under the lock of the queue's row. Up to 2,000 places are
//! written at once; more are written by later ticks of any instance. The order is computed when it is needed, since
//! seed and entrants are final.

use super::{Ports, error::AppError};
use crate::domain::{
    clock::Instant,
    id::ConcertId,
    queue::{Draw, DrawRepository, DrawSeed, Drawn, Queue, Seed},
    repository_error::RepositoryError,
    unit_of_work::UnitOfWork,
};

/// The most places that one transaction writes, so that it keeps the queue's lock for a bounded time.
pub(crate) const PLACES_PER_TRANSACTION: u32 = 2_000;

/// The most seeds that one run encrypts.
const MAX_SEEDS_PER_RUN: u32 = 1_000;

/// The number of ranks that are computed before the task yields its thread.
const RANKS_PER_YIELD: usize = 512;

/// Makes the draw if it is due. Returns whether the queue changed, so that the caller must store it.
///
/// The caller has locked the queue. Every writer that assigns places calls this first, so that users who join later get
/// places after the entrants.
pub(crate) async fn make_draw_if_due(
    ports: &Ports,
    uow: &mut dyn UnitOfWork,
    queue: &mut Queue,
    now: Instant,
) -> Result<bool, RepositoryError> {
    let now = queue.monotonic_now(now);
    let Some(draw) = queue.draw.filter(|_| queue.is_draw_due(now)) else { return Ok(false) };
    let entrants = uow.draws().count_entrants(queue.concert_id, queue.last_number).await?;
    let seed = reveal_seed(ports, queue, &draw);
    queue.make_draw(seed, entrants, now);
    if entrants <= PLACES_PER_TRANSACTION {
        let order = drawn_order(uow.draws(), queue).await?;
        write_next_places(uow, queue, &order, now).await?;
    }
    Ok(true)
}

/// Decrypts a draw's seed. If no configured secret decrypts it, a new random seed replaces it. Then the sale opens in
/// time and in a random order, but every verification of the draw fails, because the published commitment stays.
fn reveal_seed(ports: &Ports, queue: &Queue, draw: &Draw) -> Seed {
    draw.open(queue.concert_id, &*ports.seeds).unwrap_or_else(|| {
        tracing::error!(
            concert_id = queue.concert_id.0,
            "no secret in TOKEN_SECRET opens the seed of a draw that is due: a new seed breaks its commitment"
        );
        Seed::random(&*ports.randomness)
    })
}

/// Encrypts the seeds of pending draws with the current secret: those encrypted with a former secret, and those that an
/// older version stored unencrypted.
///
/// Afterwards a former secret can be withdrawn. Locks one queue at a time. Returns the first failure after it has tried
/// every seed.
pub(crate) async fn seal_seeds(ports: &Ports) -> Result<(), AppError> {
    let unsealed = {
        let mut repositories = ports.database.read().await?;
        repositories.draws().list_unsealed(ports.seeds.current_key(), MAX_SEEDS_PER_RUN).await?
    };
    let mut result = Ok(());
    for concert_id in unsealed {
        result = result.and(seal_seed(ports, concert_id).await);
    }
    result
}

async fn seal_seed(ports: &Ports, concert_id: ConcertId) -> Result<(), AppError> {
    let mut uow = ports.database.begin().await?;
    let Some(mut queue) = uow.queues().lock_queues(&[concert_id]).await?.pop() else { return Ok(()) };
    let Some(draw) = queue.draw.filter(|draw| draw.made.is_none()) else { return Ok(()) };
    let Some(seed) = draw.open(concert_id, &*ports.seeds) else {
        tracing::error!(
            concert_id = concert_id.0,
            "no secret in TOKEN_SECRET opens the seed of a draw that is to come"
        );
        return Ok(());
    };
    queue.draw = Some(Draw { seed: DrawSeed::Sealed(ports.seeds.seal(concert_id, &seed)), ..draw });
    uow.queues().update_queue(&queue).await?;
    uow.commit().await?;
    Ok(())
}

/// The entrants of a draw that was made, in drawn order; empty if there is no such draw.
pub(crate) async fn drawn_order(draws: &mut dyn DrawRepository, queue: &Queue) -> Result<Vec<Drawn>, RepositoryError> {
    let Some((seed, made)) = queue.draw.and_then(|draw| draw.result()) else { return Ok(Vec::new()) };
    let entrants = draws.list_entrants(queue.concert_id, made.last_number).await?;
    let mut ranked = Vec::with_capacity(entrants.len());
    for entrants in entrants.chunks(RANKS_PER_YIELD) {
        ranked.extend(entrants.iter().map(|drawn| (seed.rank(&drawn.entrant), *drawn)));
        tokio::task::yield_now().await;
    }
    ranked.sort_unstable_by_key(|(rank, drawn)| (*rank, drawn.id));
    Ok(ranked.into_iter().map(|(_, drawn)| drawn).collect())
}

/// Writes the next places of a draw that was made, and publishes their entrants. Returns false if no place was left to
/// write. The caller has locked the queue, and stores it.
pub(crate) async fn write_next_places(
    uow: &mut dyn UnitOfWork,
    queue: &mut Queue,
    order: &[Drawn],
    now: Instant,
) -> Result<bool, RepositoryError> {
    let Some(made) = queue.pending_draw() else { return Ok(false) };
    let next =
        order.iter().skip(made.placed as usize).take(PLACES_PER_TRANSACTION as usize).copied().collect::<Vec<_>>();
    if next.is_empty() {
        return Err(RepositoryError::stale("the entrants of a draw"));
    }
    let left = uow.draws().write_places(&next, made.base + made.placed + 1, queue.monotonic_now(now)).await?;
    uow.draws().insert_drawn(queue.concert_id, made.placed + 1, &next).await?;
    queue.departed_count += left;
    queue.record_placed(u32::try_from(next.len()).unwrap_or(u32::MAX));
    Ok(true)
}
