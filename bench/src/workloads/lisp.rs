//! lisp: programs in a small Lisp, on the interpreter of `examples/scheme`.
//!
//! Fibonacci numbers, Takeuchi's function, queens on a board, derivatives of an expression; `passes` times. The programs are
//! `bench/peers/go/lisp.scm`. In the peer every number is boxed, but for the smallest ones, and every call makes a frame in the heap; in ours numbers of up to
//! 64 bits and frames are not. In `boxed`, by `lisp-boxed.scm`, each number is in a list of its own: so every result is an object, whoever
//! runs it. `collector_percent` is the collector's share of the CPU time by the runtime's own account, sweeping in
//! allocation not counted.

use crate::case::{Case, Measure, Run, RunError, Runtime, Scale, Set, Threads};
use crate::embed::{outcome_of, settings};
use crate::host::Stopwatch;
use crate::random::Digest;
use crate::report::Outcome;
use mallocgc::raw::Config;
use scheme::{Interpreter, Options};

const CASE: Case = Case {
    name: "lisp",
    about: "programs on a Lisp interpreter, which is on the safe interface",
    threads: Threads::ONE,
    parameters,
    reads_input: false,
    measure: Measure::ProcessCpu,
    set: Some(Set::Typed),
    peers: &[Runtime::Go],
    run,
};

pub(super) const CASES: &[Case] =
    &[CASE, Case { name: "lisp/boxed", about: "the same with every number in an object", ..CASE }];

fn parameters(scale: Scale) -> &'static [(&'static str, u64)] {
    match scale {
        Scale::Smoke => &[("passes", 2), ("fib", 15), ("tak", 12), ("queens", 6), ("deriv", 20)],
        Scale::Quick => {
            &[("passes", 1), ("fib", 31), ("tak", 24), ("queens", 11), ("deriv", 10_000)]
        }
        Scale::Full => {
            &[("passes", 6), ("fib", 32), ("tak", 24), ("queens", 11), ("deriv", 20_000)]
        }
    }
}

const PROGRAMS: &str = include_str!("../../peers/go/lisp.scm");
const BOXED_PROGRAMS: &str = include_str!("../../peers/go/lisp-boxed.scm");

fn evaluate(scheme: &Interpreter, form: &str) -> Result<String, RunError> {
    let mut value = String::new();
    let result = scheme.eval(form, &mut |shown| value = shown.to_owned());
    result.map_err(|failure| RunError::failed("program")(format!("{failure:?}")))?;
    Ok(value)
}

fn run(run: &Run) -> Result<Outcome, RunError> {
    let is_boxed = run.variant() == "boxed";
    let number = |n: u64| if is_boxed { format!("'({n})") } else { n.to_string() };
    let tak = run.number("tak")?;
    let programs = [
        ("fib", format!("(fib {})", number(run.number("fib")?))),
        ("tak", format!("(tak {} {} {})", number(tak), number(tak / 3 * 2), number(tak / 3))),
        ("queens", format!("(queens {})", number(run.number("queens")?))),
        ("deriv", format!("(derivs {})", number(run.number("deriv")?))),
    ];
    let options = Options { heap: settings(Config::default()), ..Options::default() };
    let scheme = Interpreter::new(options).map_err(RunError::failed("heap"))?;
    evaluate(&scheme, if is_boxed { BOXED_PROGRAMS } else { PROGRAMS })?;
    let mut check = Digest::new();
    let mut cpu = [0; 4];
    for _ in 0..run.number("passes")? {
        for (sum, (_, form)) in cpu.iter_mut().zip(&programs) {
            let clock = Stopwatch::start();
            let value = evaluate(&scheme, form)?;
            let value = value.trim_matches(['(', ')']).parse();
            check.add(value.map_err(RunError::failed("value"))?);
            *sum += clock.cpu_nanos();
        }
    }
    let heap = scheme.heap().raw();
    let mut outcome = outcome_of(heap, check.value());
    for (nanos, (name, _)) in cpu.into_iter().zip(&programs) {
        outcome.metric(format!("{name}_cpu_ms"), nanos as f64 / 1e6);
    }
    outcome.metric("collector_percent", heap.stats().gc_cpu_fraction * 100.0);
    Ok(outcome)
}
