//! The program: everything is in the library, so that tests can reach it.

use std::process::ExitCode;

/// A request makes some hundred small allocations on one thread that end on another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    concert_reservation::cli::run()
}
