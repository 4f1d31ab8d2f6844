//! What customers read at a handoff: three sentences in their language, whatever is known and whatever they wrote; and what is wrong with messages, told when
//! the policy is read.

use std::time::Duration;

use baton::handoff::policy::language::BUILT_IN;
use baton::handoff::policy::{DEFAULT, DEFAULT_NAME, Policy};
use baton::handoff::reply::{Reply, Situation, Slots, opening, render};
use baton::handoff::summary::issue::Issue;

use crate::policies::shipped_vocabulary;
use crate::support::{Place, each_case};

/// A policy without a fault that the cases below break; its messages begin in line 19.
const GOOD: &str = r#"[languages]
fr = "fr.toml"

[[trigger]]
id = "asks"
kind = "reactive"
basis = "intent"
urgency = "immediate"
category = "talk_to_human"
when = 'asks_for_person()'
queue = "general"
message = "generic"
[[queue]]
id = "general"
owner = "lead@example.com"
skills = []
strategy = "skills"
fallback = "follow_up"
[[message]]
id = "generic"
acknowledge = "This is about {{ issue }}."
reassure = "A person takes over."
expect = "They answer within {{ wait }}."
expect_unknown_wait = "They answer soon."
[[message]]
id = "late"
acknowledge = "Sorry{{ name_suffix }}."
reassure = "A person takes over."
expect = "They answer soon."
"#;

const FRENCH: &str = r#"[words]
request = "votre demande"
account = "votre compte"
agent = "une personne"
queue_name = "service"
tried = "rien"
name_suffix = ", {name}"
minute = "environ une minute"
minutes = "environ {n} minutes"
hour = "environ une heure"
hours = "environ {n} heures"
day = "environ un jour"
days = "environ {n} jours"
[connected]
acknowledge = "{{ agent }} prend le relais."
reassure = "Tout est transmis."
expect = "Un instant."
[opening]
text = "Bonjour {{ name }}, c'est {{ agent }}."
[[message]]
id = "generic"
acknowledge = "Il s'agit de : {{ issue }}."
reassure = "Une personne prend le relais."
expect = "Elle répond d'ici {{ wait }}."
expect_unknown_wait = "Elle répond bientôt."
[[message]]
id = "late"
acknowledge = "Désolé{{ name_suffix }}."
reassure = "Une personne prend le relais."
expect = "Elle répond bientôt."
"#;

fn edited(text: &str, edits: &[(&str, &str)]) -> String {
    edits.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from) && from != to, "the case changes nothing: {from}");
        text.replacen(from, to, 1)
    })
}

fn read(policy: &str, french: &str) -> Result<Policy, Vec<String>> {
    let files = [("fr.toml".to_owned(), french.to_owned())];
    Policy::read_with("dir/p.toml", policy, &files, &shipped_vocabulary())
        .map_err(|faults| faults.iter().map(ToString::to_string).collect())
}

fn default_policy() -> Policy {
    Policy::read(DEFAULT_NAME, DEFAULT, &shipped_vocabulary()).unwrap()
}

fn full() -> Slots {
    Slots {
        issue: Some("the double charge on your bill".to_owned()),
        name: Some("Anna".to_owned()),
        account: Some("Acme".to_owned()),
        queue_name: "support".to_owned(),
        wait: Some(Duration::from_secs(200)),
        agent: Some("Ben".to_owned()),
        tried: Some("a restart".to_owned()),
    }
}

fn minimal() -> Slots {
    Slots { queue_name: "support".to_owned(), ..Slots::default() }
}

fn place_of(policy: &Policy, id: &str) -> usize {
    policy.messages.iter().position(|message| message.id == id).unwrap()
}

