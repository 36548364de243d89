"""The service editor: parts by form, problems at their fields, trying, publishing, going back."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from apps.customer_service import drafts
from apps.customer_service.comparison import differences
from apps.customer_service.demo_services import DEMO_SERVICES
from apps.customer_service.demo_services.shop import SHOP
from apps.customer_service.editing import (
    IntentPage,
    SlotPage,
    intent_fields,
    intent_rows,
    slot_fields,
    value_rows,
)
from apps.customer_service.models import ServiceDefinition, ServiceDraft, save_version
from apps.customer_service.schema import parse_service
from praxis.accounts.models import AuditEntry, User, Workspace

ClientFor = Callable[[User], Client]


@pytest.fixture
def version(workspace: Workspace) -> ServiceDefinition:
    made = save_version(
        workspace=workspace,
        definition=copy.deepcopy(SHOP),
        base_url="https://orders.example.com/api",
        secret="first token",
        created_by=None,
    )
    made.publish()
    return made


@pytest.fixture
def client(admin: User, client_for: ClientFor) -> Client:
    return client_for(admin)


@pytest.fixture
def draft(client: Client, workspace: Workspace, version: ServiceDefinition) -> ServiceDraft:
    client.post(address("service_edit", workspace, "shop", 1))
    return ServiceDraft.objects.get(workspace=workspace)


def address(name: str, workspace: Workspace, *args: object) -> str:
    return reverse(f"customer_service:{name}", args=[workspace.slug, *args])


def table(prefix: str, rows: list[dict[str, Any]], known: int = 0) -> dict[str, Any]:
    """A formset's POST data."""
    data: dict[str, Any] = {f"{prefix}-TOTAL_FORMS": len(rows), f"{prefix}-INITIAL_FORMS": known}
    for number, row in enumerate(rows):
        data |= {
            f"{prefix}-{number}-{key}": value
            for key, value in row.items()
            if value not in ("", False)
        }
    return data


def posted(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value is not None and value is not False}


def test_a_service_is_made_with_forms_alone(client: Client, workspace: Workspace) -> None:
    about = {
        "title": "Bike rental", "description": "Bikes by the day.",
        "base_url": "https://bikes.example.com",
    }  # fmt: skip
    client.post(address("service_new", workspace), about)
    draft = ServiceDraft.objects.get(workspace=workspace)
    assert draft.name == "bike_rental"
    client.post(
        address("draft_slots", workspace, "bike_rental"),
        {
            "title": "Size", "description": "Size of the bike.", "question": "Which size?",
            "kind": "categorical", "may_skip": "on",
            **table("values", [{"title": "Small", "synonyms": "little, kid's"}, {"title": "Large"}]),
        },
    )  # fmt: skip
    client.post(
        address("draft_slots", workspace, "bike_rental"),
        {
            "title": "Day", "description": "The day of the ride.", "question": "Which day?",
            "kind": "date", "minimum": "0", **table("values", []),
        },
    )  # fmt: skip
    client.post(
        address("draft_intents", workspace, "bike_rental"),
        {
            "title": "Rent a bike", "description": "Rent a bike for a day.",
            "samples": "I need a bike\nrent a bike", "answered_by": "call", "method": "POST",
            "path": "/rentals", "summary": "A {size} bike on {day}.",
            **table("needs", [{"slot": "day", "need": "required"}, {"slot": "size", "need": "optional"}]),
            **table("parameters", [
                {"place": "body", "field": "day", "slot": "day"},
                {"place": "body", "field": "size", "slot": "size"},
            ]),
            **table("results", [{"field": "number", "kind": "text"}, {"field": "day", "kind": "text", "slot": "day"}]),
            **table("replies", [
                {"on": "ok", "text": "Booked: {number}."},
                {"on": "409", "text": "No bike left.", "ask_again": "day"},
            ]),
        },
    )  # fmt: skip
    client.post(address("draft_publish", workspace, "bike_rental"))
    made = ServiceDefinition.objects.get(workspace=workspace, published=True)
    service = parse_service(made.definition)
    intent = service.intent("rent_a_bike")
    assert (intent.required, intent.optional, intent.confirm) == (("day",), ("size",), True)
    assert intent.action is not None
    assert intent.action.echoes == {"day": "day"}
    assert intent.action.replies["409"].ask_again == ("day",)
    assert service.slot("size").values[0].synonyms == ("little", "kid's")
    assert service.slot("day").minimum == 0
    assert not ServiceDraft.objects.exists()


@pytest.mark.parametrize("definition", DEMO_SERVICES, ids=lambda one: one["name"])
def test_every_part_of_the_demo_survives_its_form(definition: dict[str, Any]) -> None:
    """What the form shows and saves again is what was there: no field gets lost."""
    for slot in definition["slots"]:
        fields, rows = slot_fields(slot), value_rows(slot)
        page = SlotPage(definition, slot, {**posted(fields), **table("values", rows, len(rows))})
        assert parse_one_slot(page.result()) == parse_one_slot(slot), page.form.errors
    for intent in definition["intents"]:
        data = posted(intent_fields(intent))
        for name, rows in intent_rows(intent).items():
            data |= table(name, rows, len(rows))
        intent_page = IntentPage(definition, intent, data)
        found = intent_page.result()
        assert found is not None, intent_page.form.errors
        again = {**definition, "intents": [found], "slots": without_sources(definition)}
        before = {**definition, "intents": [intent], "slots": without_sources(definition)}
        assert parse_service(again) == parse_service(before)


