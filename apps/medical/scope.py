"""Whether something said counts for the person: denied, uncertain, someone else's, or only supposed.

After NegEx (Chapman et al., Journal of Biomedical Informatics 34(5), 2001): trigger words before or
after a span, within its clause. English works on tokens, Chinese on characters.
"""

import re
from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    PRESENT = "present"
    ABSENT = "absent"
    UNCERTAIN = "uncertain"
    EXCLUDED = "excluded"
    """A relative's, hypothetical, or asked about in general."""


@dataclass(frozen=True)
class Token:
    text: str
    """Lower case, contractions opened: `can't` is `cannot`, `doesn't` is `not`."""
    start: int
    end: int
    raw: str

    @property
    def is_word(self) -> bool:
        return self.text[0].isalnum()


_TOKEN = re.compile(r"[A-Za-zÀ-ɏ]+(?:'[A-Za-z]+)?|\d+(?:\.\d+)?|[^\w\s]|\n")
_CANNOT = {"can't", "cant", "couldn't", "couldnt", "cannot", "unable"}
CHINESE = re.compile(r"[\u3400-\u9fff]")


def tokenize(text: str) -> list[Token]:
    """Words, numbers and punctuation with their offsets in the text."""
    plain = text.replace("\u2019", "'").replace("\u2018", "'")
    tokens: list[Token] = []
    for match in _TOKEN.finditer(plain):
        word = match.group().lower()
        if word in _CANNOT:
            word = "cannot"
        elif word.endswith("n't") or word in {
            "dont",
            "doesnt",
            "didnt",
            "isnt",
            "hasnt",
            "havent",
            "wont",
        }:
            word = "not"
        elif "'" in word:
            word = word.split("'")[0] or "'"
        if word == "not" and tokens and tokens[-1].text == "can":
            tokens[-1] = Token("cannot", tokens[-1].start, match.end(), tokens[-1].raw)
            continue
        tokens.append(Token(word, match.start(), match.end(), match.group()))
    return tokens


_SENTENCE_END = {".", "!", "?", ";", "\n", "。", "！", "？", "；"}
_CLAUSE_END = {
    "but",
    "however",
    "although",
    "though",
    "except",
    "besides",
    "because",
    "yet",
    "whereas",
}
# What "no" may be followed by without denying anything that comes later.
_EMPTY_NO = {
    "idea", "doubt", "relief", "change", "improvement", "matter", "wonder", "longer", "good", "clue",
    "better", "warning", "reason", "sleep", "help", "choice", "medication", "medicine", "insurance", "use",
    "one", "way", "answer", "response", "energy", "strength",
}  # fmt: skip
_EMPTY_NOT = {
    "sure", "only", "just", "certain", "improving", "better", "well", "right", "good", "helping", "working",
    "going", "stopping", "settling", "sleeping", "eating", "feeling", "able", "relieved", "responding", "easing",
    "stopped", "gone", "breathing", "want", "think", "realise", "realize", "know", "understand", "stand",
    "stop", "help", "work", "like", "believe", "tell", "mind", "drink", "sleep", "eat", "wake", "move", "pass",
    "bear", "take", "care", "wait", "see", "go", "usually", "that", "too", "making", "looking", "quite", "normal",
    "fun", "great", "himself", "herself", "myself", "waking", "until", "happy", "acting", "drinking", "moving",
    "fade", "fading", "to",
}  # fmt: skip
DENIALS = {
    "no",
    "not",
    "never",
    "without",
    "nor",
    "neither",
    "denies",
    "deny",
    "denied",
    "denying",
    "zero",
    "none",
}
_WIDE_DENIALS = {"denies", "deny", "denied", "denying", "negative", "neither", "without"}
_RESTARTS = {
    "i", "he", "she", "we", "they", "it", "have", "has", "had", "is", "am", "are", "was", "were", "feel",
    "feels", "now", "just", "only", "got", "getting", "started", "do", "does", "still", "my", "his", "her",
}  # fmt: skip
_AFTER_DENIALS = re.compile(
    r"^\s*(?:,\s*)?(?:(?:was|were|is|are|has|have|now|been|all|both|completely|test|tests|came|come|back)\s+){0,4}"
    r"(?:absent|negative|ruled out|resolved|gone|went away|excluded|denied|gone away|not present|cleared up)\b"
)
_UNCERTAIN = re.compile(
    r"\b(?:not sure (?:if|whether)?|maybe|might|possibly|possible|perhaps|suspected|unsure (?:if|whether)"
    r"|can't tell (?:if|whether)|could be)\b[^.;!?]{0,40}$"
)
_HYPOTHETICAL = re.compile(
    r"(?:\b(?:worried about(?: getting| having| developing| catching)?|afraid of|scared of|fear of|what if|in case"
    r"|if (?:i|he|she|they|we|you|someone|my \w+|there) (?:were|was|get|gets|got|have|has|had|develop|develops|ever|is|are)"
    r"|risk of|risks of|risk factors? for|chances? of|prevent\w*|avoid\w*|what (?:is|are|causes?|does)"
    r"|symptoms? of|signs? of|causes? of|treatments? (?:of|for)|tell me about|how (?:do (?:you|i)|to|is|are|does|can)"
    r"|explain|definition of|difference between|read about|heard about|reading about|read that|vaccin\w+"
    r"|article (?:on|about)|(?:when|should) (?:should )?(?:i|someone|we|you) (?:call|see|go|worry)|is it normal"
    r"|learn about|information (?:on|about)|study (?:on|about|of)|screen(?:ing|ed)? for|write about|essay (?:on|about)"
    r"|(?:film|movie|book|song|lecture|course|podcast|documentary|exam|leaflet) (?:\w+ )?(?:about|on))\b)[^.;!?\n]{0,70}$"
)
_RELATIVE = (
    r"(?:mother|mum|mom|mommy|father|dad|daddy|brother|sister|aunt|auntie|uncle|cousin|grandmother|grandma|gran"
    r"|nan|grandfather|grandpa|grandad|grandparents?|parents?|friend|friends|neighbou?r|colleague|co-?worker"
    r"|boss|in-law|nephew|niece|teacher|character)"
)
_FAMILY_PAST = re.compile(
    rf"\b{_RELATIVE}\b[^.;!?\n]{{0,40}}\b(?:had|died|suffered|used to|history|passed away|once"
    r"|survived|diagnosed)\b[^.;!?\n]{0,60}$"
)
_FAMILY_NOW = re.compile(rf"\b{_RELATIVE}\b[^.;!?\n]{{0,60}}$")
_FAMILY_HISTORY = re.compile(
    r"\bfamily history\b[^.;!?\n]{0,60}$|\bruns? in (?:my|the|our) family\b"
)
_GENERAL_QUESTION = re.compile(
    r"^\s*(?:is|are|can|does|do) (?!i\b|my\b|he\b|she\b|we\b)[^?]{0,60}\b(?:always|usually|ever|dangerous|contagious|common"
    r"|hereditary|causes?|means?|a sign|lead)\b[^?]*\?"
)
_SELF_AGAIN = re.compile(
    r"\b(?:and|but|now|while|so|then)\s+(?:i|i'm|i've|my|me)\b|[,;]\s*(?:i|i'm|i've|my)\b"
)
_PAST = re.compile(
    r"\b(?:(?:years?|decades?|months?) ago|as a (?:child|kid|teenager|baby|young)|in (?:19|20)\d\d|last year|when i was (?:a |\w+ years)"
    r"|used to (?:have|get|suffer)|no longer|in the past|previously|back in \w+)\b"
)
_NO_LONGER = re.compile(
    r"\b(?:no longer (?:have|has|had|get|gets|any)?|used to (?:have|get|be|suffer from))\b[^.;!?]{0,30}$"
)


