//! What this process uses and what it may use, as Linux tells. Elsewhere nothing is known and nothing is refused.

use std::path::{Path, PathBuf};

/// The most memory this process has held so far, mapped files included.
pub fn peak_rss_bytes() -> Option<u64> {
    status_field("VmHWM:")
}

/// Memory this process holds now, mapped files included.
pub fn rss_bytes() -> Option<u64> {
    status_field("VmRSS:")
}

/// Memory that a new process could take: what the machine has available, and no more than the control group allows.
pub fn available_bytes() -> Option<u64> {
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| field(&text, "MemAvailable:"));
    [machine, cgroup_available_bytes()].into_iter().flatten().min()
}

fn status_field(name: &str) -> Option<u64> {
    field(&std::fs::read_to_string("/proc/self/status").ok()?, name)
}

/// The bytes behind `name` in a file of lines such as `VmHWM:    1024 kB`.
fn field(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The tightest limit of this process's control group and those above it, less what is in use there.
fn cgroup_available_bytes() -> Option<u64> {
    let membership = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    cgroup_dirs(&membership).iter().filter_map(|dir| available_in(dir)).min()
}

/// The directories of the control groups named in `/proc/self/cgroup`, innermost first, for version 2 and 1.
fn cgroup_dirs(membership: &str) -> Vec<PathBuf> {
    let mut dirs = Vec::new();
    for line in membership.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let root = match controllers {
            "" => Path::new("/sys/fs/cgroup"),
            _ if controllers.split(',').any(|c| c == "memory") => Path::new("/sys/fs/cgroup/memory"),
            _ => continue,
        };
        let inner = root.join(path.trim_start_matches('/'));
        dirs.extend(inner.ancestors().take_while(|dir| dir.starts_with(root)).map(Path::to_owned));
    }
    dirs
}

fn available_in(dir: &Path) -> Option<u64> {
    let read = |name: &str| std::fs::read_to_string(dir.join(name)).ok()?.trim().parse::<u64>().ok();
    let limit = read("memory.max").or_else(|| read("memory.limit_in_bytes"))?;
    let used = read("memory.current").or_else(|| read("memory.usage_in_bytes")).unwrap_or(0);
    Some(limit.saturating_sub(used))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_lines_are_read() {
        let text = "Name:\tx\nVmHWM:\t  2048 kB\nVmRSS:\t 1024 kB\n";
        assert_eq!(field(text, "VmHWM:"), Some(2 << 20));
        assert_eq!(field(text, "VmSwap:"), None);
        assert_eq!(field("VmHWM:\t99999999999999999999 kB", "VmHWM:"), None);
    }

    #[test]
    fn control_groups_are_walked_to_the_root() {
        let dirs = cgroup_dirs("12:cpu,memory:/a\n0::/b/c\n3:pids:/d\nnonsense\n");
        let dirs: Vec<_> = dirs.iter().map(|d| d.to_str().unwrap()).collect();
        assert_eq!(
            dirs,
            [
                "/sys/fs/cgroup/memory/a",
                "/sys/fs/cgroup/memory",
                "/sys/fs/cgroup/b/c",
                "/sys/fs/cgroup/b",
                "/sys/fs/cgroup"
            ]
        );
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_uses_memory() {
        assert!(peak_rss_bytes().unwrap() >= rss_bytes().unwrap() / 2);
        assert!(available_bytes().unwrap() > 0);
    }
}
