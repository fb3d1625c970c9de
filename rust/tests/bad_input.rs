//! Tests missing, malformed and contradictory input. Each case ends with its code and location.
//! None panics, hangs or gives a result that looks complete.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Date32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::TimeUnit;
use common::{MINUTE, Row, timestamps};
use omega_slices::{
    Code, DuplicatePolicy, Error, PriceType, ReadOptions, Request, RequestBuilder, SliceBatches,
    Timeframe, UnsortedPolicy,
};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use tempfile::TempDir;

fn minutes(range: std::ops::Range<i64>) -> Vec<Row> {
    range
        .map(|minute| common::row(minute * MINUTE, 1.0))
        .collect()
}

/// One symbol, bid only, 100 minutes.
fn data() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = common::path(folder.path(), "A", "M1", "BID");
    common::write(&path, &minutes(0..100), 40);
    (folder, path)
}

fn request(root: &Path) -> RequestBuilder {
    Request::builder(root)
        .symbols(["A"])
        .price_types([PriceType::Bid])
}

/// Reads everything in small chunks, so that there are several.
fn read(builder: RequestBuilder) -> Result<usize, Error> {
    let chunk_rows = std::num::NonZeroUsize::new(16).expect("not zero");
    let options = ReadOptions::new().with_chunk_rows(chunk_rows);
    let mut slices = 0;
    for batch in SliceBatches::open(&builder.build()?, &options)? {
        slices += batch?.len();
    }
    Ok(slices)
}

fn failure(builder: RequestBuilder) -> Error {
    match read(builder) {
        Ok(slices) => panic!("{slices} slices instead of an error"),
        Err(error) => {
            assert!(error.hint().is_some(), "an error without a hint: {error}");
            error
        }
    }
}

#[test]
fn what_is_missing_is_named_by_its_own_code() {
    let (folder, _) = data();
    let root = folder.path();
    let timeframe = |text: &str| text.parse::<Timeframe>().expect("a timeframe");
    let error = failure(request(&root.join("none")));
    assert_eq!(error.code(), Code::SymbolNotFound);
    assert_eq!(error.message(), "the data root does not exist");
    let unknown = failure(request(root).symbols(["B"]));
    assert_eq!(unknown.code(), Code::SymbolNotFound);
    assert_eq!(unknown.location().symbol.as_deref(), Some("B"));
    let error = failure(request(root).timeframe(timeframe("M5")));
    assert_eq!(error.code(), Code::TimeframeNotFound);
    let error = failure(request(root).price_types([PriceType::Bid, PriceType::Ask]));
    assert_eq!(error.code(), Code::InvalidPriceType);
    assert_eq!(error.location().price_type, Some(PriceType::Ask));
    assert!(
        error
            .location()
            .file
            .as_ref()
            .expect("a file")
            .ends_with("A/A_M1_ASK.parquet")
    );
    assert_eq!(
        failure(request(root).all_symbols().timeframe(timeframe("H1"))).code(),
        Code::SymbolNotFound
    );
}

#[test]
fn a_misspelt_symbol_is_told_the_names_near_it() {
    let (folder, _) = data();
    for symbol in ["EURUSD", "GBPUSD", "GBPAUD", "USDJPY"] {
        common::write(
            &common::path(folder.path(), symbol, "M1", "BID"),
            &minutes(0..10),
            10,
        );
    }
    for (symbol, expected) in [
        ("a", "did you mean A? Names are case-sensitive"),
        ("eurusd", "did you mean EURUSD? Names are case-sensitive"),
        ("GBPUS", "did you mean GBPUSD?"),
        ("EURSUD", "did you mean EURUSD?"),
        ("GBPASD", "did you mean GBPAUD or GBPUSD?"),
        ("B", "files are searched as"),
        ("USDSEK", "files are searched as"),
    ] {
        let error = failure(request(folder.path()).symbols([symbol]));
        assert_eq!(error.code(), Code::SymbolNotFound);
        let hint = error.hint().expect("a hint").to_string();
        assert!(hint.starts_with(expected), "{symbol}: {hint}");
    }
}

