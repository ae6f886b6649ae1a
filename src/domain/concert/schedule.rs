//! Changes of a performance's times.

use super::{Performance, PerformanceStatus};
use crate::domain::{clock::Instant, refusal::Refusal};

/// The end of a performance's sales.
#[derive(Clone, Copy, Debug)]
pub enum SalesEnd {
    /// At the start of the performance, even after it changes.
    AtStart,
    /// At this instant.
    At(Instant),
}

/// A change of a performance's times. `None` leaves a time as it is.
#[derive(Clone, Copy, Debug)]
pub struct ScheduleChange {
    /// The new start.
    pub starts_at: Option<Instant>,
    /// The new end of sales.
    pub sales_end: Option<SalesEnd>,
}

impl Performance {
    /// Changes the times at `now`.
    ///
    /// # Errors
    ///
    /// [`Refusal::SalesClosed`] once the performance has begun or is cancelled; [`Refusal::StartNotInFuture`];
    /// [`Refusal::SalesEndAfterStart`], also for an end that is kept.
    pub fn reschedule(&mut self, change: &ScheduleChange, now: Instant) -> Result<(), Refusal> {
        if self.status != PerformanceStatus::Scheduled || self.starts_at <= now {
            return Err(Refusal::SalesClosed);
        }
        let starts_at = change.starts_at.unwrap_or(self.starts_at);
        if starts_at <= now {
            return Err(Refusal::StartNotInFuture);
        }
        let sales_end_at = match change.sales_end {
            None => self.sales_end_at,
            Some(SalesEnd::AtStart) => None,
            Some(SalesEnd::At(end)) => Some(end),
        };
        if sales_end_at.is_some_and(|end| end > starts_at) {
            return Err(Refusal::SalesEndAfterStart);
        }
        (self.starts_at, self.sales_end_at) = (starts_at, sales_end_at);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::domain::{
        concert::Venue,
        id::{ConcertId, PerformanceId, VenueId},
        points::Points,
        text::Name,
    };

    fn at(seconds: i64) -> Instant {
        Instant::default() + TimeDelta::seconds(seconds)
    }

    fn performance() -> Performance {
        let name = Name::new("Hall").unwrap();
        Performance {
            id: PerformanceId(1),
            concert_id: ConcertId(1),
            venue: Venue { id: VenueId(1), name: name.clone(), address: name },
            starts_at: at(100),
            sales_end_at: None,
            total_seats: 1,
            prices: (Points::ZERO, Points::ZERO),
            status: PerformanceStatus::Scheduled,
        }
    }

    fn start(seconds: i64) -> ScheduleChange {
        ScheduleChange { starts_at: Some(at(seconds)), sales_end: None }
    }

    fn end(sales_end: SalesEnd) -> ScheduleChange {
        ScheduleChange { starts_at: None, sales_end: Some(sales_end) }
    }

    #[test]
    fn sales_end_at_the_start_unless_an_earlier_end_is_set() {
        let mut performance = performance();
        assert!(performance.is_on_sale(at(99)) && !performance.is_on_sale(at(100)));
        performance.reschedule(&start(200), at(0)).unwrap();
        assert!(performance.is_on_sale(at(199)) && !performance.is_on_sale(at(200)));
        performance.reschedule(&end(SalesEnd::At(at(50))), at(60)).unwrap();
        assert!(performance.is_on_sale(at(49)) && !performance.is_on_sale(at(50)));
        performance.reschedule(&end(SalesEnd::AtStart), at(60)).unwrap();
        assert_eq!(performance.sales_end(), at(200));
    }

    #[test]
    fn a_start_is_in_the_future_and_not_before_the_end_of_sales() {
        let mut performance = performance();
        assert_eq!(performance.reschedule(&start(10), at(10)), Err(Refusal::StartNotInFuture));
        assert_eq!(performance.reschedule(&end(SalesEnd::At(at(101))), at(0)), Err(Refusal::SalesEndAfterStart));
        performance.reschedule(&end(SalesEnd::At(at(100))), at(0)).unwrap();
        assert_eq!(performance.reschedule(&start(99), at(0)), Err(Refusal::SalesEndAfterStart));
        let both = ScheduleChange { starts_at: Some(at(99)), sales_end: Some(SalesEnd::At(at(99))) };
        performance.reschedule(&both, at(0)).unwrap();
        assert_eq!(performance.reschedule(&start(200), at(99)), Err(Refusal::SalesClosed));
        performance.status = PerformanceStatus::Cancelled(at(1));
        assert_eq!(performance.reschedule(&end(SalesEnd::AtStart), at(1)), Err(Refusal::SalesClosed));
        assert_eq!((performance.starts_at, performance.sales_end()), (at(99), at(99)));
    }
}
