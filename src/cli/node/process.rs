//! What the system knows about this process.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Memory of the process that is in use, in bytes; `None` where the system does not tell (it does on Linux).
pub(super) fn resident_bytes() -> Option<u64> {
    resident_in(&std::fs::read_to_string("/proc/self/status").ok()?)
}

fn resident_in(status: &str) -> Option<u64> {
    let text = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = text.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// When the process started, in seconds of Unix time, given how long it has been running.
pub(super) fn started_at_s(uptime: Duration) -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(uptime).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_stands_in_the_status_of_the_process() {
        assert_eq!(resident_in("VmPeak:\t  1 kB\nVmRSS:\t    1880 kB\nRssAnon:\t 1 kB\n"), Some(1880 * 1024));
        for text in ["", "VmRSS:", "VmRSS: kB", "VmRSS: x kB", "VmRSS: 12 MB", "VmRSS: 99999999999999999999 kB"] {
            assert_eq!(resident_in(text), None, "{text:?}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn linux_tells_it() {
        assert!(resident_bytes().unwrap() > 64 * 1024);
    }
}
