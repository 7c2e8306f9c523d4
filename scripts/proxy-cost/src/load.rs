//! Sends requests and reads answers, checks every one, and takes the times. Bounded in time and count.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::mark::{self, Finder};
use crate::wire::Reader;

/// No answer takes longer than this.
const PATIENCE: Duration = Duration::from_secs(30);
/// Requests before the measurement begins.
const WARM_UP: Duration = Duration::from_millis(150);

/// Where requests go.
#[derive(Clone, Debug)]
pub struct Address {
    pub port: u16,
    pub path: String,
    pub headers: Vec<String>,
}

/// What is sent, and how.
#[derive(Clone, Copy, Debug)]
pub enum Plan {
    /// Each connection sends one request after the other for some time.
    Requests { connections: usize, body: usize, time: Duration, limited: bool },
    /// Each of so many clients reads so many streams, one after the other.
    Streams { clients: usize, rounds: usize, events: usize, gap: Duration, limited: bool },
}

/// What was seen, times in nanoseconds.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Of whole requests, or from a request to its first event.
    pub answers: Vec<u64>,
    /// From the upstream's writing of an event to its arrival.
    pub events: Vec<u64>,
    /// How many answers were not as they should be, and what the first of them was.
    pub wrong: usize,
    pub example: Option<String>,
}

impl Plan {
    /// Does it, and calls `count` when the measured part begins and when it ends.
    pub async fn run(self, address: &Address, mut count: impl FnMut()) -> Seen {
        let seen = Rc::new(RefCell::new(Seen::default()));
        let mut clients = JoinSet::new();
        match self {
            Self::Requests { connections, time, .. } => {
                let begin = Instant::now() + WARM_UP;
                for _ in 0..connections {
                    let request = Rc::new(self.request(address));
                    let (address, seen) = (address.clone(), Rc::clone(&seen));
                    clients.spawn_local(ask(address, request, begin..begin + time, seen));
                }
                tokio::time::sleep_until(begin).await;
                count();
                tokio::time::sleep_until(begin + time).await;
                count();
            }
            Self::Streams { clients: many, rounds, events, gap, .. } => {
                count();
                // As different people begin at different times.
                let spread = (gap * 20).max(Duration::from_millis(20));
                for index in 0..many {
                    let request = Rc::new(self.request(address));
                    let (address, seen) = (address.clone(), Rc::clone(&seen));
                    let wait = spread * index as u32 / many as u32;
                    clients.spawn_local(async move {
                        tokio::time::sleep(wait).await;
                        read(address, request, (rounds, events), seen).await;
                    });
                }
            }
        }
        while clients.join_next().await.is_some() {}
        if matches!(self, Self::Streams { .. }) {
            count();
        }
        seen.take()
    }

    fn request(self, address: &Address) -> Vec<u8> {
        let (told, size, stream) = match self {
            Self::Requests { body, limited, .. } => {
                (format!("limited={}", u8::from(limited)), body, false)
            }
            Self::Streams { events, gap, limited, .. } => {
                let (gap, limited) = (gap.as_micros(), u8::from(limited));
                (format!("events={events} gap={gap} limited={limited}"), 2048, true)
            }
        };
        let body = body(&told, size, stream);
        let mut request = format!(
            "POST {} HTTP/1.1\r\nhost: 127.0.0.1:{}\r\ncontent-type: application/json\r\n\
             user-agent: proxy-cost/1\r\naccept: application/json\r\nx-api-key: sk-ant-api03-test\r\n\
             anthropic-version: 2023-06-01\r\ncontent-length: {}\r\n",
            address.path,
            address.port,
            body.len()
        );
        for header in &address.headers {
            request.push_str(header);
            request.push_str("\r\n");
        }
        request.push_str("\r\n");
        let mut request = request.into_bytes();
        request.extend_from_slice(body.as_bytes());
        request
    }
}

