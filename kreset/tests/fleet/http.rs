//! Requests to receivers that speak HTTP.

use std::time::Duration;

/// A receiver on loopback.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Http {
    pub(crate) port: u16,
}

impl Http {
    /// The body of an answer, if one came and said that all is well.
    pub(crate) fn get(self, path: &str) -> Option<String> {
        let answer = agent().get(self.url(path)).call().ok()?;
        (answer.status() == 200).then(|| text(answer))
    }

    pub(crate) fn url(self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }
}

/// `text` as part of a query.
pub(crate) fn encoded(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    text.bytes()
        .map(|byte| {
            if plain(&byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

/// The client for it.
pub(crate) fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_mins(1)))
        .build()
        .new_agent()
}

/// The body of an answer.
pub(crate) fn text(mut answer: ureq::http::Response<ureq::Body>) -> String {
    let body = answer.body_mut().with_config().limit(1 << 28);
    body.read_to_string().unwrap()
}
