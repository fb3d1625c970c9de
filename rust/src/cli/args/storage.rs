//! Parses the options of storage.

use clap::Args;
use omega_slices::{Error, ReadOptions, Storage, StorageOptions};

#[derive(Debug, Args)]
pub struct StorageArguments {
    /// How to reach a bucket or web server: aws_region=eu-west-1, aws_endpoint_url=…,
    /// allow_http=true.
    ///
    /// Repeat the option for several. A secret is given as KEY=env:NAME (an environment variable)
    /// or KEY=@FILE, since others can see a command line. Without options, the environment
    /// variables of each vendor count (AWS_…, GOOGLE_…, AZURE_…).
    #[arg(long = "storage-option", value_name = "KEY=VALUE")]
    options: Vec<String>,
}

impl StorageArguments {
    /// The options, with those that the environment holds.
    pub fn options(&self) -> Result<StorageOptions, Error> {
        let mut spelled = StorageOptions::new();
        for text in &self.options {
            spelled.set_spelled(text)?;
        }
        Ok(StorageOptions::of_environment()?.with(spelled))
    }

    /// The storage of a command that reads slices.
    pub fn open(&self) -> Result<Storage, Error> {
        Ok(ReadOptions::new().with_storage(self.options()?).storage())
    }
}
