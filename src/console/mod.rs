//! The window for operators: `/livez`, `/readyz`, `/metrics` on a loopback address.
//!
//! It shows counts and states, never content, and changes nothing.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::broker::View;

/// Binds the address; port 0 takes a free one.
///
/// # Errors
/// The address cannot be had.
pub async fn bind(listen: SocketAddr) -> std::io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Serves until stopped.
///
/// # Errors
/// The listener failed.
pub async fn serve(listener: TcpListener, view: View, stop: CancellationToken) -> std::io::Result<()> {
    let app = Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .fallback(async || problem(StatusCode::NOT_FOUND, "there is nothing here"))
        .method_not_allowed_fallback(async || {
            problem(StatusCode::METHOD_NOT_ALLOWED, "this can only be read")
        })
        .with_state(view);
    axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned()).await
}

async fn ready(State(view): State<View>) -> Response {
    let checks = view.checks();
    let fine = checks.iter().all(|check| check.ok);
    let lines: Vec<_> = checks
        .iter()
        .map(|check| json!({ "check": check.name, "ok": check.ok, "detail": check.words }))
        .collect();
    let word = match (fine, checks.iter().any(|check| check.degraded)) {
        (false, _) => "not-ready",
        (true, true) => "degraded",
        (true, false) => "ok",
    };
    let body = json!({ "ready": fine, "status": word, "checks": lines }).to_string();
    let status = if fine { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

async fn metrics(State(view): State<View>) -> Response {
    // A disk that hangs must not keep the other questions waiting.
    let Ok(text) = tokio::task::spawn_blocking(move || view.metrics()).await else {
        return problem(StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be read");
    };
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

/// An error as RFC 9457 asks.
fn problem(status: StatusCode, title: &str) -> Response {
    let body = json!({ "type": "about:blank", "title": title, "status": status.as_u16() }).to_string();
    (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response()
}
