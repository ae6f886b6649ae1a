//! The ports of waiting queues and draws.

use async_trait::async_trait;

use super::{Drawn, Entrant, Queue, QueueSettings, QueueToken};
use crate::domain::{
    clock::Instant,
    id::{ConcertId, QueueTokenId, UserId},
    repository_error::RepositoryError,
};

/// The record of one admission of tokens, by which the audit checks rates.
#[derive(Clone, Copy, Debug)]
pub struct AdmissionRecord {
    /// The concert of the queue.
    pub concert_id: ConcertId,
    /// The instant of admission.
    pub admitted_at: Instant,
    /// The number of admitted tokens.
    pub admitted: u32,
    /// The number of active tokens afterwards, including the admitted ones.
    pub active: u32,
    /// The settings that the admission followed.
    pub settings: QueueSettings,
}

/// The counts of a queue that administrators see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveCounts {
    /// The number of waiting tokens.
    pub waiting: u32,
    /// The number of active tokens.
    pub active: u32,
    /// The number of tokens admitted within the last 60 seconds.
    pub admitted_last_minute: u32,
}

/// The reason why a queue is due for a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TickReason {
    /// An active token has lapsed, drawn places are still to be written, or a present user can be admitted.
    Admission,
    /// The concert is over, and live tokens have to end or the queue has to be marked as ended.
    End,
}

/// A queue with live tokens or an unfinished draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OccupiedQueue {
    /// The concert of the queue.
    pub concert_id: ConcertId,
    /// The due work; `None` if there is none.
    pub due: Option<TickReason>,
}

/// Stores queues.
///
/// Lock order: a queue before its tokens.
#[async_trait]
pub trait QueueRepository: Send {
    /// Inserts the queue of a new concert.
    async fn insert_queue(&mut self, queue: &Queue) -> Result<(), RepositoryError>;

    /// The queue of a concert that isn't deleted. Takes no lock.
    async fn find_queue(&mut self, id: ConcertId) -> Result<Option<Queue>, RepositoryError>;

    /// Locks the queues of concerts that aren't deleted, by ascending id, until the transaction ends; absent ones are
    /// left out.
    async fn lock_queues(&mut self, ids: &[ConcertId]) -> Result<Vec<Queue>, RepositoryError>;

    /// Locks the queue of a concert, deleted or not, until the transaction ends.
    async fn lock_queue(&mut self, id: ConcertId) -> Result<Option<Queue>, RepositoryError>;

    /// Locks the queue of a concert, deleted or not, until the transaction ends. `None` also if another transaction has
    /// locked it.
    async fn claim_queue(&mut self, id: ConcertId) -> Result<Option<Queue>, RepositoryError>;

    /// Writes settings, counters, draw and last decision of a locked queue.
    async fn update_queue(&mut self, queue: &Queue) -> Result<(), RepositoryError>;

    /// The queues with live tokens or an unfinished draw, by concert. Takes no lock. The cost doesn't depend on the
    /// number of ended queues.
    async fn list_occupied(&mut self, now: Instant) -> Result<Vec<OccupiedQueue>, RepositoryError>;

    /// The number of active tokens at `now` in all queues, and the concerts whose queues may have waiting tokens. Takes
    /// no lock.
    async fn summarize_queues(&mut self, now: Instant) -> Result<(u64, Vec<ConcertId>), RepositoryError>;

    /// The counts of a queue at `now`. Takes no lock.
    async fn live_counts(&mut self, id: ConcertId, now: Instant) -> Result<LiveCounts, RepositoryError>;
}

/// Stores the tokens of queues.
///
/// Lock order: tokens by ascending id, after their queue and before bookings.
#[async_trait]
pub trait QueueTokenRepository: Send {
    /// The places of all users who left, waiting or active, ascending. Takes no lock.
    async fn list_departed(&mut self, id: ConcertId) -> Result<Vec<u32>, RepositoryError>;

