//! Builds the seeds: small Parquet files in every form with its own code path, files of sessions,
//! and slices.

use std::fs;
use std::sync::{Arc, OnceLock};

use arrow::array::{
    ArrayRef, Decimal128Array, Float32Array, Float64Array, Int32Array, Int64Array, RecordBatch,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit};
use omega_slices::ipc::{self, Compression, Format, WriteOptions};
use omega_slices::{Fill, PriceType, ReadOptions, Request, SliceBatches, Timeline};
use parquet::arrow::arrow_writer::{ArrowWriter, ArrowWriterOptions};
use parquet::basic::{BrotliLevel, Compression as Codec, Encoding, GzipLevel, ZstdLevel};
use parquet::data_type::{DoubleType, Int96, Int96Type};
use parquet::file::properties::{
    EnabledStatistics, WriterProperties, WriterPropertiesBuilder, WriterVersion,
};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use tempfile::TempDir;

/// Number of bytes before a file that encode the request.
pub const OPTION_BYTES: usize = 3;

const MINUTE_NS: i64 = 60_000_000_000;

/// 2024-01-05T19:30:00Z, a Friday: half an hour before the FX week ends.
const FIRST_NS: i64 = 1_704_483_000_000_000_000;

/// Number of rows in a file.
const ROWS: i64 = 48;

/// The requests of the seeds; mutations find others.
const OPTIONS: [[u8; OPTION_BYTES]; 8] = [
    [0, 0, 7],
    [1 | 4, 1, 16],
    [1 | 64, 2 | 32, 63],
    [2 | 16, 3 | 64, 15],
    [3 | 8, 128, 31],
    [32 | 128, 8 | 16, 0],
    [4 | 1 | 8, 1 | 192, 9],
    [1, 4, 20],
];

