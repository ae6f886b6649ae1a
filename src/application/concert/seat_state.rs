//! The state of one performance's seats in this process. It has the claims of the last read, the map computed from
//! them, and the latest changes for streams.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use chrono::TimeDelta;
use tokio::sync::broadcast;

use super::{
    seat_layout::Layout,
    seat_map::{SeatMap, instant_of},
    seat_update::{SeatChanges, SeatUpdate},
};
use crate::domain::{
    booking::ClaimDeadline,
    clock::Instant,
    id::{PerformanceId, SeatId},
};

/// The time by which a read overlaps the previous one. A claim has the time of its instance's clock from before its
/// transaction. That clock may be some seconds behind, and the transaction may have waited for locks.
const CLOCK_SKEW_MARGIN: TimeDelta = TimeDelta::seconds(30);

/// The interval between reads of all claims. It bounds the time for which a clock with a greater difference hides a
/// change.
const FULL_READ_INTERVAL: TimeDelta = TimeDelta::minutes(1);

/// The number of changes that are kept for streams and reconnecting clients.
const KEPT_CHANGES: usize = 64;

/// The greatest age of an unknown version from which changes are computed.
const MAX_RESUME_AGE: TimeDelta = TimeDelta::minutes(10);

/// The state of one performance's seats. Reads of its claims must not overlap.
pub(super) struct SeatState {
    layout: Arc<Layout>,
    inner: Mutex<SeatStateInner>,
    changes: broadcast::Sender<Arc<SeatChanges>>,
}

#[derive(Default)]
struct SeatStateInner {
    /// By the position of the seat in the layout.
    claims: Vec<Option<ClaimDeadline>>,
    read_at: Option<Instant>,
    full_read_at: Option<Instant>,
    map: Option<Arc<SeatMap>>,
    /// This process's count of changes from before the last read.
    changes: u64,
    /// Oldest first. Each starts at the version at which the previous one ended.
    history: VecDeque<Arc<SeatChanges>>,
    /// The last changes that were computed for a reconnecting client.
    last_resume: Option<Arc<SeatChanges>>,
    is_refreshed: bool,
}

impl SeatState {
    pub(super) fn new(layout: Layout) -> Self {
        let inner = SeatStateInner { claims: vec![None; layout.len()], ..SeatStateInner::default() };
        Self { layout: Arc::new(layout), inner: Mutex::new(inner), changes: broadcast::Sender::new(KEPT_CHANGES) }
    }

    /// The approximate size in bytes, with two renderings of the map.
    pub(super) fn size(&self) -> usize {
        3 * self.layout.size() + self.layout.len() * size_of::<Option<ClaimDeadline>>()
    }

    pub(super) fn performance_id(&self) -> PerformanceId {
        self.layout.performance_id()
    }

    fn lock(&self) -> MutexGuard<'_, SeatStateInner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The instant from which changed claims must be read at `now`; `None` for all claims.
    pub(super) fn read_from(&self, now: Instant) -> Option<Instant> {
        let inner = self.lock();
        let has_recent_full_read =
            inner.full_read_at.is_some_and(|full_read_at| (now - full_read_at).abs() < FULL_READ_INTERVAL);
        inner.read_at.filter(|_| has_recent_full_read).map(|read_at| read_at.min(now) - CLOCK_SKEW_MARGIN)
    }

    /// Applies the claims that were read at `now` from the instant `since`, see [`read_from`](Self::read_from), and
    /// sends the changes to subscribers. Returns the same map while nothing changes.
    pub(super) fn apply_claims(&self, claims: &[ClaimDeadline], since: Option<Instant>, now: Instant) -> Arc<SeatMap> {
        let mut inner = self.lock();
        let is_new = inner.merge_claims(&self.layout, claims);
        inner.read_at = Some(now);
        if since.is_none() {
            inner.full_read_at = Some(now);
        }
        let before = inner.map.clone();
        if let Some(map) = before.as_ref().filter(|map| !is_new && map.is_valid_at(now)) {
            return Arc::clone(map);
        }
        let map = Arc::new(SeatMap::new(Arc::clone(&self.layout), &inner.claims, now, before.as_deref()));
        inner.map = Some(Arc::clone(&map));
        if let Some(before) = before.filter(|before| before.version() != map.version()) {
            let changes = Arc::new(SeatChanges::new(before.version(), map.version(), map.changes_since(&before)));
            if inner.history.len() == KEPT_CHANGES {
                inner.history.pop_front();
            }
            inner.history.push_back(Arc::clone(&changes));
            if !changes.changed().is_empty() {
                // Sending fails only without subscribers.
                let _ = self.changes.send(changes);
            }
        }
        map
    }

    /// Records this process's count of changes from before the last read.
    pub(super) fn record_change_count(&self, changes: u64) {
        self.lock().changes = changes;
    }

    /// The map of the last read, if it is less than `max_age` old, this process hasn't changed a seat since, and no
    /// hold has expired.
    pub(super) fn cached_map(&self, changes: u64, now: Instant, max_age: TimeDelta) -> Option<Arc<SeatMap>> {
        let inner = self.lock();
        let is_recent = inner.read_at.is_some_and(|read_at| (now - read_at).abs() < max_age);
        inner.map.as_ref().filter(|map| is_recent && inner.changes == changes && map.is_valid_at(now)).cloned()
    }

