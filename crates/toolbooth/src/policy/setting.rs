use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::read;
use super::values::{BreakerSettings, PartialSettings, QueueSettings, RateSettings, RetrySettings};

/// A setting of a policy: not given, switched off, or a value.
///
/// ```
/// use std::time::Duration;
/// use toolbooth::policy::Setting;
///
/// let limit = Setting::from(Duration::from_secs(30));
/// assert_eq!(limit.value(), Some(&Duration::from_secs(30)));
/// assert_eq!(Setting::<Duration>::from(None), Setting::Off);
/// assert_eq!(Setting::<Duration>::default(), Setting::Unset);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[expect(
    clippy::exhaustive_enums,
    reason = "there is no fourth state of a setting"
)]
pub enum Setting<T> {
    /// Not given: the setting of the group, or of the default, applies.
    #[default]
    Unset,
    /// Given as `"none"`: switched off, whatever the group or the default says.
    Off,
    /// A value.
    Value(T),
}

// === impl Setting ===

impl<T> Setting<T> {
    /// Returns the value, if there is one.
    #[must_use]
    pub const fn value(&self) -> Option<&T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Unset | Self::Off => None,
        }
    }

    /// Returns whether the setting is not given.
    #[must_use]
    pub const fn is_unset(&self) -> bool {
        matches!(self, Self::Unset)
    }

    /// Returns this setting, or the other one if this is not given.
    pub(super) const fn or<'a>(&'a self, other: &'a Self) -> &'a Self {
        match self {
            Self::Unset => other,
            Self::Off | Self::Value(_) => self,
        }
    }
}

impl<T> From<T> for Setting<T> {
    fn from(value: T) -> Self {
        Self::Value(value)
    }
}

/// `None` is [`Setting::Off`].
impl<T> From<Option<T>> for Setting<T> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Off, Self::Value)
    }
}

macro_rules! deserialize {
    ($($value:ty),*) => {$(
        /// Reads a value in the forms of policies, or `"none"`. A missing key is
        /// [`Setting::Unset`] if the field has `#[serde(default)]`.
        impl<'de> Deserialize<'de> for Setting<$value> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                read::setting::deserialize(deserializer)
            }
        }
    )*};
}

deserialize!(
    Duration,
    u32,
    u64,
    QueueSettings,
    RateSettings,
    BreakerSettings,
    RetrySettings,
    PartialSettings
);
