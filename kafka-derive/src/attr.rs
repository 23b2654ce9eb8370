//! The grammar of the attribute: `name`, `name = literal`, `name = [literals]`, `name(arguments)`, separated by commas.
//!
//! What stands between two commas is read by itself, so that one mistake does not hide the next.

use proc_macro2::{Span, TokenStream, TokenTree};
use syn::ext::IdentExt as _;
use syn::parse::{Parse, ParseStream, Parser as _};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned as _;
use syn::{Ident, Lit, Path, Token, Type, bracketed, parenthesized, token};

/// One setting as it stands in the attribute.
pub(crate) struct Setting {
    pub(crate) name: Ident,
    pub(crate) value: Value,
}

/// What follows a setting's name.
pub(crate) enum Value {
    /// Nothing.
    None,
    /// `= literal`
    Literal(Lit),
    /// `= [literal, ..]`, or paths where a setting names typed topics.
    List(Vec<Element>, Span),
    /// `= path`, where a setting names a function or a typed topic.
    Path(Path),
    /// `(argument, ..)`
    Arguments(Vec<Argument>, Span),
}

/// What stands in a list.
pub(crate) enum Element {
    Literal(Lit),
    Path(Path),
}

/// Settings whose value may be a path: of a function, of a typed topic.
const PATHS: [&str; 4] = ["filter", "topic", "send_to", "dead_letter"];
/// Settings whose value may be a list of paths.
const LISTS_OF_PATHS: [&str; 1] = ["topics"];
/// Arguments whose value may be a path.
const ARGUMENTS_OF_PATHS: [&str; 1] = ["topic"];

/// What stands in the parentheses of a setting.
pub(crate) enum Argument {
    /// `literal`
    Positional(Lit),
    /// `name = literal` or `"name" = literal`
    Named(Name, Lit),
    /// `name = path`, where an argument names a typed topic.
    Path(Name, Path),
    /// `name = [Type, ..]`
    Types(Name, Vec<Type>, Span),
    /// `(argument, ..)`
    Nested(Vec<Argument>, Span),
}

/// The name of an argument, and whether it was in quotes.
pub(crate) struct Name {
    pub(crate) text: String,
    pub(crate) quoted: bool,
    pub(crate) span: Span,
}

/// The settings that can be read, and a mistake for each part that cannot.
pub(crate) fn parse(tokens: TokenStream) -> (Vec<Setting>, Vec<syn::Error>) {
    let mut settings = Vec::new();
    let mut mistakes = Vec::new();
    for part in split_at_commas(tokens) {
        match Setting::parse.parse2(part) {
            Ok(setting) => settings.push(setting),
            Err(mistake) => mistakes.push(mistake),
        }
    }
    (settings, mistakes)
}

