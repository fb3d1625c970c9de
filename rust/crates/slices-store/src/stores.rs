//! Connects to stores: buckets and web servers. Keeps what all objects of a run share.

use std::collections::HashMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::client::HttpClient;
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::http::HttpBuilder;
use object_store::{BackoffConfig, ClientConfigKey, ClientOptions, ObjectStore, RetryConfig};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

use super::fault::{Fault, FaultKind};
use super::options::StorageOptions;
use super::spool::Spool;
use super::traffic::{CountingConnector, Counts};
use super::uri::Uri;
use slices_core::error::{Error, Result};
use slices_core::request::Scheme;

/// Short requests in flight at most: ends of files, and checks.
const SHORT_IN_FLIGHT: usize = 64;

/// Ranges of objects in flight at most. Each takes some hundred kilobytes of buffers.
const RANGES_IN_FLIGHT: usize = 16;

/// A connection that is silent for longer is given up, and the request tried again.
const SILENCE_MAX: Duration = Duration::from_secs(20);

const CONNECT_MAX: Duration = Duration::from_secs(5);

/// Credentials that do not come from the options are asked for no longer.
const CREDENTIALS_MAX: Duration = Duration::from_secs(8);

/// A request that keeps failing is tried again this often.
const RETRIES_MAX: usize = 15;

/// It is tried again for no longer.
const RETRY_TIME_MAX: Duration = Duration::from_secs(60);

/// Settings that are URLs.
const ENDPOINTS: [&str; 11] = [
    "aws_endpoint",
    "aws_endpoint_url",
    "aws_endpoint_url_s3",
    "aws_endpoint_url_sts",
    "aws_metadata_endpoint",
    "azure_endpoint",
    "azure_storage_endpoint",
    "endpoint",
    "endpoint_url",
    "endpoint_url_sts",
    "metadata_endpoint",
];

/// Settings that become part of a request.
const CREDENTIALS: [&str; 5] = [
    "aws_access_key_id",
    "aws_default_region",
    "aws_region",
    "aws_secret_access_key",
    "aws_session_token",
];

const WORKER_THREADS: usize = 2;

/// The settings of a run's storage.
#[derive(Debug, Clone, Default)]
pub struct StorageSettings {
    /// How to reach it.
    pub options: StorageOptions,
    /// The folder of the temporary file.
    pub temp_dir: PathBuf,
    /// How many bytes the temporary file may take; by default nine tenths of what is free.
    pub temp_limit: Option<u64>,
}

/// A store, or why it cannot be reached.
type Connected = Result<Arc<dyn ObjectStore>, Fault>;

/// What the objects of a run share.
pub(super) struct Stores {
    settings: StorageSettings,
    pub counts: Arc<Counts>,
    /// By their URIs without keys; also those that cannot be reached, so that nobody tries again.
    connected: tokio::sync::Mutex<HashMap<String, Connected>>,
    spool: OnceLock<Arc<Spool>>,
    web: Arc<Mutex<Option<HttpClient>>>,
    pub ranges: Semaphore,
}

impl std::fmt::Debug for Stores {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stores")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Stores {
    pub fn new(settings: StorageSettings) -> Self {
        Self {
            settings,
            counts: Arc::default(),
            connected: tokio::sync::Mutex::default(),
            spool: OnceLock::new(),
            web: Arc::default(),
            ranges: Semaphore::new(RANGES_IN_FLIGHT),
        }
    }

    /// The temporary file, created when it is first needed.
    pub fn spool(&self) -> Result<&Arc<Spool>> {
        if let Some(spool) = self.spool.get() {
            return Ok(spool);
        }
        let created = Spool::create(&self.settings.temp_dir, self.settings.temp_limit)?;
        // Another thread may have been faster.
        Ok(self.spool.get_or_init(|| Arc::new(created)))
    }

    /// The store of an object, connected when it is first needed.
    pub async fn store(&self, uri: &Uri) -> Connected {
        let mut stores = self.connected.lock().await;
        if let Some(store) = stores.get(&uri.store) {
            return store.clone();
        }
        let connected = tokio::time::timeout(CREDENTIALS_MAX, self.connect(uri)).await;
        let store = connected.unwrap_or_else(|_| Err(Fault::without_credentials()));
        stores.insert(uri.store.clone(), store.clone());
        store
    }

