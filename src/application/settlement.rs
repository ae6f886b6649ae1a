//! The settlement lanes: commands that move points or change a booking (charge, pay, extend, cancel, adjust).
//!
//! Commands of one user share a transaction or run one after the other.

use std::collections::{BTreeSet, HashMap};

use async_trait::async_trait;

use super::{
    Ports,
    error::AppError,
    event,
    lane::{Decision, Decisions, IdempotencyKey, LanePorts, LaneSettings, LaneWork, Lanes, Reply, ReplyTo},
};
use crate::domain::{
    administration::Order,
    booking::{Booking, BookingState, HoldPolicy, OpenBooking},
    clock::{Clock, Instant},
    concert::Performance,
    id::{BookingId, PaymentId, PerformanceId, QueueTokenId, SeatId, TransactionId, UserId},
    language::Language,
    point::LedgerEntry,
    points::{Points, SignedPoints},
    queue::QueueToken,
    refusal::Refusal,
    repository_error::RepositoryError,
    settlement::{Adjustment, CancelledBy, Charge, LockedSettlementState, Paid, PayRequest, SettlementBatch},
    unit_of_work::UnitOfWork,
};

/// The settlement lanes.
pub struct SettlementLanes {
    lanes: Lanes<SettlementWork>,
    ports: Ports,
}

impl SettlementLanes {
    /// Lanes whose transactions use the database of `lane_ports`.
    pub fn new(ports: Ports, policy: HoldPolicy, settings: LaneSettings, lane_ports: &LanePorts) -> Self {
        let work = SettlementWork { ports: ports.clone(), policy };
        Self { lanes: Lanes::new(work, settings, lane_ports.clone()), ports }
    }

    /// Adds `amount` points to a wallet, if `permission` allows it.
    ///
    /// # Errors
    ///
    /// Those of [`PointFacade::charge`](super::point::PointFacade::charge).
    pub async fn charge(
        &self,
        user_id: UserId,
        permission: Result<(), Refusal>,
        amount: Points,
        if_version: Option<Vec<u64>>,
        key: Option<IdempotencyKey<LedgerEntry>>,
    ) -> Result<Reply<LedgerEntry>, AppError> {
        let transaction_id = self.ports.transaction_id(self.ports.now());
        let charge = Charge { transaction_id, user_id, amount, if_version };
        self.submit(user_id, key, |reply| Command::Charge { permission, charge, reply }).await
    }

    /// Pays for a booking, if `gate` contains an admitted token.
    ///
    /// # Errors
    ///
    /// Those of [`PaymentFacade::pay`](super::payment::PaymentFacade::pay); the reply contains
    /// [`Refusal::QueueTokenNotActive`] instead of a position.
    pub async fn pay(
        &self,
        user_id: UserId,
        gate: Result<QueueTokenId, Refusal>,
        booking_id: BookingId,
        language: Language,
        key: Option<IdempotencyKey<Paid>>,
    ) -> Result<Reply<Paid>, AppError> {
        let now = self.ports.now();
        let (payment_id, transaction_id) = (self.ports.payment_id(now), self.ports.transaction_id(now));
        let request = PayRequest { payment_id, transaction_id, user_id, booking_id, language };
        self.submit(user_id, key, |reply| Command::Pay { gate, request, reply }).await
    }

    /// Extends a hold, if `gate` contains an admitted token.
    ///
    /// # Errors
    ///
    /// Those of [`BookingFacade::extend`](super::booking::BookingFacade::extend); the reply contains
    /// [`Refusal::QueueTokenNotActive`] instead of a position.
    pub async fn extend(
        &self,
        user_id: UserId,
        gate: Result<QueueTokenId, Refusal>,
        booking_id: BookingId,
        key: Option<IdempotencyKey<Booking>>,
    ) -> Result<Reply<Booking>, AppError> {
        self.submit(user_id, key, |reply| Command::Extend { gate, user_id, booking_id, reply }).await
    }

    /// Cancels a booking for its user.
    ///
    /// # Errors
    ///
    /// Those of [`BookingFacade::cancel`](super::booking::BookingFacade::cancel).
    pub async fn cancel(
        &self,
        user_id: UserId,
        booking_id: BookingId,
        language: Language,
        key: Option<IdempotencyKey<Booking>>,
    ) -> Result<Reply<Booking>, AppError> {
        self.submit_cancellation(user_id, booking_id, CancelledBy::User(Some(language)), key).await
    }

