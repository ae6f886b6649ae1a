//! New passwords by code against each other, and against logins, blocks and deletions.

use axum::http::Method;
use serde_json::json;

use crate::support::{Client, PASSWORD, Servers, TestApp, one_and_two_servers, race, tally};

one_and_two_servers!(
    of_two_codes_used_at_once_one_sets_the_password,
    no_session_outlives_a_concurrent_reset,
    a_reset_against_a_block_leaves_no_session,
    a_reset_against_a_deletion_leaves_no_account,
    codes_requested_at_once_are_all_counted,
);

const REQUEST: &str = "/api/v1/auth/password-reset";
const CONFIRM: &str = "/api/v1/auth/password-reset/confirm";

/// A user with this many codes.
async fn user_with_codes(servers: &Servers, app: &TestApp, email: &str, codes: usize) -> (Client, Vec<String>) {
    let user = app.anonymous().signed_up(email, &[]).await;
    for _ in 0..codes {
        app.anonymous().post(REQUEST, json!({"email": email})).await.expect(202);
    }
    let codes = app.codes(&servers.tables().await.pool, user.user_id(), "RESET_PASSWORD").await;
    (user, codes)
}

/// Two codes are used, each twice, on different servers: one request succeeds, and its password is the one that works.
async fn of_two_codes_used_at_once_one_sets_the_password(servers: Servers) {
    let app = servers.start();
    let (_, codes) = user_with_codes(&servers, &app, "jin@example.org", 2).await;
    let requests =
        codes.iter().flat_map(|code| app.on_every_server(&app.anonymous()).into_iter().map(move |it| (code, it)));
    let requests = requests.enumerate().map(|(number, (code, client))| {
        let (code, password) = (code.clone(), format!("password number {number}"));
        async move { (client.post(CONFIRM, json!({"code": code, "newPassword": password})).await, password) }
    });
    let replies = race(requests).await;
    let counts = tally(replies.iter().map(|(reply, _)| reply));
    assert_eq!(counts[&(204, String::new())], 1, "{counts:?}");
    assert_eq!(counts[&(401, "INVALID_CODE".to_owned())], replies.len() - 1, "{counts:?}");
    for (reply, password) in replies {
        let expected = if reply.status == 204 { 200 } else { 401 };
        app.anonymous().log_in("jin@example.org", &password).await.expect(expected);
    }
}

/// A login with the old password either loses, or its session is ended by the reset.
async fn no_session_outlives_a_concurrent_reset(servers: Servers) {
    let app = servers.start();
    let mut password = PASSWORD.to_owned();
    let (user, codes) = user_with_codes(&servers, &app, "jin@example.org", 1).await;
    let mut code = codes.into_iter().next();
    for number in 0..3 {
        let new = format!("password number {number}");
        let here = app.anonymous();
        let there = app.on_every_server(&here).pop().unwrap();
        let (reset, logged_in) = tokio::join!(
            here.post(CONFIRM, json!({"code": code, "newPassword": new})),
            there.log_in("jin@example.org", &password)
        );
        reset.expect(204);
        app.tick().await;
        if logged_in.status == 200 {
            let token = logged_in.text("accessToken");
            for session in app.on_every_server(&here.clone().with_token(token, user.user_id())) {
                session.get("/api/v1/users/me").await.expect_problem(401, "UNAUTHENTICATED");
            }
        }
        password = new;
        here.post(REQUEST, json!({"email": "jin@example.org"})).await.expect(202);
        code = app.codes(&servers.tables().await.pool, user.user_id(), "RESET_PASSWORD").await.pop();
    }
    app.anonymous().log_in("jin@example.org", &password).await.expect(200);
}

/// Whichever comes first: the account is blocked, and has no session.
async fn a_reset_against_a_block_leaves_no_session(servers: Servers) {
    let app = servers.start();
    let (user, codes) = user_with_codes(&servers, &app, "jin@example.org", 1).await;
    let (admin, confirming) = (app.admin().await, app.on_every_server(&app.anonymous()).pop().unwrap());
    let path = format!("/api/v1/admin/users/{}", user.user_id());
    let block = Some(json!({"blocked": true, "reason": "Fraud."}));
    let confirm = json!({"code": codes[0], "newPassword": "staple battery horse"});
    let (blocked, reset) =
        tokio::join!(admin.send(Method::PATCH, &path, &[], block), confirming.post(CONFIRM, confirm));
    blocked.expect(200);
    assert!(matches!((reset.status.as_u16(), reset.code().as_str()), (204, "") | (401, "INVALID_CODE")), "{reset:?}");
    app.tick().await;
    for user in app.on_every_server(&user) {
        user.get("/api/v1/users/me").await.expect_problem(401, "UNAUTHENTICATED");
    }
    let password = if reset.status == 204 { "staple battery horse" } else { PASSWORD };
    app.anonymous().log_in("jin@example.org", password).await.expect_problem(403, "USER_BLOCKED");
}

/// Whichever comes first: the account is gone with everything that identifies its user, and its codes with it.
async fn a_reset_against_a_deletion_leaves_no_account(servers: Servers) {
    let app = servers.start();
    let (user, codes) = user_with_codes(&servers, &app, "jin@example.org", 1).await;
    let confirming = app.on_every_server(&app.anonymous()).pop().unwrap();
    let confirm = json!({"code": codes[0], "newPassword": "staple battery horse"});
    let (deleted, reset) = tokio::join!(user.delete("/api/v1/users/me"), confirming.post(CONFIRM, confirm));
    // The reset ends the session that asks for the deletion.
    match (deleted.status.as_u16(), reset.status.as_u16()) {
        (204, 204 | 401) => {
            let tables = servers.tables().await;
            assert!(!tables.contain("jin@example.org").await);
            assert_eq!(tables.count("SELECT COUNT(*) FROM mailed_codes").await, 0);
            for password in [PASSWORD, "staple battery horse"] {
                app.anonymous().log_in("jin@example.org", password).await.expect_problem(401, "INVALID_CREDENTIALS");
            }
        }
        (401, 204) => drop(app.anonymous().log_in("jin@example.org", "staple battery horse").await.expect(200)),
        _ => panic!("{deleted:?} {reset:?}"),
    }
    app.assert_invariants_hold().await;
}

/// Each request counts the codes that were made before.
async fn codes_requested_at_once_are_all_counted(servers: Servers) {
    let app = servers.start();
    let user = app.anonymous().signed_up("jin@example.org", &[]).await;
    let clients = app.on_every_server(&app.anonymous());
    let requests = (0..12).map(|number| {
        let client = clients[number % clients.len()].clone();
        async move { client.post(REQUEST, json!({"email": "jin@example.org"})).await.expect(202) }
    });
    race(requests).await;
    let codes = app.codes(&servers.tables().await.pool, user.user_id(), "RESET_PASSWORD").await;
    assert_eq!(codes.len(), 5);
}
