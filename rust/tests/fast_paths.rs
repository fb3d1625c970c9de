//! Tests every fast path against every general one: the same candles, written in many ways, give
//! the same slices as a naive oracle.
//!
//! The ways differ in what selects the path: page statistics, encodings, compression, lengths of
//! pages and row groups, row order, value types, and nulls. Series are longer than the tiles and
//! plans of the library.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, TimestampNanosecondArray,
};
use arrow::datatypes::{Float64Type, TimestampNanosecondType};
use common::MINUTE;
use omega_slices::{
    CandleData, Fill, HigherTimeframe, PriceType, ReadOptions, Request, SliceBatches, Timeline,
};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::file::reader::{FileReader, SerializedFileReader};
use proptest::prelude::*;
use proptest::test_runner::Config;

/// The five values of a candle; a NaN is `None`.
type Values = [Option<i64>; 5];

/// A candle and the minute that it opened at.
type Candle = (i64, Values);

/// Minutes, and for each symbol its candle and that of the higher timeframe.
type Slices = Vec<(i64, Vec<[Option<Candle>; 2]>)>;

/// The minutes of one series; values derive from series and minute.
type Minutes = Vec<i64>;

/// How to write the candles of a series.
#[derive(Debug, Clone)]
struct Writing {
    pages: Pages,
    compression: Compression,
    second_version: bool,
    page_rows: usize,
    row_group_rows: usize,
    page_bounds: bool,
    /// Whether the file has statistics.
    statistics: bool,
    /// Whether the page index cannot be read, so that only headers and footer tell of the pages.
    damaged_index: bool,
    /// Rows are reversed within blocks of this length; 0 keeps them in order.
    turned: usize,
    integers: bool,
    nullable: bool,
}

/// How to encode the values of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pages {
    Plain,
    /// With a dictionary of any size.
    Dictionary,
    /// With a dictionary until it is full, then plain.
    DictionaryThenPlain,
    /// The same, followed by encodings that only the Parquet library decodes.
    DictionaryThenForeign,
    Foreign,
}

impl Writing {
    fn plain() -> Self {
        Self {
            pages: Pages::Plain,
            compression: Compression::UNCOMPRESSED,
            second_version: false,
            page_rows: 100_000,
            row_group_rows: 100_000,
            page_bounds: false,
            statistics: true,
            damaged_index: false,
            turned: 0,
            integers: false,
            nullable: true,
        }
    }
}

/// A value; null at every n-th value of a series. Some fields have few different values, some have
/// many.
fn value(series: usize, minute: i64, field: usize, nulls: Option<i64>) -> Option<i64> {
    if nulls.is_some_and(|every| (minute * 7 + field as i64) % every == 0) {
        return None;
    }
    let minute = if field < 2 { minute % 300 } else { minute };
    Some(series as i64 * 1_000_000 + minute * 10 + field as i64)
}

