//! Tests of bookings and claims, which change together.

use std::collections::HashMap;

use sqlx::MySqlPool;
use uuid::Uuid;

use super::super::fixtures_catalogue::{at, database, hold, is_locked, payment, sale, user, write};
use crate::domain::{
    booking::{Booking, BookingState, OpenBooking, instant_after, live_seats},
    clock::Instant,
    concert::SeatStatus,
    id::{BookingId, ConcertId, PaymentId, PerformanceId},
    language::Language,
    page::PageRequest,
    repository_error::RepositoryError,
    unit_of_work::Database,
};

fn is_contention<T>(result: &Result<T, RepositoryError>) -> bool {
    matches!(result, Err(RepositoryError::Contention { .. }))
}

fn confirmed(booking: &Booking, payment_id: PaymentId, now: Instant) -> Booking {
    Booking { state: BookingState::Confirmed { at: now, payment_id }, ..booking.clone() }
}

fn refunded(booking: &Booking, payment_id: PaymentId, confirmed_at: Instant, now: Instant) -> Booking {
    Booking { state: BookingState::Refunded { confirmed_at, payment_id, at: now }, ..booking.clone() }
}

#[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
async fn bookings_are_stored_with_their_seats(pool: MySqlPool) {
    let database = database(&pool);
    let sale = sale(&database).await;
    let user_id = user(&pool, 1).await;
    let bookings = [sale.booking(1, user_id, 0, 2), sale.booking(2, user_id, 2, 3)];
    hold(&database, &bookings).await;
    let mut uow = database.begin().await.unwrap();
    let mut found = uow.bookings().list(&[bookings[0].id, bookings[1].id]).await.unwrap();
    found.sort_by_key(|booking| booking.id);
    assert_eq!(found, bookings);
    found[0].held_until = at(0);
    found[0].language = Some(Language::Korean);
    uow.bookings().lock(&mut found).await.unwrap();
    assert_eq!(found, bookings);
    assert!(is_locked(&pool, "bookings", "id", bookings[0].id.0).await);
    let mut absent = [sale.booking(3, user_id, 5, 1)];
    assert!(is_contention(&uow.bookings().lock(&mut absent).await));
    assert!(uow.bookings().list(&[]).await.unwrap().is_empty());
    uow.bookings().lock(&mut []).await.unwrap();
    uow.bookings().insert(&[]).await.unwrap();
}

#[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
async fn a_users_bookings_are_listed_newest_first_as_they_are_now(pool: MySqlPool) {
    let database = database(&pool);
    let sale = sale(&database).await;
    let user_id = user(&pool, 1).await;
    let bookings: Vec<_> =
        (1..=4u8).map(|number| sale.booking(u128::from(number), user_id, usize::from(number), 1)).collect();
    hold(&database, &bookings).await;
    let mut uow = database.begin().await.unwrap();
    let expired = Booking { state: BookingState::Expired, ..bookings[0].clone() };
    let cancelled = Booking { state: BookingState::Cancelled { at: at(9) }, ..bookings[1].clone() };
    write(&mut uow, &[expired, cancelled], at(9)).await;
    let two = PageRequest::first(2);
    for (status, page, now, expected, more) in [
        (None, two, 299, vec![4, 3], true),
        (None, PageRequest { after: Some(bookings[2].id), ..two }, 299, vec![2, 1], false),
        (Some("PENDING"), two, 299, vec![4, 3], false),
        (Some("EXPIRED"), two, 299, vec![1], false),
        (Some("EXPIRED"), PageRequest::first(9), 300, vec![4, 3, 1], false),
        (Some("PENDING"), two, 300, vec![], false),
        (Some("CANCELLED"), two, 299, vec![2], false),
    ] {
        let found = uow.bookings().list_page(user_id, status, page, at(now)).await.unwrap();
        let ids: Vec<_> = found.items.iter().map(|booking| booking.id.0.as_u128()).collect();
        assert_eq!((ids, found.has_more), (expected, more), "{status:?} {page:?} {now}");
    }
}

