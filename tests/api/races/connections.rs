//! Connections that break during transactions.

use std::{collections::BTreeMap, sync::Arc};

use futures::future::BoxFuture;
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, Executor, MySqlConnection};
use tokio::sync::Semaphore;

use crate::support::{Client, Process, Reply, Servers, one_and_two_servers, race, tally};

one_and_two_servers!(charges_whose_connections_are_cut_have_one_effect_each);

/// Kills every connection to the test's database, and returns their number.
async fn cut_all(connection: &mut MySqlConnection, database: &str) -> usize {
    let processes = Process::list(&mut *connection, database).await;
    for Process { id, .. } in &processes {
        // It may have ended by itself.
        let _ = connection.execute(AssertSqlSafe(format!("KILL {id}"))).await;
    }
    processes.len()
}

async fn charge(client: Client, key: String) -> Reply {
    client.post_keyed("/api/v1/points/charges", &key, json!({"amount": "1000"})).await
}

async fn charges_whose_connections_are_cut_have_one_effect_each(servers: Servers) {
    const CHARGES: usize = 50;
    // Many small transactions: some are committed, some in progress, some not yet begun.
    let app = servers.start_with(&[("LANE_BATCH_LIMIT", "2")]);
    let users = app.users(10).await;
    // Without a database, so that it doesn't kill itself.
    let mut connection = MySqlConnection::connect_with(&servers.options.clone().database("")).await.unwrap();
    let database = servers.options.get_database().unwrap().to_owned();
    let answered = Arc::new(Semaphore::new(0));
    let key = |number: usize| format!("key-{}", number / users.len());

    let mut runners: Vec<BoxFuture<'static, Option<Reply>>> = Vec::new();
    for number in 0..CHARGES {
        let (charge, answered) = (charge(users[number % users.len()].clone(), key(number)), Arc::clone(&answered));
        runners.push(Box::pin(async move {
            let reply = charge.await;
            answered.add_permits(1);
            Some(reply)
        }));
    }
    runners.push(Box::pin(async move {
        let mut cut = 0;
        for _ in 0..4 {
            answered.acquire_many(4).await.unwrap().forget();
            cut += cut_all(&mut connection, &database).await;
        }
        assert!(cut > 0, "no connection was cut");
        None
    }));
    for reply in race(runners).await.into_iter().flatten() {
        match reply.status.as_u16() {
            201 => {}
            503 => drop(reply.expect_problem(503, "DATABASE_UNAVAILABLE")),
            _ => panic!("{reply:?}"),
        }
    }

    let again = race((0..CHARGES).map(|number| charge(users[number % users.len()].clone(), key(number)))).await;
    assert_eq!(tally(&again), BTreeMap::from([((201, String::new()), CHARGES)]));
    for user in &users {
        assert_eq!(user.balance().await, "5000");
    }
    app.assert_invariants_hold().await;
}
