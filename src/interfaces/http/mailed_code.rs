//! Codes by mail: verifying an e-mail address, and setting a new password.

use axum::{extract::State, http::StatusCode};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    auth::Caller,
    body::{Body, EmptyBody, FromBody, Object},
    client_language::ClientLanguage,
    client_network::ClientNetwork,
    problem::{BODY_CODES, Code, HandlerResult},
    rate_limit::{RateLimited, UseCode},
    state::App,
};
use crate::domain::{text::Email, user::Password};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(request_email_verification))
        .routes(routes!(confirm_email_verification))
        .routes(routes!(request_password_reset))
        .routes(routes!(confirm_password_reset))
}

/// Mails a code that verifies the caller's e-mail address.
///
/// The code is valid for a day. A verified address gets no code, and any address at most five per hour. The mail is
/// Korean or English, by `Accept-Language`.
#[utoipa::path(post, path = "/users/me/email-verification", tag = "users", security(("accessToken" = [])),
    extensions(("x-problems" = json!([BODY_CODES, Code::RATE_LIMITED]))),
    responses((status = 202, description = "The code will be mailed.")))]
async fn request_email_verification(
    State(app): State<App>,
    _: RateLimited<UseCode>,
    caller: Caller,
    ClientLanguage(language): ClientLanguage,
    _: EmptyBody,
) -> HandlerResult<StatusCode> {
    app.users.request_verification(caller.user_id, language).await?;
    Ok(StatusCode::ACCEPTED)
}

/// A mailed code.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct ConfirmVerificationRequest {
    /// In any case, with or without hyphens.
    #[schema(example = "7KQ2-M4XD-9RTC-HZ3V-W8BN-5JYP-0GEA")]
    code: String,
}

impl FromBody for ConfirmVerificationRequest {
    fn read(object: &Object<'_>) -> Option<Self> {
        let code = object.required("code").and_then(|field| field.text());
        Some(Self { code: code? })
    }
}

/// Verifies the caller's e-mail address by a mailed code.
///
/// A code works once. Too many wrong codes delay further ones for the account (`RATE_LIMITED`).
#[utoipa::path(post, path = "/users/me/email-verification/confirm", tag = "users", security(("accessToken" = [])),
    extensions(("x-problems" = json!([Code::INVALID_CODE, Code::RATE_LIMITED]))),
    request_body = ConfirmVerificationRequest,
    responses((status = 204, description = "The address is verified.")))]
async fn confirm_email_verification(
    State(app): State<App>,
    _: RateLimited<UseCode>,
    caller: Caller,
    Body { value, .. }: Body<ConfirmVerificationRequest>,
) -> HandlerResult<StatusCode> {
    app.users.verify_email(caller.user_id, &value.code).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The account that needs a new password.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct ResetPasswordRequest {
    #[schema(value_type = String, format = Email, max_length = 254, example = "jin@example.org")]
    email: Email,
}

impl FromBody for ResetPasswordRequest {
    fn read(object: &Object<'_>) -> Option<Self> {
        let email = object.required("email").and_then(|field| field.parse(Email::new));
        Some(Self { email: email? })
    }
}

/// Mails a code that sets a new password.
///
/// The code is valid for 30 minutes. For an address without an account the response is the same, and no mail is sent.
/// An address gets at most five codes per hour. The mail is Korean or English, by `Accept-Language`.
#[utoipa::path(post, path = "/auth/password-reset", tag = "users",
    extensions(("x-problems" = json!([Code::RATE_LIMITED]))),
    request_body = ResetPasswordRequest,
    responses((status = 202, description = "The code will be mailed, if there is an account.")))]
async fn request_password_reset(
    State(app): State<App>,
    _: RateLimited<UseCode>,
    ClientLanguage(language): ClientLanguage,
    Body { value, .. }: Body<ResetPasswordRequest>,
) -> HandlerResult<StatusCode> {
    app.users.request_password_reset(&value.email, language).await?;
    Ok(StatusCode::ACCEPTED)
}

/// A mailed code, and the new password.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct ConfirmResetRequest {
    /// In any case, with or without hyphens.
    #[schema(example = "7KQ2-M4XD-9RTC-HZ3V-W8BN-5JYP-0GEA")]
    code: String,
    #[schema(value_type = String, format = Password, min_length = 10, max_length = 128, example = "staple battery horse")]
    new_password: Password,
}

impl FromBody for ConfirmResetRequest {
    fn read(object: &Object<'_>) -> Option<Self> {
        let code = object.required("code").and_then(|field| field.text());
        let new_password = object.required("newPassword").and_then(|field| field.parse(Password::new));
        Some(Self { code: code?, new_password: new_password? })
    }
}

/// Sets a new password by a mailed code.
///
/// A code works once. Every session of the user ends, on every instance within a second.
#[utoipa::path(post, path = "/auth/password-reset/confirm", tag = "users",
    extensions(("x-problems" = json!([Code::INVALID_CODE, Code::RATE_LIMITED]))),
    request_body = ConfirmResetRequest,
    responses((status = 204, description = "The password is changed.")))]
async fn confirm_password_reset(
    State(app): State<App>,
    _: RateLimited<UseCode>,
    ClientNetwork(client): ClientNetwork,
    Body { value, .. }: Body<ConfirmResetRequest>,
) -> HandlerResult<StatusCode> {
    app.users.reset_password(&value.code, value.new_password, client).await?;
    Ok(StatusCode::NO_CONTENT)
}
