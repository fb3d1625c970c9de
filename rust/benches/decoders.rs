//! Question: do our own decoders still pay, each beside the library's way to the same values?
//!
//! Data: one file of 500,000 rows by arrow-rs, Snappy, pages of 20,000 rows; prices of 2,000 and of
//! 100,000 different values, with a dictionary and plain, and with every tenth value null. Values
//! derive from the row. The dictionary block is 1 MB of doubles, of which a 64th is wanted.

use std::fs::File;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, TimestampNanosecondArray};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use slices_parquet::bench_support;

const ROWS: usize = 500_000;
const COLUMN: &str = "value";

/// One way to write prices.
struct Way {
    name: &'static str,
    different: usize,
    dictionary: bool,
    nulls: bool,
}

const WAYS: [Way; 4] = [
    Way {
        name: "small dictionary",
        different: 2_000,
        dictionary: true,
        nulls: false,
    },
    Way {
        name: "large dictionary",
        different: 100_000,
        dictionary: true,
        nulls: false,
    },
    Way {
        name: "plain",
        different: 100_000,
        dictionary: false,
        nulls: false,
    },
    Way {
        name: "small dictionary with nulls",
        different: 2_000,
        dictionary: true,
        nulls: true,
    },
];

fn write(path: &Path, way: &Way) {
    let value = |row: usize| (row * 7_919 % way.different) as f64 / 1_024.0;
    let values = (0..ROWS).map(|row| (!way.nulls || row % 10 != 3).then(|| value(row)));
    let timestamps = (0..ROWS as i64).map(|minute| minute * 60_000_000_000);
    let timestamps = TimestampNanosecondArray::from_iter_values(timestamps).with_timezone("UTC");
    let columns: [(&str, ArrayRef); 2] = [
        ("UTC time", Arc::new(timestamps)),
        (COLUMN, Arc::new(values.collect::<Float64Array>())),
    ];
    let batch = RecordBatch::try_from_iter(columns).expect("columns of one length");
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_dictionary_enabled(way.dictionary)
        .set_data_page_row_count_limit(20_000)
        .build();
    let file = File::create(path).expect("a file");
    let mut writer =
        ArrowWriter::try_new(file, batch.schema(), Some(properties)).expect("a writer");
    writer.write(&batch).expect("rows are written");
    writer.close().expect("a footer is written");
}

fn columns(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut group = criterion.benchmark_group("column of doubles");
    group.throughput(Throughput::Elements(ROWS as u64));
    for way in &WAYS {
        let path = folder.path().join("one.parquet");
        write(&path, way);
        let sums = (
            bench_support::decode_by_cursor(&path, COLUMN).expect("a sound file"),
            bench_support::decode_by_library(&path, COLUMN).expect("a sound file"),
        );
        assert!(way.nulls || sums.0 == sums.1, "both read the same values");
        group.bench_function(BenchmarkId::new("ours", way.name), |bencher| {
            bencher.iter(|| bench_support::decode_by_cursor(black_box(&path), COLUMN));
        });
        group.bench_function(BenchmarkId::new("library", way.name), |bencher| {
            bencher.iter(|| bench_support::decode_by_library(black_box(&path), COLUMN));
        });
    }
}

fn dictionary(criterion: &mut Criterion) {
    let values = (0..131_072_i64).flat_map(|at| (at * 60_000_000_000).to_le_bytes());
    let plain: Vec<u8> = values.collect();
    let compressed = snap::raw::Encoder::new()
        .compress_vec(&plain)
        .expect("a block");
    let wanted = plain.len() / 64;
    let mut group = criterion.benchmark_group("beginning of a dictionary");
    group.bench_function("ours", |bencher| {
        bencher.iter(|| bench_support::beginning(black_box(&compressed), wanted));
    });
    group.bench_function("library, the whole of it", |bencher| {
        bencher.iter(|| snap::raw::Decoder::new().decompress_vec(black_box(&compressed)));
    });
}

criterion_group!(benches, columns, dictionary);
criterion_main!(benches);