    /// The places of users who left at or after `since`, in no order. Takes no lock.
    async fn list_departed_since(&mut self, id: ConcertId, since: Instant) -> Result<Vec<u32>, RepositoryError>;

    /// The number of tokens whose stored state is active. Takes no lock. While the caller has locked the queue, it can
    /// only decrease.
    async fn count_active(&mut self, id: ConcertId) -> Result<u32, RepositoryError>;

    /// The number of waiting tokens whose users have stored presence at `now`, counted up to `limit`. Takes no lock.
    async fn count_present(&mut self, id: ConcertId, now: Instant, limit: u32) -> Result<u32, RepositoryError>;

    /// The number of waiting tokens of present and absent users, counted up to `limit`. Takes no lock.
    async fn count_waiting(&mut self, id: ConcertId, limit: u32) -> Result<u32, RepositoryError>;

    /// Deletes at most `limit` tokens that ended before `horizon`, and returns the number of deleted rows. Tokens stay
    /// while positions or a draw's entrants depend on them. Skips locked ones.
    async fn delete_ended_tokens(&mut self, horizon: Instant, limit: u32) -> Result<u64, RepositoryError>;

    /// Inserts tokens. [`RepositoryError::NotUnique`] if a user has a live token for the concert.
    async fn insert_tokens(&mut self, tokens: &[QueueToken]) -> Result<(), RepositoryError>;

    /// The tokens with these ids, in no order; absent ones are left out. Takes no lock.
    async fn list_tokens(&mut self, ids: &[QueueTokenId]) -> Result<Vec<QueueToken>, RepositoryError>;

    /// The ones among these tokens that are active at `now` and claimed, with their users, in no order. Takes no lock.
    async fn list_claimed_active(
        &mut self,
        ids: &[QueueTokenId],
        now: Instant,
    ) -> Result<Vec<(QueueTokenId, UserId)>, RepositoryError>;

    /// Locks tokens by ascending id, until the transaction ends; absent ones are left out.
    async fn lock_tokens(&mut self, ids: &[QueueTokenId]) -> Result<Vec<QueueToken>, RepositoryError>;

    /// Locks the users' tokens in one queue whose stored state is live, by ascending id. With `or_left` also the tokens
    /// whose users left before the draw.
    async fn lock_tokens_of_joining(
        &mut self,
        concert_id: ConcertId,
        user_ids: &[UserId],
        or_left: bool,
    ) -> Result<Vec<QueueToken>, RepositoryError>;

    /// Locks at most `limit` live tokens of a queue, scheduled ones first and active ones last. Skips tokens that
    /// another transaction has locked.
    async fn claim_live(&mut self, concert_id: ConcertId, limit: u32) -> Result<Vec<QueueToken>, RepositoryError>;

    /// Whether a queue has a token whose stored state is live. Takes no lock. While the caller has locked the queue,
    /// none is added.
    async fn has_live(&mut self, concert_id: ConcertId) -> Result<bool, RepositoryError>;

    /// The ids of these users' live tokens, each in one concert's queue. Takes no lock.
    async fn list_live_of(&mut self, users: &[(UserId, ConcertId)]) -> Result<Vec<QueueTokenId>, RepositoryError>;

    /// The concerts in whose queues a user has a token with a live stored state. Takes no lock.
    async fn list_live_concerts_of(&mut self, user_id: UserId) -> Result<Vec<ConcertId>, RepositoryError>;

    /// Locks all tokens of a user whose stored state is live, by ascending id.
    async fn lock_tokens_of(&mut self, user_id: UserId) -> Result<Vec<QueueToken>, RepositoryError>;

    /// At most `limit` waiting tokens after place `head`, by ascending place. Takes no lock.
    async fn list_waiting(
        &mut self,
        concert_id: ConcertId,
        head: u32,
        limit: u32,
    ) -> Result<Vec<QueueToken>, RepositoryError>;

