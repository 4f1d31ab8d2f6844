//! Notes for helpdesks: each request against the strict schemas and the vendors' own, bodies that would leak, hostile text in every field, lengths, the
//! examples, and the RPC.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use baton::handoff::highlights::{Entity, EntityKind, Quote};
use baton::handoff::note::content::LENGTH_MIN;
use baton::handoff::note::{Helpdesk, Merge, Options, Place as Ticket, Purpose, Request, render};
use baton::handoff::package::{Completeness, Field, LastContact, Package, Page, Repeat};
use baton::handoff::policy::{self, Policy};
use baton::handoff::story::plain;
use baton::handoff::transcript::Transcript;
use baton::message::Id;
use baton::model::encoder::candle::{DeviceChoice, open_device};
use baton::model::load::load;
use baton::service::observe::{Observer, vocabulary};
use baton::service::packaging::of_transcript;
use baton::service::pb::handoff_service_client::HandoffServiceClient;
use baton::service::pb::{self, Conversations};
use proptest::prelude::*;
use pulldown_cmark::{Event, Parser, Tag, TagEnd};
use regex::Regex;
use serde_json::{Value, json};
use tonic::Code;

use crate::serving::{Daemon, soon};
use crate::support::{PLANTED, Place, SHIPPED};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The package of examples/notes/conversation.jsonl.
static EXAMPLE: LazyLock<Package> = LazyLock::new(|| {
    let scorer = load(Path::new(SHIPPED), &open_device(DeviceChoice::Cpu).unwrap()).unwrap();
    let policy = Policy::read(policy::DEFAULT_NAME, policy::DEFAULT, &vocabulary(&scorer)).unwrap();
    let observer = Observer::new(&scorer, &policy).unwrap();
    let source = fs::read_to_string(root().join("examples/notes/conversation.jsonl")).unwrap();
    let transcript = Transcript::parse(Id::new("c").unwrap(), &source).unwrap();
    let table = observer.table(&scorer, transcript.texts()).unwrap();
    of_transcript(scorer.lexicon(), &policy, &transcript, &table).package
});

/// A text of the package, to be replaced.
trait Told {
    fn becomes(&mut self, text: &str);
}

impl Told for String {
    fn becomes(&mut self, text: &str) {
        text.clone_into(self);
    }
}

impl Told for Quote {
    fn becomes(&mut self, text: &str) {
        self.text.becomes(text);
    }
}

/// A package with one text in every place that has a text, and nothing missing.
fn filled(text: &str) -> Package {
    let present = || Field::Present { value: text.to_owned(), source: "lookup" };
    let quotes = || vec![Quote { text: text.to_owned(), message: 3 }; 3];
    let mut package = EXAMPLE.clone();
    // An id has no blanks and no letters beyond ASCII.
    let id: String = text.chars().filter(char::is_ascii_graphic).take(100).collect();
    package.conversation = Id::new(id.clone()).unwrap_or(package.conversation);
    package.account = present();
    package.customer = Field::Stale { value: text.to_owned(), source: "lookup", age: text.to_owned() };
    package.tier = present();
    package.value = Field::Absent { reason: text.to_owned() };
    package.since = present();
    package.open_tickets = Field::Absent { reason: text.to_owned() };
    let contact = LastContact { conversation: Id::new(id).unwrap_or_else(|_| Id::new("c").unwrap()), ago: text.to_owned(), resolved: None };
    package.last_contact = Field::Present { value: contact, source: "earlier conversations" };
    package.repeat = Field::Present { value: Repeat { contacts: 3 }, source: "earlier conversations" };
    let page = Page { name: text.to_owned(), at: text.to_owned(), ago: text.to_owned() };
    package.pages = Field::Present { value: vec![page; 3], source: "events" };
    let Field::Present { value: summary, .. } = &mut package.summary else { panic!("the example has a summary") };
    for statement in &mut summary.statements {
        statement.text.becomes(text);
        statement.slot.becomes(text);
    }
    assert!(!package.highlights.tried.is_empty(), "the bot of the example tried something");
    package.highlights.tried.iter_mut().for_each(|solution| solution.what.becomes(text));
    package.highlights.confirmed = quotes();
    package.highlights.rejected = quotes();
    package.highlights.unanswered = quotes();
    package.highlights.entities = vec![Entity { kind: EntityKind::Reference, text: text.to_owned(), message: 1 }; 3];
    let Field::Present { value: feeling, .. } = &mut package.feeling else { panic!("the example has a feeling") };
    feeling.words.becomes(text);
    let Field::Present { value: reason, .. } = &mut package.reason else { panic!("the example is handed over") };
    reason.trigger.becomes(text);
    reason.category.becomes(text);
    reason.words.becomes(text);
    reason.queue.becomes(text);
    reason.quote.as_mut().unwrap().becomes(text);
    reason.urgency = "immediate";
    package.next.becomes(text);
    package.completeness = Completeness { share: 1.0, missing: Vec::new() };
    package
}

/// A package of which nothing is known.
fn empty() -> Package {
    fn absent<T>() -> Field<T> {
        Field::Absent { reason: "not sent".to_owned() }
    }
    Package {
        account: absent(),
        customer: absent(),
        tier: absent(),
        value: absent(),
        since: absent(),
        open_tickets: absent(),
        last_contact: absent(),
        repeat: absent(),
        pages: absent(),
        summary: absent(),
        highlights: Default::default(),
        feeling: absent(),
        reason: absent(),
        next: "Ask what they need.".to_owned(),
        ..EXAMPLE.clone()
    }
}

