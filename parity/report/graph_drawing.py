"""Draw a small ONNX graph: a box for each node, from the input at the top to the output."""

from pathlib import Path

from markupsafe import Markup

from parity.graphs.graph import input_names, load_model, node_inputs, output_names, producers

BOX_WIDTH, BOX_HEIGHT, GAP_X, GAP_Y = 168, 40, 24, 34  # pixels
BOW = 1.1 * BOX_WIDTH  # how far an edge that passes other boxes swings out
MOST_NODES = 60
LONGEST = 24  # characters in a box


def draw_graph(path: Path) -> Markup | None:
    """Return the graph of an ONNX file as SVG; None for one too large to read."""
    model = load_model(path)
    if len(model.graph.node) > MOST_NODES:
        return None
    made, inputs = producers(model), input_names(model)
    boxes = {name: ("input", name, 0) for name in inputs}  # by tensor: two lines, and the layer
    edges = []
    for number, node in enumerate(model.graph.node):
        sources = [name for name in node_inputs(node) if name in boxes]
        layer = 1 + max((boxes[name][2] for name in sources), default=0)
        key = next((name for name in node.output if name), f"node {number}")
        boxes[key] = (node.op_type, key, layer)
        edges += [(source, key) for source in sources]
        # A further output of the node is its box too.
        boxes |= {name: boxes[key] for name in node.output if name and name != key}
    for name in output_names(model):
        if name in made:
            layer = 1 + boxes[name][2]
            boxes[f"output {name}"] = ("output", name, layer)
            edges.append((name, f"output {name}"))
    return _svg(boxes, edges)


def _svg(boxes: dict[str, tuple[str, str, int]], edges: list[tuple[str, str]]) -> Markup:
    distinct = list(dict.fromkeys(boxes.values()))
    count = 1 + max((box[2] for box in distinct), default=0)
    layers = [[box for box in distinct if box[2] == layer] for layer in range(count)]
    width = max(map(len, layers)) * (BOX_WIDTH + GAP_X) + GAP_X + BOW
    height = count * (BOX_HEIGHT + GAP_Y)
    corners = {}
    for layer in layers:
        left = (width - len(layer) * (BOX_WIDTH + GAP_X) + GAP_X) / 2
        for number, box in enumerate(layer):
            corners[box] = (left + number * (BOX_WIDTH + GAP_X), box[2] * (BOX_HEIGHT + GAP_Y) + 8)
    lines = [_edge(corners[boxes[source]], corners[boxes[target]]) for source, target in edges]
    nodes = [_box(box[0], box[1], *corners[box]) for box in distinct]
    drawn = Markup("").join([*lines, *nodes])
    return Markup('<svg viewBox="0 0 {0} {1}" width="{0}" height="{1}">{2}</svg>').format(
        width, height, drawn
    )


def _edge(source: tuple[float, float], target: tuple[float, float]) -> Markup:
    (x1, y1), (x2, y2) = source, target
    x1, y1, x2 = x1 + BOX_WIDTH / 2, y1 + BOX_HEIGHT, x2 + BOX_WIDTH / 2
    bow = BOW if y2 - y1 > GAP_Y else 0
    path = f"M{x1:.0f},{y1:.0f} C{x1 + bow:.0f},{y1 + GAP_Y:.0f} {x2 + bow:.0f},{y2 - GAP_Y:.0f}"
    return Markup('<path class="edge" d="{} {:.0f},{:.0f}"/>').format(path, x2, y2)


def _box(kind: str, name: str, x: float, y: float) -> Markup:
    short = name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"
    middle = x + BOX_WIDTH / 2
    texts = [
        Markup('<text class="{}" x="{:.0f}" y="{:.0f}">{}</text>').format(
            look, middle, y + down, text
        )
        for look, down, text in (("kind", 17, kind), ("faint", 32, short))
    ]
    return Markup(
        '<g class="node"><title>{}: {}</title>'
        '<rect x="{:.0f}" y="{:.0f}" width="{}" height="{}" rx="6"/>{}</g>'
    ).format(kind, name, x, y, BOX_WIDTH, BOX_HEIGHT, Markup("").join(texts))