#[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
async fn a_seat_has_one_live_claim_and_an_expired_one_is_replaced(pool: MySqlPool) {
    let database = database(&pool);
    let sale = sale(&database).await;
    let user_id = user(&pool, 1).await;
    let first = sale.booking(1, user_id, 0, 2);
    hold(&database, std::slice::from_ref(&first)).await;
    let second = Booking { held_until: at(900), ..sale.booking(2, user_id, 1, 2) };
    let mut uow = database.begin().await.unwrap();
    uow.bookings().insert(std::slice::from_ref(&second)).await.unwrap();
    uow.seat_claims().insert_claims(&[], at(0)).await.unwrap();
    uow.commit().await.unwrap();
    let seats: Vec<_> = second.seat_ids().collect();
    let mut early = database.begin().await.unwrap();
    early.seat_claims().delete_expired_claims(&seats, at(299)).await.unwrap();
    assert!(is_contention(&early.seat_claims().insert_claims(std::slice::from_ref(&second), at(299)).await));
    drop(early);

    let mut uow = database.begin().await.unwrap();
    uow.seat_claims().delete_expired_claims(&[], at(300)).await.unwrap();
    uow.seat_claims().delete_expired_claims(&seats, at(300)).await.unwrap();
    uow.seat_claims().insert_claims(std::slice::from_ref(&second), at(300)).await.unwrap();
    let seats: Vec<_> = sale.seats[..3].iter().map(|seat| seat.id).collect();
    let mut claims = uow.seat_claims().list_claims(&seats).await.unwrap();
    claims.sort_by_key(|claim| claim.seat_id);
    let holders: Vec<_> = claims.iter().map(|it| (it.claim.booking_id, it.claim.held_until)).collect();
    let (mine, theirs) = ((Some(first.id), Some(at(300))), (Some(second.id), Some(at(900))));
    assert_eq!(holders, [mine, theirs, theirs]);
    let mut terms = uow.seat_claims().list_claim_deadlines(sale.performance_id, None).await.unwrap();
    terms.sort_by_key(|term| term.seat_id);
    let instants: Vec<_> = terms.iter().map(|it| (it.held_until, it.changed_at)).collect();
    assert_eq!(instants[1..], [(Some(at(900)), at(300)); 2]);
    // Another booking has claimed its seat: an extension or payment must fail, a cancellation must leave the claim.
    let ids: Vec<_> = first.seat_ids().collect();
    let cancelled = Booking { state: BookingState::Cancelled { at: at(301) }, ..first.clone() };
    uow.seat_claims().update_claims(&[cancelled], at(301)).await.unwrap();
    let claims = uow.seat_claims().list_claims(&ids).await.unwrap();
    let statuses: Vec<_> = claims.iter().map(|it| it.claim.status_at(at(301))).collect();
    assert_eq!(statuses, [SeatStatus::Available, SeatStatus::Held]);
    assert!(is_contention(&uow.seat_claims().update_claims(&[first], at(301)).await));
    assert!(uow.seat_claims().list_claims(&[]).await.unwrap().is_empty());
}

