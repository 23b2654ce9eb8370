//! The buffers of batches that were written, for those to come: a producer that is busy gets no memory from the system,
//! whose new pages cost more than the records that are put there.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Bytes that are kept, at most.
const SPARE: usize = 4 << 20;
/// Buffers that are kept, at most.
const MOST: usize = 64;

/// One producer's. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Buffers(Arc<Mutex<Spare>>);

#[derive(Debug, Default)]
struct Spare {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
}

impl Buffers {
    /// An empty buffer: the last one that came back, or one with room for `capacity` bytes.
    pub(super) fn take(&self, capacity: usize) -> Vec<u8> {
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match spare.buffers.pop() {
            Some(buffer) => {
                spare.bytes -= buffer.capacity();
                buffer
            }
            None => Vec::with_capacity(capacity),
        }
    }

    /// Keeps the bytes' buffer, unless somebody else looks at them or there are enough.
    pub(super) fn give_back(&self, bytes: Bytes) {
        let Ok(mut bytes) = bytes.try_into_mut() else { return };
        bytes.clear();
        let buffer = Vec::from(bytes);
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.bytes + buffer.capacity() <= SPARE && spare.buffers.len() < MOST {
            spare.bytes += buffer.capacity();
            spare.buffers.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_empty_when_nobody_looks_at_it() {
        let buffers = Buffers::default();
        let mut buffer = buffers.take(100);
        buffer.extend_from_slice(b"records");
        let place = buffer.as_ptr();
        let bytes = Bytes::from(buffer);
        let seen = bytes.clone();
        buffers.give_back(bytes);
        let other = buffers.take(100);
        assert_ne!(other.as_ptr(), place);
        assert_eq!(seen, "records");
        buffers.give_back(seen);
        let again = buffers.take(0);
        assert!(again.is_empty() && again.capacity() >= 100 && again.as_ptr() == place);
    }

    #[test]
    fn neither_many_nor_large_ones_are_kept() {
        let buffers = Buffers::default();
        (0..MOST + 9).for_each(|_| buffers.give_back(Bytes::from(vec![0; 8])));
        assert_eq!(buffers.0.lock().unwrap().buffers.len(), MOST);
        (0..MOST).for_each(|_| drop(buffers.take(0)));
        (0..9).for_each(|_| buffers.give_back(Bytes::from(vec![0; SPARE / 4])));
        let spare = buffers.0.lock().unwrap();
        assert_eq!((spare.buffers.len(), spare.bytes), (4, SPARE));
    }
}
