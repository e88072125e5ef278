//! The values of settings: their forms, and the range of each.

use std::fmt;
use std::time::Duration;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Error, MapAccess, SeqAccess, Unexpected};

use super::read::{Given, given};
use super::values::{
    BreakerSettings, PartialSettings, QueueSettings, Rate, RateSettings, RetrySettings,
};

/// A value of a setting.
pub(super) trait Value: Sized + fmt::Debug {
    /// What is allowed, for errors.
    const EXPECTED: &'static str;

    /// Converts the short form. The range is checked by the caller.
    fn from_scalar(scalar: Scalar<'_>) -> Option<Self>;

    /// Reads a table.
    fn from_table<'de, A: MapAccess<'de>>(_: A) -> Result<Self, A::Error> {
        Err(Error::invalid_type(Unexpected::Map, &Self::EXPECTED))
    }

    /// Reads a list.
    fn from_list<'de, A: SeqAccess<'de>>(_: A) -> Result<Self, A::Error> {
        Err(Error::invalid_type(Unexpected::Seq, &Self::EXPECTED))
    }

    /// Returns whether the value is in its range. The fields of a table have ranges of their own.
    fn is_in_range(&self) -> bool {
        true
    }
}

/// A value that is no table and no list.
#[derive(Debug, Clone, Copy)]
pub(super) enum Scalar<'a> {
    Text(&'a str),
    Integer(i64),
    Float(f64),
    Bool(bool),
}

/// The greatest number of calls, attempts or items.
const MAX_COUNT: u32 = 1_000_000;
/// The greatest number of bytes that are kept of a result.
const MAX_BYTES: u64 = 1 << 30;
const MAX_DURATION: Duration = Duration::from_secs(365 * 86_400);
/// The greatest number of rates of one limit.
const MAX_RATES: usize = 8;

/// Parses the short form of a value.
pub(super) fn parse<T: Value>(text: &str) -> Result<T, String> {
    let value = T::from_scalar(Scalar::Text(text)).filter(T::is_in_range);
    value.ok_or_else(|| format!("`{text}` is not {}", T::EXPECTED))
}

// === impl Value ===

impl Value for Duration {
    const EXPECTED: &'static str =
        "a duration from 1ms to 365d, such as \"500ms\", \"30s\" or \"1h 30m\"";

    fn from_scalar(scalar: Scalar<'_>) -> Option<Self> {
        match scalar {
            Scalar::Text(text) => humantime::parse_duration(text).ok(),
            Scalar::Integer(_) | Scalar::Float(_) | Scalar::Bool(_) => None,
        }
    }

    fn is_in_range(&self) -> bool {
        (Self::from_millis(1)..=MAX_DURATION).contains(self)
    }
}

impl Value for u32 {
    const EXPECTED: &'static str = "a whole number from 1 to 1000000";

    fn from_scalar(scalar: Scalar<'_>) -> Option<Self> {
        scalar.count()
    }

    fn is_in_range(&self) -> bool {
        (1..=MAX_COUNT).contains(self)
    }
}

impl Value for i32 {
    const EXPECTED: &'static str = "a whole number such as 10 or -1";

    fn from_scalar(scalar: Scalar<'_>) -> Option<Self> {
        match scalar {
            Scalar::Integer(integer) => integer.try_into().ok(),
            Scalar::Text(_) | Scalar::Float(_) | Scalar::Bool(_) => None,
        }
    }
}

impl Value for u64 {
    const EXPECTED: &'static str = "a number of bytes from 1 to 1073741824";

    fn from_scalar(scalar: Scalar<'_>) -> Option<Self> {
        match scalar {
            Scalar::Integer(bytes) => bytes.try_into().ok(),
            Scalar::Text(_) | Scalar::Float(_) | Scalar::Bool(_) => None,
        }
    }

    fn is_in_range(&self) -> bool {
        (1..=MAX_BYTES).contains(self)
    }
}

impl Value for f64 {
    const EXPECTED: &'static str = "a number from 0 to 1";

    fn from_scalar(scalar: Scalar<'_>) -> Option<Self> {
        match scalar {
            Scalar::Float(rate) => Some(rate),
            Scalar::Integer(0) => Some(0.0),
            Scalar::Integer(1) => Some(1.0),
            Scalar::Integer(_) | Scalar::Text(_) | Scalar::Bool(_) => None,
        }
    }

    fn is_in_range(&self) -> bool {
        (0.0..=1.0).contains(self)
    }
}

impl Value for Rate {
    const EXPECTED: &'static str = "a rate such as \"10/s\", \"600/m\", \"1000/h\" or \"5000/d\", \
         or { per_second = 10, burst = 20 }";

