"""What the customer-service assistant tells the platform."""

import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

from django.conf import settings
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, override

from apps.customer_service import actions, routing, second_stage
from apps.customer_service.corrections import example_of
from apps.customer_service.demo import seed
from apps.customer_service.endpoints import endpoint_of
from apps.customer_service.intent_corrections import corrected_intents
from apps.customer_service.intents import Choose, IntentIndex, choose_intent, label, rank
from apps.customer_service.meaning import nearest_value
from apps.customer_service.model_tracker import ANSWER_TOKENS, hear
from apps.customer_service.models import ServiceDefinition
from apps.customer_service.phrases import only_abuse
from apps.customer_service.policy import Outcome
from apps.customer_service.replies import (
    Performance,
    offer_of_person,
    offered,
    shown,
    translate,
)
from apps.customer_service.schema import DONT_CARE, Intent, Service, Slot
from apps.customer_service.tracker import (
    Ranking,
    Reading,
    State,
    change_by_hand,
    change_intent_by_hand,
    empty_state,
)
from apps.customer_service.values import Choice, Found, WrongValue, choices_of, normalise
from modeling.training.chat import Message
from modeling.weights.assemble import BASE_MODEL_NAME, default_base_name
from praxis.assistants.contract import (
    Assistant,
    Chain,
    CorrectedState,
    Event,
    ModelUnavailable,
    PanelField,
    Proposal,
    StateChanged,
    Token,
    Turn,
)
from praxis.assistants.grounded import extractive_chain, generative_chain
from praxis.assistants.pipeline import difference
from praxis.assistants.remembering import remembered_chain

INSTRUCTIONS = (
    "You answer questions of a business's customers from the given documents only. "
    "Be short and friendly. If the documents don't say it, say that you don't know."
)
KEY_SPACE = uuid.UUID("5f1a3c1e-6d0b-5a39-9d0c-0d6b7a1f3e55")
MODELS_TOO_SMALL_TO_READ = frozenset((BASE_MODEL_NAME, default_base_name()))
"""What is shipped: on 30 answers to the demo's closed questions, asked as a chat, it was right on 10
and wrong on 20. What it has learnt is the form of `modeling.state_tracking`; see `model_tracker.py`."""
CHOICE_TOKENS = 60
TASK = "task"
NO_TASK = "none"
DOCUMENTS = extractive_chain()
DOCUMENTS_ENOUGH = 0.5
"""A question beside a wish is answered from the documents from this confidence on."""


@lru_cache(maxsize=128)
def _service(definition_id: int) -> Service:
    """A version never changes, so it is read once in a process."""
    return ServiceDefinition.objects.get(pk=definition_id).service


_indexes: dict[int, IntentIndex] = {}


def _index(definition_id: int, workspace_id: str) -> IntentIndex:
    """Trained anew when people have put intents right since."""
    service = _service(definition_id)
    corrections = corrected_intents(workspace_id, service.name)
    known = _indexes.get(definition_id) or IntentIndex.of(service)
    _indexes[definition_id] = known.corrected(service, corrections)
    return _indexes[definition_id]


_joined_indexes: dict[frozenset[int], tuple[dict[int, IntentIndex], IntentIndex]] = {}


def _joined(indexes: Mapping[int, IntentIndex]) -> IntentIndex:
    """Made anew when one of its parts has been."""
    key = frozenset(indexes)
    parts, joined = _joined_indexes.get(key, ({}, None))
    if joined is None or any(parts[one] is not indexes[one] for one in indexes):
        joined = IntentIndex.joined({str(one): index for one, index in indexes.items()})
        _joined_indexes[key] = (dict(indexes), joined)
    return joined


def guard(turn: Turn) -> Iterator[Event] | None:
    """Nothing to read, or insults alone."""
    with override(turn.language):
        if not turn.text.strip():
            return iter([Token(text=_("That message was empty. What can I do for you?"))])
        if only_abuse(turn.text):
            return iter(
                [
                    Token(
                        text=_(
                            "I'm sorry that this is frustrating. Tell me what you need, or say "
                            "“person” and I hand you over."
                        )
                    )
                ]
            )
    return None