fn write(path: &Path, series: usize, minutes: &[i64], nulls: Option<i64>, writing: &Writing) {
    let mut minutes = minutes.to_vec();
    if writing.turned > 0 {
        minutes.chunks_mut(writing.turned).for_each(<[_]>::reverse);
    }
    let timestamps = minutes.iter().map(|minute| minute * MINUTE);
    let mut columns: Vec<(&str, ArrayRef, bool)> = vec![(
        "UTC time",
        Arc::new(TimestampNanosecondArray::from_iter_values(timestamps).with_timezone("UTC")),
        writing.nullable,
    )];
    for (field, name) in ["Open", "High", "Low", "Close", "Volume"]
        .into_iter()
        .enumerate()
    {
        let values = minutes
            .iter()
            .map(|&minute| value(series, minute, field, nulls));
        let column: ArrayRef = if writing.integers {
            Arc::new(values.collect::<Int64Array>())
        } else {
            let values = values.map(|value| value.map(|value| value as f64));
            Arc::new(values.collect::<Float64Array>())
        };
        columns.push((name, column, writing.nullable || nulls.is_some()));
    }
    let batch = RecordBatch::try_from_iter_with_nullable(columns).expect("columns of one length");
    let has_dictionary = !matches!(writing.pages, Pages::Plain | Pages::Foreign);
    let mut properties = WriterProperties::builder()
        .set_compression(writing.compression)
        .set_dictionary_enabled(has_dictionary)
        .set_dictionary_page_size_limit(match writing.pages {
            Pages::Dictionary => 1 << 20,
            _ => 4_000,
        })
        .set_writer_version(if writing.second_version {
            WriterVersion::PARQUET_2_0
        } else {
            WriterVersion::PARQUET_1_0
        });
    let after = match (writing.pages, writing.integers) {
        (Pages::Foreign | Pages::DictionaryThenForeign, true) => Encoding::DELTA_BINARY_PACKED,
        (Pages::Foreign | Pages::DictionaryThenForeign, false) => Encoding::BYTE_STREAM_SPLIT,
        _ => Encoding::PLAIN,
    };
    properties = properties.set_encoding(after);
    if after != Encoding::PLAIN {
        properties =
            properties.set_column_encoding("UTC time".into(), Encoding::DELTA_BINARY_PACKED);
    }
    let properties = properties
        .set_max_row_group_row_count(Some(writing.row_group_rows))
        .set_data_page_row_count_limit(writing.page_rows)
        .set_write_batch_size(writing.page_rows.min(1_024))
        .set_write_page_header_statistics(writing.page_bounds)
        .set_statistics_enabled(if writing.statistics {
            EnabledStatistics::Page
        } else {
            EnabledStatistics::None
        })
        .build();
    fs::create_dir_all(path.parent().expect("a file in a folder")).expect("a folder");
    let file = File::create(path).expect("a file");
    let mut writer =
        ArrowWriter::try_new(file, batch.schema(), Some(properties)).expect("a Parquet writer");
    writer.write(&batch).expect("rows are written");
    writer.close().expect("a footer is written");
    if writing.damaged_index {
        damage_index(path);
    }
}

/// Writes zeros over the page index of every column.
fn damage_index(path: &Path) {
    let mut bytes = fs::read(path).expect("the file");
    let reader = SerializedFileReader::new(File::open(path).expect("the file"));
    let footer = reader.expect("a footer").metadata().clone();
    for chunk in footer
        .row_groups()
        .iter()
        .flat_map(RowGroupMetaData::columns)
    {
        let indexes = [
            (chunk.column_index_offset(), chunk.column_index_length()),
            (chunk.offset_index_offset(), chunk.offset_index_length()),
        ];
        for (offset, length) in indexes {
            if let (Some(offset), Some(length)) = (offset, length) {
                bytes[offset as usize..][..length as usize].fill(0);
            }
        }
    }
    fs::write(path, bytes).expect("the damaged file");
}

/// The request, in minutes.
#[derive(Debug, Clone, Default)]
struct Wanted {
    timeline: Timeline,
    window: Option<(i64, i64)>,
    /// The maximum age of a carried candle.
    max_age: Option<i64>,
    /// Whether candles of five minutes are shown too, and their maximum age.
    higher: Option<Option<i64>>,
}

impl Wanted {
    fn all(timeline: &Timeline) -> Self {
        Self {
            timeline: timeline.clone(),
            ..Self::default()
        }
    }

    fn request(&self, root: &Path, names: &[String]) -> Request {
        let age = |minutes: i64| format!("{minutes}m").parse().expect("an age");
        let fill = match self.max_age {
            None => Fill::None,
            Some(_) => Fill::Forward,
        };
        let higher = self.higher.map(|max_age| {
            HigherTimeframe::new("M5".parse().expect("a timeframe"), max_age.map(age))
        });
        Request::builder(root)
            .symbols(names)
            .price_types([PriceType::Trade])
            .timeline(self.timeline.clone())
            .start_ns(self.window.map(|window| window.0 * MINUTE))
            .end_ns(self.window.map(|window| window.1 * MINUTE))
            .fill(fill)
            .max_age(self.max_age.map(age))
            .higher_timeframes(higher)
            .build()
            .expect("a request")
    }
}

