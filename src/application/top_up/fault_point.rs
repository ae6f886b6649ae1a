//! Named points of a top-up at which a test kills the server.
//!
//! They exist only in builds with the feature `fault-points`, which no release has. With `FAULT_POINT` set to a name,
//! the server reports on standard error that it has reached the point. Then it blocks until it is killed.

#[cfg(all(feature = "fault-points", not(debug_assertions)))]
compile_error!("fault points are for tests: a release must not have the feature fault-points");

/// The points, in the order of a top-up's transitions.
pub const FAULT_POINTS: [&str; 10] = [
    "create.before_call",
    "create.after_call",
    "create.before_commit",
    "create.after_commit",
    "settle.before_commit",
    "settle.after_commit",
    "job.before_call",
    "job.after_call",
    "refund.before_call",
    "refund.after_call",
];

/// Blocks if the point is selected.
#[cfg(feature = "fault-points")]
#[expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a build for tests, which reads the process's output"
)]
pub(super) fn reach(point: &'static str) {
    debug_assert!(FAULT_POINTS.contains(&point), "{point}");
    if std::env::var("FAULT_POINT").is_ok_and(|chosen| chosen == point) {
        eprintln!("fault point {point}");
        loop {
            std::thread::park();
        }
    }
}

/// Does nothing in this build.
#[cfg(not(feature = "fault-points"))]
pub(super) fn reach(_: &'static str) {}
