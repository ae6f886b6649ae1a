//! A queue before, during and after its draw: its opening, its seed, and the places of its entrants.

use super::{Draw, DrawMade, DrawSeed, Queue, QueueSettings, QueueToken, Seed, TokenState};
use crate::domain::{clock::Instant, id::QueueTokenId, refusal::Refusal};

impl Queue {
    /// Changes the settings. The first opening fixes the draw's seed: `prepare` makes the draw.
    ///
    /// Once the draw is made its opening is fixed, because clients verify the draw with it. `None`, or the same opening
    /// at the millisecond precision of the API, keeps it.
    ///
    /// # Errors
    ///
    /// [`Refusal::SalesAlreadyOpen`] for another opening once the draw is made. Then no setting changes.
    pub fn set(&mut self, settings: QueueSettings, prepare: impl FnOnce() -> Draw) -> Result<(), Refusal> {
        let sales_open_at = match (settings.sales_open_at, self.settings.sales_open_at) {
            _ if !self.is_drawn() => settings.sales_open_at,
            // An older version allowed moving an opening after its draw. If such an opening hasn't passed, `None`
            // removes it.
            (None, current) => current.filter(|opening| *opening <= self.last_decision_at),
            (Some(requested), Some(current)) if requested.timestamp_millis() == current.timestamp_millis() => {
                Some(current)
            }
            (Some(_), _) => return Err(Refusal::SalesAlreadyOpen),
        };
        if self.draw.is_none() && sales_open_at.is_some() {
            self.draw = Some(prepare());
        }
        self.settings = QueueSettings { sales_open_at, ..settings };
        Ok(())
    }

    /// Whether the draw is made. From then on new tokens get places at once.
    pub fn is_drawn(&self) -> bool {
        self.draw.is_some_and(|draw| draw.made.is_some())
    }

    /// Whether new tokens become entrants of a pending draw.
    pub fn awaits_draw(&self, now: Instant) -> bool {
        self.draw.is_some() && !self.is_drawn() && !self.settings.is_open(now)
    }

    /// Whether the draw must be made now, before another token gets a place.
    pub fn is_draw_due(&self, now: Instant) -> bool {
        self.settings.is_open(now) && self.draw.is_some_and(|draw| draw.made.is_none())
    }

    /// Makes the draw: publishes its seed and reserves the places of `entrant_count` entrants.
    pub fn make_draw(&mut self, seed: Seed, entrant_count: u32, now: Instant) {
        let (base, last_number) = (self.last_place, self.last_number);
        if let Some(draw) = &mut self.draw {
            draw.seed = DrawSeed::Revealed(seed);
            draw.made = Some(DrawMade { drawn_at: now, entrant_count, base, last_number, placed: 0 });
            self.last_place += entrant_count;
        }
    }

    /// The result of the draw, while places are still to be written.
    pub fn pending_draw(&self) -> Option<DrawMade> {
        self.draw.and_then(|draw| draw.made).filter(DrawMade::is_pending)
    }

    /// Records that the next `count` entrants have their places.
    pub fn record_placed(&mut self, count: u32) {
        if let Some(made) = self.draw.as_mut().and_then(|draw| draw.made.as_mut()) {
            made.placed = (made.placed + count).min(made.entrant_count);
        }
    }

    /// The last place that may be admitted. Tokens from after the draw wait until all entrants have their places.
    pub fn last_admissible_place(&self) -> u32 {
        self.pending_draw().map_or(u32::MAX, |made| made.base + made.placed)
    }

    /// The number of drawn entrants whose places aren't written yet; 0 before the draw.
    pub fn unplaced_count(&self) -> u32 {
        self.pending_draw().map_or(0, |made| made.entrant_count - made.placed)
    }

    /// Revives a token whose user left before the draw. The token's text stays the same, and so does its identity in
    /// the draw.
    #[must_use]
    pub fn revive(&mut self, token: QueueToken, now: Instant) -> QueueToken {
        self.live_bound = self.live_bound.saturating_add(1);
        self.ended_number = 0;
        self.last_decision_at = self.monotonic_now(now);
        QueueToken { state: TokenState::Scheduled, ..token }
    }

