//! Charts as inline SVG, coloured by the style sheet, with their numbers in words too.

use maud::{Markup, html};

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 160.0;
/// Room for labels below and above.
const FOOT: f64 = 22.0;
const HEAD: f64 = 18.0;

/// How a value is told.
type Tell<'a> = &'a dyn Fn(u64) -> String;

fn frame(label: &str, values: &[(String, u64)], tell: Tell<'_>, inner: &Markup) -> Markup {
    let most = values.iter().map(|(_, value)| *value).max().unwrap_or(0);
    let (first, last) = (
        values.first().map(|v| v.0.as_str()),
        values.last().map(|v| v.0.as_str()),
    );
    let whole = HEAD + HEIGHT + FOOT;
    html! {
        figure.chart {
            svg viewBox=(format!("0 0 {WIDTH} {whole}")) role="img" aria-label=(label) {
                line.axis x1="0" x2=(WIDTH) y1=(HEAD + HEIGHT) y2=(HEAD + HEIGHT) {}
                line.grid x1="0" x2=(WIDTH) y1=(HEAD) y2=(HEAD) {}
                text x="0" y=(HEAD - 6.0) { (tell(most)) }
                (inner)
                text x="0" y=(whole - 6.0) { (first.unwrap_or_default()) }
                text.end x=(WIDTH) y=(whole - 6.0) { (last.unwrap_or_default()) }
            }
            details {
                summary { "As a table" }
                div.scroll role="region" aria-label=(format!("{label}, as a table")) tabindex="0" { table {
                    thead { tr { th scope="col" { "Month" } th.number scope="col" { (label) } } }
                    tbody { @for (month, value) in values {
                        tr { th scope="row" { (month) } td.number { (tell(*value)) } }
                    } }
                } }
            }
        }
    }
}

fn height(value: u64, most: u64) -> f64 {
    HEIGHT * value as f64 / most.max(1) as f64
}

/// One column for each value.
pub(super) fn columns(label: &str, values: &[(String, u64)], tell: Tell<'_>) -> Markup {
    let most = values.iter().map(|(_, value)| *value).max().unwrap_or(0);
    let step = WIDTH / values.len().max(1) as f64;
    // Few columns would be walls.
    let width = (step * 0.8).min(48.0);
    let inner = html! {
        @for (i, (month, value)) in values.iter().enumerate() {
            @let high = height(*value, most);
            rect.column x=(format!("{:.2}", i as f64 * step + (step - width) / 2.0))
                y=(format!("{:.2}", HEAD + HEIGHT - high)) width=(format!("{width:.2}")) height=(format!("{high:.2}")) {
                title { (month) ": " (tell(*value)) }
            }
        }
    };
    frame(label, values, tell, &inner)
}

/// A filled line over values that only grow.
pub(super) fn area(label: &str, values: &[(String, u64)], tell: Tell<'_>) -> Markup {
    let most = values.iter().map(|(_, value)| *value).max().unwrap_or(0);
    let step = WIDTH / (values.len().max(2) - 1) as f64;
    let point = |(i, (_, value)): (usize, &(String, u64))| {
        format!("{:.2},{:.2}", i as f64 * step, HEAD + HEIGHT - height(*value, most))
    };
    let mut points: Vec<String> = values.iter().enumerate().map(point).collect();
    if let [(_, only)] = values {
        points.push(format!("{WIDTH},{:.2}", HEAD + HEIGHT - height(*only, most)));
    }
    let floor = HEAD + HEIGHT;
    let inner = html! {
        polygon.area points=(format!("0,{floor} {} {WIDTH},{floor}", points.join(" "))) {}
        polyline.line points=(points.join(" ")) {}
    };
    frame(label, values, tell, &inner)
}

/// A table whose rows have a bar each: what it is, two texts, and how long the bar is.
pub(super) fn bars(head: [&str; 3], rows: Vec<(Markup, String, String, u64)>) -> Markup {
    let most = rows.iter().map(|row| row.3).max().unwrap_or(0).max(1);
    html! {
        div.scroll role="region" aria-label=(head[0]) tabindex="0" { table.bars {
            thead { tr {
                th scope="col" { (head[0]) }
                th.number scope="col" { (head[1]) }
                th.number scope="col" { (head[2]) }
                th scope="col" { span.hidden { "Share" } }
            } }
            tbody { @for (what, first, second, value) in rows {
                tr {
                    th scope="row" { (what) }
                    td.number { (first) }
                    td.number { (second) }
                    td.bar {
                        svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true" {
                            rect.column x="0" y="0" height="10" width=(format!("{:.2}", 100.0 * value as f64 / most as f64)) {}
                        }
                    }
                }
            } }
        } }
    }
}
