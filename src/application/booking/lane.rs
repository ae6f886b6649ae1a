//! The lanes in which seats are held.

use std::collections::BTreeSet;

use async_trait::async_trait;

use crate::{
    application::{Ports, event, lane::LaneWork, settlement::by_key},
    domain::{
        booking::{Booking, HoldBatch, HoldPolicy, HoldRequest, HoldUnderLock},
        clock::Instant,
        concert::SeatStatus,
        event::Fact,
        id::{PerformanceId, QueueTokenId, SeatId, UserId},
        refusal::Refusal,
        repository_error::RepositoryError,
        unit_of_work::UnitOfWork,
    },
};

/// A wish, and whether the gate let its token through.
pub(super) struct HoldCommand {
    pub(super) gate: Result<QueueTokenId, Refusal>,
    pub(super) request: HoldRequest,
}

/// Gives seats under the locks of tokens, performances and seats.
pub(super) struct HoldWork {
    ports: Ports,
    policy: HoldPolicy,
}

impl HoldWork {
    pub(super) fn new(ports: Ports, policy: HoldPolicy) -> Self {
        Self { ports, policy }
    }
}

#[async_trait]
impl LaneWork for HoldWork {
    type Command = HoldCommand;
    type Output = Booking;

    const NAME: &'static str = "hold";

    async fn run(
        &self,
        uow: &mut dyn UnitOfWork,
        now: Instant,
        commands: &[&HoldCommand],
    ) -> Result<Vec<Result<Booking, Refusal>>, RepositoryError> {
        let state = lock(uow, now, commands).await?;
        let mut batch = HoldBatch::new(now, self.policy, state);
        let results = commands
            .iter()
            .map(|command| command.gate.clone().and_then(|token| batch.hold(&command.request, token)))
            .collect();
        self.store(uow, now, &batch).await?;
        Ok(results)
    }
}

impl HoldWork {
    async fn store(&self, uow: &mut dyn UnitOfWork, now: Instant, batch: &HoldBatch) -> Result<(), RepositoryError> {
        let bookings = batch.bookings();
        if bookings.is_empty() {
            return Ok(());
        }
        uow.bookings().insert(bookings).await?;
        uow.bookings().insert_claims(bookings, now).await?;
        uow.queues().update_tokens(&batch.changed_tokens(), now).await?;
        let facts = bookings.iter().cloned().map(Fact::BookingHeld).collect();
        let seats = bookings
            .iter()
            .flat_map(|booking| booking.seat_ids().map(|seat| (booking.performance_id, seat, SeatStatus::Held)))
            .collect();
        event::record(&self.ports, uow, now, facts, seats).await
    }
}

/// Loads and locks in the global order: tokens, performances (shared), seats.
async fn lock(
    uow: &mut dyn UnitOfWork,
    now: Instant,
    commands: &[&HoldCommand],
) -> Result<HoldUnderLock, RepositoryError> {
    let wanted = || commands.iter().filter(|command| command.gate.is_ok());
    let tokens: BTreeSet<QueueTokenId> = commands.iter().filter_map(|command| command.gate.clone().ok()).collect();
    let performances: BTreeSet<PerformanceId> = wanted().map(|command| command.request.performance_id).collect();
    let users: BTreeSet<(UserId, PerformanceId)> =
        wanted().map(|command| (command.request.user_id, command.request.performance_id)).collect();
    let seats: BTreeSet<SeatId> = wanted().flat_map(|command| command.request.seat_ids.iter().copied()).collect();
    let seats: Vec<_> = seats.into_iter().collect();

    let tokens = uow.queues().lock_tokens(&tokens.into_iter().collect::<Vec<_>>()).await?;
    let performances = uow.concerts().share_performances(&performances.into_iter().collect::<Vec<_>>()).await?;
    let live_seats = uow.bookings().list_live_seats(&users.into_iter().collect::<Vec<_>>(), now).await?;
    let locked = uow.concerts().lock_seats(&seats).await?;
    let claims = uow.bookings().list_claims(&seats).await?;
    Ok(HoldUnderLock {
        tokens: by_key(tokens, |token| token.id),
        performances: by_key(performances, |performance| performance.id),
        seats: by_key(locked, |seat| seat.id),
        claims: claims.into_iter().map(|claim| (claim.seat_id, claim.claim)).collect(),
        live_seats: live_seats.into_iter().map(|(user, performance, seats)| ((user, performance), seats)).collect(),
    })
}
