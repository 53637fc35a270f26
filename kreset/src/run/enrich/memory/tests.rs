use super::*;
use crate::facts::process::Ending;

const START_NS: u64 = 1_234_567_890_123;
const ID: ProcessId = ProcessId {
    pid: 4242,
    start_boottime_ns: START_NS,
};

/// A host with a process in `group`, whose hierarchy is v2.
struct Host {
    root: tempfile::TempDir,
}

impl Host {
    fn new(group: &str) -> Self {
        let host = Self {
            root: tempfile::tempdir().unwrap(),
        };
        host.write(
            "proc/4242/stat",
            "4242 (java) S 1 4242 4242 0 -1 4194560 9 0 0 0 1 2 0 0 20 0 61 0 123456 9 9",
        );
        host.write("proc/4242/cgroup", &format!("1:cpu:/\n0::{group}\n"));
        host.write("proc/meminfo", "MemTotal:       1024 kB\nMemFree: 1 kB\n");
        host
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn group(&self, path: &str, limit: &str, exhausted: u32) {
        self.write(&format!("cgroup{path}/memory.max"), &format!("{limit}\n"));
        let events = format!("low 0\nhigh 3\nmax 9\noom {exhausted}\noom_kill 1\n");
        self.write(&format!("cgroup{path}/memory.events"), &events);
    }

    fn memory(&self) -> MemoryOfProcesses {
        MemoryOfProcesses {
            proc: Some(self.root.path().join("proc")),
            hierarchy: Some(Hierarchy {
                mount: self.root.path().join("cgroup"),
                root: String::new(),
                is_v2: true,
            }),
            known: None,
            log: None,
        }
    }
}

fn facts(change: Change) -> ProcessFacts {
    ProcessFacts {
        at_ns: 1,
        process: ID,
        name: None,
        change,
    }
}

const LISTENS: Change = Change::Listens {
    netns: 1,
    port: 9092,
};
const ENDED: Change = Change::Ended(Ending::Signal {
    signal: 9,
    core_dumped: false,
});

fn limit(of: &str, bytes: u64) -> MemoryLimit {
    MemoryLimit {
        of: of.into(),
        bytes,
    }
}

#[test]
fn the_limit_is_that_of_the_nearest_group_with_the_least() {
    let host = Host::new("/kafka.slice/kafka.service/sub");
    host.group("/kafka.slice/kafka.service/sub", "max", 0);
    host.group("/kafka.slice/kafka.service", "6442450944", 0);
    host.group("/kafka.slice", "8589934592", 0);
    let mut memory = host.memory();
    let expected = Memory::Limit(limit("kafka.service", 6 << 30));
    assert_eq!(memory.at(&facts(LISTENS)), Some(expected));
    // Another process has the id by now.
    let mut other = facts(LISTENS);
    other.process.start_boottime_ns += 1_000_000_000;
    assert_eq!(memory.at(&other), None);
}

#[test]
fn the_lowest_group_whose_count_has_grown_was_out_of_memory() {
    let host = Host::new("/kafka.slice/kafka.service");
    host.group("/kafka.slice/kafka.service", "6442450944", 2);
    host.group("/kafka.slice", "8589934592", 5);
    let mut memory = host.memory();
    memory.at(&facts(LISTENS));
    // Above, each is counted as well.
    host.group("/kafka.slice", "8589934592", 6);
    let of_slice = OutOfMemory::OfGroup(limit("kafka.slice", 8 << 30));
    assert_eq!(
        memory.at(&facts(Change::OutOfMemory)),
        Some(Memory::Out(of_slice))
    );
    assert_eq!(memory.at(&facts(ENDED)), None, "it is said once");

    let mut memory = host.memory();
    memory.at(&facts(LISTENS));
    assert_eq!(
        memory.at(&facts(Change::OutOfMemory)),
        Some(Memory::Out(OutOfMemory::OfHost(Some(1 << 20))))
    );
}

#[test]
fn what_nothing_tells_stays_open() {
    let host = Host::new("/kafka.service");
    host.write("cgroup/kafka.service/memory.max", "6442450944\n");
    let mut memory = host.memory();
    let expected = Memory::Limit(limit("kafka.service", 6 << 30));
    assert_eq!(memory.at(&facts(LISTENS)), Some(expected));
    assert_eq!(memory.at(&facts(Change::OutOfMemory)), None);
    assert_eq!(memory.at(&facts(ENDED)), None);
    // Nor does a group that is gone.
    host.group("/kafka.service", "6442450944", 2);
    memory.at(&facts(LISTENS));
    fs::remove_dir_all(host.root.path().join("cgroup/kafka.service")).unwrap();
    assert_eq!(memory.at(&facts(Change::OutOfMemory)), None);
}

#[test]
fn each_hierarchy_is_found_where_it_is() {
    let v1 = "\
33 32 0:29 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw
34 32 0:30 / /sys/fs/cgroup/memory rw,nosuid - cgroup cgroup rw,memory
35 32 0:31 / /sys/fs/cgroup/cpu rw,nosuid - cgroup cgroup rw,cpu";
    let found = Hierarchy::find(v1).unwrap();
    assert_eq!(found.mount, Path::new("/sys/fs/cgroup/memory"));
    assert!(!found.is_v2);
    let groups = "4:memory,hugetlb:/a/b\n3:cpuset:/\n0::/c\n";
    assert_eq!(found.path_in(groups).as_deref(), Some("/a/b"));
    let v2 = "35 24 0:30 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate";
    let found = Hierarchy::find(v2).unwrap();
    assert!(found.is_v2);
    assert_eq!(found.path_in(groups).as_deref(), Some("/c"));
    assert_eq!(found.path_in("0::/../x\n"), None);
    assert_eq!(Hierarchy::find("35 - cgroup2\nx"), None);
}

#[test]
fn groups_are_called_what_people_call_them() {
    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    for (path, expected) in [
        ("/system.slice/kafka.service".to_owned(), "kafka.service"),
        ("/user.slice".to_owned(), "user.slice"),
        (format!("/docker/{ID}"), "container 0123456789ab"),
        (
            "/kubepods/burstable/pod12345678-1234-1234-1234-123456789012".to_owned(),
            "pod 12345678-1234-1234-1234-123456789012",
        ),
        ("/a/b".to_owned(), "the control group /a/b"),
    ] {
        assert_eq!(label(&path), expected);
    }
}

/// Needs no privilege.
#[test]
fn this_process_is_found() {
    let mut memory = MemoryOfProcesses::of_this_host(None);
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let id = ProcessId {
        pid: std::process::id(),
        start_boottime_ns: start_ticks(&stat).unwrap() * (1_000_000_000 / TICKS),
    };
    // The root at least, whatever limits there are.
    assert!(memory.levels(id).is_some_and(|levels| !levels.is_empty()));
    memory.limit(id);
}
