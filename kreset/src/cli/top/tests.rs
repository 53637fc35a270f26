use std::process::{Command, Stdio};

use ratatui::{
    Terminal,
    backend::TestBackend,
    crossterm::event::{KeyCode, KeyEvent, KeyModifiers},
};

use super::{
    screen::draw,
    state::{Page, State, Wish},
};
use crate::{event::samples, util::golden::golden};

fn state() -> State {
    let mut state = State::default();
    for _ in 0..3 {
        for (event, number) in samples::every_kind().into_iter().zip(0..) {
            state.table.add(samples::message(event, number));
        }
    }
    for (event, number) in samples::all().into_iter().zip(0..) {
        state.table.add(samples::message(event, number));
    }
    state
}

fn picture(state: &State, columns: u16, rows: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    terminal.draw(|frame| draw(frame, state)).unwrap();
    let buffer = terminal.backend().buffer();
    let mut out = String::new();
    for y in 0..rows {
        let row: String = (0..columns).map(|x| buffer[(x, y)].symbol()).collect();
        out.push_str(row.trim_end());
        out.push('\n');
    }
    out
}

fn press(state: &mut State, keys: &[KeyCode]) -> Wish {
    let mut wish = Wish::Go;
    for key in keys {
        wish = state.press(KeyEvent::new(*key, KeyModifiers::NONE));
    }
    wish
}

#[test]
fn the_view_reads_like_this() {
    let mut state = state();
    golden("top-80x24.txt", &picture(&state, 80, 24));
    golden("top-120x40.txt", &picture(&state, 120, 40));
    press(&mut state, &[KeyCode::Enter]);
    golden("top-evidence-80x24.txt", &picture(&state, 80, 24));
}

#[test]
fn keys_group_filter_pause_and_explain() {
    let mut state = state();
    let all = state.table.rows("").len();
    assert_eq!(press(&mut state, &[KeyCode::Char('b')]), Wish::Go);
    assert!(state.table.rows("").len() < all);
    press(&mut state, &[KeyCode::Char('b')]);
    let typed = "/refused".chars().map(KeyCode::Char).collect::<Vec<_>>();
    press(&mut state, &typed);
    assert!(picture(&state, 80, 24).contains("/refused_"));
    press(&mut state, &[KeyCode::Enter]);
    assert_eq!(state.table.rows(&state.filter).len(), 1);
    press(&mut state, &[KeyCode::Char('e')]);
    assert_eq!(state.page, Page::Explain);
    assert!(picture(&state, 80, 24).contains("handshake_phase/refused"));
    press(&mut state, &[KeyCode::Esc, KeyCode::Char('p')]);
    assert!(picture(&state, 80, 24).starts_with("PAUSED, up "));
    assert_eq!(press(&mut state, &[KeyCode::Char('s')]), Wish::Save);
    assert_eq!(press(&mut state, &[KeyCode::Char('q')]), Wish::Quit);
}

#[test]
fn the_selection_stays_on_the_screen() {
    let mut state = state();
    press(&mut state, &vec![KeyCode::Down; 100]);
    let last = state.table.rows("").len() - 1;
    assert_eq!(state.selected, last);
    for rows in 10..40 {
        let out = picture(&state, 80, rows);
        assert!(out.lines().count() == usize::from(rows), "{out}");
    }
}

#[test]
fn any_size_can_be_drawn() {
    let state = state();
    for columns in [1, 10, 40, 79, 200] {
        for rows in [1, 3, 8, 24, 60] {
            picture(&state, columns, rows);
        }
    }
}

/// Runs itself on a terminal that `script` makes, and panics there.
#[test]
fn a_panic_leaves_the_terminal_as_it_was() {
    const ON_TERMINAL: &str = "KRESET_TEST_PANICS_ON_TERMINAL";
    if std::env::var_os(ON_TERMINAL).is_some() {
        let _never = super::on_screen(|_| panic!("a panic of a test"));
        return;
    }
    let program = std::env::current_exe().unwrap();
    let name = "cli::top::tests::a_panic_leaves_the_terminal_as_it_was";
    let line = format!(
        "before=$(stty -g); {ON_TERMINAL}=1 '{}' {name} --exact --nocapture; \
         test \"$before\" = \"$(stty -g)\" && echo as before",
        program.display()
    );
    let output = Command::new("script")
        .args(["-qfec", &line, "/dev/null"])
        .env("TERM", "xterm")
        .stdin(Stdio::null())
        .output()
        .expect("script, of util-linux, is installed");
    let shown = String::from_utf8_lossy(&output.stdout);
    let (entered, left) = ("\x1b[?1049h", "\x1b[?1049l");
    let (Some(entered), Some(left)) = (shown.find(entered), shown.find(left)) else {
        panic!("{shown:?}");
    };
    assert!(entered < left, "{shown:?}");
    // On the screen of before, where it stays.
    let said = shown.find("a panic of a test").unwrap();
    assert!(left < said, "{shown:?}");
    assert!(shown.contains("as before"), "{shown:?}");
}
