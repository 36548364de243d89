import io
from collections.abc import Callable

import pytest
from django.test import Client
from docx import Document

from apps.legal.assistant import ASSISTANT
from apps.legal.models import Draft, save_draft
from apps.legal.tests.test_dialogue import REPLIES
from apps.legal.tests.test_drafting import VALUES
from praxis.accounts.models import User, Workspace
from praxis.assistants.contract import Card, Done, Event, StateChanged, Token
from praxis.assistants.pipeline import run_turn
from praxis.assistants.tests.fakes import make_passage, make_turn
from praxis.conversations.models import Conversation

ClientFor = Callable[[User], Client]


@pytest.fixture
def conversation(workspace: Workspace, member: User) -> Conversation:
    return Conversation.objects.create(workspace=workspace, assistant="legal", person=member)


def text_of(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Token))


def test_a_whole_conversation_ends_with_a_draft(conversation: Conversation) -> None:
    state: dict[str, object] = {}
    events: list[Event] = []
    for number, text in enumerate(REPLIES, start=1):
        turn = make_turn(text, state=state, number=number)
        turn.conversation_id = str(conversation.pk)
        events = list(run_turn(ASSISTANT, turn, lower=0.35, upper=0.75))
        state = next((event.state for event in events if isinstance(event, StateChanged)), state)
    (card,) = [event for event in events if isinstance(event, Card)]
    draft = Draft.objects.get()
    assert card.data["draft"] == str(draft.pk)
    assert draft.values["purpose"] == "evaluating a joint warehouse robot"
    assert draft.findings == []
    assert "lawyer" in text_of(events)


def test_a_question_is_answered_from_the_documents_and_the_interview_goes_on() -> None:
    passage = make_passage(
        1, "The survival period is how long the duty of confidence lasts after the term has ended."
    )
    state = {"active": True, "asked": "purpose", "answers": {}, "problem": ""}
    turn = make_turn("What does the survival period mean?", state=state, passages=[passage])
    events = list(run_turn(ASSISTANT, turn, lower=0.35, upper=0.75))
    assert "duty of confidence" in text_of(events)
    assert text_of(events).endswith("“evaluating a joint product”.")


def test_deadlines_send_people_to_a_lawyer() -> None:
    passage = make_passage(1, "The limitation period for a claim is six years from the breach.")
    turn = make_turn("What is the limitation period for a claim?", passages=[passage])
    assert "verify this one with a lawyer" in text_of(
        list(run_turn(ASSISTANT, turn, lower=0.2, upper=0.75))
    )


def test_nothing_in_the_documents_is_said_plainly() -> None:
    events = list(run_turn(ASSISTANT, make_turn("Who won the cup?"), lower=0.35, upper=0.75))
    assert "don't guess" in text_of(events)
    assert isinstance(events[-1], Done)
    assert events[-1].outcome == "abstained"


def test_the_same_answers_make_no_second_draft(conversation: Conversation) -> None:
    first = save_draft(conversation_id=str(conversation.pk), values=VALUES)
    again = save_draft(conversation_id=str(conversation.pk), values=VALUES)
    other = save_draft(conversation_id=str(conversation.pk), values={**VALUES, "term_years": 3})
    assert first == again
    assert (first.number, other.number) == (1, 2)


def test_pages_and_the_word_file(
    conversation: Conversation, member: User, agent: User, client_for: ClientFor
) -> None:
    draft = save_draft(conversation_id=str(conversation.pk), values=VALUES)
    client = client_for(member)
    base = "/w/north-clinic/legal/"
    assert "Acme Robotics Ltd" in client.get(base).content.decode()
    page = client.get(f"{base}drafts/{draft.pk}/").content.decode()
    assert "Duty of confidence" in page
    assert "not reviewed by a lawyer" in page
    answer = client.get(f"{base}drafts/{draft.pk}/agreement.docx")
    assert answer["content-disposition"].startswith("attachment")
    assert "Mutual Non-Disclosure" in Document(io.BytesIO(answer.content)).paragraphs[0].text
    assert client.post(f"{base}drafts/{draft.pk}/", {"reviewed": "1"}).status_code == 403
    client_for(agent).post(f"{base}drafts/{draft.pk}/", {"reviewed": "1"})
    assert "Reviewed by agent" in client.get(f"{base}drafts/{draft.pk}/").content.decode()


def test_drafts_are_as_visible_as_their_conversation(
    conversation: Conversation,
    stranger: User,
    owner: User,
    make_member: Callable[..., User],
    workspace: Workspace,
    client_for: ClientFor,
) -> None:
    from praxis.accounts.models import Role

    draft = save_draft(conversation_id=str(conversation.pk), values=VALUES)
    colleague = make_member("colleague", workspace, Role.MEMBER)
    for path in ("", "agreement.docx"):
        address = f"/w/north-clinic/legal/drafts/{draft.pk}/{path}"
        assert client_for(stranger).get(address).status_code == 404
        assert client_for(colleague).get(address).status_code == 404
        assert client_for(owner).get(address).status_code == 200
