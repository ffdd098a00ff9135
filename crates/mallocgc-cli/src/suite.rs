//! The order of things: builds, rounds, turns; then the verdict.
//!
//! A round runs every case once with every runtime. Runtimes of a case run one after the other, and
//! the order rotates every round, so that drift of the machine hits all alike.

use crate::args::{Output, Plan, Rounds};
use crate::child;
use crate::input::FileList;
use crate::peers::{self, Missing, Program};
use crate::row::{self, Row, State};
use crate::table;
use indicatif::{ProgressBar, ProgressStyle};
use mallocgc_bench::{Case, RunReport, Runtime, Scale};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

/// What the set that runs by default may take, builds included: two minutes less a margin for the slowest
/// run.
const BUDGET: Duration = Duration::from_secs(110);

/// One case with the runtimes that do it.
pub(crate) struct Contest {
    pub(crate) case: &'static Case,
    pub(crate) threads: u32,
    pub(crate) scale: Scale,
    pub(crate) parameters: BTreeMap<String, String>,
    pub(crate) entrants: Vec<Entrant>,
    /// Keeps the list of files that parameters name.
    pub(crate) _input: Option<FileList>,
}

/// One runtime's part in a contest.
pub(crate) struct Entrant {
    pub(crate) runtime: Runtime,
    program: Option<Program>,
    pub(crate) state: State,
    /// What to know about the state.
    pub(crate) note: String,
    /// By round.
    pub(crate) reports: Vec<RunReport>,
}

/// Runs the plan and prints the results.
pub(crate) fn run(plan: &Plan) -> ExitCode {
    let start = Instant::now();
    child::watch_signals();
    let progress = ProgressBar::new_spinner();
    progress.set_style(style("{spinner} {msg}"));
    progress.enable_steady_tick(Duration::from_millis(100));
    let mut contests = match prepare(plan, &progress) {
        Ok(contests) => contests,
        Err(error) => {
            progress.finish_and_clear();
            eprintln!("input: {error}");
            return ExitCode::FAILURE;
        }
    };
    let (rounds, budget) = match plan.rounds {
        Rounds::Exactly(rounds) => (rounds, Duration::MAX),
        Rounds::WithinBudget(rounds) => (rounds, BUDGET),
    };
    let turns: usize = contests.iter().map(|contest| contest.entrants.len()).sum();
    progress.set_length(u64::from(rounds) * turns as u64);
    progress.set_style(style("{bar:32} {pos}/{len} {elapsed} {msg}"));
    for round in 0..rounds {
        let round_start = Instant::now();
        for contest in &mut contests {
            take_turns(contest, round as usize, &progress);
            if let Some(number) = child::ending_signal() {
                progress.finish_and_clear();
                eprintln!("interrupted by signal {number}");
                // What a shell says of a program that a signal ended.
                return ExitCode::from(128 + number as u8);
            }
        }
        if start.elapsed() + round_start.elapsed() > budget {
            break;
        }
    }
    progress.finish_and_clear();
    conclude(plan, &mut contests)
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("a constant template")
}

/// Finds every program once and lists who takes part in what.
fn prepare(plan: &Plan, progress: &ProgressBar) -> io::Result<Vec<Contest>> {
    let mut programs: BTreeMap<Runtime, Result<Program, Missing>> = BTreeMap::new();
    let mut contests = Vec::new();
    for &case in &plan.cases {
        let peers = plan.peers.iter().filter(|peer| case.peers.contains(peer));
        let mut entrants = Vec::new();
        for runtime in std::iter::once(Runtime::Mallocgc).chain(peers.copied()) {
            let program = programs.entry(runtime).or_insert_with(|| {
                progress.set_message(format!("building the peer for {runtime}"));
                peers::program(runtime)
            });
            let (program, state, note) = match program.clone() {
                Ok(program) => (Some(program), State::Ok, String::new()),
                Err(Missing::NotInstalled(what)) => (None, State::NotInstalled, what),
                Err(Missing::NotBuilt(error)) => (None, State::NotBuilt, error),
            };
            entrants.push(Entrant { runtime, program, state, note, reports: Vec::new() });
        }
        let sizes = (case.parameters)(plan.scale).iter();
        let mut parameters: BTreeMap<String, String> =
            sizes.map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let mut input = None;
        if case.reads_input {
            let limit = parameters.remove("input_bytes").and_then(|text| text.parse().ok());
            let list = FileList::make(plan.input.as_deref(), limit.unwrap_or(u64::MAX))?;
            parameters.insert("list".to_owned(), list.path().to_string_lossy().into_owned());
            input = Some(list);
        }
        let threads = case.threads.choose(plan.threads);
        contests.push(Contest {
            case,
            threads,
            scale: plan.scale,
            parameters,
            entrants,
            _input: input,
        });
    }
    Ok(contests)
}

