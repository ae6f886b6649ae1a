//! A mail server: a process of its own, with the behaviour that a test sets.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use tokio::sync::mpsc;

/// A message, as the server read it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ReceivedMail {
    /// The server's answer; `None` if it gave none.
    pub(crate) status: Option<u16>,
    pub(crate) sender: String,
    pub(crate) recipients: Vec<String>,
    /// By name in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) text: String,
    pub(crate) html: String,
    pub(crate) pictures: Vec<ReceivedPicture>,
    /// In bytes, with the headers.
    pub(crate) size: usize,
    pub(crate) encrypted: bool,
    pub(crate) user: Option<String>,
}

/// A picture in a message.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ReceivedPicture {
    /// The `Content-ID`, in angle brackets.
    pub(crate) id: String,
    #[serde(rename = "type")]
    pub(crate) content_type: String,
    pub(crate) name: String,
    pub(crate) disposition: String,
    content: String,
}

impl ReceivedPicture {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        STANDARD.decode(&self.content).unwrap()
    }
}

impl ReceivedMail {
    /// The code in the text: the line in groups of four.
    pub(crate) fn code(&self) -> String {
        let is_code = |line: &&str| line.split('-').count() == 7 && line.len() == 34;
        self.text.lines().find(is_code).unwrap_or_else(|| panic!("no code in {}", self.text)).to_owned()
    }

    pub(crate) fn subject(&self) -> &str {
        &self.headers["subject"]
    }

    /// The account that the mail is for.
    pub(crate) fn to(&self) -> &str {
        assert_eq!(self.recipients.len(), 1, "{self:?}");
        &self.recipients[0]
    }
}

/// A mail server and the messages it was handed.
pub(crate) struct SmtpServer {
    pub(crate) port: u16,
    process: Child,
    received: mpsc::UnboundedReceiver<String>,
}

impl SmtpServer {
    /// Accepts every message.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With arguments of `tests/smtp/server.py`.
    pub(crate) async fn start_with(arguments: &[&str]) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/smtp");
        let mut command = Command::new(script);
        // It ends when its input closes, whichever way this test ends.
        command.arg("run").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("scripts/smtp can be run");
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let (sender, mut received) = mpsc::unbounded_channel();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let first = received.recv().await.expect("the mail server starts: its output above says why it doesn't");
        let first: serde_json::Value = serde_json::from_str(&first).unwrap();
        Self { port: first["port"].as_u64().unwrap().try_into().unwrap(), process, received }
    }

    /// The variables of a server that mails through this one.
    pub(crate) fn settings<'a>(&self, url: &'a mut String) -> [(&'static str, &'a str); 2] {
        *url = format!("smtp://127.0.0.1:{}", self.port);
        [("SMTP_URL", url), ("MAIL_FROM", "Tickets <tickets@concerts.example>")]
    }

    /// The next message; waits for it.
    pub(crate) async fn next(&mut self) -> ReceivedMail {
        let line = self.received.recv().await.expect("the mail server runs");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// The messages received since the last call. The server reports a message before it answers it, so a client's
    /// answer may be here earlier than the report. It reports all messages before it answers this question.
    pub(crate) async fn drain(&mut self) -> Vec<ReceivedMail> {
        self.process.stdin.as_mut().unwrap().write_all(b"\n").expect("the mail server runs");
        let mut mails = Vec::new();
        loop {
            let line = self.received.recv().await.expect("the mail server runs");
            if line == r#"{"drained": true}"# {
                return mails;
            }
            mails.push(serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}")));
        }
    }
}

impl Drop for SmtpServer {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
