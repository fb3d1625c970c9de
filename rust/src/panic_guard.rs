//! Owns the border behind which a library's panic is the input's fault: decoders of foreign bytes have
//! panicked on damaged ones again and again.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is inside a decoder, where a panic is caught and reported as an error of the
/// input. A panic hook that prints should stay silent then.
#[must_use]
pub(crate) fn panic_will_be_reported() -> bool {
    GUARDED.with(Cell::get)
}

/// Runs a decoder. `Err` is what it said when it panicked.
pub(crate) fn catch_panic<T>(decode: impl FnOnce() -> T) -> Result<T, String> {
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
