"""Simulated customers of the demo businesses: what they want, and how they say it.

A customer has one or two wishes and a manner of speaking drawn from random numbers: several values in
a sentence, typos, a wrong value that is put right at once or later, a question or another errand in
between. None of the sentences is a sample of a definition.
"""

import datetime
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from apps.customer_service.demo_businesses.business import Business
from apps.customer_service.demo_businesses.clinic import DOCTORS, Clinic
from apps.customer_service.demo_businesses.restaurant import Restaurant
from apps.customer_service.demo_businesses.shop import Shop

OPENINGS = {
    "order_status": [
        "hey, my stuff hasn't come yet",
        "can you see where my parcel is",
        "is my order on its way?",
        "I'm still waiting for my order {order_number}",
        "order {order_number}, when is it coming?",
        "could you look up the status of {order_number} for {email}?",
        "has {order_number} been sent out? my mail is {email}",
    ],
    "return_item": [
        "I'd like to give something back",
        "hi, I need to send back the {item} from {order_number}",
        "want to return the {item}, order {order_number}, {email}",
        "can I send an item of order {order_number} back please",
        "I am not happy with the {item} and would like to return it",
        "please help me with a return",
    ],
    "change_address": [
        "my delivery address has changed",
        "I need my order {order_number} to go to a different address",
        "could you change where {order_number} gets delivered? ({email})",
        "I typed in the wrong delivery address",
        "we moved, so the shipping address must be updated",
    ],
    "book_table": [
        "hello, could we get a table {day}?",
        "a table for {guests}, please",
        "I want to reserve for {guests} {day} at {time}",
        "we'd love to have dinner at your place {day}",
        "hi! table {day} at {time} for {guests} people, the name is {guest_name}",
        "need a reservation",
    ],
    "change_booking": [
        "I have to move booking {booking_number}",
        "can {booking_number} be shifted to {day} at {time}?",
        "we'd rather come another day than we booked",
        "please put our reservation on {day}, my phone is {phone}",
        "something came up, I must change my table reservation",
    ],
    "cancel_booking": [
        "sadly we have to cancel the table",
        "please take {booking_number} off the list, we are not coming",
        "cancel our reservation {booking_number}, phone {phone}",
        "I'd like to call off dinner, booking {booking_number}",
    ],
    "book_appointment": [
        "hi, I'd like to come and see {doctor}",
        "could I see a doctor {day}?",
        "I need an appointment with {doctor} {day}",
        "my back hurts, can a doctor have a look at it?",
        "new appointment please, {doctor}, {day}",
    ],
    "move_appointment": [
        "I have an appointment {appointment_number} and need a different day",
        "can you shift {appointment_number} to {day}?",
        "that date doesn't suit me any more, please give me another appointment time",
        "I must reschedule {appointment_number}, born {born}",
    ],
    "cancel_appointment": [
        "I won't come to my appointment {appointment_number}",
        "please cancel the doctor's appointment",
        "drop appointment {appointment_number}, I was born {born}",
        "I have to cancel at the doctor's",
    ],
    "repeat_prescription": [
        "I need more {medicine}",
        "my pills are nearly gone, can I get a new prescription?",
        "could you prescribe {medicine} again?",
        "prescription for {medicine} please, it's for {patient_name}",
    ],
}
ANSWERS = {
    "order_number": ["{v}", "it's {v}", "the number is {v}", "order {v} I think"],
    "email": ["{v}", "my e-mail is {v}", "{v}, that's the one", "that should be {v}"],
    "item": ["the {v}", "{v}", "it's the {v}", "{v} please"],
    "reason": ["{v}", "it is {v}", "because it's {v}", "well, {v}"],
    "resolution": ["{v}", "{v} please", "I'd prefer the {v}", "an {v} would be nice"],
    "street": ["{v}", "it's {v}", "{v}"],
    "city": ["{v}", "it's in {v}", "{v}."],
    "postcode": ["{v}", "the postcode is {v}"],
    "guests": ["{v}", "we are {v}", "{v} people", "for {v} please", "{v} of us"],
    "day": ["{v}", "{v} please", "how about {v}?", "{v} would be best", "we thought of {v}"],
    "time": ["{v}", "at {v}", "{v} please", "around {v}", "{v} would be great"],
    "new_time": ["{v}", "at {v}", "{v} please", "{v} would suit me"],
    "guest_name": ["{v}", "my name is {v}", "{v}, please", "under the name {v}", "it's {v}"],
    "patient_name": ["{v}", "my name is {v}", "the patient is {v}", "it's {v}"],
    "phone": ["{v}", "it's {v}", "my number is {v}", "you can reach me on {v}"],
    "booking_number": ["{v}", "it's {v}", "number {v}", "booking {v}"],
    "appointment_number": ["{v}", "the card says {v}", "it's {v}", "appointment {v}"],
    "born": ["{v}", "I was born on {v}", "{v}", "date of birth is {v}"],
    "doctor": ["{v}", "{v} please", "I'd like {v}", "with {v}"],
    "medicine": ["{v}", "it's {v}", "{v} please", "I take {v}"],
    "collect": ["{v}", "{v} please", "{v} would be good"],
}
SPOKEN = {
    "guests": ["make it {v} people", "we will be {v} people"],
    "day": ["the day should be {v}", "make it {v}"],
    "time": ["make it {v}", "the time should be {v}"],
    "new_time": ["make it {v}", "the time should be {v}"],
    "phone": ["the telephone number is {v}", "my phone number is {v}"],
    "order_number": ["the order number is {v}", "I meant order {v}"],
    "booking_number": ["the booking number is {v}", "I mean {v}"],
    "appointment_number": ["the appointment number is {v}", "I mean {v}"],
    "born": ["the date of birth is {v}"],
    "postcode": ["the postcode is {v}"],
    "email": ["the e-mail is {v}"],
}
"""How a value is put right, without its being asked for."""
BY_THE_WAY = {
    "shop": [
        "what does delivery cost?",
        "how long is the guarantee?",
        "do you also send things to Germany?",
        "how many days do I have for a return?",
    ],
    "restaurant": [
        "is it ok to bring my dog?",
        "where can I park?",
        "do you have something vegan?",
        "what does the menu cost?",
    ],
    "clinic": [
        "what do I need to bring along?",
        "how do I get to you?",
        "until when are you open?",
        "what if I miss the appointment?",
    ],
}
ERRANDS = {
    "shop": "wait, where is order HP-10430? june@example.com",
    "restaurant": "hold on, which tables are free on Sunday for 3?",
    "clinic": "hang on, which doctors do you have?",
}
"""Other things that a customer asks for in the middle of a wish, each of one business."""
SAID_IN_ERRANDS = {"order_number": "HP-10430", "email": "june@example.com", "guests": 3}
YES = ["yes", "yes please", "ok, do it", "that's right", "sure", "correct, go ahead", "yep"]
MORE = ["and ", "also, ", "one more thing: ", "next, "]
FIRST = ["actually, ", "before that: ", "wait, ", "oh, something else first. ", ""]
"""Before a wish in the middle of another one."""
AT_ONCE = [" and ", ". Also, ", ". And then ", " and also "]
"""Between two wishes in one message."""
STREETS = [
    ("12 Elm Road", "Bristol", "BS1 4QA"),
    ("Flat 3, 40 King Street", "Leeds", "LS1 2HL"),
    ("7 Rose Court", "Bath", "BA2 3AF"),
    ("118 Victoria Avenue", "Hull", "HU5 3DX"),
]
PEOPLE = ["Jane Miller", "Tom Fox", "Nadia El Amrani", "Karl Lindqvist", "Mia O'Brien", "Wei Chen"]
REASONS = {
    "damaged": ["broken", "damaged", "faulty", "cracked"],
    "wrong_item": ["the wrong item", "not what I ordered"],
    "wrong_size": ["too big", "too small"],
    "changed_mind": ["not needed", "unwanted"],
}
NUMBERS = "zero one two three four five six seven eight".split()
HOURS = "twelve one two three four five six seven eight nine ten eleven".split()


