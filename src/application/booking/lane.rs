//! The work of the hold lanes.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use async_trait::async_trait;

use crate::{
    application::{
        Ports, event,
        lane::{Decisions, LaneWork, ReplyTo},
        settlement::index_by,
    },
    domain::{
        booking::{Booking, FreeSeats, HoldBatch, HoldPolicy, HoldRequest, LockedHoldState, SeatLayout, SeatSelection},
        clock::{Clock, Instant},
        concert::SeatStatus,
        event::Fact,
        id::{PerformanceId, QueueTokenId, SeatId},
        refusal::Refusal,
        repository_error::RepositoryError,
        unit_of_work::UnitOfWork,
    },
};

/// The most choices in one transaction. After them it is rolled back and repeated.
const MAX_CHOICE_ATTEMPTS: u32 = 4;

/// A request for seats, with the gate's verdict on its queue token.
pub(super) struct HoldCommand {
    pub(super) gate: Result<QueueTokenId, Refusal>,
    pub(super) request: HoldRequest,
    /// The layout that seats are chosen from; `None` if the request names its seats.
    pub(super) layout: Option<Arc<SeatLayout>>,
    pub(super) reply: ReplyTo<Booking>,
}

/// Holds seats under the locks of tokens, performances and seats.
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

    const NAME: &'static str = "hold";

    async fn run(
        &self,
        uow: &mut dyn UnitOfWork,
        clock: &dyn Clock,
        commands: &[&HoldCommand],
    ) -> Result<Decisions, RepositoryError> {
        let mut state = lock(uow, commands).await?;
        let mut results = self.refuse(uow, &state, clock, commands).await?;
        let allowed: Vec<_> = commands
            .iter()
            .zip(&results)
            .filter(|(_, refused)| refused.is_none())
            .map(|(command, _)| *command)
            .collect();
        let selections = Selections::of(&allowed);
        let decide = |state: LockedHoldState, now| {
            let mut batch = HoldBatch::new(now, self.policy, state);
            let hold =
                |command: &&HoldCommand| command.gate.clone().and_then(|token| batch.hold(&command.request, token));
            let results: Vec<_> = allowed.iter().map(hold).collect();
            (batch, results)
        };
        let at = if selections.layouts.is_empty() {
            lock_seats(uow, &mut state, &selections.named).await?;
            state.instant(clock.now())
        } else {
            choose_and_lock_seats(uow, clock, &selections, &mut state, |state, now| decide(state, now).0).await?
        };
        let (batch, decided) = decide(state, at);
        self.store(uow, at, &batch).await?;
        let mut decided = decided.into_iter();
        results.iter_mut().filter(|result| result.is_none()).for_each(|result| *result = decided.next());
        let decisions = commands.iter().zip(results.into_iter().flatten());
        Ok(Decisions { at, decisions: decisions.map(|(command, result)| command.reply.decide(result)).collect() })
    }
}

impl HoldWork {
    /// Decides the refusals that need no locked seat, so that those commands wait for no seat. `None` for a command
    /// that isn't refused.
    async fn refuse(
        &self,
        uow: &mut dyn UnitOfWork,
        state: &LockedHoldState,
        clock: &dyn Clock,
        commands: &[&HoldCommand],
    ) -> Result<Vec<Option<Result<Booking, Refusal>>>, RepositoryError> {
        let now = state.instant(clock.now());
        let refuse = |HoldCommand { gate, request, .. }: &&HoldCommand| {
            gate.clone().and_then(|token| state.require_allowed(now, &self.policy, request, token)).err()
        };
        let mut refusals: Vec<_> = commands.iter().map(refuse).collect();
        refuse_unknown_seats(uow, commands, &mut refusals).await?;
        Ok(refusals.into_iter().map(|refusal| refusal.map(Err)).collect())
    }

