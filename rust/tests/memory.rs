//! Tests the budget of memory and the temporary file: what is refused and how, what stays behind,
//! and that an error comes where it would without one.

mod common;

use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Float64Array};
use arrow::datatypes::TimeUnit;
use common::{MINUTE, omega_slices, run, status, text};
use omega_slices::{
    Error, HigherTimeframe, PriceType, ReadOptions, Request, SliceBatches, Timeline,
};
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use serde_json::Value;

const SYMBOLS: usize = 40;

/// Series of `rows` minutes, a seventh of them missing. Each column is one page, without a
/// dictionary.
fn data(rows: i64) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for number in 0..SYMBOLS {
        let name = format!("S{number:02}");
        let minutes = (0..rows).filter(|minute| minute % 7 != number as i64 % 7);
        let stamps: Vec<_> = minutes.map(|minute| Some(minute * MINUTE)).collect();
        let mut columns: Vec<(String, ArrayRef)> = vec![(
            "UTC time".to_owned(),
            common::timestamps(TimeUnit::Nanosecond, stamps.clone()),
        )];
        for (field, name) in ["Open", "High", "Low", "Close", "Volume"]
            .iter()
            .enumerate()
        {
            let values = (0..stamps.len()).map(|row| (row * 10 + field) as f64 / 3.0);
            let values: ArrayRef = Arc::new(Float64Array::from_iter_values(values));
            columns.push(((*name).to_owned(), values));
        }
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_dictionary_enabled(false)
            .set_data_page_row_count_limit(10_000_000)
            .set_data_page_size_limit(64 << 20)
            .set_write_batch_size(10_000_000);
        let path = common::path(folder.path(), &name, "M1", "BID");
        common::write_with(&path, columns, properties.build());
    }
    folder
}

fn sync(data: &Path, options: &[&str]) -> Command {
    let mut command = omega_slices();
    command
        .args(["sync", "--all-symbols", "--price-types", "bid", "--data"])
        .arg(data)
        .args(["--timeline", "union", "--error-format", "json"])
        .args(options);
    command
}

/// The last line of stderr.
fn last_line(stderr: &[u8]) -> Value {
    let said = text(stderr);
    let last = said.lines().last().expect("a line");
    serde_json::from_str(last).expect("a JSON object")
}

#[test]
fn what_a_refusal_says_is_enough() {
    let data = data(40_000);
    let whole = run(&mut sync(data.path(), &[]));
    assert_eq!(status(&whole), 0, "{}", text(&whole.stderr));
    assert_eq!(last_line(&whole.stderr).get("temporary_bytes"), None);
    let mut memory = "1MB".to_owned();
    let mut refused = 0;
    let mut enough = false;
    loop {
        let output = run(&mut sync(
            data.path(),
            &["--memory", &memory, "--threads", "2"],
        ));
        let last = last_line(&output.stderr);
        if status(&output) == 0 {
            assert!(output.stdout == whole.stdout, "{memory} changes the slices");
            assert!(last["temporary_bytes"].as_u64() > Some(0), "{last}");
            break;
        }
        refused += 1;
        assert!(!enough, "{memory} should be enough: {last}");
        assert_eq!(status(&output), 4, "{last}");
        assert!(output.stdout.is_empty());
        let hint = last["hint"].as_str().expect("a hint");
        assert!(hint.contains("allow more with --memory"), "{hint}");
        let message = last["message"].as_str().expect("a message");
        let (_, needed) = message.split_once(": ").expect(message);
        // Before the columns are known, it can only say the least.
        let (size, words) = needed.split_once(" are ").expect(message);
        enough = words.starts_with("enough");
        memory = size.trim_start_matches("at least ").to_owned();
    }
    assert!((2..=4).contains(&refused) && enough, "{refused}");
}

#[test]
fn a_temporary_file_has_a_limit_and_leaves_nothing() {
    let data = data(4_000);
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().to_str().expect("a name in Unicode");
    let sync = |more: &[&str]| {
        let options = [&["--spill-every", "2", "--temp-dir", place], more].concat();
        run(&mut sync(data.path(), &options))
    };
    let whole = run(&mut self::sync(data.path(), &[]));
    let through_file = sync(&[]);
    assert_eq!(status(&through_file), 0, "{}", text(&through_file.stderr));
    assert!(through_file.stdout == whole.stdout);
    let bytes = last_line(&through_file.stderr)["temporary_bytes"].as_u64();
    // Every second of 200 columns, each of six in seven rows.
    assert_eq!(bytes.map(|bytes| bytes / 1_000_000), Some(2), "{bytes:?}");
    let refused = sync(&["--temp-limit", "2MB"]);
    assert_eq!(status(&refused), 4);
    let last = last_line(&refused.stderr);
    let message = last["message"].as_str().expect("a message");
    assert!(message.contains("it may take 2.0 MB"), "{message}");
    assert_eq!(last["file"].as_str(), Some(place));
    assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 0);
    let missing = run(&mut self::sync(
        data.path(),
        &["--spill-every", "2", "--temp-dir", "/nowhere/at all"],
    ));
    assert_eq!(status(&missing), 2, "{}", text(&missing.stderr));
}

