//! Words that change how a message must be handled: negation, legal action, privacy demands, security.
//!
//! In: a text. Out: findings of [`LexicalKind::Negation`], [`LexicalKind::Legal`], [`LexicalKind::Privacy`] and [`LexicalKind::Security`],
//! without overlaps within a kind.
//!
//! A row of `finds` is a finding unless a row of `not` overlaps it.

use super::pattern::{Cased, Fragment, Matcher, Row, without};
use crate::signal::{Finding, LexicalKind, Span};

struct Topic {
    kind: LexicalKind,
    finds: &'static [Row],
    /// Senses that look like a finding and are none.
    not: &'static [Row],
}

const FRAGMENTS: &[Fragment] = &[
    ("my", "my|our|mine|his|her|their|me|us"),
    ("personal", "personal|private|user|customer|account|stored|saved|sensitive|identifiable|own|entire|whole|complete|identifying"),
    ("data", "data|datas|information|info|personal details|personal records|details|records?|pii"),
    ("don't", "don't|do not|dont|didn't|did not|didnt|never|haven't|have not|wasn't|was not|not|havent|doesn't|does not"),
    (
        "someone",
        "some ?one|some ?body|(?:a |an |some )?(?:stranger|thief|thieves|hackers?|scammers?|criminals?|unknown (?:person|people|party|device))|another person|(?:my |the )?(?:ex|ex-?(?:wife|husband|boyfriend|girlfriend|partner))|other people|people|they|he|she|who|others",
    ),
    (
        "payment",
        "payments?|transactions?|purchases?|charges?|withdrawals?|transfers?|log-?ins?|sign-?ins?|direct debits?|debits?|top-?ups?|activity|deposits?|device|subscription|changes?|entry",
    ),
];

