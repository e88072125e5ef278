//! Notices that a file changes.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use notify::event::ModifyKind;
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
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
    /// The names of the file, of the file to which links lead, and of their folders: some systems
    /// notice that a folder was written.
    names: Arc<ArcSwap<Vec<OsString>>>,
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
        let names = Arc::<ArcSwap<Vec<OsString>>>::default();
        let (notified, known) = (Arc::clone(&changed), Arc::clone(&names));
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // An error may hide a change.
            if event.map_or(true, |event| may_change(&event, &known.load())) {
                notified.notify_one();
            }
        })?;
        let mut watch = Self {
            file: std::path::absolute(file)?,
            watcher,
            folders: Vec::new(),
            names,
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
        let paths = paths(&self.file);
        let mut folders = folders(&paths);
        let names = paths.iter().chain(&folders);
        let names = names.filter_map(|path| path.file_name());
        self.names.store(Arc::new(names.map(Into::into).collect()));
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

/// Returns whether the file may have changed, by an event in its folders.
///
/// What is written to other files has no effect: a log may be beside it. Everything else may have
/// one: links and folders have any name.
fn may_change(event: &Event, names: &[OsString]) -> bool {
    let is_of_file = |path: &PathBuf| {
        let name = path.file_name();
        name.is_none_or(|name| names.iter().any(|known| known == name))
    };
    match event.kind {
        EventKind::Access(_) => false,
        EventKind::Modify(ModifyKind::Data(_)) => {
            event.paths.is_empty() || event.paths.iter().any(is_of_file)
        }
        _ => true,
    }
}

/// Returns the file, and the file to which links lead.
fn paths(file: &Path) -> Vec<PathBuf> {
    let target = file.canonicalize().ok();
    std::iter::once(file.to_owned()).chain(target).collect()
}

/// Returns the folders of the paths.
fn folders(paths: &[PathBuf]) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = Vec::new();
    for folder in paths.iter().filter_map(|path| path.parent()) {
        if !folders.iter().any(|known| known == folder) {
            folders.push(folder.to_owned());
        }
    }
    folders
}

#[cfg(test)]
mod tests {
    use notify::event::{AccessKind, CreateKind, DataChange, RenameMode};

    use super::*;

    /// A log beside the file is written often, and each event would read the file again.
    #[test]
    fn what_is_written_to_other_files_is_no_change() {
        let names = ["booth.toml".into(), "target.toml".into()];
        let changes = |kind, path: &str| {
            let event = Event::new(kind).add_path(Path::new("/etc/booth").join(path));
            may_change(&event, &names)
        };
        let written = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        assert!(changes(written, "booth.toml") && changes(written, "target.toml"));
        assert!(!changes(written, "calls.log"));
        assert!(may_change(&Event::new(written), &names), "without a path");
        let renamed = EventKind::Modify(ModifyKind::Name(RenameMode::To));
        assert!(changes(renamed, "booth.toml") && changes(renamed, "..data"));
        assert!(changes(EventKind::Create(CreateKind::Any), "..data"));
        assert!(!changes(EventKind::Access(AccessKind::Any), "booth.toml"));
    }
}
