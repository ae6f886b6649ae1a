//! SQL of accounts.

use async_trait::async_trait;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::{
    cluster,
    error::require_rows,
    rows_by_id::BindAll,
    sql::{padded, placeholder_list},
    unit_of_work::Session,
    user_details,
    user_rows::{UserRow, role_of, user_columns},
};
use crate::domain::{
    clock::Instant,
    id::UserId,
    page::{Page, PageRequest},
    repository_error::RepositoryError,
    text::Name,
    user::{Role, Standing, User, UserDetails, UserFilter, UserRepository},
};

const INSERT: &str = "INSERT INTO users (id, email, email_key, password_hash, name, role, created_at) \
                      VALUES (?, ?, ?, ?, ?, ?, ?)";

// uq_users_email_key; a deleted account has no key. No lock.
const FIND_BY_EMAIL: &str = concat!("SELECT ", user_columns!(), " FROM users WHERE email_key = ?");

// The primary key. No lock.
const FIND: &str = concat!("SELECT ", user_columns!(), " FROM users WHERE id = ? AND deleted_at IS NULL");

// The primary key. Locks the account.
const LOCK: &str = concat!("SELECT ", user_columns!(), " FROM users WHERE id = ? AND deleted_at IS NULL FOR UPDATE");

// The primary key. Locks the account in share mode.
const SHARE_ROLE: &str =
    "SELECT role FROM users WHERE id = ? AND deleted_at IS NULL AND blocked_at IS NULL LOCK IN SHARE MODE";

// The primary key. No lock.
const FIND_ROLE: &str = "SELECT role FROM users WHERE id = ? AND deleted_at IS NULL AND blocked_at IS NULL";

// ix_users_role, which ends with the id. Locks the administrators.
//
// A cluster of databases replicates changes, not locks: two demotions at different nodes must change the same rows, or
// both would find another administrator.
const TOUCH_ADMINS: &str = "UPDATE users SET write_count = write_count + 1 WHERE role = 'ADMIN' AND deleted_at IS NULL \
                            AND blocked_at IS NULL ORDER BY id";

// The same rows, locked.
const LIST_ADMINS: &str = "SELECT id FROM users WHERE role = 'ADMIN' AND deleted_at IS NULL AND blocked_at IS NULL \
                           ORDER BY id";

const UPDATE_STANDING: &str = "UPDATE users SET role = ?, blocked_at = ? WHERE id = ? AND deleted_at IS NULL";

const UPDATE_NAME: &str = "UPDATE users SET name = ? WHERE id = ? AND deleted_at IS NULL";

const UPDATE_PASSWORD: &str = "UPDATE users SET password_hash = ? WHERE id = ? AND deleted_at IS NULL";

const VERIFY_EMAIL: &str =
    "UPDATE users SET email_verified_at = ? WHERE id = ? AND deleted_at IS NULL AND email_verified_at IS NULL";

const ERASE: &str = "UPDATE users SET email = NULL, email_key = NULL, password_hash = NULL, name = '', \
                     deleted_at = ? WHERE id = ? AND deleted_at IS NULL";

impl Session {
    /// Changes the rows of accounts, but no value that is read.
    ///
    /// A cluster of databases replicates changes, not locks. By this, a new row that refers to an account conflicts
    /// with a block, a deletion or a new password at another node.
    pub(super) async fn touch_users(
        &mut self,
        ids: impl IntoIterator<Item = Uuid> + Send,
    ) -> Result<(), RepositoryError> {
        let text = |ids: &str| {
            format!("UPDATE users FORCE INDEX (PRIMARY) SET write_count = write_count + 1 WHERE id IN {ids}")
        };
        self.write_by_id(ids, text, BindAll::bind_all).await.map(|_| ())
    }
}

#[async_trait]
impl UserRepository for Session {
    async fn insert(&mut self, user: &User) -> Result<(), RepositoryError> {
        sqlx::query(INSERT)
            .bind(user.id.0)
            .bind(user.email.as_str())
            .bind(user.email.key())
            .bind(&user.password_hash)
            .bind(user.name.as_str())
            .bind(user.role.name())
            .bind(user.created_at)
            .execute(self.connection())
            .await?;
        Ok(())
    }

    async fn find_by_email(&mut self, email_key: &str) -> Result<Option<User>, RepositoryError> {
        let row: Option<UserRow> =
            sqlx::query_as(FIND_BY_EMAIL).bind(email_key).fetch_optional(self.connection()).await?;
        row.map(User::try_from).transpose()
    }

