//! A waiting queue in a sorted set of Redis: `ZADD NX`, `ZRANK`, `ZPOPMIN`, and a hash of admitted users.
//!
//! It has no presence, so it admits users who have left; no draw, no streams, and no limit over time.

use std::path::Path;

use redis::{RedisResult, Script, aio::ConnectionManager};

/// Appends a user to the queue. A waiting user keeps the place, and an admitted one stays admitted.
const JOIN: &str = "if redis.call('HEXISTS', KEYS[2], ARGV[1]) == 1 then return 0 end \
     if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then \
       redis.call('ZADD', KEYS[1], 'NX', redis.call('INCR', KEYS[3]), ARGV[1]) \
     end \
     return redis.call('ZRANK', KEYS[1], ARGV[1]) + 1";

/// Moves the first users to the admitted ones.
const ADMIT: &str = "local popped = redis.call('ZPOPMIN', KEYS[1], ARGV[1]) local users = {} \
     for index = 1, #popped, 2 do \
       redis.call('HSET', KEYS[2], popped[index], '1') users[#users + 1] = popped[index] \
     end \
     return users";

/// How users are admitted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Admission {
    /// `ZPOPMIN`, and `HSET` after its answer.
    TwoSteps,
    /// Both in one script.
    Script,
}

impl Admission {
    /// Its name in a report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::TwoSteps => "two commands",
            Self::Script => "one script",
        }
    }
}

/// The state of a user.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// Counted from 1.
    Waiting(u64),
    Admitted,
    /// In no queue.
    Unknown,
}

/// Any number of queues, each in keys of its own.
#[derive(Clone)]
pub(crate) struct RedisQueues {
    connection: ConnectionManager,
    join: Script,
    admit: Script,
}

impl RedisQueues {
    pub(crate) async fn connect(socket: &Path) -> RedisResult<Self> {
        let connection = super::connect(socket).await?;
        Ok(Self { connection, join: Script::new(JOIN), admit: Script::new(ADMIT) })
    }

    pub(crate) async fn join(&self, queue: u64, user: u64) -> RedisResult<Place> {
        let [waiting, admitted, last] = keys(queue);
        let mut call = self.join.prepare_invoke();
        call.key(waiting).key(admitted).key(last).arg(user);
        let position: u64 = call.invoke_async(&mut self.connection.clone()).await?;
        Ok(if position == 0 { Place::Admitted } else { Place::Waiting(position) })
    }

    pub(crate) async fn poll(&self, queue: u64, user: u64) -> RedisResult<Place> {
        let [waiting, admitted, _] = keys(queue);
        let mut connection = self.connection.clone();
        let rank: Option<u64> = redis::cmd("ZRANK").arg(waiting).arg(user).query_async(&mut connection).await?;
        if let Some(rank) = rank {
            return Ok(Place::Waiting(rank + 1));
        }
        let is_admitted: bool = redis::cmd("HEXISTS").arg(admitted).arg(user).query_async(&mut connection).await?;
        Ok(if is_admitted { Place::Admitted } else { Place::Unknown })
    }

    /// Admits the first `count` users, and returns them.
    pub(crate) async fn admit(&self, queue: u64, count: u64, how: Admission) -> RedisResult<Vec<u64>> {
        let [waiting, admitted, _] = keys(queue);
        let mut connection = self.connection.clone();
        if how == Admission::Script {
            let mut call = self.admit.prepare_invoke();
            call.key(waiting).key(admitted).arg(count);
            return call.invoke_async(&mut connection).await;
        }
        let popped: Vec<(u64, f64)> =
            redis::cmd("ZPOPMIN").arg(waiting).arg(count).query_async(&mut connection).await?;
        let users: Vec<_> = popped.into_iter().map(|(user, _)| user).collect();
        if !users.is_empty() {
            let mut set = redis::cmd("HSET");
            set.arg(admitted);
            for user in &users {
                set.arg(user).arg("1");
            }
            set.query_async::<()>(&mut connection).await?;
        }
        Ok(users)
    }
}

/// The keys of the waiting users, of the admitted ones, and of the last place.
fn keys(queue: u64) -> [String; 3] {
    ["waiting", "admitted", "last"].map(|name| format!("queue:{queue}:{name}"))
}
