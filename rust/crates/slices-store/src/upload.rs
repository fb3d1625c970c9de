//! Writes an object that appears when it is complete.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use tokio::task::JoinSet;

use super::fault::{Fault, FaultKind};
use super::storage::Storage;
use super::stores::{Stores, block_on};
use super::uri::Uri;
use slices_core::error::{Error, Result};

/// The size of a part. A store takes ten thousand of them.
const PART_BYTES: usize = 16 << 20;

/// Parts that are sent at the same time.
const PARTS_IN_FLIGHT: usize = 3;

/// To give up an upload may take no longer.
const ABORT_MAX: Duration = Duration::from_secs(10);

/// An object that is being written. It appears with [`Upload::finish`]; else nothing of it does.
pub struct Upload {
    target: Target,
    buffer: Vec<u8>,
    running: Arc<Running>,
    failure: Option<Error>,
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Upload")
            .field(&self.target.uri.path)
            .finish()
    }
}

struct Target {
    stores: Arc<Stores>,
    store: Arc<dyn ObjectStore>,
    uri: Uri,
    replaces: bool,
}

/// The parts of an upload, which a signal may give up.
#[derive(Default)]
struct Running {
    parts: Mutex<Option<Parts>>,
    given_up: AtomicBool,
}

struct Parts {
    upload: Box<dyn MultipartUpload>,
    sending: JoinSet<object_store::Result<()>>,
}

/// The uploads of the process that may be under way.
static UPLOADS: Mutex<Vec<Weak<Running>>> = Mutex::new(Vec::new());

/// Gives up all uploads of the process, from any thread: for a process that is asked to end. Later
/// writes fail.
pub fn abort_uploads() {
    let uploads = std::mem::take(&mut *UPLOADS.lock().unwrap_or_else(PoisonError::into_inner));
    let running: Vec<_> = uploads.iter().filter_map(Weak::upgrade).collect();
    // All of them at once, as each may wait for a request.
    running.iter().for_each(|upload| upload.give_up());
    running.iter().for_each(|upload| upload.abort());
}

impl Running {
    /// Locks it, unless a request holds it for too long.
    fn lock_soon(&self) -> Option<MutexGuard<'_, Option<Parts>>> {
        let end = Instant::now() + ABORT_MAX;
        loop {
            match self.parts.try_lock() {
                Ok(parts) => return Some(parts),
                Err(TryLockError::Poisoned(parts)) => return Some(parts.into_inner()),
                Err(TryLockError::WouldBlock) if Instant::now() > end => return None,
                Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Parts>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self) -> Result<(), Fault> {
        if !self.given_up.load(Ordering::SeqCst) {
            return Ok(());
        }
        Err(Fault::given_up())
    }

    /// Makes every later write fail.
    fn give_up(&self) {
        self.given_up.store(true, Ordering::SeqCst);
    }

    /// Removes what was sent. Who is writing notices it before it takes the lock again.
    fn abort(&self) {
        self.give_up();
        let Some(mut parts) = self.lock_soon() else {
            // A request is silent. The store's own rule removes what was sent.
            return;
        };
        let parts = parts.take();
        if let Some(mut parts) = parts {
            // Nobody can be told about a failure; the store's own rule removes the parts then.
            let _ = block_on(async move {
                let abort = async move {
                    parts.sending.shutdown().await;
                    parts.upload.abort().await
                };
                tokio::time::timeout(ABORT_MAX, abort).await
            });
        }
    }
}

/// Why an upload cannot be finished.
enum Failure {
    /// The storage failed.
    Storage(Fault),
    /// No request could be made.
    Process(Error),
}

impl Storage {
    /// Begins an object. Sends nothing before the first part is full.
    ///
    /// # Errors
    ///
    /// A system error if the storage cannot be reached, or if the object exists and `replaces` is
    /// not set.
    pub fn create(&self, path: &Path, replaces: bool) -> Result<Upload> {
        let uri = Uri::parse(path)?;
        let stores = self.stores();
        let target = block_on(async {
            let store = stores.store(&uri).await?;
            let target = Target {
                stores: stores.clone(),
                store,
                uri,
                replaces,
            };
            target.check_free().await?;
            Ok(target)
        });
        let target = target?.map_err(|fault: Fault| fault.of_output(path))?;
        let running = Arc::default();
        let mut uploads = UPLOADS.lock().unwrap_or_else(PoisonError::into_inner);
        uploads.retain(|upload| upload.strong_count() > 0);
        uploads.push(Arc::downgrade(&running));
        drop(uploads);
        Ok(Upload {
            target,
            buffer: Vec::new(),
            running,
            failure: None,
        })
    }

    /// Writes a small object at once.
    ///
    /// # Errors
    ///
    /// As [`Self::create`].
    pub fn write(&self, path: &Path, bytes: &[u8], replaces: bool) -> Result<()> {
        let mut upload = self.create(path, replaces)?;
        upload.buffer.extend_from_slice(bytes);
        upload.finish().map(drop)
    }