    async fn find(&mut self, id: UserId) -> Result<Option<User>, RepositoryError> {
        let row: Option<UserRow> = sqlx::query_as(FIND).bind(id.0).fetch_optional(self.connection()).await?;
        row.map(User::try_from).transpose()
    }

    async fn share(&mut self, ids: &[UserId]) -> Result<Vec<(UserId, bool)>, RepositoryError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        if cluster::is_galera() {
            self.touch_users(ids.iter().map(|id| id.0)).await?;
        }
        let ids = padded(ids.iter().map(|id| id.0));
        let text = format!(
            "SELECT id, email_verified_at FROM users FORCE INDEX (PRIMARY) WHERE id IN {} AND deleted_at IS NULL \
             AND blocked_at IS NULL ORDER BY id LOCK IN SHARE MODE",
            placeholder_list(ids.len())
        );
        let query = sqlx::query_as(AssertSqlSafe(text)).bind_all(ids);
        let found: Vec<(Uuid, Option<Instant>)> = query.fetch_all(self.connection()).await?;
        Ok(found.into_iter().map(|(id, verified_at)| (UserId(id), verified_at.is_some())).collect())
    }

    async fn share_standings(&mut self, ids: &[UserId]) -> Result<Vec<(UserId, Standing)>, RepositoryError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let ids = padded(ids.iter().map(|id| id.0));
        let text = format!(
            "SELECT id, role, blocked_at FROM users FORCE INDEX (PRIMARY) WHERE id IN {} AND deleted_at IS NULL \
             ORDER BY id LOCK IN SHARE MODE",
            placeholder_list(ids.len())
        );
        let query = sqlx::query_as(AssertSqlSafe(text)).bind_all(ids);
        let rows: Vec<(Uuid, String, Option<Instant>)> = query.fetch_all(self.connection()).await?;
        let standing = |(id, role, blocked_at): (Uuid, String, Option<Instant>)| {
            Ok((UserId(id), Standing { role: role_of(&role)?, is_blocked: blocked_at.is_some() }))
        };
        rows.into_iter().map(standing).collect()
    }

    async fn lock(&mut self, id: UserId) -> Result<Option<User>, RepositoryError> {
        let row: Option<UserRow> = sqlx::query_as(LOCK).bind(id.0).fetch_optional(self.connection()).await?;
        row.map(User::try_from).transpose()
    }

    async fn update_name(&mut self, id: UserId, name: &Name) -> Result<(), RepositoryError> {
        let done = sqlx::query(UPDATE_NAME).bind(name.as_str()).bind(id.0).execute(self.connection()).await?;
        require_rows(done.rows_affected(), 1, "an account")
    }

    async fn update_password(&mut self, id: UserId, password_hash: &str) -> Result<(), RepositoryError> {
        let done = sqlx::query(UPDATE_PASSWORD).bind(password_hash).bind(id.0).execute(self.connection()).await?;
        require_rows(done.rows_affected(), 1, "an account")
    }

    async fn verify_email(&mut self, id: UserId, now: Instant) -> Result<(), RepositoryError> {
        sqlx::query(VERIFY_EMAIL).bind(now).bind(id.0).execute(self.connection()).await?;
        Ok(())
    }

    async fn share_role(&mut self, id: UserId) -> Result<Option<Role>, RepositoryError> {
        let role: Option<String> = sqlx::query_scalar(SHARE_ROLE).bind(id.0).fetch_optional(self.connection()).await?;
        role.map(|role| role_of(&role)).transpose()
    }

    async fn find_role(&mut self, id: UserId) -> Result<Option<Role>, RepositoryError> {
        let role: Option<String> = sqlx::query_scalar(FIND_ROLE).bind(id.0).fetch_optional(self.connection()).await?;
        role.map(|role| role_of(&role)).transpose()
    }

    async fn lock_admins(&mut self) -> Result<Vec<UserId>, RepositoryError> {
        sqlx::query(TOUCH_ADMINS).execute(self.connection()).await?;
        let ids: Vec<Uuid> = sqlx::query_scalar(LIST_ADMINS).fetch_all(self.connection()).await?;
        Ok(ids.into_iter().map(UserId).collect())
    }

    async fn update_standing(
        &mut self,
        id: UserId,
        role: Role,
        blocked_at: Option<Instant>,
    ) -> Result<(), RepositoryError> {
        // The caller has locked the account, so the row exists.
        sqlx::query(UPDATE_STANDING).bind(role.name()).bind(blocked_at).bind(id.0).execute(self.connection()).await?;
        Ok(())
    }

    async fn find_details(&mut self, id: UserId, now: Instant) -> Result<Option<UserDetails>, RepositoryError> {
        user_details::find(self.connection(), id, now).await
    }

    async fn list_details(
        &mut self,
        filter: &UserFilter,
        page: PageRequest<UserId>,
        now: Instant,
    ) -> Result<Page<UserDetails>, RepositoryError> {
        user_details::list(self.connection(), filter, page, now).await
    }

    async fn erase(&mut self, id: UserId, now: Instant) -> Result<(), RepositoryError> {
        let done = sqlx::query(ERASE).bind(now).bind(id.0).execute(self.connection()).await?;
        require_rows(done.rows_affected(), 1, "an account")
    }
}

