//! SQL of wallets and their ledgers.

use std::collections::BTreeMap;

use async_trait::async_trait;
use rust_decimal::Decimal;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::{
    error::{corrupt, require_rows},
    rows_by_id::BindAll,
    sql,
    unit_of_work::Session,
};
use crate::domain::{
    clock::Instant,
    id::{BookingId, PaymentId, TransactionId, UserId},
    page::{Page, PageRequest},
    point::{Direction, LedgerEntry, LedgerKind, Wallet, WalletRepository},
    points::Points,
    repository_error::RepositoryError,
};

// uq_point_transactions_version, backwards. No lock.
const LIST_ENTRIES: &str = "SELECT id, user_id, version, type, amount, balance_after, booking_id, payment_id, \
                            created_at FROM point_transactions \
                            WHERE user_id = ? AND version < ? ORDER BY version DESC LIMIT ?";

// The primary key. Closes the wallet, or stores a closed one. Locks its row.
const CLOSE: &str = "INSERT INTO point_wallets (user_id, balance, version, updated_at, closed_at) VALUES (?, 0, 0, ?, ?) \
                     ON DUPLICATE KEY UPDATE closed_at = VALUES(closed_at)";

#[derive(sqlx::FromRow)]
struct WalletRow {
    user_id: Uuid,
    balance: Decimal,
    version: u64,
    updated_at: Instant,
    closed_at: Option<Instant>,
}

impl TryFrom<WalletRow> for Wallet {
    type Error = RepositoryError;

    fn try_from(row: WalletRow) -> Result<Self, RepositoryError> {
        Ok(Self {
            user_id: UserId(row.user_id),
            balance: Points::new(row.balance).map_err(|_| corrupt("a balance", row.balance))?,
            version: row.version,
            updated_at: Some(row.updated_at),
            closed_at: row.closed_at,
        })
    }
}

#[derive(sqlx::FromRow)]
pub(super) struct LedgerRow {
    id: Uuid,
    user_id: Uuid,
    version: u64,
    #[sqlx(rename = "type")]
    kind: String,
    amount: Decimal,
    balance_after: Decimal,
    booking_id: Option<Uuid>,
    payment_id: Option<Uuid>,
    created_at: Instant,
}

impl TryFrom<LedgerRow> for LedgerEntry {
    type Error = RepositoryError;

    fn try_from(row: LedgerRow) -> Result<Self, RepositoryError> {
        let payment_and_booking = row.payment_id.map(PaymentId).zip(row.booking_id.map(BookingId));
        let kind = match (row.kind.as_str(), payment_and_booking) {
            ("CHARGE", None) => LedgerKind::Charge,
            ("ADJUSTMENT", None) if row.amount.is_sign_negative() => LedgerKind::Adjustment(Direction::Debit),
            ("ADJUSTMENT", None) => LedgerKind::Adjustment(Direction::Credit),
            ("PAYMENT", Some((payment_id, booking_id))) => LedgerKind::Payment(payment_id, booking_id),
            ("REFUND", Some((payment_id, booking_id))) => LedgerKind::Refund(payment_id, booking_id),
            other => return Err(corrupt("the kind of a ledger's entry", other)),
        };
        Ok(Self {
            id: TransactionId(row.id),
            user_id: UserId(row.user_id),
            version: row.version,
            kind,
            amount: Points::new(row.amount.abs()).map_err(|_| corrupt("the amount of an entry", row.amount))?,
            balance_after: Points::new(row.balance_after)
                .map_err(|_| corrupt("the balance after an entry", row.balance_after))?,
            created_at: row.created_at,
        })
    }
}

/// The amount as the ledger stores it: negative for debits, so that the amounts add up to the balance.
fn signed_amount(entry: &LedgerEntry) -> Decimal {
    match entry.kind.direction() {
        Direction::Credit => entry.amount.as_decimal(),
        Direction::Debit => -entry.amount.as_decimal(),
    }
}

/// The change of a wallet by its new entries; wallets with the same step share a statement.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Step {
    entries: u64,
    /// Whether the wallet must be open. A closed wallet accepts refunds only.
    needs_open: bool,
}

