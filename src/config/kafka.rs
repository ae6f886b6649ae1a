//! Reads the variables of the Kafka cluster.

use std::str::FromStr;

use super::reader::VariableReader;
use crate::infrastructure::kafka::{
    KafkaSettings, SaslMechanism, SaslSettings, SecurityProtocol, check_brokers, check_topic,
};

impl<L: Fn(&str) -> Option<String>> VariableReader<L> {
    pub(super) fn kafka(&mut self) -> Option<KafkaSettings> {
        let brokers = self.optional_text("KAFKA_BROKERS");
        let topic = self.text("KAFKA_TOPIC").trim().to_owned();
        if let Err(error) = check_topic(&topic) {
            self.add_error("KAFKA_TOPIC", format!("{topic:?} {error}"));
        }
        let protocol = self.word(
            "KAFKA_SECURITY_PROTOCOL",
            SecurityProtocol::Plaintext,
            "is neither PLAINTEXT, SSL, SASL_PLAINTEXT nor SASL_SSL",
        );
        let mechanism = self.word(
            "KAFKA_SASL_MECHANISM",
            SaslMechanism::ScramSha512,
            "is neither SCRAM-SHA-512, SCRAM-SHA-256 nor PLAIN",
        );
        let sasl = self.sasl(protocol, mechanism);
        let brokers = brokers?;
        if let Err(error) = check_brokers(&brokers) {
            self.add_error("KAFKA_BROKERS", format!("{brokers:?} {error}"));
        } else if cfg!(not(feature = "kafka")) {
            self.add_error(
                "KAFKA_BROKERS",
                "needs a server that was built with the feature kafka: cargo build --release --features kafka, or the image",
            );
        }
        Some(KafkaSettings { brokers, topic, protocol, sasl, ca_file: self.optional_text("KAFKA_CA_FILE") })
    }

    fn sasl(&mut self, protocol: SecurityProtocol, mechanism: SaslMechanism) -> Option<SaslSettings> {
        let username = self.optional_text("KAFKA_SASL_USERNAME");
        let password = self.optional_text("KAFKA_SASL_PASSWORD");
        if !protocol.has_login() {
            // A password that is never asked for would leave the server unprotected, or locked out.
            for (name, value) in [("KAFKA_SASL_USERNAME", &username), ("KAFKA_SASL_PASSWORD", &password)] {
                if value.is_some() {
                    self.add_error(name, "needs KAFKA_SECURITY_PROTOCOL=SASL_SSL, or SASL_PLAINTEXT");
                }
            }
            return None;
        }
        for (name, value) in [("KAFKA_SASL_USERNAME", &username), ("KAFKA_SASL_PASSWORD", &password)] {
            if value.is_none() {
                self.add_error(name, format!("is required with KAFKA_SECURITY_PROTOCOL={}", protocol.name()));
            }
        }
        Some(SaslSettings { mechanism, username: username?, password: password? })
    }

    fn word<T: FromStr>(&mut self, name: &'static str, placeholder: T, error: &str) -> T {
        let text = self.text(name);
        text.trim().parse().unwrap_or_else(|_| {
            self.add_error(name, format!("{text:?} {error}"));
            placeholder
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::errors::ConfigErrors;

    fn read(pairs: &[(&str, &str)]) -> Result<Option<KafkaSettings>, ConfigErrors> {
        let value = |name: &str| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let mut reader = VariableReader::new(value);
        let settings = reader.kafka();
        reader.finish(settings)
    }

    fn wrong(pairs: &[(&str, &str)]) -> Vec<&'static str> {
        read(pairs).unwrap_err().0.into_keys().collect()
    }

    #[test]
    fn without_brokers_there_is_no_kafka() {
        assert!(read(&[]).unwrap().is_none());
    }

    #[test]
    fn brokers_need_a_build_with_the_feature() {
        let settings = read(&[("KAFKA_BROKERS", "localhost:9092")]);
        if cfg!(feature = "kafka") {
            assert_eq!(settings.unwrap().unwrap().topic, "concert-reservation.events");
        } else {
            assert!(settings.unwrap_err().0["KAFKA_BROKERS"].contains("--features kafka"));
        }
    }

    #[test]
    fn every_mistake_of_the_cluster_is_reported_by_name() {
        assert_eq!(wrong(&[("KAFKA_BROKERS", "localhost"), ("KAFKA_TOPIC", "a b")]), ["KAFKA_BROKERS", "KAFKA_TOPIC"]);
        let words = [("KAFKA_SECURITY_PROTOCOL", "TLS"), ("KAFKA_SASL_MECHANISM", "GSSAPI")];
        assert_eq!(wrong(&words), ["KAFKA_SASL_MECHANISM", "KAFKA_SECURITY_PROTOCOL"]);
    }

    #[test]
    fn a_login_is_complete_and_asked_for() {
        let protocol = |text| ("KAFKA_SECURITY_PROTOCOL", text);
        let (user, password) = (("KAFKA_SASL_USERNAME", "jin"), ("KAFKA_SASL_PASSWORD", "secret"));
        assert!(read(&[protocol("sasl_ssl"), user, password]).is_ok());
        assert_eq!(wrong(&[protocol("SASL_SSL"), user]), ["KAFKA_SASL_PASSWORD"]);
        assert_eq!(wrong(&[protocol("SSL"), user, password]), ["KAFKA_SASL_PASSWORD", "KAFKA_SASL_USERNAME"]);
        assert_eq!(wrong(&[user]), ["KAFKA_SASL_USERNAME"]);
    }
}
