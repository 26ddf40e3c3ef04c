//! The files and the configuration of the daemon that is attacked.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use tempfile::TempDir;

/// The user of the daemon. It has no other processes.
pub fn user() -> u32 {
    let accounts = fs::read_to_string("/etc/passwd").unwrap();
    let own =
        accounts.lines().find_map(|line| line.strip_prefix("lsbaws:x:")?.split(':').next()?.parse().ok());
    own.filter(|_| std::env::var_os("ATTACKS_UNIT").is_some()).unwrap_or(61_234)
}

/// Not in /tmp, where programs may write.
pub fn make_root_folder() -> TempDir {
    let folder = tempfile::tempdir_in("/srv").unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

/// Makes the roots and the programs. They belong to the user of the daemon, so that only confinement protects them.
pub fn prepare_folder(folder: &Path) {
    for name in ["www", "other", "cgi", "out"] {
        fs::create_dir_all(folder.join(name)).unwrap();
    }
    fs::write(folder.join("www/page"), "page").unwrap();
    fs::write(folder.join("other/secret"), "secret of another service").unwrap();
    let program = folder.join("cgi/program.py");
    fs::write(&program, include_str!("program.py")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    for name in ["www", "other", "cgi", "out", "www/page", "other/secret", "cgi/program.py"] {
        chown(folder.join(name), Some(user()), Some(user())).unwrap();
    }
}

/// Where the daemon reports its status: the unit has a directory for it.
pub fn status_socket(folder: &Path) -> String {
    match std::env::var_os("ATTACKS_UNIT") {
        Some(_) => "/run/lsbaws/status.sock".into(),
        None => folder.join("out/status.sock").display().to_string(),
    }
}

/// The configuration of the daemon.
pub fn config(folder: &Path) -> String {
    let status_socket = status_socket(folder);
    let folder = folder.display();
    let unconfined = std::env::var("ATTACKS_WITHOUT_CONFINE").is_err();
    let free = if unconfined { "confine = false" } else { "" };
    format!(
        r#"
[process]
status_socket = "{status_socket}"

[limits]
max_connections = 200
keepalive_timeout = "1h"
body_timeout = "1h"

[service.web]
[[service.web.route]]
path = "/"
[[service.web.route]]
path = "/probe"
handler = "probe"
[[service.web.route]]
path = "/www"
handler = "files"
root = "{folder}/www"
[[service.web.route]]
path = "/other"
handler = "files"
root = "{folder}/other"

[service.mixed]
[[service.mixed.route]]
path = "/probe"
handler = "probe"
[[service.mixed.route]]
path = "/cgi/"
handler = "cgi"
root = "{folder}/cgi"
timeout = "1h"
environment = {{ SECRET = "secret-of-mixed" }}

[service.exec]
protocol = "exec"
command = ["{folder}/cgi/program.py"]
environment = {{ SECRET = "secret-of-exec" }}

[service.app]
[[service.app.route]]
path = "/probe"
handler = "wsgi"
application = "program:application"
directory = "{folder}/cgi"
environment = {{ SECRET = "secret-of-app" }}

[service.free]
{free}
[[service.free.route]]
path = "/cgi/"
handler = "cgi"
root = "{folder}/cgi"
timeout = "1h"
environment = {{ SECRET = "secret-of-free" }}
"#
    )
}
