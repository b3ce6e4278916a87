"""Wording of emergencies and of self-harm, which gets a fixed reply before anything else.

The rules look for a person in trouble now ("my son swallowed bleach"), not for the subject ("what
is a stroke?"). They prefer a needless alarm to a missed one, and miss some all the same: this is no
substitute for a human. Gaps in the patterns are bounded, so that the time is linear in the text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from regraft.tasks.assistant.spelling import corrected
from regraft.tasks.assistant.wording import clean, words

_PERSON = (
    r"(?:i|im|ive|we|he|hes|she|shes|they|theyre|someone|somebody|baby|toddler|child|kid|woman|man|"
    r"grandpa|grandma|dad|mom|mum|mother|father|husband|wife|son|daughter|friend|"
    r"my \w+|our \w+|a friend)"
)
_NOW = rf"\b{_PERSON}(?: \w+){{0,4}}? "
_HIM = r"(?:myself|himself|herself|themselves|themself)"
_HIS = r"(?:my|his|her|their)"
_ACCIDENT = (
    r"(?!(?: \w+){0,6} (?:shaving|cooking|slicing|chopping|accidentally|by accident|laughing))"
)

_SELF_HARM = (
    rf"\b(?:kill|killing|hang|hanging|shoot|shooting|drown|drowning|starve|unalive) {_HIM}\b",
    rf"\b(?:hurt|hurting|harm|harming|cut|cutting|burn|burning) {_HIM}\b{_ACCIDENT}",
    r"(?<!not )(?<!dont )(?<!didnt )\b(?:want|wants|wanna|wish|wishes|wished|ready|going|plan|"
    r"planning|hope) (?:to |i |he |she |they |was |were |could |would |just )*(?:die|be dead|dead|"
    r"not wake up|never wake up|disappear forever|not exist|stop existing)\b",
    rf"\b(?:end|ending|take|taking) (?:it all|{_HIS} (?:own )?life|{_HIS} lives)\b"
    r"(?! (?:seriously|insurance|easy|back))",
    r"\bbetter off (?:dead|without me|if i (?:was|were) (?:dead|gone))\b",
    r"\b(?:no|any|a) (?:reason|point) (?:to|in|of|for) (?:live|living|life|being alive|go on|"
    r"going on)\b",
    r"\bnothing (?:left )?to live for\b",
    r"\b(?:isnt|not|never) worth (?:living|it to live)\b",
    r"\b(?:jump|jumping) (?:off|from) (?:a|the) (?:\w+ )?(?:bridge|building|roof|balcony|cliff)\b",
    r"\b(?:tired|sick) of (?:living|life|being alive)\b",
    r"\b(?:cant|cannot|can not|(?:dont|do not|no longer) "
    r"(?:want to|wanna)) (?:go on living|live "
    r"anymore|live any more|live like this|be alive|be here anymore|go on like this|go on anymore|"
    r"keep living)\b",
    r"\b(?:cant|cannot) go on$",
    rf"{_NOW}(?:\w+ )?suicidal\b",
    rf"{_NOW}(?:thinking|thoughts|talking|talks) (?:about|of) (?:suicide|dying|ending it|"
    rf"killing)\b",
    r"\b(?:thinking|dreaming|think) (?:of|about) (?:suicide|ending it|ending my)\b",
    rf"{_NOW}(?:commit|committing|attempt|attempted|attempting) suicide\b",
    r"\bhow (?:can|do|could|should) i (?:commit suicide|die|kill me)\b",
    r"\b(?:painless|easiest|quickest|best) way to (?:die|kill \w+self|commit suicide)\b",
    r"\bhow many \w+(?: \w+)? (?:to|would|will|does it take to) (?:kill|end) (?:me|myself|my "
    r"life)\b",
    r"\b(?:kms|kill me)\b(?! \w*(?:softly|laughing))",
    r"\bself harm(?:ing)? (?:again|myself|every|urges)\b",
)  # fmt: skip

_EMERGENCY = (
    # breath
    r"\b(?:cant|cannot|can not|couldnt|could not|unable to|not able to|barely|hardly|struggling "
    r"to) "
    r"(?:breathe|breath|get (?:any |enough )?air|catch (?:my|his|her) breath)\b(?! (?:through|"
    r"thru|out "
    r"of|from|with|by) (?:my|his|her|the|one) )",
    rf"{_NOW}(?:stopped|not|isnt) breathing\b",
    rf"{_NOW}(?:gasping|fighting) for (?:air|breath)\b",
    rf"{_NOW}(?:trouble|difficulty|problems|hard time) breathing (?:now|right now|badly|suddenly|"
    rf"and)\b",
    rf"{_NOW}(?:turning|turned|going|gone|is|are) blue\b(?!\w* (?:eyed|cross))",
    r"\blips (?:are |is |turned |turning |going )+blue\b",
    r"\b(?:he|hes|she|shes|im|baby|child|toddler|son|daughter|wife|husband|mom|dad) (?:is |am |"
    r"was "
    r"|started |keeps )?choking\b",
    # chest, heart, brain
    r"\b(?:i|im|ive|we|he|hes|she|shes|my \w+) (?:have |has |am |is |having |got |feel |feels |"
    r"feeling "
    r"|a |an |been |getting |now |suddenly |some |this |very |bad |severe |strong |sharp |terrible "
    r"|crushing |sudden |really |horrible |awful |intense |extreme )*(?:chest pains?|pain in "
    r"(?:my|his"
    r"|her|the) chest|pressure (?:in|on) (?:my|his|her|the) chest|(?:tight|heavy) chest|"
    r"tightness (?:in|of) (?:my|his|her|the) chest)\b",
    r"\b(?:pain|pressure|tightness) in (?:my|his|her) chest (?:and|with|that)\b",
    r"\b(?:my|his|her) chest (?:is |really |suddenly |feels |so |badly |very )*(?:hurts?|hurting|"
    r"aches?"
    r"|tight|crushed|heavy|killing|like (?:an elephant|it is being|someone))\b",
    r"\bchest pains?(?: \w+){0,6} (?:down (?:my|the|his|her) (?:left )?arm|into (?:my|the|his|"
    r"her) (?:"
    r"jaw|arm)|right now|spreading)\b",
    rf"{_NOW}having (?:a |an )?(?:massive |mild |possible )?(?:heart attack|stroke|cardiac "
    rf"arrest)\b",
    r"\b(?:face|mouth|smile|one side)(?: \w+){0,4} (?:drooping|droopy|droops|hanging down|gone "
    r"numb)\b",
    rf"{_NOW}(?:slurring|slurred|talking gibberish|speech is slurred)\b",
    rf"{_NOW}(?:suddenly |cant |cannot |unable to ){{1,2}}(?:speak|talk|see|move (?:my|his|her)|"
    rf"lift "
    r"(?:my|his|her)|feel (?:my|his|her) (?:arm|leg|left|right|face))\b",
    r"\bworst headache (?:of (?:my|his|her) life|ever)\b",
    # consciousness
    rf"{_NOW}(?:unconscious|unresponsive|not responding|collapsed|not moving|wont wake(?: up)?|"
    rf"not waking up)\b",
    r"\b(?:cant|cannot|couldnt) (?:wake|get) (?:him|her|them|my \w+)(?: up| to wake)\b",
    r"\b(?:he|she|baby|child|son|daughter|wife|husband|mom|mum|dad|friend|mother|father) (?:has "
    r"|just "
    r"|suddenly )*(?:passed out|fainted and)\b",
    rf"{_NOW}(?:having|in) (?:a |an )?(?:seizure|fit|convulsions?)\b(?!s)(?! (?:every|since|for "
    rf"years))",
    r"\b(?:seizure|fit|convulsion)(?: \w+){0,3} (?:wont|does not|doesnt|not) stop",
    rf"{_NOW}convulsing\b",
    # blood
    r"\b(?:wont|doesnt|does not|cant|will not|cannot|not) stop (?:the )?bleeding\b",
    r"\bbleeding (?:\w+ ){0,3}?(?:wont|doesnt|does not|will not|not) stop",
    rf"{_NOW}bleeding (?:\w+ )?(?:heavily|badly|a lot|everywhere|out|to death|profusely)\b",
    r"\bblood everywhere\b|\bspurting blood\b|\bblood is spurting\b",
    rf"{_NOW}(?:coughing|throwing|vomiting|puking|spitting|vomited|threw) (?:up )?(?:a lot of |"
    rf"lots of "
    r"|fresh |bright |red )*blood\b",
    # poison
    rf"{_NOW}(?:swallowed|drank|drunk|ate|eaten|swallowing|drinking|inhaled) (?:\w+ "
    rf"){{0,3}}?(?:bleach|"
    r"antifreeze|batter(?:y|ies)|magnets?|poison|detergent|thinner|cleaner|pesticide|petrol|"
    r"gasoline|"
    r"acid|lighter fluid|laundry pods?|rat \w+|weed ?killer|mushrooms? from|nightshade|foxglove)\b",
    rf"{_NOW}(?:took|taken|swallowed|ate|eaten|swallow) (?:a |an |the |all |my |his |her |of "
    rf")*(?:whole "
    r"bottle|entire bottle|bottle of|handful|pack of|packet of|box of|too many|all (?:my|his|"
    r"her)|way "
    r"too (?:many|much)|lot of (?:pills|tablets))\b",
    rf"{_NOW}(?:took|taken|swallowed|ate) (?:like |about |around |over |maybe |more than "
    rf")*(?:[2-9]\d|"
    r"\d{3}|1\d|twenty|thirty|forty|fifty|a hundred)(?: \w+)?(?: \w+)? (?:pills?|tablets?|"
    r"capsules?|"
    r"paracetamol|tylenol|acetaminophen|aspirins?|ibuprofens?|xanax|advil|sleeping)\b",
    rf"{_NOW}(?:overdosed|overdosing|od ?ed)\b",
    rf"{_NOW}(?:taken|took|having|had) an overdose\b",
    # allergy, injury, the word itself
    r"\b(?:my|his|her|the) (?:throat|airway) (?:is |feels |feel |seems |keeps |it |like |its |"
    r"was )*"
    r"(?:closing|swelling shut|closed up|tightening up)\b",
    r"\b(?:my|his|her) (?:tongue|lips|face|mouth)(?: and (?:tongue|lips|face|throat))? (?:is |"
    r"are |has "
    r"|have |getting |started |keeps? |suddenly )*(?:swelling|swollen|swelled|swell)(?: "
    r"\w+){0,8} (?:sting"
    r"|stung|nuts?|peanuts?|bee|wasp|breathe|breathing|allerg\w+|fast|quickly)\b",
    r"\b(?:stung|peanuts?|allerg\w+)(?: \w+){0,10} (?:tongue|lips|face|throat)(?: \w+){0,3} "
    r"(?:swelling|"
    r"swollen|closing|swell)\b",
    rf"{_NOW}(?:anaphyla\w+|electrocuted|drowned|drowning|struck by lightning|stabbed|been shot)\b",
    r"\b(?:bitten|bit) (?:\w+ )?by an? (?:\w+ )?(?:snake|viper|cobra|rattlesnake)\b",
    r"\b(?:need|send|get|call|calling) (?:me |us |him |her )?an ambulance\b(?! (?:driver|service))",
    r"\b(?:this|it) is an emergency\b|\bits an emergency\b",
)  # fmt: skip

_QUESTION_ABOUT = re.compile(
    r"\b(?:should|when (?:do|should)|do) (?:i|we|you|people) (?:always )?(?:need|call|get) an "
    r"ambulance (?:for|if)\b"
)


_READ = 20_000  # characters; keeps an endless text from holding up everybody else


@dataclass(frozen=True)
class Alarm:
    """What was noticed (`kind` is "self_harm" or "emergency") and the fixed reply to it."""

    kind: str
    reply: str


_RULES = {
    kind: re.compile("|".join(f"(?:{rule})" for rule in rules))
    for kind, rules in (("self_harm", _SELF_HARM), ("emergency", _EMERGENCY))
}

REPLIES = {
    "self_harm": (
        "It sounds as if you, or somebody close to you, may be in danger. You do not have to face "
        "this alone. If there is danger right now, call your local emergency number (112 in "
        "Europe, "
        "911 in North America, 999 in the United Kingdom) and stay with somebody. You can talk "
        "to a "
        "trained person at any hour: 988 in the United States and Canada, 116 123 in the United "
        "Kingdom and in many European countries; https://findahelpline.com lists other countries. "
        "I am a computer program and cannot help in a crisis."
    ),
    "emergency": (
        "This may be an emergency. Call your local emergency number now (112 in Europe, 911 in "
        "North America, 999 in the United Kingdom) or let somebody near you call, and follow what "
        "they tell you. After a poisoning or an overdose do the same, or call your poison centre "
        "(1-800-222-1222 in the United States); do not make the person vomit unless they tell you "
        "to. I am a computer program and cannot judge an emergency."
    ),
}


def alarm(text: str) -> Alarm | None:
    """The alarm that this text raises; None for one that raises none. Of an endless text, which no
    assistant answers, beginning and end are read.

    >>> alarm("my baby swollowed a battary").kind
    'emergency'
    >>> alarm("What are the symptoms of a stroke?") is None
    True
    """
    if len(text) > 2 * _READ:
        text = f"{text[:_READ]} {text[-_READ:]}"
    plain = " ".join(corrected(words(clean(text).replace("-", " "))))
    for kind, rule in _RULES.items():
        if rule.search(_QUESTION_ABOUT.sub(" ", plain)):
            return Alarm(kind, REPLIES[kind])
    return None
