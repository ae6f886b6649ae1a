//! The mails about bookings: confirmation, cancellation, refund and a new start.

use super::{
    letter::{Letter, Part, TicketPart},
    words::{instant, points},
};
use crate::domain::{
    booking::{BookedSeat, BookingState},
    clock::Instant,
    language::Language,
    mail::BookingNotice,
    ticket::{Ticket, TicketSigner, tickets_of},
};

/// The most tickets in a mail, which keeps it below 100 kilobytes. Further tickets are only in the user's account.
const MAX_TICKETS: usize = 20;

/// An event that has a mail about its booking.
#[derive(Clone, Copy, Debug)]
pub(super) enum MailedEvent {
    Confirmed,
    Cancelled,
    Rescheduled,
}

impl MailedEvent {
    /// The mailed event of this type; `None` for any other type.
    pub(super) fn of_kind(kind: &str) -> Option<Self> {
        match kind {
            "booking.confirmed" => Some(Self::Confirmed),
            "booking.cancelled" | "booking.refunded" => Some(Self::Cancelled),
            "notice.rescheduled" => Some(Self::Rescheduled),
            _ => None,
        }
    }
}

/// The mail of an event, with the state of the booking at `now`; `None` if the mail would be out of date.
pub(super) fn letter_of(
    event: MailedEvent,
    notice: &BookingNotice,
    signer: &dyn TicketSigner,
    now: Instant,
) -> Option<Letter> {
    match event {
        MailedEvent::Confirmed => Some(confirmation(notice, signer, now)),
        MailedEvent::Cancelled => Some(cancellation(notice)),
        MailedEvent::Rescheduled => {
            let is_confirmed = matches!(notice.booking.state, BookingState::Confirmed { .. });
            (is_confirmed && !notice.is_performance_cancelled).then(|| reschedule(notice))
        }
    }
}

/// The mail after a payment, with the booking's tickets as of `now`.
fn confirmation(notice: &BookingNotice, signer: &dyn TicketSigner, now: Instant) -> Letter {
    let (heading, request, paid) = match notice.language {
        Language::English => ("Your booking is confirmed", "Thank you. These seats are yours.", "Paid"),
        Language::Korean => ("예매가 완료되었습니다", "감사합니다. 아래 좌석이 예매되었습니다.", "결제 금액"),
    };
    let mut parts = vec![Part::Paragraph(request), facts(notice, paid), seats(notice)];
    match tickets_of(&notice.booking, now) {
        Ok(booked) if !notice.is_performance_cancelled => parts.extend(tickets(&booked, signer, notice.language)),
        // The tickets are no longer valid, and the mail of the cancellation follows.
        _ => parts.push(Part::Paragraph(match notice.language {
            Language::English => "The booking was cancelled before this mail was sent, so the mail has no tickets.",
            Language::Korean => "이 메일을 보내기 전에 예매가 취소되어 입장권을 보내 드리지 않습니다.",
        })),
    }
    parts.push(note(notice.language));
    letter(notice, heading, parts)
}

/// One ticket per seat, with its code as text and as a picture.
fn tickets(tickets: &[Ticket], signer: &dyn TicketSigner, language: Language) -> Vec<Part> {
    let (title, request) = match language {
        Language::English => (
            "Your tickets",
            "Show one QR code per seat at the door. Each code lets one person in, once: keep this mail to yourself.",
        ),
        Language::Korean => (
            "입장권",
            "입장하실 때 좌석마다 QR 코드를 하나씩 보여 주세요. 코드는 한 번만 사용할 수 있으니 다른 사람에게 알려 주지 마세요.",
        ),
    };
    let mut parts = vec![Part::Title(title), Part::Paragraph(request)];
    let number = tickets.len();
    if number > MAX_TICKETS {
        parts.push(Part::Sentence(match language {
            Language::English => {
                format!(
                    "This mail has the first {MAX_TICKETS} of your {number} tickets. All of them are in your account."
                )
            }
            Language::Korean => {
                format!(
                    "입장권 {number}장 중 {MAX_TICKETS}장을 보내 드립니다. 모든 입장권은 계정에서 확인하실 수 있습니다."
                )
            }
        }));
    }
    let part = |ticket: &Ticket| TicketPart {
        seat: place(&ticket.seat, language),
        code: signer.code(ticket),
        picture_id: format!("{}@concert-reservation", ticket.id),
    };
    parts.push(Part::Tickets(tickets.iter().take(MAX_TICKETS).map(part).collect()));
    parts
}

fn place(seat: &BookedSeat, language: Language) -> String {
    let BookedSeat { section, row, number, .. } = seat;
    match language {
        Language::English => format!("{section} · row {row} · seat {number}"),
        Language::Korean => format!("{section} · {row}열 · {number}번"),
    }
}

