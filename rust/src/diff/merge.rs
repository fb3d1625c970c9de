//! Merges both sides by timestamp, in runs of slices that both have.
//!
//! Runs on one thread. A decoding thread per side gained nothing for uncompressed input: memory is
//! the limit.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use arrow::array::AsArray;
use arrow::datatypes::TimestampNanosecondType;
use serde_json::{Map, Value};

use super::compare::{Columns, Comparison, Found, Rows};
use super::{
    Diff, FirstDifference, ListDifference, LoneSlice, MetadataDifference, OneSided, Pair,
    SliceCounts, Tolerance, ValueDifference,
};
use slices_core::error::Result;
use slices_core::metadata::{PRODUCER_KEY, REQUEST_KEY, SCHEMA_VERSION_KEY};
use slices_ipc::{SliceContent, SliceReader, StoredSlices};

pub(super) fn compare(a: SliceReader, b: SliceReader, tolerance: Tolerance) -> Result<Diff> {
    let mut merge = Merge::new(a.content().clone(), b.content().clone(), tolerance);
    merge.run(a, b)?;
    Ok(merge.into_diff())
}

/// One side, and the position of the merge in it.
struct Side<I> {
    batches: I,
    /// Rows per slice.
    width: usize,
    current: Option<StoredSlices>,
    /// The next slice in the current batch.
    next: usize,
    /// Number of slices already merged.
    passed: u64,
}

impl<I: Iterator<Item = Result<StoredSlices>>> Side<I> {
    fn new(batches: I, content: &SliceContent) -> Self {
        Self {
            batches,
            width: content.symbols.len(),
            current: None,
            next: 0,
            passed: 0,
        }
    }

    /// The next slices; `None` at the end.
    fn ahead(&mut self) -> Result<Option<Ahead<'_>>> {
        if self
            .current
            .as_ref()
            .is_none_or(|slices| self.next == slices.len())
        {
            self.current = self.batches.next().transpose()?;
            self.next = 0;
        }
        Ok(self.current.as_ref().map(|slices| Ahead {
            slices,
            next: self.next,
            width: self.width,
        }))
    }

    fn pass(&mut self, slices: usize) {
        self.next += slices;
        self.passed += slices as u64;
    }
}

/// The rest of a batch; never empty.
#[derive(Clone, Copy)]
struct Ahead<'a> {
    slices: &'a StoredSlices,
    next: usize,
    width: usize,
}

impl<'a> Ahead<'a> {
    fn timestamps_ns(self) -> impl Iterator<Item = i64> + 'a {
        let timestamps = self.slices.record_batch().column(0);
        let timestamps = timestamps.as_primitive::<TimestampNanosecondType>();
        let rows = &timestamps.values()[self.next * self.width..];
        rows.iter().copied().step_by(self.width)
    }

    fn timestamp_ns(self) -> i64 {
        self.slices.timestamp_ns(self.next)
    }

    fn rows(self) -> Rows<'a> {
        Rows {
            batch: self.slices.record_batch(),
            first: self.next * self.width,
        }
    }
}

/// The state and results of the merge.
struct Merge {
    a: SliceContent,
    b: SliceContent,
    symbols: Option<ListDifference>,
    comparison: Comparison,
    slices: SliceCounts,
    only_in_a: OneSided,
    only_in_b: OneSided,
    first: Option<FirstDifference>,
}

impl Merge {
    fn new(a: SliceContent, b: SliceContent, tolerance: Tolerance) -> Self {
        let columns = Columns::of(&a.plain_schema(), &b.plain_schema());
        Self {
            symbols: ListDifference::of(&a.symbols, &b.symbols),
            comparison: Comparison::new(columns, &a, tolerance),
            a,
            b,
            slices: SliceCounts::default(),
            only_in_a: OneSided::default(),
            only_in_b: OneSided::default(),
            first: None,
        }
    }

    fn run(
        &mut self,
        a: impl Iterator<Item = Result<StoredSlices>>,
        b: impl Iterator<Item = Result<StoredSlices>>,
    ) -> Result<()> {
        let mut a = Side::new(a, &self.a);
        let mut b = Side::new(b, &self.b);
        loop {
            let passed = (a.passed, b.passed);
            let (in_a, in_b) = match (a.ahead()?, b.ahead()?) {
                (None, None) => break,
                (Some(a), None) => (self.lacks_b(a, passed.0), 0),
                (None, Some(b)) => (0, self.lacks_a(b, passed.1)),
                (Some(a), Some(b)) => match a.timestamp_ns().cmp(&b.timestamp_ns()) {
                    Ordering::Less => (self.lacks_b(a, passed.0), 0),
                    Ordering::Greater => (0, self.lacks_a(b, passed.1)),
                    Ordering::Equal => {
                        let slices = self.both(a, b, passed);
                        (slices, slices)
                    }
                },
            };
            a.pass(in_a);
            b.pass(in_b);
        }
        (self.slices.a, self.slices.b) = (a.passed, b.passed);
        Ok(())
    }

