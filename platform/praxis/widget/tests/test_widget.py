"""A visitor of another site talks to the assistant, and to nobody else's conversations."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import time_machine
from django.core.exceptions import ValidationError
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from praxis.accounts.access import Principal
from praxis.accounts.models import Role, User
from praxis.assistants.services import settings_for
from praxis.conversations.models import Conversation, Message
from praxis.handoff import services as handoff
from praxis.handoff.models import Survey
from praxis.handoff.presence import mark_present
from praxis.knowledge.access import searched_content
from praxis.knowledge.models import Corpus
from praxis.knowledge.search import search
from praxis.knowledge.tests.conftest import AddDocument
from praxis.widget import views
from praxis.widget.forms import clean_origin
from praxis.widget.models import Widget
from praxis.widget.tests.conftest import SITE, Visitor
from praxis.widget.visitors import MESSAGES, SESSIONS_OF_NETWORK
from tests.fakes import ModelServer

Visit = Callable[[], Visitor]
HERE = Path(views.__file__).parent


def test_a_visitor_asks_and_is_answered(quick: ModelServer, visit: Visit) -> None:
    visitor = visit()
    assert "Keeps a colour." in visitor.sees()
    quick.enqueue("Red suits you well.")
    assert visitor.post("messages", text="I like red").status_code == 201
    assert "Red suits you well." in visitor.sees()
    conversation = Conversation.objects.get()
    assert (conversation.channel, conversation.person) == ("widget", None)
    assert conversation.visitor_key.startswith("widget:")


def test_visitors_are_apart(quick: ModelServer, visit: Visit) -> None:
    first, second = visit(), visit()
    quick.enqueue("Secret answer.")
    first.post("messages", text="My secret")
    answer = Message.objects.get(role="assistant")
    assert "secret" not in second.sees().lower()
    second.post("messages", text="Hello")
    assert second.post("stop", message=str(answer.pk)).status_code == 404
    assert Conversation.objects.count() == 2


@pytest.mark.parametrize("token", ["", "forged", "eyJ3IjoxfQ:1:abc"])
def test_a_forged_token_opens_nothing(quick: ModelServer, visit: Visit, token: str) -> None:
    visitor = visit()
    visitor.post("messages", text="Hello")
    visitor.token = token
    assert visitor.get("transcript").status_code == 403
    assert visitor.post("messages", text="x").status_code == 403
    assert visitor.post("end").status_code == 403
    assert visitor.post("session").json()["token"] != token, "but a new visitor may come"


def test_a_token_is_for_its_own_widget_and_ends(
    quick: ModelServer, visit: Visit, widget: Widget
) -> None:
    visitor = visit()
    other = Widget.objects.create(
        workspace=widget.workspace, name="Other", assistant="tiny", origins=[SITE]
    )
    own = visitor.root
    visitor.root = f"/widget/{other.key}/"
    assert visitor.get("transcript").status_code == 403
    visitor.root = own
    with time_machine.travel(timezone.now() + timedelta(days=31)):
        assert visitor.get("transcript").status_code == 403
    widget.enabled = False
    widget.save()
    assert visitor.get("transcript").status_code == 404
    assert Client().get(reverse("widget:loader", args=[widget.key])).status_code == 404


def test_only_the_named_sites_may_show_the_frame(widget: Widget, client: Client) -> None:
    page = client.get(reverse("widget:frame", args=[widget.key]))
    policy = page.headers["Content-Security-Policy"]
    assert f"frame-ancestors 'self' {SITE};" in f"{policy};"
    assert "script-src 'self'" in policy
    assert "X-Frame-Options" not in page.headers
    assert not page.cookies
    other = client.get("/accounts/login/")
    assert other.headers["X-Frame-Options"] == "DENY"
    assert "frame-ancestors 'none'" in other.headers["Content-Security-Policy"]


def test_the_site_or_the_browser_chooses_the_language(widget: Widget, client: Client) -> None:
    address = reverse("widget:frame", args=[widget.key])
    assert "输入消息" in client.get(address, {"lang": "zh-CN"}).content.decode()
    assert "Write a message" in client.get(address, {"lang": "xx"}).content.decode()
    chinese = client.get(address, headers={"accept-language": "zh-CN"})
    assert 'lang="zh-hans"' in chinese.content.decode()
    Widget.objects.update(language="en")
    assert "Write a message" in client.get(address, {"lang": "zh-CN"}).content.decode()


def test_what_another_site_loads_is_small(widget: Widget, client: Client) -> None:
    script = client.get(reverse("widget:loader", args=[widget.key]))
    assert script.headers["Content-Type"].startswith("text/javascript")
    assert len(script.content) < 6_000
    assert json.dumps({"colour": widget.colour, "ink": "#ffffff"})[1:-1] in script.content.decode()
    frame = client.get(reverse("widget:frame", args=[widget.key]))
    files = sum(path.stat().st_size for path in (HERE / "static" / "widget").iterdir())
    assert len(script.content) + len(frame.content) + files < 30_000


def test_a_person_answers_a_visitor_and_the_visitor_rates(
    quick: ModelServer,
    visit: Visit,
    agent: User,
    principal_of: Callable[[User], Principal],
    client_for: Callable[[User], Client],
) -> None:
    visitor, desk = visit(), principal_of(agent)
    quick.enqueue("Hello.")
    visitor.post("messages", text="Hello")
    visitor.post("person")
    conversation = Conversation.objects.get()
    assert conversation.owner_kind == "waiting"
    assert "Nobody is at the desk" in visitor.sees()
    client_for(agent).post(reverse("handoff:name", args=["north-clinic"]), {"name": "Ana"})
    mark_present(desk.workspace.pk, agent.pk)
    assert "Nobody is at the desk" not in visitor.sees()
    handoff.take(principal=desk, conversation=conversation)
    handoff.reply(principal=desk, conversation=conversation, text="Good day.")
    handoff.add_note(principal=desk, conversation=conversation, text="internal matter")
    seen = visitor.sees()
    assert "Ana, a person, wrote" in seen
    assert agent.username not in seen, "whom visitors know by another name than they sign in with"
    assert "internal matter" not in seen
    visitor.post("messages", text="Thanks")
    assert Message.objects.filter(role="assistant").count() == 1
    visitor.post("end")
    assert "How was this conversation?" in visitor.sees()
    assert visitor.post("rating", score=9).status_code == 422
    visitor.post("rating", score=5, comment="Kind")
    assert Survey.objects.get().score == 5
    quick.enqueue("Again.")
    visitor.post("messages", text="One more thing")
    assert Conversation.objects.count() == 2, "after the end a new one begins"


def test_too_many_messages_are_refused_for_a_while(quick: ModelServer, visit: Visit) -> None:
    visitor = visit()
    visitor.post("messages", text="Hello")
    visitor.post("person")
    answers = [visitor.post("messages", text="Hello").status_code for _ in range(MESSAGES)]
    assert answers[-1] == 429
    assert set(answers[:-1]) == {201}


@pytest.mark.parametrize(
    ("body", "status"), [("[]", 422), ("{", 422), ('{"text": ""}', 422), ("x" * 300_000, 422)]
)
def test_a_bad_body_is_refused_with_a_sentence(
    quick: ModelServer, visit: Visit, body: str, status: int
) -> None:
    visitor = visit()
    answer = visitor.client.post(
        f"{visitor.root}messages",
        body,
        content_type="application/json",
        headers={"authorization": f"Visitor {visitor.token}"},
    )
    assert answer.status_code == status
    assert answer.json()["error"]


def test_a_failed_answer_can_be_asked_for_again(quick: ModelServer, visit: Visit) -> None:
    visitor = visit()
    visitor.post("messages", text="crash please")
    answer = Message.objects.get(role="assistant")
    assert answer.status == "failed"
    assert 'data-act="again"' in visitor.sees()
    visitor.post("again", message=str(answer.pk))
    assert Message.objects.filter(role="assistant").exclude(pk=answer.pk).exists()


def test_a_visitor_puts_right_what_was_understood(quick: ModelServer, visit: Visit) -> None:
    visitor = visit()
    quick.enqueue("Noted.")
    visitor.post("messages", text="I like red")
    assert 'value="red"' in visitor.sees()
    assert visitor.post("correct", key="colour", value="blue").status_code == 200
    assert 'value="blue"' in visitor.sees()
    refused = visitor.post("correct", key="colour", value="pink")
    assert (refused.status_code, "must be one of" in refused.json()["error"]) == (422, True)
    assert visitor.post("correct", key="secret", value="blue").status_code == 404
    assert Conversation.objects.get().state == {"colour": "blue"}


def test_what_a_visitor_or_the_settings_say_is_text(
    quick: ModelServer, visit: Visit, widget: Widget
) -> None:
    widget.greeting = "<img src=x onerror=alert(1)>"
    widget.save()
    visitor = visit()
    quick.enqueue("<script>alert(1)</script> ![x](https://evil.example/x.png)")
    visitor.post("messages", text="<b>hi</b>")
    seen = visitor.sees()
    assert "&lt;img src=x" in seen
    assert "&lt;b&gt;hi&lt;/b&gt;" in seen
    assert "<script" not in seen
    assert "<img" not in seen


def test_the_frame_is_gone_when_the_assistant_is_no_longer_offered(
    widget: Widget, visit: Visit, client: Client
) -> None:
    visitor = visit()
    chosen = settings_for(widget.workspace, "sample")
    chosen.enabled = False
    chosen.save()
    assert client.get(reverse("widget:frame", args=[widget.key])).status_code == 404
    assert visitor.post("messages", text="Hello").status_code == 404


def test_an_ipv6_network_counts_as_one(widget: Widget) -> None:
    root = f"/widget/{widget.key}/session"
    answers = [
        Client().post(root, REMOTE_ADDR=f"2001:db8::{number:x}").status_code
        for number in range(1, SESSIONS_OF_NETWORK + 2)
    ]
    assert answers[-1] == 429
    assert set(answers[:-1]) == {200}
    assert Client().post(root, REMOTE_ADDR="2001:db8:0:1::1").status_code == 200


def test_a_visitor_finds_only_what_has_no_access_list(
    widget: Widget, add_document: AddDocument
) -> None:
    for number, entry in enumerate(("role:member", "role:owner", "user:7")):
        inside = Corpus.objects.create(
            workspace=widget.workspace, name=f"Inside {number}", access=[entry]
        )
        add_document("inside.md", f"Parcels of staff leave within {number} days.", corpus=inside)
    add_document("open.md", "Parcels leave within two days.")
    visitor = Principal(workspace=widget.workspace, role=Role.MEMBER, visitor_key="widget:x")
    found = search(principal=visitor, query="When do parcels leave?", limit=10)
    assert [one.text for one in found.explanation.candidates] == ["Parcels leave within two days."]


def test_visitors_and_members_share_no_cached_answer_behind_a_list(widget: Widget) -> None:
    Corpus.objects.create(workspace=widget.workspace, name="Inside", access=["role:member"])
    visitor = Principal(workspace=widget.workspace, role=Role.MEMBER, visitor_key="widget:x")
    member = Principal(workspace=widget.workspace, role=Role.MEMBER, user=User(pk=7))
    asked = [searched_content(one, "sample").reader for one in (visitor, member)]
    assert asked[0] != asked[1]


@pytest.mark.parametrize(
    "colour", ["#ffffff", "#000000", "#0f6b5c", "#ffd400", "#767676", "#ff0000"]
)
def test_the_text_on_the_colour_can_be_read(colour: str) -> None:
    widget = Widget(colour=colour)
    lights = sorted(Widget(colour=one).luminance for one in (colour, widget.ink))
    assert (lights[1] + 0.05) / (lights[0] + 0.05) >= 4.5


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("https://shop.example.org", "https://shop.example.org"),
        ("https://Shop.Example.org/", "https://shop.example.org"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("https://shop.example.org:443", "https://shop.example.org"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
    ],
)
def test_origins_are_stored_as_browsers_compare_them(given: str, stored: str) -> None:
    assert clean_origin(given) == stored


@pytest.mark.parametrize(
    "given",
    [
        "shop.example.org",
        "javascript:alert(1)",
        "https://a.example/path",
        "https://user@a.example",
        "https://@a.example",
        "https://*.a.example",
        "https://a.example'self'",
        "https://*",
        "https://a.example;script-src",
        "https://a.example:99999",
        "https://",
    ],
)
def test_what_is_no_origin_is_refused(given: str) -> None:
    with pytest.raises(ValidationError):
        clean_origin(given)


def test_administrators_make_change_and_delete_widgets(
    quick: ModelServer, widget: Widget, admin: User, agent: User, stranger: User,
    client_for: Callable[[User], Client],
) -> None:  # fmt: skip
    boss, page = client_for(admin), reverse("widgets:index", args=["north-clinic"])
    wrong = boss.post(
        page, {"name": "Site", "assistant": "sample", "origins": "nonsense", "colour": "red"}
    )
    assert wrong.status_code == 422
    assert "is no origin" in wrong.content.decode()
    assert "six digits" in wrong.content.decode()
    made = {
        "name": "Site",
        "assistant": "sample",
        "colour": "#123456",
        "origins": f"{SITE}\nhttps://b.example",
    }
    boss.post(page, {**made, "enabled": "on"})
    assert Widget.objects.get(name="Site").origins == [SITE, "https://b.example"]
    assert boss.post(page, made).status_code == 422, "the name is taken"
    address = reverse("widgets:edit", args=["north-clinic", widget.pk])
    demo = reverse("widgets:demo", args=["north-clinic", widget.pk])
    shown = boss.get(demo)
    assert reverse("widget:loader", args=[widget.key]) in shown.content.decode()
    assert "frame-src 'self'" in shown.headers["Content-Security-Policy"]
    boss.post(
        address, {"name": "Shop", "assistant": "sample", "origins": SITE, "colour": "#123456"}
    )
    widget.refresh_from_db()
    assert not widget.enabled
    assert client_for(agent).get(demo).status_code == 403
    assert client_for(agent).get(page).status_code == 403
    assert client_for(stranger).get(address).status_code == 404
    boss.post(reverse("widgets:delete", args=["north-clinic", widget.pk]))
    assert not Widget.objects.filter(pk=widget.pk).exists()