#[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
async fn a_paid_booking_is_confirmed_and_its_seats_are_sold(pool: MySqlPool) {
    let database = database(&pool);
    let sale = sale(&database).await;
    let user_id = user(&pool, 1).await;
    let bookings = [sale.booking(1, user_id, 0, 2), sale.booking(2, user_id, 2, 1)];
    hold(&database, &bookings).await;
    let paid_with = payment(&pool, &bookings[0], at(20)).await;
    let paid = confirmed(&bookings[0], paid_with, at(20));
    let extended = Booking { is_extended: true, held_until: at(420), ..bookings[1].clone() };
    let mut uow = database.begin().await.unwrap();
    write(&mut uow, &[paid.clone(), extended.clone()], at(20)).await;
    let mut found = uow.bookings().list(&[paid.id, extended.id]).await.unwrap();
    found.sort_by_key(|booking| booking.id);
    assert_eq!(found, [paid.clone(), extended.clone()]);
    let terms = uow.seat_claims().list_claim_deadlines(sale.performance_id, None).await.unwrap();
    let until: HashMap<_, _> = terms.iter().map(|it| (it.seat_id, it.held_until)).collect();
    let expected = [(0, None), (1, None), (2, Some(at(420)))];
    assert_eq!(until, expected.map(|(seat, until)| (sale.seats[seat].id, until)).into());
    // The first is no longer pending in the table, and the second has no payment.
    assert!(is_contention(&uow.bookings().update(std::slice::from_ref(&paid)).await));
    let unpaid = confirmed(&bookings[1], paid_with, at(20));
    assert!(is_contention(&uow.bookings().update(std::slice::from_ref(&unpaid)).await));
    assert!(is_contention(&uow.seat_claims().update_claims(&[unpaid], at(20)).await));
    let gone = Booking { id: BookingId(Uuid::from_u128(9)), ..extended };
    assert!(is_contention(&uow.bookings().update(&[gone]).await));

    let refund = refunded(&bookings[0], paid_with, at(20), at(30));
    write(&mut uow, std::slice::from_ref(&refund), at(30)).await;
    assert_eq!(uow.bookings().list(&[paid.id]).await.unwrap(), [refund]);
    let claims = uow.seat_claims().list_claims(&[sale.seats[0].id]).await.unwrap();
    assert_eq!(claims[0].claim.held_until, Some(at(30)));
    // The first two seats were released at 30, the third extended at 20.
    for (since, count) in [(at(20), 3), (at(21), 2), (at(30), 2), (at(31), 0)] {
        let terms = uow.seat_claims().list_claim_deadlines(sale.performance_id, Some(since)).await.unwrap();
        assert_eq!(terms.len(), count, "{since}");
    }
}

#[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
async fn several_changes_of_a_booking_in_one_transaction_are_all_written(pool: MySqlPool) {
    let database = database(&pool);
    let sale = sale(&database).await;
    let user_id = user(&pool, 1).await;
    let bookings: Vec<_> =
        (1..=3u8).map(|number| sale.booking(u128::from(number), user_id, usize::from(number), 1)).collect();
    hold(&database, &bookings).await;
    let extended = |booking: &Booking| Booking { is_extended: true, held_until: at(420), ..booking.clone() };
    let paid_with = [payment(&pool, &bookings[0], at(20)).await, payment(&pool, &bookings[1], at(20)).await];
    let written = [
        confirmed(&extended(&bookings[0]), paid_with[0], at(20)),
        refunded(&extended(&bookings[1]), paid_with[1], at(20), at(20)),
        Booking { state: BookingState::Cancelled { at: at(20) }, ..extended(&bookings[2]) },
    ];
    let mut uow = database.begin().await.unwrap();
    write(&mut uow, &written, at(20)).await;
    let mut found = uow.bookings().list(&bookings.iter().map(|it| it.id).collect::<Vec<_>>()).await.unwrap();
    found.sort_by_key(|booking| booking.id);
    assert_eq!(found, written);
    let terms = uow.seat_claims().list_claim_deadlines(sale.performance_id, None).await.unwrap();
    let sold: Vec<_> = terms.iter().filter(|it| it.held_until.is_none()).collect();
    assert_eq!((sold.len(), sold[0].seat_id), (1, sale.seats[1].id));
}

#[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
async fn the_schema_refuses_sold_seats_without_a_payment(pool: MySqlPool) {
    let database = database(&pool);
    let sale = sale(&database).await;
    let booking = sale.booking(1, user(&pool, 1).await, 0, 1);
    hold(&database, &[booking]).await;
    for statement in [
        "UPDATE seat_claims SET held_until = NULL",
        "UPDATE bookings SET status = 'CONFIRMED'",
        "UPDATE bookings SET status = 'CONFIRMED', confirmed_at = created_at, payment_id = id",
        "UPDATE bookings SET status = 'CANCELLED'",
    ] {
        let error = sqlx::query(statement).execute(&pool).await.unwrap_err();
        let database_error = error.as_database_error().unwrap();
        assert!(
            database_error.is_check_violation() || database_error.is_foreign_key_violation(),
            "{statement}: {database_error}"
        );
    }
}

