//! Reads QR pictures back.

use std::io::Cursor;

use rqrr::PreparedImage;

/// The text of a QR picture, of which `is_dark` tells the pixels.
pub(crate) fn read_qr(width: usize, is_dark: impl Fn(usize, usize) -> bool) -> String {
    let mut image = PreparedImage::prepare_from_greyscale(width, width, |x, y| if is_dark(x, y) { 0 } else { u8::MAX });
    let grids = image.detect_grids();
    assert_eq!(grids.len(), 1, "one QR code");
    grids[0].decode().expect("the QR code is whole").1
}

/// The text of a QR picture in PNG, which is square and has one bit a pixel.
pub(crate) fn read_png_qr(bytes: &[u8]) -> String {
    let mut reader = png::Decoder::new(Cursor::new(bytes)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert_eq!(
        (info.color_type, info.bit_depth, info.height),
        (png::ColorType::Grayscale, png::BitDepth::One, info.width)
    );
    let row = info.line_size;
    read_qr(info.width as usize, |x, y| pixels[y * row + x / 8] & (0x80 >> (x % 8)) == 0)
}

/// The text of a QR picture in SVG, whose dark path has one rectangle a module: `M16 20h4v4H16V20`.
pub(crate) fn read_svg_qr(svg: &str) -> String {
    let attribute = |name: &str| svg.rsplit(&format!(" {name}=\"")).next().unwrap().split('"').next().unwrap();
    let number = |text: &str| text.parse::<usize>().unwrap_or_else(|_| panic!("{text:?} is no number"));
    let width = number(attribute("viewBox").split(' ').next_back().unwrap());
    let mut pixels = vec![false; width * width];
    for rectangle in attribute("d").split('M').filter(|part| !part.is_empty()) {
        let parts: Vec<_> = rectangle.split([' ', 'h', 'v', 'H', 'V']).map(number).collect();
        let [left, top, across, down, ..] = parts[..] else { panic!("{rectangle:?} is no rectangle") };
        for y in top..top + down {
            pixels[y * width + left..y * width + left + across].fill(true);
        }
    }
    read_qr(width, |x, y| pixels[y * width + x])
}
