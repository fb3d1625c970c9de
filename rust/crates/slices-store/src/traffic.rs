//! Counts requests and bytes, at the place where they leave and enter the process.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use http_body_util::BodyExt;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
    ReqwestConnector,
};

/// What a run has sent and received so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traffic {
    /// Number of requests, with those that were tried again.
    pub requests: u64,
    /// Number of requests that failed in passing and were tried again.
    pub retries: u64,
    /// Number of bytes of objects that were read.
    pub bytes_read: u64,
    /// Number of bytes of objects that were written.
    pub bytes_written: u64,
    /// Number of objects that were read without a version to hold on to: their size and time of
    /// change were compared instead.
    pub unversioned: u64,
}

impl Traffic {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            requests: self.requests + other.requests,
            retries: self.retries + other.retries,
            bytes_read: self.bytes_read + other.bytes_read,
            bytes_written: self.bytes_written + other.bytes_written,
            unversioned: self.unversioned + other.unversioned,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    requests: AtomicU64,
    failed: AtomicU64,
    retries: AtomicU64,
    bytes_read: AtomicU64,
    bytes_written: AtomicU64,
    unversioned: AtomicU64,
}

impl Counts {
    pub fn traffic(&self) -> Traffic {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Traffic {
            requests: load(&self.requests),
            retries: load(&self.retries) + load(&self.failed),
            bytes_read: load(&self.bytes_read),
            bytes_written: load(&self.bytes_written),
            unversioned: load(&self.unversioned),
        }
    }

    pub fn add_read(&self, bytes: u64) {
        self.bytes_read.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn add_written(&self, bytes: u64) {
        self.bytes_written.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts an answer that broke off.
    pub fn add_retry(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    pub fn add_unversioned(&self) {
        self.unversioned.fetch_add(1, Ordering::Relaxed);
    }
}

/// Makes clients whose requests are counted.
#[derive(Debug)]
pub(super) struct CountingConnector {
    pub counts: Arc<Counts>,
    /// Where one client is kept for all files of web servers; each is a store of its own.
    pub shared: Option<Arc<Mutex<Option<HttpClient>>>>,
}

impl HttpConnector for CountingConnector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let Some(shared) = &self.shared else {
            return self.connect_anew(options);
        };
        let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &*shared {
            return Ok(client.clone());
        }
        Ok(shared.insert(self.connect_anew(options)?).clone())
    }
}

impl CountingConnector {
    fn connect_anew(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(CountingService {
            client,
            counts: self.counts.clone(),
        }))
    }
}

#[derive(Debug)]
struct CountingService {
    client: HttpClient,
    counts: Arc<Counts>,
}

#[async_trait]
impl HttpService for CountingService {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        self.counts.requests.fetch_add(1, Ordering::Relaxed);
        let answer = self.client.execute(request).await;
        let passes = match &answer {
            // What the store tries again.
            Ok(answer) => {
                answer.status().is_server_error() || matches!(answer.status().as_u16(), 408 | 429)
            }
            Err(_) => true,
        };
        if passes {
            self.counts.failed.fetch_add(1, Ordering::Relaxed);
        }
        let (parts, body) = answer?.into_parts();
        let counts = self.counts.clone();
        // An answer that breaks off is asked for again from there on.
        let body = body.map_err(move |error| {
            counts.add_retry();
            error
        });
        Ok(HttpResponse::from_parts(parts, HttpResponseBody::new(body)))
    }
}
