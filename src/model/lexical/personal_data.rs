//! Personal data and secrets: what must be masked before a text leaves the process.
//!
//! In: a text. Out: findings of [`LexicalKind::PersonalData`] in the order of the text, without overlaps. A span covers what must be masked and
//! no more: for "my password is hunter2" the last word.
//!
//! Where a check exists, it decides: Luhn for cards (ISO/IEC 7812), mod 97 and the country's length for an IBAN (ISO 13616), the letter of a
//! Spanish DNI or NIE. Other numbers are told apart by their shape and by the words before them, of which the nearest wins: "call 4558129" is a
//! telephone number, "order 4558129" is not. In doubt a secret is masked. Digits, dashes and spaces may be of any script: [`Folded`] makes them plain.
//!
//! National identity numbers known here: US social security (SSN) and taxpayer (ITIN), UK national insurance (NINO), Spanish DNI and NIE; by the
//! words before them also Canadian SIN, Indian Aadhaar, passports, driving licences and tax numbers.

use super::fold::Folded;
use super::pattern::{Cased, Matcher, Row, expression};
use crate::signal::{Finding, LexicalKind, PersonalData, Span};
use regex::Regex;
use std::ops::RangeInclusive;

/// Keys and tokens by their own prefix. The issuers publish these prefixes so that scanners find leaked keys. No upper bounds: a
/// token cut short would leave its end unmasked.
const TOKENS: &[Row] = &[
    ("AWS", r"(?:AKIA|ASIA)[A-Z0-9]{16}"),
    ("JWT", r"eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*)?"),
    ("Stripe", r"(?:sk|pk|rk|whsec)_(?:live_|test_)?[A-Za-z0-9]{10,}"),
    ("OpenAI, Anthropic", r"sk-[A-Za-z0-9_-]{16,}"),
    ("GitHub", r"(?:gh[opsur]_[A-Za-z0-9]{16,}|github_pat_[A-Za-z0-9_]{20,})"),
    ("GitLab", r"glpat-[A-Za-z0-9_-]{16,}"),
    ("Slack", r"xox[abeoprs]-[A-Za-z0-9-]{8,}"),
    ("Google", r"(?:AIza[A-Za-z0-9_-]{30,}|ya29\.[A-Za-z0-9_-]{20,})"),
    ("Hugging Face", r"hf_[A-Za-z0-9]{20,}"),
    ("npm, PyPI, DigitalOcean", r"(?:npm_[A-Za-z0-9]{20,}|pypi-[A-Za-z0-9_-]{20,}|do[opr]_v1_[a-f0-9]{40,})"),
    ("SendGrid", r"SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}"),
    ("Shopify", r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}"),
    ("Slack webhook", r"T[A-Z0-9]{8,}/B[A-Z0-9]{8,}/[A-Za-z0-9]{16,}"),
    ("code of Google", r"G-[0-9]{6}\b"),
];

/// Words for a password.
const PASSWORD: &str = r"(?:pass[ -]?words?|passwort|kennwort|pass?wo?rd|pas+word|passwrd|passord|pass ?code|pass ?phrase|passwd|pwd|pw|psw|contraseña|contrasena|mot de passe|mdp|senha|wachtwoord)";

/// What may stand between a cue and its value.
const FILLERS: &str = r"(?:[ \t]+(?:for|to|of|on|at|by|via|from|i|we|you|they|he|she|it|me|us|use|used|have|had|got|get|received|given|gave|sent|entered|typed|put|in|into|here|with|and|my|our|your|his|her|the|a|this|that|these|account|app|portal|website|site|wifi|wi-fi|e-?mail|mail|text|sms|message|whatsapp|login|page|profile|currently|now|still|just|new|old|temp|temporary|current|there|device|router|phone|laptop|computer|which|card|debit|credit|bank|sim|door|gate|front|back|number|code|form|field|screen|says|said|shows|was|is|should|read|reads|be|one|admin|user|online|banking)\b)";

