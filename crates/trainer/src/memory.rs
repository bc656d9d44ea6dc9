//! What this process uses and what it may use, as Linux tells. Elsewhere nothing is known and nothing is refused.

use std::path::{Path, PathBuf};

/// The most memory this process has held so far, mapped files included.
pub fn peak_rss_bytes() -> Option<u64> {
    status_field("VmHWM:")
}

/// Starts [`peak_rss_bytes`] anew from what is held now, without what earlier work left for reuse. Where the kernel refuses,
/// the peak stays that of the whole process.
pub fn restart_peak() {
    device::pool::trim();
    // proc(5): 5 resets the peak resident set size.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
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
    let read = |name: &str| std::fs::read_to_string(dir.join(name)).ok();
    let number = |name: &str| read(name)?.trim().parse::<u64>().ok();
    let limit = number("memory.max").or_else(|| number("memory.limit_in_bytes"))?;
    let used = number("memory.current").or_else(|| number("memory.usage_in_bytes")).unwrap_or(0);
    let cached = read("memory.stat").map_or(0, |stat| page_cache_bytes(&stat));
    Some(limit.saturating_sub(used.saturating_sub(cached)))
}

/// Pages of files that are counted as used and that the system takes back when they are needed.
fn page_cache_bytes(stat: &str) -> u64 {
    let value = |name: &str| stat.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
    // Version 1 has sums over the groups below under names of their own.
    let of = |name: &str| value(&format!("total_{name} ")).or_else(|| value(&format!("{name} "))).unwrap_or(0);
    of("inactive_file") + of("active_file")
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
    fn cached_files_are_not_in_the_way() {
        assert_eq!(page_cache_bytes("anon 5\ninactive_file 30\nactive_file 12\n"), 42);
        assert_eq!(page_cache_bytes("inactive_file 1\nactive_file 1\ntotal_inactive_file 4\ntotal_active_file 3\n"), 7);
        assert_eq!(page_cache_bytes("nonsense\n"), 0);
    }

    #[test]
    fn a_limit_less_what_is_used_is_available() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        assert_eq!(available_in(dir.path()), None);
        write("memory.max", "max\n");
        assert_eq!(available_in(dir.path()), None);
        write("memory.max", "1000\n");
        write("memory.current", "700\n");
        write("memory.stat", "inactive_file 200\n");
        assert_eq!(available_in(dir.path()), Some(500));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_uses_memory() {
        assert!(peak_rss_bytes().unwrap() >= rss_bytes().unwrap() / 2);
        assert!(available_bytes().unwrap() > 0);
    }
}
