//! A queue with its settings, and its tokens.

use std::ops::RangeInclusive;

use chrono::TimeDelta;

use super::{Draw, Entrant, polling};
use crate::domain::{
    clock::{Instant, not_before},
    id::{ConcertId, QueueTokenId, UserId},
    token::QueueClaims,
};

/// The mode of admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueMode {
    /// Admits at a bounded rate, up to the limit of active tokens.
    Queue,
    /// Admits at once, up to the limit of active tokens.
    Open,
    /// Admits no token.
    Paused,
}

impl QueueMode {
    /// The name that clients and the database use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queue => "QUEUE",
            Self::Open => "OPEN",
            Self::Paused => "PAUSED",
        }
    }

    /// The mode with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Queue, Self::Open, Self::Paused].into_iter().find(|mode| mode.name() == name)
    }
}

/// The settings of a queue that an administrator changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueSettings {
    /// The mode of admission.
    pub mode: QueueMode,
    /// The most admissions in a window of `admit_interval_seconds`, in mode `QUEUE`.
    pub admit_count: u32,
    /// The length of the admission window in seconds.
    pub admit_interval_seconds: u32,
    /// The most active tokens at once.
    pub max_active: u32,
    /// The lifetime of an active token in seconds; holds extend it.
    pub active_seconds: u32,
    /// The time between admission and the first use, in seconds; then an unclaimed token lapses.
    pub claim_seconds: u32,
    /// The opening: before it no token has a place or is admitted. `None` opens the sale from the start.
    pub sales_open_at: Option<Instant>,
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self {
            mode: QueueMode::Queue,
            admit_count: 200,
            admit_interval_seconds: 10,
            max_active: 2_000,
            active_seconds: 600,
            claim_seconds: 60,
            sales_open_at: None,
        }
    }
}

impl QueueSettings {
    /// Whether the sale is open at `now`.
    pub fn is_open(&self, now: Instant) -> bool {
        self.sales_open_at.is_none_or(|opening| opening <= now)
    }

    /// Whether joining admits at once while there is room.
    pub fn admits_at_once(&self, now: Instant) -> bool {
        self.mode == QueueMode::Open && self.is_open(now)
    }

    /// The length of the admission window.
    pub fn admit_interval(&self) -> TimeDelta {
        TimeDelta::seconds(i64::from(self.admit_interval_seconds))
    }
}

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
    /// The place up to which every token was admitted, has ended, or was passed over.
    pub head: u32,
    /// The number of users that left while they waited.
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

    /// Whether the concert is over: its tokens end, and joining is refused.
    pub fn is_over(&self, now: Instant) -> bool {
        self.ends_at.is_some_and(|end| end <= self.monotonic_now(now))
    }

    /// The instant of a decision: never before the latest one, so that time in a queue never runs backwards. A wrong
    /// clock may have recorded an instant far ahead, which the next decision then replaces.
    pub fn monotonic_now(&self, now: Instant) -> Instant {
        not_before(now, self.last_decision_at)
    }

    /// Issues the next token: scheduled before the draw, else waiting at the next place. `None` once all numbers are
    /// used.
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

    /// The places of the drawn tokens, while all of them are presumed present. This applies after draws with too many
    /// entrants to store each one's presence beforehand.
    fn presumed_present_places(&self, now: Instant) -> Option<RangeInclusive<u32>> {
        let made = self.draw.and_then(|draw| draw.made)?;
        let watched = made.last_number <= polling::lookahead(&self.settings);
        let presumed = !watched && now < polling::present_until(made.drawn_at, polling::MAX_POLL_SECONDS);
        presumed.then_some(made.base + 1..=made.base + made.entrant_count)
    }

    /// Whether the user of a waiting token is present, stored or presumed.
    pub fn is_present(&self, token: &QueueToken, now: Instant) -> bool {
        token.is_present(now)
            || token
                .place
                .is_some_and(|place| self.presumed_present_places(now).is_some_and(|places| places.contains(&place)))
    }

    /// The number of drawn tokens behind the head that count as present without stored presence: they have no place
    /// yet, or are presumed present. Some of them may have left.
    pub fn presumed_present_count(&self, now: Instant) -> u32 {
        let presumed = self.presumed_present_places(now).map_or(0, |places| places.end().saturating_sub(self.head));
        presumed.max(self.unplaced_count())
    }

    /// Whether presence is stored for a token at `place`: up to the lookahead from the head. Before the draw it depends
    /// on the number of tokens.
    pub fn stores_presence_at(&self, place: Option<u32>) -> bool {
        place.unwrap_or(self.last_number) <= self.head.saturating_add(polling::lookahead(&self.settings))
    }

    /// Moves the head to `place`, whose token was admitted or passed over. It never moves back.
    pub fn advance_head(&mut self, place: u32) {
        self.head = self.head.max(place);
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

/// The instants of an active token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// The instant of admission.
    pub admitted_at: Instant,
    /// The instant of the first use; `None` while unclaimed.
    pub claimed_at: Option<Instant>,
    /// The deadline for new holds, which nothing extends.
    pub books_until: Instant,
    /// The deadline of the token: `books_until`, or later while its user holds seats.
    pub expires_at: Instant,
    /// The effective deadline: the claim deadline until the token is claimed, then `expires_at`.
    pub lapses_at: Instant,
}

