//! Finds the columns of an input file, checks their types, and converts decoded values to float64.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Decimal256Type, DecimalType,
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, Schema,
    TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::ipc::convert::try_fb_to_schema;
use arrow::ipc::root_as_message;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use parquet::arrow::ARROW_SCHEMA_META_KEY;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::errors::ParquetError;

use slices_core::error::{Code, Error, Result};
use slices_core::hint::{Hint, HintPart, Setting};
use slices_core::units::NANOSECONDS_PER_DAY;

/// A column of the file that is read.
#[derive(Debug)]
pub(super) struct Column {
    pub name: String,
    pub leaf: usize,
}

/// Decodes timestamps in seconds. Parquet has no such unit, and some writers store the type only in
/// the embedded Arrow schema. Only then is that schema used.
pub(super) fn with_seconds(
    metadata: ArrowReaderMetadata,
    timestamp: &str,
) -> Result<ArrowReaderMetadata, ParquetError> {
    let type_in =
        |schema: &Schema| Some(schema.field_with_name(timestamp).ok()?.data_type().clone());
    if type_in(metadata.schema()) != Some(DataType::Int64) {
        return Ok(metadata);
    }
    let embedded =
        ArrowReaderMetadata::try_new(metadata.metadata().clone(), ArrowReaderOptions::new())?;
    match type_in(embedded.schema()) {
        Some(seconds @ DataType::Timestamp(TimeUnit::Second, _)) => {
            with_column_type(&metadata, timestamp, &seconds)
        }
        _ => Ok(metadata),
    }
}

/// The same metadata, with one column decoded as another type.
pub(super) fn with_column_type(
    metadata: &ArrowReaderMetadata,
    column: &str,
    data_type: &DataType,
) -> Result<ArrowReaderMetadata, ParquetError> {
    let schema: &Schema = metadata.schema();
    let fields: Vec<_> = schema
        .fields()
        .iter()
        .map(|field| {
            if field.name() == column {
                Arc::new(field.as_ref().clone().with_data_type(data_type.clone()))
            } else {
                field.clone()
            }
        })
        .collect();
    let options = ArrowReaderOptions::new().with_schema(Arc::new(Schema::new(fields)));
    ArrowReaderMetadata::try_new(metadata.metadata().clone(), options)
}

/// The contents of the files of a series; decides the hints of a missing column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileContents {
    /// Prices and volume.
    Candles,
    /// Indicators.
    Indicators,
    /// Trading hours.
    Sessions,
}

impl FileContents {
    /// The hint if the timestamp column is missing or wrong.
    pub fn other_timestamp(self) -> Vec<HintPart> {
        match self {
            Self::Candles | Self::Indicators => {
                let columns = Setting::Columns;
                vec![
                    "name the columns with ".into(),
                    columns.to("timestamp=…,open=…"),
                ]
            }
            Self::Sessions => vec!["name the columns of a session file open and close".into()],
        }
    }

    /// The hint if a value column is missing or wrong.
    pub fn other_value(self) -> Vec<HintPart> {
        match self {
            Self::Indicators => vec![
                "name existing columns with ".into(),
                Setting::Indicators.into(),
            ],
            Self::Candles | Self::Sessions => self.other_timestamp(),
        }
    }
}

