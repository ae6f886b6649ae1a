//! Clusters of databases: what a session of a node asks for, and what the code must know.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, Ordering},
};

use sqlx::{Executor, Row, mysql::MySqlConnection};

/// The cluster of databases that a connection's server belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cluster {
    Galera,
    /// Group Replication that accepts writes at every node.
    MultiPrimary,
    /// Group Replication that accepts writes at one node.
    SinglePrimary,
}

/// Whether the server of the latest connection is a node of Galera.
static GALERA: AtomicBool = AtomicBool::new(false);

/// Whether the server of the latest connection is one of several nodes that accept writes.
static SEVERAL_WRITERS: AtomicBool = AtomicBool::new(false);

/// Whether a lock doesn't stop the transactions of all instances, since other nodes accept writes, too.
pub(super) fn has_local_locks() -> bool {
    SEVERAL_WRITERS.load(Ordering::Relaxed)
}

/// Whether the database is Galera, which differs from Group Replication in three ways.
///
/// - It compares the keys of written rows alone. A new row passes beside an update of its parent at another node.
/// - A statement that a conflict interrupts may first return a row in which a subquery is NULL.
/// - The error of a conflict may be lost between two commands ([`GUARDED_BEGIN`]).
pub(super) fn is_galera() -> bool {
    GALERA.load(Ordering::Relaxed)
}

/// The begin of a transaction on Galera. It is one text, so that all of its statements run or none.
///
/// A conflict with another node rolls a transaction back between two commands. MariaDB loses that error if the next
/// command prepares a statement: later statements are then committed one by one, and `COMMIT` succeeds. So statements
/// don't commit by themselves, and [`REQUIRE_WHOLE`] fails without the savepoint. [`end_guard`] reverts the setting.
pub(super) const GUARDED_BEGIN: &str = "SET SESSION autocommit = 0; BEGIN; SAVEPOINT whole";

/// The check before the commit of a transaction that began by [`GUARDED_BEGIN`].
pub(super) const REQUIRE_WHOLE: &str = "RELEASE SAVEPOINT whole";

/// Lets the statements of a released connection commit by themselves again.
pub(super) async fn end_guard(connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
    if is_galera() {
        connection.execute("SET SESSION autocommit = 1").await?;
    }
    Ok(())
}

/// Requests that a node of a cluster shows the commits of all nodes. Otherwise a user who signed up at one instance
/// can't log in at another.
///
/// Galera waits before reads and writes, by the bits 1 and 2 of
/// <https://mariadb.com/docs/galera-cluster/reference/galera-cluster-system-variables#wsrep_sync_wait>. Group
/// Replication waits before each transaction, or only at a new primary for what the last one committed:
/// <https://dev.mysql.com/doc/refman/8.4/en/group-replication-consistency-guarantees.html>.
pub(super) async fn read_causally(connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
    let cluster = cluster_of(connection).await?;
    GALERA.store(cluster == Some(Cluster::Galera), Ordering::Relaxed);
    let has_several_writers = matches!(cluster, Some(Cluster::Galera | Cluster::MultiPrimary));
    SEVERAL_WRITERS.store(has_several_writers, Ordering::Relaxed);
    let statement = match cluster {
        Some(Cluster::Galera) => "SET SESSION wsrep_sync_wait = 3",
        Some(Cluster::MultiPrimary) => "SET SESSION group_replication_consistency = 'BEFORE'",
        Some(Cluster::SinglePrimary) => "SET SESSION group_replication_consistency = 'BEFORE_ON_PRIMARY_FAILOVER'",
        None => return Ok(()),
    };
    connection.execute(statement).await.map(|_| ())
}

/// The cluster of a connection's server, if it is part of one.
pub(super) async fn cluster_of(connection: &mut MySqlConnection) -> Result<Option<Cluster>, sqlx::Error> {
    let query = "SHOW VARIABLES WHERE variable_name IN \
         ('wsrep_on', 'group_replication_group_name', 'group_replication_single_primary_mode')";
    let mut settings = HashMap::<String, String>::new();
    for row in connection.fetch_all(query).await? {
        settings.insert(row.try_get_unchecked(0)?, row.try_get_unchecked(1)?);
    }
    let is_on = |name| settings.get(name).is_some_and(|value| value == "ON");
    let is_group = settings.get("group_replication_group_name").is_some_and(|name| !name.is_empty());
    Ok(if is_on("wsrep_on") {
        Some(Cluster::Galera)
    } else if !is_group {
        None
    } else if is_on("group_replication_single_primary_mode") {
        Some(Cluster::SinglePrimary)
    } else {
        Some(Cluster::MultiPrimary)
    })
}