    /// Adds points to a wallet for an administrator, or takes points from it.
    ///
    /// # Errors
    ///
    /// Those of [`AdministrationFacade::adjust_points`](super::administration::AdministrationFacade::adjust_points).
    pub async fn adjust(
        &self,
        order: Order,
        user_id: UserId,
        amount: SignedPoints,
        key: Option<IdempotencyKey<LedgerEntry>>,
    ) -> Result<Reply<LedgerEntry>, AppError> {
        let transaction_id = self.ports.transaction_id(self.ports.now());
        let adjustment = Adjustment { transaction_id, user_id, amount, order };
        self.submit(user_id, key, |reply| Command::Adjust { adjustment, reply }).await
    }

    /// Cancels the booking of this user for an administrator.
    ///
    /// # Errors
    ///
    /// Those of [`AdministrationFacade::cancel_booking`](super::administration::AdministrationFacade::cancel_booking).
    pub async fn cancel_by_administrator(
        &self,
        order: Order,
        user_id: UserId,
        booking_id: BookingId,
        key: Option<IdempotencyKey<Booking>>,
    ) -> Result<Reply<Booking>, AppError> {
        let transaction_id = self.ports.transaction_id(self.ports.now());
        let command = |reply| Command::CancelOrdered { order, user_id, booking_id, transaction_id, reply };
        self.submit(user_id, key, command).await
    }

    /// Cancels or refunds a booking of a cancelled performance, and records the expiry of a hold past its deadline.
    /// Returns false for a hold whose expiry is recorded already, or that has lost a claim.
    ///
    /// # Errors
    ///
    /// Those of a [command](super::lane::Lanes::submit); [`Refusal::BookingNotFound`];
    /// [`Refusal::BalanceLimitExceeded`] if the refund exceeds the largest amount.
    pub async fn cancel_by_promoter(&self, booking_id: BookingId, user_id: UserId) -> Result<bool, AppError> {
        match self.submit_cancellation(user_id, booking_id, CancelledBy::Promoter, None).await? {
            Reply::Unrecorded(Ok(_)) | Reply::Recorded { .. } => Ok(true),
            Reply::Unrecorded(Err(Refusal::BookingNotCancellable)) => Ok(false),
            Reply::Unrecorded(Err(refusal)) => Err(refusal.into()),
        }
    }

    async fn submit_cancellation(
        &self,
        user_id: UserId,
        booking_id: BookingId,
        cancelled_by: CancelledBy,
        key: Option<IdempotencyKey<Booking>>,
    ) -> Result<Reply<Booking>, AppError> {
        let transaction_id = self.ports.transaction_id(self.ports.now());
        self.submit(user_id, key, |reply| Command::Cancel { user_id, booking_id, transaction_id, cancelled_by, reply })
            .await
    }

    async fn submit<T: Send + 'static>(
        &self,
        user_id: UserId,
        key: Option<IdempotencyKey<T>>,
        command: impl FnOnce(ReplyTo<T>) -> Command,
    ) -> Result<Reply<T>, AppError> {
        self.lanes.submit(Some(user_conflict_key(user_id)), key, command).await
    }
}

/// A command of the lanes. `gate` is the gate's verdict on the queue token.
enum Command {
    Charge {
        permission: Result<(), Refusal>,
        charge: Charge,
        reply: ReplyTo<LedgerEntry>,
    },
    Pay {
        gate: Result<QueueTokenId, Refusal>,
        request: PayRequest,
        reply: ReplyTo<Paid>,
    },
    Extend {
        gate: Result<QueueTokenId, Refusal>,
        user_id: UserId,
        booking_id: BookingId,
        reply: ReplyTo<Booking>,
    },
    Cancel {
        user_id: UserId,
        booking_id: BookingId,
        transaction_id: TransactionId,
        cancelled_by: CancelledBy,
        reply: ReplyTo<Booking>,
    },
    Adjust {
        adjustment: Adjustment,
        reply: ReplyTo<LedgerEntry>,
    },
    /// A cancellation that an administrator ordered.
    CancelOrdered {
        order: Order,
        user_id: UserId,
        booking_id: BookingId,
        transaction_id: TransactionId,
        reply: ReplyTo<Booking>,
    },
}

