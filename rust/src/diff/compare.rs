//! Compares the values of matching rows, column by column, and counts the differences.
//!
//! Nearly all values are equal, so blocks of memory are compared first. Single values are compared
//! only in blocks whose bytes differ.

use std::sync::Arc;

use arrow::array::{Array, AsArray, PrimitiveArray, RecordBatch};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Float64Type, SchemaRef, TimestampNanosecondType,
};

use super::{Cell, Differing, ListDifference, Tolerance};
use slices_ipc::SliceContent;

/// Rows whose memory is compared at a time.
const BLOCK_ROWS: usize = 512;

/// A column of both sides, by its index on each.
#[derive(Debug, Clone, Copy)]
struct Common {
    a: usize,
    b: usize,
}

/// The common columns, and how the column lists differ.
pub(super) struct Columns {
    common: Vec<Common>,
    names: Vec<String>,
    pub difference: Option<ListDifference>,
}

impl Columns {
    /// Matches columns by name and type.
    pub fn of(a: &SchemaRef, b: &SchemaRef) -> Self {
        let (names_a, names_b) = (labels(a, b), labels(b, a));
        let difference = ListDifference::of(&names_a, &names_b);
        let common: Vec<_> = (0..names_a.len())
            .filter_map(|place| {
                let same_place = difference.is_none().then_some(place);
                let elsewhere = || names_b.iter().position(|name| *name == names_a[place]);
                let b = same_place.or_else(elsewhere)?;
                Some(Common { a: place, b })
            })
            // Timestamp and symbol match the slices; they are not compared.
            .filter(|column| column.a > 1 && column.b > 1)
            .collect();
        Self {
            names: common.iter().map(|one| names_a[one.a].clone()).collect(),
            common,
            difference,
        }
    }
}

/// Column names, with the type if the other schema has another type under that name.
fn labels(schema: &SchemaRef, other: &SchemaRef) -> Vec<String> {
    let label = |name: &str, data_type: &DataType| match other.field_with_name(name) {
        Ok(field) if field.data_type() != data_type => format!("{name} ({data_type})"),
        _ => name.to_owned(),
    };
    let fields = schema.fields().iter();
    fields
        .map(|field| label(field.name(), field.data_type()))
        .collect()
}

/// Whole slices of one side, as rows.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub batch: &'a RecordBatch,
    pub first: usize,
}

/// The first difference within compared rows.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found {
    /// The slice, counted from the first row.
    pub slice: usize,
    pub symbol: usize,
    pub column: String,
    pub a: Cell,
    pub b: Cell,
}

/// Compares the slices that both sides have, and counts differences.
pub(super) struct Comparison {
    columns: Columns,
    symbols: Arc<[String]>,
    tolerance: Tolerance,
    by_column: Vec<Count>,
    by_symbol: Vec<Count>,
    differing_slices: u64,
    /// Which of the current slices differ; kept to reuse its memory.
    differs: Vec<bool>,
}

impl Comparison {
    pub fn new(columns: Columns, content: &SliceContent, tolerance: Tolerance) -> Self {
        Self {
            by_column: vec![Count::default(); columns.common.len()],
            by_symbol: vec![Count::default(); content.symbols.len()],
            symbols: content.symbols.clone(),
            columns,
            tolerance,
            differing_slices: 0,
            differs: Vec::new(),
        }
    }

    /// Compares `slices` slices from the given rows on. Returns the first difference, in the order
    /// of slices, symbols and columns.
    pub fn compare(&mut self, a: Rows<'_>, b: Rows<'_>, slices: usize) -> Option<Found> {
        let width = self.symbols.len();
        self.differs.clear();
        self.differs.resize(slices, false);
        // Row, then column: tuples compare in the order of the first difference.
        let mut first: Option<(usize, usize)> = None;
        for (number, column) in self.columns.common.iter().enumerate() {
            let side = |rows: Rows<'_>, place: usize| {
                rows.batch.column(place).slice(rows.first, slices * width)
            };
            let (a, b) = (side(a, column.a), side(b, column.b));
            for_each_difference(&a, &b, self.tolerance, |row, difference| {
                self.differs[row / width] = true;
                self.by_column[number].add(difference);
                self.by_symbol[row % width].add(difference);
                if first.is_none_or(|first| (row, number) < first) {
                    first = Some((row, number));
                }
            });
        }
        self.differing_slices += self.differs.iter().filter(|&&differs| differs).count() as u64;
        first.map(|(row, number)| {
            let column = self.columns.common[number];
            Found {
                slice: row / width,
                symbol: row % width,
                column: self.columns.names[number].clone(),
                a: cell(a.batch.column(column.a), a.first + row),
                b: cell(b.batch.column(column.b), b.first + row),
            }
        })
    }

    /// The differing slices, columns and symbols so far.
    pub fn totals(&self) -> Totals {
        Totals {
            slices: self.differing_slices,
            values: self.by_column.iter().map(|count| count.values).sum(),
            by_column: differing(&self.columns.names, &self.by_column),
            by_symbol: differing(&self.symbols, &self.by_symbol),
        }
    }

    /// How the column lists differ.
    pub fn column_difference(&self) -> Option<ListDifference> {
        self.columns.difference.clone()
    }
}

