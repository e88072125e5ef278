//! A request that names no tool.

use toolbooth::checked;
use tower::service_fn;

struct Question;

fn main() {
    let tool = service_fn(|_: Question| async { Ok::<_, std::io::Error>("42") });
    checked::<Question, _>(tool);
}
