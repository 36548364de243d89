"""Services from OpenAPI descriptions and from Rasa's files, with a report of what got lost."""

import json
from typing import Any

import pytest

from apps.customer_service.importing import Imported, ImportRefused, from_files
from apps.customer_service.schema import parse_service

OPENAPI = """
openapi: 3.0.3
info: {title: Parcel desk, description: Parcels and collections.}
servers: [{url: "https://{zone}.parcels.example/v2/", variables: {zone: {default: eu}}}]
paths:
  /parcels/{parcelId}:
    parameters:
      - {name: parcelId, in: path, required: true, schema: {type: string, pattern: "^P-\\\\d{6}$"}}
    get:
      operationId: getParcel
      summary: Find a parcel
      responses:
        "200":
          description: The parcel
          content: {application/json: {schema: {$ref: "#/components/schemas/Parcel"}}}
        "404": {description: There is no such parcel.}
    delete:
      deprecated: true
      responses: {"204": {description: gone}}
  /collections:
    post:
      operationId: bookCollection
      summary: Book a collection
      description: A courier comes and collects parcels.
      requestBody:
        required: true
        content: {application/json: {schema: {$ref: "#/components/schemas/Collection"}}}
      responses:
        "201": {description: Booked, content: {application/json: {schema: {type: object, required: [reference], properties: {reference: {type: string}}}}}}
        "409": {description: Nobody can come on that day.}
  /collections/photo:
    post:
      requestBody: {required: true, content: {multipart/form-data: {schema: {type: object}}}}
      responses: {"200": {description: ok}}
  /depots:
    get:
      summary: List depots
      parameters:
        - {name: region, in: query, schema: {type: string, enum: [north, south]}}
        - {name: tags, in: query, schema: {type: array, items: {type: string}}}
        - {name: X-Trace, in: header, schema: {type: string}}
      responses:
        "200": {description: Depots, content: {application/json: {schema: {type: array, items: {type: object}}}}}
components:
  securitySchemes:
    key: {type: apiKey, in: header, name: X-Key}
  schemas:
    Parcel:
      type: object
      required: [parcel_id, state]
      properties: {parcel_id: {type: string}, state: {type: string}, weight: {type: number}}
    Collection:
      allOf:
        - {type: object, required: [day, phone], properties: {day: {type: string, format: date}, phone: {type: string}}}
        - type: object
          required: [count]
          properties:
            count: {type: integer, minimum: 1, maximum: 20}
            fragile: {type: boolean}
            contact: {type: string, format: email}
            address: {type: object}
            id: {type: string, readOnly: true}
"""
DOMAIN = """
version: "3.1"
intents: [greet, book_restaurant, {ask_price: {use_entities: true}}, affirm, complain]
entities: [cuisine, num_people]
slots:
  cuisine: {type: categorical, values: [italian, thai], mappings: [{type: from_entity, entity: cuisine}]}
  num_people: {type: float, min_value: 1, max_value: 20, mappings: [{type: from_entity, entity: num_people}]}
  outdoor_seating: {type: bool, mappings: [{type: from_intent, intent: affirm, value: true}]}
  visit_date: {type: text, mappings: [{type: from_text}]}
  code: {type: text, mappings: [{type: custom}]}
  basket: {type: list, mappings: [{type: custom}]}
forms:
  restaurant_form: {required_slots: [cuisine, num_people, outdoor_seating, visit_date, code]}
responses:
  utter_ask_cuisine: [{text: "Which cuisine?"}, {text: "What would you like to eat?"}]
  utter_ask_restaurant_form_num_people: [{text: "How many are you?", buttons: [{title: two, payload: /x}]}]
  utter_ask_price: [{text: "A menu costs 30 euros."}]
actions: [action_check_tables, validate_restaurant_form]
session_config: {session_expiration_time: 60}
"""
NLU = """
version: "3.1"
nlu:
- intent: book_restaurant
  examples: |
    - book a table
    - find me an [Italian](cuisine) place for [four](num_people:4)
    - somewhere [from Rome]{"entity": "cuisine", "value": "italian"}
- intent: ask_price
  examples: |
    - what does it cost
- synonym: thai
  examples: |
    - food from Thailand
- regex: code
  examples: |
    - [A-Z]{3}\\d{2}
"""
RULES = """
rules:
- rule: start
  steps:
  - intent: book_restaurant
  - action: restaurant_form
  - active_loop: restaurant_form
"""


def imported(*files: str) -> Imported:
    found = from_files([(f"{number}.yml", text.encode()) for number, text in enumerate(files)])
    parse_service(found.definition)
    return found


def told(found: Imported, words: str) -> bool:
    return any(words in str(line) for line in found.report)


def test_openapi_operations_become_intents() -> None:
    found = imported(OPENAPI)
    assert found.base_url == "https://eu.parcels.example/v2"
    service = parse_service(found.definition)
    assert [one.name for one in service.intents] == ["get_parcel", "book_collection", "get_depots"]
    parcel = service.intent("get_parcel")
    assert parcel.required == ("parcel_id",)
    assert parcel.action is not None
    assert parcel.action.path == "/parcels/{parcel_id}"
    assert parcel.action.result == {"parcel_id": "text", "state": "text"}
    assert parcel.action.echoes == {"parcel_id": "parcel_id"}
    assert parcel.action.replies["404"].ask_again == ("parcel_id",)
    booking = service.intent("book_collection")
    assert booking.confirm
    assert booking.required == ("day", "phone", "count")
    assert booking.optional == ("fragile", "contact")
    assert booking.action is not None
    assert booking.action.replies["409"].text == "Nobody can come on that day."
    assert booking.action.sent_as == {"fragile": "flag"}