fn take_turns(contest: &mut Contest, round: usize, progress: &ProgressBar) {
    let count = contest.entrants.len();
    for turn in 0..count {
        let entrant = &mut contest.entrants[(turn + round) % count];
        progress.set_message(format!("{} on {}", contest.case.name, entrant.runtime));
        if let (State::Ok, Some(program)) = (entrant.state, &entrant.program) {
            let mut command = Command::new(&program.path);
            command.args(program.subcommand).arg(contest.case.name);
            if let Some(libraries) = &program.libraries {
                command.env("LD_LIBRARY_PATH", libraries);
            }
            command.args(["--threads", &contest.threads.to_string()]);
            let sizes = contest.parameters.iter();
            command.args(sizes.map(|(name, value)| format!("{name}={value}")));
            match run_once(command, contest.case, contest.scale) {
                Ok(report) => entrant.reports.push(report),
                Err((state, note)) => (entrant.state, entrant.note) = (state, note),
            }
            if child::ending_signal().is_some() {
                return;
            }
        }
        progress.inc(1);
    }
}

/// A run that takes longer hangs.
fn limit(scale: Scale) -> Duration {
    match scale {
        Scale::Smoke | Scale::Quick => Duration::from_secs(60),
        Scale::Full => Duration::from_secs(1800),
    }
}

fn run_once(command: Command, case: &Case, scale: Scale) -> Result<RunReport, (State, String)> {
    let finished = child::run(command, limit(scale))
        .map_err(|error| (State::Failed, format!("not started: {error}")))?;
    let said = finished.stderr.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("");
    let said = if said.is_empty() { String::new() } else { format!(": {said}") };
    if finished.timed_out {
        return Err((State::Failed, format!("killed after {:?}{said}", limit(scale))));
    }
    if finished.status.code() == Some(crate::NOT_AVAILABLE.into()) {
        return Err((State::NotAvailable, case.name.to_owned()));
    }
    if !finished.status.success() {
        return Err((State::Failed, format!("{}{said}", finished.status)));
    }
    let mut report: RunReport = serde_json::from_str(finished.stdout.trim())
        .map_err(|error| (State::Failed, format!("its report is not one: {error}")))?;
    report.cpu_nanos = finished.cpu_nanos;
    report.wall_nanos = finished.wall_nanos;
    report.peak_rss_bytes = finished.peak_rss_bytes;
    Ok(report)
}

fn conclude(plan: &Plan, contests: &mut [Contest]) -> ExitCode {
    let mut complaints = Vec::new();
    for contest in contests.iter_mut() {
        complaints.extend(row::compare_checks(contest));
        for entrant in contest.entrants.iter().filter(|entrant| entrant.state == State::Failed) {
            let (name, runtime) = (contest.case.name, entrant.runtime);
            complaints.push(format!("{name}: {runtime} failed: {}", entrant.note));
        }
    }
    let rows: Vec<Row> = contests.iter().flat_map(row::rows).collect();
    let mut out = std::io::stdout().lock();
    // A reader that went away (a closed pipe) is no reason to complain.
    let _ = match plan.output {
        Output::Json => table::write_json(&mut out, &rows),
        Output::Tables => table::write_tables(&mut out, &rows),
    };
    let _ = out.flush();
    for complaint in &complaints {
        eprintln!("{complaint}");
    }
    if complaints.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
