//! What is known of the machine and of this process from `/proc` and the system's calls. What a system does not tell is
//! left out, and named in `Errors`.
//!
//! The shapes are gopsutil's, which Consul shows as they are.

use super::clock;
use nix::sys::statvfs::statvfs;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fs;

/// Bytes of this process in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnMemory {
    /// What is its own and no file's: heap and stacks.
    pub heap: u64,
    pub resident: u64,
}

/// `None` where the system does not tell.
#[must_use]
pub fn own_memory() -> Option<OwnMemory> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let sizes = kilobytes(&status);
    Some(OwnMemory { heap: *sizes.get("RssAnon")?, resident: *sizes.get("VmRSS")? })
}

/// `agent/host`.
#[must_use]
pub fn host() -> Value {
    let mut errors = Vec::new();
    let mut part = |name: &str, found: Result<Value, String>| {
        found.unwrap_or_else(|problem| {
            errors.push(format!("{name}: {problem}"));
            Value::Null
        })
    };
    let memory = part("memory", read("/proc/meminfo").map(|text| memory(&text)));
    let cpu = part("cpu", read("/proc/cpuinfo").map(|text| processors(&text)));
    let disk = part("disk", disk("/"));
    let host = system();
    json!({
        "Memory": memory, "CPU": cpu, "Host": host, "Disk": disk,
        "CollectionTime": clock::unix_ms() * 1_000_000,
        "Errors": if errors.is_empty() { Value::Null } else { errors.into() },
    })
}

fn read(path: &str) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))
}

/// `Name:  123 kB` lines, in bytes.
fn kilobytes(text: &str) -> BTreeMap<&str, u64> {
    let line = |line: &'_ str| -> Option<(usize, u64)> {
        let (name, value) = line.split_once(':')?;
        let mut words = value.split_whitespace();
        let number: u64 = words.next()?.parse().ok()?;
        Some((name.len(), if words.next() == Some("kB") { number * 1024 } else { number }))
    };
    text.lines().filter_map(|text| line(text).map(|(name, value)| (&text[..name], value))).collect()
}

fn percent(used: u64, total: u64) -> f64 {
    if total == 0 { 0.0 } else { used as f64 / total as f64 * 100.0 }
}

/// gopsutil's name of each line of `/proc/meminfo`.
const MEMORY: &[(&str, &str)] = &[
    ("total", "MemTotal"),
    ("available", "MemAvailable"),
    ("free", "MemFree"),
    ("active", "Active"),
    ("inactive", "Inactive"),
    ("buffers", "Buffers"),
    ("writeBack", "Writeback"),
    ("dirty", "Dirty"),
    ("writeBackTmp", "WritebackTmp"),
    ("shared", "Shmem"),
    ("slab", "Slab"),
    ("sreclaimable", "SReclaimable"),
    ("sunreclaim", "SUnreclaim"),
    ("pageTables", "PageTables"),
    ("swapCached", "SwapCached"),
    ("commitLimit", "CommitLimit"),
    ("committedAS", "Committed_AS"),
    ("highTotal", "HighTotal"),
    ("highFree", "HighFree"),
    ("lowTotal", "LowTotal"),
    ("lowFree", "LowFree"),
    ("swapTotal", "SwapTotal"),
    ("swapFree", "SwapFree"),
    ("mapped", "Mapped"),
    ("vmallocTotal", "VmallocTotal"),
    ("vmallocUsed", "VmallocUsed"),
    ("vmallocChunk", "VmallocChunk"),
    ("hugePagesTotal", "HugePages_Total"),
    ("hugePagesFree", "HugePages_Free"),
    ("hugePageSize", "Hugepagesize"),
];

fn memory(text: &str) -> Value {
    let sizes = kilobytes(text);
    let size = |name: &str| sizes.get(name).copied().unwrap_or_default();
    let mut shown: Map<String, Value> =
        MEMORY.iter().map(|(ours, theirs)| ((*ours).to_owned(), size(theirs).into())).collect();
    let cached = size("Cached") + size("SReclaimable");
    let used = size("MemTotal").saturating_sub(size("MemFree") + size("Buffers") + cached);
    shown.insert("cached".to_owned(), cached.into());
    shown.insert("used".to_owned(), used.into());
    shown.insert("usedPercent".to_owned(), percent(used, size("MemTotal")).into());
    shown.insert("wired".to_owned(), 0.into());
    shown.insert("laundry".to_owned(), 0.into());
    shown.into()
}

/// One object for each processor; lines are `name : value`, blank lines between processors.
fn processors(text: &str) -> Value {
    let one = |block: &str| {
        let fields: BTreeMap<&str, &str> = block
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.trim(), value.trim()))
            .collect();
        let text = |name: &str| fields.get(name).copied().unwrap_or_default();
        let number = |name: &str| text(name).split_whitespace().next().and_then(|word| word.parse::<f64>().ok());
        let whole = |name: &str| number(name).unwrap_or_default() as i64;
        let flags: Vec<&str> = text("flags").split_whitespace().chain(text("Features").split_whitespace()).collect();
        let cpu = number("processor")? as i64;
        Some(json!({
            "cpu": cpu, "vendorId": text("vendor_id"), "family": text("cpu family"), "model": text("model"),
            "stepping": whole("stepping"), "physicalId": text("physical id"), "coreId": text("core id"), "cores": 1,
            "modelName": text("model name"), "mhz": number("cpu MHz").unwrap_or_default(),
            "cacheSize": whole("cache size"), "flags": flags, "microcode": text("microcode"),
        }))
    };
    text.split("\n\n").filter_map(one).collect()
}

