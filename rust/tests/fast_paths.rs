//! Every fast path against every general one: the same candles, written in many ways, give the
//! same slices, which are those of a naive oracle.
//!
//! The ways differ in what decides the path: whether pages tell their bounds, how long pages and
//! row groups are, whether rows are in order, whether values are doubles, and whether the columns
//! can hold nulls. Series are longer than the tiles and plans that the library works in.

mod common;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, TimestampNanosecondArray};
use common::MINUTE;
use omega_slices::{PriceType, ReadOptions, Request, SliceBatches, Timeline};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use proptest::prelude::*;
use proptest::test_runner::Config;

/// The minutes of one series; the values follow from series and minute.
type Minutes = Vec<i64>;

/// How the candles of a series are written down.
#[derive(Debug, Clone)]
struct Writing {
    page_rows: usize,
    row_group_rows: usize,
    page_bounds: bool,
    /// Rows are turned around within stretches of so many; 0 leaves them in order.
    turned: usize,
    integers: bool,
    nullable: bool,
}

impl Writing {
    fn plain() -> Self {
        Self {
            page_rows: 100_000,
            row_group_rows: 100_000,
            page_bounds: false,
            turned: 0,
            integers: false,
            nullable: true,
        }
    }
}

fn value(series: usize, minute: i64, field: usize) -> i64 {
    series as i64 * 1_000_000 + minute * 10 + field as i64
}

fn write(path: &Path, series: usize, minutes: &[i64], writing: &Writing) {
    let mut minutes = minutes.to_vec();
    if writing.turned > 0 {
        minutes.chunks_mut(writing.turned).for_each(<[_]>::reverse);
    }
    let stamps = minutes.iter().map(|minute| minute * MINUTE);
    let mut columns: Vec<(&str, ArrayRef, bool)> = vec![(
        "UTC time",
        Arc::new(TimestampNanosecondArray::from_iter_values(stamps).with_timezone("UTC")),
        writing.nullable,
    )];
    for (field, name) in ["Open", "High", "Low", "Close", "Volume"]
        .into_iter()
        .enumerate()
    {
        let values = minutes.iter().map(|&minute| value(series, minute, field));
        let column: ArrayRef = if writing.integers {
            Arc::new(Int64Array::from_iter_values(values))
        } else {
            Arc::new(Float64Array::from_iter_values(
                values.map(|value| value as f64),
            ))
        };
        columns.push((name, column, writing.nullable));
    }
    let batch = RecordBatch::try_from_iter_with_nullable(columns).expect("columns of one length");
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(writing.row_group_rows))
        .set_data_page_row_count_limit(writing.page_rows)
        .set_write_batch_size(writing.page_rows.min(1_024))
        .set_write_page_header_statistics(writing.page_bounds)
        .build();
    fs::create_dir_all(path.parent().expect("a file in a folder")).expect("a folder");
    let file = File::create(path).expect("a file");
    let mut writer =
        ArrowWriter::try_new(file, batch.schema(), Some(properties)).expect("a Parquet writer");
    writer.write(&batch).expect("rows are written");
    writer.close().expect("a footer is written");
}

/// All slices of a request: timestamps, and for each symbol its close and whether it is valid.
fn slices(
    root: &Path,
    symbols: usize,
    timeline: Timeline,
    window: Option<(i64, i64)>,
    options: &ReadOptions,
) -> Vec<(i64, Vec<Option<[i64; 5]>>)> {
    let names: Vec<_> = (0..symbols).map(|number| format!("S{number}")).collect();
    let mut builder = Request::builder(root)
        .symbols(names.clone())
        .price_types([PriceType::Trade])
        .timeline(timeline);
    if let Some((start, end)) = window {
        builder = builder
            .start_ns(Some(start * MINUTE))
            .end_ns(Some(end * MINUTE));
    }
    let request = builder.build().expect("a request");
    let mut found = Vec::new();
    for batch in SliceBatches::open(&request, options).expect("files that can be read") {
        let batch = batch.expect("a batch");
        for slice in batch.slices() {
            let candles = names.iter().map(|name| {
                let candle = slice.get(name, PriceType::Trade)?;
                let values = [
                    candle.open,
                    candle.high,
                    candle.low,
                    candle.close,
                    candle.volume,
                ];
                Some(values.map(|value| value as i64))
            });
            found.push((slice.timestamp_ns() / MINUTE, candles.collect()));
        }
    }
    found
}

