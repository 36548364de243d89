"""Free text -> findings: HPO terms that the person has, denies or is unsure of, with their spans.

A dictionary of all HPO names and synonyms and of everyday phrases (`lay_terms.py`) is matched over
windows of normalised words. The order of the words inside a window does not count, so that "pain in
my chest" and "chest pain" are one key. Also read: vital signs, age, sex.
"""

import re
import threading
import unicodedata
from dataclasses import dataclass, field, replace
from functools import lru_cache

from apps.medical import lay_terms
from apps.medical.ontology import Ontology
from apps.medical.ontology import load as load_ontology
from apps.medical.scope import CHINESE, DENIALS, Status, Token, is_past, status_of, tokenize

MAX_WINDOW = 8
MIN_TYPO_LENGTH = 6


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One mention. Offsets are in characters of the text it was read from."""

    term: str
    """HPO id."""
    name: str
    status: Status
    start: int
    end: int
    text: str
    confidence: float
    source: str
    """"name" (the ontology's words), "lay", "typo", "number" or "suggested"."""


@dataclass(frozen=True, kw_only=True)
class Vitals:
    """Measured values that the text states; None where it states none."""

    temperature_c: float | None = None
    systolic: int | None = None
    diastolic: int | None = None
    heart_rate: int | None = None
    oxygen_percent: int | None = None
    glucose_mmol: float | None = None


@dataclass(frozen=True, kw_only=True)
class Reading:
    """All that one message says about the person."""

    findings: tuple[Finding, ...] = ()
    vitals: Vitals = field(default_factory=Vitals)
    age_years: float | None = None
    sex: str = ""


# Normalisation ------------------------------------------------------------------------------------

_BRITISH = (
    ("haem", "hem"), ("aem", "em"), ("oedem", "edem"), ("oesoph", "esoph"), ("rrhoe", "rrhe"), ("foet", "fet"),
    ("paed", "ped"), ("tumour", "tumor"), ("colour", "color"), ("odour", "odor"), ("oestr", "estr"),
    ("leuk", "leuk"), ("caec", "cec"), ("faec", "fec"), ("apnoe", "apne"), ("pnoea", "pnea"), ("humour", "humor"),
    ("behaviour", "behavior"), ("gynae", "gyne"), ("orthopae", "orthope"), ("centre", "center"), ("fibre", "fiber"),
)  # fmt: skip
_DROPPED = {
    "a", "an", "the", "my", "his", "her", "their", "our", "your", "its", "this", "that", "these", "those", "of",
    "in", "on", "at", "with", "to", "for", "from", "by", "is", "are", "was", "were", "am", "has", "have", "had",
    "got", "been", "some", "any", "i", "me", "he", "she",
}  # fmt: skip
_INTENSIFIERS = {
    "very", "really", "extremely", "quite", "pretty", "so", "too", "such", "severe", "severely", "bad", "badly",
    "terrible", "terribly", "awful", "awfully", "horrible", "mild", "mildly", "slight", "slightly", "bit", "little",
    "constant", "constantly", "intense", "sudden", "suddenly", "unusually", "always", "often", "left", "right",
    "both", "whole", "entire", "recurrent", "recurring", "persistent", "frequent", "frequently", "chronic",
    "massive", "huge", "nasty", "strong", "marked", "markedly", "significant", "significantly", "abnormally",
    "still", "just", "also", "kind", "sort", "rather", "super", "absolutely", "completely", "getting", "becoming",
    "keep", "keeps", "feeling", "feels", "feel", "going", "been", "sharp", "dull", "worsening", "progressive",
    "noticeably", "exceptionally", "occasional", "occasionally", "intermittent", "all", "now", "started", "new",
}  # fmt: skip


@lru_cache(maxsize=32_768)
def normalize(word: str) -> str:
    """Lower case, no accents, American spelling, singular."""
    word = word.lower()
    if not word.isascii():
        word = unicodedata.normalize("NFKD", word)
        word = "".join(c for c in word if not unicodedata.combining(c))
    for british, american in _BRITISH:
        word = word.replace(british, american)
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("sses", "ches", "shes", "xes")):
        return word[:-2]
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is", "ous")):
        return word[:-1]
    return word


Key = tuple[str, ...]


