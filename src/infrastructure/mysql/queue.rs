//! SQL of queue.