impl Step {
    fn of(entries: &[&LedgerEntry]) -> Self {
        let needs_open = entries.iter().any(|entry| !matches!(entry.kind, LedgerKind::Refund(..)));
        Self { entries: entries.len() as u64, needs_open }
    }
}

/// A wallet's version is an optimistic lock: a duplicate key reports its loss, as a count of rows does.
fn stale_if_not_unique(error: sqlx::Error, key: &str) -> RepositoryError {
    match RepositoryError::from(error) {
        RepositoryError::NotUnique { constraint } if constraint == key => RepositoryError::stale("a wallet"),
        other => other,
    }
}

impl Session {
    async fn insert_wallets(&mut self, last_entries: &[&LedgerEntry]) -> Result<(), RepositoryError> {
        for part in sql::parts(last_entries, sql::ROWS_PER_STATEMENT) {
            let text = format!(
                "INSERT INTO point_wallets (user_id, balance, version, updated_at) VALUES {}",
                sql::placeholder_rows(4, part.len())
            );
            let mut query = sqlx::query(AssertSqlSafe(text));
            for entry in part {
                query = query
                    .bind(entry.user_id.0)
                    .bind(entry.balance_after.as_decimal())
                    .bind(entry.version)
                    .bind(entry.created_at);
            }
            query.execute(self.connection()).await.map_err(|error| stale_if_not_unique(error, "PRIMARY"))?;
        }
        Ok(())
    }

    async fn insert_entries(&mut self, entries: &[&LedgerEntry]) -> Result<(), RepositoryError> {
        for part in sql::parts(entries, sql::ROWS_PER_STATEMENT) {
            let text = format!(
                "INSERT INTO point_transactions \
                 (id, user_id, version, type, amount, balance_after, booking_id, payment_id, created_at) VALUES {}",
                sql::placeholder_rows(9, part.len())
            );
            let mut query = sqlx::query(AssertSqlSafe(text));
            for entry in part {
                let (payment_id, booking_id) = entry.kind.payment().unzip();
                query = query
                    .bind(entry.id.0)
                    .bind(entry.user_id.0)
                    .bind(entry.version)
                    .bind(entry.kind.name())
                    .bind(signed_amount(entry))
                    .bind(entry.balance_after.as_decimal())
                    .bind(booking_id.map(|id| id.0))
                    .bind(payment_id.map(|id| id.0))
                    .bind(entry.created_at);
            }
            query
                .execute(self.connection())
                .await
                .map_err(|error| stale_if_not_unique(error, "uq_point_transactions_version"))?;
        }
        Ok(())
    }

    /// Updates wallets with the same step to their last new entries.
    async fn move_wallets(&mut self, step: Step, last_entries: &[TransactionId]) -> Result<(), RepositoryError> {
        let ids = sql::padded(last_entries.iter().map(|id| id.0));
        // From the entries to their wallets, each by its primary key. Without hints the optimizer starts with the
        // wallets, or scans either table while it is small, and would wait for rows of other transactions.
        let open = if step.needs_open { " AND w.closed_at IS NULL" } else { "" };
        let text = format!(
            "UPDATE point_transactions t FORCE INDEX (PRIMARY) STRAIGHT_JOIN point_wallets w FORCE INDEX (PRIMARY) \
             ON w.user_id = t.user_id AND w.version + ? = t.version \
             SET w.balance = t.balance_after, w.version = t.version, w.updated_at = t.created_at \
             WHERE t.id IN {}{open}",
            sql::placeholder_list(ids.len())
        );
        let query = sqlx::query(AssertSqlSafe(text)).bind(step.entries).bind_all(ids);
        let done = query.execute(self.connection()).await?;
        require_rows(done.rows_affected(), last_entries.len(), "a wallet")
    }
}