const TOPICS: &[Topic] = &[
    Topic {
        kind: LexicalKind::Negation,
        finds: &[
            ("not", "not|no|nope|nah|never|cannot|cant|without|nobody|nothing|none|nowhere|neither|nor|no ?one|ain't|unable"),
            (
                "n't",
                "(?:ca|do|does|did|wo|would|could|should|is|are|was|were|have|has|had|might|must|need|ought|sha|ai|are)n(?:'|’|‘|´|`)?t",
            ),
        ],
        not: &[
            (
                "number",
                "no[.]? ?\\d+|(?:order|ref|reference|invoice|account|phone|tracking|serial|ticket|passport|mobile|contact|booking) no[.]?(?: is)?",
            ),
            ("no problem", "no (?:problem|worries|prob)"),
        ],
    },
    Topic {
        kind: LexicalKind::Legal,
        finds: &[
            (
                "lawyer",
                "lawyers?|attorneys?|solicitors?|barristers?|law ?firm|legal (?:action|advice|counsel|team|department|dept|representation|representatives?|proceedings?|case|claim|matter|complaint|steps?|recourse|rights|notice|threat|dispute|demand|measures|routes?|means|obligations?|consequences|remed(?:y|ies)|aid|adviser|advisor|suit)|legally (?:liable|responsible|obliged|obligated|required|bound|binding)",
            ),
            (
                "illegal",
                "(?:this|that|it|which|what you)(?:'s| is| are doing is| did is) (?:totally |completely |absolutely |probably |surely |just |clearly )?(?:illegal|unlawful|against the law)|break(?:ing)? the law|broke the law|against the law|violat(?:es?|ing|ion of) (?:the |consumer )?(?:law|rights)",
            ),
            (
                "lawsuit",
                "law ?suits?|litigat(?:e|ion|ing)|class[ -]actions?|arbitration|arbitrator|tribunal|subpoena|injunction|cease and desist|(?:press|pressing|file|filing) charges|prosecut(?:e|ed|ing|ion)|damages claim|sue for damages|liable for (?:the |all |any )?(?:damages?|loss(?:es)?)",
            ),
            (
                "sue",
                "(?:will|i'll|we'll|gonna|going to|want to|ready to|prepared to|have to|forced to|need to|plan(?:ning)? to|intend to|about to|threaten(?:ing)? to|right to|able to|like to|be|am|i'm|we're|are|consider(?:ing)?|thinking (?:of|about)) (?:(?-i:sue|SUE)|suing)|(?-i:sue|SUE) (?:you|u|ya|your|ur|them|this company|the (?:company|seller|store|bank|shop)|over|for|him)|suing (?:you|u|your|them|over|for|(?:the|this) (?:company|bank|seller|shop|store))|be sued|get sued|you sued|sued (?:you|for|over)|see you sued",
            ),
            (
                "court",
                "(?:to|in|at|through|before|via|by) (?:the )?(?:small claims |civil |county |federal |district |high |supreme )?courts?|small claims?|court (?:order|case|action|date|hearing|proceedings|summons|claim|papers|of law)|(?:county|supreme|federal|civil|district|high|european) court|law court|take (?:you|them|this|it) (?:all )?to court|courtroom|go to the courts",
            ),
            (
                "authority",
                "ombuds(?:man|men|woman|person|people)|regulators?|regulatory (?:body|authority|complaint|agency)|supervisory authority|ftc|cfpb|fca|bbb|bafin|fcc|finra|accc|afca|ofcom|ofgem|trai|rbi|cftc|sec complaint|asic|better business bureau|trading standards|attorney general(?:'s)?(?: office)?|citizens advice|federal trade commission|financial conduct authority|consumer financial protection bureau|competition authority|department of (?:justice|transportation|insurance|consumer affairs)|verbraucherzentrale|the ico|information commissioner(?:'s)?(?: office)?|state attorney|bar association|the authorities",
            ),
            (
                "consumer law",
                "consumer(?:s|'s)? (?:protection|rights?|affairs|forum|court|commission|law|act|advice|ombudsman|council|agency|watchdog|association|complaints? (?:board|commission|authority))|statutory rights?|sale of goods act|section 75",
            ),
            (
                "contract",
                "(?:terminat(?:e|es|ed|ing|ion)|rescind(?:ing)?|breach(?:es|ed|ing)?|void(?:ing)?|violat(?:e|es|ed|ing|ion)|withdraw(?:al|ing)? from)(?: of)?(?: (?:our|my|the|this|your|a|that|both))?(?: [a-z]+)? (?:contracts?|agreements?|terms of service|terms and conditions)|contract (?:termination|breach|violation)|in breach of|breach of (?:warranty|duty|trust|terms)",
            ),
        ],
        not: &[
            (
                "my own trade",
                "(?:i am|i'm|im|i am also|as|i was|my job as) an? (?:[a-z]+ )?(?:lawyer|attorney|solicitor|barrister|prosecutor)|(?:i|we) (?:work|worked|am|are) (?:at|for|in|as|with)? ?an? (?:[a-z]+ )?(?:law ?firm|lawyer|attorney|legal (?:team|department))",
            ),
            (
                "our own law firm",
                "(?:for|my|our) (?:own |small |new )*law ?firm(?:'s)? (?:website|logo|business cards?|cards?|letterhead|office|account|sign|brand|stationery)|(?:lawyer|attorney|judge) (?:costume|joke|mug|shirt|gift|movie|show)|attorneys? at law",
            ),
            ("power of attorney", "powers? of attorney|legal representative's name"),
            (
                "sport",
                "(?:tennis|food|basketball|squash|badminton|volleyball|pickleball|paddle|padel|clay|hard|grass|indoor|outdoor|sports?|ball|racquet|netball|futsal|center|centre)[ -]courts?|(?:in|at|to|by) (?:the )?courts? (?:\\d|[a-e]\\b|shoes?|heels?|side|sneakers?|surface|bookings?|reservations?|size|time|hire|floor|yard|street|road|rd|st|ave|avenue|lane|hotel|apartments?|place|drive|square)|on the court",
            ),
            ("address", "\\d+[a-z]? [a-z]+ court|courtyard"),
            (
                "Sue, a name",
                "(?-i:Sue) (?:from|at|in|said|told|was|is|has|had|who|helped|called|and|promised|please|[a-z]+ed)\\b|(?-i:name is Sue|named Sue|called Sue|Hi Sue|Hello Sue|Dear Sue|Thanks Sue|with Sue|to Sue)",
            ),
            (
                "voltage regulator",
                "(?:voltage|gas|pressure|oxygen|window|temperature|water|propane|power|current|fuel|speed|diving|scuba) regulators?|regulators? (?:valve|knob|hose)",
            ),
            ("paper", "legal (?:sized?|paper|name|pad|age|guardian)"),
            ("reading terms", "violates? (?:my|our) (?:privacy|rights)"),
        ],
    },
    Topic {
        kind: LexicalKind::Privacy,
        finds: &[
            (
                "law",
                "gdpr|ccpa|cpra|dsgvo|lgpd|pipeda|hipaa|data protection|data privacy|privacy (?:act|laws?|rights?|regulations?|violations?|breach(?:es)?|complaint|officer|request|invasion|infringement)|dpo|dsar|data subject|subject access(?: request)?|sar request|right to (?:be forgotten|erasure|access|portability|object)|right of (?:access|erasure)|article 1[5-7]|article 2[0-2]|rgpd",
            ),
            (
                "delete my data",
                "(?:delet(?:e|es|ed|ing|ion)|eras(?:e|es|ed|ing|ure)|remov(?:e|ed|ing|al)|wip(?:e|ed|ing)|destroy(?:ed|ing)?|purg(?:e|ed|ing)|forget|scrub|clear|get rid)(?: of)?(?: (?:all|any|every(?:thing)?|the|copies|copy|of|bits?|pieces?|trace|traces|and))*(?: (?:my|our))(?: (?:account|profile|e-?mail|name|number|address))?(?: (?:and|or|with|,))*(?: (?:all|of|my|our|the|associated|related))*(?: (?:<personal>))* (?:data|personal (?:data|information|info|details|records)|information|info|pii|data records|stored details)",
            ),
            (
                "delete everything about me",
                "(?:delet(?:e|ed|ing)|eras(?:e|ed|ing)|remov(?:e|ed|ing)|wip(?:e|ed|ing)|forget) (?:all |of |the |any |every |everything |anything |that |which |data |info |information |personal |details |records |you )+(?:you )?(?:have |hold |store |stored |saved |kept |know |got |collected |collect |keep )+(?:about|on|of|from|regarding) me|(?:delet(?:e|ed|ing)|eras(?:e|ed|ing)|remov(?:e|ed|ing)) (?:all |the )*personal (?:data|information|info)|(?:forget|remove|delete|erase) (?:about )?me from your (?:system|database|records|files|list|mailing list|servers?)s?",
            ),
            (
                "what do you know about me",
                "(?:what|which|all|any|the|see|know|list)(?: of)?(?: the)?(?: kind of| type of| sort of)? ?(?:<personal> )*(?:<data> )?(?:do |does |did |have |has |that |is |are |about |on )*(?:you|your company|it|the company|they|being)(?: guys)? (?:have |hold |store |stored |keep |kept |collect |collected |know |got |gather |actually |still )+(?:on|about|from|of|regarding) (?:me|us|my)|(?:data|info|information) (?:you )?(?:is |are |being |have )?(?:held|hold|have|stored|store|kept|keep|collected|collect) (?:on|about) me",
            ),
            (
                "a copy of my data",
                "(?:cop(?:y|ies)|export|download|access|request|send me|provide|see|view|obtain|disclosure)(?: me)?(?: of| to| all| the| an?)*(?: my| me)(?: (?:<personal>))* (?:data|personal (?:data|information|info|details)|information you (?:have|hold|store))",
            ),
            (
                "selling my data",
                "(?:sell|selling|sold|share|sharing|shared|leak|leaked|leaking|misus(?:e|ed|ing)|process|processing|storing|collecting|harvest(?:ing|ed)?|disclos(?:e|ed|ing)|expos(?:e|ed|ing)|hand(?:ed|ing) over|track(?:ing)?)(?: out| on| away)? (?:all )?(?:my|our|users'?|customers?'?|people's)(?: (?:<personal>|contact|email|phone|health|medical|financial))* (?:data|information|info|details|address|number)(?: (?:to|with|without)\\b)?",
            ),
            (
                "consent",
                "(?:withdraw|withdrew|revoke|withdrawing|revoking|never gave|didn't give|did not give|without) (?:you )?(?:my |any |our )?consent|how (?:do|does|will|are) you (?:use|using|handle|process|store|storing|protect)(?:ing)? my (?:<personal> )*(?:data|info|information)|(?:share|sell|sharing|selling|give|giving|pass|passing) (?:any |my |our |user |customer |personal )*(?:data|info|information)(?: on)? (?:with|to) (?:third|3rd|other)[ -](?:party|parties|companies)|opt(?:ing)?[ -]?out of (?:all |any |your )?(?:data|tracking|profiling|the sale|sale)|do not sell my|stop (?:tracking|profiling|spying on|monitoring) me|object to (?:the )?processing",
            ),
            (
                "breach",
                "data (?:breach(?:es)?|leaks?|theft)|breach(?:es)? of (?:my |our |your |customer |personal )*(?:data|privacy|confidentiality)|(?:invasion|violation|infringement|invading|violating|violates?|violated|invaded|invades?|respect(?:ing)?)(?: of)? (?:my|our|customer|users'?) privacy|(?:concerned|worried) about (?:my )?(?:data )?privacy",
            ),
        ],
        not: &[
            (
                "telecoms",
                "(?:mobile|cellular|roaming|unlimited|5g|4g|internet|phone|prepaid|data) data(?: plan)?|data (?:plan|allowance|bundle|usage|roaming|cap|limit|package|saver|sim|speed|cable|line)s?|use(?:d)? (?:up )?(?:all )?my data(?: (?:to|with))?|using (?:all |up )*my data(?: (?:to|with))?",
            ),
            (
                "on the product",
                "(?:remove|delete|clear) (?:my|our) (?:card|payment|shipping|billing|delivery|bank) (?:info|information|details)|(?:use|using|used|give|giving|gave|share|pass|process|see|view|access) my (?:account |e-?mail |phone )?(?:address|number|account information|account info|account details|account data)|(?:process|processing) my (?:order|refund|return|payment)",
            ),
        ],
    },
    Topic {
        kind: LexicalKind::Security,
        finds: &[
            (
                "hacked",
                "hack(?:ed|ers?)|hacking|hackd|hack (?:into|my|our)|hack on my|a hack\\b|pwned|security (?:breach|incident)|breached|break[ -]?in|broke(?:n)? into|account take ?over",
            ),
            (
                "stolen",
                "stol(?:en|e)|stolle?n|thefts?|thief|thieves|robbed|robbery|burglar[a-z]*|mugged|pick ?pocket(?:ed)?|(?:steal|steals|stealing) (?:my|our|from (?:me|us|my)|money|people's|identit(?:y|ies)|cards?|data|your|customers'?)|trying to steal|identity thef[a-z]*",
            ),
            (
                "fraud",
                "fraud|frauds|fraudulent(?:ly)?|fraudsters?|defraud(?:ed|ing)?|scam(?:s|med|mers?|ming)?|phish(?:ing|ed|y|ers?)?|smishing|vishing|spoof(?:ed|ing)|swindl(?:e|ed|ers?)|con artists?|ripped off by|fake (?:website|site|email|invoice|message|text|call)|impersonat(?:e|ed|es|ing|ors?|ion)|counterfeit (?:card|cheque|check)|money launder(?:ing|ed)|extort(?:ion|ed|ing)|blackmail(?:ed|ing)?|ransom(?:ware)?|malware|keylogger|spyware|trojan",
            ),
            (
                "unauthorised",
                "un-?authori[sz]ed|not authori[sz]ed by me|wasn't authori[sz]ed|never authori[sz]ed|<don't> authori[sz]e|without (?:my |any |our )?(?:permission|authori[sz]ation|knowledge|approval)|money (?:is |was |has been |got |has |have been |being )*(?:taken|missing|gone|disappeared|withdrawn) (?:from|out of) my (?:bank )?(?:account|card|balance)|unrecogni[sz](?:ed|able) (?:[a-z]+ )?<payment>|unknown (?:[a-z]+ )?<payment>|(?:suspicious|strange|weird|unfamiliar|unexplained|mysterious) (?:[a-z]+ )?(?:transactions?|log-?ins?|activity|activities|emails?|e-mails?|links?|texts?|messages?|sms|charges?|payments?|withdrawals?|devices?|calls?)",
            ),
            (
                "not recognised",
                "(?:<don't>|can't|cannot|cant) (?:even |actually )?recogni[sz]e (?:this |a |the |some |that |these |those |any |one |of |it|an )*(?:[a-z]+ )?(?:<payment>|it\\b|name|merchant|device)|<payment> (?:that |which )?(?:i|we) (?:<don't>|can't|cannot|cant) (?:even )?recogni[sz]e",
            ),
            (
                "I did not make it",
                "(?:i|we|me) (?:<don't>) (?:actually |even |ever )*(?:ma[dk]e|authori[sz]ed?|approved?|plac(?:e|ed)|do|did|done|initiated?|carr(?:y|ied) out|perform(?:ed)?|sign(?:ed)? up for) (?:this |that |these |the |any |a |an |such |those |some |of |either )*(?:[a-z]+ )?{0,2}(?:<payment>|orders?)|<payment> (?:that |which )?(?:i|we) (?:<don't>) (?:ma[dk]e|authori[sz]e|approve|do|did|place)|(?:wasn't|was not|isn't|is not|not) me who (?:made|did|logged|bought|ordered|spent|withdrew|used|paid)|(?:wasn't|was not) (?:made|done|authori[sz]ed|initiated) by me",
            ),
            (
                "someone else",
                "(?:<someone>)(?: else)?(?:'s| has| have| had| is| are| was| were)? (?:been |just |already |somehow |recently |illegally |apparently )*(?:got into|gotten into|get into|getting into|broke into|broken into|logged (?:in|into|on)|logging (?:in|into)|signed in|hijacked|took over|taken over|accessed|accessing|has access|have access|cloned|copied|used|using|uses|charged|opened|changed|withdrew|withdrawn|drained|emptied|spent|spending|made|making|buying|bought|purchased|trying to (?:log|access|get|hack|use|sign)|tried to (?:log|access|get into|hack|use|sign)|pretending|claiming to be)(?: (?:in|into|on|to|the|a|an|up|with|from|off|at|purchases?|payments?|transactions?|charges|things|stuff|money|withdrawals?|all|access|someone|password))*(?: (?:my|our))? ?(?:<end>|accounts?|cards?|e-?mail|profile|details|identity|phone|wallet|debit|credit|bank|name|password|login|information|info|data|number|device|paypal|user ?name|balance|savings|to be (?:you|your)|in\\b|cash)",
            ),
            (
                "compromised",
                "compromi[sz]ed|comprimised|hijack(?:ed|ing)|skimm(?:ed|ing|er)|sim[ -]?swap(?:ped|ping)?|card (?:has been |was |is |got |being |has |been )*cloned|cloned (?:my )?cards?|identity (?:fraud|stolen)|card (?:is |was |being |has been )*(?:used|misused) (?:without|by (?:someone|somebody|a))",
            ),
            (
                "a code I did not request",
                "(?:codes?|password reset|otp|reset|e-?mails?|links?|texts?|sms|logins?|notifications?) (?:that |which )?(?:i|we) (?:never|didn't|did not|haven't|have not) (?:request|ask|requested|asked|initiate)",
            ),
        ],
        not: &[
            (
                "life hack",
                "(?:life|growth|kitchen|ikea|travel|productivity|quick|neat|little|great|nice|cool|clever|diet|money saving) ?(?:hack(?:s|ers?|ing)?)|hacker news|hackathon|hacking ?cough|ethical hacking (?:course|class|book)",
            ),
            (
                "a bargain",
                "(?:absolute|real|total|such a|is a|was a|a) steal|steal of a deal|stole (?:the show|my heart)|stealing the show",
            ),
            (
                "anti-theft product",
                "anti-?theft|anti-?fraud|(?:theft|fraud|scam|spoof|malware|phishing) (?:protection|insurance|cover|coverage|proof|deterrent|detection|prevention|scoring|api|software|product|module|feature|filter|rules|engine|training|simulation)",
            ),
            (
                "compromised on",
                "compromi[sz]ed (?:on|quality|taste|design|fit|comfort)|(?:quality|fit|comfort|design) (?:is |was |has been )*(?:not |never )?compromi[sz]ed",
            ),
            ("grand theft auto", "grand theft auto|book thief|lightning thief|trojan (?:horse|war|condoms?)"),
            ("tax", "skimm(?:ed|ing) (?:milk|through|the)|skimmed the (?:article|page|text|docs)"),
        ],
    },
];

