//! Owns the comparison of two files or streams of slices: what counts as equal, and what is told of a
//! difference.
//!
//! Both are read once, side by side, in memory that does not depend on their length. Slices are matched by
//! timestamp, so a slice that one side lacks does not shift those behind it. How slices are cut into
//! batches, file or stream, and compression make no difference. Nothing is told of what turns out to be
//! damaged, be it in the last byte. Leaves words and layout to others.

mod compare;
mod merge;

use std::collections::HashSet;

use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::ipc::SliceReader;

/// Timestamps of slices that one side lacks: so many are told.
pub const ONE_SIDED_SHOWN: usize = 5;

/// By how much two numbers may differ and still be equal; never negative, never NaN.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default)]
pub struct Tolerance(f64);

impl Tolerance {
    /// Not at all.
    pub const EXACT: Self = Self(0.0);

    /// Numbers `a` and `b` are equal where `|a - b| <= limit`.
    ///
    /// # Errors
    ///
    /// A usage error where the limit is negative or NaN.
    pub fn new(limit: f64) -> Result<Self> {
        if limit >= 0.0 {
            // Of the two zeros the one that is shown without a sign.
            return Ok(Self(limit.abs()));
        }
        Err(Error::usage(format!(
            "invalid tolerance {limit}: expected a number of at least 0"
        ))
        .with_hint("use 0 for exact equality, or the largest difference to ignore"))
    }

    /// The largest difference that is none.
    #[must_use]
    pub const fn limit(self) -> f64 {
        self.0
    }

    /// Whether two numbers are equal: NaN equals NaN, -0.0 equals 0.0, an infinity only itself.
    #[must_use]
    pub fn allows(self, a: f64, b: f64) -> bool {
        a == b
            || (a.is_nan() && b.is_nan())
            || (a.is_finite() && b.is_finite() && (a - b).abs() <= self.0)
    }
}

/// What two files or streams of slices, A and B, have and have not in common.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Diff {
    /// The primary timeframes, where they are not the same.
    pub timeframe: Option<Pair<String>>,
    /// How the lists of symbols differ. Where they do, slices are matched, but no values compared.
    pub symbols: Option<ListDifference>,
    /// How the lists of columns differ. Where they do, the common ones are compared. A column of one name
    /// and two types counts as two, and carries its type.
    pub columns: Option<ListDifference>,
    /// Whether values were compared.
    pub values_compared: bool,
    /// The difference of the earliest timestamp; then in the order of symbols, then of A's columns.
    pub first_difference: Option<FirstDifference>,
    /// Slices on either side and in common.
    pub slices: SliceCounts,
    /// Slices that B lacks.
    pub only_in_a: OneSided,
    /// Slices that A lacks.
    pub only_in_b: OneSided,
    /// Values that differ, in the slices that both have.
    pub differing_values: u64,
    /// The columns in which values differ, in the order of A.
    pub by_column: Vec<Differing>,
    /// The symbols of which values differ, in the order of A.
    pub by_symbol: Vec<Differing>,
    /// Entries of the metadata that differ, and do not count: who wrote the slices, and for which request.
    pub metadata: Vec<MetadataDifference>,
}

impl Diff {
    /// Whether both hold the same slices.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.timeframe.is_none()
            && self.symbols.is_none()
            && self.columns.is_none()
            && self.first_difference.is_none()
    }
}

/// One of each side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pair<T> {
    /// Of A.
    pub a: T,
    /// Of B.
    pub b: T,
}

/// How two lists of names differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ListDifference {
    /// Names that B lacks.
    pub only_in_a: Vec<String>,
    /// Names that A lacks.
    pub only_in_b: Vec<String>,
    /// Whether the common names come in another order.
    pub reordered: bool,
}

impl ListDifference {
    /// `None` where the lists are the same.
    fn of(a: &[String], b: &[String]) -> Option<Self> {
        if a == b {
            return None;
        }
        let split = |list: &[String], other: &[String]| -> (Vec<String>, Vec<String>) {
            let other: HashSet<_> = other.iter().collect();
            list.iter().cloned().partition(|name| !other.contains(name))
        };
        let (only_in_a, common_in_a) = split(a, b);
        let (only_in_b, common_in_b) = split(b, a);
        Some(Self {
            only_in_a,
            only_in_b,
            reordered: common_in_a != common_in_b,
        })
    }
}

/// The first difference in time.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum FirstDifference {
    /// A slice that B lacks.
    OnlyInA(LoneSlice),
    /// A slice that A lacks.
    OnlyInB(LoneSlice),
    /// A value of a slice that both have.
    Value(ValueDifference),
}

/// A slice that one side lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LoneSlice {
    /// Its timestamp, nanoseconds UTC.
    pub timestamp_ns: i64,
    /// Its number on the side that has it, counted from 0.
    pub slice: u64,
}