def test_openapi_parameters_become_slots_of_their_kind() -> None:
    service = parse_service(imported(OPENAPI).definition)
    kinds = {slot.name: slot.kind for slot in service.slots}
    assert kinds == {
        "parcel_id": "pattern", "day": "date", "phone": "phone", "count": "number",
        "fragile": "categorical", "contact": "email", "region": "categorical",
    }  # fmt: skip
    assert service.slot("parcel_id").pattern == r"P-\d{6}"
    assert (service.slot("count").minimum, service.slot("count").maximum) == (1, 20)
    assert [value.name for value in service.slot("region").values] == ["north", "south"]


def test_what_openapi_can_not_give_is_reported() -> None:
    found = imported(OPENAPI)
    assert told(found, "DELETE /parcels/{parcelId} is deprecated")
    assert told(found, "POST /collections/photo was left out: its body is multipart/form-data")
    assert told(found, "“address” of type object is no single value")
    assert told(found, "“tags” of type array")
    assert told(found, "“X-Trace” in the header was left out")
    assert told(found, "protected by “key” (apiKey)")


def test_openapi_as_json_with_one_slot_for_what_means_the_same() -> None:
    def operation(name: str) -> dict[str, Any]:
        return {
            "operationId": name,
            "parameters": [
                {"name": "orderId", "in": "query", "required": True, "schema": {"type": "string"}}
            ],
            "responses": {"200": {"description": "ok"}},
        }

    other = operation("third")
    other["parameters"][0]["schema"] = {"type": "integer"}
    document = {
        "openapi": "3.1.0", "info": {"title": "Orders"},
        "paths": {"/a": {"get": operation("first")}, "/b": {"get": operation("second")}, "/c": {"get": other}},
    }  # fmt: skip
    service = parse_service(imported(json.dumps(document)).definition)
    assert [slot.name for slot in service.slots] == ["order_id", "order_id_2"]
    assert service.intent("second").required == ("order_id",)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: [1, 2", "neither YAML nor JSON"),
        ("a: &x [1]\nb: *x", "uses an alias"),
        ("- 1", "holds no object"),
        ("a: 1", "neither an OpenAPI description"),
        ("openapi: 3.0.0\npaths: {}", "no operation"),
        ('openapi: 3.0.0\npaths: {"/a/{b}": {get: {}}}', "which no parameter describes"),
        ("a: !!python/object/apply:os.system [ls]", "neither YAML nor JSON"),
        ("a: " + "[" * 3000, "neither YAML nor JSON"),
        ("intents: [greet]", "no form and no intent"),
        ('name: x\nslots: []\nintents: []\ntitle: ""', "The definition has problems"),
    ],
)
def test_files_that_can_not_be_imported_are_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ImportRefused, match=reason):
        from_files([("a.yml", text.encode())])


def test_a_reference_to_itself_ends() -> None:
    document = 'openapi: 3.0.0\npaths: {"/a": {get: {parameters: [{$ref: "#/x"}], responses: {}}}}\nx: {$ref: "#/x"}'
    assert told(imported(document), "a parameter could not be read")


def test_rasas_form_becomes_an_intent_with_questions() -> None:
    service = parse_service(imported(DOMAIN, NLU, RULES).definition)
    assert [one.name for one in service.intents] == ["book_restaurant", "ask_price"]
    booking = service.intent("book_restaurant")
    assert booking.required == ("cuisine", "num_people", "outdoor_seating", "visit_date", "code")
    assert "find me an Italian place for four" in booking.samples
    assert service.slot("cuisine").question == "Which cuisine?"
    assert service.slot("num_people").question == "How many are you?"
    assert service.slot("visit_date").kind == "date"
    assert service.slot("code").pattern == r"[A-Z]{3}\d{2}"
    italian, thai = service.slot("cuisine").values
    assert italian.synonyms == ("from Rome",)
    assert thai.synonyms == ("food from Thailand",)
    assert service.intent("ask_price").action is None


def test_what_rasa_can_not_give_is_reported() -> None:
    found = imported(DOMAIN, NLU, RULES)
    assert told(found, "custom action did is not in the files")
    assert told(found, "The slot “basket” of type list was left out.")
    assert told(found, "was answered with a fixed text. Put it into a document: A menu costs 30")
    assert told(found, "“session_config” has no counterpart")
    assert told(found, "Of the 2 variants of “utter_ask_cuisine”")
    assert told(found, "no buttons or pictures")
    assert told(found, "The intent “complain” has no examples")
    assert told(found, "action_check_tables, validate_restaurant_form")


def test_without_rules_the_form_is_started_by_the_intent_of_its_name() -> None:
    found = imported(DOMAIN, NLU)
    assert parse_service(found.definition).intents[0].name == "book_restaurant"
    assert told(found, "was taken by its name")