def track(turn: Turn) -> State:
    state = {**empty_state(), **turn.state}
    published = list(
        ServiceDefinition.objects.published(turn.workspace_id).values_list("pk", flat=True)
    )
    idle = not (state["intent"] or state["waiting"] or state["parked"])
    if idle and state["definition"] not in published:
        # A task in hand is finished with the version that it began with.
        state = {**empty_state(), "definition": published[0] if published else None}
    state = {**state, "move": {"kind": "none", "notes": []}}
    if state["definition"] is None:
        return state
    services = _services(state, published)
    embed = _Embedding(turn, services)
    offer = routing.Offer(
        services=services,
        today=timezone.localdate(),
        rank=lambda key, text, evidence: embed.rank(int(key), text, evidence),
        rank_all=embed.rank_all,
        read_more=lambda slot, text, choices: _read_more(turn, slot, text, choices),
        hear=partial(_hear, turn) if settings.STATE_READING_MS else None,
    )
    after = routing.follow(offer, state, turn.text, number=turn.number)
    if (after["definition"], after["intent"]) != (state["definition"], state["intent"]):
        after["intent_confidence"] = embed.confidence.get(after["intent"])
    return after


def _services(state: State, published: Sequence[int]) -> dict[routing.Key, Service]:
    """What the tasks in hand began with, and what else is offered."""
    held = [state["definition"], *(task["definition"] for task in state["parked"])]
    services: dict[routing.Key, Service] = {key: _service(key) for key in dict.fromkeys(held)}
    names = {service.name for service in services.values()}
    # Not two versions of one service: a wish could not be told to be of either.
    services |= {key: _service(key) for key in published if _service(key).name not in names}
    return services


def _hear(
    turn: Turn, service: Service, state: State, reading: Reading, text: str
) -> tuple[Reading, State]:
    return hear(
        service,
        state,
        reading,
        text,
        number=turn.number,
        today=timezone.localdate(),
        recent=turn.memory.recent,
        write=partial(_write, turn),
    )


def _write(turn: Turn, messages: Sequence[Message], grammar: str) -> Sequence[tuple[str, float]]:
    """The model's reading; nothing when the model server is down or too slow for this turn."""
    try:
        return turn.model.write(
            [{"role": one["role"], "content": one["content"]} for one in messages],
            grammar=grammar,
            max_tokens=ANSWER_TOKENS,
            timeout_seconds=settings.STATE_READING_MS / 1000,
        )
    except ModelUnavailable:
        return ()


class _Embedding:
    """The embedding server for one turn; after its first failure the words alone are counted."""

    def __init__(self, turn: Turn, offered: Iterable[routing.Key]) -> None:
        self.turn = turn
        self.failed = False
        self.confidence: dict[str, float] = {}
        """Of the intents that it decided for."""
        self.indexes = {int(key): _index(int(key), turn.workspace_id) for key in offered}
        self.second = second_stage.in_use(turn.workspace_id)
        self.vectors: dict[str, list[float]] = {}
        """Of this turn's words: a clause is ranked in its service and among all of them."""

    def rank(self, definition_id: int, text: str, evidence: frozenset[str]) -> Ranking:
        service = _service(definition_id)

        def choose(text: str, names: Sequence[str]) -> str:
            intents = [service.intent(name) for name in names]
            return choose_intent(text, intents, complete=partial(_complete, self.turn))

        ranking = self._rank(
            self.indexes[definition_id],
            text,
            evidence,
            lambda intent: label(service.name, intent),
            choose if _model_can_read() else None,
        )
        if ranking.decided and ranking.confidence is not None:
            self.confidence[ranking.decided] = round(ranking.confidence, 3)
        return ranking

    def rank_all(self, text: str, evidence: frozenset[str]) -> Ranking:
        def named(among_all: str) -> str:
            key, _space, intent = among_all.partition(" ")
            return label(_service(int(key)).name, intent)

        return self._rank(_joined(self.indexes), text, evidence, named, None)

    def _rank(
        self,
        index: IntentIndex,
        text: str,
        evidence: frozenset[str],
        named: Callable[[str], str],
        choose: Choose | None,
    ) -> Ranking:
        second = partial(self.second.look_again, named=named) if self.second else None
        if not self.failed:
            try:
                return rank(
                    index,
                    text,
                    embed=self._embed,
                    evidence=evidence,
                    second=second,
                    choose=choose,
                )
            except ModelUnavailable:
                self.failed = True
        return rank(index, text, embed=None, evidence=evidence)

    def _embed(self, texts: Sequence[str]) -> list[list[float]]:
        if new := [text for text in dict.fromkeys(texts) if text not in self.vectors]:
            self.vectors |= zip(new, self.turn.model.embed(new), strict=True)
        return [self.vectors[text] for text in texts]