/// A value that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ValueDifference {
    /// The timestamp of the slice, nanoseconds UTC.
    pub timestamp_ns: i64,
    /// The number of the slice on each side, counted from 0.
    pub slice: Pair<u64>,
    /// Whose value.
    pub symbol: String,
    /// Which of its values.
    pub column: String,
    /// The value of A.
    pub a: Cell,
    /// The value of B.
    pub b: Cell,
}

/// What one column holds of one symbol in one slice.
///
/// As JSON a number, a boolean, or `null`; timestamps are nanoseconds, and numbers that JSON has not are
/// the texts `NaN`, `inf` and `-inf`.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Cell {
    /// Null: no candle, or no indicator.
    Absent,
    /// A price, a volume, an indicator.
    Number(f64),
    /// Whether a candle is valid.
    Flag(bool),
    /// The timestamp of a candle, nanoseconds UTC.
    Timestamp(i64),
}

impl Serialize for Cell {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self::Absent => serializer.serialize_none(),
            Self::Number(value) if value.is_finite() => serializer.serialize_f64(value),
            Self::Number(value) => serializer.collect_str(&value),
            Self::Flag(value) => serializer.serialize_bool(value),
            Self::Timestamp(value) => serializer.serialize_i64(value),
        }
    }
}

/// How many slices there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SliceCounts {
    /// In A.
    pub a: u64,
    /// In B.
    pub b: u64,
    /// In both.
    pub both: u64,
    /// In both, with values that differ.
    pub differing: u64,
}

/// The slices that one side lacks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct OneSided {
    /// How many.
    pub slices: u64,
    /// The timestamps of the first ones, at most [`ONE_SIDED_SHOWN`], nanoseconds UTC.
    pub first_timestamps_ns: Vec<i64>,
}

impl OneSided {
    fn add(&mut self, timestamp_ns: i64) {
        self.slices += 1;
        if self.first_timestamps_ns.len() < ONE_SIDED_SHOWN {
            self.first_timestamps_ns.push(timestamp_ns);
        }
    }
}

/// The differing values of one column or symbol.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Differing {
    /// The column or symbol.
    pub name: String,
    /// How many of its values differ.
    pub values: u64,
    /// The largest `|a - b|` of two finite numbers among them.
    pub largest_difference: Option<f64>,
}

/// An entry of the metadata.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct MetadataDifference {
    /// Its name; those of the request begin with `request.`.
    pub name: String,
    /// What A says.
    pub a: Value,
    /// What B says.
    pub b: Value,
}

/// Compares two files or streams of slices, from where they are to their ends.
///
/// Null equals null only, whatever lies under it; numbers are compared by [`Tolerance::allows`], timestamps
/// and flags exactly.
///
/// # Errors
///
/// [`crate::Code::DeserializationError`] where either side is damaged or not complete.
pub fn diff(a: SliceReader, b: SliceReader, tolerance: Tolerance) -> Result<Diff> {
    merge::compare(a, b, tolerance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_equal_within_the_tolerance_and_what_is_no_number_only_to_itself() {
        let (nan, inf) = (f64::NAN, f64::INFINITY);
        let exact = Tolerance::EXACT;
        assert!(exact.allows(0.0, -0.0) && exact.allows(nan, -nan) && exact.allows(inf, inf));
        assert!(!exact.allows(1.0, 1.0 + f64::EPSILON) && !exact.allows(0.0, 5e-324));
        let quarter = Tolerance::new(0.25).expect("a tolerance");
        assert!(quarter.allows(1.0, 1.25) && quarter.allows(1.25, 1.0));
        assert!(!quarter.allows(1.0, 1.26) && !quarter.allows(f64::MAX, -f64::MAX));
        let any = Tolerance::new(inf).expect("a tolerance");
        assert!(any.allows(f64::MAX, -f64::MAX));
        assert!(!any.allows(inf, -inf) && !any.allows(inf, 1.0) && !any.allows(nan, 1.0));
    }

    #[test]
    fn lists_differ_by_what_is_missing_and_by_order() {
        let list = |names: &str| names.chars().map(String::from).collect::<Vec<_>>();
        let of = |a, b| ListDifference::of(&list(a), &list(b));
        let difference = |only_in_a, only_in_b, reordered| {
            Some(ListDifference {
                only_in_a: list(only_in_a),
                only_in_b: list(only_in_b),
                reordered,
            })
        };
        assert_eq!(of("abc", "abc"), None);
        assert_eq!(of("abcd", "ebc"), difference("ad", "e", false));
        assert_eq!(of("abc", "cba"), difference("", "", true));
        assert_eq!(of("abx", "ba"), difference("x", "", true));
    }
}
