//! What this process knows of one performance's seats: the claims as they were last read, the map that they make, and
//! what has changed lately, for those who follow it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use chrono::{DateTime, TimeDelta};
use tokio::sync::broadcast;

use super::{seat_layout::Layout, seat_map::SeatMap};
use crate::domain::{
    booking::ClaimDeadline,
    clock::Instant,
    concert::SeatStatus,
    id::{PerformanceId, SeatId},
};

/// How far a reading goes back behind the one before. A claim carries the time of the instance that wrote it, taken
/// before its transaction began: that instance's clock may be some seconds behind, and the transaction may have waited.
const OVERLAP: TimeDelta = TimeDelta::seconds(30);

/// How often all claims are read, so that a clock that differs more than it may hides nothing for longer.
const WHOLE_EVERY: TimeDelta = TimeDelta::minutes(1);

/// How many changes are kept: whoever is further behind is told anew.
const HISTORY: usize = 64;

/// Up to which age a version of another instance is taken for what a viewer has.
const RESUMED_AGE: TimeDelta = TimeDelta::minutes(10);

/// What became of some seats from one version of a map to another.
#[derive(Debug)]
pub struct SeatChanges {
    since: i64,
    version: i64,
    changed: Vec<(SeatId, SeatStatus)>,
    presentation: OnceLock<Arc<Vec<u8>>>,
}

impl SeatChanges {
    fn new(since: i64, version: i64, changed: Vec<(SeatId, SeatStatus)>) -> Self {
        Self { since, version, changed, presentation: OnceLock::new() }
    }

    /// The version of the map once they are applied.
    pub fn version(&self) -> i64 {
        self.version
    }

    /// The seats and what they are now.
    pub fn changed(&self) -> &[(SeatId, SeatStatus)] {
        &self.changed
    }

    /// The bytes that present them: made by `present` the first time, for all who follow.
    pub fn presented(&self, present: impl FnOnce(&Self) -> Vec<u8>) -> Arc<Vec<u8>> {
        Arc::clone(self.presentation.get_or_init(|| Arc::new(present(self))))
    }
}

/// What a viewer is told.
#[derive(Clone)]
pub enum SeatNews {
    /// Everything.
    Snapshot(Arc<SeatMap>),
    /// What has changed since.
    Changes(Arc<SeatChanges>),
}

impl SeatNews {
    /// Which version the viewer has then.
    pub fn version(&self) -> i64 {
        match self {
            Self::Snapshot(map) => map.version(),
            Self::Changes(changes) => changes.version,
        }
    }
}

/// One performance's seats. Readings of it must not overlap.
pub(super) struct Board {
    layout: Arc<Layout>,
    known: Mutex<Known>,
    changes: broadcast::Sender<Arc<SeatChanges>>,
}

#[derive(Default)]
struct Known {
    /// By the position of their seats.
    claims: Vec<Option<ClaimDeadline>>,
    read_at: Option<Instant>,
    whole_at: Option<Instant>,
    map: Option<Arc<SeatMap>>,
    /// How many changes of this process the last reading came after.
    changes: u64,
    /// Oldest first; each begins where the one before ended.
    history: VecDeque<Arc<SeatChanges>>,
    /// What was told last to somebody who came with a version of another instance.
    resumed: Option<Arc<SeatChanges>>,
    is_watched: bool,
}

impl Board {
    pub(super) fn new(layout: Layout) -> Self {
        let known = Known { claims: vec![None; layout.len()], ..Known::default() };
        Self { layout: Arc::new(layout), known: Mutex::new(known), changes: broadcast::Sender::new(HISTORY) }
    }

    /// About how many bytes it takes, with two presentations of its map.
    pub(super) fn size(&self) -> usize {
        3 * self.layout.size() + self.layout.len() * size_of::<Option<ClaimDeadline>>()
    }

