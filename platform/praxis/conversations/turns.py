"""Runs turns in a bounded pool of threads of the web process, apart from the requests.

A turn reads what it needs, asks the assistant's pipeline for events, appends each to the answer's
Redis stream as it comes, and stores the whole in one transaction at the end. It holds no database
connection while it waits for the model.
"""

import copy
import json
import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import redis
from django.core.serializers.json import DjangoJSONEncoder
from django.db import IntegrityError, InterfaceError, OperationalError, transaction
from django.utils import timezone, translation
from django.utils.translation import gettext as _

from praxis.accounts.access import Principal
from praxis.accounts.models import Membership
from praxis.answer_cache.services import TurnCache
from praxis.assistants.contract import (
    Done,
    Event,
    ModelUnavailable,
    Passage,
    ScoredToken,
    State,
    Token,
    Turn,
)
from praxis.assistants.language_model import ServedModel
from praxis.assistants.pipeline import run_turn
from praxis.assistants.registry import get_assistant
from praxis.assistants.services import settings_for
from praxis.conversations import streams
from praxis.conversations.memory import ConversationMemory, earlier_questions, embed_messages
from praxis.conversations.models import Conversation, Message
from praxis.conversations.redis_connection import redis_client
from praxis.conversations.serializers import message_event
from praxis.database import release_connections
from praxis.handoff import transitions
from praxis.handoff.models import Handoff
from praxis.integrations.events import emit
from praxis.integrations.replies import send_reply
from praxis.knowledge.search import search

logger = logging.getLogger(__name__)

THREADS = 32
WAITING = 32
"""Turns that may queue for a thread; one more is refused."""
RETRY_AFTER_SECONDS = 5
COALESCE_SECONDS = 0.02
STORE_SECONDS = 60
STOP_SECONDS = 0.4
"""After that a stopped answer is closed although its turn still waits for the model."""
TICK_SECONDS = 1.0
ALIVE_EVERY_SECONDS = 3.0
RIGHTS_EVERY_SECONDS = 4.0
STOP_CHANNEL = "praxis:stop"

STATUS_OF_OUTCOME = {
    "stopped": Message.Status.STOPPED,
    "interrupted": Message.Status.INTERRUPTED,
    "failed": Message.Status.FAILED,
}


class TurnStopped(Exception):
    """Raised inside a turn when it was told to stop while it waited for the model."""


@dataclass(kw_only=True)
class Run:
    """One turn from its start to its stored answer."""

    principal: Principal
    question: Message
    answer: Message
    state: State
    language: str
    stop_outcome: str = ""
    """Set by whoever stops the turn: the outcome to store."""
    ended: bool = False
    cache: TurnCache | None = None
    events: list[dict[str, Any]] = field(default_factory=list)
    _pending: list[str] = field(default_factory=list)
    _flushed_at: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def tell(self, event: Event) -> None:
        """Hand one event on; tokens that follow each other closely go together."""
        with self._lock:
            if self.ended:
                return
            if isinstance(event, Token):
                self._pending.append(event.text)
                if time.monotonic() - self._flushed_at >= COALESCE_SECONDS:
                    self._flush()
                return
            self._flush()
            self._append(_as_json(event))

    def let_out(self) -> None:
        """What was said so far goes out before the turn waits for something slow."""
        with self._lock:
            self._flush()

    def end(self) -> bool:
        """True for the one caller that may store the answer; nothing is told afterwards."""
        with self._lock:
            if self.ended:
                return False
            self._flush()
            self.ended = True
            return True

    def stop(self, outcome: str) -> None:
        """End between two events; if the turn hangs in the model, without it."""
        self.stop_outcome = outcome
        timer = threading.Timer(STOP_SECONDS, _finish, [self, Done(outcome=outcome)])
        timer.daemon = True
        timer.start()

    def _flush(self) -> None:
        text = "".join(self._pending).replace("\x00", "")
        self._pending.clear()
        if text:
            self._append({"kind": "token", "text": text})
            self._flushed_at = time.monotonic()

    def _append(self, event: dict[str, Any]) -> None:
        self.events.append(event)
        _append(self.answer.pk, event, first=len(self.events) == 1)


