//! Question: what does each part cost alone: decoding, the timeline, interleaving and encoding?
//!
//! Data: 50 symbols, one price type, 20,000 minutes each. For the timeline, each series lacks every
//! 997th minute, at different places. Values derive from the minute. All data is in memory; decoded
//! files come from the page cache.

mod data;

use std::hint::black_box;
use std::io;

use arrow::array::RecordBatch;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use omega_slices::bench_support::alignment::{TimeIndex, TimelineRule};
use omega_slices::{ReadOptions, SliceBatch, SliceBatches, bench_support};

const SYMBOLS: usize = 50;
const MINUTES: i64 = 20_000;

fn decode(criterion: &mut Criterion) {
    let (_folder, request) = data::request(SYMBOLS, MINUTES);
    let options = ReadOptions::new();
    let mut group = criterion.benchmark_group("floor");
    group.throughput(Throughput::Elements(SYMBOLS as u64 * MINUTES as u64 * 6));
    group.bench_function("decode", |bencher| {
        bencher.iter(|| bench_support::decode(&request, &options).expect("sound files"));
    });
}

fn timeline(criterion: &mut Criterion) {
    let series: Vec<Vec<i64>> = (0..SYMBOLS as i64)
        .map(|number| {
            let there = |minute: &i64| (minute + number * 19) % 997 != 0;
            (0..MINUTES).filter(there).collect()
        })
        .collect();
    let series: Vec<&[i64]> = series.iter().map(Vec::as_slice).collect();
    let mut group = criterion.benchmark_group("floor");
    group.throughput(Throughput::Elements(SYMBOLS as u64 * MINUTES as u64));
    let rules = [
        ("intersection", TimelineRule::Intersection),
        ("union", TimelineRule::Union),
        ("leader", TimelineRule::Leader(SYMBOLS / 2)),
        ("quorum", TimelineRule::Quorum(SYMBOLS / 2)),
    ];
    for (name, rule) in rules {
        group.bench_function(format!("timeline {name}"), |bencher| {
            bencher.iter(|| TimeIndex::of(black_box(&series)).timeline(rule, 1));
        });
    }
}

fn gather(criterion: &mut Criterion) {
    let series: Vec<Vec<f64>> = (0..SYMBOLS)
        .map(|number| {
            (0..MINUTES)
                .map(|minute| (minute * 50) as f64 + number as f64)
                .collect()
        })
        .collect();
    let mut cells = vec![0.0; SYMBOLS * MINUTES as usize];
    let mut group = criterion.benchmark_group("floor");
    group.throughput(Throughput::Elements(cells.len() as u64));
    group.bench_function("gather", |bencher| {
        bencher.iter(|| bench_support::interleave(black_box(&series), &mut cells));
    });
}

fn encode(criterion: &mut Criterion) {
    let (_folder, request) = data::request(SYMBOLS, MINUTES);
    let batches: Vec<RecordBatch> = SliceBatches::open(&request, &ReadOptions::new())
        .expect("sound files")
        .map(|batch| batch.map(SliceBatch::into_record_batch))
        .collect::<Result<_, _>>()
        .expect("batches");
    let bytes = batches
        .iter()
        .map(|batch| batch.get_array_memory_size() as u64)
        .sum();
    let mut group = criterion.benchmark_group("floor");
    group.throughput(Throughput::Bytes(bytes));
    group.bench_function("encode", |bencher| {
        bencher.iter(|| bench_support::encode(&batches, io::sink()).expect("a sink takes all"));
    });
}

criterion_group!(benches, decode, timeline, gather, encode);
criterion_main!(benches);
