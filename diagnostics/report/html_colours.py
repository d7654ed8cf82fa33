"""The colour of each part of a report: the same part has the same colour in every chart and bar."""

PLAIN = 1
COLOURS = {
    "data_wait": 2,
    "data_loader": 2,
    "data_loading": 2,
    "h2d": 8,
    "memcpy": 8,
    "device_copy": 8,
    "copies, not hidden": 8,
    "forward": 1,
    "kernel": 1,
    "compute": 1,
    "computes": 1,
    "loss": 6,
    "backward": 3,
    "operator": 3,
    "launching": 3,
    "optimizer": 4,
    "memset": 4,
    "communication": 5,
    "communicates, not hidden": 5,
    "recompute": 5,
    "runtime": 6,
    "synchronisation": 6,
    "is idle": 2,
    "other": 7,
    "unattributed": 7,
}
"""By the names that analyses and the terminal's tables use."""
_OTHERS = (5, 6, 4, 8, 3)


def colour_of(name: str, place: int | None = None) -> int:
    """The colour of a part by its name; of one without a usual name by its place, if it has one."""
    return COLOURS.get(name, PLAIN if place is None else _OTHERS[place % len(_OTHERS)])