    /// Removes an object, if it is there.
    ///
    /// # Errors
    ///
    /// A system error if the storage cannot be reached or denies it.
    pub fn remove(&self, path: &Path) -> Result<()> {
        let uri = Uri::parse(path)?;
        let removed = block_on(async {
            let store = self.stores().store(&uri).await?;
            store
                .delete(&uri.key)
                .await
                .map_err(|error| Fault::of_store(&error))
        })?;
        match removed {
            Err(fault) if !fault.is_missing() => Err(fault.of_output(path)),
            _ => Ok(()),
        }
    }
}

impl Target {
    async fn check_free(&self) -> Result<(), Fault> {
        if self.replaces {
            return Ok(());
        }
        match self.store.head(&self.uri.key).await {
            Ok(_) => Err(Fault::exists()),
            Err(error) => match Fault::of_store(&error) {
                fault if fault.is_missing() => Ok(()),
                fault => Err(fault),
            },
        }
    }
}

impl Fault {
    fn given_up() -> Self {
        Self::new(FaultKind::System, "the upload was given up", "run again")
    }

    fn exists() -> Self {
        Self::new(
            FaultKind::Exists,
            "the file already exists",
            "allow it to be replaced, or name another one",
        )
    }
}

impl Upload {
    /// Its URI.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.target.uri.path
    }

    /// Why writing failed, if the storage was the reason.
    pub fn take_failure(&mut self) -> Option<Error> {
        self.failure.take()
    }

    /// Whether it was given up.
    #[must_use]
    pub fn is_given_up(&self) -> bool {
        self.running.given_up.load(Ordering::SeqCst)
    }

    /// Sends the rest, and makes the object appear. Returns its URI.
    ///
    /// # Errors
    ///
    /// A system error if the storage fails or the object has come into being meanwhile. Nothing is
    /// left then.
    pub fn finish(mut self) -> Result<PathBuf> {
        let path = self.target.uri.path.clone();
        self.finish_parts().map_err(|failure| match failure {
            Failure::Storage(fault) => fault.of_output(&path),
            Failure::Process(error) => error,
        })?;
        Ok(path)
    }

    fn finish_parts(&mut self) -> Result<(), Failure> {
        let last = std::mem::take(&mut self.buffer);
        let bytes = last.len() as u64;
        let target = &self.target;
        let mut parts = self.running.lock();
        self.running.check().map_err(Failure::Storage)?;
        let finished = block_on(async {
            let Some(parts) = &mut *parts else {
                return target.put(last).await;
            };
            if !last.is_empty() {
                parts
                    .sending
                    .spawn(parts.upload.put_part(PutPayload::from(last)));
            }
            parts.wait(0).await?;
            // A store that assembles parts cannot be told not to replace.
            target.check_free().await?;
            let completed = parts.upload.complete().await;
            completed.map_err(|error| Fault::of_store(&error)).map(drop)
        });
        let finished = finished.map_err(Failure::Process)?;
        if finished.is_ok() {
            // Nothing is left to give up.
            *parts = None;
            self.target.stores.counts.add_written(bytes);
        }
        finished.map_err(Failure::Storage)
    }

    fn send(&mut self, part: Vec<u8>) -> Result<()> {
        let target = &self.target;
        let bytes = part.len() as u64;
        let mut running = self.running.lock();
        self.running
            .check()
            .map_err(|fault| fault.of_output(&target.uri.path))?;
        let sent = block_on(async {
            let parts = match &mut *running {
                Some(parts) => parts,
                None => {
                    let upload = target
                        .store
                        .put_multipart_opts(&target.uri.key, Default::default());
                    let upload = upload.await.map_err(|error| Fault::of_store(&error))?;
                    running.insert(Parts {
                        upload,
                        sending: JoinSet::new(),
                    })
                }
            };
            parts.wait(PARTS_IN_FLIGHT - 1).await?;
            parts
                .sending
                .spawn(parts.upload.put_part(PutPayload::from(Bytes::from(part))));
            Ok(())
        })?;
        sent.map_err(|fault: Fault| fault.of_output(&target.uri.path))?;
        self.target.stores.counts.add_written(bytes);
        Ok(())
    }
}

impl Target {
    /// Writes an object that fits into one request.
    async fn put(&self, bytes: Vec<u8>) -> Result<(), Fault> {
        let options = PutOptions {
            mode: if self.replaces {
                PutMode::Overwrite
            } else {
                PutMode::Create
            },
            ..PutOptions::default()
        };
        let put = self
            .store
            .put_opts(&self.uri.key, bytes.into(), options)
            .await;
        match put.map_err(|error| Fault::of_store(&error)) {
            Err(fault)
                if !self.replaces
                    && matches!(fault.kind, FaultKind::Exists | FaultKind::Corrupt) =>
            {
                Err(Fault::exists())
            }
            put => put.map(drop),
        }
    }
}

impl Parts {
    /// Waits until at most this many parts are on their way.
    async fn wait(&mut self, most: usize) -> Result<(), Fault> {
        while self.sending.len() > most {
            match self.sending.join_next().await {
                Some(Ok(sent)) => sent.map_err(|error| Fault::of_store(&error))?,
                Some(Err(_)) => {
                    return Err(Fault::given_up());
                }
                None => return Ok(()),
            }
        }
        Ok(())
    }
}

impl Write for Upload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = PART_BYTES - self.buffer.len();
        let taken = bytes.len().min(room);
        self.buffer.extend_from_slice(&bytes[..taken]);
        if self.buffer.len() == PART_BYTES {
            let part = std::mem::take(&mut self.buffer);
            if let Err(error) = self.send(part) {
                let message = error.to_string();
                self.failure = Some(error);
                return Err(io::Error::other(message));
            }
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.running.abort();
    }
}
