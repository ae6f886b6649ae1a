//! The mails with codes. They contain no text from the sign-up, since anyone can sign up with another person's address.

use super::{
    letter::{Letter, Part},
    words::instant,
};
use crate::domain::{
    language::Language,
    user::{CodePurpose, CodeText, MailedCode},
};

/// The words of one purpose in one language.
struct Words {
    subject: &'static str,
    request: &'static str,
    note: &'static str,
}

/// The mail with a code.
pub(super) fn letter(code: &MailedCode, text: &CodeText) -> Letter {
    let words = words(code.purpose, code.language);
    let deadline = instant(code.expires_at, code.language);
    let validity = match code.language {
        Language::English => format!("The code works once, until {deadline}."),
        Language::Korean => format!("코드는 {deadline}까지 한 번만 사용할 수 있습니다."),
    };
    Letter {
        language: code.language,
        subject: words.subject.to_owned(),
        heading: words.subject,
        parts: vec![
            Part::Paragraph(words.request),
            Part::Code(text.to_string()),
            Part::Sentence(validity),
            Part::Note(words.note),
        ],
    }
}

fn words(purpose: CodePurpose, language: Language) -> Words {
    match (purpose, language) {
        (CodePurpose::VerifyEmail, Language::English) => Words {
            subject: "Verify your e-mail address",
            request: "Enter this code to verify that this address is yours.",
            note: "If you have not signed up with this address, ignore this mail. Do not share the code.",
        },
        (CodePurpose::VerifyEmail, Language::Korean) => Words {
            subject: "이메일 주소를 확인해 주세요",
            request: "본인의 이메일 주소인지 확인하기 위해 아래 코드를 입력해 주세요.",
            note: "가입하신 적이 없다면 이 메일을 무시하셔도 됩니다. 코드를 다른 사람에게 알려 주지 마세요.",
        },
        (CodePurpose::ResetPassword, Language::English) => Words {
            subject: "Set a new password",
            request: "Enter this code with your new password. Every device is logged out then.",
            note: "If you have not asked for a new password, ignore this mail: your password stays. Do not share the \
                   code.",
        },
        (CodePurpose::ResetPassword, Language::Korean) => Words {
            subject: "비밀번호를 다시 설정해 주세요",
            request: "새 비밀번호와 함께 아래 코드를 입력해 주세요. 비밀번호가 바뀌면 모든 기기에서 로그아웃됩니다.",
            note: "요청하신 적이 없다면 이 메일을 무시하셔도 됩니다. 비밀번호는 바뀌지 않습니다. 코드를 다른 사람에게 알려 주지 \
                   마세요.",
        },
    }
}
