//! The sender of events to a Kafka topic: one event per message, keyed by its subject, acknowledged by every replica in
//! sync.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use rdkafka::{
    ClientConfig, ClientContext,
    config::RDKafkaLogLevel,
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    message::{Header, OwnedHeaders},
    producer::{FutureProducer, FutureRecord, Producer},
};
use tokio::time::timeout;

use super::KafkaSettings;
use crate::{
    domain::{
        clock::Instant,
        event::{AttemptOutcome, EventSender, Receiver, RecordedEvent},
    },
    infrastructure::cloud_event,
};

/// The producer's time limit in milliseconds for sending a message, its own retries included.
const MESSAGE_TIMEOUT_MS: &str = "8000";
/// The time limit of a whole attempt, in case the producer exceeds its own limit.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// The media type of an event.
const CONTENT_TYPE: &str = "application/cloudevents+json; charset=UTF-8";

/// Sends events to a topic.
pub struct KafkaEventSender {
    config: ClientConfig,
    topic: String,
    producer: Mutex<FutureProducer<Observer>>,
    observer: Observer,
}

impl KafkaEventSender {
    /// Starts a producer. It connects in the background.
    ///
    /// # Errors
    ///
    /// When the file of certificate authorities can't be used.
    pub fn new(settings: &KafkaSettings) -> KafkaResult<Self> {
        let config = config(settings);
        let observer = Observer::default();
        let producer = Mutex::new(config.create_with_context(observer.clone())?);
        Ok(Self { config, topic: settings.topic.clone(), producer, observer })
    }

    fn producer(&self) -> MutexGuard<'_, FutureProducer<Observer>> {
        self.producer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the producer after an error that it can't recover from.
    fn replace_broken_producer(&self) {
        let mut producer = self.producer();
        let Some((code, reason)) = producer.client().fatal_error() else { return };
        tracing::warn!(%code, reason, "the Kafka producer is replaced");
        if let Ok(new) = self.config.create_with_context(self.observer.clone()) {
            let old = std::mem::replace(&mut *producer, new);
            // Dropping a producer blocks until its threads have ended.
            tokio::task::spawn_blocking(move || drop(old));
        }
    }

    fn outcome_of_error(&self, error: &KafkaError, bytes: usize) -> AttemptOutcome {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::MessageSizeTooLarge) => AttemptOutcome::Rejected {
                error: format!("the event of {bytes} bytes is larger than the topic {} permits", self.topic),
            },
            Some(RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition) => {
                AttemptOutcome::failed(format!("the topic {} doesn't exist", self.topic))
            }
            Some(RDKafkaErrorCode::TopicAuthorizationFailed) => {
                AttemptOutcome::failed(format!("the user may not write to the topic {}", self.topic))
            }
            Some(RDKafkaErrorCode::MessageTimedOut) => self.no_answer(),
            Some(code) => AttemptOutcome::failed(code.to_string()),
            None => AttemptOutcome::failed(error.to_string()),
        }
    }

    fn no_answer(&self) -> AttemptOutcome {
        match &*self.observer.last_error() {
            Some(reason) => AttemptOutcome::failed(format!("no answer in time: {reason}")),
            None => AttemptOutcome::failed("no answer in time"),
        }
    }
}

fn config(settings: &KafkaSettings) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("client.id", env!("CARGO_PKG_NAME"))
        .set("bootstrap.servers", &settings.brokers)
        .set("security.protocol", settings.protocol.name())
        // Every replica in sync has an acknowledged event. The broker checks sequence numbers, so a retried message
        // can't be stored twice or after later ones.
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("message.timeout.ms", MESSAGE_TIMEOUT_MS)
        // Java clients map a key to the same partition.
        .set("partitioner", "murmur2_random")
        // The topic limits the size of an event. A batch is far below usual limits, so that an oversized event doesn't
        // fail others of its batch.
        .set("message.max.bytes", "16777216")
        .set("batch.size", "65536")
        .set("topic.metadata.propagation.max.ms", "2000")
        .set("socket.connection.setup.timeout.ms", "5000")
        .set("socket.keepalive.enable", "true")
        .set("reconnect.backoff.max.ms", "1000")
        .set_log_level(RDKafkaLogLevel::Info);
    if let Some(sasl) = &settings.sasl {
        config
            .set("sasl.mechanism", sasl.mechanism.name())
            .set("sasl.username", &sasl.username)
            .set("sasl.password", &sasl.password);
    }
    if let Some(file) = &settings.ca_file {
        config.set("ssl.ca.location", file);
    }
    config
}