fn ticket() -> Ticket {
    Ticket::new("4711", Some("3")).unwrap()
}

fn options(typed: &[(&str, &str)]) -> Options {
    let mut options = Options::default();
    // Intercom takes no note without.
    options.set("intercom_admin_id", "780").unwrap();
    typed.iter().for_each(|(key, value)| options.set(key, value).unwrap());
    options
}

/// Everything that can be switched on.
fn all_of(helpdesk: Helpdesk) -> Options {
    let field = match helpdesk {
        Helpdesk::Zendesk => "trigger=360001,queue=360002",
        Helpdesk::Freshdesk => "trigger=cf_trigger,queue=cf_queue",
        Helpdesk::Intercom | Helpdesk::Chatwoot | Helpdesk::Zammad => "trigger=baton_trigger,queue=baton_queue",
    };
    let lists = [("tags", "baton,vip-1"), ("intercom_tag_ids", "7,8"), ("fields", field)];
    options(&[&lists[..], &[("merge", "on"), ("priority", "on")]].concat())
}

fn requests(helpdesk: Helpdesk, package: &Package, options: &Options) -> Vec<Request> {
    render(helpdesk, package, ticket(), options).unwrap()
}

/// The text of the note, in HTML or Markdown.
fn text_of(helpdesk: Helpdesk, package: &Package, options: &Options) -> String {
    let all = requests(helpdesk, package, options);
    let Request::Call(note) = &all[0] else { panic!("the note is a call") };
    assert_eq!(note.purpose(), Purpose::Note);
    note_text(helpdesk, note.body().unwrap())
}

fn note_text(helpdesk: Helpdesk, body: &Value) -> String {
    let place = match helpdesk {
        Helpdesk::Zendesk => "/ticket/comment/html_body",
        Helpdesk::Chatwoot => "/content",
        Helpdesk::Freshdesk | Helpdesk::Intercom | Helpdesk::Zammad => "/body",
    };
    body.pointer(place).unwrap().as_str().unwrap().to_owned()
}

// ---------------------------------------------------------------- contracts

fn data(helpdesk: Helpdesk, file: &str) -> PathBuf {
    root().join("tests/data/helpdesk").join(helpdesk.as_str()).join(file)
}

fn read_json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// A schema that a body can be held against.
struct Schema {
    all: boon::Schemas,
    place: boon::SchemaIndex,
}

impl Schema {
    /// Of the draft that it names, else of 2020-12.
    fn new(schema: Value) -> Self {
        let (mut all, mut compiler) = (boon::Schemas::new(), boon::Compiler::new());
        compiler.add_resource("schema.json", schema).unwrap();
        let place = compiler.compile("schema.json", &mut all).unwrap_or_else(|error| panic!("{error}"));
        Self { all, place }
    }

    fn fault(&self, body: &Value) -> Option<String> {
        self.all.validate(body, self.place).err().map(|error| error.to_string())
    }

    fn is_valid(&self, body: &Value) -> bool {
        self.fault(body).is_none()
    }
}

/// Ours: the note's schema, or that of a call beside it.
fn strict(helpdesk: Helpdesk, purpose: Purpose) -> Schema {
    if purpose == Purpose::Note {
        return Schema::new(read_json(&data(helpdesk, "note.schema.json")));
    }
    let mut schema = read_json(&data(helpdesk, "calls.schema.json"));
    schema["$ref"] = json!(format!("#/$defs/{}", purpose.as_str()));
    Schema::new(schema)
}

/// Forbids what is not named, wherever properties are named.
fn close(schema: &mut Value) {
    match schema {
        Value::Array(all) => all.iter_mut().for_each(close),
        Value::Object(map) => {
            map.values_mut().for_each(close);
            if map.get("properties").is_some_and(Value::is_object) && !map.contains_key("additionalProperties") {
                map.insert("additionalProperties".to_owned(), json!(false));
            }
        }
        _ => {}
    }
}

/// The vendor's operations with their bodies, each closed; `None` where the vendor publishes no description.
fn vendor(helpdesk: Helpdesk) -> Option<Vec<(String, Option<Schema>)>> {
    let path = data(helpdesk, "vendor.json");
    if !path.exists() {
        assert!(matches!(helpdesk, Helpdesk::Freshdesk | Helpdesk::Zammad), "{helpdesk:?} publishes a description");
        return None;
    }
    let mut description = read_json(&path);
    close(&mut description);
    let validator = |body: &Value| {
        let mut schema = body.clone();
        schema["components"] = description["components"].clone();
        Schema::new(schema)
    };
    let operations = description["operations"].as_object().unwrap().iter();
    Some(operations.map(|(name, body)| (name.clone(), (!body.is_null()).then(|| validator(body)))).collect())
}

/// Whether a call is of an operation such as `PUT /api/v2/tickets/{ticket_id}`.
fn is_of(operation: &str, method: &str, path: &str) -> bool {
    let parameter = Regex::new(r"\\\{[a-z_]+\\\}").unwrap();
    let pattern = parameter.replace_all(&regex::escape(operation), "[0-9]+").into_owned();
    Regex::new(&format!("^{pattern}$")).unwrap().is_match(&format!("{method} {path}"))
}

