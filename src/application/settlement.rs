//! The lanes of everything that moves points or changes a booking: charge, pay, extend, cancel.
//!
//! One user's wallet and bookings meet in one transaction, or come one after the other.

use std::collections::{BTreeSet, HashMap};

use async_trait::async_trait;

use super::{
    Ports,
    error::AppError,
    event,
    lane::{Decisions, IdempotencyKey, LanePorts, LaneSettings, LaneWork, Lanes, Reply},
};
use crate::domain::{
    booking::{Booking, BookingState, HoldPolicy, OpenBooking},
    clock::{Clock, Instant},
    concert::Performance,
    id::{BookingId, PerformanceId, QueueTokenId, SeatId, TransactionId, UserId},
    point::LedgerEntry,
    points::Points,
    queue::QueueToken,
    refusal::Refusal,
    repository_error::RepositoryError,
    settlement::{CancelledBy, Charge, LockedSettlementState, Paid, PayRequest, SettlementBatch},
    unit_of_work::UnitOfWork,
};

/// The settlement lanes.
pub struct SettlementLanes {
    lanes: Lanes<SettlementWork>,
    ports: Ports,
}

impl SettlementLanes {
    /// Lanes on these ports.
    pub fn new(ports: Ports, policy: HoldPolicy, settings: LaneSettings, lane_ports: &LanePorts) -> Self {
        let work = SettlementWork { ports: ports.clone(), policy };
        Self { lanes: Lanes::new(work, settings, lane_ports.clone()), ports }
    }

    /// Adds points to a wallet.
    pub async fn charge(
        &self,
        user_id: UserId,
        amount: Points,
        if_version: Option<Vec<u64>>,
        key: Option<IdempotencyKey<LedgerEntry>>,
    ) -> Result<Reply<LedgerEntry>, AppError> {
        let transaction_id = self.ports.transaction_id(self.ports.now());
        let command = Command::Charge(Charge { transaction_id, user_id, amount, if_version });
        let key =
            key.map(|key| key.widen(|outcome| if let Outcome::Charged(entry) = outcome { Some(entry) } else { None }));
        let reply = self.lanes.submit(Some(user_conflict_key(user_id)), command, key).await?;
        reply.narrow(|outcome| if let Outcome::Charged(entry) = outcome { Some(entry) } else { None })
    }

    /// Pays for a booking, if the gate let the token through.
    pub async fn pay(
        &self,
        user_id: UserId,
        gate: Result<QueueTokenId, Refusal>,
        booking_id: BookingId,
        key: Option<IdempotencyKey<Paid>>,
    ) -> Result<Reply<Paid>, AppError> {
        let now = self.ports.now();
        let (payment_id, transaction_id) = (self.ports.payment_id(now), self.ports.transaction_id(now));
        let request = PayRequest { payment_id, transaction_id, user_id, booking_id };
        let key =
            key.map(|key| key.widen(|outcome| if let Outcome::Paid(paid) = outcome { Some(&**paid) } else { None }));
        let reply = self.lanes.submit(Some(user_conflict_key(user_id)), Command::Pay { gate, request }, key).await?;
        reply.narrow(|outcome| if let Outcome::Paid(paid) = outcome { Some(*paid) } else { None })
    }

    /// Holds a booking longer, if the gate let the token through.
    pub async fn extend(
        &self,
        user_id: UserId,
        gate: Result<QueueTokenId, Refusal>,
        booking_id: BookingId,
        key: Option<IdempotencyKey<Booking>>,
    ) -> Result<Reply<Booking>, AppError> {
        self.submit_change(user_id, Command::Extend { gate, user_id, booking_id }, key).await
    }

    /// Gives a booking up on its user's wish.
    pub async fn cancel(
        &self,
        user_id: UserId,
        booking_id: BookingId,
        key: Option<IdempotencyKey<Booking>>,
    ) -> Result<Reply<Booking>, AppError> {
        let transaction_id = self.ports.transaction_id(self.ports.now());
        let cancelled_by = CancelledBy::User;
        self.submit_change(user_id, Command::Cancel { user_id, booking_id, transaction_id, cancelled_by }, key).await
    }

    /// Gives a booking up because its performance is cancelled, and tells whether it did: a hold that has expired is
    /// left to be written down as such.
    pub async fn cancel_by_promoter(&self, booking_id: BookingId, user_id: UserId) -> Result<bool, AppError> {
        let transaction_id = self.ports.transaction_id(self.ports.now());
        let cancelled_by = CancelledBy::Promoter;
        let command = Command::Cancel { user_id, booking_id, transaction_id, cancelled_by };
        match self.submit_change(user_id, command, None).await? {
            Reply::Unrecorded(Ok(_)) | Reply::Recorded { .. } => Ok(true),
            Reply::Unrecorded(Err(Refusal::BookingNotCancellable)) => Ok(false),
            Reply::Unrecorded(Err(refusal)) => Err(refusal.into()),
        }
    }

