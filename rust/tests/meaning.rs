//! Tests the meaning of files with the library: guards against misreading, timestamps of every
//! form, days of zones, and duplicate rows.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Array, DictionaryArray, Float64Array, Int32Array, Int64Array, LargeStringArray,
    StringArray, UInt64Array,
};
use arrow::datatypes::{DataType, Int32Type, TimeUnit};
use chrono::{Datelike, NaiveDate, TimeZone};
use chrono_tz::America::New_York;
use common::{MINUTE, Row, timestamps};
use omega_slices::{
    Ambiguous, Code, Days, DuplicatePolicy, Error, MultiSymbolDataIterator, PathTemplate,
    PriceType, ReadOptions, Report, Request, RequestBuilder, SliceBatches, Stamped, Timeline,
    TimestampUnit, Warning, Zone, inputs, parse_timestamp,
};
use proptest::prelude::*;
use tempfile::TempDir;

const DAY: i64 = 1_440 * MINUTE;

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn ns(text: &str) -> i64 {
    parse_timestamp(text).expect(text)
}

fn template(text: &str) -> Option<PathTemplate> {
    Some(PathTemplate::parse(text).expect("a template"))
}

/// The trades of A, in the file A.parquet.
fn request(root: &Path) -> RequestBuilder {
    Request::builder(root)
        .symbols(["A"])
        .price_types([PriceType::Trade])
        .path_template(template("{root}/{symbol}.parquet"))
}

fn write(path: &Path, times: ArrayRef) {
    let values = common::plain_values(times.len(), 1.0);
    let columns = [("UTC time".to_owned(), times)].into_iter().chain(values);
    common::write_columns(path, columns.collect(), 1_024);
}

/// The timestamps of all slices, the report and the warnings.
fn run(builder: RequestBuilder) -> Result<(Vec<i64>, Report, Vec<Warning>), Error> {
    run_with(builder, &ReadOptions::new())
}

fn run_with(
    builder: RequestBuilder,
    options: &ReadOptions,
) -> Result<(Vec<i64>, Report, Vec<Warning>), Error> {
    let mut batches = SliceBatches::open(&builder.build()?, options)?;
    let mut slice_timestamps = Vec::new();
    for batch in batches.by_ref() {
        slice_timestamps.extend(batch?.slices().map(|slice| slice.timestamp_ns()));
    }
    Ok((
        slice_timestamps,
        batches.report(),
        batches.warnings().to_vec(),
    ))
}

fn slice_timestamps(builder: RequestBuilder) -> Vec<i64> {
    run(builder).expect("slices").0
}

fn failure(builder: RequestBuilder) -> Error {
    match run(builder) {
        Ok((slice_timestamps, ..)) => panic!("no error, but slices at {slice_timestamps:?}"),
        Err(error) => {
            assert!(error.hint().is_some(), "an error without a hint: {error}");
            error
        }
    }
}

fn warnings(builder: RequestBuilder) -> Vec<&'static str> {
    let (_, _, warnings) = run(builder).expect("slices");
    warnings.into_iter().map(|warning| warning.name).collect()
}

fn minutes(count: i64) -> Vec<i64> {
    (0..count)
        .map(|minute| ns("2024-06-03") + minute * MINUTE)
        .collect()
}

/// A timestamp column with or without a zone in its type.
fn in_zone(zone: Option<&str>, times_ns: Vec<i64>) -> ArrayRef {
    let data_type = DataType::Timestamp(TimeUnit::Nanosecond, zone.map(Into::into));
    arrow::compute::cast(&Int64Array::from(times_ns), &data_type).expect("a timestamp column")
}

fn in_unit(unit: i64, times_ns: &[i64]) -> Vec<i64> {
    times_ns.iter().map(|time_ns| time_ns / unit).collect()
}

// --- Guards ------------------------------------------------------------------------------------

/// Writes a file of candles with one more column.
fn with_column(path: &Path, name: &str, column: ArrayRef) {
    let times = minutes(column.len() as i64).into_iter().map(Some).collect();
    let columns = [(
        "UTC time".to_owned(),
        timestamps(TimeUnit::Nanosecond, times),
    )]
    .into_iter()
    .chain(common::plain_values(column.len(), 1.0))
    .chain([(name.to_owned(), column)]);
    common::write_columns(path, columns.collect(), 2);
}

#[test]
fn a_column_of_several_instruments_is_refused() {
    let root = folder();
    let path = root.path().join("A.parquet");
    let texts = ["X", "X", "X", "Y"];
    let columns: [(&str, ArrayRef); 6] = [
        ("symbol", Arc::new(StringArray::from(texts.to_vec()))),
        ("Ticker", Arc::new(LargeStringArray::from(texts.to_vec()))),
        (
            "INSTRUMENT",
            Arc::new(texts.into_iter().collect::<DictionaryArray<Int32Type>>()),
        ),
        (
            "instrument_id",
            Arc::new(Int64Array::from(vec![7, 7, 7, 8])),
        ),
        ("pair", Arc::new(Int32Array::from(vec![-1, -1, -1, -2]))),
        (
            "code",
            Arc::new(Float64Array::from(vec![
                Some(1.0),
                None,
                Some(f64::NAN),
                Some(2.0),
            ])),
        ),
    ];
    for (name, column) in columns {
        with_column(&path, name, column);
        let error = failure(request(root.path()));
        assert_eq!(error.code(), Code::AmbiguousInput, "{name}");
        let place = error.location();
        assert_eq!(place.row, Some(3), "{name}");
        assert_eq!(place.column.as_deref(), Some(name));
        assert_eq!(place.symbol.as_deref(), Some("A"));
        assert_eq!(place.price_type, Some(PriceType::Trade));
        assert_eq!(
            slice_timestamps(request(root.path()).one_instrument(true)).len(),
            4
        );
        // In any window.
        let narrow = request(root.path()).end_ns(Some(minutes(1)[0]));
        assert_eq!(failure(narrow).code(), Code::AmbiguousInput, "{name}");
    }
}