/// The conflict key of a user's commands. One transaction at a time changes a user's wallet, since wallets are read
/// without a lock. The last bits of the id are random.
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

    const NAME: &'static str = "settlement";

    async fn run(
        &self,
        uow: &mut dyn UnitOfWork,
        clock: &dyn Clock,
        commands: &[&Command],
    ) -> Result<Decisions, RepositoryError> {
        let state = lock(uow, &RowsToLock::of(commands)).await?;
        let now = state.instant(clock.now());
        let mut batch = SettlementBatch::new(now, self.policy, state);
        let mut extensions = 0;
        let decisions = commands.iter().map(|command| decide(&mut batch, command, &mut extensions)).collect();
        store_changes(&self.ports, uow, now, batch).await?;
        // An extension is the only change of a booking without an event, so its metric is counted here.
        uow.after_commit(Box::new(move || {
            metrics::counter!("bookings_total", "change" => "extended").increment(extensions);
        }));
        Ok(Decisions { at: now, decisions })
    }
}

fn decide(batch: &mut SettlementBatch, command: &Command, extensions: &mut u64) -> Decision {
    match command {
        Command::Charge { permission, charge, reply } => {
            reply.decide(permission.clone().and_then(|()| batch.charge(charge)))
        }
        Command::Pay { gate, request, reply } => {
            reply.decide(gate.clone().and_then(|queue_token| batch.pay(request, queue_token)))
        }
        Command::Extend { gate, user_id, booking_id, reply } => {
            let result = gate.clone().and_then(|queue_token| batch.extend(*user_id, queue_token, *booking_id));
            *extensions += u64::from(result.is_ok());
            reply.decide(result)
        }
        Command::Cancel { user_id, booking_id, transaction_id, cancelled_by, reply } => {
            reply.decide(batch.cancel(*user_id, *booking_id, *transaction_id, *cancelled_by))
        }
        Command::Adjust { adjustment, reply } => reply.decide(batch.adjust(adjustment)),
        Command::CancelOrdered { order, booking_id, transaction_id, reply, .. } => {
            reply.decide(batch.cancel_by_administrator(order, *booking_id, *transaction_id))
        }
    }
}

/// The rows that a batch locks or reads.
#[derive(Debug, Default)]
pub(crate) struct RowsToLock {
    pub(crate) tokens: BTreeSet<QueueTokenId>,
    pub(crate) bookings: BTreeSet<BookingId>,
    /// Bookings to cancel: cancelling a hold changes its user's queue token too.
    pub(crate) cancelled: BTreeSet<BookingId>,
    /// Users whose wallets may change.
    pub(crate) wallets: BTreeSet<UserId>,
    /// Users who pay, extend, cancel or leave: the decision and their tokens' deadlines depend on their other bookings.
    pub(crate) holders: BTreeSet<UserId>,
    /// The commands' administrators, and users whose wallets they adjust.
    pub(crate) accounts: BTreeSet<UserId>,
}

impl RowsToLock {
    fn of(commands: &[&Command]) -> Self {
        let mut rows = Self::default();
        for command in commands {
            match command {
                Command::Charge { charge, .. } => {
                    rows.wallets.insert(charge.user_id);
                }
                Command::Pay { gate, request, .. } => {
                    rows.tokens.extend(gate.as_ref().ok());
                    rows.bookings.insert(request.booking_id);
                    rows.wallets.insert(request.user_id);
                    rows.holders.insert(request.user_id);
                }
                Command::Extend { gate, user_id, booking_id, .. } => {
                    rows.tokens.extend(gate.as_ref().ok());
                    rows.bookings.insert(*booking_id);
                    rows.holders.insert(*user_id);
                }
                Command::Cancel { user_id, booking_id, .. } => rows.add_cancellation(*user_id, *booking_id),
                Command::Adjust { adjustment, .. } => {
                    rows.wallets.insert(adjustment.user_id);
                    rows.accounts.extend([adjustment.user_id, adjustment.order.actor]);
                }
                Command::CancelOrdered { order, user_id, booking_id, .. } => {
                    rows.add_cancellation(*user_id, *booking_id);
                    rows.accounts.insert(order.actor);
                }
            }
        }
        rows
    }

