//! Decides what is a finding and what is only counted. The product catches panics inside decoders;
//! they are printed once per place. Any other panic ends the process. Also counts accepted inputs,
//! and the reasons of rejected ones.

use std::collections::{BTreeMap, HashSet};
use std::panic::{self, PanicHookInfo};
use std::process;
use std::sync::{Mutex, PoisonError};

use omega_slices::{Error, ErrorKind};

static SEEN: Mutex<Option<HashSet<String>>> = Mutex::new(None);
static OUTCOMES: Mutex<Outcomes> = Mutex::new(Outcomes {
    runs: 0,
    accepted: 0,
    refused: BTreeMap::new(),
});

struct Outcomes {
    runs: u64,
    accepted: u64,
    refused: BTreeMap<&'static str, u64>,
}

/// Replaces libFuzzer's panic hook, for which every panic is a finding.
pub fn prepare() {
    panic::set_hook(Box::new(|panic| {
        if omega_slices::panic_will_be_reported() {
            tell_once(panic);
        } else {
            eprintln!("{panic}\n{}", std::backtrace::Backtrace::force_capture());
            process::abort();
        }
    }));
}

fn tell_once(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string);
    let place = place.unwrap_or_else(|| "somewhere".to_owned());
    // Hide the local path of the crates.
    let place = place
        .rsplit_once("/src/")
        .map_or(place.as_str(), |(path, file)| {
            let name = path.rsplit('/').next().unwrap_or(path).len();
            &place[path.len() - name..][..name + "/src/".len() + file.len()]
        });
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    if seen.get_or_insert_default().insert(place.to_owned()) {
        let what = panic.payload_as_str().unwrap_or_default();
        eprintln!("omega: caught panic of a decoder at {place}: {what}");
    }
}

/// Counts an input, and checks the error of a rejected one.
pub fn count<T>(result: &Result<T, Error>) {
    let mut outcomes = OUTCOMES.lock().unwrap_or_else(PoisonError::into_inner);
    outcomes.runs += 1;
    match result {
        Ok(_) => outcomes.accepted += 1,
        Err(error) => {
            check_error(error);
            *outcomes.refused.entry(error.code().name()).or_default() += 1;
        }
    }
    if outcomes.runs.is_power_of_two() && outcomes.runs >= 1 << 10 {
        let refused = outcomes.refused.iter();
        let refused: Vec<_> = refused
            .map(|(name, times)| format!("{times} {name}"))
            .collect();
        eprintln!(
            "omega: of {} inputs {} accepted, refused: {}",
            outcomes.runs,
            outcomes.accepted,
            refused.join(", ")
        );
    }
}

/// Checks that an error says what is wrong with which file.
fn check_error(error: &Error) {
    assert!(!error.message().is_empty(), "an error without a word");
    let file = error.location().file.as_ref();
    match error.kind() {
        ErrorKind::Input => assert!(file.is_some(), "of which file is this: {error}"),
        // An input may cause only one system failure: an output without room.
        ErrorKind::System => assert!(
            error.message().contains("cannot write the output"),
            "the system was not at fault: {error}"
        ),
        ErrorKind::Usage => panic!("the request was not at fault: {error}"),
    }
}