#[test]
fn one_instrument_and_columns_of_other_names_are_none_of_its_business() {
    let root = folder();
    let path = root.path().join("A.parquet");
    let columns: [(&str, ArrayRef); 4] = [
        (
            "symbol",
            Arc::new(StringArray::from(vec![Some("X"), None, Some("X")])),
        ),
        ("exchange", Arc::new(StringArray::from(vec!["X", "Y", "Z"]))),
        ("symbols", Arc::new(StringArray::from(vec!["X", "Y", "Z"]))),
        ("asset", Arc::new(Date32Array::from(vec![1, 2, 3]))),
    ];
    for (name, column) in columns {
        with_column(&path, name, column);
        assert_eq!(slice_timestamps(request(root.path())).len(), 3, "{name}");
    }
}

#[test]
fn files_of_one_series_hold_one_instrument_together() {
    let root = folder();
    let parts = request(root.path()).path_template(template("{root}/{symbol}/*.parquet"));
    for (name, value) in [("1", "X"), ("2", "Y")] {
        let path = root.path().join("A").join(format!("{name}.parquet"));
        with_column(
            &path,
            "symbol",
            Arc::new(StringArray::from(vec![value, value])),
        );
    }
    let error = failure(parts.clone());
    assert_eq!(error.code(), Code::AmbiguousInput);
    assert!(
        error.message().contains("\"X\"") && error.message().contains("\"Y\""),
        "{error}"
    );
    assert!(
        error
            .location()
            .file
            .as_deref()
            .is_some_and(|file| file.ends_with("2.parquet"))
    );
    assert_eq!(
        run(parts.one_instrument(true)).expect("slices").1.series[0].duplicates,
        2
    );
}

#[test]
fn instruments_of_files_with_indicators_count_too() {
    let root = folder();
    write(
        &root.path().join("A.parquet"),
        timestamps(
            TimeUnit::Nanosecond,
            minutes(2).into_iter().map(Some).collect(),
        ),
    );
    with_column(
        &root.path().join("A_IND.parquet"),
        "symbol",
        Arc::new(StringArray::from(vec!["X", "Y"])),
    );
    let with_indicators = request(root.path())
        .indicators(["Open"])
        .indicator_template(template("{root}/{symbol}_IND.parquet"));
    let error = failure(with_indicators);
    assert_eq!(
        (error.code(), error.location().price_type),
        (Code::AmbiguousInput, None)
    );
}

#[test]
fn a_star_beside_the_symbol_is_always_refused() {
    let root = folder();
    let times = || {
        timestamps(
            TimeUnit::Nanosecond,
            minutes(2).into_iter().map(Some).collect(),
        )
    };
    write(&root.path().join("BTC-1m-2023.parquet"), times());
    let loose = request(root.path())
        .path_template(template("{root}/{symbol}*.parquet"))
        .symbols(["BTC"]);
    assert_eq!(failure(loose.clone()).code(), Code::AmbiguousInput);
    assert_eq!(
        failure(loose.clone().all_symbols()).code(),
        Code::AmbiguousInput
    );
    write(&root.path().join("BTC_230331-1m-2023.parquet"), times());
    let error = failure(loose);
    assert!(error.message().contains("BTC_230331"), "{error}");
    assert_eq!(error.location().symbol.as_deref(), Some("BTC"));
    assert_eq!(error.location().price_type, Some(PriceType::Trade));
}

#[test]
fn a_file_belongs_to_one_symbol() {
    let root = folder();
    let times = || {
        timestamps(
            TimeUnit::Nanosecond,
            minutes(2).into_iter().map(Some).collect(),
        )
    };
    for name in ["ES_2023", "ES_MICRO_2023", "BTC_230331_2023-01"] {
        write(&root.path().join(format!("{name}.parquet")), times());
    }
    let named = |symbols: &[&str]| {
        request(root.path())
            .path_template(template("{root}/{symbol}_*.parquet"))
            .symbols(symbols.iter().copied())
    };
    for symbol in ["ES_MICRO", "BTC_230331"] {
        assert_eq!(slice_timestamps(named(&[symbol])).len(), 2, "{symbol}");
    }
    for (symbol, owner) in [("ES", "ES_MICRO"), ("BTC", "BTC_230331")] {
        let error = failure(named(&[symbol]));
        assert_eq!(error.code(), Code::AmbiguousInput, "{symbol}");
        assert!(error.message().contains(owner), "{error}");
    }
    let all = named(&["ES"]).all_symbols().timeline(Timeline::Union);
    let batches = SliceBatches::open(
        &all.clone().build().expect("a request"),
        &ReadOptions::new(),
    );
    assert_eq!(
        batches.expect("it opens").symbols(),
        ["BTC_230331", "ES", "ES_MICRO"]
    );
    // A pattern decides which readings count.
    let pattern = |text: &str| Some(text.parse().expect("a pattern"));
    let matched = named(&["ES"]).symbol_pattern(pattern("[A-Z]+|BTC_[0-9]+"));
    assert_eq!(run(matched).expect("slices").1.series[0].files, 2);
    let other = named(&["ES"]).symbol_pattern(pattern("[A-Z]+_[A-Z]+"));
    assert_eq!(failure(other).code(), Code::Usage);
}

#[test]
fn a_file_belongs_to_one_timeframe() {
    let root = folder();
    let times = || {
        timestamps(
            TimeUnit::Nanosecond,
            minutes(2).into_iter().map(Some).collect(),
        )
    };
    write(&root.path().join("A_M1_2024.parquet"), times());
    let loose =
        request(root.path()).path_template(template("{root}/{symbol}_{timeframe}*.parquet"));
    assert_eq!(slice_timestamps(loose.clone()).len(), 2);
    write(&root.path().join("A_M15_2024.parquet"), times());
    let error = failure(loose.clone());
    assert_eq!(error.code(), Code::AmbiguousInput);
    assert!(error.message().contains("M15"), "{error}");
    let longer = loose.timeframe("M15".parse().expect("a timeframe"));
    assert_eq!(run(longer).expect("slices").1.series[0].files, 1);
    let tight =
        request(root.path()).path_template(template("{root}/{symbol}_{timeframe}_*.parquet"));
    assert_eq!(run(tight).expect("slices").1.series[0].files, 1);
}

