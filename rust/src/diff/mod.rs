//! Compares two files or streams of slices, and describes their differences.
//!
//! Reads both once, side by side, in memory independent of their length. Slices are matched by
//! timestamp, so a missing slice does not shift the later ones. Batches, format (file or stream)
//! and compression make no difference. Damaged or incomplete input gives an error and no result.
//! Callers format the result.

mod compare;
mod merge;

use std::collections::HashSet;

use serde::{Serialize, Serializer};
use serde_json::Value;

use slices_core::error::{Error, Result};
use slices_ipc::SliceReader;

/// Maximum number of timestamps to list for slices that one side lacks.
pub const ONE_SIDED_SHOWN: usize = 5;

/// The largest difference of two equal numbers; never negative, never NaN.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default)]
pub struct Tolerance(f64);

impl Tolerance {
    /// Only exactly equal numbers.
    pub const EXACT: Self = Self(0.0);

    /// Numbers `a` and `b` are equal if `|a - b| <= limit`.
    ///
    /// # Errors
    ///
    /// A usage error if the limit is negative or NaN.
    pub fn new(limit: f64) -> Result<Self> {
        if limit >= 0.0 {
            // Turn -0.0 into 0.0, which prints without a sign.
            return Ok(Self(limit.abs()));
        }
        Err(Error::usage(format!(
            "invalid tolerance {limit}: expected a number of at least 0"
        ))
        .with_hint("use 0 for exact equality, or the largest difference to ignore"))
    }

    /// The largest difference of equal numbers.
    #[must_use]
    pub const fn limit(self) -> f64 {
        self.0
    }

    /// Whether two numbers are equal: NaN equals NaN, -0.0 equals 0.0, an infinity equals only
    /// itself.
    #[must_use]
    pub fn allows(self, a: f64, b: f64) -> bool {
        a == b
            || (a.is_nan() && b.is_nan())
            || (a.is_finite() && b.is_finite() && (a - b).abs() <= self.0)
    }
}

/// The differences of two files or streams of slices, A and B.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Diff {
    /// The primary timeframes, if they differ.
    pub timeframe: Option<Pair<String>>,
    /// How the symbol lists differ. If they do, slices are matched, but values are not compared.
    pub symbols: Option<ListDifference>,
    /// How the column lists differ. If they do, only common columns are compared. A column with two
    /// types counts as two columns, each labelled with its type.
    pub columns: Option<ListDifference>,
    /// Whether values were compared.
    pub values_compared: bool,
    /// The difference with the earliest timestamp; ties go by symbol, then by column of A.
    pub first_difference: Option<FirstDifference>,
    /// Number of slices on each side and on both.
    pub slices: SliceCounts,
    /// Slices that B lacks.
    pub only_in_a: OneSided,
    /// Slices that A lacks.
    pub only_in_b: OneSided,
    /// Number of differing values in common slices.
    pub differing_values: u64,
    /// The columns with differing values, in the order of A.
    pub by_column: Vec<Differing>,
    /// The symbols with differing values, in the order of A.
    pub by_symbol: Vec<Differing>,
    /// Differing metadata entries of producer and request; they do not make the sides unequal.
    pub metadata: Vec<MetadataDifference>,
}

impl Diff {
    /// Whether both sides contain the same slices.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.timeframe.is_none()
            && self.symbols.is_none()
            && self.columns.is_none()
            && self.first_difference.is_none()
    }
}

/// A value of each side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pair<T> {
    /// The value of A.
    pub a: T,
    /// The value of B.
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
    /// Whether the common names have another order.
    pub reordered: bool,
}

impl ListDifference {
    /// `None` if the lists are equal.
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

/// The earliest difference.
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

/// A differing value.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ValueDifference {
    /// The timestamp of the slice, nanoseconds UTC.
    pub timestamp_ns: i64,
    /// The number of the slice on each side, counted from 0.
    pub slice: Pair<u64>,
    /// The symbol of the value.
    pub symbol: String,
    /// The column of the value.
    pub column: String,
    /// The value of A.
    pub a: Cell,
    /// The value of B.
    pub b: Cell,
}

/// The value of one column for one symbol in one slice.
///
/// In JSON it is a number, a boolean or `null`. Timestamps are nanoseconds; non-finite numbers are
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

/// Numbers of slices.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SliceCounts {
    /// In A.
    pub a: u64,
    /// In B.
    pub b: u64,
    /// In both.
    pub both: u64,
    /// In both, with differing values.
    pub differing: u64,
}

/// The slices that one side lacks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct OneSided {
    /// Number of slices.
    pub slices: u64,
    /// The first timestamps, at most [`ONE_SIDED_SHOWN`], nanoseconds UTC.
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
    /// Number of differing values.
    pub values: u64,
    /// The largest `|a - b|` of two finite numbers among them.
    pub largest_difference: Option<f64>,
}

/// A metadata entry.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct MetadataDifference {
    /// Its name; names of request options start with `request.`.
    pub name: String,
    /// The value in A.
    pub a: Value,
    /// The value in B.
    pub b: Value,
}

/// Compares two files or streams of slices, from their current positions to their ends.
///
/// Null equals only null, whatever value lies under it. [`Tolerance::allows`] compares numbers;
/// timestamps and flags must be equal.
///
/// # Errors
///
/// [`crate::Code::DeserializationError`] if either side is damaged or incomplete.
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
