//! A queue, and the token that is a place in it.

use std::ops::RangeInclusive;

use chrono::TimeDelta;

use super::{Draw, Entrant, polling};
use crate::domain::{
    clock::{Instant, not_before},
    id::{ConcertId, QueueTokenId, UserId},
    token::QueueClaims,
};

/// How people are let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueMode {
    /// At a bounded rate, while there is room.
    Queue,
    /// At once, while there is room.
    Open,
    /// Not at all.
    Paused,
}

impl QueueMode {
    /// Its name, as clients and the database write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queue => "QUEUE",
            Self::Open => "OPEN",
            Self::Paused => "PAUSED",
        }
    }

    /// The mode of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Queue, Self::Open, Self::Paused].into_iter().find(|mode| mode.name() == name)
    }
}

/// What an administrator sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueSettings {
    /// How people are let in.
    pub mode: QueueMode,
    /// At most so many admissions …
    pub admit_count: u32,
    /// … in any window of so many seconds.
    pub admit_interval_seconds: u32,
    /// How many may be active at once.
    pub max_active: u32,
    /// How long an active token lives, unless a hold moves its end on.
    pub active_seconds: u32,
    /// How long after admission a token waits for its first use.
    pub claim_seconds: u32,
    /// Before this, nobody is admitted and nobody has a place; `None`: open from the beginning.
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
    /// Whether the sale has begun.
    pub fn is_open(&self, now: Instant) -> bool {
        self.sales_open_at.is_none_or(|opening| opening <= now)
    }

    /// Whether everybody is let in at once, as long as there is room.
    pub fn admits_at_once(&self, now: Instant) -> bool {
        self.mode == QueueMode::Open && self.is_open(now)
    }

    /// The window of the admission rate.
    pub fn admit_interval(&self) -> TimeDelta {
        TimeDelta::seconds(i64::from(self.admit_interval_seconds))
    }
}

/// The waiting queue of one concert.
#[derive(Clone, Debug)]
pub struct Queue {
    /// Whose queue.
    pub concert_id: ConcertId,
    /// What was set.
    pub settings: QueueSettings,
    /// The draw, once an opening was set.
    pub draw: Option<Draw>,
    /// How many tokens were given out.
    pub last_number: u32,
    /// How many places were given out.
    pub last_place: u32,
    /// Every place up to here was admitted, has ended, or was passed over.
    pub head: u32,
    /// How many have left while they waited.
    pub departed_count: u32,
    /// The latest instant at which anything was decided.
    pub last_decision_at: Instant,
    /// No more tokens than this are live. Those that ended since they were counted last are still in it.
    pub live_bound: u32,
    /// Every token up to this number has ended.
    pub ended_number: u32,
    /// When the concert is over: the beginning of its last performance, or its deletion. It is the concert's to say.
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

    /// Whether the concert is over: every token ends then, and nobody joins.
    pub fn is_over(&self, now: Instant) -> bool {
        self.ends_at.is_some_and(|end| end <= self.monotonic_now(now))
    }

    /// The instant to decide at: an instance whose clock is behind another's doesn't turn the queue's time back. What a
    /// wrong clock wrote is further ahead than that, and is overwritten by the next decision.
    pub fn monotonic_now(&self, now: Instant) -> Instant {
        not_before(now, self.last_decision_at)
    }

    /// Gives out the next token: scheduled before the draw, else with the next place.
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

    /// The places of a crowd that was drawn, if all of it counts as present because it was too big to be watched before.
    /// It isn't written down for each of them: there may be a million.
    fn presumed_present_places(&self, now: Instant) -> Option<RangeInclusive<u32>> {
        let made = self.draw.and_then(|draw| draw.made)?;
        let watched = made.last_number <= polling::lookahead(&self.settings);
        let presumed = !watched && now < polling::present_until(made.drawn_at, polling::MAX_POLL_SECONDS);
        presumed.then_some(made.base + 1..=made.base + made.entrant_count)
    }

    /// Whether the user of a waiting token counts as there.
    pub fn is_present(&self, token: &QueueToken, now: Instant) -> bool {
        token.is_present(now)
            || token
                .place
                .is_some_and(|place| self.presumed_present_places(now).is_some_and(|places| places.contains(&place)))
    }

