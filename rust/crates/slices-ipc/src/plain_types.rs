//! Converts batches whose request chose other types for timestamps or symbols to the usual ones.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, DictionaryArray, RecordBatch, StringArray, TimestampNanosecondArray,
};
use arrow::datatypes::{
    DataType, Field, Int16Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType,
    TimestampNanosecondType,
};

use slices_core::candle::{symbol_type_of, timestamp_type_of};
use slices_core::request::{SymbolsOut, TimestampOut};

/// The first timestamp of a batch in any of the types that a request may choose, in nanoseconds.
pub(crate) fn first_timestamp_ns(batch: &RecordBatch) -> i64 {
    let timestamps = batch.column(0);
    match timestamps.data_type() {
        // Converted from nanoseconds, so that it fits.
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            timestamps
                .as_primitive::<TimestampMicrosecondType>()
                .value(0)
                * 1_000
        }
        _ => timestamps
            .as_primitive::<TimestampNanosecondType>()
            .value(0),
    }
}

/// The schema with the usual types.
pub(crate) fn plain_schema(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| {
        let plain = match field.data_type() {
            DataType::Utf8 => symbol_type_of(SymbolsOut::Dictionary),
            DataType::Timestamp(..) => timestamp_type_of(TimestampOut::Nanoseconds),
            other => other.clone(),
        };
        Field::clone(field).with_data_type(plain)
    });
    let fields: Vec<_> = fields.collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// The same rows, with timestamps in nanoseconds and symbols in a dictionary.
///
/// # Errors
///
/// What is wrong: a timestamp does not fit, or the symbols are not those of `symbols`, in turns.
pub(crate) fn with_plain_types(
    batch: RecordBatch,
    symbols: &[String],
) -> Result<RecordBatch, &'static str> {
    let is_plain = |column: &ArrayRef| {
        !matches!(
            column.data_type(),
            DataType::Utf8 | DataType::Timestamp(TimeUnit::Microsecond, _)
        )
    };
    if batch.columns().iter().all(is_plain) {
        return Ok(batch);
    }
    let (schema, columns, _) = batch.into_parts();
    let columns = columns.into_iter().map(|column| match column.data_type() {
        DataType::Utf8 => dictionary(column.as_string(), symbols),
        DataType::Timestamp(TimeUnit::Microsecond, _) => nanoseconds(&column),
        _ => Ok(column),
    });
    let columns = columns.collect::<Result<_, _>>()?;
    RecordBatch::try_new(plain_schema(&schema), columns)
        .map_err(|_| "its columns differ from its schema")
}

fn nanoseconds(column: &ArrayRef) -> Result<ArrayRef, &'static str> {
    let instants = column.as_primitive::<TimestampMicrosecondType>();
    let values = instants.iter().map(|instant| match instant {
        None => Ok(0),
        Some(us) => us
            .checked_mul(1_000)
            .ok_or("a timestamp does not fit 64-bit nanoseconds"),
    });
    let values = values.collect::<Result<_, _>>()?;
    let plain = TimestampNanosecondArray::new(values, instants.nulls().cloned());
    Ok(Arc::new(plain.with_data_type(timestamp_type_of(
        TimestampOut::Nanoseconds,
    ))))
}

fn dictionary(texts: &StringArray, symbols: &[String]) -> Result<ArrayRef, &'static str> {
    let mut rows = texts.iter().zip(symbols.iter().cycle());
    if !rows.all(|(text, symbol)| text == Some(symbol.as_str())) {
        return Err("its rows are not in the order of its symbols");
    }
    let keys = (0..symbols.len() as i16).cycle().take(texts.len());
    let names = Arc::new(StringArray::from_iter_values(symbols));
    let plain = DictionaryArray::<Int16Type>::new(keys.collect(), names);
    debug_assert_eq!(*plain.data_type(), symbol_type_of(SymbolsOut::Dictionary));
    Ok(Arc::new(plain))
}
