//! A seat map: the layout of a performance, and the statuses of its seats at one instant.
//!
//! Statuses, entity tag and bytes are computed once per change of the claims, and shared by all requests.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use chrono::DateTime;
use tokio::sync::OnceCell;

use super::seat_layout::Layout;
use crate::domain::{
    booking::ClaimDeadline,
    clock::Instant,
    concert::SeatStatus,
    id::{PerformanceId, SeatId},
};

/// The seats of a performance with their statuses at one instant.
pub struct SeatMap {
    layout: Arc<Layout>,
    statuses: Vec<SeatStatus>,
    version: i64,
    /// A digest of the statuses and the latest change.
    state: u64,
    valid_from: Instant,
    /// The instant at which the first hold expires, until which the statuses are valid; `None` without a hold.
    next_expiry_at: Option<Instant>,
    /// The rendered bytes for each filter, shared by concurrent requests.
    rendered: [OnceCell<Arc<Vec<u8>>>; 5],
}

impl SeatMap {
    /// Computes the map from the claims at `now`; `before` is the previous map.
    pub(super) fn new(
        layout: Arc<Layout>,
        claims: &[Option<ClaimDeadline>],
        now: Instant,
        before: Option<&Self>,
    ) -> Self {
        let mut latest = None;
        let mut next_expiry_at: Option<Instant> = None;
        let mut status_of = |claim: &ClaimDeadline| {
            let status = claim.status_at(now);
            // An expired claim changed its seat's status at its deadline, which no transaction recorded.
            let changed_at = match (status, claim.held_until) {
                (SeatStatus::Available, Some(deadline)) => deadline,
                _ => claim.changed_at,
            };
            latest = latest.max(Some(changed_at));
            if let (SeatStatus::Held, Some(deadline)) = (status, claim.held_until) {
                next_expiry_at = Some(next_expiry_at.map_or(deadline, |end| end.min(deadline)));
            }
            status
        };
        let statuses: Vec<_> =
            claims.iter().map(|claim| claim.as_ref().map_or(SeatStatus::Available, &mut status_of)).collect();
        let state = digest(&(layout.performance_id(), latest), &statuses);
        let version = latest.map_or(0, |latest| version_of(latest, state));
        let version = match before {
            Some(before) if before.state == state => before.version,
            // The changes were read in another order than they were decided in, or belong to one millisecond.
            Some(before) => version.max(before.version + 1),
            None => version,
        };
        Self { layout, statuses, version, state, valid_from: now, next_expiry_at, rendered: Default::default() }
    }

    /// Whether the same claims have the same statuses at `now`.
    pub(super) fn is_valid_at(&self, now: Instant) -> bool {
        self.valid_from <= now && self.next_expiry_at.is_none_or(|end| now < end)
    }

    /// The performance of the seats.
    pub fn performance_id(&self) -> PerformanceId {
        self.layout.performance_id()
    }

    /// The seats by section, row and number.
    pub fn seat_ids(&self) -> impl Iterator<Item = SeatId> {
        self.layout.ids()
    }

    /// The version, which increases with every change; 0 while no seat was ever claimed. It is the millisecond of the
    /// latest change since the Unix epoch, times 1,000, plus three digits that distinguish states of one millisecond.
    /// Equal states have equal versions on every instance, unless an instance read changes out of order.
    pub fn version(&self) -> i64 {
        self.version
    }

    /// A digest of the whole state and of the filter `wanted`.
    pub fn digest(&self, wanted: Option<SeatStatus>) -> u64 {
        let of = (self.state, self.version);
        wanted.map_or_else(|| digest(&of, &[]), |status| digest(&of, &[status]))
    }

    /// The wanted seats by section, row and number: the text that [`WriteSeat`](super::seat_layout::WriteSeat) wrote of
    /// each, and its status.
    pub fn seats(&self, wanted: Option<SeatStatus>) -> impl Iterator<Item = (&str, SeatStatus)> {
        let statuses = self.statuses.iter().copied();
        self.layout.texts().zip(statuses).filter(move |(_, status)| wanted.is_none_or(|wanted| wanted == *status))
    }

    /// The seats whose status differs, with the new status.
    pub(super) fn changes_since(&self, before: &Self) -> Vec<(SeatId, SeatStatus)> {
        let statuses = self.statuses.iter().zip(&before.statuses);
        let seats = self.layout.ids().zip(statuses);
        seats.filter(|(_, (now, before))| now != before).map(|(id, (now, _))| (id, *now)).collect()
    }

    /// The statuses of these seats, each once.
    pub(super) fn statuses_of(&self, seats: impl Iterator<Item = SeatId>) -> Vec<(SeatId, SeatStatus)> {
        let status = |id| self.layout.position(id).and_then(|position| self.statuses.get(position).copied());
        let seats: BTreeMap<_, _> = seats.filter_map(|id| Some((id, status(id)?))).collect();
        seats.into_iter().collect()
    }

