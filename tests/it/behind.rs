//! Behind nginx, HAProxy and Caddy, with the files of examples/proxies. Only addresses and paths are replaced in them.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Stdio};

use command_fds::{CommandFdExt, FdMapping};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, getsockname, listen, setsockopt, socket,
    sockopt,
};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::harness::{Record, Server, Setup, command, find_program, make_folder, read_to_end, wait_until};
use crate::proxies::environment_route;

/// A proxy, which ends with this.
pub struct Proxy {
    process: Child,
    /// What ends the process, and those that it has started. HAProxy ignores SIGTERM if its caller does.
    end: Signal,
    /// Of HTTP, HTTPS and what else it listens for.
    pub addresses: Vec<SocketAddr>,
    _folder: TempDir,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        kill(Pid::from_raw(self.process.id().cast_signed()), self.end).unwrap();
        self.process.wait().unwrap();
    }
}

/// Makes a certificate for itself, with its key in the same file.
fn make_certificate(folder: &Path) -> Option<String> {
    let (key, certificate) = (folder.join("key"), folder.join("certificate"));
    let mut openssl = command(find_program("openssl")?);
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
    openssl
        .args(["-subj", "/CN=example.org", "-days", "1", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate);
    assert!(openssl.stderr(Stdio::null()).status().unwrap().success());
    let both = [fs::read(&certificate).unwrap(), fs::read(&key).unwrap()].concat();
    let path = folder.join("both.pem");
    fs::write(&path, both).unwrap();
    Some(path.to_str().unwrap().to_owned())
}

/// Reads an example. Each of these texts stands in it.
fn example(name: &str, replaced: &[(&str, String)]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/proxies").join(name);
    let mut text = fs::read_to_string(path).unwrap();
    for (from, to) in replaced {
        assert!(text.contains(from), "{name}: {from}");
        text = text.replace(from, to);
    }
    text
}

/// Starts a proxy with listening sockets from descriptor 3 on: clients wait until it is ready.
pub fn start(
    program: &Path,
    arguments: &[&str],
    end: Signal,
    folder: TempDir,
    sockets: Vec<TcpListener>,
) -> Proxy {
    let addresses = sockets.iter().map(|socket| socket.local_addr().unwrap()).collect();
    let mapping = sockets.into_iter().zip(3..);
    let mapping = mapping.map(|(socket, child_fd)| FdMapping { parent_fd: socket.into(), child_fd });
    let mut proxy = command(program);
    // nginx takes inherited sockets that have its addresses.
    proxy.args(arguments).env("NGINX", "3;4;").stdin(Stdio::null()).stdout(Stdio::null());
    proxy.fd_mappings(mapping.collect()).unwrap();
    Proxy { process: proxy.spawn().unwrap(), end, addresses, _folder: folder }
}

pub fn open_socket() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listen(&listener, Backlog::new(64).unwrap()).unwrap();
    listener
}

pub fn start_nginx(server: SocketAddr) -> Option<Proxy> {
    let (program, folder) = (find_program("nginx")?, make_folder());
    let certificate = make_certificate(folder.path())?;
    let sockets = vec![open_socket(), open_socket()];
    let address = |index: usize| sockets[index].local_addr().unwrap().to_string();
    let site = example(
        "nginx.conf",
        &[
            ("listen 80;", format!("listen {};", address(0))),
            ("listen 443 ssl;", format!("listen {} ssl;", address(1))),
            ("/etc/ssl/certs/example.org.pem", certificate.clone()),
            ("/etc/ssl/private/example.org.key", certificate),
            ("127.0.0.1:8888", server.to_string()),
        ],
    );
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary = temporary.map(|name| format!("{name}_temp_path {}/{name};\n", folder.path().display()));
    let main = format!(
        "daemon off;\npid {}/pid;\nerror_log stderr;\nevents {{}}\n\
         http {{\naccess_log off;\n{}{site}\n}}\n",
        folder.path().display(),
        temporary.concat()
    );
    let file = folder.path().join("nginx.conf");
    fs::write(&file, main).unwrap();
    let file = file.to_str().unwrap().to_owned();
    Some(start(&program, &["-e", "stderr", "-c", &file], Signal::SIGTERM, folder, sockets))
}

