//! Many connections, many routes.

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::Path;
use axum::routing::get;
use futures_util::future::join_all;
use http_body_util::BodyExt;
use tokio::sync::Semaphore;
use tower::ServiceBuilder;

use super::*;

/// Random numbers that are the same in every run: `SplitMix64`.
struct Random(u64);

// === impl Random ===

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    async fn moment(&mut self, most: u64) {
        sleep(Duration::from_micros(self.below(most * 1_000))).await;
    }
}

/// Answers after so many milliseconds, with a chunk in each of as many more.
async fn slowly(Path((wait, chunks)): Path<(u64, usize)>) -> Body {
    sleep(ms(wait)).await;
    let chunks = stream::iter(0..chunks).then(async |_| {
        sleep(ms(1)).await;
        Ok::<_, Infallible>("chunk\n")
    });
    Body::from_stream(chunks)
}

/// One connection, which is dropped at some moment of its life.
async fn drops(server: &Server, random: &mut Random) {
    let path = format!("/{}/{}", random.below(6), random.below(8));
    if random.below(4) == 0 {
        return drops_http2(server, random, &path).await;
    }
    let mut stream = server.connect().await;
    random.moment(2).await;
    let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
    // Some do not even finish their request.
    let length = match random.below(8) {
        0 => usize::try_from(random.below(30)).expect("it is below 30"),
        _ => request.len(),
    };
    let _ = stream.write_all(&request.as_bytes()[..length]).await;
    random.moment(12).await;
    if random.below(2) == 0 {
        let _ = stream.try_read(&mut [0; 256]);
        random.moment(4).await;
    }
}

/// The same over HTTP/2: the request, the body or the whole connection goes.
async fn drops_http2(server: &Server, random: &mut Random, path: &str) {
    let client = Http2::ask(server, path).await;
    random.moment(14).await;
    if random.below(2) == 0 {
        client.reset();
        random.moment(4).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_connections_dropped_at_random_give_everything_back() {
    const CLIENTS: u64 = 50;
    const CONNECTIONS: u64 = 40;
    const PERMITS: usize = 16;

    let mut limits = limits(PERMITS);
    // Short enough to strike now and then.
    limits.timeout = TimeoutLayer::new(ms(10));
    let routes = Router::new().route("/{wait}/{chunks}", get(slowly));
    let server = Arc::new(Server::start(routes, limits).await);
    let clients = (0..CLIENTS).map(|seed| {
        let server = Arc::clone(&server);
        tokio::spawn(async move {
            let mut random = Random(seed);
            for _ in 0..CONNECTIONS {
                drops(&server, &mut random).await;
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.expect("a client does not panic");
    }

    // One more, on which everything before it has passed through the server's listener.
    let last = Polite::both()[0].get(&server, "/0/1").await;
    let _ = last.into_body().collect().await;
    eventually("all hooks ran", || {
        server.log.hooks() == server.log.calls() && server.in_flight() == 0
    })
    .await;
    // Nothing comes after.
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
    let refused = AtomicUsize::new(0);
    let ask = async |route: usize| {
        let answer = client.get(&server, &format!("/{route}")).await;
        if answer.status() == 503 {
            refused.fetch_add(1, Ordering::SeqCst);
        }
        answer.status().as_u16()
    };
    let opens = async {
        let all_but_the_running = || refused.load(Ordering::SeqCst) == ROUTES - PERMITS;
        eventually("the others are refused", all_but_the_running).await;
        assert_eq!(server.in_flight(), PERMITS);
        gate.add_permits(ROUTES);
    };
    let (answers, ()) = tokio::join!(join_all((0..ROUTES).map(&ask)), opens);
    let of = |status| answers.iter().filter(|answer| **answer == status).count();
    assert_eq!((of(200), of(503)), (PERMITS, ROUTES - PERMITS));
    assert_eq!(most.load(Ordering::SeqCst), PERMITS);

    // And each of them has its turn when the others are idle.
    gate.add_permits(ROUTES);
    for route in 0..ROUTES {
        assert_eq!(ask(route).await, 200, "{route}");
    }
    eventually("the permits are back", || server.in_flight() == 0).await;
}
