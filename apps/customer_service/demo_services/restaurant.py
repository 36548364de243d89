"""Tables at the demo restaurant."""

from typing import Any

from django.utils.translation import gettext_noop as _

_NOT_FOUND = {
    "text": _("I find no booking {booking_number} for {phone}. One of the two doesn't match."),
    "ask_again": ["booking_number", "phone"],
}
_DAY_AND_TIME: dict[str, Any] = {
    "closed": {"text": _("We are closed on Mondays."), "ask_again": ["day"]},
    "bad_day": {
        "text": _("Tables can be booked from today to 60 days ahead."),
        "ask_again": ["day"],
    },
    "too_many_guests": {
        "text": _("Here I can book for up to 8 guests; larger parties are arranged by a person."),
        "offer_person": True,
    },
}
_TIMES = {
    "full": {
        "text": _("At {time} there is no table left. Free on that day: {times}."),
        "ask_again": ["time"],
    },
    "bad_time": {
        "text": _("Tables are given at these times: {times}."),
        "ask_again": ["time"],
    },
}

RESTAURANT: dict[str, Any] = {
    "name": "restaurant",
    "title": _("Salt & Sorrel restaurant"),
    "description": _("Tables and bookings at the restaurant Salt & Sorrel."),
    "slots": [
        {
            "name": "guests",
            "title": _("Guests"),
            "description": _("How many people come to eat."),
            "kind": "number",
            "minimum": 1,
            "maximum": 40,
            "question": _("For how many people?"),
        },
        {
            "name": "day",
            "title": _("Day"),
            "description": _("The day of the visit."),
            "kind": "date",
            "minimum": 0,
            "question": _("On which day?"),
        },
        {
            "name": "time",
            "title": _("Time"),
            "description": _("The time at which the guests arrive."),
            "kind": "time",
            "minimum": 12,
            "maximum": 22,
            "question": _("At what time?"),
        },
        {
            "name": "guest_name",
            "title": _("Name"),
            "description": _("The name for the booking."),
            "kind": "text",
            "pattern": r"[^\d?!@]{2,60}",
            "example": "Ada Novak",
            "cues": ["my name is", "the name is", "name's", "under the name of", "under the name",
                     "in the name of", "book it for", "我叫", "姓名是"],
            "question": _("Under which name shall I book?"),
        },
        {
            "name": "phone",
            "title": _("Telephone number"),
            "description": _("The telephone number of the booking."),
            "kind": "phone",
            "country_code": "44",
            "example": "020 7946 0101",
            "question": _("What is your telephone number?"),
            "keep": True,
        },
        {
            "name": "seating",
            "title": _("Seating"),
            "description": _("Where the guests would like to sit."),
            "kind": "categorical",
            "may_skip": True,
            "question": _("Would you like to sit inside, on the terrace or at the bar?"),
            "values": [
                {"name": "inside", "title": _("Inside"), "synonyms": ["indoors", "inside", "室内"]},
                {
                    "name": "terrace",
                    "title": _("Terrace"),
                    "synonyms": ["outside", "outdoors", "garden", "patio", "室外", "露台"],
                },
                {"name": "bar", "title": _("Bar"), "synonyms": ["at the bar", "counter", "吧台"]},
            ],
        },
        {
            "name": "note",
            "title": _("Note"),
            "description": _("Anything the kitchen or the waiters should know, like an allergy."),
            "kind": "text",
            "cues": ["please note", "a note:", "allergic to", "we need", "备注"],
            "question": _("Is there anything we should know?"),
        },
        {
            "name": "booking_number",
            "title": _("Booking number"),
            "description": _("The number of the booking, in the confirmation."),
            "kind": "pattern",
            "pattern": r"SB[\s-]{0,2}(\d{4})",
            "form": "SB-{1}",
            "example": "SB-2041",
            "question": _("What is the booking number? It looks like SB-2041."),
            "keep": True,
        },
    ],
    "intents": [
        {
            "name": "free_tables",
            "title": _("Free tables"),
            "description": _("At which times a table is free on a day."),
            "required": ["day", "guests"],
            "action": {
                "method": "GET",
                "path": "/tables",
                "query": {"day": "day", "guests": "guests"},
                "result": {"day": "text", "free": "number", "times": "text"},
                "echoes": {"day": "day"},
                "replies": {
                    "ok": {"text": _("On {day}, {guests} can sit down at: {times}.")},
                    "closed": {"text": _("We are closed on Mondays."), "ask_again": ["day"]},
                    "bad_day": _DAY_AND_TIME["bad_day"],
                    "too_many_guests": _DAY_AND_TIME["too_many_guests"],
                },
            },
            "samples": [
                "Do you have a table free on Friday?",
                "Which times are still available tomorrow?",
                "Is there still a table tonight?",
                "What times do you have on Saturday for four?",
                "Are you fully booked on Sunday?",
                "Check availability for dinner",
                "Any free tables this weekend?",
                "周五还有位子吗？",
                "明天晚上有空桌吗？",
            ],
        },
        {
            "name": "book_table",
            "title": _("Book a table"),
            "description": _("Reserve a table for a day and a time."),
            "required": ["guests", "day", "time", "guest_name", "phone"],
            "optional": ["seating", "note"],
            "confirm": True,
            "summary": _(
                "A table for {guests} on {day} at {time}[, {seating}], in the name of {guest_name}, "
                "telephone {phone}.[ Note: {note}.]"
            ),
            "action": {
                "method": "POST",
                "path": "/bookings",
                "body": {
                    "guests": "guests",
                    "day": "day",
                    "time": "time",
                    "name": "guest_name",
                    "phone": "phone",
                    "seating": "seating",
                    "note": "note",
                },
                "result": {"booking_number": "text", "day": "text", "time": "text"},
                "echoes": {"day": "day", "time": "time", "guests": "guests"},
                "card": "details",
                "replies": {
                    "ok": {
                        "text": _(
                            "Your table is booked for {day} at {time}. The booking number is "
                            "{booking_number}."
                        )
                    },
                    **_DAY_AND_TIME,
                    **_TIMES,
                },
            },
            "samples": [
                "I'd like to book a table",
                "Reserve a table for two on Friday at 7pm",
                "Table for four tomorrow evening please",
                "Can I make a reservation?",
                "I want to make a booking for dinner",
                "We would like to eat at yours on Saturday",
                "Book us in for Sunday lunch",
                "Can you fit in six of us tonight?",
                "我想订位",
                "预订一张桌子",
                "订明天晚上四个人的位子",
            ],
        },
        {
            "name": "change_booking",
            "title": _("Change a booking"),
            "description": _("Move a booking to another day or time, or change the number of guests."),
            "required": ["booking_number", "phone", "day", "time"],
            "optional": ["guests"],
            "confirm": True,
            "summary": _(
                "Move booking {booking_number} ({phone}) to {day} at {time}[, for {guests} guests]."
            ),
            "action": {
                "method": "PATCH",
                "path": "/bookings/{booking_number}",
                "body": {"phone": "phone", "day": "day", "time": "time", "guests": "guests"},
                "result": {"booking_number": "text", "day": "text", "time": "text"},
                "echoes": {"booking_number": "booking_number", "day": "day", "time": "time"},
                "card": "details",
                "replies": {
                    "ok": {"text": _("Booking {booking_number} is now on {day} at {time}.")},
                    "not_found": _NOT_FOUND,
                    **_DAY_AND_TIME,
                    **_TIMES,
                },
            },
            "samples": [
                "I need to change my booking",
                "Can we come an hour later?",
                "Move my reservation to another day",
                "I want to change the time of my reservation",
                "We are more people than I booked for",
                "Reschedule our table",
                "Postpone my booking",
                "我要改预订",
                "把预订改到后天",
                "改一下时间",
            ],
        },
        {
            "name": "cancel_booking",
            "title": _("Cancel a booking"),
            "description": _("Call a booking off."),
            "required": ["booking_number", "phone"],
            "confirm": True,
            "summary": _("Cancel booking {booking_number} ({phone})."),
            "action": {
                "method": "DELETE",
                "path": "/bookings/{booking_number}",
                "query": {"phone": "phone"},
                "result": {"booking_number": "text", "status": "text"},
                "echoes": {"booking_number": "booking_number"},
                "replies": {
                    "ok": {"text": _("Booking {booking_number} is cancelled.")},
                    "not_found": _NOT_FOUND,
                },
            },
            "samples": [
                "I want to cancel my reservation",
                "We can't come, please cancel our table",
                "Cancel booking SB-2041",
                "Call off my booking",
                "We won't make it on Friday, delete our reservation",
                "I no longer need the table",
                "取消预订",
                "我们来不了了，取消订位",
            ],
        },
        {
            "name": "restaurant_question",
            "title": _("Question about the restaurant"),
            "description": _("Opening hours, the way there, dogs, children, menus, payment."),
            "samples": [
                "When are you open?",
                "Is there parking near the restaurant?",
                "Are dogs allowed?",
                "Do you have vegetarian dishes?",
                "Is there a children's menu?",
                "How much is the set menu?",
                "Can I pay by card?",
                "Is the restaurant accessible with a wheelchair?",
                "Where is the restaurant?",
                "营业时间是什么？",
                "可以带狗吗？",
                "有停车场吗？",
            ],
        },
    ],
}  # fmt: skip
