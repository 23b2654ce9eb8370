//! Ctrl-C and SIGTERM.

use tracing::{info, warn};

/// Waits for Ctrl-C or, on Unix, SIGTERM: what [`App::run`](crate::App::run) stops for, for programs that have more to
/// stop than listeners.
pub async fn shutdown_signal() {
    tokio::select! {
        () = interrupt() => info!("Ctrl-C: stopping"),
        () = terminate() => info!("SIGTERM: stopping"),
    }
}

async fn interrupt() {
    if let Err(error) = tokio::signal::ctrl_c().await {
        warn!(%error, "Ctrl-C cannot be listened for");
        std::future::pending().await
    }
}

#[cfg(unix)]
async fn terminate() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut stream) => {
            stream.recv().await;
        }
        Err(error) => {
            warn!(%error, "SIGTERM cannot be listened for");
            std::future::pending().await
        }
    }
}

#[cfg(not(unix))]
async fn terminate() {
    std::future::pending().await
}
