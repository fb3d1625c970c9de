//! Cuts a request into parts that follow each other without a gap or an overlap.
//!
//! The cuts are beginnings of periods in UTC, moved to where the next candle of the primary
//! timeframe begins. Joined, the slices of the parts are those of the whole.

use std::fmt;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::str::FromStr;

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveTime};

use crate::error::Error;
use crate::request::{Fill, Request, Timeframe};
use crate::units::NANOSECONDS_PER_SECOND;

/// The largest number of parts to ask for.
const PARTS_MAX: u32 = 100_000;

/// The length of a part, or the number of parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SplitBy {
    /// A day, from midnight UTC.
    Day,
    /// A week, from Monday.
    Week,
    /// A month.
    Month,
    /// A year.
    Year,
    /// This many parts of equal length, or fewer if there are too few candles.
    Parts(NonZeroU32),
}

impl FromStr for SplitBy {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parts = |text: &str| {
            let parts = text.parse().ok()?;
            (parts <= NonZeroU32::new(PARTS_MAX)?).then_some(Self::Parts(parts))
        };
        match text {
            "day" => Some(Self::Day),
            "week" => Some(Self::Week),
            "month" => Some(Self::Month),
            "year" => Some(Self::Year),
            _ => parts(text),
        }
        .ok_or_else(|| {
            Error::usage(format!(
                "cannot split by {text:?}: it is neither a period nor a number of parts"
            ))
            .with_hint(format!(
                "choose day, week, month or year, or a number from 1 to {PARTS_MAX}"
            ))
        })
    }
}

impl fmt::Display for SplitBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Day => f.write_str("day"),
            Self::Week => f.write_str("week"),
            Self::Month => f.write_str("month"),
            Self::Year => f.write_str("year"),
            Self::Parts(parts) => parts.fmt(f),
        }
    }
}

impl Request {
    /// The parts of the request, in order. Each has a start and an exclusive end; only the last
    /// instant of all has no exclusive end after it.
    ///
    /// `rows` is the range of its timestamps, which counts where the request sets no limit. Without
    /// rows in the window, the request is its own only part.
    #[must_use]
    pub fn split_within(&self, by: SplitBy, rows: Option<RangeInclusive<i64>>) -> Vec<Self> {
        let (first, last) = rows.map(|rows| self.whole_candles(rows)).unzip();
        let (Some(first_ns), Some(last_ns)) = (self.start_ns.or(first), self.end_ns().or(last))
        else {
            return vec![self.clone()];
        };
        if first_ns > last_ns {
            return vec![self.clone()];
        }
        let starts = starts(first_ns..=last_ns, &self.timeframe, by);
        let ends = starts[1..].iter().copied().map(Some);
        let part = |(&start_ns, before_ns): (&i64, Option<i64>)| Self {
            start_ns: Some(start_ns),
            end_ns: before_ns.is_none().then_some(i64::MAX),
            before_ns,
            ..self.clone()
        };
        starts
            .iter()
            .zip(ends.chain([last_ns.checked_add(1)]))
            .map(part)
            .collect()
    }
}

impl Request {
    /// The range that rows take once they are floored. Rows of other series lie in the first and
    /// the last candle too.
    fn whole_candles(&self, rows: RangeInclusive<i64>) -> (i64, i64) {
        let (first_ns, last_ns) = rows.into_inner();
        if !self.normalize {
            return (first_ns, last_ns);
        }
        let timeframe = &self.timeframe;
        let next_ns = timeframe.bar_open_ns(timeframe.bar(last_ns) + 1);
        let last_ns = if next_ns == i64::MAX {
            next_ns
        } else {
            next_ns - 1
        };
        (timeframe.bar_open_ns(timeframe.bar(first_ns)), last_ns)
    }

    /// Whether the window begins inside a candle. The whole makes it of its own rows alone, while a
    /// part would carry rows from before.
    #[must_use]
    pub fn starts_inside_a_candle(&self) -> bool {
        let starts_inside = |start_ns| self.timeframe.floor(start_ns) != Some(start_ns);
        self.normalize && self.fill == Fill::Forward && self.start_ns.is_some_and(starts_inside)
    }
}

/// The first timestamp of each part of a window.
fn starts(window: RangeInclusive<i64>, timeframe: &Timeframe, by: SplitBy) -> Vec<i64> {
    let (first_ns, last_ns) = window.into_inner();
    let mut starts = vec![first_ns];
    let mut add = |cut_ns: i64| {
        let bar = timeframe.bar(cut_ns);
        let start_ns = if timeframe.bar_open_ns(bar) == cut_ns {
            cut_ns
        } else {
            timeframe.bar_open_ns(bar + 1)
        };
        // No candle begins at the last instant of all, unless that lies on the grid.
        if timeframe.floor(start_ns) != Some(start_ns) {
            return;
        }
        if starts.last().is_some_and(|&last| last < start_ns) && start_ns <= last_ns {
            starts.push(start_ns);
        }
    };
    if let SplitBy::Parts(parts) = by {
        let span = i128::from(last_ns) - i128::from(first_ns) + 1;
        for number in 1..parts.get() {
            let cut_ns = i128::from(first_ns) + span * i128::from(number) / i128::from(parts.get());
            add(i64::try_from(cut_ns).expect("the cut lies in the window"));
        }
        return starts;
    }
    let mut day = period_of(DateTime::from_timestamp_nanos(first_ns).date_naive(), by);
    while let Some(next) = next_period(day, by) {
        // Midnights after the last instant are not 64-bit nanoseconds, and end the window.
        let midnight = next.and_time(NaiveTime::MIN).and_utc().timestamp();
        match midnight.checked_mul(NANOSECONDS_PER_SECOND) {
            Some(cut_ns) if cut_ns <= last_ns => add(cut_ns),
            _ => break,
        }
        day = next;
    }
    starts
}