def parse_one_slot(slot: dict[str, Any] | None) -> Any:
    assert slot is not None
    bare = {key: value for key, value in slot.items() if key != "values_from"}
    if slot["kind"] == "categorical" and "values" not in slot:
        bare["values"] = [{"name": "x", "title": "X"}]
    data = {
        "name": "s", "title": "S", "description": "S", "slots": [bare],
        "intents": [{"name": "i", "title": "I", "description": "I"}],
    }  # fmt: skip
    return parse_service(data).slots[0], slot.get("values_from")


def without_sources(definition: dict[str, Any]) -> list[dict[str, Any]]:
    """Slots without lists from intents, which a definition of one intent doesn't have."""
    slots = []
    for slot in definition["slots"]:
        bare = {key: value for key, value in slot.items() if key != "values_from"}
        if slot["kind"] == "categorical" and "values" not in slot:
            bare["values"] = [{"name": "x", "title": "X"}]
        slots.append(bare)
    return slots


def test_what_is_wrong_is_said_at_its_field_and_nothing_is_stored(
    client: Client, workspace: Workspace, draft: ServiceDraft
) -> None:
    response = client.post(
        address("draft_slots", workspace, "shop"),
        {
            "title": "Code", "description": "A code.", "question": "Code?", "kind": "pattern",
            "pattern": "(a+)+", **table("values", []),
        },
    )  # fmt: skip
    assert response.context["page"].form.errors["pattern"] == [
        "must not repeat a group that itself repeats, like (a+)+"
    ]
    response = client.post(
        address("draft_intents", workspace, "shop"),
        {
            "title": "Odd", "description": "Odd.", "answered_by": "call", "method": "GET",
            "path": "orders", **table("needs", []), **table("parameters", []),
            **table("results", []), **table("replies", []),
        },
    )  # fmt: skip
    errors = response.context["page"].form.errors
    assert "must start with /" in errors["path"][0]
    assert 'lacks "ok"' in errors["__all__"][0]
    draft.refresh_from_db()
    assert draft.definition == SHOP


def test_a_slot_in_use_stays_and_its_new_name_is_carried_everywhere(
    client: Client, workspace: Workspace, draft: ServiceDraft
) -> None:
    act = address("draft_slots_act", workspace, "shop", "order_number")
    page = client.post(act, {"act": "remove"}, follow=True).content.decode()
    assert "it is used by order_status, return_item, change_address" in page
    slot = next(one for one in SHOP["slots"] if one["name"] == "order_number")
    data = {**posted(slot_fields(slot)), "name": "order_no", **table("values", [])}
    client.post(address("draft_slots", workspace, "shop", "order_number"), data)
    draft.refresh_from_db()
    service = parse_service(draft.definition)
    intent = service.intent("change_address")
    assert intent.action is not None
    assert intent.action.path == "/orders/{order_no}/address"
    assert intent.action.echoes == {"number": "order_no"}
    assert "{order_no}" in intent.summary
    assert "order_number" not in json.dumps(
        [one for one in draft.definition["intents"] if one["name"] != "return_item"]
    )


def test_parts_are_moved_and_removed(
    client: Client, workspace: Workspace, draft: ServiceDraft
) -> None:
    client.post(address("draft_intents_act", workspace, "shop", "return_item"), {"act": "up"})
    client.post(
        address("draft_intents_act", workspace, "shop", "policy_question"), {"act": "remove"}
    )
    draft.refresh_from_db()
    names = [one["name"] for one in draft.definition["intents"]]
    assert names == ["return_item", "order_status", "change_address", "find_product"]
    page = client.post(
        address("draft_intents_act", workspace, "shop", "order_status"),
        {"act": "remove"},
        follow=True,
    )
    assert "it is used by item" in page.content.decode()


def test_a_dry_run_holds_the_whole_conversation_and_sends_nothing(
    client: Client, workspace: Workspace, draft: ServiceDraft
) -> None:
    speak = address("draft_rehearse", workspace, "shop")

    def say(text: str) -> str:
        said = {"message": text, "against": "dry"}
        return client.post(speak, said, headers={"HX-Request": "true"}).content.decode()

    say("change the address of my order HP-10423, chen@example.com")
    assert "Shall I do this?" in say("12 Elm Road, Bristol, BS1 4QA")
    page = say("yes")
    assert "POST /orders/{order_number}/address" in page
    assert "not sent" in page
    assert "HP-10423 now goes to" in page
    again = client.post(speak, {"restart": "1"}, headers={"HX-Request": "true"}).content.decode()
    assert "Say what a customer would say." in again