#[test]
fn a_missing_side_is_no_reason_to_drop_a_symbol() {
    let (folder, _) = data();
    common::write(
        &common::path(folder.path(), "B", "M1", "ASK"),
        &minutes(0..10),
        10,
    );
    let all = request(folder.path())
        .all_symbols()
        .price_types([PriceType::Bid, PriceType::Ask]);
    let error = failure(all);
    assert_eq!(error.code(), Code::InvalidPriceType);
    assert_eq!(error.location().symbol.as_deref(), Some("A"));
}

#[test]
fn files_that_are_no_parquet_files() {
    let (folder, path) = data();
    for (content, code) in [
        (&b""[..], Code::CorruptInput),
        (b"\0\x01\x02\x03", Code::CorruptInput),
        (b"PAR1", Code::CorruptInput),
        (b"PAR1PAR1", Code::CorruptInput),
        (b"P", Code::UnsupportedInput),
        (
            b"no Parquet at all, but long enough to look",
            Code::UnsupportedInput,
        ),
    ] {
        fs::write(&path, content).expect("a file");
        let error = failure(request(folder.path()));
        assert_eq!(error.code(), code, "{content:?}");
        assert_eq!(error.location().file.as_deref(), Some(path.as_path()));
        assert_eq!(error.location().symbol.as_deref(), Some("A"));
    }
    fs::remove_file(&path).expect("the file");
    fs::create_dir(&path).expect("a folder in its place");
    assert_eq!(failure(request(folder.path())).code(), Code::CorruptInput);
    fs::remove_dir(&path).expect("the folder");
    std::os::unix::fs::symlink("nowhere", &path).expect("a link to nothing");
    assert_eq!(failure(request(folder.path())).code(), Code::CorruptInput);
    fs::remove_file(&path).expect("the link");
    let made = Command::new("mkfifo").arg(&path).status().expect("mkfifo");
    assert!(made.success());
    assert_eq!(failure(request(folder.path())).code(), Code::CorruptInput);
}

/// Rows outside the window are not decoded, whether the series is kept whole or streamed.
#[test]
fn damage_outside_the_window_shows_at_no_chunk_size_or_at_all() {
    let (folder, path) = data();
    common::write(&path, &minutes(0..2_000), 500);
    let mut bytes = fs::read(&path).expect("the file");
    let (start, end) = (bytes.len() * 7 / 10, bytes.len() * 8 / 10);
    bytes[start..end].fill(0xa5);
    fs::write(&path, bytes).expect("the file");
    let outcome = |chunk_rows: usize, end_minute: i64| {
        let chunk_rows = std::num::NonZeroUsize::new(chunk_rows).expect("not zero");
        let options = ReadOptions::new().with_chunk_rows(chunk_rows);
        let request = request(folder.path())
            .end_ns(Some(end_minute * MINUTE))
            .build();
        SliceBatches::open(&request.expect("a request"), &options)?
            .try_fold(0, |slices, batch| Ok(slices + batch?.len()))
            .map_err(|error: Error| error)
    };
    for chunk_rows in [10, 100, 10_000] {
        assert_eq!(
            outcome(chunk_rows, 400).expect("sound inside the window"),
            401
        );
        let code = outcome(chunk_rows, 1_999)
            .expect_err("damaged inside the window")
            .code();
        assert_eq!(code, Code::CorruptInput);
    }
}

#[test]
fn a_file_cut_anywhere_is_corrupt() {
    let (folder, path) = data();
    let whole = fs::read(&path).expect("the file");
    for cut in 0..40 {
        fs::write(&path, &whole[..whole.len() * cut / 40]).expect("a file");
        assert_eq!(
            failure(request(folder.path())).code(),
            Code::CorruptInput,
            "cut {cut}"
        );
    }
}

#[test]
fn damaged_bytes_end_in_an_error_or_a_result() {
    let (folder, path) = data();
    let whole = fs::read(&path).expect("the file");
    let mut seed = 20_261_123_u64;
    let mut random = move |below: usize| {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % below
    };
    let (mut errors, mut results) = (0, 0);
    for _ in 0..600 {
        let mut bytes = whole.clone();
        for _ in 0..=random(3) {
            let at = random(bytes.len());
            bytes[at] ^= 1 << random(8);
        }
        fs::write(&path, bytes).expect("a file");
        match read(request(folder.path())) {
            Ok(slices) => {
                assert!(slices <= 100);
                results += 1;
            }
            Err(error) => {
                let expected = [Code::CorruptInput, Code::SchemaMismatch];
                assert!(expected.contains(&error.code()), "{error}");
                assert!(error.location().file.is_some(), "{error}");
                errors += 1;
            }
        }
    }
    assert!(
        errors > 100 && results > 0,
        "{errors} errors, {results} results"
    );
}

