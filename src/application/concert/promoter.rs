//! The promoter's writes: venues, concerts, performances, and queue settings.

use std::fmt::Display;

use super::{
    facade::ConcertFacade,
    info::{ConcertDetailsInfo, PerformanceProgressInfo, QueueInfo},
    listing::{details, progress},
};
use crate::{
    application::{administration, draw, error::AppError, event},
    domain::{
        administration::{Action, ActionKind},
        clock::Instant,
        concert::{ConcertFields, Seating, Venue},
        event::Fact,
        id::{ConcertId, UserId, VenueId},
        queue::{Draw, Queue, QueueSettings},
        refusal::Refusal,
        text::Name,
        unit_of_work::{Repositories, UnitOfWork},
    },
};

/// A change of a concert's fields. `None` leaves a field as it is.
#[derive(Clone, Debug)]
pub struct UpdateConcert {
    /// The concert to change.
    pub concert_id: ConcertId,
    /// The new title.
    pub title: Option<Name>,
    /// The new artist.
    pub artist: Option<Name>,
    /// The new category.
    pub category: Option<Name>,
    /// The new description; may be empty.
    pub description: Option<String>,
}

/// The administrator of a write. `None` for the command line, whose writes have no entry in the action log.
pub type Actor = Option<UserId>;

impl UpdateConcert {
    /// The changed fields, for the action log.
    fn details(&self) -> String {
        let names = [&self.title, &self.artist, &self.category].map(|field| field.as_ref().map(Name::as_str));
        let fields = ["title", "artist", "category"].into_iter().zip(names);
        let changes = fields.filter_map(|(field, value)| value.map(|value| format!("{field}: {value}")));
        changes.chain(self.description.as_ref().map(|_| "description".to_owned())).collect::<Vec<_>>().join("; ")
    }

    fn apply(&self, fields: ConcertFields) -> ConcertFields {
        ConcertFields {
            title: self.title.clone().unwrap_or(fields.title),
            artist: self.artist.clone().unwrap_or(fields.artist),
            category: self.category.clone().unwrap_or(fields.category),
            description: self.description.clone().unwrap_or(fields.description),
        }
    }
}

/// A request to add a performance.
#[derive(Clone, Debug)]
pub struct CreatePerformance {
    /// The concert that the performance is added to.
    pub concert_id: ConcertId,
    /// The venue of the performance.
    pub venue_id: VenueId,
    /// The start of the performance.
    pub starts_at: Instant,
    /// The seats, by section and row.
    pub seating: Seating,
}

impl ConcertFacade {
    /// Adds a venue.
    ///
    /// # Errors
    ///
    /// [`Refusal::Forbidden`] if the actor is no longer an administrator.
    ///
    /// # Concurrency
    ///
    /// Locks the actor's account (shared).
    pub async fn create_venue(&self, actor: Actor, name: &Name, address: &Name) -> Result<Venue, AppError> {
        self.ports.retry_on_contention(|| self.try_create_venue(actor, name, address)).await
    }

    async fn try_create_venue(&self, actor: Actor, name: &Name, address: &Name) -> Result<Venue, AppError> {
        let now = self.ports.now();
        let mut uow = self.ports.back_office.begin().await?;
        let venue = uow.concerts().insert_venue(name, address, now).await?;
        self.record(&mut *uow, now, actor, ActionKind::VenueCreated, venue.id, name.as_str()).await?;
        uow.commit().await?;
        Ok(venue)
    }

    /// Adds a concert with its queue.
    ///
    /// # Errors
    ///
    /// [`Refusal::Forbidden`] if the actor is no longer an administrator.
    ///
    /// # Concurrency
    ///
    /// Locks the actor's account (shared).
    pub async fn create_concert(&self, actor: Actor, fields: &ConcertFields) -> Result<ConcertDetailsInfo, AppError> {
        let concert = self.ports.retry_on_contention(|| self.try_create_concert(actor, fields)).await?;
        self.changes.increment();
        Ok(concert)
    }

