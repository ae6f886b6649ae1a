//! Decisions about admission and about uses of a token.

use super::{Admission, Queue, QueueMode, QueueToken, TokenState};
use crate::domain::{clock::Instant, refusal::Refusal};

/// The admission budget: the number of tokens that may be activated at `now`.
///
/// It never exceeds the free capacity below `max_active`. In mode `QUEUE` it doesn't exceed the remaining rate of the
/// current window either.
///
/// `active` is the number of active tokens. `admitted` is the number of admissions in the window `(now − interval,
/// now]`, in any mode.
pub fn admission_budget(queue: &Queue, active: u32, admitted: u32, now: Instant) -> u32 {
    if !queue.settings.is_open(now) {
        return 0;
    }
    let room = queue.settings.max_active.saturating_sub(active);
    match queue.settings.mode {
        QueueMode::Paused => 0,
        QueueMode::Open => room,
        QueueMode::Queue => room.min(queue.settings.admit_count.saturating_sub(admitted)),
    }
}

/// The admission of a token that is active at `now`.
///
/// # Errors
///
/// [`Refusal::QueueTokenNotActive`] for a scheduled or waiting token; [`Refusal::QueueTokenExpired`] for one that has
/// ended.
pub fn require_active(token: &QueueToken, now: Instant) -> Result<Admission, Refusal> {
    match token.state_at(now) {
        TokenState::Active(admission) => Ok(admission),
        TokenState::Scheduled | TokenState::Waiting => {
            Err(Refusal::QueueTokenNotActive { id: token.id, place: token.place })
        }
        TokenState::Ended(_) => Err(Refusal::QueueTokenExpired),
    }
}

/// The admission of a token that may make a new hold at `now`. Holds extend a token's lifetime for their payment, but
/// not the time for new holds.
///
/// # Errors
///
/// Those of [`require_active`]; [`Refusal::QueueTokenExpired`] also once the time for new holds is over.
pub fn require_booking(token: &QueueToken, now: Instant) -> Result<Admission, Refusal> {
    let admission = require_active(token, now)?;
    if now < admission.books_until { Ok(admission) } else { Err(Refusal::QueueTokenExpired) }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use uuid::Uuid;

    use super::*;
    use crate::domain::{
        id::{ConcertId, UserId},
        queue::{EndReason, QueueSettings},
    };

    fn queue(settings: QueueSettings) -> Queue {
        Queue { settings, ..Queue::new(ConcertId(1), Instant::default()) }
    }

    #[test]
    fn the_budget_is_the_smaller_of_rate_and_room() {
        let now = Instant::default();
        let settings = QueueSettings { admit_count: 10, max_active: 100, ..QueueSettings::default() };
        assert_eq!(admission_budget(&queue(settings), 0, 0, now), 10);
        assert_eq!(admission_budget(&queue(settings), 0, 7, now), 3);
        assert_eq!(admission_budget(&queue(settings), 98, 0, now), 2);
        assert_eq!(admission_budget(&queue(settings), 200, 0, now), 0);
        assert_eq!(admission_budget(&queue(settings), 0, 20, now), 0);
        let open = QueueSettings { mode: QueueMode::Open, ..settings };
        assert_eq!(admission_budget(&queue(open), 0, 20, now), 100);
        let paused = QueueSettings { mode: QueueMode::Paused, ..settings };
        assert_eq!(admission_budget(&queue(paused), 0, 0, now), 0);
        let later = QueueSettings { sales_open_at: Some(now + TimeDelta::microseconds(1)), ..settings };
        assert_eq!(admission_budget(&queue(later), 0, 0, now), 0);
    }

    #[test]
    fn an_unclaimed_token_lapses_at_its_claim_deadline_and_a_claimed_one_at_its_end() {
        let now = Instant::default();
        let mut queue = queue(QueueSettings::default());
        let mut token = queue.issue(UserId(Uuid::nil()), 1, now).unwrap();
        assert!(matches!(require_active(&token, now), Err(Refusal::QueueTokenNotActive { .. })));
        queue.admit(&mut token, now);
        let claim_deadline = now + TimeDelta::seconds(60);
        assert!(require_active(&token, claim_deadline - TimeDelta::microseconds(1)).is_ok());
        assert_eq!(token.state_at(claim_deadline), TokenState::Ended(EndReason::Expired));
        let admission = require_active(&token, now).unwrap().claimed(now);
        token.state = TokenState::Active(admission);
        assert!(require_active(&token, claim_deadline).is_ok());
        let end = now + TimeDelta::seconds(600);
        assert_eq!(require_active(&token, end), Err(Refusal::QueueTokenExpired));
        token.state = TokenState::Active(admission.extended(now, end + TimeDelta::seconds(5)));
        assert!(require_active(&token, end).is_ok());
    }

    #[test]
    fn holds_extend_a_tokens_lifetime_but_not_the_time_for_new_holds() {
        let start = Instant::default();
        let after = |seconds| start + TimeDelta::seconds(seconds);
        let mut queue = queue(QueueSettings::default());
        let mut token = queue.issue(UserId(Uuid::nil()), 1, start).unwrap();
        queue.admit(&mut token, start);
        let held = require_booking(&token, after(59)).unwrap().extended(after(59), after(900));
        token.state = TokenState::Active(held);
        assert!(require_booking(&token, after(600) - TimeDelta::microseconds(1)).is_ok());
        assert_eq!(require_booking(&token, after(600)), Err(Refusal::QueueTokenExpired));
        assert!(require_active(&token, after(899)).is_ok());
        for (deadline, end) in [(Some(after(700)), 700), (Some(after(300)), 600), (None, 600)] {
            let fallen_back = held.fallen_back(after(60), deadline);
            assert_eq!((fallen_back.expires_at, fallen_back.lapses_at), (after(end), after(end)));
        }
    }

    #[test]
    fn a_queue_is_over_when_its_concert_is() {
        let now = Instant::default();
        let mut queue = queue(QueueSettings::default());
        assert!(!queue.is_over(now));
        queue.ends_at = Some(now + TimeDelta::seconds(1));
        assert!(!queue.is_over(now) && queue.is_over(now + TimeDelta::seconds(1)));
        queue.last_decision_at = now + TimeDelta::seconds(1);
        assert!(queue.is_over(now), "queue time never runs backwards");
    }

    #[test]
    fn places_have_no_gaps_and_scheduled_tokens_have_none() {
        let now = Instant::default();
        let mut queue = queue(QueueSettings::default());
        let user = UserId(Uuid::nil());
        assert_eq!(queue.issue(user, 1, now).unwrap().place, Some(1));
        queue.settings.sales_open_at = Some(now + TimeDelta::seconds(1));
        assert_eq!(queue.issue(user, 1, now).unwrap().place, None);
        assert_eq!(queue.issue(user, 1, now + TimeDelta::seconds(1)).unwrap().place, Some(2));
    }
}
