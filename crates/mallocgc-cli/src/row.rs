//! One row per case and runtime: the rounds condensed, and compared with the base.
//!
//! The base is the first peer with results, in the order of `Runtime::PEERS`. Figures are medians
//! over the rounds; a ratio is the median of the rounds' own ratios, so that what slows a whole round down
//! cancels out.

use crate::suite::{Contest, Entrant};
use mallocgc_bench::{RunReport, Runtime, Scale};
use serde::Serialize;
use std::collections::BTreeMap;

/// How a runtime came out of a case.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum State {
    /// All rounds ran and agreed.
    Ok,
    /// A run's check value is not the base's.
    Mismatch,
    /// A run ended without a report.
    Failed,
    /// Our heap does not have the workload.
    NotAvailable,
    /// The peer's toolchain or library is not on this machine.
    NotInstalled,
    /// The peer's toolchain is there and failed.
    NotBuilt,
}

impl State {
    /// In words, for people.
    pub(crate) fn words(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Mismatch => "MISMATCH",
            State::Failed => "FAILED",
            State::NotAvailable => "not available",
            State::NotInstalled => "not installed",
            State::NotBuilt => "not built",
        }
    }
}

/// One row, as `--json` prints it. Absent figures are `null`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) workload: String,
    pub(crate) runtime: Runtime,
    pub(crate) state: State,
    pub(crate) note: String,
    pub(crate) scale: Scale,
    pub(crate) threads: u32,
    pub(crate) parameters: BTreeMap<String, String>,
    pub(crate) rounds: usize,
    pub(crate) check: Option<String>,
    pub(crate) cpu_nanos: Option<u64>,
    pub(crate) wall_nanos: Option<u64>,
    /// The figure that decides, by name.
    pub(crate) measure: &'static str,
    pub(crate) measured: Option<f64>,
    /// Of the deciding figure, to the base's.
    pub(crate) ratio: Option<f64>,
    pub(crate) base: Option<Runtime>,
    /// Of the deciding figure, to each other runtime's that has one.
    pub(crate) ratios: BTreeMap<Runtime, f64>,
    pub(crate) peak_rss_bytes: Option<u64>,
    pub(crate) peak_rss_ratio: Option<f64>,
    pub(crate) resident_end_bytes: Option<u64>,
    pub(crate) collections: Option<u64>,
    pub(crate) stop_max_nanos: Option<u64>,
    pub(crate) stop_p99_nanos: Option<u64>,
    pub(crate) metrics: BTreeMap<String, f64>,
    pub(crate) metric_ratios: BTreeMap<String, f64>,
}

/// Marks who disagrees and says so: check values must be equal across runtimes and rounds.
pub(crate) fn compare_checks(contest: &mut Contest) -> Vec<String> {
    let Some(base) = base(contest).or_else(|| with_reports(contest).next()) else {
        return Vec::new();
    };
    let base_name = contest.entrants[base].runtime;
    let expected = contest.entrants[base].reports[0].check.clone();
    let mut complaints = Vec::new();
    for entrant in &mut contest.entrants {
        let different = entrant.reports.iter().find(|report| report.check != expected);
        if let Some(report) = different {
            let runtime = entrant.runtime;
            let line = format!(
                "{}: check values differ: {base_name} has {expected}, {runtime} has {}",
                contest.case.name, report.check
            );
            entrant.state = State::Mismatch;
            entrant.note = line.clone();
            complaints.push(line);
        }
    }
    complaints
}

fn with_reports(contest: &Contest) -> impl Iterator<Item = usize> {
    let all = contest.entrants.iter().enumerate();
    all.filter(|(_, entrant)| !entrant.reports.is_empty()).map(|(index, _)| index)
}

/// The entrant whom the others are compared with.
fn base(contest: &Contest) -> Option<usize> {
    Runtime::PEERS.iter().find_map(|&peer| {
        with_reports(contest).find(|&index| contest.entrants[index].runtime == peer)
    })
}