def _key(words: list[str]) -> Key:
    return tuple(sorted(words))


_PHRASE_WORD = re.compile(r"[^\W\d_]+|\d+(?:\.\d+)?")


def _phrase_key(phrase: str) -> Key:
    words = _PHRASE_WORD.findall(phrase.lower().replace("'s", ""))
    return _key([normalize(word) for word in words if word not in _DROPPED])


@dataclass(frozen=True)
class Matcher:
    """Keys of every phrase; built once by `load`."""

    ontology: Ontology
    phrases: dict[Key, tuple[int, str]]
    """Key -> (term's position, source)."""
    abbreviations: dict[str, int]
    """Upper-case short forms, matched only in upper case."""
    chinese: dict[str, int]
    words: frozenset[str]
    deletions: dict[str, tuple[str, ...]]
    """A word with one letter left out -> the words of MIN_TYPO_LENGTH letters or more it may be."""


_lock = threading.Lock()
_loaded: Matcher | None = None

# Names and synonyms of the ontology that mean something else in everyday text.
_AMBIGUOUS = {
    "pain", "death", "stroke", "all", "falls", "cold", "cramps", "frequency", "mass", "tics", "tic",
    "cancer", "tumor", "onset", "mole", "moles", "scar", "scarring", "warts", "cutting", "shock", "fatty stool",
    "jumping", "hopping", "squawks", "rosette", "rosettes", "inertia", "fisting", "tearing", "slough", "sloughing",
    "hostile", "trance", "corn", "corns", "pac", "hydrops", "birth", "infection", "infections", "obesity", "abscess", "bleeding", "trauma", "burns", "allergy", "tall", "pica",
}  # fmt: skip
_KEPT_WORDS = {"pain", "stroke", "obesity", "allergy", "tics", "tic", "pica"}


def load() -> Matcher:
    global _loaded
    with _lock:
        if _loaded is None:
            _loaded = build(load_ontology()[0])
        return _loaded


def build(ontology: Ontology) -> Matcher:
    phrases: dict[Key, tuple[int, str]] = {}
    abbreviations: dict[str, int] = {}
    by_name = {name: position for position, name in enumerate(ontology.names)}
    for name, everyday in lay_terms.ENGLISH_PHRASES.items():
        for phrase in everyday:
            phrases.setdefault(_phrase_key(phrase), (by_name[name], "lay"))
    entries = [(name, position) for position, name in enumerate(ontology.names)]
    entries += [(s, p) for p, synonyms in enumerate(ontology.synonyms) for s in synonyms]
    for phrase, position in entries:
        if phrase.lower() in _AMBIGUOUS - _KEPT_WORDS:
            continue
        if phrase.isupper() and len(phrase) <= 5:
            abbreviations.setdefault(phrase, position)
            continue
        key = _phrase_key(phrase)
        if key and len(key) <= MAX_WINDOW and re.search("[a-z]{3}", "".join(key)):
            phrases.setdefault(key, (position, "name"))
    words = frozenset(word for key in phrases for word in key)
    deletions: dict[str, set[str]] = {}
    for word in words:
        if len(word) >= MIN_TYPO_LENGTH:
            for shorter in _without_one_letter(word) | {word}:
                deletions.setdefault(shorter, set()).add(word)
    return Matcher(
        ontology=ontology,
        phrases=phrases,
        abbreviations=abbreviations,
        chinese={
            phrase: by_name[name]
            for name, everyday in lay_terms.CHINESE_PHRASES.items()
            for phrase in everyday
        },
        words=words,
        deletions={shorter: tuple(sorted(found)) for shorter, found in deletions.items()},
    )


def _without_one_letter(word: str) -> set[str]:
    return {word[:i] + word[i + 1 :] for i in range(len(word))}


def _is_one_edit(first: str, second: str) -> bool:
    """One letter inserted, left out or changed, or two neighbours swapped; not the first letter."""
    if first[0] != second[0]:
        return False
    if abs(len(first) - len(second)) == 1:
        longer, shorter = sorted((first, second), key=len, reverse=True)
        return shorter in _without_one_letter(longer)
    if len(first) != len(second):
        return False
    differing = [i for i in range(len(first)) if first[i] != second[i]]
    if len(differing) == 2:
        i, j = differing
        return j == i + 1 and first[i] == second[j] and first[j] == second[i]
    return len(differing) == 1