/// Secrets that the text names: the words before the value, where `<password>` and `<fillers>` stand for the lists above, and what the value must look like.
const NAMED: &[(&str, &str, PersonalData, Looks)] = &[
    ("Bearer", r"(?:bearer|basic)(?: token)?:?\s{1,3}", PersonalData::Token, Looks::Key),
    (
        "API key: x",
        r"(?:[a-z0-9]{1,20}[_.-]){0,5}(?:api|access|secret|private|auth|client|service|license|licence|encryption|signing|webhook|aws|app|session|refresh|security|shared|master|product|integration|csrf|bot|deploy|user|bearer)?[\s_-]{0,2}(?:access[\s_-]?)?(?:key|token|secret|apikey)(?:[\s_-]?id)?[\x22'`*]{0,3}(?:<fillers>){0,6}\s{0,3}(?:is|was|=>|=|:|-|\bto)\s{0,3}",
        PersonalData::Token,
        Looks::Key,
    ),
    (
        "key x",
        r"(?:[a-z0-9]{1,20}[_.-]){0,5}[a-z]{0,12}(?:key|token|secret|credential)s?(?:<fillers>){0,6}\s{1,3}",
        PersonalData::Token,
        Looks::LongKey,
    ),
    (
        "cookie",
        r"(?:[a-z_-]{0,20}sess(?:ion)?[_-]?(?:id)?|sid|csrf[a-z_-]{0,20}|cookie|signature|sig)\s{0,2}[=:]\s{0,2}",
        PersonalData::Token,
        Looks::LongKey,
    ),
    (
        "password: hunter2",
        r"(?:<password>|pass)[\x22'`*]{0,3}(?: ?\([a-z0-9 ]{0,20}\))?\s{0,3}(?:=>|=|:|->|–|—)[ \t]{0,3}",
        PersonalData::Password,
        Looks::NoPlea,
    ),
    ("password:\nhunter2", r"(?:<password>|pass)[\x22'`*]{0,3}\s{0,3}(?:[:=-]\s{0,3})?\n\s{0,3}", PersonalData::Password, Looks::Mixed),
    ("password - hunter2", r"<password>(?:<fillers>){0,4}\s{1,3}-\s{1,3}", PersonalData::Password, Looks::Mixed),
    ("password for the portal: hunter2", r"<password>(?:<fillers>){1,8}\s{0,3}[:=]\s{0,3}", PersonalData::Password, Looks::Mixed),
    (
        "password is hunter2",
        r"<password>(?:'s|’s|s)?(?:<fillers>){0,8}\s{1,3}(?:is|was|are|est|ist|lautet|es|era|é|will be|should be|to|changed to|set to|is set to|to be|as|is now|was changed to|is currently|is still|being|is just|is simply|is:|is,|=)\s{1,3}(?:(?:literally|actually|really|definitely|simply|just)\s{1,3})?",
        PersonalData::Password,
        Looks::LastOrMixed,
    ),
    (
        "password for bob is hunter2",
        r"<password>\s(?:for|of|to|on|at)\s(?:(?:my|the|our|your)\s)?(?u:\S){1,40}\s{1,3}(?:is|was)\s{1,3}",
        PersonalData::Password,
        Looks::Mixed,
    ),
    (
        "password ... I set it to hunter2",
        r"<password>(?u:[^\n]){0,120}?\b(?:re)?(?:set|changed|made) it (?:to|as)\s{1,3}",
        PersonalData::Password,
        Looks::LettersAndDigits,
    ),
    ("pass is hunter2", r"pass (?:is|was|is now)\s{1,3}", PersonalData::Password, Looks::LastOrMixed),
    ("password's hunter2", r"<password>(?:'s|’s)\s{1,3}", PersonalData::Password, Looks::LastOrMixed),
    (
        "password hunter2",
        r"(?:pass[ -]?word|passwort|pass ?code|pass ?phrase|passwd|pwd|pw|psw),?\s{1,3}",
        PersonalData::Password,
        Looks::Mixed,
    ),
    (
        "user bob pass hunter2",
        r"(?:user(?:name)?|user ?id|login|log in as|e-?mail|me)\b(?u:[^\n]){0,64}?\bpass\s{1,3}",
        PersonalData::Password,
        Looks::LettersAndDigits,
    ),
    (
        "login: bob / hunter2",
        r"(?:log[ -]?in|log ?on|user(?:name)?|credentials)(?: (?:data|details|info))?\s{0,2}(?:[:=]|is|are|with|using)\s{0,2}(?u:[^\s/|]){2,64}\s{0,2}[/|]\s{0,2}",
        PersonalData::Password,
        Looks::LettersAndDigits,
    ),
    (
        "password was x, now it is y",
        r"<password>\s(?u:[^\n]){0,48}?\b(?:now|then|or|maybe|not|but)(?: (?:its|it's|it’s|it is|is|to|it was|was|maybe|with))?\s{1,3}",
        PersonalData::Password,
        Looks::LettersAndDigits,
    ),
    (
        "curl -u bob:hunter2",
        r"curl\b(?u:[^\n]){0,200}?\s(?:-u|--user)[ =]{1,2}['\x22]?(?u:[^\s:]){1,64}:",
        PersonalData::Password,
        Looks::NoPlea,
    ),
    (
        "PIN 4821",
        r"(?:pin ?(?:code|number|no)|pins?|puk|passcode|pass ?code|security (?:code|number|digits)|cvv2?|cvc2?|ccv2?|cvn|csc|cid|otp|tan|mtan|(?:one[- ]?time|verification|2fa|two[- ]factor|mfa|access|unlock|authentication|authenticator|auth|authorization|login|sign[- ]in|sms|text|door|gate|backup|recovery|reset|activation|confirmation|security|google|whatsapp|bank|email) (?:code|password|passcode|pin|number)s?)[\x22'`*]{0,3}(?:<fillers>){0,8}[ \t]{0,2}(?:is|was|are|=|:|#|-|–|to be|to|is set to|is now|changed to|is currently)?\s{0,3}",
        PersonalData::Password,
        Looks::Code,
    ),
    (
        "recovery code a1b2-c3d4",
        r"(?:backup|recovery|reset|rescue|emergency|restore|unlock|activation|one[- ]?time|2fa|security) (?:code|key|phrase)s?(?:<fillers>){0,4}\s{0,3}(?:is|are|was|=|:|-)?\s{0,3}",
        PersonalData::Password,
        Looks::Key,
    ),
    (
        "three digits on the back",
        r"(?:digits?|number|code|security)?(?u:[^\n.?!]){0,12}?on the (?:back|reverse|rear)(?: of (?:it|the card|my card))?(?: (?:it says|it reads|that says|says|reads))?\s{0,3}(?:is|are|was|:|=|,|-)?\s{0,3}",
        PersonalData::Password,
        Looks::Cvv,
    ),
    (
        "authenticator shows 662910",
        r"(?:(?:authenticator|authy|token generator|code generator|sms|text|message|app)(?: app| message)?(?: (?:just|only|now|it))?\s{1,2}(?:shows|showed|says|said|gives|gave me|reads|displays|contains)|texted me)[ :]{1,3}",
        PersonalData::Password,
        Looks::LongCode,
    ),
    ("user:password@host", r"[a-z][a-z0-9+.-]{1,12}://[a-z0-9._~%-]{1,64}:", PersonalData::Password, Looks::BeforeHost),
    (
        "SSN",
        r"(?:ssn|ss|social security|social sec|soc sec|soc|itin|tax id|taxpayer id|ein|social)\b(?:[ \t]+(?:number|no|num|digits|card|nr|[#-])|[#']s?){0,3}(?:<fillers>){0,8}[ \t]{0,2}[.:#=-]{0,2}\s{0,3}#?",
        PersonalData::NationalId,
        Looks::Ssn,
    ),
    (
        "other identity number",
        r"(?:passport|driver'?s? licen[sc]e|driving licen[sc]e|licen[sc]e|national (?:id|insurance|identity)|ni|nino|aadhaa?r|sin|social insurance|tax(?:payer)? id(?:entification)?|steuer-?id|identity card|id card|personalausweis|pan card|medicare|nhs|nat(?:ional)?\.? ins(?:urance)?|green card|perso|national id)\b(?: (?:number|no|num|nr|card|id|#)){0,3}(?:<fillers>){0,4}[.:#=]{0,2}\s{0,3}",
        PersonalData::NationalId,
        Looks::Id,
    ),
];

/// What a value must look like to be taken for a secret.
#[derive(Clone, Copy, Debug)]
enum Looks {
    /// Has a digit, or a symbol or a capital inside.
    Mixed,
    /// Mixed and eight characters or more.
    Key,
    /// Mixed, or the last word of its clause, unless it is one that complains: "my password is wrong".
    LastOrMixed,
    /// Anything but a word that complains.
    NoPlea,
    /// 3 to 8 digits.
    Code,
    /// A social security number in a range that is issued.
    Ssn,
    /// Words with digits, five of them or more.
    Id,
    /// 3 or 4 digits.
    Cvv,
    /// 6 digits in two groups, or 4 to 8 in one.
    SixDigits,
    /// 6 digits in two groups, or 5 to 8 in one.
    LongCode,
    /// Letters and digits, six characters or more.
    LettersAndDigits,
    /// Letters and digits, 16 characters or more.
    LongKey,
    /// Up to the "@" of an address.
    BeforeHost,
}

/// Words that follow "my password is" without being one.
const PLEAS: &str = "\
     a about accepted access account again all already also always an and another asked asking at available bad be because been \
     being blank blocked broken but by can can't case change changed changing characters compromised confusing correct could \
     declined default deleted denied did different difficult digits disabled displayed does doesn't doing don't easy email empty \
     enough entered error exactly expired expiring failed failing field fine for forgot forgotten gets gone good got hacked had \
     hard has have help hidden i if ignored in inactive incorrect insecure invalid is isn't issue issues it its just keeps known \
     leaked letters link locked log login long lost manager mandatory max maximum me min minimum missing my necessary needed never new no none not nothing \
     now of off ok okay old on one only optional or outdated page please policy possible probably problem prompt protected \
     protection recognised recognized recover recovery refused rejected required requirements reset resetting right safe same \
     saved saying screen secret secure sent set short should showing simple so something still stolen stored strong supposed \
     temporary that the their them there this to too unknown unsafe updated used valid very visible was weak what when where which \
     why will with won't work working works would wrong you your";

