//! Crowds as a continuous quantity: the users who arrive, wait, poll and buy in each second of a day.

use crate::costs::{Kind, Rates};

/// Seconds before its opening from which a sale has entrants.
const EARLIEST: f64 = 3_600.0;

/// The share of a crowd that arrives before the opening, at a rate that grows towards it.
const EARLY_SHARE: f64 = 0.8;

/// Seconds in which arrivals grow by a factor of e before the opening.
const GROWTH: f64 = 600.0;

/// Seconds in which arrivals shrink by a factor of e after the opening.
const DECAY: f64 = 300.0;

/// The share of admitted users who buy.
const BUYING_SHARE: f64 = 0.7;

/// The seats of each booking.
const SEATS_PER_BOOKING: f64 = 2.0;

/// Seconds for which an admitted user stays.
const VISIT: f64 = 180.0;

/// Seconds in which the crowd shrinks by a factor of e once all seats are sold.
const LEAVING: f64 = 120.0;

/// The mean seconds between polls of a user who waits for more than ten minutes: 60 s, minus up to a quarter.
const LONG_POLL: f64 = 52.5;

/// Places of a draw that are written per second: 100,000 took 10 s (`docs/decisions/0015-the-draw.md`).
const PLACES_PER_SECOND: f64 = 10_000.0;

/// One sale and its state. The opening is in seconds of the day.
#[derive(Clone, Debug)]
pub(crate) struct Sale {
    opens_at: f64,
    crowd: f64,
    seats: f64,
    /// Admissions per second, chosen so that all seats sell within a given time.
    admissions: f64,
    unsold: f64,
    /// Entrants of the draw without a written place.
    unplaced: f64,
    /// Waiting users with a place.
    waiting: f64,
    /// Waiting users with a place who arrived before the opening.
    entrants: f64,
}

/// The demand of one second, of one sale or of all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Second {
    pub(crate) rates: Rates,
    /// Users who wait or buy.
    pub(crate) present: f64,
    /// Users who follow a stream.
    pub(crate) streams: f64,
    /// Joins of the queue that has the most.
    pub(crate) joins_of_one_queue: f64,
    /// Entrants without a place, of the sale that has the most.
    pub(crate) unplaced: f64,
}

/// The behaviour of users.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Habits {
    /// The share of users without a session, who log in first.
    pub(crate) login_share: f64,
    /// The share of waiting users who follow a stream instead of polling.
    pub(crate) stream_share: f64,
}

impl Sale {
    pub(crate) fn new(opens_at: f64, crowd: f64, seats: f64, selling_seconds: f64) -> Self {
        let admissions = seats / SEATS_PER_BOOKING / BUYING_SHARE / selling_seconds;
        Self { opens_at, crowd, seats, admissions, unsold: seats, unplaced: 0.0, waiting: 0.0, entrants: 0.0 }
    }

    /// Users who arrive in the second that begins at `time`.
    fn arrivals(&self, time: f64) -> f64 {
        let since = time - self.opens_at;
        // The integrals over a second.
        let before = |at: f64| (at.min(0.0) / GROWTH).exp();
        let after = |at: f64| 1.0 - (-at.max(0.0) / DECAY).exp();
        if since < -EARLIEST {
            return 0.0;
        }
        let early = (before(since + 1.0) - before(since)) / (1.0 - (-EARLIEST / GROWTH).exp());
        self.crowd * (EARLY_SHARE * early + (1.0 - EARLY_SHARE) * (after(since + 1.0) - after(since)))
    }

    /// Advances by a second, and returns the demand of it.
    pub(crate) fn step(&mut self, time: f64, habits: &Habits) -> Second {
        let (arrivals, since) = (self.arrivals(time), time - self.opens_at);
        let mut bookings = 0.0;
        if since < 0.0 {
            self.unplaced += arrivals;
        } else {
            let placed = self.unplaced.min(PLACES_PER_SECOND);
            self.unplaced -= placed;
            self.entrants += placed;
            self.waiting += placed + arrivals;
            let admitted = if self.unsold > 0.0 { self.admissions.min(self.waiting) } else { 0.0 };
            bookings = (admitted * BUYING_SHARE).min(self.unsold / SEATS_PER_BOOKING);
            self.unsold -= bookings * SEATS_PER_BOOKING;
            let left = if self.unsold > 0.0 { admitted } else { self.waiting / LEAVING };
            self.entrants -= left * self.entrant_share();
            self.waiting -= left;
        }
        self.second(since, arrivals, bookings, habits)
    }

    fn entrant_share(&self) -> f64 {
        if self.waiting > 0.0 { self.entrants / self.waiting } else { 0.0 }
    }

