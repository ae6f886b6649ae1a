//! The mail server as a destination of events: failing, silent, encrypted, and shared by servers.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use concert_reservation::{
    domain::{
        event::AttemptOutcome,
        id::EventId,
        mail::{Mail, Mailer},
        text::Email,
    },
    infrastructure::smtp::{Certificate, SmtpMailer, SmtpServer as Url, SmtpSettings},
};
use serde_json::json;
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use uuid::Uuid;

use crate::support::{Receiver, SmtpServer, Tables, TestApp};

const VERIFICATION: &str = "/api/v1/users/me/email-verification";
const EVENTS: &str = "/api/v1/admin/events";

/// A server that refuses a mail for now, then for good, and then accepts it. Its words contain the address; nothing
/// that the server keeps or shows does.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_refused_mail_is_retried_with_growing_delays(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let tables = Tables::of(&options).await;
    let (mut mails, mut url) = (SmtpServer::start_with(&["--replies", "451,554,250"]).await, String::new());
    let app = TestApp::start_with(options, 1, &mails.settings(&mut url));
    let (user, admin) = (app.user().await, app.admin().await);
    user.post(VERIFICATION, json!({})).await.expect(202);
    let mut ids = BTreeSet::new();
    for (status, pause) in [(451, 2), (554, 6), (250, 0)] {
        app.relay().await;
        let received = mails.drain().await;
        assert_eq!(received.iter().map(|mail| mail.status).collect::<Vec<_>>(), [Some(status)]);
        ids.insert(received[0].headers["message-id"].clone());
        let delivery = &admin.get(EVENTS).await.expect(200).json()["items"][0];
        assert_eq!((&delivery["type"], &delivery["destination"]), (&json!("code.issued"), &json!("mail")));
        if status == 250 {
            assert_eq!((&delivery["status"], &delivery["lastError"]), (&json!("DELIVERED"), &json!(null)));
        } else {
            let error = json!(format!("status {status}"));
            assert_eq!((&delivery["status"], &delivery["lastError"]), (&json!("PENDING"), &error));
        }
        app.advance(pause);
    }
    assert_eq!(ids.len(), 1, "a repetition is recognised");
    let stored = "SELECT COUNT(*) FROM outbox_events e LEFT JOIN event_deliveries d ON d.event_id = e.id \
                  WHERE CONCAT(e.data, e.subject, COALESCE(d.last_error, '')) LIKE '%example%'";
    assert_eq!(tables.count(stored).await, 0);
}

/// A mail that is refused until the attempts are used up is parked, and sent once an administrator restarts it.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_mail_out_of_attempts_is_parked_until_it_is_redelivered(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let (mut mails, mut url) = (SmtpServer::start_with(&["--replies", "550,250"]).await, String::new());
    let app = TestApp::start_with(options, 1, &[&mails.settings(&mut url)[..], &[("EVENT_ATTEMPTS", "1")]].concat());
    let (user, admin) = (app.user().await, app.admin().await);
    user.post(VERIFICATION, json!({})).await.expect(202);
    app.relay().await;
    let parked = admin.get(&format!("{EVENTS}?status=PARKED")).await.expect(200).json();
    let id = parked["items"][0]["eventId"].as_str().unwrap();
    admin.post(&format!("{EVENTS}/{id}/redeliver"), json!({})).await.expect(202);
    app.relay().await;
    assert_eq!(mails.drain().await.iter().map(|mail| mail.status).collect::<Vec<_>>(), [Some(550), Some(250)]);
}

/// While the mail server doesn't answer, requests and the data platform go on.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_silent_mail_server_slows_neither_requests_nor_events(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let mut platform = Receiver::start().await;
    let (mut mails, mut url) = (SmtpServer::start_with(&["--hang"]).await, String::new());
    let platform_url = platform.url.clone();
    let settings = [&mails.settings(&mut url)[..], &[("DATA_PLATFORM_URL", &platform_url)]].concat();
    let app = TestApp::start_with(options, 1, &settings);
    let user = app.user().await;
    app.instances[0].start_jobs().await;
    user.post(VERIFICATION, json!({})).await.expect(202);
    let mail = mails.next().await;
    assert_eq!((mail.to(), mail.status), ("user0@example.org", None));
    for _ in 0..3 {
        user.post(VERIFICATION, json!({})).await.expect(202);
    }
    user.charge("1").await;
    assert_eq!(platform.next().await.text("type"), "points.charged");
}

/// Neither the data platform nor a webhook gets events of codes, nor any address.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn events_of_codes_are_for_mail_alone(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let (mut platform, mut webhook) = (Receiver::start().await, Receiver::start().await);
    let (mut mails, mut url) = (SmtpServer::start().await, String::new());
    let platform_url = platform.url.clone();
    let more = [("DATA_PLATFORM_URL", platform_url.as_str()), ("WEBHOOK_ALLOW_PRIVATE", "true")];
    let app = TestApp::start_with(options, 1, &[&mails.settings(&mut url)[..], &more].concat());
    let admin = app.admin().await;
    let body = |kind| json!({"url": webhook.url, "types": [kind]});
    admin.post("/api/v1/admin/webhooks", body("code.issued")).await.expect_problem(422, "VALIDATION_FAILED");
    admin.post("/api/v1/admin/webhooks", body("points.charged")).await.expect(201);
    let user = app.user().await;
    user.post(VERIFICATION, json!({})).await.expect(202);
    app.anonymous().post("/api/v1/auth/password-reset", json!({"email": "user1@example.org"})).await.expect(202);
    user.charge("1").await;
    app.relay().await;
    assert_eq!(mails.drain().await.len(), 2);
    for receiver in [&mut platform, &mut webhook] {
        let events = receiver.drain();
        assert_eq!(events.iter().map(|event| event.text("type")).collect::<Vec<_>>(), ["points.charged"]);
        assert!(!String::from_utf8_lossy(&events[0].bytes).contains('@'));
    }
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn two_servers_share_the_mails_and_send_none_twice(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let (mut mails, mut url) = (SmtpServer::start().await, String::new());
    let app = TestApp::start_with(options, 2, &mails.settings(&mut url));
    let users = app.users(40).await;
    for user in &users {
        user.post(VERIFICATION, json!({})).await.expect(202);
    }
    let (one, two) = tokio::join!(app.instances[0].relay.run_once(), app.instances[1].relay.run_once());
    one.and(two).unwrap();
    app.relay().await;
    let received = mails.drain().await;
    let recipients: BTreeSet<_> = received.iter().map(|mail| mail.to().to_owned()).collect();
    assert_eq!((received.len(), recipients.len()), (40, 40));
}

