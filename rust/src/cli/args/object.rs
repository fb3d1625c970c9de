//! Parses the arguments of `object` and `part`, by which the Python package reads and writes
//! objects.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::args::{RequestArguments, StorageArguments};

#[derive(Debug, Args)]
pub struct ObjectArguments {
    #[command(subcommand)]
    pub command: ObjectCommand,

    #[command(flatten)]
    pub storage: StorageArguments,
}

#[derive(Debug, Subcommand)]
pub enum ObjectCommand {
    /// Write an object to stdout, or nothing if it does not exist.
    Get { uri: PathBuf },
    /// Write stdin to an object, and replace it.
    Put { uri: PathBuf },
    /// Remove an object, if it is there.
    Remove { uri: PathBuf },
}

#[derive(Debug, Args)]
pub struct PartArguments {
    #[command(flatten)]
    pub request: RequestArguments,

    /// URI of the folder of the parts.
    #[arg(long, value_name = "URI")]
    pub into: PathBuf,
}
