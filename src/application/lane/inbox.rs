//! What waits for the lanes of one kind, and what is under way there.

use std::collections::{HashSet, VecDeque};

use super::LaneSettings;

/// How many must wait for a transaction to begin beside another one of its kind. With fewer, what a transaction takes
/// whatever its size weighs more than what runs side by side: they wait, and make the next batch larger.
const CROWD: usize = 16;

/// Plain data: whoever owns it sees to it that one changes it at a time, and does what it says.
pub(super) struct Inbox<T> {
    settings: LaneSettings,
    /// In order of arrival, each with what it must have for itself.
    waiting: VecDeque<(Option<u64>, T)>,
    /// What the batches under way have for themselves.
    taken: HashSet<u64>,
    /// How many of the waiting want nothing that is taken.
    ready: usize,
    /// Whether a batch has begun and takes whoever comes along.
    gathering: bool,
    /// Batches that have begun, and haven't given way.
    working: usize,
    /// Batches that have begun, and haven't ended.
    under_way: usize,
}

impl<T> Inbox<T> {
    pub(super) fn new(settings: LaneSettings) -> Self {
        Self {
            settings,
            waiting: VecDeque::new(),
            taken: HashSet::new(),
            ready: 0,
            gathering: false,
            working: 0,
            under_way: 0,
        }
    }

    /// Takes one more in; tells whether there was room.
    pub(super) fn push(&mut self, alone: Option<u64>, item: T) -> bool {
        let has_room = self.waiting.len() < self.settings.inbox;
        if has_room {
            self.ready += usize::from(self.is_free(alone));
            self.waiting.push_back((alone, item));
        }
        has_room
    }

    /// Whether a batch is to begin now. It has begun then: [`gather`](Self::gather), [`gives_way`](Self::gives_way) and
    /// [`ends`](Self::ends) are to follow.
    pub(super) fn begins(&mut self) -> bool {
        let LaneSettings { lanes, batch_limit, .. } = self.settings;
        let crowd = if self.working == 0 { 1 } else { CROWD.min(batch_limit) };
        let has_place = !self.gathering && self.working < lanes && self.under_way <= lanes;
        let begins = has_place && self.ready >= crowd;
        if begins {
            self.gathering = true;
            self.working += 1;
            self.under_way += 1;
        }
        begins
    }

    /// Takes out a batch, and what it has for itself until it ends. Of those who want the same, the first comes first.
    pub(super) fn gather(&mut self) -> (Vec<T>, HashSet<u64>) {
        self.gathering = false;
        let (mut batch, mut alone) = (Vec::new(), HashSet::new());
        for (wanted, item) in std::mem::take(&mut self.waiting) {
            if batch.len() < self.settings.batch_limit && self.is_free(wanted) {
                batch.push(item);
                alone.extend(wanted);
            } else {
                self.waiting.push_back((wanted, item));
            }
        }
        self.taken.extend(&alone);
        self.count_ready();
        (batch, alone)
    }

    /// A batch needs no core for now: the next one may begin.
    pub(super) fn gives_way(&mut self) {
        self.working -= 1;
    }

    /// A batch has ended, after its commit or instead of it, with what it had for itself.
    pub(super) fn ends(&mut self, alone: &HashSet<u64>) {
        self.under_way -= 1;
        self.taken.retain(|taken| !alone.contains(taken));
        self.count_ready();
    }

    fn is_free(&self, alone: Option<u64>) -> bool {
        alone.is_none_or(|alone| !self.taken.contains(&alone))
    }

    fn count_ready(&mut self) {
        self.ready = self.waiting.iter().filter(|(alone, _)| self.is_free(*alone)).count();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn inbox(lanes: usize, batch_limit: usize, inbox: usize) -> Inbox<usize> {
        Inbox::new(LaneSettings { lanes, batch_limit, inbox, patience: Duration::MAX, transaction: Duration::MAX })
    }

    fn fill(inbox: &mut Inbox<usize>, numbers: std::ops::Range<usize>, alone: Option<u64>) {
        assert!(numbers.into_iter().all(|number| inbox.push(alone, number)));
    }

    #[test]
    fn whoever_comes_while_a_batch_gathers_comes_along() {
        let mut inbox = inbox(2, 3, 9);
        assert!(!inbox.begins(), "for nobody");
        fill(&mut inbox, 0..1, None);
        assert!(inbox.begins());
        fill(&mut inbox, 1..4, None);
        assert!(!inbox.begins(), "one gathers");
        assert_eq!(inbox.gather().0, [0, 1, 2]);
    }

    #[test]
    fn a_second_batch_begins_for_a_crowd_or_when_the_first_gives_way() {
        let mut inbox = inbox(2, 128, 999);
        fill(&mut inbox, 0..1, None);
        assert!(inbox.begins());
        inbox.gather();
        fill(&mut inbox, 1..CROWD, None);
        assert!(!inbox.begins(), "one less than a crowd");
        inbox.gives_way();
        assert!(inbox.begins());
        assert_eq!(inbox.gather().0.len(), CROWD - 1);
        fill(&mut inbox, 0..CROWD, None);
        assert!(inbox.begins(), "a crowd");
        inbox.gather();
        fill(&mut inbox, 0..CROWD, None);
        assert!(!inbox.begins(), "two work");
        inbox.gives_way();
        assert!(!inbox.begins(), "three haven't ended");
        inbox.ends(&HashSet::new());
        assert!(inbox.begins());
    }

    #[test]
    fn batches_of_one_need_no_crowd() {
        let mut inbox = inbox(2, 1, 9);
        fill(&mut inbox, 0..3, None);
        for number in 0..2 {
            assert!(inbox.begins());
            assert_eq!(inbox.gather().0, [number]);
        }
        assert!(!inbox.begins(), "two work");
    }

    #[test]
    fn who_want_the_same_for_themselves_come_one_after_the_other() {
        let mut inbox = inbox(2, 2, 9);
        fill(&mut inbox, 0..3, Some(7));
        fill(&mut inbox, 3..4, Some(8));
        assert!(inbox.begins());
        let (batch, alone) = inbox.gather();
        assert_eq!(batch, [0, 1]);
        fill(&mut inbox, 4..5, Some(7));
        inbox.gives_way();
        assert!(inbox.begins());
        let (batch, other) = inbox.gather();
        assert_eq!(batch, [3], "of those, only one may go");
        inbox.gives_way();
        inbox.ends(&other);
        assert!(!inbox.begins(), "the first hasn't ended");
        inbox.ends(&alone);
        assert!(inbox.begins());
        assert_eq!(inbox.gather().0, [2, 4], "in order of arrival");
    }

    #[test]
    fn what_is_full_takes_nobody_in() {
        let mut inbox = inbox(1, 9, 2);
        fill(&mut inbox, 0..2, None);
        assert!(!inbox.push(None, 2));
        assert!(inbox.begins());
        inbox.gather();
        assert!(inbox.push(None, 3));
    }
}
