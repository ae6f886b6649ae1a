//! Demo data: a venue, concerts with performances and seats, an administrator and users. One user is blocked, and one
//! has a booking of a concert that is over.

use std::{fmt::Write, net::Ipv4Addr, slice::from_ref};

use anyhow::Context;
use chrono::{TimeDelta, Timelike};

use crate::{
    application::{
        administration::UpdateUser,
        concert::{ChangeBlocks, CreatePerformance},
        error::AppError,
    },
    domain::{
        booking::{BookedSeat, Booking, BookingState},
        clock::Instant,
        concert::{ConcertFields, ConcertFilter, Performance, Seating, Section},
        event::{Event, Fact},
        id::{BookingId, ConcertId, EventId, PaymentId, TransactionId, UserId, VenueId},
        language::Language,
        page::PageRequest,
        payment::{Payment, PaymentState},
        point::LedgerKind,
        points::Points,
        randomness::new_uuid,
        refusal::Refusal,
        text::{Email, Name, Reason},
        user::{Password, User, UserFilter},
    },
    interfaces::http::{openapi::DemoAccounts, state::App},
};

/// The password of all demo accounts.
const PASSWORD: &str = "demo-password-1";

/// The demo accounts; the first is the administrator.
const ACCOUNTS: [(&str, &str); 3] =
    [("admin@demo.example", "Demo admin"), ("alice@demo.example", "Alice"), ("bob@demo.example", "Bob")];

/// The account that is blocked; it can't log in.
const BLOCKED_ACCOUNT: (&str, &str) = ("mallory@demo.example", "Mallory");

/// The account with a booking of a performance that is over. Its points are spent.
const PAST_BUYER: (&str, &str) = ("carol@demo.example", "Carol");

/// The demo concerts: title, artist, category, and the days until their two performances. The last one is over.
const CONCERTS: [(&str, &str, &str, [i64; 2]); 4] = [
    ("Spring in Seoul", "The Long Rivers", "POP", [30, 31]),
    ("Quartets at Night", "Hana Quartet", "CLASSICAL", [45, 46]),
    ("Stadium Tour", "Nine Lives", "ROCK", [60, 61]),
    ("Songs of Last Winter", "The Long Rivers", "POP", [-8, -7]),
];

/// The initial balance of each user in [`ACCOUNTS`], in points. The administrator gets none.
const POINTS: &str = "500000";

/// The number of blocked seats of each performance.
const BLOCKED_SEATS: usize = 4;

/// The demo accounts for the API's documentation.
pub fn accounts() -> DemoAccounts {
    DemoAccounts { emails: ACCOUNTS.map(|(email, _)| email), password: PASSWORD }
}

/// Creates the demo data that is missing, and returns a text with the accounts. Safe to repeat.
pub async fn seed(app: &App) -> anyhow::Result<String> {
    for (index, (email, name)) in ACCOUNTS.into_iter().enumerate() {
        if let Some(created) = account(app, email, name, index == 0).await?
            && index > 0
        {
            app.points.give(created, POINTS.parse()?).await.context("charging points")?;
        }
    }
    account(app, PAST_BUYER.0, PAST_BUYER.1, false).await?;
    blocked_account(app).await?;
    if !has_concerts(app).await? {
        let (name, address) = (Name::new("Han River Hall")?, Name::new("1 Riverside Road, Seoul")?);
        let venue = app.concerts.create_venue(None, &name, &address).await?;
        let mut last = Vec::new();
        for (index, concert) in CONCERTS.iter().enumerate() {
            last = create_concert(app, venue.id, concert, index == 0).await?;
        }
        let past = last.first().context("the last concert has performances")?;
        book_past(app, past, find_user(app, PAST_BUYER.0).await?.id).await?;
    }
    let mut text = String::from("Demo accounts, all with the password ");
    let _ = write!(text, "{PASSWORD}:");
    for (email, name) in ACCOUNTS {
        let _ = write!(text, "\n  {email}  {name}");
    }
    let _ = write!(text, "\n  {}  {}, with a booking of a concert that is over", PAST_BUYER.0, PAST_BUYER.1);
    let _ = write!(text, "\n  {}  {}, blocked", BLOCKED_ACCOUNT.0, BLOCKED_ACCOUNT.1);
    Ok(text)
}

/// Creates the account that the demo's administrator has blocked.
async fn blocked_account(app: &App) -> anyhow::Result<()> {
    let (email, name) = BLOCKED_ACCOUNT;
    account(app, email, name, false).await?;
    let (admin, user) = (find_user(app, ACCOUNTS[0].0).await?, find_user(app, email).await?);
    if user.blocked_at.is_none() {
        let reason = Reason::new("Resold tickets.")?;
        let command = UpdateUser { user_id: user.id, role: None, blocked: Some(true), reason };
        app.administration.update_user(admin.id, &command).await?;
    }
    Ok(())
}

async fn find_user(app: &App, email: &str) -> anyhow::Result<User> {
    let filter = UserFilter { query: Some(email.to_owned()), ..UserFilter::default() };
    let found = app.administration.list_users(&filter, PageRequest::first(1)).await?.items.pop();
    found.map(|details| details.user).with_context(|| format!("there is no account {email}"))
}