/// All topics, compiled.
#[derive(Debug)]
pub(super) struct Rules(Vec<(LexicalKind, Matcher, Matcher)>);

impl Rules {
    pub(super) fn new() -> Self {
        let compiled = |topic: &Topic| (topic.kind, Matcher::anywhere(topic.finds, FRAGMENTS), Matcher::anywhere(topic.not, FRAGMENTS));
        Self(TOPICS.iter().map(compiled).collect())
    }

    /// The findings in a text, topic by topic.
    pub(super) fn find(&self, text: &Cased<'_>) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (kind, finds, not) in &self.0 {
            let spans: Vec<Span> = finds.spans(text).collect();
            let spans = without(spans, || not.spans(text).collect());
            findings.extend(spans.into_iter().map(|span| Finding { kind: *kind, span }));
        }
        findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use LexicalKind::{Legal, Negation, Privacy, Security};

    /// What each text must be found to be about; negations count only where the table is about them.
    const CASES: &[(&str, &[LexicalKind])] = &[
        ("my lawyer will contact you", &[Legal]),
        ("You will hear from my attorney", &[Legal]),
        ("I'll sue you", &[Legal]),
        ("I am going to sue", &[Legal]),
        ("im suing your company", &[Legal]),
        ("see you in court", &[Legal]),
        ("I'll take you to small claims", &[Legal]),
        ("we will take legal action", &[Legal]),
        ("I have instructed my solicitor", &[Legal]),
        ("I'll complain to the ombudsman", &[Legal]),
        ("I'm reporting this to the regulator", &[Legal]),
        ("FTC complaint filed", &[Legal]),
        ("i will report you to the cfpb and the BBB", &[Legal]),
        ("I'll go to BaFin", &[Legal]),
        ("the FCA will hear of this", &[Legal]),
        ("contacting consumer protection", &[Legal]),
        ("we hereby terminate our contract", &[Legal]),
        ("this is a breach of contract", &[Legal]),
        ("this is illegal", &[Legal]),
        ("expect a class action", &[Legal]),
        ("I know my statutory rights", &[Legal]),
        ("trading standards would like to know", &[Legal]),
        ("you are legally obliged to refund me", &[Legal]),
        ("I am a lawyer ordering business cards", &[]),
        ("I'm an attorney and need 500 envelopes", &[]),
        ("tennis court shoes", &[]),
        ("is there a food court nearby", &[]),
        ("Sue from support was lovely", &[]),
        ("I spoke to Sue yesterday", &[]),
        ("my name is Sue", &[]),
        ("Will Sue call me tomorrow?", &[]),
        ("terminate the server instance", &[]),
        ("legal size paper", &[]),
        ("court shoes in size 5", &[]),
        ("I need a legal name change on my ticket", &[]),
        ("I opened a chargeback", &[]),
        ("deliver to 12 Maple Court", &[]),
        ("do you accept a power of attorney", &[]),
        ("the voltage regulator is broken", &[]),
        ("cancel my contract", &[]),
        ("what is this issue about", &[]),
        ("I need to pursue a refund", &[]),
        ("GDPR", &[Privacy]),
        ("under CCPA I ask you to stop", &[Privacy]),
        ("delete all my data", &[Privacy]),
        ("please erase my personal information", &[Privacy]),
        ("Delete my account and all my data", &[Privacy]),
        ("I invoke my right to be forgotten", &[Privacy]),
        ("what data do you have on me", &[Privacy]),
        ("What personal information do you store about me?", &[Privacy]),
        ("this is a subject access request", &[Privacy]),
        ("I want a copy of my personal data", &[Privacy]),
        ("are you selling my data?", &[Privacy]),
        ("stop sharing my personal information", &[Privacy]),
        ("I withdraw my consent", &[Privacy]),
        ("you violated my privacy", &[Privacy]),
        ("delete everything you have about me", &[Privacy]),
        ("remove me from your database", &[Privacy]),
        ("was I part of the data breach?", &[Privacy]),
        ("data protection officer please", &[Privacy]),
        ("how do I turn on privacy mode on the camera", &[]),
        ("how do you use my personal data", &[Privacy]),
        ("do you share data with third parties?", &[Privacy]),
        ("which data plan is cheapest", &[]),
        ("mobile data is not working", &[]),
        ("my phone used all my data", &[]),
        ("delete my order", &[]),
        ("delete my account", &[]),
        ("remove my payment details", &[]),
        ("privacy screen for my laptop", &[]),
        ("change my personal details", &[]),
        ("how do I delete my profile picture", &[]),
        ("can I transfer data to a new phone", &[]),
        ("my account was hacked", &[Security]),
        ("someone stole my card", &[Security]),
        ("my phone was stolen", &[Security]),
        ("identity theft", &[Security]),
        ("this is fraud", &[Security]),
        ("I got a phishing email", &[Security]),
        ("I've been scammed", &[Security]),
        ("there is an unauthorised transaction on my account", &[Security]),
        ("unauthorized charge", &[Security]),
        ("someone else logged in", &[Security]),
        ("somebody is using my account", &[Security]),
        ("I did not make this payment", &[Security]),
        ("i didnt authorize that charge", &[Security]),
        ("I don't recognise this transaction", &[Security]),
        ("my password was compromised", &[Security]),
        ("suspicious activity on my card", &[Security]),
        ("I got a code I didn't request", &[Security]),
        ("someone broke into my account", &[Security]),
        ("they are impersonating your company", &[Security]),
        ("my card got cloned", &[Security]),
        ("that purchase wasn't made by me", &[Security]),
        ("money was taken from my account without permission", &[Security]),
        ("my ex logged into my account", &[Security]),
        ("great life hack", &[]),
        ("growth hacking course", &[]),
        ("steal of a deal", &[]),
        ("this price is a steal", &[]),
        ("does the fraud detection api support webhooks", &[]),
        ("anti-theft backpack", &[]),
        ("quality is not compromised", &[]),
        ("theft insurance for my bike", &[]),
        ("I lost my card", &[]),
        ("I did not receive this order", &[]),
        ("someone else lives there now", &[]),
        ("Is Grand Theft Auto in stock", &[]),
        ("the hackathon ticket", &[]),
        ("I will sue you for selling my data, this is fraud", &[Legal, Privacy, Security]),
    ];

