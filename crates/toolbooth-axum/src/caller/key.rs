use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::extract::ConnectInfo;
use toolbooth::{CallContext, Name, RequestHead};

/// The key of requests and calls whose client is not known.
const UNKNOWN: Name = Name::from_static("unknown");

/// An extension of a request and of its calls: the client as a key for limits.
///
/// An IPv4 address is a key. Of an IPv6 address the key is the network of 64 bits, since a client
/// has the whole of it: each of its addresses as a key of its own would be no limit.
///
/// ```
/// use std::num::NonZeroU32;
/// use toolbooth::{ConcurrencyLimitLayer, Quota, RateLimitLayer};
/// use toolbooth_axum::ClientKey;
///
/// // Around routes:
/// let rate = RateLimitLayer::by_request(Quota::per_second(NonZeroU32::MIN), ClientKey::of_request);
/// // Around the tools of a `ToolRouter`:
/// let running = ConcurrencyLimitLayer::by(4, ClientKey::of_call);
/// # let _ = (rate, running);
///
/// assert_eq!(ClientKey::of_address("10.0.0.7".parse()?).as_str(), "10.0.0.7");
/// assert_eq!(ClientKey::of_address("2001:db8:1:2:3::4".parse()?).as_str(), "2001:db8:1:2::/64");
/// # Ok::<_, std::net::AddrParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClientKey(Name);

// === impl ClientKey ===

impl ClientKey {
    /// Creates a key, such as the id of an account.
    #[must_use]
    pub fn new(key: impl Into<Name>) -> Self {
        Self(key.into())
    }

    /// Creates the key of an address.
    #[must_use]
    pub fn of_address(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => Name::from(format_args!("{address}")),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                let network = Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0);
                Name::from(format_args!("{network}/64"))
            }
        })
    }

    /// Returns the key of a request, for limits by key: the one that a
    /// [`CallerLayer`](crate::CallerLayer) has added, otherwise that of the address of the peer.
    ///
    /// axum knows the address only in a server that was started with
    /// `into_make_service_with_connect_info::<SocketAddr>()`. Without one the key is `unknown`, the
    /// same for all clients.
    #[must_use]
    pub fn of_request(head: &RequestHead<'_>) -> Name {
        Self::find(head).map_or(UNKNOWN, |Self(key)| key)
    }

    /// Returns the key of a call that a [`Caller`](crate::Caller) or a
    /// [`ToolRouter`](crate::ToolRouter) has made, for limits by key. `unknown` without one.
    #[must_use]
    pub fn of_call(call: &CallContext) -> Name {
        let key = call.extension::<Self>();
        key.map_or(UNKNOWN, |Self(key)| key.clone())
    }

    /// Returns the key as a string slice.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the key of a request, if its client is known.
    pub(super) fn find(head: &RequestHead<'_>) -> Option<Self> {
        let key = head.extension::<Self>().cloned();
        key.or_else(|| Self::of_peer(head))
    }

    pub(super) fn of_peer(head: &RequestHead<'_>) -> Option<Self> {
        let ConnectInfo(peer) = head.extension::<ConnectInfo<SocketAddr>>()?;
        Some(Self::of_address(peer.ip()))
    }

    /// Returns the key of the address that the outermost of `proxies` has recorded in
    /// `X-Forwarded-For`: each proxy appends the address of its peer.
    pub(super) fn of_forwarded(head: &RequestHead<'_>, proxies: usize) -> Option<Self> {
        let values = head.headers().get_all("x-forwarded-for").iter().rev();
        let values = values.map(|value| value.to_str().unwrap_or_default());
        let mut entries = values.flat_map(|value| value.rsplit(','));
        let entry = entries.nth(proxies.checked_sub(1)?)?;
        address_of(entry.trim()).map(Self::of_address)
    }
}

impl fmt::Display for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Parses an address with or without a port: `10.0.0.7`, `10.0.0.7:80`, `2001:db8::1`,
/// `[2001:db8::1]`, `[2001:db8::1]:80`.
fn address_of(entry: &str) -> Option<IpAddr> {
    let inner = entry.strip_prefix('[').and_then(|e| e.strip_suffix(']'));
    let address = inner.unwrap_or(entry).parse();
    let with_port = || entry.parse().map(|address: SocketAddr| address.ip());
    address.or_else(|_| with_port()).ok()
}

#[cfg(test)]
mod tests {
    use axum::http::Request;
    use toolbooth::ToolRequest;

    use super::*;

    fn forwarded(values: &[&str], proxies: usize) -> Option<String> {
        let mut request = Request::new(());
        for value in values {
            let value = value.parse().expect("a value of a header");
            request.headers_mut().append("x-forwarded-for", value);
        }
        let head = request.http_head().expect("of HTTP");
        ClientKey::of_forwarded(&head, proxies).map(|key| key.to_string())
    }

    #[test]
    fn addresses_of_one_ipv6_network_are_one_key() {
        for (address, key) in [
            ("10.0.0.7", "10.0.0.7"),
            ("::ffff:10.0.0.7", "10.0.0.7"),
            ("2001:db8::1", "2001:db8::/64"),
            ("2001:db8::ffff:ffff:ffff:ffff", "2001:db8::/64"),
            ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
            ("::1", "::/64"),
        ] {
            let found = ClientKey::of_address(address.parse().expect("an address"));
            assert_eq!(found.as_str(), key, "{address}");
        }
    }

    #[test]
    fn forwarded_address_is_counted_from_the_nearest_proxy() {
        let one = ["10.9.9.9, 10.0.0.2, 10.0.0.1"];
        assert_eq!(forwarded(&one, 1).as_deref(), Some("10.0.0.1"));
        assert_eq!(forwarded(&one, 2).as_deref(), Some("10.0.0.2"));
        assert_eq!(forwarded(&one, 4), None);
        assert_eq!(forwarded(&one, 0), None);
        // Several headers are one list.
        let two = ["10.0.0.3", "10.0.0.2,10.0.0.1"];
        assert_eq!(forwarded(&two, 3).as_deref(), Some("10.0.0.3"));
        for (entry, key) in [
            ("[2001:db8::1]:443", Some("2001:db8::/64")),
            ("[2001:db8::1]", Some("2001:db8::/64")),
            ("2001:db8::1", Some("2001:db8::/64")),
            ("10.0.0.7:443", Some("10.0.0.7")),
            ("unknown", None),
            ("", None),
            ("[", None),
        ] {
            assert_eq!(forwarded(&[entry], 1).as_deref(), key, "{entry}");
        }
        assert_eq!(forwarded(&[], 1), None);
    }
}
