//! The fields of a body. Reading one records its errors, so that a problem lists them all.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, HashSet},
    fmt::{self, Display},
    ops::RangeInclusive,
    str::FromStr,
};

use serde::{Deserialize, Deserializer, de};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::parse_instant;
use crate::{
    domain::{
        clock::Instant,
        id::SeatId,
        points::{Points, SignedPoints},
        text::{Name, Reason},
    },
    interfaces::http::{
        problem::{Code, FieldError, Problem},
        query::canonical_uuid,
    },
};

/// A request type that reads itself from the fields of an object.
pub trait FromBody: Sized {
    /// Reads all known fields and records their errors; `None` if any is invalid.
    fn read(object: &Object<'_>) -> Option<Self>;
}

/// Reads a whole body.
pub(super) fn parse<T: FromBody>(bytes: &[u8]) -> Result<T, Problem> {
    let raw: &RawValue = serde_json::from_slice(bytes)
        .map_err(|error| Problem::new(Code::MALFORMED_REQUEST, format!("The body is not JSON: {error}.")))?;
    let errors = RefCell::default();
    let root = Field { pointer: String::new(), raw, errors: &errors };
    let value = root.object(T::read);
    let errors = errors.into_inner();
    match value {
        Some(value) if errors.is_empty() => Ok(value),
        _ => Err(Problem::validation(&errors)),
    }
}

/// An object of a body. Fields that the request type doesn't read are refused as unknown.
#[derive(Debug)]
pub struct Object<'a> {
    pointer: &'a str,
    unread: RefCell<BTreeMap<String, &'a RawValue>>,
    errors: &'a RefCell<Vec<FieldError>>,
}

impl<'a> Object<'a> {
    /// A required field.
    pub fn required(&self, name: &str) -> Option<Field<'a>> {
        let field = self.optional(name);
        if field.is_none() { self.fail_at(name, "is required") } else { field }
    }

    /// A required [`Name`].
    pub fn required_name(&self, name: &str) -> Option<Name> {
        self.required(name)?.parse(Name::new)
    }

    /// The required reason of an administrative write.
    pub fn reason(&self) -> Option<Reason> {
        self.required("reason")?.parse(Reason::new)
    }

    /// An optional field; null counts as absent.
    pub fn optional(&self, name: &str) -> Option<Field<'a>> {
        self.if_present(name).filter(|field| field.raw.get() != "null")
    }

    /// An optional field that must not be null.
    pub fn if_present(&self, name: &str) -> Option<Field<'a>> {
        let raw = self.unread.borrow_mut().remove(name)?;
        Some(Field { pointer: self.pointer_of(name), raw, errors: self.errors })
    }

    /// Records an error of the object as a whole.
    pub fn fail<T>(&self, message: impl Into<String>) -> Option<T> {
        self.errors.borrow_mut().push(FieldError::pointer(self.pointer, message));
        None
    }

    /// Records an error of a field, which may be absent.
    pub fn fail_at<T>(&self, name: &str, message: impl Into<String>) -> Option<T> {
        self.errors.borrow_mut().push(FieldError::pointer(self.pointer_of(name), message));
        None
    }

    fn pointer_of(&self, name: &str) -> String {
        // RFC 6901's two escapes.
        format!("{}/{}", self.pointer, name.replace('~', "~0").replace('/', "~1"))
    }
}

/// Reads an optional field: `Some(None)` when it is absent, `None` when it is wrong.
pub fn read_optional<'a, T>(field: Option<Field<'a>>, read: impl FnOnce(Field<'a>) -> Option<T>) -> Option<Option<T>> {
    match field {
        None => Some(None),
        Some(field) => read(field).map(Some),
    }
}

/// A value of a body, with its JSON pointer.
#[derive(Debug)]
pub struct Field<'a> {
    pointer: String,
    raw: &'a RawValue,
    errors: &'a RefCell<Vec<FieldError>>,
}

