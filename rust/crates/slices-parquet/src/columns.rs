//! Finds the columns of an input file, checks their types, and gives decoded timestamps and texts
//! as numbers and bytes.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Int8Type, Int16Type, Int32Type, Int64Type, Schema,
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
use slices_core::hint::{Hint, HintPart, Setting, hint};
use slices_core::request::{ColumnChoice, Scale, Scales};
use slices_core::units::NANOSECONDS_PER_DAY;

/// A column of the file that is read.
#[derive(Debug)]
pub(super) struct Column {
    pub name: String,
    pub leaf: usize,
    /// The factor of its numbers; `None` for 1, and for timestamps.
    pub scale: Option<Scale>,
}

/// The column of a value, and the factors of its numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueColumn {
    /// Which column it is.
    pub choice: ColumnChoice,
    /// The factors of its numbers, by the type in which they are stored.
    pub scales: Scales,
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

/// The column that a request means in a file.
///
/// # Errors
///
/// [`Code::AmbiguousInput`] if several have one of its usual names.
pub(super) fn chosen_name<'a>(
    path: &Path,
    schema: &'a Schema,
    choice: &'a ColumnChoice,
    is_right: fn(&DataType) -> bool,
    other: Vec<HintPart>,
) -> Result<&'a str> {
    let has = |name: &str| schema.fields().iter().any(|field| field.name() == name);
    let usual = match choice {
        ColumnChoice::Named(names) => {
            let found = names.iter().find(|name| has(name));
            return Ok(found.map_or_else(|| choice.first(), String::as_str));
        }
        ColumnChoice::Usual(usual) if !has(usual.name) => usual,
        ColumnChoice::Usual(_) | ColumnChoice::Absent => return Ok(choice.first()),
    };
    let of_name = |name: &str| {
        let mut others = usual.others.iter();
        others.any(|other| other.eq_ignore_ascii_case(name))
    };
    let fields = schema.fields().iter();
    let named: Vec<_> = fields.filter(|field| of_name(field.name())).collect();
    let mut fitting = named.iter().filter(|field| is_right(field.data_type()));
    match (fitting.next(), fitting.next()) {
        (Some(one), Some(other_one)) if one.name() != other_one.name() => {
            let (one, another) = (one.name(), other_one.name());
            let message = format!(
                "ambiguous columns: the file has no column {:?}, and {one:?} and {another:?} may \
                 both stand for it",
                usual.name
            );
            Err(Error::input(Code::AmbiguousInput, message)
                .at_file(path)
                .at_column(one)
                .with_hint(Hint::new(other)))
        }
        (Some(one), _) => Ok(one.name()),
        (None, _) => Ok(named.first().map_or(usual.name, |field| field.name())),
    }
}

/// The kinds of columns that a field may have.
#[derive(Clone, Copy)]
pub(super) struct Expected {
    pub is_right: fn(&DataType) -> bool,
    /// In words.
    pub what: &'static str,
}

/// Finds a column, and checks its type.
///
/// # Errors
///
/// [`Code::SchemaMismatch`] if it is missing, of another type or nested.
pub(super) fn find_column(
    path: &Path,
    metadata: &ArrowReaderMetadata,
    column: &ValueColumn,
    Expected {
        is_right,
        what: expected,
    }: Expected,
    other: Vec<HintPart>,
) -> Result<Column> {
    let schema: &Schema = metadata.schema();
    let name = chosen_name(path, schema, &column.choice, is_right, other.clone())?;
    let mismatch = |message: String| {
        Error::input(Code::SchemaMismatch, message)
            .at_file(path)
            .at_column(name)
    };
    let mut fields = schema.fields().iter().filter(|field| field.name() == name);
    let Some(field) = fields.next() else {
        let names: Vec<_> = schema
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .collect();
        return Err(mismatch(missing(&column.choice)).with_hint(Hint::new(
            [
                vec![format!("the file has the columns {names:?}; ").into()],
                other,
            ]
            .concat(),
        )));
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
    let scale = match field.data_type() {
        integer if integer.is_integer() => column.scales.integers,
        DataType::FixedSizeBinary(width) => {
            let scale = match width {
                8 => column.scales.bytes_8,
                _ => column.scales.bytes_16,
            };
            let unknown = || {
                mismatch(format!(
                    "the column {name:?} holds binary numbers of {width} bytes, whose scale is unknown"
                ))
                .with_hint(hint![
                    "give the scale of prices with ",
                    Setting::PriceScale.to("1e-9"),
                    ", and that of the volume with ",
                    Setting::VolumeScale
                ])
            };
            Some(scale.ok_or_else(unknown)?)
        }
        _ => None,
    };
    Ok(Column {
        name: name.to_owned(),
        leaf,
        scale,
    })
}

/// What to say of a column that no file column matches.
fn missing(choice: &ColumnChoice) -> String {
    match choice {
        ColumnChoice::Named(names) if names.len() > 1 => {
            format!("all of the columns {names:?} are missing")
        }
        _ => format!("the column {:?} is missing", choice.first()),
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