def test_a_change_of_the_draft_begins_the_talk_anew(
    client: Client, workspace: Workspace, draft: ServiceDraft
) -> None:
    speak = address("draft_rehearse", workspace, "shop")
    client.post(speak, {"message": "track my order", "against": "dry"})
    assert "track my order" in client.get(address("draft", workspace, "shop")).content.decode()
    client.post(address("draft_intents_act", workspace, "shop", "order_status"), {"act": "down"})
    assert "track my order" not in client.get(address("draft", workspace, "shop")).content.decode()


def test_publishing_makes_the_next_version_and_an_older_one_can_come_back(
    client: Client, workspace: Workspace, draft: ServiceDraft
) -> None:
    about = {
        "title": "Another shop", "description": "Orders.",
        "base_url": "https://orders.example.com/api",
    }  # fmt: skip
    client.post(address("draft_about", workspace, "shop"), about)
    assert "Another shop" in client.get(address("draft", workspace, "shop")).content.decode()
    client.post(address("draft_publish", workspace, "shop"))
    in_use = ServiceDefinition.objects.get(workspace=workspace, published=True)
    assert (in_use.version, in_use.secret, in_use.service.title) == (
        2,
        "first token",
        "Another shop",
    )
    changes = client.get(address("service_changes", workspace, "shop", 2)).content.decode()
    assert "<ins>Another shop</ins>" in changes
    client.post(address("service_publish", workspace, "shop", 1))
    assert ServiceDefinition.objects.get(workspace=workspace, published=True).version == 1
    acts = AuditEntry.objects.filter(workspace=workspace).order_by("pk")
    assert [entry.action for entry in acts] == [
        "service.draft",
        "service.publish",
        "service.publish",
    ]


def test_a_new_address_does_not_get_the_old_addresss_token(
    client: Client, workspace: Workspace, draft: ServiceDraft
) -> None:
    about = {"title": "Shop", "description": "Orders.", "base_url": "https://elsewhere.example.net"}
    client.post(address("draft_about", workspace, "shop"), about)
    draft.refresh_from_db()
    assert draft.secret == ""


@pytest.mark.parametrize(
    "url", ["ftp://x.example", "https://u:p@x.example", "https://x.example/?a=1", "x"]
)
def test_an_address_that_can_not_be_called_is_refused(
    client: Client, workspace: Workspace, url: str
) -> None:
    client.post(
        address("service_new", workspace), {"title": "T", "description": "D", "base_url": url}
    )
    assert not ServiceDraft.objects.exists()


def test_a_draft_with_problems_is_not_published(
    client: Client, workspace: Workspace, draft: ServiceDraft
) -> None:
    draft.definition = {**draft.definition, "intents": []}
    draft.save()
    page = client.get(address("draft", workspace, "shop")).content.decode()
    assert "a service needs at least one intent" in page
    assert "as soon as it has no problems" in page
    client.post(address("draft_publish", workspace, "shop"))
    assert ServiceDefinition.objects.count() == 1


def test_the_json_view_shows_problems_with_their_lines(
    client: Client, workspace: Workspace, draft: ServiceDraft
) -> None:
    wrong = copy.deepcopy(SHOP)
    wrong["slots"][0]["kind"] = "colour"
    text = json.dumps(wrong, indent=2)
    line = next(n for n, row in enumerate(text.splitlines(), 1) if '"colour"' in row)
    page = client.post(address("draft_json", workspace, "shop"), {"definition": text})
    assert f"Line {line}" in page.content.decode()
    draft.refresh_from_db()
    assert draft.definition == SHOP
    renamed = json.dumps({**SHOP, "name": "store"})
    page = client.post(address("draft_json", workspace, "shop"), {"definition": renamed})
    assert "name must stay shop." in page.content.decode()


def test_an_export_is_imported_again_as_a_draft(
    client: Client, workspace: Workspace, version: ServiceDefinition
) -> None:
    exported = client.get(address("service_export", workspace, "shop", 1))
    assert b"first token" not in exported.content
    from django.core.files.uploadedfile import SimpleUploadedFile

    file = SimpleUploadedFile("shop-1.json", exported.content)
    client.post(
        address("service_import", workspace), {"sources": file, "base_url": "https://a.example"}
    )
    draft = ServiceDraft.objects.get(workspace=workspace)
    assert draft.definition == SHOP
    assert draft.based_on == version


def test_differences_name_their_place() -> None:
    after = copy.deepcopy(SHOP)
    after["slots"][0]["question"] = "Number?"
    after["intents"][1]["required"].remove("reason")
    del after["intents"][4]
    found = {(one.place, one.before, one.after) for one in differences(SHOP, after)}
    assert found == {
        (
            "slots.order_number.question",
            "What is the order number? It looks like HP-10421.",
            "Number?",
        ),
        ("intents.return_item.required", "reason", ""),
        ("intents.policy_question", "Question about returns and delivery", ""),
    }


def test_two_people_edit_one_draft(
    client: Client, workspace: Workspace, draft: ServiceDraft
) -> None:
    client.post(address("service_edit", workspace, "shop", 1))
    assert ServiceDraft.objects.count() == 1
    assert drafts.problems_of(draft.definition) == []
