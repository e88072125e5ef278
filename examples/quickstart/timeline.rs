//! The timeline of the run as files.

use std::fs;
use std::io;
use std::path::Path;

use toolbooth_timeline::Timeline;

/// Writes the page into `target/`. Returns a text that names it.
pub(crate) fn write(timeline: &Timeline) -> io::Result<String> {
    let folder = Path::new("target");
    fs::create_dir_all(folder)?;
    let page = folder.join("timeline.html");
    fs::write(&page, timeline.to_html())?;
    Ok(format!(
        "where the time went: open {} in a browser",
        page.display()
    ))
}
