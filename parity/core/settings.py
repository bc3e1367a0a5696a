"""What holds for each model, as files: a stage that depends on one reruns when that model's own
setting changes, or a global setting that the model does not override."""

from parity.core.files import read_json_if_whole
from parity.core.params import NO_MENDING, OWN_SETTINGS, ByTask, Params, Section, Task, of_model
from parity.core.paths import settings_path

MEND = "mend"  # what the mended file depends on
NETWORK = "network"  # what defines the network: the entry of `models` without its own settings


def settings_of(params: Params, name: str) -> dict[str, dict]:
    """Return the content of each of a model's files: NETWORK, MEND and a section each of
    OWN_SETTINGS.

    An ONNX file is not exported: its `export` is empty.
    """
    mine = of_model(params, name)
    model = mine.models[name]
    sections = {one: _of_task(getattr(mine, one), model.task) for one in OWN_SETTINGS}
    if model.onnx:
        sections["export"] = {}
    # Without defaults: a new field then reruns nothing.
    network = {NETWORK: model.model_dump(exclude_defaults=True)}
    return network | sections | {MEND: _mending(params, name, mine)}


def _mending(params: Params, name: str, mine: Params) -> dict:
    """How a model is mended, and if it is, the constants that this depends on."""
    how, task = params.models[name].mend, params.models[name].task
    if how == NO_MENDING:
        return {"mend": how}
    return {
        "mend": how,
        "engine": mine.opencv.engine,
        "time_limit": mine.opencv.time_limit,
        "perturb": params.stability.perturb,
        "images": params.exact.images.of(task),
    }


def _of_task(section: Section, task: Task) -> dict:
    """A section with the task's value in place of one for each task."""
    values = {key: getattr(section, key) for key in type(section).model_fields}
    return {key: one.of(task) if isinstance(one, ByTask) else one for key, one in values.items()}


def are_current(params: Params, name: str, sections: tuple[str, ...]) -> bool:
    """Whether the stage `settings` wrote these files of a model, and would write the same now."""
    now = settings_of(params, name)
    return all(read_json_if_whole(settings_path(name, one)) == now[one] for one in sections)