pub(super) fn find_column(
    path: &Path,
    metadata: &ArrowReaderMetadata,
    name: &str,
    is_right: fn(&DataType) -> bool,
    expected: &str,
    other: Vec<HintPart>,
) -> Result<Column> {
    let mismatch = |message: String| {
        Error::input(Code::SchemaMismatch, message)
            .at_file(path)
            .at_column(name)
    };
    let schema: &Schema = metadata.schema();
    let mut fields = schema.fields().iter().filter(|field| field.name() == name);
    let Some(field) = fields.next() else {
        let names: Vec<_> = schema
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .collect();
        return Err(
            mismatch(format!("the column {name:?} is missing")).with_hint(Hint::new(
                [
                    vec![format!("the file has the columns {names:?}; ").into()],
                    other,
                ]
                .concat(),
            )),
        );
    };
    if fields.next().is_some() {
        return Err(mismatch(format!(
            "ambiguous column {name:?}: the file has several of this name"
        ))
        .with_hint("write the file with one column of this name"));
    }
    if !is_right(field.data_type()) {
        return Err(mismatch(format!(
            "the column {name:?} has the type {}, expected {expected}",
            field.data_type()
        ))
        .with_hint(Hint::new(
            [
                vec!["write the column with a matching type, or ".into()],
                other,
            ]
            .concat(),
        )));
    }
    let columns = metadata.parquet_schema().columns();
    let leaf = columns
        .iter()
        .position(|column| matches!(column.path().parts(), [only] if only == name))
        .ok_or_else(|| {
            mismatch(format!(
                "the column {name:?} is nested, expected {expected}"
            ))
        })?;
    Ok(Column {
        name: name.to_owned(),
        leaf,
    })
}

/// Converts a numeric column to float64, each value to the nearest double; null becomes NaN.
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
                parsed_decimal(&Decimal256Type::format_decimal(value, precision, scale))
            })
        }
        DataType::Decimal128(precision, scale) => {
            let (precision, scale) = (*precision, *scale);
            converted(column.as_primitive::<Decimal128Type>(), |value| {
                decimal128(value, precision, scale)
            })
        }
        other => unreachable!("opening the file rejects {other}"),
    }
}

/// Converts an integer column to 64 bits. Unsigned values above `i64::MAX` wrap to negative ones.
/// Values under nulls are arbitrary.
pub(super) fn integers(column: &ArrayRef) -> Vec<i64> {
    fn wide<T: ArrowPrimitiveType>(column: &ArrayRef) -> Vec<i64>
    where
        i64: From<T::Native>,
    {
        let values = column.as_primitive::<T>().values();
        values.iter().map(|&value| value.into()).collect()
    }
    match column.data_type() {
        DataType::Int8 => wide::<Int8Type>(column),
        DataType::Int16 => wide::<Int16Type>(column),
        DataType::Int32 => wide::<Int32Type>(column),
        DataType::Int64 => column.as_primitive::<Int64Type>().values().to_vec(),
        DataType::UInt8 => wide::<UInt8Type>(column),
        DataType::UInt16 => wide::<UInt16Type>(column),
        DataType::UInt32 => wide::<UInt32Type>(column),
        DataType::UInt64 => {
            let values = column.as_primitive::<UInt64Type>().values();
            values.iter().map(|&value| value.cast_signed()).collect()
        }
        other => unreachable!("{other} is not an integer type"),
    }
}

/// The stored numbers of a column of timestamps, dates or integers; `None` for texts. Values under
/// nulls are arbitrary.
pub(super) fn stored_numbers(column: &ArrayRef) -> Option<ScalarBuffer<i64>> {
    Some(match column.data_type() {
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            let column = column.as_primitive::<TimestampNanosecondType>();
            column.values().clone()
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            let column = column.as_primitive::<TimestampMicrosecondType>();
            column.values().clone()
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            let column = column.as_primitive::<TimestampMillisecondType>();
            column.values().clone()
        }
        DataType::Timestamp(TimeUnit::Second, _) => {
            let column = column.as_primitive::<TimestampSecondType>();
            column.values().clone()
        }
        DataType::Date32 => {
            let days = column.as_primitive::<Date32Type>().values();
            days.iter().copied().map(i64::from).collect()
        }
        integer if integer.is_integer() => integers(column).into(),
        _ => return None,
    })
}

