"""What the medical assistant tells the platform."""

import logging
import re
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apps.medical import confidence, differential, red_flags, tracking, wording
from apps.medical.confidence import Assessment
from apps.medical.differential import KnowledgeBase, Ranking
from apps.medical.findings import load as load_matcher
from apps.medical.findings import read
from apps.medical.scope import Status
from praxis.accounts.models import Workspace
from praxis.assistants.contract import (
    Assistant,
    Card,
    Chain,
    Event,
    PanelField,
    Proposal,
    State,
    StateChanged,
    Token,
    Turn,
)
from praxis.assistants.grounded import extractive_chain, generative_chain
from praxis.assistants.pipeline import difference
from praxis.assistants.remembering import remembered_chain

log = logging.getLogger(__name__)

SHOWN = 5
DOCUMENTS = Path(__file__).parent / "documents"
INSTRUCTIONS = (
    "You help clinicians with the workspace's medical documents. Answer only from the given "
    "passages and cite them. Give no diagnosis and no personal dose. If the passages don't say it, "
    "say so and point to a clinician."
)


# Rules that come first ----------------------------------------------------------------------------


def guard(turn: Turn) -> Iterator[Event] | None:
    """Red flags in this message, alone or together with what earlier messages said."""
    reading = read(turn.text)
    state = tracking.updated(turn.state, turn.text, reading, turn.number)
    new = red_flags.signs_of(turn.text, reading, tracking.age_of(state))
    fired = red_flags.evaluate(new, turn.state.get("signs", {}))
    if not fired:
        return None
    log.info(
        "red flags %s in conversation %s",
        ",".join(f.rule.id for f in fired),
        turn.conversation_id,
    )
    return _warn(turn, state, fired)


def _warn(turn: Turn, state: State, fired: Sequence[red_flags.Fired]) -> Iterator[Event]:
    numbers = wording.numbers_of(turn.workspace_id)
    yield Token(text=wording.urgent_text(fired, numbers))
    if changes := difference(turn.state, state):
        yield StateChanged(changes=changes, state=state)
    yield Card(
        type="red_flag",
        title=_("Safety rule"),
        data={
            "number": numbers.emergency,
            "crisis": numbers.crisis if any(f.rule.crisis for f in fired) else "",
            "rules": [
                {
                    "id": f.rule.id,
                    "title": _(f.rule.title),
                    "grade": f.rule.grade.name.lower(),
                    "source": f.rule.source,
                    "signs": list(f.signs),
                }
                for f in fired
            ],
        },
    )


# State --------------------------------------------------------------------------------------------


def track(turn: Turn) -> State:
    return tracking.updated(turn.state, turn.text, read(turn.text), turn.number)


FINDING = "finding:"
SEX_CHOICES = (
    ("female", gettext_lazy("Female")),
    ("male", gettext_lazy("Male")),
    ("unknown", gettext_lazy("Unknown")),
)
STATUS_CHOICES = (
    ("present", gettext_lazy("Present")),
    ("absent", gettext_lazy("Absent")),
    ("uncertain", gettext_lazy("Unclear")),
    ("remove", gettext_lazy("Remove")),
)


def warm_up() -> None:
    """Read the knowledge base and the words of findings: it takes seconds."""
    differential.load()
    load_matcher()


def panel(state: State) -> Sequence[PanelField]:
    age, sex = state.get("age_years"), state.get("sex")
    fields = [
        PanelField(
            key="age",
            label=_("Age in years"),
            value="" if age is None else f"{age['value']:g}",
            turn=age["turn"] if age else None,
            editable=True,
        ),
        PanelField(
            key="sex",
            label=_("Sex"),
            value=sex["value"] if sex else "unknown",
            turn=sex["turn"] if sex else None,
            editable=True,
            choices=_translated(SEX_CHOICES),
        ),
    ]
    for term, finding in state.get("findings", {}).items():
        fields.append(
            PanelField(
                key=f"{FINDING}{term}",
                label=wording.term_label(term),
                value=finding["status"],
                confidence=finding["confidence"],
                turn=finding["turn"],
                editable=True,
                choices=_translated(STATUS_CHOICES),
            )
        )
    return fields


def _translated(choices: Sequence[tuple[str, Any]]) -> tuple[tuple[str, str], ...]:
    return tuple((value, str(label)) for value, label in choices)


