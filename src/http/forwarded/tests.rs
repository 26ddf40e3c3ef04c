use super::*;

/// Trusts 10.0.0.0/8 and fd00::/8.
fn is_trusted(peer: &Peer) -> bool {
    match peer.ip() {
        Some(IpAddr::V4(ip)) => ip.octets()[0] == 10,
        Some(IpAddr::V6(ip)) => ip.octets()[0] == 0xfd,
        None => false,
    }
}

/// What fields say: `client scheme host port`, `-` for what they do not say; or the sentence of the refusal.
fn say(fields: &[(&str, &str)]) -> String {
    let fields: Vec<_> =
        fields.iter().map(|&(name, value)| Header { name, value: value.as_bytes() }).collect();
    match read(&fields, is_trusted) {
        Ok(Forwarded { client, is_https, authority, port }) => {
            let show = |value: Option<String>| value.unwrap_or_else(|| "-".into());
            [
                show(client.map(|client| client.to_string())),
                show(is_https.map(|is_https| if is_https { "https" } else { "http" }.into())),
                show(authority.map(str::to_owned)),
                show(port.map(|port| port.to_string())),
            ]
            .join(" ")
        }
        Err(Failure::Refused(400, sentence)) => sentence.into(),
        Err(failure) => panic!("{failure:?}"),
    }
}

fn client_of(name: &str, value: &str) -> String {
    say(&[(name, value)]).split(' ').next().unwrap().to_owned()
}

