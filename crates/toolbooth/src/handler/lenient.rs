//! Parses texts as JSON where a type that is not text is wanted.

use serde::de::value::{MapAccessDeserializer, MapDeserializer, SeqDeserializer};
use serde::de::{Deserializer, IntoDeserializer, Visitor};
use serde_json::{Error, Value};

use super::args::whole;

/// A value in which a text stands for the JSON in it, if a number, a boolean, a list, a map, a
/// struct or an enum is wanted.
///
/// Where any type is accepted, as in a [`Value`], an untagged enum or a flattened struct, a text
/// stays a text. So does a text within [`MAX_TEXTS`] texts.
pub(super) struct Lenient {
    value: Value,
    /// The number of texts that were parsed around the value.
    texts: u8,
}

/// The maximum number of texts within one another that are parsed.
///
/// `serde_json` bounds the nesting within one text, and this bounds it in all. Otherwise 4 KiB of
/// arguments overflow the stack of a thread, if the type is recursive.
const MAX_TEXTS: u8 = 3;

// === impl Lenient ===

impl Lenient {
    pub(super) const fn new(value: Value) -> Self {
        Self { value, texts: 0 }
    }

    /// Returns the JSON in a text if `fits` accepts it, otherwise the value as it is.
    fn parsed(self, fits: impl FnOnce(&Value) -> bool) -> Self {
        let Self { value, texts } = self;
        let text = value.as_str().filter(|_| texts < MAX_TEXTS);
        let parsed = text.and_then(|text| serde_json::from_str::<Value>(text).ok());
        match parsed.filter(fits) {
            Some(parsed) => Self {
                value: whole(&parsed).map_or(parsed, Value::from),
                texts: texts + 1,
            },
            None => Self { value, texts },
        }
    }

    /// Returns a function that makes the values within this one lenient.
    const fn within(&self) -> impl Fn(Value) -> Self + use<> {
        let texts = self.texts;
        move |value| Self { value, texts }
    }
}

impl<'de> IntoDeserializer<'de, Error> for Lenient {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! parse_if {
    ($fits:path: $($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            self.parsed($fits).value.$method(visitor)
        }
    )*};
}

macro_rules! as_it_is {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            self.value.$method(visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for Lenient {
    type Error = Error;

    parse_if! { Value::is_boolean: deserialize_bool }
    parse_if! { Value::is_number:
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64
    }
    as_it_is! {
        deserialize_any deserialize_char deserialize_str deserialize_string deserialize_bytes
        deserialize_byte_buf deserialize_unit deserialize_identifier deserialize_ignored_any
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.value.deserialize_unit_struct(name, visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let parsed = self.parsed(Value::is_array);
        let within = parsed.within();
        match parsed.value {
            Value::Array(values) => {
                let mut values = SeqDeserializer::new(values.into_iter().map(within));
                let result = visitor.visit_seq(&mut values)?;
                values.end()?;
                Ok(result)
            }
            other => other.deserialize_seq(visitor),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let parsed = self.parsed(Value::is_object);
        let within = parsed.within();
        match parsed.value {
            Value::Object(fields) => {
                let mut fields = fields_of(fields, within);
                let result = visitor.visit_map(&mut fields)?;
                fields.end()?;
                Ok(result)
            }
            other => other.deserialize_map(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let parsed = self.parsed(|parsed| parsed.is_object() || parsed.is_array());
        match &parsed.value {
            Value::Object(_) => parsed.deserialize_map(visitor),
            Value::Array(_) => parsed.deserialize_seq(visitor),
            _ => parsed.value.deserialize_struct(name, names, visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let parsed = self.parsed(Value::is_object);
        let within = parsed.within();
        match parsed.value {
            Value::Object(variant) if variant.len() == 1 => {
                visitor.visit_enum(MapAccessDeserializer::new(fields_of(variant, within)))
            }
            other => other.deserialize_enum(name, variants, visitor),
        }
    }
}

/// Returns the fields with lenient values. A key is a text, which may stand for a number.
fn fields_of<'de>(
    fields: serde_json::Map<String, Value>,
    within: impl Fn(Value) -> Lenient,
) -> MapDeserializer<'de, impl Iterator<Item = (Lenient, Lenient)>, Error> {
    let lenient = move |(key, value)| (within(Value::String(key)), within(value));
    MapDeserializer::new(fields.into_iter().map(lenient))
}
