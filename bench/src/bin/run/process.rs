//! One run of one contestant, measured from outside: its lines, its CPU time, its peak memory.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use crate::contestants::Contestant;

/// How long a contestant may say nothing.
const SILENCE: Duration = Duration::from_secs(180);

/// A contestant at work. It ends with this value.
pub(crate) struct Running {
    child: Child,
    pub(crate) started: Instant,
    lines: Receiver<(Instant, String)>,
}

impl Running {
    pub(crate) fn start(contestant: &Contestant, environment: &[(&str, String)]) -> Result<Self, String> {
        let started = Instant::now();
        let mut child = Command::new(&contestant.command[0])
            .args(&contestant.command[1..])
            .envs(environment.iter().map(|(name, value)| (*name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| error.to_string())?;
        let (sender, lines) = channel();
        let out = child.stdout.take().expect("stdout");
        let forward = move |line| sender.send((Instant::now(), line)).is_ok();
        std::thread::spawn(move || BufReader::new(out).lines().map_while(Result::ok).all(forward));
        Ok(Self { child, started, lines })
    }

    /// The next line that begins with `word`: when it came, and what follows the word.
    pub(crate) fn line(&self, word: &str) -> Result<(Instant, String), String> {
        loop {
            let (at, line) = self.lines.recv_timeout(SILENCE).map_err(|_| format!("no '{word}'"))?;
            if let Some(rest) = line.strip_prefix(word) {
                return Ok((at, rest.trim().to_owned()));
            }
        }
    }

    /// User and system time so far, of children that have ended too.
    pub(crate) fn cpu(&self) -> Duration {
        cpu_of(self.child.id())
    }

    pub(crate) fn peak_kib(&self) -> u64 {
        memory_of(self.child.id(), "VmHWM:")
    }
}

/// User and system time of a process so far, of its children that have ended too.
pub(crate) fn cpu_of(pid: u32) -> Duration {
    cpu_in(&std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("stat"))
}

/// The same of its threads whose name begins so.
pub(crate) fn cpu_of_threads(pid: u32, name: &str) -> Duration {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    // One may end while it is looked at.
    let read = |thread: &std::fs::DirEntry, what| std::fs::read_to_string(thread.path().join(what)).ok();
    threads
        .filter(|thread| read(thread, "comm").is_some_and(|found| found.starts_with(name)))
        .filter_map(|thread| read(&thread, "stat"))
        .map(|stat| cpu_in(&stat))
        .sum()
}

fn cpu_in(stat: &str) -> Duration {
    let fields: Vec<&str> = stat.rsplit(')').next().expect("fields").split_whitespace().collect();
    let ticks: u64 = fields[11..15].iter().map(|field| field.parse::<u64>().expect("ticks")).sum();
    // USER_HZ is 100 on every Linux that this runs on.
    Duration::from_millis(ticks * 10)
}

/// KiB that `field` of a process's status says.
pub(crate) fn memory_of(pid: u32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
    let line = status.lines().find(|line| line.starts_with(field)).expect("a field of status");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("kB")
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a program of this package prints, run to its end.
pub(crate) fn output(binary: &str, mode: &str, environment: &[(&str, String)]) -> String {
    let output = Command::new(crate::contestants::programs().join(binary))
        .arg(mode)
        .envs(environment.iter().map(|(name, value)| (*name, value)))
        .output()
        .unwrap_or_else(|error| panic!("{binary}: {error}"));
    assert!(output.status.success(), "{binary}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
