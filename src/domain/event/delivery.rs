//! What becomes of an event at one destination: in which order it is sent, and what follows from an attempt.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    str::FromStr,
};

use chrono::TimeDelta;
use uuid::Uuid;

use crate::domain::{
    clock::Instant,
    id::{EventId, WebhookId},
};

/// Where events go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Destination {
    /// The one that is configured.
    DataPlatform,
    /// One that an administrator registered.
    Webhook(WebhookId),
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DataPlatform => f.write_str("data-platform"),
            Self::Webhook(id) => id.fmt(f),
        }
    }
}

impl FromStr for Destination {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        if text == "data-platform" {
            return Ok(Self::DataPlatform);
        }
        Uuid::try_parse(text).map(|id| Self::Webhook(WebhookId(id)))
    }
}

impl Destination {
    /// Its kind, for metrics.
    pub fn kind(self) -> &'static str {
        match self {
            Self::DataPlatform => "data_platform",
            Self::Webhook(_) => "webhook",
        }
    }
}

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryStatus {
    /// It is to be made.
    Pending,
    /// The receiver has it.
    Delivered,
    /// It was given up, until an administrator asks for it.
    Parked,
}

impl DeliveryStatus {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Pending, Self::Delivered, Self::Parked];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Delivered => "DELIVERED",
            Self::Parked => "PARKED",
        }
    }
}

/// An event as it was recorded: what is sent of it never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedEvent {
    /// Stable through every delivery.
    pub id: EventId,
    /// What it is delivered in order within.
    pub stream_id: Uuid,
    /// Its place in that stream.
    pub sequence: u8,
    /// Its type.
    pub kind: String,
    /// What it is about.
    pub subject: String,
    /// JSON.
    pub data: String,
    /// When it happened.
    pub at: Instant,
}

/// An event that is due at a destination, and what may stand before it.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The event.
    pub event: RecordedEvent,
    /// How often it was tried.
    pub attempts: u16,
    /// Events of its stream before it that are not settled at this destination.
    pub predecessors: Vec<Predecessor>,
}

/// An event that another one has to wait for.
#[derive(Clone, Copy, Debug)]
pub struct Predecessor {
    /// Which.
    pub event_id: EventId,
    /// Where it stands.
    pub state: PredecessorState,
}

/// Where an event that isn't settled stands at a destination.
#[derive(Clone, Copy, Debug)]
pub enum PredecessorState {
    /// It is being sent, or about to be handed out: worth looking again soon.
    InProgress,
    /// It is tried at this instant.
    ScheduledAt(Instant),
}

/// One event that somebody is about to send.
#[derive(Clone, Debug)]
pub struct ClaimedEvent {
    /// The event.
    pub event: RecordedEvent,
    /// How often it was tried before.
    pub attempts: u16,
}

/// Events of one stream, to be sent one after the other.
pub type Chain = Vec<ClaimedEvent>;

/// How soon an event is looked at again whose predecessor is under way.
const RECHECK_DELAY: TimeDelta = TimeDelta::seconds(1);

/// What to do with the events that are due.
#[derive(Clone, Debug, Default)]
pub struct ClaimPlan {
    /// To be sent now.
    pub chains: Vec<Chain>,
    /// To be left alone until then, because something stands before them: so they are not looked at over and over.
    pub postponed: Vec<(EventId, Instant)>,
}

impl ClaimPlan {
    /// Sorts what is due: an event is sent once all before it in its stream are settled, or sent right before it.
    pub fn of(candidates: Vec<Candidate>, now: Instant) -> Self {
        let mut streams: BTreeMap<Uuid, Vec<Candidate>> = BTreeMap::new();
        for candidate in candidates {
            streams.entry(candidate.event.stream_id).or_default().push(candidate);
        }
        let mut plan = Self::default();
        for mut stream in streams.into_values() {
            stream.sort_unstable_by_key(|candidate| candidate.event.sequence);
            plan.add_stream(stream, now);
        }
        plan
    }