/// An answer in which somebody has set a tag and an attribute already.
fn answer(merge: &Merge) -> Value {
    let there = if merge.add().is_array() { json!(["set by hand"]) } else { json!({"set_by_hand": 7}) };
    let mut answer = json!({"id": 4711});
    answer[merge.found_at().trim_start_matches('/')] = there;
    answer
}

/// Every call of a request, with its body; those of a merge with what was there still in it.
fn calls(request: &Request) -> Vec<(String, String, Option<Value>)> {
    match request {
        Request::Call(call) => vec![(call.method().as_str().to_owned(), call.path().to_owned(), call.body().cloned())],
        Request::Merge(merge) => {
            let write = merge.write(&answer(merge)).unwrap().unwrap();
            assert!(write.body().unwrap().to_string().contains("by"), "{write:?}");
            assert_eq!((write.method(), write.path()), (merge.method(), merge.path()));
            let read = merge.read();
            vec![
                (read.method().as_str().to_owned(), read.path().to_owned(), None),
                (write.method().as_str().to_owned(), write.path().to_owned(), write.body().cloned()),
            ]
        }
    }
}

#[test]
fn each_request_passes_the_strict_schema_and_the_vendors() {
    let hostile = HOSTILE.join(" ");
    for helpdesk in Helpdesk::ALL {
        let operations = vendor(helpdesk);
        for package in [&*EXAMPLE, &filled(&hostile), &filled(&"long ".repeat(500)), &empty()] {
            let all = requests(helpdesk, package, &all_of(helpdesk));
            assert_eq!(all[0].purpose(), Purpose::Note);
            assert_eq!(all.iter().filter(|request| request.purpose() == Purpose::Note).count(), 1);
            for request in &all {
                for (method, path, body) in calls(request) {
                    let what = format!("{} {} {method} {path}", helpdesk.as_str(), request.purpose().as_str());
                    if let Some(body) = &body {
                        let ours = strict(helpdesk, request.purpose());
                        assert!(ours.is_valid(body), "{what}: {:?} {body}", ours.fault(body));
                    }
                    let Some(operations) = &operations else { continue };
                    let operation = operations.iter().find(|(operation, _)| is_of(operation, &method, &path));
                    let (_, theirs) = operation.unwrap_or_else(|| panic!("{what}: the vendor describes no such operation"));
                    // A value of a field is described as the definition of a field.
                    let of_a_field = helpdesk == Helpdesk::Zendesk && request.purpose() == Purpose::Fields;
                    if let (Some(theirs), Some(body), false) = (theirs, &body, of_a_field) {
                        assert!(theirs.is_valid(body), "{what}: {:?}", theirs.fault(body));
                        let mut unknown = body.clone();
                        unknown["send_to_customer"] = json!(true);
                        assert!(!theirs.is_valid(&unknown), "{what}: the vendor's schema takes anything");
                    }
                }
            }
        }
    }
}

#[test]
fn all_that_is_switched_on_is_there_in_its_order() {
    let purposes = |helpdesk| requests(helpdesk, &filled("x"), &all_of(helpdesk)).iter().map(Request::purpose).collect::<Vec<_>>();
    use Purpose::{Fields, Note, Priority, Tags};
    assert_eq!(purposes(Helpdesk::Zendesk), [Note, Tags, Priority, Fields]);
    assert_eq!(purposes(Helpdesk::Freshdesk), [Note, Tags, Priority, Fields]);
    assert_eq!(purposes(Helpdesk::Intercom), [Note, Tags, Tags, Fields]);
    assert_eq!(purposes(Helpdesk::Chatwoot), [Note, Tags, Priority, Fields]);
    assert_eq!(purposes(Helpdesk::Zammad), [Note, Tags, Tags, Priority, Fields]);
}

#[test]
fn by_default_a_note_alone_is_sent_and_nothing_is_replaced() {
    for helpdesk in Helpdesk::ALL {
        assert_eq!(requests(helpdesk, &EXAMPLE, &options(&[])).len(), 1, "{helpdesk:?}");
        // What cannot be added without replacing stays away until reading and merging is switched on.
        let tags = requests(helpdesk, &EXAMPLE, &options(&[("tags", "baton"), ("fields", "")]));
        let tags: Vec<Value> = tags[1..].iter().map(Request::json).collect();
        match helpdesk {
            Helpdesk::Zendesk => assert_eq!(tags[0]["path"], "/api/v2/tickets/4711/tags"),
            Helpdesk::Zammad => assert_eq!(tags[0]["path"], "/api/v1/tags/add"),
            Helpdesk::Freshdesk | Helpdesk::Intercom | Helpdesk::Chatwoot => assert!(tags.is_empty(), "{tags:?}"),
        }
    }
    let soon = {
        let mut package = filled("x");
        let Field::Present { value: reason, .. } = &mut package.reason else { panic!("there is a reason") };
        reason.urgency = "soft";
        package
    };
    for helpdesk in Helpdesk::ALL {
        let raised = requests(helpdesk, &soon, &options(&[("priority", "on")]));
        assert_eq!(raised.len(), 1, "{helpdesk:?}: what can wait raises nothing");
        let fields = requests(helpdesk, &empty(), &all_of(helpdesk));
        assert!(fields.iter().all(|request| request.purpose() != Purpose::Fields), "{helpdesk:?}: nothing is known and set");
    }
}

