//! Reads the limits of this process and of its system from /proc and /sys. What cannot be read there, as in a sandbox
//! or a container, is skipped.

use std::fs;
use std::path::{Path, PathBuf};

use super::process::{CAP_SYS_ADMIN, CAP_SYS_RESOURCE, find_number, has_capability};
use super::{LimitKind, SystemLimit};

/// This system, or in tests a folder with the files of one.
#[derive(Debug)]
pub(crate) struct System {
    root: PathBuf,
}

impl Default for System {
    fn default() -> Self {
        Self { root: "/".into() }
    }
}

/// A control group: its path, and its folder.
type Group = (String, PathBuf);

impl System {
    #[cfg(test)]
    pub(crate) fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// All limits that apply to this process.
    pub(crate) fn find_limits(&self) -> Vec<SystemLimit> {
        let mut limits = self.find_processes();
        limits.extend(self.find_memory());
        limits.extend(self.find_descriptors());
        limits
    }

    /// The same without a look at every process of the system, which takes long: of the processes of the user, the `own`
    /// ones are counted.
    pub(crate) fn find_limits_of(&self, own: usize) -> Vec<SystemLimit> {
        let mut limits = self.find_processes_by(|_| own as u64);
        limits.extend(self.find_memory());
        limits.extend(self.find_descriptors());
        limits
    }

    /// Limits of processes: that of the user, of the control groups, of the system.
    pub(crate) fn find_processes(&self) -> Vec<SystemLimit> {
        self.find_processes_by(|uid| self.count_tasks(uid))
    }

    fn find_processes_by(&self, count: impl Fn(u64) -> u64) -> Vec<SystemLimit> {
        let mut limits = Vec::new();
        if let Some((uid, max)) = self.user_limit() {
            limits.push(SystemLimit { kind: LimitKind::UserProcesses, max, used: count(uid) });
        }
        for (path, folder) in self.groups() {
            let numbers = (read_number(&folder.join("pids.max")), read_number(&folder.join("pids.current")));
            if let (Some(max), Some(used)) = numbers {
                limits.push(SystemLimit { kind: LimitKind::GroupProcesses(path), max, used });
            }
        }
        // "running/all" tasks of the whole system (proc_loadavg(5)).
        let tasks = self.read("proc/loadavg").split(['/', ' ']).nth(4).and_then(|all| all.parse().ok());
        for (kind, name) in [(LimitKind::ThreadsMax, "threads-max"), (LimitKind::PidMax, "pid_max")] {
            let max = read_number(&self.root.join("proc/sys/kernel").join(name));
            if let (Some(max), Some(used)) = (max, tasks) {
                limits.push(SystemLimit { kind, max, used });
            }
        }
        limits
    }

    /// Limits of memory. The page cache of inactive files is not counted, since the kernel frees it on demand.
    pub(crate) fn find_memory(&self) -> Vec<SystemLimit> {
        let find = |(path, folder): Group| {
            let max = read_number(&folder.join("memory.max"))?;
            let used = read_number(&folder.join("memory.current"))?;
            let statistics = fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
            let cached = find_number(&statistics, "inactive_file ").unwrap_or(0);
            Some(SystemLimit { kind: LimitKind::GroupMemory(path), max, used: used.saturating_sub(cached) })
        };
        self.groups().into_iter().filter_map(find).collect()
    }

    /// Descriptors of this process, which raises its limit to the hard one.
    fn find_descriptors(&self) -> Option<SystemLimit> {
        let limits = self.read("proc/self/limits");
        let values = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
        let max = values.split_whitespace().nth(1)?.parse().ok()?;
        let used = fs::read_dir(self.root.join("proc/self/fd")).ok()?.count();
        Some(SystemLimit::descriptors(max, used as u64))
    }

    /// Open files of the whole system: "used unused max" (proc_sys_fs(5)).
    pub(crate) fn find_files(&self) -> Option<SystemLimit> {
        let text = self.read("proc/sys/fs/file-nr");
        let mut numbers = text.split_whitespace().map(str::parse);
        let (used, max) = (numbers.next()?.ok()?, numbers.nth(1)?.ok()?);
        Some(SystemLimit { kind: LimitKind::FileMax, max, used })
    }

    /// How many forks in the group of this process have failed at its `pids.max` or that of a group above.
    pub(crate) fn count_pids_failures(&self) -> Option<u64> {
        let (_, folder) = self.groups().into_iter().next()?;
        find_number(&fs::read_to_string(folder.join("pids.events")).ok()?, "max ")
    }

    /// The real user and RLIMIT_NPROC, if it applies to this process (getrlimit(2)).
    fn user_limit(&self) -> Option<(u64, u64)> {
        let status = self.read("proc/self/status");
        let uid = find_number(&status, "Uid:")?;
        let is_exempt =
            uid == 0 || [CAP_SYS_ADMIN, CAP_SYS_RESOURCE].iter().any(|&bit| has_capability(&status, bit));
        if is_exempt { None } else { Some((uid, self.own_limit("Max processes")?)) }
    }

    /// Threads of all processes whose real user is `uid`, as far as /proc shows them.
    fn count_tasks(&self, uid: u64) -> u64 {
        let Ok(processes) = fs::read_dir(self.root.join("proc")) else {
            return 0;
        };
        let is_number = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
        let processes = processes.flatten().filter(|entry| entry.file_name().to_str().is_some_and(is_number));
        let threads = processes.filter_map(|process| {
            let status = fs::read_to_string(process.path().join("status")).ok()?;
            (find_number(&status, "Uid:")? == uid).then_some(find_number(&status, "Threads:"))?
        });
        threads.sum()
    }

    /// A soft limit of this process. `None`: unlimited.
    fn own_limit(&self, name: &str) -> Option<u64> {
        find_number(&self.read("proc/self/limits"), name)
    }

    /// The control groups of this process in the hierarchy of version 2, its own first (cgroups(7)).
    fn groups(&self) -> Vec<Group> {
        let memberships = self.read("proc/self/cgroup");
        let Some(path) = memberships.lines().find_map(|line| line.strip_prefix("0::")) else {
            return Vec::new();
        };
        let mount = self.root.join("sys/fs/cgroup");
        let groups = Path::new(path).ancestors();
        groups
            .map(|path| (path.display().to_string(), mount.join(path.strip_prefix("/").unwrap_or(path))))
            .collect()
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root.join(path)).unwrap_or_default()
    }
}

/// The number that a file consists of. `None` for `max`.
fn read_number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}
