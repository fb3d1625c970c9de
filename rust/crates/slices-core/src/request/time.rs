//! Parses and formats timestamps: RFC 3339 or a date to nanoseconds, and back to RFC 3339 in UTC.

use chrono::{DateTime, NaiveDate, NaiveDateTime, Timelike};

use crate::error::{Error, Result};

/// Parses a timestamp: RFC 3339, a date and time (separated by `T` or a blank), or a date (its
/// midnight). Without a zone it is UTC. Returns nanoseconds since 1970-01-01T00:00Z.
///
/// # Errors
///
/// A usage error if the text has another form, or is outside the range of `i64` nanoseconds
/// (1677-09-21 to 2262-04-11).
pub fn parse_timestamp(text: &str) -> Result<i64> {
    // chrono accepts second 60 as a leap second, which Unix time does not have.
    let instant = parse_instant(text.trim()).filter(|instant| instant.nanosecond() < 1_000_000_000);
    let instant = instant.ok_or_else(|| {
        Error::usage(format!(
            "invalid timestamp {text:?}: expected RFC 3339, a date and time, or a date"
        ))
        .with_hint("write 2024-01-02, 2024-01-02T09:30 or 2024-01-02T09:30:00+01:00")
    })?;
    instant.timestamp_nanos_opt().ok_or_else(|| {
        Error::usage(format!(
            "invalid timestamp {text:?}: expected a time from 1677-09-21 to 2262-04-11"
        ))
        .with_hint("timestamps are 64-bit nanoseconds since 1970; choose a time in their range")
    })
}

fn parse_instant(text: &str) -> Option<DateTime<chrono::FixedOffset>> {
    const ZONED: [&str; 4] = [
        "%Y-%m-%dT%H:%M:%S%.f%#z",
        "%Y-%m-%d %H:%M:%S%.f%#z",
        "%Y-%m-%dT%H:%M%#z",
        "%Y-%m-%d %H:%M%#z",
    ];
    const NAIVE: [&str; 4] = [
        "%Y-%m-%dT%H:%M:%S%.f",
        "%Y-%m-%d %H:%M:%S%.f",
        "%Y-%m-%dT%H:%M",
        "%Y-%m-%d %H:%M",
    ];
    let utc = |naive: NaiveDateTime| naive.and_utc().fixed_offset();
    DateTime::parse_from_rfc3339(text)
        .ok()
        .or_else(|| {
            ZONED
                .iter()
                .find_map(|format| DateTime::parse_from_str(text, format).ok())
        })
        .or_else(|| {
            NAIVE
                .iter()
                .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
                .map(utc)
        })
        .or_else(|| {
            let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
            Some(utc(date.and_hms_opt(0, 0, 0)?))
        })
}

/// Formats a timestamp as RFC 3339 with nine decimals and `Z`.
#[must_use]
pub fn format_timestamp(timestamp_ns: i64) -> String {
    DateTime::from_timestamp_nanos(timestamp_ns)
        .format("%Y-%m-%dT%H:%M:%S%.9fZ")
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_one_instant_is_read_alike() {
        let expected = 1_704_187_800_000_000_000; // 2024-01-02T09:30:00Z
        for text in [
            "2024-01-02T09:30:00Z",
            "2024-01-02T09:30:00.000000000Z",
            "2024-01-02T10:30:00+01:00",
            "2024-01-02T10:30+01:00",
            "2024-01-02 10:30:00+0100",
            "2024-01-02T09:30:00",
            "2024-01-02 09:30:00",
            "2024-01-02 09:30",
            "2024-01-02T09:30",
            " 2024-01-02T09:30Z ",
        ] {
            assert_eq!(parse_timestamp(text).expect(text), expected, "{text}");
        }
    }

    #[test]
    fn a_date_is_its_midnight_and_nanoseconds_survive() {
        assert_eq!(
            parse_timestamp("1970-01-02").expect("a date"),
            86_400_000_000_000
        );
        assert_eq!(
            parse_timestamp("1969-12-31T23:59:59.999999999").expect("ns"),
            -1
        );
        assert_eq!(format_timestamp(-1), "1969-12-31T23:59:59.999999999Z");
        for extreme in [i64::MIN, i64::MAX] {
            assert_eq!(
                parse_timestamp(&format_timestamp(extreme)).expect("an extreme"),
                extreme
            );
        }
    }

    #[test]
    fn nonsense_and_overflow_are_refused() {
        for text in [
            "",
            "today",
            "2024-13-01",
            "2024-02-30",
            "2024-01-02T25:00",
            "2024-01-01T00:00:60Z",
            "2024-01-01 23:59:60",
            "2300-01-01",
        ] {
            assert!(parse_timestamp(text).is_err(), "{text}");
        }
    }
}
