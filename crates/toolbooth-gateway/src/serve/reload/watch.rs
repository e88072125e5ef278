//! Notices that a file changes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

/// Watches the folder of a file, and that of the file to which a symbolic link leads.
///
/// Editors rename a new file over the old one, and deployments replace a link, possibly one of a
/// folder: a watch of the file itself would stay with the old one.
#[derive(Debug)]
pub(crate) struct FileWatch {
    file: PathBuf,
    watcher: RecommendedWatcher,
    folders: Vec<PathBuf>,
    changed: Arc<Notify>,
    /// Whether a change was noticed that is not complete. At first it may have preceded the watch.
    pending: bool,
}

/// The time without a change after which a change counts as complete.
const QUIET: Duration = Duration::from_millis(200);
/// The time after which it counts as complete at the latest.
const LATEST: Duration = Duration::from_secs(2);

// === impl FileWatch ===

impl FileWatch {
    pub(crate) fn new(file: &Path) -> notify::Result<Self> {
        let changed = Arc::new(Notify::new());
        let notified = Arc::clone(&changed);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // An error may hide a change.
            if event.is_ok_and(|event| matches!(event.kind, EventKind::Access(_))) {
                return;
            }
            notified.notify_one();
        })?;
        let mut watch = Self {
            file: std::path::absolute(file)?,
            watcher,
            folders: Vec::new(),
            changed,
            pending: true,
        };
        watch.follow()?;
        Ok(watch)
    }

    /// Waits until something changes in the folders, and then for 200 ms without a change, or for
    /// 2 s. Something may have changed before the watch began.
    ///
    /// # Cancel safety
    /// Safe: no change is lost.
    pub(crate) async fn changed(&mut self) {
        if !self.pending {
            self.changed.notified().await;
            self.pending = true;
        }
        let quiet = async {
            while tokio::time::timeout(QUIET, self.changed.notified())
                .await
                .is_ok()
            {}
        };
        // It is complete either way.
        let _latest = tokio::time::timeout(LATEST, quiet).await;
        if let Err(error) = self.follow() {
            tracing::warn!(%error, "changes of the file may go unnoticed: send SIGHUP");
        }
        self.pending = false;
    }

    /// Watches the folders that now lead to the file.
    fn follow(&mut self) -> notify::Result<()> {
        let mut folders = folders(&self.file);
        folders.retain(|folder| folder.is_dir());
        for old in self.folders.iter().filter(|old| !folders.contains(old)) {
            // A folder that is gone is no longer watched.
            if let Err(error) = self.watcher.unwatch(old) {
                tracing::debug!(%error, "a folder was not watched any more");
            }
        }
        for new in folders.iter().filter(|new| !self.folders.contains(new)) {
            self.watcher.watch(new, RecursiveMode::NonRecursive)?;
        }
        self.folders = folders;
        Ok(())
    }
}

/// Returns the folder of the file, and that of the file to which links lead.
fn folders(file: &Path) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    let mut add = |path: &Path| {
        if let Some(folder) = path.parent()
            && !folders.iter().any(|known| known == folder)
        {
            folders.push(folder.to_owned());
        }
    };
    add(file);
    if let Ok(target) = file.canonicalize() {
        add(&target);
    }
    folders
}