pub fn start_haproxy(server: SocketAddr, time: SocketAddr) -> Option<Proxy> {
    let (program, folder) = (find_program("haproxy")?, make_folder());
    let certificate = make_certificate(folder.path())?;
    let sockets = vec![open_socket(), open_socket(), open_socket()];
    let text = example(
        "haproxy.cfg",
        &[
            ("bind :80\n", "bind fd@3\n".into()),
            (
                "bind :443 ssl crt /etc/haproxy/certs/example.org.pem",
                format!("bind fd@4 ssl crt {certificate}"),
            ),
            ("bind :13\n", "bind fd@5\n".into()),
            ("127.0.0.1:8888", server.to_string()),
            ("127.0.0.1:8013", time.to_string()),
        ],
    );
    let file = folder.path().join("haproxy.cfg");
    fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap().to_owned();
    Some(start(&program, &["-q", "-db", "-f", &file], Signal::SIGKILL, folder, sockets))
}

fn start_caddy(server: SocketAddr) -> Option<Proxy> {
    let (program, folder) = (find_program("caddy")?, make_folder());
    let certificate = make_certificate(folder.path())?;
    // Caddy takes no sockets. It shares ports (SO_REUSEPORT), so that these keep two for it without listening.
    let reserved = [(); 2].map(|()| reserve_port());
    let addresses = reserved.each_ref().map(|socket| {
        let address: SockaddrIn = getsockname(socket.as_raw_fd()).unwrap();
        SocketAddr::V4(address.into())
    });
    let [http, https] = addresses;
    let site =
        example("Caddyfile", &[("example.org {", "(site) {".into()), ("127.0.0.1:8888", server.to_string())]);
    // Its own authority must not become one of this host.
    let options = format!(
        "admin off\nauto_https off\nskip_install_trust\ndefault_bind 127.0.0.1\ndefault_sni example.org\n\
         storage file_system {}\nservers {{\nprotocols h1\n}}\n",
        folder.path().display()
    );
    let text = format!(
        "{{\n{options}}}\n{site}\nhttp://{http} {{\nimport site\n}}\n\
         https://{https} {{\ntls {certificate} {certificate}\nimport site\n}}\n"
    );
    let file = folder.path().join("Caddyfile");
    fs::write(&file, text).unwrap();
    let mut caddy = command(&program);
    caddy.args(["run", "--adapter", "caddyfile", "--config"]).arg(&file).env("HOME", folder.path());
    caddy.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let (process, addresses) = (caddy.spawn().unwrap(), addresses.to_vec());
    let proxy = Proxy { process, end: Signal::SIGKILL, addresses, _folder: folder };
    wait_until("Caddy listens", || proxy.addresses.iter().all(|address| TcpStream::connect(address).is_ok()));
    Some(proxy)
}

/// A socket that has a port to itself, and shares it with those that ask for it.
fn reserve_port() -> OwnedFd {
    let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    setsockopt(&socket, sockopt::ReusePort, &true).unwrap();
    bind(socket.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).unwrap();
    socket
}

/// The response to a request by curl from 127.0.0.`client`.
pub fn curl(client: u8, url: &str, arguments: &[&str]) -> String {
    let mut curl = command("curl");
    curl.args(["-sS", "-k", "-i", "--http1.1", "--interface", &format!("127.0.0.{client}"), url]);
    let output = curl.args(arguments).output().unwrap();
    String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
}

/// The values of these variables in the response of the program.
fn values(answer: &str, names: &[&str]) -> String {
    let value = |name: &&str| answer.lines().find_map(|line| line.strip_prefix(*name)?.strip_prefix('='));
    names.iter().map(|name| value(name).unwrap_or("-")).collect::<Vec<_>>().join(" ")
}

/// The example of the daemon's own half, with a program that describes its request.
fn serve(folder: &TempDir, sockets: Vec<TcpListener>, limits: &str) -> Server {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/behind-proxy.toml");
    let text = fs::read_to_string(path).unwrap();
    let (before, rest) = text.split_once("[[service.web.route]]\n").unwrap();
    let (_, after) = rest.split_once("\n\n").unwrap();
    let config = format!("{limits}{before}{}\n{after}", environment_route(folder));
    let started = folder.path().join("started");
    let slow = format!("echo >{}\nexec sleep 3600\n", started.display());
    fs::write(folder.path().join("slow.sh"), slow).unwrap();
    let names = if sockets.len() > 1 { "web:time" } else { "web" };
    sockets.into_iter().fold(Setup::new(&config), Setup::socket).names(names).start()
}

