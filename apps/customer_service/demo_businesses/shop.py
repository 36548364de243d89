"""The shop: orders, returns, delivery addresses, catalogue."""

import datetime
import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse

from apps.customer_service.demo_businesses.business import Business, Endpoint, refuse
from apps.customer_service.demo_businesses.shop_data import PRODUCTS, RETURN_DAYS, fresh_orders

_NOT_FOUND = (404, "not_found", "No order has this number and this e-mail address.")


class Shop(Business):
    name = "shop"

    def open(self) -> None:
        self.orders = fresh_orders(self.today)
        self.returns: dict[tuple[str, str], dict[str, Any]] = {}

    def endpoints(self) -> Sequence[tuple[str, str, Endpoint]]:
        return (
            ("GET", "/orders/{number}", self.get_order),
            ("GET", "/products", self.get_products),
            ("POST", "/returns", self.post_return),
            ("POST", "/orders/{number}/address", self.post_address),
        )

    def order(self, number: str, email: str) -> dict[str, Any] | None:
        """The order, to whoever knows both its number and its e-mail address."""
        order = self.orders.get(number.upper())
        return order if order and order["email"] == email.strip().lower() else None

    def get_order(self, request: Request, body: dict[str, Any]) -> JSONResponse:
        order = self.order(request.path_params["number"], request.query_params.get("email", ""))
        return JSONResponse(order) if order else refuse(*_NOT_FOUND)

    def get_products(self, request: Request, body: dict[str, Any]) -> JSONResponse:
        asked = {_singular(word) for word in _words(request.query_params.get("query", ""))}
        most = _price(request.query_params.get("max_price", ""))
        scored = []
        for product in PRODUCTS:
            name = {_singular(word) for word in _words(product["name"])}
            about = {_singular(word) for word in _words(product["about"])}
            score = 2 * len(asked & name) + len(asked & about)
            if score and (most is None or Decimal(product["price"]) <= most):
                scored.append((score, product))
        scored.sort(key=lambda pair: (-pair[0], pair[1]["sku"]))
        best = [product for score, product in scored if score >= scored[0][0] / 2]
        if not best:
            return refuse(404, "nothing", "No product matches.")
        return JSONResponse({"products": best, "total": len(best)})

    def post_return(self, request: Request, body: dict[str, Any]) -> JSONResponse:
        order = self.order(str(body.get("order_number", "")), str(body.get("email", "")))
        if order is None:
            return refuse(*_NOT_FOUND)
        if order["status"] != "delivered":
            return refuse(409, "not_delivered", "Only a delivered order can be returned.")
        age = self.today - datetime.date.fromisoformat(order["placed_on"])
        if age.days > RETURN_DAYS:
            return refuse(409, "window_over", f"Returns end {RETURN_DAYS} days after the order.")
        line = next((line for line in order["items"] if line["sku"] == body.get("sku")), None)
        if line is None:
            return refuse(422, "not_in_order", "The order does not contain this item.")
        quantity = body.get("quantity", 1)
        if not isinstance(quantity, int) or not 1 <= quantity <= line["quantity"]:
            return refuse(422, "too_many", f"The order contains {line['quantity']} of this item.")
        pickup = body.get("pickup_date")
        if pickup is not None and str(pickup) <= self.today.isoformat():
            return refuse(422, "bad_date", "The courier collects from tomorrow on.")
        known = self.returns.get((order["number"], line["sku"]))
        if known is not None:
            return refuse(
                409, "already_returned", "Registered before.", return_number=known["return_number"]
            )
        registered = {
            "return_number": f"R-{7001 + len(self.returns)}",
            "order_number": order["number"],
            "sku": line["sku"],
            "name": line["name"],
            "quantity": quantity,
            "reason": str(body.get("reason", "")),
            "resolution": str(body.get("resolution") or "refund"),
            "pickup_date": pickup,
        }
        self.returns[order["number"], line["sku"]] = registered
        return JSONResponse(registered, status_code=201)

    def post_address(self, request: Request, body: dict[str, Any]) -> JSONResponse:
        order = self.order(request.path_params["number"], str(body.get("email", "")))
        if order is None:
            return refuse(*_NOT_FOUND)
        if order["status"] != "processing":
            return refuse(409, "already_shipped", "The order has left the warehouse.")
        address = {name: str(body.get(name, "")).strip() for name in ("street", "city", "postcode")}
        if not all(address.values()):
            return refuse(422, "incomplete", "An address needs street, city and postcode.")
        order["address"] = address
        return JSONResponse(order)


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


def _singular(word: str) -> str:
    return word[:-1] if word.endswith("s") and len(word) > 3 else word


def _price(text: str) -> Decimal | None:
    try:
        return Decimal(text)
    except InvalidOperation:
        return None
