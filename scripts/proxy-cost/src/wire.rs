//! As much HTTP/1.1 as a measurement needs, over any byte stream; the peers on both sides are known.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// Nothing here sends longer heads.
const MOST_HEAD: usize = 64 << 10;
const READ_AT_ONCE: usize = 64 << 10;

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    Length(usize),
    Chunked,
    /// With its connection.
    Close,
}

/// What counts of a head.
#[derive(Debug)]
pub struct Head {
    /// Of a request.
    pub path: String,
    /// Of an answer.
    pub status: u16,
    pub framing: Framing,
    pub expects: bool,
    pub closes: bool,
}

/// The reading side of a connection.
#[derive(Debug, Default)]
pub struct Reader {
    buffer: Vec<u8>,
    at: usize,
}

impl Reader {
    /// The next request's head; `None` where the connection has ended.
    pub async fn request<S: AsyncRead + Unpin>(
        &mut self,
        from: &mut S,
    ) -> io::Result<Option<Head>> {
        self.head(from, |bytes| {
            let mut headers = [httparse::EMPTY_HEADER; 64];
            let mut request = httparse::Request::new(&mut headers);
            let httparse::Status::Complete(length) =
                request.parse(bytes).map_err(io::Error::other)?
            else {
                return Ok(None);
            };
            let mut head = Head {
                path: request.path.unwrap_or_default().to_owned(),
                status: 0,
                framing: Framing::Length(0),
                expects: false,
                closes: false,
            };
            head.read(request.headers);
            Ok(Some((head, length)))
        })
        .await
    }

    /// The head of an answer.
    pub async fn answer<S: AsyncRead + Unpin>(&mut self, from: &mut S) -> io::Result<Head> {
        let head = self.head(from, |bytes| {
            let mut headers = [httparse::EMPTY_HEADER; 64];
            let mut answer = httparse::Response::new(&mut headers);
            let httparse::Status::Complete(length) =
                answer.parse(bytes).map_err(io::Error::other)?
            else {
                return Ok(None);
            };
            let mut head = Head {
                path: String::new(),
                status: answer.code.unwrap_or_default(),
                framing: Framing::Close,
                expects: false,
                closes: false,
            };
            head.read(answer.headers);
            Ok(Some((head, length)))
        });
        head.await?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    async fn head<S: AsyncRead + Unpin>(
        &mut self,
        from: &mut S,
        parse: impl Fn(&[u8]) -> io::Result<Option<(Head, usize)>>,
    ) -> io::Result<Option<Head>> {
        loop {
            let bytes = &self.buffer[self.at..];
            if !bytes.is_empty()
                && let Some((head, length)) = parse(bytes)?
            {
                self.at += length;
                return Ok(Some(head));
            }
            if bytes.len() > MOST_HEAD {
                return Err(io::Error::other("a head without end"));
            }
            if !self.more(from).await? {
                return if self.buffer.is_empty() {
                    Ok(None)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
        }
    }

    /// Reads a body to its end and shows its bytes as they come.
    pub async fn body<S: AsyncRead + Unpin>(
        &mut self,
        from: &mut S,
        framing: Framing,
        mut show: impl FnMut(&[u8]),
    ) -> io::Result<()> {
        match framing {
            Framing::Length(length) => self.exactly(from, length, &mut show).await,
            Framing::Close => loop {
                show(&self.buffer[self.at..]);
                self.at = self.buffer.len();
                if !self.more(from).await? {
                    return Ok(());
                }
            },
            Framing::Chunked => loop {
                let size = self.line(from).await?;
                let size = size.split(';').next().unwrap_or_default().trim();
                let size = usize::from_str_radix(size, 16).map_err(io::Error::other)?;
                if size == 0 {
                    while !self.line(from).await?.is_empty() {}
                    return Ok(());
                }
                self.exactly(from, size, &mut show).await?;
                self.line(from).await?;
            },
        }
    }

    async fn exactly<S: AsyncRead + Unpin>(
        &mut self,
        from: &mut S,
        mut length: usize,
        show: &mut impl FnMut(&[u8]),
    ) -> io::Result<()> {
        while length > 0 {
            if self.at == self.buffer.len() && !self.more(from).await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let taken = length.min(self.buffer.len() - self.at);
            show(&self.buffer[self.at..self.at + taken]);
            self.at += taken;
            length -= taken;
        }
        Ok(())
    }

    async fn line<S: AsyncRead + Unpin>(&mut self, from: &mut S) -> io::Result<String> {
        loop {
            if let Some(length) = memchr::memchr(b'\n', &self.buffer[self.at..]) {
                let line = self.buffer[self.at..self.at + length].trim_ascii_end();
                let line = String::from_utf8_lossy(line).into_owned();
                self.at += length + 1;
                return Ok(line);
            }
            if !self.more(from).await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Reads what is there; false at the end.
    async fn more<S: AsyncRead + Unpin>(&mut self, from: &mut S) -> io::Result<bool> {
        self.buffer.drain(..std::mem::take(&mut self.at));
        self.buffer.reserve(READ_AT_ONCE);
        Ok(from.read_buf(&mut self.buffer).await? > 0)
    }
}

impl Head {
    fn read(&mut self, headers: &[httparse::Header<'_>]) {
        for header in headers {
            let value = || std::str::from_utf8(header.value).unwrap_or_default().trim();
            match header.name.to_ascii_lowercase().as_str() {
                "content-length" => {
                    self.framing = value().parse().map_or(self.framing, Framing::Length);
                }
                "transfer-encoding" => self.framing = Framing::Chunked,
                "expect" => self.expects = true,
                "connection" => self.closes = value().eq_ignore_ascii_case("close"),
                _ => {}
            }
        }
    }
}

/// One piece of a chunked body.
pub fn chunk(out: &mut Vec<u8>, data: &[u8]) {
    out.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
}