def _model_can_read() -> bool:
    return bool(settings.LLM_MODEL not in MODELS_TOO_SMALL_TO_READ)


def _complete(turn: Turn, messages: Sequence[Mapping[str, str]], schema: Mapping[str, Any]) -> str:
    return "".join(turn.model.stream(messages, max_tokens=CHOICE_TOKENS, json_schema=schema))


def _read_more(turn: Turn, slot: Slot, text: str, choices: Sequence[Choice]) -> Sequence[Found]:
    """What the answer means for the slot; nothing when the model server is down."""
    try:
        found = nearest_value(slot, text, choices, turn.model.embed)
    except ModelUnavailable:
        return []
    return [found] if found else []


def propose(turn: Turn) -> Proposal | None:
    """The rules' next step: the tracker has decided it, so it is said as it is."""
    state = turn.state
    kind = state.get("move", {}).get("kind", "none")
    if kind in ("none", "documents", "unclear"):
        return None
    service = _service(state["definition"])
    beside = DOCUMENTS.propose(turn) if state["move"].get("documents_too") else None
    if beside is not None and beside.confidence < DOCUMENTS_ENOUGH:
        beside = None

    def speak() -> Iterator[Event]:
        with override(turn.language):
            if beside is not None:
                yield from beside.speak()
                yield Token(text="\n\n")
            performance = Performance(
                service=service,
                state=state,
                perform=lambda *call: _perform(turn, *call),
                come_back=_come_back,
            )
            yield from performance.events()

    used = [state["slots"][name]["confidence"] for name in _slots_used(service, state)]
    with override(turn.language):
        return Proposal(
            confidence=round(0.97 * min([1.0, *used]) if kind == "act" else 0.95, 3),
            basis=_(
                "The service's rules say what comes next; the values are listed beside the chat."
            ),
            speak=speak,
        )


def _come_back(state: State) -> tuple[Service, State]:
    following = routing.come_back(_services(state, ()), state)
    return _service(following["definition"]), following


def _slots_used(service: Service, state: State) -> list[str]:
    if not state["intent"]:
        return []
    return [name for name in service.intent(state["intent"]).slots if name in state["slots"]]


def _perform(turn: Turn, intent: Intent, values: Mapping[str, Any], state: State) -> Outcome:
    """Call an intent's action at the address that an administrator configured."""
    assert intent.action is not None
    definition = ServiceDefinition.objects.get(pk=state["definition"])
    if intent.action.changes_something and not state["key"]:
        # From what makes the act this act: an answer that is made again repeats the key.
        act = [turn.conversation_id, turn.number, intent.name, dict(values)]
        state["key"] = str(uuid.uuid5(KEY_SPACE, json.dumps(act, sort_keys=True)))
    return actions.call(
        intent.action, values, endpoint_of(definition), idempotency_key=state["key"]
    )


def _from_documents(chain: Chain) -> Chain:
    """The chain for what is no step of a task; afterwards the open question is asked again."""

    def propose_answer(turn: Turn) -> Proposal | None:
        if turn.state.get("move", {}).get("kind") not in ("none", "documents", "unclear"):
            return None
        proposal = chain.propose(turn)
        if proposal is None:
            return None

        def speak() -> Iterator[Event]:
            yield from proposal.speak()
            yield from _resume(turn)

        return replace(proposal, speak=speak)

    return replace(chain, propose=propose_answer)


