//! Many connections, many routes.

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::Path;
use axum::routing::get;
use fastrand::Rng;
use futures_util::future::join_all;
use http_body_util::BodyExt;
use tokio::sync::Semaphore;
use tower::ServiceBuilder;

use super::*;

/// Waits for a random time of at most `most` milliseconds.
async fn pause(random: &mut Rng, most: u64) {
    sleep(Duration::from_micros(random.u64(..most * 1_000))).await;
}

/// Responds after `wait` milliseconds, with a chunk in each following millisecond.
async fn slowly(Path((wait, chunks)): Path<(u64, usize)>) -> Body {
    sleep(ms(wait)).await;
    let chunks = stream::iter(0..chunks).then(async |_| {
        sleep(ms(1)).await;
        Ok::<_, Infallible>("chunk\n")
    });
    Body::from_stream(chunks)
}

/// Makes one connection and drops it at a random instant.
async fn drops(server: &Server, random: &mut Rng) {
    let path = format!("/{}/{}", random.u64(..6), random.u64(..8));
    if random.u64(..4) == 0 {
        return drops_http2(server, random, &path).await;
    }
    let mut stream = server.connect().await;
    pause(random, 2).await;
    let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
    // Some do not finish their request.
    let length = match random.u64(..8) {
        0 => usize::try_from(random.u64(..30)).expect("it is below 30"),
        _ => request.len(),
    };
    let _ = stream.write_all(&request.as_bytes()[..length]).await;
    pause(random, 12).await;
    if random.u64(..2) == 0 {
        let _ = stream.try_read(&mut [0; 256]);
        pause(random, 4).await;
    }
}

/// The same over HTTP/2, where a stream or the connection is dropped.
async fn drops_http2(server: &Server, random: &mut Rng, path: &str) {
    let client = Http2::request(server, path).await;
    pause(random, 14).await;
    if random.u64(..2) == 0 {
        client.reset();
        pause(random, 4).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_connections_dropped_at_random_release_everything() {
    const CLIENTS: u64 = 50;
    const CONNECTIONS: u64 = 40;
    const PERMITS: usize = 16;

    let mut limits = limits(PERMITS);
    // Short enough to expire for some of them.
    limits.timeout = TimeoutLayer::new(ms(10));
    let routes = Router::new().route("/{wait}/{chunks}", get(slowly));
    let server = Arc::new(Server::start(routes, limits).await);
    let clients = (0..CLIENTS).map(|seed| {
        let server = Arc::clone(&server);
        tokio::spawn(async move {
            let mut random = Rng::with_seed(seed);
            for _ in 0..CONNECTIONS {
                drops(&server, &mut random).await;
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.expect("a client does not panic");
    }

    // One more request, so that all earlier connections have passed the listener.
    let last = Polite::both()[0].get(&server, "/0/1").await;
    let _ = last.into_body().collect().await;
    eventually("all hooks ran", || {
        server.log.hooks() == server.log.calls() && server.in_flight() == 0
    })
    .await;
    // No call follows.
    sleep(ms(50)).await;
    let (calls, hooks) = (server.log.calls(), server.log.hooks());
    assert_eq!(hooks, calls, "each call ran its hook once");
    assert_eq!(server.limits.at_once.available(), PERMITS);
    assert_eq!((server.in_flight(), server.limits.at_once.queued()), (0, 0));
    let of = |outcome| server.log.count(outcome);
    let each = [Outcome::Completed, Outcome::Cancelled, Outcome::TimedOut].map(of);
    assert_eq!(each.iter().sum::<usize>(), calls);
    assert!(each.iter().all(|count| *count > 0), "{each:?} of {calls}");
    assert!(calls > 1_000, "{each:?} of {calls}");
}

#[tokio::test]
async fn one_layer_value_on_a_hundred_routes_is_one_limit() {
    const ROUTES: usize = 100;
    const PERMITS: usize = 3;

    let mut limits = limits(PERMITS);
    limits.at_once = ConcurrencyLimitLayer::new(PERMITS).with_queue_capacity(0);
    let gate = Arc::new(Semaphore::new(0));
    let (now, most) = <(Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
    let layers = ServiceBuilder::new()
        .layer(axum::error_handling::HandleErrorLayer::new(
            async |error: toolbooth::ToolError| error.status(),
        ))
        .layer(limits.layers());
    let routes = (0..ROUTES).fold(Router::new(), |routes, route| {
        let (gate, now, most) = (Arc::clone(&gate), Arc::clone(&now), Arc::clone(&most));
        let handler = get(async move || {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            gate.acquire().await.expect("it stays open").forget();
            now.fetch_sub(1, Ordering::SeqCst);
        });
        routes.route(&format!("/{route}"), handler.layer(layers.clone()))
    });
    let server = Server::serve(routes, limits, Log::default()).await;

    let [client, _] = Polite::both();
    let rejected = AtomicUsize::new(0);
    let get = async |route: usize| {
        let response = client.get(&server, &format!("/{route}")).await;
        if response.status() == 503 {
            rejected.fetch_add(1, Ordering::SeqCst);
        }
        response.status().as_u16()
    };
    let opens = async {
        let all_but_the_running = || rejected.load(Ordering::SeqCst) == ROUTES - PERMITS;
        eventually("the others are rejected", all_but_the_running).await;
        assert_eq!(server.in_flight(), PERMITS);
        gate.add_permits(ROUTES);
    };
    let (statuses, ()) = tokio::join!(join_all((0..ROUTES).map(&get)), opens);
    let of = |status| statuses.iter().filter(|found| **found == status).count();
    assert_eq!((of(200), of(503)), (PERMITS, ROUTES - PERMITS));
    assert_eq!(most.load(Ordering::SeqCst), PERMITS);

    // Each of them completes when the others are idle.
    gate.add_permits(ROUTES);
    for route in 0..ROUTES {
        assert_eq!(get(route).await, 200, "{route}");
    }
    eventually("the permits are released", || server.in_flight() == 0).await;
}