    /// The rendered bytes of the wanted seats; `render` runs the first time only.
    pub async fn rendered(&self, wanted: Option<SeatStatus>, render: impl FnOnce(&Self) -> Vec<u8>) -> Arc<Vec<u8>> {
        let [all, available, held, sold, blocked] = &self.rendered;
        let rendered = match wanted {
            None => all,
            Some(SeatStatus::Available) => available,
            Some(SeatStatus::Held) => held,
            Some(SeatStatus::Sold) => sold,
            Some(SeatStatus::Blocked) => blocked,
        };
        Arc::clone(rendered.get_or_init(async || Arc::new(render(self))).await)
    }
}

/// A hash that is the same on every instance: the hasher's keys are fixed.
fn digest(of: &impl Hash, statuses: &[SeatStatus]) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    let bytes: Vec<u8> = statuses
        .iter()
        .map(|status| match status {
            SeatStatus::Available => 0,
            SeatStatus::Held => 1,
            SeatStatus::Sold => 2,
            SeatStatus::Blocked => 3,
        })
        .collect();
    hasher.write(&bytes);
    hasher.finish()
}

/// The version of a map whose latest change was at this instant: its millisecond, followed by three digits of the
/// state's digest. So different states rarely have the same version.
fn version_of(latest: Instant, state: u64) -> i64 {
    let digits = i64::try_from(state % 1_000).unwrap_or(0);
    latest.timestamp_millis().saturating_mul(1_000).saturating_add(digits)
}

/// The version read as microseconds since the Unix epoch, which is within a millisecond of its latest change; `None` if
/// it is out of range.
pub(super) fn instant_of(version: i64) -> Option<Instant> {
    DateTime::from_timestamp_micros(version)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use chrono::TimeDelta;

    use super::*;
    use crate::{
        application::concert::seat_layout::WriteSeat,
        domain::{concert::Seat, points::Points},
    };

    const PERFORMANCE: PerformanceId = PerformanceId(1);

    /// Seats in the order of their numbers, which isn't that of their ids.
    fn layout() -> Arc<Layout> {
        let seat = |id: u64, number: u16| Seat {
            id: SeatId(id),
            performance_id: PERFORMANCE,
            section: "A".to_owned(),
            row: "A".to_owned(),
            row_rank: 1,
            number,
            grade: "R".to_owned(),
            price: Points::ZERO,
        };
        let write_seat: WriteSeat = |seat, text| {
            let _ = write!(text, "[{}]", seat.id);
        };
        Arc::new(Layout::new(PERFORMANCE, &[seat(30, 1), seat(7, 2), seat(20, 3)], write_seat))
    }

    fn at(seconds: i64) -> Instant {
        Instant::default() + TimeDelta::seconds(seconds)
    }

    fn claim(seat: u64, held_until: Option<Instant>, changed_at: Instant) -> ClaimDeadline {
        ClaimDeadline { seat_id: SeatId(seat), held_until, changed_at }
    }

    fn map(claims: &[ClaimDeadline], now: Instant) -> SeatMap {
        let layout = layout();
        let claim_of = |id| claims.iter().find(|claim| claim.seat_id == id).copied();
        let claims: Vec<_> = layout.ids().map(claim_of).collect();
        SeatMap::new(layout, &claims, now, None)
    }

    #[test]
    fn each_seat_has_the_status_of_its_own_claim() {
        let claims = [claim(20, None, at(5)), claim(30, Some(at(20)), at(8)), claim(99, None, at(1))];
        let map = map(&claims, at(10));
        let all: Vec<_> = map.seats(None).collect();
        assert_eq!(all, [("[30]", SeatStatus::Held), ("[7]", SeatStatus::Available), ("[20]", SeatStatus::Sold)]);
        let sold: Vec<_> = map.seats(Some(SeatStatus::Sold)).map(|(text, _)| text).collect();
        assert_eq!(sold, ["[20]"]);
    }

    #[test]
    fn the_version_is_the_latest_change_and_an_expired_hold_counts_as_one() {
        let milliseconds = |claims: &[ClaimDeadline], now| map(claims, now).version() / 1_000;
        assert_eq!(map(&[], at(10)).version(), 0);
        let claims = [claim(20, None, at(5)), claim(30, Some(at(20)), at(8))];
        assert_eq!(milliseconds(&claims, at(10)), at(8).timestamp_millis());
        assert_eq!(milliseconds(&claims, at(20)), at(20).timestamp_millis());
    }

    #[test]
    fn equal_states_have_equal_digests_and_others_differ() {
        let claims = [claim(20, None, at(5)), claim(30, Some(at(20)), at(8))];
        let map = |now| map(&claims, now);
        let wanted = [None, Some(SeatStatus::Available), Some(SeatStatus::Held), Some(SeatStatus::Sold)];
        let digests = |map: &SeatMap| wanted.map(|wanted| map.digest(wanted));
        assert_eq!(digests(&map(at(10))), digests(&map(at(11))));
        let mut all = [digests(&map(at(10))), digests(&map(at(20)))].concat();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 8);
    }
}
