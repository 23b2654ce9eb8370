//! A listener -> the function as written, a hidden handler, a registered constant.
//!
//! ```text
//! async fn bill(..) { .. }                      as written
//! const _: () = {
//!     struct __Listener;
//!     impl Handler for __Listener {
//!         prepare   looks state up, one argument after the other
//!         call      makes the arguments, calls the function, classifies what it returned
//!     }
//!     inventory::submit! { ListenerDescriptor { .. } }
//! };
//! ```
//!
//! The function's types stand only in bodies, where their lifetimes are inferred. What a type may be is decided by
//! traits of the runtime, never by how it is written: aliases work. All names that are made up begin with `__`.

mod attributes;

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::Type;
use syn::spanned::Spanned as _;

use self::attributes::attributes;
use crate::ast::{Argument, Function};
use crate::attr;
use crate::settings::{RetrySettings, Settings, TopicIs};
use crate::valid::{self, Listener, Source};

/// `Result<Option<Vec<Option<Outgoing<T>>>>, E>` has as many around its value.
const LAYERS: usize = 5;

/// The whole of it.
pub(crate) fn kafka_listener(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let mut function = match syn::parse2::<Function>(item.clone()) {
        Ok(function) => function,
        Err(_) => {
            let mistake = syn::Error::new(Span::call_site(), "`#[kafka_listener]` goes on an async function");
            return [item, mistake.into_compile_error()].into_iter().collect();
        }
    };
    let (settings, mistakes) = attr::parse(attribute);
    match valid::check(&settings, &mut function, mistakes) {
        Ok(listener) => {
            let registration = registration(&listener, &function);
            quote!(#function #registration)
        }
        // The function stays, so that what calls it shows no errors of its own.
        Err(mistakes) => {
            let mistakes = mistakes.iter().map(syn::Error::to_compile_error);
            quote!(#function #(#mistakes)*)
        }
    }
}

fn registration(listener: &Listener, function: &Function) -> TokenStream {
    let Listener { runtime, settings, .. } = listener;
    let conditions = function.conditions();
    let name = function.name();
    let id = settings.id.as_ref().unwrap_or(&name);
    let names = Names::of(settings);
    let handler = handler(listener, function, &names);
    let bind = &names.bind;
    let batch = settings.batch;
    let attributes = attributes(settings);
    let types: Vec<_> = extracted(listener).map(|argument| &argument.ty).collect();
    let ack_agreement = ack_agreement(settings);
    let error_type = error_type(function);
    // With a name, so that it can also stand in an `impl`, where it fails for one reason: that the function is not free.
    let constant = format_ident!("__KAFKA_LISTENER_{}", name.to_uppercase());
    quote! {
        #(#conditions)*
        const #constant: () = {
            use #runtime::__private as __kafka;

            struct __Listener;

            const __LOCATION: __kafka::SourceLocation = __kafka::SourceLocation {
                file: ::core::file!(),
                line: ::core::line!(),
                column: ::core::column!(),
            };

            const __TAKES_ACK: bool = {
                #[allow(unused_imports)]
                use __kafka::NotAck as _;
                false #(|| __kafka::AckOr::<#types>::IS_ACK)*
            };

            const __TAKES_TX: bool = {
                #[allow(unused_imports)]
                use __kafka::NotTx as _;
                false #(|| __kafka::TxOr::<#types>::IS_TX)*
            };

            #ack_agreement

            #handler

            __kafka::inventory::submit! {
                __kafka::ListenerDescriptor {
                    id: #id,
                    function: ::core::concat!(::core::module_path!(), "::", #name),
                    location: __LOCATION,
                    attributes: #attributes,
                    batch: #batch,
                    takes_ack: __TAKES_ACK,
                    takes_tx: __TAKES_TX,
                    error_type: #error_type,
                    bind: __kafka::Bound::#bind::<__Listener>,
                }
            }
        };
    }
}

/// The name of the type of error that the function returns, asked at the start: a constant has none yet.
fn error_type(function: &Function) -> TokenStream {
    let (returned, span) = function.returned();
    quote_spanned! {at(span)=>
        || {
            #[allow(unused_imports)]
            use __kafka::NoErrorType as _;
            __kafka::ErrorTypeOf::<#returned>::new().__kafka_error_type()
        }
    }
}

/// Where the attribute says how records are acknowledged, that and the arguments must agree. What an argument is
/// only the compiler knows, so it is asked.
fn ack_agreement(settings: &Settings) -> TokenStream {
    if let Some(span) = settings.sends_on_at() {
        let what =
            "what is sent acknowledges the record: a listener with `send_to` or `reply` takes no `Ack`";
        return quote_spanned!(at(span)=> const _: () = ::core::assert!(!__TAKES_ACK, #what););
    }
    let Some((ack, span)) = &settings.ack else { return TokenStream::new() };
    let (holds, otherwise) = match ack.as_str() {
        "manual" | "manual-immediate" => {
            (quote!(__TAKES_ACK), "a listener that acknowledges by hand needs an argument of the type `Ack`")
        }
        "auto" => (
            quote!(!__TAKES_ACK),
            "with `ack = \"auto\"` the handler's return acknowledges: an argument of the type `Ack` needs \
             `ack = \"manual\"` or `ack = \"manual-immediate\"`",
        ),
        // A placeholder: checked at the start.
        _ => return TokenStream::new(),
    };
    quote_spanned!(at(*span)=> const _: () = ::core::assert!(#holds, #otherwise);)
}

/// The names that differ between record and batch listeners.
struct Names {
    handler: TokenStream,
    delivery: TokenStream,
    failure: TokenStream,
    prepare: TokenStream,
    bind: TokenStream,
    outcome: TokenStream,
}

impl Names {
    fn of(settings: &Settings) -> Self {
        match settings.batch {
            false => Self {
                handler: quote!(Handler),
                delivery: quote!(Delivery),
                failure: quote!(Failure),
                prepare: quote!(PrepareArgument),
                bind: quote!(single),
                outcome: quote!(outcome),
            },
            true => Self {
                handler: quote!(BatchHandler),
                delivery: quote!(BatchDelivery),
                failure: quote!(BatchFailure),
                prepare: quote!(PrepareBatchArgument),
                bind: quote!(batch),
                outcome: quote!(batch_outcome),
            },
        }
    }
}

fn handler(listener: &Listener, function: &Function, names: &Names) -> TokenStream {
    let Names { handler, delivery, failure, .. } = names;
    let prepare = prepare(listener, function, names);
    let arguments = made_arguments(listener);
    let typed = typed(listener);
    let outcome = outcome(listener, function, names);
    let keeps = listener.settings.filter.as_ref().map(|path| {
        quote_spanned! {at(path.span())=>
            fn keeps(__delivery: &__kafka::Delivery<'_>) -> bool {
                let __filter: fn(&__kafka::Delivery<'_>) -> bool = #path;
                __filter(__delivery)
            }
        }
    });
    // A record's is borrowed; what a batch has of its own is a reference already.
    let borrowed = (!listener.settings.batch).then(|| quote!(&'__r));
    let deprecated = function.attributes.iter().any(|attribute| attribute.path().is_ident("deprecated"));
    let allowed = deprecated.then(|| quote!(#[allow(deprecated)]));
    // A future that cannot be sent is an error at the function's name.
    let future = quote_spanned! {at(function.signature.ident.span())=>
        impl ::core::future::Future<Output = ::core::result::Result<(), __kafka::#failure>>
            + ::core::marker::Send
            + '__r
    };
    quote! {
        #allowed
        impl __kafka::#handler for __Listener {
            #prepare

            #keeps

            fn call<'__r>(
                __prepared: &'__r __kafka::Prepared,
                __delivery: #borrowed __kafka::#delivery<'__r>,
            ) -> #future {
                async move {
                    #[allow(unused_imports)]
                    use __kafka::{JsonForm as _, NotABatch as _, NotALetter as _, OptionalForm as _};
                    #typed
                    #arguments
                    #outcome
                }
            }
        }
    }
}

fn prepare(listener: &Listener, function: &Function, names: &Names) -> TokenStream {
    let id = listener.settings.id.clone().unwrap_or_else(|| function.name());
    let by_type = &names.prepare;
    let arguments = extracted(listener).map(|Argument { name, ty, .. }| {
        quote!(.argument(#name, |__preparation| (&__kafka::SlotOf::<#ty>::new()).__kafka_prepare(__preparation)))
    });
    quote! {
        fn prepare(__preparation: &mut __kafka::Preparation<'_>) -> __kafka::Prepared {
            #[allow(unused_imports)]
            use __kafka::{#by_type as _, PrepareNothing as _};
            __kafka::Preparing::new(__preparation, __kafka::Site { listener: #id, location: __LOCATION })
                #(#arguments)*
                .finish()
        }
    }
}

/// The arguments that are made by their type.
fn extracted(listener: &Listener) -> impl Iterator<Item = &Argument> {
    let made = listener.arguments.iter().filter(|(_, source)| matches!(source, Source::Extracted));
    made.map(|(argument, _)| argument)
}

fn variable(index: usize) -> Ident {
    format_ident!("__argument_{index}")
}

/// `let __argument_0 = ..;` for each: the payload first, since a batch's others are made from what of it was decoded.
fn made_arguments(listener: &Listener) -> TokenStream {
    let mut payload = TokenStream::new();
    let mut others = TokenStream::new();
    let mut slot = 0usize;
    for (index, (argument, source)) in listener.arguments.iter().enumerate() {
        let variable = variable(index);
        match source {
            Source::Payload => payload = made_payload(argument, &variable, listener.settings.batch),
            Source::Header(name) => {
                let Argument { ty, span, .. } = argument;
                others.extend(
                    quote_spanned!(at(*span)=> let #variable = __kafka::header::<#ty>(__delivery, #name)?;),
                );
            }
            Source::Extracted => {
                others.extend(made_by_type(argument, &variable, slot, listener.settings.batch));
                slot += 1;
            }
        }
    }
    quote!(#payload #others)
}

/// Where topics have a type, the payload has to fit.
fn typed(listener: &Listener) -> TokenStream {
    let payload = listener.arguments.iter().find(|(_, source)| matches!(source, Source::Payload));
    let Some((Argument { ty, span, slice_of, .. }, _)) = payload else { return TokenStream::new() };
    let fits = listener.settings.typed_topics().map(|topic| match (listener.settings.batch, slice_of) {
        (false, _) => quote_spanned!(at(*span)=> __kafka::reads::<#ty, _>(#topic);),
        (true, None) => quote_spanned!(at(*span)=> __kafka::reads_batch::<#ty, _>(#topic);),
        (true, Some(item)) => quote_spanned!(at(*span)=> __kafka::reads::<#item, _>(#topic);),
    });
    fits.collect()
}

/// A topic's name, as a constant.
fn topic_name(topic: &TopicIs) -> TokenStream {
    match topic {
        TopicIs::Text(text) => quote!(#text),
        TopicIs::Typed(path) => quote_spanned!(at(path.span())=> __kafka::topic_name(#path)),
    }
}

fn made_payload(
    Argument { ty, span, slice_of, .. }: &Argument,
    variable: &Ident,
    batch: bool,
) -> TokenStream {
    match (batch, slice_of) {
        (false, _) => quote_spanned! {at(*span)=>
            let __letter = __kafka::LetterOf::<#ty>::new();
            let __form = (&(&__letter).__kafka_payload()).__kafka_form();
            let #variable = __kafka::payload::<#ty, _>((&__letter).__kafka_wrap(__form), __delivery)?;
        },
        (true, None) => quote_spanned! {at(*span)=>
            let (#variable, __settling) = __kafka::batch::<#ty, _>(
                (&(&__kafka::BatchOf::<#ty>::new()).__kafka_item()).__kafka_form(),
                __delivery,
            )?;
        },
        (true, Some(item)) => quote_spanned! {at(*span)=>
            let (#variable, __settling) = __kafka::batch::<::std::vec::Vec<#item>, _>(
                (&__kafka::FormOf::<#item>::new()).__kafka_form(),
                __delivery,
            )?;
        },
    }
}

fn made_by_type(
    Argument { ty, span, .. }: &Argument,
    variable: &Ident,
    slot: usize,
    batch: bool,
) -> TokenStream {
    match batch {
        false => quote_spanned! {at(*span)=>
            let #variable = __kafka::argument::<#ty>(__delivery, __prepared.slot(#slot))?;
        },
        true => quote_spanned! {at(*span)=>
            let #variable = __kafka::batch_argument::<#ty>(__settling.handed(), __prepared.slot(#slot))
                .map_err(|__failure| __settling.rejected(__failure))?;
        },
    }
}

/// Calls the function, and classifies what it returned.
fn outcome(listener: &Listener, function: &Function, names: &Names) -> TokenStream {
    let Names { outcome, .. } = names;
    let settling = listener.settings.batch.then(|| quote!(, __settling));
    let called = &function.signature.ident;
    let arguments = listener.arguments.iter().enumerate().map(|(index, (argument, source))| {
        let variable = variable(index);
        match (source, &argument.slice_of) {
            (Source::Payload, Some(_)) if listener.settings.batch => quote!(&#variable),
            _ => quote!(#variable),
        }
    });
    let (returned, span) = function.returned();
    let (root, sorts) = sorts(&listener.settings);
    if listener.settings.sends_on() {
        let call = quote!(#called(#(#arguments),*).await);
        return forwarded(&listener.settings, &returned, span, &call, &(root, sorts));
    }
    quote_spanned! {at(span)=>
        let __returned: #returned = #called(#(#arguments),*).await;
        #root
        __kafka::#outcome::<#returned>(__returned #settling)
            .map_err(|__failure| __kafka::Sortable::sorted(__failure, __root, #sorts))
    }
}

/// Calls the function, and encodes what it returned for whoever sends it on. Its type is asked for its layers, and what is
/// left for its form.
fn forwarded(
    settings: &Settings,
    returned: &TokenStream,
    span: Span,
    call: &TokenStream,
    (root, sorts): &(TokenStream, TokenStream),
) -> TokenStream {
    let (forward, context) = match settings.batch {
        false => (quote!(forward), quote!(__delivery)),
        true => (quote!(forward_batch), quote!(__settling)),
    };
    let to = match &settings.send_to {
        Some((TopicIs::Typed(path), _)) => quote!(#path),
        _ => quote!(""),
    };
    let layer = |number: usize| format_ident!("__layer_{number}");
    let peel = (1..=LAYERS).map(|number| {
        let (outer, inner) = (layer(number - 1), layer(number));
        quote!(let #inner = (&#outer).__kafka_item();)
    });
    let innermost = layer(LAYERS);
    let wrap = (0..LAYERS).rev().map(|number| {
        let layer = layer(number);
        quote!(let __form = (&#layer).__kafka_wrap(__form);)
    });
    quote_spanned! {at(span)=>
        let __returned: #returned = #call;
        #root
        #[allow(unused_imports)]
        use __kafka::{Layer as _, NoLayer as _, SentAsJson as _};
        let __layer_0 = __kafka::ReturnedOf::<#returned>::new();
        #(#peel)*
        let __form = (&(&#innermost).__kafka_value()).__kafka_form();
        #(#wrap)*
        __kafka::#forward::<#returned, _, _>(__returned, __form, #to, #context)
            .map_err(|__failure| __kafka::Sortable::sorted(__failure, __root, #sorts))
    }
}

/// What is asked of an error while it still has its type, and the types that it is sorted by.
fn sorts(settings: &Settings) -> (TokenStream, TokenStream) {
    let RetrySettings { only, never, .. } = &settings.retry;
    let is = |types: &[Type]| {
        let tests = types.iter().map(|ty| quote!(__error.downcast_ref::<#ty>().is_some()));
        quote!([#(#tests),*].iter().position(|__is| *__is))
    };
    let (is_only, is_never) = (is(only), is(never));
    let root = quote! {
        #[allow(unused_imports)]
        use __kafka::{ErrorOf as _, InnerError as _, NoDowncast as _, NoErrorOf as _};
        let __root = match (&__returned).__kafka_error() {
            ::core::option::Option::None => __kafka::Root::default(),
            ::core::option::Option::Some(__error) => {
                let __error = __error.__kafka_inner();
                __kafka::Root {
                    fatal: __error.downcast_ref::<__kafka::Fatal>().is_some(),
                    only: #is_only,
                    never: #is_never,
                }
            }
        };
    };
    let [only, never] = [only, never].map(|types| {
        let types = types.iter().map(|ty| quote_spanned!(at(ty.span())=> __kafka::Sort::of::<#ty>()));
        quote!(&[#(#types),*])
    });
    (root, quote!(const { __kafka::Sorts { only: #only, never: #never } }))
}

/// A place in the user's code for errors to point to; to lints it stays generated code.
fn at(place: Span) -> Span {
    Span::call_site().located_at(place)
}