#[test]
fn what_is_switched_on_and_cannot_be_is_named() {
    let fault = |helpdesk, options: &Options, account| {
        render(helpdesk, &EXAMPLE, Ticket::new("1", account).unwrap(), options).unwrap_err().to_string()
    };
    let field = |name| options(&[("fields", name)]);
    for (helpdesk, name, expected) in [
        (Helpdesk::Zendesk, "queue=cf_x", "fields: found \"cf_x\", expected the number of a field of Zendesk"),
        (Helpdesk::Freshdesk, "queue=status", "fields: found \"status\", expected the name of a custom field of Freshdesk"),
        (Helpdesk::Zammad, "queue=article", "fields: found \"article\", expected the name of an object attribute of Zammad"),
        (Helpdesk::Zammad, "queue=Owner", "fields: found \"Owner\""),
    ] {
        let found = fault(helpdesk, &field(name), None);
        assert!(found.starts_with(expected), "{found}");
    }
    assert!(fault(Helpdesk::Intercom, &Options::default(), None).starts_with("intercom_admin_id: not set"));
    assert!(fault(Helpdesk::Chatwoot, &Options::default(), None).starts_with("account_id: not given"));
    let by_default = options(&[("account_id", "9")]);
    let request = &render(Helpdesk::Chatwoot, &EXAMPLE, Ticket::new("1", None).unwrap(), &by_default).unwrap()[0];
    assert_eq!(request.json()["path"], "/api/v1/accounts/9/conversations/1/messages");
}

/// Changes a body so that it breaks or leaks.
type Break = fn(&mut Value);

/// Bodies that must not pass.
const BROKEN: &[(Helpdesk, &str, Break)] = &[
    (Helpdesk::Zendesk, "a public comment", |b| b["ticket"]["comment"]["public"] = json!(true)),
    (Helpdesk::Zendesk, "the visibility of the ticket", |b| drop(b["ticket"]["comment"].as_object_mut().unwrap().remove("public"))),
    (Helpdesk::Zendesk, "a text for a flag", |b| b["ticket"]["comment"]["public"] = json!("false")),
    (Helpdesk::Zendesk, "a mail to somebody", |b| b["ticket"]["additional_collaborators"] = json!(["anna@mail.example"])),
    (Helpdesk::Zendesk, "an author who is not a number", |b| b["ticket"]["comment"]["author_id"] = json!("customer")),
    (Helpdesk::Zendesk, "a solved ticket", |b| b["ticket"]["status"] = json!("solved")),
    (Helpdesk::Zendesk, "no comment", |b| drop(b["ticket"].as_object_mut().unwrap().remove("comment"))),
    (Helpdesk::Freshdesk, "a public note", |b| b["private"] = json!(false)),
    (Helpdesk::Freshdesk, "the default", |b| drop(b.as_object_mut().unwrap().remove("private"))),
    (Helpdesk::Freshdesk, "a note of the customer", |b| b["incoming"] = json!(true)),
    (Helpdesk::Freshdesk, "a reply", |b| b["to_emails"] = json!(["anna@mail.example"])),
    (Helpdesk::Freshdesk, "an empty note", |b| b["body"] = json!("")),
    (Helpdesk::Freshdesk, "a number for a flag", |b| b["private"] = json!(1)),
    (Helpdesk::Intercom, "a comment", |b| b["message_type"] = json!("comment")),
    (Helpdesk::Intercom, "no type of message", |b| drop(b.as_object_mut().unwrap().remove("message_type"))),
    (Helpdesk::Intercom, "a reply of the customer", |b| b["type"] = json!("user")),
    (Helpdesk::Intercom, "an admin who is a number", |b| b["admin_id"] = json!(780)),
    (Helpdesk::Intercom, "answers to choose from", |b| b["reply_options"] = json!([{"text": "yes", "uuid": "1"}])),
    (Helpdesk::Intercom, "a note that is too long", |b| b["body"] = json!("x".repeat(10_001))),
    (Helpdesk::Chatwoot, "a public message", |b| b["private"] = json!(false)),
    (Helpdesk::Chatwoot, "the default, which is public", |b| drop(b.as_object_mut().unwrap().remove("private"))),
    (Helpdesk::Chatwoot, "a message of the customer", |b| b["message_type"] = json!("incoming")),
    (Helpdesk::Chatwoot, "a form", |b| b["content_type"] = json!("form")),
    (Helpdesk::Chatwoot, "a template", |b| {
        b["template_params"] = json!({"name": "x", "category": "UTILITY", "language": "en", "processed_params": {}})
    }),
    (Helpdesk::Chatwoot, "a campaign", |b| b["campaign_id"] = json!(1)),
    (Helpdesk::Zammad, "a public article", |b| b["internal"] = json!(false)),
    (Helpdesk::Zammad, "the default", |b| drop(b.as_object_mut().unwrap().remove("internal"))),
    (Helpdesk::Zammad, "an internal mail, which is sent", |b| b["type"] = json!("email")),
    (Helpdesk::Zammad, "somebody to write to", |b| b["to"] = json!("anna@mail.example")),
    (Helpdesk::Zammad, "an article of the customer", |b| b["sender"] = json!("Customer")),
    (Helpdesk::Zammad, "a ticket that is a text", |b| b["ticket_id"] = json!("4711")),
];

