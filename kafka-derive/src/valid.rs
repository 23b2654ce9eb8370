//! Settings and function together: a listener that can be registered, or everything that is wrong with them.

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::{FnArg, GenericParam, LitStr, Path, ReturnType, Safety, Signature, Type, parse_quote};

use crate::ast::{Argument, Function, Mark};
use crate::attr::Setting;
use crate::settings::Settings;

/// A listener that can be registered.
pub(crate) struct Listener {
    /// Where the runtime crate is.
    pub(crate) runtime: Path,
    pub(crate) settings: Settings,
    /// In the order of the function's own; exactly one is the payload.
    pub(crate) arguments: Vec<(Argument, Source)>,
}

/// What an argument is made from.
pub(crate) enum Source {
    Payload,
    Header(LitStr),
    /// By its type.
    Extracted,
}

/// Checks everything. The marks are taken off the function's arguments, whatever is wrong.
pub(crate) fn check(
    settings: &[Setting],
    function: &mut Function,
    mut mistakes: Vec<syn::Error>,
) -> Result<Listener, Vec<syn::Error>> {
    let mut settings = Settings::read(settings, &mut mistakes);
    check_signature(&function.signature, &mut mistakes);
    let arguments = function.take_arguments(&mut mistakes);
    let arguments = sources(arguments, &settings, &function.signature, &mut mistakes);
    check_combinations(&settings, &mut mistakes);
    let runtime = settings.runtime.take().unwrap_or_else(|| parse_quote!(::kafka_runtime));
    match mistakes.is_empty() {
        true => Ok(Listener { runtime, settings, arguments }),
        false => Err(mistakes),
    }
}

/// What no listener can be, whatever its attribute says.
fn check_signature(signature: &Signature, mistakes: &mut Vec<syn::Error>) {
    let mut wrong =
        |place: &dyn quote::ToTokens, what: &str| mistakes.push(syn::Error::new_spanned(place, what));
    if signature.asyncness.is_none() {
        wrong(&signature.fn_token, "a listener is an async function: write `async fn`");
    }
    if let Safety::Unsafe(token) = &signature.safety {
        wrong(token, "a listener is called by the runtime: it cannot be `unsafe`");
    }
    if let Some(abi) = &signature.abi {
        wrong(abi, "a listener is a plain Rust function: it has no ABI");
    }
    for parameter in &signature.generics.params {
        if !matches!(parameter, GenericParam::Lifetime(_)) {
            wrong(parameter, "a listener cannot be generic: it is registered once, for one type of payload");
        }
    }
    for input in &signature.inputs {
        match input {
            FnArg::Receiver(_) => {
                wrong(
                    input,
                    "a listener is a free function: take what it needs as `State<T>` instead of `self`",
                );
            }
            FnArg::Typed(typed) if has_impl(typed.ty.to_token_stream()) => {
                wrong(
                    &typed.ty,
                    "the arguments of a listener have types of their own: `impl Trait` is generic",
                );
            }
            FnArg::Typed(_) => {}
        }
    }
    match &signature.output {
        ReturnType::Type(_, ty) if matches!(**ty, Type::Never(_)) || has_impl(ty.to_token_stream()) => {
            wrong(ty, "a listener returns nothing or `Result<(), E>`, and with `send_to` what is sent");
        }
        _ => {}
    }
}

fn has_impl(tokens: TokenStream) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident == "impl",
        TokenTree::Group(group) => has_impl(group.stream()),
        _ => false,
    })
}

