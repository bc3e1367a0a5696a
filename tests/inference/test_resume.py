"""An interrupted inference resumes; its results have the bytes of an uninterrupted run."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import numpy as np
import pytest
from helpers.checkout import ROOT, stage_process
from helpers.folders import file_contents
from helpers.params import MEAN, STD, write_params
from helpers.refusals import refused

from parity.core.paths import prediction_folder, unfinished_folder
from parity.inference import resume
from parity.inference.runner import predict
from parity.preprocessing.splits import Split, write_array, write_lines

pytestmark = pytest.mark.process

OUT = prediction_folder("squeezenet1_1", "onnxruntime")
FOLDER = unfinished_folder("squeezenet1_1", "onnxruntime")
NOTE = FOLDER / "progress.json"
TASKS = pytest.mark.parametrize(
    ("profile", "task"), [("imagenet", "classification"), ("voc", "segmentation")]
)


def run(
    split: Split,
    until: int = 99,
    depends: str = "",
    meanwhile: Callable[[], None] = lambda: None,
) -> list[int]:
    """Predict until interrupted in batch number `until`; return the sizes of the batches run."""
    seen = []

    def forward(blob: np.ndarray) -> np.ndarray:
        if len(seen) == until:
            raise KeyboardInterrupt
        seen.append(len(blob))
        meanwhile()
        # A model of three classes: the colours of an image, or of its pixels.
        return blob.mean(axis=(2, 3)) if split.task == "classification" else blob

    with suppress(KeyboardInterrupt), started(depends) as work:
        predict(lambda: forward, split, work, **options(split))
    return seen


def started(depends: str = "") -> AbstractContextManager[resume.Unfinished]:
    return resume.unfinished(OUT, FOLDER, {"all": depends})


def options(split: Split) -> dict:
    batch_size = 3 if split.task == "classification" else 1
    return {"classes": 3, "batch_size": batch_size, "keep_logits": 2, "mean": MEAN, "std": STD}


@pytest.fixture
def saves_each_batch(monkeypatch):
    """Save after each batch, even when saving takes longer than the batch."""
    monkeypatch.setattr(resume, "MAX_SAVING_SHARE", 1e9)


# In this process


@TASKS
def test_a_run_that_is_interrupted_twice_computes_each_batch_once(
    prepared, saves_each_batch, profile, task
):
    split = Split(profile, "val", task)
    whole = run(split)
    expected = file_contents(OUT)
    assert run(split, until=1) == whole[:1]
    assert run(split, until=1) == whole[1:2]
    assert file_contents(OUT) == expected, "earlier results stay until new ones are complete"
    assert run(split) == whole[2:]
    assert file_contents(OUT) == expected
    assert not (prepared / "data/unfinished").exists()


@TASKS
def test_results_after_the_note_are_computed_again(prepared, monkeypatch, profile, task):
    monkeypatch.setattr(resume, "MAX_SAVING_SHARE", 0)
    split = Split(profile, "val", task)
    whole = run(split)
    expected = file_contents(OUT)
    run(split, until=2)
    assert noted(NOTE) == whole[0], "noting the second batch too would take too much of the time"
    assert run(split) == whole[1:]
    assert file_contents(OUT) == expected


@TASKS
def test_other_inputs_start_over(prepared, saves_each_batch, capsys, profile, task):
    split = Split(profile, "val", task)
    run(split, until=2, depends="before")
    run(split, until=1, depends="after")
    assert "starting over; changed since: all" in capsys.readouterr().err
    assert run(split, until=0, depends="before") == []
    whole = run(split, depends="before")
    assert sum(whole) == len(split)


def test_a_finished_split_does_not_load_the_model(prepared, saves_each_batch):
    split = Split("imagenet", "val", "classification")
    for load in (lambda: lambda blob: blob.mean(axis=(2, 3)), None):
        with suppress(KeyboardInterrupt), started() as work:
            predict(load, split, work, **options(split))
            if load:
                raise KeyboardInterrupt
    assert np.load(OUT / "logits.npy").shape == (10, 3)


@TASKS
def test_removed_results_are_computed_again(prepared, saves_each_batch, profile, task):
    split = Split(profile, "val", task)
    whole = run(split)
    expected = file_contents(OUT)
    run(split, until=2)
    removed = next(path for path in sorted(FOLDER.rglob("*")) if path.suffix in (".npy", ".png"))
    removed.unlink()
    assert run(split) == whole
    assert file_contents(OUT) == expected


@TASKS
@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[: len(content) // 2],
        lambda content: content[:-2] + bytes([content[-2] ^ 1]) + content[-1:],
        lambda content: bytes(len(content)),
    ],
    ids=["empty", "cut off", "another bit", "zeros"],
)
def test_damaged_results_are_computed_again(
    prepared, saves_each_batch, capsys, profile, task, damage
):
    split = Split(profile, "val", task)
    whole = run(split)
    expected = file_contents(OUT)
    for name in sorted(str(path) for path in expected):
        run(split, until=2)
        path = next(iter(FOLDER.rglob(Path(name).name)), None)
        if path is None:
            continue  # of an image that is not done yet
        path.write_bytes(damage(path.read_bytes()))
        assert run(split) == whole
        assert "not as they were written; starting over" in capsys.readouterr().err
        assert file_contents(OUT) == expected


@pytest.mark.parametrize(
    "content",
    [
        *("", "{", "[]", "{}", "null", "[" * 100_000, "\0" * 500, "\xff"),
        '{"images": 3, "checksum": 1}',
        '{"images": "many", "checksum": 1, "depends": {}}',
        '{"images": 3, "checksum": null, "depends": {"all": ""}}',
        '{"images": 3, "checksum": 1, "depends": 7}',
    ],
)
def test_a_damaged_note_starts_over(prepared, saves_each_batch, capsys, content):
    split = Split("imagenet", "val", "classification")
    whole = run(split)
    expected = file_contents(OUT)
    run(split, until=2)
    NOTE.write_text(content, encoding="latin-1")
    assert run(split) == whole
    assert f"{NOTE}: damaged; it is made again" in capsys.readouterr().err
    assert file_contents(OUT) == expected
    assert not (prepared / "data/unfinished").exists()


@pytest.mark.parametrize("images", [-3, 0, 2, 1_000_000])
def test_a_note_of_other_images_starts_over(prepared, saves_each_batch, images):
    split = Split("imagenet", "val", "classification")
    whole = run(split)
    run(split, until=2)
    NOTE.write_text(json.dumps(json.loads(NOTE.read_text()) | {"images": images}))
    assert run(split) == whole


def test_saving_takes_at_most_its_share_of_the_time(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(resume.time, "perf_counter", lambda: now[0])

    def flush() -> int:
        now[0] += 1
        return 0

    noted = []
    monkeypatch.chdir(tmp_path)
    with suppress(KeyboardInterrupt), started() as work:
        for done in range(1, 1000):
            now[0] += 1
            work.save(done, flush)
            noted.append(work.done)
        raise KeyboardInterrupt
    assert noted[0] == 1
    assert 4 <= len(set(noted)) <= 6, "one second of 200"


def test_two_processes_do_not_work_in_one_folder(prepared):
    split = Split("imagenet", "val", "classification")

    def second() -> None:
        with refused(f"{FOLDER}: another process works in this folder"):
            run(split)

    run(split, meanwhile=second)
    assert np.load(OUT / "logits.npy").shape == (10, 3)


def test_nonfinite_images_are_remembered_over_an_interruption(prepared, saves_each_batch):
    split = Split("voc", "val", "segmentation")
    ran = []

    def forward(blob: np.ndarray) -> np.ndarray:
        ran.append(1)
        if len(ran) == 2:
            raise KeyboardInterrupt
        return np.where(len(ran) == 1, np.float32(np.inf), blob)

    for _ in range(2):
        with suppress(KeyboardInterrupt), started() as work:
            predict(lambda: forward, split, work, **options(split))
    assert np.load(OUT / "nonfinite.npy").tolist() == [True, False, False]


# Real processes


@pytest.fixture
def long(converted) -> Path:
    """A project with enough images, in batches of one, to kill a run before its end."""
    split = Split("imagenet", "val", "classification")
    images, labels = split.images(0, len(split)), split.labels()
    shift = np.arange(60, dtype=np.uint8)[:, None, None, None, None]
    write_array(split.folder / "images.npy", np.concatenate(images[None] + shift))
    write_array(split.folder / "labels.npy", np.tile(labels, 60))
    write_lines(split.folder / "names.txt", [f"image_{index}" for index in range(600)])
    write_params(converted, {"inference.batch_size.classification": 1})
    return converted


def finish(stage: str, cwd: Path) -> str:
    """Run a stage to its end; return its log."""
    process = stage_process(stage, "squeezenet1_1", cwd=cwd)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return err


def noted(note: Path) -> int:
    return json.loads(note.read_text())["images"] if note.exists() else 0


@pytest.mark.parametrize("backend", ["onnxruntime", "opencv"])
def test_a_stage_killed_twice_writes_the_bytes_of_an_uninterrupted_one(long, backend):
    stage, out = f"infer_{backend}", prediction_folder("squeezenet1_1", backend)
    note = unfinished_folder("squeezenet1_1", backend) / "progress.json"
    finish(stage, long)
    expected = file_contents(out)
    done = 0
    for end in (signal.SIGKILL, signal.SIGINT):
        process = stage_process(stage, "squeezenet1_1", cwd=long)
        while noted(note) == done:
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(end)
        process.communicate()
        assert process.returncode == {signal.SIGKILL: -signal.SIGKILL, signal.SIGINT: 130}[end]
        assert done < noted(note) < 600
        done = noted(note)
    log = finish(stage, long)
    assert f"resuming after {done} images" in log and f"{600 - done} of them now" in log
    assert file_contents(out) == expected
    assert not (long / "data/unfinished").exists()


# A full disk


def test_a_full_disk_is_named_and_finished_images_are_kept(long):
    finish("infer_onnxruntime", long)
    expected = file_contents(OUT)
    # Of the logits, 40 bytes an image, half fit.
    command = [sys.executable, "-m", "stages.infer_onnxruntime", "squeezenet1_1"]
    done = subprocess.run(
        ["bash", "-c", 'ulimit -f 12; exec "$@"', "bash", *command],
        cwd=long,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and done.stdout == ""
    line = done.stderr.splitlines()[-1]
    kept = noted(NOTE)
    assert line.startswith(f"error: {FOLDER}: file too large, ")
    needed = f"about {(600 - kept) * 40 / 1e6:.3f} MB needed"
    assert line.endswith(f"{needed} for {600 - kept} images; the other {kept} are kept")
    assert 0 < kept < 300 and file_contents(OUT) == expected
    assert f"resuming after {kept} images" in finish("infer_onnxruntime", long)
    assert file_contents(OUT) == expected


def test_no_space_for_a_mask_is_named_and_finished_images_are_kept(prepared, saves_each_batch):
    split = Split("voc", "val", "segmentation")
    run(split)
    expected = file_contents(OUT)
    run(split, until=1)
    full = FOLDER / "masks" / f"{split.names[1]}.png"
    full.symlink_to("/dev/full")
    with refused(
        f"{FOLDER}: no space left on device: ", "MB free, about ", "; the other 1 are kept"
    ):
        run(split)
    full.unlink()
    run(split)
    assert file_contents(OUT) == expected
