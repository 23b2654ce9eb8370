//! The buffers of records that were sent, for the records that come next: in the long run a record allocates none.

use std::cell::RefCell;

/// How many wait on a thread: a record's key and value, and those of a value that sends while it is encoded.
const SPARE: usize = 4;
/// A larger one is not kept.
const LARGEST: usize = 64 << 10;

thread_local! {
    static BUFFERS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer, with room if one was given back on this thread.
pub(super) fn take() -> Vec<u8> {
    BUFFERS.try_with(|buffers| buffers.borrow_mut().pop()).ok().flatten().unwrap_or_default()
}

/// A copy in such a buffer.
pub(super) fn copy(bytes: &[u8]) -> Vec<u8> {
    let mut copy = take();
    copy.extend_from_slice(bytes);
    copy
}

/// Takes a buffer whose bytes nobody needs any more.
pub(super) fn give_back(mut buffer: Vec<u8>) {
    if (1..=LARGEST).contains(&buffer.capacity()) {
        buffer.clear();
        // A thread that ends keeps nothing.
        let _ = BUFFERS.try_with(|buffers| {
            let mut buffers = buffers.borrow_mut();
            if buffers.len() < SPARE {
                buffers.push(buffer);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back_empty_and_neither_large_nor_many() {
        let buffer = copy(b"a record");
        let place = buffer.as_ptr();
        give_back(buffer);
        let again = take();
        assert!(again.is_empty() && again.as_ptr() == place);
        give_back(Vec::with_capacity(LARGEST + 1));
        assert_eq!(take().capacity(), 0);
        (0..2 * SPARE).for_each(|_| give_back(Vec::with_capacity(8)));
        assert_eq!((0..2 * SPARE).filter(|_| take().capacity() > 0).count(), SPARE);
    }
}
