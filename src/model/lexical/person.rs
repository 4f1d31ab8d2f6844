//! Does the customer ask for a person, or decline one?
//!
//! In: a text. Out: findings of [`LexicalKind::AsksForPerson`] and [`LexicalKind::DeclinesPerson`], without overlaps within a kind.
//!
//! Four tables decide. A row of `ASKS` or `ASKS_ALONE` is a request, unless a row of `ASKS_NOT` or a refusal overlaps it; a row of `DECLINES`
//! is a refusal, unless a row of `DECLINES_NOT` overlaps it. A refusal reaches as far as its own words: between "don't want" and "an agent" only
//! `<glue>` may stand, so that "I don't need the FAQ, I need a human" stays a request.

use super::pattern::{Cased, Fragment, Matcher, Row, without};
use crate::signal::{Finding, LexicalKind, Span};

/// The words that the rows below share.
const FRAGMENTS: &[Fragment] = &[
    // With the misspellings that the customer-support corpora show.
    (
        "noun",
        "h[uo]+m+[ae]+n+s?(?: beings?)?|huamns?|humna|agents?|agnets?|agnts?|agen|agetn|person|perso|persn|perosn|preson|pers[ae]n|persom|peson|\
         (?:real|actual|live|living|human) people|repr?e?[a-z]{0,2}s[a-z]{0,2}n[a-z]{0,2}t[a-z]{0,4}ve?s?|reps?|representant|\
         op+[eo]?r[ae]t[eo]r?s?|sup[a-z]{0,2}r?v[a-z]{0,2}[sz][a-z]{0,2}rs?|mana?n?[ae]?g[ae]?rs?|advis[oe]rs?|assist[ae]nts?|asistants?|assitants?|\
         associates?|specialists?|consultants?|employees?|staff(?: members?| person)?|team ?members?|member of (?:the |your )?(?:staff|team)|csrs?|\
         (?:customer|costumer|client|consumer) ?(?:service|support|care|relations)|(?:support|service|care|help|sales|fraud|complaints?) (?:team|staff|desk|guy|people)|\
         help ?desk|tech(?:nical)? support|live (?:chat|support|help|assistance|one)|human (?:help|support|assistance|interaction|contact|service|touch)|\
         attendants?|clerks?|tellers?|experts?|superior|someone in charge|person in charge|real one|executive|officer|call cent(?:er|re)",
    ),
    ("article", "a|an|the|your|ur|any|some|one of your|one of the|one of|another|different|other|one|na|ann|teh"),
    (
        "adjective",
        "<article>|actual|actually|really?|live|living|breathing|alive|human|humans?|physical|proper|genuine|normal|competent|qualified|knowledgeable|\
         senior|higher|online|available|free|next|nearest|first|customer|costumer|client|consumer|services?|support|care|sales|technical|tech|billing|help|\
         helpdesk|chat|phone|call cent(?:er|re)|company|store|fuck[a-z]*|f[*]+[a-z]*|bloody|damn(?:ed)?|goddamn|god|freaking|frigging|stupid|local|dedicated|experienced|\
         english speaking|member of|trained|relevant|right|responsible|correct|duty|floor|shift|line|department|team|fraud|disputes?|claims|returns|\
         complaints|bank|nice|of your|of the",
    ),
    ("person", "(?:<adjective>[,]? |[*]+ )*<noun>"),
    // After verbs that leave no doubt, one unknown adjective: "talk to a mortgage advisor".
    (
        "any_person",
        "<person>|(?:a|an|the|your) [a-z]{2,15} (?:agent|advis[oe]r|manager|representative|rep|specialist|supervisor|person|department|team)|my account manager",
    ),
    (
        "someone",
        "(?:(?:<adjective>) ){0,2}(?:(?:some|any) ?(?:one|body)|s[a-z]?o[a-z]?m[a-z]?eone|somene|somone|sombody|some?rbody|sum ?1|some1|any1|whoever|(?:man|woman|guy|lady))|(?:real|actual|live) (?:ones|people)",
    ),
    (
        "talk",
        "t[ao]?l?k+(?:ing)?|tlak(?:ing)?|atlk|taok|speakign|talkin|sp[ei]+a?c?k(?:ing|in)?|spe+k(?:ing)?|speal|speack|cha+t+(?:ing)?|convers(?:e|ing)|communicat(?:e|ing)|deal(?:ing)?|interact(?:ing)?|connect(?:ing)?|touch base|get (?:in )?(?:touch|contact)|in (?:touch|contact)|be in (?:touch|contact)|(?:a )?(?:word|conversation|chat|call)",
    ),
    ("with", "to|two|too|ti|tot|with|wth|wit|whit|wiht|wirh|w|w/|via|thru|through|ot|t"),
    (
        "at_once",
        "directly|live|now|right now|immediately|asap|urgently|personally|on the phone|over the phone|by phone|online|again|please|plz|pls|in person|straight|instead|right away|today|back",
    ),
    (
        "pass_on",
        "transf(?:er|ere|err|r)|tranfer|trasnfer|connect|conect|escalate|forward|redirect|re-direct|hand|put|patch|pass|switch|swap|route|reroute|direct|refer|link|move|send|get|take|bring|bump",
    ),
    (
        "don't",
        "don't|do not|dont|donot|doesn't|does not|didn't|did not|never|won't|will not|wouldn't|would not|no longer|not|needn't|dun|d'ont",
    ),
    (
        "want",
        "want|wanna|need|wish|like|care|prefer|intend|plan|require|desire|feel like|wants|needs|want you|need you|ask(?:ed)?(?: for)?|request(?:ed)?",
    ),
    // What may stand between a refusal and the person it refuses.
    (
        "glue",
        "to|for|with|of|by|from|a|an|the|any|your|have|having|be|being|get|getting|getting|go|talk|talking|speak|speaking|speek|chat|chatting|deal|dealing|\
         interact|contact|contacting|contacted|reached|see|call|called|calling|connected|connecting|connect|transferred|transfered|transferring|transfer|escalated|escalate|escalating|forwarded|forward|\
         redirected|passed|put|through|over|involve|involving|bring|bringing|hear|wait|ask|asking|request|requesting|me|us|this|you|it|even|really|ever|necessarily|another|other|\
         or|and|in|touch|on|the phone|bother|disturb|use|using|anymore|yet|right now|now|like|feel|going through",
    ),
    ("who", "<person>|<someone>|people|nobody"),
    ("insult", "<article>|this|these|that|stupid|damn|useless|dumb|fucking|automated|goddamn|more|with"),
    (
        "bot",
        "(?:<insult> ){0,3}(?:ro|chat|auto|chat )?bots?|(?:<insult> ){0,3}ais?|(?:<insult> ){0,3}(?:automated|virtual) (?:agents?|assistants?|systems?|messages?|responses?|repl(?:y|ies))",
    ),
    ("machine", "<bot>|(?:<insult> ){0,3}(?:machines?|computers?|answering machine|programs?|algorithms?|recordings?)"),
    ("please", "please|pls|plz|plss|plse|thanks|thank you|thx|now|asap|immediately|right now|right away|urgently|today|instead"),
    (
        "help",
        "help|assist|assist|call|contact|talk|speak|chat|get (?:back|in touch)|reach out|ring|phone|respond|reply|answer (?:me|us)|take over|step in|look into|sort (?:this|it)|join|intervene|deal with (?:this|it|me)",
    ),
];

