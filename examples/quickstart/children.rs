//! Child processes as tools, and their number.
//!
//! Each process creates a file in a folder when it starts, and the system reports whether it is
//! alive. So the count does not depend on `CommandTool`.

use std::io;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, test_kill_process};
use toolbooth::{BoxError, CommandTool, ToolCall, ToolError, ToolOutput};
use tower::{Service, ServiceExt};

use crate::record::Record;

/// The child processes of this run.
pub(crate) struct Children {
    folder: PathBuf,
}

/// The number of child processes that were started, and of those that are alive.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Count {
    pub(crate) started: usize,
    pub(crate) left: usize,
}

/// The environment variable that has the folder.
const FOLDER: &str = "TOOLBOOTH_QUICKSTART_CHILDREN";

// === impl Children ===

impl Children {
    pub(crate) fn new() -> io::Result<Self> {
        let process = std::process::id();
        let folder = std::env::temp_dir().join(format!("toolbooth-quickstart-{process}"));
        std::fs::create_dir_all(&folder)?;
        Ok(Self { folder })
    }

    /// Makes a tool that runs this program.
    pub(crate) fn tool(&self, name: &str) -> io::Result<CommandTool> {
        let program = std::env::current_exe()?;
        Ok(CommandTool::new(name, program).with_env(FOLDER, &self.folder))
    }

    /// Counts the processes, with their state from the system.
    pub(crate) fn count(&self) -> Result<Count, BoxError> {
        let mut count = Count {
            started: 0,
            left: 0,
        };
        for entry in std::fs::read_dir(&self.folder)? {
            let name = entry?.file_name();
            let process = name.to_str().ok_or("the name is not UTF-8")?.parse()?;
            let process = Pid::from_raw(process).ok_or("0 is no process id")?;
            count.started += 1;
            count.left += usize::from(test_kill_process(process).is_ok());
        }
        Ok(count)
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        // An error is ignored: it is a temporary folder.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Creates the file of this process. Called in the child process.
pub(crate) fn register() -> io::Result<()> {
    let folder = std::env::var_os(FOLDER).ok_or(io::ErrorKind::NotFound)?;
    let file = Path::new(&folder).join(std::process::id().to_string());
    std::fs::write(file, "")
}

/// Records the start of each call of the tool.
pub(crate) fn recorded(
    tool: CommandTool,
) -> impl Service<ToolCall, Response = ToolOutput, Error = ToolError, Future: Send>
+ Clone
+ Send
+ Sync
+ 'static {
    tool.map_request(|call: ToolCall| {
        Record::started(call.context());
        call
    })
}
