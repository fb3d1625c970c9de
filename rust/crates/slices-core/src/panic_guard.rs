//! Turns panics of library decoders into errors of the input: decoders often panic on damaged
//! bytes.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is inside a decoder. A panic there is caught and reported as an error of the
/// input, so a panic hook should stay silent.
#[must_use]
pub fn panic_will_be_reported() -> bool {
    GUARDED.with(Cell::get)
}

/// Runs a decoder. `Err` holds the message of its panic.
pub fn catch_panic<T>(decode: impl FnOnce() -> T) -> Result<T, String> {
    let before = GUARDED.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(decode));
    GUARDED.set(before);
    outcome.map_err(|panic| {
        panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("unknown reason")
            .to_owned()
    })
}
