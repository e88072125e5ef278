//! How settings are read: a short form, a table, or `"none"`.
//!
//! The range of a value is checked while it is read, so that the error has its position.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Unexpected, Visitor};

use super::value::{Scalar, Value};

/// A value as an element of a list.
pub(super) struct Given<T>(pub(super) T);

impl<'de, T: Value> Deserialize<'de> for Given<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = deserializer.deserialize_any(Read {
            none: None,
            value: PhantomData,
        });
        value.map(Self)
    }
}

/// Reads a value. `none` is what `"none"` means, if it is allowed.
struct Read<T, U> {
    none: Option<fn() -> U>,
    value: PhantomData<(T, U)>,
}

impl<T: Value, U: From<T>> Read<T, U> {
    fn scalar<E: Error>(&self, scalar: Scalar<'_>) -> Result<U, E> {
        match (self.none, scalar) {
            (Some(none), Scalar::Text("none")) => Ok(none()),
            _ => match T::from_scalar(scalar).filter(T::is_in_range) {
                Some(value) => Ok(value.into()),
                None => Err(Error::invalid_value(scalar.unexpected(), self)),
            },
        }
    }

    fn checked<E: Error>(&self, value: T, unexpected: Unexpected<'_>) -> Result<U, E> {
        match value.is_in_range() {
            true => Ok(value.into()),
            false => Err(Error::invalid_value(unexpected, self)),
        }
    }
}

impl<'de, T: Value, U: From<T>> Visitor<'de> for Read<T, U> {
    type Value = U;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)?;
        match self.none {
            Some(_) => f.write_str(", or \"none\""),
            None => Ok(()),
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<U, E> {
        self.scalar(Scalar::Text(text))
    }

    fn visit_i64<E: Error>(self, integer: i64) -> Result<U, E> {
        self.scalar(Scalar::Integer(integer))
    }

    fn visit_u64<E: Error>(self, integer: u64) -> Result<U, E> {
        match integer.try_into() {
            Ok(integer) => self.scalar(Scalar::Integer(integer)),
            Err(_) => Err(Error::invalid_value(Unexpected::Unsigned(integer), &self)),
        }
    }

    fn visit_f64<E: Error>(self, float: f64) -> Result<U, E> {
        self.scalar(Scalar::Float(float))
    }

    fn visit_bool<E: Error>(self, bool: bool) -> Result<U, E> {
        self.scalar(Scalar::Bool(bool))
    }

    fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<U, A::Error> {
        self.checked(T::from_table(table)?, Unexpected::Map)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<U, A::Error> {
        self.checked(T::from_list(list)?, Unexpected::Seq)
    }
}

/// Reads a table of tables whose keys differ: a later one must not replace an earlier one.
pub(super) fn unique<'de, T, D>(deserializer: D) -> Result<BTreeMap<String, T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    struct Unique<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Unique<T> {
        type Value = BTreeMap<String, T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a table of names and policies")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut table: A) -> Result<Self::Value, A::Error> {
            let mut all = BTreeMap::new();
            while let Some(name) = table.next_key::<String>()? {
                if all.contains_key(&name) {
                    return Err(Error::custom(format_args!("`{name}` is given twice")));
                }
                all.insert(name, table.next_value()?);
            }
            Ok(all)
        }
    }

    deserializer.deserialize_map(Unique(PhantomData))
}

/// Reads and writes a [`Setting`](super::Setting).
pub(super) mod setting {
    use std::marker::PhantomData;

    use serde::{Deserializer, Serializer};

    use super::super::Setting;
    use super::super::value::Value;
    use super::super::write::Write;
    use super::Read;

    pub(in super::super) fn deserialize<'de, T, D>(deserializer: D) -> Result<Setting<T>, D::Error>
    where
        T: Value,
        D: Deserializer<'de>,
    {
        deserializer.deserialize_any(Read::<T, _> {
            none: Some(|| Setting::Off),
            value: PhantomData,
        })
    }

    pub(in super::super) fn serialize<T, S>(
        setting: &Setting<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error>
    where
        T: Write,
        S: Serializer,
    {
        match setting {
            Setting::Unset => serializer.serialize_none(),
            Setting::Off => serializer.serialize_str("none"),
            Setting::Value(value) => value.write(serializer),
        }
    }
}

/// Reads and writes a value that may be missing.
pub(super) mod given {
    use std::marker::PhantomData;

    use serde::{Deserializer, Serializer};

    use super::super::value::Value;
    use super::super::write::Write;
    use super::Read;

    pub(in super::super) fn deserialize<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
    where
        T: Value,
        D: Deserializer<'de>,
    {
        deserializer.deserialize_any(Read::<T, _> {
            none: None,
            value: PhantomData,
        })
    }

    pub(in super::super) fn serialize<T, S>(
        value: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error>
    where
        T: Write,
        S: Serializer,
    {
        match value {
            None => serializer.serialize_none(),
            Some(value) => value.write(serializer),
        }
    }
}