/// Requests, wherever they stand.
const ASKS: &[Row] = &[
    (
        "refuse a bot",
        "<don't> (?:really |even |just )?(?:<want>|going|gonna|appreciate|enjoy) (?:to )?(?:be |have |use |using |keep |wait )*(?:(?:<talk> |answers? from |help from |responses? from )(?:<with> )?<machine>|<bot>)",
    ),
    (
        "tired of bots",
        "(?:hate|tired of|sick of|fed up with|done with|refuse to|enough of|stop with|no more|had enough of|had it with) (?:to )?(?:be |have |use |using )*(?:(?:<talk> )(?:<with> )?<machine>|<bot>)",
    ),
    ("no bots", "(?:no|no more|anything but|anyone but) <bot><end>"),
    ("nothing but a human", "(?:nothing|anything|anyone|anybody|nobody|no one) (?:but|except|other than|less than|short of) <person>"),
    ("talk to", "<talk> (?:<at_once> )?(?:<with> )(?:<any_person>|<someone>|people<end>)"),
    ("talk, preposition lost", "(?:talk|speak|speek|chat|talking|speaking) <person>"),
    (
        "someone to talk to",
        "(?:<person>|<someone>)(?: that| who| whom| which)?(?: i| we)?(?: can| could| may| might| should)?(?: to)? (?:please )?(?:talk|speak|chat|speek)(?: <with>)?",
    ),
    ("who to talk to", "who (?:can|could|do|should|may|must|would) (?:i|we) (?:please )?(?:talk|speak|chat|complain)(?: to| with)?"),
    (
        "speak with more words",
        "(?:can|could|may|let|want|need|like) (?:i|we|me|to) (?:please )?(?:talk|speak|chat) (?:to|with) (?:whoever|your)",
    ),
    (
        "want a person",
        "(?:wan+ts?|wnat|wanna|want to have|needs?|nedd?|nead|require|demand|request(?:ing)?|ask(?:ed|ing)? for|insist on|prefer|(?:would|d|'d|i'd) (?:really |much |rather )*(?:like|prefer|love|have|appreciate)|\
         looking for|look for|waiting (?:for|on)|gim+e|give me|give us|giv me|get me|get us|send me|find me|bring me|fetch me|pass me|let me have|(?:can|could|may) (?:i|we) (?:please )?(?:get|have|see|find|reach)|\
         how (?:do|can|could|to|would) (?:i |we )?(?:get|find|reach|request|see)|where (?:is|are|can i find|do i find)|where's|what about|how about|is there|are there|do you have|i'll take|just get|to get|please get|trying to get|i need|to see) \
         (?:<at_once> )?(?:to |help from |assistance from |assistance of |the help of |support from |hold of |a hold of )?<person>",
    ),
    (
        "fetch them back",
        "(?:can|could|will|would|please) (?:you )?(?:please )?(?:get|bring|fetch|put) (?:(?:her|him|them|[a-z]+) or )?<person> (?:back|on (?:here|the line|this))",
    ),
    (
        "support engineer",
        "(?:give me|get me|get us|send me|i need|i want|we need|we want|speak to|talk to|speak with|talk with) (?:an? |your |the )?(?:support|customer|service) (?:engineer|technician)",
    ),
    ("a human, please", "an? (?:real |live |actual )?(?:human(?: being)?|real person|live agent), (?:please|pls|plz)"),
    (
        "fetch your manager",
        "(?:get|fetch|bring|want|need|see) (?:me |in )?(?:your|ur|a|the) (?:<adjective> )*(?:manager|supervisor|superior|boss)",
    ),
    (
        "want someone",
        "(?:want|need|like|prefer|looking for|give me|gimme|get me|get|have|send|find me|get hold of|is there|isn't there|are there|do you have|let) (?:please )?<someone>(?: (?:please|there|here|available|around))?(?: (?:to|who can|that can|who could|that could|who will|i can|we can|can|who))? (?:actually |please |properly )?(?:<help>|actual|real|human|alive|competent|from (?:your|the|customer|support)|in (?:charge|customer|support|authority)|on the (?:phone|line)|knows|understands|available|breathing)",
    ),
    (
        "is anyone there",
        "(?:is|are|isn't|any|anybody|hello|hey)[,?]* (?:there )?(?:<someone>|real people|people)(?: (?:actually|even|real|human|alive|still|out|back|over|at all|else|really))* (?:there|here|alive|home|available|around|online|listening|on the other (?:end|side)|that can help|who can help|reading this|human|real)",
    ),
    (
        "anyone there",
        "(?:anyone|anybody|any one|some ?one|somebody) (?:actually |even |alive |out |over |real |at )*(?:there|home|alive)<end>",
    ),
    (
        "human available",
        "(?:is|are|any|can) (?:there )?(?:<person>|an? people) (?:there|here|alive|available|around|online|on the other end|i can|that can|who can|to help|around)",
    ),
    (
        "any humans",
        "(?:any|got any|have any) (?:real |actual |live |other )*(?:humans?|agents?|people)(?: (?:here|there|at all|around|working))+",
    ),
    (
        "pass me on",
        "<pass_on>(?:ing)? (?:me|us|my [a-z]+|this|it|the (?:chat|call|conversation))(?: (?:call|chat|conversation|case|issue|complaint|ticket|over|through|on|back|up|in touch|in contact|straight|directly|please|now|off|line))* (?:to|too|with|thru|through|onto|over to|towards|w/) (?:<any_person>|<someone>|your [a-z]+ (?:department|team))|<pass_on>(?:ing)? (?:me |us |my call |this call |my chat |this chat |the chat |the call |this conversation |my case |my issue |this issue |this |it |in |over |through |on |back |up |line |chat |call |in touch |in contact |straight |directly |please |now |off )*(?:to|too|with|thru|through|onto|over to|towards) <person>",
    ),
    ("pass me to, preposition lost", "(?:transfer|connect|tranfer|transfr) (?:me |us )?<person>"),
    (
        "be passed on",
        "(?:be|get|getting|being) (?:transferred|transfered|transfer|connected|put through|escalated|forwarded|redirected|passed|handed|switched|put in touch|put in contact|linked|routed)(?: over| on| through)? (?:to|with) (?:<any_person>|<someone>)",
    ),
    (
        "put me through",
        "(?:please|pls|can you|could you|would you|just|to|and|kindly) put me (?:through|thru)|put me (?:through|thru) (?:to|now|please)",
    ),
    (
        "transfer me",
        "(?:transfer|tranfer|transfr|connect|escalate|redirect|reroute) (?:me|us|my (?:call|chat|case|issue|ticket|complaint|problem)|the (?:call|chat|issue|matter|case)|this|it)(?: (?:to|up|higher|further|over|through|please|pls|plz|now|asap|immediately|then|already|somewhere|elsewhere|instead|right now|right away))*<end>",
    ),
    (
        "escalate",
        "(?:want|need|like|please|can you|could you|how (?:do|can) i|to) (?:to )?(?:have )?(?:escalate|escalating) (?:this|it|my|the)|want this escalated|escalate (?:this|my (?:case|issue|complaint|ticket|problem))|need (?:this|it) escalated|(?:want|need|request|like) an? escalation",
    ),
    (
        "contact",
        "(?:contact|contacting|reach|reaching|reach out to|get (?:a )?hold of|get(?:ting)? ahold of|getting (?:a )?hold of|get(?:ting)? through to|get(?:ting)? to|get(?:ting)? in (?:touch|contact) (?:with|to)|(?:in )?contact with|call|calling|ring|phone|phoning|message|find|access|locate|consult|see|meet|involve|use|try|using) <person>|(?:contact|contacting|contcat|contac|contct|reach|get(?:ting)? (?:a )?hold of|get(?:ting)? in (?:touch|contact) with) <someone>",
    ),
    (
        "switch to",
        "(?:switch|change|go|going|move|skip|jump|straight|back|hand ?over|hand ?off|handoff|transfer|transferred|escalate|escalation|connected|connect|access) (?:over |this |it |straight |directly |off |back )*to <person>",
    ),
    (
        "would a person",
        "(?:can|could|will|would|may|have|has|let|make|please have|should|why can't|why doesn't) (?:<person>|(?:some|any) ?(?:one|body)|some1)(?: else| there| from (?:your|the|customer|support) [a-z]+| at [a-z]+)? (?:please |pls |just |actually |at least |kindly )*(?:to )?(?:<help>)",
    ),
    (
        "someone must help",
        "(?:^|want|need|please|pls|plz|i'd like|would like) (?:<someone>) (?:please |to |must |needs to |should |just )*(?:help|assist|call|contact|ring|phone|answer) (?:me|us)",
    ),
    (
        "person, please",
        "(?:real (?:human|person|people|agent)s?|live (?:human|person|agent|chat|operator|rep|representative)|human(?: being| agent)?|agent|representative|operator|supervisor|customer (?:service|support|care)(?: (?:agent|rep|representative))?|support (?:agent|rep|team|person)) (?:please|pls|plz|asap|right now|immediately|or nothing)",
    ),
    (
        "call me",
        "(?:call|ring|phone) (?:me|us)(?: back)? (?:asap|now|please|pls|immediately|today|tomorrow|tonight|right away|at [+]?\\d+|on (?:my|this|[+]?\\d+)|as soon|when (?:you|someone)|between|after \\d+|this (?:afternoon|morning|evening)|urgently|on monday|to (?:discuss|talk|sort|resolve))",
    ),
    ("call me back", "(?:call|ring|phone) (?:me|us) back"),
    (
        "call me, end",
        "(?:please|pls|plz|just|can you|could you|someone|somebody|will you|would you|have (?:someone|an? <noun>)|and) (?:call|ring|phone) (?:me|us)<end>",
    ),
    (
        "a call back",
        "(?:want|need|request|requesting|like|get|have|arrange|schedule|book|order|give me|gimme|expect|for) (?:me |us )?(?:an? |the |your )?(?:phone ?call|call ?-?back|callback|return call)|give (?:me|us) an? (?:call|ring|bell|phone ?call)",
    ),
    ("phone you", "(?:talk|speak) (?:to|with) (?:you|someone|anyone|somebody)? ?(?:on|over|by) the (?:phone|telephone)"),
    ("human, not bot", "(?:human|person|agent|people)[,]? (?:and )?(?:not|rather than|instead of) (?:<with> )?<bot>"),
    ("human, at the end of the clause", "[a-z]+, (?:real |live |actual )*(?:human|representative|operator|supervisor|person)<end>"),
    ("transfer me to one", "(?:transfer|connect|pass|hand) me (?:over )?to (?:one|them|him|her)<end>"),
    (
        "talk on the phone",
        "(?:want|need|like|can i|can we|could i|could we|prefer) (?:to )?(?:talk|speak|do this)(?: (?:to|with) you| about (?:this|it))? (?:on|over|by) the phone",
    ),
    ("tell someone to call", "(?:ask|tell|get|have|make) (?:<person>|<someone>) to (?:call|contact|ring|phone|reach|talk|speak)"),
    (
        "number of an agent",
        "number (?:of|for) (?:<article> |live |real |human )*(?:agents?|humans?|representatives?|person|supervisor|manager)",
    ),
    ("in person", "(?:i|we) (?:want|need|demand|prefer|require)s? (?:to )?(?:<talk> )?(?:<with> )?(?:humans?|agents?|persons?)"),
    (
        "help from a human",
        "(?:help|assistance|support|service|answers?|response|reply) (?:from|of|by) (?:<person>|(?:an? )?(?:actual|real|live) (?:people|humans?))",
    ),
];

