//! The lanes in which people join and leave: one transaction of a concert at a time.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use async_trait::async_trait;

use super::{
    admission::ADMISSION_BATCH,
    estimate::{AdmissionPace, PaceHistories},
};
use crate::{
    application::{
        Ports, draw,
        lane::{Decisions, LaneWork, ReplyTo},
        settlement::{self, RowsToLock},
    },
    domain::{
        booking::HoldPolicy,
        clock::{Clock, Instant},
        id::{ConcertId, QueueTokenId, UserId},
        queue::{
            AdmissionRecord, EndReason, Entrant, Queue, QueueToken, TokenState, poll_after, poll_after_opening,
            present_until,
        },
        refusal::Refusal,
        repository_error::RepositoryError,
        settlement::SettlementBatch,
        unit_of_work::UnitOfWork,
    },
};

/// What can be asked of a queue.
pub(super) enum Command {
    /// To be in it.
    Join { user_id: UserId, concert_id: ConcertId, reply: ReplyTo<Joined> },
    /// To be out of it.
    Leave { id: QueueTokenId, user_id: UserId, reply: ReplyTo<()> },
}

impl Command {
    fn concert_id(&self) -> ConcertId {
        match self {
            Self::Join { concert_id, .. } => *concert_id,
            Self::Leave { id, .. } => id.concert(),
        }
    }
}

/// The token of a user who joined, and its queue at the instant of the decision.
pub(super) struct Joined {
    pub(super) token: QueueToken,
    /// Whether the token is new; else the user had it before.
    pub(super) created: bool,
    /// The interval until the first poll, stored with a new token.
    pub(super) poll_after_seconds: Option<u32>,
    pub(super) queue: Queue,
    pub(super) pace: AdmissionPace,
}

/// Gives out places under the locks of the queues concerned.
pub(super) struct QueueWork {
    ports: Ports,
    policy: HoldPolicy,
    pace_histories: Arc<PaceHistories>,
}

impl QueueWork {
    pub(super) fn new(ports: Ports, policy: HoldPolicy, pace_histories: Arc<PaceHistories>) -> Self {
        Self { ports, policy, pace_histories }
    }
}

#[async_trait]
impl LaneWork for QueueWork {
    type Command = Command;

    const NAME: &'static str = "queue";

    async fn run(
        &self,
        uow: &mut dyn UnitOfWork,
        clock: &dyn Clock,
        commands: &[&Command],
    ) -> Result<Decisions, RepositoryError> {
        let (now, mut locked_queues) =
            lock_queues_and_tokens(&self.ports, uow, &self.pace_histories, clock, commands).await?;
        let accounts = lock_joining_accounts(uow, commands).await?;
        let decide = |command: &&Command| {
            let locked_queue = locked_queues.get_mut(&command.concert_id());
            match command {
                Command::Join { user_id, reply, .. } => reply.decide(match locked_queue {
                    Some(locked_queue) => locked_queue.join(*user_id, &accounts, &self.ports, now),
                    None => Err(Refusal::ConcertNotFound),
                }),
                Command::Leave { id, user_id, reply } => reply.decide(match locked_queue {
                    Some(locked_queue) => locked_queue.leave(*id, *user_id, now),
                    // The concert was deleted, and every place in its queue with it.
                    None => Ok(()),
                }),
            }
        };
        let decisions = commands.iter().map(decide).collect();
        let holders =
            locked_queues.values().flat_map(|locked_queue| locked_queue.leaving_active_users.iter().copied()).collect();
        for locked_queue in locked_queues.into_values() {
            store(uow, locked_queue, now).await?;
        }
        self.cancel_holds(uow, now, holders).await?;
        Ok(Decisions { at: now, decisions })
    }
}

impl QueueWork {
    /// Cancels what those who left still hold.
    async fn cancel_holds(
        &self,
        uow: &mut dyn UnitOfWork,
        now: Instant,
        holders: BTreeSet<(UserId, ConcertId)>,
    ) -> Result<(), RepositoryError> {
        if holders.is_empty() {
            return Ok(());
        }
        let users: BTreeSet<UserId> = holders.iter().map(|(user_id, _)| *user_id).collect();
        let held = uow.bookings().list_holds_of_users(&users.iter().copied().collect::<Vec<_>>(), now).await?;
        let bookings = held
            .into_iter()
            .filter(|held| holders.contains(&(held.user_id, held.concert_id)))
            .map(|held| held.id)
            .collect();
        let rows = RowsToLock { bookings, holders: users, ..RowsToLock::default() };
        let state = settlement::lock(uow, &rows).await?;
        let mut batch = SettlementBatch::new(now, self.policy, state);
        for (user_id, concert_id) in holders {
            for booking_id in batch.holds_of(user_id, concert_id) {
                batch.cancel_hold(user_id, booking_id);
            }
        }
        settlement::store_changes(&self.ports, uow, now, batch).await
    }
}

