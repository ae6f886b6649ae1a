//! The mailer over SMTP, with STARTTLS or TLS.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use lettre::{
    AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    message::{
        Attachment, Mailbox, MultiPart, SinglePart,
        header::{ContentType, HeaderName, HeaderValue},
    },
    transport::smtp::{
        self, PoolConfig,
        authentication::Credentials,
        client::{Tls, TlsParameters, TlsParametersBuilder},
        extension::ClientId,
    },
};
use percent_encoding::percent_decode_str;
use tokio::time::timeout;
use url::Url;

pub use lettre::transport::smtp::client::Certificate;

use super::{error_source::innermost, qr};
use crate::domain::{
    clock::Instant,
    event::AttemptOutcome,
    mail::{Mail, Mailer},
};

/// The time limit of a whole attempt. A server may check a message for a while before it accepts it.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(20);

/// The time limit of each step of an attempt.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);

/// The most connections that are kept for further mails.
const MAX_IDLE: u32 = 4;

/// The time for which an unused connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// How a connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encryption {
    /// From the first byte.
    Implicit,
    /// By STARTTLS; a server without it gets no mail.
    Required,
    /// By STARTTLS, if the server offers it.
    Offered,
    /// Never.
    None,
}

/// A mail server: `smtp://` or `smtps://`, with or without credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct SmtpServer {
    host: String,
    port: u16,
    encryption: Encryption,
    credentials: Option<(String, String)>,
}

/// The text isn't the URL of a mail server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "is not a URL such as smtp://user:password@mail.example.org:587 or smtps://mail.example.org; its only parameter is \
     tls=required, tls=opportunistic or tls=none"
)]
pub struct NotAnSmtpUrl;

impl SmtpServer {
    /// Parses a URL. A URL with a password must use encryption, unless it contains `tls=none`.
    ///
    /// # Errors
    ///
    /// [`NotAnSmtpUrl`].
    pub fn parse(text: &str) -> Result<Self, NotAnSmtpUrl> {
        let url = Url::parse(text).map_err(|_| NotAnSmtpUrl)?;
        let decode = |part: &str| percent_decode_str(part).decode_utf8_lossy().into_owned();
        let password = url.password().map(decode);
        let credentials = password.map(|password| (decode(url.username()), password));
        let parameters: Vec<_> = url.query_pairs().collect();
        let parameters: Vec<_> = parameters.iter().map(|(name, value)| (name.as_ref(), value.as_ref())).collect();
        let encryption = match (url.scheme(), parameters.as_slice()) {
            ("smtps", []) => Encryption::Implicit,
            ("smtp", [("tls", "none")]) => Encryption::None,
            ("smtp", [("tls", "required")]) => Encryption::Required,
            ("smtp", []) if credentials.is_some() => Encryption::Required,
            ("smtp", [] | [("tls", "opportunistic")]) => Encryption::Offered,
            _ => return Err(NotAnSmtpUrl),
        };
        let default_port = match encryption {
            Encryption::Implicit => smtp::SUBMISSIONS_PORT,
            Encryption::Required => smtp::SUBMISSION_PORT,
            Encryption::Offered | Encryption::None => smtp::SMTP_PORT,
        };
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(NotAnSmtpUrl)?;
        let is_complete = matches!(url.path(), "" | "/") && url.fragment().is_none() && url.port() != Some(0);
        let is_login_whole = url.username().is_empty() == credentials.is_none();
        if !is_complete || !is_login_whole {
            return Err(NotAnSmtpUrl);
        }
        // An IPv6 address is in brackets in a URL, and not elsewhere.
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { host, port: url.port().unwrap_or(default_port), encryption, credentials })
    }
}

impl fmt::Debug for SmtpServer {
    /// Hides the password from logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SmtpServer({}:{}, {:?})", self.host, self.port, self.encryption)
    }
}

/// The mail server, and the sender of all mails.
#[derive(Clone, Debug)]
pub struct SmtpSettings {
    /// The server that accepts the mails.
    pub server: SmtpServer,
    /// The address in the header `From` of every mail.
    pub from: Mailbox,
}

/// Sends mails over SMTP.
pub struct SmtpMailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    timeout: Duration,
}

impl SmtpMailer {
    /// A mailer that trusts the certificate authorities of this machine, and `authority` if given. Must run on a tokio
    /// runtime. It connects when the first mail is sent.
    ///
    /// # Errors
    ///
    /// When TLS can't be set up.
    pub fn new(settings: &SmtpSettings, authority: Option<&Certificate>) -> Result<Self, smtp::Error> {
        let SmtpSettings { server, from } = settings;
        let tls = || {
            let parameters = TlsParameters::builder(server.host.clone());
            let parameters =
                authority.into_iter().cloned().fold(parameters, TlsParametersBuilder::add_root_certificate);
            parameters.build_rustls()
        };
        let tls = match server.encryption {
            Encryption::Implicit => Tls::Wrapper(tls()?),
            Encryption::Required => Tls::Required(tls()?),
            Encryption::Offered => Tls::Opportunistic(tls()?),
            Encryption::None => Tls::None,
        };
        let pool = PoolConfig::new().max_size(MAX_IDLE).idle_timeout(IDLE_TIMEOUT);
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&server.host)
            .port(server.port)
            .tls(tls)
            .hello_name(ClientId::Domain(from.email.domain().to_owned()))
            .timeout(Some(STEP_TIMEOUT))
            .pool_config(pool);
        if let Some((user, password)) = &server.credentials {
            builder = builder.credentials(Credentials::new(user.clone(), password.clone()));
        }
        Ok(Self { transport: builder.build(), from: from.clone(), timeout: ATTEMPT_TIMEOUT })
    }

    /// The message; `None` if the address has a form that mail doesn't permit, or a picture can't be drawn.
    fn message(&self, mail: &Mail, now: Instant) -> Option<Message> {
        let to = Mailbox::new(None, mail.to.as_str().parse().ok()?);
        let automatic = HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned());
        Message::builder()
            .from(self.from.clone())
            .to(to)
            .subject(mail.subject.as_str())
            .message_id(Some(format!("<{}@{}>", mail.event_id, self.from.email.domain())))
            .date(now.into())
            .raw_header(automatic)
            .multipart(body(mail)?)
            .ok()
    }
}