#[test]
fn a_body_that_is_broken_or_leaks_does_not_pass() {
    for helpdesk in Helpdesk::ALL {
        let Request::Call(note) = &requests(helpdesk, &EXAMPLE, &options(&[]))[0] else { panic!("the note is a call") };
        let schema = strict(helpdesk, Purpose::Note);
        let all: Vec<_> = BROKEN.iter().filter(|(of, _, _)| *of == helpdesk).collect();
        assert!(all.len() >= 5, "{helpdesk:?}: only {} bodies", all.len());
        for (_, name, spoil) in all {
            let mut body = note.body().unwrap().clone();
            assert!(schema.is_valid(&body));
            spoil(&mut body);
            assert!(!schema.is_valid(&body), "{helpdesk:?}: {name} passes: {body}");
        }
    }
}

// ---------------------------------------------------------------- hostile text

/// What a customer may write to reach more than the reader.
const HOSTILE: &[&str] = &[
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "</li></ul><h1>Refund approved</h1><a href='https://evil.example'>here</a>",
    "\"><b onclick=\"x()\">",
    "&lt;b&gt; &#60;i&#62; &amp;lt;",
    "[click](https://evil.example/x) ![x](//evil.example/y.png) <https://evil.example>",
    "[@anna](mention://user/1/anna) [x]: javascript:alert(1)",
    "https://evil.example http:/evil.example //evil.example www.evil.example WwW.evil.example evil.example/x ftp://evil.example",
    "mail anna@evil.example or mailto:anna@evil.example @anna @@anna #4711 Ticket#4711",
    "{{ticket.comments}} {% for c in ticket %}{{c}}{% endfor %} {%raw%} {# x #}",
    "#{ticket.customer.email} ${x} ::faq <%= x %> {{{x}}}",
    "# h **b** _i_ `code` ~~s~~ | a | b | $x$ ^1 ==m== +1",
    "- list",
    "1. list",
    "> quote",
    "---",
    "line\n\n# heading\n\n    code\n\n```\nfence\n```\n<div>\n</div>",
    "evil.ex\u{200b}ample {\u{200b}{x}\u{2060}} \u{202e}moc.live\u{202c} w\u{ad}ww.evil.example /\u{feff}/evil.example",
    "💩.la пример.рф xn--e1afmkfd.xn--p1ai \u{2066}x\u{2069}",
    "\u{0}\u{8}\u{1b}[31m\u{85}",
    "a\\*b\\[c\\](d) \\<b\\>",
];

/// Tags that a note of ours has.
const TAGS: [&str; 13] = ["<p>", "</p>", "<b>", "</b>", "<br>", "<h4>", "</h4>", "<h2>", "</h2>", "<ul>", "</ul>", "<li>", "</li>"];

/// What a reader of the note sees, and how it is built: tags, or what Markdown makes of it.
fn seen(helpdesk: Helpdesk, note: &str) -> (String, Vec<String>) {
    if helpdesk == Helpdesk::Chatwoot {
        return seen_markdown(note);
    }
    let mut built = Vec::new();
    let mut text = String::new();
    let mut rest = note;
    while let Some(at) = rest.find(['<', '>']) {
        text.push_str(&rest[..at]);
        let tag = TAGS.iter().find(|tag| rest[at..].starts_with(**tag));
        let tag = tag.unwrap_or_else(|| panic!("{helpdesk:?}: no tag of ours: {}", &rest[at..]));
        built.push((*tag).to_owned());
        // A tag ends a word, but for bold ones.
        text.push_str(if tag.contains('b') && *tag != "<br>" { "" } else { "\n" });
        rest = &rest[at + tag.len()..];
    }
    text.push_str(rest);
    let entity = Regex::new("&[^;]*;?").unwrap();
    let known = |found: &regex::Captures<'_>| match &found[0] {
        "&amp;" => "&",
        "&lt;" => "<",
        "&gt;" => ">",
        "&quot;" => "\"",
        "&#39;" => "'",
        other => panic!("{helpdesk:?}: {other} is not an entity of ours"),
    };
    (entity.replace_all(&text, known).into_owned(), built)
}

fn seen_markdown(note: &str) -> (String, Vec<String>) {
    let (mut text, mut built) = (String::new(), Vec::new());
    let options = pulldown_cmark::Options::ENABLE_TABLES
        | pulldown_cmark::Options::ENABLE_STRIKETHROUGH
        | pulldown_cmark::Options::ENABLE_TASKLISTS
        | pulldown_cmark::Options::ENABLE_FOOTNOTES
        | pulldown_cmark::Options::ENABLE_GFM;
    for event in Parser::new_ext(note, options) {
        match event {
            Event::Text(piece) => text.push_str(&piece),
            Event::SoftBreak | Event::HardBreak => text.push('\n'),
            Event::End(TagEnd::Strong) => {}
            Event::End(_) => text.push('\n'),
            Event::Start(tag @ (Tag::Paragraph | Tag::Strong | Tag::Item | Tag::List(None) | Tag::Heading { .. })) => {
                built.push(format!("{tag:?}").split([' ', '(', '{']).next().unwrap().to_owned());
            }
            other => panic!("Chatwoot: {other:?} is nothing of ours"),
        }
    }
    (text, built)
}

