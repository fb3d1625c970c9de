//! Owns the arguments of the cache: where it is, how large, and the command that looks after it.

use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use clap::{Args, Subcommand};
use omega_slices::cache::{DEFAULT_SIZE_BYTES, SliceCache};
use omega_slices::{Error, check_local_path};

/// How `sync` uses a cache.
#[derive(Debug, Args)]
pub struct CacheArguments {
    /// Make the slices once, as a file in this folder, and take them from there from then on. The request,
    /// every input (path, size, modification time, footer) and this program's version say which file it
    /// is. Who asks for what another process is making waits for it.
    #[arg(long = "cache", value_name = "DIR", conflicts_with = "compression")]
    folder: Option<PathBuf>,

    /// What the cache may take on disk, such as 500MB or 20GiB; beyond it the files that were not used for
    /// longest go. [default: 20GiB]
    #[arg(long = "cache-size", value_name = "SIZE", requires = "folder")]
    size: Option<ByteSize>,

    /// How many seconds another process that shows no sign of life is waited for.
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

impl CacheArguments {
    /// The cache, if one is to be used.
    pub fn open(&self) -> Result<Option<SliceCache>, Error> {
        let size_bytes = self.size.map_or(DEFAULT_SIZE_BYTES, |size| size.as_u64());
        let folder = self.folder.as_deref();
        if let Some(folder) = folder {
            let place = folder.to_string_lossy();
            check_local_path(&place)
                .map_err(|error| Error::bad_request(error.code(), error.message()))?;
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
    /// List what is in a cache, the file that was used last first.
    List {
        #[command(flatten)]
        folder: FolderArgument,

        /// One JSON document instead of text.
        #[arg(long)]
        json: bool,
    },
    /// Remove all files of a cache; nothing else in the folder is touched.
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
    /// The cache, which has to be there.
    pub fn open(&self) -> Result<SliceCache, Error> {
        if !self.folder.is_dir() {
            return Err(Error::system("there is no such folder")
                .at_file(&self.folder)
                .with_hint("name the folder that --cache was given to sync"));
        }
        SliceCache::open(&self.folder, DEFAULT_SIZE_BYTES)
    }
}

const CACHE_HELP: &str = "\
Examples:
  omega-slices sync --symbols EURUSD,GBPUSD --cache ~/.cache/slices | reader
  omega-slices cache list --cache ~/.cache/slices
  omega-slices cache clear --cache ~/.cache/slices";