/// One concert's queue, locked, with the tokens that the commands concern.
struct LockedQueue {
    queue: Queue,
    /// How fast it moves.
    pace: AdmissionPace,
    /// Whether those from before the opening have got their places just now.
    places_assigned: bool,
    /// In mode `OPEN`: how many are active, or waiting and there; nobody is let in at once while they fill the house.
    occupied: u32,
    live: HashMap<UserId, QueueToken>,
    /// Tokens that were left before the draw that is still to come: joining again revives them.
    left_before_draw: HashMap<UserId, QueueToken>,
    tokens: HashMap<QueueTokenId, QueueToken>,
    issued: BTreeSet<QueueTokenId>,
    changed: BTreeSet<QueueTokenId>,
    admitted: u32,
    active: u32,
    leaving_active_users: BTreeSet<(UserId, ConcertId)>,
    /// What those were who left.
    left_statuses: Vec<&'static str>,
    /// How many had lapsed.
    expired: u64,
}

impl LockedQueue {
    fn join(
        &mut self,
        user_id: UserId,
        accounts: &HashSet<UserId>,
        ports: &Ports,
        now: Instant,
    ) -> Result<Joined, Refusal> {
        let now = self.queue.monotonic_now(now);
        if self.queue.is_over(now) {
            return Err(Refusal::SalesClosed);
        }
        if let Some(token) = self.live.get(&user_id).copied() {
            if token.is_live(now) {
                return Ok(self.joined(token, false, None));
            }
            self.update_token(QueueToken { state: TokenState::Ended(EndReason::Expired), ..token });
        }
        if !accounts.contains(&user_id) {
            return Err(Refusal::Unauthenticated);
        }
        let mut token = match self.left_before_draw.remove(&user_id) {
            Some(token) => self.queue.revive(token, now),
            None => self.issue(user_id, ports.signer.current_key(), now)?,
        };
        if token.state == TokenState::Scheduled {
            token.entrant = Some(Entrant::of(&ports.signer.queue_token(&token.claims(), token.key_id)));
        }
        let settings = self.queue.settings;
        let is_open_sale = settings.admits_at_once(now);
        // Behind a line that is too long to be watched it isn't known who is there: the ticks go through it first.
        let is_in_lookahead = self.queue.stores_presence_at(token.place);
        if is_open_sale && is_in_lookahead && self.occupied < settings.max_active {
            self.queue.admit(&mut token, now);
            if let TokenState::Active(admission) = token.state {
                // Joining an open sale is a use.
                token.state = TokenState::Active(admission.claimed(now));
            }
            self.admitted += 1;
            self.active += 1;
        }
        let randomness = &*ports.randomness;
        let poll_after_seconds = match token.state {
            // Who left in between isn't known here: the position is this one, or less.
            TokenState::Waiting => {
                let position = token.place.unwrap_or(0).saturating_sub(self.queue.head);
                token.estimate = self.pace.wait(position);
                Some(poll_after(&settings, position, randomness))
            }
            TokenState::Scheduled => Some(poll_after_opening(&settings, self.queue.last_number, now, randomness)),
            TokenState::Active(_) | TokenState::Ended(_) => None,
        };
        // An open sale may reach its newest at the next tick.
        let stores_presence = is_in_lookahead || is_open_sale;
        token.present_until = poll_after_seconds.filter(|_| stores_presence).map(|seconds| present_until(now, seconds));
        self.occupied += 1;
        self.update_token(token);
        self.live.insert(user_id, token);
        Ok(self.joined(token, true, poll_after_seconds))
    }

    fn issue(&mut self, user_id: UserId, key_id: u32, now: Instant) -> Result<QueueToken, Refusal> {
        let token = self.queue.issue(user_id, key_id, now).ok_or(Refusal::ConcertNotFound)?;
        self.issued.insert(token.id);
        Ok(token)
    }