    async fn store(&self, uow: &mut dyn UnitOfWork, now: Instant, batch: &HoldBatch) -> Result<(), RepositoryError> {
        let bookings = batch.bookings();
        if bookings.is_empty() {
            return Ok(());
        }
        uow.bookings().insert(bookings).await?;
        uow.seat_claims().delete_expired_claims(batch.replaced_claims(), now).await?;
        uow.seat_claims().insert_claims(bookings, now).await?;
        uow.queue_tokens().update_tokens(&batch.used_tokens(), now).await?;
        let facts = bookings.iter().cloned().map(Fact::BookingHeld).collect();
        let seats = bookings
            .iter()
            .flat_map(|booking| booking.seat_ids().map(|seat| (booking.performance_id, seat, SeatStatus::Held)))
            .collect();
        event::record(&self.ports, uow, now, facts, seats).await
    }
}

/// Loads and locks the rows that come before seats in the global order: tokens, then performances (shared).
async fn lock(uow: &mut dyn UnitOfWork, commands: &[&HoldCommand]) -> Result<LockedHoldState, RepositoryError> {
    let mut token_ids = BTreeSet::new();
    let mut users = BTreeSet::new();
    let mut performance_ids = BTreeSet::new();
    for HoldCommand { gate, request, .. } in commands {
        let Ok(token) = gate else { continue };
        token_ids.insert(*token);
        users.insert(request.user_id);
        performance_ids.insert(request.performance_id);
    }
    let (token_ids, users) = (Vec::from_iter(token_ids), Vec::from_iter(users));
    let performance_ids = Vec::from_iter(performance_ids);
    let tokens = uow.queue_tokens().lock_tokens(&token_ids).await?;
    let performances = uow.concerts().share_performances(&performance_ids).await?;
    let open = uow.bookings().list_open_of_performances(&users, &performance_ids).await?;
    Ok(LockedHoldState {
        tokens: index_by(tokens, |token| token.id),
        performances: index_by(performances, |performance| performance.id),
        open,
        ..LockedHoldState::default()
    })
}

/// Refuses commands with [`Refusal::SeatNotFound`], instead of by a rule, if they name a seat that their performance
/// doesn't have. Takes no lock, and reads nothing unless a rule refuses a command that names seats.
async fn refuse_unknown_seats(
    uow: &mut dyn UnitOfWork,
    commands: &[&HoldCommand],
    refusals: &mut [Option<Refusal>],
) -> Result<(), RepositoryError> {
    let refused = commands
        .iter()
        .zip(refusals)
        .filter_map(|(command, refusal)| refusal.as_mut().map(|refusal| (&command.request, refusal)));
    let refused: Vec<_> = refused.filter(|(request, refusal)| !request.seats_before(refusal).is_empty()).collect();
    if refused.is_empty() {
        return Ok(());
    }
    let seats: BTreeSet<_> =
        refused.iter().flat_map(|(request, refusal)| request.seats_before(refusal)).copied().collect();
    let performances = uow.seat_claims().list_performances(&Vec::from_iter(seats)).await?;
    let performances: HashMap<_, _> = performances.into_iter().collect();
    for (request, refusal) in refused {
        let is_unknown = |seat: &SeatId| performances.get(seat) != Some(&request.performance_id);
        if request.seats_before(refusal).iter().any(is_unknown) {
            *refusal = Refusal::SeatNotFound;
        }
    }
    Ok(())
}

/// The selections of the commands that aren't refused.
struct Selections {
    /// The named seats, each with the performance of its request.
    named: BTreeSet<(SeatId, PerformanceId)>,
    /// The layouts of performances with best-available requests.
    layouts: BTreeMap<PerformanceId, Arc<SeatLayout>>,
}

impl Selections {
    fn of(commands: &[&HoldCommand]) -> Self {
        let mut named = BTreeSet::new();
        let mut layouts = BTreeMap::new();
        for HoldCommand { request, layout, .. } in commands {
            if let SeatSelection::Seats(ids) = &request.selection {
                named.extend(ids.iter().map(|seat| (*seat, request.performance_id)));
            }
            layouts.extend(layout.iter().map(|layout| (request.performance_id, Arc::clone(layout))));
        }
        Self { named, layouts }
    }
}

