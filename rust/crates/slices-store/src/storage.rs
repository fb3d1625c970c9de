//! Opens, lists and reads objects for one run.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;

use super::fault::{Fault, FaultKind};
use super::list::{self, ListedObject};
use super::object::StoredObject;
use super::stores::{StorageSettings, Stores, ask_all, in_flight};
use super::traffic::Traffic;
use slices_core::error::{Code, Error, Result};

/// The objects of a run. Cheap to clone. Starts nothing until an object is named.
#[derive(Debug, Clone)]
pub struct Storage {
    stores: Arc<Stores>,
    known: Arc<Mutex<Known>>,
}

impl Default for Storage {
    /// Storage without options, and with temporary files in the usual folder.
    fn default() -> Self {
        Self::new(StorageSettings {
            temp_dir: std::env::temp_dir(),
            ..StorageSettings::default()
        })
    }
}

#[derive(Debug, Default)]
struct Known {
    objects: HashMap<PathBuf, Found>,
    listings: HashMap<PathBuf, Arc<[ListedObject]>>,
}

/// What became of an object.
#[derive(Debug)]
enum Found {
    /// Opened, and waiting for its reader.
    Waiting(Arc<StoredObject>),
    /// With a reader.
    Open(Weak<StoredObject>),
    Failed(Fault),
}

impl Storage {
    /// Storage for one run.
    #[must_use]
    pub fn new(settings: StorageSettings) -> Self {
        Self {
            stores: Arc::new(Stores::new(settings)),
            known: Arc::default(),
        }
    }

    /// What was sent and received so far; `None` without any request.
    #[must_use]
    pub fn traffic(&self) -> Option<Traffic> {
        let traffic = self.stores.counts.traffic();
        (traffic != Traffic::default()).then_some(traffic)
    }

    /// Opens an object: reads its end, and holds on to its version.
    ///
    /// # Errors
    ///
    /// [`Code::CorruptInput`] if it does not exist or the answer is not the range that was asked
    /// for. A system error if the storage cannot be reached or denies access.
    pub fn open(&self, path: &Path) -> Result<Arc<StoredObject>> {
        self.open_all(&[path.to_owned()])?;
        let mut known = self.lock();
        let found = known.objects.get_mut(path).expect("it was just opened");
        match found {
            Found::Failed(fault) => Err(fault.of_input(path)),
            Found::Open(object) => Ok(object.upgrade().expect("it was just opened")),
            Found::Waiting(object) => {
                let object = object.clone();
                *found = Found::Open(Arc::downgrade(&object));
                Ok(object)
            }
        }
    }

    /// Opens many objects at a time, so that each later [`Self::open`] finds its one open. Whether
    /// they exist shows then.
    ///
    /// # Errors
    ///
    /// A usage error if one of the names is none of an object.
    pub fn open_all(&self, paths: &[PathBuf]) -> Result<()> {
        let is_known = |known: &Known, path: &Path| match known.objects.get(path) {
            None => false,
            Some(Found::Open(object)) => object.strong_count() > 0,
            Some(_) => true,
        };
        let known = self.lock();
        let unknown: Vec<_> = paths
            .iter()
            .map(PathBuf::as_path)
            .filter(|path| !is_known(&known, path))
            .collect();
        drop(known);
        let stores = &self.stores;
        let opened = ask_all(unknown, async |uri| StoredObject::open(stores, uri).await)?;
        let mut known = self.lock();
        for (path, opened) in opened {
            let found = match opened {
                Ok(object) => Found::Waiting(Arc::new(object)),
                Err(fault) => Found::Failed(fault),
            };
            known.objects.insert(path.to_owned(), found);
        }
        Ok(())
    }

    /// Whether an object exists.
    ///
    /// # Errors
    ///
    /// As [`Self::open`], but for objects that do not exist.
    pub fn exists(&self, path: &Path) -> Result<bool> {
        self.open_all(&[path.to_owned()])?;
        match self.lock().objects.get(path) {
            Some(Found::Failed(fault)) if fault.is_missing() => Ok(false),
            Some(Found::Failed(fault)) => Err(fault.of_input(path)),
            _ => Ok(true),
        }
    }

    /// Reads a whole object of at most `most` bytes; `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// As [`Self::open`]; also if it is larger, or changes meanwhile.
    pub fn read(&self, path: &Path, most: u64) -> Result<Option<Bytes>> {
        if !self.exists(path)? {
            return Ok(None);
        }
        let object = self.open(path)?;
        if object.len() > most {
            let message = format!("the file is too large: expected at most {most} bytes");
            return Err(Error::input(Code::CorruptInput, message).at_file(path));
        }
        let mut bytes = vec![0; object.len() as usize];
        object.read_exact_at(&mut bytes, 0)?;
        Ok(Some(bytes.into()))
    }

    /// The objects below a folder, in the order of their names. A folder is listed once in a run.
    ///
    /// # Errors
    ///
    /// A system error if the storage cannot be reached or denies access.
    pub fn list(&self, folder: &Path) -> Result<Arc<[ListedObject]>> {
        self.list_all(&[folder.to_owned()])?;
        Ok(self.lock().listings[folder].clone())
    }

    /// Lists many folders at a time, so that each later [`Self::list`] has its answer.
    ///
    /// # Errors
    ///
    /// As [`Self::list`], for the first one that fails.
    pub fn list_all(&self, folders: &[PathBuf]) -> Result<()> {
        let known = self.lock();
        let folders = folders.iter().map(PathBuf::as_path);
        let unknown: Vec<_> = folders
            .filter(|folder| !known.listings.contains_key(*folder))
            .collect();
        drop(known);
        let stores = &self.stores;
        let listings = ask_all(unknown, async |uri| list::below(stores, &uri).await)?;
        let mut known = self.lock();
        for (path, listed) in listings {
            let listed = listed.map_err(|fault| fault.of_input(path))?;
            known.listings.insert(path.to_owned(), listed.into());
        }
        Ok(())
    }

    /// The names of the folders directly below each of some folders; none where listing is not
    /// allowed.
    ///
    /// # Errors
    ///
    /// A usage error if one of the names is none of an object. A system error if the storage fails.
    pub fn folders_in(&self, folders: &[PathBuf]) -> Result<Vec<Vec<String>>> {
        let folders = folders.iter().map(PathBuf::as_path);
        let stores = &self.stores;
        let listings = ask_all(folders, async |uri| list::folders_in(stores, &uri).await)?;
        let names = listings.into_iter().map(|(path, listed)| match listed {
            Ok(names) => Ok(names),
            // Who may not list may still read.
            Err(fault) if matches!(fault.kind, FaultKind::Denied | FaultKind::Unsupported) => {
                Ok(Vec::new())
            }
            Err(fault) => Err(fault.of_input(path)),
        });
        names.collect()
    }

    /// Checks of all open objects that they are still what was opened, many at a time. What is
    /// found shows in [`StoredObject::check_named`].
    ///
    /// # Errors
    ///
    /// A system error if no request can be made.
    pub fn check_all(&self) -> Result<()> {
        let known = self.lock();
        let open = known.objects.values().filter_map(|found| match found {
            Found::Waiting(object) => Some(object.clone()),
            Found::Open(object) => object.upgrade(),
            Found::Failed(_) => None,
        });
        let unchecked: Vec<_> = open.filter(|object| !object.is_checked()).collect();
        drop(known);
        in_flight(unchecked, async |object| object.check().await).map(drop)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // No code panics while it holds the lock.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stores(&self) -> &Arc<Stores> {
        &self.stores
    }
}
