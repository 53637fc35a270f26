//! The view as it is drawn. Pure: from the state to a frame.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::Line,
    widgets::{Block, Paragraph, Row, Sparkline, Table as Grid, Wrap},
};

use super::{
    columns::Columns,
    state::{Page, State},
    table,
};
use crate::{
    classify::devices,
    event::{Culprit, Incident, evidence_words},
    util::{
        escape::Escaped,
        units::{count, percent, precise, rough},
    },
};

/// Incidents that are shown at once.
const INCIDENTS: usize = 3;

/// Draws `state`.
pub(super) fn draw(frame: &mut Frame<'_>, state: &State) {
    let incidents: Vec<_> = state.table.incidents().take(INCIDENTS).collect();
    let [header, lines, going_on, body, footer] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(Culprit::ALL.len() as u16),
        Constraint::Length(incidents.len() as u16),
        Constraint::Min(3),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(
        Paragraph::new(heading(state)).style(Style::new().add_modifier(Modifier::BOLD)),
        header,
    );
    sparklines(frame, lines, state);
    for (line, incident) in going_on.rows().zip(incidents) {
        let style = style_of(incident.incident.culprit(), state.color);
        frame.render_widget(Paragraph::new(what_happened(incident)).style(style), line);
    }
    match state.page {
        Page::Rows => rows(frame, body, state),
        Page::Evidence => text(frame, body, "evidence", &evidence(state), state.scroll),
        Page::Explain => text(frame, body, "explained", &explanation(state), state.scroll),
    }
    frame.render_widget(Paragraph::new(keys(state)), footer);
}

/// An incident on one line: whether it goes on, and what it is.
fn what_happened(incident: &Incident) -> String {
    let phase = if incident.phase == "begin" {
        "INCIDENT "
    } else {
        "OVER     "
    };
    format!("{phase}{}", Escaped(&incident.summary))
}

/// Up time, what is watched, resets a minute, lost.
fn heading(state: &State) -> String {
    let table = &state.table;
    let up = table.span.map_or(0, |(first, latest)| {
        latest.duration_since(first).as_millis()
    });
    #[expect(clippy::cast_precision_loss, reason = "shown with two units")]
    let up = rough(up as f64);
    let watched = table.watched.map_or_else(String::new, |it| {
        format!(
            "{} to {}, ",
            count(it.connections, "connection"),
            count(it.brokers, "broker")
        )
    });
    let paused = if state.is_paused { "PAUSED, " } else { "" };
    let ended = if state.has_ended { "ended, " } else { "" };
    format!(
        "{paused}{ended}up {up}, {watched}{}, {} a minute, {} lost",
        count(table.findings, "reset"),
        table.recent.last_minute(),
        table.lost,
    )
}

pub(super) const fn style_of(culprit: Culprit, color: bool) -> Style {
    if !color {
        return Style::new();
    }
    let color = match culprit {
        Culprit::Device => Color::Red,
        Culprit::Broker => Color::Yellow,
        Culprit::Client => Color::Blue,
        Culprit::Handshake => Color::Cyan,
        Culprit::Unsure => Color::DarkGray,
    };
    Style::new().fg(color)
}

/// One line of columns for each culprit, a second each.
fn sparklines(frame: &mut Frame<'_>, area: Rect, state: &State) {
    const LABEL: u16 = 11;
    for (line, culprit) in area.rows().zip(Culprit::ALL.iter().copied()) {
        let [label, columns] =
            Layout::horizontal([Constraint::Length(LABEL), Constraint::Min(1)]).areas(line);
        let style = style_of(culprit, state.color);
        frame.render_widget(Paragraph::new(culprit.as_str()).style(style), label);
        let data = state
            .table
            .recent
            .columns(culprit, usize::from(columns.width));
        frame.render_widget(Sparkline::default().data(data).style(style), columns);
    }
}