/// Requests that are a request only if they are the whole sentence.
const ASKS_ALONE: &[Row] = &[
    (
        "agent!",
        "(?:(?:ok|okay|yes|yeah|yep|nope|nah|please|pls|plz|just|only|i said|again|then|now|want|need|get|urgent|urgently|so|well|um|uh|fine|and|or|give|request|to|the word|hello,|hi,|hey,|no,|sorry,|stop,|i (?:said|want|need))[\\s,]+)*\
         (?:(?:<adjective>)[\\s,]+)*\
         (?:h[uo]+m+[ae]+n+(?: beings?)?|huamn|agents?|agnet|agnt|rep|repr?e?[a-z]{0,2}s[a-z]{0,2}n[a-z]{0,2}t[a-z]{0,4}ve?|op+[eo]?r[ae]t[eo]r|supervisor|supervisior|manager|real person|real people|actual person|person|live (?:chat|agent|person|support|help)|advisor|adviser|\
         (?:customer|costumer) ?(?:service|support|care)(?: (?:agent|rep|representative|person))?|support (?:agent|team|person)|human (?:help|support|assistance|agent)|call ?-?back)\
         (?:[\\s,/]+(?:<please>|or|and|human|agent|representative|operator|person|real|not an?|bot|ffs|wtf|damn it|dammit|sir|help|support|chat|already|only|here|then|if possible|for the love of god|me|required|needed|requested|ok|okay|assistance|god|already|hello|thank|you|so much|is what i want|i said))*",
    ),
    (
        "anyone?",
        "(?:(?:hello|hi|hey|helo)[\\s,?!]+)+(?:is )?(?:anyone|anybody|someone|somebody)(?: (?:there|here|home|alive|please|help|real|around|at all|listening|available))*",
    ),
    (
        "someone please",
        "(?:(?:please|pls|can|help) )?(?:some|any) ?(?:one|body)[,]? (?:please|pls|plz|help me|help|there|here|assist|me)(?: (?:please|me|help))*",
    ),
    (
        "transfer",
        "(?:please |pls |plz |just |ok |now |then )*(?:transfer|connect|escalate)(?: (?:me|us|please|now|to|this|it|pls|the (?:chat|call)))+",
    ),
    ("call me, alone", "(?:please |pls |plz |just |ok |then |so )*(?:call|ring|phone) (?:me|us)(?: (?:please|pls|plz|back|now|asap))*"),
    ("escalate, alone", "(?:please )?escalate"),
];