def correct(state: State, key: str, value: str) -> State:
    new = deepcopy(state)
    value = value.strip()
    if key == "age":
        return _with_age(new, value)
    if key == "sex":
        if value not in {"female", "male", "unknown", ""}:
            raise ValueError(
                _("The sex must be female, male or unknown, not “%(value)s”.") % {"value": value}
            )
        new.pop("sex", None)
        if value in {"female", "male"}:
            new["sex"] = {"value": value, "turn": None}
        return new
    term = key.removeprefix(FINDING)
    if not key.startswith(FINDING) or term not in new.get("findings", {}):
        raise ValueError(_("There is no line “%(key)s” to correct.") % {"key": key})
    if value in {"remove", ""}:
        del new["findings"][term]
    elif value in {status.value for status in Status} - {Status.EXCLUDED.value}:
        new["findings"][term] |= {"status": value, "confidence": 1.0, "source": "corrected"}
    else:
        raise ValueError(
            _("A finding is present, absent or uncertain, or removed, not “%(value)s”.")
            % {"value": value}
        )
    return new


def _with_age(state: State, value: str) -> State:
    state.pop("age_years", None)
    if not value:
        return state
    try:
        years = float(value.replace(",", "."))
    except ValueError:
        years = -1.0
    if not 0 <= years <= 120:
        raise ValueError(
            _("The age must be a number of years from 0 to 120, not “%(value)s”.")
            % {"value": value}
        )
    state["age_years"] = {"value": years, "turn": None}
    return state


# The ranking --------------------------------------------------------------------------------------

_ASKS_FOR_RANKING = re.compile(
    r"\b(?:what (?:could|might|can|do you think) (?:it|this|that|be)|what(?:'s| is) wrong|differential|diagnos\w+"
    r"|what do (?:i|they|we) have|what else|rank\w*|possible causes|update)\b|可能是什么|是什么病|鉴别|诊断|什么问题",
    re.IGNORECASE,
)


def _propose_ranking(turn: Turn) -> Proposal | None:
    said_now = any(
        finding["turn"] == turn.number for finding in turn.state.get("findings", {}).values()
    )
    case = tracking.case_of(turn.state)
    if not case.present or not (said_now or _ASKS_FOR_RANKING.search(turn.text)):
        return None
    base = differential.load()
    ranking = differential.rank(base, case)
    assessment = confidence.assess(base, ranking, shown=SHOWN)
    return Proposal(
        confidence=assessment.list_mean,
        low=assessment.list_low,
        high=assessment.list_high,
        basis=_(
            "Calibrated probability that the right condition is among the %(count)s shown, from "
            "%(findings)s; trained on simulated cases."
        )
        % {"count": SHOWN, "findings": wording.count_text(case.size)},
        speak=lambda: _speak_ranking(turn, base, ranking, assessment),
    )


def _speak_ranking(
    turn: Turn, base: KnowledgeBase, ranking: Ranking, assessment: Assessment
) -> Iterator[Event]:
    state = turn.state
    yield Token(text=_understood(state) + "\n\n")
    lines = [
        f"{place}. {base.names[disease]} · {_percent(assessment, place - 1)}"
        for place, disease in enumerate(assessment.diseases[:SHOWN], start=1)
    ]
    yield Token(text=_("Conditions that fit best, for a clinician to weigh:") + "\n\n")
    yield Token(text="\n".join(lines) + "\n\n")
    question = _next_question(base, ranking, state)
    if question is not None:
        yield Token(text=wording.question_text(question) + "\n\n")
    yield Token(
        text=_(
            "_Not reviewed by a clinician. This supports a clinician's judgement and does not replace it._"
        )
    )
    yield Card(
        type="differential",
        title=_("Differential"),
        data=differential_data(base, ranking, assessment, question),
    )
    yield from _remember_question(state, question)


def _understood(state: State) -> str:
    return wording.findings_text(
        tracking.terms_with(state, Status.PRESENT),
        tracking.terms_with(state, Status.ABSENT),
        tracking.terms_with(state, Status.UNCERTAIN),
    )


def _percent(assessment: Assessment, place: int) -> str:
    interval = assessment.interval
    return wording.percent_text(
        float(interval.mean_N[place]), float(interval.low_N[place]), float(interval.high_N[place])
    )


