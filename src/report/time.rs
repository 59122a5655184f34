//! Timestamps and durations as reports write them.
//!
//! By hand and without allocation: a flow's line has three of them, and a run may have a million flows.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::packet::Timestamp;

/// Bytes of `2026-11-22T06:50:00.123456789+0000`.
pub const EVE_LEN: usize = 34;

/// Returns a time as Suricata writes it, with nanoseconds: `2026-11-22T06:50:00.123456789+0000`.
///
/// ```
/// use portreeve::packet::Timestamp;
/// use portreeve::report::time::eve;
/// assert_eq!(&eve(Timestamp(1_795_330_200_123_456_789)), b"2026-11-22T06:50:00.123456789+0000");
/// ```
pub fn eve(time: Timestamp) -> [u8; EVE_LEN] {
    let mut out = *b"0000-00-00T00:00:00.000000000+0000";
    let civil = Civil::of(time);
    digits(&mut out[0..4], civil.year);
    digits(&mut out[5..7], civil.month);
    digits(&mut out[8..10], civil.day);
    digits(&mut out[11..13], civil.hour);
    digits(&mut out[14..16], civil.minute);
    digits(&mut out[17..19], civil.second);
    digits(&mut out[20..29], civil.nanosecond);
    out
}

impl Serialize for Timestamp {
    /// Writes the time as [`eve`] does.
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let bytes = eve(*self);
        out.serialize_str(str::from_utf8(&bytes).expect("digits and separators"))
    }
}

/// Shows a time for people: `2026-11-22 06:50:00.123`, UTC.
#[derive(Debug, Clone, Copy)]
pub struct Readable(pub Timestamp);

impl fmt::Display for Readable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Civil { year, month, day, hour, minute, second, nanosecond } = Civil::of(self.0);
        let millisecond = nanosecond / 1_000_000;
        write!(
            f,
            "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{millisecond:03}"
        )
    }
}

/// Shows a time of day for people, `06:50:00.123`, where the date was said before.
#[derive(Debug, Clone, Copy)]
pub struct TimeOfDay(pub Timestamp);

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Civil { hour, minute, second, nanosecond, .. } = Civil::of(self.0);
        write!(f, "{hour:02}:{minute:02}:{second:02}.{:03}", nanosecond / 1_000_000)
    }
}

/// Shows a day and a time for people, `11-22 06:50:00`, where the year was said before.
#[derive(Debug, Clone, Copy)]
pub struct DayAndTime(pub Timestamp);

impl fmt::Display for DayAndTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Civil { month, day, hour, minute, second, .. } = Civil::of(self.0);
        write!(f, "{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
    }
}

/// Tells whether two times are in the same year, UTC.
pub fn same_year(a: Timestamp, b: Timestamp) -> bool {
    Civil::of(a).year == Civil::of(b).year
}

/// Tells whether two times are on the same day, UTC.
pub fn same_day(a: Timestamp, b: Timestamp) -> bool {
    a.0.div_euclid(DAY_NS) == b.0.div_euclid(DAY_NS)
}

/// Shows nanoseconds for people, with three significant digits: `840 ns`, `1.25 ms`, `3 h 12 min`.
#[derive(Debug, Clone, Copy)]
pub struct Span(pub u64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / 1_000_000_000;
        match self.0 {
            0..1_000 => write!(f, "{} ns", self.0),
            1_000..1_000_000 => three_digits(f, self.0, 1_000, "µs"),
            1_000_000..1_000_000_000 => three_digits(f, self.0, 1_000_000, "ms"),
            1_000_000_000..60_000_000_000 => three_digits(f, self.0, 1_000_000_000, "s"),
            _ if seconds < 3_600 => write!(f, "{} min {} s", seconds / 60, seconds % 60),
            _ if seconds < 86_400 => write!(f, "{} h {} min", seconds / 3_600, seconds / 60 % 60),
            _ => write!(f, "{} d {} h", seconds / 86_400, seconds / 3_600 % 24),
        }
    }
}