impl<'a> Field<'a> {
    /// Records an error of the value.
    pub fn fail<T>(&self, message: impl Into<String>) -> Option<T> {
        self.errors.borrow_mut().push(FieldError::pointer(self.pointer.clone(), message));
        None
    }

    /// Records an error of a part of the value, by its pointer relative to the value.
    pub fn fail_at<T>(&self, within: &str, message: impl Into<String>) -> Option<T> {
        self.errors.borrow_mut().push(FieldError::pointer(format!("{}{within}", self.pointer), message));
        None
    }

    /// A value that may be null, read by `read` if it isn't: `Some(None)` for null, `None` when it is wrong.
    pub fn nullable<T>(self, read: impl FnOnce(Self) -> Option<T>) -> Option<Option<T>> {
        if self.raw.get() == "null" { Some(None) } else { read(self).map(Some) }
    }

    /// A string.
    pub fn text(&self) -> Option<String> {
        serde_json::from_str(self.raw.get()).ok().or_else(|| self.fail("must be a string"))
    }

    /// A string, parsed.
    pub fn parse<T, E: Display>(&self, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        let text = self.text()?;
        parse(&text).map_or_else(|error| self.fail(error.to_string()), Some)
    }

    /// `true` or `false`.
    pub fn boolean(&self) -> Option<bool> {
        serde_json::from_str(self.raw.get()).ok().or_else(|| self.fail("must be true or false"))
    }

    /// A whole number in a range.
    pub fn integer(&self, range: RangeInclusive<u64>) -> Option<u64> {
        let (low, high) = (range.start(), range.end());
        let text = self.raw.get();
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse()
            .ok()
            .filter(|number| digits && range.contains(number))
            .or_else(|| self.fail(format!("must be a whole number from {low} to {high}")))
    }

    /// A 32-bit whole number in a range.
    pub fn integer32(&self, range: RangeInclusive<u32>) -> Option<u32> {
        self.integer(u64::from(*range.start())..=u64::from(*range.end())).and_then(|number| number.try_into().ok())
    }

    /// An id of the catalogue: a positive 63-bit number.
    pub fn catalogue_id(&self) -> Option<u64> {
        self.integer(1..=i64::MAX.unsigned_abs())
    }

    /// 1 to `max` ids of seats, each named once.
    pub fn seat_ids(&self, max: u32) -> Option<Vec<SeatId>> {
        let seen = RefCell::new(HashSet::new());
        self.list(1..=max as usize, |item| {
            let id = item.catalogue_id()?;
            if seen.borrow_mut().insert(id) { Some(SeatId(id)) } else { item.fail("is named twice") }
        })
    }

    /// An amount of points: a decimal string, or a number written as such a decimal.
    pub fn points(&self) -> Option<Points> {
        self.decimal()
    }

    /// An amount of points with a sign, other than 0, in the same forms.
    pub fn signed_points(&self) -> Option<SignedPoints> {
        self.decimal()
    }

    fn decimal<T: FromStr<Err: Display>>(&self) -> Option<T> {
        let literal = self.raw.get();
        if literal.starts_with('"') {
            self.parse(str::parse)
        } else {
            literal.parse::<T>().map_or_else(|error| self.fail(error.to_string()), Some)
        }
    }

    /// A UUID in canonical form.
    pub fn uuid(&self) -> Option<Uuid> {
        self.parse(|text| canonical_uuid(text).ok_or("must be a UUID"))
    }

    /// An instant of the years 1970 to 9998.
    pub fn instant(&self) -> Option<Instant> {
        self.parse(parse_instant)
    }

    /// A list with a bounded number of items, each read by `read`.
    pub fn list<T>(&self, len: RangeInclusive<usize>, read: impl Fn(Field<'a>) -> Option<T>) -> Option<Vec<T>> {
        let Ok(items) = serde_json::from_str::<Vec<&'a RawValue>>(self.raw.get()) else {
            return self.fail("must be a list");
        };
        if !len.contains(&items.len()) {
            return self.fail(format!("must have {} to {} items", len.start(), len.end()));
        }
        let items: Vec<_> = items
            .into_iter()
            .enumerate()
            .map(|(index, raw)| read(Field { pointer: format!("{}/{index}", self.pointer), raw, errors: self.errors }))
            .collect();
        // Collected after all items are read, so that the errors of all are recorded.
        items.into_iter().collect()
    }

