//! From files, environment and arguments to sources in order.
//!
//! ```text
//! base file ──documents without a condition──▶ which profiles are active
//!                                              │
//! base file's documents that hold, then application-<profile>.yml of each profile, in order: the last one wins
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kafka_client::seams::Rng;

use super::Config;
use super::builder::{ConfigBuilder, Given};
use super::environment::Environment;
use super::names;
use super::origin::Origin;
use super::placeholder;
use super::problems::{ConfigErrors, Problem, Problems};
use super::profile::{self, Profiles};
use super::source::{Document, Found, Property, Source, Sources};
use super::value::split_list;
use super::yaml;

const ON_PROFILE: &str = "spring.config.activate.on-profile";

/// A document of a file, and on which profiles it depends.
struct FileDocument {
    properties: Vec<Property>,
    /// Expressions of which one must hold; `None`: it counts always.
    conditions: Option<Vec<(String, Origin)>>,
}

pub(super) struct Loader {
    fixed: Vec<Source>,
    files: Vec<Given>,
    profiles: Vec<String>,
    names: Vec<Arc<str>>,
    problems: Problems,
}

impl Loader {
    pub(super) fn new(builder: ConfigBuilder) -> Self {
        let mut problems = Problems::default();
        let variables = builder.environment.unwrap_or_default();
        let arguments = arguments(&builder.arguments.unwrap_or_default());
        let json = variables
            .iter()
            .find(|(name, _)| name == "SPRING_APPLICATION_JSON")
            .map(|(_, text)| text.clone())
            .or_else(|| arguments.find_text("spring.application.json"));
        let json = json.map(|text| json_properties(&text)).transpose().unwrap_or_else(|problem| {
            problems.error(problem);
            None
        });
        let set = builder.set.into_iter().map(|(path, text)| property(path, text, Origin::Code));
        let fixed = vec![
            Source::Document(Document::new(set.collect())),
            Source::Document(arguments),
            Source::Document(Document::new(json.unwrap_or_default())),
            Source::Environment(Environment::new(variables)),
            Source::Random(builder.rng.unwrap_or_else(|| Arc::new(Rng::from_entropy()))),
        ];
        Self { fixed, files: builder.files, profiles: builder.profiles, names: Vec::new(), problems }
    }

    pub(super) fn load(mut self) -> Result<Config, ConfigErrors> {
        let given = std::mem::take(&mut self.files);
        let (base, of_profiles): (Vec<_>, Vec<_>) =
            (0..given.len()).partition(|&at| profile_of(&given, at).is_none());
        let mut documents = Vec::new();
        for at in &base {
            match given.get(*at) {
                Some(Given::Path(path)) => documents.extend(self.read(path)),
                Some(Given::Text { name, text }) => documents.extend(self.parse(name, text)),
                None => {}
            }
        }
        let profiles = self.active_profiles(&mut documents);
        for name in profiles.names() {
            for at in &base {
                if let Some(Given::Path(path)) = given.get(*at) {
                    let found = profile_files(path, name).into_iter().find(|path| path.is_file());
                    let more = found.map(|path| self.read(&path)).unwrap_or_default();
                    self.refuse_profiles_in(&more);
                    documents.extend(more);
                }
            }
            for at in of_profiles.iter().filter(|&&at| profile_of(&given, at).as_ref() == Some(name)) {
                if let Some(Given::Text { name, text }) = given.get(*at) {
                    let more = self.parse(name, text);
                    self.refuse_profiles_in(&more);
                    documents.extend(more);
                }
            }
        }
        self.finish(documents, profiles)
    }

    /// Sorts the documents into those that hold and those that do not.
    fn finish(mut self, documents: Vec<FileDocument>, profiles: Profiles) -> Result<Config, ConfigErrors> {
        let (mut active, mut inactive) = (Vec::new(), Vec::new());
        for document in documents {
            if self.counts(&document, &profiles) {
                self.look_for_unsupported(&document.properties);
                active.push(Source::Document(Document::new(document.properties)));
            } else {
                inactive.push(Document::new(document.properties));
            }
        }
        let mut list = self.fixed;
        list.extend(active.into_iter().rev());
        let notices = self.problems.notices().to_vec();
        let (files, partitioners) = (self.names, BTreeMap::new());
        let config = Config { sources: Sources { list }, inactive, profiles, files, notices, partitioners };
        self.problems.or(config)
    }

