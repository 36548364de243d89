"""The definition of the demo shop's service, as a business would write it.

Sentences for people are marked for translation; the samples only teach the classifier.
"""

from typing import Any

from django.utils.translation import gettext_noop as _

ORDER_AND_EMAIL = ["order_number", "email"]

SHOP: dict[str, Any] = {
    "name": "shop",
    "title": _("Harbour & Pine shop"),
    "description": _("Orders, returns and delivery addresses of the Harbour & Pine home shop."),
    "slots": [
        {
            "name": "order_number",
            "title": _("Order number"),
            "description": _("The number of the order, on the confirmation e-mail."),
            "kind": "pattern",
            "pattern": r"(?:HP[\s-]{0,2}|#)?(\d{5})",
            "form": "HP-{1}",
            "example": "HP-10421",
            "question": _("What is the order number? It looks like HP-10421."),
            "keep": True,
        },
        {
            "name": "email",
            "title": _("E-mail address"),
            "description": _("The e-mail address that was used for the order."),
            "kind": "email",
            "example": "name@example.com",
            "question": _("Which e-mail address did you use for the order?"),
            "keep": True,
        },
        {
            "name": "item",
            "title": _("Item"),
            "description": _("The item of the order that goes back."),
            "kind": "categorical",
            "question": _("Which item do you want to return?"),
            "values_from": {
                "intent": "order_status",
                "items": "items",
                "value": "sku",
                "title": "name",
            },
        },
        {
            "name": "quantity",
            "title": _("Quantity"),
            "description": _("How many pieces of the item go back."),
            "kind": "number",
            "minimum": 1,
            "maximum": 20,
            "question": _("How many of them do you want to return?"),
        },
        {
            "name": "reason",
            "title": _("Reason"),
            "description": _("Why the item goes back."),
            "kind": "categorical",
            "question": _("Why do you want to return it?"),
            "values": [
                {
                    "name": "damaged",
                    "title": _("Damaged or faulty"),
                    "synonyms": [
                        "damaged", "broken", "cracked", "faulty", "defective", "scratched",
                        "doesn't work", "does not work", "not working", "stopped working",
                        "chipped", "smashed", "torn", "坏了", "损坏", "破损", "碎了", "有问题",
                    ],
                },
                {
                    "name": "wrong_item",
                    "title": _("Wrong item sent"),
                    "synonyms": [
                        "wrong item", "wrong one", "wrong product", "wrong colour", "wrong color",
                        "different item", "not what i ordered", "incorrect item", "发错",
                    ],
                },
                {
                    "name": "wrong_size",
                    "title": _("Does not fit"),
                    "synonyms": [
                        "too big", "too small", "too large", "doesn't fit", "does not fit",
                        "wrong size", "too long", "too short", "尺寸不对", "太大", "太小",
                    ],
                },
                {
                    "name": "changed_mind",
                    "title": _("No longer wanted"),
                    "synonyms": [
                        "changed my mind", "don't want it", "don't need it", "don't like it",
                        "no longer need it", "no longer want it", "not needed", "unwanted",
                        "ordered by mistake", "不想要", "不需要", "不喜欢", "改变主意",
                    ],
                },
            ],
        },
        {
            "name": "resolution",
            "title": _("Refund or exchange"),
            "description": _("What the customer wants in return."),
            "kind": "categorical",
            "question": _("Would you like a refund or an exchange?"),
            "may_skip": True,
            "values": [
                {
                    "name": "refund",
                    "title": _("Refund"),
                    "synonyms": ["refund", "money back", "refunded", "退款"],
                },
                {
                    "name": "exchange",
                    "title": _("Exchange"),
                    "synonyms": ["exchange", "replacement", "replace it", "swap", "new one", "换货"],
                },
            ],
        },
        {
            "name": "pickup_date",
            "title": _("Pick-up date"),
            "description": _("The day on which a courier collects the parcel."),
            "kind": "date",
            "question": _("On which day shall the courier collect it?"),
        },
        {
            "name": "street",
            "title": _("Street"),
            "description": _("Street and house number of the new delivery address."),
            "kind": "text",
            "group": "address",
            "example": "12 Elm Road",
            "cues": [
                "deliver it to", "send it to", "deliver to", "address to", "address is",
                "moved to", "ship it to", "地址改成", "地址改为", "寄到",
            ],
            "question": _("What is the new delivery address: street, city and postcode?"),
        },
        {
            "name": "city",
            "title": _("City"),
            "description": _("City of the new delivery address."),
            "kind": "text",
            "group": "address",
            "pattern": r"\D{2,60}",
            "example": "Bristol",
            "question": _("Which city is that in?"),
        },
        {
            "name": "postcode",
            "title": _("Postcode"),
            "description": _("Postcode of the new delivery address."),
            "kind": "pattern",
            "pattern": r"([A-Z]{1,2}\d[A-Z\d]?)\s?(\d[A-Z]{2})",
            "form": "{1} {2}",
            "upper": True,
            "example": "BS1 4QA",
            "question": _("What is the postcode?"),
        },
        {
            "name": "product_query",
            "title": _("Product"),
            "description": _("What the customer is looking for in the catalogue."),
            "kind": "text",
            "question": _("What are you looking for?"),
            "cues": [
                "do you have", "do you sell", "have you got", "looking for", "search for",
                "show me", "find me", "interested in", "in the market for", "recommend",
                "price of", "how much is", "how much are", "有没有", "想买", "找",
            ],
        },
        {
            "name": "max_price",
            "title": _("Highest price"),
            "description": _("The most that the product may cost."),
            "kind": "money",
            "currency": "GBP",
            "minimum": 1,
            "example": "£50",
            "question": _("How much may it cost at most?"),
        },
    ],
    "intents": [
        {
            "name": "order_status",
            "title": _("Order status"),
            "description": _("Where an order is and when it arrives."),
            "required": ORDER_AND_EMAIL,
            "action": {
                "method": "GET",
                "path": "/orders/{order_number}",
                "query": {"email": "email"},
                "result": {
                    "number": "text", "status": "text", "status_text": "text", "items": "list",
                },
                "echoes": {"number": "order_number"},
                "card": "order",
                "listing": {"items": "items", "slot": "item", "value": "sku", "title": "name"},
                "replies": {
                    "ok": {"text": _("Order {number}: {status_text}")},
                    "not_found": {
                        "text": _(
                            "I can't find an order {order_number} for {email}. One of the two "
                            "doesn't match."
                        ),
                        "ask_again": ORDER_AND_EMAIL,
                    },
                },
            },
            "samples": [
                "Where is my order?",
                "What's the status of my order?",
                "Has my parcel been shipped yet?",
                "When will my package arrive?",
                "Track my order",
                "I haven't received my delivery",
                "My order is late",
                "Check my order",
                "Can you tell me when my stuff will be delivered?",
                "Did you dispatch my purchase?",
                "我的订单到哪里了？",
                "查一下我的订单状态",
                "我的包裹什么时候到？",
                "查物流",
                "我的快递到哪了",
                "什么时候发货",
            ],
        },
        {
            "name": "return_item",
            "title": _("Return an item"),
            "description": _("Send an item of an order back for a refund or an exchange."),
            "required": [*ORDER_AND_EMAIL, "item", "reason", "resolution"],
            "optional": ["quantity", "pickup_date"],
            "confirm": True,
            "summary": _(
                "Return[ {quantity} ×] {item} from order {order_number} ({email}). "
                "Reason: {reason}.[ Wanted: {resolution}.][ Pick-up: {pickup_date}.]"
            ),
            "action": {
                "method": "POST",
                "path": "/returns",
                "body": {
                    "order_number": "order_number",
                    "email": "email",
                    "sku": "item",
                    "reason": "reason",
                    "resolution": "resolution",
                    "quantity": "quantity",
                    "pickup_date": "pickup_date",
                },
                "result": {"return_number": "text", "order_number": "text", "sku": "text"},
                "echoes": {"order_number": "order_number", "sku": "item"},
                "card": "return",
                "replies": {
                    "ok": {
                        "text": _(
                            "The return is registered under {return_number}. The label is on its "
                            "way to {email}."
                        )
                    },
                    "not_found": {
                        "text": _(
                            "I can't find an order {order_number} for {email}. One of the two "
                            "doesn't match."
                        ),
                        "ask_again": ORDER_AND_EMAIL,
                    },
                    "not_delivered": {
                        "text": _(
                            "Order {order_number} has not been delivered yet, so it can't be "
                            "returned yet."
                        )
                    },
                    "window_over": {
                        "text": _(
                            "The 30 days for returning order {order_number} are over, so I can't "
                            "register the return myself."
                        ),
                        "offer_person": True,
                    },
                    "too_many": {
                        "text": _("The order does not contain that many pieces of this item."),
                        "ask_again": ["quantity"],
                    },
                    "already_returned": {
                        "text": _("A return for this item is registered already: {return_number}.")
                    },
                    "bad_date": {
                        "text": _("The courier can't come on that day; it must be a later day."),
                        "ask_again": ["pickup_date"],
                    },
                },
            },
            "samples": [
                "I want to return something",
                "I'd like to send an item back",
                "I need to return a lamp I bought",
                "Return an item from my order",
                "I want a refund for my order",
                "I want my money back",
                "My item arrived broken",
                "The lamp I received is damaged and I want to send it back",
                "You sent me the wrong item",
                "Can I exchange this for another one?",
                "Start a return",
                "Send back my order",
                "Can I swap it for a bigger one?",
                "It doesn't fit, I want to exchange it",
                "我想退货",
                "我要退款",
                "收到的东西坏了",
                "我想换货",
                "把东西退掉",
            ],
        },
        {
            "name": "change_address",
            "title": _("Change of address"),
            "description": _("Change where an order is delivered, before it is shipped."),
            "required": [*ORDER_AND_EMAIL, "street", "city", "postcode"],
            "confirm": True,
            "summary": _(
                "Deliver order {order_number} ({email}) to {street}, {city}, {postcode}."
            ),
            "action": {
                "method": "POST",
                "path": "/orders/{order_number}/address",
                "body": {
                    "email": "email", "street": "street", "city": "city", "postcode": "postcode",
                },
                "result": {"number": "text", "address": "object"},
                "echoes": {"number": "order_number"},
                "card": "order",
                "replies": {
                    "ok": {
                        "text": _(
                            "Done: order {number} now goes to {address.street}, {address.city}, "
                            "{address.postcode}."
                        )
                    },
                    "not_found": {
                        "text": _(
                            "I can't find an order {order_number} for {email}. One of the two "
                            "doesn't match."
                        ),
                        "ask_again": ORDER_AND_EMAIL,
                    },
                    "already_shipped": {
                        "text": _(
                            "Order {order_number} is on its way already, so its address can't be "
                            "changed here any more."
                        ),
                        "offer_person": True,
                    },
                },
            },
            "samples": [
                "I want to change my delivery address",
                "Change the address of my order",
                "I moved, please send my order somewhere else",
                "I gave you the wrong address",
                "Deliver my order to another address",
                "Update my shipping address",
                "I've moved house",
                "Can you ship it to my office instead?",
                "The address on my order is wrong",
                "我要改收货地址",
                "修改订单的地址",
                "我搬家了，地址换了",
                "帮我改一下地址",
            ],
        },
        {
            "name": "find_product",
            "title": _("Find a product"),
            "description": _("Search the catalogue and see prices and stock."),
            "required": ["product_query"],
            "optional": ["max_price"],
            "action": {
                "method": "GET",
                "path": "/products",
                "query": {"query": "product_query", "max_price": "max_price"},
                "result": {"products": "list", "total": "number"},
                "card": "products",
                "replies": {
                    "ok": {"text": _("I found {total} for “{product_query}”[ up to {max_price}]:")},
                    "nothing": {"text": _("I found nothing for “{product_query}”[ up to {max_price}].")},
                },
            },
            "samples": [
                "Do you have desk lamps?",
                "I'm looking for a wool blanket",
                "Do you sell candles?",
                "Show me your mugs",
                "How much is the oak stool?",
                "Is the kettle in stock?",
                "What lamps do you have?",
                "I want to buy a vase",
                "你们有没有台灯？",
                "我想买毯子",
            ],
        },
        {
            "name": "policy_question",
            "title": _("Question about returns and delivery"),
            "description": _("What the shop's terms say on refunds, returns, delivery and warranty."),
            "samples": [
                "How long do I have to return something?",
                "What is your return policy?",
                "What is your refund policy?",
                "How long does a refund take?",
                "When do I get my money back after a return?",
                "How much does shipping cost?",
                "Do you deliver abroad?",
                "Do you ship to other countries?",
                "What about privacy?",
                "How long does delivery take?",
                "How long is the warranty?",
                "Who pays for the return postage?",
                "Can I return sale items?",
                "What do you do with my personal data?",
                "What happens if I am not at home when the courier comes?",
                "退货政策是什么？",
                "退款要多久？",
                "运费多少？",
                "保修多长时间？",
                "退货要付运费吗？",
            ],
        },
    ],
}  # fmt: skip
