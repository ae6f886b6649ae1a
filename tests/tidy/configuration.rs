//! The variables: `.env.example` has all of them, and documents name no others.

use concert_reservation::{config::VARIABLES, interfaces::http::problem::Code};

use crate::{assert_none, source::read};

#[test]
fn the_example_environment_has_every_variable_with_its_default() {
    let text = read(".env.example");
    let lines: Vec<_> = text.lines().collect();
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let Some((name, default)) = line.split_once('=').filter(|_| !line.starts_with('#')) else { continue };
        let description = lines[index.saturating_sub(1)].strip_prefix("# ").unwrap_or("");
        found.push((name, default, description));
    }
    let expected: Vec<_> = VARIABLES.iter().map(|it| (it.name, it.default, it.description)).collect();
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected, "in .env.example, and in VARIABLES");
    }
    assert_eq!(found.len(), expected.len(), "variables in .env.example, and in VARIABLES");
}

/// Names in upper case that are neither variables of the server nor problem codes.
const OTHER_NAMES: [&str; 13] = [
    // Of the scripts.
    "BASE_URL",
    "CONCERT_ID",
    "QUEUE_PATIENCE_SECONDS",
    "DB_PROFILE",
    "DB_DIR",
    // Of docker-compose.yml and the image it starts.
    "MYSQL_ROOT_PASSWORD",
    "MYSQL_DATABASE",
    "MYSQL_USER",
    "MYSQL_PASSWORD",
    "MYSQL_PORT",
    "MYSQL_PWD",
    "SERVER_PORT",
    "DAC_OVERRIDE",
];

#[test]
fn documents_name_only_variables_that_exist() {
    let mut findings = Vec::new();
    for path in ["README.md", "docker-compose.yml", "Dockerfile"] {
        for (index, line) in read(path).lines().enumerate() {
            let words = line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
            let is_name = |word: &&str| {
                let capitals = word.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
                capitals && word.contains('_') && word.len() > 3
            };
            for word in words.filter(is_name) {
                let known = VARIABLES.iter().any(|it| it.name == word) || Code::ALL.iter().any(|it| it.name() == word);
                if !known && !OTHER_NAMES.contains(&word) {
                    findings.push(format!("{path}:{}: `{word}` is not in VARIABLES", index + 1));
                }
            }
        }
    }
    assert_none(&findings);
}