pub(crate) fn split_at_commas(tokens: TokenStream) -> Vec<TokenStream> {
    let mut parts = vec![TokenStream::new()];
    for token in tokens {
        match &token {
            TokenTree::Punct(punct) if punct.as_char() == ',' => parts.push(TokenStream::new()),
            _ => parts.last_mut().into_iter().for_each(|part| part.extend([token.clone()])),
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

impl Parse for Setting {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let name = Ident::parse_any(input).map_err(|error| {
            syn::Error::new(error.span(), "expected a setting such as `topic = \"orders\"`")
        })?;
        if input.peek(Token![-]) {
            return Err(dashed(&name, input));
        }
        let value = if input.is_empty() {
            Value::None
        } else if input.peek(Token![=]) {
            input.parse::<Token![=]>()?;
            assigned(&name, input)?
        } else if input.peek(token::Paren) {
            let (arguments, span) = nested(input)?;
            Value::Arguments(arguments, span)
        } else {
            return Err(input.error(format!("expected `=`, `(` or `,` after `{name}`")));
        };
        match input.is_empty() {
            true => Ok(Self { name, value }),
            false => Err(input.error("expected `,`")),
        }
    }
}

/// The settings are spelled with dashes in the configuration, and with underscores here.
fn dashed(name: &Ident, input: ParseStream<'_>) -> syn::Error {
    let rest: TokenStream = input.parse().unwrap_or_default();
    let is_name = |token: &TokenTree| match token {
        TokenTree::Ident(_) => true,
        TokenTree::Punct(punct) => punct.as_char() == '-',
        _ => false,
    };
    let rest: String = rest.into_iter().take_while(is_name).map(|token| token.to_string()).collect();
    let name_here = format!("{name}{rest}").replace('-', "_");
    syn::Error::new(name.span(), format!("names are written with `_` here: `{name_here}`"))
}

fn assigned(name: &Ident, input: ParseStream<'_>) -> syn::Result<Value> {
    if input.is_empty() {
        return Err(syn::Error::new(name.span(), format!("`{name} =` has no value")));
    }
    let mut may_be_path = PATHS.iter().chain(&LISTS_OF_PATHS);
    if may_be_path.any(|setting| name == setting) && !input.peek(Lit) && !input.peek(token::Bracket) {
        return input.parse().map(Value::Path);
    }
    if !input.peek(token::Bracket) {
        return literal(input).map(Value::Literal);
    }
    let content;
    let brackets = bracketed!(content in input);
    let element = match LISTS_OF_PATHS.iter().any(|setting| name == setting) {
        true => literal_or_path,
        false => |input: ParseStream<'_>| literal(input).map(Element::Literal),
    };
    let list = Punctuated::<Element, Token![,]>::parse_terminated_with(&content, element)?;
    Ok(Value::List(list.into_iter().collect(), brackets.span.join()))
}

/// The attribute becomes a constant that the configuration is merged with: it can only hold what is written there.
fn literal(input: ParseStream<'_>) -> syn::Result<Lit> {
    if input.peek(Lit) {
        return input.parse();
    }
    let found = input.parse::<TokenTree>()?;
    Err(syn::Error::new(
        found.span(),
        "expected a literal; a value that is known only at run time comes from the configuration: `\"${key:default}\"`",
    ))
}

fn literal_or_path(input: ParseStream<'_>) -> syn::Result<Element> {
    match input.peek(Ident::peek_any) || input.peek(Token![::]) {
        true if !input.peek(Lit) => input.parse().map(Element::Path),
        _ => literal(input).map(Element::Literal),
    }
}

fn nested(input: ParseStream<'_>) -> syn::Result<(Vec<Argument>, Span)> {
    let content;
    let parentheses = parenthesized!(content in input);
    let arguments = Punctuated::<Argument, Token![,]>::parse_terminated(&content)?;
    Ok((arguments.into_iter().collect(), parentheses.span.join()))
}

impl Parse for Argument {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        if input.peek(token::Paren) {
            return nested(input).map(|(arguments, span)| Self::Nested(arguments, span));
        }
        if input.peek2(Token![=]) {
            let name = Name::parse(input)?;
            input.parse::<Token![=]>()?;
            if input.peek(token::Bracket) {
                let content;
                let brackets = bracketed!(content in input);
                let types = Punctuated::<Type, Token![,]>::parse_terminated(&content)?;
                return Ok(Self::Types(name, types.into_iter().collect(), brackets.span.join()));
            }
            if !name.quoted
                && ARGUMENTS_OF_PATHS.contains(&&*name.text)
                && let Element::Path(path) = input.fork().call(literal_or_path)?
            {
                input.parse::<Path>()?;
                return Ok(Self::Path(name, path));
            }
            return literal(input).map(|value| Self::Named(name, value));
        }
        literal(input).map(Self::Positional)
    }
}

impl Parse for Name {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        if input.peek(syn::LitStr) {
            let name: syn::LitStr = input.parse()?;
            return Ok(Self { text: name.value(), quoted: true, span: name.span() });
        }
        let name = Ident::parse_any(input)?;
        Ok(Self { text: name.unraw().to_string(), quoted: false, span: name.span() })
    }
}

impl Setting {
    /// Where the value stands; the name if there is none.
    pub(crate) fn span(&self) -> Span {
        match &self.value {
            Value::None => self.name.span(),
            Value::Literal(literal) => literal.span(),
            Value::Path(path) => path.span(),
            Value::List(_, span) | Value::Arguments(_, span) => *span,
        }
    }
}

impl Argument {
    pub(crate) fn span(&self) -> Span {
        match self {
            Self::Positional(literal) => literal.span(),
            Self::Named(name, _) | Self::Path(name, _) | Self::Types(name, ..) => name.span,
            Self::Nested(_, span) => *span,
        }
    }
}
