//! Reads the variables whose values need checks of their own: URLs, addresses, secrets, lists.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::TimeDelta;
use ipnet::IpNet;
use lettre::message::Mailbox;
use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use url::Url;

use super::{
    reader::VariableReader,
    secret::{Secret, Secrets},
    variables::DEMO_SECRET,
};
use crate::{
    domain::event::SigningSecret,
    infrastructure::{
        mysql,
        payment_provider::{StripeSettings, is_supported},
        smtp::{SmtpServer, SmtpSettings},
    },
    interfaces::http::address::AddressHeader,
    telemetry::{TelemetrySettings, alerts::AlertSettings, logs::LogFormat},
};

/// The time limit of a request to Slack.
const ALERT_TIMEOUT: Duration = Duration::from_secs(5);

fn is_http_url(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

fn split_secrets(text: &str) -> Vec<String> {
    text.split(',').map(|secret| secret.trim().to_owned()).collect()
}

/// The payment provider through which points are bought.
#[derive(Clone, Debug)]
pub enum PaymentProviderSettings {
    /// Points are charged without a payment.
    None,
    /// The sandbox, for development.
    Sandbox,
    /// Stripe.
    Stripe(StripeSettings),
}

/// How points are bought.
#[derive(Clone, Debug)]
pub struct TopUpSettings {
    /// The payment provider.
    pub provider: PaymentProviderSettings,
    /// The time for which a checkout can be paid.
    pub lifetime: TimeDelta,
}

impl<L: Fn(&str) -> Option<String>> VariableReader<L> {
    pub(super) fn public_url(&mut self) -> Option<String> {
        let text = self.optional_text("PUBLIC_URL")?;
        let is_base = |url: Url| {
            matches!(url.scheme(), "http" | "https")
                && url.has_host()
                && url.query().is_none()
                && url.fragment().is_none()
                && url.username().is_empty()
                && url.password().is_none()
        };
        if !Url::parse(&text).is_ok_and(is_base) {
            self.add_error("PUBLIC_URL", format!("{text:?} is not a URL such as https://tickets.example.org"));
        }
        Some(text.trim_end_matches('/').to_owned())
    }

    pub(super) fn top_ups(&mut self) -> TopUpSettings {
        let provider = self.payment_provider();
        TopUpSettings { provider, lifetime: TimeDelta::seconds(self.number("TOP_UP_SECONDS", 1, 86_400)) }
    }

    fn payment_provider(&mut self) -> PaymentProviderSettings {
        let name = self.text("PAYMENT_PROVIDER");
        // Read whichever provider is used, so that a mistake is reported before the day on which it counts.
        let stripe = self.stripe(name == "stripe");
        match name.as_str() {
            "none" => PaymentProviderSettings::None,
            "sandbox" => PaymentProviderSettings::Sandbox,
            "stripe" => PaymentProviderSettings::Stripe(stripe),
            other => {
                self.add_error("PAYMENT_PROVIDER", format!("{other:?} is neither none, sandbox nor stripe"));
                PaymentProviderSettings::None
            }
        }
    }

    fn stripe(&mut self, is_used: bool) -> StripeSettings {
        let api_url = self.text("STRIPE_API_URL").trim().trim_end_matches('/').to_owned();
        if !is_http_url(&api_url) {
            self.add_error("STRIPE_API_URL", format!("{api_url:?} is not a URL such as https://api.stripe.com"));
        }
        let mut secret = |name| {
            let text = self.optional_text(name);
            if !text.as_ref().map_or(!is_used, |text| text.bytes().all(|byte| byte.is_ascii_graphic())) {
                self.add_error(name, "is needed with PAYMENT_PROVIDER=stripe: visible ASCII characters");
            }
            text.unwrap_or_default()
        };
        let (secret_key, webhook_secret) = (secret("STRIPE_SECRET_KEY"), secret("STRIPE_WEBHOOK_SECRET"));
        let currency = self.text("STRIPE_CURRENCY").trim().to_owned();
        if !is_supported(&currency) {
            let error = format!("{currency:?} is not a currency of whole units or hundredths, such as krw or eur");
            self.add_error("STRIPE_CURRENCY", error);
        }
        let return_url = self.optional_text("PUBLIC_URL").unwrap_or_default().trim_end_matches('/').to_owned();
        if is_used && return_url.is_empty() {
            self.add_error("PUBLIC_URL", "is needed with PAYMENT_PROVIDER=stripe: payers return there");
        }
        StripeSettings { api_url, secret_key, webhook_secret, currency, return_url }
    }

    pub(super) fn trusted_proxies(&mut self) -> Vec<IpNet> {
        let text = self.text("TRUSTED_PROXIES");
        let read = |item: &str| item.parse().or_else(|_| item.parse::<IpAddr>().map(IpNet::from));
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        items.map(read).collect::<Result<_, _>>().unwrap_or_else(|_| {
            self.add_error(
                "TRUSTED_PROXIES",
                format!("{text:?} is not a list of addresses and networks such as 10.0.0.0/8"),
            );
            Vec::new()
        })
    }

    pub(super) fn address_header(&mut self) -> AddressHeader {
        let text = self.text("TRUSTED_PROXIES_HEADER");
        match text.to_lowercase().as_str() {
            "x-forwarded-for" => AddressHeader::XForwardedFor,
            "forwarded" => AddressHeader::Forwarded,
            _ => {
                self.add_error("TRUSTED_PROXIES_HEADER", format!("{text:?} is neither X-Forwarded-For nor Forwarded"));
                AddressHeader::XForwardedFor
            }
        }
    }

    pub(super) fn operations_listen_addr(&mut self) -> Option<SocketAddr> {
        if self.text("OPERATIONS_LISTEN_ADDR").is_empty() {
            return None;
        }
        let address = self.address("OPERATIONS_LISTEN_ADDR", "127.0.0.1:9090");
        Some(address).filter(|_| self.text("OPERATIONS_LISTEN_ADDR") != self.text("LISTEN_ADDR"))
    }

    pub(super) fn database_url(&mut self) -> String {
        let url = self.text("DATABASE_URL");
        let good = mysql::parse_url(&url).is_ok_and(|options| options.get_database().is_some());
        if !url.starts_with("mysql://") || !good {
            // The URL itself may hold a password.
            self.add_error("DATABASE_URL", "is not a URL such as mysql://user:password@host:3306/concert_reservation");
        }
        url
    }

    pub(super) fn token_secrets(&mut self) -> Secrets {
        self.secrets("TOKEN_SECRET")
    }

    /// The secrets of tickets, which are those of tokens unless they have their own.
    pub(super) fn ticket_secrets(&mut self) -> Secrets {
        match self.optional_text("TICKET_SECRET") {
            Some(_) => self.secrets("TICKET_SECRET"),
            // Their errors are reported once.
            None => Secrets(split_secrets(&self.text("TOKEN_SECRET"))),
        }
    }

    fn secrets(&mut self, name: &'static str) -> Secrets {
        let secrets = split_secrets(&self.text(name));
        let demo = self.flag("DEMO");
        if !demo {
            if secrets.iter().any(|secret| secret == DEMO_SECRET) {
                self.add_error(name, "is missing, or the published one: set a secret of your own, or DEMO=true");
            } else if secrets.iter().any(|secret| secret.chars().count() < 32) {
                self.add_error(name, "has a secret of fewer than 32 characters");
            }
        } else if secrets.iter().any(String::is_empty) {
            self.add_error(name, "has an empty secret");
        }
        Secrets(secrets)
    }

    pub(super) fn cors_allowed_origins(&mut self) -> Vec<String> {
        let text = self.text("CORS_ALLOWED_ORIGINS");
        let origins: Vec<_> =
            text.split(',').map(str::trim).filter(|origin| !origin.is_empty()).map(str::to_owned).collect();
        let good = |origin: &String| {
            origin == "*"
                || origin
                    .strip_prefix("https://")
                    .or_else(|| origin.strip_prefix("http://"))
                    .is_some_and(|host| !host.is_empty() && !host.contains('/') && host.is_ascii())
        };
        if !origins.iter().all(good) {
            self.add_error(
                "CORS_ALLOWED_ORIGINS",
                format!("{text:?} is not a list of origins such as https://example.org"),
            );
        }
        origins
    }

    /// The URL to which events are sent.
    pub(super) fn events_url(&mut self, name: &'static str) -> Option<String> {
        let text = self.optional_text(name)?;
        let is_http = |url: Url| matches!(url.scheme(), "http" | "https") && url.has_host() && url.port() != Some(0);
        if !Url::parse(&text).is_ok_and(is_http) {
            // The URL itself may hold a password.
            self.add_error(name, "is not a URL such as https://events.example.org/concert");
        }
        Some(text)
    }

    /// A secret in the format in which those of webhooks are shown.
    pub(super) fn data_platform_secret(&mut self) -> Option<SigningSecret> {
        let text = self.optional_text("DATA_PLATFORM_SECRET")?;
        let bytes = text.strip_prefix("whsec_").and_then(|text| STANDARD.decode(text).ok());
        let secret = bytes.and_then(|bytes| bytes.try_into().ok()).map(SigningSecret);
        if secret.is_none() {
            self.add_error(
                "DATA_PLATFORM_SECRET",
                "is not whsec_ and 32 bytes in base64, as openssl rand -base64 32 makes them",
            );
        }
        secret
    }

    pub(super) fn mail(&mut self) -> Option<SmtpSettings> {
        let (url, from) = (self.optional_text("SMTP_URL"), self.optional_text("MAIL_FROM"));
        let server = url.as_deref().map(SmtpServer::parse);
        let from = from.map(|text| text.parse::<Mailbox>());
        if let Some(Err(error)) = &server {
            // The URL itself may hold a password.
            self.add_error("SMTP_URL", error.to_string());
        }
        match &from {
            Some(Err(_)) => self.add_error("MAIL_FROM", "is not a sender such as Tickets <tickets@example.org>"),
            None if url.is_some() => self.add_error("MAIL_FROM", "is required with SMTP_URL"),
            _ => {}
        }
        Some(SmtpSettings { server: server?.ok()?, from: from?.ok()? })
    }

    pub(super) fn telemetry(&mut self) -> TelemetrySettings {
        TelemetrySettings {
            log_format: self.log_format(),
            log_level: self.log_level(),
            alerts: self.alerts(),
            trace_endpoint: self.trace_endpoint(),
        }
    }

    fn trace_endpoint(&mut self) -> Option<String> {
        let endpoint = self.optional_text("OTEL_EXPORTER_OTLP_ENDPOINT")?;
        if !is_http_url(&endpoint) {
            let error = format!("{endpoint:?} is not a URL such as http://127.0.0.1:4318");
            self.add_error("OTEL_EXPORTER_OTLP_ENDPOINT", error);
        }
        Some(endpoint)
    }

    fn alerts(&mut self) -> Option<AlertSettings> {
        let interval = TimeDelta::seconds(self.number("ALERT_INTERVAL_SECONDS", 1, 86_400));
        let webhook = self.text("SLACK_WEBHOOK_URL");
        if webhook.is_empty() {
            return None;
        }
        if !is_http_url(&webhook) {
            // The URL itself is the secret.
            self.add_error("SLACK_WEBHOOK_URL", "is not a URL such as https://hooks.slack.com/services/…");
        }
        Some(AlertSettings { webhook: Secret(webhook), interval, timeout: ALERT_TIMEOUT })
    }

    fn log_format(&mut self) -> LogFormat {
        match self.text("LOG_FORMAT").as_str() {
            "text" => LogFormat::Text,
            "json" => LogFormat::Json,
            other => {
                self.add_error("LOG_FORMAT", format!("{other:?} is neither text nor json"));
                LogFormat::Text
            }
        }
    }

    pub(super) fn log_level(&mut self) -> String {
        let level = self.text("LOG_LEVEL");
        // To the filter a misspelt level is the name of a target, whose lines alone it would let through.
        let is_directive = |text: &str| text.contains('=') || text.parse::<LevelFilter>().is_ok();
        let is_filter = EnvFilter::try_new(&level).is_ok() && level.split(',').all(is_directive);
        if !is_filter || level.contains(char::is_whitespace) {
            self.add_error("LOG_LEVEL", format!("{level:?} is neither a level nor a filter"));
        }
        level
    }
}
