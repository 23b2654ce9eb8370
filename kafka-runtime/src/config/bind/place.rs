//! Where a setting can be said, the strongest place first.

use std::borrow::Cow;

use super::super::names;
use super::super::schema::{self, Scope};
use super::super::value::Notation;
use crate::listener::{Attributes, ListenerDescriptor, SourceLocation};

/// A listener as it is declared, without its handler.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Declared {
    pub id: &'static str,
    pub location: SourceLocation,
    pub attributes: Attributes,
    pub batch: bool,
    pub takes_ack: bool,
    pub takes_tx: bool,
    pub error_type: Option<&'static str>,
}

impl From<&ListenerDescriptor> for Declared {
    fn from(listener: &ListenerDescriptor) -> Self {
        let ListenerDescriptor { id, location, attributes, batch, takes_ack, takes_tx, error_type, .. } =
            *listener;
        Self { id, location, attributes, batch, takes_ack, takes_tx, error_type: error_type() }
    }
}

/// A place where a setting can be said.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// A key below the prefixes; `spring`: below both.
    Key { path: String, spring: bool, notation: Notation },
    /// What the attribute says.
    Attribute {
        location: SourceLocation,
        argument: Cow<'static, str>,
        text: &'static str,
        notation: Notation,
    },
}

impl Place {
    /// A key of ours.
    pub(super) fn ours(path: impl Into<String>) -> Self {
        Self::Key { path: path.into(), spring: false, notation: Notation::Spring }
    }

    /// A key of Spring's, which may stand under `kafka-runtime` as well.
    pub(super) fn spring(path: impl Into<String>) -> Self {
        Self::Key { path: path.into(), spring: true, notation: Notation::Spring }
    }

    /// A text of the attribute.
    pub(super) fn attribute(
        listener: &Declared,
        argument: &'static str,
        text: Option<&'static str>,
    ) -> Option<Self> {
        let location = listener.location;
        text.map(|text| Self::Attribute {
            location,
            argument: argument.into(),
            text,
            notation: Notation::Spring,
        })
    }
}

/// Whose settings of Kafka's are read.
#[derive(Clone, Copy)]
pub(super) struct Client<'d> {
    pub scope: Scope,
    pub listener: Option<&'d Declared>,
}

impl Client<'_> {
    /// Where Kafka's setting `name` can be said, the strongest first.
    pub(super) fn places(&self, name: &'static str) -> Vec<Place> {
        let mut places = Vec::new();
        let native = |path: String, spring: bool| Place::Key { path, spring, notation: Notation::Kafka };
        if let Some(listener) = self.listener {
            places.push(native(format!("{}.properties.{name}", of_listener(listener)), false));
            for entry in schema::typed("listeners.*", name) {
                let path = entry.path.replacen("listeners.*", &of_listener(listener), 1);
                places.push(Place::Key { path, spring: false, notation: entry.key.shape.notation() });
            }
            if name == "group.id" {
                places.extend(Place::attribute(listener, "group", listener.attributes.group));
            }
            let properties = listener.attributes.properties.iter().filter(|(known, _)| *known == name);
            places.extend(properties.map(|(_, text)| Place::Attribute {
                location: listener.location,
                argument: format!("properties({name})").into(),
                text,
                notation: Notation::Kafka,
            }));
        }
        let own = (self.scope != Scope::Common).then_some(self.scope);
        for section in own.into_iter().chain([Scope::Common]).map(Scope::section) {
            places.push(native(names::join(section, &format!("properties.{name}")), true));
            for entry in schema::typed(section, name) {
                let notation = entry.key.shape.notation();
                places.push(Place::Key { path: entry.path.clone(), spring: true, notation });
            }
        }
        places
    }
}

/// The path of a listener's own keys, below the prefix.
pub(super) fn of_listener(listener: &Declared) -> String {
    match listener.id.contains('.') {
        true => format!("listeners[{}]", listener.id),
        false => format!("listeners.{}", listener.id),
    }
}
