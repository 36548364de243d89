"""The review queue, its badge in the card, the emergency numbers, and who may see them."""

from collections.abc import Callable
from typing import Any

import pytest
from django.template.loader import render_to_string
from django.test import Client
from django.utils import timezone

from apps.medical import confidence, differential
from apps.medical.assistant import differential_data, seed
from apps.medical.differential import Case
from apps.medical.models import CaseReview, EmergencySettings
from praxis.accounts.access import Principal
from praxis.accounts.models import AuditEntry, User, Workspace
from praxis.conversations.models import Conversation, Message
from praxis.knowledge.models import Document

ClientFor = Callable[[User], Client]


def differential_event() -> dict[str, Any]:
    base = differential.load()
    names = ("Tall stature", "Arachnodactyly", "Ectopia lentis", "Cough")
    ranking = differential.rank(
        base, Case(present=tuple(base.ontology.names.index(name) for name in names))
    )
    assessment = confidence.assess(base, ranking, shown=5)
    data = differential_data(base, ranking, assessment, "HP:0001634")
    return {"kind": "card", "type": "differential", "title": "Differential", "data": data}


@pytest.fixture
def answer(workspace: Workspace, member: User) -> Message:
    conversation = Conversation.objects.create(
        workspace=workspace, assistant="medical", person=member
    )
    question = Message.objects.create(
        conversation=conversation,
        role="user",
        text="Tall, long fingers, dislocated lens",
        finished_at=timezone.now(),
    )
    return Message.objects.create(
        conversation=conversation,
        parent=question,
        role="assistant",
        text="Conditions that fit best",
        events=[differential_event()],
        state_after={"findings": {"HP:0001166": {"name": "Arachnodactyly", "status": "present"}}},
        finished_at=timezone.now(),
    )


def url(workspace: Workspace, path: str = "") -> str:
    return f"/w/{workspace.slug}/medical/{path}"


def draw(answer: Message, principal: Principal) -> str:
    return render_to_string(
        "medical/cards/differential.html",
        {
            "card": answer.events[0],
            "message": answer,
            "conversation": answer.conversation,
            "workspace": principal.workspace,
            "principal": principal,
        },
    )


def test_a_clinician_sees_the_queue_and_records_a_decision(
    workspace: Workspace, agent: User, answer: Message, client_for: ClientFor
) -> None:
    client = client_for(agent)
    assert "Tall, long fingers" in client.get(url(workspace)).content.decode()
    page = client.get(url(workspace, f"answers/{answer.pk}/")).content.decode()
    assert "Marfan" in page
    assert "Arachnodactyly" in page
    client.post(url(workspace, f"answers/{answer.pk}/"), {"decision": "approved", "text": ""})
    assert CaseReview.objects.get().decision == "approved"
    assert AuditEntry.objects.get(action="medical.review").detail == {"decision": "approved"}
    assert "Tall, long fingers" not in client.get(url(workspace)).content.decode()
    assert "Tall, long fingers" in client.get(url(workspace) + "?show=approved").content.decode()


def test_a_rejection_needs_its_reason(
    workspace: Workspace, agent: User, answer: Message, client_for: ClientFor
) -> None:
    response = client_for(agent).post(
        url(workspace, f"answers/{answer.pk}/"), {"decision": "rejected", "text": " "}
    )
    assert "why it is wrong" in response.content.decode()
    assert not CaseReview.objects.exists()


def test_the_card_is_marked_unreviewed_until_somebody_decides(
    agent: User, answer: Message, principal_of: Callable[..., Principal]
) -> None:
    principal = principal_of(agent)
    assert "Not reviewed by a clinician" in draw(answer, principal)
    CaseReview.objects.create(message=answer, reviewer=agent, decision="approved")
    CaseReview.objects.create(
        message=answer, reviewer=agent, decision="edited", text="Ask for the family first."
    )
    html = draw(answer, principal)
    assert "Not reviewed by a clinician" not in html
    assert "Approved with changes" in html
    assert "Ask for the family first." in html


def test_the_card_shows_for_and_against_with_a_table_and_no_inline_style(
    agent: User, answer: Message, principal_of: Callable[..., Principal]
) -> None:
    html = draw(answer, principal_of(agent))
    assert "Arachnodactyly" in html
    assert "<caption" in html
    assert ">for<" in html
    assert ">against<" in html
    assert "style=" not in html
    assert "2025-11-24" in html


def test_a_member_sees_the_card_but_no_link_and_no_queue(
    workspace: Workspace,
    member: User,
    answer: Message,
    client_for: ClientFor,
    principal_of: Callable[..., Principal],
) -> None:
    assert "medical/answers" not in draw(answer, principal_of(member))
    client = client_for(member)
    assert client.get(url(workspace)).status_code == 403
    assert client.get(url(workspace, f"answers/{answer.pk}/")).status_code == 403


def test_another_workspace_gets_404(
    workspace: Workspace,
    other_workspace: Workspace,
    stranger: User,
    answer: Message,
    client_for: ClientFor,
) -> None:
    client = client_for(stranger)
    assert client.get(url(workspace)).status_code == 404
    assert client.get(url(other_workspace, f"answers/{answer.pk}/")).status_code == 404


def test_a_message_of_another_assistant_is_not_reviewed_here(
    workspace: Workspace, agent: User, answer: Message, client_for: ClientFor
) -> None:
    Conversation.objects.filter(pk=answer.conversation_id).update(assistant="legal")
    assert client_for(agent).get(url(workspace, f"answers/{answer.pk}/")).status_code == 404


def test_an_administrator_sets_the_numbers_and_an_agent_may_not(
    workspace: Workspace, admin: User, agent: User, client_for: ClientFor
) -> None:
    data = {"emergency_number": "112", "crisis_line": "116 123"}
    assert client_for(agent).post(url(workspace, "emergency/"), data).status_code == 403
    assert client_for(admin).post(url(workspace, "emergency/"), data).status_code == 302
    assert EmergencySettings.objects.get(workspace=workspace).emergency_number == "112"
    assert "112" in client_for(admin).get(url(workspace, "emergency/")).content.decode()


def test_seeding_twice_leaves_one_copy_of_each_document(workspace: Workspace) -> None:
    seed(workspace)
    seed(workspace)
    titles = list(
        Document.objects.filter(corpus__workspace=workspace).values_list("title", flat=True)
    )
    assert sorted(titles) == [
        "How the medical assistant works",
        "Red flags: when to call emergency services",
        "Taking a history: checklist",
    ]
