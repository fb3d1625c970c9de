//! Runs hostile inputs through omega-slices, and checks what must hold for each.
//!
//! An input may be rejected by an error with its code and file name. It must never panic outside of
//! a decoder, or exceed the limits of memory and time that `scripts/fuzz` sets. An accepted input
//! must give complete and ordered output, the same for all chunk sizes and threads. A broken
//! promise is a panic, which the fuzzer takes for a finding.
//!
//! Every target is a function of bytes. `fuzz_targets` passes them to libFuzzer, which coverage
//! guides. The executable `seeded` needs no special build and works at random.

mod change;
mod findings;
mod mutate;
mod output;
mod seeds;
mod slices;
mod sync;

pub use change::{Random, change};
pub use findings::prepare;
pub use mutate::mutate;
pub use seeds::all as seeds;
pub use slices::{diff, slices};
pub use sync::{parquet, sessions};

/// A target: a function that runs an input.
pub type Target = fn(&[u8]);

/// The targets by name.
pub const TARGETS: [(&str, Target); 4] = [
    ("parquet", parquet),
    ("sessions", sessions),
    ("slices", slices),
    ("diff", diff),
];
