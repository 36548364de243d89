"""What people say in any service, in English and Chinese: yes, no, never mind, a person, please."""

import re
import unicodedata
from dataclasses import dataclass

LONGEST_READ = 20_000
"""Characters of a message that are looked at; the rest of a longer paste is ignored."""

_SPACE = re.compile(r"[^\S\n]+")
_WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)?|[\u3400-\u9fff]")


def clean(text: str) -> str:
    """The message as the tracker reads it: one form of each character, single spaces."""
    text = unicodedata.normalize("NFKC", text[:LONGEST_READ]).replace("\x00", "")
    text = text.replace("’", "'").replace("‘", "'")
    return _SPACE.sub(" ", text).strip()


def words(text: str) -> list[str]:
    """Lower-case words; every Chinese character is one."""
    return _WORD.findall(text.lower())


def content_words(text: str) -> set[str]:
    """Word stems without the words that carry no meaning; Chinese as pairs of characters."""
    found = {stem(word) for word in words(text) if word not in STOP_WORDS and word.isascii()}
    for run in re.findall(r"[\u3400-\u9fff]+", text):
        found.update(run[index : index + 2] for index in range(max(1, len(run) - 1)))
    return found


def telling_words(text: str) -> set[str]:
    """As `content_words`, with the question words, which tell wishes apart."""
    asked = {word.removesuffix("'s") for word in words(text)} & _QUESTION_WORDS
    told = {word for word in content_words(text) if "'" not in word and not word.isdigit()}
    return told | asked


_QUESTION_WORDS = frozenset("what where when how why who which do have can want need".split())