def sentence_bounds(text: str, start: int, end: int) -> tuple[int, int]:
    """The sentence around a span; a full stop inside a number does not end it."""
    begin = max((m.end() for m in _SENTENCE_BREAK.finditer(text, 0, start)), default=0)
    stop = _SENTENCE_BREAK.search(text, end)
    return begin, stop.start() if stop else len(text)


_SENTENCE_BREAK = re.compile(r"[.!?](?=\s|$)|[;\n。！？；]")


def status_of(text: str, tokens: list[Token], start: int, end: int) -> Status:
    """The status of the span [start, end) of the text; `tokens` is `tokenize(text)`."""
    plain = text.replace("\u2019", "'").lower()
    if CHINESE.search(text[start:end]):
        return _chinese_status(plain, start, end)
    begin, stop = sentence_bounds(plain, start, end)
    before, after = plain[begin:start], plain[end:stop]
    if _is_someone_elses(plain, before, after):
        return Status.EXCLUDED
    if _HYPOTHETICAL.search(before) or _GENERAL_QUESTION.match(plain[begin : stop + 1]):
        return Status.EXCLUDED
    if _NO_LONGER.search(before) or _AFTER_DENIALS.match(after):
        return Status.ABSENT
    if (denied := _denied(tokens, start, begin)) is not None:
        return denied
    asked = plain[stop : stop + 1] == "?" and re.match(
        r"\s*(?:do|does|did|is|could|can|am) ", before
    )
    return Status.UNCERTAIN if asked or _UNCERTAIN.search(before) else Status.PRESENT


def is_past(text: str, start: int, end: int) -> bool:
    """Whether the sentence around the span speaks of long ago."""
    plain = text.replace("\u2019", "'").lower()
    begin, stop = sentence_bounds(plain, start, end)
    return bool(_PAST.search(plain[begin:stop])) or bool(
        re.search(r"年前|去年|小时候|以前|曾经|前年", plain[begin:stop])
    )


