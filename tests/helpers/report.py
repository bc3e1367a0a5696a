"""The files that the report of a run is written from, for models of every verdict."""

import json
from pathlib import Path

import numpy as np
import onnx

from helpers.faulty import FAULTS, network
from helpers.images import noise
from helpers.params import changed, write_params
from helpers.results import ENGINE, SUM, every_pair, faithful, without
from parity.core.files import write_json
from parity.core.params import load_params
from parity.core.paths import REPORT, VEGA, depth_path, devices_path, reproducer_folder, rounds_path
from parity.evaluation.results import Results, write_results
from parity.report.details import ClassRow, Details, write_details
from parity.report.examples import Answer, Example, Examples
from parity.report.page import write_report
from parity.report.pictures import mask_uri, photo_uri
from stages import gate

# What could become markup, a script, or another order of the text around it.
HOSTILE = (
    "<script>window.pwned = 1</script>",
    "</script><script>window.pwned = 1</script>",
    '"><img src=x onerror="window.pwned = 1">',
    "' onmouseover='window.pwned = 1",
    "<!-- ]]> {{ 7 * 7 }} {% raw %} &lt;b&gt;",
    "\u2028\u2029window.pwned = 1",
    "\u202egnp.exe \u05d0\u05d1\u05d2",
    "a" * 500,
)
ALL = " ".join(HOSTILE)
COLORS = np.zeros((256, 3), np.uint8)
COLORS[1], COLORS[2] = (128, 0, 0), (0, 128, 0)
BACKENDS = ("pytorch", "onnxruntime", "opencv")
ROUNDS = {backend: (3.0, 4.0, 5.5) for backend in BACKENDS}


def write_run(library: str = "") -> Path:
    """Write a report of five models in the current folder: two right ones, one that OpenCV refuses,
    one whose fault is located, one that shows nothing. The names, messages and classes in it are
    hostile. `library` is the script of the charts."""
    models = [
        faithful(model="net"),
        faithful(model="masks", task="segmentation"),
        without("opencv", message=ALL, model="refused"),
        faithful(
            {"opencv": 57.0},
            {SUM: {"rel": 1.0, "agreement": 20.0}, ENGINE: {"rel": 1.0, "agreement": 20.0}},
            model="mobilenet_v3_small",
        ),
        faithful(parity=every_pair(spread=1e-5), model="vacuous"),
    ]
    write_entries(models)
    for results in models:
        write_results(results)
        write_details(results.model, made_details(results))
        rounds = {one: ROUNDS[one] for one in results.benchmark.timings}
        write_json(rounds_path(results.model), rounds)
    header = ["device", "OpenCV", "network", "ms"]
    devices = {"header": header, "rows": [[one, ALL, "pass", "3.1"] for one in HOSTILE]}
    devices |= {"failures": [ALL], "date": "2026-01-31", "md5": None}
    write_json(devices_path("net"), devices)
    gate.record_verdicts(is_quick=False)
    write_fault("mobilenet_v3_small")
    VEGA.parent.mkdir(parents=True)
    VEGA.write_text(library)
    write_report(load_params())
    return REPORT


def write_entries(models: list[Results]) -> None:
    entry = changed({})["models"]["squeezenet1_1"]
    profiles = {"classification": "imagenet", "segmentation": "voc"}
    write_params(
        Path(),
        {
            "models": {
                one.model: entry | {"task": one.task, "preprocess": profiles[one.task]}
                for one in models
            }
        },
    )


def made_details(results: Results) -> Details:
    """Examples of a model: with a hostile name each, or two masks that differ."""
    if "opencv" not in results.scores:
        return Details(1.0, "--rgb", 3, (), Examples(10, 0, ()))
    figures = dict.fromkeys(results.scores, 3.0)
    if results.task == "segmentation":
        rows = tuple(ClassRow(text, None, figures) for text in HOSTILE)
        legend = ((ALL, "#800000"), ("dog", "#008000"))
        return Details(12.3, "--rgb", 9, rows, Examples(5, 2, (masks(),), legend))
    rows = tuple(ClassRow(text, "dog", figures) for text in HOSTILE)
    chosen = tuple(example(text, number) for number, text in enumerate(HOSTILE))
    return Details(12.3, "--rgb", 10, rows, Examples(100, 1, chosen))


def example(text: str, number: int) -> Example:
    answers = tuple(Answer(backend, text, 0.5) for backend in BACKENDS)
    picture = photo_uri(noise(32, 32, number))
    return Example(text, picture, text, answers, "" if number else text, {}, None)


def masks() -> Example:
    """An image whose mask is class 1 on the left in PyTorch and class 2 in OpenCV."""
    image, mask = noise(90, 120), np.zeros((90, 120), np.uint8)
    mask[20:70, 20:100] = 1
    uris = {
        "pytorch": mask_uri(mask, COLORS),
        "opencv": mask_uri((2 * mask).astype(np.uint8), COLORS),
    }
    answers = tuple(Answer(backend, "90 % right", 0.01) for backend in uris)
    return Example(ALL, photo_uri(image), "", answers, "4,000 pixels", uris, photo_uri(image))


def write_fault(model: str) -> None:
    """Write what `make locate` and `make reproducer` leave."""
    names = ["conv", ALL, "pool", "output"]
    points = [
        {
            "place": place,
            "tensor": name,
            "node": name,
            "op_type": "Conv",
            "module": f"features.{place}",
            "rel": (1e-7, 2e-7, None, 0.5)[place],
            "limit": 1e-5,
            "found": "another shape" if place == 2 else "rel",
        }
        for place, name in enumerate(names)
    ]
    fault = {"node": "pool", "op_type": "AveragePool", "module": ALL, "owner": "engine"}
    path = depth_path(model)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"fault": fault | {"evidence": ALL}, "points": points}))
    folder = reproducer_folder(model)
    folder.mkdir(parents=True)
    report = f"# DNN, new engine: {HOSTILE[0]}\n\n### Workarounds\n\n| change |\n{ALL}\n"
    (folder / "REPORT.md").write_text(report)
    small = network()
    FAULTS["perturbed weight"][0](small)
    small.graph.node[0].name = ALL
    onnx.save(small, folder / "model.onnx")
