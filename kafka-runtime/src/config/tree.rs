//! The application's own keys as its own types, through serde: structs (field names are relaxed too), maps, lists,
//! options, numbers in Spring's notation.

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess,
    Visitor,
};

use super::names;
use super::origin::Origin;
use super::placeholder;
use super::problems::Problem;
use super::source::{Found, Sources, View};
use super::value::{Notation, Value as _, split_list};

/// What is under `path`, as a `T`; `None` when nothing is.
pub(crate) fn read<T: DeserializeOwned>(sources: &Sources, path: &str) -> Result<Option<T>, Problem> {
    let node = |flat| Node { sources, view: sources.view(), path: path.to_owned(), text: None, flat };
    if !node(false).exists() {
        return Ok(None);
    }
    // Whether `{retention.ms: 7d}` is a map in a map or a name with a dot, only the wanted type knows.
    let nested = T::deserialize(node(false));
    let value = nested.or_else(|mistake| T::deserialize(node(true)).map_err(|_| mistake));
    let node = node(false);
    let origin = node.said().map_or(Origin::Default, |found| found.origin);
    value.map(Some).map_err(|Mistake(problem)| match problem {
        Mistaken::Placed(problem) => *problem,
        Mistaken::Words(what) => Problem::new(origin, path, what),
    })
}

/// A mistake; with its place where it is known.
#[derive(Debug)]
struct Mistake(Mistaken);

#[derive(Debug)]
enum Mistaken {
    Placed(Box<Problem>),
    Words(String),
}

impl std::fmt::Display for Mistake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Mistaken::Placed(problem) => problem.fmt(f),
            Mistaken::Words(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Mistake {}

impl de::Error for Mistake {
    fn custom<M: std::fmt::Display>(message: M) -> Self {
        Self(Mistaken::Words(message.to_string()))
    }
}

/// A place in the tree of names; or an element of a text with commas.
struct Node<'s> {
    /// Where placeholders are looked for.
    sources: &'s Sources,
    /// Where values are looked for: in a list, in the one source that has it.
    view: View<'s>,
    path: String,
    text: Option<String>,
    /// Maps have every value below them, under its dotted name.
    flat: bool,
}

impl<'s> Node<'s> {
    fn child(&self, name: &str) -> Self {
        Self { path: names::join(&self.path, name), text: None, ..*self }
    }

    fn said(&self) -> Option<Found<'s>> {
        match &self.text {
            Some(text) => Some(Found { text: text.clone().into(), origin: Origin::Default }),
            None => self.view.find(&self.path),
        }
    }

    fn exists(&self) -> bool {
        self.said().is_some() || !self.view.under(&self.path).is_empty()
    }

    fn problem(&self, what: impl Into<String>) -> Mistake {
        let origin = self.said().map_or(Origin::Default, |found| found.origin);
        Mistake(Mistaken::Placed(Box::new(Problem::new(origin, &self.path, what))))
    }

    /// The text here, placeholders resolved.
    fn text(&self) -> Result<String, Mistake> {
        let found = self.said().ok_or_else(|| self.problem("is not set, or is no single value"))?;
        match placeholder::resolve(&found.text, self.sources) {
            Ok(resolved) => Ok(resolved.text),
            Err(unresolved) => Err(self.problem(unresolved.what())),
        }
    }

    /// The elements of the list here.
    fn elements(&self) -> Result<Vec<Self>, Mistake> {
        let list = Self {
            view: self.view.strongest(&self.path),
            path: self.path.clone(),
            text: self.text.clone(),
            ..*self
        };
        if list.said().is_some() {
            let of_text = |text| Self { path: self.path.clone(), text: Some(text), ..*self };
            return Ok(split_list(&list.text()?).into_iter().map(of_text).collect());
        }
        Ok((0..).map(|index| list.child(&format!("[{index}]"))).take_while(Self::exists).collect())
    }

    fn visit<'de, V: Visitor<'de>>(&self, value: Result<V::Value, Mistake>) -> Result<V::Value, Mistake> {
        value.map_err(|Mistake(mistaken)| match mistaken {
            Mistaken::Words(what) => self.problem(what),
            placed @ Mistaken::Placed(_) => Mistake(placed),
        })
    }

    fn number<T: std::str::FromStr>(&self) -> Result<T, Mistake> {
        let text = self.text()?;
        let plain = match i32::read(&text, Notation::Spring) {
            Ok(number) => number.to_string(),
            Err(_) => text.trim().to_owned(),
        };
        plain
            .parse()
            .map_err(|_| self.problem(format!("is no number of the type {}", std::any::type_name::<T>())))
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident $type:ty),*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
            let number = self.number::<$type>()?;
            self.visit::<V>(visitor.$visit(number))
        }
    )*};
}

