def spread(count: int, wanted: int) -> list[int]:
    """Return `wanted` numbers below `count`, the middles of equal parts, ascending.

    They are distinct unless more are wanted than there are.
    """
    return [(2 * i + 1) * count // (2 * wanted) for i in range(wanted)]
