//! An application behind nginx and HAProxy, with the files of examples/proxies: one process answers many clients.

use crate::behind::{Proxy, curl, open_socket, start_haproxy, start_nginx};
use crate::harness::Setup;
use crate::wsgi::{content, route};

/// Asserts that one process answers twenty clients, and that it gets the address of each.
fn check(start: impl FnOnce(std::net::SocketAddr) -> Option<Proxy>) {
    let socket = open_socket();
    let Some(proxy) = start(socket.local_addr().unwrap()) else { return };
    // No connection may end by itself meanwhile.
    let config = format!(
        "[limits]\nkeepalive_timeout = '10m'\n[service.web]\ntrusted_proxies = ['127.0.0.1']\n{}",
        route("/", "bare:client")
    );
    let _server = Setup::new(&config).socket(socket).names("web").start();
    let url = format!("http://{}/", proxy.addresses[0]);
    let mut processes: Vec<_> = (5..25)
        .map(|client| {
            let answer = curl(client, &url, &[]);
            let (process, address) = content(&answer).split_once(' ').unwrap();
            assert_eq!(address, format!("127.0.0.{client}"), "{answer}");
            process.to_owned()
        })
        .collect();
    processes.dedup();
    assert_eq!(processes.len(), 1, "{processes:?}");
}

#[test]
fn one_process_answers_all_clients_of_nginx() {
    check(start_nginx);
}

#[test]
fn one_process_answers_all_clients_of_haproxy() {
    check(|server| start_haproxy(server, open_socket().local_addr().unwrap()));
}