fn rows(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let shown = state.table.rows(&state.filter);
    let histogram = state
        .selected_row()
        .is_some_and(|row| row.median_ms().is_some());
    let [grid, below] = Layout::vertical([
        Constraint::Min(3),
        Constraint::Length(if histogram && area.height >= 10 { 3 } else { 0 }),
    ])
    .areas(area);
    // The selected row stays in sight.
    let room = usize::from(grid.height).saturating_sub(2).max(1);
    let from = (state.selected + 1).saturating_sub(room);
    let columns = Columns::of(grid.width);
    let body = shown.iter().enumerate().skip(from).map(|(at, row)| {
        let mut selected = Style::new();
        if at == state.selected {
            selected = selected.add_modifier(Modifier::REVERSED);
        }
        Row::new(columns.cells(row, state)).style(selected)
    });
    let titles = Row::new(columns.titles());
    let titles = titles.style(Style::new().add_modifier(Modifier::BOLD));
    let table = Grid::new(body, columns.widths())
        .header(titles)
        .block(Block::new().borders(ratatui::widgets::Borders::TOP));
    frame.render_widget(table, grid);
    if let Some(row) = state.selected_row() {
        silences(frame, below, row);
    }
}

/// The silences at which connections of a row died, with the timers of known devices.
fn silences(frame: &mut Frame<'_>, area: Rect, row: &table::Row) {
    if area.height < 3 {
        return;
    }
    let (counts, low, high) = row.histogram(usize::from(area.width));
    let [title, columns, scale] = Layout::vertical([Constraint::Length(1); 3]).areas(area);
    let timers: Vec<String> = devices::all()
        .iter()
        .filter(|device| {
            let timer_ms = f64::from(device.idle_s) * 1e3;
            timer_ms >= low * 0.95 && timer_ms <= high * 1.05
        })
        .map(|device| format!("{} {} s", device.name, device.idle_s))
        .collect();
    let known = if timers.is_empty() {
        "no known device has a timer in this range".to_owned()
    } else {
        timers.join(", ")
    };
    let what = format!("silence before the end; {known}");
    frame.render_widget(Paragraph::new(what), title);
    frame.render_widget(Sparkline::default().data(counts), columns);
    let [left, right] =
        Layout::horizontal([Constraint::Percentage(50), Constraint::Percentage(50)]).areas(scale);
    frame.render_widget(Paragraph::new(precise(low)), left);
    frame.render_widget(
        Paragraph::new(Line::from(precise(high)).right_aligned()),
        right,
    );
}

fn text(frame: &mut Frame<'_>, area: Rect, title: &'static str, text: &str, scroll: u16) {
    let paragraph = Paragraph::new(text)
        .wrap(Wrap { trim: false })
        .scroll((scroll, 0))
        .block(
            Block::new()
                .borders(ratatui::widgets::Borders::TOP)
                .title(title),
        );
    frame.render_widget(paragraph, area);
}

fn evidence(state: &State) -> String {
    let Some(row) = state.selected_row() else {
        return "nothing is selected".to_owned();
    };
    let finding = &row.latest;
    let mut lines = vec![
        Escaped(&finding.summary).to_string(),
        String::new(),
        format!("-> {}", Escaped(&finding.advice)),
        String::new(),
    ];
    for it in &finding.evidence {
        lines.push(format!(
            "{}: {}",
            Escaped(evidence_words(&it.name)),
            Escaped(&it.value)
        ));
    }
    for it in &finding.candidates {
        lines.push(format!("{} {}", it.verdict, percent(it.share)));
    }
    lines.join("\n")
}

fn explanation(state: &State) -> String {
    state.selected_row().map_or_else(
        || "nothing is selected".to_owned(),
        |row| crate::cli::explain::of_finding(&row.latest, 76),
    )
}

fn keys(state: &State) -> String {
    if state.is_typing {
        return format!("/{}_", state.filter);
    }
    if let Some(message) = &state.message {
        return message.clone();
    }
    match state.page {
        Page::Rows => {
            "enter evidence  e explain  c client  b broker  / filter  p pause  s save  q quit"
                .to_owned()
        }
        _ => "esc back  up/down scroll  q quit".to_owned(),
    }
}
