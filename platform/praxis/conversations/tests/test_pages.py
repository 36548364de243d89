"""The chat pages, as a person's browser asks for them."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from bs4 import BeautifulSoup, Tag
from django.test import Client
from django.urls import reverse
from django.utils.html import escape

from praxis.accounts.access import Principal
from praxis.accounts.models import AuditEntry, User
from praxis.conversations.models import Conversation, Feedback, Message, StateCorrection
from praxis.conversations.services import start_conversation
from praxis.conversations.tests.conftest import finish
from tests.fakes import ModelServer

Ask = Callable[..., Message]
BrowserOf = Callable[[User], Client]


@pytest.fixture
def browser(browser_of: BrowserOf, member: User) -> Client:
    return browser_of(member)


def page(response: Any) -> BeautifulSoup:
    return BeautifulSoup(response.content, "html.parser")


def one(soup: BeautifulSoup | Tag, selector: str) -> Tag:
    found = soup.select(selector)
    assert len(found) == 1, f"{len(found)} elements match {selector}"
    return found[0]


def of(message: Message, name: str) -> str:
    return reverse(f"conversations:{name}", args=[message.conversation_id, message.pk])


def where(conversation: Conversation, name: str) -> str:
    return reverse(f"conversations:{name}", args=[conversation.pk])


def send(client: Client, address: str, **data: str) -> Any:
    return client.post(address, data, headers={"hx-request": "true"})


@pytest.mark.django_db
def test_the_start_page_offers_the_assistants_and_their_suggestions(browser: Client) -> None:
    soup = page(browser.get("/"))
    card = next(one for one in soup.select(".assistant-card") if "Sample" in one.get_text())
    assert "AI assistant for tests, not an expert." in card.get_text()
    assert one(card, "button[name=text]")["value"] == "I like red"


@pytest.mark.django_db
def test_a_visitor_is_sent_to_the_sign_in(client: Client) -> None:
    response = client.get("/")
    assert response.status_code == 302
    assert response.headers["Location"].startswith(reverse("account_login"))


def test_a_suggestion_opens_a_conversation_and_is_answered(
    quick: ModelServer, browser: Client, workspace: Any
) -> None:
    quick.enqueue("Noted.")
    response = browser.post(
        "/c/new/", {"workspace": workspace.slug, "assistant": "sample", "text": "I like red"}
    )
    conversation = Conversation.objects.get()
    assert response.headers["Location"].startswith(conversation.get_absolute_url())
    assert conversation.head is not None
    assert finish(conversation.head).text == "Noted."
    soup = page(browser.get(conversation.get_absolute_url()))
    assert "Noted." in one(soup, ".answer").get_text()
    assert one(soup, "#panel-body input[name=value]")["value"] == "red"


def test_an_unused_conversation_is_opened_again(
    quick: ModelServer, browser: Client, workspace: Any
) -> None:
    for _attempt in range(2):
        browser.post("/c/new/", {"workspace": workspace.slug, "assistant": "sample"})
    assert Conversation.objects.count() == 1


def test_a_message_comes_back_with_the_place_where_its_answer_streams(
    quick: ModelServer, browser: Client, conversation: Conversation
) -> None:
    quick.enqueue("Hello yourself.")
    response = send(browser, where(conversation, "post"), text="Hello <b>there</b>")
    soup = page(response)
    assert one(soup, "[data-role=user] .message-text").get_text() == "Hello <b>there</b>"
    answer = Message.objects.get(role="assistant")
    assert one(soup, "[data-stream]")["data-stream"] == of(answer, "stream")
    assert "Refresh" in one(soup, "noscript").get_text()
    finish(answer)
    final = page(browser.get(of(answer, "message"), headers={"hx-request": "true"}))
    assert one(final, ".answer").get_text(strip=True) == "Hello yourself."
    assert one(final, "#chat-title").get_text() == "Hello <b>there</b>"


def test_without_javascript_a_message_is_a_plain_form(
    quick: ModelServer, browser: Client, conversation: Conversation
) -> None:
    quick.enqueue("Plain.")
    response = browser.post(where(conversation, "post"), {"text": "Hi"})
    answer = Message.objects.get(role="assistant")
    assert response.headers["Location"] == f"{conversation.get_absolute_url()}#message-{answer.pk}"
    soup = page(browser.get(conversation.get_absolute_url()))
    assert one(soup, f"#message-{answer.pk} .answer").get_text(strip=True) == "Plain."


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("  \n ", "empty"),
        ("x" * 20_001, "20,001 characters; at most 20,000"),
        ("a\x00b", "not text"),
        ("\x7fELF\x02\x01\x01", "not text"),
        ("\ufffd\ufffdabc", "not text"),
    ],
)
def test_a_bad_message_gets_a_reason_and_stays_in_the_form(
    quick: ModelServer, browser: Client, conversation: Conversation, text: str, reason: str
) -> None:
    response = browser.post(where(conversation, "post"), {"text": text})
    assert response.status_code == 422
    soup = page(response)
    assert reason in one(soup, "#composer-error").get_text()
    assert escape(text.strip()) in response.content.decode(), "what was typed is still there"
    assert not Message.objects.exists()
    refused = send(browser, where(conversation, "post"), text=text)
    assert (refused.status_code, refused.headers["HX-Retarget"]) == (422, "#composer-error")


def test_a_megabyte_is_refused_with_its_length(
    quick: ModelServer, browser: Client, conversation: Conversation
) -> None:
    response = browser.post(where(conversation, "post"), {"text": "y" * 1_000_000})
    assert response.status_code == 422
    assert "1,000,000" in response.content.decode()
    assert one(page(response), "#composer-text").get_text().strip() == "y" * 1_000_000


def test_regenerate_makes_a_second_version_to_switch_between(
    quick: ModelServer, browser: Client, ask: Ask, conversation: Conversation
) -> None:
    quick.enqueue("First.", "Second.")
    first = ask("Again and again")
    browser.post(of(first, "regenerate"))
    conversation.refresh_from_db()
    assert conversation.head is not None
    second = finish(conversation.head)
    assert second.parent_id == first.parent_id
    soup = page(browser.get(conversation.get_absolute_url()))
    shown = one(soup, f"#message-{second.pk}")
    assert "2/2" in one(shown, ".versions").get_text()
    browser.post(str(one(shown, ".versions form")["action"]))
    soup = page(browser.get(conversation.get_absolute_url()))
    assert one(soup, ".answer").get_text(strip=True) == "First."


def test_an_edited_message_branches_with_the_state_of_before(
    quick: ModelServer, browser: Client, ask: Ask, conversation: Conversation
) -> None:
    quick.enqueue("Red.", "More.", "Blue.")
    red = ask("I like red")
    ask("Tell me more")
    assert red.parent is not None
    browser.post(of(red.parent, "edit"), {"text": "I like blue"})
    conversation.refresh_from_db()
    assert conversation.head is not None
    blue = finish(conversation.head)
    conversation.refresh_from_db()
    assert conversation.state == {"colour": "blue"}
    soup = page(browser.get(conversation.get_absolute_url()))
    assert len(soup.select(".answer")) == 1
    assert blue.parent is not None
    versions = one(soup, f"#message-{blue.parent_id} .versions")
    assert "2/2" in versions.get_text()
    browser.post(str(one(versions, "form")["action"]))
    conversation.refresh_from_db()
    assert conversation.state == {"colour": "red"}
    soup = page(browser.get(conversation.get_absolute_url()))
    assert [one.get_text(strip=True) for one in soup.select(".answer")] == ["Red.", "More."]


def test_a_refused_edit_keeps_the_text(
    quick: ModelServer, browser: Client, ask: Ask, conversation: Conversation
) -> None:
    quick.enqueue("Yes.")
    answer = ask("Hello")
    assert answer.parent is not None
    response = browser.post(of(answer.parent, "edit"), {"text": "z" * 20_001})
    assert response.status_code == 422
    assert "z" * 20_001 in one(page(response), "#composer-text").get_text()


def test_an_answer_shows_sources_doubts_confidence_cards_and_receipt(
    quick: ModelServer, browser: Client, ask: Ask, conversation: Conversation
) -> None:
    answer = ask("please cite")
    shown = one(page(browser.get(conversation.get_absolute_url())), f"#message-{answer.pk}")
    link = one(shown, ".answer sup a")
    source = one(shown, str(link["href"]))
    assert "Shipping policy" in source.get_text()
    assert "page 2" in source.get_text()
    assert str(one(source, "a")["href"]).startswith("/w/north-clinic/")
    assert one(shown, ".answer .unsupported").get_text() == "They are always on time."
    assert "have no source" in shown.get_text()
    confidence = one(shown, ".confidence").get_text(" ", strip=True)
    assert "82 % (70 to 90 %)" in confidence
    assert "Two passages agree." in confidence
    assert "“model”" in confidence
    assert "In short" in one(shown, ".answer-card").get_text()
    assert "Send a reminder" in one(shown, ".proposal").get_text()
    assert one(shown, ".proposal button[data-variant=primary]")["value"] == "Yes, do it"
    receipt = one(shown, ".receipt").get_text(" ", strip=True)
    assert "Prompt version" in receipt
    assert "AI" in receipt


def test_the_notice_stands_on_the_page_before_the_first_answer(
    quick: ModelServer, browser: Client, conversation: Conversation
) -> None:
    soup = page(browser.get(conversation.get_absolute_url()))
    assert "AI assistant for tests, not an expert." in one(soup, ".chat-header").get_text()
    assert one(soup, ".newcomer button[name=text]")["value"] == "I like red"


def test_markup_of_people_and_models_is_text(
    quick: ModelServer, browser: Client, ask: Ask, conversation: Conversation
) -> None:
    payload = "<script>alert(1)</script> ![x](https://evil.test/x.png) [y](javascript:alert(2))"
    quick.enqueue(payload)
    ask(payload)
    conversation.title = payload[:100]
    conversation.save()
    soup = page(browser.get(conversation.get_absolute_url()))
    assert not [tag for tag in soup.find_all("script") if "alert" in tag.get_text()]
    assert not soup.select(".transcript img, .transcript a[href^=javascript]")


def test_a_failed_answer_offers_a_retry(
    quick: ModelServer, browser: Client, ask: Ask, conversation: Conversation
) -> None:
    quick.down()
    failed = ask("Still there?")
    shown = one(page(browser.get(conversation.get_absolute_url())), f"#message-{failed.pk}")
    assert "does not answer" in one(shown, ".alert").get_text()
    quick.up()
    quick.enqueue("Here.")
    browser.post(str(one(shown, "form[action$='/regenerate/']")["action"]))
    conversation.refresh_from_db()
    assert conversation.head is not None
    assert finish(conversation.head).text == "Here."
    soup = page(browser.get(conversation.get_absolute_url()))
    assert one(soup, "[data-role=user] .message-text").get_text() == "Still there?"


def test_when_too_busy_the_page_says_so_and_when_to_come_back(
    live: ModelServer,
    browser: Client,
    conversation: Conversation,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from praxis.conversations import turns

    monkeypatch.setattr(turns, "_places", turns.threading.BoundedSemaphore(1))
    turns._places.acquire()
    response = send(browser, where(conversation, "post"), text="Me too")
    assert response.status_code == 429
    assert int(response.headers["Retry-After"]) > 0
    soup = page(response)
    assert "Too many answers" in one(soup, "[data-role=assistant] .alert").get_text()
    assert one(soup, "[data-role=user] .message-text").get_text() == "Me too"


def test_a_corrected_field_is_stored_with_its_before_and_after(
    quick: ModelServer, browser: Client, ask: Ask, conversation: Conversation
) -> None:
    quick.enqueue("Red it is.")
    answer = ask("I like red")
    response = send(browser, where(conversation, "correct"), key="colour", value="green")
    assert one(page(response), "input[name=value]")["value"] == "green"
    conversation.refresh_from_db()
    assert conversation.state == {"colour": "green"}
    correction = StateCorrection.objects.get()
    assert (correction.before, correction.after) == ({"colour": "red"}, {"colour": "green"})
    assert correction.message_id == answer.pk
    answer.refresh_from_db()
    assert [event["kind"] for event in answer.events][-2:] == ["state_changed", "done"]
    refused = send(browser, where(conversation, "correct"), key="colour", value="mud")
    assert refused.status_code == 422
    soup = page(refused)
    assert "must be one of red, green, blue" in one(soup, "#panel-error").get_text()
    assert one(soup, "input[name=value]")["value"] == "mud"
    conversation.refresh_from_db()
    assert conversation.state == {"colour": "green"}
    quick.enqueue("Go on.")
    assert ask("And now?").state_after == {"colour": "green"}


def test_feedback_is_kept_once_per_person_and_can_change(
    quick: ModelServer, browser: Client, ask: Ask, member: User
) -> None:
    quick.enqueue("Wrong.")
    answer = ask("Hello")
    soup = page(send(browser, of(answer, "feedback"), thumb="up"))
    assert one(soup, "button[value=up]")["aria-pressed"] == "true"
    send(browser, of(answer, "feedback"), thumb="down", correction="It should say hello.")
    given = Feedback.objects.get()
    assert (given.thumb, given.correction) == ("down", "It should say hello.")
    assert (given.author, given.review) == (member, "open")
    refused = send(browser, of(answer, "feedback"), thumb="down", correction="x" * 20_001)
    assert refused.status_code == 422
    assert "x" * 20_001 in refused.content.decode()


def test_search_finds_words_parts_and_chinese_in_titles_and_messages(
    quick: ModelServer, browser: Client, me: Principal
) -> None:
    for question, reply in [
        ("Where is my parcel?", "It left the warehouse."),
        ("退货政策是什么", "三十天内可以退货。"),
    ]:
        quick.enqueue(reply)
        talk = start_conversation(principal=me, assistant="sample")
        browser.post(where(talk, "post"), {"text": question})

    def found(words: str) -> list[str]:
        soup = page(browser.get("/c/", {"q": words}, headers={"hx-request": "true"}))
        return [link.get_text() for link in soup.select("a")]

    assert found("warehouse left") == ["Where is my parcel?"]
    assert found("wareh") == ["Where is my parcel?"]
    assert found("退货") == ["退货政策是什么"]
    assert found("天内可以") == ["退货政策是什么"]
    assert found("nothing like it") == []
    assert len(found("")) == 2
    soup = page(browser.get("/c/", {"q": "parcel"}))
    assert one(soup, ".conversation-rows a").get_text() == "Where is my parcel?"


def test_rename_and_delete(
    quick: ModelServer, browser: Client, ask: Ask, conversation: Conversation
) -> None:
    quick.enqueue("Yes.")
    ask("Hello")
    browser.post(where(conversation, "rename"), {"title": "  About\nparcels "})
    conversation.refresh_from_db()
    assert conversation.title == "About parcels"
    assert "removed for good" in browser.get(where(conversation, "delete")).content.decode()
    assert Conversation.objects.exists()
    browser.post(where(conversation, "delete"))
    assert not Conversation.objects.exists()
    assert not Message.objects.exists()
    entry = AuditEntry.objects.get(action="conversation.delete")
    assert entry.object_id == str(conversation.pk)


def test_the_exports_carry_notice_provenance_and_sources(
    quick: ModelServer, browser: Client, ask: Ask, conversation: Conversation
) -> None:
    ask("please cite ![x](https://evil.test/x.png)")
    response = browser.get(where(conversation, "export_json"))
    assert "attachment" in response.headers["Content-Disposition"]
    data = json.loads(response.content)
    assert data["notice"] == "AI assistant for tests, not an expert."
    question, answer = data["messages"]
    assert (question["ai_generated"], answer["ai_generated"]) == (False, True)
    assert answer["citations"][0]["title"] == "Shipping policy"
    assert answer["confidence"]["value"] == 0.82
    text = browser.get(where(conversation, "export_markdown")).content.decode()
    assert "> AI assistant for tests, not an expert." in text
    assert "AI-generated" in text
    assert "- [1] Shipping policy, page 2: “Parcels leave within two days.”" in text
    assert "![" not in text


ADDRESSES = ["chat", "export_json", "export_markdown", "delete", "news"]
ACTS = ["post", "correct", "rename", "delete"]
MESSAGE_ACTS = ["stop", "regenerate", "edit", "show", "feedback"]


def test_strangers_get_404_everywhere(
    quick: ModelServer,
    ask: Ask,
    conversation: Conversation,
    browser_of: BrowserOf,
    stranger: User,
    make_member: Callable[..., User],
    workspace: Any,
) -> None:
    from praxis.accounts.models import Role

    quick.enqueue("Private.")
    answer = ask("Hello")
    colleague = make_member("colleague", workspace, Role.MEMBER)
    for user in (stranger, colleague):
        client = browser_of(user)
        for name in ADDRESSES:
            assert client.get(where(conversation, name)).status_code == 404, name
        for name in ACTS:
            assert client.post(where(conversation, name)).status_code == 404, name
        for name in MESSAGE_ACTS:
            assert client.post(of(answer, name), {"text": "x"}).status_code == 404, name
        assert client.get(of(answer, "message")).status_code == 404
        assert "Hello" not in client.get("/c/").content.decode()
        assert "Hello" not in client.get("/").content.decode()


def test_a_message_is_only_found_in_its_own_conversation(
    quick: ModelServer, browser: Client, ask: Ask, me: Principal
) -> None:
    quick.enqueue("Here.")
    answer = ask("Hello")
    other = start_conversation(principal=me, assistant="sample")
    address = reverse("conversations:message", args=[other.pk, answer.pk])
    assert browser.get(address).status_code == 404


def test_long_conversations_show_their_end_first(
    quick: ModelServer, browser: Client, conversation: Conversation
) -> None:
    from praxis.conversations.tests.conftest import tell_story

    tell_story(conversation, num_turns=40)
    soup = page(browser.get(conversation.get_absolute_url()))
    assert len(soup.select(".message")) == 60
    assert "Show 20 earlier messages" in soup.get_text()
    soup = page(browser.get(conversation.get_absolute_url(), {"all": ""}))
    assert len(soup.select(".message")) == 80


def test_the_chat_page_needs_few_queries_however_long(
    quick: ModelServer,
    browser: Client,
    conversation: Conversation,
    django_assert_max_num_queries: Any,
) -> None:
    from praxis.conversations.tests.conftest import tell_story

    tell_story(conversation, num_turns=30)
    with django_assert_max_num_queries(14):
        browser.get(conversation.get_absolute_url())