/// Edits of the policy or of its French file, and all the faults that follow.
type Case = (&'static [(&'static str, &'static str)], &'static [&'static str]);

#[test]
#[rustfmt::skip]
fn faults_of_messages_are_told_when_the_policy_is_read() {
    assert_eq!(read(GOOD, FRENCH).map(|_| ()), Ok(()));
    let cases: &[Case] = &[
        (&[("{{ issue }}", "{{ isue }}")], &["dir/p.toml:21:30: message \"generic\".acknowledge: found {{ isue }}, expected one of issue, name, name_suffix, account, queue_name, wait, agent; did you mean {{ issue }}?"]),
        (&[("{{ issue }}", "{{ tried }}")], &["dir/p.toml:21:30: message \"generic\".acknowledge: found {{ tried }}, expected one of issue, name, name_suffix, account, queue_name, wait, agent"]),
        (&[("reassure = \"A person takes over.\"\n", "")], &["dir/p.toml:19:1: message \"generic\": found no reassure, expected one"]),
        (&[("\"This is about {{ issue }}.\"", "\"{{ name }}\"")], &["dir/p.toml:21:15: message \"generic\".acknowledge: says nothing where nothing of the conversation is known"]),
        (&[("\"This is about {{ issue }}.\"", "\"{{ name_suffix }}!\"")], &["dir/p.toml:21:15: message \"generic\".acknowledge: says nothing where nothing of the conversation is known"]),
        (&[("\"A person takes over.\"", "\"...\"")], &["dir/p.toml:22:12: message \"generic\".reassure: says nothing where everything of the conversation is known"]),
        (&[("expect_unknown_wait = \"They answer soon.\"\n", "")], &["dir/p.toml:19:1: message \"generic\": expect names the wait, expected expect_unknown_wait for when it is not known"]),
        (&[("id = \"late\"\n", "id = \"late\"\nexpect_off_hours = \"In {{ wait }}.\"\n")], &["dir/p.toml:25:1: message \"late\": expect_off_hours names the wait, expected expect_unknown_wait for when it is not known"]),
        (&[("id = \"late\"\n", "id = \"late\"\nconnected = \"{{ agnt }} in {{ wait }}\"\n")], &["dir/p.toml:27:14: message \"late\".connected: found {{ agnt }}, expected one of issue, name, name_suffix, account, queue_name, agent; did you mean {{ agent }}?", "dir/p.toml:27:28: message \"late\".connected: found {{ wait }}, expected one of issue, name, name_suffix, account, queue_name, agent"]),
        (&[("id = \"late\"\n", "id = \"late\"\nopenning = \"x\"\n")], &["dir/p.toml:27:1: message \"late\": found the key openning, expected one of id, acknowledge, reassure, expect, expect_unknown_wait, expect_off_hours, expect_at_capacity, connected, opening; did you mean opening?"]),
        (&[("{{ issue }}", "{{ isue }}"), ("{{ wait }}", "{{ wat }}"), ("Sorry", "Sorry {% if x %}")], &["dir/p.toml:21:30: message \"generic\".acknowledge: found {{ isue }}, expected one of issue, name, name_suffix, account, queue_name, wait, agent; did you mean {{ issue }}?", "dir/p.toml:23:30: message \"generic\".expect: found {{ wat }}, expected one of issue, name, name_suffix, account, queue_name, wait, agent; did you mean {{ wait }}?", "dir/p.toml:27:22: message \"late\".acknowledge: found a statement, expected only {{ names }}"]),
        (&[("fr = \"fr.toml\"", "fr = \"nowhere.toml\"")], &["dir/p.toml:2:6: languages.fr: found \"nowhere.toml\", but no such file"]),
        (&[("fr = \"fr.toml\"", "fr = \"../fr.toml\"")], &["dir/p.toml:2:6: languages.fr: found \"../fr.toml\", expected the path of a file below the policy's folder"]),
        (&[("fr = \"fr.toml\"", "fr = \"/etc/passwd\"")], &["dir/p.toml:2:6: languages.fr: found \"/etc/passwd\", expected the path of a file below the policy's folder"]),
        (&[("fr = \"fr.toml\"", "French = \"fr.toml\"")], &["dir/p.toml:2:1: languages: found the key \"French\", expected own or a language such as de"]),
        (&[("fr = \"fr.toml\"", "fr = 1")], &["dir/p.toml:2:6: languages.fr: found 1, expected a text"]),
        (&[("fr = \"fr.toml\"", "own = \"it\"")], &["dir/p.toml:2:7: languages.own: found \"it\", which has no file here, expected a line such as it = \"messages/it.toml\""]),
        (&[("[languages]\nfr = \"fr.toml\"", "languages = 3\n")], &["dir/p.toml:1:13: languages: found 3, expected [languages]"]),
    ];
    each_case(cases.iter().map(|case| (case.0[0].1, case)), |(edits, expected)| {
        assert_eq!(read(&edited(GOOD, edits), FRENCH).err().unwrap_or_default(), *expected);
    });
}

#[test]
#[rustfmt::skip]
fn faults_of_a_language_file_name_that_file() {
    let cases: &[Case] = &[
        (&[("{{ issue }}", "{{ demande }}")], &["dir/fr.toml:22:31: message \"generic\".acknowledge: found {{ demande }}, expected one of issue, name, name_suffix, account, queue_name, wait, agent"]),
        (&[("reassure = \"Une personne prend le relais.\"\n", "")], &["dir/fr.toml:20:1: message \"generic\": found no reassure, expected one"]),
        (&[("[[message]]\nid = \"late\"", "[[message]]\nid = \"lat\"")], &["dir/fr.toml:1:1: found no [[message]] \"late\", which the policy has, expected one", "dir/fr.toml:27:6: message \"lat\".id: found \"lat\", expected the id of a [[message]] of the policy; did you mean \"late\"?"]),
        (&[("environ {n} minutes", "quelques minutes")], &["dir/fr.toml:9:11: words.minutes: found \"quelques minutes\", expected a text with {n} in it"]),
        (&[("\", {name}\"", "\",\"")], &["dir/fr.toml:7:15: words.name_suffix: found \",\", expected a text with {name} in it"]),
        (&[("request = \"votre demande\"\n", "")], &["dir/fr.toml:1:1: words: found no request, expected one"]),
        (&[("request", "requst")], &["dir/fr.toml:1:1: words: found no request, expected one", "dir/fr.toml:2:1: words: found the key requst, expected one of request, account, agent, queue_name, tried, name_suffix, minute, minutes, hour, hours, day, days, ask_email; did you mean request?"]),
        (&[("[opening]\ntext = \"Bonjour {{ name }}, c'est {{ agent }}.\"\n", "")], &["dir/fr.toml:1:1: language: found no [opening], expected one"]),
        (&[("[opening]", "[openning]")], &["dir/fr.toml:1:1: language: found no [opening], expected one", "dir/fr.toml:18:2: language: found the key openning, expected one of words, connected, opening, issues, message; did you mean opening?"]),
        (&[("{{ agent }} prend", "{{ wait }} prend")], &["dir/fr.toml:15:16: connected.acknowledge: found {{ wait }}, expected one of issue, name, name_suffix, account, queue_name, agent"]),
        (&[("\"Un instant.\"", "\"{{ name }}\"")], &["dir/fr.toml:17:10: connected.expect: says nothing where nothing of the conversation is known"]),
        (&[("[[message]]\nid = \"generic\"", "[issues]\namount = \" de {amount}\"\nreference = \" n\"\nrefnd = \"votre achat\"\nrefund = \"votre {order}\"\n[[message]]\nid = \"generic\"")], &["dir/fr.toml:22:13: issues.reference: found \" n\", expected a text with {reference} in it", "dir/fr.toml:23:1: issues: found the key refnd, expected one of amount, reference, billing_dispute, cancel_or_close, complaint, delivery_problem, distress, legal_threat, privacy_request, refund, security_concern, talk_to_human, wants_data_export; did you mean refund?", "dir/fr.toml:24:10: issues.refund: found \"votre {order}\", expected no braces but {amount} and {reference}"]),
        (&[("days = \"environ {n} jours\"\n", "days = \"environ {n} jours\"\nask_email = \" \"\n")], &["dir/fr.toml:14:13: words.ask_email: found nothing, expected a text of at most 200 bytes"]),
        (&[("[words]", "[words")], &["dir/fr.toml:1:7: is not TOML: unclosed table, expected `]`"]),
    ];
    each_case(cases.iter().map(|case| (case.0[0].1, case)), |(edits, expected)| {
        assert_eq!(read(GOOD, &edited(FRENCH, edits)).err().unwrap_or_default(), *expected);
    });
    // All at once, those of the policy and those of the file.
    let both = read(&edited(GOOD, &[("{{ issue }}", "{{ x }}")]), &edited(FRENCH, &[("{{ issue }}", "{{ y }}")])).unwrap_err();
    assert_eq!(both.iter().map(|fault| fault.split(':').next().unwrap()).collect::<Vec<_>>(), ["dir/fr.toml", "dir/p.toml"]);
}

#[test]
fn a_language_file_is_a_part_of_the_policy() {
    let policy = read(GOOD, FRENCH).unwrap();
    assert_ne!(policy.digest, read(GOOD, &FRENCH.replace("Désolé", "Pardon")).unwrap().digest);
    assert_ne!(policy.digest, read(&GOOD.replace("fr =", "be ="), FRENCH).unwrap().digest);
    for (tag, expected) in [
        ("fr", "Désolé, Anna. Une personne prend le relais. Elle répond bientôt."),
        ("FR", "Désolé, Anna. Une personne prend le relais. Elle répond bientôt."),
        ("fr-CA", "Désolé, Anna. Une personne prend le relais. Elle répond bientôt."),
        ("en-GB", "Sorry, Anna. A person takes over. They answer soon."),
        ("it", "Sorry, Anna. A person takes over. They answer soon."),
        ("", "Sorry, Anna. A person takes over. They answer soon."),
    ] {
        assert_eq!(render(&policy, 1, Situation::Connecting, tag, &full()).text(), expected, "{tag}");
    }
    assert_eq!(opening(&policy, 0, "fr", &minimal()), "Bonjour, c'est une personne.");
    // A language may ask for an e-mail address, or leave that out.
    let late = render(&policy, 1, Situation::AtCapacity, "fr", &full());
    assert_eq!(late.clone().asking_for_email(policy.in_language("fr").0), late);
    let asking = read(GOOD, &FRENCH.replace("[connected]", "ask_email = \"À quelle adresse ?\"\n[connected]")).unwrap();
    assert!(late.asking_for_email(asking.in_language("fr").0).text().ends_with(". À quelle adresse ?"));
    // The policy's own messages in another language have its words.
    let own = edited(GOOD, &[("[languages]\n", "[languages]\nown = \"de\"\n")]);
    let policy = read(&own, FRENCH).unwrap();
    assert_eq!(render(&policy, 0, Situation::Connecting, "it", &minimal()).acknowledge, "This is about Ihr Anliegen.");
    assert_eq!(render(&policy, 0, Situation::Connecting, "de", &full()).expect, "They answer within etwa 4 Minuten.");
}

#[test]
fn issues_are_named_in_the_language_of_the_message() {
    let policy = default_policy();
    let issue = |label: &str, amount: Option<&str>, reference: Option<&str>| Issue {
        label: label.to_owned(),
        probability: 0.9,
        amount: amount.map(str::to_owned),
        reference: reference.map(str::to_owned),
        messages: vec![1],
    };
    for (tag, issue, expected) in [
        ("en", issue("refund", Some("$12.99"), Some("A-1")), Some("your refund of $12.99 (A-1)")),
        ("en", issue("refund", None, None), Some("your refund")),
        ("en", issue("outage", Some("$12.99"), None), Some("the outage")),
        ("de", issue("order_status", None, Some("{amount}")), Some("Ihre Bestellung (amount)")),
        ("de", issue("talk_to_human", None, None), None),
    ] {
        assert_eq!(policy.in_language(tag).0.issues.say(&issue).as_deref(), expected, "{tag} {issue:?}");
    }
    // A language that names none has "your request".
    assert_eq!(read(GOOD, FRENCH).unwrap().in_language("fr").0.issues.say(&issue("refund", None, None)), None);
}

#[test]
fn language_files_lie_beside_the_policy() {
    let place = Place::new();
    place.write("p.toml", GOOD.replace("fr.toml", "messages/fr.toml").replace("asks_for_person()", "says(\"help\")"));
    let policy = ["policy", "--policy", "p.toml", "--model", crate::support::TINY];
    place.baton(&policy).failure(&["p.toml:2:6: languages.fr: found \"messages/fr.toml\", but no such file"]);
    std::fs::create_dir(place.path("messages")).unwrap();
    place.write("messages/fr.toml", FRENCH.replace("{{ issue }}", "{{ isue }}"));
    place
        .baton(&policy)
        .failure(&["messages/fr.toml:22:31: message \"generic\".acknowledge: found {{ isue }}", "did you mean {{ issue }}?"]);
    place.write("messages/fr.toml", FRENCH);
    assert!(place.baton(&policy).success().contains("These are in en; all of them are also written in fr."));
    // A copy of the default policy needs no copy of its languages; one that is there is read.
    let german = BUILT_IN[1].1;
    place.write("messages/de.toml", german.replace("{{ queue_name }}", "{{ queue }}"));
    place.write("copy.toml", DEFAULT);
    let shipped = ["policy", "--policy", "copy.toml", "--model", crate::support::SHIPPED];
    place.baton(&shipped).failure(&["messages/de.toml:", "found {{ queue }}"]);
    std::fs::remove_file(place.path("messages/de.toml")).unwrap();
    assert!(place.baton(&shipped).success().contains("also written in de."));
}

#[test]
fn a_variant_that_a_message_lacks_is_another_message() {
    let policy = default_policy();
    let generic = place_of(&policy, "generic");
    for (situation, id) in [(Situation::OffHours, "off-hours"), (Situation::AtCapacity, "at-capacity")] {
        for slots in [full(), minimal()] {
            let instead = render(&policy, generic, situation, "en", &slots);
            assert_eq!(instead, render(&policy, place_of(&policy, id), Situation::Connecting, "en", &slots));
            assert_eq!(instead, render(&policy, place_of(&policy, id), situation, "en", &slots));
        }
    }
    let plain = read(GOOD, FRENCH).unwrap();
    let expect = |policy: &Policy, message, situation, slots: &Slots| render(policy, message, situation, "en", slots).expect;
    assert_eq!(expect(&plain, 0, Situation::OffHours, &full()), "They answer soon.");
    assert_eq!(expect(&plain, 1, Situation::AtCapacity, &full()), "They answer soon.");
    let own = edited(
        GOOD,
        &[(
            "id = \"generic\"\n",
            "id = \"generic\"\nexpect_off_hours = \"Back in {{ wait }}.\"\nexpect_at_capacity = \"All busy.\"\nconnected = \"{{ agent }} is here.\"\nopening = \"I saw {{ tried }}.\"\n",
        )],
    );
    let own = read(&own, FRENCH).unwrap();
    assert_eq!(expect(&own, 0, Situation::OffHours, &full()), "Back in about 4 minutes.");
    assert_eq!(expect(&own, 0, Situation::OffHours, &minimal()), "They answer soon.");
    assert_eq!(expect(&own, 0, Situation::AtCapacity, &minimal()), "All busy.");
    assert_eq!(render(&own, 0, Situation::Connected, "en", &full()).acknowledge, "Ben is here.");
    assert_eq!(render(&own, 0, Situation::Connected, "fr", &full()).acknowledge, "Ben prend le relais.");
    assert_eq!(
        (opening(&own, 0, "en", &full()), opening(&own, 0, "en", &minimal())),
        ("I saw a restart.".into(), "I saw nothing yet.".into())
    );
}

#[test]
fn default_messages_read_well() {
    let policy = default_policy();
    let cases = [
        (
            "generic",
            "en",
            full(),
            "Thank you, Anna, I have noted that this is about the double charge on your bill. A person from our support team takes over now. They have everything we discussed; you will not need to repeat it. You will hear from them here within about 4 minutes.",
        ),
        (
            "generic",
            "en",
            minimal(),
            "Thank you, I have noted that this is about your request. A person from our support team takes over now. They have everything we discussed; you will not need to repeat it. They will answer here as soon as one is free; I stay with you until then.",
        ),
        (
            "generic",
            "de",
            full(),
            "Vielen Dank, Anna, ich habe notiert, worum es geht: the double charge on your bill. Jetzt übernimmt ein Mensch aus unserem Team „support“. Dort liegt alles vor, was wir besprochen haben; Sie müssen nichts wiederholen. Sie lesen hier innerhalb von etwa 4 Minuten von uns.",
        ),
        (
            "generic",
            "de",
            minimal(),
            "Vielen Dank, ich habe notiert, worum es geht: Ihr Anliegen. Jetzt übernimmt ein Mensch aus unserem Team „support“. Dort liegt alles vor, was wir besprochen haben; Sie müssen nichts wiederholen. Sie erhalten hier eine Antwort, sobald jemand frei ist; bis dahin bleibe ich bei Ihnen.",
        ),
        (
            "frustrated",
            "en",
            full(),
            "I can see that the double charge on your bill has taken too long already, Anna, and I am sorry. A person from our support team takes over now. They have everything we discussed; you will not need to repeat it. You will hear from them here within about 4 minutes.",
        ),
        (
            "frustrated",
            "de",
            minimal(),
            "Ich sehe, dass es schon zu lange dauert (Ihr Anliegen); das tut mir leid. Jetzt übernimmt ein Mensch aus unserem Team „support“. Dort liegt alles vor, was wir besprochen haben; Sie müssen nichts wiederholen. Sie erhalten hier eine Antwort, sobald jemand frei ist; bis dahin bleibe ich bei Ihnen.",
        ),
        (
            "technical",
            "en",
            minimal(),
            "What I tried for your request has not helped. A specialist from our support team takes over now, and sees every step we already tried. They will answer here as soon as one is free; I stay with you until then.",
        ),
        (
            "technical",
            "de",
            full(),
            "Was ich versucht habe, hat nicht geholfen (the double charge on your bill), Anna. Jetzt übernimmt eine Fachkraft aus unserem Team „support“ und sieht jeden Schritt, den wir schon versucht haben. Sie lesen hier innerhalb von etwa 4 Minuten von uns.",
        ),
        (
            "repeat-contact",
            "en",
            full(),
            "I see that you had to contact us about the double charge on your bill before, Anna, and that it is not solved. A person from our support team takes this over until it is. They have the earlier conversations as well; you will not need to repeat them. You will hear from them here within about 4 minutes.",
        ),
        (
            "repeat-contact",
            "de",
            minimal(),
            "Ich sehe, dass Sie sich deswegen schon einmal an uns wenden mussten (Ihr Anliegen), und dass es noch nicht gelöst ist. Ein Mensch aus unserem Team „support“ bleibt daran, bis es gelöst ist. Auch die früheren Gespräche liegen dort vor; Sie müssen nichts wiederholen. Sie erhalten hier eine Antwort, sobald jemand frei ist; bis dahin bleibe ich bei Ihnen.",
        ),
        (
            "legal",
            "en",
            minimal(),
            "I have recorded what you told me about your request. A person from our support team takes over now, with everything you told me, word for word. They will answer here as soon as one is free; your request is recorded with today's date.",
        ),
        (
            "security",
            "en",
            full(),
            "Thank you for telling us about the double charge on your bill at once, Anna. A person from our support team takes over now, with everything you told me. You will hear from them here within about 4 minutes. Please do not share passwords or codes with anyone until then.",
        ),
        (
            "security",
            "de",
            minimal(),
            "Vielen Dank, dass Sie uns das sofort gemeldet haben; es geht um: Ihr Anliegen. Jetzt übernimmt ein Mensch aus unserem Team „support“, mit allem, was Sie mir gesagt haben. Sie erhalten hier eine Antwort, sobald jemand frei ist. Bitte geben Sie bis dahin niemandem Passwörter oder Codes weiter.",
        ),
        (
            "vip",
            "en",
            minimal(),
            "I have noted what you told me about your request. Your contact in our support team takes over now, knows your account, and has everything we discussed. They will answer here as soon as they can; I stay with you until then.",
        ),
    ];
    each_case(cases.iter().map(|case| (case.3, case)), |(id, language, slots, expected)| {
        assert_eq!(render(&policy, place_of(&policy, id), Situation::Connecting, language, slots).text(), *expected);
    });
    let connected = |language, slots: &Slots| render(&policy, 0, Situation::Connected, language, slots).text();
    assert_eq!(
        connected("en", &full()),
        "You are now talking to Ben from our support team, Anna. They have everything we discussed about the double charge on your bill; you will not need to repeat it. They write to you here in a moment."
    );
    assert_eq!(
        connected("de", &minimal()),
        "Ab jetzt schreibt Ihnen jemand aus unserem Team „support“. Alles, was wir besprochen haben, liegt dort vor (Ihr Anliegen); Sie müssen nichts wiederholen. Gleich lesen Sie hier die erste Nachricht."
    );
    assert_eq!(
        opening(&policy, 0, "en", &full()),
        "Hello Anna, I am Ben and I have read everything about the double charge on your bill. I take it from here."
    );
    assert_eq!(
        opening(&policy, 0, "de", &minimal()),
        "Guten Tag, hier schreibt jemand. Ich habe alles gelesen (Ihr Anliegen) und kümmere mich jetzt darum."
    );
}

/// Every message of a policy in every situation and language.
fn every_reply(policy: &Policy, slots: &Slots) -> Vec<Reply> {
    let mut replies = Vec::new();
    for message in 0..policy.messages.len() {
        for situation in Situation::ALL {
            for language in ["en", "de"] {
                replies.push(render(policy, message, situation, language, slots));
            }
        }
    }
    replies
}

fn parts(reply: &Reply) -> [&str; 3] {
    [&reply.acknowledge, &reply.reassure, &reply.expect]
}

#[test]
fn every_reply_has_three_sentences() {
    let policy = default_policy();
    let waits = [None, Some(0), Some(59), Some(3600), Some(86_400 * 30), Some(u64::MAX)];
    for (slots, wait) in [full(), minimal(), Slots::default()].iter().flat_map(|slots| waits.map(|wait| (slots, wait))) {
        let slots = Slots { wait: wait.map(Duration::from_secs), ..slots.clone() };
        for reply in every_reply(&policy, &slots) {
            for part in parts(&reply) {
                assert!(part.ends_with('.') && part.chars().filter(|c| c.is_alphabetic()).count() > 8, "{part:?}");
                assert!(!part.contains("  ") && !part.contains(['{', '}']) && !part.contains(" ,") && !part.contains(".."), "{part:?}");
            }
        }
    }
}

#[test]
fn hostile_slots_stay_text() {
    let policy = default_policy();
    let emoji = "😀👩‍👩‍👧".repeat(10_000);
    let combining = format!("a{}", "\u{301}".repeat(10_000));
    let hostile = [
        "<script>alert(1)</script>",
        "[click](javascript:alert(1)) ![x](http://evil.example/x.png) **bold** `code`",
        "{{ wait }}",
        "{{ 7 * 7 }}{% raw %}{% for x in range(1000000) %}x{% endfor %}{# note #}",
        "{name} {n} }} {{",
        "\u{202e}gnp.exe\u{2066}\u{200f}",
        "An\u{200b}na\u{200d}\u{feff}\u{ad}",
        "\u{1b}[31mred\u{7}\u{8}\u{0}\u{1}\u{85}",
        "two\nlines\r\nand\ttabs\u{2028}more",
        "\u{e0041}\u{e007f}\u{fff9}",
        "...",
        "   ",
        emoji.as_str(),
        combining.as_str(),
    ];
    for value in hostile {
        let some = || Some(value.to_owned());
        let slots =
            Slots { issue: some(), name: some(), account: some(), queue_name: value.to_owned(), agent: some(), tried: some(), wait: None };
        let openings = ["en", "de"].map(|language| opening(&policy, 0, language, &slots));
        let replies = every_reply(&policy, &slots);
        let texts = replies.iter().flat_map(parts).chain(openings.iter().map(String::as_str));
        for text in texts {
            assert!(!text.is_empty() && text.chars().count() < 1000, "{} characters", text.chars().count());
            let steers = |c: char| {
                c.is_control()
                    || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
            };
            assert!(!text.contains(steers), "{text:?}");
        }
    }
    let issue = |issue: &str| {
        render(&policy, 0, Situation::Connecting, "en", &Slots { issue: Some(issue.to_owned()), wait: full().wait, ..minimal() })
    };
    assert_eq!(issue("{{ wait }}").acknowledge, "Thank you, I have noted that this is about {{ wait }}.");
    assert_eq!(issue("{% raw %}").acknowledge, "Thank you, I have noted that this is about {% raw %}.");
    assert_eq!(issue("<b>\u{202e}x</b>!").acknowledge, "Thank you, I have noted that this is about <b>x</b>.");
    assert_eq!(issue("...").acknowledge, "Thank you, I have noted that this is about your request.");
    assert_eq!(issue(&"x".repeat(500)).acknowledge.chars().count(), "Thank you, I have noted that this is about .".len() + 160);
}
