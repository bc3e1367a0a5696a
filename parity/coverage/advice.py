"""Which exporter and engine to use with the newest OpenCV, and what an upgrade to it changes."""

from collections import Counter, defaultdict
from dataclasses import dataclass

from parity.coverage.cells import Combination, Figures
from parity.coverage.record import (
    Record,
    combinations_of,
    labels_of,
    opencv_versions_of,
)
from parity.coverage.record_diff import changes

# Times are of single runs beside other models: a smaller advantage does not count as faster.
FASTER = 0.8


@dataclass(frozen=True)
class Advice:
    """What to use with `opencv`, the newest of the versions that most models were tried with.

    `best` is, among all `combinations` with that version, the one that is right for most models,
    and of several the one that needs fixed sizes least often.
    """

    record: Record
    opencv: str
    combinations: tuple[Combination, ...]
    best: Combination

    def use(self, name: str) -> Combination | None:
        """The combination to use for a model: `best` where it is right, needs fixed sizes no more
        than another and no other is clearly faster (FASTER); else the fastest right one. None where
        none is right."""
        cells = self._cells(name).items()
        right = {combination: cell for combination, cell in cells if cell["verdict"] == "same"}
        if not right:
            return None

        def cost(combination: Combination, share: float = 1) -> tuple[bool, float]:
            return right[combination]["fixed"], share * right[combination]["ms"]

        fastest = min(right, key=cost)
        keep_best = self.best in right and cost(self.best, FASTER) <= cost(fastest)
        return self.best if keep_best else fastest

    def is_hopeless(self, name: str) -> bool:
        """Whether a model was tried in every combination, and none is right."""
        return len(self._cells(name)) == len(self.combinations) and self.use(name) is None

    def text(self) -> str:
        """What to use for a model that is not in the table."""
        cells = [model["cells"].get(str(self.best)) for model in self.record["models"].values()]
        tried = [cell for cell in cells if cell]
        right = sum(cell["verdict"] == "same" for cell in tried)
        text = f"With OpenCV {self.opencv}, use **{short(self.best)}**: right for {right} of"
        text += f" {len(tried)} models."
        hopeless = [name for name in self.record["models"] if self.is_hopeless(name)]
        if hopeless:
            text += f" No combination is right for {', '.join(hopeless)}."
        return text

    def _cells(self, name: str) -> dict[Combination, Figures]:
        cells = self.record["models"][name]["cells"]
        return {one: cells[str(one)] for one in self.combinations if str(one) in cells}


def advise(record: Record) -> Advice:
    """Derive the advice from a record."""
    models, labels = defaultdict(set), defaultdict(Counter)
    for (name, combination), label in labels_of(record).items():
        models[combination.opencv].add(name)
        labels[combination][label] += 1
    opencv = max(opencv_versions_of(record), key=lambda version: len(models[version]))
    combinations = tuple(one for one in combinations_of(record) if one.opencv == opencv)

    def right(combination: Combination) -> tuple[int, int]:
        count = labels[combination]
        return count["same"] + count["same (fixed)"], count["same"]

    return Advice(record, opencv, combinations, max(combinations, key=right))


def short(combination: Combination) -> str:
    """A combination's name without the version of OpenCV."""
    return str(combination).removesuffix(f" {combination.opencv}")


def upgrades(record: Record) -> list[tuple[str, list[str]]]:
    """What an upgrade from each older version of OpenCV to the newest breaks and cures: a title and
    lines for each older version and engine of the newest.

    An engine is compared with the same engine of the older version, or with its only one.
    """
    newest, *older = opencv_versions_of(record)
    found = []
    for old in older:
        known = engines_of(record, old)
        for engine in engines_of(record, newest):
            before = engine if engine in known else known[0] if len(known) == 1 else None
            if before is None:
                continue
            title = f"From OpenCV {old} to {newest}, engine {engine}"
            title += f" in place of {before}" if engine != before else ""
            lines, _ = changes(_labels(record, old, before), _labels(record, newest, engine))
            changed = [line for line in lines if not line.startswith(("only", "new"))]
            found.append((title, changed))
    return found


def engines_of(record: Record, opencv: str) -> list[str]:
    return sorted({one.engine for one in combinations_of(record) if one.opencv == opencv})


def _labels(record: Record, opencv: str, engine: str) -> dict[tuple[str, str], str]:
    """The labels of a version's engine, by model and exporter."""
    return {
        (model, f"{one.exporter} {one.opset}"): label
        for (model, one), label in labels_of(record).items()
        if (one.opencv, one.engine) == (opencv, engine)
    }
