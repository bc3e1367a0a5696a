from pathlib import Path

import numpy as np
import pytest
from helpers.images import write_image


@pytest.fixture
def imagenet(tmp_path) -> Path:
    """Three classes and two images, in the layout of the ImageNet validation set."""
    for name in ("a.png", "b.png"):
        write_image(tmp_path / "images" / name)
    (tmp_path / "classes.txt").write_text("cat\ndog\nbird\n")
    (tmp_path / "val.txt").write_text("a.png 0\nb.png 2\n")
    return tmp_path


@pytest.fixture
def voc(tmp_path) -> Path:
    """Two classes and two images, in the layout of Pascal VOC."""
    for name in ("a", "b"):
        write_image(tmp_path / f"JPEGImages/{name}.jpg")
        write_image(tmp_path / f"SegmentationClass/{name}.png", np.zeros((12, 16), np.uint8))
    (tmp_path / "classes.txt").write_text("background 0 0 0\npotted plant 0 64 0\n")
    lists = tmp_path / "ImageSets/Segmentation"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("a\nb\n")
    return tmp_path
