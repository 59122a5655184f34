//! WSO2's binary databridge: types, sizes and the shape of a session's identifier.

use super::{Step, filled};

mod kind {
    pub(super) const LOGIN: u8 = 0;
    pub(super) const LOGOUT: u8 = 1;
    pub(super) const PUBLISH: u8 = 2;
}

/// Length of a session's identifier, a UUID.
const SESSION_LEN: u32 = 36;

/// Class names of the errors that a server tells.
const ERRORS: &[u8] = b"org.wso2.carbon.databridge.";

/// The longest name of a class that is waited for.
const CLASS_LEN_MAX: u32 = 512;

/// Reads one frame of a client, or one answer of a server; they have different layouts.
pub(super) fn step(held: &[u8]) -> Step {
    let word =
        |at: usize| held.get(at..).and_then(<[u8]>::first_chunk).map(|b| u32::from_be_bytes(*b));
    let Some(first) = word(1) else { return Step::More };
    let kind = held[0];
    if kind == kind::PUBLISH && first == SESSION_LEN {
        return session(held, 5, 0);
    }
    let Some(second) = word(5) else { return Step::More };
    match kind {
        kind::LOGIN => match word(9) {
            None => Step::More,
            Some(third) if u64::from(first) == 8 + u64::from(second) + u64::from(third) => {
                Step::Pass(held[..13].to_vec(), u64::from(first) - 8, false)
            }
            // A server's yes.
            Some(_) => Step::Show(held[..1].to_vec()),
        },
        kind::LOGOUT | kind::PUBLISH if second == SESSION_LEN && first >= 40 => {
            session(held, 9, u64::from(first) - 40)
        }
        kind::LOGOUT if first <= CLASS_LEN_MAX => {
            let class_len = first as usize;
            let Some(class) = held.get(9..9 + class_len) else { return Step::More };
            let shown = if class.starts_with(ERRORS) { class.to_vec() } else { filled(class_len) };
            Step::Pass([&held[..9], &shown].concat(), second.into(), false)
        }
        _ => Step::Stop,
    }
}

/// Shows that a session is told, not which.
fn session(held: &[u8], head_len: usize, rest: u64) -> Step {
    let end = head_len + SESSION_LEN as usize;
    let Some(id) = held.get(head_len..end) else { return Step::More };
    let shown = id
        .iter()
        .enumerate()
        .map(|(at, _)| if [8, 13, 18, 23].contains(&at) { b'-' } else { b'a' });
    Step::Pass([&held[..head_len], &shown.collect::<Vec<u8>>()].concat(), rest, false)
}
