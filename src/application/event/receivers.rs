//! The receivers of events: whether there may be any, and the list of them.
//!
//! Both come from one list of sources, so an event is never recorded as one without receivers while the relay would
//! find some. A new destination of the configuration is one more element for [`Receivers::new`]. Another kind of
//! destination is a [`ReceiverSource`] there.

use std::sync::Arc;

use async_trait::async_trait;

use crate::domain::{
    event::{Destination, Receiver},
    repository_error::RepositoryError,
    unit_of_work::Repositories,
};

/// One kind of destination, with its receivers.
#[async_trait]
trait ReceiverSource: Send + Sync {
    /// Every receiver of this kind.
    async fn list(&self, repositories: &mut dyn Repositories) -> Result<Vec<Receiver>, RepositoryError>;

    /// Whether an event of the current transaction may have a receiver of this kind. After `false`, no receiver is
    /// added until the transaction ends.
    ///
    /// A wrong `true` loses no event: it only costs a dispatch that finds no receiver.
    async fn may_have_any(&self, _: &mut dyn Repositories) -> Result<bool, RepositoryError> {
        Ok(true)
    }

    /// The destination of this kind for which the configuration has no receiver; `None` if it has one.
    fn unconfigured(&self) -> Option<Destination> {
        None
    }
}

/// Every receiver of events.
#[derive(Clone)]
pub struct Receivers(Arc<[Box<dyn ReceiverSource>]>);

impl Receivers {
    /// The registered webhooks, and each destination that the configuration may have, with its receiver. Deliveries to
    /// a destination without a receiver are parked.
    pub fn new(configurable: impl IntoIterator<Item = (Destination, Option<Receiver>)>) -> Self {
        let source =
            |(destination, receiver)| -> Box<dyn ReceiverSource> { Box::new(Configured { destination, receiver }) };
        let webhooks: Box<dyn ReceiverSource> = Box::new(Webhooks);
        Self(configurable.into_iter().map(source).chain([webhooks]).collect())
    }

    /// Whether an event of the current transaction may have a receiver. After `false`, no receiver is added until the
    /// transaction ends.
    pub(super) async fn may_have_any(&self, repositories: &mut dyn Repositories) -> Result<bool, RepositoryError> {
        for source in &*self.0 {
            if source.may_have_any(repositories).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Every receiver.
    pub(super) async fn list(&self, repositories: &mut dyn Repositories) -> Result<Vec<Receiver>, RepositoryError> {
        let mut receivers = Vec::new();
        for source in &*self.0 {
            receivers.extend(source.list(repositories).await?);
        }
        Ok(receivers)
    }

    /// The destinations for which the configuration has no receiver, and which may have pending deliveries from
    /// earlier.
    pub(super) fn unconfigured(&self) -> impl Iterator<Item = Destination> {
        self.0.iter().filter_map(|source| source.unconfigured())
    }
}

/// A destination of the configuration.
struct Configured {
    destination: Destination,
    /// `None` if it isn't configured.
    receiver: Option<Receiver>,
}

#[async_trait]
impl ReceiverSource for Configured {
    async fn list(&self, _: &mut dyn Repositories) -> Result<Vec<Receiver>, RepositoryError> {
        Ok(self.receiver.iter().cloned().collect())
    }

    async fn may_have_any(&self, _: &mut dyn Repositories) -> Result<bool, RepositoryError> {
        Ok(self.receiver.is_some())
    }

    fn unconfigured(&self) -> Option<Destination> {
        self.receiver.is_none().then_some(self.destination)
    }
}

/// The webhooks that administrators registered.
struct Webhooks;

#[async_trait]
impl ReceiverSource for Webhooks {
    async fn list(&self, repositories: &mut dyn Repositories) -> Result<Vec<Receiver>, RepositoryError> {
        Ok(repositories.webhooks().list_active().await?.into_iter().map(Receiver::from).collect())
    }

    async fn may_have_any(&self, repositories: &mut dyn Repositories) -> Result<bool, RepositoryError> {
        repositories.webhooks().any_active().await
    }
}