/// Finds the payload, and what the other arguments are made from.
fn sources(
    arguments: Vec<Argument>,
    settings: &Settings,
    signature: &Signature,
    mistakes: &mut Vec<syn::Error>,
) -> Vec<(Argument, Source)> {
    let marked = arguments.iter().position(|argument| matches!(argument.mark, Mark::Payload(_)));
    let payload = match (marked, arguments.first().map(|first| &first.mark)) {
        (Some(marked), _) => Some(marked),
        (None, Some(Mark::None)) => Some(0),
        (None, Some(_)) => {
            let what = "the first argument is the payload, unless another is marked `#[payload]`";
            mistakes.push(syn::Error::new_spanned(&signature.inputs[0], what));
            None
        }
        (None, None) if signature.inputs.is_empty() => {
            let what = "a listener has at least one argument, the payload";
            mistakes.push(syn::Error::new_spanned(&signature.ident, what));
            None
        }
        (None, None) => None,
    };
    for (index, argument) in arguments.iter().enumerate() {
        match &argument.mark {
            Mark::Payload(span) if Some(index) != payload => {
                mistakes.push(syn::Error::new(
                    *span,
                    "a listener has one payload, and another is marked already",
                ));
            }
            Mark::Header(name) if settings.batch => {
                let what = "headers belong to single records: take the payload as `Batch<T>`, whose `items()` have them";
                mistakes.push(syn::Error::new(name.span(), what));
            }
            _ => {}
        }
    }
    let source = |(index, mut argument): (usize, Argument)| {
        let source = match std::mem::replace(&mut argument.mark, Mark::None) {
            _ if Some(index) == payload => Source::Payload,
            Mark::Header(name) => Source::Header(name),
            _ => Source::Extracted,
        };
        (argument, source)
    };
    arguments.into_iter().enumerate().map(source).collect()
}

/// What each setting allows, but not together.
fn check_combinations(settings: &Settings, mistakes: &mut Vec<syn::Error>) {
    if let (true, Some((every, span))) = (settings.batch, &settings.commit_every)
        && every.each.as_deref() == Some("record")
    {
        let what =
            "a batch listener settles batches: `commit_every = \"record\"` cannot be kept, `\"batch\"` can";
        mistakes.push(syn::Error::new(*span, what));
    }
    if let (Some(at), Some((ack, _))) = (settings.sends_on_at(), &settings.ack)
        && ack.starts_with("manual")
    {
        let what = format!(
            "what is sent acknowledges the record when it has arrived: `ack = \"{ack}\"` and this exclude each other"
        );
        mistakes.push(syn::Error::new(at, what));
    }
    transactional(settings, mistakes);
    let Some((ordering, span)) = &settings.ordering else { return };
    let wrong = match (ordering.as_str(), &settings.ack) {
        ("key" | "none", _) if settings.batch => "a batch listener takes records in the partition's order",
        ("key" | "none", Some((ack, _))) if ack.starts_with("manual") => {
            "records that are acknowledged by hand go out in the partition's order, and need not wait for each other"
        }
        _ => return,
    };
    mistakes.push(syn::Error::new(*span, format!("{wrong}: `ordering = \"{ordering}\"` cannot be kept")));
}

/// What does not go with transactions.
fn transactional(settings: &Settings, mistakes: &mut Vec<syn::Error>) {
    if settings.transactional.as_ref().is_none_or(|(said, _)| said != "true") {
        return;
    }
    let mut refuse = |span, what: &str| mistakes.push(syn::Error::new(span, what));
    if let Some((ack, span)) = &settings.ack
        && ack.starts_with("manual")
    {
        refuse(*span, "in transactions the handler's return says that a record is done: leave `ack` out");
    }
    if let Some((commit, span)) = &settings.commit
        && commit == "async"
    {
        refuse(*span, "a transaction's end is waited for: leave `commit = \"async\"` out");
    }
    if let Some((ordering, span)) = &settings.ordering
        && matches!(ordering.as_str(), "key" | "none")
    {
        refuse(
            *span,
            "the records of a transaction are handled in the partition's order: leave `ordering` out",
        );
    }
    if let (Some(_), Some((_, span))) = (&settings.retry_topics, &settings.transactional) {
        refuse(
            *span,
            "transactions and retry topics exclude each other: use `retry(..)`, whose tries are in place",
        );
    }
}
