"""Page numbers as a person writes them."""


def ranges(pages: list[int]) -> str:
    """`1-3, 7` for [1, 2, 3, 7]; the first twenty ranges."""
    parts: list[list[int]] = []
    for page in pages:
        if parts and page == parts[-1][1] + 1:
            parts[-1][1] = page
        else:
            parts.append([page, page])
    shown = [f"{a}-{b}" if b > a else str(a) for a, b in parts[:20]]
    return ", ".join(shown) + (" …" if len(parts) > 20 else "")
