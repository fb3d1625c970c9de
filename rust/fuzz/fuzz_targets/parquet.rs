//! See `omega_slices_fuzz::parquet`.

#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use omega_slices_fuzz::{mutate, parquet, prepare};

fuzz_target!(init: prepare(), |input: &[u8]| parquet(input));

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate(data, size, max_size, seed, fuzzer_mutate)
});