/// What helpdesks make into links, mentions, references and templates, and what is never seen.
static FORBIDDEN: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    [
        r"(?i)www",
        r"(^|[^\[])//|//[^\]]",
        r"[^\s.]\.\p{Alphabetic}{2}",
        r"@[^\s\]]",
        r"#\p{N}",
        r"\{\{|\}\}|\{%|%\}|\{#|#\}|#\{|\$\{|::|<%|%>",
        r"[\p{Cc}--\n]",
        r"[\u{ad}\u{61c}\u{180e}\u{200b}-\u{200f}\u{202a}-\u{202e}\u{2060}-\u{206f}\u{feff}\u{fff9}-\u{fffb}\u{e0000}-\u{e0fff}]",
    ]
    .map(|pattern| Regex::new(pattern).unwrap())
    .to_vec()
});

/// Holds every rendering of a package with this text everywhere: only our own structure, nothing that becomes something, and the text still there.
fn assert_harmless(hostile: &str) {
    let (package, calm) = (filled(hostile), filled("calm"));
    for helpdesk in Helpdesk::ALL {
        let (text, built) = seen(helpdesk, &text_of(helpdesk, &package, &options(&[])));
        for pattern in FORBIDDEN.iter() {
            assert!(!pattern.is_match(&text), "{helpdesk:?}: {pattern} in {text}");
        }
        // The same structure as that of a harmless text.
        let (_, expected) = seen(helpdesk, &text_of(helpdesk, &calm, &options(&[])));
        assert_eq!(built, expected, "{helpdesk:?}: {hostile:?}");
        let letters = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).collect::<String>();
        assert!(
            letters(&text).contains(&letters(&plain(hostile))) || hostile.chars().count() > 200,
            "{helpdesk:?}: {hostile:?} is gone: {text}"
        );
    }
}

#[test]
fn no_tag_link_mention_or_template_of_a_customer_survives() {
    for hostile in HOSTILE {
        assert_harmless(hostile);
    }
}

/// Pieces that are dangerous beside each other.
fn piece() -> impl Strategy<Value = String> {
    let pieces = [
        "{", "}", "%", "#", "$", ":", "/", "\\", "<", ">", "&", ";", "\"", "'", "[", "]", "(", ")", "!", "@", ".", "w", "W", "www", "http",
        "evil", "com", "mention:", "`", "*", "_", "~", "|", "-", "+", "=", "^", "1", "2.", " ", "\n", "\t", "\u{200b}", "\u{202e}",
        "\u{2060}", "\u{ad}", "ä", "字", "💩", "amp", "lt", "script", "...", "…",
    ];
    prop_oneof![4 => prop::sample::select(pieces.to_vec()).prop_map(str::to_owned), 1 => any::<char>().prop_map(String::from)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_mixture_of_dangerous_pieces_survives(pieces in prop::collection::vec(piece(), 1..24)) {
        assert_harmless(&pieces.concat());
    }
}

// ---------------------------------------------------------------- lengths

fn length(helpdesk: Helpdesk, text: &str) -> usize {
    match helpdesk {
        Helpdesk::Zendesk | Helpdesk::Freshdesk | Helpdesk::Zammad => text.len(),
        Helpdesk::Intercom | Helpdesk::Chatwoot => text.chars().count(),
    }
}

#[test]
fn a_note_of_a_hundred_characters_still_says_what_it_is_about_and_what_is_missing() {
    for helpdesk in Helpdesk::ALL {
        let note = text_of(helpdesk, &EXAMPLE, &options(&[("length_max", "100")]));
        let (text, _) = seen(helpdesk, &note);
        assert!(length(helpdesk, &note) <= LENGTH_MIN, "{note}");
        assert!(text.trim_start().starts_with("What: "), "{text}");
        assert!(text.contains("fibre") && text.contains("…"), "{helpdesk:?}: {text}");
        assert!(text.trim_end().ends_with("Left out: all else."), "{text}");
    }
    // Whatever is said, and where nothing is known.
    let hostile = HOSTILE.join(" ");
    for package in [filled(&hostile), filled(&"&".repeat(5000)), filled(&"字".repeat(5000)), empty()] {
        for helpdesk in Helpdesk::ALL {
            let note = text_of(helpdesk, &package, &options(&[("length_max", "100")]));
            assert!(length(helpdesk, &note) <= LENGTH_MIN && note.contains("Left out: all else."), "{helpdesk:?}: {note}");
        }
    }
}

#[test]
fn parts_go_from_the_least_important_and_the_note_says_which() {
    let package = filled("the internet in the office keeps dropping out since yesterday");
    for helpdesk in Helpdesk::ALL {
        let whole = text_of(helpdesk, &package, &options(&[]));
        assert!(!whole.contains("Left out"), "{whole}");
        let mut before = usize::MAX;
        for most in (LENGTH_MIN..length(helpdesk, &whole)).rev().step_by(61) {
            let note = text_of(helpdesk, &package, &options(&[("length_max", &most.to_string())]));
            assert!(length(helpdesk, &note) <= most, "{helpdesk:?}: {} of {most}", length(helpdesk, &note));
            let (text, built) = seen(helpdesk, &note);
            let last = text.trim_end().lines().last().unwrap();
            assert!(last.starts_with("Left out"), "{helpdesk:?} at {most}: {last}");
            assert!(built.len() <= before, "{helpdesk:?}: more at {most} than with more room");
            before = built.len();
            // Pages are the least, the summary goes last.
            assert!(!text.contains("Pages\n"), "{helpdesk:?} at {most}: {text}");
            assert!(text.contains("What: "), "{helpdesk:?} at {most}: {text}");
        }
    }
}

#[test]
fn no_note_is_longer_than_the_helpdesk_takes() {
    let mut package = filled("<&>\"' a rather long entry of which there are far too many, as no conversation has them");
    package.highlights.unanswered = vec![package.highlights.unanswered[0].clone(); 5000];
    package.highlights.confirmed = vec![package.highlights.confirmed[0].clone(); 60];
    for helpdesk in Helpdesk::ALL {
        let note = text_of(helpdesk, &package, &options(&[]));
        let limit = helpdesk.limit();
        assert!(limit.holds(&note) && length(helpdesk, &note) <= limit.most);
        let (text, _) = seen(helpdesk, &note);
        assert!(text.contains("Left out, as it is too long here: Pages"), "{helpdesk:?}: {text}");
        assert!(strict(helpdesk, Purpose::Note).is_valid(match &requests(helpdesk, &package, &options(&[]))[0] {
            Request::Call(note) => note.body().unwrap(),
            Request::Merge(_) => panic!("the note is a call"),
        }));
    }
}

// ---------------------------------------------------------------- the command, the examples, the RPC

/// The arguments by which the examples are written.
fn example_arguments(helpdesk: Helpdesk) -> Vec<&'static str> {
    let arguments =
        ["package", "--conversation", "examples/notes/conversation.jsonl", "--ticket-id", "4711", "--format", helpdesk.as_str()];
    let more: &[&str] = match helpdesk {
        Helpdesk::Zendesk => &["--tags", "baton"],
        Helpdesk::Freshdesk => &["--tags", "baton", "--merge"],
        Helpdesk::Intercom => &["--intercom-admin-id", "780", "--intercom-tag-ids", "7522907"],
        Helpdesk::Chatwoot => &["--account-id", "3", "--tags", "baton", "--merge"],
        Helpdesk::Zammad => &["--tags", "baton"],
    };
    [&arguments[..], more].concat()
}