/// Senses that look like a request and are none.
const ASKS_NOT: &[Row] = &[
    (
        "compound noun",
        "(?:agents?|managers?|operators?|assistants?|humans?|person|reps?|representatives?|supervisors?|associates?|specialist|expert|employees?|staff|officer|executive|customer (?:service|support|care)|customer) \
         (?:id|ids|codes?|accounts?|portal|log ?in|string|fees?|commission|positions?|jobs?|roles?|vacancy|vacancies|app|application|passwords?|access|permissions?|dashboard|software|tool|limit|capacity|tent|version|training|salary|\
         resources?|rights|error|body|hair|nature|readable|sized?|discounts?|pricing|approval|signature|mode|edition|licen[sc]es?|seats?|view|console|settings?|profile|page|tab|hours|survey|experience|was|were|is (?:great|good|bad|terrible|awful|excellent|amazing|horrible|poor|the best|the worst)|opening|working hours|said|told|named|called)",
    ),
    (
        "a certain person",
        "(?:the|this|that|same) (?:[a-z]+ )?(?:person|agent|representative|rep|one|man|woman|guy) (?:(?:who|that) (?:i|we|you|he|she|they|it|is (?:not|n't|rude|so)|isn't|was|were|has|have|had|did|didn't|told|said|took|sold|spoke|sent|made|gave|got|lives|[a-z]+ed)|i|whose|which|we|he|she|they|you)",
    ),
    (
        "another trade",
        "(?:virtual|ai|automated|robot|bot|digital|estate|cleaning|bleaching|user|purchasing|delivery|letting|tour|mobile|network|password|task|file|package|project|download|fake|chatbot|tall|short|window|device|property|first|third|second) (?:agent|assistant|person|representative|operator|manager)s?",
    ),
    (
        "already talked",
        "(?:was|were|been|after|while|whenever|since|had to|(?:when|every ?time|each time|last time|whenever|once|because) (?:i|we)|previously|kept|remember|from|thanks for|thank you for|used to|had an?|had the|ended up|finished|lets? you|let users|allows? (?:you|me)|enjoyed?|hate|dislike|nice|great|good|pleasure) (?:just |already |only |then |finally |recently |have to |actually |last |to )?(?:<talk>|contacting|calling|reaching)",
    ),
    ("did contact", "(?:did|already|had to|having to|have to keep|has to|after|have|i've) (?:contact|call|calling|contacting|reached)"),
    (
        "am I talking to",
        "(?:am i|are we|if i'm|i'm|i am|if i am|thought i was|who am i|who are we) (?:really |actually |still |even |just |currently |now )?(?:talking|speaking|chatting|dealing|connected|in (?:touch|contact))",
    ),
    (
        "greets the agent",
        "(?:thanks|thank you|thx|hi|hello|hey|dear|bye|goodbye|sorry|good (?:morning|afternoon|evening)|ok|okay)(?: so much| very much)?[\\s,]+(?:support |customer service )?(?:agent|team|support|customer service|support team|manager|assistant|operator)<end>",
    ),
    (
        "hours",
        "(?:hours|times|days|opening|open|schedule|what time|until when|till what time|from when|when)(?: [a-z]+){0,5} (?:contact|call|calling|reach|ring|phone|get (?:in )?(?:touch|contact|through))",
    ),
    (
        "third parties",
        "(?:told|asked|asks|tells|wants|advised|instructed|named|called) (?:me |us )?(?:that )?(?:the |an? |by (?:the |an? ))(?:agent|representative|rep|person|operator|manager)<end>",
    ),
    (
        "nobody called",
        "(?:nobody|no one|noone|didn't|did not|never|failed to|was (?:supposed|going) to|were (?:supposed|going) to|promised to|would|said (?:you|they|he|she)'d|you'd|they'd|he'd|she'd|they will|they'll|he'll|she'll|forgot to) (?:even |ever )?(?:call|ring|phone)(?:ed)? (?:me|us)(?: back)?",
    ),
    (
        "a name",
        "(?:what|something|anything|whatever) (?:[a-z]+ ){1,4}call me|(?:call|calls|called) me (?:by|mr|mrs|ms|dr|names|crazy|old|an?)",
    ),
    (
        "hire or be one",
        "(?:hire|hiring|become|becoming|be|am|i'm|as|recruit|employ|add|adding|remove|assign|invite|create|creating) (?:an?|the|my|new|another)? ?(?:<adjective> )*<noun>",
    ),
    ("forms", "(?:per|each|every|one|two|three|four|2|3|4|single|extra|additional|in|for) (?:tall |short |single |extra )*person"),
    (
        "money",
        "(?:transfer|send|move|forward|pass|refer) (?:[a-z]+ )*?(?:money|funds|cash|payment|file|amount|balance|\\d+[a-z]*)[a-z ]{0,20} to (?:<someone>|<person>)",
    ),
    (
        "goods",
        "(?:send|gift|give|ship|deliver|refer|transfer|pass|forward) (?:it|this|them|an item|a gift|the (?:item|order|gift|package|card|ticket)s?|my [a-z]+|an? [a-z]+) to (?:<someone>|another person|a different person|a person|a friend)",
    ),
    ("contact person", "(?:the|a|my|your|emergency|main|primary|our) contact person"),
    ("someone in particular", "<someone> who(?:'s| is| has| was| had| took| stole| lives| bought| sold)"),
    ("someone else's", "(?:<someone>) else's"),
];