    fn counts(&mut self, document: &FileDocument, profiles: &Profiles) -> bool {
        let Some(conditions) = &document.conditions else { return true };
        let mut counts = false;
        for (expression, origin) in conditions {
            match profile::holds(expression, profiles) {
                Ok(holds) => counts |= holds,
                Err(what) => {
                    let what = format!("is no profile expression: {what}");
                    self.problems.error(Problem::new(origin.clone(), ON_PROFILE, what));
                }
            }
        }
        counts
    }

    fn read(&mut self, path: &Path) -> Vec<FileDocument> {
        let name = path.display().to_string();
        match std::fs::read(path).map(String::from_utf8) {
            Ok(Ok(text)) => self.parse(&name, &text),
            Ok(Err(_)) => self.whole_file(&name, "is not UTF-8 text"),
            Err(error) => self.whole_file(&name, format!("cannot be read: {error}")),
        }
    }

    fn whole_file(&mut self, name: &str, what: impl Into<String>) -> Vec<FileDocument> {
        self.problems.error(Problem::new(Origin::WholeFile(name.into()), "", what));
        Vec::new()
    }

    fn parse(&mut self, name: &str, text: &str) -> Vec<FileDocument> {
        let name: Arc<str> = name.into();
        self.names.push(Arc::clone(&name));
        match yaml::documents(&name, text) {
            Ok(documents) => documents
                .into_iter()
                .map(|properties| FileDocument { conditions: conditions(&properties), properties })
                .collect(),
            Err(problems) => {
                problems.into_iter().for_each(|problem| self.problems.error(problem));
                Vec::new()
            }
        }
    }

    /// What the sources without a condition say about profiles.
    fn active_profiles(&mut self, documents: &mut [FileDocument]) -> Profiles {
        let mut list = std::mem::take(&mut self.fixed);
        let fixed = list.len();
        let mut unconditional = Vec::new();
        for document in documents.iter() {
            if document.conditions.is_none() {
                unconditional.push(Source::Document(Document::new(document.properties.clone())));
            } else {
                self.refuse_profiles_in(std::slice::from_ref(document));
            }
        }
        list.extend(unconditional.into_iter().rev());
        let mut sources = Sources { list };
        let active = match self.profiles.is_empty() {
            true => self.texts(&sources, "spring.profiles.active"),
            false => self.profiles.clone(),
        };
        let included = self.texts(&sources, "spring.profiles.include");
        let mut fallback = self.texts(&sources, "spring.profiles.default");
        if fallback.is_empty() {
            fallback.push("default".to_owned());
        }
        let groups: BTreeMap<String, Vec<String>> = sources
            .children("spring.profiles.group")
            .into_iter()
            .map(|child| {
                let members = self.texts(&sources, &names::join("spring.profiles.group", &child.name));
                (child.name, members)
            })
            .collect();
        sources.list.truncate(fixed);
        self.fixed = sources.list;
        Profiles::new(&included, &active, &fallback, &groups)
    }

    /// A list of texts, placeholders resolved.
    fn texts(&mut self, sources: &Sources, path: &str) -> Vec<String> {
        let mut texts = Vec::new();
        for Found { text, origin } in sources.list(path).unwrap_or_default() {
            match placeholder::resolve(&text, sources) {
                Ok(resolved) => texts.extend(split_list(&resolved.text)),
                Err(unresolved) => self.problems.error(Problem::new(origin, path, unresolved.what())),
            }
        }
        texts
    }

    /// A document that depends on profiles cannot activate profiles.
    fn refuse_profiles_in(&mut self, documents: &[FileDocument]) {
        for property in documents.iter().flat_map(|document| &document.properties) {
            let name = names::canonical(&property.path);
            let refused = ["active", "include", "default", "group"].iter().any(|key| {
                let path = format!("spring.profiles.{key}");
                name == path || names::below(&name, &path).is_some()
            });
            if refused {
                let what = "cannot stand where it depends on a profile itself";
                self.problems.error(Problem::new(property.key_origin.clone(), &property.path, what));
            }
        }
    }

