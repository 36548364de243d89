"""What the demo shop sells and has sold. Days are counted back from the day the shop starts."""

import copy
import datetime
from typing import Any


def gettext_noop(text: str) -> str:
    """Marks a sentence for translation; the businesses themselves know nothing of Django."""
    return text


PRODUCTS: list[dict[str, Any]] = [
    {"sku": "LMP-01", "name": "Beacon desk lamp", "price": "48.00", "stock": 14, "about": "Brass desk lamp with a swivel arm and a warm LED bulb."},
    {"sku": "LMP-02", "name": "Lantern floor lamp", "price": "129.00", "stock": 3, "about": "Floor lamp with a linen shade, 160 cm high."},
    {"sku": "BLK-01", "name": "Fjord wool blanket", "price": "79.00", "stock": 22, "about": "Woven from undyed wool, 130 by 200 cm."},
    {"sku": "BLK-02", "name": "Tide cotton throw", "price": "39.00", "stock": 0, "about": "Light cotton throw with a striped edge."},
    {"sku": "MUG-01", "name": "Pebble mug, set of four", "price": "36.00", "stock": 31, "about": "Stoneware mugs, 300 ml, safe in the dishwasher."},
    {"sku": "KTL-01", "name": "Harbour kettle", "price": "62.00", "stock": 9, "about": "Enamel kettle for gas, electric and induction hobs, 1.7 litres."},
    {"sku": "STL-01", "name": "Oak stool", "price": "95.00", "stock": 6, "about": "Three-legged stool of solid oak, 45 cm high."},
    {"sku": "VAS-01", "name": "Reed vase", "price": "27.00", "stock": 18, "about": "Hand-blown glass vase, 24 cm high."},
    {"sku": "CND-01", "name": "Pine candle", "price": "18.00", "stock": 54, "about": "Rapeseed wax candle with pine oil, burns 40 hours."},
    {"sku": "CLK-01", "name": "Quay wall clock", "price": "58.00", "stock": 11, "about": "Silent wall clock, 30 cm across."},
    {"sku": "RUG-01", "name": "Moss rug", "price": "149.00", "stock": 4, "about": "Flat-woven wool rug, 140 by 200 cm."},
    {"sku": "CUT-01", "name": "Walnut cutting board", "price": "44.00", "stock": 16, "about": "Cutting board of one piece of walnut, 40 by 25 cm."},
]  # fmt: skip

_STATUS = {
    "processing": gettext_noop("it is being packed and ships within two working days."),
    "shipped": gettext_noop("it left our warehouse and is on its way."),
    "out_for_delivery": gettext_noop("it is with the courier and arrives today."),
    "delivered": gettext_noop("it has been delivered."),
    "cancelled": gettext_noop("it was cancelled and the money was sent back."),
}

# number, email, status, days since it was placed, [(sku, pieces)], city, street, postcode
_ORDERS: list[tuple[str, str, str, int, list[tuple[str, int]], tuple[str, str, str]]] = [
    ("HP-10421", "ana@example.com", "delivered", 9, [("LMP-01", 1), ("BLK-01", 2)], ("4 Mill Lane", "York", "YO1 7HH")),
    ("HP-10422", "ben@example.com", "shipped", 3, [("MUG-01", 1)], ("17 Station Road", "Leeds", "LS1 4DY")),
    ("HP-10423", "chen@example.com", "processing", 1, [("RUG-01", 1)], ("2 Castle Street", "Bristol", "BS1 3AD")),
    ("HP-10424", "dora@example.com", "delivered", 61, [("STL-01", 2)], ("9 Park View", "Exeter", "EX1 1GE")),
    ("HP-10425", "eli@example.com", "out_for_delivery", 4, [("KTL-01", 1), ("MUG-01", 1)], ("31 North Street", "Leeds", "LS2 7PN")),
    ("HP-10426", "fatima@example.com", "delivered", 12, [("VAS-01", 3)], ("8 Bridge Road", "Oxford", "OX1 2EP")),
    ("HP-10427", "goran@example.com", "processing", 0, [("LMP-02", 1), ("CND-01", 4)], ("55 High Street", "Bath", "BA1 5AQ")),
    ("HP-10428", "hana@example.com", "cancelled", 20, [("CLK-01", 1)], ("12 Abbey Road", "Derby", "DE1 3TA")),
    ("HP-10429", "ivan@example.com", "delivered", 5, [("CUT-01", 1)], ("3 Orchard Close", "Hull", "HU1 2AA")),
    ("HP-10430", "june@example.com", "shipped", 2, [("BLK-02", 1), ("CND-01", 2)], ("20 Hill Rise", "Bristol", "BS6 5BT")),
    ("HP-10431", "kofi@example.com", "delivered", 28, [("RUG-01", 1), ("VAS-01", 1)], ("6 Queen Square", "Bath", "BA1 2HN")),
    ("HP-10432", "lena@example.com", "processing", 1, [("KTL-01", 1)], ("41 London Road", "Derby", "DE1 2PA")),
    ("HP-10433", "ana@example.com", "processing", 1, [("CLK-01", 1)], ("4 Mill Lane", "York", "YO1 7HH")),
    ("HP-10434", "mei@example.com", "delivered", 7, [("MUG-01", 2), ("CUT-01", 1), ("CND-01", 3)], ("15 Water Street", "Hull", "HU1 1TJ")),
    ("HP-10435", "noah@example.com", "delivered", 15, [("LMP-02", 1)], ("27 Chapel Lane", "Oxford", "OX4 1JB")),
]  # fmt: skip

RETURN_DAYS = 30


def status_text(status: str) -> str:
    return _STATUS[status]


def fresh_orders(today: datetime.date) -> dict[str, dict[str, Any]]:
    """The orders as they are before anybody called, by number."""
    names = {product["sku"]: product for product in PRODUCTS}
    orders = {}
    for number, email, status, days, lines, (street, city, postcode) in _ORDERS:
        placed = today - datetime.timedelta(days=days)
        orders[number] = {
            "number": number,
            "email": email,
            "status": status,
            "status_text": status_text(status),
            "placed_on": placed.isoformat(),
            "items": [
                {
                    "sku": sku,
                    "name": names[sku]["name"],
                    "quantity": pieces,
                    "price": names[sku]["price"],
                }
                for sku, pieces in lines
            ],
            "address": {"street": street, "city": city, "postcode": postcode},
        }
    return copy.deepcopy(orders)
