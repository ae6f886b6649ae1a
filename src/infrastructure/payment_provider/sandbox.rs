//! The sandbox: a payment provider without money, whose page this server serves.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::signature::{sign, verifies};
use crate::{
    domain::{
        clock::{Clock, Instant},
        id::TopUpId,
        points::Points,
        randomness::{Randomness, new_uuid},
        repository_error::RepositoryError,
        top_up::{
            Checkout, CheckoutState, Notification, NotificationError, PaidCheckout, PaymentProvider, ProviderError,
            SandboxCheckout, SandboxProvider, SandboxState, SignedNotification, TopUp,
        },
        unit_of_work::Database,
    },
    infrastructure::derived_key::derived_key,
};

/// The text from which the key is derived with the secret.
const KEY_PURPOSE: &str = "notifications of the payment sandbox";

/// The sandbox. Its checkouts are rows, so every instance can read them, also after a restart.
pub struct Sandbox {
    database: Arc<dyn Database>,
    clock: Arc<dyn Clock>,
    randomness: Arc<dyn Randomness>,
    /// The URL of this server for browsers, without a slash at the end.
    base_url: String,
    /// Signs notifications.
    secret: [u8; 32],
}

/// A notification's body.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Message {
    checkout_id: Uuid,
    top_up_id: Uuid,
    state: String,
    amount: String,
}

fn unavailable(error: &RepositoryError) -> ProviderError {
    ProviderError::Unavailable(error.to_string())
}

fn checkout_id(id: &str) -> Result<Uuid, ProviderError> {
    Uuid::try_parse(id).map_err(|_| unknown())
}

fn unknown() -> ProviderError {
    ProviderError::Refused("no such checkout".to_owned())
}

impl Sandbox {
    /// A sandbox whose notifications are signed with a key derived from `secret`.
    pub fn new(
        database: Arc<dyn Database>,
        clock: Arc<dyn Clock>,
        randomness: Arc<dyn Randomness>,
        base_url: &str,
        secret: &str,
    ) -> Self {
        let base_url = base_url.trim_end_matches('/').to_owned();
        Self { database, clock, randomness, base_url, secret: derived_key(secret, KEY_PURPOSE) }
    }

    fn url(&self, id: Uuid) -> String {
        format!("{}/payment-providers/sandbox/checkouts/{id}", self.base_url)
    }

    /// Changes a checkout in a transaction that locks its row; `None` for an unknown one.
    async fn change(
        &self,
        id: Uuid,
        change: impl FnOnce(&mut SandboxCheckout, Instant) + Send,
    ) -> Result<Option<SandboxCheckout>, RepositoryError> {
        let mut uow = self.database.begin().await?;
        let Some(mut checkout) = uow.sandbox_checkouts().lock(id).await? else { return Ok(None) };
        let before = checkout;
        change(&mut checkout, self.clock.now());
        if checkout != before {
            uow.sandbox_checkouts().update(&checkout).await?;
            uow.commit().await?;
        }
        Ok(Some(checkout))
    }

    async fn change_known(
        &self,
        id: &str,
        change: impl FnOnce(&mut SandboxCheckout, Instant) + Send,
    ) -> Result<SandboxCheckout, ProviderError> {
        let changed = self.change(checkout_id(id)?, change).await.map_err(|error| unavailable(&error))?;
        changed.ok_or_else(unknown)
    }

    async fn insert(&self, top_up: &TopUp) -> Result<SandboxCheckout, RepositoryError> {
        let now = self.clock.now();
        let checkout = SandboxCheckout {
            id: new_uuid(&*self.randomness, now),
            top_up_id: top_up.id,
            amount: top_up.amount,
            state: SandboxState::Open,
            created_at: now,
            expires_at: top_up.expires_at,
            refunded_at: None,
        };
        let mut uow = self.database.begin().await?;
        let checkout = uow.sandbox_checkouts().insert_once(&checkout).await?;
        uow.commit().await?;
        Ok(checkout)
    }

    async fn list(&self, since: Instant) -> Result<Vec<SandboxCheckout>, RepositoryError> {
        self.database.read().await?.sandbox_checkouts().list_paid(since).await
    }
}

