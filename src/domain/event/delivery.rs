//! Decisions about deliveries: the order of events at one destination, and the next step after an attempt.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    str::FromStr,
};

use chrono::TimeDelta;
use strum::{EnumString, IntoStaticStr, VariantNames};
use uuid::Uuid;

use crate::domain::{
    clock::Instant,
    id::{EventId, WebhookId},
};

/// A destination of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Destination {
    /// The receiver from the configuration.
    DataPlatform,
    /// A receiver that an administrator registered.
    Webhook(WebhookId),
    /// The topic of a Kafka cluster.
    Kafka,
    /// The mail server.
    Mail,
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DataPlatform => f.write_str("data-platform"),
            Self::Webhook(id) => id.fmt(f),
            Self::Kafka => f.write_str("kafka"),
            Self::Mail => f.write_str("mail"),
        }
    }
}

impl FromStr for Destination {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        match text {
            "data-platform" => Ok(Self::DataPlatform),
            "kafka" => Ok(Self::Kafka),
            "mail" => Ok(Self::Mail),
            id => Uuid::try_parse(id).map(|id| Self::Webhook(WebhookId(id))),
        }
    }
}

/// How events reach a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Requests to the receiver's URL.
    Http,
    /// Messages to the Kafka topic.
    Kafka,
    /// Mails about the events.
    Mail,
}

impl Destination {
    /// How events reach it.
    pub fn transport(self) -> Transport {
        match self {
            Self::DataPlatform | Self::Webhook(_) => Transport::Http,
            Self::Kafka => Transport::Kafka,
            Self::Mail => Transport::Mail,
        }
    }

    /// The webhook, if it is one. Its address isn't the operator's choice, and its receiver can end it.
    pub fn webhook(self) -> Option<WebhookId> {
        match self {
            Self::Webhook(id) => Some(id),
            Self::DataPlatform | Self::Kafka | Self::Mail => None,
        }
    }

    /// The kind of destination, as a metric label.
    pub fn kind(self) -> &'static str {
        match self {
            Self::DataPlatform => "data_platform",
            Self::Webhook(_) => "webhook",
            Self::Kafka => "kafka",
            Self::Mail => "mail",
        }
    }

    /// The most streams whose events are sent to it concurrently. Mail servers accept few connections of one client;
    /// events to Kafka share a connection and are sent in batches.
    pub fn max_in_flight(self) -> usize {
        match self {
            Self::DataPlatform | Self::Webhook(_) => 32,
            Self::Kafka => 128,
            Self::Mail => 8,
        }
    }
}

/// The status of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum DeliveryStatus {
    /// Waiting for its next attempt.
    Pending,
    /// Accepted by the receiver.
    Delivered,
    /// A dead letter: not attempted again until an administrator restarts it.
    Parked,
}

impl DeliveryStatus {
    /// The name that clients and the database use.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// An event as recorded. It is immutable, so every attempt sends the same bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedEvent {
    /// The same in every delivery, so that receivers deduplicate by it.
    pub id: EventId,
    /// The stream whose events are delivered in order.
    pub stream_id: Uuid,
    /// The position in the stream, ascending.
    pub sequence: u8,
    /// The type, such as `booking.held`.
    pub kind: String,
    /// The id of the changed resource.
    pub subject: String,
    /// The content: a JSON object.
    pub data: String,
    /// The instant of the change.
    pub at: Instant,
}

/// A due event at a destination, with its unsettled predecessors.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The due event.
    pub event: RecordedEvent,
    /// The number of attempts so far.
    pub attempts: u16,
    /// The earlier events of its stream that are neither delivered nor parked at this destination.
    pub predecessors: Vec<Predecessor>,
}

/// An unsettled event that another event waits for.
#[derive(Clone, Copy, Debug)]
pub struct Predecessor {
    /// The earlier event.
    pub event_id: EventId,
    /// The progress of its delivery.
    pub state: PredecessorState,
}

/// The progress of an unsettled event at a destination.
#[derive(Clone, Copy, Debug)]
pub enum PredecessorState {
    /// It is being sent or dispatched, so a recheck is due soon.
    InProgress,
    /// Its next attempt is at this instant.
    ScheduledAt(Instant),
}

/// A leased event, to be sent.
#[derive(Clone, Debug)]
pub struct ClaimedEvent {
    /// The event to send.
    pub event: RecordedEvent,
    /// The number of attempts before this one.
    pub attempts: u16,
}