#[test]
fn folders_of_tables_are_refused_wherever_they_lie_on_the_way() {
    for (table, marker) in [
        ("A", "_delta_log/0.json"),
        ("", "_delta_log/0.json"),
        ("A/year=2024", ".hoodie/hoodie.properties"),
        ("A", "metadata/v1.metadata.json"),
        ("A", "metadata/v1.metadata.json.gz"),
        // Above the root.
        ("..", "_delta_log/0.json"),
        ("../..", "metadata/v1.metadata.json"),
    ] {
        let lake = folder();
        let root = lake.path().join("prices/daily");
        let times = timestamps(
            TimeUnit::Nanosecond,
            minutes(2).into_iter().map(Some).collect(),
        );
        fs::create_dir_all(root.join("A/year=2024")).expect("a folder");
        write(&root.join("A/year=2024/part.parquet"), times);
        let parted = || request(&root).path_template(template("{root}/{symbol}/*/*.parquet"));
        assert_eq!(slice_timestamps(parted()).len(), 2);
        let marker = root.join(table).join(marker);
        fs::create_dir_all(marker.parent().expect("a folder")).expect("a folder");
        fs::write(&marker, "{}").expect("a file");
        let error = failure(parted());
        assert_eq!(error.code(), Code::UnsupportedInput, "{marker:?}");
        assert_eq!(error.location().symbol.as_deref(), Some("A"));
        // A link does not bypass the check.
        let link = lake.path().join("link");
        std::os::unix::fs::symlink(&root, &link).expect("a link");
        let linked = request(&link).path_template(template("{root}/{symbol}/*/*.parquet"));
        assert_eq!(failure(linked).code(), Code::UnsupportedInput, "{marker:?}");
    }
    // Similar names that are not tables.
    let root = folder();
    let times = timestamps(
        TimeUnit::Nanosecond,
        minutes(2).into_iter().map(Some).collect(),
    );
    write(&root.path().join("A.parquet"), times);
    fs::create_dir(root.path().join("metadata")).expect("a folder");
    fs::write(root.path().join("metadata/notes.json"), "{}").expect("a file");
    fs::write(root.path().join("_delta_log"), "a file").expect("a file");
    assert_eq!(slice_timestamps(request(root.path())).len(), 2);
}

#[test]
fn other_formats_are_named() {
    let root = folder();
    let path = root.path().join("A.parquet");
    for (content, format) in [
        (&b"ARROW1\0\0and so on"[..], "Arrow"),
        (b"FEA1....", "Feather"),
        (b"\x1f\x8b\x08....", "gzip"),
        (b"PK\x03\x04....", "zip"),
        (b"\x89HDF\r\n\x1a\n...", "HDF5"),
        (b"SQLite format 3\0...", "SQLite"),
        (b"[{\"ts\": 1}]", "JSON"),
        (b"ts,open\n1,2\n", "CSV"),
        (b"PARE....PARE", "encrypted"),
    ] {
        fs::write(&path, content).expect("a file");
        let error = failure(request(root.path()));
        assert_eq!(error.code(), Code::UnsupportedInput, "{format}");
        assert!(error.message().contains(format), "{error}");
        assert_eq!(error.location().file.as_deref(), Some(path.as_path()));
    }
}

#[test]
fn places_that_are_no_local_path_are_named_by_their_scheme() {
    for scheme in ["hdfs", "ftp", "abfs"] {
        let place = format!("{scheme}://bucket/candles");
        let everywhere = [
            request(Path::new(&place)),
            request(Path::new("root")).path_template(template(&format!("{place}/{{symbol}}"))),
            request(Path::new("root")).session_file(Some(place.clone().into())),
            Request::builder("")
                .symbols(["A"])
                .inputs(Some(place.clone().into())),
        ];
        for builder in everywhere {
            let error = builder.build().expect_err("no local path");
            assert_eq!(error.code(), Code::UnsupportedInput);
            assert!(error.message().contains(scheme), "{error}");
        }
    }
}

#[test]
fn dates_do_not_stamp_minutes() {
    let root = folder();
    let path = root.path().join("A.parquet");
    write(&path, Arc::new(Date32Array::from(vec![19_724, 19_725])));
    let error = failure(request(root.path()));
    assert_eq!(error.code(), Code::SchemaMismatch);
    assert_eq!(error.location().column.as_deref(), Some("UTC time"));
    let days = request(root.path()).timeframe("D1".parse().expect("a timeframe"));
    assert_eq!(
        slice_timestamps(days.clone()),
        [ns("2024-01-02"), ns("2024-01-03")]
    );
    for date in ["2024-01-03", "20240103"] {
        write(
            &path,
            Arc::new(StringArray::from(vec!["2024-01-02 00:00:00", date])),
        );
        let error = failure(request(root.path()));
        assert_eq!(
            (error.code(), error.location().row),
            (Code::SchemaMismatch, Some(1))
        );
        assert_eq!(
            slice_timestamps(days.clone()),
            [ns("2024-01-02"), ns("2024-01-03")]
        );
    }
}