    fn joined(&self, token: QueueToken, created: bool, poll_after_seconds: Option<u32>) -> Joined {
        Joined { token, created, poll_after_seconds, queue: self.queue.clone(), pace: self.pace }
    }

    fn leave(&mut self, id: QueueTokenId, user_id: UserId, now: Instant) -> Result<(), Refusal> {
        let token =
            self.tokens.get(&id).filter(|token| token.user_id == user_id).copied().ok_or(Refusal::QueueTokenInvalid)?;
        let was = match token.state_at(now) {
            TokenState::Ended(_) => return Ok(()),
            TokenState::Waiting => {
                self.queue.departed_count += 1;
                "waiting"
            }
            TokenState::Scheduled => "scheduled",
            TokenState::Active(_) => {
                self.leaving_active_users.insert((token.user_id, self.queue.concert_id));
                "active"
            }
        };
        self.left_statuses.push(was);
        let token = QueueToken { state: TokenState::Ended(EndReason::Left), ..self.queue.remove_entrant(token) };
        self.update_token(token);
        self.live.remove(&user_id);
        if token.place.is_none() && self.queue.awaits_draw(self.queue.monotonic_now(now)) {
            self.left_before_draw.insert(user_id, token);
        }
        Ok(())
    }

    fn update_token(&mut self, token: QueueToken) {
        self.changed.insert(token.id);
        self.tokens.insert(token.id, token);
    }
}

/// Locks the queues in ascending order, then the tokens concerned; tells the instant at which it had the queues.
async fn lock_queues_and_tokens(
    ports: &Ports,
    uow: &mut dyn UnitOfWork,
    pace_histories: &PaceHistories,
    clock: &dyn Clock,
    commands: &[&Command],
) -> Result<(Instant, BTreeMap<ConcertId, LockedQueue>), RepositoryError> {
    let mut by_concert: BTreeMap<ConcertId, (Vec<UserId>, Vec<QueueTokenId>)> = BTreeMap::new();
    for command in commands {
        let (joining, leaving) = by_concert.entry(command.concert_id()).or_default();
        match command {
            Command::Join { user_id, .. } => joining.push(*user_id),
            Command::Leave { id, .. } => leaving.push(*id),
        }
    }
    let ids: Vec<_> = by_concert.keys().copied().collect();
    let mut locked_queues = BTreeMap::new();
    let queues = uow.queues().lock_queues(&ids).await?;
    let now = clock.now();
    for mut queue in queues {
        let Some((joining, leaving)) = by_concert.remove(&queue.concert_id) else { continue };
        let pace = pace_histories.observe(&queue);
        let places_assigned = draw::make_draw_if_due(ports, uow, &mut queue, now).await?;
        let or_departed = queue.awaits_draw(queue.monotonic_now(now));
        let joining_tokens = uow.queue_tokens().lock_tokens_of_joining(queue.concert_id, &joining, or_departed).await?;
        let (left_before_draw, live): (Vec<_>, Vec<_>) =
            joining_tokens.into_iter().partition(|token| matches!(token.state, TokenState::Ended(_)));
        let leaving = uow.queue_tokens().lock_tokens(&leaving).await?;
        let is_open = queue.settings.admits_at_once(queue.monotonic_now(now));
        let OpenSaleCapacity { active, occupied, expired } = if is_open {
            read_capacity(uow, &mut queue, joining.len(), now).await?
        } else {
            OpenSaleCapacity::default()
        };
        let tokens = live.iter().chain(&leaving).map(|token| (token.id, *token)).collect();
        let live = live.into_iter().map(|token| (token.user_id, token)).collect();
        let left_before_draw = left_before_draw.into_iter().map(|token| (token.user_id, token)).collect();
        let locked_queue = LockedQueue {
            pace,
            places_assigned,
            occupied,
            active,
            live,
            left_before_draw,
            tokens,
            issued: BTreeSet::new(),
            changed: BTreeSet::new(),
            admitted: 0,
            leaving_active_users: BTreeSet::new(),
            left_statuses: Vec::new(),
            expired,
            queue,
        };
        locked_queues.insert(locked_queue.queue.concert_id, locked_queue);
    }
    Ok((now, locked_queues))
}