def _resume(turn: Turn) -> Iterator[Event]:
    """The question that was open before the one that has just been answered."""
    before = turn.state
    if not before.get("intent"):
        if before.get("asked"):
            after = {**before, "asked": "", "offered": [], "attempts": 0}
            yield StateChanged(changes=difference(before, after), state=after)
        return
    with override(turn.language):
        service = _service(before["definition"])
        yield Token(text="\n\n" + _open_question(service, before))


def _open_question(service: Service, state: State) -> str:
    asked = state["asked"]
    title = translate(service.intent(state["intent"]).title)
    back = _("Back to “%(task)s”.") % {"task": title}
    if asked == "person":
        return offer_of_person("unavailable")
    kinds = {"confirm": "propose", "change": "ask_change", "retry": "offer_retry"}
    kind = kinds.get(asked, "verify" if asked.startswith("verify:") else "ask")
    slot = asked.removeprefix("verify:")
    if kind == "ask" and not any(known.name == slot for known in service.slots):
        return back
    resumed = {**state, "move": {"kind": kind, "notes": [], "slot": slot}}
    said = Performance(service=service, state=resumed, perform=_no_call).events()
    return " ".join([back, *(event.text for event in said if isinstance(event, Token))])


def _no_call(intent: Intent, values: Mapping[str, Any], state: State) -> Outcome:
    raise AssertionError("Repeating a question calls nothing.")


def abstain(turn: Turn) -> Iterator[Event]:
    """No rule and no document has an answer: say so, and offer the next step."""
    with override(turn.language):
        state = turn.state
        if state.get("definition") is None:
            yield Token(
                text=_(
                    "I have no service to offer here yet, and found nothing about this in the "
                    "documents. An administrator can set up a service; meanwhile, say “person” "
                    "and I hand you over."
                )
            )
            return
        service = _service(state["definition"])
        move = state["move"]
        if move["kind"] == "documents":
            yield Token(
                text=_("I found nothing about that in the documents that I may read.")
                + " "
                + _("Say “person” if you would like to ask someone.")
            )
            yield from _resume(turn)
        elif move.get("offers_person"):
            yield Token(text=offer_of_person("stuck"))
        elif state["offered"]:
            yield Token(
                text=_("I'm not sure what you mean. Is it one of these?")
                + "\n\n"
                + offered(service, state)
            )
        else:
            menu = {**state, "move": {"kind": "menu", "notes": []}}
            said = Performance(service=service, state=menu, perform=_no_call).events()
            pieces = [event.text for event in said if isinstance(event, Token)]
            yield Token(text=_("I did not understand that.") + " " + "".join(pieces))


def panel(state: State) -> list[PanelField]:
    """The task and its slots; one that is missing is shown empty, to be filled in by hand."""
    if not state.get("definition"):
        return []
    service = _service(state["definition"])
    fields = [_task_field(service, state)]
    names = [slot.name for slot in service.slots if slot.name in state["slots"]]
    if state["intent"]:
        intent = service.intent(state["intent"])
        names = [*intent.slots, *(name for name in names if name not in intent.slots)]
    for name in names:
        fields.append(_panel_field(service, state, name))
    for task in state["waiting"]:
        title = translate(service.intent(task["intent"]).title)
        fields.append(PanelField(key="waiting", label=_("Waiting"), value=title))
    for parked in state.get("parked", ()):
        title = translate(parked["title"])
        fields.append(PanelField(key="waiting", label=_("Waiting"), value=title))
    return fields


def _task_field(service: Service, state: State) -> PanelField:
    """What the person is thought to want; whoever puts it right teaches the classifier."""
    choices = [(intent.name, translate(intent.title)) for intent in service.intents]
    return PanelField(
        key=TASK,
        label=_("Task"),
        value=state["intent"],
        confidence=state.get("intent_confidence") if state["intent"] else None,
        turn=state["heard_in"] if state["intent"] else None,
        editable=True,
        choices=(*choices, (NO_TASK, _("none of these"))),
    )


