//! The attribute's settings as constants of the descriptor, texts as they were written.

use proc_macro2::TokenStream;
use quote::{ToTokens as _, format_ident, quote};

use super::topic_name;
use crate::settings::{
    CommitEvery, ControlSettings, DeadLetterSettings, Partitions, RetrySettings, RetryTopicsSettings,
    Settings,
};

/// All of them.
pub(super) fn attributes(settings: &Settings) -> TokenStream {
    let Settings { topics, partitions, properties, .. } = settings;
    let topics = topics.iter().map(topic_name);
    let send_to = option(settings.send_to.as_ref().map(|(topic, _)| topic_name(topic)));
    let reply = settings.reply.is_some();
    let partitions = partitions.iter().map(|Partitions { topic, partitions, from }| {
        let from = optional(from);
        quote!(__kafka::PartitionsAttribute { topic: #topic, partitions: #partitions, from: #from })
    });
    let commit_every =
        option(settings.commit_every.as_ref().map(|(CommitEvery { each, records, time }, _)| {
            let (each, records, time) = (optional(each), optional(records), optional(time));
            quote!(__kafka::CommitEvery { each: #each, records: #records, time: #time })
        }));
    let ack = option(settings.ack.as_ref().map(|(ack, _)| quote!(#ack)));
    let retry_topics = option(settings.retry_topics.as_ref().map(retry_topics));
    let (retry, dead_letter) = (retry(&settings.retry), dead_letter(&settings.dead_letter));
    let [on_exhausted, handler_timeout] = [&settings.on_exhausted, &settings.handler_timeout].map(optional);
    let [transactional, commit] = [&settings.transactional, &settings.commit]
        .map(|said| option(said.as_ref().map(|(text, _)| quote!(#text))));
    let ordering = option(settings.ordering.as_ref().map(|(ordering, _)| quote!(#ordering)));
    let [pattern, group, concurrency, prefetch, members, commit_remember, auto_startup, client_id] = [
        &settings.pattern,
        &settings.group,
        &settings.concurrency,
        &settings.prefetch,
        &settings.members,
        &settings.commit_remember,
        &settings.auto_startup,
        &settings.client_id,
    ]
    .map(optional);
    let properties = properties.iter().map(|(name, value)| quote!((#name, #value)));
    let controls = controls(&settings.controls);
    quote! {
        __kafka::Attributes {
            topics: &[#(#topics),*],
            pattern: #pattern,
            partitions: &[#(#partitions),*],
            group: #group,
            ordering: #ordering,
            concurrency: #concurrency,
            prefetch: #prefetch,
            members: #members,
            transactional: #transactional,
            commit: #commit,
            commit_every: #commit_every,
            commit_remember: #commit_remember,
            ack: #ack,
            retry: #retry,
            on_exhausted: #on_exhausted,
            dead_letter: #dead_letter,
            send_to: #send_to,
            reply: #reply,
            retry_topics: #retry_topics,
            handler_timeout: #handler_timeout,
            auto_startup: #auto_startup,
            client_id: #client_id,
            controls: #controls,
            properties: &[#(#properties),*],
        }
    }
}

fn controls(settings: &ControlSettings) -> TokenStream {
    let fields = [
        ("rate_limit", &settings.rate_limit),
        ("circuit_failures", &settings.circuit_failures),
        ("circuit_pause", &settings.circuit_pause),
        ("circuit_max_pause", &settings.circuit_max_pause),
        ("pause_when", &settings.pause_when),
        ("pause_interval", &settings.pause_interval),
        ("drain_timeout", &settings.drain_timeout),
        ("on_revoke", &settings.on_revoke),
        ("idle_event_interval", &settings.idle_event_interval),
        ("idle_partition_event_interval", &settings.idle_partition_event_interval),
    ]
    .map(|(name, text)| {
        let (name, text) = (format_ident!("{name}"), optional(text));
        quote!(#name: #text)
    });
    quote!(__kafka::ControlsAttribute { #(#fields),* })
}

fn retry(settings: &RetrySettings) -> TokenStream {
    let RetrySettings { attempts, backoff, multiplier, jitter, max_elapsed, only, never } = settings;
    let [attempts, backoff, multiplier, jitter, max_elapsed] =
        [attempts, backoff, multiplier, jitter, max_elapsed].map(optional);
    let [only, never] = [only, never].map(|types| {
        let names = types.iter().map(|ty| ty.to_token_stream().to_string().replace(' ', ""));
        quote!(&[#(#names),*])
    });
    quote! {
        __kafka::RetryAttribute {
            attempts: #attempts,
            backoff: #backoff,
            multiplier: #multiplier,
            jitter: #jitter,
            max_elapsed: #max_elapsed,
            only: #only,
            never: #never,
        }
    }
}

fn retry_topics(settings: &RetryTopicsSettings) -> TokenStream {
    let RetryTopicsSettings { attempts, backoff, multiplier, names } = settings;
    let [attempts, backoff, multiplier, names] = [attempts, backoff, multiplier, names].map(optional);
    quote! {
        __kafka::RetryTopicsAttribute {
            attempts: #attempts,
            backoff: #backoff,
            multiplier: #multiplier,
            names: #names,
        }
    }
}

fn dead_letter(settings: &DeadLetterSettings) -> TokenStream {
    let DeadLetterSettings { topic, create, partitions, replication, retention } = settings;
    let topic = option(topic.as_ref().map(topic_name));
    let [create, partitions, replication, retention] =
        [create, partitions, replication, retention].map(optional);
    quote! {
        __kafka::DeadLetterAttribute {
            topic: #topic,
            create: #create,
            partitions: #partitions,
            replication: #replication,
            retention: #retention,
        }
    }
}

fn optional(text: &Option<String>) -> TokenStream {
    option(text.as_ref().map(|text| quote!(#text)))
}

fn option(value: Option<TokenStream>) -> TokenStream {
    match value {
        Some(value) => quote!(::core::option::Option::Some(#value)),
        None => quote!(::core::option::Option::None),
    }
}
