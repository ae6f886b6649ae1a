//! The Kafka cluster, how it is reached, and the topic.

use std::fmt;

use strum::{EnumString, IntoStaticStr};
use url::Url;

/// The most characters of a topic's name.
const TOPIC_LENGTH: usize = 249;

/// The cluster and the topic that events are sent to.
#[derive(Clone, Debug)]
pub struct KafkaSettings {
    /// Some brokers of the cluster, `host:port` separated by commas. The client learns the others from them.
    pub brokers: String,
    /// The name of the topic, which must exist.
    pub topic: String,
    /// How a connection is secured.
    pub protocol: SecurityProtocol,
    /// The login; required with SASL.
    pub sasl: Option<SaslSettings>,
    /// A file with certificate authorities in PEM; `None` for those of this machine.
    pub ca_file: Option<String>,
}

/// The login at a broker.
#[derive(Clone)]
pub struct SaslSettings {
    /// How the broker checks the password.
    pub mechanism: SaslMechanism,
    /// The name of the user who may write to the topic.
    pub username: String,
    /// The user's password, which is never logged.
    pub password: String,
}

impl fmt::Debug for SaslSettings {
    /// Hides the password from logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SaslSettings({}, {:?})", self.username, self.mechanism)
    }
}

/// How a connection to a broker is secured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE", ascii_case_insensitive)]
pub enum SecurityProtocol {
    /// Neither encrypted nor logged in.
    Plaintext,
    /// Encrypted.
    Ssl,
    /// Logged in, not encrypted.
    SaslPlaintext,
    /// Encrypted and logged in.
    SaslSsl,
}

/// How a broker checks a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr)]
#[strum(ascii_case_insensitive)]
pub enum SaslMechanism {
    /// The broker gets the password.
    #[strum(serialize = "PLAIN")]
    Plain,
    /// The broker gets a proof of it.
    #[strum(serialize = "SCRAM-SHA-256")]
    ScramSha256,
    /// The same with a longer hash.
    #[strum(serialize = "SCRAM-SHA-512")]
    ScramSha512,
}

impl SaslMechanism {
    /// Its name in Kafka's own settings.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

impl SecurityProtocol {
    /// Its name in Kafka's own settings.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Whether a connection needs a login.
    pub fn has_login(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }
}

/// The text isn't a list of brokers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a list of brokers such as kafka1.example.org:9092,kafka2.example.org:9092")]
pub struct NotABrokerList;

/// The text isn't the name of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not the name of a topic: 1 to 249 letters, digits, dots, underscores and hyphens")]
pub struct NotATopic;

/// Checks a list of brokers, `host:port` with commas.
///
/// # Errors
///
/// [`NotABrokerList`].
pub fn check_brokers(text: &str) -> Result<(), NotABrokerList> {
    let is_broker = |item: &str| {
        let is_bare = |url: Url| {
            url.host_str().is_some_and(|host| !host.is_empty())
                && url.port().is_some_and(|port| port != 0)
                && url.username().is_empty()
                && url.password().is_none()
                && url.path().is_empty()
                && url.query().is_none()
                && url.fragment().is_none()
        };
        Url::parse(&format!("kafka://{item}")).is_ok_and(is_bare)
    };
    if text.split(',').map(str::trim).all(is_broker) { Ok(()) } else { Err(NotABrokerList) }
}

/// Checks the name of a topic.
///
/// # Errors
///
/// [`NotATopic`].
pub fn check_topic(text: &str) -> Result<(), NotATopic> {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let fits = (1..=TOPIC_LENGTH).contains(&text.len());
    if fits && text.bytes().all(is_legal) && !matches!(text, "." | "..") { Ok(()) } else { Err(NotATopic) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_are_hosts_with_ports() {
        for text in ["localhost:9092", "10.0.0.1:9092,10.0.0.2:9093", "[::1]:9092", "a.example.org:1, b:2"] {
            assert_eq!(check_brokers(text), Ok(()), "{text}");
        }
        for text in ["", ",", "localhost", "localhost:0", "a:1,", "kafka://a:1", "a:1/topic", "jin:secret@a:1", "a:b"] {
            assert_eq!(check_brokers(text), Err(NotABrokerList), "{text}");
        }
    }

    #[test]
    fn a_topic_has_the_characters_that_kafka_permits() {
        for text in ["concert-reservation.events", "a", &"t".repeat(249)] {
            assert_eq!(check_topic(text), Ok(()), "{text}");
        }
        for text in ["", ".", "..", "a b", "a/b", "좌석", &"t".repeat(250)] {
            assert_eq!(check_topic(text), Err(NotATopic), "{text}");
        }
    }

    #[test]
    fn the_words_are_those_of_kafka() {
        assert_eq!("sasl_ssl".parse(), Ok(SecurityProtocol::SaslSsl));
        assert_eq!("SCRAM-SHA-512".parse(), Ok(SaslMechanism::ScramSha512));
        assert!("TLS".parse::<SecurityProtocol>().is_err() && "GSSAPI".parse::<SaslMechanism>().is_err());
        assert_eq!(
            (SecurityProtocol::SaslSsl.name(), SaslMechanism::ScramSha256.name()),
            ("SASL_SSL", "SCRAM-SHA-256")
        );
        assert!(SecurityProtocol::SaslPlaintext.has_login() && !SecurityProtocol::Ssl.has_login());
    }
}
