//! The binary as an operator starts it.

use std::process::{Command, Output};

/// Runs the server with these variables alone; the configuration ends it before it needs a database.
fn serve(variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_concert-reservation"));
    command.arg("serve").env_clear().env("DEMO", "true").envs(variables.iter().copied()).output().unwrap()
}

#[test]
fn a_wrong_configuration_ends_the_server_with_2_and_names_every_mistake() {
    let output = serve(&[("LANES", "none"), ("KAFKA_TOPIC", "a b")]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains("LANES: ") && message.contains("KAFKA_TOPIC: "), "{message}");
}

/// Such a server would record events that it can't send.
#[cfg(not(feature = "kafka"))]
#[test]
fn a_build_without_kafka_refuses_brokers() {
    let output = serve(&[("KAFKA_BROKERS", "kafka1.example.org:9092")]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains("KAFKA_BROKERS: ") && message.contains("--features kafka"), "{message}");
}
