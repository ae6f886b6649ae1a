//! The documents: links, paths, test names, decision records, and the list of benchmarks.

use std::{
    collections::BTreeSet,
    path::{Component, Path, PathBuf},
};

use crate::{
    assert_none, one_line,
    source::{Source, exists, files, read},
};

pub(crate) fn documents() -> Vec<String> {
    let mut documents = files("docs", "md");
    documents.extend(["README.md", "CONTRIBUTING.md", "migrations/README.md"].map(str::to_owned));
    documents
}

/// A document's lines outside of fenced blocks, with their numbers.
pub(crate) fn prose(text: &str) -> Vec<(usize, &str)> {
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

/// A name followed by its file, as in "`name` in `src/file.rs`" and "`name` (`src/file.rs`)".
#[test]
fn every_name_with_its_file_is_in_that_file() {
    let (mut findings, mut found) = (Vec::new(), 0);
    for document in documents() {
        let text = read(&document);
        let lines: Vec<_> = prose(&text).into_iter().map(|(_, line)| line).collect();
        let text = one_line(&lines.join(" "));
        let parts: Vec<_> = text.split('`').collect();
        for window in parts[1..].windows(3).step_by(2) {
            let &[name, between, path] = window else { continue };
            let last = name.rsplit("::").next().unwrap_or_default();
            // Names in capitals with an underscore are variables of the environment.
            let is_variable = last.contains('_') && !last.contains(char::is_lowercase);
            let is_name = !last.is_empty() && last.chars().all(|c| c.is_alphanumeric() || c == '_') && !is_variable;
            let is_source =
                path.starts_with("src/") && Path::new(path).extension().is_some_and(|suffix| suffix == "rs");
            if is_name && matches!(between.trim(), "in" | "(") && is_source {
                found += 1;
                if !exists(Path::new(path)) || !read(path).contains(last) {
                    findings.push(format!("{document}: {path} has no {name}"));
                }
            }
        }
    }
    assert!(found > 0, "no document names a name with its file");
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
