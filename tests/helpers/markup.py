"""The elements of a page, and that no text of others became one."""

from html.parser import HTMLParser


class Elements(HTMLParser):
    """The elements of a page with their attributes, and the texts outside of scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.lasttag != "script":
            self.texts.append(data)


def check_is_own(text: str, scripts: int) -> Elements:
    """Check that a page has so many scripts, and no element that runs or loads anything else."""
    elements = Elements(text)
    assert sum(tag == "script" for tag, _ in elements.found) == scripts
    for tag, attributes in elements.found:
        assert not [name for name in attributes if name.startswith("on")], tag
        assert not (attributes.get("href") or "").lower().startswith("javascript"), tag
        assert (attributes.get("src") or "data:").startswith("data:"), tag
    return elements
