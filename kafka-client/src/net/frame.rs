//! Frames: a length of four bytes, then as many bytes.

use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Why no frame came.
#[derive(Debug)]
pub(super) enum FrameError {
    /// The peer ended the connection.
    Ended,
    Io(io::Error),
    /// The peer speaks something else; what it seems to be.
    Foreign(String),
}

impl From<io::Error> for FrameError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Ended,
            _ => Self::Io(error),
        }
    }
}

/// Reads one frame into a buffer of exactly its size, straight from the stream. `progress` hears of every arrival:
/// `true` while the frame is not complete.
pub(super) async fn read_frame(
    stream: &mut (impl AsyncRead + Unpin),
    longest: usize,
    mut progress: impl FnMut(bool),
) -> Result<Bytes, FrameError> {
    let mut prefix = [0; 4];
    let first = stream.read(&mut prefix).await?;
    if first == 0 {
        return Err(FrameError::Ended);
    }
    progress(true);
    if let Some(rest) = prefix.get_mut(first..) {
        stream.read_exact(rest).await?;
    }
    let length = frame_length(prefix, longest)?;
    let mut frame = BytesMut::with_capacity(length);
    while frame.len() < length {
        let missing = length - frame.len();
        if stream.read_buf(&mut (&mut frame).limit(missing)).await? == 0 {
            return Err(FrameError::Ended);
        }
        progress(frame.len() < length);
    }
    Ok(frame.freeze())
}

/// The length, unless it is none. Text and TLS records read as lengths of hundreds of megabytes.
fn frame_length(prefix: [u8; 4], longest: usize) -> Result<usize, FrameError> {
    let length = i32::from_be_bytes(prefix);
    match usize::try_from(length) {
        Ok(length) if (4..=longest).contains(&length) => return Ok(length),
        _ => {}
    }
    let text = String::from_utf8_lossy(&prefix);
    Err(FrameError::Foreign(match prefix {
        [b'H', b'T', b'T', b'P'] => "it answers in HTTP: is this the port of a web server?".to_owned(),
        [0x14..=0x17, 3, ..] => {
            "it answers in TLS: this listener wants an encrypted connection (security.protocol SSL or SASL_SSL)".to_owned()
        }
        _ if prefix.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\r' | b'\n')) => {
            format!("it answers in text ({text:?}...)")
        }
        _ => format!("it announces an answer of {length} bytes (the limit is {longest}, max_response_size)"),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(mut bytes: &[u8]) -> Result<Bytes, FrameError> {
        read_frame(&mut bytes, 1 << 20, |_| {}).await
    }

    #[tokio::test]
    async fn a_frame_is_read_whole_or_not_at_all() {
        assert_eq!(&read(&[0, 0, 0, 5, 1, 2, 3, 4, 5, 6]).await.unwrap()[..], [1, 2, 3, 4, 5]);
        for cut in 0..9 {
            assert!(
                matches!(read(&[0, 0, 0, 5, 1, 2, 3, 4, 5][..cut]).await, Err(FrameError::Ended)),
                "{cut}"
            );
        }
    }

    #[tokio::test]
    async fn other_protocols_are_recognised() {
        for (bytes, word) in [
            (&b"HTTP/1.1 400 Bad Request\r\n"[..], "web server"),
            (b"\x15\x03\x03\x00\x02\x02\x28", "encrypted"),
            (b"SSH-2.0-OpenSSH", "SSH-"),
            (&[0x7f, 0xff, 0xff, 0xff], "max_response_size"),
            (&[0xff; 8], "max_response_size"),
            (&[0, 0, 0, 0], "max_response_size"),
        ] {
            match read(bytes).await {
                Err(FrameError::Foreign(words)) => assert!(words.contains(word), "{words}"),
                other => panic!("{bytes:?}: {other:?}"),
            }
        }
    }
}