type Columns = Vec<(&'static str, ArrayRef)>;
type Inputs = Vec<(String, Vec<u8>)>;

/// The named seeds of each target.
pub fn all() -> [(&'static str, Inputs); 4] {
    let slices = written();
    let named = |bytes: &[Vec<u8>]| {
        let names = (0..).map(|place: usize| format!("{place:02}"));
        names.zip(bytes.iter().cloned()).collect::<Inputs>()
    };
    let compared = slices.iter().enumerate().map(|(place, bytes)| {
        let other = (place + place % 3) as u8;
        [&[other], bytes.as_slice()].concat()
    });
    [
        ("parquet", with_options(parquet_files())),
        ("sessions", with_options(session_files())),
        ("slices", named(slices)),
        ("diff", named(&compared.collect::<Vec<_>>())),
    ]
}

/// The valid files of a symbol, by the part of their names after the symbol.
pub fn sound_files() -> [(&'static str, Vec<u8>); 4] {
    let file = |step_ns| {
        let times = (0..ROWS).map(|row| FIRST_NS + row * step_ns);
        parquet(candles(nanoseconds(times)), |properties| properties)
    };
    let days = file(24 * 60 * MINUTE_NS);
    [
        ("M1_BID", file(MINUTE_NS)),
        ("M5_BID", file(5 * MINUTE_NS)),
        ("M1_IND", file(MINUTE_NS)),
        ("D1_BID", days),
    ]
}

/// A window that leaves out rows at both ends.
pub fn middle_ns() -> (i64, i64) {
    (FIRST_NS + 5 * MINUTE_NS, FIRST_NS + 40 * MINUTE_NS)
}

/// Every file with one set of options, the first two with all.
fn with_options(files: Inputs) -> Inputs {
    let mut inputs = Vec::new();
    for (place, (name, file)) in files.into_iter().enumerate() {
        for (number, options) in OPTIONS.iter().enumerate() {
            if place < 2 || number == place % OPTIONS.len() {
                let input = [options.as_slice(), &file].concat();
                inputs.push((format!("{name}-{number}"), input));
            }
        }
    }
    inputs
}

/// Minutes without every seventh one.
fn minutes() -> impl Iterator<Item = i64> + Clone {
    let minutes = (0..).filter(|minute| minute % 7 != 3);
    minutes
        .map(|minute| FIRST_NS + minute * MINUTE_NS)
        .take(ROWS as usize)
}

fn nanoseconds(times: impl IntoIterator<Item = i64>) -> ArrayRef {
    timestamps(times, TimeUnit::Nanosecond, 1)
}

fn timestamps(times: impl IntoIterator<Item = i64>, unit: TimeUnit, unit_ns: i64) -> ArrayRef {
    let times = times.into_iter().map(|time_ns| time_ns / unit_ns);
    let times = Int64Array::from_iter_values(times);
    cast(&times, &DataType::Timestamp(unit, Some("UTC".into()))).expect("timestamps")
}

fn prices(rows: usize, field: usize) -> impl Iterator<Item = f64> {
    (0..rows).map(move |row| 1.0 + (row % 11) as f64 / 64.0 + field as f64 / 1_024.0)
}

fn with_values(times: ArrayRef, values: impl Fn(usize) -> ArrayRef) -> Columns {
    let names = ["Open", "High", "Low", "Close", "Volume"];
    let fields = names.into_iter().enumerate();
    let values: Columns = fields.map(|(field, name)| (name, values(field))).collect();
    [vec![("UTC time", times)], values].concat()
}

fn candles(times: ArrayRef) -> Columns {
    let rows = times.len();
    with_values(times, |field| {
        Arc::new(Float64Array::from_iter_values(prices(rows, field)))
    })
}

fn parquet(
    columns: Columns,
    change: impl Fn(WriterPropertiesBuilder) -> WriterPropertiesBuilder,
) -> Vec<u8> {
    written_parquet(columns, true, change)
}

/// Writes a file of two row groups with pages of eight rows, unless changed.
fn written_parquet(
    columns: Columns,
    skip_arrow_schema: bool,
    change: impl Fn(WriterPropertiesBuilder) -> WriterPropertiesBuilder,
) -> Vec<u8> {
    let columns = columns
        .into_iter()
        .map(|(name, column)| (name, column, true));
    let batch = RecordBatch::try_from_iter_with_nullable(columns).expect("columns of one length");
    let properties = WriterProperties::builder()
        .set_created_by("seed".to_owned())
        .set_compression(Codec::UNCOMPRESSED)
        .set_max_row_group_row_count(Some(ROWS as usize / 2))
        .set_data_page_row_count_limit(8)
        .set_write_batch_size(8)
        .set_offset_index_disabled(true)
        .set_statistics_enabled(EnabledStatistics::Chunk);
    let options = ArrowWriterOptions::new()
        .with_properties(change(properties).build())
        .with_skip_arrow_metadata(skip_arrow_schema);
    let mut writer =
        ArrowWriter::try_new_with_options(Vec::new(), batch.schema(), options).expect("a writer");
    writer.write(&batch).expect("rows are written");
    writer.into_inner().expect("a footer is written")
}

fn parquet_files() -> Inputs {
    let usual = || candles(nanoseconds(minutes()));
    let codec =
        |codec| move |properties: WriterPropertiesBuilder| properties.set_compression(codec);
    let mut files: Inputs = Vec::new();
    let mut add = |name: &str, file| files.push((name.to_owned(), file));
    // As pyarrow writes it: dictionaries, Snappy, and statistics in page headers.
    add(
        "pyarrow",
        parquet(usual(), |properties| {
            properties
                .set_compression(Codec::SNAPPY)
                .set_statistics_enabled(EnabledStatistics::Page)
                .set_write_page_header_statistics(true)
        }),
    );
    add(
        "plain",
        parquet(usual(), |properties| {
            properties
                .set_dictionary_enabled(false)
                .set_statistics_enabled(EnabledStatistics::None)
        }),
    );
    add(
        "second-version",
        parquet(usual(), |properties| {
            properties
                .set_writer_version(WriterVersion::PARQUET_2_0)
                .set_compression(Codec::ZSTD(ZstdLevel::default()))
        }),
    );
    add(
        "page-index",
        parquet(usual(), |properties| {
            properties
                .set_statistics_enabled(EnabledStatistics::Page)
                .set_offset_index_disabled(false)
                .set_dictionary_enabled(false)
        }),
    );
    add(
        "gzip",
        parquet(usual(), codec(Codec::GZIP(GzipLevel::default()))),
    );
    add(
        "brotli",
        parquet(usual(), codec(Codec::BROTLI(BrotliLevel::default()))),
    );
    add("lz4", parquet(usual(), codec(Codec::LZ4)));
    add("lz4-raw", parquet(usual(), codec(Codec::LZ4_RAW)));
    add(
        "snappy-headers-one-group",
        parquet(usual(), |properties| {
            properties
                .set_compression(Codec::SNAPPY)
                .set_max_row_group_row_count(None)
                .set_statistics_enabled(EnabledStatistics::Page)
                .set_write_page_header_statistics(true)
        }),
    );
    add(
        "delta",
        parquet(usual(), |properties| {
            properties
                .set_dictionary_enabled(false)
                .set_column_encoding("UTC time".into(), Encoding::DELTA_BINARY_PACKED)
                .set_column_encoding("Open".into(), Encoding::BYTE_STREAM_SPLIT)
                .set_column_encoding("High".into(), Encoding::BYTE_STREAM_SPLIT)
        }),
    );
    add(
        "spilled-dictionary",
        parquet(usual(), |properties| {
            properties.set_dictionary_page_size_limit(64)
        }),
    );
    add(
        "disorder",
        parquet(disorder(), |properties| {
            properties
                .set_statistics_enabled(EnabledStatistics::Page)
                .set_write_page_header_statistics(true)
        }),
    );
    add(
        "disorder-plain",
        parquet(disorder(), |properties| {
            properties.set_dictionary_enabled(false)
        }),
    );
    add("nulls", parquet(nulls(), |properties| properties));
    add(
        "nulls-second-version",
        parquet(nulls(), |properties| {
            properties
                .set_writer_version(WriterVersion::PARQUET_2_0)
                .set_dictionary_enabled(false)
        }),
    );
    let unit = |unit, unit_ns| candles(timestamps(minutes(), unit, unit_ns));
    add(
        "milliseconds",
        parquet(unit(TimeUnit::Millisecond, 1_000_000), |properties| {
            properties
        }),
    );
    add(
        "microseconds",
        parquet(unit(TimeUnit::Microsecond, 1_000), |properties| properties),
    );
    let seconds = unit(TimeUnit::Second, 1_000_000_000);
    add(
        "seconds",
        written_parquet(seconds, false, |properties| properties),
    );
    add("days", parquet(days(), |properties| properties));
    add("narrow", parquet(narrow(), |properties| properties));
    add("decimals", parquet(decimals(), |properties| properties));
    add(
        "no-rows",
        parquet(candles(nanoseconds([])), |properties| properties),
    );
    add("int96", int96());
    files
}

/// Rows out of order, and duplicate rows.
fn disorder() -> Columns {
    let mut times: Vec<_> = minutes().collect();
    times.swap(3, 30);
    times.swap(10, 11);
    times[20] = times[19];
    times[40] = times[2];
    candles(nanoseconds(times))
}

fn nulls() -> Columns {
    let rows = ROWS as usize;
    with_values(nanoseconds(minutes()), |field| {
        let values = prices(rows, field)
            .enumerate()
            .map(|(row, price)| match row % 5 {
                0 => None,
                1 => Some(f64::NAN),
                _ => Some(price),
            });
        Arc::new(values.collect::<Float64Array>())
    })
}

fn days() -> Columns {
    let days = Int32Array::from_iter_values((0..ROWS as i32).map(|day| 19_727 + day));
    candles(cast(&days, &DataType::Date32).expect("days"))
}

/// Values of four bytes.
fn narrow() -> Columns {
    let rows = ROWS as usize;
    with_values(nanoseconds(minutes()), |field| {
        let values = prices(rows, field);
        if field % 2 == 0 {
            Arc::new(Float32Array::from_iter_values(
                values.map(|value| value as f32),
            ))
        } else {
            Arc::new(Int32Array::from_iter_values(
                values.map(|value| (value * 64.0) as i32),
            ))
        }
    })
}

/// Decimals of 4, 8 and 16 bytes, and 64-bit integers.
fn decimals() -> Columns {
    let rows = ROWS as usize;
    with_values(nanoseconds(minutes()), |field| {
        let values = prices(rows, field);
        let Some(&precision) = [9, 18, 38].get(field) else {
            return Arc::new(Int64Array::from_iter_values(
                values.map(|value| value as i64),
            ));
        };
        let values = Decimal128Array::from_iter_values(values.map(|value| (value * 1e5) as i128));
        Arc::new(
            values
                .with_precision_and_scale(precision, 5)
                .expect("decimals"),
        )
    })
}

/// A file with INT96 timestamps of old writers: nanoseconds of a day, and the day.
fn int96() -> Vec<u8> {
    let schema = "message m { required int96 UTC_time; required double Open; required double High; \
                  required double Low; required double Close; required double Volume; }";
    // The schema text format does not allow names with spaces.
    let schema = parse_message_type(schema).expect("a schema");
    let fields = schema.get_fields().iter().enumerate();
    let renamed = fields.map(|(place, field)| {
        let name = if place == 0 { "UTC time" } else { field.name() };
        let built =
            parquet::schema::types::Type::primitive_type_builder(name, field.get_physical_type());
        Arc::new(
            built
                .with_repetition(parquet::basic::Repetition::REQUIRED)
                .build()
                .expect("a field"),
        )
    });
    let schema = parquet::schema::types::Type::group_type_builder("m")
        .with_fields(renamed.collect())
        .build()
        .expect("a schema");
    let properties = WriterProperties::builder()
        .set_created_by("seed".to_owned())
        .build();
    let mut writer = SerializedFileWriter::new(Vec::new(), Arc::new(schema), Arc::new(properties))
        .expect("a writer");
    let mut group = writer.next_row_group().expect("a row group");
    let mut column = group.next_column().expect("a column").expect("timestamps");
    let times: Vec<_> = minutes()
        .map(|time_ns| {
            let (day, rest_ns) = (time_ns / (1_440 * MINUTE_NS), time_ns % (1_440 * MINUTE_NS));
            let mut time = Int96::new();
            time.set_data(
                rest_ns as u32,
                (rest_ns >> 32) as u32,
                day as u32 + 2_440_588,
            );
            time
        })
        .collect();
    column
        .typed::<Int96Type>()
        .write_batch(&times, None, None)
        .expect("timestamps");
    column.close().expect("a column");
    let mut field = 0;
    while let Some(mut column) = group.next_column().expect("a column") {
        let values: Vec<_> = prices(times.len(), field).collect();
        column
            .typed::<DoubleType>()
            .write_batch(&values, None, None)
            .expect("values");
        column.close().expect("a column");
        field += 1;
    }
    group.close().expect("a row group");
    writer.into_inner().expect("a footer")
}

/// Files of three sessions, one of them mostly closed.
fn session_files() -> Inputs {
    let instants = |minutes: [i64; 3]| minutes.map(|minute| FIRST_NS + minute * MINUTE_NS);
    let (opens, closes) = (instants([0, 10, 30]), instants([8, 25, 31]));
    let columns = || vec![("open", nanoseconds(opens)), ("close", nanoseconds(closes))];
    let csv = "open,close\n2024-01-05T19:30:00Z,2024-01-05T19:40:00+00:00\n2024-01-05,2024-01-05T20:00:00.5Z\n";
    let quoted =
        "\u{feff}close,\"open\",other\r\n2024-01-05T19:45:00Z,\"2024-01-05T19:30:00Z\",x\r\n";
    vec![
        ("csv".to_owned(), csv.into()),
        (
            "parquet".to_owned(),
            parquet(columns(), |properties| properties),
        ),
        ("quoted".to_owned(), quoted.into()),
        (
            "plain".to_owned(),
            parquet(columns(), |properties| {
                properties
                    .set_dictionary_enabled(false)
                    .set_compression(Codec::SNAPPY)
            }),
        ),
    ]
}

/// Slices in every output format, of requests with few and with many columns.
pub fn written() -> &'static [Vec<u8>] {
    static WRITTEN: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    WRITTEN.get_or_init(|| {
        let folder = TempDir::with_prefix("omega-fuzz-seeds-").expect("a folder");
        let symbols = ["A", "B"];
        for symbol in symbols {
            fs::create_dir(folder.path().join(symbol)).expect("a folder");
            for (series, file) in sound_files() {
                let name = format!("{symbol}/{symbol}_{series}.parquet");
                fs::write(folder.path().join(name), file).expect("a file");
            }
        }
        let request = || {
            Request::builder(folder.path())
                .symbols(symbols)
                .price_types([PriceType::Bid])
        };
        let further: omega_slices::HigherTimeframe = "M5".parse().expect("a timeframe");
        let (start_ns, end_ns) = middle_ns();
        let window = request().start_ns(Some(start_ns)).end_ns(Some(end_ns));
        let full = window
            .clone()
            .timeline(Timeline::Union)
            .fill(Fill::Forward)
            .max_age(Some("5bars".parse().expect("an age")))
            .higher_timeframes([further])
            .indicators(["Open", "Close"]);
        let nothing = request().start_ns(Some(0)).end_ns(Some(0));
        let one = request().symbols(["B"]);
        let requests = [request(), full, window, one, nothing];
        let forms = [Format::Stream, Format::File]
            .into_iter()
            .flat_map(|format| {
                [None, Some(Compression::Lz4), Some(Compression::Zstd)]
                    .map(|compression| WriteOptions::new(format).with_compression(compression))
            });
        let requests = requests.map(|request| request.build().expect("a request"));
        let pairs = forms.flat_map(|form| requests.iter().map(move |request| (form, request)));
        pairs
            .map(|(form, request)| {
                let mut bytes = Vec::new();
                let options = ReadOptions::new();
                let mut batches = SliceBatches::open(request, &options).expect("sound files");
                ipc::write(&mut batches, form, &mut bytes, |_, _| {}).expect("slices");
                bytes
            })
            .collect()
    })
}
