//! The inbox of one kind of lane: the commands that wait, and the state of its batches.

use std::collections::{HashSet, VecDeque};

use super::work::LaneSettings;

/// The number of waiting commands from which a batch starts beside a running one. With fewer, a transaction's fixed
/// cost exceeds the gain of concurrency, so they wait and make the next batch larger.
const PARALLEL_BATCH_THRESHOLD: usize = 16;

/// The inbox as plain data: its owner serializes the changes and runs the batches.
pub(super) struct Inbox<T> {
    settings: LaneSettings,
    /// Oldest first, each with its conflict key.
    waiting: VecDeque<(Option<u64>, T)>,
    /// The conflict keys of unfinished batches.
    active_conflict_keys: HashSet<u64>,
    /// The number of waiting items without an active conflict key.
    ready_count: usize,
    /// Whether a batch has started and not yet taken its items: items that arrive meanwhile join it.
    has_forming_batch: bool,
    /// Batches that have started and not released their slot.
    running_batches: usize,
    /// Batches that have started and not finished.
    unfinished_batches: usize,
}

impl<T> Inbox<T> {
    pub(super) fn new(settings: LaneSettings) -> Self {
        Self {
            settings,
            waiting: VecDeque::new(),
            active_conflict_keys: HashSet::new(),
            ready_count: 0,
            has_forming_batch: false,
            running_batches: 0,
            unfinished_batches: 0,
        }
    }

    /// Adds an item, unless the inbox is full. Returns whether it was added.
    pub(super) fn push(&mut self, conflict_key: Option<u64>, item: T) -> bool {
        let has_room = self.waiting.len() < self.settings.inbox_capacity;
        if has_room {
            self.ready_count += usize::from(self.has_no_conflict(conflict_key));
            self.waiting.push_back((conflict_key, item));
        }
        has_room
    }

    /// Starts a batch if one is due, and returns whether it did. Then [`take_batch`](Self::take_batch),
    /// [`release_slot`](Self::release_slot) and [`finish_batch`](Self::finish_batch) have to follow.
    pub(super) fn try_start_batch(&mut self) -> bool {
        let LaneSettings { max_parallel_batches, batch_limit, .. } = self.settings;
        let threshold = if self.running_batches == 0 { 1 } else { PARALLEL_BATCH_THRESHOLD.min(batch_limit) };
        let has_slot = !self.has_forming_batch
            && self.running_batches < max_parallel_batches
            && self.unfinished_batches <= max_parallel_batches;
        let starts = has_slot && self.ready_count >= threshold;
        if starts {
            self.has_forming_batch = true;
            self.running_batches += 1;
            self.unfinished_batches += 1;
        }
        starts
    }

    /// Removes the items of a batch, and returns them with their conflict keys, which are active until the batch
    /// finishes. Items with the same conflict key stay in order of arrival.
    pub(super) fn take_batch(&mut self) -> (Vec<T>, HashSet<u64>) {
        self.has_forming_batch = false;
        let (mut batch, mut conflict_keys) = (Vec::new(), HashSet::new());
        for (key, item) in std::mem::take(&mut self.waiting) {
            if batch.len() < self.settings.batch_limit && self.has_no_conflict(key) {
                batch.push(item);
                conflict_keys.extend(key);
            } else {
                self.waiting.push_back((key, item));
            }
        }
        self.active_conflict_keys.extend(&conflict_keys);
        self.recount_ready();
        (batch, conflict_keys)
    }

    /// Releases a batch's slot, so that the next batch may start: this one uses no CPU time for now.
    pub(super) fn release_slot(&mut self) {
        self.running_batches -= 1;
    }

    /// Finishes a batch, after its commit or without one.
    pub(super) fn finish_batch(&mut self, conflict_keys: &HashSet<u64>) {
        self.unfinished_batches -= 1;
        self.active_conflict_keys.retain(|key| !conflict_keys.contains(key));
        self.recount_ready();
    }

    fn has_no_conflict(&self, conflict_key: Option<u64>) -> bool {
        conflict_key.is_none_or(|key| !self.active_conflict_keys.contains(&key))
    }

