//! How values that may be secret are read: no error quotes them.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Unexpected, Visitor};

use super::secret::Template;

/// A value whose errors do not quote it.
trait Hidden: Sized {
    const EXPECTED: &'static str;

    fn from_text<E: Error>(_: &str) -> Result<Self, E> {
        Err(unexpected::<Self, E>("a text"))
    }

    fn from_list<'de, A: SeqAccess<'de>>(_: A) -> Result<Self, A::Error> {
        Err(unexpected::<Self, A::Error>("a list"))
    }

    fn from_table<'de, A: MapAccess<'de>>(_: A) -> Result<Self, A::Error> {
        Err(unexpected::<Self, A::Error>("a table"))
    }
}

/// The arguments of a command: a text each, or a list of those that are left out together.
#[derive(Clone)]
pub(super) enum Part {
    One(Template),
    Several(Vec<Template>),
}

/// A list of texts or parts.
#[derive(Clone)]
pub(super) struct Texts<T>(pub(super) Vec<T>);

/// A table of texts.
#[derive(Clone, Default)]
pub(super) struct TextTable(pub(super) BTreeMap<String, Template>);

struct Read<T>(PhantomData<T>);

fn unexpected<T: Hidden, E: Error>(found: &str) -> E {
    E::invalid_type(Unexpected::Other(found), &T::EXPECTED)
}

impl<'de, T: Hidden> Visitor<'de> for Read<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        T::from_text(text)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<T, E> {
        Err(unexpected::<T, E>("a boolean"))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<T, E> {
        Err(unexpected::<T, E>("a number"))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<T, E> {
        Err(unexpected::<T, E>("a number"))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<T, E> {
        Err(unexpected::<T, E>("a number"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<T, A::Error> {
        T::from_list(list)
    }

    fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<T, A::Error> {
        T::from_table(table)
    }
}

macro_rules! deserialize {
    ($($type:ty),*) => {$(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(Read(PhantomData))
            }
        }
    )*};
}

deserialize!(Template, Part, Texts<Template>, Texts<Part>, TextTable);

impl Hidden for Template {
    const EXPECTED: &'static str = "a text";

    fn from_text<E: Error>(text: &str) -> Result<Self, E> {
        Ok(Self(text.to_owned()))
    }
}

impl Hidden for Part {
    const EXPECTED: &'static str = "a text, or a list of texts that are left out together";

    fn from_text<E: Error>(text: &str) -> Result<Self, E> {
        Ok(Self::One(Template(text.to_owned())))
    }

    fn from_list<'de, A: SeqAccess<'de>>(mut list: A) -> Result<Self, A::Error> {
        let mut all = Vec::new();
        while let Some(text) = list.next_element()? {
            all.push(text);
        }
        Ok(Self::Several(all))
    }
}

impl<T: Hidden + for<'a> Deserialize<'a>> Hidden for Texts<T> {
    const EXPECTED: &'static str = "a list of texts such as [\"npx\", \"-y\", \"a-server\"]";

    fn from_list<'de, A: SeqAccess<'de>>(mut list: A) -> Result<Self, A::Error> {
        let mut all = Vec::new();
        while let Some(text) = list.next_element()? {
            all.push(text);
        }
        Ok(Self(all))
    }
}

impl Hidden for TextTable {
    const EXPECTED: &'static str = "a table of texts such as { NAME = \"value\" }";

    fn from_table<'de, A: MapAccess<'de>>(mut table: A) -> Result<Self, A::Error> {
        let mut all = BTreeMap::new();
        while let Some((name, text)) = table.next_entry()? {
            all.insert(name, text);
        }
        Ok(Self(all))
    }
}
