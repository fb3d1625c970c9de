//! Converts batches to the types of the output, for tools that know no nanoseconds or dictionaries.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit, TimestampNanosecondType};

use slices_core::candle::{symbol_type_of, timestamp_type_of};
use slices_core::error::{Code, Error, Result};
use slices_core::hint::{Setting, hint};
use slices_core::request::{SymbolsOut, TimestampOut, format_timestamp};

/// The schema and the columns of the output.
pub struct OutputTypes {
    schema: SchemaRef,
    /// The texts of the symbols of a full batch; `None` for a dictionary.
    symbol_texts: Option<StringArray>,
    in_microseconds: bool,
}

impl OutputTypes {
    /// Of a schema, for batches of at most `rows` rows.
    pub fn new(schema: SchemaRef, symbols: &[String], rows: usize) -> Self {
        let is_type =
            |column: usize, expected: DataType| *schema.field(column).data_type() == expected;
        let in_microseconds = is_type(0, timestamp_type_of(TimestampOut::Microseconds));
        let texts = is_type(1, symbol_type_of(SymbolsOut::Text));
        Self {
            symbol_texts: texts.then(|| {
                let texts = symbols.iter().cycle().take(rows);
                StringArray::from_iter_values(texts)
            }),
            in_microseconds,
            schema,
        }
    }

    /// The schema of the batches before the conversion.
    pub fn plain_schema(&self) -> SchemaRef {
        if !self.in_microseconds && self.symbol_texts.is_none() {
            return self.schema.clone();
        }
        let fields = self.schema.fields().iter().map(|field| {
            let plain = match field.data_type() {
                DataType::Timestamp(..) => timestamp_type_of(TimestampOut::Nanoseconds),
                DataType::Utf8 => symbol_type_of(SymbolsOut::Dictionary),
                other => other.clone(),
            };
            Field::clone(field).with_data_type(plain)
        });
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    /// Converts a batch.
    ///
    /// # Errors
    ///
    /// [`Code::SchemaMismatch`] if a timestamp is no whole microsecond.
    pub fn output(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        if !self.in_microseconds && self.symbol_texts.is_none() {
            return Ok(batch.clone());
        }
        let mut columns = batch.columns().to_vec();
        if let Some(texts) = &self.symbol_texts {
            columns[1] = Arc::new(texts.slice(0, batch.num_rows()));
        }
        if self.in_microseconds {
            for (column, field) in columns.iter_mut().zip(self.schema.fields()) {
                if let DataType::Timestamp(TimeUnit::Microsecond, _) = field.data_type() {
                    *column = microseconds(column, field.name())?;
                }
            }
        }
        let batch = RecordBatch::try_new(self.schema.clone(), columns);
        Ok(batch.expect("the columns have the types of the schema"))
    }
}

/// The same instants in microseconds.
fn microseconds(column: &ArrayRef, name: &str) -> Result<ArrayRef> {
    const NANOSECONDS: i64 = 1_000;
    let instants = column.as_primitive::<TimestampNanosecondType>();
    let uneven = (0..instants.len())
        .filter(|&row| instants.is_valid(row))
        .find(|&row| instants.value(row) % NANOSECONDS != 0);
    if let Some(row) = uneven {
        let at = format_timestamp(instants.value(row));
        let message = format!("the timestamp {at} is no whole microsecond");
        return Err(Error::input(Code::SchemaMismatch, message)
            .at_column(name)
            .with_hint(hint![
                "leave out ",
                Setting::TimestampOut,
                ", to write nanoseconds"
            ]));
    }
    let values = instants
        .values()
        .iter()
        .map(|ns| ns.div_euclid(NANOSECONDS));
    let converted = TimestampMicrosecondArray::new(values.collect(), instants.nulls().cloned());
    Ok(Arc::new(converted.with_timezone("UTC")))
}