def correct_typo(matcher: Matcher, word: str) -> str | None:
    """The one dictionary word a single edit away from an unknown word, if it is unique."""
    if len(word) < MIN_TYPO_LENGTH or word in matcher.words or not word.isalpha():
        return None
    near = {
        candidate
        for shorter in _without_one_letter(word) | {word}
        for candidate in matcher.deletions.get(shorter, ())
        if _is_one_edit(word, candidate)
    }
    return near.pop() if len(near) == 1 else None


# Reading ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Word:
    normal: str
    first: int
    """Index of its token."""
    typo: bool


def read(text: str) -> Reading:
    """Everything the message says; the newest statement about a term wins."""
    matcher = load()
    tokens = tokenize(text)
    vitals, measured = _read_vitals(text, matcher)
    found = _match_english(text, tokens, matcher) + _match_chinese(text, tokens, matcher)
    numbers = [(f.start, f.end) for f in measured]
    found = [f for f in found if not _contradicted(f, measured)]
    by_term: dict[str, Finding] = {}
    for finding in sorted(found + measured, key=lambda f: (f.start, f.end)):
        if finding.status is Status.EXCLUDED:
            continue
        before = by_term.get(finding.term)
        if before is None or (before.start, before.end) not in numbers:
            by_term[finding.term] = finding
    return Reading(
        findings=tuple(by_term.values()),
        vitals=vitals,
        age_years=read_age(text),
        sex=read_sex(text),
    )


def _contradicted(finding: Finding, measured: list[Finding]) -> bool:
    """A measured value decides about its own term: "temperature 36.8" is no fever."""
    return any(number.term == finding.term for number in measured)


def _match_english(text: str, tokens: list[Token], matcher: Matcher) -> list[Finding]:
    found: list[Finding] = []
    words: list[_Word] = []
    segments: list[list[_Word]] = []
    for index, token in enumerate(tokens):
        if not token.is_word:
            segments.append(words)
            words = []
            continue
        if token.raw in matcher.abbreviations:
            found.append(
                _finding(
                    text,
                    tokens,
                    matcher,
                    matcher.abbreviations[token.raw],
                    index,
                    index,
                    "name",
                    0.8,
                )
            )
        if token.text in _DROPPED:
            continue
        normal = normalize(token.text)
        corrected = correct_typo(matcher, normal)
        words.append(_Word(corrected or normal, index, corrected is not None))
    segments.append(words)
    chosen: list[_Match] = []
    for segment in segments:
        chosen += _choose(text, tokens, matcher, segment)
    # The "no" of "no appetite" belongs to the finding and denies nothing after it.
    own = {
        index
        for match in chosen
        for index in range(match.words[0].first, match.words[-1].first + 1)
    }
    tokens = [
        replace(token, text="_") if index in own and token.text in DENIALS else token
        for index, token in enumerate(tokens)
    ]
    for match in chosen:
        typo = any(word.typo for word in match.words)
        found.append(
            _finding(
                text,
                tokens,
                matcher,
                match.position,
                match.words[0].first,
                match.words[-1].first,
                "typo" if typo else match.source,
                0.7 if typo else (0.9 if match.source == "lay" else 0.95),
            )
        )
    return found


@dataclass(frozen=True)
class _Match:
    words: list[_Word]
    position: int
    source: str


def _choose(text: str, tokens: list[Token], matcher: Matcher, segment: list[_Word]) -> list[_Match]:
    """The longest windows that are a phrase, none overlapping another."""
    plain = [word for word in segment if tokens[word.first].text not in _INTENSIFIERS]
    candidates: list[tuple[int, int, _Match]] = []
    for rank, stream in ((1, segment), (0, plain)):
        for size in range(min(MAX_WINDOW, len(stream)), 0, -1):
            for begin in range(len(stream) - size + 1):
                window = stream[begin : begin + size]
                hit = matcher.phrases.get(_key([word.normal for word in window]))
                if hit is not None:
                    candidates.append((size, rank, _Match(window, *hit)))
    candidates.sort(key=lambda c: (-c[0], -c[1], c[2].words[0].first))
    taken: set[int] = set()
    chosen: list[_Match] = []
    for _size, _rank, match in candidates:
        covered = set(range(match.words[0].first, match.words[-1].first + 1))
        if not covered & taken and not _is_normal_temperature(text, tokens, match.words):
            taken |= covered
            chosen.append(match)
    return chosen


