//! Lanes alone: failing commands, abandoned commands, a full inbox, silent connections.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use concert_reservation::{
    application::{
        error::AppError,
        lane::{Decisions, IdempotencyKey, LanePorts, LaneSettings, LaneWork, Lanes, Reply, ReplyTo},
    },
    domain::{
        clock::Clock,
        id::UserId,
        idempotency::{Answer, KeyDigest},
        refusal::Refusal,
        repository_error::RepositoryError,
        unit_of_work::UnitOfWork,
    },
    infrastructure::mysql,
};
use futures::{FutureExt, future::join_all};
use serde_json::json;
use sqlx::{
    Connection, MySqlConnection,
    mysql::{MySqlConnectOptions, MySqlPoolOptions},
};
use tokio::{sync::Semaphore, time::timeout};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::support::{DatabaseProxy, Servers, TestApp, one_and_two_servers, tally};

one_and_two_servers!(a_closing_server_answers_every_request_first);

#[derive(Clone, Copy)]
enum Command {
    Answer(u8),
    /// Answers when the test opens the gate: commands that arrive meanwhile are in the next batch.
    Wait,
    Panic,
    Fail,
    /// Gets no decision.
    Forget,
}

#[derive(Clone)]
struct Script {
    /// A permit for each wait that has begun.
    begun: Arc<Semaphore>,
    gate: Arc<Semaphore>,
    answered: Arc<Mutex<Vec<u8>>>,
}

#[async_trait]
impl LaneWork for Script {
    type Command = (Command, ReplyTo<u8>);

    const NAME: &'static str = "script";

    async fn run(
        &self,
        _: &mut dyn UnitOfWork,
        clock: &dyn Clock,
        commands: &[&Self::Command],
    ) -> Result<Decisions, RepositoryError> {
        let (mut answers, mut decisions) = (Vec::new(), Vec::new());
        for (command, reply) in commands {
            let answer = match command {
                Command::Answer(number) => *number,
                Command::Wait => {
                    self.begun.add_permits(1);
                    self.gate.acquire().await.unwrap().forget();
                    0
                }
                Command::Panic => panic!("a command that the test made panic"),
                Command::Fail => return Err(RepositoryError::Storage("a command that the test made fail".into())),
                Command::Forget => continue,
            };
            answers.push(answer);
            decisions.push(reply.decide(Ok(answer)));
        }
        self.answered.lock().unwrap().extend(answers);
        Ok(Decisions { at: clock.now(), decisions })
    }
}

/// One lane that executes the commands of a test.
struct Bench {
    app: TestApp,
    script: Script,
    lanes: Lanes<Script>,
    tasks: TaskTracker,
}

impl Bench {
    /// One transaction at a time, without a time limit.
    fn new(options: MySqlConnectOptions, batch_limit: usize, inbox: usize) -> Self {
        Self::with(
            options,
            LaneSettings {
                max_parallel_batches: 1,
                batch_limit,
                inbox_capacity: inbox,
                slot_timeout: Duration::MAX,
                transaction_timeout: Duration::MAX,
            },
        )
    }

    fn with(options: MySqlConnectOptions, settings: LaneSettings) -> Self {
        let app = TestApp::start(options);
        let script =
            Script { begun: Arc::new(Semaphore::new(0)), gate: Arc::new(Semaphore::new(0)), answered: Arc::default() };
        let tasks = TaskTracker::new();
        let ports = LanePorts {
            database: Arc::clone(&app.ports().database),
            clock: Arc::clone(&app.ports().clock),
            randomness: Arc::clone(&app.ports().randomness),
            tasks: tasks.clone(),
        };
        let lanes = Lanes::new(script.clone(), settings, ports);
        Self { app, script, lanes, tasks }
    }

    async fn call(&self, command: Command) -> Result<Reply<u8>, AppError> {
        self.lanes.submit(None, None, |reply| (command, reply)).await
    }

