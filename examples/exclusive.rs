//! An exclusive resource: one database connection, whose transactions are rolled back by a hook.
//!
//! ```text
//! cargo run --example exclusive
//! ```
//!
//! The hook runs after the caller has received its error. A limit of 1 releases its permit by then,
//! and the next call finds the transaction still open. With `with_hold_until_ended` the permit is
//! held until the hook has ended, and the next call finds the connection in order.

#![expect(clippy::print_stdout, reason = "an example prints its results")]

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use serde::Deserialize;
use serde_json::json;
use tokio::time::sleep;
use toolbooth::{
    BoxError, CallContext, CleanupLayer, ConcurrencyLimitLayer, Outcome, TimeoutLayer, ToolCall,
    tool_fn,
};
use tower::{ServiceBuilder, ServiceExt};

/// The one connection to a database. Clones are handles to it.
#[derive(Debug, Clone, Default)]
struct Connection(Arc<Mutex<Database>>);

#[derive(Debug, Default)]
struct Database {
    balance: u64,
    /// The balance to return to, while a transaction is open.
    open: Option<u64>,
    /// How often a transaction began while another one was open.
    overlaps: usize,
}

/// The arguments of the tool.
#[derive(Debug, Deserialize)]
struct Deposit {
    cents: u64,
    /// How long the database needs for it.
    millis: u64,
}

// === impl Connection ===

impl Connection {
    async fn begin(&self) -> Result<(), BoxError> {
        self.round_trip().await;
        let mut database = self.lock();
        if database.open.is_some() {
            database.overlaps += 1;
            return Err("BEGIN in an open transaction".into());
        }
        database.open = Some(database.balance);
        Ok(())
    }

    async fn add(&self, deposit: &Deposit) {
        self.lock().balance += deposit.cents;
        sleep(Duration::from_millis(deposit.millis)).await;
    }

    async fn commit(&self) {
        self.round_trip().await;
        self.lock().open = None;
    }

    /// Does nothing without an open transaction.
    async fn rollback(&self) {
        self.round_trip().await;
        let mut database = self.lock();
        if let Some(before) = database.open.take() {
            database.balance = before;
        }
    }

    /// Returns the balance and the number of overlaps.
    fn state(&self) -> (u64, usize) {
        let database = self.lock();
        (database.balance, database.overlaps)
    }

    async fn round_trip(&self) {
        sleep(Duration::from_millis(5)).await;
    }

    fn lock(&self) -> MutexGuard<'_, Database> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds to the balance in a transaction. However the call ends, none stays open.
async fn deposit(
    connection: Connection,
    call: CallContext,
    deposit: Deposit,
) -> Result<u64, BoxError> {
    connection.begin().await?;
    let opened = connection.clone();
    call.on_cleanup(move |outcome| async move {
        if outcome != Outcome::Completed {
            opened.rollback().await;
        }
    });
    connection.add(&deposit).await;
    connection.commit().await;
    let balance = connection.lock().balance;
    Ok(balance)
}

/// Makes five deposits at once, of which two exceed their timeout. Returns how many succeed.
async fn five_deposits(limit: ConcurrencyLimitLayer, connection: &Connection) -> usize {
    let (handle, cleanup) = (connection.clone(), CleanupLayer::new());
    let tool = ServiceBuilder::new()
        .layer(limit.clone())
        .layer(TimeoutLayer::new(Duration::from_millis(50)))
        .layer(cleanup.clone())
        .service(tool_fn("deposit", move |call, args| {
            deposit(handle.clone(), call, args)
        }));
    let calls = [10, 1_000, 10, 1_000, 10].map(|millis| {
        let args = json!({ "cents": 100, "millis": millis });
        tool.clone().oneshot(ToolCall::new("deposit", args))
    });
    let ended = join_all(calls).await;
    cleanup.drain(Duration::from_secs(1)).await;
    assert_eq!((limit.available(), limit.queued()), (1, 0));
    ended.iter().filter(|response| response.is_ok()).count()
}

// The paused clock advances only while all tasks wait, so the run takes no time.
#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), BoxError> {
    let connection = Connection::default();
    let exclusive = ConcurrencyLimitLayer::new(1).with_hold_until_ended();
    let succeeded = five_deposits(exclusive, &connection).await;
    let (balance, overlaps) = connection.state();
    println!("held until ended: {succeeded} of 5 deposits, balance {balance}, {overlaps} overlaps");
    assert_eq!((succeeded, balance, overlaps), (3, 300, 0));

    let connection = Connection::default();
    let succeeded = five_deposits(ConcurrencyLimitLayer::new(1), &connection).await;
    let (_, overlaps) = connection.state();
    println!("released with the response: {succeeded} of 5 deposits, {overlaps} overlaps");
    assert_eq!((succeeded, overlaps), (1, 2));
    Ok(())
}
