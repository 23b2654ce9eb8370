//! A topic that is written to for one run, and removed after it, so that what it leaves in memory and on the disk is nobody's
//! burden. (`bench/run` has the broker remove it at once, and not in the middle of a run a minute later.)

use std::process::Command;
use std::time::Duration;

use crate::contestants::{Contestant, programs};

/// How long its leaders have to be there before anybody is measured.
const SETTLED: Duration = Duration::from_millis(500);

/// A topic. It ends with this value.
pub(crate) struct Topic {
    pub(crate) name: String,
    servers: String,
}

impl Topic {
    /// One for this contestant's run, led before anybody is measured.
    pub(crate) fn of(
        contestant: &Contestant,
        way: &str,
        round: usize,
        partitions: i32,
        servers: &str,
    ) -> Self {
        let contestant = contestant.name.replace([' ', '\''], "-");
        let name = format!("produce-{partitions}-{way}-{round}-{contestant}");
        let made = Command::new(programs().join("fill"))
            .arg("none")
            .envs([
                ("BENCH_SERVERS", servers),
                ("BENCH_TOPIC", &name),
                ("BENCH_GROUP", "none"),
                ("BENCH_RECORDS", "0"),
                ("BENCH_PARTITIONS", &partitions.to_string()),
            ])
            .output()
            .expect("fill");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        std::thread::sleep(SETTLED);
        Self { name, servers: servers.to_owned() }
    }

    fn remove(&self) -> Result<(), String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let removed = runtime.map_err(|error| error.to_string())?.block_on(async {
            bench::client(&self.servers)?.admin().delete_topics(&[&self.name], Duration::from_secs(30)).await
        });
        let each = removed.map_err(|error| error.to_string())?;
        each.into_iter().try_for_each(|(_, one)| one.map_err(|error| error.to_string()))
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            eprintln!("{} stays: {error}", self.name);
        }
    }
}