def _next_question(base: KnowledgeBase, ranking: Ranking, state: State) -> str | None:
    """The HPO id worth asking for; a finding left unclear comes first, nothing is asked twice."""
    asked = state.get("asked", [])
    for term in tracking.terms_with(state, Status.UNCERTAIN):
        if term not in asked:
            return term
    positions = {base.ontology.position(term) for term in asked}
    questions = differential.next_questions(
        base, ranking, asked_before={p for p in positions if p is not None}
    )
    return base.ontology.identifier(questions[0].term) if questions else None


def _remember_question(state: State, question: str | None) -> Iterator[Event]:
    if question is None:
        return
    changes = {"question": question, "asked": [*state.get("asked", []), question]}
    yield StateChanged(changes=changes, state=state | changes)


@cache
def versions() -> dict[str, str]:
    """What an answer rests on; stored with every card, so that it can be repeated."""
    base = differential.load()
    head = sha256(confidence.HEAD_PATH.read_bytes()).hexdigest()[:12]
    return {
        "hpo": base.ontology.release,
        "frequencies": base.ontology.supplement_release,
        "head": head,
    }


def differential_data(
    base: KnowledgeBase, ranking: Ranking, assessment: Assessment, question: str | None
) -> dict[str, Any]:
    """The card's data: JSON values only."""
    shown = []
    for place, disease in enumerate(assessment.diseases[:SHOWN]):
        interval = assessment.interval
        sides: dict[str, list[dict[str, Any]]] = {"for": [], "against": [], "neutral": []}
        for part in ranking.contributions(disease):
            identifier = base.ontology.identifier(part.term)
            sides[part.direction].append(
                {
                    "id": identifier,
                    "name": wording.term_label(identifier),
                    "present": part.present,
                    "log_ratio": round(part.log_ratio, 2),
                    "weight": min(100, round(abs(part.log_ratio) * 12)),
                }
            )
        for side in sides.values():
            side.sort(key=lambda item: -abs(item["log_ratio"]))
        low, high = float(interval.low_N[place]), float(interval.high_N[place])
        shown.append(
            {
                "rank": place + 1,
                "id": base.ids[disease],
                "name": base.names[disease],
                "common": base.is_common(disease),
                "percent": round(100 * float(interval.mean_N[place])),
                "low": round(100 * low),
                "high": round(100 * high),
                "width": max(1, round(100 * (high - low))),
                **sides,
                "unmentioned": [
                    wording.term_label(base.ontology.identifier(term))
                    for term, _frequency in differential.typical_unmentioned(base, ranking, disease)
                ],
            }
        )
    return {
        "candidates": shown,
        "question": question or "",
        "question_label": wording.term_label(question) if question else "",
        "samples": confidence.SAMPLES,
        "reviewed": False,
        "versions": versions(),
    }


# Documents, limits, abstention --------------------------------------------------------------------

_QUESTION = re.compile(
    r"\?\s*$|？\s*$|^\s*(?:what|how|why|when|where|who|which|can|could|should|is|are|does|do|explain|tell me|describe"
    r"|summari[sz]e|define)\b|吗|什么|怎么|如何|为什么|哪些|多少",
    re.IGNORECASE,
)
_PERSONAL_DOSE = re.compile(
    r"\b(?:how (?:much|many)\b[^.?!]{0,40}\b(?:should|can|do|could|must|may) (?:i|we|my \w+|he|she) (?:take|give|have|use|inject)"
    r"|(?:what|which) (?:dose|dosage|antibiotic|medicine|medication|drug|pill)s?\b[^.?!]{0,30}\b(?:should|can|do|could) (?:i|we|my \w+|he|she)"
    r"|(?:can|should|may|could) (?:i|we|my \w+|he|she) (?:take|stop(?: taking)?|double|skip|increase|reduce|mix|combine|give \w+)\b[^.?!]{0,40}"
    r"|prescribe (?:me|something|him|her)|write (?:me )?a prescription|dose for (?:me|my))",
    re.IGNORECASE,
)
_PERSONAL_DOSE_ZH = re.compile(r"(?:我|孩子|宝宝|他|她).{0,8}(?:该吃|吃|用|服).{0,6}(?:多少|几片|几粒|什么药)|能不能.{0,3}(?:吃|停药)|开.{0,2}(?:药|处方)|可以停药")  # fmt: skip


def _propose_limit(turn: Turn) -> Proposal | None:
    """Personal doses and prescriptions belong to a clinician."""
    if not (_PERSONAL_DOSE.search(turn.text) or _PERSONAL_DOSE_ZH.search(turn.text)):
        return None
    return Proposal(
        confidence=1.0,
        basis=_("A fixed rule: no personal doses or prescriptions."),
        speak=_speak_limit,
    )


