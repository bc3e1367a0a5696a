"""OpenCV's error messages in a few words, the same for a cause whatever the tensors are called."""

import re

LONGEST = 110  # characters of a reason

# Patterns of a message, and what each means; `\1` is what the pattern's group found.
KNOWN = (
    (r"blob data type = (\w+) is not supported", r"OpenCV's binding takes no \1"),
    (r"Can't create layer \".*?\" of type \"([\w.]+)\"", r"no layer for \1"),
    (r"Unsupported operations:\s+(\w+(?:\s+\w+)*)", r"no layer for \1"),
    (r"[Uu]nsupported data ?type: (?!UNDEFINED)([A-Z0-9]{2,})", r"reads no \1 from a file"),
    (r"[Uu]nsupported data ?type", r"reads no such type from a file"),
    (r"Blob \S+ not found in const blobs", r"an input must be a constant of the file"),
    (r"constBlobs", r"an input must be a constant of the file"),
    (r"Attribute\[(\w+)\]: 'Graph' is not supported", r"no subgraphs (attribute \1)"),
    (r"out of memory", r"out of memory"),
    (r"its network is empty", r"an empty network, without a reason"),
)
NOT_TAKEN = re.compile(KNOWN[0][0])
INNERMOST = re.compile(r"(\w+\.[ch]pp):\d+: error: \((-\d+):([^)]*)\) (.*)", re.DOTALL)
QUOTE = re.compile(r"(?:^|(?<=\s))>(?=\s|$)")  # before the lines of a message
FUNCTION = re.compile(r"(.*?)\s*in function '(.*?)'(?=\s|$)(.*)", re.DOTALL)


def reason_of(message: str) -> str:
    """Return an error message of OpenCV in at most LONGEST characters."""
    for pattern, words in KNOWN:
        if found := re.search(pattern, message):
            return _short(found.expand(words))
    message = message.partition("\n")[0]  # without what OpenCV printed beside it
    start = message.rfind("OpenCV(")
    found = INNERMOST.search(message, max(start, 0))
    if not found:
        return _short(message)
    file, _, kind, text = found.groups()
    if inside := FUNCTION.match(text):
        text = inside[1] or inside[3]
    text = re.sub(r'"[^"]*"', "…", " ".join(QUOTE.sub(" ", text).split()))
    if kind == "Assertion failed":
        return _short(f"assertion in {file}: {text}")
    return _short(f"{file}: {text}" if text else f"{file}: {kind.lower()}")


def is_not_taken(message: str) -> bool:
    """Whether OpenCV's Python binding refused an input for its type."""
    return NOT_TAKEN.search(message) is not None


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