@dataclass
class Wish:
    """One thing that a customer came for."""

    business: str
    intent: str
    values: dict[str, Any]
    """Slot → the value as the endpoint must get it."""
    words: dict[str, Callable[[], str]]
    """Slot → how the customer says it, another form each time."""
    wrong: dict[str, tuple[str, Any]] = field(default_factory=dict)
    """Slots that are first given wrongly: the words and the value of that."""
    otherwise: dict[str, tuple[Callable[[], str], Any]] = field(default_factory=dict)
    """Slots whose value the endpoint refuses; then this one will do."""


@dataclass(frozen=True)
class Person:
    name: str
    phone: str
    born: datetime.date


def a_person(chance: random.Random) -> Person:
    born = datetime.date(chance.randint(1940, 2015), chance.randint(1, 12), chance.randint(1, 28))
    return Person(chance.choice(PEOPLE), f"+4420794609{chance.randint(10, 99)}", born)


def a_wish(
    chance: random.Random,
    businesses: Mapping[str, Business],
    today: datetime.date,
    intent: str,
    person: Person,
    taken: set[str],
) -> Wish:
    """A wish of the person; bookings and appointments in `taken` are left alone, new ones added."""
    shop, restaurant, clinic = (businesses[name] for name in ("shop", "restaurant", "clinic"))
    assert isinstance(shop, Shop)
    assert isinstance(restaurant, Restaurant)
    assert isinstance(clinic, Clinic)
    if intent in ("order_status", "return_item", "change_address"):
        return _shop_wish(chance, shop, intent)
    if intent in ("book_table", "change_booking", "cancel_booking"):
        return _restaurant_wish(chance, restaurant, intent, today, person, taken)
    return _clinic_wish(chance, clinic, intent, today, person, taken)