    /// Spring's ways to load more, which would silently be missing.
    fn look_for_unsupported(&mut self, properties: &[Property]) {
        for property in properties {
            let name = names::canonical(&property.path);
            let problem = |what: &str| Problem::new(property.key_origin.clone(), &property.path, what);
            if name == "spring.profiles"
                || names::below(&name, "spring.profiles").is_some_and(|rest| rest.starts_with('['))
            {
                self.problems.error(problem("has no meaning any more").help(format!("write `{ON_PROFILE}`")));
            } else if name.starts_with("spring.config.import") && !property.text.is_empty() {
                match property.text.starts_with("optional:") {
                    true => self.problems.notice(problem("is not supported: nothing is imported")),
                    false => self.problems.error(problem("is not supported: what it names would be missing")),
                }
            } else if name == names::canonical("spring.config.activate.on-cloud-platform") {
                self.problems.error(problem("is not supported").help(format!("write `{ON_PROFILE}`")));
            }
        }
    }
}

/// The profile whose file the text at `at` is: its name is that of a text before it, a hyphen, and the profile.
fn profile_of(given: &[Given], at: usize) -> Option<String> {
    let Some(Given::Text { name, .. }) = given.get(at) else { return None };
    given.iter().take(at).find_map(|base| {
        let Given::Text { name: base, .. } = base else { return None };
        let (stem, extension) = base.rsplit_once('.')?;
        let (own, own_extension) = name.rsplit_once('.')?;
        let profile = own.strip_prefix(stem)?.strip_prefix('-')?;
        (extension == own_extension).then(|| profile.to_owned())
    })
}

/// Where the file of a profile can be, next to `path`.
fn profile_files(path: &Path, profile: &str) -> Vec<PathBuf> {
    let Some(stem) = path.file_stem() else { return Vec::new() };
    let own = path.extension().map(|extension| extension.to_string_lossy().into_owned());
    let extensions = own.into_iter().chain(["yml".to_owned(), "yaml".to_owned()]);
    extensions
        .map(|extension| path.with_file_name(format!("{}-{profile}.{extension}", stem.to_string_lossy())))
        .collect()
}

/// The expressions under `spring.config.activate.on-profile`, if it is there.
fn conditions(properties: &[Property]) -> Option<Vec<(String, Origin)>> {
    let wanted = names::canonical(ON_PROFILE);
    let of_condition: Vec<_> = properties
        .iter()
        .filter(|property| {
            let name = names::canonical(&property.path);
            name == wanted || names::below(&name, &wanted).is_some_and(|rest| rest.starts_with('['))
        })
        .collect();
    let expressions = of_condition.iter().flat_map(|property| {
        split_list(&property.text).into_iter().map(|expression| (expression, property.origin.clone()))
    });
    (!of_condition.is_empty()).then(|| expressions.collect())
}

fn property(path: String, text: String, origin: Origin) -> Property {
    Property { path, text, key_origin: origin.clone(), origin }
}

/// `--key=value`; a key given twice has both values, with a comma.
fn arguments(arguments: &[String]) -> Document {
    let mut values: Vec<(String, String)> = Vec::new();
    for argument in arguments {
        let Some(option) = argument.strip_prefix("--").filter(|option| !option.is_empty()) else { continue };
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        match values.iter_mut().find(|(known, _)| known == key) {
            Some((_, values)) => {
                values.push(',');
                values.push_str(value);
            }
            None => values.push((key.to_owned(), value.to_owned())),
        }
    }
    let properties = values.into_iter().map(|(key, value)| {
        let origin = Origin::Argument(key.as_str().into());
        property(key, value, origin)
    });
    Document::new(properties.collect())
}

/// The members of `SPRING_APPLICATION_JSON`, flat.
fn json_properties(text: &str) -> Result<Vec<Property>, Problem> {
    let problem = |what: String| Problem::new(Origin::Json("".into()), "", what);
    let value: serde_json::Value =
        serde_json::from_str(text).map_err(|error| problem(format!("is not JSON: {error}")))?;
    if !value.is_object() {
        return Err(problem("is not a JSON object".to_owned()));
    }
    let mut properties = Vec::new();
    flatten_json("", &value, &mut properties);
    Ok(properties)
}

/// serde_json bounds the depth.
fn flatten_json(path: &str, value: &serde_json::Value, to: &mut Vec<Property>) {
    let text = match value {
        serde_json::Value::Object(members) => {
            members.iter().for_each(|(name, value)| flatten_json(&names::join(path, name), value, to));
            return;
        }
        serde_json::Value::Array(elements) if !elements.is_empty() => {
            let elements = elements.iter().enumerate();
            elements.for_each(|(index, value)| flatten_json(&format!("{path}[{index}]"), value, to));
            return;
        }
        serde_json::Value::Array(_) | serde_json::Value::Null => String::new(),
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    to.push(property(path.to_owned(), text, Origin::Json(path.into())));
}