def _panel_field(service: Service, state: State, name: str) -> PanelField:
    slot = service.slot(name)
    entry = state["slots"].get(name)
    choices = [
        (choice.value, translate(choice.title))
        for choice in choices_of(slot, state["options"].get(name, ()))
    ]
    if choices and slot.may_skip:
        choices.append((DONT_CARE, _("any")))
    value = ""
    if entry:
        # Of a choice the stored value, which the page finds among the choices.
        value = str(entry["value"]) if choices else shown(slot, entry)
    return PanelField(
        key=name,
        label=translate(slot.title),
        value=value,
        confidence=entry["confidence"] if entry else None,
        turn=entry["turn"] if entry else None,
        editable=slot.values_from is None or bool(choices),
        choices=tuple(choices),
    )


def correct(state: State, key: str, value: str) -> State:
    service = _service(state["definition"]) if state.get("definition") else None
    if service is not None and key == TASK:
        return _correct_task(service, state, value.strip())
    slot = next((slot for slot in service.slots if slot.name == key), None) if service else None
    if service is None or slot is None:
        raise ValueError(_("“%(key)s” can't be changed here.") % {"key": key})
    if not value.strip():
        return change_by_hand(service, state, slot, None)
    if value.strip() == DONT_CARE and slot.may_skip:
        return change_by_hand(service, state, slot, DONT_CARE)
    choices = choices_of(slot, state["options"].get(slot.name, ()))
    try:
        stored = normalise(slot, value, today=timezone.localdate(), choices=choices)
    except WrongValue as error:
        title = translate(slot.title)
        if str(error) == "long":
            message = _("%(slot)s is too long.") % {"slot": title}
        elif choices:
            allowed = ", ".join(translate(choice.title) for choice in choices)
            message = _("“%(value)s” is not allowed for %(slot)s. Allowed are: %(allowed)s.") % {
                "value": value[:60], "slot": title, "allowed": allowed,
            }  # fmt: skip
        elif slot.example:
            message = _("“%(value)s” does not look like %(slot)s. An example is %(example)s.") % {
                "value": value[:60], "slot": title, "example": slot.example,
            }  # fmt: skip
        else:
            message = _("“%(value)s” does not look like %(slot)s.") % {
                "value": value[:60], "slot": title,
            }  # fmt: skip
        raise ValueError(message) from error
    return change_by_hand(service, state, slot, stored)


def state_example(corrected: CorrectedState) -> list[dict[str, Any]] | None:
    """A corrected slot as a training conversation for the tracker; None when nothing was said of it."""
    definition = corrected.after.get("definition")
    if definition is None or not ServiceDefinition.objects.filter(pk=definition).exists():
        return None
    return example_of(_service(definition), corrected)


def _correct_task(service: Service, state: State, value: str) -> State:
    if value == NO_TASK:
        return change_intent_by_hand(service, state, "")
    if not service.has_intent(value):
        allowed = ", ".join([*(intent.name for intent in service.intents), NO_TASK])
        raise ValueError(
            _("“%(value)s” is no task of this service. Allowed are: %(allowed)s.")
            % {"value": value[:60], "allowed": allowed}
        )
    return change_intent_by_hand(service, state, value)


ASSISTANT = Assistant(
    slug="service",
    title=gettext_lazy("Customer service"),
    tagline=gettext_lazy("Orders, returns, bookings, appointments and questions on the terms"),
    notice=gettext_lazy(
        "You are talking to a program. It changes nothing without your yes, and you can ask for a "
        "person at any time."
    ),
    instructions=INSTRUCTIONS,
    suggestions=(
        gettext_lazy("Where is my order HP-10422? My e-mail is ben@example.com"),
        gettext_lazy("I want to return something"),
        gettext_lazy("Book a table for two tomorrow at 7 pm"),
        gettext_lazy("How long does a refund take?"),
    ),
    chains=(
        Chain(name="rules", propose=propose, deterministic=True),
        _from_documents(remembered_chain()),
        _from_documents(DOCUMENTS),
        _from_documents(generative_chain(INSTRUCTIONS)),
    ),
    abstain=abstain,
    guard=guard,
    track=track,
    panel=panel,
    correct=correct,
    state_example=state_example,
    seed=seed,
    urls="apps.customer_service.urls",
    api="apps.customer_service.api.router",
    pages_title=gettext_lazy("Services"),
    documents_threshold=0.35,
)