/// A request of about `size` bytes, with lines, quotes and so escapes as code has them.
fn body(told: &str, size: usize, stream: bool) -> String {
    const CODE: &str = "let x = items.iter().map(|item| item + 1).collect::<Vec<_>>();\\n\
                        // The quick brown fox says \\\"no\\\" and jumps over the lazy dog.\\n";
    let mut body = format!(
        "{{\"model\":\"claude-sonnet-5-5\",\"max_tokens\":1024,\"stream\":{stream},\
         \"messages\":[{{\"role\":\"user\",\"content\":[{{\"type\":\"text\",\"text\":\"[[{told}]] "
    );
    while body.len() + CODE.len() + 8 < size {
        body.push_str(CODE);
    }
    body.push_str("\"}]}]}");
    body
}

type Shared = Rc<RefCell<Seen>>;

async fn ask(
    address: Address,
    request: Rc<Vec<u8>>,
    measured: std::ops::Range<Instant>,
    seen: Shared,
) {
    let mut line = None;
    while Instant::now() < measured.end && seen.borrow().wrong < 50 {
        let begun = mark::now();
        let mut usage = false;
        let answered = exchange(&mut line, &address, &request, |piece| {
            usage |= memchr::memmem::find(piece, b"\"usage\"").is_some();
        })
        .await;
        let took = mark::now() - begun;
        let mut seen = seen.borrow_mut();
        match answered {
            Ok(200) if usage => {
                if measured.contains(&Instant::now()) {
                    seen.answers.push(took);
                }
            }
            other => {
                line = None;
                seen.note(format!("{other:?}"));
            }
        }
    }
}

async fn read(address: Address, request: Rc<Vec<u8>>, told: (usize, usize), seen: Shared) {
    let (rounds, events) = told;
    let mut line = None;
    for _ in 0..rounds {
        let begun = mark::now();
        let (mut finder, mut taken, mut first) = (Finder::default(), Vec::new(), None);
        let (mut tail, mut stopped) = (Vec::new(), false);
        let answered = exchange(&mut line, &address, &request, |piece| {
            let now = mark::now();
            finder.push(piece, |sent| {
                first.get_or_insert(now - begun);
                taken.push(now - sent);
            });
            tail.extend_from_slice(piece);
            stopped |= memchr::memmem::find(&tail, b"message_stop").is_some();
            tail.drain(..tail.len().saturating_sub(16));
        })
        .await;
        let mut seen = seen.borrow_mut();
        match (answered, first) {
            (Ok(200), Some(first)) if stopped && taken.len() == events => {
                seen.answers.push(first);
                seen.events.append(&mut taken);
            }
            (other, _) => {
                line = None;
                let count = taken.len();
                seen.note(format!("{other:?}, {count} of {events} events, whole: {stopped}"));
            }
        }
    }
}

type Line = Option<(TcpStream, Reader)>;

/// One request and its answer, on the kept connection if there is one.
async fn exchange(
    line: &mut Line,
    address: &Address,
    request: &[u8],
    show: impl FnMut(&[u8]),
) -> io::Result<u16> {
    let exchanged = async {
        let (socket, reader) = match line {
            Some(kept) => kept,
            None => line.insert((connect(address.port).await?, Reader::default())),
        };
        socket.write_all(request).await?;
        let head = reader.answer(socket).await?;
        reader.body(socket, head.framing, show).await?;
        Ok::<_, io::Error>((head.status, head.closes))
    };
    let (status, closes) = tokio::time::timeout(PATIENCE, exchanged)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
    if closes {
        *line = None;
    }
    Ok(status)
}

async fn connect(port: u16) -> io::Result<TcpStream> {
    let socket = TcpStream::connect(("127.0.0.1", port)).await?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

/// Whether a target answers a small request as it should.
pub async fn answers(address: &Address) -> bool {
    let plan = Plan::Requests { connections: 1, body: 512, time: Duration::ZERO, limited: false };
    let mut usage = false;
    let request = plan.request(address);
    let mut line = None;
    let answered = exchange(&mut line, address, &request, |piece| {
        usage |= memchr::memmem::find(piece, b"\"usage\"").is_some();
    });
    matches!(answered.await, Ok(200)) && usage
}

impl Seen {
    fn note(&mut self, what: String) {
        self.wrong += 1;
        self.example.get_or_insert(what);
    }
}
