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
        let style = ProgressStyle::with_template(
            "{bar:30} {percent:>3}% of {len} candles, {msg}, {elapsed} elapsed, {eta} left",
        )
        .expect("the template is a constant that a test renders");
        let bar = indicatif::ProgressBar::with_draw_target(Some(progress.planned), target)
            .with_style(style);
        bar.enable_steady_tick(Duration::from_millis(200));
        Self(bar)
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
