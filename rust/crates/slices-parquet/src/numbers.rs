//! Converts decoded columns to float64, each value to the nearest double.

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{
    DataType, Decimal128Type, Decimal256Type, DecimalType, Float16Type, Float32Type, Float64Type,
    Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};

use super::columns::{Expected, bytes};
use slices_core::request::{Scale, decimal};

/// The columns that values of candles may have.
pub(super) const OF_CANDLES: Expected = Expected {
    is_right: |data_type| is_number(data_type) || is_text(data_type) || is_binary(data_type),
    what: "an integer, float, decimal or text",
};

/// The columns that indicators may have.
pub(super) const OF_INDICATORS: Expected = Expected {
    is_right: is_number,
    what: "an integer, float or decimal",
};

/// The values of a column, up to the first text that is no number.
pub(super) struct Numbers {
    pub values: ScalarBuffer<f64>,
    /// That text.
    pub fault: Option<String>,
}

impl From<ScalarBuffer<f64>> for Numbers {
    fn from(values: ScalarBuffer<f64>) -> Self {
        Self {
            values,
            fault: None,
        }
    }
}

/// Converts a column; null becomes NaN. `scale` multiplies integers and binary numbers.
pub(super) fn numbers(column: &ArrayRef, scale: Option<Scale>) -> Numbers {
    let data_type = column.data_type();
    if is_text(data_type) {
        return of_texts(&bytes(column));
    }
    match scale {
        Some(scale) if data_type.is_integer() || is_binary(data_type) => {
            scaled(column, scale).into()
        }
        _ => float64(column).into(),
    }
}

/// Converts a column of numbers as they are stored.
pub(super) fn float64(column: &ArrayRef) -> ScalarBuffer<f64> {
    match column.data_type() {
        DataType::Float64 => {
            let column = column.as_primitive::<Float64Type>();
            if column.null_count() == 0 {
                return column.values().clone();
            }
            converted(column, |value| value)
        }
        DataType::Float32 => converted(column.as_primitive::<Float32Type>(), f64::from),
        DataType::Float16 => converted(column.as_primitive::<Float16Type>(), f64::from),
        DataType::Int8 => converted(column.as_primitive::<Int8Type>(), f64::from),
        DataType::Int16 => converted(column.as_primitive::<Int16Type>(), f64::from),
        DataType::Int32 => converted(column.as_primitive::<Int32Type>(), f64::from),
        DataType::UInt8 => converted(column.as_primitive::<UInt8Type>(), f64::from),
        DataType::UInt16 => converted(column.as_primitive::<UInt16Type>(), f64::from),
        DataType::UInt32 => converted(column.as_primitive::<UInt32Type>(), f64::from),
        // `as` rounds to the nearest double, ties to even.
        DataType::Int64 => converted(column.as_primitive::<Int64Type>(), |value| value as f64),
        DataType::UInt64 => converted(column.as_primitive::<UInt64Type>(), |value| value as f64),
        DataType::Decimal256(precision, scale) => {
            let (precision, scale) = (*precision, *scale);
            converted(column.as_primitive::<Decimal256Type>(), |value| {
                let text = Decimal256Type::format_decimal(value, precision, scale);
                text.parse().expect("a formatted decimal is a number")
            })
        }
        DataType::Decimal128(_, scale) => {
            let exponent = -i32::from(*scale);
            converted(column.as_primitive::<Decimal128Type>(), |value| {
                decimal(value, exponent)
            })
        }
        other => unreachable!("opening the file rejects {other}"),
    }
}

/// Converts integers and binary numbers, times a factor.
fn scaled(column: &ArrayRef, scale: Scale) -> ScalarBuffer<f64> {
    fn of<T: ArrowPrimitiveType>(column: &ArrayRef, scale: Scale) -> ScalarBuffer<f64>
    where
        i128: From<T::Native>,
    {
        converted(column.as_primitive::<T>(), |value| {
            scale.scaled(value.into())
        })
    }
    match column.data_type() {
        DataType::Int8 => of::<Int8Type>(column, scale),
        DataType::Int16 => of::<Int16Type>(column, scale),
        DataType::Int32 => of::<Int32Type>(column, scale),
        DataType::Int64 => of::<Int64Type>(column, scale),
        DataType::UInt8 => of::<UInt8Type>(column, scale),
        DataType::UInt16 => of::<UInt16Type>(column, scale),
        DataType::UInt32 => of::<UInt32Type>(column, scale),
        DataType::UInt64 => of::<UInt64Type>(column, scale),
        _ => {
            let values = column.as_fixed_size_binary().iter();
            values
                .map(|bytes| bytes.map_or(f64::NAN, |bytes| scale.scaled(little_endian(bytes))))
                .collect()
        }
    }
}

/// A signed integer of 8 or 16 bytes.
fn little_endian(bytes: &[u8]) -> i128 {
    match (bytes.try_into(), bytes.try_into()) {
        (Ok(eight), _) => i64::from_le_bytes(eight).into(),
        (_, Ok(sixteen)) => i128::from_le_bytes(sixteen),
        _ => unreachable!("opening the file rejects other widths"),
    }
}

