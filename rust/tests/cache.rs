//! Tests the cache with the real binary: entries are built once, never partial, and give the same
//! bytes as a run without it.

mod common;

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use common::{MINUTE, omega_slices, run, status, sync, text};
use omega_slices::cache::{Event, SliceCache};
use omega_slices::ipc::Format;
use omega_slices::{ReadOptions, Request};
use serde_json::Value;
use tempfile::TempDir;

fn cached(data: &Path, cache: &Path) -> Command {
    let mut command = sync(data);
    command.arg("--cache").arg(cache);
    command
}

fn names_in(folder: &Path) -> Vec<String> {
    let files = fs::read_dir(folder).expect("the folder");
    let mut names: Vec<_> = files
        .map(|file| {
            file.expect("a file")
                .file_name()
                .into_string()
                .expect("text")
        })
        .collect();
    names.sort();
    names
}

fn path_of_entry(command: &mut Command) -> PathBuf {
    let output = run(command.arg("--print-path"));
    assert_eq!(status(&output), 0, "{}", text(&output.stderr));
    PathBuf::from(text(&output.stdout).strip_suffix('\n').expect("one line"))
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

#[test]
fn cold_and_warm_give_the_bytes_of_a_run_without_a_cache() {
    let (data, cache) = (common::two_symbols(6_000), folder());
    let plain = run(&mut sync(data.path())).stdout;
    let plain_file = data.path().join("plain.arrow");
    assert_eq!(
        status(&run(sync(data.path()).arg("-o").arg(&plain_file))),
        0
    );
    for round in ["cold", "warm"] {
        let output = run(&mut cached(data.path(), cache.path()));
        assert_eq!(status(&output), 0, "{}", text(&output.stderr));
        assert!(output.stdout == plain, "{round}");
        assert_eq!(text(&output.stderr), "");
        let target = data.path().join(format!("{round}.arrow"));
        assert_eq!(
            status(&run(cached(data.path(), cache.path())
                .arg("-o")
                .arg(&target))),
            0
        );
        assert!(fs::read(&target).expect("the file") == fs::read(&plain_file).expect("the file"));
    }
    let entry = path_of_entry(&mut cached(data.path(), cache.path()));
    assert!(fs::read(&entry).expect("the entry") == fs::read(&plain_file).expect("the file"));
    assert_eq!(names_in(cache.path()).len(), 1);
}

#[test]
fn a_hit_says_what_the_run_said() {
    let (data, cache) = (common::two_symbols(10), folder());
    // The series share no timestamp, which gives a warning.
    let only = [common::row(-MINUTE, 1.0)];
    common::write(&common::path(data.path(), "B", "M1", "ASK"), &only, 10);
    let told = |_| {
        let output = run(cached(data.path(), cache.path()).args(["--error-format", "json"]));
        assert_eq!(status(&output), 0);
        text(&output.stderr)
    };
    let plain = text(&run(sync(data.path()).args(["--error-format", "json"])).stderr);
    assert!(plain.contains("EMPTY_TIMELINE"), "{plain}");
    assert_eq!(["cold", "warm"].map(told), [plain.clone(), plain]);
}

#[test]
fn whatever_could_change_the_slices_changes_the_entry() {
    let (data, cache) = (common::two_symbols(100), folder());
    let entry = || path_of_entry(&mut cached(data.path(), cache.path()));
    let first = entry();
    assert_eq!(entry(), first);
    let mut seen = vec![first];
    let mut is_new = |path: PathBuf, why: &str| {
        assert!(!seen.contains(&path), "{why}");
        seen.push(path);
    };
    let with = |options: &[&str]| path_of_entry(cached(data.path(), cache.path()).args(options));
    is_new(with(&["--timeline", "union"]), "another timeline");
    is_new(with(&["--start", "1970-01-01T00:10:00Z"]), "another window");
    assert_eq!(
        with(&["--threads", "1"]),
        entry(),
        "threads never show in the output"
    );

    let file = common::path(data.path(), "A", "M1", "BID");
    let rows = |tag| -> Vec<_> {
        (0..100)
            .map(|minute| common::row(minute * MINUTE, tag))
            .collect()
    };
    let modified = fs::metadata(&file)
        .expect("the file")
        .modified()
        .expect("a time");
    let set_modified = |time| {
        let opened = File::options().write(true).open(&file).expect("the file");
        opened.set_modified(time).expect("a time");
    };
    set_modified(modified + Duration::from_secs(1));
    is_new(entry(), "another modification time");
    // Other values with the same size and time: the statistics in the footer differ.
    let size = fs::metadata(&file).expect("the file").len();
    common::write(&file, &rows(2.0), 60_000);
    set_modified(modified + Duration::from_secs(1));
    assert_eq!(
        fs::metadata(&file).expect("the file").len(),
        size,
        "the case is about the footer"
    );
    is_new(entry(), "another footer");

    let hours = data.path().join("hours.csv");
    let sessions = |open: &str| {
        fs::write(&hours, format!("open,close\n{open},1970-01-02T00:00:00Z\n")).expect("a file");
        with(&["--session-file", hours.to_str().expect("text")])
    };
    let (early, late) = (
        sessions("1970-01-01T00:00:00Z"),
        sessions("1970-01-01T00:50:00Z"),
    );
    is_new(early.clone(), "a file of sessions");
    is_new(late, "other sessions in the same file");
    assert_eq!(
        sessions("1970-01-01T00:00:00Z"),
        early,
        "the same sessions, written anew"
    );
}

#[test]
fn sessions_from_stdin_count_by_what_they_say() {
    let (data, cache) = (common::two_symbols(100), folder());
    let hours = data.path().join("hours.csv");
    fs::write(
        &hours,
        "open,close\n1970-01-01T00:50:00Z,1970-01-02T00:00:00Z\n",
    )
    .expect("a file");
    let options = ["--session-file", "/dev/stdin", "--session-name", "late"];
    let stdout_of = |command: &mut Command| {
        let stdin = File::open(&hours).expect("the file");
        let output = run(command.args(options).stdin(stdin));
        assert_eq!(status(&output), 0, "{}", text(&output.stderr));
        output.stdout
    };
    let plain = stdout_of(&mut sync(data.path()));
    for _ in 0..2 {
        assert!(stdout_of(&mut cached(data.path(), cache.path())) == plain);
    }
    assert_eq!(names_in(cache.path()).len(), 1);
    fs::write(&hours, "open,close\n1970-01-01,1970-01-02\n").expect("a file");
    assert!(stdout_of(&mut cached(data.path(), cache.path())) != plain);
    assert_eq!(names_in(cache.path()).len(), 2);
}

#[test]
fn eight_processes_at_once_compute_once() {
    let (data, cache) = (common::two_symbols(6_000), folder());
    let plain = run(&mut sync(data.path())).stdout;
    let children: Vec<_> = (0..8)
        .map(|_| {
            cached(data.path(), cache.path())
                .args(["--progress", "never"])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("the binary starts")
        })
        .collect();
    let outputs: Vec<_> = thread::scope(|scope| {
        let readers: Vec<_> = children
            .into_iter()
            .map(|child| scope.spawn(|| child.wait_with_output().expect("it ends")))
            .collect();
        readers
            .into_iter()
            .map(|reader| reader.join().expect("a reader"))
            .collect()
    });
    for output in &outputs {
        assert_eq!(status(output), 0, "{}", text(&output.stderr));
        assert!(output.stdout == plain);
    }
    let names = names_in(cache.path());
    assert!(
        matches!(&names[..], [name] if name.ends_with(".arrow")),
        "{names:?}"
    );
}

/// Locks belong to open files, so threads conflict like processes; and threads can tell which one
/// computed.
#[test]
fn of_eight_at_once_exactly_one_makes_batches() {
    let (data, cache) = (common::two_symbols(6_000), folder());
    let request = Request::builder(data.path())
        .symbols(["A", "B"])
        .build()
        .expect("a request");
    let begin = Barrier::new(8);
    let batches_made = || {
        let cache = SliceCache::open(cache.path(), 1 << 30).expect("a cache");
        let mut batches = 0;
        begin.wait();
        let entry = cache.entry(&request, &ReadOptions::new(), |event| {
            batches += u32::from(matches!(event, Event::Batch(..)));
        });
        assert_eq!(entry.expect("an entry").slices(), 6_000);
        batches
    };
    let mut made: Vec<_> = thread::scope(|scope| {
        let askers: Vec<_> = (0..8).map(|_| scope.spawn(batches_made)).collect();
        askers
            .into_iter()
            .map(|asker| asker.join().expect("an answer"))
            .collect()
    });
    made.sort_unstable();
    assert_eq!(made, [0, 0, 0, 0, 0, 0, 0, 1], "12,000 rows are one batch");
    assert_eq!(names_in(cache.path()).len(), 1);
}

/// Its input is gone: it can only have taken the entry that it waited for.
#[test]
fn a_waiting_process_opens_no_input() {
    let (data, cache) = (common::two_symbols(6_000), folder());
    let entry = path_of_entry(&mut cached(data.path(), cache.path()));
    let whole = fs::read(&entry).expect("the entry");
    let partial = entry.with_extension("partial");
    fs::remove_file(&entry).expect("an entry to remove");
    // This test acts as the process that builds the entry.
    let file = File::create(&partial).expect("a file");
    file.lock().expect("a lock");
    let child = cached(data.path(), cache.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    thread::sleep(Duration::from_millis(300));
    fs::write(&partial, &whole).expect("the entry");
    fs::remove_file(common::path(data.path(), "A", "M1", "BID")).expect("an input to remove");
    fs::rename(&partial, &entry).expect("the entry");
    drop(file);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(status(&output), 0, "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("waiting"));
    assert_eq!(names_in(cache.path()).len(), 1);
}

#[test]
fn a_kill_at_any_moment_leaves_no_lock_and_no_half() {
    let (data, cache) = (common::two_symbols(6_000), folder());
    let plain = run(&mut sync(data.path())).stdout;
    let begin = Instant::now();
    let entry = path_of_entry(&mut cached(data.path(), cache.path()));
    let whole_run = begin.elapsed();
    let whole = fs::read(&entry).expect("the entry");
    let mut killed = 0;
    for number in 0..50 {
        let _ = fs::remove_file(&entry);
        let mut child = cached(data.path(), cache.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary starts");
        thread::sleep(whole_run.mul_f64(f64::from(number * 37 % 50) / 45.0));
        child.kill().expect("a signal");
        killed += u32::from(!child.wait().expect("it ends").success());
        if let Ok(bytes) = fs::read(&entry) {
            assert!(bytes == whole, "a half under the name of the entry");
        }
        if number % 10 == 0 {
            let output = run(&mut cached(data.path(), cache.path()));
            assert_eq!(status(&output), 0, "{}", text(&output.stderr));
            assert!(output.stdout == plain);
            assert!(!text(&output.stderr).contains("waiting"), "a lock was left");
            assert_eq!(names_in(cache.path()).len(), 1);
        }
    }
    assert!(killed >= 10, "{killed} of 50 were killed while they ran");
}

#[test]
fn a_damaged_entry_is_made_anew() {
    let (data, cache) = (common::two_symbols(1_000), folder());
    let entry = path_of_entry(&mut cached(data.path(), cache.path()));
    let whole = fs::read(&entry).expect("the entry");
    for damaged in [&whole[..whole.len() - 5], b"", b"no Arrow at all"] {
        fs::write(&entry, damaged).expect("a file");
        assert_eq!(path_of_entry(&mut cached(data.path(), cache.path())), entry);
        assert!(fs::read(&entry).expect("the entry") == whole);
    }
}

/// Others who can write to the folder must not make the cache write or return files outside of it.
#[test]
fn links_and_pipes_in_the_folder_are_no_entries() {
    let (data, cache) = (common::two_symbols(100), folder());
    let entry = path_of_entry(&mut cached(data.path(), cache.path()));
    let partial = entry.with_extension("partial");
    let victim = data.path().join("victim.arrow");
    fs::rename(&entry, &victim).expect("another file of slices");
    let before = fs::read(&victim).expect("the file");

    // In place of the entry: the cache builds it again and replaces the link.
    symlink(&victim, &entry).expect("a link");
    assert_eq!(path_of_entry(&mut cached(data.path(), cache.path())), entry);
    assert!(!entry.is_symlink());

    // In place of the partial entry: the cache refuses it.
    fs::remove_file(&entry).expect("an entry to remove");
    for is_hard in [false, true] {
        let linked = if is_hard {
            fs::hard_link(&victim, &partial)
        } else {
            symlink(&victim, &partial)
        };
        linked.expect("a link");
        let output = run(&mut cached(data.path(), cache.path()));
        assert_eq!(status(&output), 4, "{}", text(&output.stderr));
        assert!(text(&output.stderr).contains(".partial"));
        assert!(fs::read(&victim).expect("the file") == before);
        fs::remove_file(&partial).expect("a link to remove");
    }

    for path in [&partial, &entry] {
        let _ = fs::remove_file(&partial);
        assert!(run(Command::new("mkfifo").arg(path)).status.success());
        let output = run(&mut cached(data.path(), cache.path()));
        let expected = if path == &partial { 4 } else { 0 };
        assert_eq!(status(&output), expected, "{}", text(&output.stderr));
    }
}

#[test]
fn a_failing_run_leaves_nothing_in_the_cache() {
    let (data, cache) = (common::two_symbols(1_000), folder());
    fs::write(
        common::path(data.path(), "B", "M1", "ASK"),
        "no Parquet at all",
    )
    .expect("a file");
    let output = run(&mut cached(data.path(), cache.path()));
    assert_eq!(status(&output), 3, "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("B_M1_ASK.parquet"));
    assert_eq!(names_in(cache.path()), [""; 0]);
}

#[test]
fn what_was_not_used_for_longest_goes_first_and_nothing_else_is_touched() {
    let (data, cache) = (common::two_symbols(1_000), folder());
    let other = cache.path().join("notes.arrow");
    fs::write(&other, "mine").expect("a file");
    let left_by_a_kill = cache.path().join(format!("{}.partial", "0".repeat(64)));
    fs::write(&left_by_a_kill, "half").expect("a file");
    let with = |end: &str, size: &str| {
        path_of_entry(cached(data.path(), cache.path()).args(["--end", end, "--cache-size", size]))
    };
    let ends = [
        "1970-01-01T10:00Z",
        "1970-01-01T11:00Z",
        "1970-01-01T12:00Z",
    ]
    .map(|end| end.replace('Z', ":00Z"));
    let [first, second, third] = ends.each_ref().map(|end| with(end, "1GiB"));
    assert!(!left_by_a_kill.exists());
    let used = |path: &Path, seconds_ago: u64| {
        let time = SystemTime::now() - Duration::from_secs(seconds_ago);
        File::open(path)
            .expect("an entry")
            .set_modified(time)
            .expect("a time");
    };
    used(&first, 30);
    used(&second, 20);
    used(&third, 10);
    // A hit makes the entry the last used one.
    assert_eq!(with(&ends[0], "1GiB"), first);
    let size: u64 = [&first, &third]
        .map(|path| fs::metadata(path).expect("an entry").len())
        .iter()
        .sum();
    let fourth = with("1970-01-01T00:00:00Z", &format!("{}B", size + 100_000));
    let left = [&first, &second, &third, &fourth].map(|path| path.exists());
    assert_eq!(left, [true, false, true, true]);
    // The requested entry exists even if nothing fits.
    let fifth = with("1970-01-01T01:00:00Z", "1B");
    assert_eq!(names_in(cache.path()).len(), 2);
    assert!(fifth.exists());

    let list = run(omega_slices()
        .args(["cache", "list", "--json", "--cache"])
        .arg(cache.path()));
    let list: Value = serde_json::from_slice(&list.stdout).expect("JSON");
    assert_eq!(list.as_array().map(Vec::len), Some(1));
    assert_eq!(list[0]["slices"], 61);
    assert_eq!(
        list[0]["path"],
        fs::canonicalize(&fifth)
            .expect("a path")
            .to_str()
            .expect("text")
    );
    let list = run(omega_slices()
        .args(["cache", "list", "--cache"])
        .arg(cache.path()));
    assert!(
        text(&list.stdout).contains("altogether"),
        "{}",
        text(&list.stdout)
    );
    let cleared = run(omega_slices()
        .args(["cache", "clear", "--cache"])
        .arg(cache.path()));
    assert!(
        text(&cleared.stdout).starts_with("removed 1 file, "),
        "{}",
        text(&cleared.stdout)
    );
    assert_eq!(names_in(cache.path()), ["notes.arrow"]);
}

/// A finished entry is returned even if an eviction or `cache clear` has removed its name.
#[test]
fn an_entry_that_is_cleared_meanwhile_is_handed_out_whole() {
    let (data, cache) = (common::two_symbols(100), folder());
    let plain = run(&mut sync(data.path())).stdout;
    let request = Request::builder(data.path())
        .symbols(["A", "B"])
        .build()
        .expect("a request");
    let slices = SliceCache::open(cache.path(), 1 << 30).expect("a cache");
    let entry = slices.entry(&request, &ReadOptions::new(), |_| {});
    let entry = entry.expect("an entry");
    assert_eq!(slices.clear().expect("it is empty now").0, 1);
    let mut copied = Vec::new();
    entry
        .copy_to(Format::Stream, &mut copied)
        .expect("room in memory");
    assert!(copied == plain);

    // The same with processes that build, evict and clear at random times.
    thread::scope(|scope| {
        let clearing = scope.spawn(|| {
            for _ in 0..60 {
                run(omega_slices()
                    .args(["cache", "clear", "--cache"])
                    .arg(cache.path()));
            }
        });
        while !clearing.is_finished() {
            let output = run(cached(data.path(), cache.path()).args(["--cache-size", "1B"]));
            assert_eq!(status(&output), 0, "{}", text(&output.stderr));
            assert!(output.stdout == plain);
        }
    });
}

#[test]
fn folders_that_cannot_be_a_cache_are_refused() {
    let data = common::two_symbols(10);
    let file = data.path().join("file");
    fs::write(&file, "mine").expect("a file");
    let output = run(&mut cached(data.path(), &file));
    assert_eq!(status(&output), 4, "{}", text(&output.stderr));
    let missing = data.path().join("missing");
    for command in ["list", "clear"] {
        let output = run(omega_slices()
            .args(["cache", command, "--cache"])
            .arg(&missing));
        assert_eq!(status(&output), 4);
        assert!(text(&output.stderr).contains("missing"));
        assert!(!missing.exists());
    }
}
