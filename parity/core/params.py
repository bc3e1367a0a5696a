"""params.yaml as typed, validated values: the one reader that every stage uses."""

import reprlib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainValidator,
    StringConstraints,
    Tag,
    ValidationError,
)

from parity.core.cli import InputError
from parity.core.plain_yaml import read_yaml

PARAMS = Path("params.yaml")

Task = Literal["classification", "segmentation"]
# The name of an entry has no dot, which DVC takes for the next level of params.yaml.
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_-]*$", max_length=100)]
# The name of one of the dataset's lists, or the path of a list file.
ListName = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$|^\P{Cc}+\.txt$", max_length=1000),
]
# A function of an importable module: package.module:function.
Factory = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$", max_length=1000)
]
# A path or name: no file of the user's has a control character in it.
PRINTABLE = r"^\P{Cc}+$"
Text = Annotated[str, StringConstraints(pattern=PRINTABLE, min_length=1, max_length=1000)]
Count = Annotated[int, Field(ge=1)]


def _limit(value: object) -> object:
    if value == "all" or (type(value) is int and value >= 1):
        return value
    raise ValueError("`all` or an integer of at least 1")


# Validated by hand: pydantic would report each branch of a union on its own.
Limit = Annotated[int | Literal["all"], PlainValidator(_limit)]
Threads = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(gt=0, le=86400)]  # at most a day, which every wait accepts
Pixels = Annotated[int, Field(ge=1, le=16384)]
Mean = Annotated[list[Annotated[float, Field(ge=0, le=1)]], Field(min_length=3, max_length=3)]
Std = Annotated[list[Annotated[float, Field(gt=0, le=1)]], Field(min_length=3, max_length=3)]
OnCorrupt = Literal["fail", "skip"]
Exif = Literal["ignore", "apply"]
Axis = Literal["batch", "height", "width"]
OFFLINE_WEIGHTS = ("probe", "random")  # `weights` that are computed and not read from a file

# data/<dataset> lies beside the pipeline's own folders in data/.
RESERVED_DATASETS = (
    "benchmark_pipeline",
    "coverage",
    "details",
    "devices",
    "downloads",
    "evaluation",
    "fingerprints",
    "mended",
    "opencv-cpp",
    "operators",
    "predictions",
    "preprocessed",
    "quick",
    "results",
    "rounds",
    "settings",
    "transforms",
    "unfinished",
    "vega",
    "versions",
)
# metrics/<model>.json stands beside metrics/gate.json and the like.
RESERVED_MODELS = ("coverage", "gate", "operators", "overview")
TORCHVISION = "torchvision"  # the zoo that needs no entry in `coverage.zoo`


class Section(BaseModel):
    """A mapping of params.yaml: refuses unknown keys and values of another type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class DatasetParams(Section):
    task: Task
    source: Text
    split: ListName
    train: ListName
    classes: Text
    shuffle: bool
    limit: Limit


class ByTask(Section):
    """A section with one value for each task."""

    def of(self, task: Task) -> Any:
        """The value for a task."""
        return getattr(self, task)


class SampleSize(Section):
    train: Count
    val: Count


class SampleParams(ByTask):
    classification: SampleSize
    segmentation: SampleSize


Interpolation = Literal["nearest", "linear", "cubic", "area"]


class CropParams(Section):
    """Resize to a square, or by the shorter side, then crop the centre."""

    resize: Pixels
    keep_aspect: bool
    crop: Pixels
    interpolation: Interpolation
    antialias: bool = False


class ResizeParams(Section):
    """Resize the shorter side to `resize` pixels."""

    resize: Pixels
    interpolation: Interpolation
    antialias: bool = False


def _kind_of_size(value: object) -> str:
    return "resized" if isinstance(value, dict | ResizeParams) else "own"


# Distinguished by hand, so that an error is about the kind that the user means.
SegmentationSize = Annotated[
    Annotated[Literal["own"], Tag("own")] | Annotated[ResizeParams, Tag("resized")],
    Discriminator(_kind_of_size),
]


class ClassificationProfile(Section):
    """Preprocessing to a fixed size: constants, or the transform of torchvision's weights."""

    task: Literal["classification"]
    dataset: Name
    on_corrupt: OnCorrupt
    exif: Exif = "ignore"
    size: CropParams | None = None
    mean: Mean | None = None
    std: Std | None = None
    from_weights: Text | None = None


