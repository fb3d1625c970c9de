//! Tests hostile Parquet files with the real binary: declared sizes far beyond the bytes, and pages
//! that grow a thousandfold. Memory and time are limited.

#![expect(
    clippy::print_stdout,
    reason = "how many faults were tried is part of what the tests say"
)]

mod common;

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Float64Array, Int64Array};
use arrow::datatypes::TimeUnit;
use common::forged::{self, Forged, Page, Thrift};
use common::{omega_slices, text};
use parquet::basic::{BrotliLevel, Compression, GzipLevel, ZstdLevel};
use parquet::file::properties::{WriterProperties, WriterVersion};
use serde_json::Value;

/// Maximum memory of the process with a hostile file.
const MEMORY_BYTES: u64 = 2 << 30;

/// Longer than any file here may take.
const BOUND: Duration = Duration::from_secs(60);

/// Whether the executable runs under AddressSanitizer, as `scripts/sanitize` says. Its shadow
/// memory takes terabytes of address space, so that space cannot be limited.
fn is_sanitized() -> bool {
    std::env::var_os("OMEGA_SLICES_SANITIZED").is_some()
}

/// Runs the command within a memory limit, and kills it after the bound.
fn run_limited(command: &Command, memory_bytes: u64) -> Output {
    let mut limited = Command::new("sh");
    let bound = if is_sanitized() {
        // The sanitizer itself ends a process whose resident memory grows beyond the limit.
        let options = std::env::var("ASAN_OPTIONS").unwrap_or_default();
        let limit = format!("{options}:hard_rss_limit_mb={}", memory_bytes >> 20);
        limited.env("ASAN_OPTIONS", limit);
        10 * BOUND
    } else {
        BOUND
    };
    let limit = if is_sanitized() {
        r#"ulimit -c 0 && shift && exec "$@""#
    } else {
        r#"ulimit -v "$1" && ulimit -c 0 && shift && exec "$@""#
    };
    limited
        .args(["-c", limit, "sh"])
        .arg((memory_bytes >> 10).to_string())
        .arg(command.get_program())
        .args(command.get_args())
        .env_remove("OMEGA_DATA_PARQUET_ROOT")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = limited.spawn().expect("a shell");
    let drain = |mut pipe: Box<dyn Read + Send>| {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            pipe.read_to_end(&mut bytes).expect("a pipe");
            bytes
        })
    };
    let stdout = drain(Box::new(child.stdout.take().expect("a pipe")));
    let stderr = drain(Box::new(child.stderr.take().expect("a pipe")));
    let began = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child") {
            break status;
        }
        if began.elapsed() > bound {
            child.kill().expect("a child");
            panic!("it did not end within {bound:?}: {command:?}");
        }
        thread::sleep(Duration::from_millis(2));
    };
    Output {
        status,
        stdout: stdout.join().expect("the stream"),
        stderr: stderr.join().expect("the messages"),
    }
}

fn sync_one(root: &Path) -> Command {
    let mut command = omega_slices();
    command.args(["sync", "--symbols", "A", "--price-types", "bid"]);
    command.args(["--error-format", "json", "--threads", "2", "--data"]);
    command.arg(root);
    command
}

/// A change to a valid file.
type Forge = Box<dyn Fn(&mut Forged)>;

/// Changes a page of a column; the timestamps are column 0.
fn page(column: usize, change: impl Fn(&mut Page) + 'static) -> Forge {
    Box::new(move |file| change(&mut file.columns[column].pages[0]))
}

/// A dictionary page before a page of indexes into it.
fn dictionary(column: usize, values: i64, indexes: Vec<u8>, index_values: i64) -> Forge {
    Box::new(move |file| {
        let column = &mut file.columns[column];
        let dictionary = Page {
            is_dictionary: true,
            values,
            ..Page::plain([0, 1])
        };
        let indexes = Page {
            is_dictionary: false,
            values: index_values,
            encoding: forged::RLE_DICTIONARY,
            uncompressed_bytes: indexes.len() as i64,
            body: indexes.clone(),
        };
        column.pages = vec![dictionary, indexes];
    })
}

/// The bit width of indexes, then a run of one index.
fn run_of(count: u64) -> Vec<u8> {
    [vec![1], forged::varint(count << 1), vec![0]].concat()
}

const I32_MAX: i64 = i32::MAX as i64;

