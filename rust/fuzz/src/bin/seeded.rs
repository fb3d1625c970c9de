//! Fuzzes at random in an ordinary build, without coverage.
//!
//! `seeded SECONDS SEED FOLDER [TARGET...]` starts with the seeds and changes them by bit flips,
//! edge values, cuts and splices. The same seed gives the same inputs in the same order. While an
//! input runs, it lies in FOLDER under the name of its target. It stays there if it ends the
//! process or takes too long. `seeded reproduce TARGET FILE` runs one input.

use std::path::Path;
use std::process::{self, ExitCode};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, io, thread};

use omega_slices_fuzz::{Random, TARGETS, Target, change, prepare, seeds};

/// Maximum time of an input.
const LIMIT: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["reproduce", target, file] => reproduce(target, Path::new(file)),
        [seconds, seed, folder, ref targets @ ..] => match (seconds.parse(), seed.parse()) {
            (Ok(seconds), Ok(seed)) => run(
                Duration::from_secs(seconds),
                seed,
                Path::new(folder),
                targets,
            ),
            _ => usage(),
        },
        _ => usage(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn usage() -> io::Result<()> {
    let usage = "usage: seeded SECONDS SEED FOLDER [TARGET...], or seeded reproduce TARGET FILE";
    Err(io::Error::new(io::ErrorKind::InvalidInput, usage))
}

fn target_of(name: &str) -> io::Result<Target> {
    let found = TARGETS.into_iter().find(|(target, _)| *target == name);
    let (_, target) =
        found.ok_or_else(|| io::Error::other(format!("there is no target {name}")))?;
    Ok(target)
}

fn reproduce(target: &str, file: &Path) -> io::Result<()> {
    prepare();
    target_of(target)?(&fs::read(file)?);
    Ok(())
}

/// Runs the targets in turn until the time is up.
fn run(time: Duration, seed: u64, folder: &Path, targets: &[&str]) -> io::Result<()> {
    prepare();
    let finished = watch();
    let end = Instant::now() + time;
    let mut random = Random::new(seed);
    let seeds = seeds()
        .into_iter()
        .filter(|(name, _)| targets.is_empty() || targets.contains(name));
    let mut lanes = Vec::new();
    for (name, inputs) in seeds {
        lanes.push((name, target_of(name)?, inputs, 0_u64));
    }
    for turn in 0.. {
        for (name, target, inputs, count) in &mut lanes {
            // All seeds unchanged, then changed ones.
            let input = match inputs.get(turn) {
                Some((_, seed)) => seed.clone(),
                None => change(inputs, &mut random),
            };
            let file = folder.join(&*name);
            fs::write(&file, &input)?;
            target(&input);
            fs::remove_file(&file)?;
            *count += 1;
            finished.fetch_add(1, Ordering::Relaxed);
        }
        if Instant::now() >= end {
            break;
        }
    }
    for (name, _, _, count) in lanes {
        println!("inputs: {name} {count}");
    }
    Ok(())
}

/// Ends the process if no input finishes for too long. Returns the counter of finished inputs.
fn watch() -> &'static AtomicU64 {
    static FINISHED: AtomicU64 = AtomicU64::new(0);
    thread::spawn(|| {
        loop {
            let before = FINISHED.load(Ordering::Relaxed);
            thread::sleep(LIMIT);
            if FINISHED.load(Ordering::Relaxed) == before {
                eprintln!("an input took more than {} s", LIMIT.as_secs());
                process::abort();
            }
        }
    });
    &FINISHED
}