/// Shapes of telephone numbers: how many digits, and what the words before may say. The digits count without regard to separators.
const PHONES: &[(&str, &str, RangeInclusive<usize>, &[Meaning])] = &[
    (
        "international",
        r"(?-u)\+ ?\(?[1-9][0-9]{0,3}\)?(?:[ ./()-]{0,3}[0-9]{1,12}){1,7}",
        8..=17,
        &[Meaning::Unsaid, Meaning::Phone, Meaning::Other],
    ),
    ("international, dialled", r"(?-u)\b00[1-9][0-9]{0,3}(?:[ ./()-]{0,3}[0-9]{1,12}){1,7}", 10..=17, &[Meaning::Unsaid, Meaning::Phone]),
    (
        "North American",
        r"(?-u)(?:\b1[ .-]?)?(?:\([0-9]{3}\) ?-?|\b[0-9]{3}[ .-])[0-9]{3}[ .-][0-9]{4}\b",
        10..=11,
        &[Meaning::Unsaid, Meaning::Phone],
    ),
    (
        "national, with a leading zero",
        r"(?-u)(?:\(0[1-9][0-9]{0,4}\)|\b0[1-9][0-9]{0,4})(?:[ /.-]{1,3}[0-9]{2,8}){1,5}\b",
        9..=12,
        &[Meaning::Unsaid, Meaning::Phone],
    ),
    ("UK mobile", r"(?-u)\b07[0-9]{9}\b", 11..=11, &[Meaning::Unsaid, Meaning::Phone]),
    ("Indian mobile", r"(?-u)\b[6-9][0-9]{4}[ -][0-9]{5}\b", 10..=10, &[Meaning::Unsaid, Meaning::Phone]),
    ("any, where the words say so", r"(?-u)\(?\b[0-9](?:[ .()-]{0,2}[0-9]){6,14}\b", 7..=15, &[Meaning::Phone]),
];

/// Words that say a telephone number follows.
const PHONE_WORDS: &[Row] = &[(
    "phone",
    "tel|tele|phone|telephone|mobile|cell|cellphone|mob|call|calling|ring|text|sms|whats ?app|contact|reach|dial|fax|landline|handy|my number|my no|(?:best|following|this|new|direct) number|number to (?:call|reach)|me (?:at|on)|message me|signal|telegram|viber|ph|call ?back|(?:phone|mobile|cell|contact|telephone) (?:number|no|#)",
)];

/// Words that say that some other number follows.
const OTHER_NUMBER_WORDS: &[Row] = &[(
    "other",
    "orders?|tracking|track|invoice|ref|reference|case|ticket|booking|confirmation|account|acct|customer|client|membership|member|policy|serial|imei|parcel|package|shipment|transaction|purchase|sku|item|product|model|vin|\
     id|bill|receipt|zip|postcode|postal code|claim|po|contract|code|version|isbn|ean|upc|barcode|batch|lot|amount|sum|total|price|cost|paid|pay|balance|usd|eur|gbp|rs|reservation|pnr|flight|ip|error|coupon|voucher|gift card|delivery|return|rma|awb|iccid|sort code|routing|line item|part|meter|student|employee|user|complaint|request|session|loan|delivery code",
)];

/// Words before "code" that say that it is no secret, and how far before it they may stand, in bytes.
const OTHER_CODES: &[Row] = &[(
    "other code",
    "(?:error|status|exit|return|response|reason|fault|trouble|http|zip|postal|post|area|country|city|region|dial|dialling|dialing|calling|bar|qr|sort|routing|swift|bic|bank|branch|store|discount|promo|promotion|promotional|coupon|voucher|gift|referral|friend|campaign|sale|product|item|article|model|color|colour|order|booking|tracking|delivery|shipping|airport|flight|tax|source|dress|morse|the error|design|paint|part|batch|hs|sku|offer|use|using|apply|applied)(?: with| shows?| has| says| the| of)?",
)];
const OTHER_CODE_BYTES: usize = 24;

/// Countries with an IBAN and its length in characters. From SWIFT's IBAN registry.
const IBAN_LENGTHS: &str = "\
     AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 ES24 FI18 FK18 \
     FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 \
     MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 \
     SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30";

/// What decides whether a number of a shape is a national identity number: groups of the expression `national_id`.
const NATIONAL_ID_CHECKS: &[(&str, Check)] = &[("ssn", is_ssn), ("nino", is_nino), ("dni", is_dni)];

type Check = fn(&str) -> bool;

/// Bytes before a number in which a word still says what the number is: four or five words.
const CONTEXT_BYTES: usize = 36;

/// All rules, compiled.
#[derive(Debug)]
pub(super) struct Rules {
    tokens: Regex,
    named: Vec<(Regex, PersonalData, Looks)>,
    iban_start: Regex,
    national_id: Regex,
    spread_card: Regex,
    expiry_and_cvv: Regex,
    code: Regex,
    other_codes: Matcher,
    password_after: Regex,
    cvv_after: Regex,
    spelled_email: Regex,
    phones: Vec<(Regex, RangeInclusive<usize>, &'static [Meaning])>,
    phone_words: Matcher,
    other_number_words: Matcher,
}

impl Rules {
    pub(super) fn new() -> Self {
        let tokens: Vec<&str> = TOKENS.iter().map(|(_, pattern)| *pattern).collect();
        Self {
            tokens: expression(&format!(r"(?-u)\b(?:{})", tokens.join("|"))),
            named: NAMED.iter().map(|(_, pattern, kind, looks)| (named(pattern), *kind, *looks)).collect(),
            iban_start: expression(r"(?i-u)\b[A-Z]{2}[ -]?\d{2}[ -]?[A-Z0-9]"),
            national_id: expression(
                r"(?i-u)\b(?:(?P<ssn>\d{3}-\d{2}-\d{4})|(?P<nino>[a-z]{2}[ -]?\d{2}[ -]?\d{2}[ -]?\d{2}[ -]?[a-d])|(?P<dni>[xyz\d]-?\d{7}-?[a-z]))\b",
            ),
            spread_card: expression(r"(?-u)\b\d{4}(?:[\s_/|*-]{1,3}\d{4}){3}\b|\b\d{4}[\s_/|*-]{1,3}\d{6}[\s_/|*-]{1,3}\d{5}\b"),
            expiry_and_cvv: expression(
                r"(?i-u)^[ ,;/|\n\r\t]{1,4}(?:(?:exp|expiry|expires|valid)[a-z ]{0,8}[.:]? ?)?(?:0?[1-9]|1[0-2]) ?[/.-] ?(?:20)?[0-9]{2}[ ,;/|\n\r\t]{1,4}([0-9]{3,4})\b",
            ),
            code: named(r"codes?[\x22'`*]{0,3}(?:<fillers>){0,8}[ \t]{0,2}(?:is|was|are|=|:|#|-)?\s{0,3}"),
            other_codes: Matcher::anywhere(OTHER_CODES, &[]),
            password_after: trailing(
                r"\s(?:(?:is|was|as|for|not accepted as|rejected as|being) )(?:(?:my|the|a|our|your|his|her) )?(?:(?:new|old|current|temporary|temp|login|admin|wifi) )?<password>\b",
            ),
            cvv_after: trailing(
                r"\s(?:(?:is|was|as) (?:(?:my|the|your|our) )?(?:pin|code|otp|passcode|(?:security|verification|sms|access) code)|to (?:verify|log ?in|sign ?in|authenticate|confirm your|reset your|complete your)|(?:is |was |as )?(?:(?:my|the) )?(?:cvv2?|cvc2?|ccv|csc|otp))\b",
            ),
            spelled_email: expression(
                r"(?i-u)\b[a-z0-9._%+-]{1,64}\s?(?:[\[({]\s?at\s?[\])}]|\sat\s)\s?[a-z0-9-]{2,63}(?:\s?(?:[\[({]\s?dot\s?[\])}]|\sdot\s|\.)\s?[a-z0-9-]{2,24}){0,2}\s?(?:[\[({]\s?dot\s?[\])}]|\sdot\s|\.)\s?(?:com|net|org|edu|gov|io|co\suk|de|fr|uk|eu|info)\b",
            ),
            phones: PHONES.iter().map(|(_, pattern, digits, needs)| (expression(pattern), digits.clone(), *needs)).collect(),
            phone_words: Matcher::anywhere(PHONE_WORDS, &[]),
            other_number_words: Matcher::anywhere(OTHER_NUMBER_WORDS, &[]),
        }
    }