def stem(word: str) -> str:
    for ending in ("ings", "ing", "ied", "ies", "ed", "es", "s", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            base = word[: -len(ending)]
            return base + "y" if ending in ("ied", "ies") else base
    return word


STOP_WORDS = frozenset(
    "a an the my your our their its his her this that these those is are was were be been am i we "
    "you he she it they me us them to of in on at for with from by as and or but so if then there "
    "here do does did done have has had will would can could should may might must shall not no "
    "please just really very too also about into onto over what which who whom whose when where "
    "why how any some one ones get got go going want need like would'd i'd i'm i've it's that's "
    "don't can't let know tell hi hello hey thanks thank ok okay yes".split()
)

_YES = frozenset(
    "yes yeah yep yup yea ya yess yse sure ok okay okey correct right exactly confirm confirmed "
    "confirming absolutely definitely certainly indeed fine perfect great y affirmative agreed "
    "proceed submit".split()
)
_YES_PHRASES = re.compile(
    r"\b(go ahead|go for it|do it|do that|please do|sounds good|looks good|looks right|looks fine"
    r"|that works|of course|all good|no problem|why not|that is right|that's right|send it|i do"
    r"|i confirm|go on|carry on)\b"
)
_YES_CHINESE = re.compile(
    r"(是的?|对的?|对啊|好的?|好啊|可以的?|确认|确定|没错|没问题|行|嗯+|同意|要的?|继续)[吧啊呀了的哦]?"
)
_NO = frozenset("no nope nah not n negative neither never wrong incorrect don't dont isn't".split())
_NO_CHINESE = re.compile(r"(不是?|不对|不要|不行|不用了?|不可以|没有|不了|错了?|否)[吧啊呀了的]?")
_FILLER = frozenset(
    "please thanks thank you very much so that that's thats this is it it's its all the i i'd i'll "
    "am do me my now then well good nice cool lovely just for go with sir madam mate and to oh um "
    "uh hmm ah looks sounds everything yes_ want would like really at moment".split()
)
_BUT = re.compile(
    r"\b(but|except|however|wait|only|instead|actually|change|though)\b|但是?|不过|等等"
)

_PERSON = re.compile(
    r"\b(?:talk|speak|chat|connect|transfer|put|pass|get|give|want|need|escalate|see|call|hand"
    r"|reach|contact|have|bring)\b[^.?!\n]{0,30}\b(?:person|human|someone|somebody|agent|staff"
    r"|representative|rep|manager|operator|colleague|supervisor|advisor|adviser|employee)\b"
    r"|\b(?:real|actual|live|human) (?:person|human|agent|being|operator|support|chat|help)\b"
    r"|^\W*(?:a |an )?(?:human|agent|person|operator|representative)(?: please)?\W*$"
    r"|\bnot (?:a |to a )?(?:bot|robot|machine)\b"
    r"|(?:转|找|要|接|叫|换)(?:个)?(?:人工|真人|客服)|人工(?:客服|服务)|真人(?:客服|服务)?|^人工$"
)
_NO_PERSON = re.compile(
    r"\b(?:don't|do not|dont|not|no need|without|rather not|instead of)\b[^.?!\n]{0,25}"
    r"\b(?:talk|speak|chat|person|human|agent|someone)|(?:不要|不用|别)(?:转|找)?(?:人工|真人)"
)
_CANCEL = re.compile(
    r"(?:no |ok |okay |oh |well |actually |please |sorry |just |let's |i want to |i'd like to |can you )*"
    r"(?:cancel|stop|abort|quit|exit|never ?mind|nevermind|forget (?:it|about it|that|this)"
    r"|leave it|drop it|scrap (?:it|that)|i(?:'ve| have)? changed my mind|don't bother"
    r"|skip (?:it|this|that))"
    r"(?: (?:it|this|that|all(?: of (?:it|this|that|them))?|everything|please|now|then|the whole thing|the request|request"
    r"|my mind|anymore|thanks|thank you))*\W*"
)
_CANCEL_CHINESE = re.compile(
    r"(?:请|我想|我要|帮我|那|还是)*(?:取消|算了|不用了|不办了|不弄了|停)(?:吧|了|这个|操作|请求)*\W*"
)
_CANCEL_ALL = re.compile(r"\b(?:all|everything|whole thing)\b|全部|所有")
_RESTART = re.compile(
    r"\W*(?:please )?(?:start (?:over|again|from scratch)|restart|reset|begin again)\W*"
    r"|\W*(?:重新开始|从头(?:再)?来|重来)\W*"
)
_THANKS = re.compile(r"\b(?:thanks|thank you|thx|cheers|ta|much appreciated)\b|谢谢|多谢|感谢")
_GREETING = re.compile(
    r"\W*(?:hi|hello|hey|hiya|good (?:morning|afternoon|evening|day)|greetings|howdy"
    r"|你好|您好|嗨|早上好|下午好|晚上好|在吗)(?: (?:there|all|everyone|again))?\W*"
)
_GOODBYE = re.compile(
    r"\W*(?:bye|goodbye|bye bye|see you|that's all|that is all|nothing else|that will be all"
    r"|no,? that's (?:all|it|everything)|i'm done|we're done|再见|拜拜|没有了|没事了)"
    r"(?: (?:for now|later|thanks|thank you))?\W*"
)
_DONT_CARE = re.compile(
    r"\b(?:any(?:thing)?(?: (?:is|will do|works|one|of them))*|(?:it )?do(?:es)?n't (?:really )?matter"
    r"|don't (?:really )?(?:care|mind)|whatever|whichever|either(?: one| is fine)?|no preference"
    r"|up to you|not fussed|you (?:choose|decide|pick))\b|随便|都可以|无所谓|都行|任意|不限"
)
_CORRECTION = re.compile(
    r"^(?:oh |ah |oops |wait |ok )*(?:no|nope|sorry|wait|actually|oops|correction|scratch that)\b"
    r"|[,.;] ?(?:no|nope|oops|wait|sorry)\b[,.]? |\b(?:no,? sorry|sorry,? no|no,? wait)\b"
    r"|\b(?:i meant?|i mean|rather|instead|make (?:it|that)|should(?: have)? be(?:en)?|not \S+ but"
    r"|correct(?:ion)?|change (?:it|that|the|my)|replace|typo|mistake|mistyped|my bad|wrong"
    r"|incorrect|actually)\b"
    r"|不是|不对|改成|改为|应该是|我是说|搞错|写错|错了"
)
_QUESTION = re.compile(
    r"[?？]|^(?:and |but |so |ok |okay |well |by the way,? |btw,? |first,? )*"
    r"(?:what|what's|how|how's|when|where|where's|why|who|which|can|could|do|does|did|is|are|will"
    r"|would|may|should|am|has|have)\b"
    r"|\b(?:tell me|i wonder|wondering|explain|question)\b"
    r"|吗|什么|怎么|多少|多久|哪|为什么|能不能|是否|几天|如何|请问"
)
_RETRY = re.compile(r"\b(?:try|retry|again|once more)\b|再试|重试|再来")
_LACKS = re.compile(
    r"\b(?:don't|do not|dont|can't|cannot|no longer) (?:have|know|remember|find|recall)\b|\bno idea\b"
    r"|\b(?:i )?(?:lost|forgot) (?:it|my|the)\b|不知道|不记得|忘了|找不到"
)
_ABUSE = re.compile(
    r"\b(?:f+u+c+k\w*|sh[i1]t\w*|bitch\w*|assholes?|arseholes?|bastards?|cunts?|dickheads?|morons?"
    r"|idiots?|stupid|dumb|wankers?|twats?|retard\w*|bullshit|crap|damn|bloody|useless|sucks?)\b"
    r"|傻逼|傻瓜|他妈的?|妈的|混蛋|王八蛋|废物|去死|垃圾|滚"
)


@dataclass(frozen=True, kw_only=True)
class Acts:
    """What a message does, apart from the values and wishes in it."""

    affirms: bool = False
    """Says yes and nothing else."""
    denies: bool = False
    """Says no and nothing else."""
    starts_with_no: bool = False
    cancels: bool = False
    cancels_all: bool = False
    person: bool = False
    thanks: bool = False
    greets: bool = False
    leaves: bool = False
    dont_care: bool = False
    corrects: bool = False
    restarts: bool = False
    retries: bool = False
    lacks: bool = False
    """Says that the person doesn't have what was asked for."""
    asks: bool = False

    @property
    def wordless(self) -> bool:
        """Nothing in it asks for anything or gives anything."""
        return self.affirms or self.denies or self.cancels or self.restarts


def read_acts(text: str) -> Acts:
    """`text` is already clean. A long text does nothing but perhaps ask for a person."""
    lower = text.lower()
    person = bool(_PERSON.search(lower)) and not _NO_PERSON.search(lower)
    if len(lower) > 400:
        return Acts(person=person, asks="?" in lower or "？" in lower)
    tokens = words(lower)
    cancels = bool(_CANCEL.fullmatch(lower) or _CANCEL_CHINESE.fullmatch(lower))
    affirms, denies = _says_yes(lower, tokens), _says_no(lower, tokens)
    return Acts(
        affirms=affirms,
        denies=denies,
        starts_with_no=bool(tokens)
        and (tokens[0] in ("no", "nope", "nah") or lower.startswith("不")),
        cancels=cancels,
        cancels_all=cancels and bool(_CANCEL_ALL.search(lower)),
        person=person,
        thanks=bool(_THANKS.search(lower)),
        greets=bool(_GREETING.fullmatch(lower)),
        leaves=bool(_GOODBYE.fullmatch(lower)),
        dont_care=bool(_DONT_CARE.search(lower)),
        corrects=bool(_CORRECTION.search(lower)),
        restarts=bool(_RESTART.fullmatch(lower)),
        retries=bool(_RETRY.search(lower)),
        lacks=bool(_LACKS.search(lower)),
        asks=bool(_QUESTION.search(lower)) and not affirms and not denies,
    )


def _says_yes(lower: str, tokens: list[str]) -> bool:
    if _BUT.search(lower) or "?" in lower:
        return False
    if re.fullmatch(rf"(?:{_YES_CHINESE.pattern}\W*)+(?:谢谢\W*)?", lower):
        return True
    marked = words(_YES_PHRASES.sub(" yes ", lower))
    return (
        any(token in _YES for token in marked)
        and all(token in _YES or token in _FILLER for token in marked)
        and len(tokens) <= 12
    )


def _says_no(lower: str, tokens: list[str]) -> bool:
    if re.fullmatch(rf"(?:{_NO_CHINESE.pattern}\W*)+(?:谢谢\W*)?", lower):
        return True
    return (
        any(token in _NO for token in tokens)
        and all(word in _NO or word in _FILLER or word == "right" for word in tokens)
        and len(tokens) <= 8
    )


def only_abuse(text: str) -> bool:
    """Insults and nothing that could be answered."""
    lower = clean(text).lower()
    if not _ABUSE.search(lower):
        return False
    rest = content_words(_ABUSE.sub(" ", lower))
    return (
        len(rest - {stem(word) for word in ("bot", "machine", "robot", "off", "thing", "all")}) <= 1
    )


def without_lead_in(text: str) -> str:
    """An answer without the words before the value: "it's …", "my new one is …", "no, …"."""
    previous = None
    while text != previous:
        previous = text
        text = re.sub(
            r"^(?:no|nope|sorry|oops|oh|ah|ok|okay|well|yes|yeah|sure|actually|wait|um|uh|please"
            r"|hi|hello|and|because|i meant?|it's|its|it is|that's|that is|that would be|this is"
            r"|make (?:it|that)|change (?:it|that) to|i take|i need|under the name(?: of)?|(?:my|the) [\w ]{1,30}? (?:is|would be|:)"
            r"|我是说|应该是|改成|改为|是)(?=[\W]|[\u3400-\u9fff]|$)[\s,.:;!-]*",
            "",
            text,
            flags=re.IGNORECASE,
        ).strip()
    text = re.sub(r"[\s,]+(?:please|thanks|thank you)\W*$", "", text, flags=re.IGNORECASE)
    text = re.sub(r"[吧啊呀哦呢]+\W*$", "", text)
    return text.strip(' \n\t"“”.,;')