#[cfg(test)]
mod tests {
    use sqlx::MySqlPool;

    use super::*;
    use crate::{
        domain::{text::Email, unit_of_work::Database},
        infrastructure::mysql::{MySqlDatabase, fixtures},
    };

    fn user(id: u128, email: &str) -> User {
        User {
            id: UserId(Uuid::from_u128(id)),
            email: Email::new(email).unwrap(),
            name: Name::new("Jin").unwrap(),
            role: Role::Admin,
            password_hash: "$argon2id$".to_owned(),
            created_at: fixtures::at(0),
            email_verified_at: None,
            blocked_at: None,
        }
    }

    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn an_account_is_found_by_its_id_and_by_its_address_in_any_case(pool: MySqlPool) {
        let mut uow = MySqlDatabase::new(pool).begin().await.unwrap();
        let users = uow.users();
        let jin = user(1, "Jin@Example.org");
        users.insert(&jin).await.unwrap();

        for found in [
            users.find(jin.id).await.unwrap(),
            users.lock(jin.id).await.unwrap(),
            users.find_by_email("jin@example.org").await.unwrap(),
        ] {
            let found = found.unwrap();
            assert_eq!((found.id, found.role, found.created_at), (jin.id, Role::Admin, jin.created_at));
            assert_eq!((found.email.as_str(), &found.name), ("Jin@Example.org", &jin.name));
            assert_eq!(found.password_hash, jin.password_hash);
        }
        assert!(users.find_by_email("other@example.org").await.unwrap().is_none());
        assert!(users.find(UserId(Uuid::nil())).await.unwrap().is_none());
    }

    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn an_address_is_taken_in_any_case(pool: MySqlPool) {
        let mut uow = MySqlDatabase::new(pool).begin().await.unwrap();
        uow.users().insert(&user(1, "jin@example.org")).await.unwrap();

        let refused = uow.users().insert(&user(2, "JIN@example.org")).await.unwrap_err();
        assert!(
            matches!(&refused, RepositoryError::NotUnique { constraint } if constraint == "uq_users_email_key"),
            "{refused:?}"
        );
    }

    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn an_account_can_be_renamed_until_it_is_erased_and_its_address_is_free_after_that(pool: MySqlPool) {
        let mut uow = MySqlDatabase::new(pool).begin().await.unwrap();
        let users = uow.users();
        let jin = user(1, "jin@example.org");
        users.insert(&jin).await.unwrap();
        let mina = Name::new("Mina").unwrap();
        users.update_name(jin.id, &mina).await.unwrap();
        // The same name again succeeds: a matched row counts, changed or not.
        users.update_name(jin.id, &mina).await.unwrap();
        assert_eq!(users.find(jin.id).await.unwrap().unwrap().name, mina);

        users.erase(jin.id, fixtures::at(1)).await.unwrap();
        assert!(users.find(jin.id).await.unwrap().is_none());
        assert!(users.lock(jin.id).await.unwrap().is_none());
        assert!(users.find_by_email("jin@example.org").await.unwrap().is_none());
        for gone in [users.update_name(jin.id, &mina).await, users.erase(jin.id, fixtures::at(2)).await] {
            assert!(matches!(gone, Err(RepositoryError::Contention { .. })), "{gone:?}");
        }
        users.insert(&user(2, "jin@example.org")).await.unwrap();
    }
}