def _is_normal_temperature(text: str, tokens: list[Token], window: list[_Word]) -> bool:
    """ "My temperature is normal" names no fever."""
    if [word.normal for word in window] not in (
        ["temperature"],
        ["temp"],
        ["running", "temperature"],
    ):
        return False
    end = tokens[window[-1].first].end
    return bool(
        re.match(
            r"[^.;\n]{0,20}\b(?:normal|fine|ok|okay|3[67])\b|[^.;\n]{0,6}\d", text[end:].lower()
        )
    )


def _finding(
    text: str, tokens: list[Token], matcher: Matcher, position: int, first: int, last: int,
    source: str, confidence: float,
) -> Finding:  # fmt: skip
    start, end = tokens[first].start, tokens[last].end
    status = status_of(text, tokens, start, end)
    if status is Status.PRESENT and is_past(text, start, end):
        confidence = min(confidence, 0.6)
    return Finding(
        term=matcher.ontology.identifier(position),
        name=matcher.ontology.names[position],
        status=status,
        start=start,
        end=end,
        text=text[start:end],
        confidence=confidence,
        source=source,
    )


def _match_chinese(text: str, tokens: list[Token], matcher: Matcher) -> list[Finding]:
    if not CHINESE.search(text):
        return []
    found: list[Finding] = []
    position = 0
    longest = max(map(len, matcher.chinese))
    while position < len(text):
        for size in range(min(longest, len(text) - position), 0, -1):
            piece = text[position : position + size]
            if (term := matcher.chinese.get(piece)) is not None:
                start, end = position, position + size
                found.append(
                    Finding(
                        term=matcher.ontology.identifier(term),
                        name=matcher.ontology.names[term],
                        status=status_of(text, tokens, start, end),
                        start=start,
                        end=end,
                        text=piece,
                        confidence=0.9,
                        source="lay",
                    )
                )
                position = end
                break
        else:
            position += 1
    return found


# Numbers ------------------------------------------------------------------------------------------

_TEMPERATURE = re.compile(
    r"(?:(?P<word>fever|temp(?:erature)?|体温|发烧|发热|烧到|高烧|烧)\D{0,18}?)?(?<![\d.])(?P<value>\d{2,3}(?:\.\d{1,2})?)\s*"
    r"(?P<unit>°\s*[cf]?|º\s*[cf]?|degrees?(?:\s*(?:c|f|celsius|fahrenheit))?|℃|℉|度|[cf]\b)?",
    re.IGNORECASE,
)
_PRESSURE = re.compile(r"(?<![\d/.])(?P<high>\d{2,3})\s*(?:/|over)\s*(?P<low>\d{2,3})(?![\d/])")
_HEART_RATE = re.compile(
    r"(?:\bhr\b|heart rate|heartrate|pulse(?: rate)?|bpm|心率|脉搏)\D{0,14}(?P<value>\d{2,3})(?!\s*/|\d)"
    r"|(?<!\d)(?P<other>\d{2,3})\s*(?:bpm|beats (?:per|a) minute|次/分)",
    re.IGNORECASE,
)
_OXYGEN = re.compile(
    r"(?:sats?|spo2|sp02|o2|oxygen(?: saturation| level)?|saturation|血氧)\D{0,18}(?P<value>\d{2})\s*%?",
    re.IGNORECASE,
)
_GLUCOSE = re.compile(
    r"(?:blood sugar|glucose|sugars?|血糖|\bbm\b|\bbsl\b)\D{0,18}(?P<value>\d{1,3}(?:\.\d)?)\s*(?P<unit>mg|mmol)?",
    re.IGNORECASE,
)


