//! Reads Rust sources as far as the tidy tests need it: code, literals, tests, and the
//! named paths.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The files below a folder of the project with this extension, by name.
pub(crate) fn files(folder: &str, extension: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(folder)];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        for entry in entries {
            let path = entry.expect("a folder can be read to its end").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == extension) {
                let path = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).expect("it lies in the project");
                found.push(path.to_str().expect("names are plain").to_owned());
            }
        }
    }
    found.sort();
    found
}

/// A file of the project.
pub(crate) fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Whether the project has such a file or folder.
pub(crate) fn exists(path: &Path) -> bool {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists()
}

/// A Rust source.
pub(crate) struct Source {
    /// From the project's root.
    pub(crate) path: String,
    /// Its lines with comments and the insides of literals blanked.
    pub(crate) code: Vec<String>,
    /// Its string literals, with the lines they begin at.
    pub(crate) strings: Vec<(usize, String)>,
    /// Whether each line belongs to a test.
    is_test: Vec<bool>,
}

/// A path that a source names, such as `crate::domain::clock::Instant`.
pub(crate) struct NamedPath {
    pub(crate) line: usize,
    pub(crate) segments: Vec<String>,
}

impl Source {
    /// All sources of a folder, with the lines that only tests compile marked.
    pub(crate) fn all(folder: &str) -> Vec<Self> {
        let mut sources: Vec<_> = files(folder, "rs").into_iter().map(Self::read).collect();
        let test_files: Vec<_> = sources.iter().flat_map(Self::test_files).collect();
        for source in &mut sources {
            if test_files.contains(&source.path) {
                source.is_test.fill(true);
            }
        }
        sources
    }

    fn read(path: String) -> Self {
        let (code, strings) = mask(&read(&path));
        let code: Vec<_> = code.lines().map(str::to_owned).collect();
        let is_test = test_lines(&code);
        Self { path, code, strings, is_test }
    }

    /// The files of the modules declared as `#[cfg(test)] mod name;`.
    fn test_files(&self) -> Vec<String> {
        let folder = self.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let declared = |pair: &[String]| {
            let name = pair[1].trim().strip_prefix("mod ")?.strip_suffix(';')?;
            (pair[0].trim() == "#[cfg(test)]").then(|| format!("{folder}/{name}.rs"))
        };
        self.code.windows(2).filter_map(declared).collect()
    }

    /// Whether a line, counted from 1, belongs to a test.
    pub(crate) fn is_test(&self, line: usize) -> bool {
        self.is_test.get(line - 1).copied().unwrap_or(false)
    }