fn timelines(symbols: usize) -> Vec<Timeline> {
    let quorum = NonZeroUsize::new(symbols.div_ceil(2)).expect("a symbol");
    vec![
        Timeline::Intersection,
        Timeline::Union,
        Timeline::Leader(format!("S{}", symbols / 2)),
        Timeline::Quorum(quorum),
    ]
}

fn plain(candle: CandleData) -> Candle {
    let values = [
        candle.open,
        candle.high,
        candle.low,
        candle.close,
        candle.volume,
    ];
    let values = values.map(|value| (!value.is_nan()).then_some(value as i64));
    (candle.timestamp_ns / MINUTE, values)
}

/// All slices of a request: minutes, and for each symbol its candle and that of five minutes.
fn slices(
    root: &Path,
    symbols: usize,
    wanted: &Wanted,
    options: &ReadOptions,
) -> Result<Slices, omega_slices::Error> {
    let names: Vec<_> = (0..symbols).map(|number| format!("S{number}")).collect();
    let request = wanted.request(root, &names);
    let mut found = Vec::new();
    for batch in SliceBatches::open(&request, options)? {
        let batch = batch?;
        for slice in batch.slices() {
            let cells = names.iter().map(|name| {
                let higher = wanted.higher.and_then(|_| {
                    let candle = slice.get_candle(name, "M5", PriceType::Trade);
                    candle.expect("it was asked for")
                });
                [slice.get(name, PriceType::Trade), higher].map(|candle| candle.map(plain))
            });
            found.push((slice.timestamp_ns() / MINUTE, cells.collect()));
        }
    }
    Ok(found)
}

/// The candles of five minutes of a series; they count as another series.
fn five_minutes(number: usize, minutes: &Minutes) -> (usize, Minutes) {
    let open = minutes.iter().copied().filter(|at| at % 5 == 0);
    (number + 20, open.filter(|at| at % 35 != 0).collect())
}

/// The latest candle at a minute, between a minimum and a maximum age.
fn latest(minutes: &Minutes, at: i64, delay: i64, max_age: Option<i64>) -> Option<i64> {
    let candle = minutes[..minutes.partition_point(|&minute| minute + delay <= at)].last()?;
    max_age
        .is_none_or(|max_age| at - candle <= max_age)
        .then_some(*candle)
}

fn oracle(series: &[(Minutes, Option<i64>)], wanted: &Wanted) -> Slices {
    let inside = |at: &i64| {
        wanted
            .window
            .is_none_or(|(start, end)| (start..=end).contains(at))
    };
    let fives: Vec<_> = series
        .iter()
        .enumerate()
        .map(|(number, (minutes, _))| five_minutes(number, minutes))
        .collect();
    let present = |at: &i64| {
        let has = |(minutes, _): &(Minutes, Option<i64>)| minutes.binary_search(at).is_ok();
        match &wanted.timeline {
            Timeline::Intersection => series.iter().all(has),
            Timeline::Union => true,
            Timeline::Leader(name) => has(&series[name[1..].parse::<usize>().expect("a number")]),
            Timeline::Quorum(quorum) => {
                series.iter().filter(|one| has(one)).count() >= quorum.get()
            }
        }
    };
    let all: BTreeSet<i64> = series
        .iter()
        .flat_map(|one| one.0.iter().copied())
        .collect();
    let timeline = all.into_iter().filter(inside).filter(present);
    let slice = |at: i64| {
        let cells =
            series
                .iter()
                .zip(&fives)
                .enumerate()
                .map(|(number, ((minutes, nulls), five))| {
                    let candle = |(number, minutes): (usize, &Minutes), delay, max_age| {
                        let minute = latest(minutes, at, delay, max_age)?;
                        let values =
                            std::array::from_fn(|field| value(number, minute, field, *nulls));
                        Some((minute, values))
                    };
                    let fresh = candle((number, minutes), 0, Some(wanted.max_age.unwrap_or(0)));
                    let higher = wanted
                        .higher
                        .and_then(|max_age| candle((five.0, &five.1), 5, max_age));
                    [fresh, higher]
                });
        (at, cells.collect())
    };
    timeline.map(slice).collect()
}

