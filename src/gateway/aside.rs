//! Work that is long for a thread that serves connections: those that it serves beside wait for it.

use tokio::task::spawn_blocking;

/// What is about more bytes than this is long: a megabyte of JSON takes milliseconds.
pub const LARGE: usize = 1024 * 1024;

/// Does what is about so many bytes: at once where those are few, else where it holds up nobody but who waits
/// for it.
pub async fn aside<T: Send + 'static>(bytes: usize, run: impl FnOnce() -> T + Send + 'static) -> T {
    if bytes <= LARGE {
        return run();
    }
    match spawn_blocking(run).await {
        Ok(done) => done,
        Err(e) => match e.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime ends, and whoever waits with it.
            Err(_) => std::future::pending().await,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_large_is_not_done_where_connections_are_served() {
        // A test's tasks have one thread.
        let here = std::thread::current().id();
        let at = |bytes| aside(bytes, || std::thread::current().id());
        assert_eq!(at(LARGE).await, here);
        assert_ne!(at(LARGE + 1).await, here);
    }
}
