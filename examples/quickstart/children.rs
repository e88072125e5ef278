//! Child processes as tools, and the count of them.
//!
//! A process writes itself down in a folder when it starts; whether it is still there, the system is asked. So what is counted is
//! not what `CommandTool` says of itself.

use std::io;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, test_kill_process};
use toolbooth::{BoxError, CommandTool, ToolCall, ToolError, ToolOutput};
use tower::{Service, ServiceExt};

use crate::record::Record;

/// Every child process of this run.
pub(crate) struct Children {
    folder: PathBuf,
}

/// How many there were, and how many are still there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Count {
    pub(crate) started: usize,
    pub(crate) left: usize,
}

/// The variable that tells a process the folder.
const FOLDER: &str = "TOOLBOOTH_QUICKSTART_CHILDREN";

// === impl Children ===

impl Children {
    pub(crate) fn new() -> io::Result<Self> {
        let process = std::process::id();
        let folder = std::env::temp_dir().join(format!("toolbooth-quickstart-{process}"));
        std::fs::create_dir_all(&folder)?;
        Ok(Self { folder })
    }

    /// This program as a tool. The limit, the cleanup and the partial result are the stack's affair.
    pub(crate) fn tool(&self, name: &str) -> io::Result<CommandTool> {
        let program = std::env::current_exe()?;
        Ok(CommandTool::new(name, program).with_env(FOLDER, &self.folder))
    }

    /// Asks the system about each one.
    pub(crate) fn count(&self) -> Result<Count, BoxError> {
        let mut count = Count {
            started: 0,
            left: 0,
        };
        for entry in std::fs::read_dir(&self.folder)? {
            let name = entry?.file_name();
            let process = name.to_str().ok_or("a number is a text")?.parse()?;
            let process = Pid::from_raw(process).ok_or("no process has the number 0")?;
            count.started += 1;
            count.left += usize::from(test_kill_process(process).is_ok());
        }
        Ok(count)
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        // It is in the folder for temporary files, and may stay there if it must.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// In the child process: writes it down.
pub(crate) fn write_down() -> io::Result<()> {
    let folder = std::env::var_os(FOLDER).ok_or(io::ErrorKind::NotFound)?;
    let file = Path::new(&folder).join(std::process::id().to_string());
    std::fs::write(file, "")
}

/// Notes when the tool was reached.
pub(crate) fn noted(
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
