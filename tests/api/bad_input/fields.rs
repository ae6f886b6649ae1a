//! Fields of bodies: missing, unknown, of a wrong type, or invalid in combination.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};

use super::{HERE, Scene};

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn every_field_of_a_wrong_type_is_named(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let scene = Scene::new(options).await;
    for endpoint in scene.endpoints() {
        for place in endpoint.places() {
            let good = endpoint.good.pointer(&place).unwrap();
            let mut wrong = vec!["true"];
            if !endpoint.is_optional(&place).1 {
                wrong.push("null");
            }
            let is_amount = place.ends_with("/amount") || place.ends_with("/price");
            wrong.extend_from_slice(match good {
                Value::Object(_) => &["[]", "[1]", "1", r#""x""#],
                Value::Array(_) => &["{}", r#"{"0":1}"#, "1", r#""x""#],
                Value::Number(_) => &["{}", "[]", "[1]", r#""1""#, "1.5", "-1", "1e400"],
                _ if is_amount => &["{}", "[]", r#"["1"]"#, "1.234"],
                _ => &["{}", "[]", r#"["x"]"#, "1", "0.5", r#""\ud800""#],
            });
            for literal in wrong {
                scene.assert_names(&endpoint, &endpoint.with_literal(&place, literal), &[&place]).await;
            }
        }
    }
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn missing_unknown_and_duplicate_fields_are_named(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let scene = Scene::new(options).await;
    for endpoint in scene.endpoints() {
        let mut objects = vec![String::new()];
        for place in endpoint.places() {
            if endpoint.good.pointer(&place).unwrap().is_object() {
                objects.push(place.clone());
            }
            let (object, name) = place.rsplit_once('/').unwrap();
            let mut body = endpoint.good.clone();
            let Some(members) = body.pointer_mut(object).unwrap().as_object_mut() else { continue };
            let value = members.remove(name).unwrap();
            if !endpoint.is_optional(&place).0 {
                scene.assert_names(&endpoint, &body.to_string(), &[&place]).await;
            }
            // Restored, and then a second time.
            body.pointer_mut(object).unwrap()[HERE] = json!(0);
            let twice = format!("\"{name}\":{value},\"{name}\":{value}");
            let body = body.to_string().replace(&format!("\"{HERE}\":0"), &twice);
            scene.assert_names(&endpoint, &body, &[&place]).await;
        }
        for object in objects {
            for (name, pointer) in [("surplus", "surplus"), ("a/b~c", "a~1b~0c"), ("", ""), ("__proto__", "__proto__")]
            {
                let mut body = endpoint.good.clone();
                body.pointer_mut(&object).unwrap()[name] = json!(null);
                scene.assert_names(&endpoint, &body.to_string(), &[&format!("{object}/{pointer}")]).await;
            }
        }
    }
    let account = &scene.endpoints()[0];
    let case = r#"{"Email": "jin@example.org", "password": "correct horse", "name": "Jin"}"#;
    scene.assert_names(account, case, &["/email", "/Email"]).await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn all_mistakes_are_reported_at_once(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let scene = Scene::new(options).await;
    let endpoints = scene.endpoints();
    let find = |end: &str| endpoints.iter().find(|endpoint| endpoint.path.ends_with(end)).unwrap();
    let [a, b] = [scene.sale.seats[1], scene.sale.seats[2]];
    let hold = |seats: Value| json!({"performanceId": 0, "seatIds": seats, "more": 1}).to_string();
    let many: Vec<_> = (1..=101).collect();
    for (seats, pointers) in [
        (json!([]), &["/seatIds"][..]),
        (json!(many), &["/seatIds"]),
        (json!([a, a]), &["/seatIds/1"]),
        (json!([a, b, a, b, a]), &["/seatIds/2", "/seatIds/3", "/seatIds/4"]),
        (json!([0, a, "x", b, null, -1]), &["/seatIds/0", "/seatIds/2", "/seatIds/4", "/seatIds/5"]),
    ] {
        let all = [pointers, &["/performanceId", "/more"]].concat();
        scene.assert_names(find("/bookings"), &hold(seats), &all).await;
    }
    let account = json!({"email": "jin", "password": "short", "name": "", "role": "ADMIN"}).to_string();
    scene.assert_names(find("/users"), &account, &["/email", "/password", "/name", "/role"]).await;
    let queue = find("/queue");
    let pointers = queue.places();
    let pointers: Vec<_> = pointers.iter().map(String::as_str).collect();
    let all_false: BTreeMap<_, _> = pointers.iter().map(|pointer| (&pointer[1..], false)).collect();
    scene.assert_names(queue, &json!(all_false).to_string(), &pointers).await;

    let performances = find("/performances");
    let section =
        |name: &str, rows: Value| json!({"name": name, "grade": "R", "rows": rows, "seatsPerRow": 1000, "price": 1});
    let seating =
        |sections: Value| json!({"venueId": 1, "startsAt": "soon", "seating": {"sections": sections}}).to_string();
    for (sections, pointers) in [
        (json!([]), &["/seating/sections"][..]),
        (json!([section("A", json!(101))]), &["/seating/sections"]),
        (json!([section("A", json!(60)), section("B", json!(60))]), &["/seating/sections"]),
        (
            json!([section("A", json!(1)), section("B", json!(1)), section(" A ", json!(1))]),
            &["/seating/sections/2/name"],
        ),
        (
            json!([section("", json!(0)), 7, section("B", json!("1"))]),
            &[
                "/seating/sections/0/name",
                "/seating/sections/0/rows",
                "/seating/sections/1",
                "/seating/sections/2/rows",
            ],
        ),
    ] {
        let all = [pointers, &["/startsAt"]].concat();
        scene.assert_names(performances, &seating(sections), &all).await;
    }
}
