//! What the view shows, and how keys change it. Pure.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::table::{Group, Row, Table};

/// What stands in the middle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Page {
    /// The rows.
    #[default]
    Rows,
    /// The evidence of the selected row's latest finding.
    Evidence,
    /// Its explanation.
    Explain,
}

/// What a key asks for beyond the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// Nothing.
    Go,
    /// To end.
    Quit,
    /// To write the findings to a file.
    Save,
}

/// The state of the view.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) table: Table,
    pub(super) selected: usize,
    pub(super) page: Page,
    pub(super) scroll: u16,
    pub(super) filter: String,
    /// The filter is being typed.
    pub(super) is_typing: bool,
    pub(super) is_paused: bool,
    /// No more events come.
    pub(super) has_ended: bool,
    pub(super) color: bool,
    /// What the last line says instead of the keys.
    pub(super) message: Option<String>,
}

impl State {
    /// The selected row.
    pub(super) fn selected_row(&self) -> Option<&Row> {
        self.table.rows(&self.filter).get(self.selected).copied()
    }

    /// Takes a key.
    pub(super) fn press(&mut self, key: KeyEvent) -> Wish {
        self.message = None;
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        if control && key.code == KeyCode::Char('c') {
            return Wish::Quit;
        }
        if self.is_typing {
            match key.code {
                KeyCode::Enter => self.is_typing = false,
                KeyCode::Esc => {
                    self.is_typing = false;
                    self.filter.clear();
                }
                KeyCode::Backspace => drop(self.filter.pop()),
                KeyCode::Char(c) if !control => self.filter.push(c),
                _ => {}
            }
            self.selected = 0;
            return Wish::Go;
        }
        match (self.page, key.code) {
            (_, KeyCode::Char('q')) => return Wish::Quit,
            (Page::Rows, KeyCode::Up | KeyCode::Char('k')) => {
                self.selected = self.selected.saturating_sub(1);
            }
            (Page::Rows, KeyCode::Down | KeyCode::Char('j')) => {
                let last = self.table.rows(&self.filter).len().saturating_sub(1);
                self.selected = (self.selected + 1).min(last);
            }
            (Page::Rows, KeyCode::Enter) => self.turn_to(Page::Evidence),
            (_, KeyCode::Char('e')) => self.turn_to(Page::Explain),
            (Page::Rows, KeyCode::Char('c')) => self.group(Group::Client),
            (Page::Rows, KeyCode::Char('b')) => self.group(Group::Broker),
            (Page::Rows, KeyCode::Char('/')) => self.is_typing = true,
            (Page::Rows, KeyCode::Char('s')) => return Wish::Save,
            (Page::Rows, KeyCode::Esc) => self.filter.clear(),
            (_, KeyCode::Char('p')) => self.is_paused = !self.is_paused,
            (_, KeyCode::Up | KeyCode::Char('k')) => self.scroll = self.scroll.saturating_sub(1),
            (_, KeyCode::Down | KeyCode::Char('j')) => self.scroll = self.scroll.saturating_add(1),
            (_, KeyCode::Esc | KeyCode::Backspace) => self.turn_to(Page::Rows),
            _ => {}
        }
        Wish::Go
    }

    const fn turn_to(&mut self, page: Page) {
        self.page = page;
        self.scroll = 0;
    }

    fn group(&mut self, group: Group) {
        self.table.group_by(group);
        self.selected = 0;
    }
}
