//! Hostile inputs for omega-slices: what is done with an input, and what must hold whatever it is.
//!
//! An input may be refused, by an error of ours with its code and the name of the file; never by a panic
//! outside of a decoder, never with more memory or time than the limits that `scripts/fuzz` sets. What is
//! accepted must give output that is complete and in order, and the same whatever the chunks and threads.
//! A broken promise is a panic, which the fuzzer takes for a finding.
//!
//! Every target is a function of bytes. `fuzz_targets` hands them to libFuzzer, which is guided by coverage; the
//! executable `seeded` needs no build of its own, and goes by chance.

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

/// A target: what is done with an input.
pub type Target = fn(&[u8]);

/// The targets by name.
pub const TARGETS: [(&str, Target); 4] = [
    ("parquet", parquet),
    ("sessions", sessions),
    ("slices", slices),
    ("diff", diff),
];