#[async_trait]
impl WalletRepository for Session {
    async fn list(&mut self, user_ids: &[UserId]) -> Result<Vec<Wallet>, RepositoryError> {
        if user_ids.is_empty() {
            return Ok(vec![]);
        }
        let ids = sql::padded(user_ids.iter().map(|id| id.0));
        let text = format!(
            "SELECT user_id, balance, version, updated_at, closed_at FROM point_wallets WHERE user_id IN {}",
            sql::placeholder_list(ids.len())
        );
        let query = sqlx::query_as::<_, WalletRow>(AssertSqlSafe(text)).bind_all(ids);
        let rows = query.fetch_all(self.connection()).await?;
        rows.into_iter().map(Wallet::try_from).collect()
    }

    async fn apply(&mut self, entries: &[LedgerEntry]) -> Result<(), RepositoryError> {
        if entries.is_empty() {
            return Ok(());
        }
        // By user everywhere: two transactions that change the same wallets wait for each other instead of
        // deadlocking.
        let mut entries: Vec<_> = entries.iter().collect();
        entries.sort_unstable_by_key(|entry| (entry.user_id, entry.version));

        let mut new_wallets = vec![];
        let mut moves: BTreeMap<Step, Vec<TransactionId>> = BTreeMap::new();
        for wallet in entries.chunk_by(|one, next| one.user_id == next.user_id) {
            let last = wallet[wallet.len() - 1];
            if wallet[0].version == 1 {
                new_wallets.push(last);
            } else {
                moves.entry(Step::of(wallet)).or_default().push(last.id);
            }
        }
        self.insert_wallets(&new_wallets).await?;
        self.insert_entries(&entries).await?;
        for (step, last_entries) in moves {
            self.move_wallets(step, &last_entries).await?;
        }
        Ok(())
    }

    async fn close(&mut self, user_id: UserId, now: Instant) -> Result<(), RepositoryError> {
        sqlx::query(CLOSE).bind(user_id.0).bind(now).bind(now).execute(self.connection()).await?;
        Ok(())
    }

    async fn list_entries(
        &mut self,
        user_id: UserId,
        page: PageRequest<u64>,
    ) -> Result<Page<LedgerEntry>, RepositoryError> {
        let rows: Vec<LedgerRow> = sqlx::query_as(LIST_ENTRIES)
            .bind(user_id.0)
            .bind(page.after.unwrap_or(u64::MAX))
            .bind(page.rows_to_read())
            .fetch_all(self.connection())
            .await?;
        let entries = rows.into_iter().map(LedgerEntry::try_from).collect::<Result<_, _>>()?;
        Ok(Page::of(entries, page.limit))
    }
}

#[cfg(test)]
mod tests {
    use sqlx::MySqlPool;

    use super::*;
    use crate::{
        domain::{
            payment::{Payment, PaymentState},
            unit_of_work::{Database, UnitOfWork},
        },
        infrastructure::mysql::{MySqlDatabase, fixtures},
    };

    fn id() -> TransactionId {
        TransactionId(Uuid::now_v7())
    }

    /// Charges `times` times 10 points, so that each change also moves the balance in memory.
    fn charges(wallet: &mut Wallet, times: u32, seconds: i64) -> Vec<LedgerEntry> {
        let charge =
            |_| wallet.change(id(), LedgerKind::Charge, fixtures::points("10"), fixtures::at(seconds)).unwrap();
        (0..times).map(charge).collect()
    }

    async fn stored(uow: &mut Box<dyn UnitOfWork>, user_ids: &[UserId]) -> Vec<Wallet> {
        let mut wallets = uow.wallets().list(user_ids).await.unwrap();
        wallets.sort_unstable_by_key(|wallet| wallet.user_id);
        wallets
    }

    fn assert_stale(result: &Result<(), RepositoryError>) {
        assert!(matches!(result, Err(RepositoryError::Contention { what: "a wallet", .. })), "{result:?}");
    }

