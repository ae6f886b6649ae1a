//! Adding, changing and deleting concerts.

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    application::concert::UpdateConcert,
    domain::{concert::ConcertFields, id::ConcertId, text::Name},
    interfaces::http::{
        auth::Administrator,
        body::{ADMIN_MAX_BYTES, AdminBody, EmptyBody, Field, FromBody, Object, read_optional},
        concert::ConcertDetailsResponse,
        paths::BASE_PATH,
        problem::{BODY_CODES, Code, HandlerResult},
        query::Id,
        state::App,
        values::private_response,
    },
};

/// The most characters of a description.
const DESCRIPTION_LENGTH: usize = 10_000;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(create_concert)).routes(routes!(update_concert, delete_concert))
}

/// A concert to add.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct CreateConcertRequest {
    #[schema(value_type = String, min_length = 1, max_length = 200, pattern = r"\S", example = "Winter Journey")]
    title: Name,
    #[schema(value_type = String, min_length = 1, max_length = 200, pattern = r"\S", example = "Sumi Jo")]
    artist: Name,
    #[schema(value_type = String, min_length = 1, max_length = 200, pattern = r"\S", example = "Classical")]
    category: Name,
    #[schema(nullable = true, max_length = 10_000, example = "Schubert's songs.\nNo interval.")]
    description: Option<String>,
}

impl FromBody for CreateConcertRequest {
    fn read(object: &Object<'_>) -> Option<Self> {
        let title = object.required_name("title");
        let artist = object.required_name("artist");
        let category = object.required_name("category");
        let description = read_optional(object.optional("description"), |field| read_description(&field));
        Some(Self { title: title?, artist: artist?, category: category?, description: description? })
    }
}

/// Adds a concert with its queue.
#[utoipa::path(post, path = "/admin/concerts", tag = "administration", security(("accessToken" = [])),
    request_body = CreateConcertRequest,
    responses((status = 201, body = ConcertDetailsResponse,
        headers(("Location" = String, description = "The concert in the catalogue.")))))]
async fn create_concert(
    State(app): State<App>,
    Administrator(caller): Administrator,
    body: AdminBody<CreateConcertRequest>,
) -> HandlerResult<impl IntoResponse> {
    let CreateConcertRequest { title, artist, category, description } = body.value;
    let fields = ConcertFields { title, artist, category, description: description.unwrap_or_default() };
    let concert = app.concerts.create_concert(Some(caller.user_id), &fields).await?;
    let location = format!("{BASE_PATH}/concerts/{}", concert.listed.concert.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], private_response(ConcertDetailsResponse::from(concert))))
}

/// Changes of a concert, at least one. Absent fields keep their values.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase", min_properties = 1)]
struct UpdateConcertRequest {
    #[schema(value_type = String, required = false, min_length = 1, max_length = 200, pattern = r"\S", example = "Winter Journey")]
    title: Option<Name>,
    #[schema(value_type = String, required = false, min_length = 1, max_length = 200, pattern = r"\S", example = "Sumi Jo")]
    artist: Option<Name>,
    #[schema(value_type = String, required = false, min_length = 1, max_length = 200, pattern = r"\S", example = "Classical")]
    category: Option<Name>,
    #[schema(value_type = String, required = false, max_length = 10_000, example = "Schubert's songs.")]
    description: Option<String>,
}

impl FromBody for UpdateConcertRequest {
    fn read(object: &Object<'_>) -> Option<Self> {
        let name = |name| read_optional(object.if_present(name), |field| field.parse(Name::new));
        let (title, artist, category) = (name("title"), name("artist"), name("category"));
        let description = read_optional(object.if_present("description"), |field| read_description(&field));
        let request = Self { title: title?, artist: artist?, category: category?, description: description? };
        let Self { title, artist, category, description } = &request;
        if title.is_none() && artist.is_none() && category.is_none() && description.is_none() {
            return object.fail("must have at least one of title, artist, category and description");
        }
        Some(request)
    }
}

/// Changes the title, artist, category or description of a concert.
#[utoipa::path(patch, path = "/admin/concerts/{concertId}", tag = "administration",
    extensions(("x-problems" = json!([Code::CONCERT_NOT_FOUND]))),
    security(("accessToken" = [])), params(("concertId" = u64, Path)),
    request_body = UpdateConcertRequest,
    responses((status = 200, body = ConcertDetailsResponse)))]
async fn update_concert(
    State(app): State<App>,
    Administrator(caller): Administrator,
    Id(concert_id): Id<ConcertId>,
    body: AdminBody<UpdateConcertRequest>,
) -> HandlerResult<impl IntoResponse> {
    let UpdateConcertRequest { title, artist, category, description } = body.value;
    let command = UpdateConcert { concert_id, title, artist, category, description };
    Ok(private_response(ConcertDetailsResponse::from(
        app.concerts.update_concert(Some(caller.user_id), &command).await?,
    )))
}

/// Deletes a concert that has no live bookings.
///
/// A live booking is held, or confirmed for a performance that hasn't ended.
#[utoipa::path(delete, path = "/admin/concerts/{concertId}", tag = "administration",
    extensions(("x-problems" = json!([BODY_CODES, Code::CONCERT_NOT_FOUND, Code::CONCERT_HAS_BOOKINGS]))),
    security(("accessToken" = [])), params(("concertId" = u64, Path)),
    responses((status = 204, description = "Deleted.")))]
async fn delete_concert(
    State(app): State<App>,
    Administrator(caller): Administrator,
    Id(id): Id<ConcertId>,
    _: EmptyBody<ADMIN_MAX_BYTES>,
) -> HandlerResult<StatusCode> {
    app.concerts.delete_concert(Some(caller.user_id), id).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn read_description(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    // Line breaks and tabs are the only control characters that a description needs.
    let plain = |c: char| !c.is_control() || "\n\r\t".contains(c);
    if text.chars().count() <= DESCRIPTION_LENGTH && text.chars().all(plain) {
        Some(text)
    } else {
        field.fail("must have at most 10000 characters, and no control characters but line breaks and tabs")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interfaces::http::admin::test_bodies::{error_pointers, read};

    #[tokio::test]
    async fn a_change_has_at_least_one_field_and_no_null() {
        let request: UpdateConcertRequest = read(r#"{"description":""}"#).await.unwrap();
        assert_eq!((request.title, request.description), (None, Some(String::new())));
        assert_eq!(error_pointers::<UpdateConcertRequest>("{}").await, [""]);
        let nulls = r#"{"title":null,"description":null}"#;
        assert_eq!(error_pointers::<UpdateConcertRequest>(nulls).await, ["/title", "/description"]);
        assert_eq!(error_pointers::<UpdateConcertRequest>(r#"{"title":"A","seats":1}"#).await, ["/seats"]);
    }

    #[tokio::test]
    async fn a_description_may_have_line_breaks_and_at_most_10000_characters() {
        let description = async |text: &str| {
            error_pointers::<UpdateConcertRequest>(&serde_json::json!({ "description": text }).to_string()).await
        };
        assert!(description("One.\r\n\n\tTwo.").await.is_empty());
        assert!(description(&"가".repeat(10_000)).await.is_empty());
        assert_eq!(description(&"가".repeat(10_001)).await, ["/description"]);
        assert_eq!(description("\u{0}").await, ["/description"]);
    }
}
