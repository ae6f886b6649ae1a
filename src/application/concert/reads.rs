//! Reads of the catalogue.

use std::net::IpAddr;

use super::{
    catalogue::{ListPosition, PerformanceFilter},
    catalogue_cache::{CatalogueAnswer, Reading},
    facade::ConcertFacade,
    info::{ConcertDetailsInfo, ConcertInfo, PerformanceInfo, PerformanceProgressInfo},
    listing::{ConcertRows, ids_of_future, ids_of_performances, progress, with_available_seats, with_sales},
};
use crate::{
    application::error::AppError,
    domain::{
        clock::Instant,
        concert::{ConcertFilter, Performance, Venue},
        id::{ConcertId, PerformanceId, VenueId},
        page::{Page, PageRequest},
        refusal::Refusal,
    },
};

/// The number of performances per read while sold-out ones are filtered out.
const PERFORMANCES_PER_SCAN: u32 = 100;

impl ConcertFacade {
    /// A page of concerts, earliest performance first. Clients take turns to read.
    ///
    /// # Errors
    ///
    /// [`AppError::Overloaded`] if too many reads wait.
    pub async fn list_concerts(
        &self,
        filter: &ConcertFilter,
        client: IpAddr,
    ) -> Result<CatalogueAnswer<Page<ConcertInfo>>, AppError> {
        self.catalogue.pages.get(filter, self.catalogue.turn(client), || self.read_concerts(filter)).await
    }

    async fn read_concerts(&self, filter: &ConcertFilter) -> Result<Reading<Page<ConcertInfo>>, AppError> {
        let now = self.ports.now();
        let (page, future) = {
            let mut repositories = self.ports.database.read().await?;
            let page = repositories.concerts().list_concerts(filter, now).await?;
            let ids: Vec<_> = page.items.iter().map(|concert| concert.id).collect();
            (page, repositories.concerts().list_future_performances(&ids, now).await?)
        };
        let counts = self.catalogue.counts.of(&ids_of_future(&future)).await?;
        let items = with_sales(page.items, &future, &counts.claimed);
        Ok(Reading { value: Page { items, has_more: page.has_more }, as_of: counts.as_of })
    }

    /// A concert with its queue's settings. Clients take turns to read.
    ///
    /// # Errors
    ///
    /// [`Refusal::ConcertNotFound`]. [`AppError::Overloaded`] if too many reads wait.
    pub async fn concert(
        &self,
        id: ConcertId,
        client: IpAddr,
    ) -> Result<CatalogueAnswer<ConcertDetailsInfo>, AppError> {
        self.catalogue.concerts.get(&id, self.catalogue.turn(client), || self.read_concert(id)).await
    }

    async fn read_concert(&self, id: ConcertId) -> Result<Reading<ConcertDetailsInfo>, AppError> {
        let now = self.ports.now();
        let rows = {
            let mut repositories = self.ports.database.read().await?;
            ConcertRows::read(&mut *repositories, id, now).await?
        };
        let counts = self.catalogue.counts.of(&ids_of_future(&rows.future)).await?;
        Ok(Reading { value: rows.details(&counts.claimed), as_of: counts.as_of })
    }

    /// A page of a concert's scheduled future performances, earliest first. Clients take turns to read.
    ///
    /// # Errors
    ///
    /// [`Refusal::ConcertNotFound`]. [`AppError::Overloaded`] if too many reads wait.
    pub async fn list_performances(
        &self,
        filter: &PerformanceFilter,
        client: IpAddr,
    ) -> Result<CatalogueAnswer<Page<PerformanceInfo>>, AppError> {
        self.catalogue.performances.get(filter, self.catalogue.turn(client), || self.read_performances(filter)).await
    }

    async fn read_performances(&self, filter: &PerformanceFilter) -> Result<Reading<Page<PerformanceInfo>>, AppError> {
        let PerformanceFilter { concert_id, available_only, page: request } = *filter;
        let now = self.ports.now();
        if !available_only {
            let page = self.read_performance_rows(concert_id, now, request).await?;
            let counts = self.catalogue.counts.of(&ids_of_performances(&page.items)).await?;
            let items = with_available_seats(page.items, &counts.claimed, now);
            return Ok(Reading { value: Page { items, has_more: page.has_more }, as_of: counts.as_of });
        }
        let wanted = request.limit as usize + 1;
        let (mut found, mut as_of) = (Vec::with_capacity(wanted), None);
        let mut scan = PageRequest { limit: PERFORMANCES_PER_SCAN, ..request };
        loop {
            let page = self.read_performance_rows(concert_id, now, scan).await?;
            let last = page.items.last().map(|performance| (performance.starts_at, performance.id));
            scan.after = last.or(scan.after);
            let counts = self.catalogue.counts.of(&ids_of_performances(&page.items)).await?;
            as_of = as_of.into_iter().chain(counts.as_of).min();
            let items = with_available_seats(page.items, &counts.claimed, now);
            found.extend(items.into_iter().filter(|info| info.available_seats > 0));
            if found.len() >= wanted || !page.has_more {
                return Ok(Reading { value: Page::of(found, request.limit), as_of });
            }
        }
    }

    /// A page of future performances of a concert. It releases its connection before the caller counts seats.
    async fn read_performance_rows(
        &self,
        concert_id: ConcertId,
        now: Instant,
        page: PageRequest<ListPosition>,
    ) -> Result<Page<Performance>, AppError> {
        let mut repositories = self.ports.database.read().await?;
        repositories.concerts().find_concert(concert_id).await?.ok_or(Refusal::ConcertNotFound)?;
        Ok(repositories.concerts().list_performances(concert_id, now, page).await?)
    }

    /// A performance with its available seats, whether or not it has begun or is cancelled. Clients take turns to read.
    ///
    /// # Errors
    ///
    /// [`Refusal::PerformanceNotFound`]. [`AppError::Overloaded`] if too many reads wait.
    pub async fn listed_performance(
        &self,
        id: PerformanceId,
        client: IpAddr,
    ) -> Result<CatalogueAnswer<PerformanceInfo>, AppError> {
        let turn = self.catalogue.turn(client);
        self.catalogue.single_performances.get(&id, turn, || self.read_listed_performance(id)).await
    }

    async fn read_listed_performance(&self, id: PerformanceId) -> Result<Reading<PerformanceInfo>, AppError> {
        let now = self.ports.now();
        let performance = {
            let mut repositories = self.ports.database.read().await?;
            repositories.concerts().find_performance(id).await?.ok_or(Refusal::PerformanceNotFound)?
        };
        let counts = self.catalogue.counts.of(&[id]).await?;
        let listed = with_available_seats(vec![performance], &counts.claimed, now).pop();
        Ok(Reading { value: listed.ok_or(Refusal::PerformanceNotFound)?, as_of: counts.as_of })
    }

    /// A performance as its promoter sees it, whether or not it has begun or is cancelled.
    ///
    /// # Errors
    ///
    /// [`Refusal::PerformanceNotFound`].
    pub async fn performance(&self, id: PerformanceId) -> Result<PerformanceProgressInfo, AppError> {
        let now = self.ports.now();
        let mut repositories = self.ports.back_office.read().await?;
        progress(&mut *repositories, id, now).await
    }

    /// A page of venues by ascending id.
    ///
    /// # Errors
    ///
    /// Those of [every use case](crate::application) alone.
    pub async fn list_venues(&self, page: PageRequest<VenueId>) -> Result<Page<Venue>, AppError> {
        let mut repositories = self.ports.back_office.read().await?;
        Ok(repositories.concerts().list_venues(page).await?)
    }
}