#[test]
fn days_of_another_zone_are_not_floored_without_a_word() {
    let root = folder();
    let path = root.path().join("A.parquet");
    // Midnight in Paris, in summer.
    let midnights = vec![
        ns("2024-06-02T22:00"),
        ns("2024-06-03T22:00"),
        ns("2024-06-04T22:00"),
    ];
    let days = |builder: RequestBuilder| {
        builder
            .timeframe("D1".parse().expect("a timeframe"))
            .normalize(true)
    };
    write(&path, in_zone(Some("Europe/Paris"), midnights.clone()));
    let error = failure(days(request(root.path())));
    assert_eq!(error.code(), Code::AmbiguousInput);
    assert!(error.message().contains("Europe/Paris"), "{error}");
    let local = days(request(root.path())).days(Some(Days::Local));
    let dates = [ns("2024-06-03"), ns("2024-06-04"), ns("2024-06-05")];
    assert_eq!(slice_timestamps(local), dates);
    let utc = days(request(root.path())).days(Some(Days::Utc));
    assert_eq!(slice_timestamps(utc), dates.map(|date| date - DAY));
    // A zone that the writer lost.
    write(&path, in_zone(Some("UTC"), midnights));
    assert_eq!(warnings(days(request(root.path()))), ["LOCAL_DAYS"]);
    let chosen = days(request(root.path())).days(Some(Days::Utc));
    assert_eq!(warnings(chosen), [""; 0]);
    let paris = Some(Zone::named("Europe/Paris").expect("a zone"));
    let named = days(request(root.path()))
        .days(Some(Days::Local))
        .zone(paris.clone());
    assert_eq!(slice_timestamps(named), dates);
    // Dates are days of the given zone, like local times.
    let of_1970 = dates.map(|date| i32::try_from(date / DAY).expect("a date"));
    write(&path, Arc::new(Date32Array::from(of_1970.to_vec())));
    assert_eq!(slice_timestamps(days(request(root.path()))), dates);
    let zoned = || days(request(root.path())).zone(paris.clone());
    assert_eq!(failure(zoned()).code(), Code::AmbiguousInput);
    assert_eq!(slice_timestamps(zoned().days(Some(Days::Local))), dates);
}

#[test]
fn steps_that_contradict_the_timeframe_are_warned_of() {
    let root = folder();
    let path = root.path().join("A.parquet");
    let every = |step: i64, count: i64| {
        let times = (0..count)
            .map(|number| Some(ns("2024-06-03") + number * step))
            .collect();
        timestamps(TimeUnit::Nanosecond, times)
    };
    let of = |timeframe: &str| request(root.path()).timeframe(timeframe.parse().expect("one"));
    write(&path, every(5 * MINUTE, 21));
    let (_, _, found) = run(of("M1")).expect("slices");
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].name, "TIMEFRAME_MISMATCH");
    assert!(found[0].message.contains("M5 fits"), "{}", found[0].message);
    assert_eq!(found[0].file.as_deref(), Some(path.as_path()));
    assert_eq!(found[0].price_type, Some(PriceType::Trade));
    assert_eq!(warnings(of("M5")), [""; 0]);
    assert_eq!(warnings(of("M15")), ["TIMEFRAME_MISMATCH"]);
    // Only the finished series counts, without rows outside the window.
    let narrow = of("M1").end_ns(Some(ns("2024-06-03T01:00")));
    assert_eq!(warnings(narrow), [""; 0]);
    assert_eq!(
        warnings(of("H1").normalize(true)),
        ["CONFLICTING_DUPLICATES"; 0]
    );
}

#[test]
fn a_strict_run_fails_of_what_it_would_warn_of() {
    let root = folder();
    let path = root.path().join("A.parquet");
    let strict = ReadOptions::new().with_strict(true);
    let times = |times: &[i64]| {
        timestamps(
            TimeUnit::Nanosecond,
            times.iter().copied().map(Some).collect(),
        )
    };
    let mut shuffled = minutes(5);
    shuffled.swap(1, 3);
    for (stored, builder, code) in [
        (shuffled, request(root.path()), Code::UnsortedInput),
        (
            vec![0, 30_000_000_000],
            request(root.path()),
            Code::TimeframeMismatch,
        ),
        (
            minutes(5),
            request(root.path()).start_ns(Some(ns("2025-01-01"))),
            Code::EmptyTimeline,
        ),
    ] {
        write(&path, times(&stored));
        assert!(run(builder.clone()).is_ok());
        let error = run_with(builder, &strict).expect_err("a warning");
        assert_eq!(error.code(), code);
    }
    write(&path, times(&minutes(5)));
    assert_eq!(
        run_with(request(root.path()), &strict).expect("slices").0,
        minutes(5)
    );
}

// --- Time ----------------------------------------------------------------------------------------

#[test]
fn integers_need_a_unit_and_get_the_one_that_fits_named() {
    let root = folder();
    let path = root.path().join("A.parquet");
    let times = minutes(3);
    for (unit, per) in [
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
        ("us", 1_000),
        ("ns", 1),
    ] {
        let ticks = in_unit(per, &times);
        let unsigned: Vec<u64> = ticks.iter().map(|&tick| tick.cast_unsigned()).collect();
        let columns: [ArrayRef; 2] = [
            Arc::new(Int64Array::from(ticks)),
            Arc::new(UInt64Array::from(unsigned)),
        ];
        for column in columns {
            write(&path, column);
            let error = failure(request(root.path()));
            assert_eq!(error.code(), Code::SchemaMismatch);
            let hint = error.hint().map(ToString::to_string).unwrap_or_default();
            assert!(hint.ends_with(&format!("({unit})")), "{hint}");
            for given in [unit, "magnitude"] {
                let given: TimestampUnit = given.parse().expect("a unit");
                let read = request(root.path()).timestamp_unit(Some(given));
                let (slice_timestamps, report, _) = run(read).expect("slices");
                assert_eq!(slice_timestamps, times);
                assert_eq!(report.series[0].timestamp_units[0].unit.as_str(), unit);
            }
        }
        let other = if unit == "ns" { "us" } else { "ns" };
        let wrong = request(root.path()).timestamp_unit(Some(other.parse().expect("a unit")));
        assert_eq!(
            failure(wrong).code(),
            Code::SchemaMismatch,
            "{unit} as {other}"
        );
    }
    // Values outside 1990 to 2100 follow the given unit.
    write(&path, Arc::new(Int64Array::from(vec![-60, 0, 60])));
    let seconds = request(root.path()).timestamp_unit(Some(TimestampUnit::Seconds));
    assert_eq!(slice_timestamps(seconds), [-MINUTE, 0, MINUTE]);
    // A unit that changes within a file.
    write(
        &path,
        Arc::new(Int64Array::from(vec![
            1_717_372_800_000,
            1_717_372_860_000_000,
        ])),
    );
    let error = failure(request(root.path()).timestamp_unit(Some(TimestampUnit::Magnitude)));
    assert_eq!(
        (error.code(), error.location().row),
        (Code::CorruptInput, Some(1))
    );
    // Dates as integers fit no unit, so the hint must not propose one that gives days of 1970.
    let days = Arc::new(Int64Array::from(vec![20_240_102, 20_240_103]));
    write(&root.path().join("A.parquet"), days);
    for unit in [None, Some(TimestampUnit::Magnitude)] {
        let error = failure(request(root.path()).timestamp_unit(unit));
        let hint = error.hint().expect("a hint").to_string();
        assert!(hint.contains("YYYYMMDD") && !hint.contains("ms"), "{hint}");
    }
}