/// The mail after a cancellation, with the refund of a paid booking.
fn cancellation(notice: &BookingNotice) -> Letter {
    let is_refunded = matches!(notice.booking.state, BookingState::Refunded { .. });
    let heading = match (notice.language, notice.is_performance_cancelled) {
        (Language::English, false) => "Your booking is cancelled",
        (Language::English, true) => "The performance is cancelled",
        (Language::Korean, false) => "예매가 취소되었습니다",
        (Language::Korean, true) => "공연이 취소되었습니다",
    };
    let reason = match (notice.language, notice.is_performance_cancelled, is_refunded) {
        (Language::English, false, false) => {
            "These seats are released. The booking was unpaid, so no points were taken."
        }
        (Language::English, false, true) => "These seats are released, and your points are back in your balance.",
        (Language::English, true, false) => {
            "The promoter has cancelled this performance. Your booking was unpaid, so no points were taken."
        }
        (Language::English, true, true) => {
            "The promoter has cancelled this performance. Your points are back in your balance."
        }
        (Language::Korean, false, false) => {
            "결제 전에 예매가 취소되어 아래 좌석을 더 이상 잡아 두지 않습니다. 포인트는 차감되지 않았습니다."
        }
        (Language::Korean, false, true) => "아래 좌석의 예매가 취소되었고, 결제하신 포인트를 돌려 드렸습니다.",
        (Language::Korean, true, false) => {
            "주최 측 사정으로 공연이 취소되었습니다. 결제 전이었으므로 포인트는 차감되지 않았습니다."
        }
        (Language::Korean, true, true) => "주최 측 사정으로 공연이 취소되었습니다. 결제하신 포인트를 돌려 드렸습니다.",
    };
    let total = match (notice.language, is_refunded) {
        (Language::English, false) => "Price",
        (Language::English, true) => "Refunded",
        (Language::Korean, false) => "금액",
        (Language::Korean, true) => "환불 금액",
    };
    letter(notice, heading, vec![Part::Paragraph(reason), facts(notice, total), seats(notice)])
}

/// The mail after a change of the performance's start.
fn reschedule(notice: &BookingNotice) -> Letter {
    let (heading, reason, paid) = match notice.language {
        Language::English => (
            "The performance has a new date",
            "The promoter has moved this performance. Your seats and tickets stay valid, on the date below.",
            "Paid",
        ),
        Language::Korean => (
            "공연 일시가 변경되었습니다",
            "주최 측 사정으로 공연 일시가 아래와 같이 변경되었습니다. 예매하신 좌석과 입장권은 그대로 유지됩니다.",
            "결제 금액",
        ),
    };
    letter(notice, heading, vec![Part::Paragraph(reason), facts(notice, paid), seats(notice)])
}

fn letter(notice: &BookingNotice, heading: &'static str, parts: Vec<Part>) -> Letter {
    Letter { language: notice.language, subject: format!("{heading}: {}", notice.title), heading, parts }
}

fn facts(notice: &BookingNotice, total: &'static str) -> Part {
    let [concert, date, venue, booking] = match notice.language {
        Language::English => ["Concert", "Date", "Venue", "Booking"],
        Language::Korean => ["공연", "일시", "장소", "예매 번호"],
    };
    Part::Facts(vec![
        (concert, format!("{} – {}", notice.title, notice.artist)),
        (date, instant(notice.starts_at, notice.language)),
        (venue, format!("{}, {}", notice.venue, notice.address)),
        (total, points(notice.booking.total, notice.language)),
        (booking, notice.booking.id.to_string()),
    ])
}

fn seats(notice: &BookingNotice) -> Part {
    let titles = match notice.language {
        Language::English => ["Section", "Row", "Seat", "Grade", "Price"],
        Language::Korean => ["구역", "열", "좌석", "등급", "가격"],
    };
    let seat = |number: u16| match notice.language {
        Language::English => number.to_string(),
        Language::Korean => format!("{number}번"),
    };
    let row = |name: &str| match notice.language {
        Language::English => name.to_owned(),
        Language::Korean => format!("{name}열"),
    };
    let rows = notice.booking.seats.iter().map(|booked| {
        vec![
            booked.section.clone(),
            row(&booked.row),
            seat(booked.number),
            booked.grade.clone(),
            points(booked.price, notice.language),
        ]
    });
    Part::Table(titles.to_vec(), rows.collect())
}

fn note(language: Language) -> Part {
    Part::Note(match language {
        Language::English => "This mail is a receipt. Your booking is in your account.",
        Language::Korean => "이 메일은 예매 확인용입니다. 예매 내역은 계정에서 확인하실 수 있습니다.",
    })
}