/// The values of a text or binary column; `None` for a null.
pub(super) fn bytes(column: &ArrayRef) -> Vec<Option<&[u8]>> {
    fn utf8(text: Option<&str>) -> Option<&[u8]> {
        text.map(str::as_bytes)
    }
    match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().iter().map(utf8).collect(),
        DataType::LargeUtf8 => column.as_string::<i64>().iter().map(utf8).collect(),
        DataType::Binary => column.as_binary::<i32>().iter().collect(),
        DataType::LargeBinary => column.as_binary::<i64>().iter().collect(),
        DataType::FixedSizeBinary(_) => column.as_fixed_size_binary().iter().collect(),
        other => unreachable!("{other} is not a text type"),
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

/// The double nearest to `value / 10^scale`.
fn decimal128(value: i128, precision: u8, scale: i8) -> f64 {
    // Both operands are exact doubles here, and IEEE division rounds correctly.
    const EXACT_POWERS: [f64; 23] = [
        1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
        1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
    ];
    const EXACT_INTEGERS: i128 = 1 << f64::MANTISSA_DIGITS;
    let power = usize::try_from(scale)
        .ok()
        .and_then(|scale| EXACT_POWERS.get(scale));
    match power {
        Some(power) if (-EXACT_INTEGERS..=EXACT_INTEGERS).contains(&value) => value as f64 / power,
        _ => parsed_decimal(&Decimal128Type::format_decimal(value, precision, scale)),
    }
}

fn parsed_decimal(text: &str) -> f64 {
    text.parse().expect("a formatted decimal is a number")
}

pub(super) fn nanoseconds_per_unit(data_type: &DataType) -> Option<i64> {
    match data_type {
        DataType::Timestamp(TimeUnit::Nanosecond, _) => Some(1),
        DataType::Timestamp(TimeUnit::Microsecond, _) => Some(1_000),
        DataType::Timestamp(TimeUnit::Millisecond, _) => Some(1_000_000),
        DataType::Timestamp(TimeUnit::Second, _) => Some(1_000_000_000),
        DataType::Date32 => Some(NANOSECONDS_PER_DAY),
        _ => None,
    }
}

pub(super) fn is_timestamp(data_type: &DataType) -> bool {
    nanoseconds_per_unit(data_type).is_some()
}

/// Whether a column can store timestamps, perhaps with an option of the request.
pub(super) fn is_time(data_type: &DataType) -> bool {
    is_timestamp(data_type)
        || data_type.is_integer()
        || matches!(
            data_type,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Binary | DataType::LargeBinary
        )
}

/// The zone of a timestamp column in the embedded Arrow schema.
pub(super) fn own_zone(metadata: &ArrowReaderMetadata, column: &str) -> Option<String> {
    let entries = metadata.metadata().file_metadata().key_value_metadata()?;
    let entry = entries
        .iter()
        .find(|entry| entry.key == ARROW_SCHEMA_META_KEY)?;
    // Read the schema directly: the library takes a zone only together with the unit, and the unit
    // of the file often differs.
    let bytes = BASE64_STANDARD.decode(entry.value.as_ref()?).ok()?;
    let message = match bytes.strip_prefix(&[0xff; 4]) {
        Some(prefixed) => prefixed.get(4..)?,
        None => &bytes[..],
    };
    let message = root_as_message(message).ok()?;
    let embedded = try_fb_to_schema(message.header_as_schema()?).ok()?;
    match embedded.field_with_name(column).ok()?.data_type() {
        DataType::Timestamp(_, zone) => zone.as_ref().map(ToString::to_string),
        _ => None,
    }
}

pub(super) fn is_number(data_type: &DataType) -> bool {
    data_type.is_integer()
        || data_type.is_floating()
        || matches!(
            data_type,
            DataType::Decimal128(..) | DataType::Decimal256(..)
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_become_the_nearest_double() {
        // 0.1 + 0.2 as decimals; scale 22 and 53 bits are the limits of the fast path.
        assert_eq!(decimal128(3, 10, 1), 0.3);
        assert_eq!(decimal128(-112_345, 10, 5), -1.123_45);
        assert_eq!(decimal128(1 << 53, 20, 0), 9_007_199_254_740_992.0);
        for (value, scale) in [
            ((1_i128 << 53) + 1, 3),
            (123_456_789_012_345_678_901_234_567_i128, 20),
            (7, 30),
            (-7, -3),
        ] {
            let text = Decimal128Type::format_decimal(value, 38, scale);
            assert_eq!(
                decimal128(value, 38, scale),
                text.parse::<f64>().expect("a number")
            );
        }
    }
}
