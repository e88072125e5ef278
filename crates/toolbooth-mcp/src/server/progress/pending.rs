//! What a call has published since its last notification.

use std::sync::Arc;

use rmcp::model::{MetaObject, NotificationMetaObject, ProgressNotificationParam, ProgressToken};
use toolbooth::{Content, Progress, UpdateKind};
use toolbooth_core::start_of;

use crate::convert::ITEMS_META_KEY;

/// The maximum length of the message of an item, in bytes.
const MAX_MESSAGE: usize = 200;

/// The maximum number of items in a notification.
const MAX_ITEMS: usize = 64;

/// The maximum size of the items in a notification, in bytes.
const MAX_BYTES: usize = 16 << 10;

/// What the next notification says. Newer reports replace older ones.
#[derive(Default)]
pub(super) struct Pending {
    is_set: bool,
    /// The last report of the call, which later notifications repeat.
    progress: Option<Progress>,
    message: Option<String>,
    items: Vec<Arc<Content>>,
    size: usize,
    values: Values,
}

/// Makes values that increase strictly.
///
/// Until the tool reports progress, the notifications are counted. After that a value is what the
/// tool reports as done. A notification in between, such as of a heartbeat, adds a fraction.
#[derive(Debug, Default)]
struct Values {
    last: Option<f64>,
    /// The last value without a fraction, once the tool has reported progress.
    base: Option<f64>,
    /// The number of notifications since `base`.
    between: u32,
}

// === impl Pending ===

impl Pending {
    pub(super) const fn is_set(&self) -> bool {
        self.is_set
    }

    pub(super) fn update(&mut self, update: UpdateKind) {
        self.is_set = true;
        match update {
            UpdateKind::Progress(progress) => {
                self.message = progress.message().map(|text| shortened(text).to_owned());
                self.progress = Some(progress);
            }
            UpdateKind::Item(content) => self.add(content),
            UpdateKind::Snapshot(content) => self.message = Some(message(&content)),
            // A heartbeat, or a number of updates that were dropped.
            _ => {}
        }
    }

    /// Adds an item of a streaming response.
    pub(super) fn item(&mut self, content: &Content) {
        self.is_set = true;
        match self.has_room(content) {
            true => self.add(Arc::new(content.clone())),
            false => self.message = Some(message(content)),
        }
    }

    fn add(&mut self, content: Arc<Content>) {
        self.message = Some(message(&content));
        if self.has_room(&content) {
            self.size += content.size();
            self.items.push(content);
        }
    }

    fn has_room(&self, content: &Content) -> bool {
        self.items.len() < MAX_ITEMS && content.size() <= MAX_BYTES - self.size
    }

    /// Makes the next notification, if anything was published.
    pub(super) fn take(&mut self, token: &ProgressToken) -> Option<ProgressNotificationParam> {
        if !std::mem::take(&mut self.is_set) {
            return None;
        }
        let value = self.values.next(self.progress.as_ref().map(Progress::done));
        let mut param = ProgressNotificationParam::new(token.clone(), value);
        let total = self.progress.as_ref().and_then(Progress::total);
        param.total = total.map(to_f64).filter(|total| value <= *total);
        param.message = self.message.take();
        let items = std::mem::take(&mut self.items);
        self.size = 0;
        if !items.is_empty() {
            let items = items
                .iter()
                .filter_map(|item| serde_json::to_value(&**item).ok());
            let items = (ITEMS_META_KEY.to_owned(), items.collect());
            let meta = MetaObject(std::iter::once(items).collect());
            param.meta = Some(NotificationMetaObject(meta));
        }
        Some(param)
    }
}

fn message(content: &Content) -> String {
    match content {
        Content::Json(_) if content.size() > MAX_BYTES => "[JSON]".to_owned(),
        content => shortened(&content.to_text()).to_owned(),
    }
}

fn shortened(text: &str) -> &str {
    start_of(text, MAX_MESSAGE)
}

// === impl Values ===

impl Values {
    fn next(&mut self, done: Option<u64>) -> f64 {
        let last = self.last;
        let is_new = |value: f64| last.is_none_or(|last| value > last);
        let value = match (done.map(to_f64), self.base) {
            (Some(done), _) if is_new(done) => {
                (self.base, self.between) = (Some(done), 0);
                done
            }
            (Some(_), base) => {
                let base = base.or(last).unwrap_or_default();
                self.base = Some(base);
                self.between = self.between.saturating_add(1);
                let between = f64::from(self.between);
                base + between / (between + 1.0)
            }
            (None, _) => last.unwrap_or_default() + 1.0,
        };
        // Beyond 2^53 a fraction may be lost.
        let value = match last {
            Some(last) if value <= last => last.next_up(),
            _ => value,
        };
        self.last = Some(value);
        value
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "beyond 2^53 a value of progress is approximate"
)]
const fn to_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values(reports: &[Option<u64>]) -> Vec<f64> {
        let mut values = Values::default();
        reports.iter().map(|done| values.next(*done)).collect()
    }

    #[test]
    fn notifications_are_counted_until_the_tool_reports_progress() {
        assert_eq!(
            values(&[None, None, Some(7), Some(8)]),
            [1.0, 2.0, 7.0, 8.0]
        );
        assert_eq!(values(&[Some(0), Some(0), Some(1)]), [0.0, 0.5, 1.0]);
        let overshoot = values(&[None, None, None, Some(1), Some(4)]);
        assert_eq!(overshoot, [1.0, 2.0, 3.0, 3.5, 4.0]);
    }

    proptest! {
        #[test]
        fn values_increase_strictly(
            reports in proptest::collection::vec(proptest::option::of(any::<u64>()), 0..200)
        ) {
            let values = values(&reports);
            prop_assert!(values.windows(2).all(|pair| pair[0] < pair[1]));
        }
    }
}