/// Impossible sizes and counts: all are rejected before memory is reserved for them.
fn false_sizes() -> Vec<(String, Forge)> {
    let mut cases: Vec<(String, Forge)> = vec![
        ("2^40 rows".into(), Box::new(|file| file.rows = 1 << 40)),
        ("2^62 rows".into(), Box::new(|file| file.rows = 1 << 62)),
        ("fewer than no rows".into(), Box::new(|file| file.rows = -1)),
        ("some more rows".into(), Box::new(|file| file.rows = 101)),
        (
            "a footer of 4 GB".into(),
            Box::new(|file| file.footer_bytes = Some(u32::MAX)),
        ),
        (
            "a footer beyond the file".into(),
            Box::new(|file| file.footer_bytes = Some(1 << 20)),
        ),
        (
            "2^31 row groups".into(),
            Box::new(|file| file.row_groups = Some((1 << 31, Vec::new()))),
        ),
        (
            "row groups of nothing".into(),
            Box::new(|file| file.row_groups = Some((1 << 20, vec![vec![0; 1 << 20]]))),
        ),
        (
            "2^31 nodes of a schema".into(),
            Box::new(|file| {
                file.schema = Some(
                    Thrift::new()
                        .raw(&[0x19, 0xfc])
                        .raw(&forged::varint(1 << 31)),
                );
            }),
        ),
        (
            "a node of 2^31 children".into(),
            Box::new(|file| {
                let root = Thrift::new().text(4, "schema").integer32(5, I32_MAX).end();
                let list = Thrift::new().raw(&[0x19, 0xfc]).raw(&forged::varint(1));
                file.schema = Some(list.raw(&root));
            }),
        ),
        (
            "a schema of 200,000 storeys".into(),
            Box::new(|file| {
                let storey = Thrift::new()
                    .integer32(3, 0)
                    .text(4, "g")
                    .integer32(5, 1)
                    .end();
                let list = Thrift::new()
                    .raw(&[0x19, 0xfc])
                    .raw(&forged::varint(200_000));
                file.schema = Some(list.raw(&storey.repeat(200_000)));
            }),
        ),
        (
            "a field of 200,000 storeys".into(),
            Box::new(|file| file.more = [vec![0xbc], vec![0x1c; 200_000]].concat()),
        ),
        (
            "2^31 notes".into(),
            Box::new(|file| file.more = [vec![0x19, 0xfc], forged::varint(1 << 31)].concat()),
        ),
        (
            "a note of 2^31 letters".into(),
            Box::new(|file| {
                let note = [vec![0x18], forged::varint(1 << 31)].concat();
                file.more = [vec![0x19, 0xfc, 1], note].concat();
            }),
        ),
    ];
    let codecs = [
        ("no", forged::UNCOMPRESSED),
        ("snappy", forged::SNAPPY),
        ("gzip", forged::GZIP),
        ("brotli", forged::BROTLI),
        ("lz4", forged::LZ4),
        ("zstd", forged::ZSTD),
        ("lz4_raw", forged::LZ4_RAW),
    ];
    for (name, codec) in codecs {
        for (column, of) in [(0, "timestamps"), (3, "prices")] {
            let forge: Forge = Box::new(move |file| {
                file.columns[column].codec = codec;
                file.columns[column].pages[0].uncompressed_bytes = I32_MAX;
            });
            cases.push((format!("a page of 2 GB of {of}, {name} compression"), forge));
        }
    }
    for (column, of) in [(0, "timestamps"), (3, "prices")] {
        cases.extend([
            (
                format!("a page of 2^31 {of}"),
                page(column, |page| page.values = I32_MAX),
            ),
            (
                format!("a page of fewer than no {of}"),
                page(column, |page| page.values = -1),
            ),
            (
                format!("a page of fewer than no bytes of {of}"),
                page(column, |page| page.uncompressed_bytes = -1),
            ),
            (
                format!("a dictionary of 2^31 {of}"),
                dictionary(column, I32_MAX, run_of(100), 100),
            ),
            (
                format!("a run of 2^31 {of}"),
                dictionary(column, 2, run_of(1 << 31), I32_MAX),
            ),
            (
                format!("a dictionary of 2^31 integers for {of}"),
                Box::new(move |file: &mut Forged| {
                    dictionary(column, I32_MAX, run_of(100), 100)(file);
                    file.columns[column].physical_type = forged::INT32;
                }),
            ),
        ]);
        // Blocks of 2^31 values in 2^30 parts; then the same number of values, and the first of
        // them.
        for (what, header) in [
            ("blocks of 2^31", vec![1_u64 << 31, 1 << 30, 100, 0]),
            ("2^40 in blocks", vec![128, 4, 1 << 40, 0]),
            ("blocks of nothing", vec![0, 0, 100, 0]),
        ] {
            let body: Vec<u8> = header.into_iter().flat_map(forged::varint).collect();
            let forge: Forge = Box::new(move |file| {
                file.columns[column].physical_type = forged::INT64;
                let page = &mut file.columns[column].pages[0];
                page.encoding = forged::DELTA_BINARY_PACKED;
                page.uncompressed_bytes = body.len() as i64;
                page.body.clone_from(&body);
            });
            cases.push((format!("{what} {of}"), forge));
        }
    }
    cases
}

