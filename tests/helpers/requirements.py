"""What requirements.txt and requirements-check.txt install."""

from helpers.checkout import ROOT


def _lines(name: str) -> set[str]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return {line for line in lines if line and not line.startswith("#")}


WHOLE, LIGHT = _lines("requirements.txt"), _lines("requirements-check.txt")


def packages(lines: set[str]) -> set[str]:
    return {line.partition("==")[0] for line in lines}