    fn add_cancellation(&mut self, user_id: UserId, booking_id: BookingId) {
        self.bookings.insert(booking_id);
        self.cancelled.insert(booking_id);
        self.wallets.insert(user_id);
        self.holders.insert(user_id);
    }
}

/// Loads and locks in the global order: tokens, accounts (shared), performances (shared), seats, bookings; then reads
/// the wallets.
pub(crate) async fn lock(
    uow: &mut dyn UnitOfWork,
    rows: &RowsToLock,
) -> Result<LockedSettlementState, RepositoryError> {
    let booking_ids: Vec<_> = rows.bookings.iter().copied().collect();
    let wallets: Vec<_> = rows.wallets.iter().copied().collect();
    let holders: Vec<_> = rows.holders.iter().copied().collect();
    // A booking's constant fields determine the other rows to lock. Its other fields are read again under its lock.
    let mut bookings = uow.bookings().list(&booking_ids).await?;
    let tokens = lock_tokens(uow, rows, &bookings).await?;
    let accounts: Vec<_> = rows.accounts.iter().copied().collect();
    let accounts = uow.users().share_standings(&accounts).await?;
    let performances = share_performances(uow, &bookings).await?;
    let seat_ids: Vec<SeatId> =
        bookings.iter().flat_map(Booking::seat_ids).collect::<BTreeSet<_>>().into_iter().collect();
    let claims = uow.seat_claims().lock_claims(&seat_ids).await?;
    uow.bookings().lock(&mut bookings).await?;
    let used = list_used(uow, rows, &bookings).await?;
    // Read after the lock: the payment may have been committed while this transaction waited for the lock.
    let paid = bookings.iter().filter(|booking| rows.cancelled.contains(&booking.id)).filter_map(payment_of);
    let paid_amounts = uow.payments().list_amounts(&paid.collect::<Vec<_>>()).await?;
    let wallets = uow.wallets().list(&wallets).await?;
    let performance_ids: Vec<_> = performances.iter().map(|performance| performance.id).collect();
    let open = uow.bookings().list_open_of_users(&holders, &performance_ids).await?;
    Ok(LockedSettlementState {
        tokens: index_by(tokens, |token: &QueueToken| token.id),
        bookings: index_by(bookings, |booking: &Booking| booking.id),
        performances: index_by(performances, |performance: &Performance| performance.id),
        used: used.into_iter().collect(),
        claims: claims.into_iter().map(|claim| (claim.seat_id, claim.claim)).collect(),
        paid_amounts: paid_amounts.into_iter().collect(),
        wallets: index_by(wallets, |wallet| wallet.user_id),
        open: index_by_user(open),
        accounts: accounts.into_iter().collect(),
    })
}

/// The payment of a confirmed booking.
fn payment_of(booking: &Booking) -> Option<PaymentId> {
    match booking.state {
        BookingState::Confirmed { payment_id, .. } => Some(payment_id),
        _ => None,
    }
}

/// Locks the tokens of the requests, and the live tokens of users whose holds are cancelled.
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
    ids.extend(uow.queue_tokens().list_live_of(&holders).await?);
    uow.queue_tokens().lock_tokens(&ids.into_iter().collect::<Vec<_>>()).await
}

/// The paid bookings to cancel of which a ticket was used. The caller has locked them. It sends no statement if none
/// has to be cancelled.
async fn list_used(
    uow: &mut dyn UnitOfWork,
    rows: &RowsToLock,
    bookings: &[Booking],
) -> Result<Vec<BookingId>, RepositoryError> {
    let is_refunded = |booking: &&Booking| {
        rows.cancelled.contains(&booking.id) && matches!(booking.state, BookingState::Confirmed { .. })
    };
    let refunded: Vec<_> = bookings.iter().filter(is_refunded).map(|booking| booking.id).collect();
    uow.tickets().list_bookings_with_uses(&refunded).await
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

/// Stores the changes, with one statement for each table and kind of change.
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
    uow.seat_claims().update_claims(&bookings, now).await?;
    uow.wallets().apply(&changes.ledger_entries).await?;
    uow.queue_tokens().update_tokens(&tokens, now).await?;
    for action in changes.actions {
        uow.actions().append(&ports.action_entry(now, action)).await?;
    }
    event::record(ports, uow, now, changes.facts, changes.seat_changes).await
}