/// Locks seats by ascending id, with their claims. Seats of another performance than the request's are left out.
async fn lock_seats(
    uow: &mut dyn UnitOfWork,
    state: &mut LockedHoldState,
    seats: &BTreeSet<(SeatId, PerformanceId)>,
) -> Result<(), RepositoryError> {
    let seats: Vec<_> = seats.iter().copied().collect();
    for (seat, claim) in uow.seat_claims().lock_seats(&seats).await? {
        state.claims.extend(claim.map(|claim| (seat.id, claim)));
        state.seats.insert(seat.id, seat);
    }
    Ok(())
}

/// Chooses the seats of the batch by deciding it without their locks, and locks them together with the named seats. The
/// choice is valid if none of these seats was claimed before it was locked; otherwise it is repeated.
///
/// No other transaction chooses seats of these performances meanwhile. The seats of a repeated choice aren't locked in
/// ascending order, so they are locked without waiting. If one is locked already, the batch is repeated. Returns the
/// instant at which the choice is valid.
async fn choose_and_lock_seats(
    uow: &mut dyn UnitOfWork,
    clock: &dyn Clock,
    selections: &Selections,
    state: &mut LockedHoldState,
    decide: impl Fn(LockedHoldState, Instant) -> HoldBatch + Send + Sync,
) -> Result<Instant, RepositoryError> {
    let performances: Vec<_> = selections.layouts.keys().copied().collect();
    uow.choices().lock_choices(&performances).await?;
    // A requested seat may not exist, or belong to another performance, so it isn't always locked.
    let (mut requested, mut locked) = (BTreeSet::new(), BTreeSet::new());
    for attempt in 0..MAX_CHOICE_ATTEMPTS {
        let now = state.instant(clock.now());
        state.claims = HashMap::new();
        for (id, layout) in &selections.layouts {
            let taken = uow.choices().list_taken_seats(*id, now).await?;
            state.free.insert(*id, FreeSeats::excluding(Arc::clone(layout), &taken));
        }
        let chosen = decide(state.clone(), now);
        let chosen = chosen.bookings().iter().flat_map(seats_of).chain(selections.named.iter().copied());
        let missing: BTreeSet<_> = chosen.filter(|(seat, _)| !requested.contains(seat)).collect();
        requested.extend(missing.iter().map(|(seat, _)| *seat));
        if attempt == 0 {
            lock_seats(uow, state, &missing).await?;
            locked = state.seats.keys().copied().collect();
        } else {
            let missing: Vec<_> = missing.into_iter().map(|(seat, _)| seat).collect();
            let claimed = uow.choices().claim_seats(&missing).await?;
            if claimed.len() < missing.len() {
                break;
            }
            locked.extend(claimed);
            let ids: Vec<_> = locked.iter().copied().collect();
            let claims = uow.seat_claims().list_claims(&ids).await?;
            state.claims = claims.into_iter().map(|claim| (claim.seat_id, claim.claim)).collect();
        }
        let now = state.instant(clock.now());
        if choice_still_holds(state, &locked, now) {
            return Ok(now);
        }
        metrics::counter!("seat_choices_repeated_total").increment(1);
    }
    Err(RepositoryError::stale("a seat that was chosen"))
}

fn seats_of(booking: &Booking) -> impl Iterator<Item = (SeatId, PerformanceId)> + '_ {
    booking.seat_ids().map(|seat| (seat, booking.performance_id))
}

/// Whether every locked seat is free or taken as the choice assumed.
fn choice_still_holds(state: &LockedHoldState, locked: &BTreeSet<SeatId>, now: Instant) -> bool {
    let is_free =
        |seat: &SeatId| state.claims.get(seat).is_none_or(|claim| claim.status_at(now) == SeatStatus::Available);
    let is_known =
        |free: &FreeSeats, seat: &SeatId| free.seat(*seat).is_none() || free.contains(*seat) == is_free(seat);
    state.free.values().all(|free| locked.iter().all(|seat| is_known(free, seat)))
}
