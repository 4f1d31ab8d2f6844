//! A note as HTML: one paragraph for the head, a heading and a list for each part, a line where it has one entry. Only tags that all four helpdesks keep,
//! and no attribute at all.

use std::fmt::Write;

use super::content::{Content, defused};

/// The tag of headings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heading {
    /// `h4`: a little larger than the text.
    Small,
    /// `h2`: Intercom knows two, and this is the smaller.
    Second,
}

impl Heading {
    fn tag(self) -> &'static str {
        match self {
            Self::Small => "h4",
            Self::Second => "h2",
        }
    }
}

/// Writes a note.
pub fn write(content: &Content, heading: Heading) -> String {
    let lines = content.head.iter().map(|line| format!("<b>{}:</b> {}", line.name, text(&line.text)));
    let mut out = format!("<p>{}</p>", lines.collect::<Vec<_>>().join("<br>"));
    let tag = heading.tag();
    for section in &content.sections {
        // A list of one is a line.
        if let [item] = &section.items[..] {
            write!(out, "<p><b>{}:</b> {}</p>", section.title, text(item)).expect("writing to a string does not fail");
            continue;
        }
        let items: String = section.items.iter().map(|item| format!("<li>{}</li>", text(item))).collect();
        write!(out, "<{tag}>{}</{tag}><ul>{items}</ul>", section.title).expect("writing to a string does not fail");
    }
    if let Some(left_out) = content.left_out() {
        write!(out, "<p>{left_out}</p>").expect("writing to a string does not fail");
    }
    out
}

/// A text that HTML shows as it is, with nothing in it that a helpdesk makes into something else.
pub fn text(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in defused(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(c),
        }
    }
    out
}
