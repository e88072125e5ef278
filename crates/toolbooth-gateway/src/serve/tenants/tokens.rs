//! Bearer tokens.

use http::HeaderMap;
use http::header::AUTHORIZATION;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use crate::config::TokenHash;

/// The hashes of all tokens, each with the number of its owner.
///
/// A search takes the same time whether and where the token is found: it compares with every hash.
#[derive(Debug, Default)]
pub(crate) struct Tokens(Vec<(TokenHash, u32)>);

/// What a request has in place of a valid token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoToken {
    /// It has none.
    Missing,
    /// It has one that is unknown, or several.
    Invalid,
}

/// The longest token that is hashed.
const MAX_TOKEN: usize = 1_024;

// === impl Tokens ===

impl Tokens {
    pub(crate) fn new(tokens: impl IntoIterator<Item = (TokenHash, u32)>) -> Self {
        Self(tokens.into_iter().collect())
    }

    /// Returns the number of the owner of the request's token.
    pub(crate) fn owner(&self, headers: &HeaderMap) -> Result<u32, NoToken> {
        let token = bearer(headers)?;
        let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let mut found = Choice::from(0);
        let mut owner = 0;
        for (known, number) in &self.0 {
            let same = known.as_bytes().ct_eq(&hash);
            owner.conditional_assign(number, same);
            found |= same;
        }
        match found.into() {
            true => Ok(owner),
            false => Err(NoToken::Invalid),
        }
    }
}

/// Returns the token of `Authorization: Bearer ..` ([RFC 6750, 2.1]).
///
/// [RFC 6750, 2.1]: https://www.rfc-editor.org/rfc/rfc6750#section-2.1
fn bearer(headers: &HeaderMap) -> Result<&str, NoToken> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(NoToken::Missing)?;
    let value = value.to_str().or(Err(NoToken::Invalid))?;
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    let token = token.trim();
    let is_valid = scheme.eq_ignore_ascii_case("bearer")
        && (1..=MAX_TOKEN).contains(&token.len())
        && values.next().is_none();
    match is_valid {
        true => Ok(token),
        false => Err(NoToken::Invalid),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn owner(values: &[&str]) -> Result<u32, NoToken> {
        let hashes = [("a", 7), ("b", 3), ("c", 7)].map(|(token, n)| (TokenHash::of(token), n));
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_str(value).expect("valid"));
        }
        Tokens::new(hashes).owner(&headers)
    }

    #[test]
    fn token_has_its_owner() {
        for (token, expected) in [("a", 7), ("b", 3), ("c", 7)] {
            assert_eq!(owner(&[&format!("Bearer {token}")]), Ok(expected));
            assert_eq!(owner(&[&format!("bearer   {token} ")]), Ok(expected));
        }
    }

    #[test]
    fn anything_else_has_no_owner() {
        assert_eq!(owner(&[]), Err(NoToken::Missing));
        let long = format!("Bearer {}", "a".repeat(MAX_TOKEN + 1));
        for wrong in [
            "Bearer d",
            "Bearer",
            "Bearer ",
            "a",
            "Basic a",
            "Bearer a b",
            "",
            &long,
        ] {
            assert_eq!(owner(&[wrong]), Err(NoToken::Invalid), "{wrong}");
        }
        assert_eq!(owner(&["Bearer a", "Bearer a"]), Err(NoToken::Invalid));
        let nothing = Tokens::default().owner(&HeaderMap::from_iter([(
            AUTHORIZATION,
            HeaderValue::from_static("Bearer a"),
        )]));
        assert_eq!(nothing, Err(NoToken::Invalid));
    }
}
