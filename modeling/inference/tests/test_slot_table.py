"""Conversations over the same description keep their own prefixes while slots lie idle."""

from modeling.inference.slots import CacheKey, SlotTable

KEY = CacheKey(model="m", salt="workspace")


def ask(table: SlotTable, prompt: str, key: CacheKey = KEY) -> int:
    claim = table.claim(key, prompt)
    assert claim is not None
    table.release(claim.slot_id)
    return claim.slot_id


def test_two_conversations_do_not_throw_out_each_other() -> None:
    table = SlotTable(2)
    first = ask(table, "schema A: one")
    second = ask(table, "schema B: two")
    assert first != second
    assert ask(table, "schema A: one, and more") == first
    assert ask(table, "schema B: two, and more") == second


def test_where_no_slot_is_idle_the_longest_shared_prefix_is_kept() -> None:
    table = SlotTable(2)
    other = CacheKey(model="m", salt="another")
    mine = ask(table, "schema A: one")
    ask(table, "something else", other)
    assert ask(table, "schema B: two") == mine


def test_what_goes_on_stays_in_its_slot_though_another_is_idle() -> None:
    table = SlotTable(3)
    slot = ask(table, "schema A: one")
    assert ask(table, "schema A: one, and more") == slot
    assert ask(table, "schema A: one, and more") == slot
