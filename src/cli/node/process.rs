//! What the system knows about this process.

use std::net::SocketAddr;
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

/// Datagrams that each of these UDP sockets lost because nobody read them in time; `None` where the system does not tell
/// (it does on Linux).
pub(super) fn receive_drops(addrs: &[SocketAddr]) -> Option<Vec<u64>> {
    let v4 = std::fs::read_to_string("/proc/self/net/udp").ok()?;
    let v6 = std::fs::read_to_string("/proc/self/net/udp6").unwrap_or_default();
    addrs.iter().map(|addr| drops_in(if addr.is_ipv4() { &v4 } else { &v6 }, *addr)).collect()
}

/// The last column of the line of this address, in the system's list of sockets.
fn drops_in(table: &str, addr: SocketAddr) -> Option<u64> {
    let name = table_name(addr);
    let line = table.lines().find(|line| line.split_whitespace().nth(1) == Some(&name))?;
    line.split_whitespace().last()?.parse().ok()
}

/// An address as the list has it: words of 32 bits in the order of this machine, and the port, all hexadecimal.
fn table_name(addr: SocketAddr) -> String {
    let octets = match addr {
        SocketAddr::V4(addr) => addr.ip().octets().to_vec(),
        SocketAddr::V6(addr) => addr.ip().octets().to_vec(),
    };
    let (words, _) = octets.as_chunks::<4>();
    let words: String = words.iter().map(|word| format!("{:08X}", u32::from_ne_bytes(*word))).collect();
    format!("{words}:{:04X}", addr.port())
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

    #[cfg(target_endian = "little")]
    #[test]
    fn lost_datagrams_stand_in_the_last_column() {
        let v4 = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n \
                  6510: 0100007F:1E61 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 168745 2 00000000512ecf40 42\n";
        assert_eq!(drops_in(v4, "127.0.0.1:7777".parse().unwrap()), Some(42));
        assert_eq!(drops_in(v4, "127.0.0.1:7778".parse().unwrap()), None);
        let v6 = " 1: B80D0120000000000000000001000000:1AE1 0:0000 07 0:0 00:0 0 0 0 1 2 0 7\n";
        assert_eq!(drops_in(v6, "[2001:db8::1]:6881".parse().unwrap()), Some(7));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn linux_tells_memory_and_losses() {
        assert!(resident_bytes().unwrap() > 64 * 1024);
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        assert_eq!(receive_drops(&[socket.local_addr().unwrap()]), Some(vec![0]));
    }
}