    fn from_scalar(scalar: Scalar<'_>) -> Option<Self> {
        match scalar {
            Scalar::Text(text) => Self::parse(text),
            Scalar::Integer(_) | Scalar::Float(_) | Scalar::Bool(_) => None,
        }
    }

    fn from_table<'de, A: MapAccess<'de>>(table: A) -> Result<Self, A::Error> {
        let table = RateTable::deserialize(MapAccessDeserializer::new(table))?;
        table.rate().ok_or_else(|| {
            let units = "one of per_second, per_minute, per_hour and per_day";
            Error::custom(format_args!("a rate has {units}"))
        })
    }

    fn is_in_range(&self) -> bool {
        let counts = [Some(self.calls), self.burst];
        let per = self.per.is_in_range();
        per && counts.iter().flatten().all(Value::is_in_range)
    }
}

impl Value for RateSettings {
    const EXPECTED: &'static str = "a rate such as \"10/s\", \"600/m\", \"1000/h\" or \"5000/d\", \
         { per_second = 10, burst = 20 }, or a list of 1 to 8 rates";

    fn from_scalar(scalar: Scalar<'_>) -> Option<Self> {
        Rate::from_scalar(scalar).map(Into::into)
    }

    fn from_table<'de, A: MapAccess<'de>>(table: A) -> Result<Self, A::Error> {
        Rate::from_table(table).map(Into::into)
    }

    fn from_list<'de, A: SeqAccess<'de>>(mut list: A) -> Result<Self, A::Error> {
        let mut rates = Self::default();
        while let Some(Given(rate)) = list.next_element::<Given<Rate>>()? {
            if rates.rates.len() == MAX_RATES {
                return Err(Error::invalid_length(MAX_RATES + 1, &Self::EXPECTED));
            }
            rates.rates.push(rate);
        }
        Ok(rates)
    }

    fn is_in_range(&self) -> bool {
        let rates = &self.rates;
        (1..=MAX_RATES).contains(&rates.len()) && rates.iter().all(Value::is_in_range)
    }
}

/// Implements [`Value`] for a table whose short form is the number of one of its fields.
macro_rules! table {
    ($($type:ty: $setter:ident, $expected:literal;)*) => {$(
        impl Value for $type {
            const EXPECTED: &'static str = $expected;

            fn from_scalar(scalar: Scalar<'_>) -> Option<Self> {
                let count = scalar.count().filter(Value::is_in_range);
                count.map(|count| Self::new().$setter(count))
            }

            fn from_table<'de, A: MapAccess<'de>>(table: A) -> Result<Self, A::Error> {
                Self::deserialize(MapAccessDeserializer::new(table))
            }
        }
    )*};
}

table! {
    QueueSettings: with_capacity,
        "a number of calls from 1 to 1000000, or a table such as { capacity = 64 }";
    BreakerSettings: with_failures,
        "a number of failures in a row from 1 to 1000000, or a table such as { failures = 5 }";
    RetrySettings: with_attempts,
        "a number of attempts from 1 to 1000000, or a table such as { attempts = 3 }";
    PartialSettings: with_items,
        "a number of items from 1 to 1000000, or a table such as { items = 1024 }";
}

// === impl Scalar ===

impl<'a> Scalar<'a> {
    fn count(self) -> Option<u32> {
        match self {
            Self::Integer(count) => count.try_into().ok(),
            Self::Text(_) | Self::Float(_) | Self::Bool(_) => None,
        }
    }

    pub(super) const fn unexpected(self) -> Unexpected<'a> {
        match self {
            Self::Text(text) => Unexpected::Str(text),
            Self::Integer(integer) => Unexpected::Signed(integer),
            Self::Float(float) => Unexpected::Float(float),
            Self::Bool(bool) => Unexpected::Bool(bool),
        }
    }
}

/// The table of a rate.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RateTable {
    #[serde(default, with = "given")]
    per_second: Option<u32>,
    #[serde(default, with = "given")]
    per_minute: Option<u32>,
    #[serde(default, with = "given")]
    per_hour: Option<u32>,
    #[serde(default, with = "given")]
    per_day: Option<u32>,
    #[serde(default, with = "given")]
    burst: Option<u32>,
}

impl RateTable {
    /// Returns the rate, if there is exactly one unit.
    fn rate(&self) -> Option<Rate> {
        let units = [
            self.per_second.map(Rate::per_second),
            self.per_minute.map(Rate::per_minute),
            self.per_hour.map(Rate::per_hour),
            self.per_day.map(Rate::per_day),
        ];
        let mut units = units.into_iter().flatten();
        let rate = units.next().filter(|_| units.next().is_none())?;
        let burst = self.burst;
        Some(Rate { burst, ..rate })
    }
}
