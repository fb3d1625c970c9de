//! Defines timeframes: parsing, length, and flooring of timestamps in UTC. Uses integers only.

use std::fmt;
use std::str::FromStr;

use crate::error::{Code, Error};
use crate::units::{NANOSECONDS_PER_DAY, NANOSECONDS_PER_SECOND};

/// 1970-01-01 was a Thursday; weeks are counted from the Monday before it.
const WEEK_ORIGIN_NS: i64 = -3 * NANOSECONDS_PER_DAY;

/// What a timeframe looks like.
const FORMS: &str = "expected a unit and a positive number, such as M5 or 5m";

/// The length of a candle: a unit (`S`, `M`, `H`, `D`, `W`) and a positive count, as in `M15`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Timeframe {
    text: String,
    duration_ns: i64,
    origin_ns: i64,
}

impl Timeframe {
    /// The text in file names, such as `M1`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The length in nanoseconds; always positive.
    #[must_use]
    pub fn duration_ns(&self) -> i64 {
        self.duration_ns
    }

    /// The length in days, if it is a whole number of days.
    pub fn whole_days(&self) -> Option<i64> {
        let days = self.duration_ns / NANOSECONDS_PER_DAY;
        (self.duration_ns % NANOSECONDS_PER_DAY == 0).then_some(days)
    }

    /// Whether the timeframe is shorter than a day.
    #[must_use]
    pub fn is_intraday(&self) -> bool {
        self.duration_ns < NANOSECONDS_PER_DAY
    }

    /// The open of the candle that contains `timestamp_ns`: the largest multiple of the length at
    /// or before it. Multiples count from 1970-01-01T00:00Z (weeks from Monday).
    ///
    /// `None` if that open is smaller than any `i64`.
    #[must_use]
    pub fn floor(&self, timestamp_ns: i64) -> Option<i64> {
        // Take the remainder first: `timestamp - origin` could overflow.
        let offset = timestamp_ns.rem_euclid(self.duration_ns);
        let origin = self.origin_ns.rem_euclid(self.duration_ns);
        let past_open = (offset - origin).rem_euclid(self.duration_ns);
        timestamp_ns.checked_sub(past_open)
    }

    /// The number of the bar that contains `timestamp_ns`. Bars lie on the grid of
    /// [`Timeframe::floor`]; bar 0 opens at its origin.
    pub fn bar(&self, timestamp_ns: i64) -> i64 {
        let since_origin = i128::from(timestamp_ns) - i128::from(self.origin_ns);
        let bar = since_origin.div_euclid(i128::from(self.duration_ns));
        i64::try_from(bar)
            .expect("a bar lasts at least a second, so bars are fewer than nanoseconds")
    }

    /// The open of a bar, clamped to the range of `i64`.
    pub fn bar_open_ns(&self, bar: i64) -> i64 {
        let open_ns = i128::from(bar) * i128::from(self.duration_ns) + i128::from(self.origin_ns);
        open_ns.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
    }
}

/// Turns the spelling `5m` into `M5`; `None` for any other text.
fn canonical(text: &str) -> Option<String> {
    let unit = text.chars().last()?;
    let digits = text.strip_suffix(unit)?;
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    (is_number && "smhdw".contains(unit)).then(|| format!("{}{digits}", unit.to_ascii_uppercase()))
}

impl FromStr for Timeframe {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let unknown = |why: &str| {
            Error::bad_request(
                Code::TimeframeNotFound,
                format!("invalid timeframe {text:?}: {why}"),
            )
            .with_hint(
                "write it as S10, M1, H4, D1, W1 or as 10s, 1m, 4h, 1d, 1w; months are no timeframe",
            )
        };
        let canonical = canonical(text);
        let text = canonical.as_deref().unwrap_or(text);
        let mut characters = text.chars();
        let (unit_seconds, origin_ns) = match characters.next() {
            Some('S') => (1, 0),
            Some('M') => (60, 0),
            Some('H') => (3_600, 0),
            Some('D') => (86_400, 0),
            Some('W') => (604_800, WEEK_ORIGIN_NS),
            _ => return Err(unknown(FORMS)),
        };
        let digits = characters.as_str();
        if digits.is_empty()
            || digits.starts_with('0')
            || !digits.bytes().all(|byte| byte.is_ascii_digit())
        {
            return Err(unknown(FORMS));
        }
        let duration_ns = digits
            .parse::<i64>()
            .ok()
            .and_then(|count| count.checked_mul(unit_seconds))
            .and_then(|seconds| seconds.checked_mul(NANOSECONDS_PER_SECOND))
            .ok_or_else(|| unknown("it is longer than 292 years"))?;
        Ok(Self {
            text: text.to_owned(),
            duration_ns,
            origin_ns,
        })
    }
}

