//! A package as a person reads it: the head first, then what it rests on.

use std::fmt::Write;

use super::Package;
use super::head::{head, told};
use crate::handoff::highlights::{MOST, Quote};
use crate::handoff::note::markdown;

/// How a package is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For helpdesks that render it.
    Markdown,
    /// For everybody else.
    Text,
}

/// The whole package.
pub fn render(package: &Package, form: Form) -> String {
    let mut out = String::new();
    let safe = |text: &str| match form {
        Form::Markdown => markdown::text(text),
        Form::Text => text.to_owned(),
    };
    for (name, text) in head(package) {
        match form {
            Form::Markdown => line(&mut out, format_args!("**{name}:** {}  ", safe(&text))),
            Form::Text => line(&mut out, format_args!("{name:<8} {text}")),
        }
    }
    for Section { title, items, .. } in sections(package) {
        match form {
            Form::Markdown => line(&mut out, format_args!("\n### {title}\n")),
            Form::Text => line(&mut out, format_args!("\n{title}")),
        }
        for item in items {
            line(&mut out, format_args!("{} {}", if form == Form::Markdown { "-" } else { "  -" }, safe(&item)));
        }
    }
    out
}

/// A part of the package under the head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Its heading.
    pub title: &'static str,
    /// What it tells, an entry a line; never empty.
    pub items: Vec<String>,
    /// Where not everything fits, the least important goes first.
    pub importance: u8,
}

/// What stands under the head, in the order in which it is read; parts without anything to tell are left out.
pub fn sections(package: &Package) -> Vec<Section> {
    let solution = |s: &crate::handoff::highlights::Solution| format!("{} - {} (message {})", s.what, s.result(), s.message);
    let why = |reason: &super::Reason| vec![format!("{} ({}): {}", reason.trigger, reason.urgency, reason.words)];
    let quotes =
        |quotes: &[Quote]| quotes.iter().map(|quote| format!("\u{201c}{}\u{201d} (message {})", quote.text, quote.message)).collect();
    let entity = |e: &crate::handoff::highlights::Entity| format!("{} (message {})", e.text, e.message);
    let pages = |pages: &Vec<super::Page>| pages.iter().map(|page| format!("{} ({} ago)", page.name, page.ago)).collect::<Vec<_>>();
    let highlights = &package.highlights;
    let all: [(&'static str, u8, Vec<String>); 10] = [
        ("Summary", 10, package.summary.value().map(|summary| summary.statements.iter().map(cited).collect()).unwrap_or_default()),
        ("Tried", 9, highlights.tried.iter().rev().take(MOST).rev().map(solution).collect()),
        ("Why", 6, package.reason.value().map(why).unwrap_or_default()),
        ("Confirmed", 5, quotes(&highlights.confirmed)),
        ("Rejected", 7, quotes(&highlights.rejected)),
        ("Not answered", 8, quotes(&highlights.unanswered)),
        ("Numbers and dates", 2, highlights.entities.iter().map(entity).collect()),
        ("Account", 4, account(package)),
        ("Pages", 1, package.pages.value().map(pages).unwrap_or_default()),
        ("Complete", 3, vec![complete(package)]),
    ];
    let told = all.into_iter().filter(|(_, _, items)| !items.is_empty());
    told.map(|(title, importance, items)| Section { title, items, importance }).collect()
}

/// How complete the package is, and what is not known.
fn complete(package: &Package) -> String {
    let complete = format!("{:.0} %", 100.0 * package.completeness.share);
    if package.completeness.missing.is_empty() {
        return complete;
    }
    format!("{complete}, not known: {}", package.completeness.missing.join(", "))
}

fn cited(statement: &crate::handoff::summary::Statement) -> String {
    let messages: Vec<String> = statement.messages.iter().map(u32::to_string).collect();
    format!("{} [{}]", statement.text, messages.join(", "))
}

fn account(package: &Package) -> Vec<String> {
    let named = |name: &str, text: String| format!("{name}: {text}");
    vec![
        named("account", told(&package.account, Clone::clone)),
        named("customer", told(&package.customer, Clone::clone)),
        named("tier", told(&package.tier, Clone::clone)),
        named("contract value", told(&package.value, ToString::to_string)),
        named("customer for", told(&package.since, Clone::clone)),
        named("open tickets", told(&package.open_tickets, ToString::to_string)),
        named(
            "last contact",
            told(&package.last_contact, |contact| {
                let solved = match contact.resolved {
                    Some(true) => "solved",
                    Some(false) => "not solved",
                    None => "outcome not known",
                };
                format!("{} ago, {solved} ({})", contact.ago, contact.conversation)
            }),
        ),
        named("contacts about this in 30 days", told(&package.repeat, |repeat| repeat.contacts.to_string())),
    ]
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(out, "{text}").expect("writing to a string does not fail");
}
