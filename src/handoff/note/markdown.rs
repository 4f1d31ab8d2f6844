//! A note as Markdown, for Chatwoot: the head in lines that break, a heading and a list for each part, a line where it has one entry.

use std::fmt::Write;

use super::content::{Content, defused};

/// Writes a note.
pub fn write(content: &Content) -> String {
    // A blank line is no part of a line that breaks: the last line of the head ends without the two blanks.
    let lines = content.head.iter().map(|line| format!("**{}:** {}", line.name, text(&line.text)));
    let mut out = lines.collect::<Vec<_>>().join("  \n");
    for section in &content.sections {
        // A list of one is a line.
        if let [item] = &section.items[..] {
            write!(out, "\n\n**{}:** {}", section.title, text(item)).expect("writing to a string does not fail");
            continue;
        }
        let items: String = section.items.iter().map(|item| format!("\n- {}", text(item))).collect();
        write!(out, "\n\n### {}\n{items}", section.title).expect("writing to a string does not fail");
    }
    if let Some(left_out) = content.left_out() {
        write!(out, "\n\n{left_out}").expect("writing to a string does not fail");
    }
    out
}

/// A text that Markdown shows as it is, with nothing in it that a helpdesk makes into something else.
pub fn text(text: &str) -> String {
    let defused = defused(text);
    let digits = defused.bytes().take_while(u8::is_ascii_digit).count();
    let mut out = String::with_capacity(defused.len() + 8);
    for (at, c) in defused.char_indices() {
        // At its beginning a text could be a list or a rule.
        let begins = at == 0 && c == '-' || digits > 0 && at == digits && c == '.';
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '(' | ')' | '#' | '+' | '!' | '|' | '~' | '$' | '^' | '=' => {
                out.extend(['\\', c]);
            }
            _ if begins => out.extend(['\\', c]),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_begins_something() {
        for (plain, expected) in [
            ("- x", "\\- x"),
            ("12. x 3. y", "12\\. x 3. y"),
            ("1) x", "1\\) x"),
            ("# x", "\\# x"),
            ("[x](http://y.zz)", "\\[x\\]\\(http:\\[//\\]y\\[.\\]zz\\)"),
            ("a & b <c>", "a &amp; b &lt;c&gt;"),
            ("---", "\\---"),
        ] {
            assert_eq!(text(plain), expected);
        }
    }
}