def _read_vitals(text: str, matcher: Matcher) -> tuple[Vitals, list[Finding]]:
    vitals = Vitals()
    found: list[Finding] = []

    def add(name: str, match: re.Match[str], status: Status = Status.PRESENT) -> None:
        position = _position(matcher, name)
        found.append(
            Finding(
                term=matcher.ontology.identifier(position),
                name=name,
                status=status,
                start=match.start(),
                end=match.end(),
                text=match.group().strip(),
                confidence=0.95,
                source="number",
            )
        )

    for match in _TEMPERATURE.finditer(text):
        celsius = _celsius(match)
        if celsius is None:
            continue
        vitals = replace(vitals, temperature_c=celsius)
        if celsius >= 38.0:
            add("Fever", match)
        elif celsius < 35.0:
            add("Hypothermia", match)
        else:
            add("Fever", match, Status.ABSENT)
    for match in _PRESSURE.finditer(text):
        high, low = int(match["high"]), int(match["low"])
        context = text[max(0, match.start() - 30) : match.end() + 8].lower()
        named = re.search(r"bp|blood pressure|pressure|mmhg|血压|over", context)
        if not (60 <= high <= 280 and 30 <= low <= 180 and high > low):
            continue
        if named or (high >= 90 and low >= 50):
            vitals = replace(vitals, systolic=high, diastolic=low)
            if high >= 140 or low >= 90:
                add("Hypertension", match)
            elif high < 90:
                add("Hypotension", match)
    for match in _HEART_RATE.finditer(text):
        rate = int(match["value"] or match["other"])
        if 20 <= rate <= 260:
            vitals = replace(vitals, heart_rate=rate)
            if rate > 100:
                add("Tachycardia", match)
            elif rate < 50:
                add("Bradycardia", match)
    for match in _OXYGEN.finditer(text):
        percent = int(match["value"])
        if 50 <= percent <= 99:
            vitals = replace(vitals, oxygen_percent=percent)
            if percent < 94:
                add("Hypoxemia", match)
    for match in _GLUCOSE.finditer(text):
        value = float(match["value"])
        in_mg = (match["unit"] or "").lower() == "mg" or (not match["unit"] and value > 40)
        mmol = value / 18.0 if in_mg else value
        vitals = replace(vitals, glucose_mmol=round(mmol, 1))
        if mmol >= 11.1:
            add("Hyperglycemia", match)
        elif mmol < 3.9:
            add("Hypoglycemia", match)
    return vitals, found


def _position(matcher: Matcher, name: str) -> int:
    position, _source = matcher.phrases[_phrase_key(name)]
    return position


def _celsius(match: re.Match[str]) -> float | None:
    """The temperature in °C if the number is one, from its unit, its word and its size."""
    value, unit = float(match["value"]), (match["unit"] or "").lower().replace(" ", "")
    if not unit and not match["word"]:
        return None
    fahrenheit = unit.endswith(("f", "fahrenheit", "℉"))
    celsius = unit.endswith(("c", "celsius", "℃", "度"))
    if fahrenheit or (not celsius and 94 <= value <= 110):
        return round((value - 32) / 1.8, 1) if 85 <= value <= 112 else None
    return value if 30 <= value <= 43.5 else None


# Age and sex --------------------------------------------------------------------------------------

_AGE_UNITS = {"day": 1 / 365.25, "week": 7 / 365.25, "month": 1 / 12, "year": 1.0}
_AGE = re.compile(
    r"(?<![\d.])(?P<n>\d{1,3}(?:\.5)?)[\s-]*(?P<unit>days?|weeks?|wks?|wk|months?|mths?|mo|years?|yrs?|yr|y)[\s./-]*(?:olds?\b|o\b|of age)"
    r"|\b(?:aged?|age is)\s*:?\s*(?P<aged>\d{1,3})\b(?!\s*(?:%|kg|cm|weeks|months|days))"
    r"|\b(?:i'm|i am|he's|he is|she's|she is)\s+(?:a\s+)?(?P<am>\d{1,3})\b(?!\s*(?:%|kg|cm|weeks?|months?|days?|hours?|minutes?|pounds|stone|st\b|lbs|km|times|°|/))"
    r"|\b(?:boy|girl|man|woman|male|female|patient|child) of (?P<of>\d{1,3})\b"
    r"|\b(?:baby|newborn|infant|son|daughter)\W+(?:\w+\W+)?(?P<bn>\d{1,2})\s*(?P<bunit>days?|weeks?|months?)\b"
    r"|\b(?P<short>\d{1,3})\s*(?:yo|y/o|yrs)\b|\b(?P<mf>\d{1,3})\s*(?P<mfs>[mf])\b|\b(?P<fms>[mf])\s?(?P<fm>\d{2})\b",
    re.IGNORECASE,
)
_AGE_ZH = re.compile(
    r"(?P<n>\d{1,3})\s*(?P<unit>岁|个月大|个月的?(?:宝宝|婴儿|孩子|女儿|儿子)|天大|周大)"
)


