"""The charts of a page, as specifications of Vega-Lite and drawn for readers without JavaScript.

Every name of a field is a constant and every text of others' is data: a name with a quote or a
bracket cannot change what a specification means.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

import vl_convert
from markupsafe import Markup

from parity.backends.contract import LABELS
from parity.core.markdown import difference_text
from parity.evaluation.charts import COLORS, PAIR_LOOKS
from parity.evaluation.results import Results, is_number
from parity.evaluation.verdict import Verdict

WIDTH, ROW, BOX = 640, 36, 8  # pixels; of a model's row and of a box in it
LIMIT_COLOR = "#d9363e"  # readable on light and dark
LOWEST = 1e-9  # where a difference of 0 is drawn
NAME_LIMIT = 190  # pixels
SHAPES = {"o": "circle", "s": "square", "D": "diamond"}  # of Matplotlib's markers
CONFIG = {
    "background": None,
    "view": {"stroke": None},
    "axis": {"labelFontSize": 12, "titleFontSize": 12, "labelLimit": NAME_LIMIT, "tickCount": 6},
    "legend": {"orient": "bottom", "labelFontSize": 12, "title": None, "labelLimit": 260},
    "font": "system-ui, sans-serif",
}


@dataclass(frozen=True)
class Chart:
    """A chart with its title and, in words, what it shows."""

    title: str
    description: str
    spec: dict

    @property
    def drawing(self) -> Markup:
        """The chart as SVG; Vega escapes the texts in it."""
        return Markup(vl_convert.vegalite_to_svg(self.spec))


def parity_chart(models: Sequence[Results], verdicts: Mapping[str, Verdict]) -> Chart:
    """Draw the rel of each model and pair, with the gate's limit."""
    points, limits = [], []
    for results in models:
        for pair, parity in results.parity.items():
            rel = parity.rel if is_number(parity.rel) else None
            label, _, _ = PAIR_LOOKS[pair]
            points.append({"model": results.model, "kind": label, "value": rel})
        limits.append({"model": results.model, "value": verdicts[results.model].limits.rel})
    high = 10 * max(one["value"] or 0 for one in (*points, *limits))
    low = max(LOWEST, min([one["value"] for one in points if one["value"]], default=LOWEST) / 10)
    for point in points:
        rel = point["value"]
        point["text"] = "not a number" if rel is None else difference_text(rel)
        point["value"] = high if rel is None else max(rel, low)
    looks = {label: (color, SHAPES[marker]) for label, color, marker in PAIR_LOOKS.values()}
    tick = {"type": "tick", "color": LIMIT_COLOR, "thickness": 2.5, "size": ROW * 0.8}
    layers = [
        {
            "data": {"values": limits},
            "mark": tick,
            "encoding": {"x": _log("value", "rel", (low, high), ".0e"), "y": _rows(), **_tips()},
        },
        _points(points, looks, _log("value", "rel", (low, high), ".0e")),
    ]
    return Chart(
        "How far the outputs are apart",
        "The largest difference of two backends' logits, over the largest logit. The red bar is the"
        " gate's limit.",
        _layered(layers, len(models)),
    )


def times_chart(rounds: Mapping[str, Mapping[str, Sequence[float]]]) -> Chart | None:
    """Draw a box for the ms of all rounds, by model and backend; None without any."""
    values = [
        {"model": model, "kind": LABELS[backend], "value": ms}
        for model, backends in rounds.items()
        for backend, times in backends.items()
        for ms in times
    ]
    if not values:
        return None
    ms = [one["value"] for one in values]
    looks = {LABELS[backend]: (color, "circle") for backend, color in COLORS.items()}
    boxes = _points(values, looks, _log("value", "ms", (min(ms) / 1.5, 1.5 * max(ms)), "~g"))
    boxes["mark"] = {"type": "boxplot", "extent": "min-max", "size": BOX}
    boxes["mark"] |= {"median": {"color": "white"}}
    # A box computes its own words, and has no shape.
    boxes["encoding"] = {
        key: one for key, one in boxes["encoding"].items() if key not in ("shape", "tooltip")
    }
    return Chart(
        "Time of a forward pass",
        "The box holds the middle half of all rounds, the white line in it is their median, and the"
        " lines end at the fastest and the slowest round.",
        _layered([boxes], len({one["model"] for one in values})),
    )


