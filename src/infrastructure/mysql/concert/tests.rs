//! Tests of the catalogue's repository.

use sqlx::MySqlPool;

use super::super::fixtures_catalogue::{at, concert, database, hold, is_locked, name, points, sale, section, user};
use crate::domain::{
    concert::{ConcertFields, ConcertFilter, Occupancy, PerformanceStatus, Seating},
    id::{PerformanceId, SeatId, VenueId},
    page::PageRequest,
    repository_error::RepositoryError,
    unit_of_work::Database,
};

fn everything() -> ConcertFilter {
    ConcertFilter { query: None, category: None, from: None, to: None, page: PageRequest::first(10) }
}

#[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
async fn venues_are_listed_by_id_a_page_at_a_time(pool: MySqlPool) {
    let mut uow = database(&pool).begin().await.unwrap();
    let venues = uow.concerts();
    let first = venues.insert_venue(&name("One"), &name("Street 1"), at(0)).await.unwrap();
    let second = venues.insert_venue(&name("둘"), &name("Street 2"), at(0)).await.unwrap();
    let page = venues.list_venues(PageRequest::first(1)).await.unwrap();
    assert_eq!((page.items[0].id, page.has_more), (first.id, true));
    let page = venues.list_venues(PageRequest { after: Some(first.id), limit: 1 }).await.unwrap();
    assert_eq!((page.items[0].id, page.has_more), (second.id, false));
    assert_eq!(venues.find_venue(second.id).await.unwrap().unwrap().name.as_str(), "둘");
    assert!(venues.find_venue(VenueId(99)).await.unwrap().is_none());
}

#[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
async fn a_performance_has_all_seats_and_its_concert_is_updated(pool: MySqlPool) {
    let database = database(&pool);
    let sale = sale(&database).await;
    let mut uow = database.begin().await.unwrap();
    let concerts = uow.concerts();
    // More seats than one statement inserts.
    let sections = vec![section("B", 30, 140, "5"), section("C", 1, 3, "99.99")];
    let seating = Seating::new(sections).unwrap();
    let id = concerts.insert_performance(sale.concert_id, sale.venue_id, at(500), &seating, at(1)).await.unwrap();
    let seats = concerts.list_seats(id).await.unwrap();
    assert_eq!(seats.len(), 4_203);
    assert_eq!((seats[140].row.as_str(), seats[140].row_rank, seats[140].number), ("B", 2, 1));
    assert_eq!((seats[4_199].row.as_str(), seats[4_199].number), ("AD", 140));
    assert_eq!((seats[4_202].section.as_str(), seats[4_202].price), ("C", points("99.99")));

    let found = concerts.lock_concert(sale.concert_id).await.unwrap().unwrap();
    assert_eq!(found.first_and_last, Some((at(500), at(86_400))));
    assert_eq!(found.prices, Some((points("5"), points("99.99"))));
    assert_eq!(found.listed_at, at(500));

    concerts.cancel_performance(id, at(2)).await.unwrap();
    concerts.cancel_performance(id, at(3)).await.unwrap();
    let cancelled = concerts.find_performance(id).await.unwrap().unwrap();
    assert_eq!(cancelled.status, PerformanceStatus::Cancelled(at(2)));
    let found = concerts.find_concert(sale.concert_id).await.unwrap().unwrap();
    assert_eq!(found.first_and_last, Some((at(86_400), at(86_400))));
    assert_eq!(found.prices, Some((points("10.50"), points("10.50"))));

    concerts.cancel_performance(sale.performance_id, at(2)).await.unwrap();
    let found = concerts.find_concert(sale.concert_id).await.unwrap().unwrap();
    assert_eq!((found.first_and_last, found.prices), (None, None));
    assert_eq!(found.listed_at.to_rfc3339(), "9999-12-31T00:00:00+00:00");
}

#[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
async fn concerts_are_found_by_words_category_and_dates(pool: MySqlPool) {
    let database = database(&pool);
    let sale = sale(&database).await;
    let mut uow = database.begin().await.unwrap();
    let concerts = uow.concerts();
    let odd = ConcertFields { category: name("Jazz"), ..concert("100%_!\\ Live", "Jin") };
    let odd = concerts.insert_concert(&odd, at(0)).await.unwrap();
    for (word, expected) in [
        ("title", vec![sale.concert_id]),
        ("ARTI", vec![sale.concert_id]),
        ("jin", vec![odd]),
        ("%", vec![odd]),
        ("0%_!\\ l", vec![odd]),
        ("_i", vec![]),
        ("", vec![sale.concert_id, odd]),
    ] {
        let filter = ConcertFilter { query: Some(word.to_owned()), ..everything() };
        let found = concerts.list_concerts(&filter, at(0)).await.unwrap();
        assert_eq!(found.items.iter().map(|concert| concert.id).collect::<Vec<_>>(), expected, "{word:?}");
    }
    let jazz = ConcertFilter { category: Some("jazz".to_owned()), ..everything() };
    assert_eq!(concerts.list_concerts(&jazz, at(0)).await.unwrap().items[0].id, odd);
}