    async fn keyed(&self, digest: KeyDigest, command: Command) -> Result<Reply<u8>, AppError> {
        self.keyed_by(UserId(Uuid::nil()), digest, command).await
    }

    async fn keyed_by(&self, user_id: UserId, digest: KeyDigest, command: Command) -> Result<Reply<u8>, AppError> {
        let render = |result: Result<&u8, &Refusal>| Answer { status: 201, body: vec![*result.unwrap()] };
        let key = IdempotencyKey { digest, fingerprint: [0; 32], user_id, render: Box::new(render) };
        self.lanes.submit(None, Some(key), |reply| (command, reply)).await
    }

    /// Runs `rest` while the lane is busy, and then lets the lane continue.
    async fn while_busy<F: Future>(&self, rest: impl FnOnce() -> F) -> F::Output {
        let waiting = self.call(Command::Wait);
        let rest = async {
            let _ = self.script.begun.acquire().await.unwrap();
            let rest = rest();
            // Commands polled first have entered the inbox before the gate opens.
            let (output, ()) = tokio::join!(rest, async { self.script.gate.add_permits(1) });
            output
        };
        let (waited, output) = tokio::join!(waiting, rest);
        assert!(matches!(waited, Ok(Reply::Unrecorded(Ok(0)))), "{waited:?}");
        output
    }
}

#[sqlx::test(migrator = "mysql::MIGRATOR")]
async fn a_command_that_panics_or_fails_does_not_fail_its_neighbours(
    _: MySqlPoolOptions,
    options: MySqlConnectOptions,
) {
    let bench = Bench::new(options, 64, 64);
    let command = |number| match number {
        7 => Command::Panic,
        13 => Command::Fail,
        number => Command::Answer(number),
    };
    let replies =
        bench.while_busy(|| join_all((1..=20).map(|number| bench.keyed([number; 32], command(number))))).await;
    for (number, reply) in (1..=20).zip(&replies) {
        match (number, reply) {
            (7 | 13, Err(AppError::Internal(_))) => {}
            (number, Ok(Reply::Recorded { answer, replayed: false })) => assert_eq!(answer.body, [number]),
            _ => panic!("{number}: {reply:?}"),
        }
    }
    let digests: Vec<KeyDigest> = (1..=20).map(|number| [number; 32]).collect();
    let mut repositories = bench.app.ports().database.read().await.unwrap();
    assert_eq!(repositories.idempotency().list(&digests).await.unwrap().len(), 18);
    // The lane continues.
    assert!(matches!(bench.call(Command::Answer(21)).await, Ok(Reply::Unrecorded(Ok(21)))));
    assert!(matches!(bench.call(Command::Panic).await, Err(AppError::Internal(_))));
    assert!(matches!(bench.call(Command::Answer(22)).await, Ok(Reply::Unrecorded(Ok(22)))));
}

#[sqlx::test(migrator = "mysql::MIGRATOR")]
async fn commands_beyond_the_inbox_limit_are_refused_at_once(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let bench = Bench::new(options, 1, 3);
    let replies = bench.while_busy(|| join_all((1..=5).map(|number| bench.call(Command::Answer(number))))).await;
    for (number, reply) in (1..=5).zip(&replies) {
        match (number, reply) {
            (1..=3, Ok(Reply::Unrecorded(Ok(answer)))) => assert_eq!(*answer, number),
            (4..=5, Err(AppError::Overloaded)) => {}
            _ => panic!("{number}: {reply:?}"),
        }
    }
    let full = bench
        .while_busy(|| {
            let fill: Vec<_> = (1..=3).map(|number| bench.call(Command::Answer(number))).collect();
            let mut fill = Box::pin(join_all(fill));
            assert!(fill.as_mut().now_or_never().is_none());
            // At once.
            let refused = bench.call(Command::Answer(4)).now_or_never();
            async move {
                fill.await;
                refused
            }
        })
        .await;
    assert!(matches!(full, Some(Err(AppError::Overloaded))), "{full:?}");
}