/// Returns the id of a new account; `None` where there is one already.
async fn account(app: &App, email: &str, name: &str, is_admin: bool) -> anyhow::Result<Option<UserId>> {
    let (email, name, password) = (Email::new(email)?, Name::new(name)?, Password::new(PASSWORD)?);
    let users = &app.users;
    let created = if is_admin {
        users.create_admin(email, password, name).await
    } else {
        users.sign_up(email, password, name, Ipv4Addr::LOCALHOST.into(), Language::default()).await
    };
    match created {
        Ok(profile) => Ok(Some(profile.id)),
        Err(AppError::Refused(Refusal::EmailTaken)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn has_concerts(app: &App) -> anyhow::Result<bool> {
    let filter = ConcertFilter {
        query: Some(CONCERTS[0].0.to_owned()),
        category: None,
        // Includes past performances, of an earlier demo.
        from: Some(Instant::UNIX_EPOCH),
        to: None,
        page: PageRequest::first(1),
    };
    Ok(!app.concerts.list_concerts(&filter, Ipv4Addr::LOCALHOST.into()).await?.value()?.items.is_empty())
}

async fn create_concert(
    app: &App,
    venue_id: VenueId,
    (title, artist, category, days): &(&str, &str, &str, [i64; 2]),
    is_large: bool,
) -> anyhow::Result<Vec<Performance>> {
    let fields = ConcertFields {
        title: Name::new(title)?,
        artist: Name::new(artist)?,
        category: Name::new(category)?,
        description: format!("{artist} in two evenings: {title}."),
    };
    let concert = app.concerts.create_concert(None, &fields).await?;
    let concert_id: ConcertId = concert.listed.concert.id;
    let evening =
        app.clock.now().with_minute(0).and_then(|now| now.with_second(0)).and_then(|now| now.with_nanosecond(0));
    let evening = evening.context("the hour begins")?;
    let mut performances = Vec::new();
    for day in days {
        let seating = seating(if is_large { 20 } else { 5 })?;
        let starts_at = evening + TimeDelta::days(*day);
        let command = CreatePerformance { concert_id, venue_id, starts_at, seating };
        let performance = app.concerts.create_performance(None, &command).await?.listed.performance;
        block_last_seats(app, &performance).await?;
        performances.push(performance);
    }
    Ok(performances)
}

/// Books the first two seats of a performance that is over, bought and paid two weeks before it. No use case sells
/// them, so this writes what a sale would have written then, except the queue token. No receiver gets the events.
async fn book_past(app: &App, performance: &Performance, user_id: UserId) -> anyhow::Result<()> {
    let at = performance.starts_at - TimeDelta::days(14);
    let id = || new_uuid(&*app.randomness, at);
    let mut uow = app.database.begin().await?;
    let seats = uow.concerts().list_seats(performance.id).await?;
    let seats: Vec<_> = seats.iter().take(2).map(BookedSeat::from).collect();
    let total = seats.iter().try_fold(Points::ZERO, |total, seat| total.plus(seat.price));
    let total = total.context("two seats have a price")?;
    let held = Booking {
        id: BookingId(id()),
        user_id,
        concert_id: performance.concert_id,
        performance_id: performance.id,
        state: BookingState::Pending,
        seats,
        total,
        held_until: at + TimeDelta::minutes(5),
        is_extended: false,
        is_complimentary: false,
        language: Some(Language::English),
        created_at: at,
    };
    let (payment_id, booking_id) = (PaymentId(id()), held.id);
    let payment =
        Payment { id: payment_id, booking_id, user_id, amount: total, state: PaymentState::Completed, paid_at: at };
    let confirmed = Booking { state: BookingState::Confirmed { at, payment_id }, ..held.clone() };
    let mut wallet = uow.wallets().find_or_empty(user_id).await?;
    let charge = wallet.change(TransactionId(id()), LedgerKind::Charge, total, at)?;
    let debit = wallet.change(TransactionId(id()), LedgerKind::Payment(payment_id, booking_id), total, at)?;
    uow.bookings().insert(from_ref(&held)).await?;
    uow.seat_claims().insert_claims(from_ref(&held), at).await?;
    uow.payments().insert(&[payment]).await?;
    uow.bookings().update(from_ref(&confirmed)).await?;
    uow.seat_claims().update_claims(from_ref(&confirmed), at).await?;
    uow.wallets().apply(&[charge, debit]).await?;
    let (transaction_id, balance) = (charge.id, charge.balance_after);
    let facts = [
        Fact::PointsCharged { transaction_id, user_id, amount: total, balance },
        Fact::BookingHeld(held),
        Fact::BookingConfirmed(confirmed),
        Fact::PaymentCompleted(payment),
    ];
    let events = facts.map(|fact| Event { id: EventId(id()), fact, at });
    uow.outbox().insert(&events, Some(at)).await?;
    uow.commit().await?;
    Ok(())
}

/// Blocks the last seats of the map, which the walkthrough doesn't use.
async fn block_last_seats(app: &App, performance: &Performance) -> anyhow::Result<()> {
    let map = app.concerts.seat_map(performance.id, performance.concert_id).await?;
    let mut seat_ids: Vec<_> = map.seat_ids().collect();
    let seat_ids = seat_ids.split_off(seat_ids.len().saturating_sub(BLOCKED_SEATS));
    let reason = Reason::new("Behind the mixing desk.")?;
    let command = ChangeBlocks { performance_id: performance.id, seat_ids, is_blocked: true, reason };
    app.concerts.change_blocks(None, &command).await?;
    Ok(())
}

fn seating(rows: u16) -> anyhow::Result<Seating> {
    let section = |name: &str, grade: &str, rows: u16, price: &str| -> anyhow::Result<Section> {
        let price: Points = price.parse()?;
        Ok(Section { name: Name::new(name)?, grade: Name::new(grade)?, rows, seats_per_row: 20, price })
    };
    Ok(Seating::new(vec![
        section("Floor", "VIP", rows / 2, "150000")?,
        section("Balcony", "R", rows, "90000")?,
        section("Gallery", "S", rows, "50000")?,
    ])?)
}
