//! A server that is reached by TLS only, with certificates of the program `openssl`.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::server::Server;
use crate::witness::Witness;
use crate::worker::{Ended, Limit, Work};

/// A certificate for `localhost`, and that of the authority which has signed it.
struct Certificate {
    dir: TempDir,
}

// === impl Certificate ===

impl Certificate {
    fn new() -> Self {
        let certificate = Self {
            dir: TempDir::new().expect("a directory"),
        };
        certificate.make(&[
            "-keyout",
            "ca.key",
            "-out",
            "ca.pem",
            "-subj",
            "/CN=authority",
        ]);
        certificate.make(&[
            "-keyout",
            "key.pem",
            "-out",
            "cert.pem",
            "-subj",
            "/CN=localhost",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
            "-addext",
            "subjectAltName=DNS:localhost",
        ]);
        certificate
    }

    fn make(&self, arguments: &[&str]) {
        let output = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"])
            .args(["-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .args(arguments)
            .current_dir(self.dir.path())
            .output();
        let output = output.expect("the program openssl");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl: {errors}");
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// Makes a server listen with a certificate. Returns its URL.
fn listen(server: &Server, certificate: &Certificate) -> String {
    let port = crate::away::free_port();
    server.command::<()>(&format!(
        "CONFIG SET tls-key-file {} tls-cert-file {} tls-ca-cert-file {} tls-auth-clients no \
         tls-port {port}",
        certificate.file("key.pem").display(),
        certificate.file("cert.pem").display(),
        certificate.file("ca.pem").display()
    ));
    format!("rediss://localhost:{port}")
}

/// Starts a worker that trusts one certificate, and waits for its end.
fn calls(work: &Work, trusted: &Path) -> Ended {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command
        .env("SSL_CERT_FILE", trusted)
        .env_remove("SSL_CERT_DIR");
    work.start_by(command).ended()
}

#[test]
fn limit_holds_on_a_server_with_tls() {
    let (server, witness, certificate) = (Server::start(), Witness::new(), Certificate::new());
    let work = Work {
        tasks: 4,
        calls: Some(20),
        when_away: "closed".to_owned(),
        ..Work::new(&listen(&server, &certificate), &witness, Limit::Permits(2))
    };
    let ended = calls(&work, &certificate.file("ca.pem"));
    assert_eq!((ended.done, ended.away), (20, None));
    assert!(ended.failed.is_empty(), "{:?}", ended.failed);
    assert_eq!(witness.take_most(), 2);
    // The limit is on the server.
    assert_eq!(server.command::<u64>("EXISTS toolbooth:{limit}:state"), 1);
}

#[test]
fn server_whose_certificate_is_not_trusted_is_away() {
    let (server, witness, certificate) = (Server::start(), Witness::new(), Certificate::new());
    let work = Work {
        calls: Some(3),
        when_away: "closed".to_owned(),
        ..Work::new(&listen(&server, &certificate), &witness, Limit::Permits(2))
    };
    let other = Certificate::new();
    let ended = calls(&work, &other.file("ca.pem"));
    assert_eq!(ended.done, 0);
    assert!(ended.failed.into_keys().eq(["overloaded"]));
    let away = ended.away.expect("an error");
    assert!(away.contains("invalid peer certificate"), "{away}");
    assert_eq!(server.command::<u64>("EXISTS toolbooth:{limit}:state"), 0);
}