/// Without a mail server nothing is to be sent, and the codes are in the log of a demonstration alone.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn without_a_mail_server_no_event_of_a_code_is_recorded(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let tables = Tables::of(&options).await;
    let demo = TestApp::start(options.clone());
    demo.user().await.post(VERIFICATION, json!({})).await.expect(202);
    assert_eq!(tables.count("SELECT COUNT(*) FROM mailed_codes").await, 1);
    let secret = "a secret of more than 32 characters";
    let app = TestApp::start_with(options, 1, &[("DEMO", "false"), ("TOKEN_SECRET", secret)]);
    app.anonymous().post("/api/v1/auth/password-reset", json!({"email": "user0@example.org"})).await.expect(202);
    assert_eq!(tables.count("SELECT COUNT(*) FROM mailed_codes").await, 1);
    assert_eq!(tables.count("SELECT COUNT(*) FROM outbox_events").await, 0);
}

/// Some mail.
fn mail() -> Mail {
    Mail {
        event_id: EventId(Uuid::from_u128(1)),
        to: Email::new("jin@example.org").unwrap(),
        subject: "안녕하세요".to_owned(),
        text: "Text.".to_owned(),
        html: "<p>HTML.</p>".to_owned(),
        pictures: Vec::new(),
    }
}

fn mailer(url: &str, authority: Option<&str>) -> SmtpMailer {
    let settings = SmtpSettings { server: Url::parse(url).unwrap(), from: "tickets@concerts.example".parse().unwrap() };
    let authority = authority.map(|pem| Certificate::from_pem(pem.as_bytes()).unwrap());
    SmtpMailer::new(&settings, authority.as_ref()).unwrap()
}

/// Passwords and mails reach a server only through encryption that is verified.
#[tokio::test]
async fn mail_is_encrypted_to_a_server_whose_certificate_is_trusted() {
    let now: DateTime<Utc> = "2026-11-20T08:00:00Z".parse().unwrap();
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let authority = cert.pem();
    let folder = std::env::temp_dir().join(format!("concert-reservation-{}", Uuid::now_v7()));
    std::fs::create_dir(&folder).unwrap();
    let file = folder.join("certificate.pem");
    std::fs::write(&file, format!("{authority}{}", signing_key.serialize_pem())).unwrap();
    let certificate = ["--certificate", file.to_str().unwrap()];
    let login = ["--login", "jin:a b/c"];
    let mut starttls = SmtpServer::start_with(&[&certificate[..], &["--require-tls"], &login].concat()).await;
    let mut implicit = SmtpServer::start_with(&[&certificate[..], &["--implicit-tls"], &login].concat()).await;
    let mut plain = SmtpServer::start().await;
    std::fs::remove_dir_all(&folder).unwrap();

    let schemes = [("smtp", &mut starttls), ("smtps", &mut implicit)];
    for (scheme, server) in schemes {
        let url = format!("{scheme}://jin:a%20b%2Fc@127.0.0.1:{}", server.port);
        assert_eq!(mailer(&url, Some(&authority)).send(&mail(), now).await, AttemptOutcome::Accepted, "{scheme}");
        let received = server.drain().await.remove(0);
        assert!(received.encrypted && received.user.as_deref() == Some("jin"), "{received:?}");
        assert_eq!((received.subject(), received.text.trim()), ("안녕하세요", "Text."));
        let refused = mailer(&url, None).send(&mail(), now).await;
        assert!(matches!(refused, AttemptOutcome::Failed { .. }), "the certificate isn't trusted: {refused:?}");
        let url = format!("{scheme}://jin:wrong@127.0.0.1:{}", server.port);
        let refused = mailer(&url, Some(&authority)).send(&mail(), now).await;
        assert_eq!(refused, AttemptOutcome::Failed { error: "status 535".to_owned(), retry_after: None });
        assert_eq!(server.drain().await.len(), 0);
    }
    // A server without encryption gets mail, but no password.
    let url = format!("127.0.0.1:{}", plain.port);
    assert_eq!(mailer(&format!("smtp://{url}"), None).send(&mail(), now).await, AttemptOutcome::Accepted);
    for url in [format!("smtp://jin:secret@{url}"), format!("smtp://{url}?tls=required"), format!("smtps://{url}")] {
        let refused = mailer(&url, None).send(&mail(), now).await;
        assert!(matches!(refused, AttemptOutcome::Failed { .. }), "{url}: {refused:?}");
    }
    assert_eq!(plain.drain().await.iter().map(|mail| mail.encrypted).collect::<Vec<_>>(), [false]);
}
