"""The travel desk of CrossWOZ (Zhu et al., arXiv 2002.11893) as a service that the product could offer.

Five tasks, one a domain of the data; what people say is Chinese, the descriptions that the language
model reads are English. Bands and facilities are the lists of the data's own ontology. Names of
places stand in no list: they are read after words like 名叫, or when the assistant said them before.
Written on the half of the dialogues that `dst.fitted` names.
"""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from apps.customer_service.schema import Service, parse_service

DOMAINS = {
    "attraction": "景点",
    "restaurant": "餐馆",
    "hotel": "酒店",
    "metro": "地铁",
    "taxi": "出租",
}
PLACES = ("attraction", "restaurant", "hotel")
FACILITIES = (
    "SPA", "24小时热水", "中式餐厅", "会议室", "免费国内长途电话", "免费市内电话",
    "公共区域和部分房间提供wifi", "公共区域提供wifi", "收费停车位", "无烟房", "早餐服务",
    "早餐服务免费", "暖气", "行李寄存", "看护小孩服务", "桑拿", "残疾人设施", "商务中心",
    "健身房", "室内游泳池", "室外游泳池", "叫醒服务", "吹风机", "国际长途电话", "宽带上网",
    "所有房间提供wifi", "部分房间提供wifi", "酒店各处提供wifi", "接待外宾", "接机服务",
    "接站服务", "棋牌室", "洗衣服务", "温泉", "租车", "西式餐厅", "酒吧",
)  # fmt: skip
_NAMED = (
    r"(?:名叫|名为|名字[叫是]|名称是|叫做) ?([^,。;?!的]{2,40}?)(?=的|[,。;?!]|$)"
    r"|去(?!一|个|名|这|那|趟|找|酒店|餐馆|景点|VISIT)((?:(?!附近|周边|时)[^,。;?!的]){2,40}?)(?=(?:的(?:景点|餐馆|酒店))?VISIT)"
)
_VISITS = {
    "attraction": "(?:游玩|玩|看看|逛)",
    "restaurant": "(?:用餐|吃饭|吃|尝)",
    "hotel": "(?:住宿|住|入住)",
}
_DISH = (
    r"(?:[想爱能]吃|吃到|能做|推荐菜.{0,3}有|餐馆吃)[到点个]*(?!什么|啥|哪|当地|饭|好)([^,。;?!的了这]{2,12}?)(?=这|[,。;?!的了]|$)"
    r"|(?:有|提供) ?(?!什么|啥|哪|没|其他|别|合适|好)([^,。;?!的这]{2,12}?)(?=这[道个种]?菜|这[两俩]|的餐[馆厅]|的饭[店馆])"
)
_STAY = (
    r"(?:\d+(?:\.\d+)?(?:个?小时|天)? ?[-~到至] ?)?\d+(?:\.\d+)?(?:个?小时|天)(?!热水|优品|连锁|酒店)"
    r"|[一二两三半]个?半?(?:小时|天)"
)
_FROM = r"从 ?([^,。;?!]{2,40}?)(?=出发|[坐乘打搭]|到|去)"
_TO = r"(?:到|去) ?([^,。;?!]{2,40}?)(?=的(?:出租|地铁)|[坐乘打搭]|有地铁|[,。;?!]|$)"


def travel_desk() -> Service:
    return parse_service(
        {
            "name": "travel_desk",
            "title": "北京旅行助手",
            "description": "Sights, restaurants, hotels and ways between them in Beijing",
            "intents": [_intent(domain) for domain in DOMAINS],
            "slots": _slots(),
        }
    )


def slots_of(domain: str) -> list[str]:
    return [slot["name"] for slot in _slots() if slot["name"].startswith(f"{domain}_")]


def place_of(slot: str) -> tuple[str, str]:
    """The data's domain and slot, like ("酒店", "评分"), of a slot of the service."""
    domain, _, name = slot.partition("_")
    if name.startswith("facility_"):
        return DOMAINS[domain], f"酒店设施-{FACILITIES[int(name.rpartition('_')[2])]}"
    return DOMAINS[domain], _NAMES[name]


_NAMES = {
    "name": "名称", "called": "名称", "rating": "评分", "ticket": "门票", "stay": "游玩时间",
    "dish": "推荐菜", "cost": "人均消费", "type": "酒店类型", "price": "价格", "origin": "出发地",
    "destination": "目的地",
}  # fmt: skip


def _slots() -> list[dict[str, Any]]:
    slots = [slot for domain in PLACES for slot in _place_slots(domain)]
    slots += [
        _pattern("attraction_stay", "游玩时间", "How long a visit of the sight takes", _STAY, "{0}"),
        _bands("attraction_ticket", "门票", "Price of the ticket", (20, 50, 100, 150, 200), {
            "免费": ("不收门票", "不要门票", "免门票", "没有门票"), "不免费": ("收费", "要门票"),
        }),
        _pattern("restaurant_dish", "推荐菜", "Dish that the restaurant must serve", _DISH, "{1}{2}"),
        _bands("restaurant_cost", "人均消费", "Cost per person", (50, 100, 150, 500, 1000), {}),
        _listed("hotel_type", "酒店类型", "Class of the hotel", {
            name: (name.removesuffix("型"),) for name in ("经济型", "舒适型", "高档型", "豪华型")
        }),
        _bands("hotel_price", "价格", "Price of a night", range(100, 1001, 100), {}),
        *(_facility(number, name) for number, name in enumerate(FACILITIES)),
    ]  # fmt: skip
    for domain in ("metro", "taxi"):
        slots += [
            _pattern(f"{domain}_origin", "出发地", "Place where the ride begins", _FROM, "{1}"),
            _pattern(f"{domain}_destination", "目的地", "Place where the ride ends", _TO, "{1}"),
        ]
    return slots