impl fmt::Display for Timeframe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeframe(text: &str) -> Timeframe {
        text.parse().expect("a timeframe")
    }

    #[test]
    fn lengths_follow_the_unit() {
        let seconds = |text: &str| timeframe(text).duration_ns() / NANOSECONDS_PER_SECOND;
        assert_eq!(seconds("S10"), 10);
        assert_eq!(seconds("M1"), 60);
        assert_eq!(seconds("H4"), 14_400);
        assert_eq!(seconds("D1"), 86_400);
        assert_eq!(seconds("W1"), 604_800);
        assert!(timeframe("H23").is_intraday());
        assert!(!timeframe("H24").is_intraday());
        assert!(!timeframe("D1").is_intraday());
    }

    #[test]
    fn what_is_no_timeframe_is_refused() {
        for text in [
            "",
            "M",
            "M0",
            "M01",
            "m1",
            "X1",
            "M-1",
            "M+1",
            "M1 ",
            "M1.5",
            "1M",
            "W99999999",
            "Mé",
        ] {
            let error = text.parse::<Timeframe>().expect_err(text);
            assert_eq!(error.code(), Code::TimeframeNotFound, "{text}");
        }
    }

    #[test]
    fn units_may_stand_behind_in_lower_case() {
        for (spelt, canonical) in [
            ("1m", "M1"),
            ("15m", "M15"),
            ("4h", "H4"),
            ("1d", "D1"),
            ("1w", "W1"),
            ("10s", "S10"),
        ] {
            assert_eq!(timeframe(spelt).as_str(), canonical);
        }
        for text in ["1M", "1H", "01m", "0m", "m", "1mo", "1 m", "-1m"] {
            assert!(text.parse::<Timeframe>().is_err(), "{text}");
        }
    }

    #[test]
    fn flooring_goes_towards_minus_infinity() {
        let minute = timeframe("M1");
        let ns = NANOSECONDS_PER_SECOND;
        assert_eq!(minute.floor(61 * ns), Some(60 * ns));
        assert_eq!(minute.floor(60 * ns), Some(60 * ns));
        assert_eq!(minute.floor(-1), Some(-60 * ns));
        assert_eq!(minute.floor(i64::MIN), None);
        assert!(minute.floor(i64::MAX).is_some());
    }

    #[test]
    fn bars_are_numbered_along_the_grid_of_flooring() {
        for text in ["S1", "M1", "H5", "D1", "W1", "W2"] {
            let timeframe = timeframe(text);
            for at in [0, -1, 1, 86_399_999_999_999, -86_400_000_000_001] {
                let bar = timeframe.bar(at);
                assert_eq!(
                    Some(timeframe.bar_open_ns(bar)),
                    timeframe.floor(at),
                    "{text} {at}"
                );
                assert!(at < timeframe.bar_open_ns(bar + 1), "{text} {at}");
            }
            // The first bar opens before the smallest timestamp.
            assert_eq!(timeframe.bar_open_ns(timeframe.bar(i64::MIN)), i64::MIN);
            assert_eq!(timeframe.bar_open_ns(timeframe.bar(i64::MAX) + 1), i64::MAX);
        }
    }

    #[test]
    fn weeks_open_on_monday() {
        let week = timeframe("W1");
        // 1970-01-01 (Thursday) belongs to the week of Monday 1969-12-29.
        assert_eq!(week.floor(0), Some(-3 * NANOSECONDS_PER_DAY));
        // Monday 1970-01-05 opens the next one.
        let monday = 4 * NANOSECONDS_PER_DAY;
        assert_eq!(week.floor(monday), Some(monday));
        assert_eq!(week.floor(monday - 1), Some(-3 * NANOSECONDS_PER_DAY));
        // Two-week candles are counted from that same Monday.
        assert_eq!(
            timeframe("W2").floor(monday),
            Some(-3 * NANOSECONDS_PER_DAY)
        );
    }
}
