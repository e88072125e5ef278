//! Policies from a file, which are applied again when it changes.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio::time::sleep;
use toolbooth::{BoxError, Policies, Toolbox};

/// The time between two looks at the file.
const EVERY: Duration = Duration::from_secs(1);

/// Returns the file beside this one.
pub(crate) fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("toolbox/policies.toml")
}

/// Reads the policies of a file.
pub(crate) fn read(path: &Path) -> Result<Policies, BoxError> {
    Ok(Policies::from_toml(&fs::read_to_string(path)?)?)
}

/// Applies the file when its text changes, and reports what changed, or what is wrong.
///
/// A file with a fault changes nothing. It ends with the receiver of the reports.
pub(crate) async fn watch(toolbox: Toolbox, path: PathBuf, reports: UnboundedSender<String>) {
    let mut last = fs::read_to_string(&path).ok();
    loop {
        sleep(EVERY).await;
        let text = fs::read_to_string(&path).ok();
        if text == last {
            continue;
        }
        let applied = read(&path).and_then(|policies| Ok(toolbox.apply(policies)?));
        last = text;
        let report = match applied {
            Ok(change) => change.to_string(),
            Err(error) => format!("{}: {error}", path.display()),
        };
        if reports.send(report).is_err() {
            return;
        }
    }
}
