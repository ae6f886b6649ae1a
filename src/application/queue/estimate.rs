//! Estimates of waiting times, from the pace at which a queue's head has advanced.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Mutex, PoisonError},
};

use chrono::TimeDelta;

use crate::domain::{
    clock::Instant,
    id::ConcertId,
    queue::{AdmissionRate, EstimatedWait, Queue, QueueMode, QueueSettings, configured_rate},
};

/// The greatest age of a sample.
const HISTORY: TimeDelta = TimeDelta::minutes(5);

/// The weight of the configured rate, in observed seconds. It is at least that of three admission windows.
const PRIOR_SECONDS: f64 = 30.0;

/// The head of one queue over the last five minutes, as this instance has read it: at most one sample per second.
#[derive(Debug, Default)]
pub(super) struct PaceHistory {
    settings: Option<QueueSettings>,
    head_samples: VecDeque<(Instant, u32)>,
}

impl PaceHistory {
    /// Adds a reading of the queue, and returns the pace.
    ///
    /// The sample's time is the queue's last decision. Changed settings start a new history. So does an empty queue:
    /// its head follows arrivals, not the capacity of admission.
    pub(super) fn observe(&mut self, queue: &Queue) -> AdmissionPace {
        let settings = queue.settings;
        let is_empty = queue.head >= queue.last_place;
        if self.settings != Some(settings) || is_empty || settings.mode == QueueMode::Paused {
            self.head_samples.clear();
            self.settings = Some(settings);
        }
        let now = queue.last_decision_at;
        if self.head_samples.back().is_none_or(|(last, _)| now - *last >= TimeDelta::seconds(1)) {
            self.head_samples.push_back((now, queue.head));
            while self.head_samples.front().is_some_and(|(first, _)| now - *first > HISTORY) {
                self.head_samples.pop_front();
            }
        }
        let AdmissionRate { users, seconds } = configured_rate(&settings);
        let interval_seconds = if settings.mode == QueueMode::Open { 0 } else { seconds };
        if settings.mode == QueueMode::Paused {
            return AdmissionPace { places_per_second: None, interval_seconds };
        }
        let (first, head) = self.head_samples.front().copied().unwrap_or((now, queue.head));
        let observed_seconds = (now - first).max(TimeDelta::zero()).as_seconds_f64();
        let places_passed = f64::from(queue.head.saturating_sub(head));
        let prior = PRIOR_SECONDS.max(3.0 * f64::from(seconds));
        let configured_rate = f64::from(users) / f64::from(seconds.max(1));
        AdmissionPace {
            places_per_second: Some((configured_rate * prior + places_passed) / (prior + observed_seconds)),
            interval_seconds,
        }
    }
}

/// The histories of all queues, by concert.
#[derive(Debug, Default)]
pub(super) struct PaceHistories(Mutex<HashMap<ConcertId, PaceHistory>>);

impl PaceHistories {
    /// Adds a reading of a queue, and returns its pace.
    pub(super) fn observe(&self, queue: &Queue) -> AdmissionPace {
        let mut histories = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        histories.entry(queue.concert_id).or_default().observe(queue)
    }

    /// Removes the histories of all queues but these.
    pub(super) fn retain(&self, ids: &HashSet<ConcertId>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|id, _| ids.contains(id));
    }
}

/// The lowest bound of the estimate that the wait didn't exceed, as a metric label. It compares whole seconds, which is
/// the precision of estimates.
pub(super) fn kept_bound(estimate: EstimatedWait, waited: TimeDelta) -> &'static str {
    match u32::try_from(waited.num_seconds()).unwrap_or(u32::MAX) {
        seconds if seconds <= estimate.p50_seconds => "p50",
        seconds if seconds <= estimate.p90_seconds => "p90",
        _ => "beyond",
    }
}

/// The pace at which the head advances, which includes the places of absent users.
#[derive(Clone, Copy, Debug)]
pub(super) struct AdmissionPace {
    /// `None` while the queue is paused.
    places_per_second: Option<f64>,
    /// The length of the admission window in seconds; 0 in mode `OPEN`. All users of a window may be admitted at once.
    interval_seconds: u32,
}