const LIMITS: &str = "[limits]\nexempt = []\nmax_connections_per_source = 1\ndeny = ['127.0.0.66']\n";

/// What holds behind each proxy.
fn check_http(server: &Server, proxy: &Proxy, folder: &TempDir) {
    let [http, https] = [proxy.addresses[0], proxy.addresses[1]];
    let names = ["REMOTE_ADDR", "HTTPS", "REQUEST_SCHEME", "SERVER_NAME", "SERVER_PORT", "HTTP_FORWARDED"];
    let (plain, tls) = (format!("http://{http}/env.sh"), format!("https://{https}/env.sh"));
    let spoofed = [
        "-H",
        "X-Forwarded-For: 6.6.6.6",
        "-H",
        "Forwarded: for=6.6.6.6;proto=https;host=evil",
        "-H",
        "X-Forwarded-Host: evil",
        "-H",
        "X-Forwarded-Proto: https",
        "-H",
        "X-Forwarded-Port: 1",
        "-H",
        "X-Unique-ID: 6",
    ];
    for arguments in [&[][..], &spoofed] {
        let answer = curl(5, &plain, arguments);
        let expected = format!("127.0.0.5 - http 127.0.0.1 {} -", http.port());
        assert_eq!(values(&answer, &names), expected, "{answer}");
        assert!(values(&answer, &["UNIQUE_ID"]).len() >= 32, "{answer}");
        let answer = curl(6, &tls, arguments);
        let expected = format!("127.0.0.6 on https 127.0.0.1 {} -", https.port());
        assert_eq!(values(&answer, &names), expected, "{answer}");
    }
    assert!(curl(66, &plain, &[]).starts_with("HTTP/1.1 403 "));
    let record = Record::parse(&server.wait_line(" client=127.0.0.66 "));
    assert_eq!(record.get("reason"), "denied", "{}", record.line);
    assert!(record.line.contains("127.0.0.66 via 127.0.0.1:"), "{}", record.line);
    // One client holds its place, and no other one.
    let mut slow = command("curl");
    slow.args(["-sS", "--interface", "127.0.0.7", &format!("http://{http}/slow.sh")]).stdout(Stdio::null());
    let mut slow = slow.spawn().unwrap();
    wait_until("the program runs", || folder.path().join("started").exists());
    assert!(curl(7, &plain, &[]).starts_with("HTTP/1.1 503 "));
    assert_eq!(values(&curl(8, &plain, &[]), &["REMOTE_ADDR"]), "127.0.0.8");
    slow.kill().unwrap();
    slow.wait().unwrap();
}

#[test]
fn nginx_names_its_clients() {
    let folder = make_folder();
    let socket = open_socket();
    let address = socket.local_addr().unwrap();
    let Some(proxy) = start_nginx(address) else { return };
    let server = serve(&folder, vec![socket], LIMITS);
    check_http(&server, &proxy, &folder);
    // Both clients on one connection, and each with an id of its own.
    let url = format!("http://{}/env.sh", proxy.addresses[0]);
    let [one, other] = [11, 12].map(|client| values(&curl(client, &url, &[]), &["UNIQUE_ID"]));
    assert_ne!(one, other);
    let record = Record::parse(&server.wait_line(" client=127.0.0.12 "));
    assert!(record.number("requests") >= 2 && record.get("request_id") == other, "{}", record.line);
}

#[test]
fn haproxy_names_its_clients() {
    let folder = make_folder();
    let sockets = vec![open_socket(), open_socket()];
    let [web, time] = [0, 1].map(|index: usize| sockets[index].local_addr().unwrap());
    let Some(proxy) = start_haproxy(web, time) else { return };
    let server = serve(&folder, sockets, LIMITS);
    check_http(&server, &proxy, &folder);
    let from = |client: u8| {
        let stream = crate::harness::connect_from([127, 0, 0, client].into(), proxy.addresses[2]);
        read_to_end(stream)
    };
    assert!(from(9).starts_with("127.0.0.9, it is "));
    assert_eq!(from(66), "");
}

#[test]
fn caddy_names_its_clients() {
    let folder = make_folder();
    let socket = open_socket();
    let address = socket.local_addr().unwrap();
    let Some(proxy) = start_caddy(address) else { return };
    let server = serve(&folder, vec![socket], LIMITS);
    check_http(&server, &proxy, &folder);
}
