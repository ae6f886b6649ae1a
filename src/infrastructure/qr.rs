//! QR pictures as PNG, for mail: mail programs don't show SVG.

use png::{BitDepth, ColorType, Compression, Encoder};
use qrcode::{Color, EcLevel, QrCode};

/// The width in modules of the light margin that scanners need on each side.
const QUIET_ZONE: usize = 4;

/// The width of a module in pixels, so that a dense display shows it sharp.
const MODULE_WIDTH: usize = 8;

/// Draws a text in black and white, with the quiet zone; `None` if it is too long for any picture. The picture of a
/// ticket's code takes about a kilobyte.
pub(super) fn png(text: &str) -> Option<Vec<u8>> {
    // Level M corrects 15 % of the picture: enough for a display, and for print without a logo.
    let qr = QrCode::with_error_correction_level(text, EcLevel::M).ok()?;
    let modules = qr.width();
    let side = (modules + 2 * QUIET_ZONE) * MODULE_WIDTH;
    let is_dark = |x: usize, y: usize| {
        let module = |pixel: usize| (pixel / MODULE_WIDTH).checked_sub(QUIET_ZONE).filter(|module| *module < modules);
        module(x).zip(module(y)).is_some_and(|position| qr[position] == Color::Dark)
    };
    // A bit for each pixel, 1 for white, and whole bytes for each row.
    let row = side.div_ceil(8);
    let mut pixels = vec![u8::MAX; row * side];
    for (x, y) in (0..side).flat_map(|y| (0..side).map(move |x| (x, y))).filter(|(x, y)| is_dark(*x, *y)) {
        pixels[y * row + x / 8] &= !(0x80 >> (x % 8));
    }
    let mut bytes = Vec::new();
    let side = u32::try_from(side).ok()?;
    let mut encoder = Encoder::new(&mut bytes, side, side);
    encoder.set_color(ColorType::Grayscale);
    encoder.set_depth(BitDepth::One);
    encoder.set_compression(Compression::High);
    let mut writer = encoder.write_header().ok()?;
    writer.write_image_data(&pixels).ok()?;
    writer.finish().ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_code_has_a_picture_of_a_few_kilobytes() {
        let code = "A7".repeat(160);
        let picture = png(&code).unwrap();
        assert!(picture.starts_with(b"\x89PNG") && picture.len() < 4_000, "{} bytes", picture.len());
        assert_eq!(png(&code.repeat(20)), None);
    }
}
