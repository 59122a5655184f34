//! MQTT (OASIS MQTT 3.1.1 and 5.0): the frames, and the shape of a CONNECT.

use super::{FILL, Step, filled};

const CONNECT: u8 = 1;

/// Acknowledgements have a number and a code; more is a property.
const SHORT_LEN_MAX: u64 = 4;

/// Reads one control packet.
pub(super) fn step(held: &[u8]) -> Step {
    let mut len = 0_u64;
    for index in 0..4 {
        let Some(&digit) = held.get(1 + index) else { return Step::More };
        len |= u64::from(digit & 0x7f) << (7 * index);
        if digit & 0x80 != 0 {
            continue;
        }
        let head = &held[..2 + index];
        let kind = held[0] >> 4;
        if kind != CONNECT {
            let is_acknowledgement = matches!(kind, 2 | 4..=7 | 11..=14) && len <= SHORT_LEN_MAX;
            return Step::Pass(head.to_vec(), len, is_acknowledgement);
        }
        let end = usize::try_from(len).ok().and_then(|len| head.len().checked_add(len));
        return match end.and_then(|end| held.get(head.len()..end)) {
            Some(content) => Step::Show([head, &connect(content)].concat()),
            None => Step::More,
        };
    }
    Step::Stop
}

/// Shows protocol, flags and lengths of a CONNECT (MQTT 3.1.1 §3.1, MQTT 5.0 §3.1).
fn connect(content: &[u8]) -> Vec<u8> {
    let mut out = filled(content.len());
    let mut at = 0;
    let show = |out: &mut Vec<u8>, from: usize, to: usize| {
        if let (Some(place), Some(bytes)) = (out.get_mut(from..to), content.get(from..to)) {
            place.copy_from_slice(bytes);
        }
    };
    let field_len = |at: usize| {
        let len = content.get(at..).and_then(<[u8]>::first_chunk::<2>)?;
        Some(usize::from(u16::from_be_bytes(*len)))
    };
    let Some(name_len) = field_len(at).filter(|len| *len <= 6) else { return out };
    at = 2 + name_len;
    let fixed_end = at + 4;
    let Some(&[version, flags, ..]) = content.get(at..fixed_end) else { return out };
    show(&mut out, 0, fixed_end);
    at = fixed_end;
    let properties = |at: usize| {
        // Their length is a number of up to four bytes; what they hold is overwritten.
        let digits = content.get(at..)?.iter().take(4);
        let count = digits.clone().take_while(|digit| **digit & 0x80 != 0).count() + 1;
        let len = digits.take(count).enumerate();
        let len = len.fold(0, |len, (index, digit)| len | usize::from(digit & 0x7f) << (7 * index));
        Some((count, len))
    };
    let has_will = flags & 0x04 != 0;
    let fields =
        1 + if has_will { 2 } else { 0 } + usize::from(flags >> 7) + usize::from(flags >> 6 & 1);
    for field in 0..fields {
        let before_will = field == 1 && has_will;
        // A bridge sets the highest bit.
        if version & 0x7f >= 5 && (field == 0 && at == fixed_end || before_will) {
            let Some((count, len)) = properties(at) else { return out };
            show(&mut out, at, at + count);
            at += count + len;
        }
        let Some(len) = field_len(at) else { break };
        show(&mut out, at, at + 2);
        at += 2 + len;
    }
    debug_assert!(out.len() == content.len() && FILL != 0);
    out
}