/// The rows of one contest.
pub(crate) fn rows(contest: &Contest) -> Vec<Row> {
    let base = base(contest).map(|index| &contest.entrants[index]);
    let rows = contest.entrants.iter().map(|entrant| {
        let reports = &entrant.reports;
        let ratio =
            |figure: &dyn Fn(&RunReport) -> Option<f64>| ratio(reports, &base?.reports, figure);
        let measure = contest.case.measure;
        let to_other = |other: &Entrant| {
            let figure = |report: &RunReport| measure.of(report);
            Some((other.runtime, self::ratio(reports, &other.reports, &figure)?))
        };
        let others = contest.entrants.iter().filter(|other| other.runtime != entrant.runtime);
        let metrics = metric_names(reports);
        Row {
            workload: contest.case.name.to_owned(),
            runtime: entrant.runtime,
            state: entrant.state,
            note: entrant.note.clone(),
            scale: contest.scale,
            threads: contest.threads,
            parameters: contest.parameters.clone(),
            rounds: reports.len(),
            check: reports.first().map(|report| report.check.clone()),
            cpu_nanos: whole(reports, |report| Some(report.cpu_nanos)),
            wall_nanos: whole(reports, |report| Some(report.wall_nanos)),
            measure: measure.name(),
            measured: median(reports.iter().filter_map(|report| measure.of(report))),
            ratio: ratio(&|report| measure.of(report)),
            base: base.map(|base| base.runtime),
            ratios: others.filter_map(to_other).collect(),
            peak_rss_bytes: whole(reports, |report| Some(report.peak_rss_bytes)),
            peak_rss_ratio: ratio(&|report| Some(report.peak_rss_bytes as f64)),
            resident_end_bytes: whole(reports, |report| report.resident_end_bytes),
            collections: whole(reports, |report| report.collections),
            stop_max_nanos: reports.iter().filter_map(|report| report.stop_max_nanos).max(),
            stop_p99_nanos: whole(reports, |report| report.stop_p99_nanos),
            metric_ratios: metrics
                .iter()
                .filter_map(|name| {
                    let figure = |report: &RunReport| report.metrics.get(name).copied();
                    Some((name.clone(), ratio(&figure)?))
                })
                .collect(),
            metrics: metrics
                .into_iter()
                .filter_map(|name| {
                    let values = reports.iter().filter_map(|report| report.metrics.get(&name));
                    let value = median(values.copied())?;
                    Some((name, value))
                })
                .collect(),
        }
    });
    rows.collect()
}

fn metric_names(reports: &[RunReport]) -> Vec<String> {
    reports.first().map(|report| report.metrics.keys().cloned().collect()).unwrap_or_default()
}

fn whole(reports: &[RunReport], figure: impl Fn(&RunReport) -> Option<u64>) -> Option<u64> {
    median(reports.iter().filter_map(figure).map(|value| value as f64)).map(|value| value as u64)
}

/// Median of the rounds' ratios. A ratio to nothing is no ratio.
fn ratio(
    ours: &[RunReport],
    theirs: &[RunReport],
    figure: &dyn Fn(&RunReport) -> Option<f64>,
) -> Option<f64> {
    median(ours.iter().zip(theirs).filter_map(|(ours, theirs)| {
        let (ours, theirs) = (figure(ours)?, figure(theirs)?);
        (theirs > 0.0).then(|| ours / theirs)
    }))
}

/// The middle one, or the mean of the middle two.
fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        count if count % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

#[cfg(test)]
mod tests {
    use super::{median, ratio};
    use mallocgc_bench::RunReport;

    #[test]
    fn median_is_the_middle() {
        assert_eq!(median([].into_iter()), None);
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), Some(2.5));
    }

    #[test]
    fn ratio_is_by_round() {
        let report = |cpu: u64| -> RunReport {
            serde_json::from_value(serde_json::json!({
                "workload": "w", "runtime": "go", "check": "0", "cpu_nanos": cpu
            }))
            .unwrap()
        };
        let ours: Vec<_> = [10, 100, 9].map(report).into();
        let theirs: Vec<_> = [20, 200, 30, 1].map(report).into();
        let cpu = |report: &RunReport| Some(report.cpu_nanos as f64);
        assert_eq!(ratio(&ours, &theirs, &cpu), Some(0.5));
        assert_eq!(ratio(&ours, &[], &cpu), None);
    }
}
