//! Which requests may come from a browser (DNS rebinding, foreign pages).

use std::net::{IpAddr, SocketAddr};

use http::header::{HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, Request};

/// The hosts and origins that requests may name.
///
/// A page whose name was rebound to this address sends its own name as `Host`. A page elsewhere
/// sends its `Origin`. Programs send no `Origin`. A page of this address has its own `Host` as
/// `Origin`.
#[derive(Debug, Clone)]
pub(crate) struct Origins {
    address: SocketAddr,
    hosts: Vec<String>,
    origins: Vec<String>,
}

// === impl Origins ===

impl Origins {
    pub(crate) fn new(address: SocketAddr, hosts: &[String], origins: &[String]) -> Self {
        let lower = |texts: &[String]| texts.iter().map(|text| text.to_ascii_lowercase()).collect();
        Self {
            address,
            hosts: lower(hosts),
            origins: lower(origins),
        }
    }

    /// Returns what is wrong with the request, if it is not allowed.
    pub(crate) fn check<B>(&self, request: &Request<B>) -> Result<(), &'static str> {
        let host = host(request).ok_or("a request has one valid `Host`")?;
        if !self.allows_host(&host) {
            return Err("this `Host` is not allowed");
        }
        let mut origins = request.headers().get_all(ORIGIN).iter();
        let own = self.is_named(&host).then(|| format!("http://{host}"));
        let allowed = origins.all(|origin| {
            let origin = origin.to_str().map(str::to_ascii_lowercase);
            origin.is_ok_and(|origin| {
                let is_own = own
                    .as_ref()
                    .is_some_and(|own| own.eq_ignore_ascii_case(&origin));
                is_own || self.origins.contains(&origin)
            })
        });
        match allowed {
            true => Ok(()),
            false => Err("this `Origin` is not allowed"),
        }
    }

    /// On loopback: its names, and those of the file. Elsewhere: any name if the file has none,
    /// because a page has no token.
    fn allows_host(&self, host: &Authority) -> bool {
        let is_own = !self.address.ip().is_loopback()
            && (self.hosts.is_empty() || address(host) == Some(self.address.ip()));
        is_own || self.is_named(host)
    }

    /// Returns whether the host cannot be a rebound name: it is a name of loopback, or in the
    /// file. A page that it serves may send requests to it.
    fn is_named(&self, host: &Authority) -> bool {
        let name = name(host);
        let listed = |allowed: &String| {
            allowed.eq_ignore_ascii_case(host.as_str()) || allowed.trim_matches(['[', ']']) == name
        };
        let is_local = name == "localhost" || address(host).is_some_and(|ip| ip.is_loopback());
        (self.address.ip().is_loopback() && is_local) || self.hosts.iter().any(listed)
    }
}

/// Returns the name or the address of a host, without its port.
fn name(host: &Authority) -> String {
    let name = host.host().to_ascii_lowercase();
    name.trim_matches(['[', ']']).to_owned()
}

fn address(host: &Authority) -> Option<IpAddr> {
    name(host).parse().ok()
}

/// Returns the host of a request: that of its target, otherwise its only `Host`.
fn host<B>(request: &Request<B>) -> Option<Authority> {
    match request.uri().authority() {
        Some(authority) => Some(authority.clone()),
        None => only(request.headers())?.parse().ok(),
    }
    .filter(|authority: &Authority| !authority.as_str().contains('@'))
}

fn only(headers: &HeaderMap) -> Option<&str> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next()?.to_str().ok()?;
    hosts.next().is_none().then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(origins: &Origins, headers: &[(&str, &str)]) -> bool {
        let request = headers
            .iter()
            .fold(Request::post("/mcp"), |request, header| {
                request.header(header.0, header.1)
            });
        origins.check(&request.body(()).expect("valid")).is_ok()
    }

    fn origins(address: &str, hosts: &[&str], origins: &[&str]) -> Origins {
        let owned = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        Origins::new(
            address.parse().expect("valid"),
            &owned(hosts),
            &owned(origins),
        )
    }

    #[test]
    fn loopback_allows_its_names_on_any_port() {
        let local = origins("127.0.0.1:80", &[], &[]);
        for (host, allowed) in [
            ("localhost", true),
            ("LocalHost:8808", true),
            ("127.0.0.1", true),
            ("127.8.0.1:1", true),
            ("[::1]:80", true),
            ("localhost.evil.example", false),
            ("evil.example", false),
            ("evil.example:80", false),
            ("10.0.0.1", false),
            ("", false),
            ("local host", false),
            ("user@localhost", false),
        ] {
            assert_eq!(check(&local, &[("host", host)]), allowed, "{host}");
        }
        assert!(!check(&local, &[]));
        assert!(!check(
            &local,
            &[("host", "localhost"), ("host", "localhost")]
        ));
    }

    #[test]
    fn origin_is_that_of_the_host_if_the_host_is_loopback_or_listed() {
        let local = origins("127.0.0.1:80", &[], &[]);
        let named = origins("10.0.0.1:80", &["booth.example"], &[]);
        let any = origins("10.0.0.1:80", &[], &[]);
        for (origins, host, origin, allowed) in [
            (&local, "localhost:80", "http://localhost:80", true),
            (&local, "LOCALHOST:80", "http://localhost:80", true),
            (&local, "127.0.0.1:80", "http://localhost:80", false),
            (&local, "localhost:80", "http://localhost:3000", false),
            (&local, "localhost:80", "https://localhost:80", false),
            (&named, "booth.example", "http://booth.example", true),
            (&any, "evil.example", "http://evil.example", false),
            (&any, "10.0.0.1:80", "http://10.0.0.1:80", false),
        ] {
            let headers = [("host", host), ("origin", origin)];
            assert_eq!(check(origins, &headers), allowed, "{host} {origin}");
        }
    }

    #[test]
    fn listed_hosts_are_allowed_with_their_port_or_any() {
        let named = origins("127.0.0.1:80", &["Booth.example", "a.example:8443"], &[]);
        for (host, allowed) in [
            ("booth.example", true),
            ("booth.example:99", true),
            ("a.example:8443", true),
            ("a.example", false),
            ("a.example:80", false),
        ] {
            assert_eq!(check(&named, &[("host", host)]), allowed, "{host}");
        }
    }

    #[test]
    fn other_addresses_allow_any_host_unless_some_are_listed() {
        assert!(check(
            &origins("10.0.0.1:80", &[], &[]),
            &[("host", "any.example")]
        ));
        let named = origins("10.0.0.1:80", &["booth.example"], &[]);
        assert!(!check(&named, &[("host", "any.example")]));
        assert!(check(&named, &[("host", "booth.example")]));
        assert!(check(&named, &[("host", "10.0.0.1:80")]));
    }

    #[test]
    fn other_pages_need_a_listed_origin() {
        let local = origins("127.0.0.1:80", &[], &["http://localhost:6274"]);
        for (origin, allowed) in [
            ("http://localhost:6274", true),
            ("HTTP://localhost:6274", true),
            ("http://localhost", true),
            ("http://localhost:6275", false),
            ("https://evil.example", false),
            ("null", false),
            ("", false),
        ] {
            let headers = [("host", "localhost"), ("origin", origin)];
            assert_eq!(check(&local, &headers), allowed, "{origin}");
        }
    }
}
