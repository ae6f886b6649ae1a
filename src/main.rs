//! The binary. All code is in the library, so that tests can use it.

use std::process::ExitCode;

/// mimalloc: a request makes some hundred small allocations on one thread that are freed on another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    concert_reservation::cli::run()
}
