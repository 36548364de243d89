"""A follow-up question made to stand alone: "and how long does it take?" has to find something.

The rules are deliberately plain: a question that leans on the one before it (it opens like a
follow-up, points with a pronoun, or has hardly a word of its own) is searched together with the
last question of the person that did stand alone. Both legs then see what it is about, and a wrong
guess costs little, because the words of the follow-up itself are still there.
"""

import re
from collections.abc import Sequence

MAX_REMEMBERED = 400
"""Characters of an earlier question that are taken along: its end, where the point usually is."""

_OPENING = re.compile(
    r"^(and|but|or|so|also|then|ok(ay)?|what about|how about|what if|why not|even|else)\b"
    r"|^(那么?|还有|另外|如果|然后|那|可是|但是|所以)",
    re.IGNORECASE,
)
_POINTING = re.compile(
    r"\b(it|its|itself|they|them|their|theirs|that|this|those|these|he|him|his|she|her|hers|one|ones"
    r"|there|same|former|latter)\b"
    r"|[它他她]们?|这个?|那个|此|该|上述|呢[?？]?$",
    re.IGNORECASE,
)
_WORD = re.compile(r"[\u3400-\u9fff]|[^\W_]+")
# Words that ask but don't say about what.
_ASKING = frozenset(
    "a an the is are was were be been am do does did can could may might must shall should will"
    " would have has had of to in on at by for from with about into than as and or but not no yes"
    " what which who whom whose when where why how long much many often far old big if then also"
    " please tell me my i we you your our us more else there any some need take takes taken cost"
    " costs mean means work works happen happens exactly really too it its they them their that this"
    " those these he him his she her one ones ok okay so what's"
    " 什 么 怎 样 多 少 几 吗 呢 的 了 是 要 会 能 可 以 那 这 它 有 在 和".split()
)


def leans_on_earlier(question: str) -> bool:
    """Whether the question can't be understood without the one before it."""
    words = [word.lower() for word in _WORD.findall(question)]
    own = [word for word in words if word not in _ASKING]
    if not own:
        return True
    if _OPENING.search(question.strip()):
        return len(own) <= 4
    return bool(_POINTING.search(question)) and len(own) <= 3


def standing_alone(question: str, earlier: Sequence[str]) -> str:
    """The question as it is searched. `earlier`: the person's questions before it, oldest first."""
    if not earlier or not leans_on_earlier(question):
        return question
    for before in reversed(earlier):
        if not leans_on_earlier(before):
            return f"{before.strip()[-MAX_REMEMBERED:]} {question}"
    return question
