"""Where the files of a model and a dataset are: stages and users' scripts rely on these names."""

from pathlib import Path

README = Path("README.md")
FINGERPRINTS = Path("data/fingerprints")  # what results depend on besides data and params
SETTINGS = Path("data/settings")
VEGA = Path("data/vega/bundle.js")  # the library of the report's charts
REPORT = Path("plots/report.html")
GATE = Path("metrics/gate.json")  # the verdict of each model
OVERVIEW = Path("metrics/overview.json")  # the figures that are compared between runs
QUICK = Path("data/quick")  # where `make QUICK=1` works
OPENCV_CPP = Path("data/opencv-cpp")  # where `make opencv-cpp` builds


def dataset_path(dataset: str) -> Path:
    """The list of a dataset's images with their targets, and its classes."""
    return Path("data") / dataset / "dataset.json"


def weights_path(model: str) -> Path:
    """The state dict of a model."""
    return Path("models") / model / "weights.pth"


def settings_path(model: str, section: str) -> Path:
    """The settings of a section that hold for a model."""
    return SETTINGS / model / f"{section}.json"


def source_path(model: str) -> Path:
    """The files that the weights come from, and the accuracy published with them."""
    return Path("models") / model / "source.json"


def onnx_path(model: str) -> Path:
    """The converted model."""
    return Path("models") / model / "model.onnx"


def mended_path(model: str) -> Path:
    """The file that OpenCV reads: the converted model, mended where `mend` says so."""
    return Path("models") / model / "mended.onnx"


def mending_path(model: str) -> Path:
    """How that file was mended, with the proof."""
    return Path("models") / model / "mending.json"


def bundle_path(model: str) -> Path:
    """The model packed for the device, a folder; a zip file of the same name lies beside it."""
    return Path("models") / model / "bundle"


def prediction_folder(model: str, backend: str) -> Path:
    """The predictions of a model in one backend."""
    return Path("data/predictions") / model / backend


def unfinished_folder(model: str, backend: str) -> Path:
    """The predictions of an interrupted run, from which the next one resumes."""
    return Path("data/unfinished") / model / backend


def transform_folder(profile: str) -> Path:
    """The size, mean and std of a preprocessing profile."""
    return Path("data/transforms") / profile


def profile_folder(profile: str) -> Path:
    """The images that a profile preprocessed."""
    return Path("data/preprocessed") / profile


def metrics_path(model: str) -> Path:
    """The accuracy and parity of a model."""
    return Path("metrics") / f"{model}.json"


def benchmark_path(model: str) -> Path:
    """The times of a model."""
    return Path("metrics/benchmark") / f"{model}.json"


def stability_path(model: str) -> Path:
    """Whether OpenCV gives the same outputs in every process."""
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


def rounds_path(model: str) -> Path:
    """The time of each round of a model's benchmark: lists of ms by backend."""
    return Path("data/rounds") / f"{model}.json"


def details_path(model: str) -> Path:
    """What the report shows of a model beyond its results."""
    return Path("data/details") / f"{model}.json"


def plot_folder(model: str) -> Path:
    """The pictures of a model."""
    return Path("plots/models") / model


def locate_path(model: str) -> Path:
    """The chart of a model's error by depth."""
    return Path("plots/locate") / f"{model}.png"


def depth_path(model: str) -> Path:
    """The fault of a model and the data of that chart."""
    return Path("plots/locate") / f"{model}.json"


def plot_data_folder(model: str) -> Path:
    """The data behind a model's pictures."""
    return Path("plots/data") / model


def reproducer_folder(model: str) -> Path:
    """The smallest graph that still shows OpenCV's fault with a model, and its report."""
    return Path("reproducers") / model


def devices_path(model: str) -> Path:
    """The reports of the devices on which a model's bundle was verified, side by side."""
    return Path("data/devices") / f"{model}.json"


def finding_files(model: str) -> tuple[Path, Path, Path]:
    """The files that `make locate` and `make reproducer` leave about a model's fault, for the
    report: the error by depth, the bug report, the smallest graph."""
    folder = reproducer_folder(model)
    return depth_path(model), folder / "REPORT.md", folder / "model.onnx"
