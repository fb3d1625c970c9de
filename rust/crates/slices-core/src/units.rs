//! Lengths of time in nanoseconds and seconds.

/// A second.
pub const NANOSECONDS_PER_SECOND: i64 = 1_000_000_000;
/// An hour.
pub const NANOSECONDS_PER_HOUR: i64 = SECONDS_PER_HOUR * NANOSECONDS_PER_SECOND;
/// A day of 24 hours.
pub const NANOSECONDS_PER_DAY: i64 = SECONDS_PER_DAY * NANOSECONDS_PER_SECOND;
/// An hour in seconds.
pub const SECONDS_PER_HOUR: i64 = 3_600;
/// A day of 24 hours in seconds.
pub const SECONDS_PER_DAY: i64 = 24 * SECONDS_PER_HOUR;

/// The greatest number that divides both; the other one if one is 0.
#[must_use]
pub fn greatest_common_divisor(mut a: i64, mut b: i64) -> i64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