class _ModelOfTurn:
    """The served model; gives the database connection back before it waits for the server."""

    def __init__(self, model: ServedModel, run: Run) -> None:
        self._model, self._run = model, run
        self.name = model.name

    def stream(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        json_schema: Mapping[str, Any] | None = None,
        stop: Sequence[str] = (),
    ) -> Iterator[str]:
        self._before_waiting()
        pieces = self._model.stream(
            messages,
            max_tokens=max_tokens,
            temperature=temperature,
            json_schema=json_schema,
            stop=stop,
        )
        with closing(pieces):  # type: ignore[type-var]  # a generator behind the Iterator
            for piece in pieces:
                if self._run.stop_outcome:
                    raise TurnStopped
                yield piece

    def write(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        grammar: str,
        max_tokens: int,
        timeout_seconds: float,
    ) -> list[ScoredToken]:
        self._before_waiting()
        return self._model.write(
            messages, grammar=grammar, max_tokens=max_tokens, timeout_seconds=timeout_seconds
        )

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        self._before_waiting()
        return self._model.embed(texts)

    def _before_waiting(self) -> None:
        self._run.let_out()
        release_connections()


_pool = ThreadPoolExecutor(THREADS, thread_name_prefix="turn")
_places = threading.BoundedSemaphore(THREADS + WAITING)
_lock = threading.Lock()
_running: dict[UUID, Run] = {}
_futures: set[Future[None]] = set()
_keeper: threading.Thread | None = None


def start(*, principal: Principal, question: Message, answer: Message, state: State) -> bool:
    """Begin the turn; False when too many run and wait already. Call it after the commit."""
    if not _places.acquire(blocking=False):
        return False
    run = Run(
        principal=principal,
        question=question,
        answer=answer,
        state=state,
        language=translation.get_language() or "en",
    )
    with _lock:
        _running[answer.pk] = run
        _start_keeper()
    future = _pool.submit(_work, run)
    _futures.add(future)
    future.add_done_callback(_futures.discard)
    return True


def stop(message_id: UUID) -> None:
    """Stop the answer in whichever process writes it; nothing happens if none does."""
    if run := _running.get(message_id):
        run.stop("stopped")
    else:
        redis_client().publish(STOP_CHANNEL, str(message_id))


def interrupt_all() -> None:
    """For the shutdown of the process: what is said so far is stored and can be asked again."""
    for run in list(_running.values()):
        run.stop("interrupted")
    drain(STOP_SECONDS + 5)


def drain(timeout_seconds: float) -> bool:
    """Wait until no turn runs; False when some still do."""
    return not wait(list(_futures), timeout=timeout_seconds).not_done


def _work(run: Run) -> None:
    try:
        with translation.override(run.language):
            _finish(run, _answer(run))
        _settle_cache(run)
        _remember(run)
    finally:
        with _lock:
            _running.pop(run.answer.pk, None)
        _places.release()
        release_connections()


def _answer(run: Run) -> Done:
    """Run the pipeline to its end, or to the stop."""
    try:
        with closing(_events(run)) as events:  # type: ignore[type-var]
            for event in events:
                if run.stop_outcome:
                    break
                if isinstance(event, Done):
                    return event
                run.tell(event)
    except TurnStopped:
        pass
    except ModelUnavailable as error:
        return Done(outcome="failed", error=str(error))
    except Exception:  # a bug in a domain must not leave the page waiting
        logger.exception("The turn of message %s failed", run.answer.pk)
        return Done(
            outcome="failed",
            error=_("The assistant could not answer because of an internal error."),
        )
    return Done(outcome=run.stop_outcome)


def _events(run: Run) -> Iterator[Event]:
    if run.stop_outcome:  # while it waited for a thread
        return
    conversation, principal = run.answer.conversation, run.principal
    if not _assistant_answers(conversation.pk):  # a person took over meanwhile
        run.stop_outcome = "stopped"
        return
    assistant = get_assistant(conversation.assistant)
    chosen = settings_for(principal.workspace, assistant.slug)
    adapter = chosen.adapter.name if chosen.adapter else ""
    served = ServedModel(adapter, cache_salt=str(principal.workspace.pk))
    model = _ModelOfTurn(served, run)

    def retrieve(query: str, limit: int) -> list[Passage]:
        found = search(
            principal=principal,
            assistant=assistant.slug,
            query=query,
            limit=limit,
            earlier=earlier_questions(run.question.parent_id),
        )
        return found.passages

    turn = Turn(
        text=run.question.text,
        number=run.question.turn,
        state=copy.deepcopy(run.state),
        memory=ConversationMemory(leaf_id=run.question.parent_id, state=run.state, model=model),
        model=model,
        retrieve=retrieve,
        workspace_id=str(principal.workspace.pk),
        conversation_id=str(conversation.pk),
        language=run.language,
    )
    if chosen.cache_answers and _asks_anew(run):
        run.cache = TurnCache(principal=principal, assistant=assistant, chosen=chosen)
    yield from run_turn(
        assistant,
        turn,
        lower=chosen.lower_threshold,
        upper=chosen.upper_threshold,
        documents=chosen.documents,
        documents_lower=chosen.documents_threshold,
        cache=run.cache,
    )