    const NEGATED: &[&str] = &[
        "not",
        "No",
        "I never got it",
        "I can't log in",
        "I can’t log in",
        "cannot",
        "it doesnt work",
        "it won't start",
        "without a receipt",
        "nobody answers",
        "nothing happens",
        "no one replied",
        "it isn't mine",
        "neither of them",
        "I couldn`t",
    ];

    const NOT_NEGATED: &[&str] =
        &["", "I want it", "note the order", "knot", "order no. 4711", "No 5 perfume", "no problem", "now", "another", "nonstop"];

    #[test]
    fn topics() {
        let rules = Rules::new();
        let mut wrong = Vec::new();
        for (text, expected) in CASES {
            let found = rules.find(&Cased::of(text));
            let missed: Vec<_> = expected.iter().filter(|kind| !found.iter().any(|finding| finding.kind == **kind)).collect();
            let extra: Vec<_> =
                found.iter().map(|finding| finding.kind).filter(|kind| *kind != Negation && !expected.contains(kind)).collect();
            if !missed.is_empty() || !extra.is_empty() {
                wrong.push(format!("{text:?}: missed {missed:?}, found too much {extra:?}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn negation() {
        let rules = Rules::new();
        let is_negated = |text: &&&str| rules.find(&Cased::of(text)).iter().any(|finding| finding.kind == Negation);
        let missed: Vec<_> = NEGATED.iter().filter(|text| !is_negated(text)).collect();
        let extra: Vec<_> = NOT_NEGATED.iter().filter(is_negated).collect();
        assert!(missed.is_empty() && extra.is_empty(), "missed {missed:?}, found too much {extra:?}");
    }
}