    /// How many of those who were drawn are behind the head and count as present without its being written down, because
    /// they have no place yet or are presumed to be there. Who has left may be among them.
    pub fn presumed_present_count(&self, now: Instant) -> u32 {
        let presumed = self.presumed_present_places(now).map_or(0, |places| places.end().saturating_sub(self.head));
        presumed.max(self.unplaced_count())
    }

    /// Whether it is written down that a token is present: those at, near or behind the head are watched, and before
    /// the opening a crowd that will be near it.
    pub fn stores_presence_at(&self, place: Option<u32>) -> bool {
        place.unwrap_or(self.last_number) <= self.head.saturating_add(polling::lookahead(&self.settings))
    }

    /// Goes past a place, whether its user was let in or is away. The head never moves back.
    pub fn advance_head(&mut self, place: u32) {
        self.head = self.head.max(place);
    }

    /// Lets a waiting token in.
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

/// An active token's times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// When it was let in.
    pub admitted_at: Instant,
    /// When it was first used.
    pub claimed_at: Option<Instant>,
    /// Until when it makes new holds: its own time, which nothing extends.
    pub books_until: Instant,
    /// How long it lives: its own time, or longer while something is held by it.
    pub expires_at: Instant,
    /// When it ends as things stand: the claim's deadline until it is claimed, then `expires_at`.
    pub lapses_at: Instant,
}

impl Admission {
    /// The same, used at `now`: nothing but its full life ends it any more.
    #[must_use]
    pub fn claimed(self, now: Instant) -> Self {
        Self { claimed_at: self.claimed_at.or(Some(now)), lapses_at: self.expires_at, ..self }
    }

    /// The same, used at `now` and alive until `deadline` at least.
    #[must_use]
    pub fn extended(self, now: Instant, deadline: Instant) -> Self {
        Self { expires_at: self.expires_at.max(deadline), ..self }.claimed(now)
    }

    /// The same, used at `now`, when nothing is held by it any more but what ends at `deadline`.
    #[must_use]
    pub fn fallen_back(self, now: Instant, deadline: Option<Instant>) -> Self {
        let expires_at = deadline.map_or(self.books_until, |deadline| deadline.max(self.books_until));
        Self { expires_at, ..self }.claimed(now)
    }
}

/// How a token ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// The last of its holds was paid.
    Completed,
    /// Its time was over, or nobody used it.
    Expired,
    /// Its user left.
    Left,
}

/// What has become of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenState {
    /// Before the opening: no place yet.
    Scheduled,
    /// In line.
    Waiting,
    /// May book.
    Active(Admission),
    /// Over.
    Ended(EndReason),
}

/// An estimate of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EstimatedWait {
    /// Half of the people in this place wait no longer.
    pub p50_seconds: u32,
    /// Nine in ten wait no longer.
    pub p90_seconds: u32,
}

/// A user's place in one concert's queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueToken {
    /// Its id; it names its concert.
    pub id: QueueTokenId,
    /// Whose.
    pub user_id: UserId,
    /// Which key signed its text.
    pub key_id: u32,
    /// Its place in the line; `None` before the draw.
    pub place: Option<u32>,
    /// What takes part in the draw, for a token from before the opening.
    pub entrant: Option<Entrant>,
    /// When it was given out.
    pub issued_at: Instant,
    /// What its user was told of the wait when it was given out; `None` for a token from before the opening.
    pub estimate: Option<EstimatedWait>,
    /// Until when its user counts as present while it waits; kept up near the head only.
    pub present_until: Option<Instant>,
    /// What has become of it, as last written.
    pub state: TokenState,
}

impl QueueToken {
    /// What its text says. A token from before the opening keeps the text it was given: without a place.
    pub fn claims(&self) -> QueueClaims {
        let place = self.place.filter(|_| self.entrant.is_none());
        QueueClaims { id: self.id, user_id: self.user_id, place, issued_at: self.issued_at }
    }

    /// What it is at `now`: an active token past its deadline has expired, whether or not that was written.
    pub fn state_at(&self, now: Instant) -> TokenState {
        match self.state {
            TokenState::Active(admission) if admission.lapses_at <= now => TokenState::Ended(EndReason::Expired),
            state => state,
        }
    }

    /// Whether its user, who waits, has asked lately.
    pub fn is_present(&self, now: Instant) -> bool {
        self.present_until.is_some_and(|until| now < until)
    }

    /// Whether it is scheduled, waiting or active at `now`.
    pub fn is_live(&self, now: Instant) -> bool {
        !matches!(self.state_at(now), TokenState::Ended(_))
    }
}