    async fn try_create_concert(&self, actor: Actor, fields: &ConcertFields) -> Result<ConcertDetailsInfo, AppError> {
        let now = self.ports.now();
        let mut uow = self.ports.back_office.begin().await?;
        let id = uow.concerts().insert_concert(fields, now).await?;
        uow.queues().insert_queue(&Queue::new(id, now)).await?;
        let concert = details(&mut *uow, id, now).await?;
        self.record(&mut *uow, now, actor, ActionKind::ConcertCreated, id, fields.title.as_str()).await?;
        uow.commit().await?;
        Ok(concert)
    }

    /// Changes fields of a concert.
    ///
    /// # Errors
    ///
    /// [`Refusal::ConcertNotFound`]; [`Refusal::Forbidden`] if the actor is no longer an administrator.
    ///
    /// # Concurrency
    ///
    /// Locks the concert, then the actor's account (shared).
    pub async fn update_concert(&self, actor: Actor, command: &UpdateConcert) -> Result<ConcertDetailsInfo, AppError> {
        self.ports.retry_on_contention(|| self.try_update_concert(actor, command)).await
    }

    async fn try_update_concert(&self, actor: Actor, command: &UpdateConcert) -> Result<ConcertDetailsInfo, AppError> {
        let now = self.ports.now();
        let mut uow = self.ports.back_office.begin().await?;
        let id = command.concert_id;
        let concert = uow.concerts().lock_concert(id).await?.ok_or(Refusal::ConcertNotFound)?;
        uow.concerts().update_concert(id, &command.apply(concert.fields)).await?;
        let concert = details(&mut *uow, id, now).await?;
        self.record(&mut *uow, now, actor, ActionKind::ConcertUpdated, id, &command.details()).await?;
        uow.commit().await?;
        self.changes.increment();
        Ok(concert)
    }

    /// Deletes a concert: it is no longer listed or found. Bookings of past performances stay as they are.
    ///
    /// # Errors
    ///
    /// [`Refusal::ConcertNotFound`]; [`Refusal::ConcertHasBookings`] while any booking is live; [`Refusal::Forbidden`]
    /// if the actor is no longer an administrator.
    ///
    /// # Concurrency
    ///
    /// Locks the concert, its performances that haven't ended, and the actor's account (shared), in this order.
    /// Cancelling the performances waits for transactions that hold their seats, and later holds are refused. So the
    /// check for live bookings is final.
    pub async fn delete_concert(&self, actor: Actor, id: ConcertId) -> Result<(), AppError> {
        self.ports.retry_on_contention(|| self.try_delete_concert(actor, id)).await
    }

    async fn try_delete_concert(&self, actor: Actor, id: ConcertId) -> Result<(), AppError> {
        let now = self.ports.now();
        let mut uow = self.ports.back_office.begin().await?;
        uow.concerts().lock_concert(id).await?.ok_or(Refusal::ConcertNotFound)?;
        let cancelled = uow.concerts().cancel_performances_of(id, now).await?;
        if uow.bookings().concert_has_live(id, now).await? {
            return Err(Refusal::ConcertHasBookings.into());
        }
        uow.concerts().delete_concert(id, now).await?;
        let fact =
            |(performance_id, starts_at)| Fact::PerformanceCancelled { performance_id, concert_id: id, starts_at };
        event::record(&self.ports, &mut *uow, now, cancelled.into_iter().map(fact).collect(), Vec::new()).await?;
        self.record(&mut *uow, now, actor, ActionKind::ConcertDeleted, id, "").await?;
        uow.commit().await?;
        self.changes.increment();
        Ok(())
    }

    /// Adds a performance with all its seats.
    ///
    /// # Errors
    ///
    /// [`Refusal::ConcertNotFound`], [`Refusal::VenueNotFound`]; [`Refusal::Forbidden`] if the actor is no longer an
    /// administrator.
    ///
    /// # Concurrency
    ///
    /// Locks the concert, then the actor's account (shared).
    pub async fn create_performance(
        &self,
        actor: Actor,
        command: &CreatePerformance,
    ) -> Result<PerformanceProgressInfo, AppError> {
        self.ports.retry_on_contention(|| self.try_create_performance(actor, command)).await
    }

