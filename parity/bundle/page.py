"""The README.md of a bundle: one page for whoever unpacks it on the device."""

from parity.bundle.content import DECODING, PREPROCESSING, Content

PYTHON_RUN = "python run_onnx.py --model model.onnx --input photo.jpg"
CPP = """
In C++, with OpenCV alone:

```sh
cmake -B build && cmake --build build
build/run_onnx --verify --bundle . --report device.json
```
"""


def page(content: Content, with_cpp: bool) -> str:
    """Return the page; `with_cpp` says that the bundle has the runner in C++."""
    state = f"It passed: OpenCV's answers are those of {content.reference}."
    if content.forced:
        state = f"**This model did not pass: {content.verdict}.** It was bundled all the same."
    run = PYTHON_RUN
    if not content.preprocess:  # the metadata do not say it
        run += f" \\\n    --task {content.task} --classes labels.txt \\\n    {content.flags}"
    images = len(content.examples)
    return f"""# {content.model}, for the device

A {content.task} model of {len(content.classes)} classes as an ONNX file, with what proves it on
this machine. {state}

## Verify it

With OpenCV (4.6 or later) and NumPy, in this folder:

```sh
python run_onnx.py --verify --report device.json
```
{CPP if with_cpp else ""}
It ends with exit code 0 if every step passes, 1 if one fails, 2 if the bundle or OpenCV cannot do
it. Send `device.json` home: `python -m tools.device_report device.json` puts devices side by side.

| step | compares | limit |
| --- | --- | --- |
| files | every file with `SHA256SUMS` | the same |
| decoding | the pixels of {images} images with `pixels/` | {DECODING} of 255 levels |
| preprocessing | the blobs made of `pixels/` with `blobs/` | {PREPROCESSING} of 255 levels |
| network | the answers to `blobs/` with `logits/`, by {content.reference} | \
{content.rel:g} of the largest, {content.agreement:g} % the same class |
| chain | the answers to the image files with those of `logits/` | the same class |

The first step that fails is the one to look at: another decoder, another resize, or an engine that
computes something else.

## Run it

```sh
{run}
```

## What is in it

| file | holds |
| --- | --- |
| `model.onnx` | the model |
| `preprocessing.json` | how an image becomes its input |
| `labels.txt` | the classes, in the order of their ids |
| `run_onnx.py` | runs and verifies it; needs OpenCV and NumPy alone |
| `images/`, `pixels/` | {images} evaluated images, and their pixels |
| `blobs/`, `logits/` | the model's inputs made of them, and its outputs |
| `verify.json`, `SHA256SUMS` | what is compared, by which limits; the hashes of all files |
| `models.yml` | an entry for OpenCV's own samples |
"""
