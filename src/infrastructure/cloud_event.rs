//! The wire format of events, the same for every destination: CloudEvents 1.0 as JSON.

use chrono::SecondsFormat;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::domain::event::RecordedEvent;

/// The `source` attribute of every event.
const SOURCE: &str = "/concert-reservation";

/// The JSON format of CloudEvents: <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md>.
#[derive(Serialize)]
struct CloudEvent<'a> {
    specversion: &'static str,
    id: String,
    source: &'static str,
    r#type: &'a str,
    subject: &'a str,
    time: String,
    datacontenttype: &'static str,
    /// The stream within which the event is ordered. Absent for an event without order.
    #[serde(skip_serializing_if = "Option::is_none")]
    partitionkey: Option<String>,
    /// The event's position in its stream, from 1. Absent for an event without order.
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<String>,
    data: &'a RawValue,
}

/// Encodes an event in the JSON format. The result doesn't depend on the time of sending, so every attempt sends the
/// same bytes. It is an error if the event's data isn't JSON.
pub(super) fn body(event: &RecordedEvent) -> serde_json::Result<Vec<u8>> {
    let ordered = event.sequence > 0;
    serde_json::to_vec(&CloudEvent {
        specversion: "1.0",
        id: event.id.to_string(),
        source: SOURCE,
        r#type: &event.kind,
        subject: &event.subject,
        time: event.at.to_rfc3339_opts(SecondsFormat::Millis, true),
        datacontenttype: "application/json",
        partitionkey: ordered.then(|| event.stream_id.to_string()),
        sequence: ordered.then(|| event.sequence.to_string()),
        data: serde_json::from_str(&event.data)?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::*;
    use crate::domain::id::EventId;

    fn event(sequence: u8) -> RecordedEvent {
        RecordedEvent {
            id: EventId(Uuid::from_u128(1)),
            stream_id: Uuid::from_u128(2),
            sequence,
            kind: "booking.held".to_owned(),
            subject: Uuid::from_u128(2).to_string(),
            data: r#"{"bookingId": "b", "totalPrice":"1.50"}"#.to_owned(),
            at: "2026-11-20T08:00:00.123456Z".parse().unwrap(),
        }
    }

    #[test]
    fn a_body_has_the_attributes_of_a_cloud_event() {
        let sent: Value = serde_json::from_slice(&body(&event(1)).unwrap()).unwrap();
        assert_eq!(
            sent,
            json!({
                "specversion": "1.0",
                "id": "00000000-0000-0000-0000-000000000001",
                "source": "/concert-reservation",
                "type": "booking.held",
                "subject": "00000000-0000-0000-0000-000000000002",
                "time": "2026-11-20T08:00:00.123Z",
                "datacontenttype": "application/json",
                "partitionkey": "00000000-0000-0000-0000-000000000002",
                "sequence": "1",
                "data": {"bookingId": "b", "totalPrice": "1.50"},
            })
        );
    }

    #[test]
    fn an_event_without_order_has_neither_partition_key_nor_sequence() {
        let sent: Value = serde_json::from_slice(&body(&event(0)).unwrap()).unwrap();
        assert_eq!((&sent["partitionkey"], &sent["sequence"]), (&Value::Null, &Value::Null));
    }
}
