//! Replies to commands. Each command carries a typed reply, so commands of one lane may have different outputs.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use super::keys::IdempotencyKey;
use crate::{
    application::error::AppError,
    domain::{
        clock::Instant,
        id::UserId,
        idempotency::{Answer, Fingerprint, IdempotencyRecord, KeyDigest},
        refusal::Refusal,
    },
};

/// The reply to a command.
#[derive(Debug)]
pub enum Reply<T> {
    /// A result without a record: the command has no idempotency key, its refusal is temporary, or its key was used
    /// with another request body.
    Unrecorded(Result<T, Refusal>),
    /// The answer that is recorded under the command's idempotency key.
    Recorded {
        /// The answer, replayed byte for byte.
        answer: Answer,
        /// Whether an earlier request with the key got this answer first.
        replayed: bool,
    },
}

impl<T> IdempotencyKey<T> {
    /// Replays the recorded answer, or refuses a key that was recorded for another request body.
    pub(in crate::application) fn replay(&self, record: IdempotencyRecord) -> Reply<T> {
        if self.fingerprint == record.fingerprint {
            Reply::Recorded { answer: record.answer, replayed: true }
        } else {
            Reply::Unrecorded(Err(Refusal::IdempotencyKeyReused))
        }
    }
}

type Sender<T> = oneshot::Sender<Result<Reply<T>, AppError>>;
pub(super) type Receiver<T> = oneshot::Receiver<Result<Reply<T>, AppError>>;

/// The destination of one command's reply.
pub struct ReplyTo<T>(Arc<PendingReply<T>>);

struct PendingReply<T> {
    key: Option<IdempotencyKey<T>>,
    /// `None` once the reply was sent.
    sender: Mutex<Option<Sender<T>>>,
}

impl<T: Send + 'static> ReplyTo<T> {
    pub(super) fn new(key: Option<IdempotencyKey<T>>) -> (Self, Receiver<T>) {
        let (sender, receiver) = oneshot::channel();
        (Self(Arc::new(PendingReply { key, sender: Mutex::new(Some(sender)) })), receiver)
    }

    /// The same destination without the output's type, for the lane.
    pub(super) fn untyped(&self) -> Arc<dyn UntypedReply> {
        Arc::<PendingReply<T>>::clone(&self.0)
    }

    /// Decides the command with this result, and renders its answer if a key records it. The lane sends the result
    /// after the commit.
    pub fn decide(&self, result: Result<T, Refusal>) -> Decision {
        let is_lasting = result.as_ref().map_or_else(Refusal::is_lasting, |_| true);
        let recording = match &self.0.key {
            None => Recording::NoKey,
            Some(key) if is_lasting => Recording::Lasting {
                digest: key.digest,
                user_id: key.user_id,
                fingerprint: key.fingerprint,
                answer: (key.render)(result.as_ref()),
            },
            Some(key) => Recording::Temporary(key.digest),
        };
        let pending = Arc::clone(&self.0);
        let send = Box::new(move |answer: Option<Answer>| {
            pending.send(Ok(match answer {
                Some(answer) => Reply::Recorded { answer, replayed: false },
                None => Reply::Unrecorded(result),
            }));
        });
        Decision { recording, send }
    }
}

impl<T> PendingReply<T> {
    fn send(&self, reply: Result<Reply<T>, AppError>) {
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner).take();
        // The caller may have stopped waiting.
        let _ = sender.map(|sender| sender.send(reply));
    }
}

/// The decision of one command. Dropping a decision leaves its command unanswered, so that the batch can be repeated.
#[must_use = "the command isn't answered without its decision"]
pub struct Decision {
    recording: Recording,
    send: Box<dyn FnOnce(Option<Answer>) + Send>,
}

/// The relation of a decision to its command's idempotency key.
enum Recording {
    NoKey,
    /// A refusal that isn't recorded: a repeated request is decided anew.
    Temporary(KeyDigest),
    /// A result that a repeated request gets again.
    Lasting {
        digest: KeyDigest,
        user_id: UserId,
        fingerprint: Fingerprint,
        answer: Answer,
    },
}

impl Decision {
    /// The record to store in the transaction of the effect.
    pub(super) fn record(&self, created_at: Instant) -> Option<IdempotencyRecord> {
        match &self.recording {
            Recording::Lasting { digest, user_id, fingerprint, answer } => Some(IdempotencyRecord {
                digest: *digest,
                user_id: *user_id,
                fingerprint: *fingerprint,
                answer: answer.clone(),
                created_at,
            }),
            Recording::NoKey | Recording::Temporary(_) => None,
        }
    }

    /// The key under which the answer is recorded.
    pub(super) fn recorded_key(&self) -> Option<KeyDigest> {
        match &self.recording {
            Recording::Lasting { digest, .. } => Some(*digest),
            Recording::NoKey | Recording::Temporary(_) => None,
        }
    }

    /// The key of a temporary refusal, under which no answer is recorded.
    pub(super) fn unrecorded_key(&self) -> Option<KeyDigest> {
        match &self.recording {
            Recording::Temporary(digest) => Some(*digest),
            Recording::NoKey | Recording::Lasting { .. } => None,
        }
    }

    /// Answers the command. To be called after the commit.
    pub(super) fn send(self) {
        let answer = match self.recording {
            Recording::Lasting { answer, .. } => Some(answer),
            Recording::NoKey | Recording::Temporary(_) => None,
        };
        (self.send)(answer);
    }
}

/// A command's reply as the lane sees it, without the output's type.
pub(super) trait UntypedReply: Send + Sync {
    /// The digest of the command's idempotency key.
    fn key_digest(&self) -> Option<KeyDigest>;

    /// Whether the caller has stopped waiting: its request timed out or was dropped.
    fn is_abandoned(&self) -> bool;

    /// Replays the recorded answer, or refuses a key that was recorded for another request body.
    fn replay(&self, record: IdempotencyRecord);

    /// Reports the failure of the command's batch.
    fn fail(&self, error: AppError);
}

impl<T: Send> UntypedReply for PendingReply<T> {
    fn key_digest(&self) -> Option<KeyDigest> {
        self.key.as_ref().map(|key| key.digest)
    }

    fn is_abandoned(&self) -> bool {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner).as_ref().is_none_or(oneshot::Sender::is_closed)
    }

    fn replay(&self, record: IdempotencyRecord) {
        // Only a command with a key has a record.
        if let Some(key) = &self.key {
            self.send(Ok(key.replay(record)));
        }
    }

    fn fail(&self, error: AppError) {
        self.send(Err(error));
    }
}
