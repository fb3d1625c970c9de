//! Tests faults around a run with the real binary: readers that go away, writers that stop, inputs
//! that change. Nothing hangs longer than a stated bound, and nothing partial looks complete.

#![expect(
    clippy::print_stdout,
    reason = "how many faults were tried is part of what the tests say"
)]

mod common;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::{MINUTE, omega_slices, run, status, sync, text};
use serde_json::Value;
use tempfile::TempDir;

/// Longer than any step here may take on a busy machine.
const BOUND: Duration = Duration::from_secs(30);

/// Waits for a process, and kills it after the bound.
fn wait(mut child: Child, bound: Duration) -> (Output, Duration) {
    let began = Instant::now();
    while child.try_wait().expect("a child").is_none() {
        if began.elapsed() > bound {
            child.kill().expect("a child");
            panic!("it did not end within {bound:?}");
        }
        thread::sleep(Duration::from_millis(5));
    }
    let took = began.elapsed();
    (child.wait_with_output().expect("it has ended"), took)
}

/// Sends a signal by its name.
fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill")
        .args(["-s", name, &child.id().to_string()])
        .status();
    assert!(sent.expect("kill").success());
}

fn names_in(folder: &Path) -> Vec<String> {
    let files = fs::read_dir(folder).expect("the folder");
    let name = |file: std::io::Result<fs::DirEntry>| file.expect("a file").file_name();
    files
        .map(|file| name(file).into_string().expect("text"))
        .collect()
}

/// A process that was stopped while it built a cache entry, and the folder of the cache. Its reader
/// has read nothing yet.
struct StoppedMaker {
    maker: Child,
    cache: TempDir,
}