    async fn submit_change(
        &self,
        user_id: UserId,
        command: Command,
        key: Option<IdempotencyKey<Booking>>,
    ) -> Result<Reply<Booking>, AppError> {
        let key = key.map(|key| {
            key.widen(|outcome| if let Outcome::Changed(booking) = outcome { Some(&**booking) } else { None })
        });
        let reply = self.lanes.submit(Some(user_conflict_key(user_id)), command, key).await?;
        reply.narrow(|outcome| if let Outcome::Changed(booking) = outcome { Some(*booking) } else { None })
    }
}

#[derive(Debug)]
enum Command {
    Charge(Charge),
    Pay { gate: Result<QueueTokenId, Refusal>, request: PayRequest },
    Extend { gate: Result<QueueTokenId, Refusal>, user_id: UserId, booking_id: BookingId },
    Cancel { user_id: UserId, booking_id: BookingId, transaction_id: TransactionId, cancelled_by: CancelledBy },
}

#[derive(Debug)]
enum Outcome {
    Charged(LedgerEntry),
    Paid(Box<Paid>),
    Changed(Box<Booking>),
}

/// One user's wallet is in one transaction at a time: it is read without a lock. The last bits of the id are chance.
fn user_conflict_key(user_id: UserId) -> u64 {
    user_id.0.as_u64_pair().1
}

struct SettlementWork {
    ports: Ports,
    policy: HoldPolicy,
}

#[async_trait]
impl LaneWork for SettlementWork {
    type Command = Command;
    type Output = Outcome;

    const NAME: &'static str = "settlement";

    async fn run(
        &self,
        uow: &mut dyn UnitOfWork,
        clock: &dyn Clock,
        commands: &[&Command],
    ) -> Result<Decisions<Outcome>, RepositoryError> {
        let state = lock(uow, &RowsToLock::of(commands)).await?;
        let now = state.instant(clock.now());
        let mut batch = SettlementBatch::new(now, self.policy, state);
        let results: Vec<_> = commands.iter().map(|command| decide(&mut batch, command)).collect();
        store_changes(&self.ports, uow, now, batch).await?;
        let is_extension = |command: &&Command| matches!(command, Command::Extend { .. });
        let extended =
            commands.iter().zip(&results).filter(|(command, result)| is_extension(command) && result.is_ok());
        let extended = extended.count() as u64;
        // The one change that has no event.
        uow.after_commit(Box::new(move || {
            metrics::counter!("bookings_total", "change" => "extended").increment(extended);
        }));
        Ok(Decisions { at: now, results })
    }
}

fn decide(batch: &mut SettlementBatch, command: &Command) -> Result<Outcome, Refusal> {
    match command {
        Command::Charge(charge) => batch.charge(charge).map(Outcome::Charged),
        Command::Pay { gate, request } => {
            let queue_token = gate.clone()?;
            batch.pay(request, queue_token).map(|paid| Outcome::Paid(Box::new(paid)))
        }
        Command::Extend { gate, user_id, booking_id } => {
            let queue_token = gate.clone()?;
            batch.extend(*user_id, queue_token, *booking_id).map(|booking| Outcome::Changed(Box::new(booking)))
        }
        Command::Cancel { user_id, booking_id, transaction_id, cancelled_by } => batch
            .cancel(*user_id, *booking_id, *transaction_id, *cancelled_by)
            .map(|booking| Outcome::Changed(Box::new(booking))),
    }
}

/// What a batch has to load.
#[derive(Debug, Default)]
pub(crate) struct RowsToLock {
    pub(crate) tokens: BTreeSet<QueueTokenId>,
    pub(crate) bookings: BTreeSet<BookingId>,
    /// Which of them are given up by who holds a token: that falls back.
    pub(crate) cancelled: BTreeSet<BookingId>,
    /// Users whose wallet may change.
    pub(crate) wallets: BTreeSet<UserId>,
    /// Users who pay, extend, give up or leave: what they have besides decides about that, and about their tokens.
    pub(crate) holders: BTreeSet<UserId>,
}

impl RowsToLock {
    fn of(commands: &[&Command]) -> Self {
        let mut rows = Self::default();
        for command in commands {
            match command {
                Command::Charge(charge) => {
                    rows.wallets.insert(charge.user_id);
                }
                Command::Pay { gate, request } => {
                    rows.tokens.extend(gate.as_ref().ok());
                    rows.bookings.insert(request.booking_id);
                    rows.wallets.insert(request.user_id);
                    rows.holders.insert(request.user_id);
                }
                Command::Extend { gate, user_id, booking_id } => {
                    rows.tokens.extend(gate.as_ref().ok());
                    rows.bookings.insert(*booking_id);
                    rows.holders.insert(*user_id);
                }
                Command::Cancel { user_id, booking_id, .. } => {
                    rows.bookings.insert(*booking_id);
                    rows.cancelled.insert(*booking_id);
                    rows.wallets.insert(*user_id);
                    rows.holders.insert(*user_id);
                }
            }
        }
        rows
    }
}

