//! Tokens that the tests of queues start from.

use sqlx::MySqlPool;

use super::super::fixtures_catalogue::{at, user};
use crate::domain::{
    id::ConcertId,
    queue::{Admission, EndReason, QueueToken, TokenState},
    unit_of_work::UnitOfWork,
};

/// Stores `count` waiting tokens, of the users 1 to `count`, with their queue.
pub(super) async fn join(pool: &MySqlPool, uow: &mut dyn UnitOfWork, id: ConcertId, count: u128) -> Vec<QueueToken> {
    let mut queue = uow.queues().lock_queues(&[id]).await.unwrap().remove(0);
    let mut tokens = Vec::new();
    for number in 1..=count {
        tokens.push(queue.issue(user(pool, number).await, 7, at(0)).unwrap());
    }
    uow.queue_tokens().insert_tokens(&tokens).await.unwrap();
    uow.queues().update_queue(&queue).await.unwrap();
    tokens
}

pub(super) fn active(token: QueueToken, lapses_at: i64) -> QueueToken {
    let admission = Admission {
        admitted_at: at(0),
        claimed_at: None,
        books_until: at(600),
        expires_at: at(600),
        lapses_at: at(lapses_at),
    };
    QueueToken { state: TokenState::Active(admission), ..token }
}

pub(super) fn ended(token: QueueToken, ending: EndReason) -> QueueToken {
    QueueToken { state: TokenState::Ended(ending), ..token }
}