class SegmentationProfile(Section):
    """Preprocessing of images that differ in size."""

    task: Literal["segmentation"]
    dataset: Name
    on_corrupt: OnCorrupt
    exif: Exif = "ignore"
    size: SegmentationSize | None = None
    mean: Mean | None = None
    std: Std | None = None
    from_weights: Text | None = None


Profile = Annotated[ClassificationProfile | SegmentationProfile, Field(discriminator="task")]


Exporter = Literal["dynamo", "torchscript"]
Opset = Annotated[int, Field(ge=11, le=26)]


class OwnExport(Section):
    """The keys of `export` that a model sets for itself; `dynamic_axes` are those of its task."""

    exporter: Exporter | None = None
    opset: Opset | None = None
    dynamic_axes: list[Axis] | None = None


class OwnOpenCV(Section):
    """The keys of `opencv` that a model sets for itself."""

    engine: Name | None = None
    backend: Name | None = None
    target: Name | None = None


class OwnBatchSize(Section):
    """The batch size that a model sets for itself."""

    batch_size: Count | None = None


NO_MENDING = "none"


class ModelParams(Section):
    """torchvision's model of the entry's name, the network of a factory, or an ONNX file.

    The sections in OWN_SETTINGS override the global ones of the same name; `of_model` applies them.
    """

    task: Task
    preprocess: Name
    weights: Text | None = None
    checkpoint_key: Text | None = None
    factory: Factory | None = None
    arguments: dict[str, Any] = Field(default_factory=dict)
    output: Text | Annotated[int, Field(ge=0)] | None = None
    classes: Count | None = None
    onnx: Text | None = None
    export: OwnExport | None = None
    opencv: OwnOpenCV | None = None
    inference: OwnBatchSize | None = None
    benchmark: OwnBatchSize | None = None
    mend: Literal["auto", "none"] | Annotated[list[Text], Field(min_length=1)] = NO_MENDING


OWN_SETTINGS = ("export", "opencv", "inference", "benchmark")


class PerTask(ByTask):
    classification: Count
    segmentation: Count


class InferenceBatchSize(ByTask):
    classification: Count
    segmentation: Literal[1]


class ProbeBatchSize(ByTask):
    """At least two images: batch norm has no statistics of one value."""

    classification: Annotated[int, Field(ge=2)]
    segmentation: Annotated[int, Field(ge=2)]


class ProbeParams(Section):
    calibration_images: PerTask
    residual_scale: Annotated[float, Field(gt=0)]
    ridge: Annotated[float, Field(gt=0)]
    batch_size: ProbeBatchSize


class DynamicAxes(ByTask):
    classification: list[Literal["batch"]]
    segmentation: list[Axis]


class ExportParams(Section):
    exporter: Exporter
    opset: Opset
    dynamic_axes: DynamicAxes


class InferenceParams(Section):
    batch_size: InferenceBatchSize


class BackendParams(Section):
    threads: Threads


class PyTorchParams(BackendParams):
    device: Literal["cpu", "cuda"]
    memory_format: Literal["channels_last", "contiguous"] = "contiguous"


class OpenCVParams(Section):
    engine: Name
    backend: Name
    target: Name
    threads: Threads
    time_limit: Seconds


class ParityImages(ByTask):
    classification: Limit
    segmentation: Limit


class ParityParams(Section):
    images: ParityImages


class ExactImages(ByTask):
    classification: Annotated[int, Field(ge=0)]
    segmentation: Annotated[int, Field(ge=0)]


class ExactParams(Section):
    images: ExactImages