    /// Notes the next slice of A, which B lacks.
    fn lacks_b(&mut self, a: Ahead<'_>, slice: u64) -> usize {
        let timestamp_ns = a.timestamp_ns();
        self.only_in_a.add(timestamp_ns);
        self.first
            .get_or_insert(FirstDifference::OnlyInA(LoneSlice {
                timestamp_ns,
                slice,
            }));
        1
    }

    /// Notes the next slice of B, which A lacks.
    fn lacks_a(&mut self, b: Ahead<'_>, slice: u64) -> usize {
        let timestamp_ns = b.timestamp_ns();
        self.only_in_b.add(timestamp_ns);
        self.first
            .get_or_insert(FirstDifference::OnlyInB(LoneSlice {
                timestamp_ns,
                slice,
            }));
        1
    }

    /// Compares the next slices that both sides have; returns their number.
    fn both(&mut self, a: Ahead<'_>, b: Ahead<'_>, passed: (u64, u64)) -> usize {
        let pairs = a.timestamps_ns().zip(b.timestamps_ns());
        let slices = pairs.take_while(|(a, b)| a == b).count();
        self.slices.both += slices as u64;
        if self.symbols.is_none()
            && let Some(found) = self.comparison.compare(a.rows(), b.rows(), slices)
            && self.first.is_none()
        {
            let timestamp_ns = a.slices.timestamp_ns(a.next + found.slice);
            self.first = Some(self.value_difference(found, timestamp_ns, passed));
        }
        slices
    }

    fn value_difference(
        &self,
        found: Found,
        timestamp_ns: i64,
        passed: (u64, u64),
    ) -> FirstDifference {
        FirstDifference::Value(ValueDifference {
            timestamp_ns,
            slice: Pair {
                a: passed.0 + found.slice as u64,
                b: passed.1 + found.slice as u64,
            },
            symbol: self.a.symbols[found.symbol].clone(),
            column: found.column,
            a: found.a,
            b: found.b,
        })
    }

    fn into_diff(self) -> Diff {
        let totals = self.comparison.totals();
        let (a, b) = (&self.a.timeframe, &self.b.timeframe);
        Diff {
            timeframe: (a != b).then(|| Pair {
                a: a.clone(),
                b: b.clone(),
            }),
            columns: self.comparison.column_difference(),
            values_compared: self.symbols.is_none(),
            symbols: self.symbols,
            first_difference: self.first,
            slices: SliceCounts {
                differing: totals.slices,
                ..self.slices
            },
            only_in_a: self.only_in_a,
            only_in_b: self.only_in_b,
            differing_values: totals.values,
            by_column: totals.by_column,
            by_symbol: totals.by_symbol,
            metadata: metadata_differences(&self.a, &self.b),
        }
    }
}

/// The metadata entries of producer and request that differ.
fn metadata_differences(a: &SliceContent, b: &SliceContent) -> Vec<MetadataDifference> {
    let (entries_a, entries_b) = (metadata_entries(a), metadata_entries(b));
    let names: BTreeSet<_> = entries_a.keys().chain(entries_b.keys()).collect();
    let value =
        |entries: &Map<String, Value>, name: &str| entries.get(name).cloned().unwrap_or_default();
    names
        .into_iter()
        .map(|name| MetadataDifference {
            name: name.clone(),
            a: value(&entries_a, name),
            b: value(&entries_b, name),
        })
        .filter(|one| one.a != one.b)
        .collect()
}

fn metadata_entries(content: &SliceContent) -> Map<String, Value> {
    let mut entries: Map<_, _> = match &content.request {
        Value::Object(request) => request
            .iter()
            .map(|(key, value)| (format!("{REQUEST_KEY}.{key}"), value.clone()))
            .collect(),
        other => [(REQUEST_KEY.to_owned(), other.clone())]
            .into_iter()
            .collect(),
    };
    entries.insert(PRODUCER_KEY.to_owned(), content.producer.clone().into());
    let version = content.schema_version.clone().into();
    entries.insert(SCHEMA_VERSION_KEY.to_owned(), version);
    entries
}
