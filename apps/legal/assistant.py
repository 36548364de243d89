"""What the legal assistant tells the platform."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from apps.legal import dialogue
from apps.legal.interview import BY_KEY, LAWS, QUESTIONS, law_name
from apps.legal.models import save_draft
from praxis.accounts.models import Workspace
from praxis.assistants.contract import (
    Assistant,
    Card,
    Chain,
    Confidence,
    Event,
    PanelField,
    Proposal,
    State,
    Token,
    Turn,
)
from praxis.assistants.grounded import extractive_chain, generative_chain
from praxis.assistants.remembering import remembered_chain
from praxis.knowledge.models import Corpus
from praxis.knowledge.services import add_document

INSTRUCTIONS = (
    "You explain contracts from the given documents only, in plain words. You give no legal "
    "advice. If the documents don't say it, say that you don't know."
)
DOCUMENTS = Path(__file__).parent / "documents"
TITLES = {
    "nda-guide.md": "Guide to the non-disclosure agreement",
    "signing.md": "Signing and keeping agreements",
    "review.md": "Reviewing another party's non-disclosure agreement",
}
_DEADLINE = re.compile(
    r"\b(deadline|limitation|time limit|how long do i have|appeal|statute|court date|served)\b"
    r"|期限|时效|上诉",
    re.I,
)


def track(turn: Turn) -> State:
    return dialogue.advance(turn.state, turn.text, turn=turn.number)


def propose_interview(turn: Turn) -> Proposal | None:
    """The interview's next step, or the draft when every answer is there."""
    state = turn.state
    if not state.get("active"):
        return None
    if state["asked"] and dialogue.is_question(turn.text) and not _just_answered(turn):
        return None  # a question in between is for the documents
    answers = state["answers"]
    sure = min((answer["confidence"] for answer in answers.values()), default=1.0)
    return Proposal(
        confidence=round(0.97 * sure, 3),
        basis=_("The interview's rules say what comes next; your answers are listed beside it."),
        speak=lambda: _ask_next(state) if state["asked"] else _hand_out(turn),
    )


def _just_answered(turn: Turn) -> bool:
    return turn.state["asked"] == QUESTIONS[0].key or any(
        answer["turn"] == turn.number for answer in turn.state["answers"].values()
    )


def _ask_next(state: State) -> Iterator[Event]:
    question = BY_KEY[state["asked"]]
    if state["problem"]:
        yield Token(text=f"{state['problem']}\n\n")
    elif not state["answers"]:
        yield Token(
            text=_("I draft a mutual non-disclosure agreement with you, question by question.")
            + "\n\n"
        )
    position = len(QUESTIONS) - sum(one.key not in state["answers"] for one in QUESTIONS) + 1
    of = _("Question %(position)d of %(total)d:") % {"position": position, "total": len(QUESTIONS)}
    yield Token(text=f"{of} {question.ask}")


def _hand_out(turn: Turn) -> Iterator[Event]:
    values = dialogue.values_of(turn.state)
    draft = save_draft(conversation_id=turn.conversation_id, values=values)
    slug = draft.workspace.slug
    yield Token(
        text=_("The draft between %(a)s and %(b)s is ready (version %(number)d).")
        % {"a": values["party_a"], "b": values["party_b"], "number": draft.number}
        + "\n\n"
    )
    count = len(draft.findings)
    if count:
        yield Token(
            text=ngettext(
                "The check of defined terms found %(count)d point to look at.",
                "The check of defined terms found %(count)d points to look at.",
                count,
            )
            % {"count": count}
        )
    else:
        yield Token(text=_("Every defined term is defined once and used."))
    yield Token(text="\n\n" + _("Have a lawyer of the chosen law review it before anybody signs."))
    yield Card(
        type="draft",
        title=_("Mutual non-disclosure agreement"),
        data={
            "draft": str(draft.pk),
            "number": draft.number,
            "page": draft.get_absolute_url(),
            "docx": reverse("legal:docx", args=[slug, draft.pk]),
            "findings": draft.findings,
            "facts": [
                {"label": str(question.label), "value": question.show(values[question.key])}
                for question in QUESTIONS
            ],
        },
    )
    yield Confidence(
        value=0.95 if not count else 0.7,
        chain="interview",
        basis=_("Every clause comes from the library and every value from you."),
    )


def _from_documents(chain: Chain) -> Chain:
    """The chain, with what must be said about deadlines, and the open question afterwards."""

    def propose(turn: Turn) -> Proposal | None:
        proposal = chain.propose(turn)
        if proposal is None:
            return None
        chosen = proposal

        def speak() -> Iterator[Event]:
            yield from chosen.speak()
            if _DEADLINE.search(turn.text):
                yield Token(
                    text="\n\n" + _("Deadlines cost rights: verify this one with a lawyer today.")
                )
            if turn.state.get("active") and turn.state["asked"]:
                yield Token(text="\n\n" + str(BY_KEY[turn.state["asked"]].ask))

        return replace(chosen, speak=speak)

    return replace(chain, propose=propose)


def abstain(turn: Turn) -> Iterator[Event]:
    yield Token(
        text=_(
            "The documents of this workspace don't answer that, and I don't guess about the law. "
            "Ask a lawyer, or add the document that says it. I can draft a mutual non-disclosure "
            "agreement: say “draft an NDA”."
        )
    )
    if turn.state.get("active") and turn.state.get("asked"):
        yield Token(text="\n\n" + str(BY_KEY[turn.state["asked"]].ask))


def panel(state: State) -> Sequence[PanelField]:
    answers = state.get("answers", {})
    if not state.get("active") and not answers:
        return []
    laws = tuple((key, law_name(key)) for key in LAWS)
    fields = []
    for question in QUESTIONS:
        answer = answers.get(question.key)
        value = answer["value"] if answer else ""
        fields.append(
            PanelField(
                key=question.key,
                label=question.label,
                value=str(value),
                confidence=answer["confidence"] if answer else None,
                turn=answer["turn"] if answer else None,
                editable=True,
                choices=laws if question.key == "law" else (),
            )
        )
    return fields


def seed(workspace: Workspace) -> None:
    corpus, _made = Corpus.objects.get_or_create(
        workspace=workspace, name="Contract guides", defaults={"assistants": ["legal"]}
    )
    for file_name, title in TITLES.items():
        content = (DOCUMENTS / file_name).read_bytes()
        add_document(corpus=corpus, title=title, file_name=file_name, content=content)


ASSISTANT = Assistant(
    slug="legal",
    title=gettext_lazy("Legal"),
    tagline=gettext_lazy("Drafts a non-disclosure agreement and answers from your documents."),
    notice=gettext_lazy(
        "This is an AI assistant, not a lawyer. It gives no legal advice; a lawyer must review what "
        "it drafts."
    ),
    instructions=INSTRUCTIONS,
    suggestions=(
        gettext_lazy("Draft an NDA between Acme Robotics Ltd and Blue Harbour GmbH"),
        gettext_lazy("What does the survival period mean?"),
        gettext_lazy("Who should sign an agreement?"),
    ),
    chains=(
        Chain(name="interview", propose=propose_interview, deterministic=True),
        remembered_chain(),
        _from_documents(extractive_chain()),
        _from_documents(generative_chain(INSTRUCTIONS)),
    ),
    abstain=abstain,
    track=track,
    panel=panel,
    correct=dialogue.correct,
    seed=seed,
    urls="apps.legal.urls",
    pages_title=gettext_lazy("Drafts"),
    documents_threshold=0.35,
    high_stakes=True,
)