class StabilityParams(Section):
    perturb: Annotated[list[Annotated[int, Field(ge=1, le=255)]], Field(min_length=1)]
    images: Count


class BenchmarkParams(Section):
    batch_size: PerTask
    warmup: Annotated[int, Field(ge=0)]
    runs: Annotated[int, Field(ge=2)]
    time_limit: Annotated[float, Field(gt=0)]
    confidence: Annotated[float, Field(gt=0, lt=100)]
    resamples: Annotated[int, Field(ge=100)]
    max_load: Annotated[float, Field(gt=0, le=100)]
    max_spread: Annotated[float, Field(gt=0)]
    repeats: Annotated[int, Field(ge=0)]


Relative = Annotated[float, Field(ge=0)]
Percent = Annotated[float, Field(ge=0, le=100)]


class QuickImages(ByTask):
    """At least two images: the comparison of one could not fail."""

    classification: Annotated[int, Field(ge=2)]
    segmentation: Annotated[int, Field(ge=2)]


class QuickParams(Section):
    images: QuickImages


class GateLimits(Section):
    exactness: Relative
    rel: Relative
    rel_backstop: Relative
    agreement: Percent
    accuracy_loss: Percent


class TaskLimits(ByTask):
    classification: GateLimits
    segmentation: GateLimits


class GateOverride(Section):
    """The limits of a model that differ from its task's."""

    exactness: Relative | None = None
    rel: Relative | None = None
    agreement: Percent | None = None
    accuracy_loss: Percent | None = None


class GateParams(Section):
    limits: TaskLimits
    spread: Relative
    overrides: dict[Name, GateOverride]


# The height x width of a blob in pixels.
Size = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,3}x[1-9][0-9]{0,3}$")]
Sizes = Annotated[list[Size], Field(min_length=1)]


class CoverageSizes(ByTask):
    """A single size for classification: a ViT only runs at the size it was built for."""

    classification: Annotated[list[Size], Field(min_length=1, max_length=1)]
    segmentation: Sizes


# A package with its exact version.
Package = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][\w.-]*==[0-9][\w.+!-]*$")]


class ZooEntry(Section):
    """A model of a zoo, with what differs from the zoo's arguments and from `coverage.sizes`."""

    name: Name
    arguments: dict[str, Any] = Field(default_factory=dict)
    size: Size | None = None


def _named(value: object) -> object:
    return {"name": value} if isinstance(value, str) else value


class ZooParams(Section):
    """Networks of a factory. It gets `arguments`, the model's name as argument `name` and the
    number of classes as argument `classes`; a model's own arguments override all of these."""

    packages: list[Package] = Field(default_factory=list)
    factory: Factory
    name: Name
    classes: Name
    arguments: dict[str, Any] = Field(default_factory=dict)
    task: Task
    models: Annotated[list[Annotated[ZooEntry, BeforeValidator(_named)]], Field(min_length=1)]

    def model(self, name: str) -> ZooEntry | None:
        """The model of a name; None where the zoo does not list it."""
        return next((one for one in self.models if one.name == name), None)


class CoverageParams(Section):
    """At least two images, to detect outputs in the wrong order."""

    max_parameters: Annotated[float, Field(gt=0)]
    classes: Annotated[int, Field(ge=2)]
    images: Annotated[int, Field(ge=2)]
    sizes: CoverageSizes
    zoo: dict[Name, ZooParams] = Field(default_factory=dict)
    time_limit: Seconds
    memory_limit: Annotated[float, Field(gt=0, le=1024)]


class PlotParams(Section):
    gallery_images: Count
    dpi: Annotated[int, Field(ge=30, le=600)]