/// The first day of the period that a day lies in.
fn period_of(day: NaiveDate, by: SplitBy) -> NaiveDate {
    let back = match by {
        SplitBy::Day | SplitBy::Parts(_) => 0,
        SplitBy::Week => day.weekday().num_days_from_monday(),
        SplitBy::Month => day.day0(),
        SplitBy::Year => day.ordinal0(),
    };
    day - Days::new(back.into())
}

fn next_period(day: NaiveDate, by: SplitBy) -> Option<NaiveDate> {
    match by {
        SplitBy::Day | SplitBy::Parts(_) => day.checked_add_days(Days::new(1)),
        SplitBy::Week => day.checked_add_days(Days::new(7)),
        SplitBy::Month => day.checked_add_months(Months::new(1)),
        SplitBy::Year => day.checked_add_months(Months::new(12)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::Code;
    use crate::request::{format_timestamp, parse_timestamp};

    fn request(timeframe: &str, start: Option<&str>, before: Option<&str>) -> Request {
        let ns = |text: &str| parse_timestamp(text).expect("a timestamp");
        Request::builder("data")
            .symbols(["A"])
            .timeframe(timeframe.parse().expect("a timeframe"))
            .start_ns(start.map(ns))
            .before_ns(before.map(ns))
            .build()
            .expect("a valid request")
    }

    fn edges(parts: &[Request]) -> Vec<String> {
        let mut edges: Vec<_> = parts.iter().filter_map(Request::start_ns).collect();
        edges.extend(parts.last().and_then(Request::before_ns));
        let short = |ns| format_timestamp(ns)[..16].to_owned();
        edges.into_iter().map(short).collect()
    }

    #[test]
    fn parts_begin_with_their_periods() {
        let months = request("M1", Some("2024-01-15T10:00"), Some("2024-03-01T00:30"));
        assert_eq!(
            edges(&months.split_within(SplitBy::Month, None)),
            [
                "2024-01-15T10:00",
                "2024-02-01T00:00",
                "2024-03-01T00:00",
                "2024-03-01T00:30"
            ]
        );
        let years = request("M1", Some("2023-06-01"), Some("2025-01-01"));
        assert_eq!(
            edges(&years.split_within(SplitBy::Year, None)),
            ["2023-06-01T00:00", "2024-01-01T00:00", "2025-01-01T00:00"]
        );
        // 2024-01-01 was a Monday.
        let weeks = request("M1", Some("2023-12-30"), Some("2024-01-09"));
        assert_eq!(
            edges(&weeks.split_within(SplitBy::Week, None)),
            [
                "2023-12-30T00:00",
                "2024-01-01T00:00",
                "2024-01-08T00:00",
                "2024-01-09T00:00"
            ]
        );
    }

    #[test]
    fn no_candle_lies_in_two_parts() {
        let days = request("W1", Some("2024-01-01"), Some("2024-01-15"));
        assert_eq!(
            edges(&days.split_within(SplitBy::Day, None)),
            ["2024-01-01T00:00", "2024-01-08T00:00", "2024-01-15T00:00"]
        );
        let thirds = request("M7", Some("2024-01-01"), Some("2024-01-01T00:30"));
        assert_eq!(
            edges(&thirds.split_within("3".parse().expect("a number"), None)),
            [
                "2024-01-01T00:00",
                "2024-01-01T00:15",
                "2024-01-01T00:22",
                "2024-01-01T00:30"
            ]
        );
    }

    #[test]
    fn rows_limit_what_the_request_does_not() {
        let open = request("D1", None, None);
        assert_eq!(
            open.split_within(SplitBy::Day, None),
            std::slice::from_ref(&open)
        );
        let day = 24 * 60 * 60 * NANOSECONDS_PER_SECOND;
        let parts = open.split_within(SplitBy::Day, Some(0..=day));
        assert_eq!(parts.len(), 2);
        assert_eq!(parts[1].before_ns(), Some(day + 1));
        let last = open.split_within(SplitBy::Year, Some(i64::MIN..=i64::MAX));
        assert_eq!(last.len(), 2262 - 1677 + 1);
        let last = last.last().expect("a last part");
        assert_eq!((last.before_ns(), last.end_ns()), (None, Some(i64::MAX)));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "0", "-1", "months", "100001", "1.5"] {
            let error = text.parse::<SplitBy>().expect_err("no way to split");
            assert_eq!(error.code(), Code::Usage, "{text}");
        }
    }

    proptest! {
        #[test]
        fn parts_follow_each_other(
            first in any::<i64>(),
            length in 0..400 * 86_400 * NANOSECONDS_PER_SECOND,
            timeframe in prop::sample::select(vec!["S1", "M7", "H5", "D1", "D3", "W2"]),
            by in prop::sample::select(vec!["day", "week", "month", "year", "1", "7", "100"]),
        ) {
            let last = first.saturating_add(length);
            let by: SplitBy = by.parse().expect("a way to split");
            let whole = request(timeframe, None, None);
            let parts = whole.split_within(by, Some(first..=last));
            prop_assert_eq!(parts[0].start_ns(), Some(first));
            prop_assert_eq!(parts[parts.len() - 1].end_ns(), Some(last));
            for pair in parts.windows(2) {
                let start_ns = pair[1].start_ns().expect("a start");
                prop_assert_eq!(pair[0].before_ns(), Some(start_ns));
                prop_assert!(pair[0].start_ns() < Some(start_ns));
                prop_assert_eq!(whole.timeframe().floor(start_ns), Some(start_ns));
            }
        }
    }
}
