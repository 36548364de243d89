"""The restaurant: free tables, bookings, changes, cancellations."""

import datetime
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse

from apps.customer_service.demo_businesses.business import Business, Endpoint, day_of, refuse

TIMES = ("12:00", "12:30", "13:00", "18:00", "18:30", "19:00", "19:30", "20:00", "20:30", "21:00")
SEATS = 24
LARGEST_PARTY = 8
DAYS_AHEAD = 60
CLOSED_ON = 0  # Monday
_NOT_FOUND = (404, "not_found", "No booking has this number and this telephone number.")

# number, telephone, name, days from the first day, time, guests
_BOOKINGS = (
    ("SB-2041", "+442079460101", "Ada Novak", 2, "19:00", 4),
    ("SB-2042", "+442079460102", "Bruno Okafor", 3, "20:00", 2),
    ("SB-2043", "+442079460103", "Carmen Diaz", 6, "12:30", 6),
    ("SB-2044", "+442079460104", "Dilip Rao", 8, "18:30", 3),
    ("SB-2045", "+442079460105", "Elsa Berg", 9, "19:30", 5),
)


class Restaurant(Business):
    name = "restaurant"

    def open(self) -> None:
        self.bookings: dict[str, dict[str, Any]] = {
            number: {
                "booking_number": number,
                "phone": phone,
                "name": name,
                "day": self._opening_day(days).isoformat(),
                "time": time,
                "guests": guests,
                "seating": "inside",
                "note": "",
            }
            for number, phone, name, days, time, guests in _BOOKINGS
        }
        self.last_number = int(_BOOKINGS[-1][0].removeprefix("SB-"))
        # Fridays at eight everything is taken, so that the demo shows a refusal.
        self.full = {(4, "20:00")}

    def _opening_day(self, days: int) -> datetime.date:
        day = self.today + datetime.timedelta(days=days)
        return day + datetime.timedelta(days=1) if day.weekday() == CLOSED_ON else day

    def endpoints(self) -> Sequence[tuple[str, str, Endpoint]]:
        return (
            ("GET", "/tables", self.get_tables),
            ("POST", "/bookings", self.post_booking),
            ("GET", "/bookings/{number}", self.get_booking),
            ("PATCH", "/bookings/{number}", self.patch_booking),
            ("DELETE", "/bookings/{number}", self.delete_booking),
        )

    def free_times(self, day: datetime.date, guests: int, *, without: str = "") -> list[str]:
        """Times at which so many guests find seats; `without` a booking that is to be moved."""
        taken = dict.fromkeys(TIMES, 0)
        for booking in self.bookings.values():
            if booking["day"] == day.isoformat() and booking["booking_number"] != without:
                taken[booking["time"]] += booking["guests"]
        return [
            time
            for time in TIMES
            if taken[time] + guests <= SEATS and (day.weekday(), time) not in self.full
        ]

    def _refusal(
        self, day: datetime.date | None, time: str, guests: object, *, without: str = ""
    ) -> JSONResponse | None:
        if day is None or not isinstance(guests, int) or guests < 1:
            return refuse(
                422, "incomplete", "A booking needs a day, a time and a number of guests."
            )
        if guests > LARGEST_PARTY:
            return refuse(422, "too_many_guests", f"Online up to {LARGEST_PARTY} guests.")
        if not self.today <= day <= self.today + datetime.timedelta(days=DAYS_AHEAD):
            return refuse(422, "bad_day", f"From today to {DAYS_AHEAD} days ahead.")
        if day.weekday() == CLOSED_ON:
            return refuse(409, "closed", "The restaurant is closed on Mondays.")
        free = self.free_times(day, guests, without=without)
        if time not in TIMES:
            return refuse(422, "bad_time", "Not a time of the kitchen.", times=", ".join(free))
        if time not in free:
            return refuse(409, "full", "No table at that time.", times=", ".join(free))
        return None

    def get_tables(self, request: Request, body: dict[str, Any]) -> JSONResponse:
        day = day_of(request.query_params.get("day"))
        guests = request.query_params.get("guests", "")
        number = int(guests) if guests.isdecimal() else 0
        # Whether one time is free is not asked here, so the first one stands for the checks.
        refusal = self._refusal(day, TIMES[0], number)
        if refusal is not None and refusal.status_code == 422:
            return refusal
        assert day is not None
        if day.weekday() == CLOSED_ON:
            return refuse(409, "closed", "The restaurant is closed on Mondays.")
        free = self.free_times(day, number)
        return JSONResponse(
            {"day": day.isoformat(), "free": len(free), "times": ", ".join(free) or "–"}
        )

    def post_booking(self, request: Request, body: dict[str, Any]) -> JSONResponse:
        day, time, guests = day_of(body.get("day")), str(body.get("time")), body.get("guests")
        if refusal := self._refusal(day, time, guests):
            return refusal
        name, phone = str(body.get("name", "")).strip(), str(body.get("phone", "")).strip()
        if not name or not phone:
            return refuse(422, "incomplete", "A booking needs a name and a telephone number.")
        assert day is not None
        self.last_number += 1
        number = f"SB-{self.last_number}"
        self.bookings[number] = {
            "booking_number": number,
            "phone": phone,
            "name": name,
            "day": day.isoformat(),
            "time": time,
            "guests": guests,
            "seating": str(body.get("seating") or "inside"),
            "note": str(body.get("note") or "")[:200],
        }
        return JSONResponse(self.bookings[number], status_code=201)

    def booking(self, number: str, phone: str) -> dict[str, Any] | None:
        """The booking, to whoever knows both its number and its telephone number."""
        booking = self.bookings.get(number.upper())
        return booking if booking and booking["phone"] == phone else None

    def get_booking(self, request: Request, body: dict[str, Any]) -> JSONResponse:
        phone = request.query_params.get("phone", "")
        booking = self.booking(request.path_params["number"], phone)
        return JSONResponse(booking) if booking else refuse(*_NOT_FOUND)

    def patch_booking(self, request: Request, body: dict[str, Any]) -> JSONResponse:
        number = request.path_params["number"]
        booking = self.booking(number, str(body.get("phone", "")))
        if booking is None:
            return refuse(*_NOT_FOUND)
        day = day_of(body.get("day", booking["day"]))
        time = str(body.get("time", booking["time"]))
        guests = body.get("guests", booking["guests"])
        if refusal := self._refusal(day, time, guests, without=number.upper()):
            return refusal
        assert day is not None
        booking |= {"day": day.isoformat(), "time": time, "guests": guests}
        return JSONResponse(booking)

    def delete_booking(self, request: Request, body: dict[str, Any]) -> JSONResponse:
        number = request.path_params["number"]
        booking = self.booking(number, request.query_params.get("phone", ""))
        if booking is None:
            return refuse(*_NOT_FOUND)
        del self.bookings[number.upper()]
        return JSONResponse({**booking, "status": "cancelled"})