#[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
async fn concerts_are_found_by_the_dates_of_their_performances(pool: MySqlPool) {
    let database = database(&pool);
    let sale = sale(&database).await;
    let mut uow = database.begin().await.unwrap();
    let concerts = uow.concerts();
    concerts.insert_concert(&concert("Without a performance", "x"), at(0)).await.unwrap();
    let seating = Seating::new(vec![section("A", 1, 1, "1")]).unwrap();
    for day in [3, 5] {
        let starts_at = at(day * 86_400);
        concerts.insert_performance(sale.concert_id, sale.venue_id, starts_at, &seating, at(0)).await.unwrap();
    }
    let cancelled = concerts.insert_performance(sale.concert_id, sale.venue_id, at(9 * 86_400), &seating, at(0)).await;
    concerts.cancel_performance(cancelled.unwrap(), at(0)).await.unwrap();
    let end_of_time = "9999-12-31T23:59:59Z".parse().unwrap();
    let day = |days: i64| Some(at(days * 86_400));
    for (from, to, expected) in [
        (day(1), None, 1),
        (day(5), None, 1),
        (day(6), None, 0),
        (None, day(1), 0),
        (None, day(2), 1),
        (None, Some(end_of_time), 1),
        (day(0), day(1), 0),
        (day(1), day(2), 1),
        // Between two performances there is none.
        (day(2), day(3), 0),
        (day(3), day(4), 1),
        (day(2), day(9), 1),
        (day(8), day(10), 0),
    ] {
        let filter = ConcertFilter { from, to, ..everything() };
        assert_eq!(concerts.list_concerts(&filter, at(0)).await.unwrap().items.len(), expected, "{from:?} {to:?}");
    }
}

#[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
async fn concerts_are_listed_soonest_first_and_not_once_deleted(pool: MySqlPool) {
    let database = database(&pool);
    let sale = sale(&database).await;
    let mut uow = database.begin().await.unwrap();
    let concerts = uow.concerts();
    let later = concerts.insert_concert(&concert("Later", "x"), at(0)).await.unwrap();
    let latest = concerts.insert_concert(&concert("Latest", "x"), at(0)).await.unwrap();
    let mut listed = Vec::new();
    let mut filter = ConcertFilter { page: PageRequest::first(1), ..everything() };
    loop {
        let page = concerts.list_concerts(&filter, at(0)).await.unwrap();
        filter.page.after = page.items.last().map(|concert| (concert.listed_at, concert.id));
        listed.extend(page.items.iter().map(|concert| concert.id));
        if !page.has_more {
            break;
        }
    }
    assert_eq!(listed, [sale.concert_id, later, latest]);

    concerts.update_concert(sale.concert_id, &concert("Other", "x")).await.unwrap();
    let found = concerts.find_concert(sale.concert_id).await.unwrap().unwrap();
    assert_eq!(found.fields.title.as_str(), "Other");
    concerts.delete_concert(sale.concert_id, at(1)).await.unwrap();
    assert!(concerts.find_concert(sale.concert_id).await.unwrap().is_none());
    assert!(concerts.lock_concert(sale.concert_id).await.unwrap().is_none());
    assert!(concerts.find_performance(sale.performance_id).await.unwrap().is_none());
    assert!(concerts.share_performances(&[sale.performance_id]).await.unwrap().is_empty());
    assert!(concerts.list_performances(sale.concert_id, at(0), PageRequest::first(9)).await.unwrap().items.is_empty());
    assert_eq!(concerts.list_concerts(&everything(), at(0)).await.unwrap().items.len(), 2);
    for error in [
        concerts.delete_concert(sale.concert_id, at(1)).await,
        concerts.update_concert(sale.concert_id, &concert("Other", "x")).await,
    ] {
        assert!(matches!(error, Err(RepositoryError::Contention { .. })), "{error:?}");
    }
}

