//! The annotated item: a function, its body unread, its arguments told apart by the attributes on them.

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::ext::IdentExt as _;
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned as _;
use syn::{Attribute, FnArg, GenericParam, LitStr, Meta, Pat, PatType, Signature, Type, Visibility};

/// The function. What is emitted of it is what was written, but for the attributes that mark arguments.
pub(crate) struct Function {
    pub(crate) attributes: Vec<Attribute>,
    visibility: Visibility,
    pub(crate) signature: Signature,
    body: TokenStream,
}

/// An argument of the function.
pub(crate) struct Argument {
    /// Its name, or its pattern, for messages.
    pub(crate) name: String,
    /// Its type, with lifetimes as they can stand in a body.
    pub(crate) ty: TokenStream,
    /// Where errors about it point to.
    pub(crate) span: Span,
    pub(crate) mark: Mark,
    /// For `&[T]`: `T`.
    pub(crate) slice_of: Option<TokenStream>,
}

/// How an argument was marked.
pub(crate) enum Mark {
    None,
    /// `#[payload]`
    Payload(Span),
    /// `#[header("name")]`
    Header(LitStr),
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let attributes = input.call(Attribute::parse_outer)?;
        let visibility = input.parse()?;
        let signature = input.parse()?;
        let body = input.parse()?;
        Ok(Self { attributes, visibility, signature, body })
    }
}

impl ToTokens for Function {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let Self { attributes, visibility, signature, body } = self;
        tokens.extend(quote!(#(#attributes)* #visibility #signature #body));
    }
}

impl Function {
    /// The function's name, without `r#`.
    pub(crate) fn name(&self) -> String {
        self.signature.ident.unraw().to_string()
    }

    /// Takes the marks off the arguments, and tells the arguments apart by them. Mistakes in marks are noted.
    pub(crate) fn take_arguments(&mut self, mistakes: &mut Vec<syn::Error>) -> Vec<Argument> {
        let lifetimes = self.lifetimes();
        let mut arguments = Vec::new();
        for input in &mut self.signature.inputs {
            let FnArg::Typed(input) = input else { continue };
            let mark = take_mark(&mut input.attrs, mistakes);
            let slice_of = match &*input.ty {
                Type::Reference(reference) => match &*reference.elem {
                    Type::Slice(slice) => Some(in_body(slice.elem.to_token_stream(), &lifetimes)),
                    _ => None,
                },
                _ => None,
            };
            arguments.push(Argument {
                name: name_of(input),
                ty: in_body(input.ty.to_token_stream(), &lifetimes),
                span: input.ty.span(),
                mark,
                slice_of,
            });
        }
        arguments
    }

    /// The type that the function returns, as it can stand in a body, and where it stands.
    pub(crate) fn returned(&self) -> (TokenStream, Span) {
        match &self.signature.output {
            syn::ReturnType::Default => (quote!(()), self.signature.ident.span()),
            syn::ReturnType::Type(_, ty) => (in_body(ty.to_token_stream(), &self.lifetimes()), ty.span()),
        }
    }

    /// The conditions under which the function exists: they hold for its registration too.
    pub(crate) fn conditions(&self) -> Vec<TokenStream> {
        self.attributes.iter().filter_map(condition).collect()
    }

    fn lifetimes(&self) -> Vec<String> {
        let params = self.signature.generics.params.iter();
        params
            .filter_map(|param| match param {
                GenericParam::Lifetime(param) => Some(param.lifetime.ident.to_string()),
                GenericParam::Type(_) | GenericParam::Const(_) => None,
            })
            .collect()
    }
}

fn name_of(input: &PatType) -> String {
    match &*input.pat {
        Pat::Ident(pattern) => pattern.ident.unraw().to_string(),
        pattern => pattern.to_token_stream().to_string(),
    }
}

/// Takes `#[payload]` and `#[header(..)]` off an argument.
fn take_mark(attributes: &mut Vec<Attribute>, mistakes: &mut Vec<syn::Error>) -> Mark {
    let mut mark = Mark::None;
    attributes.retain(|attribute| {
        let path = attribute.path();
        let new = if path.is_ident("payload") {
            attribute.meta.require_path_only().map(|path| Mark::Payload(path.span()))
        } else if path.is_ident("header") {
            header_name(attribute)
        } else {
            if path.is_ident("cfg") || path.is_ident("cfg_attr") {
                let cure = "an argument of a listener cannot be conditional: make two functions of it";
                mistakes.push(syn::Error::new_spanned(attribute, cure));
            }
            return true;
        };
        match (new, &mark) {
            (Err(mistake), _) => mistakes.push(mistake),
            (Ok(new), Mark::None) => mark = new,
            (Ok(_), _) => mistakes.push(syn::Error::new_spanned(attribute, "the argument is marked already")),
        }
        false
    });
    mark
}

fn header_name(attribute: &Attribute) -> syn::Result<Mark> {
    let usage = "write the header's name: `#[header(\"trace-id\")]`";
    let Meta::List(list) = &attribute.meta else { return Err(syn::Error::new_spanned(attribute, usage)) };
    let name: LitStr = list.parse_args().map_err(|_| syn::Error::new_spanned(attribute, usage))?;
    match crate::text::header(&name.value()) {
        Ok(()) => Ok(Mark::Header(name)),
        Err(wrong) => Err(syn::Error::new(name.span(), wrong)),
    }
}

/// `tokens` with the function's own lifetimes as `'_`: in a body they are inferred.
fn in_body(tokens: TokenStream, lifetimes: &[String]) -> TokenStream {
    let mut after_tick = false;
    let replace = |token: TokenTree| match token {
        TokenTree::Group(group) => {
            let mut inner = proc_macro2::Group::new(group.delimiter(), in_body(group.stream(), lifetimes));
            inner.set_span(group.span());
            TokenTree::Group(inner)
        }
        TokenTree::Ident(ident) if after_tick => {
            after_tick = false;
            match lifetimes.contains(&ident.to_string()) {
                true => TokenTree::Ident(proc_macro2::Ident::new("_", ident.span())),
                false => TokenTree::Ident(ident),
            }
        }
        token => {
            after_tick = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == '\'');
            token
        }
    };
    tokens.into_iter().map(replace).collect()
}

/// `#[cfg(..)]`, or what of a `#[cfg_attr(..)]` is one.
fn condition(attribute: &Attribute) -> Option<TokenStream> {
    if attribute.path().is_ident("cfg") {
        return Some(attribute.to_token_stream());
    }
    if !attribute.path().is_ident("cfg_attr") {
        return None;
    }
    let Meta::List(list) = &attribute.meta else { return None };
    let mut parts = crate::attr::split_at_commas(list.tokens.clone()).into_iter();
    let predicate = parts.next()?;
    let conditions: Vec<TokenStream> = parts
        .filter(|part| part.clone().into_iter().next().is_some_and(|token| token.to_string() == "cfg"))
        .collect();
    (!conditions.is_empty()).then(|| quote!(#[cfg_attr(#predicate, #(#conditions),*)]))
}
