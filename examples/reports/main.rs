//! Runs the scenarios of two stress-test reports on a Python framework, and prints for each what
//! the report recorded, what toolbooth does, and whether that is what it guarantees.
//!
//! Report 007 is on timeouts, report 008 on concurrent calls. Everything runs on a paused clock, so
//! all times are exact. The program fails if one row does.
//!
//! ```text
//! cargo run --release --example reports
//! ```

#![expect(clippy::print_stdout, reason = "an example prints its results")]

mod report_007;
mod report_008;
mod table;

use std::process::ExitCode;

use table::Table;

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> ExitCode {
    let mut tables = [
        Table::new("Report 007: timeouts of tools"),
        Table::new("Report 008: limits on concurrent calls"),
    ];
    report_007::run(&mut tables[0]).await;
    report_008::run(&mut tables[1]).await;
    for table in &tables {
        println!("{table}");
    }
    let rows: usize = tables.iter().map(Table::len).sum();
    let passed: usize = tables.iter().map(Table::passed).sum();
    println!("{passed} of {rows} rows pass");
    if passed == rows {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
