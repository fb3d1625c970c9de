//! Builds record batches of the stream schema from gathered columns, and recycles the memory of
//! written batches.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, DictionaryArray, Float64Array,
    RecordBatch, StringArray, TimestampNanosecondArray,
};
use arrow::buffer::{BooleanBuffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::{
    DataType, Float64Type, Int16Type, SchemaRef, TimeUnit, TimestampNanosecondType,
};

use crate::gather::{BufferPool, GatheredColumn, Plan};
use crate::output_types::OutputTypes;
use slices_core::alignment::gaps;
use slices_core::candle::{Column, ColumnGroup, StreamSchema};
use slices_core::error::Result;

/// The gathered columns of a column group.
#[derive(Default)]
pub struct GroupColumns {
    pub values: Vec<GatheredColumn>,
    pub timestamps: Option<Vec<i64>>,
}

/// Builds record batches.
pub struct Assembler {
    schema: SchemaRef,
    output: OutputTypes,
    layout: Arc<StreamSchema>,
    symbols: usize,
    /// The `symbol` column of a full batch; shorter batches use a part of it.
    symbol_column: DictionaryArray<Int16Type>,
    buffers: (BufferPool<f64>, BufferPool<i64>),
}

impl Assembler {
    /// Creates an assembler of batches with at most `capacity` slices. `schema` is that of the
    /// output.
    pub fn new(
        schema: SchemaRef,
        layout: Arc<StreamSchema>,
        symbols: &[String],
        capacity: usize,
        buffers: (BufferPool<f64>, BufferPool<i64>),
    ) -> Self {
        let keys = (0..capacity * symbols.len())
            .map(|row| {
                i16::try_from(row % symbols.len())
                    .expect("requests are limited to i16::MAX symbols")
            })
            .collect::<Vec<_>>();
        let names = Arc::new(StringArray::from_iter_values(symbols));
        let output = OutputTypes::new(schema, symbols, capacity * symbols.len());
        Self {
            schema: output.plain_schema(),
            output,
            layout,
            symbols: symbols.len(),
            symbol_column: DictionaryArray::new(keys.into(), names),
            buffers,
        }
    }

    /// Converts a batch to the types of the output.
    ///
    /// # Errors
    ///
    /// A timestamp does not fit into the type of the output.
    pub fn output(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        self.output.output(batch)
    }

    /// Builds the batch of some slices of a plan from the columns of its groups. Its timestamps are
    /// in nanoseconds, its symbols a dictionary.
    pub fn assemble(
        &self,
        plan: &Plan,
        slices: Range<usize>,
        groups: Vec<GroupColumns>,
    ) -> RecordBatch {
        debug_assert_eq!(groups.len(), self.layout.groups.len());
        let rows = slices.len() * self.symbols;
        let mut timestamps = self.buffers.1.take(rows, 0);
        for (block, part, cells) in plan.parts_with(slices.clone(), self.symbols, &mut timestamps) {
            block.fill_timestamps(part, self.symbols, cells);
        }
        let mut made: Vec<_> = self
            .layout
            .groups
            .iter()
            .zip(groups)
            .map(|(group, columns)| self.group(group, columns, plan, slices.clone()))
            .collect();
        let timestamp = TimestampNanosecondArray::from(timestamps).with_timezone("UTC");
        let mut arrays: Vec<ArrayRef> = vec![
            Arc::new(timestamp),
            Arc::new(self.symbol_column.slice(0, rows)),
        ];
        for &column in &self.layout.columns {
            let array = match column {
                Column::Value { group, .. } => made[group].values.next(),
                Column::Absent { .. } => Some(self.absent(rows)),
                Column::Valid { group } => made[group].valid.take(),
                Column::Timestamp { group } => made[group].timestamps.take(),
            };
            arrays.extend(array);
        }
        RecordBatch::try_new(self.schema.clone(), arrays)
            .expect("the columns are built to the schema, all of the same length")
    }

    /// Builds the arrays of a column group.
    fn group(
        &self,
        group: &ColumnGroup,
        columns: GroupColumns,
        plan: &Plan,
        slices: Range<usize>,
    ) -> GroupArrays {
        let GroupColumns { values, timestamps } = columns;
        let rows = slices.len() * self.symbols;
        let nulls = self.present(plan, slices, group);
        let valid = group
            .valid
            .is_some()
            .then(|| valid(&values, rows, nulls.as_ref()));
        let timestamps = timestamps.map(|timestamps| {
            let timestamps = TimestampNanosecondArray::new(timestamps.into(), nulls.clone());
            Arc::new(timestamps.with_timezone("UTC")) as ArrayRef
        });
        let values = values.into_iter().map(|column| {
            let values = ScalarBuffer::from(column.values);
            Arc::new(Float64Array::new(values, nulls.clone())) as ArrayRef
        });
        GroupArrays {
            values: values.collect::<Vec<_>>().into_iter(),
            valid: valid.map(|valid| Arc::new(BooleanArray::new(valid, None)) as ArrayRef),
            timestamps,
        }
    }

    /// A column without values. Readers rely on NaN under nulls.
    fn absent(&self, rows: usize) -> ArrayRef {
        let mut values = self.buffers.0.take(rows, f64::NAN);
        values.fill(f64::NAN);
        Arc::new(Float64Array::new(
            values.into(),
            Some(NullBuffer::new_null(rows)),
        ))
    }

    /// The empty batch that seals the stream.
    pub fn seal(&self) -> RecordBatch {
        let plan = Plan::new(1, 0, Vec::new());
        let groups = self.layout.groups.iter().map(|group| GroupColumns {
            values: group
                .values
                .iter()
                .map(|_| GatheredColumn::default())
                .collect(),
            timestamps: group.timestamp.as_ref().map(|_| Vec::new()),
        });
        self.assemble(&plan, 0..0, groups.collect())
    }

    /// Reuses the memory of a batch without other references.
    pub fn recycle(&self, batch: RecordBatch) {
        let (_, columns, _) = batch.into_parts();
        for column in columns {
            // A batch with other references keeps its memory.
            match column.data_type() {
                DataType::Float64 => {
                    let values = values_of::<Float64Type>(column);
                    if let Ok(values) = values.into_inner().into_vec() {
                        self.buffers.0.give(values);
                    }
                }
                DataType::Timestamp(TimeUnit::Nanosecond, _) => {
                    let values = values_of::<TimestampNanosecondType>(column);
                    if let Ok(values) = values.into_inner().into_vec() {
                        self.buffers.1.give(values);
                    }
                }
                _ => {}
            }
        }
    }

    /// The cells of a group that hold a candle; `None` if all do.
    fn present(
        &self,
        plan: &Plan,
        slices: Range<usize>,
        group: &ColumnGroup,
    ) -> Option<NullBuffer> {
        let flags = if group.higher.is_none() {
            let series: Vec<_> = (0..self.symbols)
                .map(|symbol| group.series(symbol))
                .collect();
            plan.present(&slices, &series)
        } else {
            self.shown(plan, slices, group)
        };
        flags.map(|flags| NullBuffer::new(packed(&flags)))
    }

    /// For each cell of a group of step columns 1 if a candle is shown there, else 0. `None` if
    /// every cell shows one.
    fn shown(&self, plan: &Plan, slices: Range<usize>, group: &ColumnGroup) -> Option<Vec<u8>> {
        let cells = slices.len() * self.symbols;
        let mut shown: Option<Vec<u8>> = None;
        let mut first_slice = 0;
        for (block, part) in plan.parts_of(slices) {
            let reach = block.reach(&part);
            for symbol in 0..self.symbols {
                let series = &block.series[group.series(symbol)];
                for gap in gaps(series.touched_by(&reach), reach.clone()) {
                    for slice in block.slices_at(&part, &gap) {
                        let line = first_slice + slice - part.start;
                        let shown = shown.get_or_insert_with(|| vec![1; cells]);
                        shown[line * self.symbols + symbol] = 0;
                    }
                }
            }
            first_slice += part.len();
        }
        shown
    }
}

/// Packs flags of 0 or 1 into bits.
fn packed(flags: &[u8]) -> BooleanBuffer {
    // Byte `i` of a number comes to bit `56 + i`, and no two bytes to the same bit.
    const GATHER: u64 = 0x0102_0408_1020_4080;
    let (eights, rest) = flags.as_chunks::<8>();
    let mut bytes = Vec::with_capacity(flags.len().div_ceil(8));
    let pack = |flags: &[u8; 8]| (u64::from_le_bytes(*flags).wrapping_mul(GATHER) >> 56) as u8;
    bytes.extend(eights.iter().map(pack));
    if !rest.is_empty() {
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        bytes.push(pack(&last));
    }
    BooleanBuffer::new(bytes.into(), 0, flags.len())
}

/// The arrays of a column group, to be taken one by one.
struct GroupArrays {
    values: std::vec::IntoIter<ArrayRef>,
    valid: Option<ArrayRef>,
    timestamps: Option<ArrayRef>,
}

/// The values of a column without other references, if it has none.
fn values_of<T: ArrowPrimitiveType>(column: ArrayRef) -> ScalarBuffer<T::Native> {
    let values = column.as_primitive::<T>().clone();
    drop(column);
    let (_, values, _) = values.into_parts();
    values
}

/// Whether all values of each cell are finite; never for a null cell.
fn valid(values: &[GatheredColumn], rows: usize, nulls: Option<&NullBuffer>) -> BooleanBuffer {
    if values.iter().all(|column| column.finite) {
        return nulls.map_or_else(
            || BooleanBuffer::new_set(rows),
            |nulls| nulls.inner().clone(),
        );
    }
    let columns: Vec<_> = values.iter().map(|column| &column.values[..rows]).collect();
    // A number times 0 is 0 only if it is finite. Absent cells are NaN.
    BooleanBuffer::collect_bool(rows, |row| {
        columns.iter().map(|column| column[row] * 0.0).sum::<f64>() == 0.0
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn packed_flags_are_those_flags(flags in prop::collection::vec(any::<bool>(), 0..200)) {
            let bytes: Vec<u8> = flags.iter().map(|&flag| u8::from(flag)).collect();
            prop_assert_eq!(packed(&bytes), BooleanBuffer::from(flags));
        }
    }
}