    fn add_stream(&mut self, stream: Vec<Candidate>, now: Instant) {
        let mut chain = Chain::new();
        let mut postponed: HashMap<EventId, Instant> = HashMap::new();
        for Candidate { event, attempts, predecessors } in stream {
            let until = predecessors
                .iter()
                .filter(|predecessor| chain.iter().all(|claimed| claimed.event.id != predecessor.event_id))
                .map(|predecessor| match (postponed.get(&predecessor.event_id), predecessor.state) {
                    (Some(until), _) => *until,
                    (None, PredecessorState::InProgress) => now + RECHECK_DELAY,
                    (None, PredecessorState::ScheduledAt(at)) => at.max(now + RECHECK_DELAY),
                })
                .max();
            match until {
                None => chain.push(ClaimedEvent { event, attempts }),
                Some(until) => {
                    postponed.insert(event.id, until);
                }
            }
        }
        if !chain.is_empty() {
            self.chains.push(chain);
        }
        self.postponed.extend(postponed);
    }
}

/// What an attempt came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// The receiver took it.
    Accepted,
    /// It didn't, or couldn't be reached.
    Failed {
        /// Why, in a few words.
        error: String,
        /// How long it asks to be left alone.
        retry_after: Option<TimeDelta>,
    },
    /// It wants no more events, ever.
    Gone,
}

/// What follows from an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextStep {
    /// Done.
    Delivered,
    /// It is tried again.
    Retry {
        /// When.
        at: Instant,
        /// Why it failed.
        error: String,
    },
    /// It isn't tried any more, unless an administrator asks for it. It stays visible.
    Parked {
        /// Why it failed at last.
        error: String,
    },
}

/// How long to wait after each failed attempt, in seconds: three retries within half a minute, twelve attempts within
/// a day.
const DELAYS: [i64; 11] = [1, 4, 15, 60, 300, 1_200, 3_600, 7_200, 14_400, 28_800, 28_800];

/// The longest that a receiver can ask to be left alone.
const MAX_RETRY_AFTER: TimeDelta = TimeDelta::hours(1);

/// How often an event is tried.
#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    /// How many attempts there are.
    pub max_attempts: u16,
}

