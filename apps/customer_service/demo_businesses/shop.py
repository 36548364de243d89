"""The shop's HTTP interface: orders, returns, delivery addresses, catalogue; all state in memory."""

import datetime
import hmac
import json
import re
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from apps.customer_service.demo_shop.data import PRODUCTS, RETURN_DAYS, fresh_orders

LARGEST_BODY = 16_384
Endpoint = Callable[["Shop", Request, dict[str, Any]], JSONResponse]


class Shop:
    """Orders and returns of one run. `reset` brings the first day back."""

    def __init__(self, today: datetime.date | None = None) -> None:
        self.fixed_today = today
        self.lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        self.orders = fresh_orders(self.today)
        self.returns: dict[tuple[str, str], dict[str, Any]] = {}
        self.answers: dict[str, tuple[str, int, dict[str, Any]]] = {}
        """By idempotency key: the request's fingerprint and what was answered."""
        self.calls: list[tuple[str, str, dict[str, Any]]] = []
        """Every change that was done: method, path, body."""

    @property
    def today(self) -> datetime.date:
        return self.fixed_today or datetime.datetime.now(tz=datetime.UTC).date()

    def order(self, number: str, email: str) -> dict[str, Any] | None:
        """The order, to whoever knows both its number and its e-mail address."""
        order = self.orders.get(number.upper())
        return order if order and order["email"] == email.strip().lower() else None


def _refuse(status: int, code: str, message: str, **more: Any) -> JSONResponse:
    return JSONResponse({"code": code, "message": message, **more}, status_code=status)


_NOT_FOUND = (404, "not_found", "No order has this number and this e-mail address.")


def get_order(shop: Shop, request: Request, body: dict[str, Any]) -> JSONResponse:
    order = shop.order(request.path_params["number"], request.query_params.get("email", ""))
    return JSONResponse(order) if order else _refuse(*_NOT_FOUND)


def get_products(shop: Shop, request: Request, body: dict[str, Any]) -> JSONResponse:
    asked = {_singular(word) for word in _words(request.query_params.get("query", ""))}
    scored = []
    for product in PRODUCTS:
        name = {_singular(word) for word in _words(product["name"])}
        about = {_singular(word) for word in _words(product["about"])}
        score = 2 * len(asked & name) + len(asked & about)
        if score:
            scored.append((score, product))
    scored.sort(key=lambda pair: (-pair[0], pair[1]["sku"]))
    best = [product for score, product in scored if score >= scored[0][0] / 2]
    if not best:
        return _refuse(404, "nothing", "No product matches.")
    return JSONResponse({"products": best, "total": len(best)})


def post_return(shop: Shop, request: Request, body: dict[str, Any]) -> JSONResponse:
    order = shop.order(str(body.get("order_number", "")), str(body.get("email", "")))
    if order is None:
        return _refuse(*_NOT_FOUND)
    if order["status"] != "delivered":
        return _refuse(409, "not_delivered", "Only a delivered order can be returned.")
    age = shop.today - datetime.date.fromisoformat(order["placed_on"])
    if age.days > RETURN_DAYS:
        return _refuse(409, "window_over", f"Returns end {RETURN_DAYS} days after the order.")
    line = next((line for line in order["items"] if line["sku"] == body.get("sku")), None)
    if line is None:
        return _refuse(422, "not_in_order", "The order does not contain this item.")
    quantity = body.get("quantity", 1)
    if not isinstance(quantity, int) or not 1 <= quantity <= line["quantity"]:
        return _refuse(422, "too_many", f"The order contains {line['quantity']} of this item.")
    pickup = body.get("pickup_date")
    if pickup is not None and str(pickup) <= shop.today.isoformat():
        return _refuse(422, "bad_date", "The courier collects from tomorrow on.")
    known = shop.returns.get((order["number"], line["sku"]))
    if known is not None:
        return _refuse(
            409, "already_returned", "Registered before.", return_number=known["return_number"]
        )
    registered = {
        "return_number": f"R-{7001 + len(shop.returns)}",
        "order_number": order["number"],
        "sku": line["sku"],
        "name": line["name"],
        "quantity": quantity,
        "reason": str(body.get("reason", "")),
        "resolution": str(body.get("resolution") or "refund"),
        "pickup_date": pickup,
    }
    shop.returns[order["number"], line["sku"]] = registered
    return JSONResponse(registered, status_code=201)


