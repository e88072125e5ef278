use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Unexpected, Visitor};
use sha2::{Digest, Sha256};
use toolbooth::policy::{PolicyError, RateSettings, Setting, name_matches};

use super::file::Reader;

/// A client, or several of them, with limits of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tenant {
    /// The tokens: at least one. A second one allows to change it without a gap.
    pub tokens: Vec<TokenHash>,
    /// The priority of its calls: 0 by default.
    pub priority: Option<i32>,
    /// How many of its calls start in a time.
    pub rate: Option<RateSettings>,
    /// How many of its calls run at once.
    pub concurrency: Option<u32>,
    /// How many of its calls wait for these two limits: 1,024 by default.
    pub queue: Option<u32>,
    /// The tools that it may call, all by default. The others are unknown to it.
    pub tools: Option<Vec<String>>,
}

/// The SHA-256 of a token. The token itself is in no file.
///
/// A fast hash suffices, because a token has 256 random bits: there is nothing to guess.
///
/// ```
/// use toolbooth_gateway::config::TokenHash;
///
/// let hash = TokenHash::of("a token");
/// assert_eq!(hash.to_string().parse(), Ok(hash));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenHash([u8; 32]);

/// The hashes of one token, or of several.
pub(super) struct TokenHashes(pub(super) Vec<TokenHash>);

/// The table of a tenant in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table of a tenant")]
pub(super) struct TenantTable {
    token_sha256: TokenHashes,
    priority: Option<i32>,
    #[serde(default)]
    rate: Setting<RateSettings>,
    #[serde(default)]
    concurrency: Setting<u32>,
    #[serde(default)]
    queue: Setting<u32>,
    tools: Option<Vec<String>>,
}

const EXPECTED: &str = "the SHA-256 of a token in 64 hexadecimal digits, as `toolbooth token` \
     prints it, or a list of them";
/// The most tokens of one tenant.
const MAX_TOKENS: usize = 16;

// === impl TenantTable ===

impl TenantTable {
    pub(super) fn read(self, reader: &Reader<'_>, keys: &[&str]) -> Result<Tenant, PolicyError> {
        let queue = &self.queue;
        if *queue == Setting::Off {
            let message = "it cannot be \"none\": limit the wait of calls by a timeout";
            return Err(reader.fault(keys, "queue", message));
        }
        if let Some([]) = self.tools.as_deref() {
            let message = "without a tool the tenant can do nothing: remove the key for all tools";
            return Err(reader.fault(keys, "tools", message));
        }
        Ok(Tenant {
            tokens: self.token_sha256.0,
            priority: self.priority,
            rate: self.rate.value().cloned(),
            concurrency: self.concurrency.value().copied(),
            queue: queue.value().copied(),
            tools: self.tools,
        })
    }
}

// === impl Tenant ===

impl Tenant {
    /// Returns whether it may call the tool of this name.
    #[must_use]
    pub fn allows(&self, tool: &str) -> bool {
        let allows = |tools: &Vec<String>| tools.iter().any(|pattern| name_matches(pattern, tool));
        self.tools.as_ref().is_none_or(allows)
    }
}

// === impl TokenHash ===

impl TokenHash {
    /// Hashes a token.
    #[must_use]
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }

    /// Returns the bytes, to be compared in constant time.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::str::FromStr for TokenHash {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let nibble = |digit: u8| {
            char::from(digit)
                .to_digit(16)
                .and_then(|n| u8::try_from(n).ok())
        };
        let bytes = text.as_bytes();
        let mut hash = [0; 32];
        if bytes.len() != 64 {
            return Err(format!("expected {EXPECTED}"));
        }
        for (byte, digits) in hash.iter_mut().zip(bytes.chunks_exact(2)) {
            let value = nibble(digits[0]).zip(nibble(digits[1]));
            let (high, low) = value.ok_or_else(|| format!("expected {EXPECTED}"))?;
            *byte = high << 4 | low;
        }
        Ok(Self(hash))
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(..)")
    }
}

/// No error quotes the text: it may be a token that was not hashed.
impl<'de> Deserialize<'de> for TokenHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let hashes = TokenHashes::deserialize(deserializer)?;
        let [hash] = hashes.0.as_slice() else {
            return Err(D::Error::invalid_type(
                Unexpected::Other("a list"),
                &EXPECTED,
            ));
        };
        Ok(*hash)
    }
}

impl<'de> Deserialize<'de> for TokenHashes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Hashes;

        impl<'de> Visitor<'de> for Hashes {
            type Value = TokenHashes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(EXPECTED)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<TokenHashes, E> {
                let hash = text.parse().map_err(E::custom)?;
                Ok(TokenHashes(vec![hash]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<TokenHashes, A::Error> {
                let mut hashes = Vec::new();
                while let Some(hash) = list.next_element()? {
                    if hashes.len() == MAX_TOKENS {
                        let message = format!("at most {MAX_TOKENS} tokens are allowed");
                        return Err(A::Error::custom(message));
                    }
                    hashes.push(hash);
                }
                match hashes.is_empty() {
                    true => Err(A::Error::invalid_length(0, &EXPECTED)),
                    false => Ok(TokenHashes(hashes)),
                }
            }
        }

        deserializer.deserialize_any(Hashes)
    }
}
