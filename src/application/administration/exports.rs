//! Exports, read in pages.

use std::{future::ready, sync::Arc};

use futures::{
    Stream, StreamExt,
    stream::{once, try_unfold},
};

use super::AdministrationFacade;
use crate::{
    application::{
        database_loss::{TRANSACTION_TIMEOUT, or_unavailable_within},
        error::AppError,
    },
    domain::{
        export::{ExportPosition, ExportRange, ExportedBooking, ExportedRow, ExportedTransaction},
        repository_error::RepositoryError,
        unit_of_work::Database,
    },
};

/// The rows of a page: some 200 kilobytes of text.
const PAGE_ROWS: u32 = 500;

/// A page of an export, or the failure to read it.
type ExportPage<T> = Result<Vec<T>, AppError>;

impl AdministrationFacade {
    /// The bookings created in a range of time, oldest first, in pages that are read as the stream is polled.
    ///
    /// A page occupies a connection only while it is read, and shows the state at that time. So a slow client of an
    /// export delays no other request.
    ///
    /// # Errors
    ///
    /// Those of [every use case](crate::application), for the first page. A later failure ends the stream.
    pub async fn export_bookings(
        &self,
        range: ExportRange,
    ) -> Result<impl Stream<Item = ExportPage<ExportedBooking>> + Send + 'static, AppError> {
        pages(&self.ports.database, move |database, after| async move {
            database.read().await?.exports().list_bookings(range, after, PAGE_ROWS).await
        })
        .await
    }

    /// The changes of all balances made in a range of time, oldest first, in pages that are read as the stream is
    /// polled.
    ///
    /// # Errors
    ///
    /// Those of [`export_bookings`](Self::export_bookings).
    pub async fn export_transactions(
        &self,
        range: ExportRange,
    ) -> Result<impl Stream<Item = ExportPage<ExportedTransaction>> + Send + 'static, AppError> {
        pages(&self.ports.database, move |database, after| async move {
            database.read().await?.exports().list_transactions(range, after, PAGE_ROWS).await
        })
        .await
    }
}

/// Reads the first page, and the others when the stream is polled.
async fn pages<T, F>(
    database: &Arc<dyn Database>,
    read: impl Fn(Arc<dyn Database>, Option<ExportPosition>) -> F + Send + 'static,
) -> Result<impl Stream<Item = ExportPage<T>> + Send + 'static, AppError>
where
    T: ExportedRow + Send + 'static,
    F: Future<Output = Result<Vec<T>, RepositoryError>> + Send + 'static,
{
    let database = Arc::clone(database);
    let read = move |after| {
        let (database, page) = (Arc::clone(&database), read(Arc::clone(&database), after));
        async move { Ok::<_, AppError>(or_unavailable_within(&*database, TRANSACTION_TIMEOUT, page).await??) }
    };
    let first = read(None).await?;
    let others = try_unfold(end_of(&first), move |after| {
        let page = after.map(|after| read(Some(after)));
        async move {
            let Some(page) = page else { return Ok(None) };
            let page = page.await?;
            let end = end_of(&page);
            Ok(Some((page, end)))
        }
    });
    Ok(once(ready(Ok(first))).chain(others))
}

/// The position after which the next page starts; `None` after the last page.
fn end_of<T: ExportedRow>(page: &[T]) -> Option<ExportPosition> {
    page.last().filter(|_| page.len() >= PAGE_ROWS as usize).map(ExportedRow::position)
}
