//! SQL of point.
