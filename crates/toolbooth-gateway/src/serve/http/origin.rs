//! Which requests may come from a browser (DNS rebinding, foreign pages).

use std::net::{IpAddr, SocketAddr};

use http::header::{HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, Request};

/// The hosts and origins that requests may name.
///
/// A page whose name was rebound to this address sends its own name as `Host`. A page elsewhere
/// sends its `Origin`. Programs send no `Origin`.
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
        let allowed = origins.all(|origin| {
            let origin = origin.to_str().map(str::to_ascii_lowercase);
            origin.is_ok_and(|origin| self.origins.contains(&origin))
        });
        match allowed {
            true => Ok(()),
            false => Err("this `Origin` is not allowed"),
        }
    }

    /// On loopback: its names, and those of the file. Elsewhere: any name if the file has none,
    /// because a page has no token.
    fn allows_host(&self, host: &Authority) -> bool {
        let name = host.host().to_ascii_lowercase();
        let name = name.trim_start_matches('[').trim_end_matches(']');
        let listed = |allowed: &String| {
            allowed.eq_ignore_ascii_case(host.as_str()) || allowed.trim_matches(['[', ']']) == name
        };
        let address: Option<IpAddr> = name.parse().ok();
        let is_own = match self.address.ip().is_loopback() {
            true => name == "localhost" || address.is_some_and(|ip| ip.is_loopback()),
            false => self.hosts.is_empty() || address == Some(self.address.ip()),
        };
        is_own || self.hosts.iter().any(listed)
    }
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
    fn pages_need_a_listed_origin() {
        let local = origins("127.0.0.1:80", &[], &["http://localhost:6274"]);
        for (origin, allowed) in [
            ("http://localhost:6274", true),
            ("HTTP://localhost:6274", true),
            ("http://localhost", false),
            ("https://evil.example", false),
            ("null", false),
            ("", false),
        ] {
            let headers = [("host", "localhost"), ("origin", origin)];
            assert_eq!(check(&local, &headers), allowed, "{origin}");
        }
    }
}
