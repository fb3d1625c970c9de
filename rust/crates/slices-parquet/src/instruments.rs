//! Checks that the files of a series contain one instrument, by columns with the usual names of
//! instrument columns.

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, Schema};
use parquet::data_type::ByteArray;
use parquet::file::statistics::Statistics;

use super::ParquetFile;
use super::arrays::ArrayBatches;
use super::columns::{Column, bytes, integers};
use super::numbers::float64;
use slices_core::error::{Code, Error, Result};
use slices_core::hint::{Setting, hint};

/// Names of columns that identify the instrument of a row, in any case.
const NAMES: [&str; 7] = [
    "symbol",
    "ticker",
    "instrument",
    "instrument_id",
    "code",
    "pair",
    "asset",
];

/// Rows to decode at a time.
const BATCH_ROWS: usize = 8_192;

/// The instrument of a series in the files checked so far: for each column name in lower case, its
/// value as text.
#[derive(Debug, Default)]
pub struct Instruments(Vec<(String, String)>);

impl Instruments {
    /// Checks a file of the series.
    ///
    /// # Errors
    ///
    /// [`Code::AmbiguousInput`] at the first value that differs from the earlier ones.
    pub fn look_at(&mut self, file: &ParquetFile) -> Result<()> {
        for column in file.instrument_columns() {
            self.look_at_column(file, &column)?;
        }
        Ok(())
    }

    fn look_at_column(&mut self, file: &ParquetFile, column: &Column) -> Result<()> {
        let groups: Vec<_> = file.row_group_rows().collect();
        let mut row = 0;
        for (group, &rows) in groups.iter().enumerate() {
            let known = match file.only_value(group, column.leaf) {
                OnlyValue::None => true,
                OnlyValue::Is(value) => self.is_known(&column.name, &value),
                OnlyValue::Unknown => false,
            };
            if !known {
                self.look_at_rows(file, column, group, row)?;
            }
            row += rows as u64;
        }
        Ok(())
    }

    /// Whether a value equals that of its column; the first value is stored.
    fn is_known(&mut self, column: &str, value: &str) -> bool {
        let column = column.to_ascii_lowercase();
        match self.0.iter().find(|(name, _)| *name == column) {
            Some((_, known)) => known == value,
            None => {
                self.0.push((column, value.to_owned()));
                true
            }
        }
    }

    fn look_at_rows(
        &mut self,
        file: &ParquetFile,
        column: &Column,
        group: usize,
        first_row: u64,
    ) -> Result<()> {
        let ranges = &file.all_rows()[group..=group];
        let opened = file.opened()?;
        let metadata = file.metadata.clone();
        let mut batches =
            ArrayBatches::new(opened.clone(), metadata, &[column.leaf], ranges, BATCH_ROWS);
        let mut row = first_row;
        let failed = |error: Error| error.at_column(&column.name);
        while let Some(batch) = opened.guarded(|| batches.next()).map_err(failed)? {
            for (at, text) in texts(batch.column(0)).iter().enumerate() {
                let Some(text) = text else { continue };
                if !self.is_known(&column.name, text) {
                    let error = self.several(column, text);
                    return Err(error.at_file(file.path()).at_row(row + at as u64));
                }
            }
            row += batch.num_rows() as u64;
        }
        Ok(())
    }

    fn several(&self, column: &Column, other: &str) -> Error {
        let name = column.name.to_ascii_lowercase();
        let known = self.0.iter().find(|(known, _)| *known == name);
        let known = known.map_or("", |(_, value)| value);
        let message = format!("the series contains several instruments: {known:?} and {other:?}");
        Error::input(Code::AmbiguousInput, message)
            .at_column(&column.name)
            .with_hint(hint![
                "write one file per symbol, or add ",
                Setting::OneInstrument,
                " if the column does not identify the instrument",
            ])
    }
}