    /// Subscribes a client that has `last_version`. The initial update has the changes since then. A lock prevents a
    /// gap between it and the changes that follow. `None` before the first read.
    pub(super) fn subscribe(&self, last_version: Option<i64>, now: Instant) -> Option<SeatSubscription> {
        let mut inner = self.lock();
        let map = Arc::clone(inner.map.as_ref()?);
        let initial = match last_version {
            None => Some(SeatUpdate::Snapshot(map)),
            Some(last_version) => inner.updates_since(last_version, map, now),
        };
        Some(SeatSubscription { initial, changes: self.changes.subscribe() })
    }

    /// Whether the caller, a subscriber, must start the task that refreshes this state.
    pub(super) fn try_start_refresh(&self) -> bool {
        !std::mem::replace(&mut self.lock().is_refreshed, true)
    }

    /// Whether no subscriber is left, so that the refreshing task ends. The lock excludes new subscribers meanwhile.
    pub(super) fn try_stop_refresh(&self) -> bool {
        let mut inner = self.lock();
        let is_unused = self.changes.receiver_count() == 0;
        inner.is_refreshed = !is_unused;
        is_unused
    }

    /// Completes once no subscriber is left.
    pub(super) async fn wait_until_unsubscribed(&self) {
        self.changes.closed().await;
    }
}

/// A stream's subscription to a performance's changes.
pub(super) struct SeatSubscription {
    pub(super) initial: Option<SeatUpdate>,
    pub(super) changes: broadcast::Receiver<Arc<SeatChanges>>,
}