/// Events of one stream, to be sent in this order.
pub type Chain = Vec<ClaimedEvent>;

/// The pause before an event with a predecessor in progress is checked again.
const RECHECK_DELAY: TimeDelta = TimeDelta::seconds(1);

/// The plan for the due events of a destination.
#[derive(Clone, Debug, Default)]
pub struct ClaimPlan {
    /// The chains to send now: each in order, and all of them concurrently.
    pub chains: Vec<Chain>,
    /// The events with an unsettled predecessor, with the instants at which they are due again.
    pub postponed: Vec<(EventId, Instant)>,
}

impl ClaimPlan {
    /// Plans due events. An event is sent if all of its predecessors are settled or come before it in the same chain.
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

/// The outcome of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// The receiver accepted the event.
    Accepted,
    /// The receiver refused the event or couldn't be reached.
    Failed {
        /// A short description, for administrators.
        error: String,
        /// The pause that the receiver requested with `Retry-After`.
        retry_after: Option<TimeDelta>,
    },
    /// The receiver refused the event, and would refuse it again.
    Rejected {
        /// A short description, for administrators.
        error: String,
    },
    /// The receiver answered 410: it accepts no further events.
    Gone,
}

impl AttemptOutcome {
    /// A failure without a requested pause. `error` is a short description, for administrators.
    pub fn failed(error: impl Into<String>) -> Self {
        Self::Failed { error: error.into(), retry_after: None }
    }
}

/// The next step after an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextStep {
    /// The delivery is complete.
    Delivered,
    /// Another attempt follows.
    Retry {
        /// The earliest instant of the next attempt.
        at: Instant,
        /// The failure of this attempt.
        error: String,
    },
    /// The delivery is a dead letter until an administrator restarts it.
    Parked {
        /// The failure of the last attempt.
        error: String,
    },
}

/// The backoff after each failed attempt, in seconds: three retries within half a minute, twelve attempts within a day.
const DELAYS: [i64; 11] = [1, 4, 15, 60, 300, 1_200, 3_600, 7_200, 14_400, 28_800, 28_800];

/// The longest pause that a receiver can request.
const MAX_RETRY_AFTER: TimeDelta = TimeDelta::hours(1);

/// The retry policy of deliveries.
#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    /// The most attempts of a delivery, at least 1.
    pub max_attempts: u16,
}

impl RetryPolicy {
    /// Decides the next step after an attempt at `now` that followed `previous_attempts` others. The backoff is
    /// multiplied by `percent` / 100, for 75 to 125 percent, so that events that failed together aren't retried
    /// together.
    pub fn decide(self, previous_attempts: u16, outcome: AttemptOutcome, now: Instant, percent: u8) -> NextStep {
        let (error, retry_after) = match outcome {
            AttemptOutcome::Accepted => return NextStep::Delivered,
            AttemptOutcome::Gone => {
                return NextStep::Parked { error: "410: the receiver wants no more events".to_owned() };
            }
            AttemptOutcome::Rejected { error } => return NextStep::Parked { error },
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
    fn events_of_one_booking_form_one_ordered_chain() {
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
    fn backoff_grows_and_three_retries_fit_into_half_a_minute() {
        let policy = RetryPolicy { max_attempts: 12 };
        let failed = || AttemptOutcome::failed("500");
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
    fn a_requested_pause_is_respected_up_to_an_hour() {
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
    fn a_410_answer_and_a_rejection_park_the_delivery() {
        let decide = |outcome| (RetryPolicy { max_attempts: 5 }).decide(0, outcome, now(), 100);
        assert!(matches!(decide(AttemptOutcome::Gone), NextStep::Parked { .. }));
        let error = || "too large".to_owned();
        assert_eq!(decide(AttemptOutcome::Rejected { error: error() }), NextStep::Parked { error: error() });
    }

    #[test]
    fn a_destination_parses_from_its_text() {
        let webhook = Destination::Webhook(WebhookId(STREAM));
        for destination in [Destination::DataPlatform, webhook, Destination::Kafka, Destination::Mail] {
            assert_eq!(destination.to_string().parse::<Destination>().unwrap(), destination);
        }
        assert!("elsewhere".parse::<Destination>().is_err());
    }
}
