use std::time::Duration;

use toolbooth_core::{LimitChange, Name};

use super::Order;
use super::limit_queue::Settings;
use crate::middleware::sync::Arc;

/// A setting of the queues of a limit.
#[derive(Debug, Clone)]
pub(crate) enum QueueSetting {
    Capacity(usize),
    MaxWait(Option<Duration>),
    /// `None`: first in, first out.
    Order(Option<Arc<Order>>),
    ServiceTime(Option<Duration>),
}

// === impl QueueSetting ===

impl QueueSetting {
    pub(super) fn apply(&self, settings: &mut Settings) {
        match self {
            Self::Capacity(calls) => settings.capacity = *calls,
            Self::MaxWait(max_wait) => settings.max_wait = *max_wait,
            Self::Order(order) => settings.order.clone_from(order),
            Self::ServiceTime(about) => settings.service_time = *about,
        }
    }

    pub(super) fn to_change(&self) -> LimitChange {
        let (setting, value) = match self {
            Self::Capacity(calls) => ("queue_capacity", Some(calls.to_string())),
            Self::MaxWait(max_wait) => ("max_wait", duration(*max_wait)),
            Self::Order(None) => ("order", Some("fifo".to_owned())),
            Self::Order(Some(order)) => ("order", Some(order.to_text())),
            Self::ServiceTime(about) => ("service_time", duration(*about)),
        };
        let value = value.map(Name::from);
        LimitChange::Queue { setting, value }
    }
}

fn duration(duration: Option<Duration>) -> Option<String> {
    duration.map(|duration| format!("{duration:?}"))
}