fn disk(path: &str) -> Result<Value, String> {
    let found = statvfs(path).map_err(|error| format!("{path}: {error}"))?;
    // The widths differ from system to system.
    #[allow(clippy::useless_conversion, reason = "they are 32 bits wide on macOS")]
    let [unit, blocks, free, available, inodes, inodes_free] = [
        found.fragment_size().into(),
        found.blocks().into(),
        found.blocks_free().into(),
        found.blocks_available().into(),
        found.files().into(),
        found.files_free().into(),
    ]
    .map(|number: u64| number);
    let used = blocks.saturating_sub(free) * unit;
    let inodes_used = inodes.saturating_sub(inodes_free);
    Ok(json!({
        "path": path, "fstype": mounted(path).unwrap_or_default(),
        "total": blocks * unit, "free": available * unit, "used": used,
        "usedPercent": percent(used, used + available * unit),
        "inodesTotal": inodes, "inodesUsed": inodes_used, "inodesFree": inodes_free,
        "inodesUsedPercent": percent(inodes_used, inodes),
    }))
}

/// The kind of file system that is mounted there: `device path kind options`; the last one is on top.
fn mounted(path: &str) -> Option<String> {
    let text = fs::read_to_string("/proc/self/mounts").ok()?;
    let kind = |line: &str| {
        let mut words = line.split(' ');
        (words.nth(1) == Some(path)).then(|| words.next().map(str::to_owned)).flatten()
    };
    text.lines().filter_map(kind).next_back()
}

fn system() -> Value {
    let line = |path: &str| fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
    let uptime = line("/proc/uptime").split('.').next().and_then(|text| text.parse::<u64>().ok()).unwrap_or_default();
    let release = line("/etc/os-release");
    let release: BTreeMap<&str, &str> = release
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key, value.trim_matches('"')))
        .collect();
    let word = |key: &str| release.get(key).copied().unwrap_or_default();
    let family = word("ID_LIKE").split(' ').next().filter(|family| !family.is_empty()).unwrap_or_else(|| word("ID"));
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbered =
        |name: std::ffi::OsString| name.to_str().is_some_and(|name| name.bytes().all(|b| b.is_ascii_digit()));
    let ids = ["/sys/class/dmi/id/product_uuid", "/etc/machine-id", "/proc/sys/kernel/random/boot_id"].map(line);
    json!({
        "hostname": nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
        "uptime": uptime, "bootTime": if uptime == 0 { 0 } else { (clock::unix_ms() / 1000).saturating_sub(uptime) },
        "procs": processes.filter(|entry| numbered(entry.file_name())).count(),
        "os": if cfg!(target_os = "macos") { "darwin" } else { std::env::consts::OS },
        "platform": word("ID"), "platformFamily": family, "platformVersion": word("VERSION_ID"),
        "kernelVersion": line("/proc/sys/kernel/osrelease"), "kernelArch": std::env::consts::ARCH,
        "virtualizationSystem": "", "virtualizationRole": "",
        "hostId": ids.into_iter().find(|id| !id.is_empty()).unwrap_or_default().to_lowercase(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_counted_as_gopsutil_does() {
        let text = "MemTotal:       1000 kB\nMemFree:         200 kB\nMemAvailable:    600 kB\nBuffers:          50 kB\n\
                    Cached:          250 kB\nSReclaimable:    100 kB\nHugePages_Total:       3\n";
        let shown = memory(text);
        assert_eq!((&shown["total"], &shown["available"]), (&json!(1_024_000), &json!(600 * 1024)));
        assert_eq!((&shown["used"], &shown["usedPercent"]), (&json!(400 * 1024), &json!(40.0)));
        assert_eq!((&shown["cached"], &shown["hugePagesTotal"]), (&json!(350 * 1024), &json!(3)));
    }

    #[test]
    fn processors_are_read_on_intel_and_arm() {
        let text = "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 85\nmodel name\t: Xeon\n\
                    stepping\t: 7\ncpu MHz\t\t: 2500.5\ncache size\t: 36608 KB\nflags\t\t: fpu sse\n\n\
                    processor\t: 1\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd\n\nHardware\t: none\n";
        let shown = processors(text);
        assert_eq!(shown.as_array().map(Vec::len), Some(2));
        assert_eq!((&shown[0]["modelName"], &shown[0]["mhz"]), (&json!("Xeon"), &json!(2500.5)));
        assert_eq!((&shown[0]["cacheSize"], &shown[0]["flags"]), (&json!(36_608), &json!(["fpu", "sse"])));
        assert_eq!((&shown[1]["cpu"], &shown[1]["flags"]), (&json!(1), &json!(["fp", "asimd"])));
    }

    #[test]
    fn this_machine_has_a_disk_and_a_time() {
        let host = host();
        assert!(host["Disk"]["total"].as_u64() > Some(0), "{host}");
        assert!(host["CollectionTime"].as_u64() > Some(0), "{host}");
        assert!(!host["Host"]["hostname"].as_str().unwrap_or_default().is_empty(), "{host}");
    }
}