#[test]
fn a_wall_clock_is_read_in_its_zone() {
    let root = folder();
    let path = root.path().join("A.parquet");
    let new_york = || {
        let zone = Zone::named("America/New_York").expect("a zone");
        request(root.path())
            .zone(Some(zone))
            .timeline(Timeline::Union)
    };
    // Half hours over the end of summer time: 00:30, 01:00, 01:30, 01:00, 01:30, 02:00.
    let walls: Vec<_> = [30, 60, 90, 60, 90, 120]
        .map(|minute| ns("2024-11-03") + minute * MINUTE)
        .to_vec();
    let stored = || {
        timestamps(
            TimeUnit::Microsecond,
            in_unit(1_000, &walls).into_iter().map(Some).collect(),
        )
    };
    write(&path, stored());
    let error = failure(new_york());
    assert_eq!(
        (error.code(), error.location().row),
        (Code::CorruptInput, Some(1))
    );
    let half_hours: Vec<_> = (9..15)
        .map(|half| ns("2024-11-03") + half * 30 * MINUTE)
        .collect();
    assert_eq!(
        slice_timestamps(new_york().ambiguous(Ambiguous::Infer)),
        half_hours
    );
    let earlier = [270, 300, 330, 420].map(|minute| ns("2024-11-03") + minute * MINUTE);
    assert_eq!(
        slice_timestamps(new_york().ambiguous(Ambiguous::Earlier)),
        earlier
    );
    let later = [270, 360, 390, 420].map(|minute| ns("2024-11-03") + minute * MINUTE);
    assert_eq!(
        slice_timestamps(new_york().ambiguous(Ambiguous::Later)),
        later
    );
    // Times out of reach are never ambiguous.
    assert_eq!(
        slice_timestamps(new_york().start_ns(Some(ns("2024-11-03T06:45")))),
        [half_hours[5]]
    );
    // A third pass, or no second pass.
    for (walls, row) in [(vec![60, 90, 60, 90, 60], 4), (vec![60, 90, 120], 0)] {
        let walls = walls
            .iter()
            .map(|minute| Some(ns("2024-11-03") + minute * MINUTE))
            .collect();
        write(&path, timestamps(TimeUnit::Nanosecond, walls));
        let error = failure(new_york().ambiguous(Ambiguous::Infer));
        assert_eq!(
            (error.code(), error.location().row),
            (Code::CorruptInput, Some(row))
        );
    }
    // The hour that the clocks skip.
    let skipped = vec![Some(ns("2024-03-10T01:59")), Some(ns("2024-03-10T02:00"))];
    write(&path, timestamps(TimeUnit::Nanosecond, skipped));
    let error = failure(new_york().ambiguous(Ambiguous::Earlier));
    assert_eq!(
        (error.code(), error.location().row),
        (Code::CorruptInput, Some(1))
    );
}

/// The second pass of an hour may start in another file, with any names.
#[test]
fn two_passes_of_an_hour_may_lie_in_two_files() {
    let root = folder();
    let walls = |minutes: &[i64]| {
        let walls = minutes
            .iter()
            .map(|minute| Some(ns("2024-11-03") + minute * MINUTE))
            .collect();
        timestamps(TimeUnit::Nanosecond, walls)
    };
    // Files are read in order of time: the one that starts earlier first.
    write(&root.path().join("A/b.parquet"), walls(&[30, 60, 90]));
    write(&root.path().join("A/a.parquet"), walls(&[60, 90, 120]));
    let zone = Zone::named("America/New_York").expect("a zone");
    let parts = request(root.path())
        .path_template(template("{root}/{symbol}/*.parquet"))
        .zone(Some(zone))
        .ambiguous(Ambiguous::Infer);
    let (slice_timestamps, report, warnings) = run(parts).expect("slices");
    let expected: Vec<_> = (9..15)
        .map(|half| ns("2024-11-03") + half * 30 * MINUTE)
        .collect();
    assert_eq!(slice_timestamps, expected);
    assert!(report.series[0].sorted);
    assert!(
        warnings
            .iter()
            .all(|warning| warning.name != "UNSORTED_INPUT")
    );
}

