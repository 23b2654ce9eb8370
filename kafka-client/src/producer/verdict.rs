//! What an answer means for a batch. Pure.

use std::collections::HashMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::produce_response::PartitionProduceResponse;

use crate::error::{At, Error};
use crate::ids::TopicPartition;

/// What is to be done about a batch.
#[derive(Debug)]
pub(super) enum Verdict {
    Written {
        base_offset: i64,
        log_append_time: Option<i64>,
    },
    /// Send it again as it is.
    Passing(Error),
    /// The broker waits for an earlier sequence.
    Gap(Error),
    /// The broker does not know the producer id (any more).
    Forgotten(Error),
    /// The broker knows a newer epoch of this producer id.
    Fenced(Error),
    /// Send it in smaller parts.
    TooLarge(Error),
    /// It was not written and never will be.
    Refused(Error),
    /// The same, because of some of its records (KIP-467).
    Blamed {
        records: HashMap<i32, Error>,
        rest: Error,
    },
}

impl Verdict {
    /// By the answer for its partition.
    pub(super) fn of_answer(partition: TopicPartition, answer: &PartitionProduceResponse) -> Self {
        let said = |code, message| Error::answered("Produce", code, At::Partition(partition), message);
        match ResponseError::try_from_code(answer.error_code) {
            None => Self::Written {
                base_offset: answer.base_offset,
                log_append_time: (answer.log_append_time_ms >= 0).then_some(answer.log_append_time_ms),
            },
            // Written before, by an attempt whose answer was lost, and so long ago that the offset is forgotten.
            Some(ResponseError::DuplicateSequenceNumber) => {
                Self::Written { base_offset: -1, log_append_time: None }
            }
            Some(code) if !answer.record_errors.is_empty() => {
                let words = answer.error_message.as_deref();
                let blamed = answer.record_errors.iter().map(|record| {
                    (record.batch_index, said(code, record.batch_index_error_message.as_deref().or(words)))
                });
                let rest = said(code, Some("other records of its batch were refused"));
                Self::Blamed { records: blamed.collect(), rest }
            }
            Some(code) => Self::of_code(code, said(code, answer.error_message.as_deref())),
        }
    }

    fn of_code(code: ResponseError, error: Error) -> Self {
        match code {
            ResponseError::OutOfOrderSequenceNumber => Self::Gap(error),
            ResponseError::UnknownProducerId => Self::Forgotten(error),
            ResponseError::InvalidProducerEpoch | ResponseError::ProducerFenced => Self::Fenced(error),
            ResponseError::MessageTooLarge | ResponseError::RecordListTooLarge => Self::TooLarge(error),
            // The end of the transaction before is not written everywhere yet.
            ResponseError::ConcurrentTransactions => Self::Passing(error),
            code if code.is_retriable() => Self::Passing(error),
            _ => Self::Refused(error),
        }
    }

    /// By a call that brought no answer.
    pub(super) fn of_failure(error: Error) -> Self {
        match error {
            // A damaged answer says nothing about what was written; the connection is gone.
            Error::Malformed { .. } | Error::Closed | Error::NotKafka { .. } => Self::Passing(error),
            error if error.is_retriable() => Self::Passing(error),
            error => Self::Refused(error),
        }
    }

    /// Whether the batch may have been written all the same: no answer came, or one that says that not everybody has it.
    pub(super) fn leaves_doubt(&self) -> bool {
        match self {
            Self::Passing(error) => error.code().is_none_or(|code| {
                matches!(
                    code,
                    ResponseError::RequestTimedOut
                        | ResponseError::NotEnoughReplicasAfterAppend
                        | ResponseError::KafkaStorageError
                )
            }),
            _ => false,
        }
    }

    /// Whether fresh metadata may help.
    pub(super) fn asks_for_metadata(&self) -> bool {
        match self {
            Self::Passing(error) => match error.code() {
                Some(code) => !matches!(
                    code,
                    ResponseError::NotEnoughReplicas
                        | ResponseError::NotEnoughReplicasAfterAppend
                        | ResponseError::ConcurrentTransactions
                        | ResponseError::ThrottlingQuotaExceeded
                ),
                None => true,
            },
            _ => false,
        }
    }
}
