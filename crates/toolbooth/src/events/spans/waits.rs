use std::time::Duration;

use tokio::time::Instant;
use toolbooth_core::LayerName;

/// How long a call waited in the queues of layers.
#[derive(Default)]
pub(super) struct Waits {
    pub(super) concurrency: Duration,
    pub(super) rate: Duration,
    pub(super) total: Duration,
    /// Where the call waits now. Attempts of one call may wait at the same time.
    queued: Vec<(LayerName, Instant)>,
}

// === impl Waits ===

impl Waits {
    pub(super) fn enqueue(&mut self, layer: &LayerName, at: Instant) {
        self.queued.push((layer.clone(), at));
    }

    pub(super) fn admit(&mut self, layer: &LayerName, waited: Duration) {
        if let Some(at) = self.queued.iter().position(|(queued, _)| queued == layer) {
            self.queued.swap_remove(at);
        }
        self.add(layer, waited);
    }

    /// Ends the waits of a call that ends in a queue.
    pub(super) fn end(&mut self, at: Instant) {
        for (layer, since) in std::mem::take(&mut self.queued) {
            self.add(&layer, at.saturating_duration_since(since));
        }
    }

    fn add(&mut self, layer: &LayerName, waited: Duration) {
        self.total += waited;
        match layer.kind() {
            "concurrency" => self.concurrency += waited,
            "rate" => self.rate += waited,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Attempts of one call may wait in two queues at the same time.
    #[tokio::test(start_paused = true)]
    async fn wait_that_ends_is_that_of_its_layer() {
        let (database, rate) = (LayerName::new("concurrency"), LayerName::new("rate"));
        let second = Duration::from_secs(1);
        let mut waits = Waits::default();
        let start = Instant::now();
        waits.enqueue(&database, start);
        waits.enqueue(&rate, start);
        waits.admit(&rate, second);
        waits.end(start + 3 * second);
        let found = [waits.concurrency, waits.rate, waits.total];
        assert_eq!(found, [3 * second, second, 4 * second]);
    }
}