#[sqlx::test(migrator = "mysql::MIGRATOR")]
async fn abandoned_commands_are_not_executed(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let bench = Bench::new(options, 64, 64);
    let replies = bench
        .while_busy(|| {
            for number in 1..=3 {
                // In the inbox, and then abandoned by its caller.
                assert!(bench.call(Command::Answer(number)).now_or_never().is_none());
            }
            join_all((4..=5).map(|number| bench.call(Command::Answer(number))))
        })
        .await;
    assert!(replies.iter().all(Result::is_ok), "{replies:?}");
    assert_eq!(*bench.script.answered.lock().unwrap(), [0, 4, 5]);
}

#[sqlx::test(migrator = "mysql::MIGRATOR")]
async fn a_stuck_batch_does_not_block_the_next(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let settings = LaneSettings {
        max_parallel_batches: 1,
        batch_limit: 64,
        inbox_capacity: 64,
        slot_timeout: Duration::ZERO,
        transaction_timeout: Duration::MAX,
    };
    let bench = Bench::with(options, settings);
    let stuck = bench.call(Command::Wait);
    let others = async {
        let _ = bench.script.begun.acquire().await.unwrap();
        let reply = bench.call(Command::Answer(1)).await;
        // It was answered, so the first one may continue.
        bench.script.gate.add_permits(1);
        reply
    };
    let (stuck, reply) = tokio::join!(stuck, others);
    assert!(matches!(reply, Ok(Reply::Unrecorded(Ok(1)))), "{reply:?}");
    assert!(matches!(stuck, Ok(Reply::Unrecorded(Ok(0)))), "{stuck:?}");
}

#[sqlx::test(migrator = "mysql::MIGRATOR")]
async fn lanes_end_after_answering_every_command(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let bench = Bench::new(options, 2, 64);
    let replies = bench.while_busy(|| join_all((1..=9).map(|number| bench.call(Command::Answer(number))))).await;
    assert!(replies.iter().all(Result::is_ok), "{replies:?}");
    let Bench { lanes, tasks, script, .. } = bench;
    drop(lanes);
    tasks.close();
    tasks.wait().await;
    assert_eq!(*script.answered.lock().unwrap(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
}

async fn a_closing_server_answers_every_request_first(servers: Servers) {
    const CHARGES: usize = 100;
    let app = servers.start_with(&[("LANE_BATCH_LIMIT", "4")]);
    let users = app.users(CHARGES).await;
    let requests = users
        .into_iter()
        .map(|user| async move { user.post_keyed("/api/v1/points/charges", "key", json!({"amount": "1000"})).await });
    let grace = Duration::from_mins(1);
    // Half the grace time is ten times the usual duration.
    let closed = timeout(grace / 2, async { tokio::join!(join_all(requests), app.close(grace)) });
    let (replies, ()) = closed.await.expect("the servers close as soon as they have answered");
    assert_eq!(tally(&replies).into_iter().collect::<Vec<_>>(), [((201, String::new()), CHARGES)]);

    let mut connection = MySqlConnection::connect_with(&servers.options).await.unwrap();
    let text = "SELECT CAST(SUM(balance) AS SIGNED) FROM point_wallets";
    let points: i64 = sqlx::query_scalar(text).fetch_one(&mut connection).await.unwrap();
    assert_eq!(points, 1_000 * i64::try_from(CHARGES).unwrap());
    servers.start().assert_invariants_hold().await;
}

/// A batch with a key that is already recorded is decided once, after a lookup of its keys.
#[sqlx::test(migrator = "mysql::MIGRATOR")]
async fn a_replayed_key_repeats_nothing_of_its_batch(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options.clone());
    let user_id = UserId(app.user().await.user_id());
    let bench = Bench::new(options, 8, 8);
    let first = bench.keyed_by(user_id, [1; 32], Command::Answer(1)).await;
    assert!(matches!(first, Ok(Reply::Recorded { replayed: false, .. })), "{first:?}");
    bench.script.answered.lock().unwrap().clear();
    let replies = bench.while_busy(|| async {
        let replay = bench.keyed_by(user_id, [1; 32], Command::Answer(1));
        tokio::join!(replay, bench.call(Command::Answer(2)), bench.call(Command::Answer(3)))
    });
    let (replay, second, third) = replies.await;
    assert!(matches!(replay, Ok(Reply::Recorded { replayed: true, .. })), "{replay:?}");
    assert!(second.is_ok() && third.is_ok());
    assert_eq!(*bench.script.answered.lock().unwrap(), [0, 2, 3]);
}

/// A lane that leaves a command undecided has a defect: the command fails, and nothing is recorded under its key.
#[sqlx::test(migrator = "mysql::MIGRATOR")]
async fn nothing_is_recorded_for_a_command_without_a_decision(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options.clone());
    let user_id = UserId(app.user().await.user_id());
    let bench = Bench::new(options, 8, 8);
    let failed = bench.keyed_by(user_id, [1; 32], Command::Forget).await;
    assert!(matches!(failed, Err(AppError::Internal(_))), "{failed:?}");
    let answered = bench.keyed_by(user_id, [1; 32], Command::Answer(2)).await;
    assert!(matches!(answered, Ok(Reply::Recorded { replayed: false, .. })), "{answered:?}");
}