/// The accounts of those who join, shared until their tokens are stored: none of them is deleted meanwhile. A deletion
/// that came first is seen, and one that comes later finds the token.
async fn lock_joining_accounts(
    uow: &mut dyn UnitOfWork,
    commands: &[&Command],
) -> Result<HashSet<UserId>, RepositoryError> {
    let joining = commands.iter().filter_map(|command| match command {
        Command::Join { user_id, .. } => Some(*user_id),
        Command::Leave { .. } => None,
    });
    let joining: Vec<_> = joining.collect::<BTreeSet<_>>().into_iter().collect();
    Ok(uow.users().share(&joining).await?.into_iter().collect())
}

/// Who is in the house, or on the way in, while a sale is open to everybody.
#[derive(Default)]
struct OpenSaleCapacity {
    /// How many are active, at most.
    active: u32,
    /// How many are active, or waiting and there, at most.
    occupied: u32,
    /// How many tokens were ended for it.
    expired: u64,
}

/// Whether there is room is mostly plain from the bound of live tokens; only where it isn't, they are counted.
async fn read_capacity(
    uow: &mut dyn UnitOfWork,
    queue: &mut Queue,
    joining: usize,
    now: Instant,
) -> Result<OpenSaleCapacity, RepositoryError> {
    let (id, limit, now) = (queue.concert_id, queue.settings.max_active, queue.monotonic_now(now));
    let joining = u32::try_from(joining).unwrap_or(u32::MAX);
    if joining == 0 || queue.live_bound.saturating_add(joining) <= limit {
        return Ok(OpenSaleCapacity { active: queue.live_bound, occupied: queue.live_bound, expired: 0 });
    }
    // What has lapsed leaves its room to those who come now.
    let expired = uow.queue_tokens().expire_lapsed(id, now, ADMISSION_BATCH).await?;
    let active = uow.queue_tokens().count_active(id).await?;
    let occupied = active.saturating_add(uow.queue_tokens().count_present(id, now, limit).await?);
    let waiting = uow.queue_tokens().count_waiting(id, limit).await?;
    queue.live_bound =
        if waiting < limit { active.saturating_add(waiting).saturating_add(queue.unplaced_count()) } else { u32::MAX };
    Ok(OpenSaleCapacity { active, occupied: occupied.saturating_add(queue.presumed_present_count(now)), expired })
}

async fn store(uow: &mut dyn UnitOfWork, mut locked_queue: LockedQueue, now: Instant) -> Result<(), RepositoryError> {
    record_metrics(uow, &locked_queue);
    let now = locked_queue.queue.monotonic_now(now);
    locked_queue.queue.last_decision_at = now;
    let pick = |ids: &BTreeSet<QueueTokenId>| -> Vec<QueueToken> {
        ids.iter().filter_map(|id| locked_queue.tokens.get(id)).copied().collect()
    };
    let changed: BTreeSet<_> = locked_queue.changed.difference(&locked_queue.issued).copied().collect();
    if locked_queue.issued.is_empty() && changed.is_empty() && !locked_queue.places_assigned {
        return Ok(());
    }
    // A lapsed token ends before its user's next one begins: a user has one live token.
    uow.queue_tokens().update_tokens(&pick(&changed), now).await?;
    uow.queue_tokens().insert_tokens(&pick(&locked_queue.issued)).await?;
    uow.queues().update_queue(&locked_queue.queue).await?;
    if locked_queue.admitted > 0 {
        let record = AdmissionRecord {
            concert_id: locked_queue.queue.concert_id,
            admitted_at: now,
            admitted: locked_queue.admitted,
            active: locked_queue.active,
            settings: locked_queue.queue.settings,
        };
        uow.admissions().insert_admission(&record).await?;
    }
    Ok(())
}

fn record_metrics(uow: &mut dyn UnitOfWork, locked_queue: &LockedQueue) {
    let (admitted, expired, left_statuses) =
        (locked_queue.admitted, locked_queue.expired, locked_queue.left_statuses.clone());
    uow.after_commit(Box::new(move || {
        metrics::counter!("queue_admitted_total").increment(u64::from(admitted));
        metrics::counter!("queue_expired_total").increment(expired);
        for was in left_statuses {
            metrics::counter!("queue_abandoned_total", "was" => was).increment(1);
        }
    }));
}
