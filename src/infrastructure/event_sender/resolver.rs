//! The name resolution of webhooks: to public addresses only.

use std::{io, net::SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::domain::event::is_public;

/// The error of a delivery to a webhook without a public address.
pub(super) const PRIVATE_ADDRESS_ERROR: &str = "the address is not on the public internet";

/// Resolves names to their public addresses. The connection uses these addresses, so a name that changes between check
/// and connection (DNS rebinding) can't lead into a private network.
#[derive(Debug)]
pub(super) struct PublicResolver;

impl Resolve for PublicResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let addresses: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let public: Vec<_> = addresses.iter().copied().filter(|address| is_public(address.ip())).collect();
            if public.is_empty() {
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, PRIVATE_ADDRESS_ERROR).into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_of_this_machine_has_no_public_address() {
        let error = PublicResolver.resolve("localhost".parse().unwrap()).await.err().unwrap();
        assert_eq!(error.to_string(), PRIVATE_ADDRESS_ERROR);
    }
}