def _is_someone_elses(plain: str, before: str, after: str) -> bool:
    if _FAMILY_HISTORY.search(before) or re.match(
        r"[^.;!?]{0,30}\bruns? in (?:my|the|our) family", after
    ):
        return True
    for pattern in (_FAMILY_PAST, _FAMILY_NOW):
        if not (match := pattern.search(before)):
            continue
        if _SELF_AGAIN.search(before[match.start() :]):
            return False
        # "My mother has chest pain" is about the patient unless the writer has complaints too.
        return pattern is _FAMILY_PAST or bool(
            re.search(
                r"\b(?:i have|i've|i am|i'm|i feel|i get|i had|i also|should i|do i|am i)\b", plain
            )
        )
    return False


def _denied(tokens: list[Token], start: int, begin: int) -> Status | None:
    """ABSENT or UNCERTAIN when a denial reaches the span, None when none does."""
    position = next((i for i, token in enumerate(tokens) if token.end > start), len(tokens))
    commas = 0
    words: list[str] = []
    for index in range(position - 1, max(-1, position - 16), -1):
        token = tokens[index]
        if token.start < begin or token.text in _SENTENCE_END | _CLAUSE_END | {":"}:
            return None
        if token.text in {",", "/", "(", ")", "-", "–", "—"}:
            commas += token.text in {",", "–", "—", "("}
            if commas and token.text in {"–", "—"}:
                return None
            continue
        if token.text in DENIALS or (
            token.text in {"negative", "free"} and words[-1:] in (["for"], ["of"])
        ):
            following = words[-1] if words else ""
            if token.text in {"no"} and following in _EMPTY_NO:
                return None
            if token.text == "not" and following in _EMPTY_NOT:
                return None
            if token.text == "no" and len(words) > 9:
                return None
            if token.text in {"not", "never"} and (
                len(words) > 6 or _RESTARTS & set(words) - {"have", "had", "got", "feel", "getting"}
            ):
                return None
            if commas == 0:
                joined = "and" in words and _RESTARTS & set(words)
                return None if joined else Status.ABSENT
            if _RESTARTS & set(words) or "and" in words:
                return None
            sentence = [t.text for t in tokens[index + 1 :]]
            ends = [i for i, word in enumerate(sentence) if word in _SENTENCE_END]
            list_continues = "or" in sentence[: ends[0] if ends else None]
            wide = token.text in _WIDE_DENIALS or "any" in words
            return Status.ABSENT if list_continues or wide else Status.UNCERTAIN
        words.append(token.text)
    return None


_ZH_BREAK = re.compile(
    r"[。！？；\n!?;]|但是|但|不过|然而|可是|却|只是|就是|，(?=(?:我|现在|今天|就|只|有|已经|突然|还|也有))|,(?=\s*(?:我|现在|有))"
)
_ZH_DENIAL = re.compile(
    r"(?:没有|没(?!力|劲|胃|精|知|意|反|小便|尿)|并无|无(?!力|法|意|尿)|未见|未|否认|从不|不(?!停|清|了|上|过|能|会|想|舒|断|稳|醒|出|到|动|住|下|知|敢|太|好|对|行|省|吃|肯|见|仅|光|只|同|得|肿))[^。！？；\n]{0,14}$"
)
_ZH_HYPOTHETICAL = re.compile(
    r"(?:担心(?:会|得|有|是)?|害怕得|如果|要是|会不会|什么是|怎么预防|预防|风险|什么叫|是什么|有哪些|怎么治|症状|原因|疫苗|万一|听说|了解)[^。！？；\n]{0,16}$"
)
_ZH_GENERAL = re.compile(
    r"^[^。！\n]{0,8}(?:是什么|怎么治|有哪些|怎么预防|的症状|的原因|是怎么|怎么办理|怎么引起)"
)
_ZH_FAMILY = re.compile(
    r"(?:我?(?:妈妈|母亲|妈|爸爸|父亲|爸|奶奶|爷爷|外婆|外公|姥姥|姥爷|哥哥|姐姐|弟弟|妹妹|叔叔|阿姨|朋友|同事|邻居))[^。！？；\n，,]{0,8}(?:曾|得过|以前|去年|有过|死于|患过|年前)[^。！？；\n]{0,12}$|家族(?:史|里|中)?[^。！？；\n]{0,12}$"
)
_ZH_UNCERTAIN = re.compile(r"(?:可能|也许|好像|似乎|不确定|不知道是不是)[^。！？；\n，]{0,10}$")


def _chinese_status(plain: str, start: int, end: int) -> Status:
    begin = max((m.end() for m in _ZH_BREAK.finditer(plain, 0, start)), default=0)
    before, after = plain[begin:start], plain[end:]
    if _ZH_FAMILY.search(before) or _ZH_HYPOTHETICAL.search(before) or _ZH_GENERAL.match(after):
        return Status.EXCLUDED
    if _ZH_DENIAL.search(before):
        return Status.ABSENT
    if re.match(r"(?:已经)?(?:消失|好了|没了|退了)", after):
        return Status.ABSENT
    return Status.UNCERTAIN if _ZH_UNCERTAIN.search(before) else Status.PRESENT
