//! Programs of Debian packages behind the daemon.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Output;

use nix::unistd::geteuid;
use tempfile::TempDir;

use crate::cgi::{assert_program_exited, dechunk, post, status, write_program};
use crate::harness::{Record, command, find_program, make_folder, serve};

/// A working folder, and git without the configuration of a user or of this host.
struct Work {
    folder: TempDir,
    git: PathBuf,
}

impl Work {
    fn new(git: PathBuf) -> Self {
        let folder = make_folder();
        let config = "[user]\nname = Test\nemail = test@example.org\n[init]\ndefaultBranch = main\n[http]\npostBuffer = 70000\n\
                      [safe]\ndirectory = *\n";
        fs::write(folder.path().join(".gitconfig"), config).unwrap();
        Self { folder, git }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn try_git(&self, arguments: &[&str]) -> Output {
        let mut command = command(&self.git);
        command.env("HOME", self.folder.path());
        command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_TERMINAL_PROMPT", "0");
        command.current_dir(self.folder.path()).args(arguments).output().unwrap()
    }

    fn git(&self, arguments: &[&str]) {
        let output = self.try_git(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// A repository `repositories/some.git` with one commit.
    fn fill_repository(&self) {
        self.git(&["init", "--quiet", "--bare", "repositories/some.git"]);
        self.git(&["init", "--quiet", "seed"]);
        fs::write(self.path("seed/file"), "first\n").unwrap();
        self.git(&["-C", "seed", "add", "file"]);
        self.git(&["-C", "seed", "commit", "--quiet", "-m", "The first of all commits"]);
        self.git(&["-C", "seed", "push", "--quiet", "../repositories/some.git", "main"]);
    }
}

/// Incompressible bytes, the same in each run.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        u8::try_from(state >> 56).unwrap()
    };
    (0..count).map(|_| next()).collect()
}

#[test]
fn git_clones_and_pushes_over_http() {
    let Some(git) = find_program("git") else { return };
    let work = Work::new(git);
    work.fill_repository();
    work.git(&["-C", "repositories/some.git", "config", "http.receivepack", "true"]);
    let repositories = work.path("repositories");
    let server = serve(&format!(
        "[[service.web.route]]\npath = '/git'\nhandler = 'cgi'\nprogram = '/usr/lib/git-core/git-http-backend'\n\
         environment = {{ GIT_PROJECT_ROOT = '{0}', GIT_HTTP_EXPORT_ALL = '', HOME = '{1}' }}\n\
         [[service.web.route]]\npath = '/whole'\nhandler = 'cgi'\nprogram = '/usr/lib/git-core/git-http-backend'\n\
         environment = {{ GIT_PROJECT_ROOT = '{0}', GIT_HTTP_EXPORT_ALL = '', HOME = '{1}' }}\nrequire_length = true\n\
         [[service.web.route]]\npath = '/stream'\nhandler = 'cgi'\nprogram = '/usr/lib/git-core/git-http-backend'\n\
         environment = {{ GIT_PROJECT_ROOT = '{0}', GIT_HTTP_EXPORT_ALL = '', HOME = '{1}' }}\nstream = true\n",
        repositories.display(),
        work.folder.path().display()
    ));
    let url = format!("http://{}/git/some.git", server.address());
    work.git(&["clone", "--quiet", &url, "clone"]);
    assert_eq!(fs::read(work.path("clone/file")).unwrap(), b"first\n");
    // More than http.postBuffer, so git sends it chunked, which require_length refuses.
    fs::write(work.path("clone/large"), noise(3 << 20)).unwrap();
    work.git(&["-C", "clone", "add", "large"]);
    work.git(&["-C", "clone", "commit", "--quiet", "-m", "Large"]);
    let whole = format!("http://{}/whole/some.git", server.address());
    let refused = work.try_git(&["-C", "clone", "push", "--quiet", &whole, "main"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("HTTP 411"), "{refused:?}");
    work.git(&["-C", "clone", "push", "--quiet", "origin", "main"]);
    work.git(&["clone", "--quiet", &url, "again"]);
    assert!(fs::read(work.path("again/large")).unwrap() == noise(3 << 20));
    // The program reads to the end of its input, so it needs no length.
    fs::write(work.path("again/larger"), noise(4 << 20)).unwrap();
    work.git(&["-C", "again", "add", "larger"]);
    work.git(&["-C", "again", "commit", "--quiet", "-m", "Larger"]);
    let stream = format!("http://{}/stream/some.git", server.address());
    work.git(&["-C", "again", "push", "--quiet", &stream, "main"]);
    work.git(&["clone", "--quiet", &url, "third"]);
    assert!(fs::read(work.path("third/larger")).unwrap() == noise(4 << 20));
    let missing =
        work.try_git(&["clone", "--quiet", &format!("http://{}/git/none.git", server.address()), "none"]);
    assert!(!missing.status.success());
    let lines = std::iter::repeat_with(|| Record::parse(&server.wait_line(" connection=")));
    let pushed = lines.take_while(|record| !record.get("target").contains("none.git"));
    let targets = ["/git/some.git/git-receive-pack", "/stream/some.git/git-receive-pack"];
    let pushed: Vec<_> = pushed.filter(|record| targets.contains(&record.get("target"))).collect();
    for target in targets {
        assert!(pushed.iter().any(|record| record.get("target") == target), "{target}");
    }
    pushed.iter().for_each(|record| assert_program_exited(record, 0));
}

#[test]
fn cgit_shows_a_repository() {
    let (Some(git), Some(_)) = (find_program("git"), find_program("../lib/cgit/cgit.cgi")) else { return };
    let work = Work::new(git);
    work.fill_repository();
    let config = format!(
        "cache-size=0\nvirtual-root=/cgit/\nsection-from-path=0\nscan-path={}\n",
        work.path("repositories").display()
    );
    fs::write(work.path("cgitrc"), config).unwrap();
    let server = serve(&format!(
        "[[service.web.route]]\npath = '/cgit'\nhandler = 'cgi'\nprogram = '/usr/lib/cgit/cgit.cgi'\n\
         environment = {{ CGIT_CONFIG = '{}', HOME = '{}' }}\n\
         [[service.web.route]]\npath = '/cgit-css/'\nhandler = 'files'\nroot = '/usr/share/cgit'\n",
        work.path("cgitrc").display(),
        work.folder.path().display()
    ));
    let index = server.get("/cgit/");
    assert_eq!(status(&index), "200", "{index}");
    assert!(index.contains("Content-Type: text/html") && index.contains("some.git"), "{index}");
    let log = server.get("/cgit/some.git/log/?h=main");
    assert!(log.contains("The first of all commits"), "{log}");
    assert_eq!(status(&server.get("/cgit/none.git/")), "404");
    assert_eq!(status(&server.get("/cgit-css/cgit.css")), "200");
}

#[test]
fn php_runs_by_its_extension() {
    let Some(php) = find_program("php-cgi") else { return };
    let folder = make_folder();
    let root = folder.path().display();
    let server = serve(&format!(
        "[[service.web.route]]\nhandler = 'files'\nroot = '{root}'\nindex = ['index.php']\n\
         [[service.web.route]]\nextension = '.php'\nhandler = 'cgi'\nroot = '{root}'\ninterpreter = '{}'\n",
        php.display()
    ));
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("index.php", "<?php echo 'index ', $_GET['a'] ?? '-', ' ', $_SERVER['PATH_INFO'] ?? '-', PHP_EOL;");
    write("post.php", "<?php echo $_POST['b'], ' ', $_FILES['f']['size'] ?? '-', PHP_EOL;");
    write("broken.php", "<?php this is no program");
    write("coded.php", "<?php http_response_code(418); header('X-A: b'); echo 'teapot';");
    write("ended.php", "<?php echo 'whole'; exit(3);");
    write("plain.txt", "<?php echo 'not run';");
    assert_eq!(dechunk(&server.get("/?a=1")), "index 1 -\n");
    assert_eq!(dechunk(&server.get("/index.php/info/x?a=2")), "index 2 /info/x\n");
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    assert_eq!(dechunk(&post(&server, "/post.php", form, b"b=posted")), "posted -\n");
    let upload = "--x\r\nContent-Disposition: form-data; name=\"b\"\r\n\r\nwith\r\n--x\r\nContent-Disposition: form-data; \
                  name=\"f\"; filename=\"f\"\r\n\r\n0123456789\r\n--x--\r\n";
    let form = "Content-Type: multipart/form-data; boundary=x\r\n";
    assert_eq!(dechunk(&post(&server, "/post.php", form, upload.as_bytes())), "with 10\n");
    let broken = server.get("/broken.php");
    assert!(status(&broken) == "500" && !broken.contains("no program"), "{broken}");
    let line = server.wait_line("syntax error");
    assert!(line.contains("target=\"/broken.php\""), "{line}");
    let record = server.record_of("/broken.php");
    assert_eq!(
        (record.get("status"), record.get("program_end")),
        ("500", "exit code 255"),
        "{}",
        record.line
    );
    assert_eq!(dechunk(&server.get("/ended.php")), "whole");
    assert_program_exited(&server.record_of("/ended.php"), 3);
    let coded = server.get("/coded.php");
    assert!(status(&coded) == "418" && coded.contains("\r\nX-A: b\r\n"), "{coded}");
    assert!(server.get("/plain.txt").ends_with("<?php echo 'not run';"));
    // The query does not become arguments of the interpreter (CVE-2012-1823).
    assert!(!server.get("/index.php?-s").contains("<span"));
}

#[test]
fn git_daemon_serves_its_own_protocol() {
    let Some(git) = find_program("git") else { return };
    let work = Work::new(git);
    work.fill_repository();
    let base = work.path("repositories").display().to_string();
    let server = serve(&format!(
        "[service.web]\nprotocol = 'exec'\nenvironment = {{ HOME = '{}' }}\n\
         command = ['{}', 'daemon', '--inetd', '--export-all', '--base-path={base}', '{base}']\n",
        work.folder.path().display(),
        work.git.display()
    ));
    let url = format!("git://{}/some.git", server.address());
    work.git(&["clone", "--quiet", &url, "clone"]);
    assert_eq!(fs::read(work.path("clone/file")).unwrap(), b"first\n");
    let record = server.record();
    assert_eq!((record.get("handler"), record.get("exit_code")), ("exec", "0"), "{}", record.line);
}

#[test]
fn rsync_goes_both_ways() {
    let Some(rsync) = find_program("rsync") else { return };
    let folder = make_folder();
    let at = |name: &str| folder.path().join(name);
    for name in ["module", "from", "to"] {
        fs::create_dir(at(name)).unwrap();
    }
    // As root it would change to the user "nobody", for which a confined program has no privileges. The service is of that
    // user then.
    let user = if geteuid().is_root() {
        chown(at("module"), Some(65_534), Some(65_534)).unwrap();
        "user = 'nobody'\n"
    } else {
        ""
    };
    fs::write(at("from/large"), noise(3 << 20)).unwrap();
    write_program(&at("from/folder/program"), "#!/bin/sh\n");
    let config = format!("use chroot = no\n[module]\npath = {}\nread only = no\n", at("module").display());
    fs::write(at("rsyncd.conf"), config).unwrap();
    let server = serve(&format!(
        "[service.web]\n{user}protocol = 'exec'\ncommand = ['{}', '--daemon', '--config={}']\n",
        rsync.display(),
        at("rsyncd.conf").display()
    ));
    let port = format!("--port={}", server.address().port());
    let copy = |from: &str, to: &str| {
        let output =
            command(&rsync).args(["-a", &port, from, to]).current_dir(folder.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let record = server.record();
        assert_eq!((record.get("exit_code"), record.get("outcome")), ("0", "served"), "{}", record.line);
    };
    copy("from/", "rsync://127.0.0.1/module/");
    copy("rsync://127.0.0.1/module/", "to/");
    assert!(fs::read(at("to/large")).unwrap() == noise(3 << 20));
    assert!(Path::exists(&at("to/folder/program")));
}