def _place_slots(domain: str) -> list[dict[str, Any]]:
    title = DOMAINS[domain]
    named = _NAMED.replace("VISIT", _VISITS[domain])
    offered = {"intent": f"find_{domain}", "items": "places", "value": "name", "title": "name"}
    return [
        _slot(f"{domain}_name", f"{title}名称", f"Name of the {domain}", "categorical")
        | {"values_from": offered, "keep": True},
        _pattern(f"{domain}_called", f"{title}名", f"Name of the {domain}", named, "{1}{2}"),
        _listed(
            f"{domain}_rating",
            f"{title}评分",
            f"Least rating of the {domain}",
            {
                "4分以上": ("4以上", "四分以上", "高于4分", "4分及以上", "4分往上"),
                "4.5分以上": ("4.5以上", "四点五分以上", "高于4.5分", "4.5分及以上", "4.5分往上"),
                "5分": ("五分", "满分"),
            },
        ),
    ]


def _slot(name: str, title: str, description: str, kind: str) -> dict[str, Any]:
    return {
        "name": name,
        "title": title,
        "description": description,
        "kind": kind,
        "question": f"{title}?",
    }


def _pattern(name: str, title: str, description: str, pattern: str, form: str) -> dict[str, Any]:
    return _slot(name, title, description, "pattern") | {"pattern": pattern, "form": form}


def _listed(
    name: str, title: str, description: str, values: dict[str, Sequence[str]]
) -> dict[str, Any]:
    return _slot(name, title, description, "categorical") | {
        "values": [
            {"name": value, "title": value, "synonyms": list(synonyms)}
            for value, synonyms in values.items()
        ]
    }


def _bands(
    name: str,
    title: str,
    description: str,
    edges: Sequence[int],
    others: dict[str, Sequence[str]],
) -> dict[str, Any]:
    """Below the first edge, between two neighbours, above the last, as people write that."""
    least, most = edges[0], edges[-1]
    values = dict(others)
    values[f"{least}元以下"] = (f"{least}以下", f"{least}块以下", f"低于{least}", f"{least}元以内")
    for low, high in pairwise(edges):
        dashes = [(f"{low}{unit}{dash}{high}") for unit in ("", "元") for dash in "-~到至"]
        values[f"{low}-{high}元"] = (*dashes, f"{low} - {high}")
    values[f"{most}元以上"] = (f"{most}以上", f"{most}块以上", f"高于{most}", f"超过{most}")
    return _listed(name, title, description, values)


def _facility(number: int, name: str) -> dict[str, Any]:
    """Wanted of a hotel that is looked for ("有X的酒店"); "does this hotel have X?" wants nothing."""
    spoken = re.sub("(?:服务|电话)$", "", name)
    more = "" if name.endswith("免费") else "(?!免费)"
    pattern = rf"{spoken}(?:服务|电话)?{more}(?:(?=[^。?!]*(?:酒店|宾馆|住))|(?![^。?!]*[吗呢么?]))"
    return _pattern(f"hotel_facility_{number}", name, f"Facility: {name}", pattern, "是")


_NOUNS = {
    "attraction": ("景点", "景点游玩", "好玩的地方"),
    "restaurant": ("餐馆", "餐厅吃饭", "饭店用餐"),
    "hotel": ("酒店", "酒店住宿", "宾馆"),
}
_WISHES = (
    "{}", "帮我推荐一个{}", "我想找一家{}", "请给我推荐一家评分高的{}吧", "能帮我找一个{}吗",
    "周边有合适的{}吗", "在附近找个{}",
)  # fmt: skip
_ASKED = {
    "attraction": ("门票便宜的景点", "票价不高的景点", "能玩一天的景点", "游玩时间长的景点", "哪个景点的评分高"),
    "restaurant": ("人均消费不高的餐馆", "有这道菜的餐馆", "能做这个菜的餐厅", "我想吃这道菜", "哪家餐馆的评分高"),
    "hotel": ("价格便宜的酒店", "经济型酒店", "提供早餐服务的酒店", "找个地方住", "哪家酒店的评分高"),
    "metro": ("坐地铁从一个地方到另一个地方", "出发地和目的地附近的地铁站", "乘地铁怎么走", "乘坐地铁"),
    "taxi": ("叫一辆出租车", "打车从一个地方到另一个地方", "出租车的车型和车牌", "乘坐出租车"),
}  # fmt: skip


def _samples(domain: str) -> list[str]:
    spoken = [wish.format(noun) for noun in _NOUNS.get(domain, ()) for wish in _WISHES]
    return [*spoken, *_ASKED.get(domain, ())]


def _intent(domain: str) -> dict[str, Any]:
    return {
        "name": f"find_{domain}",
        "title": f"查找{DOMAINS[domain]}",
        "description": f"Find a {domain} in Beijing",
        "optional": slots_of(domain),
        "samples": _samples(domain),
        "action": {
            "method": "GET",
            "path": f"/{domain}",
            "result": {"places": "list"},
            "replies": {"ok": {"text": "{places}"}},
        },
    }
