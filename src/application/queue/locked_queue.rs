//! A queue under its lock, while joins and leaves are decided.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{
    command::{Command, Joined},
    estimate::{AdmissionPace, PaceHistories},
    selection::ADMISSION_BATCH,
};
use crate::{
    application::{Ports, draw},
    domain::{
        clock::{Clock, Instant},
        id::{ConcertId, QueueTokenId, UserId},
        queue::{
            AdmissionRecord, EndReason, Entrant, Queue, QueueToken, TokenState, poll_after, poll_after_opening,
            present_until,
        },
        refusal::Refusal,
        repository_error::RepositoryError,
        unit_of_work::UnitOfWork,
    },
};

/// One concert's queue, locked, with the tokens that the commands concern.
pub(super) struct LockedQueue {
    queue: Queue,
    pace: AdmissionPace,
    /// Whether this transaction has made the draw, so that the queue must be stored.
    places_assigned: bool,
    /// The number of active tokens, and of waiting ones whose users are present, in an open sale. A join is admitted at
    /// once only while it is less than `max_active`.
    occupied: u32,
    live: HashMap<UserId, QueueToken>,
    /// The tokens whose users left before a pending draw. Joining again revives them.
    left_before_draw: HashMap<UserId, QueueToken>,
    tokens: HashMap<QueueTokenId, QueueToken>,
    issued: BTreeSet<QueueTokenId>,
    changed: BTreeSet<QueueTokenId>,
    admitted: u32,
    active: u32,
    pub(super) leaving_active_users: BTreeSet<(UserId, ConcertId)>,
    /// The former status of each token whose user left.
    left_statuses: Vec<&'static str>,
    /// The number of lapsed tokens that were ended.
    expired: u64,
}

impl LockedQueue {
    /// Joins for a user: issues a token, or finds the user's live one. `accounts` has the accounts that exist, with
    /// whether each may join.
    ///
    /// # Errors
    ///
    /// [`Refusal::SalesClosed`] once the concert is over; [`Refusal::Unauthenticated`] for an account that doesn't
    /// exist; [`Refusal::EmailNotVerified`] for one that may not join; [`Refusal::ConcertNotFound`] once all numbers
    /// are used.
    pub(super) fn join(
        &mut self,
        user_id: UserId,
        accounts: &HashMap<UserId, bool>,
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
        match accounts.get(&user_id) {
            None => return Err(Refusal::Unauthenticated),
            Some(false) => return Err(Refusal::EmailNotVerified),
            Some(true) => {}
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
        // Beyond the lookahead presence isn't stored, and ticks admit the earlier tokens first.
        let is_in_lookahead = self.queue.stores_presence_at(token.place);
        if is_open_sale && is_in_lookahead && self.occupied < settings.max_active {
            self.queue.admit(&mut token, now);
            if let TokenState::Active(admission) = token.state {
                // Joining an open sale counts as the first use.
                token.state = TokenState::Active(admission.claimed(now));
            }
            self.admitted += 1;
            self.active += 1;
        }
        let randomness = &*ports.randomness;
        let poll_after_seconds = match token.state {
            // Departed tokens between head and place aren't known here, so this is an upper bound of the position.
            TokenState::Waiting => {
                let position = token.place.unwrap_or(0).saturating_sub(self.queue.head);
                token.estimate = self.pace.wait(position);
                Some(poll_after(&settings, position, randomness))
            }
            TokenState::Scheduled => Some(poll_after_opening(&settings, self.queue.last_number, now, randomness)),
            TokenState::Active(_) | TokenState::Ended(_) => None,
        };
        // In an open sale the next tick may reach the newest token.
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

    /// Ends a token. An ended token stays as it is.
    ///
    /// # Errors
    ///
    /// [`Refusal::QueueTokenInvalid`] if the user has no such token.
    pub(super) fn leave(&mut self, id: QueueTokenId, user_id: UserId, now: Instant) -> Result<(), Refusal> {
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

    /// Stores the queue and the tokens that the commands changed, if any.
    pub(super) async fn store(mut self, uow: &mut dyn UnitOfWork, now: Instant) -> Result<(), RepositoryError> {
        self.record_metrics(uow);
        let now = self.queue.monotonic_now(now);
        self.queue.last_decision_at = now;
        let pick = |ids: &BTreeSet<QueueTokenId>| -> Vec<QueueToken> {
            ids.iter().filter_map(|id| self.tokens.get(id)).copied().collect()
        };
        let changed: BTreeSet<_> = self.changed.difference(&self.issued).copied().collect();
        if self.issued.is_empty() && changed.is_empty() && !self.places_assigned {
            return Ok(());
        }
        // Ended tokens are stored before new ones, because a user may have only one live token.
        uow.queue_tokens().update_tokens(&pick(&changed), now).await?;
        uow.queue_tokens().insert_tokens(&pick(&self.issued)).await?;
        uow.queues().update_queue(&self.queue).await?;
        if self.admitted > 0 {
            let record = AdmissionRecord {
                concert_id: self.queue.concert_id,
                admitted_at: now,
                admitted: self.admitted,
                active: self.active,
                settings: self.queue.settings,
            };
            uow.admissions().insert_admission(&record).await?;
        }
        Ok(())
    }

    /// Records the metrics of the changes after the commit.
    fn record_metrics(&self, uow: &mut dyn UnitOfWork) {
        let (admitted, expired, left_statuses) = (self.admitted, self.expired, self.left_statuses.clone());
        uow.after_commit(Box::new(move || {
            metrics::counter!("queue_admitted_total").increment(u64::from(admitted));
            metrics::counter!("queue_expired_total").increment(expired);
            for was in left_statuses {
                metrics::counter!("queue_abandoned_total", "was" => was).increment(1);
            }
        }));
    }
}

/// Locks the commands' queues by ascending id, and after each queue the tokens that its commands concern. Returns the
/// instant at which the queues were locked.
pub(super) async fn lock_queues_and_tokens(
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

/// The used capacity of an open sale.
#[derive(Default)]
struct OpenSaleCapacity {
    /// An upper bound of active tokens.
    active: u32,
    /// An upper bound of active tokens, and waiting ones whose users are present.
    occupied: u32,
    /// The number of lapsed tokens that were ended to free capacity.
    expired: u64,
}

/// Reads the used capacity of an open sale. The tokens are counted only if the upper bound of live tokens doesn't
/// suffice, which is rare.
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
    // Ending lapsed tokens frees capacity for joining users.
    let expired = uow.queue_tokens().expire_lapsed(id, now, ADMISSION_BATCH).await?;
    let active = uow.queue_tokens().count_active(id).await?;
    let occupied = active.saturating_add(uow.queue_tokens().count_present(id, now, limit).await?);
    let waiting = uow.queue_tokens().count_waiting(id, limit).await?;
    queue.live_bound =
        if waiting < limit { active.saturating_add(waiting).saturating_add(queue.unplaced_count()) } else { u32::MAX };
    Ok(OpenSaleCapacity { active, occupied: occupied.saturating_add(queue.presumed_present_count(now)), expired })
}