/// Minutes of which some are missing: a few, nearly all, or long gaps.
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
    let gappy = (any::<u64>(), 0..9_000_i64, 5..55_u64)
        .prop_map(|(seed, start, percent)| gappy(seed, start..start + 9_000, percent));
    prop_oneof![3 => few, 1 => sparse, 1 => stretches, 2 => all, 2 => gappy]
}

/// Minutes of a range of which a share is missing at random.
fn gappy(seed: u64, minutes: std::ops::Range<i64>, percent: u64) -> Minutes {
    // Mixes the bits as the generator SplitMix64 does.
    let random = |minute: i64| {
        let mixed = seed.wrapping_add((minute as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 32
    };
    minutes
        .filter(|&minute| random(minute) % 100 >= percent)
        .collect()
}

fn writing() -> impl Strategy<Value = Writing> {
    (
        prop::sample::select(vec![50_usize, 1_000, 100_000]),
        prop::sample::select(vec![700_usize, 3_000, 100_000]),
        any::<bool>(),
        prop_oneof![3 => Just(0_usize), 1 => 2..40_usize, 1 => Just(100_000_usize)],
        prop::bool::weighted(0.2),
        any::<bool>(),
        (
            prop::sample::select(vec![
                Pages::Plain,
                Pages::Dictionary,
                Pages::DictionaryThenPlain,
                Pages::DictionaryThenForeign,
                Pages::Foreign,
            ]),
            prop::sample::select(vec![
                Compression::UNCOMPRESSED,
                Compression::SNAPPY,
                Compression::LZ4_RAW,
                Compression::ZSTD(ZstdLevel::default()),
            ]),
            any::<bool>(),
            prop::bool::weighted(0.8),
            any::<bool>(),
        ),
    )
        .prop_map(
            |(
                page_rows,
                row_group_rows,
                page_bounds,
                turned,
                integers,
                nullable,
                (pages, compression, second_version, statistics, damaged_index),
            )| Writing {
                pages,
                compression,
                second_version,
                statistics,
                damaged_index,
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
        series in prop::collection::vec(
            (minutes(), writing(), prop::option::weighted(0.3, 2..90_i64)), 1..11),
        timeline in 0..4_usize,
        window in prop::option::of((0..9_000_i64, 0..2_000_i64)),
        max_age in prop::option::of(1..400_i64),
        higher in prop::option::of(prop::option::of(5..400_i64)),
        (threads, chunk_rows) in (1..4_usize, prop::sample::select(vec![64_usize, 1_024, 5_000])),
        spill_every in prop::option::of(1..4_usize),
    ) {
        let wanted = Wanted {
            timeline: timelines(series.len()).swap_remove(timeline),
            window: window.map(|(start, len)| (start, start + len)),
            max_age,
            higher,
        };
        let folder = tempfile::tempdir().expect("a folder");
        for (number, (minutes, writing, nulls)) in series.iter().enumerate() {
            let symbol = format!("S{number}");
            let path = common::path(&folder.path().join("ways"), &symbol, "M1", "TRADE");
            write(&path, number, minutes, *nulls, writing);
            let path = common::path(&folder.path().join("plain"), &symbol, "M1", "TRADE");
            write(&path, number, minutes, *nulls, &Writing::plain());
            let (other, fives) = five_minutes(number, minutes);
            for (root, writing) in [("ways", writing), ("plain", &Writing::plain())] {
                let path = common::path(&folder.path().join(root), &symbol, "M5", "TRADE");
                write(&path, other, &fives, *nulls, writing);
            }
        }
        let minutes: Vec<_> = series.iter().map(|(minutes, _, nulls)| (minutes.clone(), *nulls)).collect();
        let expected = oracle(&minutes, &wanted);
        let read = |folder_name: &str, options: &ReadOptions| {
            slices(&folder.path().join(folder_name), series.len(), &wanted, options)
                .expect("files that can be read")
        };
        // Compared outside the macro: the slices of a failed case would fill the screen.
        let options = options(threads, chunk_rows);
        let same = read("ways", &options) == expected;
        prop_assert!(same, "the ways to write differ from the oracle");
        if let Some(every) = spill_every.and_then(NonZeroUsize::new) {
            let same = read("ways", &options.with_spill_every(every)) == expected;
            prop_assert!(same, "the columns of a temporary file differ from the oracle");
        }
        let same = read("plain", &ReadOptions::new()) == expected;
        prop_assert!(same, "the plain files differ from the oracle");
    }
}

/// A folder with series written in one way.
fn written(series: &[(Minutes, Option<i64>)], writing: &Writing) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (number, (minutes, nulls)) in series.iter().enumerate() {
        let path = common::path(folder.path(), &format!("S{number}"), "M1", "TRADE");
        write(&path, number, minutes, *nulls, writing);
    }
    folder
}

/// Checks series written in one way against the oracle.
fn check(
    series: &[(Minutes, Option<i64>)],
    writing: &Writing,
    wanted: &Wanted,
    options: &ReadOptions,
) {
    let folder = written(series, writing);
    let found = slices(folder.path(), series.len(), wanted, options);
    let found = found.expect("files that can be read");
    assert!(found == oracle(series, wanted), "{writing:?} {wanted:?}");
}

/// How programs of the field write files. What matters are encoding, compression, statistics, and
/// how many rows a page and a row group have; these are scaled to the length of the series.
fn writers() -> Vec<(&'static str, Writing)> {
    let zstd = Compression::ZSTD(ZstdLevel::default());
    let pyarrow = Writing {
        pages: Pages::Dictionary,
        compression: Compression::SNAPPY,
        page_rows: 2_000,
        page_bounds: true,
        ..Writing::plain()
    };
    let one_page = Writing {
        page_rows: 1_000_000,
        row_group_rows: 1_000_000,
        page_bounds: false,
        ..pyarrow.clone()
    };
    let with = |pages, compression, like: &Writing| Writing {
        pages,
        compression,
        ..like.clone()
    };
    let arrow_rs = with(Pages::Dictionary, Compression::UNCOMPRESSED, &pyarrow);
    vec![
        (
            "arrow-rs",
            Writing {
                page_bounds: false,
                ..arrow_rs
            },
        ),
        (
            "duckdb",
            Writing {
                row_group_rows: 4_000,
                ..one_page.clone()
            },
        ),
        (
            "fastparquet",
            with(Pages::Plain, Compression::SNAPPY, &one_page),
        ),
        ("polars", with(Pages::Plain, zstd, &one_page)),
        ("pyarrow with zstd", with(Pages::Dictionary, zstd, &pyarrow)),
        (
            "pyarrow, full dictionary",
            with(Pages::DictionaryThenPlain, Compression::SNAPPY, &pyarrow),
        ),
        (
            "pyarrow, second version",
            Writing {
                second_version: true,
                ..pyarrow.clone()
            },
        ),
        (
            "spark",
            Writing {
                page_bounds: false,
                second_version: true,
                ..pyarrow.clone()
            },
        ),
        (
            "without statistics",
            Writing {
                statistics: false,
                page_bounds: false,
                ..pyarrow.clone()
            },
        ),
        ("other encodings", with(Pages::Foreign, zstd, &pyarrow)),
        ("pyarrow", pyarrow),
    ]
}

/// A name, and the minutes of a series by its number and its first minute.
type Shape = (&'static str, fn(usize, i64) -> Minutes);

#[test]
fn every_writer_with_every_shape() {
    let shift = |number: usize| number as i64 * 37;
    let shapes: [Shape; 5] = [
        ("dense", |number, start| {
            gappy(number as u64, start..start + 9_000, 1)
        }),
        ("a third missing", |number, start| {
            gappy(number as u64, start..start + 9_000, 33)
        }),
        ("half missing", |number, start| {
            gappy(number as u64, start..start + 9_000, 50)
        }),
        ("hours open", |_, start| {
            (start..start + 9_000)
                .filter(|at| at % 1_440 < 390)
                .collect()
        }),
        ("one after the other", |number, _| {
            let first = number as i64 * 1_500;
            (first..first + 2_000).collect()
        }),
    ];
    for (shape, minutes) in shapes {
        let series: Vec<_> = (0..5)
            .map(|number| (minutes(number, shift(number)), (number == 2).then_some(11)))
            .collect();
        for max_age in [None, Some(90)] {
            let wanted = Wanted {
                max_age,
                ..Wanted::all(&Timeline::Union)
            };
            let expected = oracle(&series, &wanted);
            for (writer, writing) in writers() {
                let folder = written(&series, &writing);
                let read = |options: &ReadOptions| {
                    let found = slices(folder.path(), series.len(), &wanted, options);
                    found.expect("files that can be read")
                };
                let spilled = |threads, chunk_rows| {
                    options(threads, chunk_rows).with_spill_every(NonZeroUsize::MIN)
                };
                assert!(read(&ReadOptions::new()) == expected, "{writer}, {shape}");
                assert!(
                    read(&options(1, 700)) == expected,
                    "{writer}, {shape}, small chunks"
                );
                assert!(
                    read(&spilled(3, 700)) == expected,
                    "{writer}, {shape}, spilled"
                );
            }
        }
    }
}

/// The first rows of a column with a large dictionary: of the timestamps, which are scanned first,
/// and of the values in a short window. The second series uses the end of the dictionary at once.
#[test]
fn the_beginning_of_a_dictionary_is_enough_or_is_not() {
    let writing = Writing {
        pages: Pages::Dictionary,
        compression: Compression::SNAPPY,
        page_rows: 500,
        page_bounds: true,
        ..Writing::plain()
    };
    let series = [
        ((0..9_000).collect(), None),
        ((0..9_000).collect(), Some(7)),
    ];
    for nullable in [false, true] {
        for second_version in [false, true] {
            let writing = Writing {
                nullable,
                second_version,
                ..writing.clone()
            };
            for window in [None, Some((0, 300)), Some((600, 700)), Some((8_000, 9_000))] {
                for chunk_rows in [64, 5_000] {
                    let wanted = Wanted {
                        window,
                        ..Wanted::default()
                    };
                    check(&series, &writing, &wanted, &options(2, chunk_rows));
                }
            }
        }
    }
}

/// Few slices, far apart: the rows between them exceed a single read.
#[test]
fn slices_far_apart_are_read_piece_by_piece() {
    let dense = ((0..40_000).collect(), None);
    let sparse = ((0..40_000).filter(|at| at % 1_999 < 3).collect(), None);
    let half = ((0..40_000).filter(|at| at % 2 == 0).collect(), Some(5));
    let series = [dense, sparse, half];
    for timeline in &timelines(series.len()) {
        for max_age in [None, Some(10), Some(2_500)] {
            for chunk_rows in [500, 50_000] {
                let wanted = Wanted {
                    max_age,
                    ..Wanted::all(timeline)
                };
                check(&series, &Writing::plain(), &wanted, &options(2, chunk_rows));
            }
        }
    }
}

/// Pages before a window are skipped as a whole, up to the one in which it starts.
#[test]
fn a_window_begins_anywhere_in_a_page() {
    let writing = Writing {
        pages: Pages::Dictionary,
        page_rows: 50,
        ..Writing::plain()
    };
    let series = [((0..1_000).collect(), None)];
    for start in [1, 49, 50, 51, 99, 100, 101, 949, 950, 999] {
        for (page_bounds, statistics, damaged_index) in [
            (false, false, false),
            (false, true, false),
            (false, true, true),
            (true, true, true),
        ] {
            let writing = Writing {
                page_bounds,
                statistics,
                damaged_index,
                ..writing.clone()
            };
            let window = Some((start, start + 60));
            let wanted = Wanted {
                window,
                ..Wanted::all(&Timeline::Union)
            };
            check(&series, &writing, &wanted, &options(1, 64));
        }
    }
}

/// Reads the file of one series with the Parquet library alone, by nanosecond.
fn read_by_the_library(path: &Path) -> Result<BTreeMap<i64, Values>, ParquetError> {
    let file = File::open(path).expect("the file");
    let mut rows = BTreeMap::new();
    for batch in ParquetRecordBatchReaderBuilder::try_new(file)?.build()? {
        let batch = batch?;
        let timestamps = batch.column(0).as_primitive::<TimestampNanosecondType>();
        for row in 0..batch.num_rows() {
            let values = std::array::from_fn(|field| {
                let column = batch.column(1 + field).as_primitive::<Float64Type>();
                Some(column.value(row) as i64)
            });
            rows.insert(timestamps.value(row), values);
        }
    }
    Ok(rows)
}

/// The start of a dictionary is decompressed first, but any damage in it must be noticed. An attack
/// found this: a flipped bit in a length moved all values behind it.
#[test]
fn a_damaged_dictionary_is_noticed_whatever_is_needed_of_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = common::path(folder.path(), "S0", "M1", "TRADE");
    let writing = Writing {
        pages: Pages::Dictionary,
        compression: Compression::SNAPPY,
        page_rows: 500,
        page_bounds: true,
        ..Writing::plain()
    };
    write(&path, 0, &(0..9_000).collect::<Vec<_>>(), None, &writing);
    let honest = fs::read(&path).expect("the file");
    let reader = SerializedFileReader::new(File::open(&path).expect("the file"));
    let footer = reader.expect("a footer").metadata().clone();
    let (mut refused, mut read) = (0, 0);
    // A changed timestamp may move a row into a window from pages that are not read, so only the
    // error is compared.
    let whole = (None, 64);
    let short = Some((0, 300));
    for (column, step, windows) in [
        (0, 1_501, &[whole, (short, 64)][..]),
        (3, 701, &[(short, 5_000)]),
    ] {
        let chunk = footer.row_group(0).column(column);
        let start = chunk.dictionary_page_offset().expect("a dictionary") as usize;
        for damaged in (start..chunk.data_page_offset() as usize).step_by(step) {
            let mut bytes = honest.clone();
            bytes[damaged] ^= 1 << (damaged % 8);
            fs::write(&path, bytes).expect("the damaged file");
            let library = read_by_the_library(&path);
            for &(window, chunk_rows) in windows {
                let options = options(1, chunk_rows);
                let wanted = Wanted {
                    window,
                    ..Wanted::all(&Timeline::Union)
                };
                match slices(folder.path(), 1, &wanted, &options) {
                    Err(_) => refused += 1,
                    Ok(found) => {
                        read += 1;
                        let library = library.as_ref().expect("what the library reads too");
                        if column == 0 && window.is_some() {
                            continue;
                        }
                        let (start, end) = window.unwrap_or((i64::MIN, i64::MAX));
                        let expected = library
                            .iter()
                            .map(|(at, values)| (at / MINUTE, *values))
                            .map(|candle| (candle.0, vec![[Some(candle), None]]))
                            .filter(|(minute, _)| (start..=end).contains(minute));
                        assert!(found == expected.collect::<Slices>(), "byte {damaged}");
                    }
                }
            }
        }
    }
    assert!(refused > 20 && read > 20, "{refused} refused, {read} read");
}