#[test]
fn files_are_read_in_order_of_time_and_win_in_order_of_names() {
    let root = folder();
    let parts = |values: &[(&str, &[i64], f64)]| {
        for (name, rows, value) in values {
            let rows: Vec<Row> = rows
                .iter()
                .map(|minute| (minute * MINUTE, [Some(*value); 5]))
                .collect();
            common::write(
                &root.path().join("A").join(format!("{name}.parquet")),
                &rows,
                2,
            );
        }
    };
    // Month 10 comes before month 2 by name.
    parts(&[
        ("1", &[0, 1], 1.0),
        ("10", &[4, 5], 10.0),
        ("2", &[1, 2, 3, 4], 2.0),
    ]);
    let request = request(root.path()).path_template(template("{root}/{symbol}/*.parquet"));
    let (_, report, warnings) = run(request.clone()).expect("slices");
    assert!(report.series[0].sorted);
    assert_eq!(report.series[0].duplicates, 2);
    assert_eq!(report.series[0].conflicting_duplicates, 2);
    let names: Vec<_> = warnings.iter().map(|warning| warning.name).collect();
    assert_eq!(names, ["CONFLICTING_DUPLICATES"]);
    let closes = |policy: DuplicatePolicy| -> Vec<f64> {
        let request = request
            .clone()
            .duplicates(policy)
            .build()
            .expect("a request");
        let slices = MultiSymbolDataIterator::open(&request, &ReadOptions::new());
        let slices = slices
            .expect("it opens")
            .map(|slice| slice.expect("a slice"));
        slices
            .map(|slice| slice.get("A", PriceType::Trade).expect("a candle").close)
            .collect()
    };
    // Of 1 and 2, 2 is last by name; of 2 and 10 too, though it is read first.
    assert_eq!(
        closes(DuplicatePolicy::Last),
        [1.0, 2.0, 2.0, 2.0, 2.0, 10.0]
    );
    assert_eq!(
        closes(DuplicatePolicy::First),
        [1.0, 1.0, 2.0, 2.0, 10.0, 10.0]
    );
}

#[test]
fn files_without_rows_are_passed_over_whatever_they_hold() {
    let root = folder();
    let path = |name: &str| root.path().join("A").join(format!("{name}.parquet"));
    common::write(&path("1"), &[common::row(0, 1.0)], 2);
    common::write_columns(
        &path("2"),
        vec![("odd".into(), Arc::new(StringArray::from(vec![""; 0])))],
        2,
    );
    common::write(&path("3"), &[common::row(MINUTE, 1.0)], 2);
    let request = request(root.path()).path_template(template("{root}/{symbol}/*.parquet"));
    let (slice_timestamps, report, _) = run(request).expect("slices");
    assert_eq!(slice_timestamps, [0, MINUTE]);
    assert_eq!((report.series[0].files, report.series[0].rows), (3, 2));
}

#[test]
fn rows_beyond_nanoseconds_count_as_outside_of_a_window_that_excludes_them() {
    let root = folder();
    let path = root.path().join("A.parquet");
    let seconds = vec![Some(0), Some(60), Some(253_402_300_799)];
    write(&path, timestamps(TimeUnit::Second, seconds.clone()));
    assert_eq!(failure(request(root.path())).location().row, Some(2));
    let ended = request(root.path()).end_ns(Some(DAY));
    let (slice_timestamps, report, _) = run(ended.clone()).expect("slices");
    assert_eq!(slice_timestamps, [0, MINUTE]);
    assert_eq!(report.series[0].outside_window(), 1);
    assert!(run(request(root.path()).start_ns(Some(0))).is_err());
    let zone = Zone::named("Asia/Tokyo").expect("a zone");
    assert_eq!(
        run(ended.zone(Some(zone)).stamped(Stamped::Close))
            .expect("slices")
            .0
            .len(),
        2
    );
}

// --- Rows that share a timestamp -----------------------------------------------------------

/// A row: minute, close.
type Small = (i64, u8);

/// The rows of each file, and their order by name.
fn shared_rows() -> impl Strategy<Value = Vec<Vec<Small>>> {
    let file = prop::collection::vec((0..12_i64, 0..2_u8), 0..12);
    let file = (file, any::<bool>()).prop_map(|(mut rows, sorted)| {
        if sorted {
            rows.sort_by_key(|row| row.0);
        }
        rows
    });
    prop::collection::vec(file, 1..4)
}

