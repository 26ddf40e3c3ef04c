//! The titles of processes, as ps(1) shows them.

use std::fs;
use std::io::{Read, Write};

use crate::harness::{Server, serve, wait_until};

/// The titles of the processes of the supervisor.
fn titles(server: &Server) -> Vec<String> {
    let read = |pid| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    server.children().into_iter().chain(server.fork_servers()).map(read).collect()
}

fn wait_title(server: &Server, title: &str) {
    wait_until(title, || titles(server).contains(&format!("{title}\0")));
}

#[test]
fn titles_name_service_peer_and_request() {
    for process in ["model = 'fork'", "model = 'double-fork'", "spares = 1"] {
        let config = format!(
            "[process]\n{process}\n[[service.web.route]]\n\
             [[service.web.route]]\npath = '/slow'\nhandler = 'respond'\ndelay = '1h'\n"
        );
        let server = serve(&config);
        wait_title(&server, "lsbaws: fork-server web");
        if process == "spares = 1" {
            wait_title(&server, "lsbaws: spare web");
        }
        let mut client = server.connect();
        let peer = client.local_addr().unwrap();
        wait_title(&server, &format!("lsbaws: web {peer}"));
        client.write_all(b"GET /a/long/path HTTP/1.1\r\nHost: test\r\nCookie: secret\r\n\r\n").unwrap();
        wait_title(&server, &format!("lsbaws: web {peer} GET /a/long/path"));
        client.write_all(b"GET /slow?secret HTTP/1.1\r\nHost: test\r\nCookie: secret\r\n\r\n").unwrap();
        wait_title(&server, &format!("lsbaws: web {peer} GET /slow?..."));
        wait_title(&server, "lsbaws: fork-server web");
        assert!(titles(&server).iter().all(|title| !title.contains("secret")));
    }
}

#[test]
fn titles_without_clients_and_requests() {
    for model in ["fork", "double-fork"] {
        let server = serve(&format!("process = {{ model = '{model}', titles = false }}\n"));
        let mut client = server.connect();
        wait_title(&server, "lsbaws: child web");
        client.write_all(b"GET /a/path HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
        let mut some = [0; 512];
        assert!(client.read(&mut some).unwrap() > 0);
        let peer = client.local_addr().unwrap().to_string();
        let titles = titles(&server);
        assert!(titles.contains(&"lsbaws: child web\0".to_owned()), "{titles:?}");
        assert!(
            titles.iter().all(|title| !title.contains("/a/path") && !title.contains(&peer)),
            "{titles:?}"
        );
    }
}