def _speak_limit() -> Iterator[Event]:
    yield Token(
        text=_(
            "I don't give personal doses, and I don't start, stop or change a medicine. Please ask "
            "your doctor or pharmacist, and have the package, your other medicines and your "
            "allergies at hand. I can tell you what this workspace's documents say in general, or "
            "go through your symptoms with you so that a clinician can weigh them."
        )
    )


def is_document_question(turn: Turn) -> bool:
    said_now = any(
        finding["turn"] == turn.number for finding in turn.state.get("findings", {}).values()
    )
    return not said_now and bool(_QUESTION.search(turn.text.strip()))


def _for_questions(chain: Chain) -> Chain:
    def propose(turn: Turn) -> Proposal | None:
        return chain.propose(turn) if is_document_question(turn) else None

    return replace(chain, propose=propose)


def abstain(turn: Turn) -> Iterator[Event]:
    """Says what was understood, what would help, and where to turn."""
    state = turn.state
    if is_document_question(turn):
        yield Token(
            text=_(
                "The documents of this workspace don't answer that well enough for me to say it. "
                "Please ask a clinician, or add a document that covers it."
            )
        )
        return
    understood = _understood(state)
    parts = []
    if understood:
        parts += [
            _("That is not enough for a differential I would stand behind. I understood:"),
            understood,
        ]
    else:
        parts.append(_("I found no symptom or sign in that."))
    question = None
    case = tracking.case_of(state)
    if case.present:
        base = differential.load()
        question = _next_question(base, differential.rank(base, case), state)
        if question is not None:
            parts.append(wording.question_text(question))
    parts += [
        _(
            "What helps: age and sex, when it began, what else you noticed (also what is not "
            "there), measurements such as temperature or blood pressure, illnesses in the family."
        ),
        _("If you are worried, or it gets worse, see a clinician; I don't replace one."),
    ]
    yield Token(text="\n\n".join(parts))
    yield from _remember_question(state, question)


def seed(workspace: Any) -> None:
    """A corpus with the assistant's own documents; calling it again changes nothing."""
    from praxis.knowledge.models import Corpus
    from praxis.knowledge.services import add_document

    assert isinstance(workspace, Workspace)
    corpus, _created = Corpus.objects.get_or_create(
        workspace=workspace,
        name="Medical assistant",
        defaults={
            "description": "How the medical assistant works and when to call for help.",
            "assistants": ["medical"],
        },
    )
    for path in sorted(DOCUMENTS.glob("*.md")):
        content = path.read_bytes()
        title = content.decode().splitlines()[0].removeprefix("# ").strip()
        add_document(corpus=corpus, title=title, file_name=path.name, content=content)


ASSISTANT = Assistant(
    slug="medical",
    title=gettext_lazy("Medical"),
    tagline=gettext_lazy("Collects findings, ranks conditions, shows how sure it is and why."),
    notice=gettext_lazy(
        "This is an AI that supports a clinician and doesn't replace one. It knows the rare "
        "genetic diseases of OMIM (Human Phenotype Ontology, release 2025-11-24) and a short "
        "curated list of common conditions that is not validated. Answers are not reviewed by a "
        "clinician unless marked so. In an emergency, call your local emergency number."
    ),
    instructions=INSTRUCTIONS,
    suggestions=(
        gettext_lazy("Boy of 14: tall, long thin fingers, dislocated lens, sunken chest"),
        gettext_lazy("I have had a fever of 38.5 °C, a cough and a sore throat for two days"),
        gettext_lazy("Which questions belong to a good history?"),
    ),
    chains=(
        Chain(name="limits", propose=_propose_limit, deterministic=True),
        Chain(name="ranking", propose=_propose_ranking, deterministic=True),
        remembered_chain(),
        _for_questions(extractive_chain()),
        _for_questions(generative_chain(INSTRUCTIONS)),
    ),
    abstain=abstain,
    guard=guard,
    track=track,
    panel=panel,
    correct=correct,
    seed=seed,
    warm_up=warm_up,
    urls="apps.medical.urls",
    pages_title=gettext_lazy("Clinical review"),
    stylesheet="medical/medical.css",
    lower_threshold=0.2,
    upper_threshold=0.6,
    high_stakes=True,
)
