//! Lists the objects below a folder.

use std::path::PathBuf;

use futures_util::TryStreamExt;

use super::fault::Fault;
use super::stores::Stores;
use super::uri::Uri;

/// An object that a listing names.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListedObject {
    /// Its URI.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
}

/// All objects below a folder, in the order of their names.
pub(super) async fn below(stores: &Stores, folder: &Uri) -> Result<Vec<ListedObject>, Fault> {
    let store = stores.store(folder).await?;
    let prefix = (!folder.key.as_ref().is_empty()).then_some(&folder.key);
    let objects: Vec<_> = store
        .list(prefix)
        .map_ok(|object| ListedObject {
            path: folder.of_key(&object.location),
            bytes: object.size,
        })
        .try_collect()
        .await
        .map_err(|error| Fault::of_store(&error))?;
    let mut objects = objects;
    // Some programs mark a folder by an empty object of its name with a slash, which is lost here.
    objects.sort_unstable_by(|a, b| {
        let names = a.path.as_os_str().cmp(b.path.as_os_str());
        names.then(b.bytes.cmp(&a.bytes))
    });
    objects.dedup_by(|later, first| later.path == first.path);
    Ok(objects)
}

/// The names of the folders directly below one.
pub(super) async fn folders_in(stores: &Stores, folder: &Uri) -> Result<Vec<String>, Fault> {
    let store = stores.store(folder).await?;
    let prefix = (!folder.key.as_ref().is_empty()).then_some(&folder.key);
    let listed = store.list_with_delimiter(prefix).await;
    let listed = listed.map_err(|error| Fault::of_store(&error))?;
    let names = listed
        .common_prefixes
        .iter()
        .filter_map(|one| one.filename());
    Ok(names.map(str::to_owned).collect())
}
