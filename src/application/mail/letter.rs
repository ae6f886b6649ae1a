//! A message as plain text and as HTML. Both are rendered from the same parts, so their contents are the same.

use std::fmt::Write;

use maud::{DOCTYPE, Markup, html};

use crate::domain::{language::Language, mail::QrPicture};

/// A message: its subject and its parts in order.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    pub(super) language: Language,
    pub(super) subject: String,
    pub(super) heading: &'static str,
    pub(super) parts: Vec<Part>,
}

/// A part of a message.
#[derive(Clone, Debug)]
pub(super) enum Part {
    /// Sentences.
    Paragraph(&'static str),
    /// Sentences with a value.
    Sentence(String),
    /// A code that the reader copies.
    Code(String),
    /// Labelled values.
    Facts(Vec<(&'static str, String)>),
    /// Columns with their titles, and rows.
    Table(Vec<&'static str>, Vec<Vec<String>>),
    /// The title of the parts that follow.
    Title(&'static str),
    /// Tickets, each with the picture of its code.
    Tickets(Vec<TicketPart>),
    /// A closing remark.
    Note(&'static str),
}

/// A ticket in a message.
#[derive(Clone, Debug)]
pub(super) struct TicketPart {
    pub(super) seat: String,
    pub(super) code: String,
    /// The `Content-ID` of the code's picture.
    pub(super) picture_id: String,
}

const BODY: &str = "margin:0;padding:24px 12px;background:#f3f4f6;color:#1f2937;word-break:keep-all;\
                    font-family:'Apple SD Gothic Neo','Noto Sans KR','Malgun Gothic',Helvetica,Arial,sans-serif";
const CARD: &str = "max-width:560px;margin:0 auto;padding:32px;background:#ffffff;border:1px solid #e5e7eb;\
                    border-radius:12px;font-size:15px;line-height:1.6";
const HEADING: &str = "margin:0 0 16px;font-size:22px;line-height:1.3;color:#111827";
const PARAGRAPH: &str = "margin:0 0 16px";
const CODE: &str = "margin:0 0 16px;padding:16px 8px;background:#eef2ff;border-radius:8px;color:#312e81;\
                    font:600 17px/1.5 Menlo,Consolas,monospace;letter-spacing:1px;text-align:center;word-break:break-all";
const TABLE: &str = "width:100%;margin:0 0 16px;border-collapse:collapse;font-size:14px";
const LABEL: &str = "padding:6px 16px 6px 0;color:#6b7280;font-weight:400;text-align:left;vertical-align:top;\
                     white-space:nowrap";
const VALUE: &str = "padding:6px 0;text-align:left;vertical-align:top;overflow-wrap:anywhere";
const TITLE: &str =
    "padding:8px 8px 8px 0;border-bottom:2px solid #e5e7eb;color:#6b7280;font-weight:600;text-align:left";
const CELL: &str = "padding:8px 8px 8px 0;border-top:1px solid #e5e7eb;text-align:left";
const SUBTITLE: &str = "margin:24px 0 8px;font-size:17px;line-height:1.3;color:#111827";
const TICKET: &str = "margin:0 0 16px;padding:16px;border:1px solid #e5e7eb;border-radius:8px;text-align:center";
const SEAT: &str = "margin:0 0 12px;font-weight:600;color:#111827";
// White on any background, because scanners need the light margin, even in dark mode.
const QR: &str = "display:block;width:220px;height:220px;margin:0 auto 12px;border:0;background:#ffffff";
const TICKET_CODE: &str =
    "margin:0;color:#6b7280;font:11px/1.5 Menlo,Consolas,monospace;text-align:left;word-break:break-all";
const NOTE: &str = "margin:24px 0 0;padding-top:16px;border-top:1px solid #e5e7eb;color:#6b7280;font-size:13px";

impl Letter {
    /// The plain text.
    pub(super) fn to_text(&self) -> String {
        let mut text = format!("{}\n", self.heading);
        for part in &self.parts {
            text.push('\n');
            // Writing to a string doesn't fail.
            let _ = match part {
                Part::Paragraph(sentences) | Part::Note(sentences) => writeln!(text, "{sentences}"),
                Part::Title(title) => writeln!(text, "{title}"),
                Part::Sentence(sentence) => writeln!(text, "{sentence}"),
                Part::Code(code) => writeln!(text, "{code}"),
                Part::Facts(facts) => facts.iter().try_for_each(|(label, value)| writeln!(text, "{label}: {value}")),
                Part::Table(_, rows) => rows.iter().try_for_each(|row| writeln!(text, "- {}", row.join(", "))),
                Part::Tickets(tickets) => {
                    let lines: Vec<_> =
                        tickets.iter().map(|ticket| format!("{}\n{}\n", ticket.seat, ticket.code)).collect();
                    write!(text, "{}", lines.join("\n"))
                }
            };
        }
        text
    }

    /// The pictures of the page: one for each ticket.
    pub(super) fn pictures(&self) -> Vec<QrPicture> {
        let tickets = self.parts.iter().flat_map(|part| match part {
            Part::Tickets(tickets) => tickets.as_slice(),
            _ => &[],
        });
        let picture = |(index, ticket): (usize, &TicketPart)| QrPicture {
            content_id: ticket.picture_id.clone(),
            name: format!("ticket-{}.png", index + 1),
            text: ticket.code.clone(),
        };
        tickets.enumerate().map(picture).collect()
    }

    /// The HTML page. Every value is escaped, and nothing outside of the mail is loaded.
    pub(super) fn to_html(&self) -> String {
        let page = html! {
            (DOCTYPE)
            html lang=(self.language.tag()) {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    title { (self.subject) }
                }
                body style=(BODY) {
                    div style=(CARD) {
                        h1 style=(HEADING) { (self.heading) }
                        @for part in &self.parts { (part.to_html()) }
                    }
                }
            }
        };
        page.into_string()
    }
}

impl Part {
    fn to_html(&self) -> Markup {
        html! {
            @match self {
                Self::Paragraph(sentences) => p style=(PARAGRAPH) { (sentences) },
                Self::Sentence(sentence) => p style=(PARAGRAPH) { (sentence) },
                Self::Code(code) => p style=(CODE) { (code) },
                Self::Facts(facts) => table style=(TABLE) role="presentation" {
                    @for (label, value) in facts {
                        tr { th scope="row" style=(LABEL) { (label) } td style=(VALUE) { (value) } }
                    }
                },
                Self::Table(titles, rows) => table style=(TABLE) {
                    tr { @for title in titles { th scope="col" style=(TITLE) { (title) } } }
                    @for row in rows { tr { @for cell in row { td style=(CELL) { (cell) } } } }
                },
                Self::Title(title) => h2 style=(SUBTITLE) { (title) },
                Self::Tickets(tickets) => {
                    @for ticket in tickets {
                        div style=(TICKET) {
                            p style=(SEAT) { (ticket.seat) }
                            img style=(QR) src={ "cid:" (ticket.picture_id) } width="220" height="220" alt=(ticket.seat);
                            p style=(TICKET_CODE) { (ticket.code) }
                        }
                    }
                },
                Self::Note(sentences) => p style=(NOTE) { (sentences) },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_escaped_and_nothing_is_loaded() {
        let letter = Letter {
            language: Language::English,
            subject: "<b>".to_owned(),
            heading: "Heading",
            parts: vec![
                Part::Facts(vec![("Concert", "<script>alert(\"1\")</script> & more".to_owned())]),
                Part::Table(vec!["Row"], vec![vec!["<img src=x>".to_owned()]]),
            ],
        };
        let html = letter.to_html();
        assert!(html.contains("&lt;script&gt;") && html.contains("&amp; more") && html.contains("&lt;img"), "{html}");
        assert!(!["<script", "<img", "<b>", "http", "url("].iter().any(|part| html.contains(part)), "{html}");
        assert!(letter.to_text().contains("Concert: <script>alert(\"1\")</script> & more\n"));
    }
}