def depth_chart(points: Sequence[dict]) -> Chart:
    """Draw the relative error of each measured tensor along the network.

    A point has `place`, `tensor`, `node`, `op_type`, `module`, `rel`, None where there is nothing
    to compare, `limit` and `found` in words.
    """
    finite = [one["rel"] for one in points if one["rel"] and isfinite(one["rel"])]
    limits = [one["limit"] for one in points]
    low, high = max(LOWEST, min(finite + limits) / 10), 100 * max(finite + limits)
    kinds = {True: "beyond the limit", False: "within the limit"}
    values = [
        one
        | {
            "kind": kinds[one["rel"] is None or one["rel"] > one["limit"]],
            "value": high if one["rel"] is None else max(one["rel"], low),
        }
        for one in points
    ]
    colors = {kinds[False]: (COLORS["opencv"], "circle"), kinds[True]: (LIMIT_COLOR, "triangle-up")}
    place = {
        "field": "place",
        "type": "quantitative",
        "title": "tensor, in topological order",
        "axis": {"grid": False, "format": "d", "tickMinStep": 1},
    }
    axis = _log("value", "relative error", (low, high), ".0e")
    line = {"type": "line", "interpolate": "step", "strokeDash": [4, 3], "color": "#888888"}
    names = ("tensor", "node", "op_type", "module", "found", "limit")
    dots = {
        "data": {"values": values},
        "mark": {"type": "point", "filled": True, "size": 55, "opacity": 1},
        "encoding": {
            "x": place,
            "y": axis,
            "color": _scale("kind", colors, 0),
            "shape": _scale("kind", colors, 1),
            "tooltip": [{"field": name, "type": "nominal"} for name in names],
        },
    }
    limit = _log("limit", "relative error", (low, high), ".0e")
    layers = [
        {"data": {"values": points}, "mark": line, "encoding": {"x": place, "y": limit}},
        dots,
    ]
    return Chart(
        "The error by depth",
        "The relative error of each measured tensor along the network. The dashed line is what"
        " rounding may explain.",
        _layered(layers, 8),
    )


def _points(values: list[dict], looks: Mapping[str, tuple[str, str]], axis: dict) -> dict:
    """A point for each value, a row for each model, a colour and a shape for each kind."""
    present = {one["kind"] for one in values}
    shown = {kind: look for kind, look in looks.items() if kind in present}
    return {
        "data": {"values": values},
        "mark": {"type": "point", "filled": True, "size": 70, "opacity": 1},
        "encoding": {
            "x": axis,
            "y": _rows(),
            "yOffset": {"field": "kind", "type": "nominal", "sort": list(shown)},
            "color": _scale("kind", shown, 0),
            "shape": _scale("kind", shown, 1),
            **_tips("kind", "text"),
        },
    }


def _rows() -> dict:
    """The y axis: the models in the order of the data."""
    axis = {"title": None, "domain": False, "ticks": False, "grid": True}
    return {"field": "model", "type": "nominal", "sort": None, "axis": axis}


def _log(field: str, title: str, domain: tuple[float, float], pattern: str) -> dict:
    return {
        "field": field,
        "type": "quantitative",
        "title": title,
        "scale": {"type": "log", "domain": list(domain), "nice": False, "clamp": True},
        "axis": {"format": pattern, "labelOverlap": True},
    }


def _scale(field: str, looks: Mapping[str, tuple[str, str]], part: int) -> dict:
    scale = {"domain": list(looks), "range": [look[part] for look in looks.values()]}
    return {"field": field, "type": "nominal", "scale": scale}


def _tips(*fields: str) -> dict:
    names = ("model", *fields) if fields else ("model", "value")
    return {"tooltip": [{"field": name, "type": "nominal"} for name in names]}


def _layered(layers: list[dict], rows: int) -> dict:
    return {
        "width": WIDTH,
        "height": max(60, ROW * rows),
        "autosize": {"type": "fit-x", "contains": "padding"},
        "config": CONFIG,
        "layer": layers,
    }
