"""Where the files of a model lie: the contract that the stages and other scripts rely on."""

from pathlib import Path

README = Path("README.md")
FINGERPRINTS = Path("data/fingerprints")  # what results depend on besides data and params


def dataset_path(dataset: str) -> Path:
    """What `fetch` found: every image of a dataset with its target, and the classes."""
    return Path("data") / dataset / "dataset.json"


def weights_path(model: str) -> Path:
    """The state dict of a model."""
    return Path("models") / model / "weights.pth"


def source_path(model: str) -> Path:
    """The files that the weights were read from, and the accuracy that was published with them."""
    return Path("models") / model / "source.json"


def onnx_path(model: str) -> Path:
    """The converted model."""
    return Path("models") / model / "model.onnx"


def prediction_folder(model: str, backend: str) -> Path:
    """What a model predicts in one backend."""
    return Path("data/predictions") / model / backend


def unfinished_folder(model: str, backend: str) -> Path:
    """The same, as far as an interrupted run came."""
    return Path("data/unfinished") / model / backend


def transform_folder(profile: str) -> Path:
    """What a profile means: its size, mean and std."""
    return Path("data/transforms") / profile


def profile_folder(profile: str) -> Path:
    """The preprocessed images of a profile."""
    return Path("data/preprocessed") / profile


def metrics_path(model: str) -> Path:
    """Accuracy and parity of a model."""
    return Path("metrics") / f"{model}.json"


def benchmark_path(model: str) -> Path:
    """The times of a model."""
    return Path("metrics/benchmark") / f"{model}.json"


def stability_path(model: str) -> Path:
    """Whether OpenCV's answers are the same in every process."""
    return Path("metrics/stability") / f"{model}.json"


def log_path(model: str) -> Path:
    """The evaluation of a model, batch by batch."""
    return Path("metrics/logs") / f"{model}.log"


def confusion_path(model: str) -> Path:
    """The confusion matrix of each backend."""
    return Path("data/evaluation") / model / "confusion.npz"


def results_path(model: str) -> Path:
    """All results of a model, in one file."""
    return Path("data/results") / f"{model}.json"


def plot_folder(model: str) -> Path:
    """The pictures of a model."""
    return Path("plots/models") / model


def locate_path(model: str) -> Path:
    """The picture of a model's error by depth."""
    return Path("plots/locate") / f"{model}.png"


def plot_data_folder(model: str) -> Path:
    """The data behind a model's pictures."""
    return Path("plots/data") / model


def reproducer_folder(model: str) -> Path:
    """The smallest graph that shows what OpenCV does wrong with a model, and the report of it."""
    return Path("reproducers") / model
