//! Removes secrets from URLs before they are shown.

/// `url` without user, password and query, in each of which a secret may be.
#[must_use]
pub fn redact(url: &str) -> String {
    let (url, query) = match url.split_once(['?', '#']) {
        Some((url, _)) => (url, "?..."),
        None => (url, ""),
    };
    let (scheme, rest) = match url.find("://") {
        Some(at) => url.split_at(at + "://".len()),
        None => ("", url),
    };
    let (user, host) = match rest.rsplit_once('@') {
        Some((_, host)) => ("...@", host),
        None => ("", rest),
    };
    format!("{scheme}{user}{host}{query}")
}

#[cfg(test)]
mod tests {
    use super::redact;

    #[test]
    fn users_passwords_and_queries_are_hidden() {
        for (url, shown) in [
            (
                "https://collector:4318/v1/logs",
                "https://collector:4318/v1/logs",
            ),
            ("https://user:pass@c:4318/v1", "https://...@c:4318/v1"),
            ("https://user:p/a@ss@c", "https://...@c"),
            ("user:pass@c:4318", "...@c:4318"),
            ("https://c/v1?token=x", "https://c/v1?..."),
            ("siem:514", "siem:514"),
        ] {
            assert_eq!(redact(url), shown);
        }
    }
}
