//! Where lines go: to stderr, which somebody reads, or nobody does.
//!
//! On a machine of our own a pipe that is full must not stop the proxy: a thread writes, and what
//! it cannot keep up with is lost, counted and said. On AWS Lambda the platform always reads, and
//! the process is frozen at the end of an answer: there every line is written at once.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

#[cfg(feature = "proxy")]
use tracing_subscriber::fmt::MakeWriter;

use crate::clock;

/// Lines that wait for being written, at most; with lines of [`LONGEST_LINE`], 4 MiB.
const MOST_WAITING: usize = 512;
/// A longer line is cut, in bytes.
const LONGEST_LINE: usize = 8 << 10;
/// A pipe that is full and blocks nobody is tried again after this time.
const WRITE_AGAIN: Duration = Duration::from_millis(10);
/// What is still to be written at the end is waited for so long.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The thread that writes, once there is one.
static QUEUE: OnceLock<Queue> = OnceLock::new();

/// Writes to stderr, at once or through the thread. Never fails: nobody could be told.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stderr;

#[derive(Debug)]
struct Queue {
    lines: SyncSender<Queued>,
    lost: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Queued {
    Line(Vec<u8>),
    /// All before it has been written.
    Flush(SyncSender<()>),
}

impl Stderr {
    /// From now on a thread of its own writes.
    pub(super) fn queue() {
        QUEUE.get_or_init(|| {
            let (lines, waiting) = sync_channel(MOST_WAITING);
            let lost = Arc::new(AtomicU64::new(0));
            let counted = Arc::clone(&lost);
            let write = move || write_all(&waiting, &counted, &mut io::stderr());
            // Without a thread all lines are lost, which is no reason not to serve.
            drop(thread::Builder::new().name("log".to_owned()).spawn(write));
            Queue { lines, lost }
        });
    }
}

impl Write for Stderr {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        match QUEUE.get() {
            Some(queue) => queue.push(text),
            None => drop(io::stderr().write_all(text)),
        }
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(feature = "proxy")]
impl MakeWriter<'_> for Stderr {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        *self
    }
}

impl Queue {
    fn push(&self, text: &[u8]) {
        let line = cut(text);
        if self.lines.try_send(Queued::Line(line)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Waits until what was said has been written, for a second at most.
pub(super) fn flush() {
    let Some(queue) = QUEUE.get() else { return };
    let (done, written) = sync_channel(1);
    let mut last = Queued::Flush(done);
    let begun = clock::instant();
    while let Err(TrySendError::Full(again)) = queue.lines.try_send(last) {
        if begun.elapsed() > LAST_WORDS {
            return;
        }
        thread::sleep(Duration::from_millis(10));
        last = again;
    }
    let _written_or_late = written.recv_timeout(LAST_WORDS);
}

/// A line that is no longer than a line may be.
fn cut(text: &[u8]) -> Vec<u8> {
    if text.len() <= LONGEST_LINE {
        return text.to_vec();
    }
    let mut line = text[..LONGEST_LINE].to_vec();
    line.extend_from_slice("…\n".as_bytes());
    line
}

fn write_all(waiting: &Receiver<Queued>, lost: &AtomicU64, out: &mut impl Write) {
    for item in waiting {
        match item {
            Queued::Line(line) => {
                if write_patiently(out, &line).is_err() {
                    lost.fetch_add(1, Ordering::Relaxed);
                    // Whoever cannot be written to is not told that.
                    continue;
                }
            }
            Queued::Flush(done) => drop(done.try_send(())),
        }
        let count = lost.swap(0, Ordering::Relaxed);
        if count > 0 {
            let now = clock::now();
            let said =
                format!("{now}  WARN {count} lines of the log were lost: nobody read them\n");
            if write_patiently(out, said.as_bytes()).is_err() {
                lost.fetch_add(count, Ordering::Relaxed);
            }
        }
    }
}

/// Writes a line, however long that takes. Whoever shares our stderr may have made a pipe of it
/// that blocks nobody: one that is full is full then, too.
fn write_patiently(out: &mut impl Write, mut line: &[u8]) -> io::Result<()> {
    while !line.is_empty() {
        match out.write(line) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => line = &line[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(WRITE_AGAIN),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes three bytes at a time, and first of all nothing, or breaks at a line.
    #[derive(Default)]
    struct Pipe {
        taken: Vec<u8>,
        turns: usize,
        breaks_at: Option<&'static [u8]>,
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.turns += 1;
            if self.breaks_at.is_some_and(|line| bytes.starts_with(line)) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            match self.turns % 3 {
                1 => return Err(io::ErrorKind::WouldBlock.into()),
                2 => return Err(io::ErrorKind::Interrupted.into()),
                _ => {}
            }
            let some = bytes.len().min(3);
            self.taken.extend_from_slice(&bytes[..some]);
            Ok(some)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(mut pipe: Pipe, said: &[&str]) -> String {
        let (lines, waiting) = sync_channel(said.len());
        let queue = Queue { lines, lost: Arc::default() };
        said.iter().for_each(|line| queue.push(line.as_bytes()));
        let lost = Arc::clone(&queue.lost);
        drop(queue);
        write_all(&waiting, &lost, &mut pipe);
        String::from_utf8(pipe.taken).expect("lines are text")
    }

    #[test]
    fn a_pipe_that_blocks_nobody_is_waited_for() {
        assert_eq!(written(Pipe::default(), &["first line\n", "second\n"]), "first line\nsecond\n");
    }

    #[test]
    fn what_cannot_be_written_is_counted_and_said_as_soon_as_something_can() {
        let full = Pipe { breaks_at: Some(b"lost"), ..Pipe::default() };
        let text = written(full, &["one\n", "lost\n", "lost too\n", "four\n"]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines[0], lines[1], lines.len()), ("one", "four", 3), "{text}");
        assert!(lines[2].ends_with("WARN 2 lines of the log were lost: nobody read them"));
    }

    #[test]
    fn what_nobody_reads_is_counted_and_said() {
        let (lines, waiting) = sync_channel(2);
        let queue = Queue { lines, lost: Arc::default() };
        for line in ["one\n", "two\n", "three\n", "four\n"] {
            queue.push(line.as_bytes());
        }
        let (mut out, lost) = (Vec::new(), Arc::clone(&queue.lost));
        drop(queue);
        write_all(&waiting, &lost, &mut out);
        let text = String::from_utf8(out).expect("lines are text");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines[0], lines[2], lines.len()), ("one", "two", 3));
        assert!(
            lines[1].ends_with("WARN 2 lines of the log were lost: nobody read them"),
            "{text}"
        );
    }

    #[test]
    fn a_line_without_end_is_cut() {
        assert_eq!(cut(b"short\n"), b"short\n");
        let line = cut(&[b'x'; 2 * LONGEST_LINE]);
        assert!(line.len() < LONGEST_LINE + 8 && line.ends_with("…\n".as_bytes()));
    }
}
