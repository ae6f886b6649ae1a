//! Port of the waiting queues.

use async_trait::async_trait;

use super::{Drawn, Entrant, Queue, QueueSettings, QueueToken};
use crate::domain::{
    clock::Instant,
    id::{ConcertId, QueueTokenId, UserId},
    repository_error::RepositoryError,
};

/// What is recorded of one admission of one or more tokens.
#[derive(Clone, Copy, Debug)]
pub struct AdmissionRecord {
    /// Into which concert's sale.
    pub concert_id: ConcertId,
    /// When.
    pub admitted_at: Instant,
    /// How many.
    pub admitted: u32,
    /// How many were active then, these included.
    pub active: u32,
    /// The settings in force.
    pub settings: QueueSettings,
}

/// What an operator sees of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveCounts {
    /// In line.
    pub waiting: u32,
    /// May book.
    pub active: u32,
    /// Let in within the last minute.
    pub admitted_last_minute: u32,
}

/// Why a queue is due for a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TickReason {
    /// Somebody was active and has lapsed, is due for a place, or is there while the rate leaves something.
    Admission,
    /// Its concert is over and its tokens are to end, or the last of them has ended: it is to be written down so.
    End,
}

/// A queue with live tokens, or with a draw that isn't done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OccupiedQueue {
    /// Whose queue.
    pub concert_id: ConcertId,
    /// Whether anything is due in it.
    pub due: Option<TickReason>,
}

/// Keeps queues and their tokens.
///
/// Lock order: a queue's row before its tokens, tokens by ascending id, tokens before anything of a booking.
#[async_trait]
pub trait QueueRepository: Send {
    /// Stores the queue of a new concert.
    async fn insert_queue(&mut self, queue: &Queue) -> Result<(), RepositoryError>;

    /// The queue of a concert that isn't deleted. No lock.
    async fn find_queue(&mut self, id: ConcertId) -> Result<Option<Queue>, RepositoryError>;

    /// Queues of concerts that aren't deleted, locked in ascending order of id; absent ones are left out.
    async fn lock_queues(&mut self, ids: &[ConcertId]) -> Result<Vec<Queue>, RepositoryError>;

    /// The queue of a concert, deleted or not, locked.
    async fn lock_queue(&mut self, id: ConcertId) -> Result<Option<Queue>, RepositoryError>;

    /// Writes what has changed in a locked queue: its settings, counters and time.
    async fn update_queue(&mut self, queue: &Queue) -> Result<(), RepositoryError>;

    /// The queues in which there is anybody, or a draw that isn't done, by concert. No lock. What it costs doesn't grow
    /// with the queues in which everything has ended.
    async fn list_occupied(&mut self, now: Instant) -> Result<Vec<OccupiedQueue>, RepositoryError>;

    /// How many tokens are active at `now` in all queues, and the concerts in whose queues somebody may wait. No lock.
    async fn summarize_queues(&mut self, now: Instant) -> Result<(u64, Vec<ConcertId>), RepositoryError>;

    /// How many tokens are waiting and active at `now`, and were admitted in the minute before. No lock.
    async fn live_counts(&mut self, id: ConcertId, now: Instant) -> Result<LiveCounts, RepositoryError>;

    /// The places of all who have left, whether they waited or were active, ascending. No lock.
    async fn list_departed(&mut self, id: ConcertId) -> Result<Vec<u32>, RepositoryError>;

    /// The places of those who have left since then, this instant included, in no order. No lock.
    async fn list_departed_since(&mut self, id: ConcertId, since: Instant) -> Result<Vec<u32>, RepositoryError>;

    /// How many tokens are active, written so. Under the queue's lock it can only shrink.
    async fn count_active(&mut self, id: ConcertId) -> Result<u32, RepositoryError>;

    /// How many tokens are waiting whose users are present at `now`, at most `limit`.
    async fn count_present(&mut self, id: ConcertId, now: Instant, limit: u32) -> Result<u32, RepositoryError>;

    /// How many tokens are waiting, whoever is there, at most `limit`.
    async fn count_waiting(&mut self, id: ConcertId, limit: u32) -> Result<u32, RepositoryError>;

    /// How many were admitted after `since` and before `until`. What a wrong clock recorded is later than that.
    async fn count_admitted(&mut self, id: ConcertId, since: Instant, until: Instant) -> Result<u32, RepositoryError>;

    /// Records an admission.
    async fn insert_admission(&mut self, record: &AdmissionRecord) -> Result<(), RepositoryError>;

    /// Deletes at most `limit` records of admissions from before `horizon`, and tells how many.
    async fn delete_admissions(&mut self, horizon: Instant, limit: u32) -> Result<u64, RepositoryError>;

    /// Deletes at most `limit` tokens that ended before `horizon`, and tells how many. One whose place or whose part in
    /// a draw still tells something stays.
    async fn delete_ended_tokens(&mut self, horizon: Instant, limit: u32) -> Result<u64, RepositoryError>;

    /// Stores new tokens; [`RepositoryError::NotUnique`] when a user has a live one for the concert.
    async fn insert_tokens(&mut self, tokens: &[QueueToken]) -> Result<(), RepositoryError>;

    /// Tokens by id, in no order; absent ones are left out. No lock.
    async fn list_tokens(&mut self, ids: &[QueueTokenId]) -> Result<Vec<QueueToken>, RepositoryError>;

