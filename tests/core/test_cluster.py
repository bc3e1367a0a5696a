"""Tasks on a cluster: a real scheduler and real workers on this machine."""

import os
import signal
import time
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import pytest
from helpers import in_process
from helpers.params import write_params
from helpers.refusals import refused

from parity.core import cluster as client_side
from parity.core import cluster_worker
from parity.core.cluster import DEATHS, Place, open_cluster
from parity.core.cluster_worker import enter
from parity.core.params import load_params

process = pytest.mark.process


def compute(work, tasks, **options) -> list:
    """What a cluster yields; `CLUSTER` names it."""
    with open_cluster("none") as cluster:
        return list(cluster.results(work, tasks, **options))


# Which cluster


def test_without_one_there_is_none(tmp_path, monkeypatch):
    monkeypatch.delenv("CLUSTER", raising=False)
    with open_cluster("none") as cluster:
        assert cluster is None


def test_the_environment_comes_before_params_yaml(monkeypatch):
    monkeypatch.setenv("CLUSTER", "none")
    with open_cluster("local:2") as cluster:
        assert cluster is None
    monkeypatch.setenv("CLUSTER", "")
    assert Place.chosen("local:2") == Place("params.yaml: cluster", "local:2")


def test_params_yaml_may_name_one_and_need_not(project):
    assert load_params().cluster == "none"
    write_params(project, {"cluster": "tcp://here:8786"})
    assert load_params().cluster == "tcp://here:8786"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("local:0", "found 'local:0'; expected none, local:N, tcp://host:port"),
        ("local:two", "found 'local:two'; expected"),
        ("nowhere.json", "found 'nowhere.json': no such file or directory; expected"),
        ("empty.json", "found 'empty.json', which holds no address"),
        ("tcp://127.0.0.1:9", "no scheduler answers at tcp://127.0.0.1:9: "),
    ],
)
def test_what_names_no_cluster_is_refused(tmp_path, monkeypatch, text, found):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLUSTER", text)
    monkeypatch.setattr(client_side, "CONNECT_S", 1)
    Path("empty.json").write_text("{}")
    with refused("CLUSTER: ", found), open_cluster("none"):
        pass


# Results


@process
def test_results_come_in_the_order_of_their_tasks(project, on_cluster):
    found = compute(in_process.double, ([number] for number in range(20)))
    assert found == [([number], [2 * number]) for number in range(20)]


@process
def test_results_may_come_as_they_are_done(project, on_cluster):
    tasks = list(range(6))
    found = compute(in_process.process_id_slow_once, tasks, in_order=False)
    assert sorted(task for task, _ in found) == tasks and found[0][0] != 0


@process
def test_every_worker_computes_in_a_process_of_its_own_that_stays(project, on_cluster):
    found = {result for _, result in compute(in_process.process_id, range(12))}
    assert len(found) == 2


@process
def test_a_process_computes_with_the_client_s_threads(project, on_cluster, monkeypatch):
    """Dask sets a single thread for its workers."""
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setattr(cluster_worker, "cores", lambda: 5)
    assert compute(in_process.environment, ["OMP_NUM_THREADS"])[0][1] == "7"
    assert compute(in_process.cores_there, ["threads: 0"])[0][1] == 5


@process
def test_few_tasks_are_taken_before_their_time(project, on_cluster):
    taken = []
    with open_cluster("none") as cluster:
        tasks = (taken.append(number) or number for number in range(1000))
        with closing(cluster.results(in_process.worker_id, tasks)) as results:
            next(results)
    assert len(taken) <= 2 * client_side.AHEAD


@process
def test_what_a_task_raises_comes_when_its_result_is_due(project, on_cluster):
    with open_cluster("none") as cluster, refused("0: no"):
        next(cluster.results(in_process.refuse, [0]))
    with pytest.raises(OSError, match=r"images\.npy"):
        compute(in_process.fill_disk, range(6))
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        compute(in_process.divide_by_zero_once, range(6))


@process
def test_local_workers_need_no_scheduler(project, monkeypatch):
    monkeypatch.setenv("CLUSTER", "local:1")
    assert compute(in_process.double, [[1], [2]]) == [([1], [2]), ([2], [4])]


# What goes wrong