fn converted<T: ArrowPrimitiveType>(
    column: &PrimitiveArray<T>,
    convert: impl Fn(T::Native) -> f64,
) -> ScalarBuffer<f64> {
    match column.nulls().filter(|nulls| nulls.null_count() > 0) {
        None => column
            .values()
            .iter()
            .map(|&value| convert(value))
            .collect(),
        Some(nulls) => column
            .values()
            .iter()
            .zip(nulls)
            .map(|(&value, valid)| if valid { convert(value) } else { f64::NAN })
            .collect(),
    }
}

fn of_texts(texts: &[Option<&[u8]>]) -> Numbers {
    let mut values = Vec::with_capacity(texts.len());
    for text in texts {
        let value = text.map_or(Some(f64::NAN), number_in);
        let Some(value) = value else {
            let text = String::from_utf8_lossy(text.unwrap_or_default());
            return Numbers {
                values: values.into(),
                fault: Some(text.into_owned()),
            };
        };
        values.push(value);
    }
    ScalarBuffer::from(values).into()
}

/// The number that a text spells: decimal, perhaps with an exponent, or NaN.
fn number_in(text: &[u8]) -> Option<f64> {
    let text = str::from_utf8(text).ok()?;
    if text.eq_ignore_ascii_case("nan") {
        return Some(f64::NAN);
    }
    // The parser also takes words for infinity.
    let is_plain = |byte: u8| byte.is_ascii_digit() || b"+-.eE".contains(&byte);
    if !text.bytes().all(is_plain) {
        return None;
    }
    // A number beyond the doubles is no price.
    text.parse().ok().filter(|value: &f64| value.is_finite())
}

fn is_number(data_type: &DataType) -> bool {
    data_type.is_integer()
        || data_type.is_floating()
        || matches!(
            data_type,
            DataType::Decimal128(..) | DataType::Decimal256(..)
        )
}

/// Whether a column stores texts. Some writers do not say that they are.
fn is_text(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Binary | DataType::LargeBinary
    )
}

/// Whether a column stores integers of a fixed number of bytes.
fn is_binary(data_type: &DataType) -> bool {
    matches!(data_type, DataType::FixedSizeBinary(8 | 16))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{FixedSizeBinaryArray, Int64Array, StringArray};

    use super::*;

    #[test]
    fn decimals_become_the_nearest_double() {
        assert_eq!(decimal(3, -1), 0.3);
        assert_eq!(decimal(-112_345, -5), -1.123_45);
        assert_eq!(decimal(1 << 53, 0), 9_007_199_254_740_992.0);
        // 53 bits and 22 digits are the limits of the fast path.
        for (value, scale) in [
            ((1_i128 << 53) + 1, 3),
            (123_456_789_012_345_678_901_234_567_i128, 20),
            (7, 30),
            (-7, -3),
        ] {
            let text = Decimal128Type::format_decimal(value, 38, scale);
            assert_eq!(
                decimal(value, -i32::from(scale)),
                text.parse::<f64>().expect("a number")
            );
        }
    }

    #[test]
    fn texts_are_numbers_up_to_the_first_that_is_none() {
        for (text, value) in [
            ("1.5", 1.5),
            ("-0.1", -0.1),
            ("+7", 7.0),
            ("1e-9", 1e-9),
            (".5", 0.5),
            ("5.", 5.0),
        ] {
            assert_eq!(number_in(text.as_bytes()), Some(value), "{text}");
        }
        assert!(number_in(b"NaN").is_some_and(f64::is_nan));
        for text in [
            "", " 1", "1 ", "1,5", "inf", "infinity", "0x1", "1_0", "-", "e5", "\u{ff11}",
        ] {
            assert_eq!(number_in(text.as_bytes()), None, "{text}");
        }
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("1"), None, Some("x"), None]));
        let found = numbers(&texts, None);
        assert_eq!(found.fault.as_deref(), Some("x"));
        assert_eq!(found.values.len(), 2);
        assert!(found.values[1].is_nan());
    }

    #[test]
    fn integers_and_bytes_are_scaled_exactly() {
        let scale: Scale = "1e-9".parse().expect("a scale");
        let units = [100_333_333_333_i64, -1, 0];
        let exact: Vec<f64> = units
            .iter()
            .map(|units| format!("{units}e-9").parse().expect("a number"))
            .collect();
        let integers: ArrayRef = Arc::new(Int64Array::from(units.to_vec()));
        assert_eq!(*numbers(&integers, Some(scale)).values, exact[..]);
        let eight = units.iter().map(|units| units.to_le_bytes());
        let eight: ArrayRef =
            Arc::new(FixedSizeBinaryArray::try_from_iter(eight).expect("eight bytes each"));
        assert_eq!(*numbers(&eight, Some(scale)).values, exact[..]);
        let sixteen = units.iter().map(|units| i128::from(*units).to_le_bytes());
        let sixteen: ArrayRef =
            Arc::new(FixedSizeBinaryArray::try_from_iter(sixteen).expect("sixteen bytes each"));
        assert_eq!(*numbers(&sixteen, Some(scale)).values, exact[..]);
    }
}