impl SeatStateInner {
    /// Stores the claims, and returns whether any is new.
    fn merge_claims(&mut self, layout: &Layout, claims: &[ClaimDeadline]) -> bool {
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

    /// The update from `last_version` to this map; `None` if nothing changed.
    fn updates_since(&mut self, last_version: i64, map: Arc<SeatMap>, now: Instant) -> Option<SeatUpdate> {
        let version = map.version();
        if last_version == version {
            return None;
        }
        let seats = if let Some(index) = self.history.iter().position(|changes| changes.since == last_version) {
            let missed = self.history.iter().skip(index).flat_map(|changes| changes.changed());
            map.statuses_of(missed.map(|(seat, _)| *seat))
        } else {
            match self.last_resume.as_ref() {
                Some(last_resume) if (last_resume.since, last_resume.version()) == (last_version, version) => {
                    return Some(SeatUpdate::Changes(Arc::clone(last_resume)));
                }
                _ => {}
            }
            let Some(since) = instant_of(last_version)
                .filter(|since| (now - MAX_RESUME_AGE..now + CLOCK_SKEW_MARGIN).contains(since))
            else {
                return Some(SeatUpdate::Snapshot(map));
            };
            map.statuses_of(self.changed_between(since, now))
        };
        let changes = Arc::new(SeatChanges::new(last_version, version, seats));
        self.last_resume = Some(Arc::clone(&changes));
        (!changes.changed().is_empty()).then_some(SeatUpdate::Changes(changes))
    }

    /// The seats that may have changed after the latest change of another instance's map, which was at `instant`. These
    /// are seats whose claims were written or whose holds expired since then, with a margin for clocks that differ.
    fn changed_between(&self, instant: Instant, now: Instant) -> impl Iterator<Item = SeatId> {
        let since = instant - CLOCK_SKEW_MARGIN;
        let ended = since..=now + CLOCK_SKEW_MARGIN;
        let is_changed = move |claim: &&ClaimDeadline| {
            claim.changed_at >= since || claim.held_until.is_some_and(|deadline| ended.contains(&deadline))
        };
        self.claims.iter().flatten().filter(is_changed).map(|claim| claim.seat_id)
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::domain::{concert::Seat, points::Points};

    fn state(seats: u64) -> SeatState {
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
        SeatState::new(Layout::new(PerformanceId(1), &seats, |_, _| {}))
    }

    fn at(seconds: i64) -> Instant {
        DateTime::from_timestamp_millis(1_000_000_000_000).unwrap() + TimeDelta::seconds(seconds)
    }

    fn held(seat: u64, changed_at: Instant, until: Instant) -> ClaimDeadline {
        ClaimDeadline { seat_id: SeatId(seat), held_until: Some(until), changed_at }
    }

    fn seats_of(subscription: &SeatSubscription) -> Option<Vec<u64>> {
        match subscription.initial.as_ref()? {
            SeatUpdate::Snapshot(_) => Some(vec![]),
            SeatUpdate::Changes(changes) => Some(changes.changed().iter().map(|(seat, _)| seat.0).collect()),
        }
    }

    #[test]
    fn all_claims_are_read_at_first_and_each_minute_and_recent_ones_in_between() {
        let state = state(1);
        assert_eq!(state.read_from(at(0)), None);
        state.apply_claims(&[], None, at(0));
        assert_eq!(state.read_from(at(59)), Some(at(0) - CLOCK_SKEW_MARGIN));
        state.apply_claims(&[], state.read_from(at(59)), at(59));
        assert_eq!(state.read_from(at(60)), None);
        assert_eq!(state.read_from(at(50)), Some(at(50) - CLOCK_SKEW_MARGIN), "a clock that was set back");
    }

    #[test]
    fn a_map_is_the_same_until_a_claim_or_the_clock_changes_it() {
        let state = state(2);
        let first = state.apply_claims(&[held(1, at(0), at(10))], None, at(0));
        let same = |map: &Arc<SeatMap>| Arc::ptr_eq(map, &first);
        assert!(same(&state.apply_claims(&[], Some(at(0)), at(9))));
        assert!(same(&state.apply_claims(&[held(1, at(0), at(10))], Some(at(0)), at(9))), "read twice");
        let over = state.apply_claims(&[], Some(at(0)), at(10));
        assert!(!same(&over) && over.version() > first.version());
    }

    #[test]
    fn a_map_is_reused_until_its_age_a_local_change_or_an_expiring_hold() {
        let state = state(1);
        let millisecond = TimeDelta::milliseconds(1);
        let is_cached = |changes, now| state.cached_map(changes, now, millisecond * 3).is_some();
        assert!(!is_cached(0, at(0)), "nothing was read");
        state.apply_claims(&[held(1, at(0), at(0) + millisecond * 2)], None, at(0));
        state.record_change_count(7);
        assert!(is_cached(7, at(0)) && is_cached(7, at(0) + millisecond));
        assert!(!is_cached(8, at(0)), "a change since");
        assert!(!is_cached(7, at(0) + millisecond * 2), "a hold that has ended");
        state.apply_claims(&[held(1, at(9), at(99))], Some(at(0)), at(10));
        assert!(is_cached(7, at(10) + millisecond * 2));
        assert!(!is_cached(7, at(10) + millisecond * 3), "too old");
        assert!(!is_cached(7, at(10) - millisecond), "a clock that was set back");
        assert!(state.cached_map(7, at(10), TimeDelta::zero()).is_none(), "nothing is kept");
    }

    #[test]
    fn versions_grow_even_if_changes_arrive_out_of_order() {
        let state = state(3);
        let versions = [
            state.apply_claims(&[held(1, at(5), at(99))], None, at(6)).version(),
            // Decided earlier, committed later, and dated by a clock that is behind.
            state.apply_claims(&[held(2, at(4), at(99))], Some(at(0)), at(6)).version(),
            state.apply_claims(&[held(3, at(3), at(99))], Some(at(0)), at(6)).version(),
        ];
        assert!(versions.is_sorted_by(|one, next| one < next), "{versions:?}");
    }

    #[test]
    fn a_reconnecting_client_gets_exactly_the_missed_changes() {
        let state = state(3);
        let mut versions = vec![state.apply_claims(&[], None, at(0)).version()];
        for seat in 1..=3 {
            let changed_at = at(i64::try_from(seat).unwrap());
            versions.push(state.apply_claims(&[held(seat, changed_at, at(99))], Some(at(0)), changed_at).version());
        }
        let missed_since = |version: i64| seats_of(&state.subscribe(Some(version), at(4)).unwrap());
        let expected = [Some(vec![1, 2, 3]), Some(vec![2, 3]), Some(vec![3]), None];
        assert_eq!(versions.iter().map(|version| missed_since(*version)).collect::<Vec<_>>(), expected);
    }

    /// A version of another instance contains the instant of its latest change. Clocks may differ, and commits may be
    /// late.
    #[test]
    fn a_client_of_another_instance_gets_all_possible_changes() {
        let state = state(5);
        let (long_ago, later) = (at(-100), at(500));
        let claims = [
            held(1, long_ago, later),
            held(2, long_ago, at(-50)),
            held(3, at(-29), later),
            held(4, long_ago, at(20)),
            held(5, at(3), later),
        ];
        state.apply_claims(&claims, None, at(5));
        let missed_since =
            |instant: Instant| seats_of(&state.subscribe(Some(instant.timestamp_micros() + 7), at(5)).unwrap());
        assert_eq!(missed_since(at(0)), Some(vec![3, 4, 5]));
        assert_eq!(missed_since(at(0)), Some(vec![3, 4, 5]), "the same to the next one");
        assert_eq!(missed_since(at(-601)), Some(vec![]), "everything");
        assert_eq!(missed_since(at(36)), Some(vec![]), "everything");
    }

    #[test]
    fn only_recent_changes_are_kept() {
        let state = state(1);
        state.apply_claims(&[], None, at(0));
        for second in 0..200 {
            let since = state.read_from(at(second));
            let until = if second % 2 == 0 { at(999) } else { at(second) };
            state.apply_claims(&[held(1, at(second), until)], since, at(second));
        }
        let inner = state.lock();
        assert_eq!(inner.history.len(), KEPT_CHANGES);
        assert!(inner.history.iter().zip(inner.history.iter().skip(1)).all(|(one, next)| one.version() == next.since));
    }
}