/// Refusals.
const DECLINES: &[Row] = &[
    (
        "don't want",
        "<don't> (?:really |even |actually |currently |personally |ever |necessarily |yet |have to |any )*(?:<want>|need|think we need|think i need|think i want|believe i need|interested|looking|ready|comfortable|trying|here|going|gonna|require) (?:in )?(?:<glue> )*<who>",
    ),
    (
        "don't think I need",
        "<don't> (?:think|believe|feel)(?: that| like)? (?:i|we|you|it)(?:'ll| will| would|'d| should| is| has)? (?:really |even |actually |ever )*(?:need|want|have to|require|necessary|needs)(?:ed)? (?:<glue> )*<who>",
    ),
    (
        "no need for",
        "(?:no|without|isn't any|not any|never any|isn't|not|there's no|zero) (?:real )?(?:need|reason|point|use|interest|desire|necessity|requirement|necessary|needed|point)s? (?:for|to|in|of)(?: you to)? (?:<glue> )*(?:<who>|transfer|escalate|escalation|call(?: me)?(?: back)?|connect(?: me)?)",
    ),
    (
        "no agent, thanks",
        "(?:no|no more|zero) <person>[,]? (?:please|pls|plz|thanks|thank you|needed|required|necessary|for now|yet|is needed|is required|is necessary|today|just)",
    ),
    (
        "no agent",
        "(?:no|no more) (?:<adjective> )*(?:humans?|agents?|operators?|representatives?|reps?|persons?|people|supervisors?|managers?|human agents?)<end>",
    ),
    (
        "not a person",
        "not (?:to |with )?(?:<talk> )?(?:<with> )?(?:an? |the |your |any )(?:<adjective> )*(?:humans?|agents?|operators?|representatives?|reps?|persons?|people|supervisors?|managers?)",
    ),
    ("rather not", "(?:rather|prefer|prefer to|better|would|i'd|please|to|want to) not (?:to )?(?:<glue> )+<who>"),
    (
        "don't pass me on",
        "(?:don't|do not|dont|never|stop|quit|not to|no need to|please no|no|refrain from|avoid) (?:please |you dare |even |try to |trying to |ever |just |bother |keep |bother to |want you to |want to |need to |have to |need you to |wanna )*(?:to )?(?:be |get )?(?:transf[a-z]+|tranfer|connect|escalate|forward|redirect|hand|put|pass|switch|route|escalating|connecting|handing|putting|passing) (?:me|us|this|my (?:call|chat|case)|it|over|to (?:<person>|<someone>))",
    ),
    (
        "don't call me",
        "(?:don't|do not|dont|never|stop|quit|no need to|please no|not) (?:please |ever |want you to |need you to |want anyone to |want <someone> to |want them to |bother )*(?:call|calling|ring|ringing|phone|phoning|contact|contacting|get|bring|involve|send|give) (?:me |us |in )?(?:<who>|an? call(?: ?back)?|back|me(?: back)?<end>|call ?backs?|phone calls?)",
    ),
    (
        "without an agent",
        "without (?:<glue> |having |being |needing |waiting |going )*(?:<person>|transfer|escalation)|without (?:having to |needing to |being forced to )*<talk> (?:<with> )?<who>",
    ),
    (
        "agent not needed",
        "(?:<noun>|transfer|call ?back|escalation) (?:is |are |was |will |be |would )*(?:not|isn't|aren't|won't be|unnecessary|no longer|n't) ?(?:be )?(?:needed|necessary|required|wanted)?(?: anymore)?<end>",
    ),
    ("instead of an agent", "(?:instead of|rather than|avoid|skip|save me from) (?:<glue> )*(?:<person>|<someone>)"),
    ("rather than an agent", "rather (?:[a-z]+ ){1,7}than (?:<glue> )*(?:<person>|<someone>)"),
    (
        "take it back",
        "(?:cancel|stop|forget|ignore|abort|undo|never ?mind|scratch|drop|skip) (?:about )?(?:the|my|that|this|your|an?) (?:[a-z]+ ){0,2}?(?:hand ?off|hand ?over|call ?back|callback|human|agent|representative|operator|request for an? (?:agent|human|person))",
    ),
    (
        "the bot will do",
        "(?:the |this )?(?:ro|chat)?bot (?:is|will be|works|would be|was) (?:just )?(?:fine|ok|okay|enough|good|great|better)|(?:stay|stick|continue|keep (?:talking|chatting)|keep going|rather (?:talk|chat|deal|stay)|prefer (?:to )?(?:talk(?:ing)?|chat(?:ting)?|deal(?:ing)?)?) ?(?:with|to|using)? (?:you|the (?:chat)?bot|a bot|this bot|the ai|a machine|the assistant)<end>",
    ),
    (
        "I hate calls",
        "(?:hate|dislike|can't stand|not a fan of|avoid) (?:talking|speaking|chatting|dealing) (?:to|with) (?:people|humans|<person>)",
    ),
];

