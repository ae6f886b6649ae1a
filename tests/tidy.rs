//! House rules as tests: layers, import rings, variables, error codes, SQL, links in documents. Needs no
//! database.

#[path = "tidy/rings.rs"]
mod rings;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/telemetry.rs"]
mod telemetry;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Component, Path, PathBuf},
};

use concert_reservation::{
    config::VARIABLES,
    interfaces::http::{openapi::OF_NO_OPERATION, problem::Code, router::document},
};
use serde_json::Value;
use source::{Source, exists, files, read};

/// Fails with all findings at once, so that one run shows everything to fix.
#[track_caller]
fn assert_none(findings: &[String]) {
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

// Layers and features.

/// A layer and the code that it may import.
struct Layer {
    name: &'static str,
    /// The other layers that it may import.
    layers: &'static [&'static str],
    /// The crates that it may import besides std.
    crates: &'static [&'static str],
    /// The sentence about it in `docs/ARCHITECTURE.md`.
    sentence: &'static str,
}

const LAYERS: [Layer; 4] = [
    Layer {
        name: "domain",
        layers: &[],
        crates: &[
            "async_trait",
            "chrono",
            "hex",
            "hmac",
            "proptest",
            "rust_decimal",
            "sha2",
            "thiserror",
            "unicode_normalization",
            "unicode_properties",
            "url",
            "uuid",
        ],
        sentence: "The domain knows nothing of HTTP, SQL, JSON, a runtime, or any other layer.",
    },
    Layer {
        name: "application",
        layers: &["domain"],
        crates: &[
            "async_trait",
            "base64",
            "chrono",
            "futures",
            "metrics",
            "moka",
            "roaring",
            "sha2",
            "thiserror",
            "tokio",
            "tokio_util",
            "tracing",
            "uuid",
        ],
        sentence: "The application knows nothing of HTTP, SQL, its callers, or the adapters behind its ports.",
    },
    Layer {
        name: "interfaces",
        layers: &["application", "domain"],
        crates: &[
            "axum",
            "base64",
            "chrono",
            "form_urlencoded",
            "futures",
            "http_body_util",
            "governor",
            "hyper",
            "hyper_util",
            "ipnet",
            "metrics",
            "serde",
            "serde_json",
            "sha2",
            "tokio",
            "tokio_util",
            "tower",
            "tower_http",
            "tracing",
            "utoipa",
            "utoipa_axum",
            "utoipa_swagger_ui",
            "uuid",
        ],
        sentence: "The interfaces know nothing of SQL or of any adapter: they read and write rows through use cases.",
    },
    Layer {
        name: "infrastructure",
        layers: &["domain"],
        crates: &[
            "argon2",
            "async_trait",
            "base64",
            "chrono",
            "futures",
            "getrandom",
            "hmac",
            "metrics",
            "reqwest",
            "rust_decimal",
            "ring",
            "rustls",
            "serde",
            "serde_json",
            "sha2",
            "sqlx",
            "thiserror",
            "tokio",
            "tracing",
            "url",
            "tracing",
            "uuid",
        ],
        sentence: "The infrastructure knows nothing of interfaces, use cases, or its callers, and makes no decisions.",
    },
];

/// The crates of `Cargo.toml`, as code names them.
fn dependencies() -> BTreeSet<String> {
    let manifest = read("Cargo.toml");
    let mut names = BTreeSet::new();
    let mut within = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            within = matches!(line.trim(), "[dependencies]" | "[dev-dependencies]");
        } else if let (true, Some((name, _))) = (within, line.split_once('=')) {
            names.insert(name.trim().replace('-', "_"));
        }
    }
    assert!(names.contains("axum") && names.contains("sqlx"), "{names:?}");
    names
}

#[test]
fn every_layer_imports_only_what_it_may() {
    let dependencies = dependencies();
    let architecture = one_line(&read("docs/ARCHITECTURE.md"));
    let mut findings = Vec::new();
    for layer in LAYERS {
        assert!(architecture.contains(layer.sentence), "docs/ARCHITECTURE.md lacks: {}", layer.sentence);
        for source in Source::all(&format!("src/{}", layer.name)) {
            for path in source.paths() {
                let first = &path.segments[0];
                let foreign_crate = dependencies.contains(first) && !layer.crates.contains(&first.as_str());
                let resolved = source.resolve(&path).unwrap_or_default();
                let root = resolved.first().map_or(layer.name, String::as_str);
                let foreign_layer = root != layer.name && !layer.layers.contains(&root);
                if foreign_crate || foreign_layer {
                    let named = path.segments.join("::");
                    findings.push(format!("{}:{}: `{named}`. {}", source.path, path.line, layer.sentence));
                }
            }
        }
    }
    assert_none(&findings);
}