fn with_timestamps(path: &Path, timestamps: ArrayRef) {
    let rows = timestamps.len();
    let mut columns = vec![("UTC time".to_owned(), timestamps)];
    columns.extend(common::plain_values(rows, 1.0));
    common::write_columns(path, columns, 40);
}

#[test]
fn columns_that_are_missing_or_of_a_wrong_type() {
    let (folder, path) = data();
    let whole = || {
        let mut columns = vec![(
            "UTC time".to_owned(),
            timestamps(TimeUnit::Second, vec![Some(60), Some(120)]),
        )];
        columns.extend(common::plain_values(2, 1.0));
        columns
    };
    for missing in 0..6 {
        let mut columns = whole();
        let (name, _) = columns.remove(missing);
        common::write_columns(&path, columns, 10);
        let error = failure(request(folder.path()));
        assert_eq!(error.code(), Code::SchemaMismatch);
        assert_eq!(error.location().column.as_ref(), Some(&name));
    }
    let wrong: [(usize, ArrayRef); 5] = [
        (4, Arc::new(BooleanArray::from(vec![true, false]))),
        (1, Arc::new(BooleanArray::from(vec![true, false]))),
        (2, timestamps(TimeUnit::Millisecond, vec![Some(1), Some(2)])),
        (0, Arc::new(Int64Array::from(vec![1, 2]))),
        (
            0,
            Arc::new(StringArray::from(vec!["2024-01-01", "2024-01-02"])),
        ),
    ];
    for (place, column) in wrong {
        let mut columns = whole();
        let wrong = column.data_type().clone();
        columns[place].1 = column;
        common::write_columns(&path, columns, 10);
        let code = read(request(folder.path())).map_err(|error| error.code());
        assert_eq!(code, Err(Code::SchemaMismatch), "column {place} as {wrong}");
    }
    common::write_columns(&path, whole(), 10);
    assert_eq!(read(request(folder.path())).expect("a good file"), 2);
}

#[test]
fn a_null_timestamp_names_its_row() {
    let (folder, path) = data();
    for bad in [0, 57, 99] {
        let values = (0..100)
            .map(|minute| (minute != bad).then_some(minute * 60))
            .collect();
        with_timestamps(&path, timestamps(TimeUnit::Second, values));
        let error = failure(request(folder.path()));
        assert_eq!(error.code(), Code::CorruptInput);
        assert_eq!(error.location().row, Some(bad as u64));
        assert_eq!(error.location().column.as_deref(), Some("UTC time"));
        // Outside the window too: the owner of the row is unknown.
        let narrow = request(folder.path())
            .start_ns(Some(20 * MINUTE))
            .end_ns(Some(30 * MINUTE));
        assert_eq!(failure(narrow).location().row, Some(bad as u64));
    }
}

#[test]
fn timestamps_beyond_nanoseconds_are_errors_in_every_unit() {
    let (folder, path) = data();
    let limit = |scale: i64| i64::MAX / scale;
    for (unit, scale) in [
        (TimeUnit::Second, 1_000_000_000),
        (TimeUnit::Millisecond, 1_000_000),
        (TimeUnit::Microsecond, 1_000),
    ] {
        let beyond = limit(scale) + 1;
        for bad in [beyond, -beyond] {
            let mut values: Vec<_> = (0..100).map(|minute| Some(minute * 60)).collect();
            values[70] = Some(bad);
            with_timestamps(&path, timestamps(unit, values));
            let error = failure(request(folder.path()));
            assert_eq!(error.code(), Code::CorruptInput, "{unit:?} {bad}");
            assert_eq!(error.location().row, Some(70), "{unit:?} {bad}");
        }
        let edge = (0..3).map(|step| Some(limit(scale) - 2 + step)).collect();
        with_timestamps(&path, timestamps(unit, edge));
        assert_eq!(
            read(request(folder.path())).expect("the last ones that fit"),
            3
        );
    }
    let days = Date32Array::from(vec![Some(0), Some(106_751), Some(106_752)]);
    with_timestamps(&path, Arc::new(days));
    let days = request(folder.path()).timeframe("H24".parse().expect("a timeframe"));
    let days = days.path_template(Some(
        omega_slices::PathTemplate::parse("{root}/{symbol}/{symbol}_M1_{SIDE}.parquet")
            .expect("a template"),
    ));
    assert_eq!(failure(days).location().row, Some(2));
}