def read_age(text: str) -> float | None:
    """The person's age in years, if the text states one."""
    plain = text.replace("\u2019", "'")
    for match in _AGE.finditer(plain):
        if match["n"]:
            unit = match["unit"].lower()
            name = {"d": "day", "w": "week", "m": "month", "y": "year"}[unit[0]]
            age = float(match["n"]) * _AGE_UNITS[name]
        elif match["bn"]:
            age = float(match["bn"]) * _AGE_UNITS[match["bunit"].lower().rstrip("s")]
        else:
            age = float(
                match["aged"]
                or match["am"]
                or match["of"]
                or match["short"]
                or match["mf"]
                or match["fm"]
            )
        if 0 <= age <= 120:
            return round(age, 3)
    if chinese := _AGE_ZH.search(text):
        unit = {"岁": "year", "个": "month", "天": "day", "周": "week"}[chinese["unit"][0]]
        return round(float(chinese["n"]) * _AGE_UNITS[unit], 3)
    if re.search(r"\bnewborn\b|\bneonate\b|新生儿", plain, re.IGNORECASE):
        return 0.02
    return None


_FEMALE = re.compile(
    r"\b(?:woman|female|girl|lady|pregnant|pregnancy|my (?:wife|daughter|girlfriend|mother|mum|mom|sister|grandmother|grandma|aunt|niece)|daughter|wife|she|her|my period|postpartum)\b|女|怀孕|孕妇|孕\d|月经|我妻子|我老婆|妈妈|母亲|她",
    re.IGNORECASE,
)
_MALE = re.compile(
    r"\b(?:man|male|boy|gentleman|my (?:husband|son|boyfriend|father|dad|brother|grandfather|grandpa|uncle|nephew)|son|husband|he|his|testic\w+|prostate|penis)\b|男|我丈夫|我老公|爸爸|父亲|儿子|睾丸|他",
    re.IGNORECASE,
)
_RELATIVES = re.compile(
    r"\bmy (?:wife|girlfriend|mother|mum|mom|sister|grandmother|grandma|aunt|niece|husband|boyfriend|father|dad|brother|grandfather|grandpa|uncle|nephew)\b|\b(?:she|he|her|his)\b|妈妈|母亲|爸爸|父亲|[他她]",
    re.IGNORECASE,
)
_SELF_SEX = re.compile(
    r"\bi(?:'m| am) (?:a |an )?(?:[\w-]+ ){0,4}?(?P<word>woman|female|girl|man|male|boy|guy|lady)\b|\b\d{1,3}\s*(?P<mf>[mf])\b"
    r"|\b(?P<fm>[mf])\s?\d{2}\b|\byear[\s-]old (?:\w+ )?(?P<old>woman|female|girl|man|male|boy|lady|gentleman)\b",
    re.IGNORECASE,
)


def read_sex(text: str) -> str:
    """ "female", "male", or "" where the text does not say or says both."""
    plain = text.replace("\u2019", "'")
    if match := _SELF_SEX.search(plain):
        word = (match["word"] or match["mf"] or match["fm"] or match["old"]).lower()
        return "female" if word in {"woman", "female", "girl", "lady", "f"} else "male"
    if re.search(
        r"\bi(?:'m|'ve)?\b|我(?!妈|爸|母|父|丈|老|妻|儿|女|的?(?:孩|宝))", plain, re.IGNORECASE
    ):
        # The writer is the patient: the relatives mentioned beside say nothing about them.
        plain = _RELATIVES.sub(" ", plain)
    female, male = bool(_FEMALE.search(plain)), bool(_MALE.search(plain))
    if female != male:
        return "female" if female else "male"
    return ""