/// Senses that look like a refusal and are none.
const DECLINES_NOT: &[Row] = &[
    ("nothing but", "(?:<who>|anything) (?:but|except|other than|besides|apart from|until|unless)"),
    (
        "there is no agent",
        "(?:there is|there's|is there|theres|there are|has|have|got|see|get|find|getting|still|with|if there is|having|why is there|absolutely|i have|seems) no <person>",
    ),
    (
        "no agent has",
        "no <person> (?:has|have|is|are|was|were|can|could|will|would|ever|who|that|available|there|here|at|in|on|yet|answers?|answered|responds?|responded|came|replied|picks|joined|helped|seems|wants|knows)",
    ),
    (
        "you are not a person",
        "(?:you're|you are|this is|it's|it is|that's|i'm|i am|he's|she's|is|are|was|were|am|why|clearly|obviously|definitely|ur|you r|talking to|certainly|if you're|if) not an?",
    ),
    (
        "cannot without",
        "(?:can't|cannot|can not|won't|couldn't|never|impossible|unable|not (?:possible|going)|useless|nothing)(?: [a-z]+){0,6} without",
    ),
    (
        "someone else's doing",
        "<someone>[,]? (?:to )?(?:else|us(?:e|es|ing)|access(?:es|ing)?|steal(?:s|ing)?|see|ring(?:s|ing)|call(?:s|ing)|help(?:s|ing)|contact(?:s|ing)|know|get into|log|hack|charge|tak(?:e|es|ing)|open|read|buy|who (?:is|has|was)|at home|in my)",
    ),
    ("why not", "why (?:not|don't|do not|won't|can't|didn't)"),
    (
        "I got a bot",
        "instead of (?:<glue> )*<who>[,]? (?:i|you|we|they|it)(?:'m|'ve|'s| am| was)? (?:got|get|gave|give|have|sent|send|receive[d]?|talking|speaking|stuck)",
    ),
    ("would you not", "(?:don't|do not|didn't|won't|doesn't|isn't|aren't|wouldn't|can't) (?:you|there|they)"),
    (
        "they would not",
        "(?:you|they|it|he|she|bot|company|system|app|website) (?:still |just |ever |even |really )?(?:don't|do not|doesn't|does not|never|won't|will not|wouldn't|didn't|did not|can't) (?:even |ever |really )?(?:have an?|have any|want to (?:transfer|connect|put|let|give)|let|transfer|connect|get|give|put|pass|call|send|contact|like)",
    ),
    ("never had", "(?:i|we) (?:have )?(?:didn't|did not|never|haven't) (?:even |ever |once )?(?:get|got|have|had|receive|talk|speak|hear)"),
    ("said I do not", "(?:never asked|don't ask|not ask) (?:you )?(?:to|if)"),
];

