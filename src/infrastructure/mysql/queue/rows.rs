//! The rows of waiting queues and their tokens.

use sqlx::FromRow;
use uuid::Uuid;

use super::super::error::corrupt;
use crate::domain::{
    clock::Instant,
    id::{ConcertId, QueueTokenId, UserId},
    queue::{
        Admission, Commitment, Draw, DrawMade, DrawSeed, EndReason, Entrant, EstimatedWait, Queue, QueueSettings,
        QueueToken, SealedSeed, Seed, TokenState,
    },
    repository_error::RepositoryError,
};

/// Scalar subqueries read the concert, so that a locking read of a queue doesn't lock its concert: joins must not wait
/// for bookings. If all performances are cancelled, the latest of them ends the sale.
pub(super) const ANY_QUEUE: &str = "SELECT concert_id, mode, admit_count, admit_interval_seconds, max_active, active_seconds, \
     claim_seconds, sales_open_at, draw_commitment, draw_sealed_seed, draw_seed, drawn_at, entrant_count, draw_base, \
     draw_last_number, draw_placed, last_number, last_place, head, departures, decided_at, live_bound, ended_number, \
     (SELECT COALESCE(c.deleted_at, c.last_performance_at, \
     (SELECT MAX(p.starts_at) FROM performances p WHERE p.concert_id = c.id)) \
     FROM concerts c WHERE c.id = q.concert_id) AS ends_at FROM queues q FORCE INDEX (PRIMARY) WHERE concert_id";

/// A condition after [`ANY_QUEUE`]: the concert isn't deleted.
pub(super) const OF_CONCERT: &str = "(SELECT c.deleted_at IS NULL FROM concerts c WHERE c.id = q.concert_id)";

pub(super) const TOKEN: &str = "SELECT id, user_id, key_id, status, place, entrant, issued_at, present_until, admitted_at, \
     claimed_at, books_until, expires_at, lapses_at, estimated_p50_seconds, estimated_p90_seconds FROM queue_tokens";

#[derive(FromRow)]
pub(super) struct QueueRow {
    concert_id: u64,
    mode: String,
    admit_count: u32,
    admit_interval_seconds: u32,
    max_active: u32,
    active_seconds: u32,
    claim_seconds: u32,
    sales_open_at: Option<Instant>,
    draw_commitment: Option<Vec<u8>>,
    draw_sealed_seed: Option<Vec<u8>>,
    draw_seed: Option<Vec<u8>>,
    drawn_at: Option<Instant>,
    entrant_count: Option<u32>,
    draw_base: Option<u32>,
    draw_last_number: Option<u32>,
    draw_placed: Option<u32>,
    last_number: u32,
    last_place: u32,
    head: u32,
    departures: u32,
    decided_at: Instant,
    live_bound: u32,
    ended_number: u32,
    ends_at: Option<Instant>,
}

impl TryFrom<QueueRow> for Queue {
    type Error = RepositoryError;

    fn try_from(row: QueueRow) -> Result<Self, RepositoryError> {
        let draw = row.draw()?;
        let settings = QueueSettings {
            mode: row.mode.parse().map_err(|_| corrupt("a queue's mode", &row.mode))?,
            admit_count: row.admit_count,
            admit_interval_seconds: row.admit_interval_seconds,
            max_active: row.max_active,
            active_seconds: row.active_seconds,
            claim_seconds: row.claim_seconds,
            sales_open_at: row.sales_open_at,
        };
        Ok(Self {
            concert_id: ConcertId(row.concert_id),
            settings,
            draw,
            last_number: row.last_number,
            last_place: row.last_place,
            head: row.head,
            departed_count: row.departures,
            last_decision_at: row.decided_at,
            live_bound: row.live_bound,
            ended_number: row.ended_number,
            ends_at: row.ends_at,
        })
    }
}