    async fn try_create_performance(
        &self,
        actor: Actor,
        command: &CreatePerformance,
    ) -> Result<PerformanceProgressInfo, AppError> {
        let now = self.ports.now();
        let CreatePerformance { concert_id, venue_id, starts_at, seating } = command;
        let mut uow = self.ports.back_office.begin().await?;
        uow.concerts().lock_concert(*concert_id).await?.ok_or(Refusal::ConcertNotFound)?;
        uow.concerts().find_venue(*venue_id).await?.ok_or(Refusal::VenueNotFound)?;
        let id = uow.concerts().insert_performance(*concert_id, *venue_id, *starts_at, seating, now).await?;
        let performance = progress(&mut *uow, id, now).await?;
        let request = format!("concert {concert_id}, venue {venue_id}, {starts_at}");
        self.record(&mut *uow, now, actor, ActionKind::PerformanceCreated, id, &request).await?;
        uow.commit().await?;
        self.changes.increment();
        Ok(performance)
    }

    /// The settings of a concert's queue, and its numbers of live tokens.
    ///
    /// # Errors
    ///
    /// [`Refusal::ConcertNotFound`].
    pub async fn queue_settings(&self, id: ConcertId) -> Result<QueueInfo, AppError> {
        let now = self.ports.now();
        let mut repositories = self.ports.back_office.read().await?;
        let queue = repositories.queues().find_queue(id).await?.ok_or(Refusal::ConcertNotFound)?;
        queue_info(&mut *repositories, &queue, now).await
    }

    /// Changes the settings of a concert's queue. The next admission follows them. If they open the sale, its draw is
    /// made at once.
    ///
    /// # Errors
    ///
    /// [`Refusal::ConcertNotFound`]; [`Refusal::SalesAlreadyOpen`] for another opening after the draw;
    /// [`Refusal::Forbidden`] if the actor is no longer an administrator.
    ///
    /// # Concurrency
    ///
    /// Locks the queue, then the actor's account (shared).
    pub async fn set_queue(&self, actor: Actor, id: ConcertId, settings: QueueSettings) -> Result<QueueInfo, AppError> {
        self.ports.retry_on_contention(|| self.try_set_queue(actor, id, settings)).await
    }

    async fn try_set_queue(&self, actor: Actor, id: ConcertId, settings: QueueSettings) -> Result<QueueInfo, AppError> {
        let now = self.ports.now();
        let mut uow = self.ports.back_office.begin().await?;
        let mut queue = uow.queues().lock_queues(&[id]).await?.pop().ok_or(Refusal::ConcertNotFound)?;
        // A draw that is due by the former settings is made before they change.
        draw::make_draw_if_due(&self.ports, &mut *uow, &mut queue, now).await?;
        queue.last_decision_at = queue.monotonic_now(now);
        queue.set(settings, || Draw::prepare(id, &*self.ports.seeds, &*self.ports.randomness))?;
        let now = queue.last_decision_at;
        draw::make_draw_if_due(&self.ports, &mut *uow, &mut queue, now).await?;
        uow.queues().update_queue(&queue).await?;
        let info = queue_info(&mut *uow, &queue, now).await?;
        self.record(&mut *uow, now, actor, ActionKind::QueueSet, id, settings.mode.name()).await?;
        uow.commit().await?;
        self.changes.increment();
        Ok(info)
    }

    /// Records an administrator's write in its transaction, see [`administration::record`].
    pub(super) async fn record(
        &self,
        uow: &mut dyn UnitOfWork,
        now: Instant,
        actor: Actor,
        kind: ActionKind,
        target: impl Display + Send,
        details: &str,
    ) -> Result<(), AppError> {
        let Some(actor) = actor else { return Ok(()) };
        let action = Action::new(actor, kind, target).with_details(details);
        administration::record(&self.ports, uow, now, action).await
    }
}

async fn queue_info(repositories: &mut dyn Repositories, queue: &Queue, now: Instant) -> Result<QueueInfo, AppError> {
    let live = repositories.queues().live_counts(queue.concert_id, queue.monotonic_now(now)).await?;
    Ok(QueueInfo { concert_id: queue.concert_id, settings: queue.settings, live })
}