/// Ports and decisions: an interface that imported them would bypass the use cases.
#[test]
fn interfaces_use_domain_values_and_no_ports() {
    let sentence = "From the domain they use ids, values and refusals, never repositories or decisions.";
    assert!(one_line(&read("docs/ARCHITECTURE.md")).contains(sentence), "docs/ARCHITECTURE.md lacks: {sentence}");
    let mut findings = Vec::new();
    for source in Source::all("src/interfaces") {
        for path in source.paths() {
            let last = path.segments.last().unwrap().as_str();
            let port = last.ends_with("Repository") || matches!(last, "Repositories" | "UnitOfWork");
            let decision = last.ends_with("Batch") || (last.starts_with("Locked") && last.ends_with("State"));
            if port || decision {
                findings.push(format!("{}:{}: `{last}`. {sentence}", source.path, path.line));
            }
        }
    }
    assert_none(&findings);
}

/// A feature, and the features that it may import.
type Feature = (&'static str, &'static [&'static str]);

/// The features of each folder. Other modules are shared by all features.
const FEATURES: &[(&str, &[Feature])] = &[
    (
        "src/domain",
        &[
            ("user", &[]),
            ("concert", &[]),
            ("queue", &[]),
            ("point", &[]),
            ("booking", &["concert", "queue"]),
            ("payment", &[]),
            ("event", &["booking", "concert", "payment"]),
            ("settlement", &["booking", "concert", "event", "payment", "point", "queue"]),
        ],
    ),
    (
        "src/application",
        &[
            ("user", &[]),
            ("concert", &[]),
            ("queue", &[]),
            ("point", &[]),
            ("booking", &["queue"]),
            ("payment", &["queue"]),
        ],
    ),
    (
        "src/interfaces/http",
        &[
            ("user", &[]),
            ("concert", &[]),
            ("queue", &[]),
            ("point", &[]),
            ("seat", &[]),
            ("booking", &[]),
            ("payment", &["booking"]),
            ("admin", &["concert"]),
        ],
    ),
];

#[test]
fn no_feature_imports_a_later_one() {
    let sentence = "Features are ordered, without cycles.";
    assert!(one_line(&read("docs/ARCHITECTURE.md")).contains(sentence), "docs/ARCHITECTURE.md lacks: {sentence}");
    let mut findings = Vec::new();
    for (folder, features) in FEATURES {
        let depth = folder.split('/').count() - 1;
        let all: BTreeMap<&str, &[&str]> = features.iter().copied().collect();
        for source in Source::all(folder) {
            let within = source.path.strip_prefix(folder).unwrap().trim_start_matches('/');
            let own = within.split(['/', '.']).next().unwrap();
            let Some(may) = all.get(own) else { continue };
            for path in source.paths().into_iter().filter(|path| !source.is_test(path.line)) {
                let resolved = source.resolve(&path).unwrap_or_default();
                let same_folder = resolved.iter().take(depth).eq(folder.split('/').skip(1));
                let Some(other) = resolved.get(depth).filter(|_| same_folder) else { continue };
                if all.contains_key(other.as_str()) && other != own && !may.contains(&other.as_str()) {
                    findings.push(format!("{}:{}: {own} names {other}. {sentence}", source.path, path.line));
                }
            }
        }
    }
    assert_none(&findings);
}

// Sources.

/// The most lines of a file that aren't its tests.
const LINES: usize = 650;

#[test]
fn files_are_short() {
    let long = |source: &Source| {
        let lines = source.lines().count();
        (lines > LINES).then(|| format!("{}: {lines} lines without its tests, more than {LINES}", source.path))
    };
    assert_none(&Source::all("src").iter().filter_map(long).collect::<Vec<_>>());
}

#[test]
fn no_source_is_left_unfinished() {
    let mut findings = Vec::new();
    for source in Source::all("src").into_iter().chain(Source::all("tests")) {
        let in_tests = source.path.starts_with("tests/");
        for (index, line) in source.code.iter().enumerate() {
            let number = index + 1;
            let squeezed: String = line.split_whitespace().collect();
            let attributes = ["ignore", "should_panic"].map(|name| format!("#[{name}"));
            let macros = ["todo", "unimplemented", "dbg"].map(|name| format!("{name}!("));
            let mut forbidden: Vec<_> = attributes.into_iter().chain(macros).collect();
            if !in_tests && !source.is_test(number) {
                forbidden.push(".unwrap()".to_owned());
            }
            for word in forbidden.into_iter().filter(|word| squeezed.contains(word)) {
                findings.push(format!("{}:{number}: `{word}`", source.path));
            }
        }
    }
    assert_none(&findings);
}

// SQL.

/// SQL functions that read the time, use randomness, or wait.
const FORBIDDEN_SQL: [&str; 10] = [
    "NOW()",
    "NOW(6)",
    "CURRENT_TIMESTAMP",
    "CURDATE(",
    "SYSDATE(",
    "UTC_TIMESTAMP",
    "UNIX_TIMESTAMP(",
    "UUID()",
    "RAND()",
    "SLEEP(",
];

/// The exceptions: file, function, reason.
const SQL_EXCEPTIONS: [(&str, &str, &str); 1] = [(
    "src/infrastructure/mysql/health_probe.rs",
    "UTC_TIMESTAMP",
    "The database's clock is what this instance's is compared with; nothing is decided by it.",
)];

#[test]
fn sql_never_reads_the_time() {
    let mut texts = Vec::new();
    for source in Source::all("src") {
        texts.extend(source.strings.iter().map(|(line, text)| (source.path.clone(), *line, text.clone())));
    }
    for path in files("migrations", "sql") {
        let statement = without_comments(&read(&path));
        texts.extend(statement.lines().enumerate().map(|(index, line)| (path.clone(), index + 1, line.to_owned())));
    }
    let mut findings = Vec::new();
    for (path, line, text) in texts {
        let upper = text.to_uppercase();
        for word in FORBIDDEN_SQL.into_iter().filter(|word| upper.contains(word)) {
            if !SQL_EXCEPTIONS.iter().any(|(file, allowed, _)| path == *file && word == *allowed) {
                findings
                    .push(format!("{path}:{line}: `{word}`: the time comes from the Clock, chance from Randomness"));
            }
        }
    }
    assert_none(&findings);
}

/// The text with `-- …` blanked, line for line.
fn without_comments(sql: &str) -> String {
    sql.lines().map(|line| line.split("--").next().unwrap_or("")).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_migration_is_one_statement_or_changes_rows_alone_and_explains_its_keys() {
    let mut findings = Vec::new();
    for path in files("migrations", "sql") {
        let text = read(&path);
        let statement = without_comments(&text);
        let statement = statement.trim().trim_end_matches(';');
        let is_ddl =
            ["CREATE TABLE ", "ALTER TABLE ", "CREATE INDEX ", "DROP "].iter().any(|it| statement.starts_with(it));
        let of_rows = ["INSERT ", "UPDATE ", "SET SESSION "];
        let is_of_rows = statement.split(';').all(|part| of_rows.iter().any(|it| part.trim_start().starts_with(it)));
        if !is_of_rows && (statement.contains(';') || !is_ddl) {
            findings.push(format!("{path}: must be one DDL statement, or change rows alone"));
        }
        let is_table = statement.starts_with("CREATE TABLE ");
        if is_table && !(statement.contains("DEFAULT CHARSET = utf8mb4") && statement.contains("COLLATE = utf8mb4_bin"))
        {
            findings.push(format!("{path}: a table names its charset and its collation"));
        }
        let lines: Vec<_> = text.lines().map(str::trim).collect();
        for (index, line) in lines.iter().enumerate() {
            let is_key = line.starts_with("KEY ") || line.starts_with("UNIQUE ") || line.starts_with("CONSTRAINT ");
            let explained = line.contains("--") || (index > 0 && lines[index - 1].starts_with("--"));
            // A foreign key needs no explanation.
            if is_key && !explained && !line.contains("FOREIGN KEY") {
                findings.push(format!("{path}:{}: say which rule or query this serves: {line}", index + 1));
            }
        }
    }
    assert_none(&findings);
}

// Configuration.

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

// The OpenAPI document.

/// Operations that can't fail, since they read nothing.
const INFALLIBLE: [&str; 3] = ["get_livez", "get_metrics", "get_version"];

/// Every operation of the document, with its method and path.
fn operations(document: &Value) -> Vec<(String, &Value)> {
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().expect("there are paths") {
        for (method, operation) in item.as_object().expect("a path has methods") {
            if operation.get("responses").is_some() {
                operations.push((format!("{method} {path}"), operation));
            }
        }
    }
    assert!(operations.len() > 30, "{}", operations.len());
    operations
}

#[test]
fn every_problem_code_is_documented_and_has_one_meaning() {
    let document = serde_json::to_value(document(None)).unwrap();
    let mut documented = BTreeSet::new();
    for (_, operation) in operations(&document) {
        for response in operation["responses"].as_object().unwrap().values() {
            let examples = &response["content"]["application/problem+json"]["examples"];
            documented.extend(examples.as_object().into_iter().flat_map(|it| it.keys().cloned()));
        }
    }
    let mut findings = Vec::new();
    let mut names = BTreeSet::new();
    for code in Code::ALL {
        if !names.insert(code.name()) {
            findings.push(format!("{} is there twice", code.name()));
        }
        if documented.contains(code.name()) == OF_NO_OPERATION.contains(code) {
            findings.push(format!("{}: either an operation documents it, or it is listed as of none", code.name()));
        }
    }
    for name in documented.iter().filter(|name| !names.contains(name.as_str())) {
        findings.push(format!("{name} is documented and isn't a code"));
    }
    assert_none(&findings);
}

#[test]
fn every_operation_documents_its_effect_and_its_failures() {
    let document = serde_json::to_value(document(None)).unwrap();
    let mut findings = Vec::new();
    let mut ids = BTreeSet::new();
    for (name, operation) in operations(&document) {
        let id = operation["operationId"].as_str().unwrap_or("");
        if id.is_empty() || !ids.insert(id) {
            findings.push(format!("{name}: the operationId {id:?} is missing or not its own"));
        }
        if operation["summary"].as_str().is_none_or(str::is_empty) {
            findings.push(format!("{name}: no summary"));
        }
        let fails = operation["responses"].as_object().unwrap().keys().any(|it| it.starts_with(['4', '5']));
        if fails == INFALLIBLE.contains(&id) {
            findings.push(format!("{name}: documents a failure or is listed as infallible, not both"));
        }
        for (media_type, content) in operation["requestBody"]["content"].as_object().into_iter().flatten() {
            let lacking = fields_without_example(&document, &content["schema"], "");
            findings.extend(lacking.iter().map(|field| format!("{name}: no example of {field} ({media_type})")));
        }
    }
    assert_none(&findings);
}

/// The fields of a schema without an example.
fn fields_without_example(document: &Value, schema: &Value, pointer: &str) -> Vec<String> {
    if schema.get("example").is_some() || schema.get("examples").is_some() {
        return Vec::new();
    }
    if let Some(reference) = schema["$ref"].as_str() {
        let target = document.pointer(reference.trim_start_matches('#')).expect("a reference leads somewhere");
        return fields_without_example(document, target, pointer);
    }
    for several in ["allOf", "oneOf", "anyOf"] {
        if let Some(parts) = schema[several].as_array() {
            let parts = parts.iter().filter(|part| part["type"] != "null");
            return parts.flat_map(|part| fields_without_example(document, part, pointer)).collect();
        }
    }
    if let Some(properties) = schema["properties"].as_object() {
        let fields = properties.iter();
        return fields
            .flat_map(|(name, it)| fields_without_example(document, it, &format!("{pointer}/{name}")))
            .collect();
    }
    if schema.get("items").is_some() {
        return fields_without_example(document, &schema["items"], &format!("{pointer}/0"));
    }
    vec![pointer.to_owned()]
}

// Documents.

/// The text with single spaces for white space, so that a sentence is found across line breaks.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn documents() -> Vec<String> {
    let mut documents = files("docs", "md");
    documents.extend(["README.md", "CONTRIBUTING.md", "migrations/README.md"].map(str::to_owned));
    documents
}

/// A document's lines outside of fenced blocks, with their numbers.
fn prose(text: &str) -> Vec<(usize, &str)> {
    let mut fenced = false;
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            lines.push((index + 1, line));
        }
    }
    lines
}