    /// The lines outside of tests, with their numbers.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code
            .iter()
            .enumerate()
            .map(|(index, line)| (index + 1, line.as_str()))
            .filter(|(line, _)| !self.is_test(*line))
    }

    /// Every path in it: those of `use` one by one, and those written where they are used.
    pub(crate) fn paths(&self) -> Vec<NamedPath> {
        let tokens = tokens(&self.code);
        let mut paths = Vec::new();
        let mut at = 0;
        while at < tokens.len() {
            let follows_path = at > 0 && matches!(tokens[at - 1].1.as_str(), "::" | ".");
            if tokens[at].1 == "use" && tokens.get(at + 1).is_some_and(|(_, next)| next != "<") {
                at = use_tree(&tokens, at + 1, &[], &mut paths);
            } else if is_word(&tokens[at].1) && !follows_path {
                let line = tokens[at].0;
                let mut segments = vec![tokens[at].1.clone()];
                at += 1;
                while at + 1 < tokens.len() && tokens[at].1 == "::" && is_word(&tokens[at + 1].1) {
                    segments.push(tokens[at + 1].1.clone());
                    at += 2;
                }
                if segments.len() > 1 {
                    paths.push(NamedPath { line, segments });
                }
            } else {
                at += 1;
            }
        }
        paths
    }

    /// The module that the file is, from the crate's root: empty for `lib.rs`.
    pub(crate) fn module(&self) -> Vec<String> {
        let parts = Path::new(&self.path).with_extension("");
        let mut module: Vec<_> =
            parts.iter().skip(1).map(|part| part.to_str().expect("names are plain").to_owned()).collect();
        if matches!(module.last().map(String::as_str), Some("mod" | "lib")) {
            module.pop();
        }
        module
    }

    /// The paths of its `use` declarations, re-exports included.
    pub(crate) fn imports(&self) -> Vec<NamedPath> {
        let tokens = tokens(&self.code);
        let mut paths = Vec::new();
        for at in 0..tokens.len().saturating_sub(1) {
            if tokens[at].1 == "use" && tokens[at + 1].1 != "<" && !self.is_test(tokens[at].0) {
                use_tree(&tokens, at + 1, &[], &mut paths);
            }
        }
        paths
    }

    /// The lines of `pub use` declarations, in whichever visibility.
    pub(crate) fn re_exports(&self) -> BTreeSet<usize> {
        let tokens = tokens(&self.code);
        let mut lines = BTreeSet::new();
        for at in 1..tokens.len() {
            if tokens[at].1 == "use" && matches!(tokens[at - 1].1.as_str(), "pub" | ")") {
                let end = tokens[at..].iter().find(|(_, token)| token == ";").map_or(tokens[at].0, |(line, _)| *line);
                lines.extend(tokens[at].0..=end);
            }
        }
        lines
    }

    /// A path from the crate's root, where it begins with `crate`, `self` or `super`; `None` for other crates' and for
    /// names that are in scope.
    pub(crate) fn resolve(&self, path: &NamedPath) -> Option<Vec<String>> {
        let mut module = self.module();
        let mut segments = path.segments.iter().peekable();
        match segments.peek()?.as_str() {
            "crate" => module.clear(),
            "self" | "super" => {}
            _ => return None,
        }
        while let Some(step) = segments.next_if(|step| matches!(step.as_str(), "crate" | "self" | "super")) {
            if step == "super" {
                module.pop();
            }
        }
        module.extend(segments.cloned());
        Some(module)
    }
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Blanks comments and the insides of literals, and gathers the texts of string literals.
fn mask(text: &str) -> (String, Vec<(usize, String)>) {
    let chars: Vec<char> = text.chars().collect();
    let (mut code, mut strings) = (String::with_capacity(text.len()), Vec::new());
    let (mut at, mut line) = (0, 1);
    while at < chars.len() {
        let follows_word = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
        let (length, is_string) = literal(&chars[at..], follows_word);
        if length == 0 {
            code.push(chars[at]);
            line += usize::from(chars[at] == '\n');
            at += 1;
            continue;
        }
        let inside: String = chars[at..at + length].iter().collect();
        code.extend(inside.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        let lines = inside.matches('\n').count();
        if is_string {
            strings.push((line, inside));
        }
        line += lines;
        at += length;
    }
    (code, strings)
}

/// The length of the comment or literal at the start of `rest`, 0 for none; and whether it is a string.
fn literal(rest: &[char], follows_word: bool) -> (usize, bool) {
    match rest {
        ['/', '/', ..] => (rest.iter().position(|c| *c == '\n').unwrap_or(rest.len()), false),
        ['/', '*', ..] => (block_comment(rest), false),
        ['"', ..] => (quoted(rest, '"'), true),
        ['b', 'r', ..] if !follows_word => (raw_string(rest, 2), true),
        ['r', ..] if !follows_word => (raw_string(rest, 1), true),
        ['\'', '\\', ..] => (quoted(rest, '\''), false),
        ['\'', _, '\'', ..] => (3, false),
        _ => (0, false),
    }
}

fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn quoted(rest: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// `r"…"`, `r#"…"#` and so on; 0 for a raw identifier or a word that begins with these letters.
fn raw_string(rest: &[char], prefix: usize) -> usize {
    let hashes = rest[prefix..].iter().take_while(|c| **c == '#').count();
    if rest.get(prefix + hashes) != Some(&'"') {
        return 0;
    }
    let end: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
    let inside = prefix + hashes + 1;
    let length = rest[inside..].windows(end.len()).position(|window| window == end);
    length.map_or(rest.len(), |length| inside + length + end.len())
}

/// Whether each line belongs to an item under `#[cfg(test)]`.
fn test_lines(code: &[String]) -> Vec<bool> {
    let mut is_test = vec![false; code.len()];
    let mut at = 0;
    while at < code.len() {
        if code[at].trim() != "#[cfg(test)]" {
            at += 1;
            continue;
        }
        let (mut depth, start) = (0_usize, at);
        loop {
            let (opened, closed) = (code[at].matches('{').count(), code[at].matches('}').count());
            depth = (depth + opened).saturating_sub(closed);
            let ends = depth == 0 && (closed > 0 || code[at].trim_end().ends_with(';'));
            at += 1;
            if ends || at == code.len() {
                break;
            }
        }
        is_test[start..at].fill(true);
    }
    is_test
}

/// Words, `::`, and other characters one by one, each with its line.
fn tokens(code: &[String]) -> Vec<(usize, String)> {
    let mut tokens = Vec::new();
    for (index, line) in code.iter().enumerate() {
        let chars: Vec<char> = line.chars().collect();
        let mut at = 0;
        while at < chars.len() {
            let word = chars[at..].iter().take_while(|c| c.is_alphanumeric() || **c == '_').count();
            let length = match chars[at..] {
                [':', ':', ..] => 2,
                _ => word.max(1),
            };
            if !chars[at].is_whitespace() {
                tokens.push((index + 1, chars[at..at + length].iter().collect()));
            }
            at += length;
        }
    }
    tokens
}

/// Collects the paths of a `use` from `at` on, and returns the position after it.
fn use_tree(tokens: &[(usize, String)], mut at: usize, prefix: &[String], paths: &mut Vec<NamedPath>) -> usize {
    let mut segments = prefix.to_vec();
    let line = tokens[at].0;
    while at < tokens.len() {
        match tokens[at].1.as_str() {
            "{" => {
                at += 1;
                while tokens[at].1 != "}" {
                    at = use_tree(tokens, at, &segments, paths);
                    at += usize::from(tokens[at].1 == ",");
                }
                at += 1;
                return at;
            }
            "," | "}" | ";" => break,
            "as" => at += 2,
            "::" => at += 1,
            word => {
                segments.push(word.to_owned());
                at += 1;
            }
        }
    }
    paths.push(NamedPath { line, segments });
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        let (code, strings) = mask(text);
        let code: Vec<_> = code.lines().map(str::to_owned).collect();
        let is_test = test_lines(&code);
        Source { path: "src/domain/booking/model.rs".to_owned(), code, strings, is_test }
    }

    #[test]
    fn comments_and_literals_are_not_code() {
        let text = "a(\"b // \\\" c\"); // d\n/* e /* f */ */ 'g' '\"' \"\n\" r#\"h\"\"# b'\\'' br\"i\" &'j r#type";
        let source = source(text);
        let code: Vec<_> = source.code.iter().map(|line| line.split_whitespace().collect::<String>()).collect();
        assert_eq!(code, ["a();", "", "b&'jr#type"]);
        let strings: Vec<_> = source.strings.iter().map(|(line, text)| (*line, text.as_str())).collect();
        assert_eq!(strings, [(1, "\"b // \\\" c\""), (2, "\"\n\""), (3, "r#\"h\"\"#"), (3, "br\"i\"")]);
    }

    #[test]
    fn paths_are_found_one_by_one() {
        let source =
            source("use super::{a::{self, B as C}, d::*};\nimpl e::F for crate::G { fn f() { h::i::<J>().k() } }");
        let paths: Vec<_> = source.paths().iter().map(|path| (path.line, path.segments.join("::"))).collect();
        let expected = ["super::a::self", "super::a::B", "super::d::*", "e::F", "crate::G", "h::i"];
        assert_eq!(paths.iter().map(|(_, path)| path.as_str()).collect::<Vec<_>>(), expected);
        assert_eq!(paths.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 1, 1, 2, 2, 2]);
        let resolved: Vec<_> = source.paths().iter().filter_map(|path| source.resolve(path)).collect();
        assert_eq!(resolved[1], ["domain", "booking", "a", "B"]);
        assert_eq!(resolved[3], ["G"]);
    }

    #[test]
    fn tests_are_separated_from_code() {
        let source =
            source("fn a() {}\n#[cfg(test)]\nmod b;\nfn c() {}\n#[cfg(test)]\nmod d {\n    fn e() {}\n}\nfn f() {}");
        let lines: Vec<_> = source.lines().map(|(line, _)| line).collect();
        assert_eq!(lines, [1, 4, 9]);
        assert_eq!(source.test_files(), ["src/domain/booking/b.rs"]);
    }
}