impl AdmissionPace {
    /// The estimated wait of a position, in seconds; `None` while the queue is paused.
    ///
    /// The 90th percentile adds a quarter to the median, for a queue that slows down. It also adds a window, because
    /// the start of the current one isn't known.
    pub(super) fn wait(self, position: u32) -> Option<EstimatedWait> {
        let seconds = f64::from(position.saturating_sub(1)) / self.places_per_second?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
        let p50_seconds = seconds as u32;
        let p90_seconds = p50_seconds.saturating_add(p50_seconds / 4).saturating_add(self.interval_seconds);
        Some(EstimatedWait { p50_seconds, p90_seconds })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A queue that admits 20 users per second.
    fn queue(seconds: i64, head: u32) -> Queue {
        let now = Instant::default() + TimeDelta::seconds(seconds);
        Queue { head, last_place: 1_000_000, ..Queue::new(ConcertId(1), now) }
    }

    fn p50(pace: AdmissionPace, position: u32) -> u32 {
        let wait = pace.wait(position).unwrap();
        assert!(wait.p90_seconds >= wait.p50_seconds);
        wait.p50_seconds
    }

    #[test]
    fn without_history_the_estimate_follows_the_configured_rate() {
        let pace = PaceHistory::default().observe(&queue(0, 500));
        assert_eq!((p50(pace, 1), p50(pace, 201), p50(pace, 20_001)), (0, 10, 1_000));
        assert_eq!(pace.wait(201), Some(EstimatedWait { p50_seconds: 10, p90_seconds: 22 }));
    }

    #[test]
    fn an_estimate_follows_the_observed_pace() {
        for (places_per_second, at_least, at_most) in [(40, 500, 550), (10, 1_800, 2_000), (0, 9_000, 12_000)] {
            let mut history = PaceHistory::default();
            let mut pace = history.observe(&queue(0, 0));
            for second in 1..=600 {
                pace = history.observe(&queue(second, u32::try_from(second).unwrap() * places_per_second));
            }
            assert!(history.head_samples.len() <= 301, "five minutes");
            let wait = p50(pace, 20_001);
            assert!((at_least..=at_most).contains(&wait), "{places_per_second} a second: {wait}");
            let mut before = EstimatedWait { p50_seconds: 0, p90_seconds: 0 };
            for position in 1..2_000 {
                let wait = pace.wait(position).unwrap();
                assert!(wait.p50_seconds >= before.p50_seconds && wait.p90_seconds >= before.p90_seconds);
                before = wait;
            }
        }
    }

    #[test]
    fn an_estimate_is_compared_in_whole_seconds() {
        let estimate = EstimatedWait { p50_seconds: 10, p90_seconds: 22 };
        for (milliseconds, expected) in [
            (0, "p50"),
            (10_999, "p50"),
            (11_000, "p90"),
            (22_999, "p90"),
            (23_000, "beyond"),
            (i64::from(u32::MAX) * 2_000, "beyond"),
        ] {
            assert_eq!(kept_bound(estimate, TimeDelta::milliseconds(milliseconds)), expected, "{milliseconds}");
        }
    }

    #[test]
    fn histories_of_empty_queues_are_forgotten() {
        let paces = PaceHistories::default();
        paces.observe(&queue(0, 0));
        paces.retain(&[ConcertId(1)].into());
        assert_eq!(paces.0.lock().unwrap().len(), 1);
        paces.retain(&HashSet::new());
        assert!(paces.0.lock().unwrap().is_empty());
    }

    #[test]
    fn changed_settings_and_an_empty_queue_start_a_new_history() {
        let mut history = PaceHistory::default();
        history.observe(&queue(0, 0));
        assert!(p50(history.observe(&queue(100, 0)), 20_001) > 2_000);
        let empty = queue(101, 1_000_000);
        assert_eq!(p50(history.observe(&empty), 20_001), 1_000);
        history.observe(&queue(102, 0));
        history.observe(&queue(200, 0));
        let mut paused = queue(201, 0);
        paused.settings.mode = QueueMode::Paused;
        assert_eq!(history.observe(&paused).wait(5), None);
        assert_eq!(p50(history.observe(&queue(202, 0)), 20_001), 1_000);
    }
}
