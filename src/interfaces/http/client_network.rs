//! The client network: the part of an address that distinguishes clients.

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv6Addr},
};

use axum::{extract::FromRequestParts, http::request::Parts};

use super::{address::client_address, state::App};

/// An IPv4 address, or the first 64 bits of an IPv6 address: providers assign a network of that size to one customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientNetwork(pub IpAddr);

impl ClientNetwork {
    /// The network of the client that sent a request.
    pub fn of(parts: &Parts, app: &App) -> Self {
        Self::containing(client_address(parts, &app.settings.proxies))
    }

    fn containing(address: IpAddr) -> Self {
        Self(match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
            }
        })
    }
}

impl FromRequestParts<App> for ClientNetwork {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
        Ok(Self::of(parts, app))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv6_addresses_of_one_64_bit_network_count_as_one() {
        let network = |address: &str| ClientNetwork::containing(address.parse().unwrap()).0.to_string();
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(network("192.0.2.1"), "192.0.2.1");
    }
}
