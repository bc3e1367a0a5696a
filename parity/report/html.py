"""Templates to one page of HTML that loads nothing and runs only its own scripts.

Everything that a template prints is made `readable`, then escaped by autoescape, JSON by `tojson`.
The page's Content Security Policy lets the browser run the scripts named by their hash and nothing
else, and load no file but the pictures inside.
"""

from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from parity.core.files import write_text
from parity.core.fingerprints import ROOT
from parity.evaluation.charts import truncate

TEMPLATES = "parity/report/templates"
LONGEST_NAME = 80  # characters
# Not printable, but part of words in Persian and Hindi, and of emoji.
JOINERS = "\u200c\u200d"


def write_page(path: Path, template: str, scripts: Sequence[str], **content: object) -> None:
    """Fill a template and write the page. `scripts` are sources in JavaScript, run in this order.

    Raises ValueError for a script that would end its own element.
    """
    for script in scripts:
        if "</script" in script.lower() or "<!--" in script:
            raise ValueError("found the end of a script or a comment in a script")
    hashes = [b64encode(sha256(script.encode()).digest()).decode() for script in scripts]
    environment = Environment(
        loader=FileSystemLoader(ROOT / TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: readable(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "sort_keys": True}
    environment.filters["short"] = lambda text: truncate(readable(text), LONGEST_NAME)
    text = environment.get_template(template).render(
        **content,
        style=Markup(source("style.css")),
        scripts=[Markup(script) for script in scripts],
        policy="; ".join(
            [
                "default-src 'none'",
                "img-src data:",
                "style-src 'unsafe-inline'",
                "script-src " + " ".join(f"'sha256-{one}'" for one in hashes),
            ]
        ),
    )
    write_text(path, text)


def readable(text: str) -> str:
    """Write what is not printable as an escape, less line breaks: a control character, a separator
    of paragraphs or an override of the direction would change how the text around it reads, and
    half of a surrogate pair has no bytes in UTF-8."""
    return "".join(
        one if one.isprintable() or one == "\n" or one in JOINERS else ascii(one)[1:-1]
        for one in text
    )


def source(name: str) -> str:
    """The text of a file beside the templates."""
    return (ROOT / TEMPLATES / name).read_text(encoding="utf-8")
