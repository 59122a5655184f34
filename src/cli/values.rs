//! Texts of the command line → values.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::ValueEnum;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::packet::Timestamp;
use crate::report::record::Severity;

/// A format of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    Text,
    /// One JSON object a line, in Suricata's EVE envelope.
    Ndjson,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
    /// JUnit XML, for CI servers: a test case a rule.
    Junit,
}

/// A severity as an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum SeverityValue {
    /// Worth knowing.
    Info,
    /// Odd, and harmless alone.
    Low,
    /// Should be changed.
    Medium,
    /// Breaks a rule of the platform's documents.
    High,
    /// Gives access to whoever listens.
    Critical,
}

impl From<SeverityValue> for Severity {
    fn from(value: SeverityValue) -> Self {
        match value {
            SeverityValue::Info => Self::Info,
            SeverityValue::Low => Self::Low,
            SeverityValue::Medium => Self::Medium,
            SeverityValue::High => Self::High,
            SeverityValue::Critical => Self::Critical,
        }
    }
}

/// `FORMAT=PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Output {
    pub(super) format: Format,
    pub(super) path: PathBuf,
}

/// Reads `FORMAT=PATH`.
pub(super) fn output(text: &str) -> Result<Output, String> {
    let (format, path) = text.split_once('=').ok_or("expected FORMAT=PATH")?;
    if path.is_empty() {
        return Err("expected a path behind `=`".to_owned());
    }
    let path = written(path.into())?;
    let format = Format::from_str(format, false).map_err(|_| {
        let known: Vec<String> = Format::value_variants()
            .iter()
            .filter_map(ValueEnum::to_possible_value)
            .map(|value| value.get_name().to_owned())
            .collect();
        format!("unknown format `{format}`: expected one of {}", known.join(", "))
    })?;
    Ok(Output { format, path })
}

/// Reads the name of a file to write; `-` is none, since standard output has its own report.
pub(super) fn written(text: OsString) -> Result<PathBuf, &'static str> {
    if text == "-" { Err(NO_FILE) } else { Ok(text.into()) }
}

/// Why `-` is refused as a file to write.
const NO_FILE: &str = "expected a file: what goes to standard output is chosen by --format; `./-` is a file of that name";

/// Reads a number of threads.
pub(super) fn threads(text: &str) -> Result<NonZeroUsize, String> {
    text.parse().map_err(|_| "expected a number of threads, 1 or more".to_owned())
}

/// Reads a number of bytes: `512M`, `1GiB`, `1048576`. Units are powers of 1024.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| "expected a number, as in 512M".to_owned())?;
    let shift = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        other => return Err(format!("unknown unit `{other}`: expected K, M, G or T")),
    };
    number
        .checked_shl(shift)
        .filter(|size| size >> shift == number)
        .ok_or_else(|| "too large".to_owned())
}

/// Reads a time: RFC 3339, the same without an offset (then UTC), or seconds since 1970.
pub(super) fn time(text: &str) -> Result<Timestamp, String> {
    let of = |at: jiff::Timestamp| {
        i64::try_from(at.as_nanosecond()).map(Timestamp).map_err(|_| "out of range".to_owned())
    };
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return of(at);
    }
    if let Ok(at) = text.parse::<DateTime>() {
        return TimeZone::UTC.to_timestamp(at).map_err(|error| error.to_string()).and_then(of);
    }
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let nanoseconds = format!("{fraction:0<9}");
    let parsed = seconds.parse::<i64>().ok().zip(nanoseconds.get(..9).and_then(|n| n.parse().ok()));
    parsed.map(|(seconds, nanoseconds)| Timestamp::from_parts(seconds, nanoseconds)).ok_or_else(
        || "expected a time such as 2026-11-22T06:50:00Z, or seconds since 1970".to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024_and_never_wrap() {
        assert_eq!(size("512M"), Ok(512 << 20));
        assert_eq!(size("1GiB"), Ok(1 << 30));
        assert_eq!(size("7"), Ok(7));
        assert!(size("99999999T").is_err());
        assert!(size("5 parsecs").is_err());
        assert!(size("-1").is_err());
    }

    #[test]
    fn a_run_has_one_thread_at_least() {
        assert_eq!(threads("3").unwrap().get(), 3);
        for text in ["0", "-1", "all"] {
            assert_eq!(threads(text), Err("expected a number of threads, 1 or more".to_owned()));
        }
    }

    #[test]
    fn times_come_in_three_spellings() {
        let expected = Ok(Timestamp(1_795_330_200_000_000_000));
        for text in [
            "2026-11-22T06:50:00Z",
            "2026-11-22 06:50:00",
            "1795330200",
            "2026-11-22T07:50:00+01:00",
        ] {
            assert_eq!(time(text), expected, "{text}");
        }
        assert_eq!(time("1795330200.5"), Ok(Timestamp(1_795_330_200_500_000_000)));
        assert!(time("yesterday").is_err());
    }

    #[test]
    fn outputs_name_a_known_format_and_a_path() {
        assert_eq!(output("ndjson=a=b").unwrap().path, PathBuf::from("a=b"));
        assert!(output("ndjson=").is_err());
        assert!(output("text=-").unwrap_err().contains("chosen by --format"));
        assert_eq!(output("text=./-").unwrap().path, PathBuf::from("./-"));
        assert!(output("xml=a").unwrap_err().contains("expected one of text"));
    }
}