/// The values of a column as text; `None` for null and NaN.
fn texts(column: &ArrayRef) -> Vec<Option<String>> {
    if column.data_type().is_integer() {
        let unsigned = column.data_type() == &DataType::UInt64;
        let text = |value: i64| match unsigned {
            true => value.cast_unsigned().to_string(),
            false => value.to_string(),
        };
        let values = integers(column).into_iter().enumerate();
        let known = values.map(|(at, value)| column.is_valid(at).then(|| text(value)));
        return known.collect();
    }
    if is_decimal(column.data_type()) {
        let values = float64(column);
        let known = values.iter().enumerate();
        let known = known.map(|(at, value)| column.is_valid(at).then(|| value.to_string()));
        return known.collect();
    }
    if column.data_type().is_floating() {
        // Integers that became floats because of nulls print as integers.
        let values = float64(column);
        let known = values
            .iter()
            .map(|value| (!value.is_nan()).then(|| value.to_string()));
        return known.collect();
    }
    let known = bytes(column).into_iter().map(|value| {
        value.map(|bytes| match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        })
    });
    known.collect()
}

/// What the statistics of a column chunk say about its values.
enum OnlyValue {
    /// Only nulls.
    None,
    Is(String),
    Unknown,
}

impl ParquetFile {
    /// The columns that identify an instrument and are not read for another purpose.
    fn instrument_columns(&self) -> Vec<Column> {
        let schema: &Schema = self.metadata.schema();
        let is_read = |name: &str| self.column_names().any(|read| read == name);
        let fields = schema.fields().iter().filter(|field| {
            NAMES.contains(&field.name().to_ascii_lowercase().as_str())
                && !is_read(field.name())
                && holds_names(field.data_type())
        });
        let columns = self.metadata.parquet_schema().columns();
        let found = fields.filter_map(|field| {
            let leaf = columns.iter().position(
                |column| matches!(column.path().parts(), [only] if only == field.name()),
            )?;
            Some(Column {
                name: field.name().clone(),
                leaf,
                scale: None,
            })
        });
        found.collect()
    }

    fn only_value(&self, row_group: usize, leaf: usize) -> OnlyValue {
        let group = self.metadata.metadata().row_group(row_group);
        let Some(statistics) = group.column(leaf).statistics() else {
            return OnlyValue::Unknown;
        };
        let rows = u64::try_from(group.num_rows()).ok();
        if statistics.null_count_opt().is_some() && statistics.null_count_opt() == rows {
            return OnlyValue::None;
        }
        let text = |min: Option<&[u8]>, max: Option<&[u8]>| {
            let only = min.filter(|_| min == max)?;
            Some(std::str::from_utf8(only).ok()?.to_owned())
        };
        let only = match statistics {
            // Bounds of longer texts may be truncated.
            Statistics::ByteArray(bounds) if bounds.min_is_exact() && bounds.max_is_exact() => {
                text(
                    bounds.min_opt().map(ByteArray::data),
                    bounds.max_opt().map(ByteArray::data),
                )
            }
            Statistics::Int32(bounds) => bounds
                .min_opt()
                .filter(|min| Some(*min) == bounds.max_opt() && **min >= 0)
                .map(ToString::to_string),
            Statistics::Int64(bounds) => bounds
                .min_opt()
                .filter(|min| Some(*min) == bounds.max_opt() && **min >= 0)
                .map(ToString::to_string),
            _ => None,
        };
        only.map_or(OnlyValue::Unknown, OnlyValue::Is)
    }
}

fn is_decimal(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Decimal128(..) | DataType::Decimal256(..)
    )
}

/// Whether a column type can store names or ids of instruments.
fn holds_names(data_type: &DataType) -> bool {
    data_type.is_integer()
        || data_type.is_floating()
        || is_decimal(data_type)
        || matches!(
            data_type,
            DataType::Utf8
                | DataType::LargeUtf8
                | DataType::Binary
                | DataType::LargeBinary
                | DataType::FixedSizeBinary(_)
        )
}
