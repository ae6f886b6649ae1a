//! The English of comments and documents: the width of comments, the length of sentences, and words to avoid.

use crate::{
    assert_none,
    documents::{documents, prose},
    source::{files, read},
};

/// The columns of a line of Rust that has a comment.
const COLUMNS: usize = 120;

/// The words of a sentence. Numbers and their signs don't count; code and the target of a link count as one word.
const WORDS: usize = 25;

/// Words that hide which component acts.
const AVOIDED: [&str; 7] = ["told", "nobody", "everybody", "everyone", "somebody", "someone", "whoever"];

/// The exceptions: file, word, reason.
const EXCEPTIONS: [(&str, &str, &str); 1] =
    [("src/config/variables.rs", "everybody", "The published demonstration secret, which configurations contain.")];

/// A paragraph of a comment or a document: its text on one line, and the line it begins at.
struct Paragraph {
    line: usize,
    text: String,
}

/// Joins lines to paragraphs. An empty line, a heading, a row of a table and an item of a list end the one before.
fn paragraphs<'a>(lines: impl Iterator<Item = (usize, Option<&'a str>)>) -> Vec<Paragraph> {
    let mut found: Vec<Paragraph> = Vec::new();
    let mut within = false;
    for (line, text) in lines {
        let text = text.unwrap_or("").trim();
        let item = text.strip_prefix("- ").or_else(|| text.strip_prefix("* ")).or_else(|| {
            let (number, rest) = text.split_once(". ")?;
            (!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())).then_some(rest)
        });
        if text.is_empty() || text.starts_with(['#', '|']) {
            within = false;
        } else if let (true, None, Some(paragraph)) = (within, item, found.last_mut()) {
            paragraph.text.push(' ');
            paragraph.text.push_str(text);
        } else {
            found.push(Paragraph { line, text: item.unwrap_or(text).to_owned() });
            within = true;
        }
    }
    found
}

/// The text of a line that is a comment alone, with the kind of the comment.
fn comment(line: &str) -> Option<(&'static str, &str)> {
    let line = line.trim_start();
    ["///", "//!", "//"].into_iter().find_map(|mark| Some((mark, line.strip_prefix(mark)?)))
}

/// The paragraphs of a source's comments, without their examples of code.
fn comment_paragraphs(text: &str) -> Vec<Paragraph> {
    let (mut fenced, mut kind) = (false, "");
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let found = comment(line);
        let is_fence = found.is_some_and(|(_, text)| text.trim_start().starts_with("```"));
        fenced ^= is_fence;
        let (mark, text) = found.filter(|_| !fenced && !is_fence).unwrap_or_default();
        if mark != kind {
            lines.push((index + 1, None));
            kind = mark;
        }
        lines.push((index + 1, Some(text)));
    }
    paragraphs(lines.into_iter())
}

/// The text with each piece of code and each link as one word.
fn simplified(text: &str) -> String {
    let mut words = String::new();
    for (index, part) in text.split('`').enumerate() {
        words.push_str(if index % 2 == 0 { part } else { "code" });
    }
    let mut parts = words.split("](");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once(')').map_or("", |(_, rest)| rest)).replace("**", "")
}

/// The sentences of a paragraph. A semicolon ends one as well, since it separates the items of an enumeration.
fn sentences(text: &str) -> Vec<String> {
    let mut sentences = vec![Vec::new()];
    for word in simplified(text).split_whitespace() {
        sentences.last_mut().expect("there is a first").push(word.to_owned());
        let end = word.trim_end_matches(['"', '”', ')']);
        if end.ends_with(['.', '!', '?', ';']) && !matches!(end, "e.g." | "i.e.") {
            sentences.push(Vec::new());
        }
    }
    let counts = |word: &&String| word.contains(char::is_alphabetic);
    let is_long = |words: &Vec<String>| words.iter().filter(counts).count() > WORDS;
    sentences.into_iter().filter(is_long).map(|words| words.join(" ")).collect()
}

fn sources() -> Vec<String> {
    ["src", "tests", "examples"].into_iter().flat_map(|folder| files(folder, "rs")).collect()
}

#[test]
fn comments_fit_into_their_columns() {
    let mut findings = Vec::new();
    for path in sources() {
        let text = read(&path);
        for (index, line) in text.lines().enumerate() {
            let width = line.chars().count();
            if comment(line).is_some() && width > COLUMNS {
                findings.push(format!("{path}:{}: {width} columns, more than {COLUMNS}", index + 1));
            }
        }
    }
    assert_none(&findings);
}

#[test]
fn sentences_are_short() {
    let of_document = |path: String| {
        let text = read(&path);
        let lines = prose(&text).into_iter().map(|(line, text)| (line, Some(text)));
        let found = paragraphs(lines);
        (path, found)
    };
    let of_source = |path: String| {
        let found = comment_paragraphs(&read(&path));
        (path, found)
    };
    let all = documents().into_iter().map(of_document).chain(sources().into_iter().map(of_source));
    let mut findings = Vec::new();
    for (path, paragraphs) in all {
        for Paragraph { line, text } in paragraphs {
            let long = sentences(&text).into_iter();
            findings.extend(long.map(|sentence| format!("{path}:{line}: more than {WORDS} words: {sentence}")));
        }
    }
    assert_none(&findings);
}

#[test]
fn the_component_acts() {
    let mut findings = Vec::new();
    for path in sources().into_iter().filter(|path| path != file!()).chain(documents()) {
        for (index, line) in read(&path).lines().enumerate() {
            for word in line.split(|c: char| !c.is_alphabetic()) {
                // `NoBody` is a name of two words.
                let is_one_word = !word.chars().skip(1).any(char::is_uppercase);
                let lower = word.to_lowercase();
                let is_avoided = is_one_word && AVOIDED.contains(&lower.as_str());
                if is_avoided && !EXCEPTIONS.iter().any(|(file, allowed, _)| path == *file && lower == *allowed) {
                    findings.push(format!("{path}:{}: `{word}`: name the component that acts", index + 1));
                }
            }
        }
    }
    assert_none(&findings);
}

#[test]
fn sentences_are_counted_by_their_words() {
    let long = ["word"; WORDS + 1].join(" ");
    let short = ["word"; WORDS].join(" ");
    assert_eq!(sentences(&format!("One. {short}. {long}. {short}; {short}")), [format!("{long}.")]);
    let words = ["word"; WORDS - 2].join(" ");
    assert!(sentences(&format!("{words} 12 `a. b c` [code.rs](a b. c) 1,000 ± 25 %")).is_empty());
    let source =
        "/// A\n/// b\n///\n/// c\n//! d\n    // e\nf();\n/// ```\n/// g\n/// ```\n/// - h\n///   i\n/// - j\n";
    let found: Vec<_> = comment_paragraphs(source).iter().map(|found| (found.line, found.text.clone())).collect();
    let expected = [(1, "A b"), (4, "c"), (5, "d"), (6, "e"), (11, "h i"), (13, "j")];
    assert_eq!(found, expected.map(|(line, text)| (line, text.to_owned())));
}