def _assistant_answers(conversation_id: UUID) -> bool:
    return Conversation.objects.filter(
        pk=conversation_id, owner_kind=Conversation.OwnerKind.ASSISTANT
    ).exists()


def _asks_anew(run: Run) -> bool:
    """The first question of a conversation, asked for the first time.

    Any later one may mean something that was said before, and whoever asks for another answer
    wants another.
    """
    return (
        run.question.parent_id is None
        and not run.state
        and not run.question.children.exclude(pk=run.answer.pk).exists()
    )


def _finish(run: Run, done: Done) -> None:
    """Store the answer, then tell the readers; a reader that is told finds it stored."""
    if not run.end():
        return
    try:
        last = _store_patiently(run, done)
    except (OperationalError, InterfaceError):
        logger.exception("The answer %s could not be stored", run.answer.pk)
        last = _as_json(
            Done(outcome="failed", error=_("The answer could not be stored: no database."))
        )
    _append(run.answer.pk, last)
    try:
        streams.mark_ended(run.answer.pk)
    except redis.RedisError as error:
        logger.warning("Redis refused the end of answer %s: %s", run.answer.pk, error)
    release_connections()


def _store_patiently(run: Run, done: Done) -> dict[str, Any]:
    """Store, and for a while again when the database is gone (a restart takes seconds)."""
    give_up_at = time.monotonic() + STORE_SECONDS
    while True:
        try:
            return _store(run, done)
        except (OperationalError, InterfaceError):
            release_connections()
            if time.monotonic() > give_up_at:
                raise
            time.sleep(1)


@transaction.atomic
def _store(run: Run, done: Done) -> dict[str, Any]:
    """Store the answer; the last event as it was stored."""
    conversation = (
        Conversation.objects.select_for_update(of=["self"])
        .select_related("workspace")
        .filter(pk=run.answer.conversation_id)
        .first()
    )
    if conversation is None:  # deleted meanwhile
        return _as_json(done)
    if not conversation.assistant_answers and done.outcome not in STATUS_OF_OUTCOME:
        # Someone took over while the last words came: no more than was shown is kept, as an answer
        # that was broken off, and it can ask for nothing.
        done = replace(done, outcome="stopped")
    last = _as_json(done)
    events = streams.join_tokens([*run.events, last])
    state = next(
        (event["state"] for event in reversed(events) if event["kind"] == "state_changed"),
        run.state,
    )
    stored = Message.objects.filter(
        pk=run.answer.pk,
        # A process that hung may have been given up; it is right about its own answer.
        status__in=[Message.Status.STREAMING, Message.Status.INTERRUPTED],
    ).update(
        text=streams.text_of(events),
        events=events,
        status=STATUS_OF_OUTCOME.get(done.outcome, Message.Status.COMPLETE),
        state_after=state,
        receipt=last["receipt"],
        finished_at=timezone.now(),
    )
    if not stored:
        return last
    if conversation.head_id == run.answer.pk:
        conversation.state = state
    conversation.save(update_fields=["state", "updated_at"])
    run.answer.refresh_from_db()
    run.answer.conversation = conversation  # which a hand-over below changes
    data = message_event(run.answer)
    emit(conversation.workspace, "message.completed", subject=run.answer.pk, data=data)
    if state != run.state:
        emit(conversation.workspace, "state.changed", subject=conversation.pk, data=data)
    handoff = next((event for event in events if event["kind"] == "handoff"), None)
    if handoff and conversation.assistant_answers:
        transitions.request(
            conversation,
            trigger=Handoff.Trigger.ASSISTANT,
            reason=handoff["reason"],
            message=run.answer,
        )
    send_reply(run.answer)
    return last


def _settle_cache(run: Run) -> None:
    """Keep the answer for the next who asks; an answer that isn't kept costs only time."""
    if run.cache is None:
        return
    run.answer.parent = run.question
    try:
        run.cache.settle(run.answer)
    except (OperationalError, InterfaceError, IntegrityError) as error:
        logger.warning("Answer %s is not in the cache: %s", run.answer.pk, error)