/// NaN in place of 0, to test that it equals itself.
fn close_of(value: u8) -> f64 {
    if value == 0 {
        f64::NAN
    } else {
        f64::from(value)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn rows_that_share_a_timestamp_are_chosen_and_counted_as_the_rules_say(
        files in shared_rows(),
        policy in prop::option::of(prop::sample::select(DuplicatePolicy::ALL)),
        normalize in any::<bool>(),
        (chunk_rows, group_rows) in (1..20_usize, 1..5_usize),
    ) {
        let root = folder();
        for (number, rows) in files.iter().enumerate() {
            let rows: Vec<Row> = rows
                .iter()
                .map(|(minute, value)| (minute * MINUTE, [Some(close_of(*value)); 5]))
                .collect();
            common::write(&root.path().join("A").join(format!("{number}.parquet")), &rows, group_rows);
        }
        let timeframe = if normalize { "M5" } else { "M1" };
        let builder = request(root.path())
            .path_template(template("{root}/{symbol}/*.parquet"))
            .timeframe(timeframe.parse().expect("a timeframe"))
            .normalize(normalize)
            .duplicates(policy);
        let step = if normalize { 5 * MINUTE } else { MINUTE };
        let mut by_stamp: BTreeMap<i64, Vec<u8>> = BTreeMap::new();
        for (minute, value) in files.iter().flatten() {
            let at = minute * MINUTE;
            by_stamp.entry(at - at % step).or_default().push(*value);
        }
        let conflicts = by_stamp.values().filter(|values| values.iter().any(|one| *one != values[0]));
        let conflicts = conflicts.count() as u64;
        let repeats = by_stamp.values().map(|values| values.len() as u64 - 1).sum::<u64>();
        let chunk = NonZeroUsize::new(chunk_rows).expect("not zero");
        let options = ReadOptions::new().with_chunk_rows(chunk);
        let made = builder.clone().build().expect("a request");
        let fails = match policy {
            Some(DuplicatePolicy::Error) => repeats > 0,
            Some(DuplicatePolicy::Identical) => conflicts > 0,
            _ => false,
        };
        if fails {
            let error = run_with(builder, &options).expect_err("rows that share a timestamp");
            prop_assert_eq!(error.code(), Code::DuplicateTimestamp);
            prop_assert!(error.location().row.is_some() && error.location().file.is_some());
            return Ok(());
        }
        let (_, report, warnings) = run_with(builder, &options).expect("slices");
        let series = &report.series[0];
        prop_assert_eq!((series.duplicates, series.conflicting_duplicates), (repeats, conflicts));
        let warned = warnings.iter().any(|warning| warning.name == "CONFLICTING_DUPLICATES");
        prop_assert_eq!(warned, policy.is_none() && conflicts > 0);
        let expected: Vec<_> = by_stamp
            .iter()
            .map(|(&at, values)| match policy {
                Some(DuplicatePolicy::First) => (at, values[0]),
                _ => (at, *values.last().expect("one at least")),
            })
            .collect();
        let shown: Vec<_> = MultiSymbolDataIterator::open(&made, &options)
            .expect("it opens")
            .map(|slice| {
                let slice = slice.expect("a slice");
                let close = slice.get("A", PriceType::Trade).expect("a candle").close;
                (slice.timestamp_ns(), if close.is_nan() { 0 } else { close as u8 })
            })
            .collect();
        prop_assert_eq!(shown, expected);
    }
}

// --- Lists of inputs -----------------------------------------------------------------------

#[test]
fn what_is_listed_is_read_as_it_is_listed() {
    let root = folder();
    let path = root.path().join("odd/a file.parquet");
    let ticks = in_unit(1_000_000, &minutes(3));
    let columns = [(
        "when".to_owned(),
        Arc::new(Int64Array::from(ticks)) as ArrayRef,
    )]
    .into_iter()
    .chain(common::plain_values(3, 1.0));
    common::write_columns(&path, columns.collect(), 2);
    let list = root.path().join("inputs.json");
    let file = |more: &str| {
        format!(
            r#"{{"path": "odd/a file.parquet", "columns": {{"timestamp": "when"}}, "unit": "ms"{more}}}"#
        )
    };
    let series = |symbol: &str, files: &str| {
        format!(
            r#"{{"symbol": "{symbol}", "price_type": "trade", "timeframe": "M1", "files": [{files}]}}"#
        )
    };
    let document = |series: &[String]| format!(r#"{{"series": [{}]}}"#, series.join(", "));
    let listed = || {
        Request::builder("")
            .symbols(["A/B"])
            .price_types([PriceType::Trade])
            .inputs(Some(list.clone()))
    };
    fs::write(&list, document(&[series("A/B", &file(""))])).expect("a list");
    assert_eq!(slice_timestamps(listed()), minutes(3));
    assert_eq!(slice_timestamps(listed().all_symbols()), minutes(3));
    // The printed list can be read again.
    let found = inputs(&listed().build().expect("a request"), &ReadOptions::new());
    let found = found.expect("a list");
    let document_of = |found: &omega_slices::InputList| serde_json::to_string(found).expect("JSON");
    assert_eq!(found.series[0].files[0].rows, Some(3));
    assert_eq!(
        found.series[0].files[0].first_timestamp_ns,
        Some(minutes(1)[0])
    );
    assert_eq!(
        found.series[0].files[0].unit,
        Some(TimestampUnit::Milliseconds)
    );
    fs::write(&list, document_of(&found)).expect("a list");
    assert_eq!(slice_timestamps(listed()), minutes(3));
    // Contradictory and invalid lists.
    fs::write(&list, document(&[series("A/B", &file(""))])).expect("a list");
    for (builder, code) in [
        (
            listed().timestamp_unit(Some(TimestampUnit::Seconds)),
            Code::Usage,
        ),
        (listed().symbols(["C"]), Code::SymbolNotFound),
        (
            listed().timeframe("H1".parse().expect("a timeframe")),
            Code::TimeframeNotFound,
        ),
        (
            listed().price_types([PriceType::Bid]),
            Code::InvalidPriceType,
        ),
    ] {
        assert_eq!(failure(builder).code(), code);
    }
    assert!(
        Request::builder("root")
            .symbols(["A"])
            .inputs(Some(list.clone()))
            .build()
            .is_err()
    );
    let twice = document(&[series("A/B", &file("")), series("A/B", &file(""))]);
    for (text, code) in [
        ("no JSON".to_owned(), Code::CorruptInput),
        (twice, Code::CorruptInput),
        (document(&[series("A/B", "")]), Code::CorruptInput),
        (
            document(&[series("A/B", &file(r#", "size": 7"#))]),
            Code::CorruptInput,
        ),
        (
            document(&[series("A/B", &file(r#", "modified_ns": 7"#))]),
            Code::CorruptInput,
        ),
        (
            document(&[series("A/B", &file(r#", "sizes": 7"#))]),
            Code::CorruptInput,
        ),
        (
            document(&[series("A/B", r#""nowhere.parquet""#)]),
            Code::CorruptInput,
        ),
        (
            document(&[series("A/B", r#""hdfs://bucket/x.parquet""#)]),
            Code::UnsupportedInput,
        ),
        (
            document(&[series("A/B", &file(r#", "zone": "Nowhere""#))]),
            Code::CorruptInput,
        ),
    ] {
        fs::write(&list, &text).expect("a list");
        assert_eq!(failure(listed()).code(), code, "{text}");
    }
}

// --- Days of zones -------------------------------------------------------------------------------

/// The midnight in New York `day` days after 2024-01-01, by another library.
fn midnight_ns(day: i64) -> i64 {
    let first = NaiveDate::from_ymd_opt(2024, 1, 1).expect("a date");
    let date = first + chrono::Duration::days(day);
    let local = New_York.with_ymd_and_hms(date.year(), date.month(), date.day(), 0, 0, 0);
    local
        .single()
        .expect("midnight exists once")
        .timestamp_nanos_opt()
        .expect("it fits")
}

/// Of two rows of one date, the kept one may end later; until then it neither shows nor hides the
/// other.
#[test]
fn of_two_rows_of_a_date_each_shows_from_its_own_end_on() {
    let root = folder();
    let hours: Vec<_> = (0..40)
        .map(|hour| midnight_ns(2) + hour * 60 * MINUTE)
        .collect();
    write(
        &root.path().join("A_H1.parquet"),
        in_zone(Some("UTC"), hours),
    );
    let daily = |times: Vec<i64>| {
        let closes: Vec<_> = (0..times.len()).map(|row| 100.0 + row as f64).collect();
        let columns = [(
            "UTC time".to_owned(),
            in_zone(Some("America/New_York"), times),
        )];
        let values = ["Open", "High", "Low", "Close", "Volume"].map(|name| {
            let column: ArrayRef = Arc::new(Float64Array::from(closes.clone()));
            (name.to_owned(), column)
        });
        let columns = columns.into_iter().chain(values).collect();
        common::write_columns(&root.path().join("A_D1.parquet"), columns, 3);
    };
    let shown = |policy: DuplicatePolicy| -> Vec<Option<f64>> {
        let higher: omega_slices::HigherTimeframe = "D1".parse().expect("a timeframe");
        let request = request(root.path())
            .path_template(template("{root}/{symbol}_{timeframe}.parquet"))
            .timeframe("H1".parse().expect("a timeframe"))
            .higher_timeframes([higher])
            .days(Some(Days::Local))
            .duplicates(policy)
            .build()
            .expect("a request");
        let slices = MultiSymbolDataIterator::open(&request, &ReadOptions::new());
        let slices = slices
            .expect("it opens")
            .map(|slice| slice.expect("a slice"));
        let close = |slice: omega_slices::MultiSymbolSlice| {
            let candle = slice.get_candle("A", "D1", PriceType::Trade);
            candle.expect("it was requested").map(|candle| candle.close)
        };
        slices.map(close).collect()
    };
    let half_past_nine = midnight_ns(1) + 570 * MINUTE;
    daily(vec![midnight_ns(1), half_past_nine]);
    let both = [vec![Some(100.0); 10], vec![Some(101.0); 30]].concat();
    assert_eq!(shown(DuplicatePolicy::Last), both);
    assert_eq!(shown(DuplicatePolicy::First), [Some(100.0); 40]);
    // The later row first.
    daily(vec![half_past_nine, midnight_ns(1)]);
    assert_eq!(shown(DuplicatePolicy::Last), [Some(101.0); 40]);
    let both = [vec![Some(101.0); 10], vec![Some(100.0); 30]].concat();
    assert_eq!(shown(DuplicatePolicy::First), both);
    daily(vec![half_past_nine]);
    let alone = [vec![None; 10], vec![Some(100.0); 30]].concat();
    assert_eq!(shown(DuplicatePolicy::Last), alone);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// A day in New York is shown from its end on, and its age counts from there.
    #[test]
    fn days_of_a_zone_are_shown_from_their_end_on(
        days in prop::collection::btree_set(55..85_i64, 1..20),
        hours in prop::collection::btree_set(0..800_i64, 1..60),
        max_age_hours in prop::option::of(20..80_i64),
        (chunk_rows, naive) in (1..40_usize, any::<bool>()),
    ) {
        let root = folder();
        let first = ns("2024-02-25");
        let rows: Vec<Row> = hours.iter().map(|hour| common::row(first + hour * 60 * MINUTE, 1.0)).collect();
        common::write(&root.path().join("A_H1.parquet"), &rows, 7);
        // The clocks go forward on day 69.
        let shown = |day: i64| if naive { ns("2024-01-01") + day * DAY } else { midnight_ns(day) };
        let times: Vec<_> = days.iter().map(|&day| shown(day)).collect();
        let values: Vec<_> = days.iter().map(|&day| day as f64).collect();
        let zoned = in_zone((!naive).then_some("America/New_York"), times);
        let columns = [("UTC time".to_owned(), zoned)].into_iter();
        let columns = columns.chain(["Open", "High", "Low", "Close", "Volume"].map(|name| {
            (name.to_owned(), Arc::new(Float64Array::from(values.clone())) as ArrayRef)
        }));
        common::write_columns(&root.path().join("A_D1.parquet"), columns.collect(), 3);
        let higher = match max_age_hours {
            Some(hours) => format!("D1:max-age={hours}h"),
            None => "D1".to_owned(),
        };
        let higher: omega_slices::HigherTimeframe = higher.parse().expect("a timeframe");
        let builder = request(root.path())
            .path_template(template("{root}/{symbol}_{timeframe}.parquet"))
            .timeframe("H1".parse().expect("a timeframe"))
            .higher_timeframes([higher])
            .days(Some(Days::Local))
            .start_ns(Some(first + 100 * 60 * MINUTE))
            .zone(naive.then(|| Zone::named("America/New_York").expect("a zone")));
        let chunk = NonZeroUsize::new(chunk_rows).expect("not zero");
        let options = ReadOptions::new().with_chunk_rows(chunk);
        let request = builder.build().expect("a request");
        for slice in MultiSymbolDataIterator::open(&request, &options).expect("it opens") {
            let slice = slice.expect("a slice");
            let at = slice.timestamp_ns();
            let complete = days.iter().rev().find(|&&day| midnight_ns(day + 1) <= at);
            let expected = complete.filter(|&&day| {
                max_age_hours.is_none_or(|hours| at - (midnight_ns(day + 1) - DAY) <= hours * 60 * MINUTE)
            });
            let candle = slice.get_candle("A", "D1", PriceType::Trade).expect("it was requested");
            let shown = candle.map(|candle| (candle.timestamp_ns, candle.close));
            let expected = expected.map(|&day| (ns("2024-01-01") + day * DAY, day as f64));
            prop_assert_eq!(shown, expected, "at {}", at);
        }
    }
}