    /// The personal data in a text, in its order and without overlaps.
    pub(super) fn find(&self, text: &str) -> Vec<Finding> {
        if text.is_ascii() {
            return self.find_plain(text);
        }
        let folded = Folded::of(text);
        let found = self.find_plain(&folded.text).into_iter();
        found.map(|finding| Finding { span: folded.origin(finding.span), ..finding }).collect()
    }

    fn find_plain(&self, text: &str) -> Vec<Finding> {
        let mut found = Vec::new();
        let mut add = |kind, start, end| found.push((kind, Span { start, end }));
        private_keys(text, &mut add);
        emails(text, &mut add);
        self.tokens.find_iter(text).for_each(|token| add(PersonalData::Token, token.start(), token.end()));
        self.spelled_email.find_iter(text).for_each(|email| add(PersonalData::Email, email.start(), email.end()));
        self.named_secrets(text, &mut add);
        self.secrets_before_their_name(text, &mut add);
        if text.bytes().any(|byte| byte.is_ascii_digit()) {
            self.ibans(text, &mut add);
            self.national_ids(text, &mut add);
            self.cards(text, &mut add);
            self.codes(text, &mut add);
            self.phones(text, &mut add);
        }
        let found = without_overlaps(found).into_iter();
        found.map(|(kind, span)| Finding { kind: LexicalKind::PersonalData(kind), span }).collect()
    }

    fn named_secrets(&self, text: &str, add: &mut impl FnMut(PersonalData, usize, usize)) {
        for (cue, kind, looks) in &self.named {
            for cue in cue.find_iter(text) {
                if let Some(value) = value_at(text, cue.end(), *looks) {
                    add(*kind, value.start, value.end);
                }
            }
        }
    }

    /// "hunter2 is my password", "123 is the cvv".
    fn secrets_before_their_name(&self, text: &str, add: &mut impl FnMut(PersonalData, usize, usize)) {
        for name in self.password_after.find_iter(text) {
            if let Some(value) = value_before(text, name.start()).filter(|value| value.len() >= 4 && is_mixed(value)) {
                let start = value.as_ptr().addr() - text.as_ptr().addr();
                add(PersonalData::Password, start, start + value.len());
            }
        }
        for name in self.cvv_after.find_iter(text) {
            let value = tail_while(&text[..name.start()], |c| c.is_ascii_digit());
            let start = name.start() - value.len();
            let stands_alone = !text[..start].ends_with(|c: char| c.is_alphanumeric() || ".,-/$€£".contains(c));
            if stands_alone && (3..=8).contains(&digits_of(value)) {
                add(PersonalData::Password, start, name.start());
            }
        }
    }

    /// "code 482913", but not the codes of errors, countries and vouchers.
    fn codes(&self, text: &str, add: &mut impl FnMut(PersonalData, usize, usize)) {
        for cue in self.code.find_iter(text) {
            let before = &text[text.floor_char_boundary(cue.start().saturating_sub(OTHER_CODE_BYTES))..cue.start()];
            if self.other_codes.spans(&Cased::of(before)).last().is_some_and(|span| span.end + 1 >= before.len()) {
                continue;
            }
            if let Some(value) = value_at(text, cue.end(), Looks::SixDigits) {
                add(PersonalData::Password, value.start, value.end);
            }
        }
    }

    fn ibans(&self, text: &str, add: &mut impl FnMut(PersonalData, usize, usize)) {
        for start in self.iban_start.find_iter(text) {
            if let Some(end) = iban_end(text, start.start()) {
                add(PersonalData::Iban, start.start(), end);
            }
        }
    }

    fn national_ids(&self, text: &str, add: &mut impl FnMut(PersonalData, usize, usize)) {
        for captures in self.national_id.captures_iter(text) {
            for (group, is_valid) in NATIONAL_ID_CHECKS {
                if let Some(id) = captures.name(group).filter(|id| is_valid(id.as_str())) {
                    add(PersonalData::NationalId, id.start(), id.end());
                }
            }
        }
    }

    fn cards(&self, text: &str, add: &mut impl FnMut(PersonalData, usize, usize)) {
        let mut cards = Vec::new();
        for run in digit_runs(text) {
            let mut rest = &run[..];
            while let [first, ..] = rest {
                let named_otherwise = || self.meaning(text, first.start) == Meaning::Other;
                let used = card_groups(text, rest, named_otherwise);
                cards.extend(used.checked_sub(1).map(|last| Span { start: first.start, end: rest[last].end }));
                rest = &rest[used.max(1)..];
            }
        }
        let is_card = |spread: &str| {
            let digits: String = spread.chars().filter(char::is_ascii_digit).collect();
            luhn(&digits) && is_brand(&digits)
        };
        let spread = self.spread_card.find_iter(text).filter(|spread| is_card(spread.as_str()));
        cards.extend(spread.map(|spread| Span { start: spread.start(), end: spread.end() }));
        for card in cards {
            add(PersonalData::CardNumber, card.start, card.end);
            // "11/27 309": nobody says what these are.
            if let Some(cvv) = self.expiry_and_cvv.captures(&text[card.end..]).and_then(|captures| captures.get(1)) {
                add(PersonalData::Password, card.end + cvv.start(), card.end + cvv.end());
            }
        }
    }

    fn phones(&self, text: &str, add: &mut impl FnMut(PersonalData, usize, usize)) {
        for (shape, digits, needs) in &self.phones {
            for found in shape.find_iter(text) {
                let stands_alone = !text[..found.start()].ends_with(|c: char| c.is_alphanumeric() || "._,@+-/".contains(c))
                    && !text[found.end()..].starts_with(|c: char| c.is_alphanumeric() || "_%€£$".contains(c));
                if stands_alone
                    && !is_date(found.as_str())
                    && digits.contains(&digits_of(found.as_str()))
                    && needs.contains(&self.meaning(text, found.start()))
                {
                    add(PersonalData::Phone, found.start(), found.end());
                }
            }
        }
    }