    pub(super) fn performance_id(&self) -> PerformanceId {
        self.layout.performance_id()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From which instant on claims must be read at `now`; `None`: all of them.
    pub(super) fn since(&self, now: Instant) -> Option<Instant> {
        let known = self.lock();
        let is_whole = known.whole_at.is_some_and(|whole_at| (now - whole_at).abs() < WHOLE_EVERY);
        known.read_at.filter(|_| is_whole).map(|read_at| read_at.min(now) - OVERLAP)
    }

    /// Takes in claims that were read at `now`, by what [`since`](Self::since) said, and tells those who follow what
    /// has changed. While nothing has, the map is the same one.
    pub(super) fn learn(&self, claims: &[ClaimDeadline], since: Option<Instant>, now: Instant) -> Arc<SeatMap> {
        let mut known = self.lock();
        let is_new = known.take_in(&self.layout, claims);
        known.read_at = Some(now);
        if since.is_none() {
            known.whole_at = Some(now);
        }
        let before = known.map.clone();
        if let Some(map) = before.as_ref().filter(|map| !is_new && map.holds_at(now)) {
            return Arc::clone(map);
        }
        let map = Arc::new(SeatMap::new(Arc::clone(&self.layout), &known.claims, now, before.as_deref()));
        known.map = Some(Arc::clone(&map));
        if let Some(before) = before.filter(|before| before.version() != map.version()) {
            let changes = Arc::new(SeatChanges::new(before.version(), map.version(), map.changes_since(&before)));
            if known.history.len() == HISTORY {
                known.history.pop_front();
            }
            known.history.push_back(Arc::clone(&changes));
            if !changes.changed.is_empty() {
                // Without anybody who follows it is told to nobody.
                let _ = self.changes.send(changes);
            }
        }
        map
    }

    /// Notes how many changes this process had made before the last reading began.
    pub(super) fn keep(&self, changes: u64) {
        self.lock().changes = changes;
    }

    /// The map as it was read last, if that is less than `max_age` ago, this process has made no change since, and no
    /// hold has ended.
    pub(super) fn kept(&self, changes: u64, now: Instant, max_age: TimeDelta) -> Option<Arc<SeatMap>> {
        let known = self.lock();
        let is_recent = known.read_at.is_some_and(|read_at| (now - read_at).abs() < max_age);
        known.map.as_ref().filter(|map| is_recent && known.changes == changes && map.holds_at(now)).cloned()
    }

    /// Begins to follow: what a viewer who has version `told` must hear first, if anything, and where the rest comes
    /// from. `None` before the first reading.
    pub(super) fn follow(&self, told: Option<i64>, now: Instant) -> Option<Following> {
        let mut known = self.lock();
        let map = Arc::clone(known.map.as_ref()?);
        let first = match told {
            None => Some(SeatNews::Snapshot(map)),
            Some(told) => known.news_since(told, map, now),
        };
        Some(Following { first, changes: self.changes.subscribe() })
    }

    /// Whether somebody must begin to read for those who follow; asked by one of them.
    pub(super) fn begin_watch(&self) -> bool {
        !std::mem::replace(&mut self.lock().is_watched, true)
    }

    /// Whether nobody follows any more. Under the lock nobody can begin in between.
    pub(super) fn end_watch(&self) -> bool {
        let mut known = self.lock();
        let is_over = self.changes.receiver_count() == 0;
        known.is_watched = !is_over;
        is_over
    }

    /// Completes once nobody follows.
    pub(super) async fn unfollowed(&self) {
        self.changes.closed().await;
    }
}

/// Where somebody begins to follow.
pub(super) struct Following {
    pub(super) first: Option<SeatNews>,
    pub(super) changes: broadcast::Receiver<Arc<SeatChanges>>,
}

impl Known {
    /// Whether there was anything new in it.
    fn take_in(&mut self, layout: &Layout, claims: &[ClaimDeadline]) -> bool {
        let mut is_new = false;
        for claim in claims {
            let slot = layout.position(claim.seat_id).and_then(|position| self.claims.get_mut(position));
            if let Some(slot) = slot.filter(|slot| slot.as_ref() != Some(claim)) {
                *slot = Some(*claim);
                is_new = true;
            }
        }
        is_new
    }

