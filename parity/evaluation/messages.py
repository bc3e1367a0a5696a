"""What went wrong with a model in a backend, in words, from the content of the results' files."""

from parity.backends.contract import LABELS

LONGEST = 120  # characters of the message of one run among others


def nonfinite_text(backend: str, images: int) -> str:
    return f"{LABELS[backend]}: NaN or infinity in the outputs of {_count(images, 'image')}"


def stability_text(stability: dict) -> str:
    """Of a model's metrics/stability file."""
    runs = stability["runs"]
    if stability["stable"]:
        return f"OpenCV is stable: the same bits in {len(runs) + 1} runs ({stability['method']})"
    if stability["stable"] is None:
        return "OpenCV never ran, so nothing is known of its stability"
    return f"OpenCV is unstable: {'; '.join(map(_run_text, _different(runs)))}"


def _different(runs: list[dict]) -> list[dict]:
    return [one for one in runs if not one["same"]]


def _run_text(one: dict) -> str:
    if one["failure"]:
        return (
            f"{one['name']} failed ({one['failure']['kind']}: {_short(one['failure']['message'])})"
        )
    rel = "not a number" if one["rel"] is None else f"{one['rel']:.1e}"
    return f"{one['name']} differs (rel {rel})"


def _short(message: str) -> str:
    """The end of a message, where OpenCV's reason is; the files have all of it."""
    line = " ".join(message.split())
    return line if len(line) <= LONGEST else f"... {line[-LONGEST:]}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
