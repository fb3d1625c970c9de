//! Tests slice files: they are complete or absent, their footers are right, and `inspect` describes
//! them.

mod common;

use std::fs;
use std::io::Cursor;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use arrow::ipc::reader::FileReader;
use common::{MINUTE, omega_slices, run, status, sync, text};
use serde_json::Value;

/// What a target may contain after a kill.
#[derive(Debug, PartialEq)]
enum Found {
    Nothing,
    Old,
    New,
}

/// Kills a command after a delay; returns whether it was still running.
fn kill_after(command: &mut Command, delay: Duration) -> bool {
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    thread::sleep(delay);
    child.kill().expect("a signal");
    !child.wait().expect("it ends").success()
}

/// Fifty delays over the whole run and slightly beyond, shuffled.
fn moments(run: Duration) -> impl Iterator<Item = Duration> {
    (0..50).map(move |number| run.mul_f64(f64::from(number * 37 % 50) / 45.0))
}

#[test]
fn a_kill_at_any_moment_leaves_the_old_file_or_the_new_one() {
    let data = common::two_symbols(6_000);
    let target = data.path().join("x.arrow");
    let write = || {
        let mut command = sync(data.path());
        command.arg("--force").arg("-o").arg(&target);
        command
    };
    let begin = Instant::now();
    assert_eq!(status(&run(&mut write())), 0);
    let whole_run = begin.elapsed();
    let new = fs::read(&target).expect("the file");
    let found = || match fs::read(&target) {
        Err(_) => Found::Nothing,
        Ok(bytes) if bytes == b"old" => Found::Old,
        Ok(bytes) if bytes == new => Found::New,
        Ok(bytes) => panic!("{} bytes that are neither old nor new", bytes.len()),
    };
    let mut killed = 0;
    for (number, delay) in moments(whole_run).enumerate() {
        let had_old = number % 2 == 0;
        if had_old {
            fs::write(&target, "old").expect("a file");
        } else {
            fs::remove_file(&target).expect("a file to remove");
        }
        killed += u32::from(kill_after(&mut write(), delay));
        let before = if had_old { Found::Old } else { Found::Nothing };
        let after = found();
        assert!(
            after == before || after == Found::New,
            "{after:?} after {delay:?}"
        );
        if after == Found::Nothing {
            fs::write(&target, "old").expect("a file for the next one");
        }
    }
    assert!(killed >= 10, "{killed} of 50 were killed while they ran");
}

/// Runs a shell command with `$1`, … on a new device of `kilobytes` KiB, mounted at `folder`.
fn on_small_device(kilobytes: u32, folder: &Path, script: &str, arguments: &[&Path]) -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["--map-root-user", "--mount", "sh", "-c"])
        .arg(format!(
            "mount -t tmpfs -o size={kilobytes}k tmpfs \"$0\" && cd \"$0\" && {script}"
        ))
        .arg(folder)
        .args(arguments)
        .stdin(Stdio::null());
    command
}

/// A device that is too small, if the system can mount one. Otherwise a limit of the file size,
/// which fails writes as well.
fn on_full_device(folder: &Path, script: &str, arguments: &[&Path]) -> Command {
    if run(&mut on_small_device(64, folder, "true", &[]))
        .status
        .success()
    {
        return on_small_device(200, folder, script, arguments);
    }
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg(format!(
            "trap '' XFSZ; cd \"$0\" && ulimit -f 200 && {script}"
        ))
        .arg(folder)
        .args(arguments);
    command
}