/// All tables, compiled.
#[derive(Debug)]
pub(super) struct Rules {
    asks: Matcher,
    asks_alone: Matcher,
    asks_not: Matcher,
    declines: Matcher,
    declines_not: Matcher,
}

impl Rules {
    pub(super) fn new() -> Self {
        Self {
            asks: Matcher::anywhere(ASKS, FRAGMENTS),
            asks_alone: Matcher::whole(ASKS_ALONE, FRAGMENTS),
            asks_not: Matcher::anywhere(ASKS_NOT, FRAGMENTS),
            declines: Matcher::anywhere(DECLINES, FRAGMENTS),
            declines_not: Matcher::anywhere(DECLINES_NOT, FRAGMENTS),
        }
    }

    /// The requests and refusals in a text, refusals first.
    pub(super) fn find(&self, text: &Cased<'_>) -> Vec<Finding> {
        let declines = without(self.declines.spans(text).collect(), || self.declines_not.spans(text).collect());
        let mut asks = without(self.asks.spans(text).collect(), || self.asks_not.spans(text).collect());
        let alone = sentences(&text.lower).filter(|sentence| self.asks_alone.is_match(&text.lower[sentence.start..sentence.end])).collect();
        let alone = without(alone, || asks.clone());
        asks.extend(alone);
        let asks = without(asks, || declines.clone());
        let declines = declines.into_iter().map(|span| Finding { kind: LexicalKind::DeclinesPerson, span });
        let asks = asks.into_iter().map(|span| Finding { kind: LexicalKind::AsksForPerson, span });
        declines.chain(asks).collect()
    }
}