#[test]
fn flooring_below_the_smallest_timestamp_is_an_error() {
    let (folder, path) = data();
    let values = vec![Some(i64::MIN + 1), Some(0)];
    with_timestamps(&path, timestamps(TimeUnit::Nanosecond, values));
    assert_eq!(read(request(folder.path())).expect("it fits unfloored"), 2);
    let error = failure(request(folder.path()).normalize(true));
    assert_eq!(
        (error.code(), error.location().row),
        (Code::CorruptInput, Some(0))
    );
}

#[test]
fn disorder_and_repeats_name_their_row_where_they_are_refused() {
    let (folder, path) = data();
    let mut rows = minutes(0..100);
    rows.swap(70, 71);
    common::write(&path, &rows, 40);
    let error = failure(request(folder.path()).unsorted(UnsortedPolicy::Error));
    assert_eq!(
        (error.code(), error.location().row),
        (Code::UnsortedInput, Some(71))
    );
    assert_eq!(read(request(folder.path())).expect("sorted"), 100);

    // Rows 39 and 40 are in different row groups, rows 15 and 16 in different chunks.
    for repeated in [5, 16, 40, 99] {
        let mut rows = minutes(0..100);
        rows[repeated].0 = rows[repeated - 1].0;
        common::write(&path, &rows, 40);
        let error = failure(request(folder.path()).duplicates(DuplicatePolicy::Error));
        assert_eq!(error.code(), Code::DuplicateTimestamp);
        assert_eq!(error.location().row, Some(repeated as u64));
        assert_eq!(read(request(folder.path())).expect("one of them wins"), 99);
    }
}

#[test]
fn the_row_of_an_error_counts_from_the_start_of_its_file() {
    let (folder, path) = data();
    fs::remove_file(&path).expect("the file");
    let part = |name: &str| folder.path().join(name);
    common::write(&part("A.1.parquet"), &minutes(0..50), 20);
    let mut rows = minutes(50..150);
    rows[60].0 = rows[59].0;
    common::write(&part("A.2.parquet"), &rows, 20);
    let template =
        omega_slices::PathTemplate::parse("{root}/{symbol}.*.parquet").expect("a template");
    // The window starts inside the second file and skips some of its row groups.
    let error = failure(
        request(folder.path())
            .path_template(Some(template))
            .start_ns(Some(75 * MINUTE))
            .duplicates(DuplicatePolicy::Error),
    );
    assert_eq!(error.location().row, Some(60));
    assert_eq!(error.location().file, Some(part("A.2.parquet")));
}

#[test]
fn a_file_replaced_between_two_passes_is_noticed() {
    let (folder, path) = data();
    common::write(&path, &minutes(0..5_000), 5_000);
    let chunk_rows = std::num::NonZeroUsize::new(8).expect("not zero");
    let options = ReadOptions::new().with_chunk_rows(chunk_rows);
    let request = request(folder.path()).build().expect("a request");
    let mut batches = SliceBatches::open(&request, &options).expect("it opens");
    // The same length and path with other contents: only the identity differs.
    let bytes = fs::read(&path).expect("the file");
    fs::write(&path, bytes).expect("the file");
    let error = batches.find_map(Result::err).expect("an error");
    assert_eq!(error.code(), Code::CorruptInput);
    assert!(error.message().contains("changed"), "{error}");
    assert!(batches.next().is_none());
}

#[test]
fn of_several_broken_series_the_first_one_is_reported() {
    let (folder, _) = data();
    for symbol in ["B", "C", "D"] {
        let path = common::path(folder.path(), symbol, "M1", "BID");
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, "broken").expect("a file");
    }
    for _ in 0..20 {
        let error = failure(request(folder.path()).symbols(["A", "C", "B", "D"]));
        assert_eq!(error.location().symbol.as_deref(), Some("C"));
    }
}

