//! The pins as requests use them: read while others write, waited for only so long, and used.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Shared, access, using};
use crate::error::{Error, Result};
use crate::routing::pins::{Pin, Pins, Reader};

/// How long a request waits for its turn with the pins, and then for another process that writes them.
pub const WAIT: Duration = Duration::from_secs(5);

impl Shared {
    /// Reads or writes pins, on a thread that may wait for the disk. Who only reads takes
    /// [`Shared::look`], which waits for nobody who writes.
    ///
    /// # Errors
    /// Those of `run`; kind `Busy`: others were at it for too long, and nothing was done.
    pub async fn pins<T: Send + 'static, E: From<Error> + Send + 'static>(
        &self,
        run: impl FnOnce(&mut Pins) -> std::result::Result<T, E> + Send + 'static,
    ) -> std::result::Result<T, E> {
        let turn = tokio::time::timeout(WAIT, Arc::clone(&self.pins).lock_owned());
        let mut pins = turn.await.map_err(|_| E::from(crowded()))?;
        tokio::task::spawn_blocking(move || run(&mut pins))
            .await
            .unwrap_or_else(|e| Err(E::from(broken_off(&e))))
    }

    /// Reads pins, while others write them.
    ///
    /// # Errors
    /// Those of `run`; they cannot be opened; kind `Busy` as of [`Shared::pins`].
    pub async fn look<T: Send + 'static, E: From<Error> + Send + 'static>(
        &self,
        run: impl FnOnce(&Reader) -> std::result::Result<T, E> + Send + 'static,
    ) -> std::result::Result<T, E> {
        let turn = tokio::time::timeout(WAIT, Arc::clone(&self.reader).lock_owned());
        let mut reader = turn.await.map_err(|_| E::from(crowded()))?;
        let file = Arc::clone(&self.file);
        tokio::task::spawn_blocking(move || {
            let open = match reader.take() {
                Some(open) => open,
                None => Reader::of(&file)?,
            };
            run(reader.insert(open))
        })
        .await
        .unwrap_or_else(|e| Err(E::from(broken_off(&e))))
    }

    /// A chat's pin, if it has one.
    ///
    /// # Errors
    /// As of [`Shared::look`].
    pub async fn pin(&self, chat: &str) -> Result<Option<Pin>> {
        let chat = chat.to_owned();
        self.look(move |pins| pins.pin(&chat)).await
    }

    /// The pins, for a thread that may wait.
    fn turn(&self) -> Result<tokio::sync::OwnedMutexGuard<Pins>> {
        let until = Instant::now() + WAIT;
        loop {
            match Arc::clone(&self.pins).try_lock_owned() {
                Ok(pins) => return Ok(pins),
                Err(_) if Instant::now() >= until => return Err(crowded()),
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    /// Notes that a chat was used; written down by [`Shared::flush_used`].
    pub fn used(&self, chat: &str) {
        access::chat(chat);
        self.used.note(chat);
    }

    /// The same for as long as what is returned is there: a stream, or a turn, may last.
    pub fn using(&self, chat: &str) -> using::Using {
        access::chat(chat);
        self.used.hold(chat)
    }

    /// Releases pins that were not used for `ttl` and are not in use. How many. Blocks.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn expire(&self, ttl: jiff::SignedDuration, now: jiff::Timestamp) -> Result<usize> {
        let mut pins = self.turn()?;
        pins.used(self.used.open())?;
        pins.expire(ttl, now)
    }

    /// Writes down which chats were used. Blocks.
    ///
    /// # Errors
    /// It cannot be written; it is tried again with the next ones.
    pub fn flush_used(&self) -> Result<()> {
        let used = self.used.take();
        if used.is_empty() {
            return Ok(());
        }
        let written = self.turn().and_then(|mut pins| pins.used(&used));
        if written.is_err() {
            used.iter().for_each(|chat| self.used.note(chat));
        }
        written
    }
}

fn crowded() -> Error {
    let secs = WAIT.as_secs();
    Error::busy(format!(
        "the table of pins was in use by others for {secs} s"
    ))
}

fn broken_off(e: &tokio::task::JoinError) -> Error {
    Error::bug(format!("reading or writing pins broke off: {e}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::gateway::stand_in;

    #[test]
    fn pins_are_waited_for_only_so_long_and_read_meanwhile() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let under = stand_in::gateway(&[]).await;
            let (begin, began) = std::sync::mpsc::channel();
            let (end, ended) = std::sync::mpsc::channel::<()>();
            let shared = under.gateway.clone();
            let writer = tokio::spawn(async move {
                let held = move |_: &mut Pins| {
                    begin.send(()).unwrap();
                    ended.recv().unwrap();
                    Ok::<_, crate::error::Error>(())
                };
                shared.pins(held).await
            });
            tokio::task::block_in_place(|| began.recv().unwrap());
            let begun = Instant::now();
            let looked: crate::error::Result<_> = under.gateway.look(|pins| pins.ledger()).await;
            looked.unwrap();
            assert!(begun.elapsed() < Duration::from_secs(2));
            let waiting = (0..3).map(|_| {
                under.gateway.pins(|_| -> Result<(), crate::error::Error> {
                    panic!("it never has its turn")
                })
            });
            for refused in futures_util::future::join_all(waiting).await {
                assert_eq!(refused.unwrap_err().kind, crate::error::Kind::Busy);
            }
            // All at a time, and not one after the other.
            assert!(
                begun.elapsed() < Duration::from_secs(9),
                "{:?}",
                begun.elapsed()
            );
            end.send(()).unwrap();
            writer.await.unwrap().unwrap();
        });
    }
}
