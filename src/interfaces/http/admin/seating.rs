//! The seating of a new performance: sections with rows and prices.

use utoipa::ToSchema;

use crate::{
    domain::{
        concert::{Seating, SeatingError, Section},
        points::Points,
        text::Name,
    },
    interfaces::http::{
        body::{FromBody, Object},
        values::PriceRequest,
    },
};

/// The most rows of a section, and the most seats of a row.
const ROW_LENGTH: u32 = 1_000;

/// The seats of a performance: at most 100,000, in sections with distinct names.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct SeatingRequest {
    #[schema(value_type = Vec<SectionRequest>, min_items = 1)]
    pub(super) sections: Seating,
}

impl FromBody for SeatingRequest {
    fn read(object: &Object<'_>) -> Option<Self> {
        let field = object.required("sections")?;
        let sections = field.list(1..=Seating::MAX_SEATS as usize, |item| item.object(SectionRequest::read))?;
        let sections = sections.into_iter().map(Into::into).collect();
        let sections = Seating::new(sections).map_or_else(
            |error| match error {
                SeatingError::DuplicateName(index) => field.fail_at(&format!("/{index}/name"), error.to_string()),
                SeatingError::Empty | SeatingError::TooLarge => field.fail(error.to_string()),
            },
            Some,
        );
        Some(Self { sections: sections? })
    }
}

/// A section of the venue with one price.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct SectionRequest {
    /// Unique in the performance.
    #[schema(value_type = String, min_length = 1, max_length = 200, pattern = r"\S", example = "Stalls")]
    name: Name,
    /// The price category.
    #[schema(value_type = String, min_length = 1, max_length = 200, pattern = r"\S", example = "R")]
    grade: Name,
    /// The number of rows. They are named A to Z, AA and so on, from the front.
    #[schema(minimum = 1, maximum = 1_000, example = 25)]
    rows: u16,
    /// The number of seats of a row, numbered from 1.
    #[schema(minimum = 1, maximum = 1_000, example = 40)]
    seats_per_row: u16,
    /// The price of a seat in points, at most 9,999,999,999.99.
    #[schema(value_type = PriceRequest)]
    price: Points,
}

impl FromBody for SectionRequest {
    fn read(object: &Object<'_>) -> Option<Self> {
        let name = object.required_name("name");
        let grade = object.required_name("grade");
        let rows = read_length(object, "rows");
        let seats_per_row = read_length(object, "seatsPerRow");
        let price = object.required("price").and_then(|field| {
            let price = field.points()?;
            if price <= Points::MAX_PRICE { Some(price) } else { field.fail("must be at most 9999999999.99") }
        });
        Some(Self { name: name?, grade: grade?, rows: rows?, seats_per_row: seats_per_row?, price: price? })
    }
}

impl From<SectionRequest> for Section {
    fn from(request: SectionRequest) -> Self {
        let SectionRequest { name, grade, rows, seats_per_row, price } = request;
        Self { name, grade, rows, seats_per_row, price }
    }
}

fn read_length(object: &Object<'_>, name: &str) -> Option<u16> {
    object.required(name)?.integer32(1..=ROW_LENGTH)?.try_into().ok()
}
