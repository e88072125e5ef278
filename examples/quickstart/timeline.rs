//! The timeline of the run as files.

use std::fs;
use std::io;
use std::path::Path;

use toolbooth_timeline::Timeline;

/// Writes a page and a trace into `target/`. Returns a text that names them.
pub(crate) fn write(timeline: &Timeline) -> io::Result<String> {
    let folder = Path::new("target");
    fs::create_dir_all(folder)?;
    let page = folder.join("timeline.html");
    fs::write(&page, timeline.to_html())?;
    let trace = folder.join("timeline.trace.json");
    fs::write(&trace, timeline.to_trace_json())?;
    Ok(format!(
        "where the time went: open {} in a browser, and {} in Perfetto",
        page.display(),
        trace.display()
    ))
}