/// Writes `value / unit` with three significant digits, cut and not rounded, so that 999.9 stays below 1000.
pub(super) fn three_digits(
    f: &mut fmt::Formatter<'_>,
    value: u64,
    unit: u64,
    name: &str,
) -> fmt::Result {
    let (whole, rest) = (value / unit, value % unit);
    match whole {
        100.. => write!(f, "{whole} {name}"),
        10..100 => write!(f, "{whole}.{} {name}", rest * 10 / unit),
        _ => write!(f, "{whole}.{:02} {name}", rest * 100 / unit),
    }
}

const DAY_NS: i64 = 86_400_000_000_000;

/// A time's parts in UTC.
struct Civil {
    year: u32,
    month: u32,
    day: u32,
    hour: u32,
    minute: u32,
    second: u32,
    nanosecond: u32,
}

impl Civil {
    /// Splits a time. The range of [`Timestamp`], 1677 to 2262, keeps every part in its digits.
    ///
    /// Days to dates after Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms": years begin on
    /// the first of March, so that the leap day is their last.
    fn of(time: Timestamp) -> Self {
        let narrow = |value: i64| u32::try_from(value).expect("a part of a date is small");
        let (days, of_day) = (time.0.div_euclid(DAY_NS), time.0.rem_euclid(DAY_NS));
        let (seconds, nanosecond) = (of_day / 1_000_000_000, of_day % 1_000_000_000);
        // 719,468 days lie between 0000-03-01 and 1970-01-01; 146,097 make four centuries.
        let shifted = days + 719_468;
        let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * of_year + 2) / 153;
        let day = of_year - (153 * from_march + 2) / 5 + 1;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        Self {
            year: narrow(year),
            month: narrow(month),
            day: narrow(day),
            hour: narrow(seconds / 3_600),
            minute: narrow(seconds / 60 % 60),
            second: narrow(seconds % 60),
            nanosecond: narrow(nanosecond),
        }
    }
}

/// Writes the last digits of a number, as many as there is room for.
fn digits(out: &mut [u8], mut value: u32) {
    for place in out.iter_mut().rev() {
        *place = b'0' + u8::try_from(value % 10).expect("one digit");
        value /= 10;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(nanoseconds: i64) -> String {
        String::from_utf8(eve(Timestamp(nanoseconds)).to_vec()).unwrap()
    }

    #[test]
    fn times_at_the_edges_of_the_range_and_of_years_are_right() {
        assert_eq!(text(0), "1970-01-01T00:00:00.000000000+0000");
        assert_eq!(text(-1), "1969-12-31T23:59:59.999999999+0000");
        assert_eq!(text(951_782_400_000_000_000), "2000-02-29T00:00:00.000000000+0000");
        assert_eq!(text(i64::MAX), "2262-04-11T23:47:16.854775807+0000");
        assert_eq!(text(i64::MIN), "1677-09-21T00:12:43.145224192+0000");
    }

    #[test]
    fn spans_keep_three_digits_and_change_units() {
        let show = |nanoseconds| Span(nanoseconds).to_string();
        assert_eq!(show(0), "0 ns");
        assert_eq!(show(999), "999 ns");
        assert_eq!(show(1_050), "1.05 µs");
        assert_eq!(show(999_999), "999 µs");
        assert_eq!(show(12_345_678), "12.3 ms");
        assert_eq!(show(59_999_999_999), "59.9 s");
        assert_eq!(show(60_000_000_000), "1 min 0 s");
        assert_eq!(show(11_520_000_000_000), "3 h 12 min");
        assert_eq!(show(u64::MAX), "213503 d 23 h");
    }

    #[test]
    fn two_sides_of_midnight_are_two_days() {
        assert!(same_day(Timestamp(0), Timestamp(DAY_NS - 1)));
        assert!(!same_day(Timestamp(-1), Timestamp(0)));
    }

    proptest! {
        #[test]
        fn every_time_agrees_with_jiff(nanoseconds: i64) {
            let time = jiff::Timestamp::from_nanosecond(i128::from(nanoseconds)).unwrap();
            let expected = time.strftime("%Y-%m-%dT%H:%M:%S.%9f+0000").to_string();
            prop_assert_eq!(text(nanoseconds), expected);
        }
    }
}