/// The texts between backticks.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// The targets of a line's links.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

/// The anchors that GitHub makes of a document's headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text).into_iter().filter(|(_, line)| line.starts_with('#'));
    let anchor = |(_, line): (usize, &str)| {
        let words = line.trim_start_matches('#').trim().to_lowercase();
        let kept = words.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(anchor).collect()
}

/// A path without its `.` and `..`.
fn normalised(path: &Path) -> PathBuf {
    let mut parts = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                parts.pop();
            }
            Component::CurDir => {}
            other => parts.push(other),
        }
    }
    parts
}

#[test]
fn every_link_has_a_target() {
    let mut findings = Vec::new();
    for document in documents() {
        let text = read(&document);
        let folder = Path::new(&document).parent().unwrap();
        for (number, line) in prose(&text) {
            for link in links(line).filter(|link| !link.contains("://") && !link.starts_with("mailto:")) {
                let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
                let target = if path.is_empty() { PathBuf::from(&document) } else { normalised(&folder.join(path)) };
                if !exists(&target) {
                    findings.push(format!("{document}:{number}: there is no {}", target.display()));
                } else if !anchor.is_empty() && !anchors(&read(target.to_str().unwrap())).contains(anchor) {
                    findings.push(format!("{document}:{number}: {} has no heading #{anchor}", target.display()));
                }
            }
        }
    }
    assert_none(&findings);
}

