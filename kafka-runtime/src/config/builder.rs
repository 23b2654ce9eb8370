//! Where a configuration's text, environment and arguments come from.

use std::path::PathBuf;
use std::sync::Arc;

use kafka_client::seams::Rng;

use super::Config;
use super::load::Loader;
use super::problems::ConfigErrors;
use crate::listener::ListenerDescriptor;

/// Makes a [`Config`]: where its text, environment and arguments come from.
///
/// ```
/// use kafka_runtime::config::Config;
/// let config = Config::builder()
///     .yaml("application.yml", "server: {port: 8080}")
///     .yaml("application-prod.yml", "server: {port: 80}")
///     .environment([("SPRING_PROFILES_ACTIVE", "prod")])
///     .build()?;
/// assert_eq!(config.get_as::<u16>("server.port")?, Some(80));
/// # Ok::<(), kafka_runtime::config::ConfigErrors>(())
/// ```
#[derive(Default)]
pub struct ConfigBuilder {
    pub(super) files: Vec<Given>,
    pub(super) environment: Option<Vec<(String, String)>>,
    pub(super) arguments: Option<Vec<String>>,
    pub(super) profiles: Vec<String>,
    pub(super) set: Vec<(String, String)>,
    pub(super) rng: Option<Arc<Rng>>,
    pub(super) linked: Option<Vec<&'static ListenerDescriptor>>,
}

impl std::fmt::Debug for ConfigBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConfigBuilder").field("profiles", &self.profiles).finish_non_exhaustive()
    }
}

/// What was given as a file.
pub(super) enum Given {
    Path(PathBuf),
    Text { name: String, text: String },
}

impl ConfigBuilder {
    /// Reads `path`, and next to it `<name>-<profile>.yml` (or `.yaml`) of each active profile, where there is one.
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.files.push(Given::Path(path.into()));
        self
    }

    /// The content of a file called `name`, without a file. `application-prod.yml` belongs to the profile `prod`
    /// when `application.yml` was given before it.
    #[must_use]
    pub fn yaml(mut self, name: impl Into<String>, text: impl Into<String>) -> Self {
        self.files.push(Given::Text { name: name.into(), text: text.into() });
        self
    }

    /// Takes these environment variables **(the process's for [`load`](Self::load), none for
    /// [`build`](Self::build))**.
    #[must_use]
    pub fn environment<K: Into<String>, V: Into<String>>(
        mut self,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        self.environment =
            Some(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect());
        self
    }

    /// Takes these arguments, of which `--key=value` counts **(the process's for [`load`](Self::load), none for
    /// [`build`](Self::build))**.
    #[must_use]
    pub fn arguments<A: Into<String>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments = Some(arguments.into_iter().map(Into::into).collect());
        self
    }

    /// Activates these profiles, whatever `spring.profiles.active` says elsewhere.
    #[must_use]
    pub fn profiles<P: Into<String>>(mut self, profiles: impl IntoIterator<Item = P>) -> Self {
        self.profiles.extend(profiles.into_iter().map(Into::into));
        self
    }

    /// Sets a key, stronger than any other source.
    #[must_use]
    pub fn set(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.set.push((key.into(), value.into()));
        self
    }

    /// The chance behind `${random.uuid}` **(different in every process)**.
    #[must_use]
    pub fn rng(mut self, rng: Arc<Rng>) -> Self {
        self.rng = Some(rng);
        self
    }

    /// The listeners of this program, so that a mistake that is found at once is reported together with theirs.
    #[must_use]
    pub fn listeners(mut self, linked: impl IntoIterator<Item = &'static ListenerDescriptor>) -> Self {
        self.linked = Some(linked.into_iter().collect());
        self
    }

    /// Reads everything, with the environment and the arguments of this process where none were given.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn load(mut self) -> Result<Config, ConfigErrors> {
        if self.environment.is_none() {
            // A variable that is not Unicode cannot be a value of ours.
            let variables = std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
            self.environment = Some(variables.collect());
        }
        if self.arguments.is_none() {
            self.arguments = Some(
                std::env::args_os().skip(1).filter_map(|argument| argument.into_string().ok()).collect(),
            );
        }
        self.build()
    }

    /// Reads everything that was given, and nothing of the process.
    ///
    /// # Errors
    /// Files that cannot be read or are not YAML; profiles that make no sense; unknown keys of ours or Spring's. With
    /// an unknown key, everything else that is wrong is reported with it. What depends on the listeners alone is
    /// [`Config::check`]'s.
    pub fn build(self) -> Result<Config, ConfigErrors> {
        let linked = self.linked.clone();
        let config = Loader::new(self).load()?;
        config.refuse_unknown_names(linked.as_deref())?;
        Ok(config)
    }
}
