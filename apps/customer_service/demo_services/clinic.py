"""Appointments and repeat prescriptions at the demo clinic."""

from typing import Any

from django.utils.translation import gettext_noop as _

_NOT_FOUND = {
    "text": _(
        "I find no appointment {appointment_number} for someone born on {born}. One of the two "
        "doesn't match."
    ),
    "ask_again": ["appointment_number", "born"],
}
_DAY: dict[str, Any] = {
    "closed": {"text": _("The practice is open from Monday to Friday."), "ask_again": ["day"]},
    "bad_day": {
        "text": _("Appointments are given from today to six weeks ahead."),
        "ask_again": ["day"],
    },
}

CLINIC: dict[str, Any] = {
    "name": "clinic",
    "title": _("Linden Street practice"),
    "description": _("Doctor's appointments and repeat prescriptions at the Linden Street practice."),
    "slots": [
        {
            "name": "patient_name",
            "title": _("Patient's name"),
            "description": _("First and last name of the patient."),
            "kind": "text",
            "pattern": r"[^\d?!@]{2,60}",
            "example": "Marta Silva",
            "cues": ["my name is", "the name is", "name's", "patient is", "it's for", "我叫", "病人是"],
            "question": _("What is the patient's first and last name?"),
            "keep": True,
        },
        {
            "name": "born",
            "title": _("Date of birth"),
            "description": _("The day on which the patient was born."),
            "kind": "date",
            "maximum": -1,
            "example": "12 May 1984",
            "question": _("What is the patient's date of birth?"),
            "keep": True,
        },
        {
            "name": "doctor",
            "title": _("Doctor"),
            "description": _("The doctor whom the patient wants to see."),
            "kind": "categorical",
            "question": _("Which doctor would you like to see?"),
            "values_from": {
                "intent": "list_doctors", "items": "doctors", "value": "id", "title": "name",
            },
        },
        {
            "name": "day",
            "title": _("Day"),
            "description": _("The day of the appointment."),
            "kind": "date",
            "minimum": 0,
            "question": _("On which day?"),
        },
        {
            "name": "time",
            "title": _("Time"),
            "description": _("One of the free times of the doctor on that day."),
            "kind": "time",
            "question": _("Which of these times suits you?"),
            "values_from": {
                "intent": "free_times", "items": "slots", "value": "time", "title": "time",
            },
        },
        {
            "name": "new_time",
            "title": _("New time"),
            "description": _("The time to which the appointment is moved."),
            "kind": "time",
            "minimum": 8,
            "maximum": 17,
            "question": _("At what time?"),
        },
        {
            "name": "phone",
            "title": _("Telephone number"),
            "description": _("Where the practice can reach the patient."),
            "kind": "phone",
            "country_code": "44",
            "example": "020 7946 0201",
            "question": _("On which telephone number can we reach you?"),
            "keep": True,
        },
        {
            "name": "appointment_number",
            "title": _("Appointment number"),
            "description": _("The number on the appointment card."),
            "kind": "pattern",
            "pattern": r"LC[\s-]{0,2}(\d{3})",
            "form": "LC-{1}",
            "example": "LC-501",
            "question": _("What is the appointment number? It looks like LC-501."),
            "keep": True,
        },
        {
            "name": "medicine",
            "title": _("Medicine"),
            "description": _("The medicine that is to be prescribed again."),
            "kind": "text",
            "example": "ramipril 5 mg",
            "cues": ["prescription for", "more of my", "refill of", "run out of", "renew my", "开"],
            "question": _("Which medicine do you need?"),
        },
        {
            "name": "collect",
            "title": _("Collection"),
            "description": _("Where the prescription is collected."),
            "kind": "categorical",
            "may_skip": True,
            "question": _("Will you collect it at the practice, or shall we send it to the pharmacy?"),
            "values": [
                {
                    "name": "practice",
                    "title": _("At the practice"),
                    "synonyms": ["practice", "reception", "pick it up", "collect it", "诊所"],
                },
                {
                    "name": "pharmacy",
                    "title": _("Sent to the pharmacy"),
                    "synonyms": ["pharmacy", "chemist", "send it", "药房"],
                },
            ],
        },
    ],
    "intents": [
        {
            "name": "list_doctors",
            "title": _("Doctors"),
            "description": _("Which doctors work at the practice."),
            "action": {
                "method": "GET",
                "path": "/doctors",
                "result": {"doctors": "list", "names": "text"},
                "listing": {"items": "doctors", "slot": "doctor", "value": "id", "title": "name"},
                "replies": {"ok": {"text": _("Our doctors are {names}.")}},
            },
            "samples": [
                "Which doctors do you have?",
                "Who works at the practice?",
                "List your doctors",
                "有哪些医生？",
            ],
        },
        {
            "name": "free_times",
            "title": _("Free appointments"),
            "description": _("When a doctor has time on a day."),
            "required": ["doctor", "day"],
            "action": {
                "method": "GET",
                "path": "/slots",
                "query": {"doctor": "doctor", "day": "day"},
                "result": {"doctor": "text", "day": "text", "slots": "list", "times": "text"},
                "echoes": {"doctor": "doctor", "day": "day"},
                "listing": {"items": "slots", "slot": "time", "value": "time", "title": "time"},
                "replies": {
                    "ok": {"text": _("{doctor} has time on {day} at: {times}.")},
                    "nothing_free": {
                        "text": _("{doctor} has no time left on {day}."), "ask_again": ["day"],
                    },
                    **_DAY,
                },
            },
            "samples": [
                "When does Dr Amari have time?",
                "What appointments are free on Thursday?",
                "Is the doctor available tomorrow?",
                "Show me open appointments",
                "医生明天有空吗？",
                "还有哪些时间可以看医生？",
            ],
        },
        {
            "name": "book_appointment",
            "title": _("Book an appointment"),
            "description": _("See a doctor on a day."),
            "required": ["doctor", "day", "time", "patient_name", "born", "phone"],
            "confirm": True,
            "summary": _(
                "An appointment with {doctor} on {day} at {time} for {patient_name}, born {born}, "
                "telephone {phone}."
            ),
            "action": {
                "method": "POST",
                "path": "/appointments",
                "body": {
                    "doctor": "doctor",
                    "day": "day",
                    "time": "time",
                    "name": "patient_name",
                    "born": "born",
                    "phone": "phone",
                },
                "result": {"appointment_number": "text", "day": "text", "time": "text"},
                "echoes": {"doctor": "doctor", "day": "day", "time": "time"},
                "replies": {
                    "ok": {
                        "text": _(
                            "The appointment is made: {doctor}, {day}, {time}. Its number is "
                            "{appointment_number}."
                        )
                    },
                    "taken": {
                        "text": _("That time has just been taken."), "ask_again": ["time"],
                    },
                    **_DAY,
                },
            },
            "samples": [
                "I need to see a doctor",
                "I'd like to make an appointment",
                "Book me in with Dr Brandt",
                "Can I get an appointment on Thursday?",
                "I want a check-up",
                "Can the doctor see my son this week?",
                "I would like to come in for a consultation",
                "我想看医生",
                "预约挂号",
                "我要预约周四的医生",
            ],
        },
        {
            "name": "move_appointment",
            "title": _("Move an appointment"),
            "description": _("Change an appointment to another day and time."),
            "required": ["appointment_number", "born", "day", "new_time"],
            "confirm": True,
            "summary": _(
                "Move appointment {appointment_number} (born {born}) to {day} at {new_time}."
            ),
            "action": {
                "method": "PATCH",
                "path": "/appointments/{appointment_number}",
                "body": {"born": "born", "day": "day", "time": "new_time"},
                "result": {"appointment_number": "text", "day": "text", "time": "text"},
                "echoes": {
                    "appointment_number": "appointment_number", "day": "day", "time": "new_time",
                },
                "replies": {
                    "ok": {
                        "text": _("Appointment {appointment_number} is now on {day} at {new_time}.")
                    },
                    "not_found": _NOT_FOUND,
                    "taken": {
                        "text": _("At {new_time} the doctor is not free. Free on that day: {times}."),
                        "ask_again": ["new_time"],
                    },
                    **_DAY,
                },
            },
            "samples": [
                "I need to move my appointment",
                "Can I reschedule with the doctor?",
                "Change my doctor's appointment to another day",
                "Postpone my appointment",
                "I can't come at that time, can I have another appointment?",
                "我要改预约时间",
                "把看医生的时间改一下",
            ],
        },
        {
            "name": "cancel_appointment",
            "title": _("Cancel an appointment"),
            "description": _("Call an appointment off."),
            "required": ["appointment_number", "born"],
            "confirm": True,
            "summary": _("Cancel appointment {appointment_number} (born {born})."),
            "action": {
                "method": "DELETE",
                "path": "/appointments/{appointment_number}",
                "query": {"born": "born"},
                "result": {"appointment_number": "text", "status": "text"},
                "echoes": {"appointment_number": "appointment_number"},
                "replies": {
                    "ok": {"text": _("Appointment {appointment_number} is cancelled.")},
                    "not_found": _NOT_FOUND,
                },
            },
            "samples": [
                "Cancel my appointment",
                "I can't come to the doctor, please cancel",
                "I don't need my appointment any more",
                "Call off the appointment LC-501",
                "取消我的预约",
                "我来不了了，取消挂号",
            ],
        },
        {
            "name": "repeat_prescription",
            "title": _("Repeat prescription"),
            "description": _("Get a medicine prescribed again that the patient takes regularly."),
            "required": ["medicine", "patient_name", "born", "collect"],
            "confirm": True,
            "summary": _(
                "A repeat prescription of {medicine} for {patient_name}, born {born}[; {collect}]."
            ),
            "action": {
                "method": "POST",
                "path": "/prescriptions",
                "body": {
                    "medicine": "medicine",
                    "name": "patient_name",
                    "born": "born",
                    "collect": "collect",
                },
                "result": {"reference": "text", "medicine": "text", "ready_on": "text"},
                "replies": {
                    "ok": {
                        "text": _(
                            "The prescription of {medicine} is ordered under {reference} and ready "
                            "on {ready_on}."
                        )
                    },
                    "not_on_repeat": {
                        "text": _(
                            "{medicine} is not on your repeat list, so a doctor has to decide."
                        ),
                        "offer_person": True,
                    },
                },
            },
            "samples": [
                "I need a repeat prescription",
                "I've run out of my tablets",
                "Can you renew my prescription?",
                "Please prescribe my ramipril again",
                "Order more of my medicine",
                "我要续药",
                "药吃完了，请再开一些",
            ],
        },
        {
            "name": "clinic_question",
            "title": _("Question about the practice"),
            "description": _("Opening hours, the way there, what to bring, costs, vaccinations."),
            "samples": [
                "When is the practice open?",
                "Where is the practice?",
                "What should I bring to my first visit?",
                "Do you treat children?",
                "Can I get a flu jab?",
                "What does a missed appointment cost?",
                "Who do I call at night?",
                "How long does a prescription take?",
                "诊所几点开门？",
                "第一次看病要带什么？",
            ],
        },
    ],
}  # fmt: skip
