//! Streams that may be compressed with gzip or zstd.

use std::io::{self, BufRead, BufReader, Chain, Cursor, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};

/// Bytes read at once.
const BUFFER: usize = 1 << 18;
/// What gzip and zstd files begin with (RFC 1952, RFC 8878).
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// The plain bytes of `input`, and whether it is compressed.
///
/// # Errors
///
/// If its first bytes cannot be read.
pub(crate) fn decompress(
    mut input: Box<dyn Read + Send>,
) -> io::Result<(Box<dyn BufRead + Send>, bool)> {
    let mut head = Vec::with_capacity(ZSTD.len());
    input
        .by_ref()
        .take(ZSTD.len() as u64)
        .read_to_end(&mut head)?;
    let whole = BufReader::with_capacity(BUFFER, Cursor::new(head.clone()).chain(input));
    Ok(if head.starts_with(&GZIP) {
        let plain = MultiGzDecoder::new(whole);
        (Box::new(BufReader::with_capacity(BUFFER, plain)), true)
    } else if head == ZSTD {
        let plain = Frames {
            input: Some(whole),
            frame: None,
        };
        (Box::new(BufReader::with_capacity(BUFFER, plain)), true)
    } else {
        (Box::new(whole), false)
    })
}

type Whole = BufReader<Chain<Cursor<Vec<u8>>, Box<dyn Read + Send>>>;

/// The frames of a zstd file one after the other, as `cat a.zst b.zst` makes it.
struct Frames {
    /// What is left, between frames.
    input: Option<Whole>,
    frame: Option<StreamingDecoder<Whole, FrameDecoder>>,
}

impl Read for Frames {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(frame) = &mut self.frame {
                let count = frame.read(buf)?;
                if count > 0 || buf.is_empty() {
                    return Ok(count);
                }
                self.input = self.frame.take().map(StreamingDecoder::into_inner);
            }
            let Some(mut input) = self.input.take() else {
                return Ok(0);
            };
            if input.fill_buf()?.is_empty() {
                self.input = Some(input);
                return Ok(0);
            }
            let frame = StreamingDecoder::new(input).map_err(io::Error::other)?;
            self.frame = Some(frame);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(text: &[u8]) -> Vec<u8> {
        compress_to_vec(text, CompressionLevel::Uncompressed)
    }

    #[test]
    fn concatenated_files_are_read_to_their_end() {
        let twice =
            |compress: fn(&[u8]) -> Vec<u8>| [compress(b"one\n"), compress(b"two\n")].concat();
        for (bytes, is_compressed) in [
            (twice(gzip), true),
            (twice(zstd), true),
            (twice(<[u8]>::to_vec), false),
        ] {
            let (mut plain, was_compressed) = decompress(Box::new(Cursor::new(bytes))).unwrap();
            let mut text = String::new();
            plain.read_to_string(&mut text).unwrap();
            assert_eq!(
                (text.as_str(), was_compressed),
                ("one\ntwo\n", is_compressed)
            );
        }
    }
}