/// All differences.
pub(super) struct Totals {
    pub slices: u64,
    pub values: u64,
    pub by_column: Vec<Differing>,
    pub by_symbol: Vec<Differing>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Count {
    values: u64,
    largest: Option<f64>,
}

impl Count {
    fn add(&mut self, difference: Option<f64>) {
        self.values += 1;
        // `None` is less than any number, and no number here is NaN.
        if difference > self.largest {
            self.largest = difference;
        }
    }
}

fn differing(names: &[String], counts: &[Count]) -> Vec<Differing> {
    let both = names.iter().zip(counts);
    both.filter(|(_, count)| count.values > 0)
        .map(|(name, count)| Differing {
            name: name.clone(),
            values: count.values,
            largest_difference: count.largest,
        })
        .collect()
}

/// Calls `found` for each row in which two columns of one type and length differ. Passes the
/// difference of two finite numbers too.
fn for_each_difference(
    a: &dyn Array,
    b: &dyn Array,
    tolerance: Tolerance,
    mut found: impl FnMut(usize, Option<f64>),
) {
    match a.data_type() {
        DataType::Float64 => {
            let (a, b) = (a.as_primitive::<Float64Type>(), b.as_primitive());
            for_each_differing_row(
                a,
                b,
                |a, b| tolerance.allows(a, b),
                |row| {
                    let difference = (a.value(row) - b.value(row)).abs();
                    let are_finite = a.value(row).is_finite() && b.value(row).is_finite();
                    let are_numbers = are_finite && a.is_valid(row) && b.is_valid(row);
                    found(row, are_numbers.then_some(difference));
                },
            );
        }
        DataType::Boolean => {
            let (a, b) = (a.as_boolean(), b.as_boolean());
            if a != b {
                let rows = 0..a.len();
                rows.filter(|&row| cell(a, row) != cell(b, row))
                    .for_each(|row| found(row, None));
            }
        }
        _ => {
            let (a, b) = (
                a.as_primitive::<TimestampNanosecondType>(),
                b.as_primitive(),
            );
            for_each_differing_row(a, b, |a, b| a == b, |row| found(row, None));
        }
    }
}

fn for_each_differing_row<T: ArrowPrimitiveType>(
    a: &PrimitiveArray<T>,
    b: &PrimitiveArray<T>,
    equal: impl Fn(T::Native, T::Native) -> bool,
    mut found: impl FnMut(usize),
) {
    let rows = a.len();
    let (a_values, b_values) = (a.values(), b.values());
    let (a_bytes, b_bytes) = (a_values.inner().as_slice(), b_values.inner().as_slice());
    let have_nulls = a.null_count() > 0 || b.null_count() > 0;
    let same_nulls = !have_nulls || a.nulls() == b.nulls();
    for first in (0..rows).step_by(BLOCK_ROWS) {
        let block = first..rows.min(first + BLOCK_ROWS);
        let bytes = first * size_of::<T::Native>()..block.end * size_of::<T::Native>();
        if same_nulls && a_bytes[bytes.clone()] == b_bytes[bytes] {
            continue;
        }
        for row in block {
            let same = match have_nulls.then(|| (a.is_valid(row), b.is_valid(row))) {
                None | Some((true, true)) => equal(a_values[row], b_values[row]),
                Some((a_is_there, b_is_there)) => a_is_there == b_is_there,
            };
            if !same {
                found(row);
            }
        }
    }
}

/// The value in a row of a column.
fn cell(column: &dyn Array, row: usize) -> Cell {
    if column.is_null(row) {
        return Cell::Absent;
    }
    match column.data_type() {
        DataType::Float64 => Cell::Number(column.as_primitive::<Float64Type>().value(row)),
        DataType::Boolean => Cell::Flag(column.as_boolean().value(row)),
        _ => Cell::Timestamp(column.as_primitive::<TimestampNanosecondType>().value(row)),
    }
}
