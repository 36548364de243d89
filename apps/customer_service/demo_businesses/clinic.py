"""The clinic: doctors, free appointments, booking, moving and cancelling them, repeat prescriptions."""

import datetime
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse

from apps.customer_service.demo_businesses.business import Business, Endpoint, day_of, refuse

DOCTORS = (
    {"id": "amari", "name": "Dr Leila Amari"},
    {"id": "brandt", "name": "Dr Jonas Brandt"},
    {"id": "chowdhury", "name": "Dr Priya Chowdhury"},
)
TIMES = ("08:30", "09:10", "10:20", "11:00", "14:00", "15:30", "16:10")
DAYS_AHEAD = 42
_NOT_FOUND = (404, "not_found", "No appointment has this number and this date of birth.")

# number, name, born, doctor, days from the first day, time
_APPOINTMENTS = (
    ("LC-501", "Marta Silva", "1984-05-12", "amari", 1, "09:10"),
    ("LC-502", "Tom Becker", "1971-11-03", "brandt", 2, "14:00"),
    ("LC-503", "Yuki Tanaka", "1999-02-28", "chowdhury", 5, "10:20"),
    ("LC-504", "Omar Haddad", "1956-08-17", "amari", 6, "15:30"),
)
MEDICINES = ("amlodipine", "levothyroxine", "metformin", "ramipril", "salbutamol")


class Clinic(Business):
    name = "clinic"

    def open(self) -> None:
        self.appointments: dict[str, dict[str, Any]] = {
            number: {
                "appointment_number": number,
                "name": name,
                "born": born,
                "doctor": doctor,
                "doctor_name": _doctor_name(doctor),
                "day": self._working_day(days).isoformat(),
                "time": time,
            }
            for number, name, born, doctor, days, time in _APPOINTMENTS
        }
        self.last_number = int(_APPOINTMENTS[-1][0].removeprefix("LC-"))
        self.prescriptions: list[dict[str, Any]] = []

    def _working_day(self, days: int) -> datetime.date:
        day = self.today + datetime.timedelta(days=days)
        return day + datetime.timedelta(days=7 - day.weekday()) if day.weekday() > 4 else day

    def endpoints(self) -> Sequence[tuple[str, str, Endpoint]]:
        return (
            ("GET", "/doctors", self.get_doctors),
            ("GET", "/slots", self.get_slots),
            ("POST", "/appointments", self.post_appointment),
            ("PATCH", "/appointments/{number}", self.patch_appointment),
            ("DELETE", "/appointments/{number}", self.delete_appointment),
            ("POST", "/prescriptions", self.post_prescription),
        )

    def free_times(self, doctor: str, day: datetime.date) -> list[str]:
        taken = {
            appointment["time"]
            for appointment in self.appointments.values()
            if (appointment["doctor"], appointment["day"]) == (doctor, day.isoformat())
        }
        # Each doctor has other hours, the same ones every week.
        start = next(index for index, one in enumerate(DOCTORS) if one["id"] == doctor)
        return [time for time in TIMES[start : start + 5] if time not in taken]

    def _bad_day(self, day: datetime.date | None) -> JSONResponse | None:
        last = self.today + datetime.timedelta(days=DAYS_AHEAD)
        if day is None or not self.today <= day <= last:
            return refuse(422, "bad_day", f"From today to {DAYS_AHEAD} days ahead.")
        if day.weekday() > 4:
            return refuse(409, "closed", "The practice is open from Monday to Friday.")
        return None

    def get_doctors(self, request: Request, body: dict[str, Any]) -> JSONResponse:
        return JSONResponse(
            {"doctors": list(DOCTORS), "names": ", ".join(one["name"] for one in DOCTORS)}
        )

    def get_slots(self, request: Request, body: dict[str, Any]) -> JSONResponse:
        doctor, day = (
            request.query_params.get("doctor", ""),
            day_of(request.query_params.get("day")),
        )
        if not _doctor_name(doctor):
            return refuse(404, "unknown_doctor", "No such doctor.")
        if refusal := self._bad_day(day):
            return refusal
        assert day is not None
        times = self.free_times(doctor, day)
        if not times:
            return refuse(409, "nothing_free", "Nothing is free on that day.")
        return JSONResponse(
            {
                "doctor": doctor,
                "day": day.isoformat(),
                "slots": [{"time": time} for time in times],
                "times": ", ".join(times),
            }
        )

    def post_appointment(self, request: Request, body: dict[str, Any]) -> JSONResponse:
        doctor, day = str(body.get("doctor", "")), day_of(body.get("day"))
        if not _doctor_name(doctor):
            return refuse(404, "unknown_doctor", "No such doctor.")
        if refusal := self._bad_day(day):
            return refusal
        assert day is not None
        if body.get("time") not in self.free_times(doctor, day):
            return refuse(409, "taken", "That time is no longer free.")
        name, born = str(body.get("name", "")).strip(), day_of(body.get("born"))
        if not name or born is None or born > self.today:
            return refuse(422, "incomplete", "An appointment needs a name and a date of birth.")
        self.last_number += 1
        number = f"LC-{self.last_number}"
        self.appointments[number] = {
            "appointment_number": number,
            "name": name,
            "born": born.isoformat(),
            "phone": str(body.get("phone", "")),
            "doctor": doctor,
            "doctor_name": _doctor_name(doctor),
            "day": day.isoformat(),
            "time": body["time"],
        }
        return JSONResponse(self.appointments[number], status_code=201)

    def appointment(self, number: str, born: object) -> dict[str, Any] | None:
        """The appointment, to whoever knows its number and the date of birth."""
        appointment = self.appointments.get(number.upper())
        return appointment if appointment and appointment["born"] == str(born) else None

    def patch_appointment(self, request: Request, body: dict[str, Any]) -> JSONResponse:
        appointment = self.appointment(request.path_params["number"], body.get("born"))
        if appointment is None:
            return refuse(*_NOT_FOUND)
        day, time = day_of(body.get("day")), str(body.get("time"))
        if refusal := self._bad_day(day):
            return refusal
        assert day is not None
        free = self.free_times(appointment["doctor"], day)
        if time not in free:
            return refuse(409, "taken", "That time is not free.", times=", ".join(free) or "–")
        appointment |= {"day": day.isoformat(), "time": time}
        return JSONResponse(appointment)

    def delete_appointment(self, request: Request, body: dict[str, Any]) -> JSONResponse:
        number = request.path_params["number"]
        appointment = self.appointment(number, request.query_params.get("born"))
        if appointment is None:
            return refuse(*_NOT_FOUND)
        del self.appointments[number.upper()]
        return JSONResponse({**appointment, "status": "cancelled"})

    def post_prescription(self, request: Request, body: dict[str, Any]) -> JSONResponse:
        name, born = str(body.get("name", "")).strip(), day_of(body.get("born"))
        if not name or born is None:
            return refuse(422, "incomplete", "A prescription needs a name and a date of birth.")
        words = str(body.get("medicine", "")).lower().split()
        medicine = next((one for one in MEDICINES if one in words), "")
        if not medicine:
            return refuse(409, "not_on_repeat", "This medicine is not on repeat prescription.")
        made = {
            "reference": f"RX-{301 + len(self.prescriptions)}",
            "medicine": medicine,
            "name": name,
            "collect": str(body.get("collect") or "practice"),
            "ready_on": self._working_day(2).isoformat(),
        }
        self.prescriptions.append(made)
        return JSONResponse(made, status_code=201)


def _doctor_name(doctor: str) -> str:
    return next((one["name"] for one in DOCTORS if one["id"] == doctor), "")
