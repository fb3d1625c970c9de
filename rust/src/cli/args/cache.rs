//! Parses the arguments of the cache: its folder, its size and the `cache` commands.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytesize::ByteSize;
use clap::{Args, Subcommand};
use omega_slices::cache::{DEFAULT_SIZE_BYTES, SliceCache};
use omega_slices::{Error, check_local_path};

/// The options of `sync` that use a cache.
#[derive(Debug, Args)]
pub struct CacheArguments {
    /// Keep the slices as a file in this folder, and reuse it in later runs.
    ///
    /// The request, the program version, and the path, size, modification time and footer of every
    /// input identify the file. If another process is building the same file, the run waits for it.
    #[arg(long = "cache", value_name = "DIR", conflicts_with = "compression")]
    folder: Option<PathBuf>,

    /// Maximum size of the cache on disk, such as 500MB or 20GiB. [default: 20GiB]
    ///
    /// Beyond it, the least recently used files are removed.
    #[arg(long = "cache-size", value_name = "SIZE", requires = "folder", value_parser = parse_size)]
    size: Option<ByteSize>,

    /// Seconds to wait for another process that shows no heartbeat.
    #[arg(
        long = "cache-patience",
        value_name = "SECONDS",
        hide = true,
        requires = "folder"
    )]
    patience: Option<u64>,

    /// Print the path of the cached file instead of the slices.
    #[arg(long, requires = "folder", conflicts_with = "output")]
    pub print_path: bool,
}

/// Parses a size: bytes, or thousands (kB, MB, …) or 1,024s (KiB, MiB, …) of them.
pub fn parse_size(text: &str) -> Result<ByteSize, String> {
    text.parse()
        .map_err(|_| "expected a number of bytes, or a size such as 500MB or 2GiB".to_owned())
}

/// Refuses a folder that is a URI.
fn check_local_folder(folder: &Path) -> Result<(), Error> {
    check_local_path(&folder.to_string_lossy()).map_err(|error| {
        Error::bad_request(error.code(), error.message()).with_hint("name a local folder")
    })
}

impl CacheArguments {
    /// Opens the cache, if an option names one.
    pub fn open(&self) -> Result<Option<SliceCache>, Error> {
        let size_bytes = self.size.map_or(DEFAULT_SIZE_BYTES, |size| size.as_u64());
        let folder = self.folder.as_deref();
        if let Some(folder) = folder {
            check_local_folder(folder)?;
        }
        let cache = folder.map(|folder| SliceCache::open(folder, size_bytes));
        let cache = cache.transpose()?;
        Ok(match self.patience {
            Some(seconds) => {
                cache.map(|cache| cache.with_stall_timeout(Duration::from_secs(seconds)))
            }
            None => cache,
        })
    }
}

#[derive(Debug, Args)]
#[command(after_help = CACHE_HELP)]
pub struct CacheCommandArguments {
    #[command(subcommand)]
    pub command: CacheCommand,
}

#[derive(Debug, Subcommand)]
pub enum CacheCommand {
    /// List the files of a cache, the last used first.
    List {
        #[command(flatten)]
        folder: FolderArgument,

        /// Write one JSON document instead of text.
        #[arg(long)]
        json: bool,
    },
    /// Remove all files of a cache; other files in the folder stay.
    Clear {
        #[command(flatten)]
        folder: FolderArgument,
    },
}

#[derive(Debug, Args)]
pub struct FolderArgument {
    /// Folder of the cache.
    #[arg(long = "cache", value_name = "DIR")]
    folder: PathBuf,
}

impl FolderArgument {
    /// Opens a cache that must exist.
    pub fn open(&self) -> Result<SliceCache, Error> {
        if !self.folder.is_dir() {
            return Err(
                Error::system("cannot open the cache: the folder does not exist")
                    .at_file(&self.folder)
                    .with_hint("name the folder that sync --cache used"),
            );
        }
        SliceCache::open(&self.folder, DEFAULT_SIZE_BYTES)
    }
}

const CACHE_HELP: &str = "\
Examples:
  omega-slices sync --symbols EURUSD,GBPUSD --cache ~/.cache/slices | reader
  omega-slices cache list --cache ~/.cache/slices
  omega-slices cache clear --cache ~/.cache/slices";