class Params(Section):
    """The whole of params.yaml, whose comments explain each key."""

    seed: Annotated[int, Field(ge=0, lt=2**32)]
    cluster: Text = "none"
    datasets: Annotated[dict[Name, DatasetParams], Field(min_length=1)]
    sample: SampleParams
    preprocess: Annotated[dict[Name, Profile], Field(min_length=1)]
    models: Annotated[dict[Name, ModelParams], Field(min_length=1)]
    probe: ProbeParams
    export: ExportParams
    inference: InferenceParams
    pytorch: PyTorchParams
    onnxruntime: BackendParams
    opencv: OpenCVParams
    parity: ParityParams
    exact: ExactParams
    stability: StabilityParams
    benchmark: BenchmarkParams
    quick: QuickParams
    gate: GateParams
    coverage: CoverageParams
    plot: PlotParams


def load_params(path: Path = PARAMS) -> Params:
    """Read and validate the whole file.

    Raises InputError, naming the key, what was found and what was expected, when the file is
    missing or not plain YAML, or a key is unknown, missing, of another type, out of range, or
    refers to an entry that does not exist.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file; run from the repository's root")
    raw = read_yaml(path)
    try:
        params = Params.model_validate(raw)
    except ValidationError as error:
        raise InputError(_one_line(path, raw, error.errors(include_url=False))) from None
    _check_references(path, params)
    return params


def entry(params: Params, section: Literal["datasets", "preprocess", "models"], name: str):
    """Return the entry `name` of a section; raises InputError naming those that exist."""
    entries = getattr(params, section)
    if name not in entries:
        raise InputError(f"{PARAMS}: {section}.{name}: no such entry; there are {_names(entries)}")
    return entries[name]


def of_model(params: Params, name: str) -> Params:
    """Return the params that hold for one model, the only one in them: its own settings are applied
    to the global sections, and its entry keeps what defines the network.

    Raises InputError when there is no such model.
    """
    model = entry(params, "models", name)
    sections = {
        section: _overridden(getattr(params, section), getattr(model, section), model.task)
        for section in OWN_SETTINGS
    }
    network = model.model_copy(update=dict.fromkeys(OWN_SETTINGS) | {"mend": NO_MENDING})
    return params.model_copy(update=sections | {"models": {name: network}})


def _overridden(section: Section, own: Section | None, task: Task) -> Section:
    """A global section with the keys that `own` sets; a key with a value a task changes for `task`
    alone."""
    changes = {}
    for key, value in own.model_dump(exclude_none=True).items() if own else ():
        setting = getattr(section, key)
        by_task = isinstance(setting, ByTask)
        changes[key] = setting.model_copy(update={task: value}) if by_task else value
    return section.model_copy(update=changes)


def setting_key(params: Params, name: str, section: str, field: str) -> str:
    """Return the key of params.yaml that holds a setting of a model: its own, or the global one."""
    model = params.models[name]
    if getattr(getattr(model, section), field, None) is not None:
        return f"models.{name}.{section}.{field}"
    by_task = isinstance(getattr(getattr(params, section), field), ByTask)
    return f"{section}.{field}.{model.task}" if by_task else f"{section}.{field}"


def count_kept(limit: int | Literal["all"], total: int) -> int:
    """Return how many of `total` a limit of params.yaml keeps."""
    return total if limit == "all" else min(limit, total)


def _check_references(path: Path, params: Params) -> None:
    for name in params.datasets:
        if name in RESERVED_DATASETS:
            raise InputError(f"{path}: datasets.{name}: this name is taken; choose another")
    for name, profile in params.preprocess.items():
        _check_reference(path, f"preprocess.{name}", profile, "dataset", params.datasets)
        _check_profile(path, f"preprocess.{name}", profile)
    for name in params.gate.overrides:
        if name not in params.models:
            message = f"no such model; there are {_names(params.models)}"
            raise InputError(f"{path}: gate.overrides.{name}: {message}")
    zoos = params.coverage.zoo
    for name, zoo in zoos.items():
        _check_zoo(path, f"coverage.zoo.{name}", name, zoo)
    reserved = {*RESERVED_MODELS, *(f"coverage-{zoo}" for zoo in zoos)}
    for name, model in params.models.items():
        if name in reserved:
            raise InputError(f"{path}: models.{name}: this name is taken; choose another")
        _check_reference(path, f"models.{name}", model, "preprocess", params.preprocess)
        _check_model(path, f"models.{name}", model)
        _check_own_settings(path, params, name)
        _check_batch_sizes(path, params, name)


def _check_zoo(path: Path, key: str, name: str, zoo: ZooParams) -> None:
    if name == TORCHVISION:
        raise InputError(f"{path}: {key}: this name is taken; choose another")
    names = [model.name for model in zoo.models]
    if twice := next((one for one in names if names.count(one) > 1), None):
        raise InputError(f"{path}: {key}.models: found {twice!r} twice; expected each name once")


def _check_profile(path: Path, key: str, profile: ClassificationProfile | SegmentationProfile):
    for field in ("size", "mean", "std"):
        is_set = getattr(profile, field) is not None
        if is_set and profile.from_weights:
            raise InputError(
                f"{path}: {key}.{field}: `from_weights` sets it too; remove one of them"
            )
        if not is_set and not profile.from_weights:
            raise InputError(f"{path}: {key}.{field}: missing")
    size = profile.size
    if isinstance(size, CropParams) and size.crop > size.resize:
        found = f"found {size.crop}; expected at most resize, {size.resize}"
        raise InputError(f"{path}: {key}.size.crop: {found}")


def _check_model(path: Path, key: str, model: ModelParams) -> None:
    if model.onnx is None and model.weights is None:
        raise InputError(f"{path}: {key}.weights: missing")
    if model.checkpoint_key and model.weights in OFFLINE_WEIGHTS:
        raise InputError(f"{path}: {key}.checkpoint_key: not used with {model.weights!r}")
    always = ("task", "preprocess", "classes", "mend", *OWN_SETTINGS)
    if model.onnx:
        used, kind = ({*always, "onnx", "output"} - {"export"}), "`onnx`"
    elif model.factory:
        used, kind = (
            tuple(field for field in ModelParams.model_fields if field != "onnx"),
            "`factory`",
        )
    else:
        used = (*always, "weights", "checkpoint_key")
        kind = "a torchvision model, only with `factory`"
    for field in sorted(model.model_fields_set):
        if field not in used:
            raise InputError(f"{path}: {key}.{field}: not used with {kind}")


def _check_own_settings(path: Path, params: Params, name: str) -> None:
    """Refuse a value that the model's task does not allow."""
    model = params.models[name]
    for section in OWN_SETTINGS:
        own = getattr(model, section)
        for field, value in own.model_dump(exclude_none=True).items() if own else ():
            setting = getattr(getattr(params, section), field)
            if not isinstance(setting, ByTask):
                continue
            try:
                type(setting).model_validate(setting.model_dump() | {model.task: value})
            except ValidationError as error:
                errors = error.errors(include_url=False)
                for found in errors:  # its first key is the task
                    found["loc"] = ("models", name, section, field, *found["loc"][1:])
                raise InputError(_one_line(path, params.model_dump(), errors)) from None