    /// Which of these tokens are active at `now` and have been used, in no order, and whose they are. No lock.
    async fn list_claimed_active(
        &mut self,
        ids: &[QueueTokenId],
        now: Instant,
    ) -> Result<Vec<(QueueTokenId, UserId)>, RepositoryError>;

    /// Tokens by id, locked in ascending order of id; absent ones are left out.
    async fn lock_tokens(&mut self, ids: &[QueueTokenId]) -> Result<Vec<QueueToken>, RepositoryError>;

    /// The live tokens of these users in one concert's queue, written so, locked in ascending order of id; with
    /// `or_left`, those they left without a place as well.
    async fn lock_tokens_of_joining(
        &mut self,
        concert_id: ConcertId,
        user_ids: &[UserId],
        or_left: bool,
    ) -> Result<Vec<QueueToken>, RepositoryError>;

    /// At most `limit` live tokens of a concert's queue, the scheduled first and the active last, locked; without those
    /// that another transaction holds.
    async fn claim_live(&mut self, concert_id: ConcertId, limit: u32) -> Result<Vec<QueueToken>, RepositoryError>;

    /// Whether a concert's queue has a live token, written so. Under the queue's lock no other comes.
    async fn has_live(&mut self, concert_id: ConcertId) -> Result<bool, RepositoryError>;

    /// The ids of the live tokens of these users, each in the queue of one concert. No lock.
    async fn list_live_of(&mut self, users: &[(UserId, ConcertId)]) -> Result<Vec<QueueTokenId>, RepositoryError>;

    /// The concerts in whose queues a user has a live token, written so. No lock.
    async fn list_live_concerts_of(&mut self, user_id: UserId) -> Result<Vec<ConcertId>, RepositoryError>;

    /// All live tokens of a user, written so, locked in ascending order of id.
    async fn lock_tokens_of(&mut self, user_id: UserId) -> Result<Vec<QueueToken>, RepositoryError>;

    /// At most `limit` tokens waiting behind place `head`, by place. No lock.
    async fn list_waiting(
        &mut self,
        concert_id: ConcertId,
        head: u32,
        limit: u32,
    ) -> Result<Vec<QueueToken>, RepositoryError>;

    /// At most `limit` tokens waiting at places up to `head` whose users are present at `now`, by place. No lock.
    async fn list_present_before_head(
        &mut self,
        concert_id: ConcertId,
        head: u32,
        now: Instant,
        limit: u32,
    ) -> Result<Vec<QueueToken>, RepositoryError>;

    /// Ends at most `limit` active tokens whose deadline has passed, except those another transaction holds, and tells
    /// how many.
    async fn expire_lapsed(&mut self, concert_id: ConcertId, now: Instant, limit: u32) -> Result<u64, RepositoryError>;

    /// Writes the place and state of locked tokens, and which of the ended ones are no entrants; `now` becomes the end of
    /// those that have ended. Those that become active by one call have the same admission.
    async fn update_tokens(&mut self, tokens: &[QueueToken], now: Instant) -> Result<(), RepositoryError>;

    /// Writes until when the users of waiting and scheduled tokens are present, in ascending order of id; tokens that
    /// have gone on meanwhile, or are another user's, are left alone.
    async fn update_presence(&mut self, tokens: &[(QueueTokenId, UserId, Instant)]) -> Result<(), RepositoryError>;

    /// Marks active tokens that nobody has used yet as used, if their deadline hasn't passed.
    async fn claim_tokens(&mut self, ids: &[QueueTokenId], now: Instant) -> Result<(), RepositoryError>;
}

/// Reads who takes part in a draw, and writes what came of it.
#[async_trait]
pub trait DrawRepository: Send {
    /// How many tokens up to the `last_number`th take part in the draw. No lock.
    async fn count_entrants(&mut self, concert_id: ConcertId, last_number: u32) -> Result<u32, RepositoryError>;

    /// The tokens up to the `last_number`th that take part in the draw, by id. No lock.
    async fn list_entrants(&mut self, concert_id: ConcertId, last_number: u32) -> Result<Vec<Drawn>, RepositoryError>;

    /// The published entrants after the first `rank` ones, in drawn order: at least `limit` of them, unless the list ends
    /// or has a gap. No lock.
    async fn list_drawn(
        &mut self,
        concert_id: ConcertId,
        rank: u32,
        limit: u32,
    ) -> Result<Vec<Entrant>, RepositoryError>;

    /// Publishes entrants, the first of which was drawn as number `first_rank`: what is published outlives the tokens. The
    /// caller has the queue's lock.
    async fn insert_drawn(
        &mut self,
        concert_id: ConcertId,
        first_rank: u32,
        drawn: &[Drawn],
    ) -> Result<(), RepositoryError>;

    /// At most `limit` concerts whose draw is to come and whose seed isn't sealed by this key. No lock.
    async fn list_unsealed(&mut self, key: u32, limit: u32) -> Result<Vec<ConcertId>, RepositoryError>;

    /// Writes the places of tokens that were drawn, `first_place` and on: those who are still there are waiting then.
    /// Those who have left give them up at `now`; tells how many these are. The caller has the queue's lock.
    async fn write_places(&mut self, drawn: &[Drawn], first_place: u32, now: Instant) -> Result<u32, RepositoryError>;
}
