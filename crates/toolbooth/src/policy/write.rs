//! How settings are written, and shown in stacks and reports.

use std::time::Duration;

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::values::{
    BreakerSettings, PartialSettings, QueueSettings, Rate, RateSettings, RetrySettings, UNITS,
};

/// Writes a value as it is read.
pub(super) trait Write {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;
}

impl Write for Duration {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*self))
    }
}

impl Write for RateSettings {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.rates.as_slice() {
            [rate] => rate.serialize(serializer),
            rates => rates.serialize(serializer),
        }
    }
}

macro_rules! write_derived {
    ($($type:ty),*) => {$(
        impl Write for $type {
            fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.serialize(serializer)
            }
        }
    )*};
}

write_derived!(
    i32,
    u32,
    u64,
    f64,
    QueueSettings,
    BreakerSettings,
    RetrySettings,
    PartialSettings
);

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let unit = UNITS.iter().find(|(.., per)| *per == self.per);
        match (self.burst, unit) {
            (Some(burst), Some((_, key, _))) => {
                let mut table = serializer.serialize_map(Some(2))?;
                table.serialize_entry(key, &self.calls)?;
                table.serialize_entry("burst", &burst)?;
                table.end()
            }
            _ => serializer.collect_str(self),
        }
    }
}