/// One lane behind a proxy; its time limit for transactions is a little longer than the test of a connection.
fn bench_with_proxy(proxy: &DatabaseProxy) -> Bench {
    let transaction = Duration::from_millis(1_500);
    let settings = LaneSettings {
        max_parallel_batches: 1,
        batch_limit: 8,
        inbox_capacity: 8,
        slot_timeout: Duration::MAX,
        transaction_timeout: transaction,
    };
    Bench::with(proxy.options(), settings)
}

/// Long enough for several transactions: whatever takes longer hangs.
const HANGS: Duration = Duration::from_secs(30);

#[sqlx::test(migrator = "mysql::MIGRATOR")]
async fn a_batch_on_a_silent_connection_is_repeated_on_another(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let proxy = DatabaseProxy::start(&options).await;
    let bench = bench_with_proxy(&proxy);
    let user_id = UserId(bench.app.user().await.user_id());
    let silenced = async {
        let _ = bench.script.begun.acquire().await.unwrap();
        proxy.silence_connections();
        bench.script.gate.add_permits(9);
    };
    let both = async { tokio::join!(bench.keyed_by(user_id, [1; 32], Command::Wait), silenced) };
    let (reply, ()) = timeout(HANGS, both).await.expect("the batch ends");
    assert!(matches!(reply, Ok(Reply::Recorded { replayed: false, .. })), "{reply:?}");
    assert_eq!(*bench.script.answered.lock().unwrap(), [0, 0]);
    timeout(HANGS, proxy.until_closed(1)).await.expect("the silent connection is closed");
}

#[sqlx::test(migrator = "mysql::MIGRATOR")]
async fn a_batch_on_a_connection_that_falls_silent_at_the_commit_is_not_repeated(
    _: MySqlPoolOptions,
    options: MySqlConnectOptions,
) {
    let proxy = DatabaseProxy::start(&options).await;
    let bench = bench_with_proxy(&proxy);
    let silenced = async {
        let _ = bench.script.begun.acquire().await.unwrap();
        proxy.silence_connections();
        bench.script.gate.add_permits(9);
    };
    let both = async { tokio::join!(bench.call(Command::Wait), silenced) };
    let (reply, ()) = timeout(HANGS, both).await.expect("the batch ends");
    assert!(matches!(reply, Err(AppError::Unavailable(_))), "{reply:?}");
    assert_eq!(*bench.script.answered.lock().unwrap(), [0]);
    timeout(HANGS, proxy.until_closed(1)).await.expect("the silent connection is closed");
}