    /// Checks what the library takes for granted of names and settings.
    fn check_settings(&self, uri: &Uri) -> Result<(), Fault> {
        let wrong = |what: String| {
            let hint = "correct it in the storage options or the environment";
            Err(Fault::new(FaultKind::System, what, hint))
        };
        let (_, rest) = uri.store.split_once("://").unwrap_or_default();
        let server = rest.split('/').next().unwrap_or_default();
        if !server.bytes().all(is_of_server) {
            return wrong(format!("{server:?} is no name of a bucket or server"));
        }
        let given = self.settings.options.all();
        let given = given.map(|(name, value)| (name.to_owned(), value.to_owned()));
        for (name, value) in given.chain(variables()) {
            // Keys of service accounts are documents, and files have names of any kind.
            let is_free = ["service_account", "file", "path"]
                .iter()
                .any(|part| name.contains(part));
            if !is_free && !value.bytes().all(|byte| (32..127).contains(&byte)) {
                return wrong(format!(
                    "the setting {name} holds a line break or another character that it cannot hold"
                ));
            }
            let address = value.strip_prefix("http://");
            let address = address.or_else(|| value.strip_prefix("https://"));
            let server = address.map(|rest| rest.split('/').next().unwrap_or_default());
            let is_server = |server: &str| !server.is_empty() && server.bytes().all(is_of_server);
            if ENDPOINTS.contains(&&*name) && !server.is_some_and(is_server) {
                return wrong(format!(
                    "the setting {name} is no URL such as https://server:9000"
                ));
            }
        }
        Ok(())
    }

    /// Connects to a store, and gets its credentials once, so that missing ones show at once.
    async fn connect(&self, uri: &Uri) -> Connected {
        let options = &self.settings.options;
        let failed = |error: object_store::Error| Fault::of_settings(&error);
        let connector = CountingConnector {
            counts: self.counts.clone(),
            shared: (uri.scheme == Scheme::Http).then(|| self.web.clone()),
        };
        self.check_settings(uri)?;
        let (_, bucket) = uri.store.split_once("://").unwrap_or_default();
        // The builders of the vendors have the same methods, and no trait in common.
        macro_rules! of_vendor {
            ($builder:expr, $key:ident, $prefix:literal, $with_bucket:ident) => {{
                let mut builder = $builder
                    .with_client_options(client_options())
                    .with_retry(retries(options))
                    .with_http_connector(connector);
                for (key, value) in of_environment::<$key>($prefix) {
                    builder = builder.with_config(key, value);
                }
                for (key, value) in options.of() {
                    builder = builder.with_config(key, value);
                }
                let skips = builder.get_config_value(&$key::SkipSignature);
                let store = builder.$with_bucket(bucket).build().map_err(failed)?;
                if skips.as_deref() != Some("true") {
                    let credential = store.credentials().get_credential().await;
                    credential.map_err(|_| Fault::without_credentials())?;
                }
                Arc::new(store)
            }};
        }
        Ok(match uri.scheme {
            Scheme::S3 => {
                let builder = AmazonS3Builder::new();
                of_vendor!(builder, AmazonS3ConfigKey, "AWS_", with_bucket_name)
            }
            Scheme::Gs => {
                let mut builder = GoogleCloudStorageBuilder::new();
                if let Ok(path) = std::env::var("SERVICE_ACCOUNT") {
                    builder = builder.with_service_account_path(path);
                }
                of_vendor!(builder, GoogleConfigKey, "GOOGLE_", with_bucket_name)
            }
            Scheme::Az => {
                let builder = MicrosoftAzureBuilder::new();
                of_vendor!(builder, AzureConfigKey, "AZURE_", with_container_name)
            }
            Scheme::Http => {
                let mut builder = HttpBuilder::new()
                    .with_client_options(client_options().with_allow_http(true))
                    .with_retry(retries(options))
                    .with_http_connector(connector);
                for (key, value) in options.of::<ClientConfigKey>() {
                    builder = builder.with_config(key, value);
                }
                Arc::new(builder.with_url(&uri.store).build().map_err(failed)?)
            }
        })
    }
}