    /// Six wallets, new ones and old ones with one, two and three entries, are written by one call.
    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn wallets_move_to_their_last_entries(pool: MySqlPool) {
        let mut wallets = vec![];
        for number in 1..=6 {
            wallets.push(Wallet::empty(fixtures::insert_user(&pool, number).await));
        }
        let users: Vec<_> = wallets.iter().map(|wallet| wallet.user_id).collect();
        let mut uow = MySqlDatabase::new(pool).begin().await.unwrap();
        uow.wallets().apply(&[]).await.unwrap();
        assert!(uow.wallets().list(&[]).await.unwrap().is_empty());
        assert_eq!(stored(&mut uow, &users).await, []);

        let old = wallets[..4].iter_mut().flat_map(|wallet| charges(wallet, 1, 1)).collect::<Vec<_>>();
        uow.wallets().apply(&old).await.unwrap();
        assert_eq!(stored(&mut uow, &users).await, wallets[..4]);

        let entries: Vec<_> =
            wallets.iter_mut().zip([1, 1, 2, 3, 1, 2]).flat_map(|(wallet, times)| charges(wallet, times, 2)).collect();
        uow.wallets().apply(&entries).await.unwrap();
        assert_eq!(stored(&mut uow, &users).await, wallets);

        let page = uow.wallets().list_entries(users[3], PageRequest::first(3)).await.unwrap();
        let versions: Vec<_> = page.items.iter().map(|entry| entry.version).collect();
        assert_eq!((versions, page.has_more), (vec![4, 3, 2], true));
        let page = uow.wallets().list_entries(users[3], PageRequest { after: Some(2), limit: 3 }).await.unwrap();
        assert_eq!((page.items, page.has_more), (vec![old[3]], false));
    }

    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn the_ledger_keeps_payments_as_negative_and_what_they_were_for(pool: MySqlPool) {
        let user_id = fixtures::insert_user(&pool, 1).await;
        let hall = fixtures::insert_hall(&pool, 2).await;
        let mut payments = vec![];
        for (index, price) in ["7.25", "0"].into_iter().enumerate() {
            payments.push(Payment {
                id: PaymentId(Uuid::now_v7()),
                booking_id: fixtures::insert_booking(&pool, user_id, &hall, index, price).await,
                user_id,
                amount: fixtures::points(price),
                state: PaymentState::Completed,
                paid_at: fixtures::at(1),
            });
        }
        let mut uow = MySqlDatabase::new(pool.clone()).begin().await.unwrap();
        uow.payments().insert(&payments).await.unwrap();
        let mut wallet = Wallet::empty(user_id);
        let mut entries = charges(&mut wallet, 1, 1);
        for payment in &payments {
            for kind in [
                LedgerKind::Payment(payment.id, payment.booking_id),
                LedgerKind::Refund(payment.id, payment.booking_id),
            ] {
                entries.push(wallet.change(id(), kind, payment.amount, fixtures::at(2)).unwrap());
            }
        }
        uow.wallets().apply(&entries).await.unwrap();
        entries.reverse();
        assert_eq!(uow.wallets().list_entries(user_id, PageRequest::first(100)).await.unwrap().items, entries);

        let again = LedgerKind::Payment(payments[0].id, payments[0].booking_id);
        let twice = wallet.change(id(), again, payments[0].amount, fixtures::at(3)).unwrap();
        let refused = uow.wallets().apply(&[twice]).await.unwrap_err();
        assert!(
            matches!(
                &refused,
                RepositoryError::NotUnique { constraint } if constraint == "uq_point_transactions_payment"
            ),
            "{refused:?}"
        );
        uow.commit().await.unwrap();
        let sum: Decimal =
            sqlx::query_scalar("SELECT SUM(amount) FROM point_transactions").fetch_one(&pool).await.unwrap();
        assert_eq!(sum, Decimal::TEN);
    }

    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn a_change_of_an_old_version_is_refused(pool: MySqlPool) {
        let mut wallets =
            [fixtures::insert_user(&pool, 1).await, fixtures::insert_user(&pool, 2).await].map(Wallet::empty);
        let database = MySqlDatabase::new(pool);
        let mut uow = database.begin().await.unwrap();
        let first: Vec<_> = wallets.iter_mut().flat_map(|wallet| charges(wallet, 1, 1)).collect();
        uow.wallets().apply(&first).await.unwrap();
        uow.commit().await.unwrap();

        // The user's first points, a second time.
        let mut uow = database.begin().await.unwrap();
        let repeated = charges(&mut Wallet::empty(wallets[0].user_id), 1, 2);
        assert_stale(&uow.wallets().apply(&repeated).await);
        drop(uow);

        // A version that the ledger has no entry of, but that isn't the wallet's next either.
        let mut uow = database.begin().await.unwrap();
        let mut ahead = Wallet { version: 2, ..wallets[0] };
        let mut entries = charges(&mut ahead, 1, 2);
        entries.extend(charges(&mut wallets[1].clone(), 1, 2));
        assert_stale(&uow.wallets().apply(&entries).await);
        drop(uow);

        let mut uow = database.begin().await.unwrap();
        let users = wallets.map(|wallet| wallet.user_id);
        assert_eq!(stored(&mut uow, &users).await, wallets);
    }