def _check_batch_sizes(path: Path, params: Params, name: str) -> None:
    """Refuse a batch for a model that is exported without a batch axis."""
    mine = of_model(params, name)
    model = mine.models[name]
    if model.onnx or "batch" in mine.export.dynamic_axes.of(model.task):
        return
    axes = setting_key(params, name, "export", "dynamic_axes")
    for section in ("inference", "benchmark"):
        size = getattr(mine, section).batch_size.of(model.task)
        if size > 1:
            found = f"found {size}; expected 1, as {axes} has no `batch`"
            if axes.startswith("models."):
                found += f": set models.{name}.{section}.batch_size: 1"
            raise InputError(f"{path}: {setting_key(params, name, section, 'batch_size')}: {found}")


def _check_reference(path: Path, key: str, user: Section, field: str, targets: dict) -> None:
    found = getattr(user, field)
    if found not in targets:
        expected = f"found {found!r}; expected one of {_names(targets)}"
        raise InputError(f"{path}: {key}.{field}: {expected}")
    if targets[found].task != user.task:
        mismatch = f"{found!r} is for {targets[found].task}; expected one for {user.task}"
        raise InputError(f"{path}: {key}.{field}: {mismatch}")


def _one_line(path: Path, raw: object, errors: list) -> str:
    """The worst of pydantic's errors in the values of `raw`."""
    # An unknown key comes first: if it is misspelt, the missing key follows from it.
    errors = sorted(errors, key=lambda found: found["type"] != "extra_forbidden")
    worst = errors[0]
    key, siblings = _locate(raw, worst["loc"])
    found = _shown(worst["input"])
    match worst["type"]:
        case "extra_forbidden":
            message = f"unknown key{_closest(key.split('.')[-1], siblings)}"
        case "missing":
            message = "missing"
        case "union_tag_invalid":
            found = _shown(worst["input"]["task"])
            message = f"task: found {found}; expected {worst['ctx']['expected_tags']}"
        case "union_tag_not_found":
            message = "task: missing"
        case "string_pattern_mismatch" if key.endswith(".factory"):
            message = f"found {found}; expected package.module:function"
        case "string_pattern_mismatch" if ".packages." in key:
            message = f"found {found}; expected name==version"
        case "string_pattern_mismatch" if ".sizes." in key or key.endswith(".size"):
            message = f"found {found}; expected height x width, such as 224x320"
        case "string_pattern_mismatch" if worst["ctx"]["pattern"] == PRINTABLE:
            message = f"found {found}; expected no control character"
        case "string_pattern_mismatch":
            message = f"found {found}; expected letters, digits, _ and -, not starting with -"
        case "model_type" | "dict_type" | "model_attributes_type":
            message = f"found {found}; expected keys with values"
        case "too_short" if not worst["input"]:
            message = f"found {found}; expected at least one entry"
        case "too_long" if ".sizes." in key:
            message = f"found {found}; expected a single size"
        case "less_than_equal" if key.split(".")[-2] in ("mean", "std"):
            message = f"found {found}; expected at most 1: pixels are 0 to 1, so divide by 255"
        case "too_short" | "too_long":
            message = f"found {found}; expected {worst['ctx']['field_type'].lower()} of 3 values"
        case _:
            expected = worst["msg"].removeprefix("Value error, ")
            expected = expected.removeprefix("Input should be ").removeprefix("a valid ")
            expected = expected.removeprefix("String should have ")
            message = f"found {found}; expected {expected}"
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return f"{path}: {key + ': ' if key else ''}{message}{more}"