impl QueueRow {
    fn draw(&self) -> Result<Option<Draw>, RepositoryError> {
        let seed = match (&self.draw_sealed_seed, &self.draw_seed) {
            (None, None) => return Ok(None),
            (Some(sealed), None) => DrawSeed::Sealed(SealedSeed(
                sealed.as_slice().try_into().map_err(|_| corrupt("the length of a sealed seed", sealed.len()))?,
            )),
            (_, Some(seed)) => DrawSeed::Revealed(Seed::new(digest(seed)?)),
        };
        let commitment = match (&self.draw_commitment, seed) {
            (Some(commitment), _) => Commitment::new(digest(commitment)?),
            (None, DrawSeed::Revealed(seed)) => seed.commitment(),
            (None, DrawSeed::Sealed(_)) => return Err(corrupt("a draw's commitment", "NULL")),
        };
        let progress = (self.drawn_at, self.entrant_count, self.draw_base, self.draw_last_number, self.draw_placed);
        let made = match progress {
            (None, ..) => None,
            (Some(drawn_at), Some(entrant_count), Some(base), Some(last_number), Some(placed)) => {
                Some(DrawMade { drawn_at, entrant_count, base, last_number, placed })
            }
            progress => return Err(corrupt("a draw", progress)),
        };
        Ok(Some(Draw { commitment, seed, made }))
    }
}

pub(super) fn sealed_seed(draw: &Draw) -> Option<Vec<u8>> {
    match draw.seed {
        DrawSeed::Sealed(SealedSeed(bytes)) => Some(bytes.to_vec()),
        DrawSeed::Revealed(_) => None,
    }
}

pub(super) fn revealed_seed(draw: &Draw) -> Option<Vec<u8>> {
    match draw.seed {
        DrawSeed::Sealed(_) => None,
        DrawSeed::Revealed(seed) => Some(seed.bytes().to_vec()),
    }
}

pub(super) fn digest(bytes: &[u8]) -> Result<[u8; 32], RepositoryError> {
    bytes.try_into().map_err(|_| corrupt("the length of a digest", bytes.len()))
}

#[derive(FromRow)]
pub(super) struct TokenRow {
    id: u64,
    user_id: Uuid,
    key_id: u32,
    status: String,
    place: Option<u32>,
    entrant: Option<Vec<u8>>,
    issued_at: Instant,
    present_until: Option<Instant>,
    admitted_at: Option<Instant>,
    claimed_at: Option<Instant>,
    books_until: Option<Instant>,
    expires_at: Option<Instant>,
    lapses_at: Option<Instant>,
    estimated_p50_seconds: Option<u32>,
    estimated_p90_seconds: Option<u32>,
}

impl TryFrom<TokenRow> for QueueToken {
    type Error = RepositoryError;

    fn try_from(row: TokenRow) -> Result<Self, RepositoryError> {
        Ok(Self {
            id: QueueTokenId(row.id),
            user_id: UserId(row.user_id),
            key_id: row.key_id,
            place: row.place,
            entrant: row.entrant.as_deref().map(digest).transpose()?.map(Entrant::new),
            issued_at: row.issued_at,
            estimate: (row.estimated_p50_seconds.zip(row.estimated_p90_seconds))
                .map(|(p50_seconds, p90_seconds)| EstimatedWait { p50_seconds, p90_seconds }),
            present_until: row.present_until,
            state: row.state()?,
        })
    }
}

impl TokenRow {
    fn state(&self) -> Result<TokenState, RepositoryError> {
        match self.status.as_str() {
            "SCHEDULED" => Ok(TokenState::Scheduled),
            "WAITING" => Ok(TokenState::Waiting),
            "ACTIVE" => match (self.admitted_at, self.expires_at, self.lapses_at) {
                (Some(admitted_at), Some(expires_at), Some(lapses_at)) => Ok(TokenState::Active(Admission {
                    admitted_at,
                    claimed_at: self.claimed_at,
                    // Former versions of the server didn't write it.
                    books_until: self.books_until.unwrap_or(expires_at),
                    expires_at,
                    lapses_at,
                })),
                times => Err(corrupt("an active token's times", times)),
            },
            "COMPLETED" => Ok(TokenState::Ended(EndReason::Completed)),
            "EXPIRED" => Ok(TokenState::Ended(EndReason::Expired)),
            "LEFT" => Ok(TokenState::Ended(EndReason::Left)),
            other => Err(corrupt("a token's status", other)),
        }
    }
}

pub(super) fn tokens(rows: Vec<TokenRow>) -> Result<Vec<QueueToken>, RepositoryError> {
    rows.into_iter().map(QueueToken::try_from).collect()
}