def post_address(shop: Shop, request: Request, body: dict[str, Any]) -> JSONResponse:
    order = shop.order(request.path_params["number"], str(body.get("email", "")))
    if order is None:
        return _refuse(*_NOT_FOUND)
    if order["status"] != "processing":
        return _refuse(409, "already_shipped", "The order has left the warehouse.")
    address = {name: str(body.get(name, "")).strip() for name in ("street", "city", "postcode")}
    if not all(address.values()):
        return _refuse(422, "incomplete", "An address needs street, city and postcode.")
    order["address"] = address
    return JSONResponse(order)


def post_reset(shop: Shop, request: Request, body: dict[str, Any]) -> JSONResponse:
    shop.reset()
    return JSONResponse({"reset": True})


def health(request: Request) -> JSONResponse:
    return JSONResponse({"status": "ok"})


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


def _singular(word: str) -> str:
    return word[:-1] if word.endswith("s") and len(word) > 3 else word


def create_app(token: str, shop: Shop | None = None) -> Starlette:
    """The shop behind `Authorization: Bearer <token>`; an empty token is refused."""
    if not token:
        raise ValueError("The demo shop needs a token, got an empty one.")
    shop = shop or Shop()

    def guarded(endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
        async def respond(request: Request) -> Response:
            given = request.headers.get("authorization", "")
            if not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
                return _refuse(401, "unauthorised", "The token is missing or wrong.")
            body: dict[str, Any] = {}
            if request.method == "POST":
                raw = await request.body()
                if len(raw) > LARGEST_BODY:
                    return _refuse(413, "too_large", "The body is too large.")
                try:
                    parsed = json.loads(raw or b"{}")
                except ValueError:
                    return _refuse(400, "not_json", "The body is not JSON.")
                if not isinstance(parsed, dict):
                    return _refuse(400, "not_json", "The body must be a JSON object.")
                body = parsed
            with shop.lock:
                return _answer_once(shop, endpoint, request, body)

        return respond

    return Starlette(
        routes=[
            Route("/health", health),
            Route("/orders/{number}", guarded(get_order)),
            Route("/products", guarded(get_products)),
            Route("/returns", guarded(post_return), methods=["POST"]),
            Route("/orders/{number}/address", guarded(post_address), methods=["POST"]),
            Route("/reset", guarded(post_reset), methods=["POST"]),
        ]
    )


def _answer_once(
    shop: Shop, endpoint: Endpoint, request: Request, body: dict[str, Any]
) -> JSONResponse:
    """A repeated key gets the first answer again; with another request it is refused."""
    key = request.headers.get("idempotency-key", "")
    if request.method == "GET" or not key:
        return _recorded(shop, endpoint, request, body)
    fingerprint = json.dumps([request.url.path, body], sort_keys=True)
    if key in shop.answers:
        first, status, answer = shop.answers[key]
        if first != fingerprint:
            return _refuse(422, "key_reused", "This key came with another request before.")
        return JSONResponse(answer, status_code=status)
    response = _recorded(shop, endpoint, request, body)
    shop.answers[key] = (fingerprint, response.status_code, json.loads(bytes(response.body)))
    return response


def _recorded(
    shop: Shop, endpoint: Endpoint, request: Request, body: dict[str, Any]
) -> JSONResponse:
    response = endpoint(shop, request, body)
    if request.method == "POST" and response.status_code < 300 and endpoint is not post_reset:
        shop.calls.append((request.method, request.url.path, body))
    return response