/// `BATON_WRITE_EXAMPLES=1 cargo test --release --test it -- examples_of_notes` writes them anew; then examples/notes/pictures.py draws them.
#[test]
fn the_examples_of_notes_are_what_the_command_writes() {
    let folder = root().join("examples/notes");
    let place = Place::new();
    #[expect(clippy::disallowed_methods, reason = "whoever changes the notes writes the examples anew by it")]
    let write = std::env::var_os("BATON_WRITE_EXAMPLES").is_some();
    for helpdesk in Helpdesk::ALL {
        let mut command = place.command(Path::new(env!("CARGO_BIN_EXE_baton")));
        command.args(example_arguments(helpdesk)).current_dir(root());
        let found = crate::support::Run::of(command, b"").json();
        let text = note_text(helpdesk, &found["requests"][0]["body"]);
        let file = |ending: &str| folder.join(format!("{}.{ending}", helpdesk.as_str()));
        let ending = if helpdesk == Helpdesk::Chatwoot { "md" } else { "html" };
        if write {
            fs::write(file("json"), format!("{}\n", serde_json::to_string_pretty(&found).unwrap())).unwrap();
            fs::write(file(ending), format!("{text}\n")).unwrap();
        }
        assert_eq!(read_json(&file("json")), found, "examples/notes/{}.json is old", helpdesk.as_str());
        assert_eq!(fs::read_to_string(file(ending)).unwrap(), format!("{text}\n"), "examples/notes/{}.{ending} is old", helpdesk.as_str());
    }
}

#[test]
fn the_command_names_the_flag_that_is_wrong() {
    let place = Place::new();
    place.write("c.jsonl", json!({"type": "message", "at": "2026-11-02T09:00:00Z", "speaker": "customer", "text": PLANTED}).to_string());
    let run = |more: &[&str]| place.baton(&[&["package", "--model", SHIPPED, "--conversation", "c.jsonl"], more].concat());
    run(&["--format", "zendesk"]).failure(&["--ticket-id: not given"]);
    run(&["--format", "zendesk", "--ticket-id", "../1"]).failure(&["--ticket-id: found \"../1\", expected the number"]);
    run(&["--format", "chatwoot", "--ticket-id", "1"]).failure(&["--account-id: not given"]);
    run(&["--format", "chatwoot", "--ticket-id", "1", "--account-id", "a"]).failure(&["--account-id: found \"a\""]);
    run(&["--format", "intercom", "--ticket-id", "1"]).failure(&["--intercom-admin-id: not set"]);
    run(&["--format", "zammad", "--ticket-id", "1", "--tags", "A B"]).failure(&["--tags: found \"A B\""]);
    run(&["--format", "zammad", "--ticket-id", "1", "--fields", "queue=state"]).failure(&["--fields: found \"state\""]);
    run(&["--format", "freshdesk", "--ticket-id", "1", "--length-max", "9"]).failure(&["--length-max: found \"9\""]);
}

/// A daemon with the model and the policy of the repository, and a handed-over conversation whose id is a ticket's number.
async fn daemon(place: &Place, settings: &[&str]) -> (Daemon, HandoffServiceClient<tonic::transport::Channel>) {
    let mut command = place.command(Path::new(env!("CARGO_BIN_EXE_baton")));
    command.args(["serve", "--listen", "127.0.0.1:0", "--model", SHIPPED]);
    for setting in settings {
        command.args(["--set", setting]);
    }
    let daemon = Daemon::spawn(command);
    let url = format!("http://{}", daemon.address);
    let mut conversations = soon("a connection", Conversations::connect(url.clone())).await.unwrap();
    for conversation in ["4711", "not-a-number"] {
        let request = pb::ObserveRequest {
            conversation_id: conversation.to_owned(),
            message_id: "m-1".to_owned(),
            sequence: 1,
            speaker: pb::Speaker::Customer.into(),
            text: "see https://evil.example, I was charged twice, let me talk to a human".to_owned(),
            ..pb::ObserveRequest::default()
        };
        soon("an answer", conversations.observe(request)).await.unwrap();
    }
    let client = soon("a connection", HandoffServiceClient::connect(url)).await.unwrap();
    (daemon, client)
}