def _shop_wish(chance: random.Random, shop: Shop, intent: str) -> Wish:
    wanted = {"return_item": "delivered", "change_address": "processing"}.get(intent)
    order = chance.choice(
        [
            order
            for order in shop.orders.values()
            if (wanted is None or order["status"] == wanted) and order["number"] != "HP-10424"
        ]
    )
    number, email = order["number"], order["email"]
    wish = Wish("shop", intent, {"order_number": number, "email": email}, {})
    forms = [number, number.lower(), number.replace("-", " "), number[-5:]]
    wish.words = {"order_number": lambda: chance.choice(forms), "email": lambda: email}
    wish.wrong["order_number"] = ("HP-10499", "HP-10499")
    if intent == "return_item":
        item = chance.choice(order["items"])
        reason = chance.choice(list(REASONS))
        resolution = chance.choice(["refund", "exchange"])
        name = item["name"].split(",")[0]
        wish.values |= {"item": item["sku"], "reason": reason, "resolution": resolution}
        wish.words |= {
            "item": lambda: chance.choice([name, name, mistyped(name, chance)]),
            "reason": lambda: chance.choice(REASONS[reason]),
            "resolution": lambda: resolution,
        }
    elif intent == "change_address":
        street, city, postcode = chance.choice(STREETS)
        wish.values |= {"street": street, "city": city, "postcode": postcode}
        together = chance.random() < 0.4
        wish.words |= {
            "street": lambda: f"{street}, {city}, {postcode}" if together else street,
            "city": lambda: city,
            "postcode": lambda: chance.choice([postcode, postcode.lower()]),
        }
        wish.wrong["postcode"] = ("ZZ9 9ZZ", "ZZ9 9ZZ")
    return wish


def _restaurant_wish(
    chance: random.Random,
    restaurant: Restaurant,
    intent: str,
    today: datetime.date,
    person: Person,
    taken: set[str],
) -> Wish:
    wish = Wish("restaurant", intent, {}, {})
    if intent != "book_table":
        booking = _another(chance, restaurant.bookings, taken)
        _say(wish, chance, "booking_number", booking["booking_number"])
        _say(wish, chance, "phone", booking["phone"])
        wish.wrong["booking_number"] = ("SB-1999", "SB-1999")
        if intent == "cancel_booking":
            return wish
    days = [today + datetime.timedelta(days=ahead) for ahead in range(1, 20)]
    day, other_day = chance.sample([day for day in days if day.weekday()], 2)
    guests = chance.randint(2, 6)
    free = restaurant.free_times(day, guests)
    time = chance.choice(free)
    if intent == "book_table":
        _say(wish, chance, "guests", guests)
        wish.wrong["guests"] = (NUMBERS[guests + 1], guests + 1)
        _say(wish, chance, "guest_name", person.name)
        _say(wish, chance, "phone", person.phone)
    _say(wish, chance, "day", day)
    _say(wish, chance, "time", time)
    wish.wrong["day"] = (_spoken_day(other_day, chance), other_day.isoformat())
    if day.weekday() == 4 and intent == "book_table" and chance.random() < 0.5:
        wish.values["time"] = "20:00"
        wish.words["time"] = lambda: "8 pm"
        wish.otherwise["time"] = (lambda: _spoken_time(time, chance), time)
    return wish