    fn second(&self, since: f64, arrivals: f64, bookings: f64, habits: &Habits) -> Second {
        let admitted = bookings / BUYING_SHARE;
        let waiting = self.waiting + self.unplaced;
        let polling = 1.0 - habits.stream_share;
        let placed_polls = polling * polls_per_second(self.waiting, self.admissions);
        let mut second = Second {
            present: waiting + admitted * VISIT,
            streams: waiting * habits.stream_share,
            joins_of_one_queue: arrivals,
            unplaced: if since < 0.0 { 0.0 } else { self.unplaced },
            ..Second::default()
        };
        let rates = [
            (Kind::Login, arrivals * habits.login_share),
            (Kind::Join, arrivals),
            (Kind::Poll, placed_polls * (1.0 - self.entrant_share())),
            // The text of an entrant's token has no place: each of its polls reads the row.
            (
                Kind::RowPoll,
                placed_polls * self.entrant_share() + polling * self.unplaced / self.unplaced_poll_interval(since),
            ),
            (Kind::SeatMap, admitted * self.seats / 1_000.0),
            (Kind::Hold, bookings),
            (Kind::Charge, bookings),
            (Kind::Payment, bookings),
        ];
        for (kind, rate) in rates {
            second.rates[kind as usize] = rate;
        }
        second
    }

    /// The mean interval of polls before a place is written. After the opening it depends on the crowd
    /// (`src/domain/queue/polling.rs`).
    fn unplaced_poll_interval(&self, since: f64) -> f64 {
        let spread = (self.crowd / 10_000.0).clamp(2.0, 30.0);
        match since {
            since if since < 0.0 => LONG_POLL,
            since if since < spread => spread,
            _ => 1.5 + spread / 2.0,
        }
    }

    /// Whether all users have arrived and left.
    pub(crate) fn is_over(&self, time: f64) -> bool {
        time > self.opens_at + 12.0 * DECAY && self.waiting + self.unplaced < 1.0
    }

    pub(crate) fn has_begun(&self, time: f64) -> bool {
        time >= self.opens_at - EARLIEST
    }
}

impl Second {
    pub(crate) fn add(&mut self, other: &Self) {
        self.rates.iter_mut().zip(other.rates).for_each(|(rate, other)| *rate += other);
        self.present += other.present;
        self.streams += other.streams;
        self.joins_of_one_queue = self.joins_of_one_queue.max(other.joins_of_one_queue);
        self.unplaced = self.unplaced.max(other.unplaced);
    }
}

/// Polls per second of a queue: a tenth of the wait is the interval, between 2 and 60 s, minus up to a quarter.
fn polls_per_second(waiting: f64, admissions: f64) -> f64 {
    let near_wait = (waiting / admissions).min(600.0);
    // The integral of 1 ÷ interval over the wait.
    let near = if near_wait <= 20.0 { near_wait / 2.0 } else { 10.0 + 10.0 * (near_wait / 20.0).ln() };
    let far = (waiting - 600.0 * admissions).max(0.0);
    admissions * near / (LONG_POLL / 60.0) + far / LONG_POLL
}

#[cfg(test)]
mod tests {
    use super::*;

    const HABITS: Habits = Habits { login_share: 0.5, stream_share: 0.0 };

    /// Decision 14 has about 20,000 polls per second for a million users at 20 admissions per second.
    #[test]
    fn polls_of_a_million_are_those_of_the_decision() {
        let polls = polls_per_second(1e6, 20.0);
        assert!((19_500.0..20_500.0).contains(&polls), "{polls}");
        assert!((polls_per_second(10.0, 20.0) - 5.0 / 0.875).abs() < 0.1);
    }

    #[test]
    fn a_whole_crowd_joins_and_a_house_sells_out() {
        let mut sale = Sale::new(7_200.0, 100_000.0, 5_000.0, 1_200.0);
        let (mut joins, mut logins, mut holds, mut most) = (0.0, 0.0, 0.0, 0.0_f64);
        for second in 0..14_400_u32 {
            let demand = sale.step(second.into(), &HABITS);
            joins += demand.rates[Kind::Join as usize];
            logins += demand.rates[Kind::Login as usize];
            holds += demand.rates[Kind::Hold as usize];
            most = most.max(demand.present);
        }
        assert!((joins - 100_000.0).abs() < 1.0 && (logins * 2.0 - joins).abs() < 1e-6, "{joins}");
        assert!((holds - 2_500.0).abs() < 1e-6 && sale.unsold < 1e-6, "{holds}");
        assert!(most > 80_000.0 && most < 100_000.0 && sale.is_over(14_400.0), "{most}");
    }

    #[test]
    fn an_entrant_polls_by_its_row_and_a_later_one_does_not() {
        let mut sale = Sale::new(3_600.0, 10_000.0, 1_000.0, 1_200.0);
        let demands: Vec<_> = (0..4_200_u32).map(|second| sale.step(second.into(), &HABITS)).collect();
        assert!(demands[3_000].rates[Kind::Poll as usize] < 0.001);
        let last = &demands[4_100].rates;
        assert!(last[Kind::RowPoll as usize] > last[Kind::Poll as usize] && last[Kind::Poll as usize] > 0.0);
    }
}