#[test]
fn too_few_file_descriptors_are_said_to_be_too_few() {
    let folder = tempfile::tempdir().expect("a folder");
    let symbols: Vec<String> = (0..40).map(|number| format!("S{number:02}")).collect();
    for symbol in &symbols {
        common::write(
            &common::path(folder.path(), symbol, "M1", "BID"),
            &minutes(0..200),
            200,
        );
    }
    let binary = env!("CARGO_BIN_EXE_omega-slices");
    let script = format!(
        "ulimit -n 20; exec {binary} sync --data {} --symbols {} --price-types bid --chunk-rows 16",
        folder.path().display(),
        symbols.join(",")
    );
    let output = Command::new("sh")
        .args(["-c", &script])
        .output()
        .expect("a shell");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(
        said.contains("too few file descriptors") && said.contains("ulimit -n"),
        "{said}"
    );
}

/// Files of a series are kept open for a while, unless descriptors are few.
#[test]
fn a_series_of_many_files_needs_few_file_descriptors() {
    let folder = tempfile::tempdir().expect("a folder");
    for day in 0..60 {
        let path = folder.path().join(format!("A/A_{day:02}.parquet"));
        common::write(&path, &minutes(day * 10..day * 10 + 10), 200);
    }
    let sync = format!(
        "exec {} sync --data {} --symbols A --price-types bid --error-format json \
         --path-template '{{root}}/{{symbol}}/{{symbol}}_*.parquet'",
        env!("CARGO_BIN_EXE_omega-slices"),
        folder.path().display(),
    );
    let taken = "for n in {10..87}; do eval \"exec $n< /dev/null\"; done;";
    for limit in ["ulimit -n 24;", &format!("{taken} ulimit -n 100;")] {
        let output = Command::new("bash")
            .args(["-c", &format!("{limit} {sync}")])
            .output()
            .expect("a shell");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{limit} {said}");
        assert!(said.contains("\"slices\":600"), "{said}");
    }
}

/// The planned order of rows relies on the page headers.
#[test]
fn rows_that_contradict_the_statistics_of_their_page_are_an_error() {
    let (folder, path) = data();
    let properties = WriterProperties::builder()
        .set_data_page_row_count_limit(16)
        .set_write_batch_size(16)
        .set_dictionary_enabled(false)
        .set_write_page_header_statistics(true)
        .build();
    let times = timestamps(
        TimeUnit::Nanosecond,
        (0..100).map(|at| Some(at * MINUTE)).collect(),
    );
    let mut columns = vec![("UTC time".to_owned(), times)];
    columns.extend(common::plain_values(100, 1.0));
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns
            .into_iter()
            .map(|(name, column)| (name, column, true)),
    )
    .expect("columns of one length");
    let file = fs::File::create(&path).expect("a file");
    let mut writer =
        ArrowWriter::try_new(file, batch.schema(), Some(properties)).expect("a Parquet writer");
    writer.write(&batch).expect("rows are written");
    writer.close().expect("a footer is written");
    assert_eq!(read(request(folder.path())).expect("an honest file"), 100);
    let honest = fs::read(&path).expect("the file");
    // The largest timestamp in a page header, after its length byte. The first page is used at
    // once; the second would be skipped, since its bounds end earlier.
    for (latest, start) in [(15, None), (31, Some(31 * MINUTE))] {
        let told = [&[8][..], &(latest * MINUTE).to_le_bytes()].concat();
        let lie = [&[8][..], &((latest - 1) * MINUTE).to_le_bytes()].concat();
        let mut bytes = honest.clone();
        let places: Vec<_> = (0..bytes.len() - told.len())
            .filter(|&at| bytes[at..].starts_with(&told))
            .collect();
        assert!(!places.is_empty(), "the headers hold statistics");
        for at in places {
            bytes[at..at + lie.len()].copy_from_slice(&lie);
        }
        fs::write(&path, bytes).expect("the changed file");
        let error = failure(request(folder.path()).start_ns(start));
        assert_eq!(error.code(), Code::CorruptInput);
        assert!(error.to_string().contains("statistics"), "{error}");
        assert_eq!(error.location().row, Some(latest as u64));
    }
}