    /// What somebody who has version `told` must hear to have this map, which may be nothing.
    fn news_since(&mut self, told: i64, map: Arc<SeatMap>, now: Instant) -> Option<SeatNews> {
        let version = map.version();
        if told == version {
            return None;
        }
        let seats = if let Some(index) = self.history.iter().position(|changes| changes.since == told) {
            let missed = self.history.iter().skip(index).flat_map(|changes| &changes.changed);
            map.now_of(missed.map(|(seat, _)| *seat))
        } else {
            match self.resumed.as_ref() {
                Some(resumed) if (resumed.since, resumed.version) == (told, version) => {
                    return Some(SeatNews::Changes(Arc::clone(resumed)));
                }
                _ => {}
            }
            let Some(since) = instant_of(told).filter(|since| (now - RESUMED_AGE..now + OVERLAP).contains(since))
            else {
                return Some(SeatNews::Snapshot(map));
            };
            map.now_of(self.changed_between(since, now))
        };
        let changes = Arc::new(SeatChanges::new(told, version, seats));
        self.resumed = Some(Arc::clone(&changes));
        (!changes.changed.is_empty()).then_some(SeatNews::Changes(changes))
    }

    /// The seats that may not be what they were on another instance when it took `instant` for the latest change:
    /// those that were written since, and those whose holds have ended since, with what clocks may differ.
    fn changed_between(&self, instant: Instant, now: Instant) -> impl Iterator<Item = SeatId> {
        let since = instant - OVERLAP;
        let ended = since..=now + OVERLAP;
        let is_changed = move |claim: &&ClaimDeadline| {
            claim.changed_at >= since || claim.held_until.is_some_and(|deadline| ended.contains(&deadline))
        };
        self.claims.iter().flatten().filter(is_changed).map(|claim| claim.seat_id)
    }
}

/// The version of a map whose latest change was at this instant: its millisecond, and three digits by which states that
/// differ are told apart.
pub(super) fn version_of(latest: Instant, state: u64) -> i64 {
    let digits = i64::try_from(state % 1_000).unwrap_or(0);
    latest.timestamp_millis().saturating_mul(1_000).saturating_add(digits)
}

fn instant_of(version: i64) -> Option<Instant> {
    DateTime::from_timestamp_micros(version)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{concert::Seat, points::Points};

    fn board(seats: u64) -> Board {
        let seat = |id| Seat {
            id: SeatId(id),
            performance_id: PerformanceId(1),
            section: "A".to_owned(),
            row: "A".to_owned(),
            row_rank: 1,
            number: 1,
            grade: "R".to_owned(),
            price: Points::ZERO,
        };
        let seats: Vec<_> = (1..=seats).map(seat).collect();
        Board::new(Layout::new(PerformanceId(1), &seats, |_, _| {}))
    }

    fn at(seconds: i64) -> Instant {
        DateTime::from_timestamp_millis(1_000_000_000_000).unwrap() + TimeDelta::seconds(seconds)
    }

    fn held(seat: u64, changed_at: Instant, until: Instant) -> ClaimDeadline {
        ClaimDeadline { seat_id: SeatId(seat), held_until: Some(until), changed_at }
    }

    fn seats_of(following: &Following) -> Option<Vec<u64>> {
        match following.first.as_ref()? {
            SeatNews::Snapshot(_) => Some(vec![]),
            SeatNews::Changes(changes) => Some(changes.changed().iter().map(|(seat, _)| seat.0).collect()),
        }
    }

    #[test]
    fn all_claims_are_read_first_and_each_minute_and_else_those_of_late() {
        let board = board(1);
        assert_eq!(board.since(at(0)), None);
        board.learn(&[], None, at(0));
        assert_eq!(board.since(at(59)), Some(at(0) - OVERLAP));
        board.learn(&[], board.since(at(59)), at(59));
        assert_eq!(board.since(at(60)), None);
        assert_eq!(board.since(at(50)), Some(at(50) - OVERLAP), "a clock that was set back");
    }

    #[test]
    fn a_map_is_the_same_until_a_claim_or_the_clock_changes_it() {
        let board = board(2);
        let first = board.learn(&[held(1, at(0), at(10))], None, at(0));
        let same = |map: &Arc<SeatMap>| Arc::ptr_eq(map, &first);
        assert!(same(&board.learn(&[], Some(at(0)), at(9))));
        assert!(same(&board.learn(&[held(1, at(0), at(10))], Some(at(0)), at(9))), "read twice");
        let over = board.learn(&[], Some(at(0)), at(10));
        assert!(!same(&over) && over.version() > first.version());
    }

    #[test]
    fn a_map_is_kept_for_a_moment_unless_this_process_or_the_clock_changes_it() {
        let board = board(1);
        let millisecond = TimeDelta::milliseconds(1);
        let is_kept = |changes, now| board.kept(changes, now, millisecond * 3).is_some();
        assert!(!is_kept(0, at(0)), "nothing was read");
        board.learn(&[held(1, at(0), at(0) + millisecond * 2)], None, at(0));
        board.keep(7);
        assert!(is_kept(7, at(0)) && is_kept(7, at(0) + millisecond));
        assert!(!is_kept(8, at(0)), "a change since");
        assert!(!is_kept(7, at(0) + millisecond * 2), "a hold that has ended");
        board.learn(&[held(1, at(9), at(99))], Some(at(0)), at(10));
        assert!(is_kept(7, at(10) + millisecond * 2));
        assert!(!is_kept(7, at(10) + millisecond * 3), "too old");
        assert!(!is_kept(7, at(10) - millisecond), "a clock that was set back");
        assert!(board.kept(7, at(10), TimeDelta::zero()).is_none(), "nothing is kept");
    }

    #[test]
    fn versions_grow_whatever_the_order_in_which_changes_are_heard_of() {
        let board = board(3);
        let versions = [
            board.learn(&[held(1, at(5), at(99))], None, at(6)).version(),
            // Decided earlier and committed later, and by a clock that is behind.
            board.learn(&[held(2, at(4), at(99))], Some(at(0)), at(6)).version(),
            board.learn(&[held(3, at(3), at(99))], Some(at(0)), at(6)).version(),
        ];
        assert!(versions.is_sorted_by(|one, next| one < next), "{versions:?}");
    }

    #[test]
    fn who_comes_back_is_told_what_they_missed_and_no_more() {
        let board = board(3);
        let mut versions = vec![board.learn(&[], None, at(0)).version()];
        for seat in 1..=3 {
            let changed_at = at(i64::try_from(seat).unwrap());
            versions.push(board.learn(&[held(seat, changed_at, at(99))], Some(at(0)), changed_at).version());
        }
        let told = |version: i64| seats_of(&board.follow(Some(version), at(4)).unwrap());
        let expected = [Some(vec![1, 2, 3]), Some(vec![2, 3]), Some(vec![3]), None];
        assert_eq!(versions.iter().map(|version| told(*version)).collect::<Vec<_>>(), expected);
    }

    /// A version of another instance says until when its claims were known; clocks may differ, and commits come late.
    #[test]
    fn who_comes_from_another_server_is_told_what_may_have_changed() {
        let board = board(5);
        let (long_ago, later) = (at(-100), at(500));
        let claims = [
            held(1, long_ago, later),
            held(2, long_ago, at(-50)),
            held(3, at(-29), later),
            held(4, long_ago, at(20)),
            held(5, at(3), later),
        ];
        board.learn(&claims, None, at(5));
        let told = |instant: Instant| seats_of(&board.follow(Some(instant.timestamp_micros() + 7), at(5)).unwrap());
        assert_eq!(told(at(0)), Some(vec![3, 4, 5]));
        assert_eq!(told(at(0)), Some(vec![3, 4, 5]), "the same to the next one");
        assert_eq!(told(at(-601)), Some(vec![]), "everything");
        assert_eq!(told(at(36)), Some(vec![]), "everything");
    }

    #[test]
    fn what_is_missed_is_kept_for_some_changes_only() {
        let board = board(1);
        board.learn(&[], None, at(0));
        for second in 0..200 {
            let since = board.since(at(second));
            let until = if second % 2 == 0 { at(999) } else { at(second) };
            board.learn(&[held(1, at(second), until)], since, at(second));
        }
        let known = board.lock();
        assert_eq!(known.history.len(), HISTORY);
        assert!(known.history.iter().zip(known.history.iter().skip(1)).all(|(one, next)| one.version == next.since));
    }
}