#[test]
fn sizes_beyond_the_bytes_are_refused_within_a_limit_of_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = common::path(folder.path(), "A", "M1", "BID");
    Forged::sound(100).write(&path);
    let sound = run_limited(&sync_one(folder.path()), MEMORY_BYTES);
    assert_eq!(sound.status.code(), Some(0), "{}", text(&sound.stderr));
    let cases = false_sizes();
    for (what, forge) in &cases {
        let mut file = Forged::sound(100);
        forge(&mut file);
        file.write(&path);
        let output = run_limited(&sync_one(folder.path()), MEMORY_BYTES);
        let said = text(&output.stderr);
        assert_eq!(
            output.status.code(),
            Some(3),
            "{what}: {:?} {said}",
            output.status
        );
        let line: Value = serde_json::from_str(said.trim()).expect("one JSON line");
        let expected = [3007, 3008].map(Value::from);
        assert!(expected.contains(&line["code"]), "{what}: {line}");
        assert_eq!(line["file"].as_str(), path.to_str(), "{what}: {line}");
        assert_eq!(line["symbol"], "A", "{what}: {line}");
    }
    println!("tried: {} (files that declare false sizes)", cases.len());
}

/// A page of zeros, compressed to a thousandth, with a true or a false declared size.
#[test]
fn pages_that_grow_are_read_within_a_limit_or_refused() {
    const MIB: usize = 1 << 20;
    let gzip = |mebibytes: usize| {
        let mut member = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        member.write_all(&vec![0; MIB]).expect("memory");
        member.finish().expect("memory").repeat(mebibytes)
    };
    let brotli = |mebibytes: usize| {
        let mut compressed = Vec::new();
        let mut encoder = brotli::CompressorWriter::new(&mut compressed, 1 << 16, 1, 22);
        for _ in 0..mebibytes {
            encoder.write_all(&vec![0; MIB]).expect("memory");
        }
        drop(encoder);
        compressed
    };
    let lz4_frame = |mebibytes: usize| {
        let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
        for _ in 0..mebibytes {
            encoder.write_all(&vec![0; MIB]).expect("memory");
        }
        encoder.finish().expect("memory")
    };
    let folder = tempfile::tempdir().expect("a folder");
    let path = common::path(folder.path(), "A", "M1", "BID");
    let mut tried = 0;
    for (codec, body) in [
        (forged::GZIP, gzip(1_024)),
        (forged::BROTLI, brotli(32)),
        (forged::LZ4, lz4_frame(160)),
    ] {
        // As small as declared, or as large as it is.
        for declared in [800, 1_i64 << 30] {
            for column in [0, 3] {
                let mut file = Forged::sound(100);
                file.columns[column].codec = codec;
                file.columns[column].pages[0].uncompressed_bytes = declared;
                file.columns[column].pages[0].body.clone_from(&body);
                file.write(&path);
                let output = run_limited(&sync_one(folder.path()), MEMORY_BYTES);
                let said = text(&output.stderr);
                let what = format!("codec {codec}, {declared} declared, column {column}");
                assert_eq!(output.status.code(), Some(3), "{what}: {said}");
                assert!(said.contains("3008"), "{what}: {said}");
                tried += 1;
            }
        }
    }
    println!("tried: {tried} (pages that grow)");
}

