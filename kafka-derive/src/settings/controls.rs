//! What holds a listener back: `rate_limit`, `circuit_breaker(..)`, `pause_when`, `drain_timeout`, `on_revoke`, idleness.

use syn::Lit;

use super::{Kind, all, literal, single, usage};
use crate::attr::{Argument, Name, Setting, Value};
use crate::text::{self, Check};

/// See the module.
#[derive(Default)]
pub(crate) struct ControlSettings {
    pub(crate) rate_limit: Option<String>,
    pub(crate) circuit_failures: Option<String>,
    pub(crate) circuit_pause: Option<String>,
    pub(crate) circuit_max_pause: Option<String>,
    pub(crate) pause_when: Option<String>,
    pub(crate) pause_interval: Option<String>,
    pub(crate) drain_timeout: Option<String>,
    pub(crate) on_revoke: Option<String>,
    pub(crate) idle_event_interval: Option<String>,
    pub(crate) idle_partition_event_interval: Option<String>,
}

impl ControlSettings {
    /// Whether `name` is one of these; if so, it is read.
    pub(super) fn set(&mut self, name: &str, setting: &Setting) -> Option<syn::Result<()>> {
        let (place, kind, check) = match name {
            "rate_limit" => (&mut self.rate_limit, Kind::Text, text::rate as Check),
            "drain_timeout" => (&mut self.drain_timeout, Kind::Number, text::duration as Check),
            "on_revoke" => (&mut self.on_revoke, Kind::Text, text::on_revoke as Check),
            "idle_event_interval" => (&mut self.idle_event_interval, Kind::Number, text::duration as Check),
            "idle_partition_event_interval" => {
                (&mut self.idle_partition_event_interval, Kind::Number, text::duration as Check)
            }
            "circuit_breaker" => return Some(self.circuit_breaker(setting)),
            "pause_when" => return Some(self.pause_when(setting)),
            _ => return None,
        };
        Some(single(setting, kind, check).map(|text| *place = Some(text)))
    }

    /// `circuit_breaker(failures = 5, pause = "10s", max_pause = "1m")`
    fn circuit_breaker(&mut self, setting: &Setting) -> syn::Result<()> {
        let Value::Arguments(arguments, _) = &setting.value else { return Err(usage(setting)) };
        all(arguments.iter().map(|argument| match argument {
            Argument::Named(name, value) => self.of_circuit(name, value),
            _ => Err(usage(setting)),
        }))?;
        match self.circuit_failures {
            Some(_) => Ok(()),
            None => Err(syn::Error::new(setting.span(), "say after how many `failures` it opens")),
        }
    }

    /// `pause_when = "bank"` or `pause_when(check = "bank", interval = "5s")`
    fn pause_when(&mut self, setting: &Setting) -> syn::Result<()> {
        let Value::Arguments(arguments, _) = &setting.value else {
            self.pause_when = Some(single(setting, Kind::Text, text::not_empty)?);
            return Ok(());
        };
        all(arguments.iter().map(|argument| match argument {
            Argument::Named(name, value) => self.of_pause(name, value),
            _ => Err(usage(setting)),
        }))?;
        match self.pause_when {
            Some(_) => Ok(()),
            None => Err(syn::Error::new(setting.span(), "say which `check` it pauses for")),
        }
    }

    fn of_pause(&mut self, name: &Name, value: &Lit) -> syn::Result<()> {
        let (place, kind, check) = match name.text.as_str() {
            "check" => (&mut self.pause_when, Kind::Text, text::not_empty as Check),
            "interval" => (&mut self.pause_interval, Kind::Number, text::duration as Check),
            _ => {
                let expected = "expected `check = \"bank\"`, `interval = \"5s\"`";
                return Err(syn::Error::new(name.span, expected));
            }
        };
        match place.replace(literal(value, kind, check)?) {
            None => Ok(()),
            Some(_) => Err(syn::Error::new(name.span, format!("`{}` is given twice", name.text))),
        }
    }

    fn of_circuit(&mut self, name: &Name, value: &Lit) -> syn::Result<()> {
        let (place, check) = match name.text.as_str() {
            "failures" => (&mut self.circuit_failures, text::count as Check),
            "pause" => (&mut self.circuit_pause, text::duration as Check),
            "max_pause" => (&mut self.circuit_max_pause, text::duration as Check),
            _ => {
                let expected = "expected `failures = 5`, `pause = \"10s\"`, `max_pause = \"1m\"`";
                return Err(syn::Error::new(name.span, expected));
            }
        };
        match place.replace(literal(value, Kind::Number, check)?) {
            None => Ok(()),
            Some(_) => Err(syn::Error::new(name.span, format!("`{}` is given twice", name.text))),
        }
    }
}