/// Loads and locks in the global order: tokens, performances, seats, bookings; then reads the wallets.
pub(crate) async fn lock(
    uow: &mut dyn UnitOfWork,
    rows: &RowsToLock,
) -> Result<LockedSettlementState, RepositoryError> {
    let booking_ids: Vec<_> = rows.bookings.iter().copied().collect();
    let wallets: Vec<_> = rows.wallets.iter().copied().collect();
    let holders: Vec<_> = rows.holders.iter().copied().collect();
    // What never changes about a booking tells what else to lock; the rest is read again under its lock.
    let mut bookings = uow.bookings().list(&booking_ids).await?;
    let tokens = lock_tokens(uow, rows, &bookings).await?;
    let performances = share_performances(uow, &bookings).await?;
    let seat_ids: Vec<SeatId> =
        bookings.iter().flat_map(Booking::seat_ids).collect::<BTreeSet<_>>().into_iter().collect();
    let claims = uow.bookings().lock_claims(&seat_ids).await?;
    uow.bookings().lock(&mut bookings).await?;
    let wallets = uow.wallets().list(&wallets).await?;
    let performance_ids: Vec<_> = performances.iter().map(|performance| performance.id).collect();
    let open = uow.bookings().list_open_of_users(&holders, &performance_ids).await?;
    Ok(LockedSettlementState {
        tokens: index_by(tokens, |token: &QueueToken| token.id),
        bookings: index_by(bookings, |booking: &Booking| booking.id),
        performances: index_by(performances, |performance: &Performance| performance.id),
        claims: claims.into_iter().map(|claim| (claim.seat_id, claim.claim)).collect(),
        wallets: index_by(wallets, |wallet| wallet.user_id),
        open: index_by_user(open),
    })
}

/// Locks the tokens presented, and those of users who give up a hold.
async fn lock_tokens(
    uow: &mut dyn UnitOfWork,
    rows: &RowsToLock,
    bookings: &[Booking],
) -> Result<Vec<QueueToken>, RepositoryError> {
    let is_released =
        |booking: &&Booking| rows.cancelled.contains(&booking.id) && booking.state == BookingState::Pending;
    let holders = bookings.iter().filter(is_released).map(|booking| (booking.user_id, booking.concert_id));
    let holders: Vec<_> = holders.collect::<BTreeSet<_>>().into_iter().collect();
    let mut ids = rows.tokens.clone();
    ids.extend(uow.queues().list_live_of(&holders).await?);
    uow.queues().lock_tokens(&ids.into_iter().collect::<Vec<_>>()).await
}

async fn share_performances(
    uow: &mut dyn UnitOfWork,
    bookings: &[Booking],
) -> Result<Vec<Performance>, RepositoryError> {
    let ids: BTreeSet<PerformanceId> = bookings.iter().map(|booking| booking.performance_id).collect();
    let ids: Vec<_> = ids.into_iter().collect();
    uow.concerts().share_performances(&ids).await
}

fn index_by_user(bookings: Vec<OpenBooking>) -> HashMap<UserId, Vec<OpenBooking>> {
    let mut by_user: HashMap<_, Vec<_>> = HashMap::new();
    for booking in bookings {
        by_user.entry(booking.user_id).or_default().push(booking);
    }
    by_user
}

pub(crate) fn index_by<K: std::hash::Hash + Eq, T>(items: Vec<T>, key: impl Fn(&T) -> K) -> HashMap<K, T> {
    items.into_iter().map(|item| (key(&item), item)).collect()
}

/// Writes what was decided, one statement a table.
pub(crate) async fn store_changes(
    ports: &Ports,
    uow: &mut dyn UnitOfWork,
    now: Instant,
    batch: SettlementBatch,
) -> Result<(), RepositoryError> {
    let (changes, bookings, tokens) = batch.into_changes();
    uow.payments().insert(&changes.payments).await?;
    uow.payments().refund(&changes.refunded_payments, now).await?;
    uow.bookings().update(&bookings).await?;
    uow.bookings().update_claims(&bookings, now).await?;
    uow.wallets().apply(&changes.ledger_entries).await?;
    uow.queues().update_tokens(&tokens, now).await?;
    event::record(ports, uow, now, changes.facts, changes.seat_changes).await
}
