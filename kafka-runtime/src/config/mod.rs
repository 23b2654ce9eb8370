//! Configuration: Spring's `application.yml`, read as Spring Boot reads it, every value with its source, every
//! mistake reported at once.
//!
//! ```text
//! load         files, profiles, environment, arguments ──▶ sources in order
//!   yaml         text ──▶ flat names with line and column          scalar  YAML 1.1's plain scalars
//!   profile      which are active, expressions                     names   relaxed spellings
//! source       the search through them        placeholder  ${..}, over everything merged
//! schema       every key there is: what it takes, what it does
//! check        the file against that table    suggest  the nearest known name
//! bind         texts ──▶ typed settings, each noted with its origin
//! explain      what was noted, for people and programs
//! tree         the application's own keys, as its own types
//! ```

mod bind;
mod builder;
mod check;
mod classes;
mod environment;
mod explain;
mod instant;
mod load;
mod names;
mod origin;
mod placeholder;
mod problems;
mod profile;
mod random;
mod reference;
mod scalar;
mod schema;
mod secrets;
mod settings;
mod source;
mod suggest;
mod tree;
mod value;
mod yaml;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use kafka_client::config::{ClientConfig, OwnPartitioner};
use serde::de::DeserializeOwned;

use crate::listener::ListenerDescriptor;
use bind::Binding;
use profile::Profiles;
use source::{Document, Property, Source, Sources};

pub use builder::ConfigBuilder;
pub use explain::Explanation;
pub use origin::Origin;
pub use problems::{ConfigErrors, Problem};
pub use reference::reference;
pub use settings::*;

/// The configuration of an application: everything that its files, environment and arguments say.
///
/// Values are read when they are asked for, placeholders resolved then, over everything merged.
pub struct Config {
    sources: Sources,
    /// Documents whose profiles are not active: their names are checked all the same.
    inactive: Vec<Document>,
    profiles: Profiles,
    files: Vec<Arc<str>>,
    notices: Vec<Problem>,
    partitioners: Partitioners,
}

/// The application's own partitioners, by the name that `partitioner.class` has for them.
pub(crate) type Partitioners = BTreeMap<String, OwnPartitioner>;

/// Names only: values can be secrets.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("files", &self.files)
            .field("profiles", &self.profiles.names())
            .finish_non_exhaustive()
    }
}

impl Config {
    /// Reads the file at `path`, the files of the active profiles next to it, the environment and the arguments of
    /// this process.
    ///
    /// # Errors
    /// As [`ConfigBuilder::build`].
    pub fn load(path: impl Into<PathBuf>) -> Result<Self, ConfigErrors> {
        Self::builder().file(path).load()
    }

    /// Reads `text` as `application.yml`, and nothing else.
    ///
    /// # Errors
    /// As [`ConfigBuilder::build`].
    pub fn from_yaml(text: &str) -> Result<Self, ConfigErrors> {
        Self::builder().yaml("application.yml", text).build()
    }

    /// Says where everything comes from, one by one.
    #[must_use]
    pub fn builder() -> ConfigBuilder {
        ConfigBuilder::default()
    }