def _shown(value: object) -> str:
    """A value as Python writes it, a large one in part."""
    shown = reprlib.Repr()
    shown.maxstring, shown.maxlevel = 100, 2
    return shown.repr(value)


def _locate(raw: object, location: tuple) -> tuple[str, list[str]]:
    """Return the dotted key of a pydantic location, without tags of unions, and its siblings."""
    keys: list[str] = []
    here = raw
    for position, key in enumerate(location):
        is_last = position == len(location) - 1
        if isinstance(here, dict) and key not in here and not is_last:
            continue
        if key == "[key]":
            continue
        siblings = here
        keys.append(str(key))
        if isinstance(here, dict):
            here = here.get(key)
        elif isinstance(here, list) and isinstance(key, int) and key < len(here):
            here = here[key]
    names = [str(name) for name in siblings] if keys and isinstance(siblings, dict) else []
    return ".".join(keys), names


def _closest(key: str, present: list[str]) -> str:
    """Return a hint at the closest key of the sections that have the other keys present."""
    from difflib import get_close_matches

    others = set(present) - {key}
    sections = [section.model_fields.keys() for section in _sections()]
    missing = {name for fields in sections if others <= fields for name in fields - others}
    near = get_close_matches(key, missing, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _sections() -> list[type[Section]]:
    return [*Section.__subclasses__(), *ByTask.__subclasses__()]


def _names(entries: dict) -> str:
    return ", ".join(sorted(entries)) or "none"
