//! Rows as people read them, and as programs do.

use crate::row::{Row, State};
use comfy_table::{Cell, CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};
use mallocgc_bench::Runtime;
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
    if let Some(metrics) = metrics_table(rows) {
        writeln!(out, "\n{metrics}")?;
    }
    if let Some(ratios) = ratios_table(rows) {
        writeln!(out, "\n{ratios}")?;
    }
    if let Some(row) = rows.iter().find(|row| row.base.is_some()) {
        let base = row.base.map_or("", |base| base.name());
        writeln!(
            out,
            "\nratio, and in brackets: median over the rounds of each round's ratio to {base}; lower is \
             better. It is that of\nCPU time or, where a workload is about something else, of the \
             figure marked *. To a peer by name: ours to its."
        )?;
    }
    Ok(())
}

/// A line per figure, a column per runtime: the value, and in brackets its ratio to the base's.
fn metrics_table(rows: &[Row]) -> Option<Table> {
    let mut runtimes: Vec<Runtime> = rows.iter().map(|row| row.runtime).collect();
    runtimes.sort();
    runtimes.dedup();
    let mut header = vec!["workload", "figure"];
    header.extend(runtimes.iter().map(|runtime| runtime.name()));
    let mut metrics = table(&header);
    for case in rows.chunk_by(|a, b| a.workload == b.workload) {
        let mut names: Vec<&String> = case.iter().flat_map(|row| row.metrics.keys()).collect();
        names.sort_by_cached_key(|name| natural_key(name));
        names.dedup();
        let mut workload = case[0].workload.as_str();
        for name in names {
            let star = if case[0].measure == name { "*" } else { "" };
            let mut cells = vec![Cell::new(workload), Cell::new(format!("{name}{star}"))];
            for runtime in &runtimes {
                let row = case.iter().find(|row| row.runtime == *runtime);
                cells.push(right(&row.map_or(String::new(), |row| metric(row, name))));
            }
            metrics.add_row(cells);
            workload = "";
        }
    }
    (metrics.row_count() > 0).then_some(metrics)
}

/// A line per workload, a column per peer: our ratio to it. None if all of it is in the table of results.
fn ratios_table(rows: &[Row]) -> Option<Table> {
    let ours: Vec<&Row> = rows.iter().filter(|row| row.runtime == Runtime::Mallocgc).collect();
    let to_base = |row: &&&Row| row.ratios.keys().any(|&other| Some(other) != row.base);
    ours.iter().find(to_base)?;
    let mut peers: Vec<Runtime> = ours.iter().flat_map(|row| row.ratios.keys()).copied().collect();
    peers.sort();
    peers.dedup();
    let header: Vec<String> = peers.iter().map(|peer| format!("to {peer}")).collect();
    let header: Vec<&str> =
        std::iter::once("workload").chain(header.iter().map(String::as_str)).collect();
    let mut ratios = table(&header);
    for row in ours {
        let cells = peers.iter().map(|peer| right(&ratio(row.ratios.get(peer).copied())));
        ratios.add_row(std::iter::once(Cell::new(&row.workload)).chain(cells));
    }
    Some(ratios)
}

fn metric(row: &Row, name: &str) -> String {
    let Some(&value) = row.metrics.get(name) else { return String::new() };
    let value = match name {
        _ if name.ends_with("_nanos") => nanos(value as u64),
        _ if name.ends_with("_bytes") => bytes(value as u64),
        _ => format!("{value:.2}"),
    };
    match row.metric_ratios.get(name) {
        Some(ratio) if row.base != Some(row.runtime) => format!("{value} ({ratio:.2})"),
        _ => value,
    }
}

/// A sort key by which numbers in names come in the order of their values.
fn natural_key(name: &str) -> String {
    let mut key = String::new();
    for run in name.as_bytes().chunk_by(|a, b| a.is_ascii_digit() == b.is_ascii_digit()) {
        let text = String::from_utf8_lossy(run);
        if run[0].is_ascii_digit() {
            key.push_str(&format!("{text:0>20}"));
        } else {
            key.push_str(&text);
        }
    }
    key
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
    use super::{bytes, nanos, natural_key};

    #[test]
    fn sizes_come_in_order() {
        let mut names = ["ns_1024", "ns_8_to_32", "ns_8", "ns_32"];
        names.sort_by_cached_key(|name| natural_key(name));
        assert_eq!(names, ["ns_8", "ns_8_to_32", "ns_32", "ns_1024"]);
    }

    #[test]
    fn figures_have_units() {
        assert_eq!(nanos(999), "999 ns");
        assert_eq!(nanos(1_500), "1.5 us");
        assert_eq!(nanos(2_000_000_000), "2.00 s");
        assert_eq!(bytes(3 << 19), "1.5 MiB");
        assert_eq!(bytes(3 << 30), "3.00 GiB");
    }
}
