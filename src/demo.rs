//! Demo data: a venue, concerts with performances and seats, an administrator, two users with points, and a blocked
//! one.

use std::{fmt::Write, net::Ipv4Addr};

use anyhow::Context;
use chrono::{TimeDelta, Timelike};

use crate::{
    application::{
        administration::UpdateUser,
        concert::{ChangeBlocks, CreatePerformance},
        error::AppError,
    },
    domain::{
        clock::Instant,
        concert::{ConcertFields, ConcertFilter, Performance, Seating, Section},
        id::{ConcertId, UserId, VenueId},
        language::Language,
        points::Points,
        refusal::Refusal,
        text::{Email, Name, Reason},
        user::{Password, UserFilter},
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

/// The demo concerts: title, artist, category, and the days until their two performances. The last one is over.
const CONCERTS: [(&str, &str, &str, [i64; 2]); 4] = [
    ("Spring in Seoul", "The Long Rivers", "POP", [30, 31]),
    ("Quartets at Night", "Hana Quartet", "CLASSICAL", [45, 46]),
    ("Stadium Tour", "Nine Lives", "ROCK", [60, 61]),
    ("Songs of Last Winter", "The Long Rivers", "POP", [-8, -7]),
];

/// The initial points of each user.
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
        account(app, email, name, index == 0).await?;
    }
    blocked_account(app).await?;
    if !has_concerts(app).await? {
        let (name, address) = (Name::new("Han River Hall")?, Name::new("1 Riverside Road, Seoul")?);
        let venue = app.concerts.create_venue(None, &name, &address).await?;
        for (index, concert) in CONCERTS.iter().enumerate() {
            create_concert(app, venue.id, concert, index == 0).await?;
        }
    }
    let mut text = String::from("Demo accounts, all with the password ");
    let _ = write!(text, "{PASSWORD}:");
    for (email, name) in ACCOUNTS {
        let _ = write!(text, "\n  {email}  {name}");
    }
    let _ = write!(text, "\n  {}  {}, blocked", BLOCKED_ACCOUNT.0, BLOCKED_ACCOUNT.1);
    Ok(text)
}

/// Creates the account that the demo's administrator has blocked.
async fn blocked_account(app: &App) -> anyhow::Result<()> {
    let (email, name) = BLOCKED_ACCOUNT;
    account(app, email, name, false).await?;
    let find = async |email: &str| {
        let filter = UserFilter { query: Some(email.to_owned()), ..UserFilter::default() };
        let found = app.administration.list_users(&filter, 1).await?.items.pop();
        found.map(|details| details.user).with_context(|| format!("there is no account {email}"))
    };
    let (admin, user) = (find(ACCOUNTS[0].0).await?, find(email).await?);
    if user.blocked_at.is_none() {
        let reason = Reason::new("Resold tickets.")?;
        let command = UpdateUser { user_id: user.id, role: None, blocked: Some(true), reason };
        app.administration.update_user(admin.id, &command).await?;
    }
    Ok(())
}

async fn account(app: &App, email: &str, name: &str, is_admin: bool) -> anyhow::Result<()> {
    let (email, name, password) = (Email::new(email)?, Name::new(name)?, Password::new(PASSWORD)?);
    let users = &app.users;
    let created = if is_admin {
        users.create_admin(email, password, name).await
    } else {
        users.sign_up(email, password, name, Ipv4Addr::LOCALHOST.into(), Language::default()).await
    };
    match created {
        Ok(profile) if !is_admin => give_points(app, profile.id).await,
        Ok(_) | Err(AppError::Refused(Refusal::EmailTaken)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

async fn give_points(app: &App, user_id: UserId) -> anyhow::Result<()> {
    app.points.give(user_id, POINTS.parse()?).await.context("charging points")?;
    Ok(())
}

async fn has_concerts(app: &App) -> anyhow::Result<bool> {
    let filter = ConcertFilter {
        query: Some(CONCERTS[0].0.to_owned()),
        category: None,
        // Includes past performances, of an earlier demo.
        from: Some(Instant::UNIX_EPOCH),
        to: None,
        after: None,
        limit: 1,
    };
    Ok(!app.concerts.list_concerts(&filter).await?.value()?.items.is_empty())
}

async fn create_concert(
    app: &App,
    venue_id: VenueId,
    (title, artist, category, days): &(&str, &str, &str, [i64; 2]),
    is_large: bool,
) -> anyhow::Result<()> {
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
    for day in days {
        let seating = seating(if is_large { 20 } else { 5 })?;
        let starts_at = evening + TimeDelta::days(*day);
        let command = CreatePerformance { concert_id, venue_id, starts_at, seating };
        let performance = app.concerts.create_performance(None, &command).await?.listed.performance;
        block_last_seats(app, &performance).await?;
    }
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