    /// What the words before a number say that it is: the nearest wins.
    fn meaning(&self, text: &str, start: usize) -> Meaning {
        let before = &text[text.floor_char_boundary(start.saturating_sub(CONTEXT_BYTES))..start];
        let cased = Cased::of(before);
        let last = |words: &Matcher| words.spans(&cased).last().map(|span| span.end);
        if before.trim_end().ends_with(['$', '€', '£', '¥', '₹', '#']) {
            return Meaning::Other;
        }
        match (last(&self.phone_words), last(&self.other_number_words)) {
            (None, None) => Meaning::Unsaid,
            (phone, other) if phone > other => Meaning::Phone,
            _ => Meaning::Other,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Unsaid,
    Phone,
    Other,
}

/// Drops what lies within a longer finding, or within a more specific one of the same length; joins what overlaps in part, so that nothing
/// is left unmasked. An address or a telephone number, which a policy may leave alone, never hides a secret.
fn without_overlaps(mut found: Vec<(PersonalData, Span)>) -> Vec<(PersonalData, Span)> {
    let rank = |kind: PersonalData, span: Span| {
        (!matches!(kind, PersonalData::Email | PersonalData::Phone), span.end - span.start, specificity(kind))
    };
    found.sort_by_key(|(_, span)| (span.start, span.end));
    let mut kept: Vec<(PersonalData, Span)> = Vec::with_capacity(found.len());
    for (kind, span) in found {
        match kept.last_mut().filter(|(_, last)| span.start < last.end) {
            None => kept.push((kind, span)),
            Some((kept_kind, last)) => {
                if rank(kind, span) > rank(*kept_kind, *last) {
                    *kept_kind = kind;
                }
                last.end = last.end.max(span.end);
            }
        }
    }
    kept
}

/// Of two findings of one length, the higher says more: a check that passed tells more than a shape.
fn specificity(kind: PersonalData) -> u8 {
    match kind {
        PersonalData::CardNumber => 6,
        PersonalData::Iban => 5,
        PersonalData::NationalId => 4,
        PersonalData::Token => 3,
        PersonalData::Email => 2,
        PersonalData::Password => 1,
        PersonalData::Phone => 0,
    }
}

const KEY_BEGIN: &str = "-----BEGIN ";
const KEY_END: &str = "-----END ";

/// From "-----BEGIN ... PRIVATE KEY-----" to its end, or to the end of the text where that is missing: half a key is still a key.
fn private_keys(text: &str, add: &mut impl FnMut(PersonalData, usize, usize)) {
    let mut from = 0;
    while let Some(begin) = text[from..].find(KEY_BEGIN).map(|at| from + at) {
        let label = text[begin + KEY_BEGIN.len()..].bytes().take(40).take_while(|byte| byte.is_ascii_uppercase() || *byte == b' ').count();
        let body = begin + KEY_BEGIN.len() + label;
        if !text[begin..body].ends_with("PRIVATE KEY") {
            from = body;
            continue;
        }
        let end = match text[body..].find(KEY_END).map(|at| body + at + KEY_END.len()) {
            Some(end_label) => {
                end_label + text[end_label..].bytes().take(60).take_while(|byte| byte.is_ascii_uppercase() || b" -".contains(byte)).count()
            }
            None => text.len(),
        };
        add(PersonalData::Token, begin, end);
        from = end;
    }
}

/// Longest local part and longest domain of an address, in bytes (RFC 5321).
const LOCAL_BYTES_MAX: usize = 64;
const DOMAIN_BYTES_MAX: usize = 255;

fn emails(text: &str, add: &mut impl FnMut(PersonalData, usize, usize)) {
    for (at, _) in text.match_indices('@') {
        let before = &text[text.ceil_char_boundary(at.saturating_sub(LOCAL_BYTES_MAX))..at];
        let local = tail_while(before, |c| c.is_alphanumeric() || "._%+-'&!#$*/=?^{|}~".contains(c))
            .trim_start_matches(|c: char| !c.is_alphanumeric());
        let after = &text[at + 1..text.floor_char_boundary(at + 1 + DOMAIN_BYTES_MAX)];
        let domain = head_while(after, |c| c.is_alphanumeric() || c == '.' || c == '-').trim_end_matches(['.', '-']);
        let top = domain.rsplit('.').next().unwrap_or("");
        let is_domain =
            domain.contains('.') && !domain.starts_with('.') && top.chars().count() >= 2 && top.chars().all(char::is_alphabetic);
        if !local.is_empty() && is_domain {
            add(PersonalData::Email, at - local.len(), at + 1 + domain.len());
        }
    }
}

fn head_while(text: &str, keep: impl Fn(char) -> bool) -> &str {
    &text[..text.find(|c| !keep(c)).unwrap_or(text.len())]
}

fn tail_while(text: &str, keep: impl Fn(char) -> bool) -> &str {
    &text[text.char_indices().rev().take_while(|(_, c)| keep(*c)).last().map_or(text.len(), |(at, _)| at)..]
}

/// Longest value of a named secret, in bytes: a long token. What goes on beyond is cut there.
const VALUE_BYTES_MAX: usize = 4096;

/// A cue that stands before its value, compiled.
fn named(pattern: &str) -> Regex {
    trailing(&format!(r"\b(?:{pattern})"))
}

/// A cue that stands after its value, compiled.
fn trailing(pattern: &str) -> Regex {
    expression(&format!("(?i-u){}", pattern.replace("<password>", PASSWORD).replace("<fillers>", FILLERS)))
}

/// Bytes before a name in which a value between quotes may stand.
const QUOTED_BEFORE_BYTES: usize = 64;

/// The last value between quotes shortly before `end`, else the last word.
fn value_before(text: &str, end: usize) -> Option<&str> {
    let before = &text[text.floor_char_boundary(end.saturating_sub(QUOTED_BEFORE_BYTES))..end];
    let quoted =
        before.char_indices().filter_map(|(at, _)| in_quotes(&before[at..])).find(|quoted| !quoted.starts_with(char::is_whitespace));
    let word = || unquoted(tail_while(before, |c| !c.is_whitespace()));
    Some(quoted.filter(|quoted| !quoted.contains(char::is_whitespace)).unwrap_or_else(word)).filter(|value| !value.is_empty())
}

/// What stands in the place of secrets that were masked before; the words of `handoff::mask`.
const MASKED: [&str; 7] = ["[card number]", "[IBAN]", "[national id]", "[password]", "[token]", "[e-mail]", "[phone number]"];

/// The value that stands at `start`, if it looks like a secret.
fn value_at(text: &str, start: usize, looks: Looks) -> Option<Span> {
    let rest = &text[start..text.floor_char_boundary(start + VALUE_BYTES_MAX)];
    // A text that was masked already: "my password is [password]".
    if MASKED.iter().any(|word| rest.starts_with(word)) {
        return None;
    }
    let quoted = in_quotes(rest);
    let is_word_char = |c: char| !c.is_whitespace();
    let value = match (looks, quoted) {
        (Looks::BeforeHost, _) => head_while(rest, |c| is_word_char(c) && c != '@' && c != '/'),
        (Looks::Code | Looks::Cvv | Looks::SixDigits | Looks::LongCode | Looks::Ssn, _) => {
            head_while(rest, |c| c.is_ascii_digit() || c == ' ' || c == '-').trim_end_matches([' ', '-'])
        }
        (Looks::Key | Looks::LongKey, None) => unquoted(head_while(rest, |c| is_word_char(c) && !"&;,\"'<>".contains(c))),
        (Looks::Id, _) => words_with_digits(rest),
        (_, Some(quoted)) => quoted,
        _ => unquoted(head_while(rest, is_word_char)),
    };
    // Every arm above returns a part of `rest`.
    let at = start + (value.as_ptr().addr() - rest.as_ptr().addr());
    let after = &text[at + value.len()..];
    let looks_secret = match looks {
        Looks::Mixed => is_mixed(value) && value.len() >= 4,
        Looks::Key => is_mixed(value) && value.len() >= 8,
        Looks::LastOrMixed => value.len() >= 3 && (is_mixed(value) || (!is_plea(value) && (quoted.is_some() || ends_clause(after)))),
        Looks::NoPlea => !is_plea(value),
        Looks::Code => (3..=8).contains(&digits_of(value)) && !after.starts_with(|c: char| c.is_alphanumeric()),
        Looks::Cvv => (3..=4).contains(&value.len()) && !is_year(value) && !after.starts_with(|c: char| c.is_alphanumeric()),
        Looks::SixDigits => is_code(value, after, 4),
        Looks::LongCode => is_code(value, after, 5),
        Looks::LettersAndDigits => value.len() >= 6 && digits_of(value) > 0 && value.contains(char::is_alphabetic),
        Looks::LongKey => value.len() >= 16 && digits_of(value) > 0 && value.contains(char::is_alphabetic),
        Looks::Ssn => digits_of(value) == 9 && is_ssn(value),
        Looks::Id => digits_of(value) >= 5,
        Looks::BeforeHost => !value.is_empty() && after.starts_with('@'),
    };
    looks_secret.then_some(Span { start: at, end: at + value.len() })
}

/// What stands between quotation marks on one line, if the text starts with one.
fn in_quotes(text: &str) -> Option<&str> {
    let mut chars = text.chars();
    let close = match chars.next()? {
        '"' => '"',
        '\'' => '\'',
        '`' => '`',
        '“' | '„' => '”',
        '‘' => '’',
        '«' => '»',
        _ => return None,
    };
    let inner = chars.as_str();
    let line = head_while(inner, |c| c != '\n');
    line.find(close).map(|end| &line[..end]).filter(|inner| !inner.trim().is_empty())
}

/// A value without the quotes and the punctuation of the sentence around it.
fn unquoted(value: &str) -> &str {
    let is_quote = |c: char| "\"'`“”„‘’<>()[]".contains(c);
    let value = value.trim_start_matches(is_quote).trim_end_matches(|c: char| is_quote(c) || ".,;:?".contains(c));
    // "!" may belong to a password, and ends the sentence only where the value is plain letters.
    let bare = value.trim_end_matches('!');
    if bare.bytes().all(|byte| byte.is_ascii_lowercase()) { bare } else { value }
}

/// The words at the start that have a digit each: "QQ 12 34 56 C", not the words that follow.
fn words_with_digits(text: &str) -> &str {
    let mut end = 0;
    for word in text.split_inclusive([' ', '-']).take(8) {
        let bare = head_while(word, |c| c.is_ascii_alphanumeric());
        if digits_of(bare) == 0 {
            break;
        }
        end += bare.len();
        if bare.len() + 1 != word.len() {
            break;
        }
        end += 1;
    }
    text[..end].trim_end_matches([' ', '-'])
}

fn is_plea(value: &str) -> bool {
    let word = value.trim_matches(|c: char| c.is_ascii_punctuation()).to_lowercase().replace('’', "'");
    word.is_empty() || PLEAS.split_whitespace().any(|plea| plea == word)
}

/// A digit, a symbol or a capital inside: few plain words look so.
fn is_mixed(value: &str) -> bool {
    let word = value.trim_end_matches('!');
    let inner = word.get(1..).unwrap_or("");
    let has_symbol = inner.contains(|c: char| c.is_ascii_punctuation() && !"'-/.,".contains(c));
    let has_capital = inner.contains(|c: char| c.is_ascii_uppercase()) && inner.contains(|c: char| c.is_ascii_lowercase());
    word.chars().any(char::is_alphanumeric) && (digits_of(word) > 0 || has_symbol || has_capital)
}

/// "482913" or "482-913"; not a part of something longer, and no amount.
fn is_code(value: &str, after: &str, digits_min: usize) -> bool {
    let in_groups = value.len() == 7 && digits_of(value) == 6 && !value.as_bytes()[3].is_ascii_digit();
    let in_one = (digits_min..=8).contains(&value.len()) && digits_of(value) == value.len();
    (in_groups || in_one) && !after.starts_with(|c: char| c.is_alphanumeric() || "%€$£".contains(c))
}

fn is_year(value: &str) -> bool {
    value.len() == 4 && (value.starts_with("19") || value.starts_with("20"))
}

/// "2024-11-22", "22.11.2024".
fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split(['-', '.', '/', ' ']).collect();
    parts.len() == 3 && parts[1].len() <= 2 && (is_year(parts[0]) && parts[2].len() <= 2 || is_year(parts[2]) && parts[0].len() <= 2)
}

fn ends_clause(after: &str) -> bool {
    let after = after.trim_start_matches(' ');
    let is_end = |c: char| ".,;!?)\n\r\"'".contains(c);
    after.is_empty() || after.starts_with(is_end) || ["and ", "but ", "if ", "can ", "please "].iter().any(|word| after.starts_with(word))
}

fn digits_of(text: &str) -> usize {
    text.bytes().filter(u8::is_ascii_digit).count()
}

/// Longest gap between two groups of one number, in characters.
const SEPARATOR_CHARS_MAX: usize = 2;

/// The runs of digit groups that one number could spread over: "4111 1111-1111 1111".
fn digit_runs(text: &str) -> Vec<Vec<Span>> {
    let mut runs: Vec<Vec<Span>> = Vec::new();
    let mut start = 0;
    while let Some(at) = text[start..].find(|c: char| c.is_ascii_digit()).map(|at| start + at) {
        let end = at + head_while(&text[at..], |c| c.is_ascii_digit()).len();
        let touches_word = text[..at].ends_with(char::is_alphabetic) || text[end..].starts_with(char::is_alphabetic);
        match runs.last_mut().filter(|run| run.last().is_some_and(|last| is_separator(&text[last.end..at]))) {
            _ if touches_word => {}
            Some(run) => run.push(Span { start: at, end }),
            None => runs.push(vec![Span { start: at, end }]),
        }
        start = end;
    }
    runs
}

fn is_separator(gap: &str) -> bool {
    // Hyphens and spaces as phones and word processors set them too.
    gap.len() <= 4 * SEPARATOR_CHARS_MAX
        && gap.chars().count() <= SEPARATOR_CHARS_MAX
        && gap.chars().all(|c| " -.\u{a0}\u{202f}\u{2010}\u{2011}\u{2013}".contains(c))
}

/// Digits of a payment card: ISO/IEC 7812 allows 19, and below 13 chance finds more than the few old Maestro cards.
const CARD_DIGITS: RangeInclusive<usize> = 13..=19;

/// How many of the first groups form a card number; 0 if none do.
fn card_groups(text: &str, groups: &[Span], named_otherwise: impl Fn() -> bool) -> usize {
    let mut digits = String::with_capacity(*CARD_DIGITS.end());
    let mut best = 0;
    for (index, group) in groups.iter().enumerate() {
        if digits.len() + (group.end - group.start) > *CARD_DIGITS.end() {
            break;
        }
        digits.push_str(&text[group.start..group.end]);
        if !CARD_DIGITS.contains(&digits.len()) || !luhn(&digits) {
            continue;
        }
        if is_brand(&digits) {
            return index + 1;
        }
        // Outside the shapes of the known brands one number in ten passes by chance, so a word such as "order" is believed.
        if digits.starts_with(['2', '3', '4', '5', '6']) && !named_otherwise() {
            best = index + 1;
        }
    }
    best
}

fn luhn(digits: &str) -> bool {
    let doubled = |digit: u32| if digit > 4 { digit * 2 - 9 } else { digit * 2 };
    let digits = digits.bytes().rev().map(|byte| u32::from(byte - b'0'));
    let sum: u32 = digits.enumerate().map(|(place, digit)| if place % 2 == 1 { doubled(digit) } else { digit }).sum();
    sum.is_multiple_of(10)
}

/// The lengths and first digits of today's Visa, Mastercard, American Express, Discover, Diners, JCB and UnionPay.
fn is_brand(digits: &str) -> bool {
    let prefix = |len: usize| digits[..len].bytes().fold(0, |number, byte| number * 10 + u32::from(byte - b'0'));
    match digits.len() {
        14 => matches!(prefix(3), 300..=305) || matches!(prefix(2), 36 | 38),
        15 => matches!(prefix(2), 34 | 37),
        16 => {
            prefix(1) == 4 || matches!(prefix(2), 51..=55 | 62 | 65) || matches!(prefix(4), 2221..=2720 | 3528..=3589 | 6011 | 6440..=6499)
        }
        19 => prefix(1) == 4 || prefix(2) == 62,
        _ => false,
    }
}

/// Account numbers have more digits than that; words that pass the check by chance, one text in a hundred, have fewer.
const IBAN_DIGITS_MIN: usize = 7;

/// The end of the IBAN that starts here: its country says how long it is, so what follows it cannot be mistaken for a part.
fn iban_end(text: &str, start: usize) -> Option<usize> {
    let country = text[start..start + 2].to_ascii_uppercase();
    let length: usize = IBAN_LENGTHS.split_whitespace().find_map(|entry| entry.strip_prefix(country.as_str()))?.parse().ok()?;
    let mut characters = Vec::with_capacity(length);
    let mut gap = 0;
    for (at, c) in text[start..].char_indices() {
        match c {
            _ if c.is_ascii_alphanumeric() => (characters.push(c.to_ascii_uppercase()), gap = 0).1,
            ' ' | '-' | '\u{a0}' if gap < SEPARATOR_CHARS_MAX => gap += 1,
            _ => return None,
        }
        if characters.len() == length {
            let end = start + at + c.len_utf8();
            let is_alone = !text[end..].starts_with(|c: char| c.is_ascii_alphanumeric());
            let has_digits = characters.iter().filter(|c| c.is_ascii_digit()).count() >= IBAN_DIGITS_MIN;
            return (is_alone && has_digits && mod_97(&characters) == 1).then_some(end);
        }
    }
    None
}

fn mod_97(iban: &[char]) -> u32 {
    let (head, tail) = iban.split_at(4);
    tail.iter().chain(head).filter_map(|c| c.to_digit(36)).fold(0, |rest, value| (rest * if value > 9 { 100 } else { 10 } + value) % 97)
}

/// Ranges that the Social Security Administration issues, and those of the IRS for taxpayers without one (9xx).
fn is_ssn(id: &str) -> bool {
    let digits: String = id.chars().filter(char::is_ascii_digit).collect();
    let (Some(area), Some(group), Some(serial)) = (digits.get(..3), digits.get(3..5), digits.get(5..9)) else {
        return false;
    };
    let is_taxpayer = area.starts_with('9') && matches!(group.parse(), Ok(50_u8..=65 | 70..=88 | 90..=92 | 94..=99));
    let is_filler = digits.bytes().all(|digit| Some(digit) == digits.bytes().next());
    !is_filler && area != "000" && area != "666" && group != "00" && serial != "0000" && (!area.starts_with('9') || is_taxpayer)
}

/// Prefixes that HM Revenue & Customs issues (NIM39110).
fn is_nino(id: &str) -> bool {
    let prefix = id[..2].to_ascii_uppercase();
    let is_unused = ["BG", "GB", "NK", "KN", "TN", "NT", "ZZ"].contains(&prefix.as_str());
    !is_unused && !prefix.contains(['D', 'F', 'I', 'Q', 'U', 'V']) && !prefix.ends_with('O')
}

/// The check letter of a Spanish DNI or NIE.
fn is_dni(id: &str) -> bool {
    const LETTERS: &[u8; 23] = b"TRWAGMYFPDXBNJZSQVHLCKE";
    let id: String = id.chars().filter(|c| *c != '-').map(|c| c.to_ascii_uppercase()).collect();
    let Some((number, letter)) = id.split_at_checked(8) else {
        return false;
    };
    let number = number.replace('X', "0").replace('Y', "1").replace('Z', "2");
    number.parse::<usize>().is_ok_and(|number| letter.as_bytes() == [LETTERS[number % 23]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use PersonalData::{CardNumber, Email, Iban, NationalId, Password, Phone, Token};

    /// Every finding expected in a text, with what it covers. Keys are made up; cards and IBANs are the issuers' public test numbers.
    const CASES: &[(&str, &[(PersonalData, &str)])] = &[
        ("", &[]),
        ("my card is 4111 1111 1111 1111", &[(CardNumber, "4111 1111 1111 1111")]),
        ("4111111111111111", &[(CardNumber, "4111111111111111")]),
        ("4111-1111-1111-1111 exp 12/26", &[(CardNumber, "4111-1111-1111-1111")]),
        ("4111 1111 1111 1111 12 26 cvv 123", &[(CardNumber, "4111 1111 1111 1111"), (Password, "123")]),
        ("5555555555554444", &[(CardNumber, "5555555555554444")]),
        ("amex 3782 822463 10005.", &[(CardNumber, "3782 822463 10005")]),
        ("30569309025904", &[(CardNumber, "30569309025904")]),
        ("4111\u{a0}1111\u{a0}1111\u{a0}1111", &[(CardNumber, "4111\u{a0}1111\u{a0}1111\u{a0}1111")]),
        ("4111 1111 1111 1112", &[]),
        ("order 113542617735902", &[]),
        ("tracking 1234567890123456", &[]),
        ("imei 356938035643809", &[]),
        ("0000 0000 0000 0000", &[]),
        ("IBAN GB82 WEST 1234 5698 7654 32 please", &[(Iban, "GB82 WEST 1234 5698 7654 32")]),
        ("DE89370400440532013000", &[(Iban, "DE89370400440532013000")]),
        ("de89 3704 0044 0532 0130 00", &[(Iban, "de89 3704 0044 0532 0130 00")]),
        ("NL91ABNA0417164300.", &[(Iban, "NL91ABNA0417164300")]),
        ("FR14 2004 1010 0505 0001 3M02 606", &[(Iban, "FR14 2004 1010 0505 0001 3M02 606")]),
        ("GB82 WEST 1234 5698 7654 33", &[]),
        ("stuck at 159 images uploading and", &[]),
        ("mail me at jane.doe+x@mail.example.com.", &[(Email, "jane.doe+x@mail.example.com")]),
        ("<bob@example.org>", &[(Email, "bob@example.org")]),
        ("müller@bücher.de", &[(Email, "müller@bücher.de")]),
        ("john at gmail dot com", &[(Email, "john at gmail dot com")]),
        ("john [at] example (dot) org", &[(Email, "john [at] example (dot) org")]),
        ("@AmazonHelp hello", &[]),
        ("foo@bar", &[]),
        ("5 pieces @ 3.50 each", &[]),
        ("@@@@.com", &[]),
        ("call me at 555-123-4567", &[(Phone, "555-123-4567")]),
        ("(212) 555-0199", &[(Phone, "(212) 555-0199")]),
        ("212.555.0199", &[(Phone, "212.555.0199")]),
        ("1-800-555-0199 now", &[(Phone, "1-800-555-0199")]),
        ("+44 20 7946 0958", &[(Phone, "+44 20 7946 0958")]),
        ("+4915123456789", &[(Phone, "+4915123456789")]),
        ("+1 (212) 555-0199, thanks", &[(Phone, "+1 (212) 555-0199")]),
        ("0044 20 7946 0958", &[(Phone, "0044 20 7946 0958")]),
        ("020 7946 0958", &[(Phone, "020 7946 0958")]),
        ("07700 900123", &[(Phone, "07700 900123")]),
        ("07911123456", &[(Phone, "07911123456")]),
        ("0151/23456789", &[(Phone, "0151/23456789")]),
        ("06 12 34 56 78", &[(Phone, "06 12 34 56 78")]),
        ("my number is 5551234567", &[(Phone, "5551234567")]),
        ("phone: 4558129", &[(Phone, "4558129")]),
        ("text 98765 43210", &[(Phone, "98765 43210")]),
        ("order 4558129", &[]),
        ("order number 5551234567", &[]),
        ("my policy number is 5148054475", &[]),
        ("order 00123842", &[]),
        ("2024-11-22", &[]),
        ("22/11/2024", &[]),
        ("on 22.11.2024 10:30", &[]),
        ("01-02-2024", &[]),
        ("in 1999 and 2024", &[]),
        ("$1,234,567", &[]),
        ("€ 4558129", &[]),
        ("I paid 12345678", &[]),
        ("invoice 455-812-9111", &[]),
        ("I called you 3 times", &[]),
        ("192.168.100.100", &[]),
        ("call me in 10 minutes", &[]),
        ("ssn 123-45-6789", &[(NationalId, "123-45-6789")]),
        ("123-45-6789", &[(NationalId, "123-45-6789")]),
        ("my social is 123456789", &[(NationalId, "123456789")]),
        ("social security number: 123 45 6789", &[(NationalId, "123 45 6789")]),
        ("000-45-6789", &[]),
        ("666-45-6789", &[]),
        ("123-00-6789", &[]),
        ("123-45-0000", &[]),
        ("901-23-4567", &[]),
        ("AB 12 34 56 C", &[(NationalId, "AB 12 34 56 C")]),
        ("nino AB123456C", &[(NationalId, "AB123456C")]),
        ("GB 12 34 56 C", &[]),
        ("DNI 12345678Z", &[(NationalId, "12345678Z")]),
        ("12345678A", &[]),
        ("passport number X1234567 and", &[(NationalId, "X1234567")]),
        ("my password is hunter2", &[(Password, "hunter2")]),
        ("my password is hunter", &[(Password, "hunter")]),
        ("my password is \"correct horse\" ok", &[(Password, "correct horse")]),
        ("pw: abc123", &[(Password, "abc123")]),
        ("Password: letmein", &[(Password, "letmein")]),
        ("password=S3cret!", &[(Password, "S3cret!")]),
        ("user bob password Tr0ub4dor&3", &[(Password, "Tr0ub4dor&3")]),
        ("PIN is 4821", &[(Password, "4821")]),
        ("my pin: 4821.", &[(Password, "4821")]),
        ("passcode 9931", &[(Password, "9931")]),
        ("the verification code is 482910", &[(Password, "482910")]),
        ("cvv 123", &[(Password, "123")]),
        ("the password for my account is Summer2024.", &[(Password, "Summer2024")]),
        ("I changed my password to xk9-ff", &[(Password, "xk9-ff")]),
        ("ftp://bob:hunter2@example.com/x", &[(Password, "hunter2@example.com")]),
        ("postgres://app:s3cret@db:5432/x", &[(Password, "s3cret")]),
        ("I forgot my password", &[]),
        ("password reset", &[]),
        ("password reset link 2", &[]),
        ("my password is not working", &[]),
        ("password is wrong", &[]),
        ("my password is incorrect!", &[]),
        ("password: forgotten", &[]),
        ("the password should be 8 characters", &[]),
        ("where is my pin", &[]),
        ("I tried my PIN 3 times", &[]),
        ("pin 4 me please", &[]),
        ("AKIAIOSFODNN7EXAMPLE", &[(Token, "AKIAIOSFODNN7EXAMPLE")]),
        ("Authorization: Bearer abcdef1234567890XYZ", &[(Token, "abcdef1234567890XYZ")]),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc-DEF_123", &[(Token, "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc-DEF_123")]),
        ("use sk_live_0123456789abcdefABCD", &[(Token, "sk_live_0123456789abcdefABCD")]),
        ("sk-abcdefghijklmnop1234", &[(Token, "sk-abcdefghijklmnop1234")]),
        ("ghp_0123456789abcdefghijABCDEFGHIJ012345", &[(Token, "ghp_0123456789abcdefghijABCDEFGHIJ012345")]),
        ("xoxb-123456789012-abcdef", &[(Token, "xoxb-123456789012-abcdef")]),
        ("api key: 9f8e7d6c5b4a", &[(Token, "9f8e7d6c5b4a")]),
        ("my api_key=\"abcd-1234-efgh\"", &[(Token, "abcd-1234-efgh")]),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nbye",
            &[(Token, "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----")],
        ),
        ("x -----BEGIN PRIVATE KEY-----\nMIIE cut", &[(Token, "-----BEGIN PRIVATE KEY-----\nMIIE cut")]),
        ("-----BEGIN CERTIFICATE-----", &[]),
        ("where is my api key", &[]),
        ("api key is invalid", &[]),
        ("the bearer of this letter", &[]),
        ("my password is 4111111111111111", &[(CardNumber, "4111111111111111")]),
        (
            "bob@example.com, 555-123-4567, 4111111111111111",
            &[(Email, "bob@example.com"), (Phone, "555-123-4567"), (CardNumber, "4111111111111111")],
        ),
        ("password: bob@example.com", &[(Password, "bob@example.com")]),
    ];

    #[test]
    fn personal_data() {
        let rules = Rules::new();
        let mut wrong = Vec::new();
        for (text, expected) in CASES {
            let found = rules.find(text);
            let found: Vec<_> = found.iter().map(|finding| (finding.kind, &text[finding.span.start..finding.span.end])).collect();
            let expected: Vec<_> = expected.iter().map(|(kind, part)| (LexicalKind::PersonalData(*kind), *part)).collect();
            if found != expected {
                wrong.push(format!("{text:?}: expected {expected:?}, found {found:?}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