@process
def test_a_task_that_ends_its_process_is_tried_again_and_named(project, on_cluster):
    with refused("CLUSTER: ", ": 3: the process was ended by SIGKILL", f"tried {DEATHS} times"):
        compute(in_process.kill_itself, range(6))


@process
def test_a_killed_worker_s_task_runs_again_on_one_that_joins_late(project, own_cluster):
    first = own_cluster.add_worker()
    with open_cluster("none") as cluster:
        results = cluster.results(partial(in_process.hang_once, str(project)), range(8))
        assert next(results) == (0, 0)
        note = wait_for(project / "worker")
        assert int(note) == first.pid
        first.send_signal(signal.SIGKILL)
        own_cluster.add_worker()
        assert list(results) == [(number, 2 * number) for number in range(1, 8)]


@process
def test_a_task_that_takes_three_workers_down_is_named(project, own_cluster):
    for _ in range(DEATHS):
        own_cluster.add_worker()
    done = []
    with open_cluster("none") as cluster, refused(f": 3: took {DEATHS} workers down"):
        done.extend(cluster.results(in_process.kill_worker, range(4)))


def wait_for(file: Path) -> str:
    deadline = time.monotonic() + 60
    while not (file.exists() and file.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return file.read_text()


# Workers that do not fit


DIFFERENCES = {
    "versions": (
        {"versions": {"python": "2.7", "numpy": "0.1"}},
        ["other versions: python 3.", "(the client's: 2.7), numpy", "(the client's: 0.1)"],
    ),
    "library": ({"versions": {"no-such": "1"}}, ["no-such none (the client's: 1)"]),
    "code": ({"code": "0"}, ["parity: not the client's code; update it, then start"]),
    "folder": (
        {"folder": "/none", "token_file": "/none/data/token"},
        ["does not see the folder /none: /none/data/token: no such file or directory"],
    ),
    "other folder": ({"token_file": __file__}, ["does not see the folder", "expected the same"]),
}


@process
@pytest.mark.parametrize(("change", "said"), DIFFERENCES.values(), ids=DIFFERENCES)
def test_a_worker_that_differs_is_refused(project, on_cluster, monkeypatch, change, said):
    ours = client_side._run_of_this_process

    @contextmanager
    def changed():
        with ours() as run:
            yield run | change

    monkeypatch.setattr(client_side, "_run_of_this_process", changed)
    with refused("CLUSTER: ", ": worker ", *said):
        compute(in_process.double, [[1]])


@process
def test_a_worker_of_several_threads_is_refused(project, own_cluster):
    own_cluster.add_worker("--nthreads", "2", "--no-nanny", "--no-dashboard")
    with refused("found 2 threads; expected 1: start it with --nthreads 1"):
        compute(in_process.double, [[1]])


@process
def test_another_processor_is_named_once_or_refused(project, on_cluster, monkeypatch, capsys):
    monkeypatch.setattr(client_side, "processor", lambda: "any (000000)")
    compute(in_process.double, [[1], [2]])
    assert capsys.readouterr().err.count("this machine has any (000000): the last bits") in (1, 2)
    with refused("expected the client's, any (000000)"):
        compute(in_process.double, [[1]], same_processor=True)


def test_a_folder_is_compared_by_the_content_of_its_file(tmp_path):
    file = tmp_path / "token"
    file.write_text("of another run")
    kind, why = enter({"name": "mine", "folder": "there", "token_file": str(file)}, b"")
    assert kind == "refused" and "of another run" in why and Path.cwd() != Path("there")


def test_nothing_of_a_run_stays(project):
    before = dict(os.environ)
    with client_side._run_of_this_process() as run:
        assert Path(run["token_file"]).read_text() == run["name"]
    assert not list(Path("data").iterdir())
    assert os.environ.get("CLUSTER") == before.get("CLUSTER")


# Last, as a new scheduler takes seconds


@process
def test_a_scheduler_that_dies_is_one_line(project, own_cluster):
    own_cluster.add_worker()
    with open_cluster("none") as cluster, refused("CLUSTER: ", "the scheduler has gone"):
        for task, _ in cluster.results(in_process.worker_id, range(1000)):
            if task == 2:
                own_cluster.scheduler.kill()
