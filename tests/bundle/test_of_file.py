import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers.bundles import NAMES, WEIGHTS, tiny_content
from helpers.images import write_image
from helpers.onnx_files import add_external_tensor, write_two_outputs
from helpers.params import write_params
from helpers.refusals import refused
from helpers.standalone import write_model

from parity.bundle.content import Content
from parity.bundle.of_file import Given, content_of_file
from parity.core.params import load_params

NOTHING = Given("", "", "")


@pytest.fixture
def photos(project) -> Path:
    """Three images in a folder; the current folder has params.yaml and tiny.onnx with metadata."""
    content = tiny_content(project / "of")
    shutil.copy(content.onnx, "tiny.onnx")
    for example in content.examples:
        shutil.copy(
            example.file, write_image(project / "photos/x.png").with_name(example.file.name)
        )
    Path("photos/x.png").unlink()
    Path("photos/notes.txt").write_text("no image")
    return project / "photos"


def of_file(path: str, *inputs: Path, images: int = 4, given: Given = NOTHING) -> Content:
    return content_of_file(Path(path), load_params(), inputs, images, given)


def test_the_metadata_say_all_and_onnx_runtime_is_the_reference(project, photos):
    expected = tiny_content(project / "of")
    content = of_file("tiny.onnx", photos)
    assert content.flags == expected.flags and content.preprocess == expected.preprocess
    assert content.classes == NAMES and content.task == "classification"
    assert content.reference.startswith("onnxruntime 1.")
    assert (content.rel, content.agreement) == (1e-4, 99.9)
    assert [one.file.name for one in content.examples] == [f"photo {n}.JPEG" for n in range(3)]
    for one, other in zip(content.examples, expected.examples, strict=True):
        for name in ("pixels", "blob", "logits"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_flags_say_what_the_metadata_do_not(photos):
    write_model("bare.onnx", "segmentation", WEIGHTS, metadata={"task": ""})
    Path("names.txt").write_text("nothing 0 0 0\nred apple 255 0 0\ngreen 0 255 0\nblue 0 0 255\n")
    given = Given("segmentation", "names.txt", "--exif apply --scale 1 --mean 1 2 3")
    content = of_file("bare.onnx", photos, images=1, given=given)
    assert content.task == "segmentation" and content.preprocess == {}
    assert "--scale 1 --mean 1 2 3 " in content.flags and content.flags.endswith("--exif apply")
    assert content.classes == ["nothing", "red apple", "green", "blue"]
    assert len(content.examples) == 1


def test_classes_without_names_are_numbered(photos):
    write_model("bare.onnx", "classification", WEIGHTS)
    content = of_file("bare.onnx", *sorted(photos.glob("*.JPEG")), images=1)
    assert content.classes == ["class 0", "class 1", "class 2", "class 3"]


def test_external_data_belong_to_the_file(photos):
    add_external_tensor(Path("tiny.onnx"), "far.bin")
    content = of_file("tiny.onnx", photos, images=1)
    assert [file.name for file in content.data_files] == ["far.bin"]


def test_what_makes_no_bundle_is_refused(photos, capfd):
    with refused("--input: found no image in none; expected files or a folder"):
        of_file("tiny.onnx")
    with refused("--input: found no image in of_nothing"):
        Path("of_nothing").mkdir()
        of_file("tiny.onnx", Path("of_nothing"))
    with refused("two.onnx: found the outputs 0, aux; expected one"):
        of_file(str(write_two_outputs(Path("two.onnx"))), photos)
    model = onnx.load("tiny.onnx")
    del model.metadata_props[:]
    onnx.save(model, "bare.onnx")
    with pytest.raises(SystemExit) as end:  # run_onnx.py has said why
        of_file("bare.onnx", photos)
    assert end.value.code == 2
    assert "expected --task classification or segmentation" in capfd.readouterr().err


def test_the_limits_are_those_of_the_task(photos):
    limits = {"exactness": 10, "rel": 0.5, "rel_backstop": 1, "agreement": 1, "accuracy_loss": 1}
    write_params(photos.parent, {"gate.limits.classification": limits})
    content = of_file("tiny.onnx", photos, images=1)
    assert (content.rel, content.agreement) == (0.5, 1)