#[async_trait]
impl Mailer for SmtpMailer {
    async fn send(&self, mail: &Mail, now: Instant) -> AttemptOutcome {
        let Some(message) = self.message(mail, now) else {
            return AttemptOutcome::failed("the address or the content permits no mail");
        };
        match timeout(self.timeout, self.transport.send(message)).await {
            Ok(Ok(_)) => AttemptOutcome::Accepted,
            Ok(Err(error)) => AttemptOutcome::failed(describe(&error)),
            Err(_) => AttemptOutcome::failed("no answer in time"),
        }
    }
}

/// The plain text and the page with its pictures, as alternatives: a mail program shows one of the two.
fn body(mail: &Mail) -> Option<MultiPart> {
    if mail.pictures.is_empty() {
        return Some(MultiPart::alternative_plain_html(mail.text.clone(), mail.html.clone()));
    }
    let content_type = ContentType::parse("image/png").ok()?;
    let page = MultiPart::related().singlepart(SinglePart::html(mail.html.clone()));
    let page = mail.pictures.iter().try_fold(page, |page, picture| {
        let attachment = Attachment::new_inline_with_name(picture.content_id.clone(), picture.name.clone());
        Some(page.singlepart(attachment.body(qr::png(&picture.text)?, content_type.clone())))
    })?;
    Some(MultiPart::alternative().singlepart(SinglePart::plain(mail.text.clone())).multipart(page))
}

/// Describes an error without the server's text, which may contain the address.
fn describe(error: &smtp::Error) -> String {
    if let Some(code) = error.status() {
        return format!("status {code}");
    }
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    if error.is_client() {
        return "the mail server lacks what the mail needs".to_owned();
    }
    format!("no connection: {}", innermost(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{id::EventId, text::Email};

    #[tokio::test]
    async fn an_attempt_at_a_silent_server_fails_in_bounded_time() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("smtp://{}", listener.local_addr().unwrap());
        let server = SmtpServer::parse(&url).unwrap();
        let settings = SmtpSettings { server, from: "tickets@example.org".parse().unwrap() };
        let mailer = SmtpMailer { timeout: Duration::from_millis(50), ..SmtpMailer::new(&settings, None).unwrap() };
        let mail = Mail {
            event_id: EventId(uuid::Uuid::nil()),
            to: Email::new("jin@example.org").unwrap(),
            subject: String::new(),
            text: String::new(),
            html: String::new(),
            pictures: Vec::new(),
        };
        assert_eq!(mailer.send(&mail, Instant::default()).await, AttemptOutcome::failed("no answer in time"));
    }

    #[test]
    fn a_url_says_how_its_server_is_reached() {
        for (url, port, encryption) in [
            ("smtp://mail.example.org", 25, Encryption::Offered),
            ("smtp://mail.example.org/?tls=opportunistic", 25, Encryption::Offered),
            ("smtp://127.0.0.1:2525", 2_525, Encryption::Offered),
            ("smtp://mail.example.org?tls=required", 587, Encryption::Required),
            ("smtp://jin:secret@mail.example.org", 587, Encryption::Required),
            ("smtp://jin:secret@mail.example.org:25?tls=none", 25, Encryption::None),
            ("smtps://jin:secret@mail.example.org", 465, Encryption::Implicit),
        ] {
            let server = SmtpServer::parse(url).unwrap();
            assert_eq!((server.port, server.encryption), (port, encryption), "{url}");
        }
        let server = SmtpServer::parse("smtps://jin%40example.org:a+b%2F&=c@[::1]:465").unwrap();
        assert_eq!(server.credentials, Some(("jin@example.org".to_owned(), "a+b/&=c".to_owned())));
        assert_eq!((server.host.as_str(), format!("{server:?}").contains("a+b")), ("::1", false));
    }

    #[test]
    fn other_urls_are_refused() {
        for url in [
            "mail.example.org",
            "http://mail.example.org",
            "smtp://",
            "smtp://mail.example.org:0",
            "smtp://mail.example.org/path",
            "smtp://mail.example.org?tls=maybe",
            "smtp://mail.example.org?tls=required&tls=none",
            "smtps://mail.example.org?tls=none",
            "smtp://jin@mail.example.org",
            "smtp://:secret@mail.example.org",
        ] {
            assert_eq!(SmtpServer::parse(url), Err(NotAnSmtpUrl), "{url}");
        }
    }
}