    /// Two transactions that read the same versions write at once, in opposite orders: one waits and is refused.
    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn of_two_changes_of_one_version_one_succeeds(pool: MySqlPool) {
        let mut wallets =
            [fixtures::insert_user(&pool, 1).await, fixtures::insert_user(&pool, 2).await].map(Wallet::empty);
        let database = MySqlDatabase::new(pool);
        for round in 1..=2 {
            let mut rival_wallets = wallets;
            let mine: Vec<_> = wallets.iter_mut().flat_map(|wallet| charges(wallet, 1, round)).collect();
            let rivals: Vec<_> = rival_wallets.iter_mut().rev().flat_map(|wallet| charges(wallet, 1, round)).collect();
            let mut first = database.begin().await.unwrap();
            let mut second = database.begin().await.unwrap();
            first.wallets().apply(&mine).await.unwrap();
            let (refused, committed) = tokio::join!(second.wallets().apply(&rivals), first.commit());
            committed.unwrap();
            assert_stale(&refused);
        }
        let mut uow = database.begin().await.unwrap();
        let users = wallets.map(|wallet| wallet.user_id);
        assert_eq!(stored(&mut uow, &users).await, wallets);
    }

    /// A wallet is read, closed by another transaction, and written: neither a charge nor a user's first one is
    /// accepted.
    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn a_wallet_that_closed_meanwhile_takes_refunds_alone(pool: MySqlPool) {
        let mut wallets =
            [fixtures::insert_user(&pool, 1).await, fixtures::insert_user(&pool, 2).await].map(Wallet::empty);
        let users = wallets.map(|wallet| wallet.user_id);
        let hall = fixtures::insert_hall(&pool, 1).await;
        let payment = Payment {
            id: PaymentId(Uuid::now_v7()),
            booking_id: fixtures::insert_booking(&pool, users[0], &hall, 0, "5").await,
            user_id: users[0],
            amount: fixtures::points("5"),
            state: PaymentState::Completed,
            paid_at: fixtures::at(1),
        };
        let database = MySqlDatabase::new(pool);
        let mut uow = database.begin().await.unwrap();
        uow.payments().insert(&[payment]).await.unwrap();
        uow.wallets().apply(&charges(&mut wallets[0], 1, 1)).await.unwrap();
        for user in users {
            uow.wallets().close(user, fixtures::at(2)).await.unwrap();
        }
        let closed = stored(&mut uow, &users).await;
        assert!(closed.iter().all(|wallet| wallet.closed_at == Some(fixtures::at(2))));
        assert_eq!(closed.iter().map(|wallet| wallet.version).collect::<Vec<_>>(), [1, 0]);
        uow.commit().await.unwrap();

        for wallet in &wallets {
            let mut uow = database.begin().await.unwrap();
            assert_stale(&uow.wallets().apply(&charges(&mut wallet.clone(), 1, 3)).await);
        }
        let mut uow = database.begin().await.unwrap();
        let kind = LedgerKind::Refund(payment.id, payment.booking_id);
        let refund = wallets[0].change(id(), kind, payment.amount, fixtures::at(3)).unwrap();
        uow.wallets().apply(&[refund]).await.unwrap();
        assert_eq!(stored(&mut uow, &users[..1]).await[0].balance, fixtures::points("15"));
    }
}
