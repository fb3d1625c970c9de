//! What does one step over the slices cost, borrowed and owned, at 10, 50, 100 and 500 symbols?
//!
//! Data: one price type, 2,000 minutes a symbol, no gaps, values that follow from the minute. The
//! batches are made before the clock starts, so that only the step itself is measured.

use std::fs::{self, File};
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, TimestampNanosecondArray};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use omega_slices::{PriceType, ReadOptions, Request, SliceBatch, SliceBatches};
use parquet::arrow::ArrowWriter;

const MINUTES: i64 = 2_000;
const MINUTE_NS: i64 = 60_000_000_000;

fn symbols(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("S{number:03}")).collect()
}

fn write(root: &Path, symbol: &str) {
    let timestamps =
        TimestampNanosecondArray::from_iter_values((0..MINUTES).map(|at| at * MINUTE_NS));
    let mut columns: Vec<(&str, ArrayRef)> = vec![("UTC time", Arc::new(timestamps))];
    for name in ["Open", "High", "Low", "Close", "Volume"] {
        let values = Float64Array::from_iter_values((0..MINUTES).map(|at| at as f64 / 8.0));
        columns.push((name, Arc::new(values)));
    }
    let batch = RecordBatch::try_from_iter(columns).expect("columns of one length");
    let folder = root.join(symbol);
    fs::create_dir_all(&folder).expect("a folder");
    let file = File::create(folder.join(format!("{symbol}_M1_TRADE.parquet"))).expect("a file");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a Parquet writer");
    writer.write(&batch).expect("rows are written");
    writer.close().expect("a footer is written");
}

fn batches(count: usize) -> Vec<SliceBatch> {
    let folder = tempfile::tempdir().expect("a folder");
    let symbols = symbols(count);
    for symbol in &symbols {
        write(folder.path(), symbol);
    }
    let request = Request::builder(folder.path())
        .symbols(symbols)
        .price_types([PriceType::Trade])
        .build()
        .expect("a request");
    SliceBatches::open(&request, &ReadOptions::new())
        .expect("the series open")
        .collect::<Result<_, _>>()
        .expect("batches")
}

fn steps(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("step");
    for count in [10, 50, 100, 500] {
        let batches = batches(count);
        let slices: usize = batches.iter().map(SliceBatch::len).sum();
        group.throughput(Throughput::Elements(slices as u64));
        group.bench_with_input(
            BenchmarkId::new("borrowed", count),
            &batches,
            |bencher, batches| {
                bencher.iter(|| {
                    for slice in batches.iter().flat_map(SliceBatch::slices) {
                        black_box(slice.timestamp_ns());
                        black_box(slice.column("trade_close"));
                    }
                });
            },
        );
        group.bench_with_input(
            BenchmarkId::new("owned", count),
            &batches,
            |bencher, batches| {
                bencher.iter(|| {
                    for slice in batches.iter().flat_map(SliceBatch::slices) {
                        black_box(slice.to_owned());
                    }
                });
            },
        );
    }
    group.finish();
}

criterion_group!(slices, steps);
criterion_main!(slices);