    fn recount_ready(&mut self) {
        self.ready_count = self.waiting.iter().filter(|(key, _)| self.has_no_conflict(*key)).count();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn inbox(max_parallel_batches: usize, batch_limit: usize, inbox_capacity: usize) -> Inbox<usize> {
        Inbox::new(LaneSettings {
            max_parallel_batches,
            batch_limit,
            inbox_capacity,
            slot_timeout: Duration::MAX,
            transaction_timeout: Duration::MAX,
        })
    }

    fn fill(inbox: &mut Inbox<usize>, numbers: std::ops::Range<usize>, conflict_key: Option<u64>) {
        assert!(numbers.into_iter().all(|number| inbox.push(conflict_key, number)));
    }

    #[test]
    fn commands_that_arrive_while_a_batch_forms_join_it() {
        let mut inbox = inbox(2, 3, 9);
        assert!(!inbox.try_start_batch(), "nothing waits");
        fill(&mut inbox, 0..1, None);
        assert!(inbox.try_start_batch());
        fill(&mut inbox, 1..4, None);
        assert!(!inbox.try_start_batch(), "a batch is forming");
        assert_eq!(inbox.take_batch().0, [0, 1, 2]);
    }

    #[test]
    fn a_second_batch_starts_at_the_threshold_or_when_the_first_releases_its_slot() {
        let mut inbox = inbox(2, 128, 999);
        fill(&mut inbox, 0..1, None);
        assert!(inbox.try_start_batch());
        inbox.take_batch();
        fill(&mut inbox, 1..PARALLEL_BATCH_THRESHOLD, None);
        assert!(!inbox.try_start_batch(), "one below the threshold");
        inbox.release_slot();
        assert!(inbox.try_start_batch());
        assert_eq!(inbox.take_batch().0.len(), PARALLEL_BATCH_THRESHOLD - 1);
        fill(&mut inbox, 0..PARALLEL_BATCH_THRESHOLD, None);
        assert!(inbox.try_start_batch(), "at the threshold");
        inbox.take_batch();
        fill(&mut inbox, 0..PARALLEL_BATCH_THRESHOLD, None);
        assert!(!inbox.try_start_batch(), "two are running");
        inbox.release_slot();
        assert!(!inbox.try_start_batch(), "three are unfinished");
        inbox.finish_batch(&HashSet::new());
        assert!(inbox.try_start_batch());
    }

    #[test]
    fn a_batch_limit_of_one_needs_no_threshold() {
        let mut inbox = inbox(2, 1, 9);
        fill(&mut inbox, 0..3, None);
        for number in 0..2 {
            assert!(inbox.try_start_batch());
            assert_eq!(inbox.take_batch().0, [number]);
        }
        assert!(!inbox.try_start_batch(), "two are running");
    }

    #[test]
    fn commands_with_one_conflict_key_never_run_concurrently() {
        let mut inbox = inbox(2, 2, 9);
        fill(&mut inbox, 0..3, Some(7));
        fill(&mut inbox, 3..4, Some(8));
        assert!(inbox.try_start_batch());
        let (batch, first) = inbox.take_batch();
        assert_eq!(batch, [0, 1]);
        fill(&mut inbox, 4..5, Some(7));
        inbox.release_slot();
        assert!(inbox.try_start_batch());
        let (batch, second) = inbox.take_batch();
        assert_eq!(batch, [3], "the other ones conflict with the first batch");
        inbox.release_slot();
        inbox.finish_batch(&second);
        assert!(!inbox.try_start_batch(), "the first is unfinished");
        inbox.finish_batch(&first);
        assert!(inbox.try_start_batch());
        assert_eq!(inbox.take_batch().0, [2, 4], "in order of arrival");
    }

    #[test]
    fn a_full_inbox_refuses_commands() {
        let mut inbox = inbox(1, 9, 2);
        fill(&mut inbox, 0..2, None);
        assert!(!inbox.push(None, 2));
        assert!(inbox.try_start_batch());
        inbox.take_batch();
        assert!(inbox.push(None, 3));
    }
}
