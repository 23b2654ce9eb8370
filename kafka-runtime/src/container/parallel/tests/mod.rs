//! What is pure against models, and partitions at work on paused time.

mod codec;
mod order;
mod running;