fn oracle(
    series: &[Minutes],
    timeline: Timeline,
    window: Option<(i64, i64)>,
) -> Vec<(i64, Vec<Option<[i64; 5]>>)> {
    let mut cells: BTreeMap<i64, Vec<Option<[i64; 5]>>> = BTreeMap::new();
    for (number, minutes) in series.iter().enumerate() {
        for &minute in minutes {
            if window.is_none_or(|(start, end)| (start..=end).contains(&minute)) {
                let cell = cells
                    .entry(minute)
                    .or_insert_with(|| vec![None; series.len()]);
                cell[number] = Some(std::array::from_fn(|field| value(number, minute, field)));
            }
        }
    }
    let all = timeline == Timeline::Intersection;
    cells
        .into_iter()
        .filter(|(_, cell)| !all || cell.iter().all(Option::is_some))
        .collect()
}

/// Minutes of which some are missing: a few, or all but a few, or whole stretches.
fn minutes() -> impl Strategy<Value = Minutes> {
    let few = (
        1..9_000_usize,
        prop::collection::btree_set(0..9_000_i64, 0..20),
    )
        .prop_map(|(rows, missing)| {
            (0..rows as i64)
                .filter(|at| !missing.contains(at))
                .collect()
        });
    let sparse = prop::collection::btree_set(0..30_000_i64, 0..60)
        .prop_map(|minutes| minutes.into_iter().collect());
    let stretches = (0..6_000_i64, 1..700_i64, 1..3_000_i64).prop_map(|(start, len, gap)| {
        (start..start + 8_000)
            .filter(|at| (at - start) % (len + gap) < len)
            .collect()
    });
    let all = (0..7_000_i64).prop_map(|start| (start..start + 7_000).collect());
    prop_oneof![3 => few, 1 => sparse, 1 => stretches, 2 => all]
}

fn writing() -> impl Strategy<Value = Writing> {
    (
        prop::sample::select(vec![50_usize, 1_000, 100_000]),
        prop::sample::select(vec![700_usize, 3_000, 100_000]),
        any::<bool>(),
        prop_oneof![3 => Just(0_usize), 1 => 2..40_usize, 1 => Just(100_000_usize)],
        prop::bool::weighted(0.2),
        any::<bool>(),
    )
        .prop_map(
            |(page_rows, row_group_rows, page_bounds, turned, integers, nullable)| Writing {
                page_rows,
                row_group_rows,
                page_bounds,
                turned,
                integers,
                nullable,
            },
        )
}

fn options(threads: usize, chunk_rows: usize) -> ReadOptions {
    ReadOptions::new()
        .with_threads(NonZeroUsize::new(threads).expect("not zero"))
        .with_chunk_rows(NonZeroUsize::new(chunk_rows).expect("not zero"))
}

proptest! {
    #![proptest_config(Config { cases: 40, max_shrink_iters: 60, failure_persistence: None, ..Config::default() })]

    #[test]
    fn every_way_to_write_candles_gives_the_same_slices(
        series in prop::collection::vec((minutes(), writing()), 1..11),
        timeline in prop::sample::select(Timeline::ALL),
        window in prop::option::of((0..9_000_i64, 0..2_000_i64)),
        (threads, chunk_rows) in (1..4_usize, prop::sample::select(vec![64_usize, 1_024, 5_000])),
    ) {
        let window = window.map(|(start, len)| (start, start + len));
        let folder = tempfile::tempdir().expect("a folder");
        for (number, (minutes, writing)) in series.iter().enumerate() {
            let symbol = format!("S{number}");
            let path = common::path(&folder.path().join("ways"), &symbol, "M1", "TRADE");
            write(&path, number, minutes, writing);
            let path = common::path(&folder.path().join("plain"), &symbol, "M1", "TRADE");
            write(&path, number, minutes, &Writing::plain());
        }
        let minutes: Vec<_> = series.iter().map(|(minutes, _)| minutes.clone()).collect();
        let expected = oracle(&minutes, timeline, window);
        let read = |folder_name: &str, options: &ReadOptions| {
            slices(&folder.path().join(folder_name), series.len(), timeline, window, options)
        };
        // Compared outside the macro: the slices of a failed case would fill the screen.
        let same = read("ways", &options(threads, chunk_rows)) == expected;
        prop_assert!(same, "the ways to write differ from the oracle");
        let same = read("plain", &ReadOptions::new()) == expected;
        prop_assert!(same, "the plain files differ from the oracle");
    }
}
