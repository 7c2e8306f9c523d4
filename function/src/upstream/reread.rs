//! How is an answer read that has more headers than an answer has?
//!
//! hyper reads a hundred where it has room for them without asking for memory, and gives up at the
//! next one; room for more costs every answer 3,000 instructions. So one that has more is read once
//! more from its beginning, with room for [`MOST_HEADERS`]. Nothing is sent again: what the second
//! reader says goes nowhere.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use hyper::rt::{Read, ReadBufCursor, Write};

use super::connector::Transport;

/// The most headers of an answer.
pub(super) const MOST_HEADERS: usize = 256;

/// What a connection reads from and writes to.
#[expect(clippy::large_enum_variant, reason = "all but the rarest are of the large one")]
pub(super) enum Io {
    Live(Transport),
    Reread(Box<Reread>),
}

/// A connection whose answer is read again.
pub(super) struct Reread {
    /// What has been read already.
    read: Bytes,
    transport: Transport,
    /// The reader has asked, so that an answer is not unexpected.
    asked: bool,
    waiting: Option<Waker>,
}

impl Io {
    pub(super) fn reread(self, read: Bytes) -> Self {
        match self {
            Self::Live(transport) => {
                Self::Reread(Box::new(Reread { read, transport, asked: false, waiting: None }))
            }
            again @ Self::Reread(_) => again,
        }
    }
}

impl Reread {
    /// What the reader says is taken, and goes nowhere.
    fn take(&mut self, length: usize) -> Poll<io::Result<usize>> {
        self.asked = true;
        self.waiting.take().into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(length))
    }
}

impl Read for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Live(transport) => Pin::new(transport).poll_read(cx, buffer),
            Self::Reread(again) if !again.asked => {
                again.waiting = Some(cx.waker().clone());
                Poll::Pending
            }
            Self::Reread(again) if again.read.is_empty() => {
                Pin::new(&mut again.transport).poll_read(cx, buffer)
            }
            Self::Reread(again) => {
                let length = again.read.len().min(buffer.remaining());
                buffer.put_slice(&again.read.split_to(length));
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl Write for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Live(transport) => Pin::new(transport).poll_write(cx, bytes),
            Self::Reread(again) => again.take(bytes.len()),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Live(transport) => Pin::new(transport).poll_flush(cx),
            Self::Reread(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Live(transport) => Pin::new(transport).poll_shutdown(cx),
            Self::Reread(again) => Pin::new(&mut again.transport).poll_shutdown(cx),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Live(transport) => transport.is_write_vectored(),
            Self::Reread(_) => false,
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Live(transport) => Pin::new(transport).poll_write_vectored(cx, slices),
            Self::Reread(again) => again.take(slices.iter().map(|slice| slice.len()).sum()),
        }
    }
}