def _remember(run: Run) -> None:
    """Put the messages so far into the searchable archive; the next turn tries what failed.

    Not those of a first turn: most conversations end there, and whoever goes on looks further back
    only later.
    """
    if run.question.parent_id is None:
        return
    try:
        embed_messages(run.answer.pk, ServedModel())
    except ModelUnavailable as error:
        logger.info("Message %s is not in the archive yet: %s", run.answer.pk, error)
    except IntegrityError:  # the conversation was deleted meanwhile
        logger.info("Message %s is gone", run.answer.pk)
    except (OperationalError, InterfaceError) as error:
        logger.warning("Message %s is not in the archive yet: %s", run.answer.pk, error)


def _append(message_id: UUID, event: dict[str, Any], *, first: bool = False) -> None:
    """A stream without Redis shows nothing live; the answer goes on and is stored at the end."""
    try:
        streams.append(message_id, event, first=first)
    except redis.RedisError as error:
        logger.warning("Redis refused an event of answer %s: %s", message_id, error)


def _as_json(event: Event) -> dict[str, Any]:
    """The event as JSON values; PostgreSQL can't store the character NUL."""
    text = json.dumps(event.to_dict(), cls=DjangoJSONEncoder)
    result: dict[str, Any] = json.loads(text.replace("\\u0000", ""))
    return result


# The keeper: one thread while turns run ------------------------------------------------------------


def _start_keeper() -> None:
    global _keeper
    if _keeper is None:
        _keeper = threading.Thread(target=_keep, name="turn-keeper", daemon=True)
        _keeper.start()


def _keep() -> None:
    """Show that the turns live; end those that someone stops, nobody reads or nobody may read."""
    alive_at, rights_at = float("-inf"), time.monotonic()
    pubsub: redis.client.PubSub | None = None
    try:
        while runs := _runs_or_leave():
            now = time.monotonic()
            try:
                if pubsub is None:
                    pubsub = redis_client().pubsub(ignore_subscribe_messages=True)
                    pubsub.subscribe(STOP_CHANNEL)
                if now - alive_at >= ALIVE_EVERY_SECONDS:
                    streams.mark_alive([run.answer.pk for run in runs])
                    alive_at = now
                for message_id in streams.abandoned([run.answer.pk for run in runs]):
                    if (run := _running.get(message_id)) and not run.stop_outcome:
                        run.stop("stopped")
                message = pubsub.get_message(timeout=TICK_SECONDS)
            except redis.RedisError as error:
                logger.warning("Turns can't reach Redis: %s", error)
                if pubsub is not None:
                    pubsub.close()
                pubsub, message = None, None
                time.sleep(TICK_SECONDS)
            if message and (run := _running.get(UUID(message["data"]))):
                run.stop("stopped")
            if now - rights_at >= RIGHTS_EVERY_SECONDS:
                rights_at = now
                for run in _without_right(runs):
                    logger.info("Answer %s stopped: the right to it ended", run.answer.pk)
                    run.stop("stopped")
    finally:
        if pubsub is not None:
            pubsub.close()
        release_connections()


def _runs_or_leave() -> list[Run]:
    """The running turns; with none the keeper ends, and the next turn starts a new one."""
    global _keeper
    with _lock:
        if not _running:
            _keeper = None
        return list(_running.values())


def _without_right(runs: list[Run]) -> list[Run]:
    """Turns that must not go on.

    Their conversation is gone or no longer the assistant's (whoever took it over rang, but Redis
    may have lost that), or their person left the workspace or was suspended.
    """
    try:
        conversations = set(
            Conversation.objects.filter(
                pk__in={run.answer.conversation_id for run in runs},
                owner_kind=Conversation.OwnerKind.ASSISTANT,
            ).values_list("pk", flat=True)
        )
        members = set(
            Membership.objects.filter(
                user__in=[run.principal.user for run in runs if run.principal.user],
                user__is_active=True,
            ).values_list("user_id", "workspace_id")
        )
    except (OperationalError, InterfaceError) as error:
        logger.warning("The rights of running turns can't be checked now: %s", error)
        return []
    finally:
        release_connections()
    return [
        run
        for run in runs
        if not run.stop_outcome
        and (
            run.answer.conversation_id not in conversations
            or (
                run.principal.user is not None
                and (run.principal.user.pk, run.principal.workspace.pk) not in members
            )
        )
    ]