impl<'de> Deserializer<'de> for Node<'_> {
    type Error = Mistake;

    numbers! {
        deserialize_i8 visit_i8 i8, deserialize_i16 visit_i16 i16, deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64, deserialize_i128 visit_i128 i128, deserialize_u8 visit_u8 u8,
        deserialize_u16 visit_u16 u16, deserialize_u32 visit_u32 u32, deserialize_u64 visit_u64 u64,
        deserialize_u128 visit_u128 u128, deserialize_f32 visit_f32 f32, deserialize_f64 visit_f64 f64,
        deserialize_char visit_char char
    }

    /// For types that take what comes: a text where there is one, else a list, else a map.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        if self.said().is_some() {
            return self.deserialize_string(visitor);
        }
        match self.child("[0]").exists() {
            true => self.deserialize_seq(visitor),
            false => self.deserialize_map(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        let value = bool::read(&self.text()?, Notation::Spring).map_err(|what| self.problem(what))?;
        self.visit::<V>(visitor.visit_bool(value))
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        self.deserialize_string(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        let text = self.text()?;
        self.visit::<V>(visitor.visit_string(text))
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        self.deserialize_string(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        self.deserialize_byte_buf(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        let text = self.text()?;
        self.visit::<V>(visitor.visit_byte_buf(text.into_bytes()))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        let blank = self.said().is_some_and(|found| found.text.is_empty());
        match self.exists() && !blank {
            true => visitor.visit_some(self),
            false => visitor.visit_none(),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        let elements = self.elements()?.into_iter();
        visitor.visit_seq(Elements(elements))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Mistake> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        let children = self.view.children(&self.path);
        if children.is_empty() && self.said().is_some_and(|found| !found.text.is_empty()) {
            return Err(self.problem("is one value, where keys belong"));
        }
        let names: Vec<String> = match self.flat {
            true => self.view.names_under(&self.path),
            false => children.into_iter().map(|child| child.name).collect(),
        };
        let entries: Vec<_> = names
            .into_iter()
            .map(|name| {
                let quoted = name.contains('.') || name.parse::<usize>().is_ok();
                let child = if quoted { self.child(&format!("[{name}]")) } else { self.child(&name) };
                (name, child)
            })
            .collect();
        visitor.visit_map(Entries { rest: entries.into_iter(), value: None })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        let entries: Vec<_> = fields
            .iter()
            .map(|field| ((*field).to_owned(), self.child(&kebab(field))))
            .filter(|(_, child)| child.exists())
            .collect();
        let value = visitor.visit_map(Entries { rest: entries.into_iter(), value: None });
        self.visit::<V>(value)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        let text = self.text()?;
        let variant =
            super::value::word(&text, Notation::Spring, variants).map_err(|what| self.problem(what))?;
        visitor.visit_enum(Variant(variant))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        visitor.visit_unit()
    }
}

/// `maxSize` and `max_size` as `max-size`.
fn kebab(field: &str) -> String {
    let mut name = String::new();
    for c in field.chars() {
        match c {
            '_' => name.push('-'),
            c if c.is_uppercase() && !name.is_empty() => {
                name.push('-');
                name.extend(c.to_lowercase());
            }
            c => name.extend(c.to_lowercase()),
        }
    }
    name
}

struct Elements<'s>(std::vec::IntoIter<Node<'s>>);

impl<'de> SeqAccess<'de> for Elements<'_> {
    type Error = Mistake;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Mistake> {
        self.0.next().map(|node| seed.deserialize(node)).transpose()
    }
}

struct Entries<'s> {
    rest: std::vec::IntoIter<(String, Node<'s>)>,
    value: Option<Node<'s>>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Mistake;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Mistake> {
        let Some((name, node)) = self.rest.next() else { return Ok(None) };
        self.value = Some(node);
        seed.deserialize(StrDeserializer::new(&name)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Mistake> {
        match self.value.take() {
            Some(node) => seed.deserialize(node),
            None => Err(de::Error::custom("a value was asked for before its key")),
        }
    }
}

struct Variant(&'static str);

impl<'de> EnumAccess<'de> for Variant {
    type Error = Mistake;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Mistake> {
        seed.deserialize(StrDeserializer::new(self.0)).map(|variant| (variant, self))
    }
}

impl<'de> VariantAccess<'de> for Variant {
    type Error = Mistake;

    fn unit_variant(self) -> Result<(), Mistake> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _: T) -> Result<T::Value, Mistake> {
        Err(de::Error::custom("a variant with content cannot be written as a word"))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Mistake> {
        Err(de::Error::custom("a variant with content cannot be written as a word"))
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], _: V) -> Result<V::Value, Mistake> {
        Err(de::Error::custom("a variant with content cannot be written as a word"))
    }
}