impl RetryPolicy {
    /// Judges the attempt after `tried` others. `percent`, 75 to 125, is how much of the delay is waited: those that
    /// failed together don't come back together.
    pub fn decide(self, previous_attempts: u16, outcome: AttemptOutcome, now: Instant, percent: u8) -> NextStep {
        let (error, retry_after) = match outcome {
            AttemptOutcome::Accepted => return NextStep::Delivered,
            AttemptOutcome::Gone => {
                return NextStep::Parked { error: "410: the receiver wants no more events".to_owned() };
            }
            AttemptOutcome::Failed { error, retry_after } => (error, retry_after),
        };
        if previous_attempts.saturating_add(1) >= self.max_attempts {
            return NextStep::Parked { error };
        }
        let delay = DELAYS.get(usize::from(previous_attempts)).or(DELAYS.last()).copied().unwrap_or_default();
        let delay = TimeDelta::milliseconds(delay * 10 * i64::from(percent));
        let requested = retry_after.unwrap_or_default().min(MAX_RETRY_AFTER);
        NextStep::Retry { at: now + delay.max(requested), error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: Uuid = Uuid::from_u128(7);

    fn now() -> Instant {
        "2026-11-20T08:00:00Z".parse().unwrap()
    }

    fn id(sequence: u8) -> EventId {
        EventId(Uuid::from_u128(u128::from(sequence)))
    }

    fn candidate(sequence: u8, predecessors: &[(u8, PredecessorState)]) -> Candidate {
        let predecessors =
            predecessors.iter().map(|(number, state)| Predecessor { event_id: id(*number), state: *state });
        Candidate {
            event: RecordedEvent {
                id: id(sequence),
                stream_id: STREAM,
                sequence,
                kind: "booking.held".to_owned(),
                subject: String::new(),
                data: "{}".to_owned(),
                at: now(),
            },
            attempts: 0,
            predecessors: predecessors.collect(),
        }
    }

    fn sequences(plan: &ClaimPlan) -> Vec<Vec<u8>> {
        plan.chains.iter().map(|chain| chain.iter().map(|it| it.event.sequence).collect()).collect()
    }

    #[test]
    fn the_events_of_a_booking_make_one_chain_in_their_order() {
        let due = PredecessorState::ScheduledAt(now());
        let plan = ClaimPlan::of(
            vec![candidate(3, &[(1, due), (2, due)]), candidate(1, &[]), candidate(2, &[(1, due)])],
            now(),
        );
        assert_eq!(sequences(&plan), [[1, 2, 3]]);
        assert!(plan.postponed.is_empty());
    }

    #[test]
    fn an_event_waits_for_its_unsettled_predecessor() {
        let later = now() + TimeDelta::seconds(30);
        let plan = ClaimPlan::of(
            vec![
                candidate(2, &[(1, PredecessorState::ScheduledAt(later))]),
                candidate(3, &[(1, PredecessorState::InProgress), (2, PredecessorState::InProgress)]),
            ],
            now(),
        );
        assert!(plan.chains.is_empty());
        let postponed: HashMap<_, _> = plan.postponed.into_iter().collect();
        assert_eq!(postponed[&id(2)], later);
        assert_eq!(postponed[&id(3)], later, "it waits for both");
        let plan = ClaimPlan::of(vec![candidate(2, &[(1, PredecessorState::InProgress)])], now());
        assert_eq!(plan.postponed, [(id(2), now() + RECHECK_DELAY)]);
    }

    #[test]
    fn delays_grow_and_the_first_three_retries_come_within_half_a_minute() {
        let policy = RetryPolicy { max_attempts: 12 };
        let failed = || AttemptOutcome::Failed { error: "500".to_owned(), retry_after: None };
        let mut at = now();
        let mut delays = Vec::new();
        for previous_attempts in 0..11 {
            let NextStep::Retry { at: next, .. } = policy.decide(previous_attempts, failed(), at, 125) else {
                panic!("{previous_attempts}")
            };
            delays.push(next - at);
            at = next;
        }
        assert!(delays.is_sorted(), "{delays:?}");
        assert!(delays[..3].iter().sum::<TimeDelta>() <= TimeDelta::seconds(30), "{delays:?}");
        assert_eq!(policy.decide(11, failed(), at, 100), NextStep::Parked { error: "500".to_owned() });
        assert!(matches!(policy.decide(200, failed(), at, 100), NextStep::Parked { .. }));
    }

    #[test]
    fn a_receiver_that_asks_for_time_gets_it_within_bounds() {
        let decide = |seconds| {
            let outcome =
                AttemptOutcome::Failed { error: String::new(), retry_after: Some(TimeDelta::seconds(seconds)) };
            let NextStep::Retry { at, .. } = (RetryPolicy { max_attempts: 5 }).decide(0, outcome, now(), 100) else {
                panic!()
            };
            (at - now()).num_seconds()
        };
        assert_eq!([decide(0), decide(20), decide(1_000_000)], [1, 20, 3_600]);
    }

    #[test]
    fn a_receiver_that_is_gone_gets_no_second_attempt() {
        assert!(matches!(
            (RetryPolicy { max_attempts: 5 }).decide(0, AttemptOutcome::Gone, now(), 100),
            NextStep::Parked { .. }
        ));
    }

    #[test]
    fn a_destination_is_read_back_from_its_name() {
        for destination in [Destination::DataPlatform, Destination::Webhook(WebhookId(STREAM))] {
            assert_eq!(destination.to_string().parse::<Destination>().unwrap(), destination);
        }
        assert!("elsewhere".parse::<Destination>().is_err());
    }
}
