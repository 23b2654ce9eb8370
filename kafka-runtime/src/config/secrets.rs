//! What must never be shown.

/// What is shown instead of a secret.
pub(crate) const MASK: &str = "******";

/// Parts of names (without separators, in lower case) whose values are secrets.
const SECRET: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "credential",
    "jaas",
    "keystorekey",
    "keystorecertificatechain",
    "privatekey",
    "apikey",
    "accesskey",
    "basicauth",
    "userinfo",
];

/// Whether the value under this name is a secret.
pub(crate) fn is_secret(name: &str) -> bool {
    let plain: String = name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    // The address of a token endpoint is no secret, and is what one looks for when it is wrong.
    !plain.ends_with("endpointurl") && SECRET.iter().any(|part| plain.contains(part))
}

/// `value` as it may be shown: the mask where `name` is a secret's, without the user and password of addresses.
pub(crate) fn shown(name: &str, value: &str) -> String {
    if is_secret(name) && !value.is_empty() { MASK.to_owned() } else { without_user_info(value) }
}

/// `text` with the user information of every address in it masked: what stands before an `@` up to the scheme,
/// a comma or a space.
pub(crate) fn without_user_info(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for part in text.split_inclusive([',', ' ']) {
        match part.rsplit_once('@') {
            Some((user, host)) if user.contains(':') => {
                if let Some((scheme, _)) = user.split_once("://") {
                    shown.push_str(scheme);
                    shown.push_str("://");
                }
                shown.push_str(MASK);
                shown.push('@');
                shown.push_str(host);
            }
            _ => shown.push_str(part),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_their_names() {
        for name in [
            "spring.kafka.ssl.key-password",
            "sasl.jaas.config",
            "DB_PASSWORD",
            "spring.kafka.ssl.keyStoreKey",
            "sasl.oauthbearer.client.credentials.client.secret",
            "vault.token",
            "spring.kafka.jaas.options.x",
        ] {
            assert!(is_secret(name), "{name}");
        }
        for name in ["group-id", "key-serializer", "sasl.oauthbearer.token.endpoint.url", "server.port"] {
            assert!(!is_secret(name), "{name}");
        }
        assert_eq!(shown("a.password", "hunter2"), MASK);
        assert_eq!(shown("a.password", ""), "");
    }

    #[test]
    fn addresses_lose_their_user() {
        assert_eq!(without_user_info("http://joe:pw@host:1/x, b:2"), "http://******@host:1/x, b:2");
        assert_eq!(without_user_info("joe:pw@host:1"), "******@host:1");
        assert_eq!(without_user_info("joe:p@w@host:1"), "******@host:1");
        assert_eq!(without_user_info("a@b"), "a@b");
    }
}
