//! Administrators' use cases of events: deliveries and webhooks.

use crate::{
    application::{Ports, administration, error::AppError},
    domain::{
        administration::{Action, ActionKind},
        event::{DeliveryRecord, DeliveryStatus, Destination, EventTypes, SigningSecret, Webhook, WebhookUrl},
        id::{EventId, UserId, WebhookId},
        page::{Page, PageRequest},
        randomness::new_uuid,
        refusal::Refusal,
    },
};

/// The use cases of deliveries and webhooks.
pub struct EventFacade {
    ports: Ports,
    allow_private: bool,
}

impl EventFacade {
    /// A facade that accepts webhooks in private networks only if `allow_private`.
    pub fn new(ports: Ports, allow_private: bool) -> Self {
        Self { ports, allow_private }
    }

    /// A page of deliveries with this status, or of all, newest event first.
    ///
    /// # Errors
    ///
    /// Those of [every use case](crate::application) alone.
    pub async fn list_deliveries(
        &self,
        status: Option<DeliveryStatus>,
        page: PageRequest<(EventId, Destination)>,
    ) -> Result<Page<DeliveryRecord>, AppError> {
        let mut repositories = self.ports.database.read().await?;
        Ok(repositories.deliveries().list(status, page).await?)
    }

    /// Makes an event due again at each of its destinations that still has a receiver, so that the relay delivers it
    /// again.
    ///
    /// # Errors
    ///
    /// [`Refusal::EventNotFound`]; [`Refusal::Forbidden`] if the actor is no longer an administrator.
    ///
    /// # Concurrency
    ///
    /// Locks the event, then the actor's account (shared).
    pub async fn redeliver(&self, actor: UserId, id: EventId) -> Result<(), AppError> {
        self.ports.retry_on_contention(|| self.try_redeliver(actor, id)).await?;
        self.ports.event_written.notify_one();
        Ok(())
    }

    async fn try_redeliver(&self, actor: UserId, id: EventId) -> Result<(), AppError> {
        let now = self.ports.now();
        let mut uow = self.ports.database.begin().await?;
        if !uow.outbox().lock(id).await? {
            return Err(Refusal::EventNotFound.into());
        }
        uow.deliveries().restart(id, now).await?;
        let action = Action::new(actor, ActionKind::EventRedelivered, id);
        administration::record(&self.ports, &mut *uow, now, action).await?;
        Ok(uow.commit().await?)
    }

    /// Whether a webhook's URL names a private address while private ones aren't allowed. A host name is accepted: the
    /// sender checks its addresses each time it resolves the name.
    pub fn rejects_address(&self, url: &WebhookUrl) -> bool {
        !self.allow_private && url.is_private()
    }

    /// Registers a webhook. Every event of its types that is recorded after the registration is delivered to it.
    ///
    /// # Errors
    ///
    /// [`Refusal::Forbidden`] if the actor is no longer an administrator.
    ///
    /// # Concurrency
    ///
    /// Locks the registration of webhooks, then the actor's account (shared). It waits for transactions that have
    /// checked for webhooks.
    pub async fn create_webhook(&self, actor: UserId, url: WebhookUrl, types: EventTypes) -> Result<Webhook, AppError> {
        let created_at = self.ports.now();
        let randomness = &*self.ports.randomness;
        let id = WebhookId(new_uuid(randomness, created_at));
        let secret = SigningSecret::new(randomness);
        let webhook = Webhook { id, url, types, secret, created_at, disabled_at: None };
        self.ports.retry_on_contention(|| self.try_create_webhook(actor, &webhook)).await?;
        Ok(webhook)
    }

    async fn try_create_webhook(&self, actor: UserId, webhook: &Webhook) -> Result<(), AppError> {
        let mut uow = self.ports.database.begin().await?;
        uow.webhooks().insert(webhook).await?;
        let action = Action::new(actor, ActionKind::WebhookCreated, webhook.id);
        administration::record(&self.ports, &mut *uow, webhook.created_at, action).await?;
        Ok(uow.commit().await?)
    }

    /// A page of webhooks, oldest first.
    ///
    /// # Errors
    ///
    /// Those of [every use case](crate::application) alone.
    pub async fn list_webhooks(&self, page: PageRequest<WebhookId>) -> Result<Page<Webhook>, AppError> {
        let mut repositories = self.ports.database.read().await?;
        Ok(repositories.webhooks().list(page).await?)
    }

    /// Deletes a webhook. Its pending deliveries are parked, and deleted after their retention.
    ///
    /// # Errors
    ///
    /// [`Refusal::WebhookNotFound`]; [`Refusal::Forbidden`] if the actor is no longer an administrator.
    ///
    /// # Concurrency
    ///
    /// Locks the webhook, then the actor's account (shared).
    pub async fn delete_webhook(&self, actor: UserId, id: WebhookId) -> Result<(), AppError> {
        self.ports.retry_on_contention(|| self.try_delete_webhook(actor, id)).await
    }

    async fn try_delete_webhook(&self, actor: UserId, id: WebhookId) -> Result<(), AppError> {
        let now = self.ports.now();
        let mut uow = self.ports.database.begin().await?;
        if !uow.webhooks().delete(id, now).await? {
            return Err(Refusal::WebhookNotFound.into());
        }
        let action = Action::new(actor, ActionKind::WebhookDeleted, id);
        administration::record(&self.ports, &mut *uow, now, action).await?;
        Ok(uow.commit().await?)
    }
}
