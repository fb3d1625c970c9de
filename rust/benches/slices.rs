//! Question: what does one step over the slices cost, borrowed and owned, at 10, 50, 100 and 500
//! symbols?
//!
//! Data: one price type, 2,000 minutes per symbol, no gaps, values derived from the minute. The
//! batches are built before the measurement, so only the step counts.

mod data;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use omega_slices::{ReadOptions, SliceBatch, SliceBatches};

const MINUTES: i64 = 2_000;

fn batches(symbols: usize) -> Vec<SliceBatch> {
    let (_folder, request) = data::request(symbols, MINUTES);
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
