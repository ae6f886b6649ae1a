//! The client's address, behind trusted proxies.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::{
    extract::ConnectInfo,
    http::{HeaderMap, HeaderName, header, request::Parts},
};
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The proxies whose address header is trusted.
#[derive(Clone, Debug)]
pub struct ProxySettings {
    /// The networks of trusted proxies.
    pub trusted: Vec<IpNet>,
    /// The header in which they record addresses.
    pub header: AddressHeader,
}

/// The header in which proxies record the client's address. Only one is read: a proxy passes on unknown headers as the
/// client sent them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressHeader {
    /// `X-Forwarded-For`.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// The address of the last hop that isn't a trusted proxy, starting from the peer.
pub fn client_address(parts: &Parts, settings: &ProxySettings) -> IpAddr {
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
    // A test's request comes over no connection: it counts as local.
    let peer = peer.unwrap_or(Ipv4Addr::LOCALHOST.into()).to_canonical();
    let is_trusted = |address: &IpAddr| settings.trusted.iter().any(|network| network.contains(address));
    if !is_trusted(&peer) {
        return peer;
    }
    let mut nearest = peer;
    for named in hops(&parts.headers, settings.header).into_iter().rev() {
        // An unreadable address can't be trusted: the proxy that wrote it counts as the client.
        let Some(address) = named else { return nearest };
        nearest = address;
        if !is_trusted(&nearest) {
            return nearest;
        }
    }
    nearest
}

/// The addresses in the header, first hop first; `None` for an unreadable one.
fn hops(headers: &HeaderMap, header: AddressHeader) -> Vec<Option<IpAddr>> {
    let (name, read): (_, fn(&str) -> Option<IpAddr>) = match header {
        AddressHeader::XForwardedFor => (X_FORWARDED_FOR, read_address),
        AddressHeader::Forwarded => (header::FORWARDED, read_forwarded),
    };
    let values = headers.get_all(name).into_iter().map(|value| value.to_str().unwrap_or_default());
    values.flat_map(|value| value.split(',')).map(|item| read(item.trim())).collect()
}

/// `for=` of an element such as `for="[2001:db8::1]:4711";proto=https`.
fn read_forwarded(element: &str) -> Option<IpAddr> {
    let pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    let (_, node) = pairs.into_iter().find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    read_address(node.trim().trim_matches('"'))
}

/// An address with or without a port.
fn read_address(text: &str) -> Option<IpAddr> {
    let bare = || text.parse::<IpAddr>().ok();
    let with_port = || text.parse::<SocketAddr>().map(|address| address.ip()).ok();
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    bare().or_else(with_port).or_else(bracketed).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn address(peer: &str, header: AddressHeader, fields: &[(&str, &str)]) -> String {
        let mut request = Request::builder();
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        parts.extensions.insert(ConnectInfo(SocketAddr::new(peer.parse().unwrap(), 4711)));
        let trusted = vec!["10.0.0.0/8".parse().unwrap(), "2001:db8:ffff::/48".parse().unwrap()];
        client_address(&parts, &ProxySettings { trusted, header }).to_string()
    }

    #[test]
    fn only_trusted_proxies_set_the_client_address() {
        let address = |peer, fields: &[_]| address(peer, AddressHeader::XForwardedFor, fields);
        let forwarded = |value| [("X-Forwarded-For", value)];
        assert_eq!(address("192.0.2.9", &forwarded("198.51.100.1")), "192.0.2.9");
        assert_eq!(address("10.0.0.1", &forwarded("198.51.100.1")), "198.51.100.1");
        assert_eq!(address("::ffff:10.0.0.1", &forwarded("198.51.100.1:5000")), "198.51.100.1");
        assert_eq!(address("10.0.0.1", &[]), "10.0.0.1");
        // A client's forged address precedes the proxies' records.
        assert_eq!(address("10.0.0.1", &forwarded("1.2.3.4, 198.51.100.1, 10.9.9.9")), "198.51.100.1");
        assert_eq!(address("10.0.0.1", &[("X-Forwarded-For", "1.2.3.4"), ("X-Forwarded-For", "5.6.7.8")]), "5.6.7.8");
        assert_eq!(address("10.0.0.1", &forwarded("1.2.3.4, nonsense, 10.9.9.9")), "10.9.9.9");
        assert_eq!(address("2001:db8:ffff::1", &forwarded("2001:db8:1::7")), "2001:db8:1::7");
        assert_eq!(
            address("10.0.0.1", &[("Forwarded", "for=1.2.3.4")]),
            "10.0.0.1",
            "only the configured header is read"
        );
    }

    #[test]
    fn the_forwarded_header_is_parsed_as_in_rfc_7239() {
        let address = |value| address("10.0.0.1", AddressHeader::Forwarded, &[("Forwarded", value)]);
        assert_eq!(address("for=192.0.2.60;proto=http;by=203.0.113.43"), "192.0.2.60");
        assert_eq!(address("For=\"[2001:db8:cafe::17]:4711\""), "2001:db8:cafe::17");
        assert_eq!(address("for=192.0.2.43, for=198.51.100.17"), "198.51.100.17");
        assert_eq!(address("for=_hidden"), "10.0.0.1");
    }
}