/// The sentences of a text, without the punctuation and symbols around them.
fn sentences(text: &str) -> impl Iterator<Item = Span> + '_ {
    text.split_inclusive(['.', '!', '?', ';', '\n']).scan(0, |end, sentence| {
        let start = *end;
        *end += sentence.len();
        let kept = sentence.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
        let start = start + (sentence.len() - kept.len());
        let kept = kept.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        Some(Span { start, end: start + kept.len() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: &[&str] = &[
        "let me talk to a human",
        "can I speak with somebody",
        "is there anyone alive over there?",
        "am I talking to a bot? get me a person",
        "agent please",
        "Agent",
        "REPRESENTATIVE!!!",
        "I want a real person",
        "transfer me",
        "connect me to support agent",
        "call me back",
        "put me through to your manager",
        "can i speek to a humen",
        "reprsentative please",
        "I don't need the FAQ, I need a human",
        "no I want an agent",
        "No, agent",
        "human",
        "Human. Now.",
        "operator operator operator",
        "person",
        "hello? agent?? 😡😡",
        "real person please",
        "I need to speak with a supervisor immediately",
        "get me your manager",
        "Can I talk to someone about my bill?",
        "I'd like to talk with a live representative",
        "could you connect me with an actual human being",
        "pls transfer me to customer service",
        "please transfer me",
        "escalate this to a manager",
        "I would like to escalate this",
        "is there a real person I can talk to?",
        "is there an agent available",
        "do you have any human agents?",
        "any humans here?",
        "anybody there?",
        "hello is anyone there",
        "can a human help me with this",
        "can someone call me please",
        "could somebody get in touch with me",
        "have someone call me",
        "please call me",
        "call me at 555-123-4567",
        "give me a call",
        "I want a call back",
        "request a callback",
        "I don't want to talk to a bot",
        "i dont want a chatbot i want a human",
        "I refuse to talk to a machine",
        "I'm tired of talking to bots",
        "no bots!",
        "stop with the bot",
        "I want a human, not a bot",
        "I'd rather talk to a human than a bot",
        "nothing but a human will do",
        "I don't want to talk to anyone but a manager",
        "why can't I talk to a real person?",
        "why don't you transfer me to an agent?",
        "I can't reach a human",
        "I've been trying to talk to a person for an hour",
        "I don't know how to contact a human agent",
        "you're not helping, how do I contact a human?",
        "who can I talk to about this charge?",
        "how do I get a human on the line",
        "I asked for an agent ten minutes ago",
        "just get me someone who can help",
        "I need someone to call me",
        "switch me to a human",
        "hand me over to a colleague or an agent, connect me to an agent",
        "I want to be transferred to a representative",
        "talk to agent",
        "speak to a fucking person",
        "need human help",
        "live chat please",
        "customer service",
        "can I get a rep",
        "gimme a human",
        "I demand to speak with a supervisor",
        "put me through please",
        "I need to speak to the person in charge",
        "let me speak to somebody in billing",
        "talk to a mortgage advisor",
        "want\na\nhuman",
        "I don’t want a refund, I just want to talk to a person",
        "I do not care, get me a human",
        "I won't continue until I talk to an agent",
        "is it possible to chat with a customer care executive",
        "no more bots, human please",
        "talk to a humna",
        "my mother wants to talk to a human",
        "I need an agnet",
        "there is no human here, let me talk to one of your agents",
        "You don't have an agent for me? I want a supervisor",
        "are you human? If not transfer me to one",
        "I'd like to talk on the phone",
        "ask your manager to call me",
        "you are not helping, human",
        "can i talk 2 a real person plz",
    ];

    const DECLINED: &[&str] = &[
        "no need for an agent, thanks",
        "I don't want to talk to anyone",
        "please don't transfer me",
        "I do not need a human",
        "I don't need to speak with an agent, just tell me the price",
        "dont connect me to a representative",
        "no agent please",
        "No human needed",
        "no agents.",
        "don't call me",
        "please do not call me back",
        "no need to transfer me",
        "no need to call me back",
        "I'd rather not talk to a person",
        "can you do it without talking to an agent?",
        "can we fix this without a human",
        "an agent is not necessary",
        "a human is not required",
        "I don't think I need an agent",
        "there's no need to get a human involved",
        "I'm not interested in talking to a representative",
        "not going to talk to an agent",
        "cancel the callback",
        "never mind the agent",
        "I would like a bot, not a human",
        "instead of talking to a human, can I do it online?",
        "I'd rather do it myself than call an agent",
        "the bot is fine",
        "I hate talking to people",
        "I don’t want you to transfer me to anyone",
        "do not escalate this",
        "you don't have to transfer me",
        "I never asked for a human",
        "stop transferring me",
        "I do not wish to be contacted by anyone",
    ];

    const NEITHER: &[&str] = &[
        "",
        "my insurance agent told me",
        "I am a travel agent",
        "cleaning agent",
        "the delivery person left it",
        "user agent string",
        "the person I sold it to",
        "I talked to an agent yesterday and he said it's fixed",
        "human resources",
        "I need the human resources department's form",
        "customer service was great",
        "is this jacket for a tall person?",
        "I spoke with a representative and she was rude",
        "your agent hung up on me",
        "I need a two person tent",
        "price per person",
        "how many people can use one account?",
        "Thanks, agent.",
        "hi agent, where is my order",
        "am I talking to a human?",
        "are you a bot or a human",
        "I was talking to an agent and got cut off",
        "after talking to the manager I got my refund",
        "I want the password manager",
        "does the file manager work on Windows?",
        "do you sell an agent license?",
        "I need a manager account",
        "you can call me John",
        "nobody called me back",
        "you said you'd call me back",
        "I want to send a gift to someone",
        "someone else's card",
        "how do I transfer money to someone",
        "how do I become an agent",
        "Please help me",
        "where is my order",
        "no agent has answered me yet",
        "you are not a person",
        "what are the opening hours to contact customer service",
        "they put me through hell",
        "the bleaching agent in this detergent",
        "My phone is lost, I don't want someone to use my account",
        "what would you like me to call you",
        "I am not a robot",
        "I need to talk to my wife first",
        "the agent said it would be fixed",
        "what is your return policy?",
        "representatives told me it was free",
        "can I change the contact person on my account",
        "is customer service open on sunday",
        "does the software support user agents?",
        "human error",
    ];

    #[test]
    fn asks_and_declines() {
        use LexicalKind::{AsksForPerson, DeclinesPerson};
        let rules = Rules::new();
        let mut wrong = Vec::new();
        for (cases, expected) in [(ASKED, &[AsksForPerson][..]), (DECLINED, &[DeclinesPerson]), (NEITHER, &[])] {
            for text in cases {
                let mut kinds: Vec<LexicalKind> = rules.find(&Cased::of(text)).iter().map(|finding| finding.kind).collect();
                kinds.dedup();
                if kinds != expected {
                    wrong.push(format!("{text:?}: expected {expected:?}, found {kinds:?}"));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn spans_cover_the_words() {
        let rules = Rules::new();
        let cases = [
            ("Hello, let me talk to a human. Thanks", "talk to a human"),
            ("ok… agent please!!!", "agent please"),
            ("I really don’t want to talk to an agent, ok?", "don’t want to talk to an agent"),
        ];
        for (text, expected) in cases {
            let found: Vec<&str> = rules.find(&Cased::of(text)).iter().map(|finding| &text[finding.span.start..finding.span.end]).collect();
            assert_eq!(found, [expected], "{text}");
        }
    }
}
