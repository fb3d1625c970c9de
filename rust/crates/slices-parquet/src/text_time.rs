//! Parses timestamps that are stored as text.

use chrono::{DateTime, NaiveDate};

const NANOSECONDS_PER_SECOND: i128 = 1_000_000_000;

/// The accepted forms, for messages.
pub(super) const FORMS: &str = "2024-01-02, 20240102, 2024-01-02 09:30:00 with up to nine decimals, and the same with Z or +01:00";

/// A parsed text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TextTime {
    /// Nanoseconds since 1970-01-01T00:00Z.
    Instant(i128),
    /// Nanoseconds since 1970-01-01T00:00 in local time.
    Wall(i128),
    /// Days since 1970-01-01.
    Date(i32),
}

/// Parses a text. `None` if it has another form, or names a date or time that does not exist.
///
/// Checks the form byte by byte, because chrono also accepts `2024-1-2`, blanks and signs. chrono
/// then checks the date and time.
pub(super) fn parse(text: &str) -> Option<TextTime> {
    let bytes = text.as_bytes();
    if !text.is_ascii() {
        return None;
    }
    if has_form(bytes, b"dddddddd") {
        return date(&text[..4], &text[4..6], &text[6..]).map(TextTime::Date);
    }
    if !has_form(bytes.get(..10)?, b"dddd-dd-dd") {
        return None;
    }
    let date = date(&text[..4], &text[5..7], &text[8..10])?;
    if text.len() == 10 {
        return Some(TextTime::Date(date));
    }
    if !matches!(bytes[10], b' ' | b'T') || !has_form(bytes.get(11..19)?, b"dd:dd:dd") {
        return None;
    }
    let number = |part: &str| part.parse::<u32>().ok();
    let (hour, minute, second) = (
        number(&text[11..13])?,
        number(&text[14..16])?,
        number(&text[17..19])?,
    );
    let midnight = NaiveDate::from_num_days_from_ce_opt(date.checked_add(DAYS_TO_1970)?)?;
    let seconds = midnight
        .and_hms_opt(hour, minute, second)?
        .and_utc()
        .timestamp();
    let (fraction_ns, zone) = fraction(&text[19..])?;
    let wall_ns = i128::from(seconds) * NANOSECONDS_PER_SECOND + i128::from(fraction_ns);
    if zone.is_empty() {
        return Some(TextTime::Wall(wall_ns));
    }
    let offset_s = offset_seconds(zone)?;
    Some(TextTime::Instant(
        wall_ns - i128::from(offset_s) * NANOSECONDS_PER_SECOND,
    ))
}

/// Days from the first day of chrono's count to 1970-01-01.
const DAYS_TO_1970: i32 = 719_163;

fn date(year: &str, month: &str, day: &str) -> Option<i32> {
    let date = NaiveDate::from_ymd_opt(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?)?;
    let since = date - DateTime::UNIX_EPOCH.date_naive();
    i32::try_from(since.num_days()).ok()
}

/// The decimals of the second in nanoseconds, and the text after them.
fn fraction(text: &str) -> Option<(u32, &str)> {
    let Some(decimals) = text.strip_prefix('.') else {
        return Some((0, text));
    };
    let digits = decimals.bytes().take_while(u8::is_ascii_digit).count();
    if !(1..=9).contains(&digits) {
        return None;
    }
    let value: u32 = decimals[..digits].parse().ok()?;
    Some((value * 10_u32.pow(9 - digits as u32), &decimals[digits..]))
}

fn offset_seconds(text: &str) -> Option<i32> {
    if matches!(text, "Z" | "z") {
        return Some(0);
    }
    let bytes = text.as_bytes();
    if !has_form(bytes.get(1..)?, b"dd:dd") {
        return None;
    }
    let (hours, minutes): (i32, i32) = (text[1..3].parse().ok()?, text[4..6].parse().ok()?);
    let seconds = hours * 3_600 + minutes * 60;
    match bytes[0] {
        _ if hours > 23 || minutes > 59 => None,
        b'+' => Some(seconds),
        b'-' => Some(-seconds),
        _ => None,
    }
}

/// Whether bytes match a form, in which `d` stands for any digit.
fn has_form(bytes: &[u8], form: &[u8]) -> bool {
    bytes.len() == form.len()
        && bytes.iter().zip(form).all(|(byte, of_form)| match of_form {
            b'd' => byte.is_ascii_digit(),
            _ => byte == of_form,
        })
}

#[cfg(test)]
mod tests {
    use chrono::Utc;
    use proptest::prelude::*;

    use super::*;

    const SECOND: i128 = NANOSECONDS_PER_SECOND;

    #[test]
    fn each_form_means_what_it_says() {
        for (text, expected) in [
            ("1970-01-03", TextTime::Date(2)),
            ("19691231", TextTime::Date(-1)),
            ("1970-01-01 00:01:00", TextTime::Wall(60 * SECOND)),
            ("1970-01-01T00:00:00.5", TextTime::Wall(SECOND / 2)),
            ("1970-01-01 00:00:00.000000001", TextTime::Wall(1)),
            ("1970-01-01T00:00:00Z", TextTime::Instant(0)),
            (
                "1970-01-01 01:00:00.25+01:00",
                TextTime::Instant(SECOND / 4),
            ),
            ("1969-12-31T19:00:00-05:00", TextTime::Instant(0)),
        ] {
            assert_eq!(parse(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn nothing_else_is_a_time() {
        for text in [
            "",
            " 2024-01-02",
            "2024-01-02 ",
            "2024-1-2",
            "2024-13-01",
            "2024-02-30",
            "202401",
            "20240230",
            "2024-01-02 09:30",
            "2024-01-02 24:00:00",
            "2024-01-02 09:30:60",
            "2024-01-02 09:30:00.",
            "2024-01-02 09:30:00.1234567890",
            "2024-01-02 09:30:00+0100",
            "2024-01-02 09:30:00+24:00",
            "2024-01-02 09:30:00 UTC",
            "2024-01-02 09:30:00Z ",
            "20240102 09:33:00 US/Eastern",
            "2024-01-02  09:30:00",
            "+2024-01-02",
            "1704153600",
            "2024-01-0２",
            "12024-01-02",
            "2024-01-02 09:30:00,5",
            "2024/01/02",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        /// Reads what chrono writes, with the same meaning.
        #[test]
        fn what_chrono_writes_is_read(
            seconds in -60_000_000_000_i64..250_000_000_000,
            nanoseconds in 0..1_000_000_000_u32,
        ) {
            let instant = DateTime::<Utc>::from_timestamp(seconds, nanoseconds).expect("a time");
            let ns = i128::from(seconds) * SECOND + i128::from(nanoseconds);
            prop_assert_eq!(parse(&instant.to_rfc3339()), Some(TextTime::Instant(ns)));
            let wall = instant.naive_utc();
            prop_assert_eq!(parse(&wall.format("%F %T%.9f").to_string()), Some(TextTime::Wall(ns)));
            let days = ns.div_euclid(86_400 * SECOND) as i32;
            prop_assert_eq!(parse(&wall.format("%Y%m%d").to_string()), Some(TextTime::Date(days)));
            prop_assert_eq!(parse(&wall.format("%F").to_string()), Some(TextTime::Date(days)));
        }
    }
}