#[async_trait]
impl EventSender for KafkaEventSender {
    async fn send(&self, _: &Receiver, event: &RecordedEvent, _: Instant) -> AttemptOutcome {
        let Ok(body) = cloud_event::body(event) else {
            return AttemptOutcome::failed("the event's data is not JSON");
        };
        let headers = OwnedHeaders::new().insert(Header { key: "content-type", value: Some(CONTENT_TYPE) });
        // The message's timestamp is the time of sending. With the event's own time, the topic's retention would at
        // once remove an event that was parked for long.
        let record =
            FutureRecord::to(&self.topic).key(event.subject.as_str()).payload(body.as_slice()).headers(headers);
        let sent = self.producer().send_result(record).map_err(|(error, _)| error);
        let error = match sent {
            Ok(sent) => match timeout(ATTEMPT_TIMEOUT, sent).await {
                Ok(Ok(Ok(_))) => {
                    *self.observer.last_error() = None;
                    return AttemptOutcome::Accepted;
                }
                Ok(Ok(Err((error, _)))) => error,
                Ok(Err(_)) => KafkaError::Canceled,
                Err(_) => return self.no_answer(),
            },
            Err(error) => error,
        };
        self.replace_broken_producer();
        self.outcome_of_error(&error, body.len())
    }
}

/// Keeps the last error of the connections, which is the likely cause of a message without an answer.
#[derive(Clone, Debug, Default)]
struct Observer(Arc<Mutex<Option<String>>>);

impl Observer {
    fn last_error(&self) -> MutexGuard<'_, Option<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Observer {
    /// Logs at the level `debug`, since a broker that is down is no error of this server. Failures of deliveries are
    /// counted and shown.
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(facility, message, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "librdkafka");
        let mut last_error = self.last_error();
        // This error follows the errors of the single brokers and is less specific.
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            last_error.get_or_insert_with(|| reason.to_owned());
        } else {
            *last_error = Some(reason.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use rdkafka::{
        mocking::MockCluster,
        types::{RDKafkaApiKey, RDKafkaRespErr},
    };
    use uuid::Uuid;

    use super::*;
    use crate::{
        domain::id::EventId,
        infrastructure::kafka::{SaslMechanism, SaslSettings, SecurityProtocol},
    };

    fn settings(brokers: String) -> KafkaSettings {
        let protocol = SecurityProtocol::Plaintext;
        KafkaSettings { brokers, topic: "events".to_owned(), protocol, sasl: None, ca_file: None }
    }

    fn event() -> RecordedEvent {
        RecordedEvent {
            id: EventId(Uuid::from_u128(1)),
            stream_id: Uuid::from_u128(2),
            sequence: 1,
            kind: "booking.held".to_owned(),
            subject: Uuid::from_u128(2).to_string(),
            data: "{}".to_owned(),
            at: Instant::default(),
        }
    }

    async fn send(sender: &KafkaEventSender) -> AttemptOutcome {
        sender.send(&Receiver::kafka(), &event(), Instant::default()).await
    }

    #[tokio::test]
    async fn a_broken_producer_is_replaced() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.request_errors(
            RDKafkaApiKey::InitProducerId,
            &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED],
        );
        let sender = KafkaEventSender::new(&settings(cluster.bootstrap_servers())).unwrap();
        assert!(matches!(send(&sender).await, AttemptOutcome::Failed { .. }));
        assert_eq!(send(&sender).await, AttemptOutcome::Accepted);
    }

    #[tokio::test]
    async fn a_broker_that_is_down_is_named_with_the_reason() {
        // The kernel reuses a freed port late.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let sender = KafkaEventSender::new(&settings(address.clone())).unwrap();
        let AttemptOutcome::Failed { error, .. } = send(&sender).await else { panic!("nothing listens at {address}") };
        assert!(error.starts_with("no answer in time: "), "{error}");
        assert!(error.contains(&address) && error.contains("Connection refused"), "{error}");
    }

    /// The client accepts every setting.
    #[tokio::test]
    async fn a_producer_can_be_made_for_every_way_of_securing_a_connection() {
        for protocol in [SecurityProtocol::Ssl, SecurityProtocol::SaslPlaintext, SecurityProtocol::SaslSsl] {
            for mechanism in [SaslMechanism::Plain, SaslMechanism::ScramSha256, SaslMechanism::ScramSha512] {
                let sasl = SaslSettings { mechanism, username: "jin".to_owned(), password: "secret".to_owned() };
                let sasl = protocol.has_login().then_some(sasl);
                assert!(!format!("{sasl:?}").contains("secret"));
                let settings = KafkaSettings { protocol, sasl, ..settings("localhost:1".to_owned()) };
                KafkaEventSender::new(&settings).map(drop).unwrap();
            }
        }
        let missing = KafkaSettings {
            protocol: SecurityProtocol::Ssl,
            ca_file: Some("/nowhere/ca.pem".to_owned()),
            ..settings("localhost:1".to_owned())
        };
        assert!(KafkaEventSender::new(&missing).is_err());
    }
}