#[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
async fn a_performance_may_be_in_another_generation(pool: MySqlPool) {
    let database = database(&pool);
    let sale = sale(&database).await;
    let mut uow = database.begin().await.unwrap();
    let concerts = uow.concerts();
    // Later than a TIMESTAMP can be.
    let starts_at = at(1_000_000_000);
    let seating = Seating::new(vec![section("A", 1, 1, "1")]).unwrap();
    let id = concerts.insert_performance(sale.concert_id, sale.venue_id, starts_at, &seating, at(0)).await;
    let id = id.unwrap();
    assert_eq!(concerts.find_performance(id).await.unwrap().unwrap().starts_at, starts_at);
    let after = Some((at(86_400), sale.performance_id));
    let page = concerts.list_performances(sale.concert_id, at(0), PageRequest { after, limit: 9 }).await.unwrap();
    assert_eq!(page.items.iter().map(|it| it.id).collect::<Vec<_>>(), [id]);
    let filter = ConcertFilter { from: Some(starts_at), to: Some(at(1_000_000_001)), ..everything() };
    assert_eq!(concerts.list_concerts(&filter, at(0)).await.unwrap().items.len(), 1);
}

#[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
async fn upcoming_performances_are_listed_soonest_first(pool: MySqlPool) {
    let database = database(&pool);
    let sale = sale(&database).await;
    let mut uow = database.begin().await.unwrap();
    let concerts = uow.concerts();
    let seating = Seating::new(vec![section("A", 1, 1, "1")]).unwrap();
    let mut ids = vec![sale.performance_id];
    for starts_at in [86_400, 100, 50] {
        let starts_at = at(starts_at);
        let id = concerts.insert_performance(sale.concert_id, sale.venue_id, starts_at, &seating, at(0));
        ids.push(id.await.unwrap());
    }
    concerts.cancel_performance(ids[3], at(0)).await.unwrap();
    let first = concerts.list_performances(sale.concert_id, at(0), PageRequest::first(2)).await.unwrap();
    assert_eq!(first.items.iter().map(|it| it.id).collect::<Vec<_>>(), [ids[2], ids[0]]);
    assert_eq!(first.items[1].venue.name.as_str(), "Hall");
    let after = Some((first.items[1].starts_at, first.items[1].id));
    let second = concerts.list_performances(sale.concert_id, at(0), PageRequest { after, limit: 2 }).await.unwrap();
    assert_eq!((second.items.len(), second.items[0].id, second.has_more), (1, ids[1], false));
    let future = concerts.list_future_performances(&[sale.concert_id], at(100)).await.unwrap();
    assert_eq!(future, [(sale.concert_id, ids[0], 10), (sale.concert_id, ids[1], 1)]);
    assert!(concerts.list_future_performances(&[], at(0)).await.unwrap().is_empty());
}

#[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
async fn locks_cover_the_requested_rows_and_no_others(pool: MySqlPool) {
    let database = database(&pool);
    let sale = sale(&database).await;
    let (first, second) = (sale.seats[0].id, sale.seats[1].id);
    let mut uow = database.begin().await.unwrap();
    let absent = SeatId(999);
    let (here, elsewhere, third) = (sale.performance_id, PerformanceId(999), sale.seats[2].id);
    let requested = [(second, here), (absent, here), (first, here), (third, elsewhere)];
    let locked = uow.seat_claims().lock_seats(&requested).await.unwrap();
    assert_eq!(locked, sale.seats[..2].iter().cloned().map(|seat| (seat, None)).collect::<Vec<_>>());
    assert!(is_locked(&pool, "seats", "id", first.0).await);
    assert!(!is_locked(&pool, "seats", "id", third.0).await);
    assert!(uow.seat_claims().lock_seats(&[]).await.unwrap().is_empty());

    let ids = [sale.performance_id, PerformanceId(999)];
    let shared = uow.concerts().share_performances(&ids).await.unwrap();
    assert_eq!((shared.len(), shared[0].total_seats), (1, 10));
    assert!(is_locked(&pool, "performances", "id", sale.performance_id.0).await);
    assert!(!is_locked(&pool, "concerts", "id", sale.concert_id.0).await);
    let mut other = database.begin().await.unwrap();
    assert_eq!(other.concerts().share_performances(&ids).await.unwrap().len(), 1);
    assert!(other.concerts().share_performances(&[]).await.unwrap().is_empty());
}

#[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
async fn occupancy_counts_claims_until_their_deadline(pool: MySqlPool) {
    let database = database(&pool);
    let sale = sale(&database).await;
    let user_id = user(&pool, 1).await;
    hold(&database, &[sale.booking(1, user_id, 0, 3)]).await;
    let mut uow = database.begin().await.unwrap();
    let ids = [sale.performance_id, PerformanceId(999)];
    let occupied = uow.concerts().list_occupancy(&ids, at(299)).await.unwrap();
    assert_eq!(occupied, [Occupancy { performance_id: sale.performance_id, claimed: 3 }]);
    assert!(uow.concerts().list_occupancy(&ids, at(300)).await.unwrap().is_empty());
    assert!(uow.concerts().list_occupancy(&[], at(0)).await.unwrap().is_empty());
}