/// The folders of the project that documents name by path.
const ROOTS: [&str; 9] =
    ["src/", "tests/", "docs/", "migrations/", "scripts/", ".github/", ".config/", ".cargo/", ".ci/"];

#[test]
fn every_path_in_documents_exists() {
    let mut findings = Vec::new();
    for document in documents() {
        let text = read(&document);
        for (number, line) in prose(&text) {
            for word in quoted(line).flat_map(str::split_whitespace) {
                let is_path = ROOTS.iter().any(|root| word.starts_with(root)) && !word.contains(['*', '…', '<', '{']);
                if is_path && !exists(Path::new(word)) {
                    findings.push(format!("{document}:{number}: there is no {word}"));
                }
            }
        }
    }
    assert_none(&findings);
}

/// Rows of tables whose last column is headed `Test`: that column is `—`, or names tests in backticks.
#[test]
fn every_test_named_in_documents_exists() {
    let sources: Vec<_> = Source::all("src").into_iter().chain(Source::all("tests")).collect();
    let defined = |name: &str| {
        let signature = format!("fn {name}(");
        sources.iter().any(|source| source.code.iter().any(|line| line.contains(&signature)))
    };
    let text = read("docs/CONCURRENCY.md");
    let (mut findings, mut rows, mut within) = (Vec::new(), 0, false);
    for (number, line) in prose(&text) {
        let Some(cells) = line.trim().strip_prefix('|').and_then(|line| line.strip_suffix('|')) else {
            within = false;
            continue;
        };
        let last = cells.rsplit('|').next().unwrap_or("").trim();
        if last == "Test" {
            within = true;
        } else if within && !last.chars().all(|c| c == '-') {
            rows += 1;
            if !last.contains('`') && last != "—" {
                findings.push(format!("docs/CONCURRENCY.md:{number}: name a test, or write —"));
            }
            for name in quoted(last).filter(|name| !defined(name)) {
                findings.push(format!("docs/CONCURRENCY.md:{number}: there is no test {name}"));
            }
        }
    }
    assert!(rows > 0, "docs/CONCURRENCY.md has no table whose last column is headed Test");
    assert_none(&findings);
}

