//! Rows as people read them, and as programs do.

use crate::row::{Row, State};
use comfy_table::{Cell, CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};
use std::io::{self, Write};

/// One JSON object per line.
pub(crate) fn write_json(out: &mut impl Write, rows: &[Row]) -> io::Result<()> {
    for row in rows {
        serde_json::to_writer(&mut *out, row)?;
        writeln!(out)?;
    }
    Ok(())
}

/// The table of results, and below it the figures that single workloads add.
pub(crate) fn write_tables(out: &mut impl Write, rows: &[Row]) -> io::Result<()> {
    let mut results = table(&[
        "workload",
        "runtime",
        "CPU",
        "wall",
        "ratio",
        "peak",
        "collections",
        "longest stop",
        "p99",
        "check",
    ]);
    let mut metrics = table(&["workload", "figure", "runtime", "value", "ratio"]);
    let mut last = "";
    for row in rows {
        let workload = if row.workload == last { "" } else { &row.workload };
        last = &row.workload;
        let mut cells = vec![Cell::new(workload), Cell::new(row.runtime)];
        if row.rounds == 0 {
            cells.push(Cell::new(row.state.words()));
        } else {
            let check = match row.state {
                State::Ok => row.check.clone().unwrap_or_default(),
                state => format!("{} {}", row.check.as_deref().unwrap_or(""), state.words()),
            };
            let figures = [
                text(row.cpu_nanos, nanos),
                text(row.wall_nanos, nanos),
                ratio(row.ratio),
                text(row.peak_rss_bytes, bytes),
                text(row.collections, |count| count.to_string()),
                text(row.stop_max_nanos, nanos),
                text(row.stop_p99_nanos, nanos),
                check,
            ];
            cells.extend(figures.map(|figure| right(&figure)));
        }
        results.add_row(cells);
    }
    add_metrics(&mut metrics, rows);
    writeln!(out, "{results}")?;
    let mut notes: Vec<String> = rows
        .iter()
        .filter(|row| !row.note.is_empty())
        .map(|row| format!("{} {}: {}", row.runtime, row.state.words(), row.note))
        .collect();
    notes.sort();
    notes.dedup();
    for note in notes {
        writeln!(out, "{note}")?;
    }
    if metrics.row_count() > 0 {
        writeln!(out, "\n{metrics}")?;
    }
    if let Some(row) = rows.iter().find(|row| row.base.is_some()) {
        let base = row.base.map_or("", |base| base.name());
        writeln!(
            out,
            "\nratio: median over the rounds of each round's ratio to {base} (lower is better), of CPU time \
             or, where a workload\ntimes a phase, of the figure marked * below the results."
        )?;
    }
    Ok(())
}

/// One block per figure, the runtimes below each other.
fn add_metrics(metrics: &mut Table, rows: &[Row]) {
    for case in rows.chunk_by(|a, b| a.workload == b.workload) {
        let mut names: Vec<&String> = case.iter().flat_map(|row| row.metrics.keys()).collect();
        names.sort();
        names.dedup();
        let mut workload = case[0].workload.as_str();
        for name in names {
            let star =
                if case[0].measure == name && !case[0].is_measured_by_cpu() { "*" } else { "" };
            let mut figure = format!("{name}{star}");
            for row in case {
                let Some(&value) = row.metrics.get(name) else { continue };
                metrics.add_row(vec![
                    Cell::new(workload),
                    Cell::new(&figure),
                    Cell::new(row.runtime),
                    right(&format!("{value:.2}")),
                    right(&ratio(row.metric_ratios.get(name).copied())),
                ]);
                (workload, figure) = ("", String::new());
            }
        }
    }
}

/// One line below the header and no others: the rows are many.
const STYLE: TableStyle =
    TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(STYLE);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header);
    table
}

fn right(text: &str) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

fn text<T>(value: Option<T>, words: impl Fn(T) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), words)
}

fn ratio(ratio: Option<f64>) -> String {
    text(ratio, |ratio| format!("{ratio:.2}"))
}

fn nanos(nanos: u64) -> String {
    let value = nanos as f64;
    match nanos {
        0..1_000 => format!("{nanos} ns"),
        1_000..1_000_000 => format!("{:.1} us", value / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} ms", value / 1e6),
        _ => format!("{:.2} s", value / 1e9),
    }
}

fn bytes(bytes: u64) -> String {
    let mib = bytes as f64 / (1 << 20) as f64;
    if mib < 1024.0 { format!("{mib:.1} MiB") } else { format!("{:.2} GiB", mib / 1024.0) }
}

#[cfg(test)]
mod tests {
    use super::{bytes, nanos};

    #[test]
    fn figures_have_units() {
        assert_eq!(nanos(999), "999 ns");
        assert_eq!(nanos(1_500), "1.5 us");
        assert_eq!(nanos(2_000_000_000), "2.00 s");
        assert_eq!(bytes(3 << 19), "1.5 MiB");
        assert_eq!(bytes(3 << 30), "3.00 GiB");
    }
}
