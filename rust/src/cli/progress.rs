//! Draws the progress bar on stderr.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{HumanBytes, ProgressDrawTarget, ProgressStyle};
use omega_slices::Progress;

use crate::cli::args::ProgressMode;
use crate::cli::messages::Messages;

/// Maximum redraws per second.
const REDRAWS_PER_SECOND: u8 = 10;

/// A bar over the candles of all series; hidden unless requested.
pub struct ProgressBar(indicatif::ProgressBar);

impl ProgressBar {
    pub fn start(mode: ProgressMode, messages: &Messages, progress: Progress) -> Self {
        let what = "{bar:30} {percent:>3}% of {len} candles, {msg}, {elapsed} elapsed, {eta} left";
        Self(bar(mode, messages, progress.planned, what))
    }

    /// Shows the progress of the slices, and the bytes written so far, if known.
    pub fn update(&self, progress: Progress, bytes: Option<u64>) {
        self.0.set_position(progress.candles);
        let slices = format!("{} slices", progress.slices);
        self.0.set_message(match bytes {
            Some(bytes) => format!("{slices}, {}", HumanBytes(bytes)),
            None => slices,
        });
    }

    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}

/// A bar over the parts of a request; hidden unless requested.
pub struct PartsBar(indicatif::ProgressBar);

impl PartsBar {
    pub fn start(mode: ProgressMode, messages: &Messages) -> Self {
        let what = "{bar:30} {pos} of {len} parts, {elapsed} elapsed, {eta} left";
        Self(bar(mode, messages, 0, what))
    }

    pub fn update(&self, done: usize, all: usize) {
        self.0.set_length(all as u64);
        self.0.set_position(done as u64);
    }

    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}

fn bar(mode: ProgressMode, messages: &Messages, all: u64, what: &str) -> indicatif::ProgressBar {
    let shown = match mode {
        ProgressMode::Always => true,
        ProgressMode::Auto => messages.is_text() && io::stderr().is_terminal(),
        ProgressMode::Never => false,
    };
    let target = if shown {
        // This target draws even if stderr is not a terminal, as `always` requires.
        let stderr = Box::new(console::Term::stderr());
        ProgressDrawTarget::term_like_with_hz(stderr, REDRAWS_PER_SECOND)
    } else {
        ProgressDrawTarget::hidden()
    };
    let style =
        ProgressStyle::with_template(what).expect("the templates are constants that tests render");
    let bar = indicatif::ProgressBar::with_draw_target(Some(all), target).with_style(style);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