#[test]
fn a_full_device_leaves_the_old_file_or_none() {
    let data = common::two_symbols(5_000);
    let device = tempfile::tempdir().expect("a folder");
    let binary = Path::new(env!("CARGO_BIN_EXE_omega-slices"));
    let sync = "\"$1\" sync --data \"$2\" --symbols A,B";
    for (before, options, after) in [
        ("true", "-o x.arrow", "! test -e x.arrow"),
        (
            "printf old > x.arrow",
            "--force -o x.arrow",
            "test \"$(cat x.arrow)\" = old",
        ),
        ("true", "--cache cache", "! ls cache | grep ."),
        ("true", "--cache cache --print-path", "! ls cache | grep ."),
    ] {
        let script = format!(
            "{before} && {{ {sync} {options} > /dev/null; status=$?; }}; {after} && exit $status; exit 99"
        );
        let output = run(&mut on_full_device(
            device.path(),
            &script,
            &[binary, data.path()],
        ));
        assert_eq!(status(&output), 4, "{options}: {}", text(&output.stderr));
        assert!(
            text(&output.stderr).contains("make room there"),
            "{}",
            text(&output.stderr)
        );
    }
}

fn json_of(command: &mut Command) -> Value {
    let output = run(command);
    assert_eq!(status(&output), 0, "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("one JSON document")
}

fn inspect(file: &Path) -> Value {
    json_of(omega_slices().arg("inspect").arg(file).arg("--json"))
}

#[test]
fn a_footer_says_what_the_run_said() {
    // More than one batch.
    let data = common::two_symbols(60_000);
    let target = data.path().join("x.arrow");
    let output = run(sync(data.path())
        .args(["--error-format", "json", "--session", "fx", "-o"])
        .arg(&target));
    assert_eq!(status(&output), 0, "{}", text(&output.stderr));
    let mut said: Value = serde_json::from_str(text(&output.stderr).trim()).expect("the report");
    let said = said.as_object_mut().expect("an object");
    said.remove("kind");

    let bytes = fs::read(&target).expect("the file");
    let mut reader = FileReader::try_new(Cursor::new(&bytes), None).expect("a file");
    let entry = |key: &str| -> Value {
        serde_json::from_str(&reader.custom_metadata()[key]).expect("JSON")
    };
    let (seal, mut report, index) = (entry("seal"), entry("report"), entry("batch_index"));
    let warnings = report
        .as_object_mut()
        .expect("an object")
        .remove("warnings");
    assert_eq!(warnings, Some(Value::Array(Vec::new())));
    assert_eq!(report.as_object(), Some(&*said));
    assert_eq!(seal["slices"], said["slices"]);
    assert_eq!(seal["batches"], said["batches"]);
    // The first timestamp and the number of slices of each batch.
    let batches: Vec<_> = reader
        .by_ref()
        .map(|batch| batch.expect("a batch"))
        .collect();
    let (last, others) = batches.split_last().expect("a seal");
    assert_eq!(last.num_rows(), 0);
    assert!(others.len() > 1, "one batch proves little");
    for (number, batch) in others.iter().enumerate() {
        let timestamps: &arrow::array::TimestampNanosecondArray =
            batch.column(0).as_any().downcast_ref().expect("timestamps");
        assert_eq!(index["first_timestamps_ns"][number], timestamps.value(0));
        assert_eq!(index["slices"][number], batch.num_rows() / 2);
    }
    assert_eq!(index["slices"].as_array().map(Vec::len), Some(others.len()));
}

#[test]
fn compressed_output_is_smaller_and_holds_the_same_slices() {
    let data = common::two_symbols(5_000);
    let write = |name: &str, more: &[&str]| {
        let target = data.path().join(name);
        let output = run(sync(data.path()).args(more).arg("-o").arg(&target));
        assert_eq!(status(&output), 0, "{}", text(&output.stderr));
        let bytes = fs::read(&target).expect("the file");
        let batches: Vec<_> = FileReader::try_new(Cursor::new(&bytes), None)
            .expect("a file")
            .map(|batch| batch.expect("a batch"))
            .collect();
        (bytes.len(), batches)
    };
    let (plain_bytes, plain) = write("plain.arrow", &[]);
    for compression in ["lz4", "zstd"] {
        let (bytes, batches) = write(
            &format!("{compression}.arrow"),
            &["--compression", compression],
        );
        assert!(
            bytes < plain_bytes / 2,
            "{compression}: {bytes} of {plain_bytes}"
        );
        assert_eq!(batches, plain);
    }
}

#[test]
fn inspect_tells_the_complete_from_the_cut() {
    let data = common::two_symbols(5_000);
    let file = data.path().join("x.arrow");
    let stream = data.path().join("x.arrows");
    for target in [&file, &stream] {
        assert_eq!(status(&run(sync(data.path()).arg("-o").arg(target))), 0);
    }
    for (path, format) in [(&file, "file"), (&stream, "stream")] {
        let found = inspect(path);
        assert_eq!(found["format"], format);
        assert_eq!(found["sealed"], true);
        assert_eq!(found["problem"], Value::Null);
        assert_eq!(found["slices"], 5_000);
        assert_eq!(found["first_timestamp_ns"], 0);
        assert_eq!(found["last_timestamp_ns"], 4_999 * MINUTE);
        assert_eq!(found["symbols"], serde_json::json!(["A", "B"]));
        assert_eq!(found["timeframe"], "M1");
        assert_eq!(found["columns"][2]["name"], "bid_open");
        assert_eq!(found["request"]["timeline"], "intersection");

        // The same from a pipe, as text.
        let stdin = fs::File::open(path).expect("the file");
        let output = run(omega_slices().args(["inspect", "-"]).stdin(stdin));
        assert_eq!(status(&output), 0);
        assert!(
            text(&output.stdout).contains("sealed     yes"),
            "{}",
            text(&output.stdout)
        );

        // Cut at any offset, it is never complete and never crashes.
        let bytes = fs::read(path).expect("the file");
        let cut = data.path().join("cut");
        for length in (8..600)
            .step_by(7)
            .chain((600..bytes.len()).step_by(49_999))
            .chain((bytes.len() - 700..bytes.len()).step_by(7))
        {
            fs::write(&cut, &bytes[..length]).expect("a file");
            let output = run(omega_slices().arg("inspect").arg(&cut).arg("--json"));
            match status(&output) {
                0 => {
                    let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
                    assert_eq!(found["sealed"], false, "{length} of {} bytes", bytes.len());
                    assert!(found["problem"].is_string());
                }
                3 => assert!(text(&output.stderr).contains("3006 DESERIALIZATION_ERROR")),
                other => panic!(
                    "exit status {other} at {length} bytes: {}",
                    text(&output.stderr)
                ),
            }
        }
    }
}

#[test]
fn what_holds_no_slices_is_refused_by_name() {
    let data = common::two_symbols(10);
    let any = |name: &str, bytes: &[u8]| {
        let path = data.path().join(name);
        fs::write(&path, bytes).expect("a file");
        path
    };
    let parquet = common::path(data.path(), "A", "M1", "BID");
    for path in [
        any("empty.arrow", b""),
        any("text.arrow", b"UTC time,Open\n"),
        any("magic.arrow", b"ARROW1\0\0"),
        parquet,
        data.path().to_owned(),
        data.path().join("missing.arrow"),
    ] {
        let output = run(omega_slices().arg("inspect").arg(&path));
        assert_eq!(
            status(&output),
            3,
            "{}: {}",
            path.display(),
            text(&output.stderr)
        );
        let message = text(&output.stderr);
        assert!(message.contains("3006 DESERIALIZATION_ERROR"), "{message}");
        assert!(message.contains(&path.display().to_string()), "{message}");
        assert_eq!(text(&output.stdout), "");
    }
}

#[test]
fn a_newer_schema_is_told_from_a_foreign_one() {
    let data = common::two_symbols(10);
    let file = data.path().join("x.arrows");
    assert_eq!(status(&run(sync(data.path()).arg("-o").arg(&file))), 0);
    let bytes = fs::read(&file).expect("the stream");
    for (old, new, word) in [
        ("1.0.0", "2.0.0", "version"),
        ("multi_symbol_slice", "multi_symbol_other", "no slices"),
    ] {
        let at = bytes
            .windows(old.len())
            .position(|window| window == old.as_bytes());
        let at = at.expect("the word is in the schema");
        let mut other = bytes.clone();
        other[at..at + old.len()].copy_from_slice(new.as_bytes());
        fs::write(&file, other).expect("the stream");
        let output = run(omega_slices().arg("inspect").arg(&file));
        assert_eq!(status(&output), 3);
        assert!(
            text(&output.stderr).contains(word),
            "{}",
            text(&output.stderr)
        );
    }
}

/// A compressed buffer declares its size; memory must not be reserved for that alone.
#[test]
fn a_buffer_that_declares_exabytes_is_refused() {
    let data = common::two_symbols(5_000);
    for (name, compression, magic) in [
        ("x.arrows", "lz4", [0x04, 0x22, 0x4d, 0x18]),
        ("z.arrows", "zstd", [0x28, 0xb5, 0x2f, 0xfd]),
    ] {
        let target = data.path().join(name);
        let output = run(sync(data.path())
            .args(["--compression", compression, "-o"])
            .arg(&target));
        assert_eq!(status(&output), 0, "{}", text(&output.stderr));
        let bytes = fs::read(&target).expect("the stream");
        let frame = bytes.windows(4).position(|window| window == magic);
        let place = frame.expect("a frame") - 8;
        for length in [1_i64 << 62, i64::MAX, 1 << 40, 1 << 31, 2_000_000] {
            let mut other = bytes.clone();
            other[place..place + 8].copy_from_slice(&length.to_le_bytes());
            fs::write(&target, other).expect("the stream");
            let found = inspect(&target);
            assert_eq!(found["sealed"], false, "{length}");
            let output = run(omega_slices().arg("diff").arg(&target).arg(&target));
            assert_eq!(status(&output), 3, "{}", text(&output.stderr));
            assert!(
                text(&output.stderr).contains("declares more bytes"),
                "{}",
                text(&output.stderr)
            );
        }
    }
}

/// A batch also declares rows, and the size of all its buffers together.
#[test]
fn a_batch_that_declares_absurd_rows_or_gigabytes_is_refused() {
    let data = common::two_symbols(5_000);
    let target = data.path().join("x.arrows");
    let output = run(sync(data.path())
        .args(["--compression", "zstd", "-o"])
        .arg(&target));
    assert_eq!(status(&output), 0, "{}", text(&output.stderr));
    let bytes = fs::read(&target).expect("the stream");
    // Columns of eight bytes a row, compressed.
    let mut column = 80_000_i64.to_le_bytes().to_vec();
    column.extend([0x28, 0xb5, 0x2f, 0xfd]);
    let columns: Vec<_> = (0..bytes.len())
        .filter(|&at| bytes[at..].starts_with(&column))
        .collect();
    assert!(columns.len() >= 10, "{columns:?}");
    let rows_max = 1_i64 << 24;
    for (rows, declared, word) in [
        (rows_max + 1, 80_000, "more rows"),
        (i64::MAX, 80_000, "more rows"),
        (-1, 80_000, "more rows"),
        // One column may declare this much, ten may not.
        (rows_max, 8 * rows_max, "declares more bytes"),
    ] {
        let mut other = bytes.clone();
        let lengths = bytes.windows(8).enumerate();
        for (at, _) in lengths.filter(|(_, length)| **length == 10_000_i64.to_le_bytes()) {
            other[at..at + 8].copy_from_slice(&rows.to_le_bytes());
        }
        for &at in &columns {
            other[at..at + 8].copy_from_slice(&declared.to_le_bytes());
        }
        fs::write(&target, other).expect("the stream");
        let output = run(omega_slices().arg("diff").arg(&target).arg(&target));
        assert_eq!(status(&output), 3, "{}", text(&output.stderr));
        let message = text(&output.stderr);
        assert!(message.contains(word), "{message}");
    }
}