    /// At most `limit` waiting tokens at or before place `head` whose users have stored presence at `now`, by ascending
    /// place. Takes no lock.
    async fn list_present_before_head(
        &mut self,
        concert_id: ConcertId,
        head: u32,
        now: Instant,
        limit: u32,
    ) -> Result<Vec<QueueToken>, RepositoryError>;

    /// Ends at most `limit` active tokens past their deadline, and returns their number. Skips tokens that another
    /// transaction has locked.
    async fn expire_lapsed(&mut self, concert_id: ConcertId, now: Instant, limit: u32) -> Result<u64, RepositoryError>;

    /// Writes place and state of locked tokens, and clears the entrant of tokens that have none any more. Ended tokens
    /// get `now` as their instant of end. Tokens activated by one call must have equal admissions.
    async fn update_tokens(&mut self, tokens: &[QueueToken], now: Instant) -> Result<(), RepositoryError>;

    /// Writes the end of presence of waiting and scheduled tokens, by ascending id. Tokens in other states, or of
    /// another user than the one with their id, stay unchanged.
    async fn update_presence(&mut self, tokens: &[(QueueTokenId, UserId, Instant)]) -> Result<(), RepositoryError>;

    /// Marks active, unclaimed tokens as claimed at `now`, unless their deadline has passed.
    async fn claim_tokens(&mut self, ids: &[QueueTokenId], now: Instant) -> Result<(), RepositoryError>;
}

/// Stores the record of admissions, from which a queue's used rate is counted.
#[async_trait]
pub trait AdmissionRepository: Send {
    /// The number of tokens admitted after `since` and before `until`. Records at or after `until` come from a wrong
    /// clock, and are ignored. Takes no lock.
    async fn count_admitted(&mut self, id: ConcertId, since: Instant, until: Instant) -> Result<u32, RepositoryError>;

    /// Inserts the record of an admission.
    async fn insert_admission(&mut self, record: &AdmissionRecord) -> Result<(), RepositoryError>;

    /// Deletes at most `limit` admission records from before `horizon`, and returns the number of deleted rows.
    async fn delete_admissions(&mut self, horizon: Instant, limit: u32) -> Result<u64, RepositoryError>;
}

/// Reads the entrants of a draw, and writes its result.
#[async_trait]
pub trait DrawRepository: Send {
    /// The number of entrants among the tokens up to number `last_number`. Takes no lock.
    async fn count_entrants(&mut self, concert_id: ConcertId, last_number: u32) -> Result<u32, RepositoryError>;

    /// The entrants among the tokens up to number `last_number`, by id. Takes no lock.
    async fn list_entrants(&mut self, concert_id: ConcertId, last_number: u32) -> Result<Vec<Drawn>, RepositoryError>;

    /// The published entrants after the first `rank` ones, in drawn order: at least `limit` of them unless the list
    /// ends or has a gap. Takes no lock.
    async fn list_drawn(
        &mut self,
        concert_id: ConcertId,
        rank: u32,
        limit: u32,
    ) -> Result<Vec<Entrant>, RepositoryError>;

    /// Publishes entrants from rank `first_rank` on. The published list outlives the tokens. The caller has locked the
    /// queue.
    async fn insert_drawn(
        &mut self,
        concert_id: ConcertId,
        first_rank: u32,
        drawn: &[Drawn],
    ) -> Result<(), RepositoryError>;

    /// At most `limit` concerts with a pending draw whose seed isn't encrypted with key `key`. Takes no lock.
    async fn list_unsealed(&mut self, key: u32, limit: u32) -> Result<Vec<ConcertId>, RepositoryError>;

    /// Writes the places of drawn tokens, ascending from `first_place`. Live tokens become waiting. A token whose user
    /// has left counts as departed from its place at `now`. Returns the number of these.
    /// [`RepositoryError::Contention`] if a token has a place already or is absent. The caller has locked the queue.
    async fn write_places(&mut self, drawn: &[Drawn], first_place: u32, now: Instant) -> Result<u32, RepositoryError>;
}
