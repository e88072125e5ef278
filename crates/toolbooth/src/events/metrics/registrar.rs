use std::sync::Arc;

use ::metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder, with_recorder};

/// Registers metrics with a recorder: one of its own, or the recorder of the process or the thread.
#[derive(Clone)]
pub(super) struct Registrar(Option<Arc<dyn Recorder + Send + Sync>>);

const METADATA: Metadata<'static> =
    Metadata::new("toolbooth", Level::INFO, Some("toolbooth::events::metrics"));

// === impl Registrar ===

impl Registrar {
    pub(super) const fn global() -> Self {
        Self(None)
    }

    pub(super) fn of(recorder: impl Recorder + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(recorder)))
    }

    pub(super) fn with<T>(&self, register: impl FnOnce(&dyn Recorder) -> T) -> T {
        match &self.0 {
            Some(recorder) => register(&**recorder),
            None => with_recorder(register),
        }
    }

    pub(super) fn counter(&self, name: &'static str, labels: &[Label]) -> Counter {
        let key = key(name, labels);
        self.with(|recorder| recorder.register_counter(&key, &METADATA))
    }

    pub(super) fn gauge(&self, name: &'static str, labels: &[Label]) -> Gauge {
        let key = key(name, labels);
        self.with(|recorder| recorder.register_gauge(&key, &METADATA))
    }

    pub(super) fn histogram(&self, name: &'static str, labels: &[Label]) -> Histogram {
        let key = key(name, labels);
        self.with(|recorder| recorder.register_histogram(&key, &METADATA))
    }
}

fn key(name: &'static str, labels: &[Label]) -> Key {
    Key::from_parts(name, labels.to_vec())
}

/// Makes a label.
pub(super) fn label(key: &'static str, value: &str) -> Label {
    Label::new(key, value.to_owned())
}
