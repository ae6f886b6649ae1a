//! The lanes in which seats are held.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use async_trait::async_trait;

use crate::{
    application::{Ports, event, lane::LaneWork, settlement::by_key},
    domain::{
        booking::{Booking, FreeSeats, HoldBatch, HoldPolicy, HoldRequest, HoldUnderLock, House, Wish},
        clock::Instant,
        concert::SeatStatus,
        event::Fact,
        id::{PerformanceId, QueueTokenId, SeatId, UserId},
        refusal::Refusal,
        repository_error::RepositoryError,
        unit_of_work::UnitOfWork,
    },
};

/// How often one transaction chooses seats before it gives up its locks and begins anew.
const CHOICES: u32 = 4;

/// A wish, and whether the gate let its token through.
pub(super) struct HoldCommand {
    pub(super) gate: Result<QueueTokenId, Refusal>,
    pub(super) request: HoldRequest,
    /// The layout to choose seats by: for a wish that names none.
    pub(super) house: Option<Arc<House>>,
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
        let needs = Needs::of(commands);
        let decide = |state| {
            let mut batch = HoldBatch::new(now, self.policy, state);
            let hold =
                |command: &&HoldCommand| command.gate.clone().and_then(|token| batch.hold(&command.request, token));
            let results = commands.iter().map(hold).collect();
            (batch, results)
        };
        let mut state = needs.lock(uow, now).await?;
        if needs.houses.is_empty() {
            lock_seats(uow, &mut state, &needs.named).await?;
        } else {
            choose(uow, now, &needs, &mut state, |state| decide(state).0).await?;
        }
        let (batch, results) = decide(state);
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
        uow.bookings().delete_past_claims(batch.reclaimed(), now).await?;
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

/// What a batch has to load.
struct Needs {
    tokens: Vec<QueueTokenId>,
    performances: Vec<PerformanceId>,
    users: Vec<(UserId, PerformanceId)>,
    /// The seats that are named.
    named: BTreeSet<SeatId>,
    /// The layouts of performances whose best seats are wished for.
    houses: BTreeMap<PerformanceId, Arc<House>>,
}

impl Needs {
    fn of(commands: &[&HoldCommand]) -> Self {
        let mut tokens = BTreeSet::new();
        let mut performances = BTreeSet::new();
        let mut users = BTreeSet::new();
        let mut named = BTreeSet::new();
        let mut houses = BTreeMap::new();
        for HoldCommand { gate, request, house } in commands {
            let Ok(token) = gate else { continue };
            tokens.insert(*token);
            performances.insert(request.performance_id);
            users.insert((request.user_id, request.performance_id));
            if let Wish::Seats(ids) = &request.wish {
                named.extend(ids);
            }
            houses.extend(house.iter().map(|house| (request.performance_id, Arc::clone(house))));
        }
        let (tokens, performances) = (tokens.into_iter().collect(), performances.into_iter().collect());
        Self { tokens, performances, users: users.into_iter().collect(), named, houses }
    }

    /// Loads and locks, in the global order, what comes before seats: tokens, performances (shared), choices.
    async fn lock(&self, uow: &mut dyn UnitOfWork, now: Instant) -> Result<HoldUnderLock, RepositoryError> {
        let tokens = uow.queues().lock_tokens(&self.tokens).await?;
        let performances = uow.concerts().share_performances(&self.performances).await?;
        let live_seats = uow.bookings().list_live_seats(&self.users, now).await?;
        Ok(HoldUnderLock {
            tokens: by_key(tokens, |token| token.id),
            performances: by_key(performances, |performance| performance.id),
            live_seats: live_seats.into_iter().map(|(user, performance, seats)| ((user, performance), seats)).collect(),
            ..HoldUnderLock::default()
        })
    }
}

/// Locks seats by ascending id, with the claims on them.
async fn lock_seats(
    uow: &mut dyn UnitOfWork,
    state: &mut HoldUnderLock,
    ids: &BTreeSet<SeatId>,
) -> Result<(), RepositoryError> {
    let ids: Vec<_> = ids.iter().copied().collect();
    for (seat, claim) in uow.bookings().lock_seats(&ids).await? {
        state.claims.extend(claim.map(|claim| (seat.id, claim)));
        state.seats.insert(seat.id, seat);
    }
    Ok(())
}

/// Finds out which seats the batch will take, by deciding it without their locks, and locks them with those that are
/// named. The choice stands if none of these seats has changed hands until it was locked; else it is made again.
///
/// Nobody else chooses seats of these performances meanwhile. Seats that are chosen later don't come in ascending
/// order any more: they are locked without waiting, and where one can't be, the batch begins anew.
async fn choose(
    uow: &mut dyn UnitOfWork,
    now: Instant,
    needs: &Needs,
    state: &mut HoldUnderLock,
    decide: impl Fn(HoldUnderLock) -> HoldBatch + Send + Sync,
) -> Result<(), RepositoryError> {
    let performances: Vec<_> = needs.houses.keys().copied().collect();
    uow.choices().lock_choices(&performances).await?;
    let mut locked = BTreeSet::new();
    for attempt in 0..CHOICES {
        state.claims = HashMap::new();
        for (id, house) in &needs.houses {
            let taken = uow.choices().list_taken(*id, now).await?;
            state.free.insert(*id, FreeSeats::without(Arc::clone(house), &taken));
        }
        let chosen = decide(state.clone());
        let chosen = chosen.bookings().iter().flat_map(Booking::seat_ids).chain(needs.named.iter().copied());
        let missing: BTreeSet<_> = chosen.filter(|seat| !locked.contains(seat)).collect();
        if attempt == 0 {
            lock_seats(uow, state, &missing).await?;
            locked = missing;
        } else {
            let missing: Vec<_> = missing.into_iter().collect();
            let claimed = uow.choices().claim_seats(&missing).await?;
            if claimed.len() < missing.len() {
                break;
            }
            locked.extend(claimed);
            let ids: Vec<_> = locked.iter().copied().collect();
            let claims = uow.bookings().list_claims(&ids).await?;
            state.claims = claims.into_iter().map(|claim| (claim.seat_id, claim.claim)).collect();
        }
        if still_free(state, &locked, now) {
            return Ok(());
        }
        metrics::counter!("seat_choices_repeated_total").increment(1);
    }
    Err(RepositoryError::stale("a seat that was chosen"))
}

/// Whether what was chosen by is true of the seats that are locked now.
fn still_free(state: &HoldUnderLock, locked: &BTreeSet<SeatId>, now: Instant) -> bool {
    let is_free =
        |seat: &SeatId| state.claims.get(seat).is_none_or(|claim| claim.status_at(now) == SeatStatus::Available);
    let is_known =
        |free: &FreeSeats, seat: &SeatId| free.seat(*seat).is_none() || free.contains(*seat) == is_free(seat);
    state.free.values().all(|free| locked.iter().all(|seat| is_known(free, seat)))
}