    /// An object, read by `read`; unknown and repeated fields are errors.
    pub fn object<T>(&self, read: impl FnOnce(&Object<'_>) -> Option<T>) -> Option<T> {
        let Ok(JsonObject(entries)) = serde_json::from_str::<JsonObject<'_>>(self.raw.get()) else {
            return self.fail("must be an object");
        };
        let mut unread = BTreeMap::new();
        let mut repeated = BTreeSet::new();
        for (name, raw) in entries {
            if unread.insert(name.clone(), raw).is_some() {
                repeated.insert(name);
            }
        }
        let object = Object { pointer: &self.pointer, unread: RefCell::new(unread), errors: self.errors };
        let value = read(&object).filter(|_| repeated.is_empty());
        let repeated = repeated.iter().map(|name| FieldError::pointer(object.pointer_of(name), "is named twice"));
        self.errors.borrow_mut().extend(repeated);
        let unknown: Vec<_> = object.unread.borrow().keys().map(|name| object.pointer_of(name)).collect();
        self.errors.borrow_mut().extend(unknown.into_iter().map(|pointer| FieldError::pointer(pointer, "is unknown")));
        value
    }
}

/// The fields of an object in order, including repeated ones.
struct JsonObject<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for JsonObject<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(entries)
            }
        }

        deserializer.deserialize_map(Visitor).map(JsonObject)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interfaces::http::context::RequestContext;

    #[derive(Debug)]
    struct Sample;

    impl FromBody for Sample {
        fn read(object: &Object<'_>) -> Option<Self> {
            let name = object.required("name").and_then(|field| field.parse(Name::new));
            let price = object.required("price").and_then(|field| field.points());
            let ids = object.required("ids").and_then(|field| field.list(1..=2, |item| item.catalogue_id()));
            (name.is_some() && price.is_some() && ids.is_some()).then_some(Self)
        }
    }

    fn errors(body: &str) -> Vec<String> {
        let context = RequestContext::default();
        let problem = parse::<Sample>(body.as_bytes()).unwrap_err();
        let body: serde_json::Value = serde_json::from_slice(&problem.body(&context)).unwrap();
        match body["errors"].as_array() {
            Some(errors) => errors.iter().map(|error| error["pointer"].as_str().unwrap().to_owned()).collect(),
            None => vec![body["code"].as_str().unwrap().to_owned()],
        }
    }

    #[test]
    fn a_valid_body_is_read() {
        for price in [r#""50000.50""#, "50000.50", "0"] {
            parse::<Sample>(format!(r#"{{"name":"x","price":{price},"ids":[1]}}"#).as_bytes()).unwrap();
        }
    }

    #[test]
    fn every_invalid_field_is_reported() {
        assert_eq!(errors(r#"{"name":"","price":1e3,"ids":[1,"a"],"more":1}"#), ["/name", "/price", "/ids/1", "/more"]);
        assert_eq!(errors("{}"), ["/name", "/price", "/ids"]);
        assert_eq!(errors(r#"{"name":1,"price":-1,"ids":[]}"#), ["/name", "/price", "/ids"]);
        assert_eq!(errors(r#"{"name":"a","name":"b","price":1,"ids":[1]}"#), ["/name"]);
        assert_eq!(errors(r#"{"a/b":1,"a/b":2,"price":1,"ids":[]}"#), ["/name", "/ids", "/a~1b", "/a~1b"]);
        assert_eq!(errors("[]"), [""]);
        assert_eq!(errors("{"), ["MALFORMED_REQUEST"]);
        assert_eq!(errors(""), ["MALFORMED_REQUEST"]);
    }
}
