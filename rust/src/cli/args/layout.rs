//! Parses the arguments of `layout`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::StorageArguments;

#[derive(Debug, Args)]
#[command(after_help = LAYOUT_HELP)]
pub struct LayoutArguments {
    #[command(subcommand)]
    pub command: LayoutCommand,
}

#[derive(Debug, Subcommand)]
pub enum LayoutCommand {
    /// List the names and descriptions of the built-in layouts.
    List,
    /// Print a layout as TOML.
    Show {
        /// Name of a built-in layout, or a TOML file.
        #[arg(value_name = "NAME|FILE.toml")]
        layout: PathBuf,

        #[command(flatten)]
        storage: StorageArguments,
    },
}

const LAYOUT_HELP: &str = "\
Examples:
  omega-slices layout list
  omega-slices layout show freqtrade > own.toml
  omega-slices sync --layout freqtrade --data user_data/data/binance --symbols BTC/USDT --timeframe M5

A layout says what the files of a lake look like: where they are, what their columns are called, what
their times and numbers mean. Options of the command line come before it.";