#[test]
fn a_full_disk_shows_before_the_first_slice() {
    let data = data(4_000);
    let device = tempfile::tempdir().expect("a folder");
    // A file system in memory; without the right to mount one, a limit of the file size.
    let mounts = Command::new("unshare")
        .args(["--map-root-user", "--mount", "true"])
        .status()
        .is_ok_and(|status| status.success());
    let (shell, before) = if mounts {
        let mount = "mount -t tmpfs -o size=1m tmpfs \"$0\" &&";
        (
            &["unshare", "--map-root-user", "--mount", "sh", "-c"][..],
            mount,
        )
    } else {
        (&["sh", "-c"][..], "trap '' XFSZ; ulimit -f 200 &&")
    };
    let script = format!(
        "{before} \"$1\" sync --data \"$2\" --all-symbols --price-types bid --timeline union \
         --spill-every 1 --temp-dir \"$0\" --temp-limit 1GB --error-format json"
    );
    let output = run(Command::new(shell[0])
        .args(&shell[1..])
        .arg(&script)
        .arg(device.path())
        .arg(env!("CARGO_BIN_EXE_omega-slices"))
        .arg(data.path()));
    assert_eq!(status(&output), 4, "{}", text(&output.stderr));
    assert!(output.stdout.is_empty());
    let last = last_line(&output.stderr);
    let message = last["message"].as_str().expect("a message");
    assert!(message.contains("MB of temporary disk"), "{message}");
    let hint = last["hint"].as_str().expect("a hint");
    assert!(hint.contains("--temp-dir"), "{hint}");
}

#[test]
fn a_killed_run_leaves_no_temporary_file() {
    let data = data(20_000);
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().to_str().expect("a name in Unicode");
    let mut command = sync(data.path(), &["--spill-every", "1", "--temp-dir", place]);
    let mut child = command
        // It stops behind the first batches, since they are not read.
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the executable");
    std::thread::sleep(Duration::from_millis(300));
    child.kill().expect("a running process");
    child.wait().expect("an exit status");
    assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 0);
}

/// Writes rows in pages of 100 rows, whose damage shows.
fn write_pages(path: &Path, rows: i64, step_ns: i64) {
    let stamps = (0..rows).map(|row| Some(row * step_ns)).collect();
    let mut columns = vec![(
        "UTC time".to_owned(),
        common::timestamps(TimeUnit::Nanosecond, stamps),
    )];
    columns.extend(common::plain_values(rows as usize, 1.5));
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_dictionary_enabled(false)
        .set_write_batch_size(100)
        .set_data_page_row_count_limit(100);
    common::write_with(path, columns, properties.build());
}

/// Without a temporary file, the slices before a damaged page come before the error. So they do
/// with one, also if many pages are decoded at once.
#[test]
fn an_error_comes_after_the_same_slices() {
    let folder = tempfile::tempdir().expect("a folder");
    let minutes = common::path(folder.path(), "A", "M1", "BID");
    write_pages(&minutes, 150_000, MINUTE);
    let hours = common::path(folder.path(), "A", "H1", "BID");
    write_pages(&hours, 2_500, 60 * MINUTE);
    let outcome = |every: Option<usize>, chunk_rows: Option<usize>| {
        let request = Request::builder(folder.path())
            .symbols(["A"])
            .price_types([PriceType::Bid])
            .timeline(Timeline::Union)
            .higher_timeframes([HigherTimeframe::new(
                "H1".parse().expect("a timeframe"),
                None,
            )])
            .build()
            .expect("a request");
        let mut options = ReadOptions::new();
        if let Some(every) = every.and_then(NonZeroUsize::new) {
            options = options.with_spill_every(every);
        }
        if let Some(rows) = chunk_rows.and_then(NonZeroUsize::new) {
            options = options.with_chunk_rows(rows);
        }
        let mut slices = 0;
        let mut error: Option<Error> = None;
        match SliceBatches::open(&request, &options) {
            Err(refused) => error = Some(refused),
            Ok(batches) => {
                for batch in batches {
                    match batch {
                        Ok(batch) => slices += batch.len(),
                        Err(failed) => error = Some(failed),
                    }
                }
            }
        }
        (slices, error.map(|error| error.to_string()))
    };
    let (mut failed, mut with_slices) = (0, 0);
    for path in [&minutes, &hours] {
        let honest = fs::read(path).expect("the file");
        for part in (3..30).step_by(3) {
            let mut bytes = honest.clone();
            let at = bytes.len() * part / 32;
            bytes[at..at + 40].fill(0xa5);
            fs::write(path, bytes).expect("the file");
            for chunk_rows in [None, Some(5_000)] {
                let in_memory = outcome(None, chunk_rows);
                failed += usize::from(in_memory.1.is_some());
                with_slices += usize::from(in_memory.1.is_some() && in_memory.0 > 0);
                for every in [1, 2, 3] {
                    let spilled = outcome(Some(every), chunk_rows);
                    assert_eq!(spilled, in_memory, "{path:?}, part {part}, every {every}");
                }
            }
        }
        fs::write(path, honest).expect("the file");
    }
    assert!(failed > 20 && with_slices > 3, "{failed}, {with_slices}");
}

#[test]
fn a_cached_run_tells_of_its_temporary_file_once() {
    let data = data(2_000);
    let cache = tempfile::tempdir().expect("a folder");
    let place = cache.path().to_str().expect("a name in Unicode");
    let told = |options: &[&str]| {
        let output = run(&mut sync(data.path(), options));
        assert_eq!(status(&output), 0, "{}", text(&output.stderr));
        (
            output.stdout,
            last_line(&output.stderr).get("temporary_bytes").is_some(),
        )
    };
    let (usual, _) = told(&[]);
    let built = told(&["--cache", place, "--spill-every", "1"]);
    let found = told(&["--cache", place, "--memory", "1GB"]);
    assert!(built.0 == usual && found.0 == usual);
    assert_eq!((built.1, found.1), (true, false));
}
