//! A thousand clients at once.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

const CLIENTS: usize = 1_000;

/// Opens a stream of events, and reads the first one.
async fn open(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let head = format!(
        "POST /tools/steps HTTP/1.1\r\nhost: {address}\r\naccept: text/event-stream\r\n\r\n"
    );
    stream
        .write_all(head.as_bytes())
        .await
        .expect("the server reads");
    let mut read = Vec::new();
    while !read.windows(6).any(|bytes| bytes == b"step 0") {
        assert_ne!(stream.read_buf(&mut read).await.expect("an event"), 0);
    }
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_of_a_thousand_clients_vanish_and_nothing_is_left() {
    let server = Server::start().await;
    let opening = (0..CLIENTS).map(|_| tokio::spawn(open(server.address)));
    let opening = in_time(futures_util::future::join_all(opening)).await;
    let opened = opening
        .into_iter()
        .map(|stream| stream.expect("it does not panic"));
    let mut open_streams: Vec<_> = opened.collect();
    assert_eq!(server.limit.in_flight(), CLIENTS);
    let stay = open_streams.split_off(CLIENTS / 2);
    drop(open_streams);
    let half = || server.limit.in_flight() == CLIENTS / 2;
    eventually("the calls of those that vanished end", half).await;

    // The others end by a shutdown, with a last event and a regular end.
    let report = server.shutdown.shutdown(Duration::ZERO, PATIENCE).await;
    assert_eq!((report.cancelled, report.orphaned), (500, 0));
    for mut stream in stay {
        let mut read = Vec::new();
        while !read.ends_with(b"\r\n0\r\n\r\n") {
            let count = in_time(stream.read_buf(&mut read)).await.expect("the end");
            assert_ne!(count, 0, "{:?}", String::from_utf8_lossy(&read));
        }
        let read = String::from_utf8_lossy(&read);
        assert!(read.contains("event: error"), "{read}");
    }
    server.idle("the end").await;
    assert_eq!(server.cleanup.report().ran, 1_000);
    // The task of the server is left, and not one of a call or a connection.
    let tasks = tokio::runtime::Handle::current().metrics();
    eventually("all tasks end", || tasks.num_alive_tasks() <= 1).await;
}
