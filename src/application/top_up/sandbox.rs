//! The payer's side of the sandbox: a developer chooses the outcome of a checkout.

use std::sync::Arc;

use uuid::Uuid;

use super::TopUpFacade;
use crate::{
    application::error::AppError,
    domain::{
        clock::Instant,
        top_up::{SandboxCheckout, SandboxProvider},
    },
};

/// The name of the sandbox among the providers.
const SANDBOX: &str = "sandbox";

/// The outcome of a sandbox checkout, and the notifications about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SandboxChoice {
    /// It is paid, and the server is notified.
    Success,
    /// The payment is declined, and the server is notified.
    Failure,
    /// It is paid, and the server is notified twice concurrently.
    Double,
    /// It is paid, and no notification is sent for now.
    Late,
    /// The notification about its state is sent, or sent again.
    Notify,
}

/// The use cases of the sandbox's page.
pub struct SandboxFacade {
    provider: Arc<dyn SandboxProvider>,
    top_ups: Arc<TopUpFacade>,
}

impl SandboxFacade {
    /// A facade of this provider, which sends its notifications to `top_ups`.
    pub fn new(provider: Arc<dyn SandboxProvider>, top_ups: Arc<TopUpFacade>) -> Self {
        Self { provider, top_ups }
    }

    /// The checkout with this id; `None` for an unknown id.
    ///
    /// # Errors
    ///
    /// [`AppError::ProviderUnavailable`].
    pub async fn checkout(&self, id: Uuid) -> Result<Option<SandboxCheckout>, AppError> {
        Ok(self.provider.checkout(id).await?)
    }

    /// Concludes an open checkout, and sends the notifications of the choice. `None` for an unknown id.
    ///
    /// # Errors
    ///
    /// [`AppError::ProviderUnavailable`]. A notification that isn't accepted is no error: like a real provider's page,
    /// this one doesn't depend on it.
    pub async fn choose(&self, id: Uuid, choice: SandboxChoice) -> Result<Option<SandboxCheckout>, AppError> {
        let checkout = match choice {
            SandboxChoice::Notify => self.provider.checkout(id).await?,
            SandboxChoice::Failure => self.provider.conclude(id, false).await?,
            SandboxChoice::Success | SandboxChoice::Double | SandboxChoice::Late => {
                self.provider.conclude(id, true).await?
            }
        };
        let Some(checkout) = checkout else { return Ok(None) };
        match choice {
            SandboxChoice::Late => {}
            SandboxChoice::Double => {
                tokio::join!(self.notify(&checkout), self.notify(&checkout));
            }
            SandboxChoice::Success | SandboxChoice::Failure | SandboxChoice::Notify => self.notify(&checkout).await,
        }
        Ok(Some(checkout))
    }

    /// The current instant, at which callers evaluate a checkout's state.
    pub fn now(&self) -> Instant {
        self.top_ups.now()
    }

    async fn notify(&self, checkout: &SandboxCheckout) {
        let Some(signed) = self.provider.notification(checkout) else { return };
        let received = self.top_ups.receive(SANDBOX, Some(&signed.signature), &signed.body).await;
        if let Err(error) = received {
            tracing::warn!(top_up_id = %checkout.top_up_id, %error, "a notification of the sandbox wasn't accepted");
        }
    }
}
