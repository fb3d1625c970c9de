//! Owns the Arrow side of a batch: gathered columns, timestamps and validity become a record batch
//! of the stream's schema, and the memory of one that was written becomes the next one's.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, DictionaryArray, Float64Array, RecordBatch,
    StringArray, TimestampNanosecondArray,
};
use arrow::buffer::{BooleanBuffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Float64Type, Int16Type, SchemaRef};

use crate::data::candle::VALUES_PER_CANDLE;
use crate::data::gather::{GatheredColumn, Plan, SpareColumns};
use crate::data::sync::gaps;

/// Makes record batches.
pub(crate) struct Assembler {
    schema: SchemaRef,
    symbols: usize,
    price_types: usize,
    /// The `symbol` column of a full batch; shorter batches take a part of it.
    symbol_column: DictionaryArray<Int16Type>,
    spare: SpareColumns,
}

impl Assembler {
    /// `capacity` is how many slices a batch holds at most.
    pub fn new(
        schema: SchemaRef,
        symbols: &[String],
        price_types: usize,
        capacity: usize,
        spare: SpareColumns,
    ) -> Self {
        let keys = (0..capacity * symbols.len())
            .map(|row| {
                i16::try_from(row % symbols.len())
                    .expect("requests are limited to i16::MAX symbols")
            })
            .collect::<Vec<_>>();
        let names = Arc::new(StringArray::from_iter_values(symbols));
        Self {
            schema,
            symbols: symbols.len(),
            price_types,
            symbol_column: DictionaryArray::new(keys.into(), names),
            spare,
        }
    }

    /// The batch of some slices of a plan; `columns` are, for each price type in turn, its five
    /// value columns.
    pub fn assemble(
        &self,
        plan: &Plan,
        slices: Range<usize>,
        columns: Vec<GatheredColumn>,
    ) -> RecordBatch {
        debug_assert_eq!(columns.len(), self.price_types * VALUES_PER_CANDLE);
        let rows = slices.len() * self.symbols;
        let mut timestamps = Vec::with_capacity(rows);
        for (block, part) in plan.parts_of(slices.clone()) {
            for &timestamp_ns in &block.timeline[part] {
                timestamps.extend(std::iter::repeat_n(timestamp_ns, self.symbols));
            }
        }
        let mut arrays: Vec<ArrayRef> = vec![
            Arc::new(TimestampNanosecondArray::from(timestamps).with_timezone("UTC")),
            Arc::new(self.symbol_column.slice(0, rows)),
        ];
        let mut validity: Vec<ArrayRef> = Vec::with_capacity(self.price_types);
        let mut columns = columns.into_iter();
        for price_type in 0..self.price_types {
            let side: Vec<_> = columns.by_ref().take(VALUES_PER_CANDLE).collect();
            validity.push(Arc::new(BooleanArray::new(valid(&side, rows), None)));
            // Where all values are finite, no candle is absent.
            let nulls = if side.iter().any(|column| column.all_finite) {
                None
            } else {
                self.present(plan, slices.clone(), price_type)
            };
            for column in side {
                let values = ScalarBuffer::from(column.values);
                arrays.push(Arc::new(Float64Array::new(values, nulls.clone())));
            }
        }
        arrays.extend(validity);
        RecordBatch::try_new(self.schema.clone(), arrays)
            .expect("the columns are built to the schema, all of the same length")
    }

    /// The batch without slices.
    pub fn seal(&self) -> RecordBatch {
        let plan = Plan {
            batch_slices: 1,
            slices: 0,
            parts: Vec::new(),
        };
        let columns = (0..self.price_types * VALUES_PER_CANDLE).map(|_| GatheredColumn::default());
        self.assemble(&plan, 0..0, columns.collect())
    }

    /// Takes back the memory of a batch that nobody else holds any more.
    pub fn recycle(&self, batch: RecordBatch) {
        let (_, columns, _) = batch.into_parts();
        for column in columns {
            if *column.data_type() == DataType::Float64 {
                let values = column.as_primitive::<Float64Type>().clone();
                drop(column);
                let (_, values, _) = values.into_parts();
                // A batch that is still referenced somewhere keeps its memory.
                if let Ok(values) = values.into_inner().into_vec() {
                    self.spare.give(values);
                }
            }
        }
    }

    /// Which cells hold a candle of a price type; `None` where all do.
    fn present(&self, plan: &Plan, slices: Range<usize>, price_type: usize) -> Option<NullBuffer> {
        let cells = slices.len() * self.symbols;
        let mut present: Option<Vec<bool>> = None;
        let mut first_cell = 0;
        for (block, part) in plan.parts_of(slices) {
            let reach = block.reach(&part);
            let positions = &block.positions[part.clone()];
            let series = block.series.iter().skip(price_type);
            for (symbol, one) in series.step_by(self.price_types).enumerate() {
                for gap in gaps(one.touched_by(&reach), reach.clone()) {
                    let slice_at =
                        |end: usize| positions.partition_point(|&at| (at as usize) < end);
                    for slice in slice_at(gap.start)..slice_at(gap.end) {
                        let present = present.get_or_insert_with(|| vec![true; cells]);
                        present[first_cell + slice * self.symbols + symbol] = false;
                    }
                }
            }
            first_cell += part.len() * self.symbols;
        }
        present.map(NullBuffer::from)
    }
}

/// Whether all five values of each cell are finite.
fn valid(side: &[GatheredColumn], rows: usize) -> BooleanBuffer {
    if side.iter().all(|column| column.all_finite) {
        return BooleanBuffer::new_set(rows);
    }
    let columns: Vec<_> = side.iter().map(|column| &column.values[..rows]).collect();
    // A number times 0 is 0 only where it is finite; an absent cell is NaN, so it is not.
    BooleanBuffer::collect_bool(rows, |row| {
        columns.iter().map(|column| column[row] * 0.0).sum::<f64>() == 0.0
    })
}
