//! Holds the options of storage: names and values, of which some are secret.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;
use std::{env, io};

use object_store::ClientConfigKey;
use object_store::aws::AmazonS3ConfigKey;
use object_store::azure::AzureConfigKey;
use object_store::gcp::GoogleConfigKey;

use slices_core::error::{Error, Result};
use slices_core::hint::{Setting, hint};

/// The variable that hands options to a process that another one starts: a JSON object of names
/// and values.
const VARIABLE: &str = "OMEGA_STORAGE_OPTIONS";

/// How often a request that fails in passing is tried again.
const MAX_RETRIES: &str = "max_retries";

/// For how many seconds it is.
const RETRY_TIMEOUT: &str = "retry_timeout";

/// A file of a secret holds one line.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// The options of storage by their names, such as `aws_region`. Debug output shows names alone.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct StorageOptions(BTreeMap<String, String>);

impl fmt::Debug for StorageOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl StorageOptions {
    /// No options: the environment variables of each vendor decide.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The options that the process which started this one handed over, if it did.
    ///
    /// # Errors
    ///
    /// A usage error if the variable holds something else, or an unknown name.
    pub fn of_environment() -> Result<Self> {
        let Some(text) = env::var_os(VARIABLE) else {
            return Ok(Self::new());
        };
        let wrong = || {
            Error::usage(format!(
                "invalid {VARIABLE}: expected a JSON object of texts"
            ))
            .with_hint(r#"write it as {"aws_region": "eu-west-1"}, or unset it"#)
        };
        let text = text.into_string().map_err(|_| wrong())?;
        let pairs: BTreeMap<String, String> = serde_json::from_str(&text).map_err(|_| wrong())?;
        let mut options = Self::new();
        for (name, value) in pairs {
            options.set(&name, value)?;
        }
        Ok(options)
    }

    /// Sets an option by its name, in any case.
    ///
    /// # Errors
    ///
    /// A usage error for an unknown name.
    pub fn set(&mut self, name: &str, value: impl Into<String>) -> Result<()> {
        let name = name.trim().to_ascii_lowercase();
        let value = value.into();
        if [MAX_RETRIES, RETRY_TIMEOUT].contains(&&*name) {
            if value.parse::<u32>().is_err() {
                let message = format!("invalid storage option {name}: expected a number");
                return Err(Error::usage(message)
                    .with_hint("write it as max_retries=3 or retry_timeout=30"));
            }
        } else if !is_known(&name) {
            let message = format!("unknown storage option {name:?}");
            return Err(Error::usage(message)
                .with_hint("use a name such as aws_region, aws_endpoint_url or allow_http"));
        }
        self.0.insert(name, value);
        Ok(())
    }

    /// Sets an option as the command line spells it: `KEY=VALUE`, `KEY=env:NAME` or `KEY=@FILE`.
    ///
    /// # Errors
    ///
    /// A usage error for a malformed text or an unknown name, a missing variable or file, or a
    /// secret that is spelled out: everybody on the machine can read the command line.
    pub fn set_spelled(&mut self, text: &str) -> Result<()> {
        let Some((name, value)) = text.split_once('=') else {
            // The text may be a secret that lost its name.
            return Err(Error::usage("invalid storage option: expected KEY=VALUE")
                .with_hint("write it as aws_region=eu-west-1"));
        };
        let name = name.trim();
        if let Some(variable) = value.strip_prefix("env:") {
            let value = env::var(variable).map_err(|_| {
                let message =
                    format!("the variable {variable:?} of the storage option {name} is not set");
                Error::usage(message).with_hint("export it, or name another one")
            })?;
            return self.set(name, value);
        }
        if let Some(file) = value.strip_prefix('@') {
            let secret = secret_in(Path::new(file)).map_err(|error| {
                let message =
                    format!("cannot read the value of the storage option {name}: {error}");
                Error::usage(message)
                    .at_file(Path::new(file))
                    .with_source(error)
                    .with_hint("name a text file that holds the value alone")
            })?;
            return self.set(name, secret);
        }
        if is_secret(&name.to_ascii_lowercase()) {
            let message =
                format!("the storage option {name} is a secret, and a command line is public");
            return Err(Error::usage(message).with_hint(hint![
                "give it as ",
                Setting::StorageOption.to(format!("{name}=env:NAME")),
                " or as ",
                Setting::StorageOption.to(format!("{name}=@FILE")),
            ]));
        }
        self.set(name, value)
    }

    /// Adds other options; they replace those of the same name.
    #[must_use]
    pub fn with(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    /// How often, and for how many seconds, a request that fails in passing is tried again.
    pub(super) fn retries(&self) -> (Option<u32>, Option<u32>) {
        let number = |name| self.0.get(name).and_then(|value| value.parse().ok());
        (number(MAX_RETRIES), number(RETRY_TIMEOUT))
    }

    /// All options.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// The options whose names `K` knows, with their values.
    pub(super) fn of<K: std::str::FromStr>(&self) -> impl Iterator<Item = (K, &str)> {
        let options = self.0.iter();
        options.filter_map(|(name, value)| Some((name.parse().ok()?, &**value)))
    }
}

fn secret_in(file: &Path) -> io::Result<String> {
    let metadata = fs::metadata(file)?;
    if metadata.len() > SECRET_BYTES_MAX {
        return Err(io::Error::other("it is too large"));
    }
    Ok(fs::read_to_string(file)?
        .trim_end_matches(['\r', '\n'])
        .to_owned())
}

fn is_known(name: &str) -> bool {
    name.parse::<AmazonS3ConfigKey>().is_ok()
        || name.parse::<GoogleConfigKey>().is_ok()
        || name.parse::<AzureConfigKey>().is_ok()
        || name.parse::<ClientConfigKey>().is_ok()
}

/// Whether an option holds a secret, for any vendor.
fn is_secret(name: &str) -> bool {
    let of_aws = matches!(
        name.parse(),
        Ok(AmazonS3ConfigKey::SecretAccessKey | AmazonS3ConfigKey::Token)
    );
    let of_encryption = name.contains("customer_key");
    let of_azure = matches!(
        name.parse(),
        Ok(AzureConfigKey::AccessKey
            | AzureConfigKey::ClientSecret
            | AzureConfigKey::SasKey
            | AzureConfigKey::Token)
    );
    let of_google = matches!(name.parse(), Ok(GoogleConfigKey::ServiceAccountKey));
    let of_proxy = matches!(name.parse(), Ok(ClientConfigKey::ProxyUrl));
    // Names that only some builds of the library know.
    let of_name = name.contains("secret")
        || name.contains("password")
        || name.ends_with("token")
        || name.ends_with("_key") && !name.ends_with("kms_key");
    of_name || of_aws || of_encryption || of_azure || of_google || of_proxy
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn debug_output_shows_names_alone() {
        let mut options = StorageOptions::new();
        options
            .set("AWS_SECRET_ACCESS_KEY", "hunter2")
            .expect("a known name");
        assert_eq!(format!("{options:?}"), r#"{"aws_secret_access_key"}"#);
    }

    #[test]
    fn secrets_come_by_a_variable_or_file() {
        let mut options = StorageOptions::new();
        for name in [
            "aws_secret_access_key",
            "SECRET_ACCESS_KEY",
            "token",
            "azure_storage_account_key",
            "azure_storage_sas_token",
            "google_service_account_key",
            "proxy_url",
            "azure_storage_encryption_key",
            "fabric_session_token",
            "aws_sse_customer_key_base64",
        ] {
            let error = options
                .set_spelled(&format!("{name}=hunter2"))
                .expect_err(name);
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(b"hunter2\n").expect("room for a line");
        options
            .set_spelled(&format!("aws_secret_access_key=@{}", file.path().display()))
            .expect("a file with a secret");
        assert_eq!(options.0["aws_secret_access_key"], "hunter2");
        options
            .set_spelled("aws_region=eu-west-1")
            .expect("no secret");
        for text in [
            "aws_regio=x",
            "hunter2",
            "aws_region=env:NO_SUCH_VARIABLE",
            "x=@/no/such",
        ] {
            let error = options.set_spelled(text).expect_err(text);
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
