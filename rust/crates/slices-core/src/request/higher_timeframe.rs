//! Parses maximum ages and higher timeframes: which older candles a slice may show. Does no I/O.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::error::{Error, Result};
use crate::hint::{Setting, hint};
use crate::request::Timeframe;
use crate::units::NANOSECONDS_PER_SECOND;

/// The maximum age of a candle that a slice shows, counted from its timestamp: `15m`, `2h`, `3d`,
/// `5bars`. The units are `s`, `m`, `h`, `d`, `w` and `bars`. A bar is one candle of the timeframe
/// that the age belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MaxAge {
    text: String,
    count: i64,
    unit: AgeUnit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum AgeUnit {
    Seconds(i64),
    Bars,
}

impl MaxAge {
    /// The age in nanoseconds, for candles of `timeframe`.
    ///
    /// # Errors
    ///
    /// A usage error if it does not fit 64-bit nanoseconds.
    pub fn nanoseconds(&self, timeframe: &Timeframe) -> Result<i64> {
        let unit_ns = match self.unit {
            AgeUnit::Seconds(seconds) => seconds * NANOSECONDS_PER_SECOND,
            AgeUnit::Bars => timeframe.duration_ns(),
        };
        self.count.checked_mul(unit_ns).ok_or_else(|| {
            Error::usage(format!("the maximum age {:?} is too long", self.text))
                .with_hint("choose an age below 292 years")
        })
    }
}

impl fmt::Display for MaxAge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for MaxAge {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (count, unit) = text.split_at(digits);
        let unit = match unit {
            "s" => Some(AgeUnit::Seconds(1)),
            "m" => Some(AgeUnit::Seconds(60)),
            "h" => Some(AgeUnit::Seconds(3_600)),
            "d" => Some(AgeUnit::Seconds(86_400)),
            "w" => Some(AgeUnit::Seconds(604_800)),
            "bar" | "bars" => Some(AgeUnit::Bars),
            _ => None,
        };
        let plain = !count.is_empty() && !count.starts_with('0');
        let count = count.parse().ok().filter(|_| plain);
        let (Some(unit), Some(count)) = (unit, count) else {
            return Err(Error::usage(format!(
                "invalid maximum age {text:?}: expected a positive number and a unit"
            ))
            .with_hint("append s, m, h, d, w or bars to the number: 15m, 2h, 3d, 5bars"));
        };
        Ok(Self {
            text: text.to_owned(),
            count,
            unit,
        })
    }
}

/// A higher timeframe, of which a slice shows the latest complete candles: `H1`, or
/// `H1:max-age=1d`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HigherTimeframe {
    timeframe: Timeframe,
    max_age: Option<MaxAge>,
}

impl HigherTimeframe {
    /// Candles of `timeframe`, not older than `max_age`.
    #[must_use]
    pub fn new(timeframe: Timeframe, max_age: Option<MaxAge>) -> Self {
        Self { timeframe, max_age }
    }

    /// The timeframe.
    #[must_use]
    pub fn timeframe(&self) -> &Timeframe {
        &self.timeframe
    }

    /// The maximum age of the latest complete candle; `None` sets no limit.
    #[must_use]
    pub fn max_age(&self) -> Option<&MaxAge> {
        self.max_age.as_ref()
    }
}

impl From<Timeframe> for HigherTimeframe {
    fn from(timeframe: Timeframe) -> Self {
        Self::new(timeframe, None)
    }
}

impl fmt::Display for HigherTimeframe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.timeframe)?;
        match &self.max_age {
            Some(max_age) => write!(f, ":max-age={max_age}"),
            None => Ok(()),
        }
    }
}

impl FromStr for HigherTimeframe {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text.contains(',') {
            return Err(Error::usage(format!(
                "invalid higher timeframe {text:?}: expected a single timeframe"
            ))
            .with_hint(hint![
                "name each one separately: ",
                Setting::WithTimeframe.to("H1"),
                " ",
                Setting::WithTimeframe.to("D1"),
            ]));
        }
        let (timeframe, rest) = match text.split_once(':') {
            Some((timeframe, rest)) => (timeframe, Some(rest)),
            None => (text, None),
        };
        let timeframe = timeframe.parse()?;
        let max_age = rest.map(|rest| {
            let age = rest.strip_prefix("max-age=").ok_or_else(|| {
                Error::usage(format!(
                    "invalid setting {rest:?} of a higher timeframe: expected max-age=AGE"
                ))
                .with_hint("write H1 or H1:max-age=1d")
            });
            age.and_then(str::parse)
        });
        Ok(Self::new(timeframe, max_age.transpose()?))
    }
}

impl Serialize for HigherTimeframe {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for MaxAge {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    #[test]
    fn ages_are_counted_in_time_or_in_bars() {
        let minutes = |text: &str, timeframe: &str| {
            let age: MaxAge = text.parse().expect(text);
            let timeframe = timeframe.parse().expect("a timeframe");
            age.nanoseconds(&timeframe).expect(text) / (60 * NANOSECONDS_PER_SECOND)
        };
        assert_eq!(minutes("120s", "M1"), 2);
        assert_eq!(minutes("15m", "H1"), 15);
        assert_eq!(minutes("2h", "M1"), 120);
        assert_eq!(minutes("3d", "M1"), 3 * 1_440);
        assert_eq!(minutes("1w", "M1"), 7 * 1_440);
        assert_eq!(minutes("5bars", "M15"), 75);
        assert_eq!(minutes("1bar", "H1"), 60);
    }

    #[test]
    fn what_is_no_age_is_refused() {
        for text in [
            "", "m", "0m", "05m", "-1m", "+1m", "1.5h", "5", "5 m", "5M", "5bar s", "5y", "1m30s",
        ] {
            assert!(text.parse::<MaxAge>().is_err(), "{text}");
        }
        let year = "D365".parse().expect("a timeframe");
        for text in ["9999999999999d", "293bars"] {
            let age: MaxAge = text.parse().expect(text);
            assert!(age.nanoseconds(&year).is_err(), "{text}");
        }
        assert!("99999999999999999999s".parse::<MaxAge>().is_err());
    }

    #[test]
    fn a_higher_timeframe_reads_what_it_writes() {
        for text in ["H1", "D1:max-age=3d", "M15:max-age=5bars"] {
            let higher: HigherTimeframe = text.parse().expect(text);
            assert_eq!(higher.to_string(), text);
        }
        for text in [
            "H1:",
            "H1:max-age",
            "H1:max-age=",
            "H1:max-age=x",
            "H1:age=1d",
            "H1,D1",
        ] {
            assert!(text.parse::<HigherTimeframe>().is_err(), "{text}");
        }
        let error = "X1".parse::<HigherTimeframe>().expect_err("no timeframe");
        assert_eq!(error.code(), Code::TimeframeNotFound);
    }
}
