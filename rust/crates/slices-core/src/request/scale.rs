//! Decimal factors of numbers that are stored as integers.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::error::{Error, Result};

/// Maximum number of significant digits: they fit into 64 bits.
const DIGITS_MAX: usize = 18;

/// Maximum distance of the last digit from the decimal point.
const EXPONENT_MAX: i32 = 60;

/// Powers of ten that a double holds exactly.
const EXACT_POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// Integers up to here are exact doubles.
const EXACT_INTEGERS: i128 = 1 << f64::MANTISSA_DIGITS;

/// A positive decimal number, exactly: `digits × 10^exponent`, without trailing zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scale {
    digits: i64,
    exponent: i32,
}

impl Scale {
    /// The double nearest to `value × self`.
    #[must_use]
    pub fn scaled(self, value: i128) -> f64 {
        match value.checked_mul(self.digits.into()) {
            Some(product) => decimal(product, self.exponent),
            // Beyond 128 bits, a multiple of the digits is a sum of two parts.
            None => self.scaled_slowly(value),
        }
    }

    fn scaled_slowly(self, value: i128) -> f64 {
        // In base 10^19, so that each product fits.
        const BASE: u128 = 10_u128.pow(19);
        let digits = u128::from(self.digits.unsigned_abs());
        let (high, low) = (value.unsigned_abs() / BASE, value.unsigned_abs() % BASE);
        let low = low * digits;
        let high = high * digits + low / BASE;
        let sign = if value < 0 { "-" } else { "" };
        parsed(&format!("{sign}{high}{:019}e{}", low % BASE, self.exponent))
    }
}

/// The double nearest to `digits × 10^exponent`.
#[must_use]
pub fn decimal(digits: i128, exponent: i32) -> f64 {
    if (-EXACT_INTEGERS..=EXACT_INTEGERS).contains(&digits)
        && let Some(power) = EXACT_POWERS.get(exponent.unsigned_abs() as usize)
    {
        // Both operands are exact, and IEEE arithmetic rounds once.
        let digits = digits as f64;
        return if exponent < 0 {
            digits / power
        } else {
            digits * power
        };
    }
    parsed(&format!("{digits}e{exponent}"))
}

fn parsed(text: &str) -> f64 {
    text.parse().expect("digits and an exponent are a number")
}

impl fmt::Display for Scale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}e{}", self.digits, self.exponent)
    }
}

impl Serialize for Scale {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for Scale {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        parse(text).ok_or_else(|| {
            Error::usage(format!(
                "invalid scale {text:?}: expected a number above zero"
            ))
            .with_hint("write it as 0.01 or 1e-9")
        })
    }
}

fn parse(text: &str) -> Option<Scale> {
    let (number, exponent) = match text.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() && fraction.is_empty() || !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let all = format!("{whole}{fraction}");
    let digits = all.trim_end_matches('0');
    let zeros = all.len() - digits.len();
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() || digits.len() > DIGITS_MAX {
        return None;
    }
    let shift = i32::try_from(zeros).ok()? - i32::try_from(fraction.len()).ok()?;
    let exponent = exponent.checked_add(shift)?;
    (-EXPONENT_MAX..=EXPONENT_MAX)
        .contains(&exponent)
        .then_some(Scale {
            digits: digits.parse().ok()?,
            exponent,
        })
}

/// The factors of stored numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scales {
    /// Of integers; `None` for 1.
    pub integers: Option<Scale>,
    /// Of binary numbers of 8 bytes; without it they are an error.
    pub bytes_8: Option<Scale>,
    /// Of binary numbers of 16 bytes; without it they are an error.
    pub bytes_16: Option<Scale>,
}

impl From<Scale> for Scales {
    fn from(scale: Scale) -> Self {
        Self {
            integers: Some(scale),
            bytes_8: Some(scale),
            bytes_16: Some(scale),
        }
    }
}

impl FromStr for Scales {
    type Err = Error;

    /// Reads `1e-9`, or `8=1e-9,16=1e-16` for binary numbers of some width.
    fn from_str(text: &str) -> Result<Self> {
        if !text.contains('=') {
            return Ok(text.parse::<Scale>()?.into());
        }
        let twice = |width: &str| {
            let message = format!("the scale of {width} bytes is given twice");
            Error::usage(message).with_hint("name each width once")
        };
        let mut scales = Self::default();
        for one in text.split(',') {
            match one.split_once('=') {
                Some(("8", _)) if scales.bytes_8.is_some() => return Err(twice("8")),
                Some(("16", _)) if scales.bytes_16.is_some() => return Err(twice("16")),
                Some(("8", scale)) => scales.bytes_8 = Some(scale.parse()?),
                Some(("16", scale)) => scales.bytes_16 = Some(scale.parse()?),
                _ => {
                    return Err(
                        Error::usage(format!("invalid scale of binary numbers {one:?}"))
                            .with_hint("write it as 1e-9, or as 8=1e-9,16=1e-16 by width"),
                    );
                }
            }
        }
        Ok(scales)
    }
}

impl Scales {
    fn is_uniform(&self) -> bool {
        self.integers == self.bytes_8 && self.bytes_8 == self.bytes_16
    }
}

impl Serialize for Scales {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.is_uniform() {
            return self.integers.serialize(serializer);
        }
        let widths = [("8", self.bytes_8), ("16", self.bytes_16)];
        let given = widths
            .into_iter()
            .filter_map(|(width, scale)| Some((width, scale?)));
        serializer.collect_map(given)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn scales_have_one_spelling() {
        for (text, spelled) in [
            ("1e-9", "1e-9"),
            ("0.000000001", "1e-9"),
            ("10e-10", "1e-9"),
            ("1", "1e0"),
            ("100", "1e2"),
            (".25", "25e-2"),
            ("2.50", "25e-1"),
            ("1E3", "1e3"),
        ] {
            assert_eq!(text.parse::<Scale>().expect(text).to_string(), spelled);
        }
        for text in [
            "",
            "0",
            "0.0",
            "-1",
            "+1",
            "1e",
            "e3",
            "x",
            "1,5",
            "nan",
            "inf",
            "1e99",
            "1e-99",
            ".",
            "1_0",
            " 1",
            "1234567890123456789",
            "1e999999999999",
        ] {
            assert!(text.parse::<Scale>().is_err(), "{text}");
        }
    }

    #[test]
    fn products_beyond_128_bits_are_exact() {
        let scale: Scale = "0.3".parse().expect("a scale");
        assert_eq!(scale.scaled(i128::MAX), 5.104_235_503_814_077e37);
        assert_eq!(scale.scaled(i128::MIN), -5.104_235_503_814_077e37);
    }

    proptest! {
        /// The text of the exact product is what a double is nearest to.
        #[test]
        fn results_are_the_nearest_double(value: i64, digits in 1_i64..1_000_000, exponent in -30_i32..30) {
            let scale: Scale = format!("{digits}e{exponent}").parse().expect("a scale");
            let product = i128::from(value) * i128::from(digits);
            let exact: f64 = format!("{product}e{exponent}").parse().expect("a number");
            prop_assert_eq!(scale.scaled(value.into()), exact);
            prop_assert_eq!(scale.scaled_slowly(value.into()), exact);
        }
    }
}
