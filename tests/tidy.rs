//! House rules as tests: layers, import rings, variables, error codes, SQL, documents and their English. Needs no
//! database.

#[path = "tidy/configuration.rs"]
mod configuration;
#[path = "tidy/documents.rs"]
mod documents;
#[path = "tidy/openapi.rs"]
mod openapi;
#[path = "tidy/prose.rs"]
mod prose;
#[path = "tidy/rings.rs"]
mod rings;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/telemetry.rs"]
mod telemetry;

use std::collections::{BTreeMap, BTreeSet};

use source::{Source, files, read};

/// Fails with all findings at once, so that one run shows everything to fix.
#[track_caller]
fn assert_none(findings: &[String]) {
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

/// The text with single spaces for white space, so that a sentence is found across line breaks.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
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
            "icu_properties",
            "proptest",
            "rust_decimal",
            "sha2",
            "strum",
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
            "maud",
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
            "csv",
            "flate2",
            "form_urlencoded",
            "futures",
            "http_body_util",
            "governor",
            "hyper",
            "hyper_util",
            "ipnet",
            "metrics",
            "qrcode",
            "serde",
            "serde_json",
            "sha2",
            "strum",
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
            "data_encoding",
            "futures",
            "getrandom",
            "hex",
            "hmac",
            "httpdate",
            "lettre",
            "metrics",
            "percent_encoding",
            "png",
            "qrcode",
            "rdkafka",
            "reqwest",
            "rust_decimal",
            "ring",
            "rustls",
            "serde",
            "serde_json",
            "sha2",
            "sqlx",
            "strum",
            "thiserror",
            "tokio",
            "tracing",
            "url",
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
            ("administration", &[]),
            ("ticket", &["booking", "concert"]),
            ("event", &["booking", "concert", "payment"]),
            ("settlement", &["administration", "booking", "concert", "event", "payment", "point", "queue", "user"]),
            ("top_up", &["point"]),
            ("mail", &["booking", "event", "user"]),
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
            ("ticket", &[]),
            ("top_up", &[]),
            ("mail", &[]),
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
            ("ticket", &["booking"]),
            ("top_up", &[]),
            ("admin", &["booking", "concert", "top_up"]),
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

/// The most lines of code of a file. Blank lines, comments and unit tests don't count.
const LINES: usize = 400;

#[test]
fn files_are_short() {
    let long = |source: &Source| {
        let lines = source.lines().filter(|(_, code)| !code.trim().is_empty()).count();
        (lines > LINES).then(|| format!("{}: {lines} lines of code, more than {LINES}", source.path))
    };
    let sources: Vec<_> = ["src", "tests", "examples"].into_iter().flat_map(Source::all).collect();
    assert_none(&sources.iter().filter_map(long).collect::<Vec<_>>());
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
const SQL_EXCEPTIONS: [(&str, &str, &str); 2] = [
    (
        "src/infrastructure/mysql/health_probe.rs",
        "UTC_TIMESTAMP",
        "The database's clock is what this instance's is compared with; nothing is decided by it.",
    ),
    (
        "src/infrastructure/mysql/migration_lease.rs",
        "UTC_TIMESTAMP",
        "A lease of instances whose clocks differ, before there is a schema; no rule of the domain depends on it.",
    ),
];

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
        let statements: Vec<_> = statement.trim().trim_end_matches(';').split(';').map(str::trim).collect();
        let statements: Vec<_> = statements.into_iter().filter(|it| !it.starts_with("SET SESSION ")).collect();
        let begins = |it: &&str, words: &[&str]| words.iter().any(|word| it.starts_with(word));
        let is_of_rows = statements.iter().all(|it| begins(it, &["INSERT ", "UPDATE "]));
        let is_ddl = statements.len() == 1
            && begins(&statements[0], &["CREATE TABLE ", "ALTER TABLE ", "CREATE INDEX ", "DROP "]);
        if !is_of_rows && !is_ddl {
            findings.push(format!("{path}: must be one DDL statement, or change rows alone"));
        }
        let is_table = statements.iter().any(|it| it.starts_with("CREATE TABLE "));
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
