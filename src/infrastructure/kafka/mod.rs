//! Kafka as a destination of events. `settings.rs` has the cluster and the topic; `sender.rs` has the producer, which
//! needs a build with the feature `kafka`.

#[cfg(feature = "kafka")]
mod sender;
mod settings;

#[cfg(feature = "kafka")]
pub use self::sender::KafkaEventSender;
pub use self::settings::{
    KafkaSettings, NotABrokerList, NotATopic, SaslMechanism, SaslSettings, SecurityProtocol, check_brokers, check_topic,
};