impl Fault {
    fn without_credentials() -> Self {
        Self::new(
            FaultKind::System,
            "no credentials for the storage were found",
            "set them in the environment or the storage options, or set skip_signature to true \
             for a public bucket",
        )
    }

    /// The fault of options that contradict each other.
    fn of_settings(error: &object_store::Error) -> Self {
        let Self { kind, .. } = Self::of_store(error);
        let text = error.to_string();
        // The names of settings, without their values.
        let what = ["Missing", "missing"]
            .iter()
            .find_map(|word| text.find(word));
        let what = what.map_or("they contradict each other", |at| &text[at..]);
        Self::new(
            kind,
            format!("the settings of the storage cannot be used: {what}"),
            "check the storage options, and the variables of the vendor",
        )
    }
}

/// Whether a byte may stand in the name of a bucket or server, or its port.
fn is_of_server(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte)
}

/// The variables of which the library takes for granted what they hold.
fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok()?.to_ascii_lowercase();
        let is_checked = CREDENTIALS.contains(&&*name) || ENDPOINTS.contains(&&*name);
        let is_of_vendor = name.starts_with("aws_") || name.starts_with("azure_");
        (is_checked && is_of_vendor).then(|| (name, value.to_string_lossy().into_owned()))
    })
}

/// The variables of a vendor.
fn of_environment<K: std::str::FromStr>(prefix: &str) -> impl Iterator<Item = (K, String)> {
    std::env::vars_os().filter_map(move |(name, value)| {
        let name = name.to_str().filter(|name| name.starts_with(prefix))?;
        Some((
            name.to_ascii_lowercase().parse().ok()?,
            value.into_string().ok()?,
        ))
    })
}

fn client_options() -> ClientOptions {
    ClientOptions::new()
        // A large range on a slow line takes its time; silence does not.
        .with_timeout_disabled()
        .with_read_timeout(SILENCE_MAX)
        .with_connect_timeout(CONNECT_MAX)
}

fn retries(options: &StorageOptions) -> RetryConfig {
    let (most, seconds) = options.retries();
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(5),
            base: 2.0,
        },
        max_retries: most.map_or(RETRIES_MAX, |most| most as usize),
        retry_timeout: seconds.map_or(RETRY_TIME_MAX, |seconds| {
            Duration::from_secs(seconds.into())
        }),
    }
}

/// Asks for something of each URI, many at a time. The answers are in the order of the URIs.
pub(super) fn ask_all<'a, T>(
    paths: impl IntoIterator<Item = &'a Path>,
    ask: impl AsyncFn(Uri) -> T,
) -> Result<Vec<(&'a Path, T)>> {
    let parsed = paths.into_iter().map(|path| Ok((path, Uri::parse(path)?)));
    let uris = parsed.collect::<Result<Vec<_>>>()?;
    in_flight(uris, async |(path, uri)| (path, ask(uri).await))
}

/// Runs a short request for each item, many at a time. Without items it starts nothing.
pub(super) fn in_flight<I, T>(items: Vec<I>, ask: impl AsyncFn(I) -> T) -> Result<Vec<T>> {
    if items.is_empty() {
        return Ok(Vec::new());
    }
    let answers = stream::iter(items)
        .map(|item| ask(item))
        .buffered(SHORT_IN_FLIGHT);
    block_on(answers.collect())
}

/// Runs a task to its end on this thread; its requests may run elsewhere.
pub(super) fn block_on<T>(task: impl Future<Output = T>) -> Result<T> {
    Ok(runtime()?.block_on(task))
}

/// The runtime of all requests of the process. It is never dropped: requests that nobody waits for
/// any more end with the process.
pub(super) fn runtime() -> Result<&'static Runtime> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let started = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .thread_name("storage")
        .enable_all()
        .build();
    let started = started.map_err(|error| {
        Error::system(format!("cannot start threads for requests: {error}"))
            .with_source(error)
            .with_hint("raise the limit of threads and open files (ulimit -u, ulimit -n)")
    })?;
    // Another thread may have been faster.
    Ok(RUNTIME.get_or_init(|| started))
}
