//! A headless Chromium, by the DevTools protocol over a pair of sockets.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};

use command_fds::{CommandFdExt, FdMapping};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{TIMEOUT, command, find_program, make_folder};

/// A browser with one page, and what it has reported.
pub struct Browser {
    process: Child,
    commands: UnixStream,
    answers: BufReader<UnixStream>,
    number: u64,
    session: Option<String>,
    events: VecDeque<Value>,
    /// Its profile.
    _folder: TempDir,
}

impl Browser {
    /// `None`: Chromium is not installed.
    pub fn start() -> Option<Self> {
        let program = find_program("chromium")?;
        let folder = make_folder();
        let (commands, commands_of_browser) = UnixStream::pair().unwrap();
        let (answers, answers_of_browser) = UnixStream::pair().unwrap();
        answers.set_read_timeout(Some(TIMEOUT)).unwrap();
        let mut chromium = command(program);
        chromium.args(["--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--disable-breakpad"]);
        // Its sandbox does not start as root, and not in most containers.
        chromium.args(["--no-sandbox", "--no-first-run", "--remote-debugging-pipe"]);
        chromium.arg(format!("--user-data-dir={}", folder.path().join("profile").display()));
        chromium.env("HOME", folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let fds: [OwnedFd; 2] = [commands_of_browser.into(), answers_of_browser.into()];
        let mapping = (3..).zip(fds).map(|(child_fd, parent_fd)| FdMapping { parent_fd, child_fd });
        chromium.fd_mappings(mapping.collect()).unwrap();
        let process = chromium.process_group(0).spawn().unwrap();
        let answers = BufReader::new(answers);
        let (number, session, events) = (0, None, VecDeque::new());
        let mut browser = Self { process, commands, answers, number, session, events, _folder: folder };
        let target = browser.call("Target.createTarget", &json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = browser.call("Target.attachToTarget", &attach);
        browser.session = Some(session["sessionId"].as_str().unwrap().to_owned());
        for domain in ["Page", "Log", "Network", "Runtime"] {
            browser.call(&format!("{domain}.enable"), &json!({}));
        }
        Some(browser)
    }

    fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.number += 1;
        let mut message = json!({ "id": self.number, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        self.commands.write_all(format!("{message}\0").as_bytes()).unwrap();
        loop {
            let mut message = self.read();
            if message["id"] == self.number {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].take();
            }
            self.events.push_back(message);
        }
    }

    fn read(&mut self) -> Value {
        let mut message = Vec::new();
        self.answers.read_until(0, &mut message).unwrap();
        assert_eq!(message.pop(), Some(0), "Chromium has exited");
        serde_json::from_slice(&message).unwrap()
    }

    /// Sets the width of the window in CSS pixels, and the color scheme that the user prefers.
    pub fn set_screen(&mut self, width: u32, is_dark: bool) {
        let is_mobile = width < 600;
        let metrics = json!({ "width": width, "height": 800, "deviceScaleFactor": 1, "mobile": is_mobile });
        self.call("Emulation.setDeviceMetricsOverride", &metrics);
        let scheme = if is_dark { "dark" } else { "light" };
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.call("Emulation.setEmulatedMedia", &features);
    }

    pub fn open(&mut self, url: &str) {
        self.events.retain(|event| event["method"] != "Page.loadEventFired");
        self.call("Page.navigate", &json!({ "url": url }));
        self.wait_loaded();
    }

    /// Follows the link that a selector finds.
    pub fn click(&mut self, selector: &str) {
        self.events.retain(|event| event["method"] != "Page.loadEventFired");
        self.evaluate(&format!("document.querySelector({selector:?}).click()"));
        self.wait_loaded();
    }

    fn wait_loaded(&mut self) {
        while !self.events.iter().any(|event| event["method"] == "Page.loadEventFired") {
            let message = self.read();
            self.events.push_back(message);
        }
    }

    /// The value of a JavaScript expression.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let parameters = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let mut result = self.call("Runtime.evaluate", &parameters);
        assert!(result["exceptionDetails"].is_null(), "{expression}: {result}");
        result["result"]["value"].take()
    }

    /// The URLs that were requested so far.
    pub fn requests(&self) -> Vec<&str> {
        let sent = self.events.iter().filter(|event| event["method"] == "Network.requestWillBeSent");
        sent.filter_map(|event| event["params"]["request"]["url"].as_str()).collect()
    }

    /// What the console has so far, but for the statuses of responses.
    pub fn complaints(&self) -> Vec<String> {
        let entries = self.events.iter().filter_map(|event| match event["method"].as_str()? {
            "Log.entryAdded" => Some(&event["params"]["entry"]),
            "Runtime.consoleAPICalled" | "Runtime.exceptionThrown" => Some(&event["params"]),
            _ => None,
        });
        entries.filter(|entry| entry["source"] != "network").map(Value::to_string).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let group = i32::try_from(self.process.id()).unwrap();
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL); // it may have exited
        let _ = self.process.wait();
    }
}