#[async_trait]
impl PaymentProvider for Sandbox {
    fn name(&self) -> &'static str {
        "sandbox"
    }

    fn signature_header(&self) -> &'static str {
        "sandbox-signature"
    }

    fn check_amount(&self, _: Points) -> Result<(), String> {
        Ok(())
    }

    async fn create_checkout(&self, top_up: &TopUp) -> Result<Checkout, ProviderError> {
        let checkout = self.insert(top_up).await.map_err(|error| unavailable(&error))?;
        Ok(Checkout { id: checkout.id.to_string(), url: Some(self.url(checkout.id)) })
    }

    async fn find_checkout(&self, checkout_id: &str) -> Result<CheckoutState, ProviderError> {
        Ok(self.change_known(checkout_id, |_, _| {}).await?.state_at(self.clock.now()))
    }

    async fn end_checkout(&self, checkout_id: &str) -> Result<CheckoutState, ProviderError> {
        let end = |checkout: &mut SandboxCheckout, _| {
            if checkout.state == SandboxState::Open {
                checkout.state = SandboxState::Expired;
            }
        };
        Ok(self.change_known(checkout_id, end).await?.state_at(self.clock.now()))
    }

    async fn refund(&self, _: TopUpId, checkout_id: &str) -> Result<(), ProviderError> {
        let refund = |checkout: &mut SandboxCheckout, now| {
            if checkout.state == SandboxState::Paid {
                checkout.refunded_at = checkout.refunded_at.or(Some(now));
            }
        };
        let checkout = self.change_known(checkout_id, refund).await?;
        let refused = || ProviderError::Refused("the checkout isn't paid".to_owned());
        checkout.refunded_at.map(|_| ()).ok_or_else(refused)
    }

    async fn list_paid(&self, since: Instant) -> Result<Vec<PaidCheckout>, ProviderError> {
        let paid = self.list(since).await.map_err(|error| unavailable(&error))?;
        let paid = paid.into_iter().map(|checkout| PaidCheckout {
            top_up_id: Some(checkout.top_up_id),
            checkout_id: checkout.id.to_string(),
            amount: checkout.amount,
            created_at: checkout.created_at,
        });
        Ok(paid.collect())
    }

    fn read_notification(
        &self,
        signature: Option<&str>,
        body: &[u8],
        now: Instant,
    ) -> Result<Option<Notification>, NotificationError> {
        if !signature.is_some_and(|signature| verifies(signature, &self.secret, now, body)) {
            return Err(NotificationError::Forged);
        }
        let unreadable = NotificationError::Unreadable;
        let message: Message = serde_json::from_slice(body).map_err(|_| unreadable)?;
        let state = match message.state.parse().map_err(|_| unreadable)? {
            SandboxState::Open => return Ok(None),
            SandboxState::Paid => CheckoutState::Paid(message.amount.parse().map_err(|_| unreadable)?),
            SandboxState::Failed => CheckoutState::Failed,
            SandboxState::Expired => CheckoutState::Expired,
        };
        let checkout = Checkout { id: message.checkout_id.to_string(), url: Some(self.url(message.checkout_id)) };
        Ok(Some(Notification { top_up_id: TopUpId(message.top_up_id), checkout, state }))
    }
}

#[async_trait]
impl SandboxProvider for Sandbox {
    async fn checkout(&self, id: Uuid) -> Result<Option<SandboxCheckout>, ProviderError> {
        self.change(id, |_, _| {}).await.map_err(|error| unavailable(&error))
    }

    async fn conclude(&self, id: Uuid, paid: bool) -> Result<Option<SandboxCheckout>, ProviderError> {
        let conclude = |checkout: &mut SandboxCheckout, now| {
            if checkout.state_at(now) == CheckoutState::Open {
                checkout.state = if paid { SandboxState::Paid } else { SandboxState::Failed };
            }
        };
        self.change(id, conclude).await.map_err(|error| unavailable(&error))
    }

    fn notification(&self, checkout: &SandboxCheckout) -> Option<SignedNotification> {
        let state = match checkout.state_at(self.clock.now()) {
            CheckoutState::Open => return None,
            CheckoutState::Paid(_) => SandboxState::Paid,
            CheckoutState::Failed => SandboxState::Failed,
            CheckoutState::Expired => SandboxState::Expired,
        };
        let message = Message {
            checkout_id: checkout.id,
            top_up_id: checkout.top_up_id.0,
            state: state.name().to_owned(),
            amount: checkout.amount.to_string(),
        };
        let body = serde_json::to_vec(&message).ok()?;
        Some(SignedNotification { signature: sign(&self.secret, self.clock.now(), &body), body })
    }
}
