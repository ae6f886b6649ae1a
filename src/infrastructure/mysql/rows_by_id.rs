//! Statements over lists of ids: the values that they bind, and writes of rows whose ids were read before.

use sqlx::{
    AssertSqlSafe, Encode, MySql, Type,
    mysql::MySqlArguments,
    query::{Query, QueryAs, QueryScalar},
};

use super::{
    sql::{padded, placeholder_list},
    unit_of_work::Session,
};
use crate::domain::repository_error::RepositoryError;

/// A query whose values are being bound.
pub(super) trait BindAll<'q>: Sized {
    /// Binds each of these values, in their order.
    fn bind_all<T: 'q + Encode<'q, MySql> + Type<MySql>>(self, values: impl IntoIterator<Item = T>) -> Self;
}

impl<'q> BindAll<'q> for Query<'q, MySql, MySqlArguments> {
    fn bind_all<T: 'q + Encode<'q, MySql> + Type<MySql>>(self, values: impl IntoIterator<Item = T>) -> Self {
        values.into_iter().fold(self, Query::bind)
    }
}

impl<'q, O> BindAll<'q> for QueryAs<'q, MySql, O, MySqlArguments> {
    fn bind_all<T: 'q + Encode<'q, MySql> + Type<MySql>>(self, values: impl IntoIterator<Item = T>) -> Self {
        values.into_iter().fold(self, QueryAs::bind)
    }
}

impl<'q, O> BindAll<'q> for QueryScalar<'q, MySql, O, MySqlArguments> {
    fn bind_all<T: 'q + Encode<'q, MySql> + Type<MySql>>(self, values: impl IntoIterator<Item = T>) -> Self {
        values.into_iter().fold(self, QueryScalar::bind)
    }
}

/// A statement that owns the values bound to it.
pub(super) type Statement = Query<'static, MySql, MySqlArguments>;

impl Session {
    /// Locks the rows of these ids, and returns the ids of those that no other transaction has locked. The table's
    /// primary key is `key`.
    pub(super) async fn claim_by_id(
        &mut self,
        table: &str,
        key: &str,
        ids: Vec<u64>,
    ) -> Result<Vec<u64>, RepositoryError> {
        let ids = padded(ids);
        if ids.is_empty() {
            return Ok(ids);
        }
        let list = placeholder_list(ids.len());
        let text =
            format!("SELECT {key} FROM {table} FORCE INDEX (PRIMARY) WHERE {key} IN {list} FOR UPDATE SKIP LOCKED");
        Ok(sqlx::query_scalar(AssertSqlSafe(text)).bind_all(ids).fetch_all(self.connection()).await?)
    }

    /// Writes the rows of these ids by one statement, and returns the number of rows it found. Without ids it sends
    /// none.
    ///
    /// `text` makes the statement from the placeholders of the ids; `bind` binds the ids and the statement's other
    /// values in their order. The list is [padded]: a row whose id is repeated counts once.
    pub(super) async fn write_by_id<T: Clone + Send>(
        &mut self,
        ids: impl IntoIterator<Item = T> + Send,
        text: impl FnOnce(&str) -> String + Send,
        bind: impl FnOnce(Statement, Vec<T>) -> Statement + Send,
    ) -> Result<u64, RepositoryError> {
        let ids = padded(ids);
        if ids.is_empty() {
            return Ok(0);
        }
        let statement = sqlx::query(AssertSqlSafe(text(&placeholder_list(ids.len()))));
        Ok(bind(statement, ids).execute(self.connection()).await?.rows_affected())
    }
}