impl Admission {
    /// The admission after a use at `now`: no claim deadline applies any more.
    #[must_use]
    pub fn claimed(self, now: Instant) -> Self {
        Self { claimed_at: self.claimed_at.or(Some(now)), lapses_at: self.expires_at, ..self }
    }

    /// The admission after a use at `now`, valid until `deadline` at least.
    #[must_use]
    pub fn extended(self, now: Instant, deadline: Instant) -> Self {
        Self { expires_at: self.expires_at.max(deadline), ..self }.claimed(now)
    }

    /// The admission after a use at `now`, when the last remaining hold ends at `deadline`; `None` without any.
    #[must_use]
    pub fn fallen_back(self, now: Instant, deadline: Option<Instant>) -> Self {
        let expires_at = deadline.map_or(self.books_until, |deadline| deadline.max(self.books_until));
        Self { expires_at, ..self }.claimed(now)
    }
}

/// The reason for a token's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// Its last hold was paid.
    Completed,
    /// Its deadline passed, claimed or not.
    Expired,
    /// Its user left.
    Left,
}

/// The state of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenState {
    /// From before the draw: it has no place yet.
    Scheduled,
    /// Waiting at its place.
    Waiting,
    /// Admitted: it may hold seats.
    Active(Admission),
    /// No longer usable.
    Ended(EndReason),
}

/// An estimate of the time until admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EstimatedWait {
    /// The median, in seconds.
    pub p50_seconds: u32,
    /// The 90th percentile, in seconds.
    pub p90_seconds: u32,
}

/// A token: one user's place in the queue of one concert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueToken {
    /// Identifies the token and its concert.
    pub id: QueueTokenId,
    /// The user of the token.
    pub user_id: UserId,
    /// The key that signs its text.
    pub key_id: u32,
    /// The place in the queue; `None` before the draw.
    pub place: Option<u32>,
    /// The identity in the draw; `None` for tokens from after the draw, and for those left before it.
    pub entrant: Option<Entrant>,
    /// The instant of issue.
    pub issued_at: Instant,
    /// The estimate at the time of issue; `None` before the draw.
    pub estimate: Option<EstimatedWait>,
    /// The end of the user's stored presence, which is kept within the lookahead alone.
    pub present_until: Option<Instant>,
    /// The state as last written; see [`state_at`](Self::state_at).
    pub state: TokenState,
}

impl QueueToken {
    /// The content of the token's text. Entrants have no place in it, because the text was signed before the draw.
    pub fn claims(&self) -> QueueClaims {
        let place = self.place.filter(|_| self.entrant.is_none());
        QueueClaims { id: self.id, user_id: self.user_id, place, issued_at: self.issued_at }
    }

    /// The state at `now`: an active token past its deadline has expired, even if the database doesn't say so yet.
    pub fn state_at(&self, now: Instant) -> TokenState {
        match self.state {
            TokenState::Active(admission) if admission.lapses_at <= now => TokenState::Ended(EndReason::Expired),
            state => state,
        }
    }

    /// Whether stored presence covers `now`.
    pub fn is_present(&self, now: Instant) -> bool {
        self.present_until.is_some_and(|until| now < until)
    }

    /// Whether the token is scheduled, waiting or active at `now`.
    pub fn is_live(&self, now: Instant) -> bool {
        !matches!(self.state_at(now), TokenState::Ended(_))
    }
}
