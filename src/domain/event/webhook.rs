//! Webhooks: the receivers that administrators register.

use std::fmt;

use url::{Host, Url};

use super::{KINDS, address::is_public};
use crate::domain::{clock::Instant, id::WebhookId, randomness::Randomness};

/// The most characters of a URL, after normalization.
const URL_LENGTH: usize = 2_000;

/// The URL of a webhook: http or https, without credentials and fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookUrl(Url);

/// The text isn't a valid webhook URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAWebhookUrl {
    /// It isn't an http or https URL of at most 2,000 characters.
    #[error("must be a URL such as \"https://example.org/events\", at most 2000 characters")]
    Malformed,
    /// It contains a user name or password, which lists and logs would reveal.
    #[error("must not contain a user name or password")]
    Credentials,
}

impl WebhookUrl {
    /// Parses a URL as browsers do: `http://0x7f.1/` is a loopback address. Unlike browsers it requires the host
    /// directly after `//`, and refuses `http:///x`.
    pub fn new(text: &str) -> Result<Self, NotAWebhookUrl> {
        let text = text.trim();
        let url = Url::parse(text).map_err(|_| NotAWebhookUrl::Malformed)?;
        let fits = url.as_str().len() <= URL_LENGTH;
        if !names_host(text) || !url.has_host() || url.port() == Some(0) || !fits || url.fragment().is_some() {
            return Err(NotAWebhookUrl::Malformed);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(NotAWebhookUrl::Credentials);
        }
        Ok(Self(url))
    }

    /// Accepts a stored URL without checks: it satisfied the rules of its time.
    pub fn stored(text: &str) -> Result<Self, NotAWebhookUrl> {
        Url::parse(text).map(Self).map_err(|_| NotAWebhookUrl::Malformed)
    }

    /// The normalized URL.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Whether the URL itself names a loopback, private or reserved address. A host name may also resolve to one, which
    /// this doesn't check.
    pub fn is_private(&self) -> bool {
        match self.0.host() {
            Some(Host::Ipv4(address)) => !is_public(address.into()),
            Some(Host::Ipv6(address)) => !is_public(address.into()),
            Some(Host::Domain(name)) => {
                let name = name.trim_end_matches('.');
                name == "localhost" || name.ends_with(".localhost")
            }
            None => true,
        }
    }
}

/// Whether the text starts with `http://` or `https://`, directly followed by the authority.
fn names_host(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let rest = lower.strip_prefix("http://").or_else(|| lower.strip_prefix("https://"));
    rest.is_some_and(|rest| !rest.starts_with(['/', '\\']))
}

/// The key of a receiver's signatures.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningSecret(pub [u8; 32]);

impl SigningSecret {
    /// A new random key.
    pub fn new(randomness: &dyn Randomness) -> Self {
        let mut bytes = [0; 32];
        randomness.fill(&mut bytes);
        Self(bytes)
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a secret")
    }
}

/// The event types that a webhook subscribes to, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventTypes(Vec<String>);

impl EventTypes {
    /// Sorts the types in the order of [`KINDS`] and removes duplicates. `None` if there is no type.
    pub fn new(types: &[&'static str]) -> Option<Self> {
        let types: Vec<_> = KINDS.into_iter().filter(|kind| types.contains(kind)).map(str::to_owned).collect();
        (!types.is_empty()).then_some(Self(types))
    }

    /// Accepts stored types, even unknown ones: a newer version may have registered the webhook, and both versions
    /// dispatch its events.
    pub fn stored(types: impl IntoIterator<Item = String>) -> Self {
        Self(types.into_iter().collect())
    }

    /// Whether this type is subscribed.
    pub fn contains(&self, kind: &str) -> bool {
        self.0.iter().any(|subscribed| subscribed == kind)
    }

    /// The event type with this name; `None` if this version doesn't have it.
    pub fn find_kind(name: &str) -> Option<&'static str> {
        KINDS.into_iter().find(|kind| *kind == name)
    }

    /// The subscribed types.
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }
}

/// A receiver that an administrator registered.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// Identifies the webhook.
    pub id: WebhookId,
    /// The URL that events are posted to.
    pub url: WebhookUrl,
    /// The subscribed event types.
    pub types: EventTypes,
    /// The key of the signatures.
    pub secret: SigningSecret,
    /// The instant of registration. Events recorded later are delivered to it.
    pub created_at: Instant,
    /// The instant at which its receiver answered 410; `None` while it is active.
    pub disabled_at: Option<Instant>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn webhook_urls_are_http_without_credentials() {
        for text in ["https://example.org/events?a=b", " http://example.org:8080 ", "http://10.0.0.1/"] {
            assert!(WebhookUrl::new(text).is_ok(), "{text}");
        }
        let long = format!("https://example.org/{}", "a".repeat(2_000));
        for text in [
            "",
            "example.org",
            "/events",
            "ftp://example.org",
            "file:///etc/passwd",
            "https://",
            "https://a b/",
            "https://example.org/#a",
            "http:///example.org/",
            "http:example.org",
            "http:/example.org",
            "http:\\\\example.org",
            "http://\\example.org",
            "http://example.org:0/",
            &long,
        ] {
            assert_eq!(WebhookUrl::new(text), Err(NotAWebhookUrl::Malformed), "{text}");
        }
        for text in ["https://user@example.org", "https://user:password@example.org", "https://:password@example.org"] {
            assert_eq!(WebhookUrl::new(text), Err(NotAWebhookUrl::Credentials), "{text}");
        }
    }

    #[test]
    fn private_hosts_are_recognized_in_any_notation() {
        for host in [
            "127.0.0.1",
            "0x7f.1",
            "2130706433",
            "0177.0.0.1",
            "[::1]",
            "[::ffff:7f00:1]",
            "localhost",
            "LOCALHOST.",
            "a.localhost",
            "169.254.169.254",
            "0",
        ] {
            assert!(WebhookUrl::new(&format!("http://{host}/")).unwrap().is_private(), "{host}");
        }
        for host in ["example.org", "8.8.8.8", "[2606:4700::1111]", "localhost.example.org"] {
            assert!(!WebhookUrl::new(&format!("http://{host}/")).unwrap().is_private(), "{host}");
        }
    }

    #[test]
    fn event_types_are_sorted_and_deduplicated() {
        let types = EventTypes::new(&["points.charged", "booking.held", "points.charged"]).unwrap();
        assert_eq!(types.as_slice(), ["booking.held", "points.charged"]);
        assert!(types.contains("booking.held") && !types.contains("booking"));
        assert_eq!(EventTypes::new(&[]), None);
        assert_eq!(
            (EventTypes::find_kind("booking.held"), EventTypes::find_kind("booking")),
            (Some("booking.held"), None)
        );
    }
}
