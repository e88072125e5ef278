use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use crate::Problem;

/// The time in which the body of a request must arrive by default.
pub(crate) const DEFAULT_BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// An extractor of the arguments of a call: the body as JSON, or `{}` for an empty body.
///
/// It rejects a request with a [`Problem`]:
///
/// - 415, if a body is not declared as `application/json` or as a type that ends with `+json`. A
///   form of another site, which a browser sends without asking, has no such type. An empty body
///   needs none: where a browser sends credentials on its own, check the header `Origin`.
/// - 413, if it is longer than axum's `DefaultBodyLimit`, 2 MB by default.
/// - 408, if it does not arrive within 30 s.
/// - 400, if it is not UTF-8, not JSON, nests deeper than 128 levels, or does not fit the type. The
///   detail names the position.
///
/// # Cancel safety
/// Dropping the future drops what was read of the body.
///
/// ```
/// use axum::Router;
/// use axum::routing::post;
/// use serde::Deserialize;
/// use toolbooth_axum::Arguments;
///
/// #[derive(Deserialize)]
/// struct Sum {
///     numbers: Vec<u64>,
/// }
///
/// async fn sum(Arguments(sum): Arguments<Sum>) -> String {
///     sum.numbers.iter().sum::<u64>().to_string()
/// }
///
/// let app: Router = Router::new().route("/sum", post(sum));
/// # let _ = app;
/// ```
#[derive(Debug, Clone, Copy, Default)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a pattern of a handler's parameter"
)]
pub struct Arguments<T>(pub T);

// === impl Arguments ===

impl<T, S> FromRequest<S> for Arguments<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        read(request, state, DEFAULT_BODY_TIMEOUT).await.map(Self)
    }
}

/// Reads the arguments, for at most `limit`.
pub(crate) async fn read<T: DeserializeOwned>(
    request: Request,
    state: &(impl Send + Sync),
    limit: Duration,
) -> Result<T, Problem> {
    let declared = declared(request.headers());
    let body = Bytes::from_request(request, state);
    let Ok(body) = tokio::time::timeout(limit, body).await else {
        let status = StatusCode::REQUEST_TIMEOUT;
        let detail = "the body of the request did not arrive in time";
        return Err(Problem::new(status, "body_timeout", detail));
    };
    let body = body?;
    let json = match (body.is_empty(), declared) {
        (true, None | Some(true)) => &b"{}"[..],
        (false, Some(true)) => &body,
        _ => return Err(Problem::unsupported_media_type()),
    };
    serde_json::from_slice(json).map_err(|error| match error.classify() {
        Category::Data => Problem::invalid_arguments(format_args!("invalid arguments: {error}")),
        _ => Problem::invalid_arguments(format_args!("the body is not JSON: {error}")),
    })
}

/// Returns whether the body is declared as JSON. `None` without a declaration.
fn declared(headers: &HeaderMap) -> Option<bool> {
    let value = headers.get(CONTENT_TYPE)?;
    let value = value.to_str().unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    let is_json = essence.strip_prefix("application/").is_some_and(|name| {
        let suffix = name.strip_suffix("+json");
        name == "json" || suffix.is_some_and(|name| !name.is_empty())
    });
    Some(is_json)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn declaration_is_json_or_ends_with_json() {
        for (value, expected) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/vnd.api+json", true),
            (" application/json ;x=y", true),
            ("application/+json", false),
            ("application/jsonx", false),
            ("text/json", false),
            ("text/plain", false),
            ("", false),
            ("application/x-www-form-urlencoded", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(value));
            assert_eq!(declared(&headers), Some(expected), "{value}");
        }
        assert_eq!(declared(&HeaderMap::new()), None);
    }
}