    /// Sets a key, stronger than every source. (A profile cannot be activated any more.)
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<String>) {
        let property =
            Property { path: key.into(), text: value.into(), origin: Origin::Code, key_origin: Origin::Code };
        match self.sources.list.first_mut() {
            Some(Source::Document(document)) => document.push(property),
            _ => self.sources.list.insert(0, Source::Document(Document::new(vec![property]))),
        }
    }

    /// Gives `partitioner.class` one more name.
    pub(crate) fn add_partitioner(&mut self, name: String, partitioner: OwnPartitioner) {
        self.partitioners.insert(name, partitioner);
    }

    /// The active profiles, the strongest last.
    #[must_use]
    pub fn profiles(&self) -> &[String] {
        self.profiles.names()
    }

    /// The value of `key`, in whatever spelling, placeholders resolved. A list is its elements, not a value.
    ///
    /// # Errors
    /// A placeholder that resolves to nothing.
    pub fn get(&self, key: &str) -> Result<Option<String>, ConfigErrors> {
        let Some(found) = placeholder::lookup(&self.sources, key).or_else(|| self.sources.find(key)) else {
            return Ok(None);
        };
        let resolved = placeholder::resolve(&found.text, &self.sources);
        let resolved = resolved.map_err(|unresolved| Problem::new(found.origin, key, unresolved.what()))?;
        Ok(Some(resolved.text))
    }

    /// What is under `key` as a `T`: a number, a list, a map, a struct; `None` when nothing is. Durations and sizes are
    /// texts to serde.
    ///
    /// # Errors
    /// A value that is no `T`; a placeholder that resolves to nothing.
    pub fn get_as<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, ConfigErrors> {
        Ok(tree::read(&self.sources, key)?)
    }

    /// `text` with its placeholders resolved.
    ///
    /// # Errors
    /// A placeholder that resolves to nothing.
    pub fn resolve(&self, text: &str) -> Result<String, ConfigErrors> {
        let resolved = placeholder::resolve(text, &self.sources);
        let resolved = resolved.map_err(|unresolved| Problem::new(Origin::Code, "", unresolved.what()))?;
        Ok(resolved.text)
    }

    /// How the cluster is reached, without what consumer, producer or admin say of their own.
    ///
    /// # Errors
    /// Values that make no sense.
    pub fn client(&self) -> Result<ClientConfig, ConfigErrors> {
        self.bound(bind::client)
    }

    /// What the template runs by.
    ///
    /// # Errors
    /// Values that make no sense.
    pub fn template(&self) -> Result<TemplateSettings, ConfigErrors> {
        self.bound(bind::template)
    }

    /// What the admin client runs by.
    ///
    /// # Errors
    /// Values that make no sense.
    pub fn admin(&self) -> Result<AdminSettings, ConfigErrors> {
        self.bound(bind::admin)
    }

    /// The topics that are created or extended at start-up.
    ///
    /// # Errors
    /// One without a name; values that make no sense.
    pub fn topics(&self) -> Result<Vec<DeclaredTopic>, ConfigErrors> {
        self.bound(bind::topics)
    }

    /// What one listener runs by.
    ///
    /// # Errors
    /// Values that make no sense.
    pub fn listener(&self, listener: &ListenerDescriptor) -> Result<ListenerSettings, ConfigErrors> {
        self.bound(|binding| bind::listener(binding, &listener.into()))
    }

    /// Checks everything, for a program that runs all of its listeners; see [`check_only`](Self::check_only).
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn check(&self, linked: &[&ListenerDescriptor]) -> Result<Vec<ListenerSettings>, ConfigErrors> {
        self.check_only(linked, linked)
    }

    /// Checks everything: names against the table, values, combinations, placeholders, the file's listeners against
    /// those that are `linked` into the program. Remarks (keys without effect) go to the log. Gives what the `chosen`
    /// listeners run by, in their order.
    ///
    /// # Errors
    /// Everything that is wrong, together; nothing may start then.
    pub fn check_only(
        &self,
        linked: &[&ListenerDescriptor],
        chosen: &[&ListenerDescriptor],
    ) -> Result<Vec<ListenerSettings>, ConfigErrors> {
        let (settings, binding) = self.everything(Some(linked), chosen);
        for notice in binding.problems.notices() {
            tracing::warn!("configuration: {notice}");
        }
        let Binding { problems, sections, .. } = binding;
        let settings = problems.or(settings)?;
        let wanted = self.get_as::<bool>("kafka-runtime.listener.log-container-config")?;
        let wanted = wanted.or(self.get_as("spring.kafka.listener.log-container-config")?);
        if wanted == Some(true) {
            let explained = self.explanation(sections, Vec::new(), Vec::new());
            tracing::info!("configuration in force:\n{explained}");
        }
        Ok(settings)
    }

    /// Remarks about what has no effect, or another than it says.
    #[must_use]
    pub fn notices(&self, linked: &[&ListenerDescriptor]) -> Vec<Problem> {
        self.everything(Some(linked), linked).1.problems.notices().to_vec()
    }

    /// Every value in force with where it came from, secrets masked; for the listeners given. For none (a program that
    /// does not have them): what holds for every listener, and what the file says of each by name.
    #[must_use]
    pub fn explain(&self, listeners: &[&ListenerDescriptor]) -> Explanation {
        let linked = (!listeners.is_empty()).then_some(listeners);
        let (_, binding) = self.everything(linked, listeners);
        let Binding { problems, sections, .. } = binding;
        let notices = problems.notices().to_vec();
        let problems = match problems.into_result() {
            Ok(()) => Vec::new(),
            Err(errors) => errors.problems().to_vec(),
        };
        let named = linked.is_none().then(|| explain::named_listeners(&self.sources));
        self.explanation(sections.into_iter().chain(named.into_iter().flatten()).collect(), notices, problems)
    }

    fn explanation(
        &self,
        mut sections: Vec<explain::Section>,
        notices: Vec<Problem>,
        problems: Vec<Problem>,
    ) -> Explanation {
        sections.push(explain::application(&self.sources));
        Explanation {
            profiles: self.profiles.names().to_vec(),
            files: self.files.iter().map(ToString::to_string).collect(),
            sections,
            notices,
            problems,
        }
    }

    /// Nothing, or (with a name that nothing knows) everything that is wrong.
    fn refuse_unknown_names(&self, linked: Option<&[&ListenerDescriptor]>) -> Result<(), ConfigErrors> {
        if check::unknown_names(&self.sources, &self.inactive).into_result().is_ok() {
            return Ok(());
        }
        self.everything(linked, linked.unwrap_or_default()).1.problems.into_result()
    }

    /// Checks and reads all there is. `linked` is `None` where it is not known which listeners the program has.
    fn everything(
        &self,
        linked: Option<&[&ListenerDescriptor]>,
        chosen: &[&ListenerDescriptor],
    ) -> (Vec<ListenerSettings>, Binding<'_>) {
        let mut binding = Binding::new(&self.sources, &self.partitioners);
        self.notices.iter().for_each(|notice| binding.problems.notice(notice.clone()));
        binding.problems.extend(check::unknown_names(&self.sources, &self.inactive));
        bind::template(&mut binding);
        bind::admin(&mut binding);
        if chosen.is_empty() {
            bind::every_listener(&mut binding);
        }
        let chosen: Vec<bind::Declared> = chosen.iter().map(|&listener| listener.into()).collect();
        let mut settings: Vec<_> = chosen.iter().map(|one| bind::listener(&mut binding, one)).collect();
        bind::across(&mut binding, &chosen, &mut settings);
        binding.problems.extend(check::effects(&self.sources));
        if let Some(linked) = linked {
            binding.problems.extend(check::listeners(&self.sources, linked));
        }
        (settings, binding)
    }

    fn bound<T>(&self, read: impl FnOnce(&mut Binding<'_>) -> T) -> Result<T, ConfigErrors> {
        let mut binding = Binding::new(&self.sources, &self.partitioners);
        let value = read(&mut binding);
        binding.problems.or(value)
    }
}