const FORMATS: [(pb::NoteFormat, Helpdesk); 5] = [
    (pb::NoteFormat::Zendesk, Helpdesk::Zendesk),
    (pb::NoteFormat::Freshdesk, Helpdesk::Freshdesk),
    (pb::NoteFormat::Intercom, Helpdesk::Intercom),
    (pb::NoteFormat::Chatwoot, Helpdesk::Chatwoot),
    (pb::NoteFormat::Zammad, Helpdesk::Zammad),
];

#[tokio::test]
async fn render_note_gives_the_private_note_and_what_was_switched_on() {
    let place = Place::new();
    let settings = ["notes.tags=baton", "notes.merge=on", "notes.priority=on", "notes.intercom_admin_id=780", "notes.account_id=3"];
    let (_daemon, mut client) = daemon(&place, &settings).await;
    for (format, helpdesk) in FORMATS {
        let request = pb::RenderNoteRequest { conversation_id: "4711".to_owned(), format: format.into(), ..Default::default() };
        let told = soon("a note", client.render_note(request)).await.unwrap().into_inner().requests;
        assert_eq!(told[0].purpose(), pb::NotePurpose::Note);
        let body: Value = serde_json::from_str(told[0].body.as_ref().unwrap()).unwrap();
        assert!(strict(helpdesk, Purpose::Note).is_valid(&body), "{body}");
        assert!(told[0].path.contains("4711") || body["ticket_id"] == 4711, "{told:?}");
        let (text, _) = seen(helpdesk, &note_text(helpdesk, &body));
        assert!(text.contains("charged twice") && text.contains("evil[.]example") && !text.contains("//evil"), "{text}");
        let tags = told.iter().find(|request| request.purpose() == pb::NotePurpose::Tags);
        match (helpdesk, tags) {
            (Helpdesk::Intercom, None) => {}
            (Helpdesk::Zendesk | Helpdesk::Zammad, Some(tags)) => {
                assert!(tags.body.as_ref().unwrap().contains("baton") && tags.merge.is_none())
            }
            (Helpdesk::Freshdesk | Helpdesk::Chatwoot, Some(tags)) => {
                let merge = tags.merge.as_ref().unwrap();
                assert_eq!((tags.body.as_ref(), merge.add.as_str()), (None, "[\"baton\"]"), "what replaces has no body of its own");
            }
            (_, tags) => panic!("{helpdesk:?}: {tags:?}"),
        }
        let raised = told.iter().any(|request| request.purpose() == pb::NotePurpose::Priority);
        assert_eq!(raised, helpdesk != Helpdesk::Intercom, "{told:?}");
    }
}

#[tokio::test]
async fn render_note_names_what_is_wrong_with_request_or_settings() {
    let place = Place::new();
    let (_daemon, mut client) = daemon(&place, &["notes.fields=queue=state"]).await;
    let zendesk = pb::NoteFormat::Zendesk;
    let asked = |conversation: &str, format: i32, ticket: Option<&str>| pb::RenderNoteRequest {
        conversation_id: conversation.to_owned(),
        format,
        ticket_id: ticket.map(str::to_owned),
        account_id: None,
    };
    let number = "expected the number that it has in the helpdesk";
    for (request, code, expected) in [
        (asked("4711", 0, None), Code::InvalidArgument, "format: found 0, expected one of NOTE_FORMAT_ZENDESK (1)"),
        (asked("4711", 9, None), Code::InvalidArgument, "format: found 9"),
        (asked("", zendesk.into(), None), Code::InvalidArgument, "conversation_id: "),
        (asked("not-a-number", zendesk.into(), None), Code::InvalidArgument, number),
        (asked("4711", zendesk.into(), Some("1/2")), Code::InvalidArgument, "ticket_id: found \"1/2\""),
        (asked("4711", pb::NoteFormat::Chatwoot.into(), None), Code::InvalidArgument, "account_id: not given"),
        (asked("1", zendesk.into(), None), Code::NotFound, "conversation_id"),
        (
            asked("4711", pb::NoteFormat::Intercom.into(), None),
            Code::FailedPrecondition,
            "notes.intercom_admin_id of the settings: not set",
        ),
        (asked("4711", pb::NoteFormat::Zammad.into(), None), Code::FailedPrecondition, "notes.fields of the settings: found \"state\""),
    ] {
        let status = soon("an answer", client.render_note(request.clone())).await.unwrap_err();
        assert_eq!(status.code(), code, "{request:?}: {status}");
        assert!(status.message().contains(expected), "{request:?}: {status}");
    }
    let elsewhere = asked("not-a-number", pb::NoteFormat::Freshdesk.into(), Some("12"));
    let status = soon("an answer", client.render_note(elsewhere)).await.unwrap_err();
    assert!(status.message().contains("notes.fields"), "{status}");
}