#[test]
fn every_decision_has_its_own_number() {
    let mut numbers = BTreeSet::new();
    for name in &files("docs/decisions", "md") {
        let number = name.trim_start_matches("docs/decisions/").split('-').next().unwrap_or_default();
        assert!(number.len() == 4 && numbers.insert(number.to_owned()), "{name}: a number of its own comes first");
        let text = read(name);
        for heading in ["## Context", "## Choice", "## What we gave up"] {
            assert!(text.contains(heading), "{name} lacks {heading:?}");
        }
    }
    assert!(!numbers.is_empty());
}

#[test]
fn the_benchmarks_page_lists_every_scenario() {
    let source = read("examples/bench/scenarios/mod.rs");
    let list = source.split_once("const ALL").and_then(|(_, rest)| rest.split_once("];")).expect("a list").0;
    let texts: Vec<_> = list.split('"').skip(1).step_by(2).collect();
    let row = |scenario: &[&str]| format!("| `{}` | {} |", scenario[0], scenario[1]);
    let expected: Vec<_> = texts.chunks(2).map(row).collect();
    let page = read("docs/benchmarks/README.md");
    let rows: Vec<_> = page.lines().filter(|line| line.starts_with("| `")).collect();
    assert!(!expected.is_empty());
    assert_eq!(rows, expected);
}