#[test]
fn x_forwarded_for_is_walked_from_the_right() {
    for (value, client) in [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1:4711", "192.0.2.1:4711"),
        ("6.6.6.6, 192.0.2.1", "192.0.2.1"),
        ("6.6.6.6,192.0.2.1 , 10.0.0.9,10.1.1.1", "192.0.2.1"),
        ("10.0.0.7, 10.0.0.9", "10.0.0.7"),
        ("garbage, 192.0.2.1", "192.0.2.1"),
        ("\u{fc}, 192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:443, fd00::1", "[2001:db8::1]:443"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("192.0.2.1, unknown", "-"),
        ("192.0.2.1, unknown, 10.0.0.9", "10.0.0.9"),
        ("192.0.2.1, _hidden:_port", "-"),
        ("", "-"),
        (" , ,", "-"),
        ("192.0.2.1,,", "192.0.2.1"),
    ] {
        assert_eq!(client_of("X-Forwarded-For", value), client, "{value:?}");
    }
    for value in [
        "192.0.2.1, garbage, 10.0.0.9",
        "192.0.2",
        "192.0.2.1:",
        "192.0.2.1:65536",
        "192.0.2.1:+1",
        "192.0.2.1 10.0.0.1",
        "[2001:db8::1",
        "[2001:db8::1]80",
        "[192.0.2.1]",
        "2001:db8::1]:80",
        "_",
        "_a b",
        "\u{fc}",
        "example.org",
        "fe80::1%eth0",
    ] {
        assert_eq!(say(&[("X-Forwarded-For", value)]), "invalid X-Forwarded-For", "{value:?}");
    }
}

#[test]
fn several_lines_are_one_list() {
    let lines = ["6.6.6.6", "192.0.2.1, 10.0.0.2", "10.0.0.3"];
    assert_eq!(say(&lines.map(|line| ("X-Forwarded-For", line))), "192.0.2.1 - - -");
    let lines = ["for=6.6.6.6;proto=http", "for=192.0.2.1;proto=https, for=10.0.0.2;proto=http"];
    assert_eq!(say(&lines.map(|line| ("forwarded", line))), "192.0.2.1 https - -");
}

#[test]
fn values_are_those_of_the_proxy_that_the_client_connected_to() {
    let all = |nodes, protos, hosts, ports| {
        say(&[
            ("X-Forwarded-For", nodes),
            ("X-Forwarded-Proto", protos),
            ("X-Forwarded-Host", hosts),
            ("X-Forwarded-Port", ports),
        ])
    };
    assert_eq!(all("192.0.2.1", "https", "a.b", "443"), "192.0.2.1 https a.b 443");
    assert_eq!(
        all("192.0.2.1, 10.0.0.1", "https, http", "a.b, c:8080", "443,8080"),
        "192.0.2.1 https a.b 443"
    );
    assert_eq!(all("192.0.2.1, 10.0.0.1", "https", "a.b:1", "80"), "192.0.2.1 https a.b:1 80");
    assert_eq!(all("192.0.2.1", "https, http", "evil, a.b", "1, 80"), "192.0.2.1 http a.b 80");
    assert_eq!(all("", "WSS", "[::1]:8", ""), "- https [::1]:8 -");
    assert_eq!(all("", "gopher", "", ""), "invalid X-Forwarded-Proto");
    for host in ["a b", "a/b", ":80", "a@b", "\u{fc}"] {
        assert_eq!(all("", "", host, ""), "invalid X-Forwarded-Host", "{host:?}");
    }
    for port in ["0", "65536", "x", "+1", "000080"] {
        assert_eq!(all("", "", "", port), "invalid X-Forwarded-Port", "{port:?}");
    }
}

#[test]
fn forwarded_is_parsed_strictly() {
    for (value, expected) in [
        ("for=192.0.2.1", "192.0.2.1 - - -"),
        ("For=\"[2001:db8::1]:47\";Proto=HTTPS;Host=\"a.b:8\";by=_x", "[2001:db8::1]:47 https a.b:8 -"),
        ("for=[2001:db8::1]:47; proto=https", "[2001:db8::1]:47 https - -"),
        ("for=6.6.6.6;proto=http;host=evil,for=192.0.2.1;proto=https;host=a", "192.0.2.1 https a -"),
        ("for=192.0.2.1;proto=https;host=a , for=10.0.0.1;proto=http;host=b", "192.0.2.1 https a -"),
        ("for=garbage, for=192.0.2.1", "192.0.2.1 - - -"),
        ("for=unknown;proto=https", "- https - -"),
        ("for=_a;proto=https, for=10.0.0.1;proto=http", "10.0.0.1 https - -"),
        ("for=192.0.2.1, proto=https", "- https - -"),
        ("proto=https", "- https - -"),
        ("by=\"a,b;c\";for=192.0.2.1", "192.0.2.1 - - -"),
        (", ,;", "- - - -"),
        ("", "- - - -"),
    ] {
        assert_eq!(say(&[("Forwarded", value)]), expected, "{value:?}");
    }
    for value in [
        "for",
        "for=",
        "=a",
        "for=192.0.2.1;for=192.0.2.2",
        "for=\"192.0.2.1",
        "for=\"192.0.2.1\"x",
        "for=\"192.0.2\\.1\"",
        "for=192.0.2.1 proto=https",
        "fo r=192.0.2.1",
        "for=garbage",
        "for=192.0.2.1;proto=gopher",
        "for=192.0.2.1;host=\"\"",
        "for=192.0.2.1;host=\"a b\"",
        // A client that opens quotes, so that they enclose what the proxy adds.
        "for=6.6.6.6;x=\", for=\"[2001:db8::1]\";proto=https",
        "for=6.6.6.6;x=\", for=192.0.2.1",
    ] {
        assert_eq!(say(&[("Forwarded", value)]), "invalid Forwarded", "{value:?}");
    }
}

#[test]
fn the_two_kinds_of_fields_must_not_differ() {
    let both =
        |x: &[(&'static str, &'static str)], forwarded| say(&[x, &[("Forwarded", forwarded)]].concat());
    let x = [("X-Forwarded-For", "192.0.2.1"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "a")];
    assert_eq!(both(&x, "for=192.0.2.1;proto=https;host=A"), "192.0.2.1 https a -");
    assert_eq!(both(&x, "for=\"192.0.2.1:80\""), "192.0.2.1 https a -");
    assert_eq!(both(&x[..1], "proto=https;host=b"), "192.0.2.1 https b -");
    for forwarded in ["for=6.6.6.6", "for=unknown", "proto=http", "host=b", "for=192.0.2.1;host=b"] {
        let sentence = "Forwarded and the X-Forwarded fields differ";
        assert_eq!(both(&x, forwarded), sentence, "{forwarded:?}");
    }
}