/// Checks do not reject valid pages: every compression, both page versions, doubles (which this
/// crate decodes) and integers (which it does not). Nulls add levels.
#[test]
fn sound_pages_of_every_kind_are_read() {
    let rows_of = |compression| match compression {
        // Large enough pages that are decompressed in two steps.
        Compression::GZIP(_) => 20_000,
        Compression::LZ4 => 70_000,
        _ => 500,
    };
    let mut seed = 20_261_125_u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let folder = tempfile::tempdir().expect("a folder");
    let path = common::path(folder.path(), "A", "M1", "BID");
    for compression in [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(GzipLevel::try_new(1).expect("a level")),
        Compression::BROTLI(BrotliLevel::try_new(1).expect("a level")),
        Compression::LZ4,
        Compression::ZSTD(ZstdLevel::default()),
        Compression::LZ4_RAW,
    ] {
        let rows = rows_of(compression);
        let numbers: Vec<_> = (0..rows)
            .map(|_| Some(random()).filter(|one| one % 50 > 0))
            .collect();
        let doubles: Float64Array = numbers
            .iter()
            .map(|one| one.map(|one| one as f64))
            .collect();
        let integers: Int64Array = numbers
            .iter()
            .map(|one| one.map(u64::cast_signed))
            .collect();
        let times = (0..rows).map(|minute| Some(minute * 60)).collect();
        let mut columns = vec![(
            "UTC time".to_owned(),
            common::timestamps(TimeUnit::Second, times),
        )];
        let values: [(&str, ArrayRef); 2] = [("o", Arc::new(doubles)), ("i", Arc::new(integers))];
        columns.extend(values.map(|(name, column)| (name.to_owned(), column)));
        for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
            for dictionary in [false, true] {
                let properties = WriterProperties::builder()
                    .set_compression(compression)
                    .set_writer_version(version)
                    .set_dictionary_enabled(dictionary)
                    .set_data_page_size_limit(16 << 20);
                common::write_with(&path, columns.clone(), properties.build());
                let renamed = "--columns=open=o,high=i,low=o,close=i,volume=i";
                let output = run_limited(sync_one(folder.path()).arg(renamed), MEMORY_BYTES);
                let what = format!("{compression:?} {version:?} dictionary {dictionary}");
                assert_eq!(
                    output.status.code(),
                    Some(0),
                    "{what}: {}",
                    text(&output.stderr)
                );
                assert!(is_complete(&output.stdout), "{what}");
            }
        }
    }
}

/// After a page without bytes, the next header follows at once.
#[test]
fn a_page_without_bytes_is_no_hostile_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = common::path(folder.path(), "A", "M1", "BID");
    // Doubles, which this crate decodes, and integers, which it does not.
    for physical_type in [forged::DOUBLE, forged::INT64] {
        for place in [0, 1] {
            let mut file = Forged::sound(100);
            for column in &mut file.columns[1..] {
                column.physical_type = physical_type;
                column.pages.insert(place, Page::plain([]));
            }
            file.write(&path);
            let output = run_limited(&sync_one(folder.path()), MEMORY_BYTES);
            let said = text(&output.stderr);
            assert_eq!(
                output.status.code(),
                Some(0),
                "{physical_type} {place}: {said}"
            );
        }
    }
}

/// Millions of rows in a few hundred bytes, all of them valid: read row by row, in memory
/// independent of their number.
#[test]
fn millions_of_equal_rows_are_read_within_a_limit() {
    const ROWS: i64 = 2_000_000;
    let folder = tempfile::tempdir().expect("a folder");
    let path = common::path(folder.path(), "A", "M1", "BID");
    let mut file = Forged::sound(1);
    file.rows = ROWS;
    for column in 0..6 {
        dictionary(column, 2, run_of(ROWS as u64), ROWS)(&mut file);
    }
    file.write(&path);
    let bytes = fs::metadata(&path).expect("the file").len();
    assert!(bytes < 2_000, "{bytes}");
    let output = run_limited(&sync_one(folder.path()), MEMORY_BYTES / 4);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(is_complete(&output.stdout));
    let said = text(&output.stderr);
    let report = said.lines().last().expect("a report");
    let report: Value = serde_json::from_str(report).expect("one JSON line");
    assert_eq!(report["slices"], 1, "{report}");
    assert_eq!(report["series"][0]["duplicates"], ROWS - 1, "{report}");
}

/// Valid data with too little memory: the run never succeeds, and the stream has no seal.
#[test]
fn too_little_memory_is_no_success() {
    if is_sanitized() {
        // The sanitizer needs more memory than there would be.
        return;
    }
    let data = common::long_data(100_000);
    let mut failed = 0;
    // Below its own size a program does not even start, and the system gives no reason.
    for mebibytes in [64, 72, 80, 96, 112, 128] {
        let output = run_limited(&sync_one(data.path()), mebibytes << 20);
        if output.status.success() {
            continue;
        }
        failed += 1;
        assert!(!is_complete(&output.stdout), "{mebibytes} MiB");
        assert!(
            !output.stderr.is_empty(),
            "{mebibytes} MiB: {:?}",
            output.status
        );
    }
    assert!(failed > 0, "the limits are too wide to prove anything");
}

fn is_complete(stream: &[u8]) -> bool {
    use arrow::ipc::reader::StreamReader;
    StreamReader::try_new(stream, None).is_ok_and(|stream| {
        let last = stream.last();
        last.is_some_and(|batch| batch.is_ok_and(|batch| batch.num_rows() == 0))
    })
}
