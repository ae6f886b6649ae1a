//! The tokens that a tick admits: first those that were passed over and whose users are present again, then those of
//! present users by place.

use crate::domain::{
    clock::Instant,
    queue::{Queue, QueueToken, TokenState},
    repository_error::RepositoryError,
    unit_of_work::UnitOfWork,
};

/// The most tokens that one transaction admits, so that it keeps the queue's lock for a bounded time.
pub(super) const ADMISSION_BATCH: u32 = 2_000;

/// The most places that one transaction examines; the next one continues after them.
const PLACES_PER_TICK: u32 = 4_000;

/// Locks the next tokens, at most `budget`, and activates them. The head advances past them, and past absent users in
/// between.
///
/// An absent user keeps the place and uses no budget. The caller has locked the queue, so no token leaves it meanwhile.
/// Presence may be written at any time, and then counts at the next tick.
pub(super) async fn select_next(
    uow: &mut dyn UnitOfWork,
    queue: &mut Queue,
    budget: u32,
    now: Instant,
) -> Result<Vec<QueueToken>, RepositoryError> {
    let wanted = usize::try_from(budget.min(ADMISSION_BATCH)).unwrap_or(0);
    if wanted == 0 {
        return Ok(Vec::new());
    }
    let mut chosen = uow
        .queue_tokens()
        .list_present_before_head(queue.concert_id, queue.head, now, budget.min(ADMISSION_BATCH))
        .await?;
    // While a draw's places are being written, no later place is admitted before them.
    let last = queue.last_admissible_place();
    let mut places_left = PLACES_PER_TICK;
    let mut passed_over = 0;
    while chosen.len() < wanted && places_left > 0 {
        // Twice as many as needed, because half of the waiting users may be absent.
        let missing = u32::try_from(wanted - chosen.len()).unwrap_or(ADMISSION_BATCH);
        let limit = (2 * missing).max(64).min(places_left);
        let waiting = uow.queue_tokens().list_waiting(queue.concert_id, queue.head, limit).await?;
        let is_exhausted = u32::try_from(waiting.len()).is_ok_and(|found| found < limit);
        for token in waiting {
            if chosen.len() == wanted || token.place.is_none_or(|place| place > last) {
                break;
            }
            queue.advance_head(token.place.unwrap_or(0));
            if queue.is_present(&token, now) {
                chosen.push(token);
            } else {
                passed_over += 1;
            }
        }
        if is_exhausted || queue.head >= last {
            break;
        }
        places_left -= limit;
    }
    uow.after_commit(Box::new(move || metrics::counter!("queue_passed_over_total").increment(passed_over)));
    // Locked by id, like all tokens, because presence is written without the queue's lock.
    let ids: Vec<_> = chosen.iter().map(|token| token.id).collect();
    let mut next = uow.queue_tokens().lock_tokens(&ids).await?;
    next.retain(|token| token.state == TokenState::Waiting);
    next.sort_unstable_by_key(|token| token.place);
    for token in &mut next {
        queue.admit(token, now);
    }
    Ok(next)
}