impl StoppedMaker {
    /// Waits until the process has locked and started its file, then stops it.
    fn of(data: &Path) -> Self {
        let cache = tempfile::tempdir().expect("a folder");
        let maker = cached(data, cache.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("the binary starts");
        let began = Instant::now();
        let has_begun = || {
            let file = fs::read_dir(cache.path()).expect("the folder").next();
            let file = file.map(|file| file.expect("a file").metadata().expect("the file"));
            file.is_some_and(|file| file.len() > 0)
        };
        while !has_begun() {
            assert!(began.elapsed() < BOUND, "nothing is being made");
        }
        signal(&maker, "STOP");
        let made = names_in(cache.path());
        assert!(
            made[0].ends_with(".partial"),
            "it was stopped too late: {made:?}"
        );
        Self { maker, cache }
    }
}

impl Drop for StoppedMaker {
    fn drop(&mut self) {
        self.maker.kill().expect("a child");
        self.maker.wait().expect("a child");
    }
}

fn cached(data: &Path, cache: &Path) -> Command {
    let mut command = sync(data);
    command
        .args(["--error-format", "json", "--cache"])
        .arg(cache);
    command
}

/// More slices than a run builds ahead of a reader that does not read.
const LONG: i64 = 400_000;

/// The same for slices with more columns.
const CHANGED: i64 = 260_000;

/// A waiting process writes nothing, so it must learn in another way that its reader is gone.
#[test]
fn a_silent_run_ends_within_a_second_of_its_reader() {
    let data = common::long_data(LONG);
    let stopped = StoppedMaker::of(data.path());
    for with_socket in [false, true] {
        let mut waiting = cached(data.path(), stopped.cache.path());
        waiting.stderr(Stdio::piped());
        let (child, reader): (Child, Box<dyn Read>) = if with_socket {
            let (ours, theirs) = UnixStream::pair().expect("two sockets");
            let child = waiting.stdout(OwnedFd::from(theirs)).spawn();
            // The command holds the other end too.
            drop(waiting);
            (child.expect("the binary starts"), Box::new(ours))
        } else {
            let mut child = waiting
                .stdout(Stdio::piped())
                .spawn()
                .expect("the binary starts");
            let reader = child.stdout.take().expect("a pipe");
            (child, Box::new(reader))
        };
        thread::sleep(Duration::from_millis(300));
        drop(reader);
        let (output, took) = wait(child, BOUND);
        assert!(
            took < Duration::from_secs(1),
            "socket {with_socket}: {took:?}"
        );
        assert_eq!(status(&output), 0, "socket {with_socket}");
        assert_eq!(text(&output.stderr), "");
    }
    assert_eq!(
        names_in(stopped.cache.path()).len(),
        1,
        "the maker's file is the maker's"
    );
}

/// Its partial entry is removed, so other processes do not wait for it.
#[test]
fn a_maker_whose_reader_goes_leaves_nothing_in_the_cache() {
    let data = common::long_data(LONG);
    let cache = tempfile::tempdir().expect("a folder");
    let mut maker = cached(data.path(), cache.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let began = Instant::now();
    while names_in(cache.path()).is_empty() {
        assert!(began.elapsed() < BOUND, "nothing is being made");
    }
    drop(maker.stdout.take());
    let (output, took) = wait(maker, BOUND);
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(status(&output), 0);
    assert_eq!(text(&output.stderr), "");
    assert_eq!(names_in(cache.path()), [""; 0]);
}

/// With a file as output, stdout does not matter.
#[test]
fn a_run_into_a_file_does_not_care_who_reads_stdout() {
    let data = common::long_data(LONG);
    let target = data.path().join("x.arrow");
    let mut child = sync(data.path())
        .arg("-o")
        .arg(&target)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    drop(child.stdout.take());
    let (output, _) = wait(child, BOUND);
    assert_eq!(status(&output), 0);
    assert!(target.exists());
}

/// A failure keeps its status without a reader.
#[test]
fn a_failure_without_a_reader_is_still_a_failure() {
    let data = common::two_symbols(10);
    fs::write(common::path(data.path(), "B", "M1", "ASK"), "no Parquet").expect("a file");
    // A file, for which a closed pipe does not matter.
    let target = data.path().join("x.arrow");
    let mut child = sync(data.path())
        .arg("-o")
        .arg(&target)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    drop(child.stdout.take());
    let (output, _) = wait(child, BOUND);
    assert_eq!(status(&output), 3);
}

/// A stopped process never ends; waiting processes must time out.
#[test]
fn one_who_waits_for_a_stopped_maker_gives_up() {
    let data = common::long_data(LONG);
    let stopped = StoppedMaker::of(data.path());
    let child = cached(data.path(), stopped.cache.path())
        .args(["--cache-patience", "1"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let (output, took) = wait(child, BOUND);
    assert!(took >= Duration::from_secs(1), "{took:?}");
    assert_eq!(status(&output), 4);
    let line: Value = serde_json::from_str(text(&output.stderr).trim()).expect("one JSON line");
    let (file, hint) = (&line["file"], &line["hint"]);
    assert!(
        file.as_str().is_some_and(|file| file.ends_with(".partial")),
        "{line}"
    );
    assert!(
        hint.as_str().is_some_and(|hint| hint.contains("--cache")),
        "{line}"
    );
}

/// A process that writes nothing for a long time is not a stopped one.
#[test]
fn one_who_waits_for_a_maker_at_work_is_patient() {
    let data = common::long_data(LONG);
    let stopped = StoppedMaker::of(data.path());
    let child = cached(data.path(), stopped.cache.path())
        .args(["--cache-patience", "3"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    thread::sleep(Duration::from_millis(500));
    signal(&stopped.maker, "CONT");
    let (output, _) = wait(child, BOUND);
    assert_eq!(status(&output), 0, "{}", text(&output.stderr));
    assert!(
        !text(&output.stderr).contains("error"),
        "{}",
        text(&output.stderr)
    );
}

/// Heartbeats are whole lines at the given interval, and none follows the report.
#[test]
fn signs_of_life_come_while_a_run_lasts() {
    let data = common::two_symbols(60_000);
    let mut child = sync(data.path())
        .args(["--error-format", "json", "--heartbeat", "1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    // The pipe is not read, so the run blocks on it.
    let mut said = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    let began = Instant::now();
    for _ in 0..2 {
        let line = said.next().expect("a line").expect("text");
        assert_eq!(line, r#"{"kind":"alive"}"#);
    }
    let took = began.elapsed();
    assert!((1..10).contains(&took.as_secs()), "{took:?}");
    let mut stream = Vec::new();
    let mut reader = child.stdout.take().expect("a pipe");
    reader.read_to_end(&mut stream).expect("the stream");
    let rest: Vec<Value> = said
        .map(|line| serde_json::from_str(&line.expect("text")).expect("a JSON line"))
        .collect();
    let kinds: Vec<_> = rest.iter().map(|line| line["kind"].as_str()).collect();
    assert_eq!(kinds.last(), Some(&Some("report")), "{kinds:?}");
    assert_eq!(
        kinds.iter().filter(|kind| **kind == Some("report")).count(),
        1
    );
    let (output, _) = wait(child, BOUND);
    assert_eq!(status(&output), 0);
    assert_eq!(stream, run(&mut sync(data.path())).stdout);
}

#[test]
fn a_heartbeat_that_cannot_be_is_refused() {
    let data = common::two_symbols(10);
    for (arguments, expected) in [
        (&["--heartbeat", "1"][..], "--error-format json"),
        (
            &["--heartbeat", "0", "--error-format", "json"],
            "--heartbeat",
        ),
        (
            &["--heartbeat", "soon", "--error-format", "json"],
            "--heartbeat",
        ),
    ] {
        let output = run(sync(data.path()).args(arguments));
        assert_eq!(status(&output), 2, "{arguments:?}");
        let said = text(&output.stderr);
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
}

/// Changes to a file while it is read.
#[derive(Debug, Clone, Copy)]
enum Change {
    Replaced,
    Overwritten,
    /// The modification time is set back too.
    OverwrittenUnnoticed,
    Truncated,
    Appended,
    Deleted,
    RenamedAway,
    /// A change that could hide a write.
    Permissions,
    AnotherLink,
    OverwrittenAndPermissions,
}

impl Change {
    const ALL: [Self; 10] = [
        Self::Replaced,
        Self::Overwritten,
        Self::OverwrittenUnnoticed,
        Self::Truncated,
        Self::Appended,
        Self::Deleted,
        Self::RenamedAway,
        Self::Permissions,
        Self::AnotherLink,
        Self::OverwrittenAndPermissions,
    ];

    /// Changes a file; `other` has the same length and other rows.
    fn make(self, path: &Path, other: &Path) {
        let aside = path.with_extension("aside");
        let opened = || File::options().write(true).open(path).expect("the file");
        let done = match self {
            Self::Replaced => {
                fs::copy(other, &aside).expect("a copy");
                fs::rename(&aside, path)
            }
            Self::Overwritten | Self::OverwrittenUnnoticed => {
                let modified = fs::metadata(path).and_then(|file| file.modified());
                let bytes = fs::read(other).expect("the other file");
                opened().write_all(&bytes).expect("the file");
                match self {
                    Self::OverwrittenUnnoticed => opened().set_modified(modified.expect("a time")),
                    _ => Ok(()),
                }
            }
            Self::Truncated => opened().set_len(fs::metadata(path).expect("the file").len() / 2),
            Self::Appended => {
                let mut file = File::options().append(true).open(path).expect("the file");
                file.write_all(b"more")
            }
            Self::Deleted => fs::remove_file(path),
            Self::RenamedAway => fs::rename(path, &aside),
            Self::Permissions => fs::set_permissions(path, fs::Permissions::from_mode(0o640)),
            Self::AnotherLink => fs::hard_link(path, &aside),
            Self::OverwrittenAndPermissions => {
                Self::OverwrittenUnnoticed.make(path, other);
                fs::set_permissions(path, fs::Permissions::from_mode(0o640))
            }
        };
        done.expect("a change");
    }
}

/// Starts a run, changes something once the stream has started, and reads the rest. Until then the
/// run blocks on the full pipe, long before its end.
fn changed_in_the_middle(command: &mut Command, change: impl FnOnce()) -> Output {
    let mut child = command
        .args(["--error-format", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut reader = child.stdout.take().expect("a pipe");
    let mut stream = vec![0; 8];
    reader.read_exact(&mut stream).expect("a beginning");
    change();
    reader.read_to_end(&mut stream).expect("the rest");
    let (output, _) = wait(child, BOUND);
    Output {
        stdout: stream,
        ..output
    }
}

/// Checks the only message of a failed run: CORRUPT_INPUT with this file.
fn check_names(output: &Output, path: &Path, symbol: &str, what: &str) {
    assert_eq!(status(output), 3, "{what}: {}", text(&output.stderr));
    let line: Value = serde_json::from_str(text(&output.stderr).trim()).expect("one JSON line");
    assert_eq!(line["code"], 3008, "{what}: {line}");
    assert_eq!(line["file"].as_str(), path.to_str(), "{what}: {line}");
    assert_eq!(line["symbol"], symbol, "{what}: {line}");
    let message = line["message"].as_str().expect("a message");
    assert!(message.contains("changed while it was"), "{what}: {line}");
}

/// After any change to a file, no slice contains later data, and the stream does not look complete.
fn check_changes(symbol: &str, timeframe: &str, side: &str) {
    let (data, other) = (
        common::long_data(CHANGED),
        tempfile::tempdir().expect("a folder"),
    );
    let root = data.path();
    let hours = common::path(root, "A", "H1", "BID");
    common::write_long(&hours, CHANGED / 60, 60 * MINUTE, 2.0);
    fs::copy(&hours, common::path(root, "B", "H1", "BID")).expect("a copy");
    for symbol in ["A", "B"] {
        let minutes = common::path(root, symbol, "M1", "BID");
        fs::copy(minutes, common::path(root, symbol, "M1", "IND")).expect("a copy");
    }
    let path = common::path(root, symbol, timeframe, side);
    let other = other.path().join("other.parquet");
    match timeframe {
        "M1" => common::write_long(&other, CHANGED, MINUTE, 7.0),
        _ => common::write_long(&other, CHANGED / 60, 60 * MINUTE, 7.0),
    }
    let command = || {
        let mut command = sync(root);
        command.args(["--price-types", "bid", "--with-timeframe", "H1"]);
        command.args(["--indicators", "Close", "--threads", "2"]);
        command
    };
    let whole = run(&mut command()).stdout;
    let saved = fs::read(&path).expect("the file");
    let length = fs::metadata(&other).expect("the other file").len();
    assert_eq!(
        length,
        saved.len() as u64,
        "an overwritten file keeps its length"
    );
    for change in Change::ALL {
        let what = format!("{change:?} {}", path.display());
        let output = changed_in_the_middle(&mut command(), || change.make(&path, &other));
        check_names(&output, &path, symbol, &what);
        assert!(output.stdout.len() < whole.len(), "{what}");
        assert!(whole.starts_with(&output.stdout), "{what}");
        for file in [&path, &path.with_extension("aside")] {
            if file.exists() {
                fs::remove_file(file).expect("the file");
            }
        }
        fs::write(&path, &saved).expect("the file");
    }
    println!(
        "tried: {} (changes of a file that is being read)",
        Change::ALL.len()
    );
}

#[test]
fn a_file_of_candles_that_changes_while_it_is_read_is_told() {
    check_changes("A", "M1", "BID");
}

/// A small file is read at once, and its existence is checked at the end.
#[test]
fn a_file_of_a_higher_timeframe_that_changes_while_it_is_read_is_told() {
    check_changes("A", "H1", "BID");
}

#[test]
fn a_file_of_indicators_that_changes_while_it_is_read_is_told() {
    check_changes("B", "M1", "IND");
}

/// In a series of several files, each is open only while it is read.
#[test]
fn a_file_that_changes_before_it_is_opened_again_is_told() {
    let (data, other) = (
        common::long_data(LONG),
        tempfile::tempdir().expect("a folder"),
    );
    let last = data.path().join("B").join("B_M1_BID_2.parquet");
    let (rows, from) = (LONG / 4, LONG * MINUTE);
    let later: Vec<_> = (0..rows / 100)
        .map(|row| common::row(from + row * MINUTE, 3.0))
        .collect();
    for change in [Change::Replaced, Change::Deleted, Change::Truncated] {
        common::write(&last, &later, 1_000);
        let replacement = other.path().join("x.parquet");
        common::write(&replacement, &later, 500);
        let template = "{root}/{symbol}/{symbol}_{timeframe}_{SIDE}*.parquet";
        let mut command = sync(data.path());
        command.args(["--price-types", "bid", "--timeline", "union"]);
        command.args(["--path-template", template]);
        let output = changed_in_the_middle(&mut command, || change.make(&last, &replacement));
        check_names(&output, &last, "B", &format!("{change:?}"));
    }
}

/// A cache does not keep slices of changed inputs.
#[test]
fn an_entry_of_changed_inputs_is_not_kept() {
    let data = common::long_data(LONG);
    let cache = tempfile::tempdir().expect("a folder");
    let other = data.path().join("other.parquet");
    common::write_long(&other, LONG, MINUTE, 7.0);
    let path = common::path(data.path(), "B", "M1", "ASK");
    let maker = cached(data.path(), cache.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let began = Instant::now();
    while names_in(cache.path()).is_empty() {
        assert!(began.elapsed() < BOUND, "nothing is being made");
    }
    signal(&maker, "STOP");
    Change::Replaced.make(&path, &other);
    signal(&maker, "CONT");
    let (output, _) = wait(maker, BOUND);
    check_names(&output, &path, "B", "in a cache");
    assert_eq!(names_in(cache.path()), [""; 0]);
}

/// A full device gives one error for any output.
#[test]
fn a_full_device_is_one_error() {
    let data = common::two_symbols(10);
    let slices = data.path().join("x.arrow");
    assert_eq!(status(&run(sync(data.path()).arg("-o").arg(&slices))), 0);
    let cache = data.path().join("cache");
    let asked = ["--symbols", "A,B", "--data"];
    let mut commands = Vec::new();
    for command in ["sync", "coverage"] {
        let mut one = omega_slices();
        one.arg(command).args(asked).arg(data.path());
        commands.push(one);
    }
    for cached in [&["--cache"][..], &["--print-path", "--cache"]] {
        let mut one = sync(data.path());
        one.args(cached).arg(&cache);
        commands.push(one);
    }
    for command in [
        &["inspect"][..],
        &["diff", "x"],
        &["cache", "list", "--cache"],
    ] {
        let mut one = omega_slices();
        match command {
            ["inspect"] => one.arg("inspect").arg(&slices),
            ["diff", _] => one.arg("diff").arg(&slices).arg(&slices),
            _ => one.args(command).arg(&cache),
        };
        commands.push(one);
    }
    for mut command in commands {
        let full = File::options()
            .write(true)
            .open("/dev/full")
            .expect("a full device");
        let output = run(command.args(["--error-format", "json"]).stdout(full));
        assert_eq!(status(&output), 4, "{command:?}: {}", text(&output.stderr));
        let said = text(&output.stderr);
        let errors = said
            .lines()
            .filter(|line| line.contains(r#""kind":"error""#));
        assert_eq!(errors.count(), 1, "{command:?}: {said}");
    }
}