    /// The token of a user who leaves. It is no longer an entrant if the draw isn't made; an entrant of a draw that was
    /// made stays one.
    #[must_use]
    pub fn remove_entrant(&self, token: QueueToken) -> QueueToken {
        let made = self.draw.and_then(|draw| draw.made);
        let drawn = made.is_some_and(|made| QueueTokenId::new(self.concert_id, made.last_number) >= Some(token.id));
        if token.place.is_none() && !drawn { QueueToken { entrant: None, ..token } } else { token }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use uuid::Uuid;

    use super::{
        super::{EndReason, Entrant},
        *,
    };
    use crate::domain::id::{ConcertId, UserId};

    fn opening() -> Instant {
        Instant::default() + TimeDelta::seconds(60)
    }

    fn scheduled(queue: &mut Queue, number: u128) -> QueueToken {
        let token = queue.issue(UserId(Uuid::from_u128(number)), 1, queue.last_decision_at).unwrap();
        QueueToken { entrant: Some(Entrant::of(&number.to_string())), ..token }
    }

    /// A pending draw, with a seed of this byte repeated.
    fn draw(byte: u8) -> Draw {
        let seed = Seed::new([byte; 32]);
        Draw { commitment: seed.commitment(), seed: DrawSeed::Revealed(seed), made: None }
    }

    fn queue() -> Queue {
        let mut queue = Queue::new(ConcertId(1), Instant::default());
        let settings = QueueSettings { sales_open_at: Some(opening()), ..QueueSettings::default() };
        queue.set(settings, || draw(1)).unwrap();
        queue
    }

    fn make(queue: &mut Queue, entrants: u32) {
        queue.make_draw(Seed::new([1; 32]), entrants, opening());
        queue.last_decision_at = opening();
    }

    #[test]
    fn moving_the_opening_keeps_the_seed() {
        let mut queue = queue();
        assert_eq!(queue.draw, Some(draw(1)));
        for sales_open_at in [Some(opening() + TimeDelta::hours(1)), None, Some(opening())] {
            queue.set(QueueSettings { sales_open_at, ..QueueSettings::default() }, || draw(2)).unwrap();
            assert_eq!((queue.draw, queue.settings.sales_open_at), (Some(draw(1)), sales_open_at));
        }
    }

    #[test]
    fn a_draw_reserves_the_places_after_the_last_assigned_one() {
        let mut queue = queue();
        queue.last_place = 4;
        scheduled(&mut queue, 1);
        assert!(!queue.is_draw_due(opening() - TimeDelta::microseconds(1)));
        assert!(queue.is_draw_due(opening()) && queue.awaits_draw(opening() - TimeDelta::microseconds(1)));
        make(&mut queue, 3);
        assert!(!queue.is_draw_due(opening()) && !queue.awaits_draw(opening()));
        assert_eq!((queue.last_place, queue.unplaced_count(), queue.last_admissible_place()), (7, 3, 4));
        queue.record_placed(2);
        assert_eq!((queue.unplaced_count(), queue.last_admissible_place()), (1, 6));
        assert_eq!(queue.issue(UserId(Uuid::nil()), 1, opening()).unwrap().place, Some(8));
        queue.record_placed(1);
        assert_eq!((queue.pending_draw(), queue.unplaced_count(), queue.last_admissible_place()), (None, 0, u32::MAX));
    }

    #[test]
    fn the_head_of_an_ended_queue_stops_at_places_that_a_draw_has_still_to_write() {
        let mut queue = queue();
        scheduled(&mut queue, 1);
        make(&mut queue, 2);
        queue.record_placed(1);
        queue.mark_ended();
        assert_eq!((queue.ended_number, queue.head), (1, 0));
        queue.record_placed(1);
        queue.mark_ended();
        assert_eq!((queue.head, queue.last_place), (2, 2));
    }

    #[test]
    fn the_opening_is_fixed_once_its_draw_is_made() {
        for entrants in [0, 1] {
            let mut queue = queue();
            make(&mut queue, entrants);
            let made = queue.draw;
            let shown = opening() + TimeDelta::microseconds(1);
            for repeated in [Some(opening()), Some(shown), None] {
                queue.set(QueueSettings { sales_open_at: repeated, ..queue.settings }, || draw(2)).unwrap();
                assert_eq!((queue.draw, queue.settings.sales_open_at), (made, Some(opening())), "{repeated:?}");
            }
            for moved in [opening() + TimeDelta::milliseconds(1), opening() - TimeDelta::hours(1)] {
                let settings = QueueSettings { sales_open_at: Some(moved), max_active: 7, ..queue.settings };
                assert_eq!(queue.set(settings, || draw(2)), Err(Refusal::SalesAlreadyOpen));
            }
            assert_eq!(
                queue.settings.max_active,
                QueueSettings::default().max_active,
                "no setting of a refused change applies"
            );
        }
    }

    #[test]
    fn a_token_left_before_the_draw_is_revived_unchanged() {
        let mut queue = queue();
        let token = scheduled(&mut queue, 1);
        let left = QueueToken { state: TokenState::Ended(EndReason::Left), ..queue.remove_entrant(token) };
        let back = queue.revive(left, opening());
        assert_eq!(back, QueueToken { entrant: None, ..token });
        assert_eq!(back.claims(), token.claims(), "the token's text stays");
    }

    #[test]
    fn a_token_left_before_the_draw_is_not_an_entrant() {
        let mut queue = queue();
        let early = scheduled(&mut queue, 1);
        assert_eq!(queue.remove_entrant(early).entrant, None);
        make(&mut queue, 1);
        assert_eq!(queue.remove_entrant(early), early, "an entrant of the draw without a place stays one");
    }
}
