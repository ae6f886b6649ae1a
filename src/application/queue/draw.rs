//! The public part of a draw, which makes it verifiable.

use std::{sync::Arc, time::Duration};

use futures::{Stream, TryStreamExt, stream};
use moka::future::Cache;
use tokio::sync::Semaphore;

use crate::{
    application::{Ports, error::AppError},
    domain::{
        clock::Instant,
        id::ConcertId,
        queue::{Commitment, DRAW_ALGORITHM, Entrant, Queue, Seed},
        refusal::Refusal,
        repository_error::RepositoryError,
    },
};

/// The fewest entrants of a page: the one row with the next entrant, which has up to 2,000. A client that stops reading
/// keeps some pages in memory, each of 130 KB of text.
const ENTRANTS_PER_PAGE: u32 = 1;

/// The most bytes of cached pages: two lists of a million entrants.
const MAX_PAGE_BYTES: u64 = 128 * 1024 * 1024;

/// The time for which an unread page stays cached.
const PAGE_IDLE_TIMEOUT: Duration = Duration::from_mins(1);

/// The most pages that are read at a time.
const MAX_PAGE_READERS: usize = 2;

/// The length of an entrant's line: 64 hex digits and a line feed.
const LINE_BYTES: usize = 65;

/// The public part of a draw.
#[derive(Clone, Debug)]
pub struct DrawInfo {
    /// The hash of the seed, published before the draw.
    pub commitment: String,
    /// The definition of the order by seed and tokens.
    pub algorithm: &'static str,
    /// The opening; `None` if it was removed.
    pub sales_open_at: Option<Instant>,
    /// The seed and the number of entrants, once the draw is made.
    pub made: Option<(Seed, u32)>,
}

/// The list of a draw's entrants. It never changes.
#[derive(Clone, Copy, Debug)]
pub struct EntrantList {
    concert_id: ConcertId,
    /// Identifies the list: every draw has its own.
    pub commitment: Commitment,
    /// The number of lines.
    pub entrant_count: u32,
}

impl EntrantList {
    /// The length of the list in bytes.
    pub fn bytes(&self) -> u64 {
        u64::from(self.entrant_count) * LINE_BYTES as u64
    }
}

/// The use cases of public draws.
pub struct DrawFacade {
    ports: Ports,
    pages: DrawPages,
}

impl DrawFacade {
    pub(super) fn new(ports: &Ports) -> Self {
        Self { ports: ports.clone(), pages: DrawPages::new(ports) }
    }

    /// The public part of a concert's draw.
    ///
    /// # Errors
    ///
    /// [`Refusal::ConcertNotFound`], [`Refusal::DrawNotFound`].
    pub async fn draw(&self, id: ConcertId) -> Result<DrawInfo, AppError> {
        let queue = self.find_queue_of_draw(id).await?;
        let draw = queue.draw.ok_or(Refusal::DrawNotFound)?;
        Ok(DrawInfo {
            commitment: draw.commitment.hex(),
            algorithm: DRAW_ALGORITHM,
            sales_open_at: queue.settings.sales_open_at,
            made: draw.result().map(|(seed, made)| (seed, made.entrant_count)),
        })
    }

    /// The list of a draw's entrants: its identity and length. [`entrant_lines`](Self::entrant_lines) reads it.
    ///
    /// # Errors
    ///
    /// [`Refusal::ConcertNotFound`], [`Refusal::DrawNotFound`]; [`Refusal::DrawNotMade`] until all of the order is
    /// written.
    pub async fn entrants(&self, id: ConcertId) -> Result<EntrantList, AppError> {
        let draw = self.find_queue_of_draw(id).await?.draw.ok_or(Refusal::DrawNotFound)?;
        let made = draw.made.filter(|made| !made.is_pending()).ok_or(Refusal::DrawNotMade)?;
        Ok(EntrantList { concert_id: id, commitment: draw.commitment, entrant_count: made.entrant_count })
    }

    /// The lines of a list in drawn order, a page at a time. All readers share the text of the cached pages. A slow
    /// reader keeps few pages in memory, and occupies no connection.
    ///
    /// # Errors
    ///
    /// [`Refusal::DrawNotMade`] if the lines aren't stored.
    pub async fn entrant_lines(
        &self,
        list: EntrantList,
    ) -> Result<impl Stream<Item = Result<Arc<Vec<u8>>, AppError>> + Send + 'static, AppError> {
        let pages = self.pages.clone();
        if list.entrant_count > 0 && pages.get(list, 0).await?.is_empty() {
            return Err(Refusal::DrawNotMade.into());
        }
        Ok(stream::try_unfold(0, move |read| {
            let pages = pages.clone();
            async move { pages.next(list, read).await }
        })
        .into_stream())
    }

    async fn find_queue_of_draw(&self, id: ConcertId) -> Result<Queue, AppError> {
        let mut repositories = self.ports.database.read().await?;
        Ok(repositories.queues().find_queue(id).await?.ok_or(Refusal::ConcertNotFound)?)
    }
}

/// The lines of consecutive entrants of a list.
type Page = Arc<Vec<u8>>;

/// The cached pages of published lists, by concert and number of entrants before the page.
#[derive(Clone)]
struct DrawPages {
    ports: Ports,
    cached: Cache<(ConcertId, u32), Page>,
    readers: Arc<Semaphore>,
}

impl DrawPages {
    fn new(ports: &Ports) -> Self {
        let weight = |_: &_, page: &Page| u32::try_from(page.len()).unwrap_or(u32::MAX);
        Self {
            ports: ports.clone(),
            cached: Cache::builder()
                .max_capacity(MAX_PAGE_BYTES)
                .weigher(weight)
                .time_to_idle(PAGE_IDLE_TIMEOUT)
                .build(),
            readers: Arc::new(Semaphore::new(MAX_PAGE_READERS)),
        }
    }

    /// The page after the first `read` lines, and the number of lines read then; `None` at the end.
    async fn next(&self, list: EntrantList, read: u32) -> Result<Option<(Page, u32)>, AppError> {
        if read >= list.entrant_count {
            return Ok(None);
        }
        let page = self.get(list, read).await?;
        let lines = u32::try_from(page.len() / LINE_BYTES).unwrap_or(u32::MAX);
        // A list that ends early must not look complete.
        if lines == 0 || read.saturating_add(lines) > list.entrant_count {
            return Err(RepositoryError::stale("the list of a draw's entrants").into());
        }
        Ok(Some((page, read + lines)))
    }

    /// The page after the first `read` lines. Concurrent readers of a page share one read.
    async fn get(&self, list: EntrantList, read: u32) -> Result<Page, AppError> {
        let key = (list.concert_id, read);
        let page = self.cached.try_get_with(key, self.read(list.concert_id, read)).await;
        page.map_err(|error: Arc<AppError>| AppError::clone(&error))
    }

    async fn read(&self, id: ConcertId, read: u32) -> Result<Page, AppError> {
        let _turn = self.readers.acquire().await.map_err(AppError::internal)?;
        let mut repositories = self.ports.database.read().await?;
        let entrants = repositories.draws().list_drawn(id, read, ENTRANTS_PER_PAGE).await?;
        Ok(Arc::new(lines_of(&entrants)))
    }
}

fn lines_of(entrants: &[Entrant]) -> Vec<u8> {
    let mut text = Vec::with_capacity(entrants.len() * LINE_BYTES);
    for entrant in entrants {
        text.extend_from_slice(entrant.hex().as_bytes());
        text.push(b'\n');
    }
    text
}
