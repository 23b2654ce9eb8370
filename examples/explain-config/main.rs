//! `cargo run --bin explain-config -- FILE [--profile P]... [--json]` prints every value in force and where it came
//! from: file and line, environment variable, or default. Secrets are masked. It fails if something is wrong.

use std::process::ExitCode;

use kafka_runtime::config::Config;

const USAGE: &str = "usage: explain-config FILE [--profile NAME]... [--json]";

fn main() -> ExitCode {
    let (mut file, mut profiles, mut json) = (None, Vec::new(), false);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--json" => json = true,
            "--profile" => profiles.extend(arguments.next()),
            "--help" | "-h" => {
                println!("{USAGE}");
                return ExitCode::SUCCESS;
            }
            _ if file.is_none() && !argument.starts_with('-') => file = Some(argument),
            _ => {
                eprintln!("{argument}?\n{USAGE}");
                return ExitCode::from(64);
            }
        }
    }
    let Some(file) = file else {
        eprintln!("{USAGE}");
        return ExitCode::from(64);
    };
    match Config::builder().file(file).profiles(profiles).load() {
        Ok(config) => {
            let explanation = config.explain(&[]);
            if json {
                println!("{}", explanation.to_json());
            } else {
                println!("{explanation}");
            }
            if explanation.has_problems() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
        }
        Err(problems) => {
            eprintln!("{problems}");
            ExitCode::FAILURE
        }
    }
}