#[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
async fn expired_holds_are_claimed_by_one_transaction_each(pool: MySqlPool) {
    let database = database(&pool);
    let sale = sale(&database).await;
    let user_id = user(&pool, 1).await;
    let first = sale.booking(1, user_id, 0, 1);
    let second = Booking { held_until: at(299), ..sale.booking(2, user_id, 1, 2) };
    let third = Booking { held_until: at(301), ..sale.booking(3, user_id, 3, 1) };
    hold(&database, &[first.clone(), second.clone(), third]).await;
    let mut one = database.begin().await.unwrap();
    let claimed = one.bookings().claim_expired(at(300), 1).await.unwrap();
    assert_eq!(claimed, std::slice::from_ref(&second));
    let mut other = database.begin().await.unwrap();
    assert_eq!(other.bookings().claim_expired(at(300), 9).await.unwrap(), [first]);
    assert!(!is_locked(&pool, "seats", "id", sale.seats[1].id.0).await);

    let expired = Booking { state: BookingState::Expired, ..second };
    write(&mut one, std::slice::from_ref(&expired), at(300)).await;
    one.commit().await.unwrap();
    let mut uow = database.begin().await.unwrap();
    assert!(is_contention(&uow.bookings().update(&[expired]).await));
    uow.bookings().update(&[]).await.unwrap();
    uow.seat_claims().update_claims(&[], at(0)).await.unwrap();
}

#[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
async fn live_bookings_are_counted_until_their_deadline(pool: MySqlPool) {
    let database = database(&pool);
    let sale = sale(&database).await;
    let (buyer, other) = (user(&pool, 1).await, user(&pool, 2).await);
    let bookings = [sale.booking(1, buyer, 0, 2), sale.booking(2, buyer, 2, 1)];
    hold(&database, &bookings).await;
    let paid_with = payment(&pool, &bookings[0], at(20)).await;
    let mut uow = database.begin().await.unwrap();
    write(&mut uow, &[confirmed(&bookings[0], paid_with, at(20))], at(20)).await;
    let bookings_of = uow.bookings();
    let (here, elsewhere) = (sale.performance_id, PerformanceId(999));
    let open = bookings_of.list_open_of_performances(&[buyer, other], &[here, elsewhere]).await.unwrap();
    for (now, seats) in [(299, 3), (300, 2)] {
        assert_eq!(live_seats(&open, buyer, here, at(now)), seats);
        assert_eq!(live_seats(&open, buyer, elsewhere, at(now)), 0);
        assert_eq!(live_seats(&open, other, here, at(now)), 0);
    }
    assert_eq!(instant_after(&open, at(-9)), bookings[1].created_at);
    let mut everywhere = bookings_of.list_open_of_users(&[buyer], &[here]).await.unwrap();
    everywhere.sort_unstable_by_key(|booking| booking.id);
    assert_eq!(everywhere, [OpenBooking { held_until: None, ..(&bookings[0]).into() }, (&bookings[1]).into()]);
    let pending = bookings_of.list_open_of_users(&[buyer, other], &[elsewhere]).await.unwrap();
    assert_eq!(pending, [OpenBooking::from(&bookings[1])]);
    assert_eq!(bookings_of.list_open_of_performances(&[buyer], &[elsewhere]).await.unwrap(), []);
    let held = bookings_of.list_holds_of_users(&[buyer, other], at(299)).await.unwrap();
    assert_eq!(held, [OpenBooking::from(&bookings[1])]);
    assert!(bookings_of.list_holds_of_users(&[buyer], at(300)).await.unwrap().is_empty());
    assert!(bookings_of.list_holds_of_users(&[], at(0)).await.unwrap().is_empty());
    assert_eq!(bookings_of.list_open_of_performances(&[], &[here]).await.unwrap(), []);
    assert!(bookings_of.user_has_live(buyer, at(300)).await.unwrap());
    assert!(!bookings_of.user_has_live(other, at(0)).await.unwrap());
    assert!(bookings_of.concert_has_live(sale.concert_id, at(300)).await.unwrap());
    assert!(!bookings_of.concert_has_live(ConcertId(999), at(0)).await.unwrap());
    assert_eq!(bookings_of.count_open_of_performance(here).await.unwrap(), 2);
    assert_eq!(bookings_of.list_open_of_performance(here, None, 1).await.unwrap().len(), 1);
    assert_eq!(bookings_of.list_open_of_performance(here, None, 9).await.unwrap().len(), 2);
    assert_eq!(bookings_of.count_open_of_performance(elsewhere).await.unwrap(), 0);
}
