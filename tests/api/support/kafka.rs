//! Kafka brokers, which are processes of their own, and the messages of their topics.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use concert_reservation::infrastructure::kafka::SecurityProtocol;
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
    message::{BorrowedMessage, Headers},
};
use serde_json::Value;
use uuid::Uuid;

/// Long enough for a broker that is starting.
const TIMEOUT: Duration = Duration::from_mins(1);

/// The partitions of every topic.
const PARTITIONS: i32 = 3;

/// A message, as a consumer reads it.
#[derive(Clone, Debug)]
pub(crate) struct KafkaMessage {
    pub(crate) partition: i32,
    pub(crate) key: String,
    pub(crate) content_type: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) event: Value,
}

impl KafkaMessage {
    fn read(message: &BorrowedMessage<'_>) -> Self {
        let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap().to_vec()).unwrap();
        let header = message.headers().unwrap().iter().find(|header| header.key == "content-type").unwrap();
        let bytes = message.payload().unwrap().to_vec();
        Self {
            partition: message.partition(),
            key: text(message.key()),
            content_type: text(header.value),
            event: serde_json::from_slice(&bytes).unwrap(),
            bytes,
        }
    }

    pub(crate) fn text(&self, member: &str) -> &str {
        self.event[member].as_str().unwrap_or_else(|| panic!("no {member} in {}", self.event))
    }
}

/// A broker.
#[derive(Clone)]
pub(crate) struct KafkaBroker {
    folder: PathBuf,
    pub(crate) address: String,
}

impl KafkaBroker {
    /// The user of its encrypted address, and the password.
    pub(crate) const USER: &str = "concert";
    pub(crate) const PASSWORD: &str = "concert-password";

    /// The broker that the tests share. It is left running.
    pub(crate) async fn shared() -> Self {
        Self::start_in(PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.local/test-kafka"))).await
    }

    /// A broker for one test, which ends it by [`wipe`](Self::wipe).
    pub(crate) async fn own() -> Self {
        let name = format!(".local/kafka-{}", Uuid::now_v7());
        Self::start_in(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)).await
    }

    async fn start_in(folder: PathBuf) -> Self {
        let mut broker = Self { folder, address: String::new() };
        broker.address = broker.run("start").await;
        broker
    }

    /// Starts it again, at its address.
    pub(crate) async fn start(&self) {
        assert_eq!(self.run("start").await, self.address);
    }

    /// Kills it, as a crash would.
    pub(crate) async fn kill(&self) {
        self.run("kill").await;
    }

    /// Ends it and removes its data.
    pub(crate) async fn wipe(self) {
        self.run("wipe").await;
    }

    /// The address for a way of securing a connection.
    pub(crate) async fn secured_address(&self, protocol: SecurityProtocol) -> String {
        match protocol {
            SecurityProtocol::Ssl => self.run("address ssl").await,
            SecurityProtocol::SaslSsl => self.run("address sasl_ssl").await,
            SecurityProtocol::Plaintext | SecurityProtocol::SaslPlaintext => panic!("{protocol:?} isn't encrypted"),
        }
    }

    /// The file with the broker's certificate.
    pub(crate) async fn certificate(&self) -> String {
        self.run("certificate").await
    }

    /// Runs `scripts/kafka` with these words.
    async fn run(&self, words: &'static str) -> String {
        let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/kafka"));
        command.args(words.split(' ')).env("KAFKA_DIR", &self.folder).stdin(Stdio::null()).stderr(Stdio::inherit());
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        assert!(output.status.success(), "scripts/kafka {words}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// The name of a topic that doesn't exist.
    pub(crate) fn missing_topic(&self) -> Topic {
        Topic { broker: self.address.clone(), name: format!("events-{}", Uuid::now_v7()) }
    }

    /// A new topic with these settings.
    pub(crate) async fn topic(&self, settings: &[(&str, &str)]) -> Topic {
        let topic = self.missing_topic();
        topic.create(settings).await;
        topic
    }
}

/// A topic, or its name.
pub(crate) struct Topic {
    broker: String,
    pub(crate) name: String,
}

impl Topic {
    /// The variables of a server that sends events to this topic.
    pub(crate) fn settings(&self) -> [(&'static str, &str); 2] {
        [("KAFKA_BROKERS", &self.broker), ("KAFKA_TOPIC", &self.name)]
    }

    pub(crate) async fn create(&self, settings: &[(&str, &str)]) {
        let mut config = ClientConfig::new();
        let admin: AdminClient<DefaultClientContext> = config.set("bootstrap.servers", &self.broker).create().unwrap();
        let topic = NewTopic::new(&self.name, PARTITIONS, TopicReplication::Fixed(1));
        let topic = settings.iter().fold(topic, |topic, (name, value)| topic.set(name, value));
        let options = AdminOptions::new().operation_timeout(Some(TIMEOUT)).request_timeout(Some(TIMEOUT));
        admin.create_topics([&topic], &options).await.unwrap().remove(0).unwrap();
    }

    /// Every message of the topic, in the order of each partition.
    pub(crate) async fn read(&self) -> Vec<KafkaMessage> {
        let (broker, name) = (self.broker.clone(), self.name.clone());
        tokio::task::spawn_blocking(move || read(&broker, &name)).await.unwrap()
    }
}

fn read(broker: &str, topic: &str) -> Vec<KafkaMessage> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker).set("group.id", "tests").set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create().unwrap();
    let mut partitions = TopicPartitionList::new();
    let mut left = 0;
    for partition in 0..PARTITIONS {
        let (low, high) = consumer.fetch_watermarks(topic, partition, TIMEOUT).unwrap();
        left += high - low;
        partitions.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&partitions).unwrap();
    let mut messages = Vec::new();
    while left > 0 {
        let message = consumer.poll(TIMEOUT).expect("a message").unwrap();
        messages.push(KafkaMessage::read(&message));
        left -= 1;
    }
    messages
}
