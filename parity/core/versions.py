"""Versions, to compare and to sort by."""


def version_numbers(version: str) -> list[int]:
    """Return the numbers of a version: [5, 0, 0, 93] of 5.0.0.93, [5, 0, 0] of 5.0.0-dev."""
    return [int(part) for part in version.partition("-")[0].split(".")]
