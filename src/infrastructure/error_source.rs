//! The cause of an error of a library.

use std::error::Error;

/// The last error in the chain of sources, which is the most specific one.
pub(super) fn innermost<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost
}
