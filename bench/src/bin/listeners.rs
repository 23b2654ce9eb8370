//! `1` or `100` annotated listeners in one process, each with a topic of its own.

use bench::{Order, Tally, Task, wait_for_the_end};
use kafka_runtime::prelude::*;

macro_rules! listeners {
    ($($name:ident $topic:tt),* $(,)?) => {
        $(
            #[kafka_listener(topic = $topic, group = "${bench.group}")]
            async fn $name(order: Order, tally: &State<Tally>, task: &State<Task>) {
                tally.add(order.total_cents, task.records);
            }
        )*
        const NAMES: &[&str] = &[$(stringify!($name)),*];
    };
}

listeners! {
    l00 "${bench.topic}-0", l01 "${bench.topic}-1", l02 "${bench.topic}-2", l03 "${bench.topic}-3", l04 "${bench.topic}-4",
    l05 "${bench.topic}-5", l06 "${bench.topic}-6", l07 "${bench.topic}-7", l08 "${bench.topic}-8", l09 "${bench.topic}-9",
    l10 "${bench.topic}-10", l11 "${bench.topic}-11", l12 "${bench.topic}-12", l13 "${bench.topic}-13", l14 "${bench.topic}-14",
    l15 "${bench.topic}-15", l16 "${bench.topic}-16", l17 "${bench.topic}-17", l18 "${bench.topic}-18", l19 "${bench.topic}-19",
    l20 "${bench.topic}-20", l21 "${bench.topic}-21", l22 "${bench.topic}-22", l23 "${bench.topic}-23", l24 "${bench.topic}-24",
    l25 "${bench.topic}-25", l26 "${bench.topic}-26", l27 "${bench.topic}-27", l28 "${bench.topic}-28", l29 "${bench.topic}-29",
    l30 "${bench.topic}-30", l31 "${bench.topic}-31", l32 "${bench.topic}-32", l33 "${bench.topic}-33", l34 "${bench.topic}-34",
    l35 "${bench.topic}-35", l36 "${bench.topic}-36", l37 "${bench.topic}-37", l38 "${bench.topic}-38", l39 "${bench.topic}-39",
    l40 "${bench.topic}-40", l41 "${bench.topic}-41", l42 "${bench.topic}-42", l43 "${bench.topic}-43", l44 "${bench.topic}-44",
    l45 "${bench.topic}-45", l46 "${bench.topic}-46", l47 "${bench.topic}-47", l48 "${bench.topic}-48", l49 "${bench.topic}-49",
    l50 "${bench.topic}-50", l51 "${bench.topic}-51", l52 "${bench.topic}-52", l53 "${bench.topic}-53", l54 "${bench.topic}-54",
    l55 "${bench.topic}-55", l56 "${bench.topic}-56", l57 "${bench.topic}-57", l58 "${bench.topic}-58", l59 "${bench.topic}-59",
    l60 "${bench.topic}-60", l61 "${bench.topic}-61", l62 "${bench.topic}-62", l63 "${bench.topic}-63", l64 "${bench.topic}-64",
    l65 "${bench.topic}-65", l66 "${bench.topic}-66", l67 "${bench.topic}-67", l68 "${bench.topic}-68", l69 "${bench.topic}-69",
    l70 "${bench.topic}-70", l71 "${bench.topic}-71", l72 "${bench.topic}-72", l73 "${bench.topic}-73", l74 "${bench.topic}-74",
    l75 "${bench.topic}-75", l76 "${bench.topic}-76", l77 "${bench.topic}-77", l78 "${bench.topic}-78", l79 "${bench.topic}-79",
    l80 "${bench.topic}-80", l81 "${bench.topic}-81", l82 "${bench.topic}-82", l83 "${bench.topic}-83", l84 "${bench.topic}-84",
    l85 "${bench.topic}-85", l86 "${bench.topic}-86", l87 "${bench.topic}-87", l88 "${bench.topic}-88", l89 "${bench.topic}-89",
    l90 "${bench.topic}-90", l91 "${bench.topic}-91", l92 "${bench.topic}-92", l93 "${bench.topic}-93", l94 "${bench.topic}-94",
    l95 "${bench.topic}-95", l96 "${bench.topic}-96", l97 "${bench.topic}-97", l98 "${bench.topic}-98", l99 "${bench.topic}-99",
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let task = Task::read();
    let count: usize = task.mode.parse()?;
    let yaml = format!(
        "spring: {{kafka: {{bootstrap-servers: '{}', consumer: {{auto-offset-reset: earliest}}}}}}\nbench: {{topic: {}, group: {}}}\n",
        task.servers, task.topic, task.group
    );
    let only = NAMES.iter().copied().take(count);
    let app = App::from_yaml(&yaml)?.only(only).state(Tally::default()).state(task).start().await?;
    tokio::task::spawn_blocking(wait_for_the_end).await?;
    app.stop().await?;
    Ok(())
}
