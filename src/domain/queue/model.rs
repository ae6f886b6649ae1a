//! A queue: its counters, the tokens it issues, and the presence of their users.

use std::ops::RangeInclusive;

use chrono::TimeDelta;

use super::{Admission, Draw, QueueSettings, QueueToken, TokenState, polling};
use crate::domain::{
    clock::{Instant, not_before},
    id::{ConcertId, QueueTokenId, UserId},
};

/// The waiting queue of one concert.
#[derive(Clone, Debug)]
pub struct Queue {
    /// The concert of the queue.
    pub concert_id: ConcertId,
    /// The current settings.
    pub settings: QueueSettings,
    /// The draw; `None` until an opening is set.
    pub draw: Option<Draw>,
    /// The number of issued tokens, and the number of the latest.
    pub last_number: u32,
    /// The number of assigned places, and the latest place.
    pub last_place: u32,
    /// The place up to which every token was admitted, has ended, or was passed over. It never decreases.
    pub head: u32,
    /// The number of users that left while their tokens waited in places.
    pub departed_count: u32,
    /// The instant of the latest decision.
    pub last_decision_at: Instant,
    /// An upper bound of the number of live tokens; it may count tokens that have ended.
    pub live_bound: u32,
    /// The number up to which every token has ended.
    pub ended_number: u32,
    /// The end of the concert: the start of its last performance, or its deletion. It is read with the queue, and never
    /// written with it.
    pub ends_at: Option<Instant>,
}

impl Queue {
    /// The queue of a new concert.
    pub fn new(concert_id: ConcertId, now: Instant) -> Self {
        Self {
            concert_id,
            settings: QueueSettings::default(),
            draw: None,
            last_number: 0,
            last_place: 0,
            head: 0,
            departed_count: 0,
            last_decision_at: now,
            live_bound: 0,
            ended_number: 0,
            ends_at: None,
        }
    }

    /// Whether the concert is over at `now`: then its tokens end, and joins are refused.
    pub fn is_over(&self, now: Instant) -> bool {
        self.ends_at.is_some_and(|end| end <= self.monotonic_now(now))
    }

    /// The instant of a decision: not before the latest one, so that time in a queue never runs backwards. An instant
    /// that a wrong clock recorded far ahead is an exception, which the next decision replaces.
    pub fn monotonic_now(&self, now: Instant) -> Instant {
        not_before(now, self.last_decision_at)
    }

    /// Issues the next token: scheduled before the draw, else waiting at the next place. `None` once all 32-bit numbers
    /// are used.
    pub fn issue(&mut self, user_id: UserId, key_id: u32, now: Instant) -> Option<QueueToken> {
        let number = self.last_number.checked_add(1)?;
        let id = QueueTokenId::new(self.concert_id, number)?;
        self.last_number = number;
        self.live_bound = self.live_bound.saturating_add(1);
        self.last_decision_at = self.monotonic_now(now);
        let (state, place) = if self.settings.is_open(now) || self.is_drawn() {
            self.last_place += 1;
            (TokenState::Waiting, Some(self.last_place))
        } else {
            (TokenState::Scheduled, None)
        };
        let (entrant, estimate, present_until) = (None, None, None);
        Some(QueueToken { id, user_id, key_id, place, entrant, issued_at: now, estimate, present_until, state })
    }

    /// The places of the drawn tokens while all of them are presumed present; `None` otherwise. The presumption applies
    /// after draws with too many entrants to store the presence of each beforehand.
    fn presumed_present_places(&self, now: Instant) -> Option<RangeInclusive<u32>> {
        let made = self.draw.and_then(|draw| draw.made)?;
        let watched = made.last_number <= polling::lookahead(&self.settings);
        let presumed = !watched && now < polling::present_until(made.drawn_at, polling::MAX_POLL_SECONDS);
        presumed.then_some(made.base + 1..=made.base + made.entrant_count)
    }

    /// Whether the user of a waiting token is present at `now`, by stored presence or by presumption.
    pub fn is_present(&self, token: &QueueToken, now: Instant) -> bool {
        token.is_present(now)
            || token
                .place
                .is_some_and(|place| self.presumed_present_places(now).is_some_and(|places| places.contains(&place)))
    }

    /// The number of drawn tokens after the head that count as present without stored presence: they have no place yet,
    /// or are presumed present. Some of them may have left.
    pub fn presumed_present_count(&self, now: Instant) -> u32 {
        let presumed = self.presumed_present_places(now).map_or(0, |places| places.end().saturating_sub(self.head));
        presumed.max(self.unplaced_count())
    }

    /// Whether presence is stored for a token at `place`: up to the lookahead from the head. Before the draw it depends
    /// on the number of tokens.
    pub fn stores_presence_at(&self, place: Option<u32>) -> bool {
        place.unwrap_or(self.last_number) <= self.head.saturating_add(polling::lookahead(&self.settings))
    }

    /// Advances the head to `place`, whose token was admitted or passed over. It never moves back.
    pub fn advance_head(&mut self, place: u32) {
        self.head = self.head.max(place);
    }

    /// Records that every issued token has ended. No position is computed from their places any more. So the head
    /// advances past departed tokens, unless places of a draw are still to be written.
    pub fn mark_ended(&mut self) {
        self.ended_number = self.last_number;
        if self.pending_draw().is_none() {
            self.advance_head(self.last_place);
        }
    }

    /// Activates a waiting token, and moves the head to its place.
    pub fn admit(&mut self, token: &mut QueueToken, now: Instant) {
        let expires_at = now + TimeDelta::seconds(i64::from(self.settings.active_seconds));
        let claim_until = now + TimeDelta::seconds(i64::from(self.settings.claim_seconds));
        token.state = TokenState::Active(Admission {
            admitted_at: now,
            claimed_at: None,
            books_until: expires_at,
            expires_at,
            lapses_at: expires_at.min(claim_until),
        });
        self.advance_head(token.place.unwrap_or(0));
    }
}