def _clinic_wish(
    chance: random.Random,
    clinic: Clinic,
    intent: str,
    today: datetime.date,
    person: Person,
    taken: set[str],
) -> Wish:
    wish = Wish("clinic", intent, {}, {})
    if intent in ("move_appointment", "cancel_appointment"):
        booked = _another(chance, clinic.appointments, taken)
        _say(wish, chance, "appointment_number", booked["appointment_number"])
        _say(wish, chance, "born", datetime.date.fromisoformat(booked["born"]))
        wish.wrong["appointment_number"] = ("LC-599", "LC-599")
        if intent == "cancel_appointment":
            return wish
        doctor = booked["doctor"]
    else:
        born = datetime.date(
            chance.randint(1940, 2015), chance.randint(1, 12), chance.randint(1, 28)
        )
        _say(wish, chance, "patient_name", chance.choice(PEOPLE))
        _say(wish, chance, "born", born)
        doctor = chance.choice(DOCTORS)["id"]
    if intent == "repeat_prescription":
        medicine = chance.choice(["ramipril 5 mg", "metformin", "amlodipine 10 mg", "salbutamol"])
        _say(wish, chance, "medicine", medicine)
        collect = chance.choice(["practice", "pharmacy"])
        _say(wish, chance, "collect", collect)
        said = {"practice": ["I'll pick it up", "at the practice"], "pharmacy": ["to the pharmacy"]}
        wish.words["collect"] = lambda: chance.choice(said[collect])
        return wish
    days = [today + datetime.timedelta(days=ahead) for ahead in range(1, 20)]
    day, other_day = chance.sample([day for day in days if day.weekday() < 5], 2)
    time = chance.choice(clinic.free_times(doctor, day))
    _say(wish, chance, "day", day)
    wish.wrong["day"] = (_spoken_day(other_day, chance), other_day.isoformat())
    _say(wish, chance, "time" if intent == "book_appointment" else "new_time", time)
    if intent == "book_appointment":
        name = next(one["name"] for one in DOCTORS if one["id"] == doctor)
        wish.values["doctor"] = doctor
        _first, last = name.split()[1:]
        wish.words["doctor"] = lambda: chance.choice([name, f"Dr {last}", f"Dr. {last}", last])
        _say(wish, chance, "phone", person.phone)
    return wish


def _another(
    chance: random.Random, rows: Mapping[str, dict[str, Any]], taken: set[str]
) -> dict[str, Any]:
    number = chance.choice([number for number in rows if number not in taken])
    taken.add(number)
    return rows[number]


def _say(wish: Wish, chance: random.Random, slot: str, value: Any) -> None:
    """Put a value into the wish, with the forms in which people say such a value."""
    wish.values[slot] = value.isoformat() if isinstance(value, datetime.date) else value
    if slot in ("day", "born"):
        wish.words[slot] = lambda: _spoken_day(value, chance)
    elif slot in ("time", "new_time"):
        wish.words[slot] = lambda: _spoken_time(value, chance)
    elif slot == "phone":
        national = f"0{value[3:]}"
        forms = [national, value, f"{national[:3]} {national[3:7]} {national[7:]}"]
        wish.words[slot] = lambda: chance.choice(forms)
    elif slot == "guests":
        wish.words[slot] = lambda: chance.choice([str(value), NUMBERS[value]])
    elif slot in ("booking_number", "appointment_number"):
        forms = [value, value.lower(), value.replace("-", " "), value.replace("-", "")]
        wish.words[slot] = lambda: chance.choice(forms)
    else:
        wish.words[slot] = lambda: str(value)


def _spoken_day(day: datetime.date, chance: random.Random) -> str:
    ordinal = f"{day.day}{'th' if 10 < day.day < 14 else {1: 'st', 2: 'nd', 3: 'rd'}.get(day.day % 10, 'th')}"
    forms = [
        f"{day.day} {day:%B} {day.year}",
        f"{day:%B} {ordinal}, {day.year}",
        day.isoformat(),
        f"{day.day:02}.{day.month:02}.{day.year}",
    ]
    if day.year == 2026:
        forms += [f"the {ordinal} of {day:%B}", f"{day:%B} {day.day}", f"on {day.day} {day:%b}"]
        ahead = (day - datetime.date(2026, 3, 4)).days
        if ahead == 1:
            forms += ["tomorrow"] * 4
        elif 2 <= ahead <= 6:
            forms += [f"{day:%A}", f"on {day:%A}", f"{day:%A}".lower(), f"this {day:%A}"]
    return chance.choice(forms)


def _spoken_time(time: str, chance: random.Random) -> str:
    hour, minute = map(int, time.split(":"))
    half = "pm" if hour >= 12 else "am"
    short = hour % 12 or 12
    forms = [time, f"{short}:{minute:02} {half}", f"{short}:{minute:02}{half}"]
    if minute == 0:
        forms += [f"{short} {half}", f"{short}{half}", f"{short} o'clock"]
    elif minute == 30:
        forms += [f"half past {HOURS[short % 12]}", f"{short}.30 {half}"]
    return chance.choice(forms)


def mistyped(text: str, chance: random.Random) -> str:
    """Two neighbouring letters inside one of the longer words change places."""
    words = [word for word in text.split() if len(word) >= 5 and word.isalpha()]
    if not words:
        return text
    word = chance.choice(words)
    place = chance.randrange(1, len(word) - 2)
    wrong = word[:place] + word[place + 1] + word[place] + word[place + 2 :]
    return text.replace(word, wrong, 1)
