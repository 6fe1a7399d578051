"""The number of threads: program, environment, affinity, quotas and threadpoolctl."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import _config, _threads, cli

pytestmark = pytest.mark.alone

VARIABLES = ("FASTMLP_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
COUNT = "import fastmlp as fm; print(fm.get_num_threads())"


@pytest.fixture(autouse=True)
def _nothing_chosen(monkeypatch):
    """No choice and no variable before a test, and none after it."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    fm.set_num_threads(None)
    yield
    fm.set_num_threads(None)


@pytest.fixture
def sixteen(monkeypatch):
    """A machine of 16 CPUs without a quota."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)), raising=False)
    monkeypatch.setattr(_threads, "cgroup_cpus", lambda: None)
    monkeypatch.setattr(_threads, "_quota", (0.0, 0, None))


def child(code, **environment):
    """What a program in a new process prints; the variables are those given."""
    kept = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


# --- The program --------------------------------------------------------------------------------


def test_default_is_every_cpu(sixteen):
    assert fm.get_num_threads() == 16
    assert _threads.describe() == "16 (16 CPUs available)"


def test_set_and_return_to_the_default(sixteen):
    fm.set_num_threads(3)
    assert (fm.get_num_threads(), _threads.describe()) == (3, "3 (set_num_threads)")
    fm.set_num_threads(np.int64(5))
    assert fm.get_num_threads() == 5
    assert type(fm.get_num_threads()) is int
    fm.set_num_threads(None)
    assert fm.get_num_threads() == 16


def test_never_more_than_the_cpus(sixteen, monkeypatch):
    fm.set_num_threads(64)
    assert fm.get_num_threads() == 16
    assert _threads.describe() == "16 (set_num_threads=64, 16 CPUs available)"
    # The choice is kept: more CPUs, more threads.
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(40)))
    assert fm.get_num_threads() == 40


def test_tests_may_oversubscribe(sixteen, monkeypatch):
    monkeypatch.setattr(_threads, "OVERSUBSCRIBE", True)
    fm.set_num_threads(64)
    assert (fm.get_num_threads(), _threads.describe()) == (64, "64 (set_num_threads)")
    fm.set_num_threads(None)
    assert fm.get_num_threads() == 16


@pytest.mark.parametrize(
    ("n", "error", "text"),
    [
        (0, ValueError, "n must be at least 1, got 0."),
        (-1, ValueError, "n must be at least 1, got -1."),
        (1.5, TypeError, "n must be an integer, got 1.5 of type float."),
        ("2", TypeError, "n must be an integer, got '2' of type str."),
        (True, TypeError, "n must be an integer, got True."),
    ],
)
def test_set_refuses(sixteen, n, error, text):
    fm.set_num_threads(2)
    with pytest.raises(error) as caught:
        fm.set_num_threads(n)
    assert str(caught.value) == text
    assert fm.get_num_threads() == 2


# --- The environment ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "expected", "described"),
    [
        ({"FASTMLP_NUM_THREADS": "3"}, 3, "3 (FASTMLP_NUM_THREADS)"),
        ({"FASTMLP_NUM_THREADS": " 3 "}, 3, "3 (FASTMLP_NUM_THREADS)"),
        ({"FASTMLP_NUM_THREADS": "3", "OMP_NUM_THREADS": "2"}, 3, "3 (FASTMLP_NUM_THREADS)"),
        ({"FASTMLP_NUM_THREADS": "", "OMP_NUM_THREADS": "2"}, 2, "2 (OMP_NUM_THREADS)"),
        ({"OMP_NUM_THREADS": "2,1"}, 2, "2 (OMP_NUM_THREADS)"),
        ({"OMP_NUM_THREADS": "99"}, 16, "16 (OMP_NUM_THREADS=99, 16 CPUs available)"),
        *[
            ({"OMP_NUM_THREADS": wrong}, 16, "16 (16 CPUs available)")
            for wrong in ("", "0", "-1", "abc", ",2", "1.5")
        ],
    ],
)
def test_variables(sixteen, monkeypatch, variables, expected, described):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert (fm.get_num_threads(), _threads.describe()) == (expected, described)
    fm.set_num_threads(7)
    assert fm.get_num_threads() == 7


@pytest.mark.parametrize("wrong", ["0", "-1", "1.5", "abc", "2,1", " "])
def test_wrong_variable_of_ours(sixteen, monkeypatch, wrong):
    monkeypatch.setenv("FASTMLP_NUM_THREADS", wrong)
    with pytest.raises(ValueError) as error:
        fm.get_num_threads()
    assert str(error.value) == f"FASTMLP_NUM_THREADS must be a positive integer, got {wrong!r}."
    fm.set_num_threads(2)  # what the program says does not need the variable
    assert fm.get_num_threads() == 2


def test_variables_in_a_new_process():
    assert child(COUNT, FASTMLP_NUM_THREADS="1") == "1"
    assert child(COUNT, OMP_NUM_THREADS="1,4") == "1"
    assert child(COUNT, OMP_NUM_THREADS="none") == str(_threads.available_cpus())
    # A wrong one stops what needs the number, not the import.
    code = "import fastmlp as fm; fm.MLP(2, [], 2).summary(); print('imported')"
    assert child(code, FASTMLP_NUM_THREADS="many") == "imported"


# --- CPUs: affinity and quotas ------------------------------------------------------------------

needs_affinity = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2,
    reason="needs two CPUs and a way to give one up",
)


@needs_affinity
def test_affinity_is_read_every_time():
    code = (
        "import os, fastmlp as fm; cpus = os.sched_getaffinity(0); fm.set_num_threads(2)\n"
        "os.sched_setaffinity(0, {min(cpus)}); print(fm.get_num_threads())\n"
        "fm.set_num_threads(None); print(fm.get_num_threads())\n"
        "os.sched_setaffinity(0, cpus)\n"
        "from fastmlp import _threads\n"
        "print(fm.get_num_threads() == min(len(cpus), _threads.cgroup_cpus() or len(cpus)))"
    )
    assert child(code).split() == ["1", "1", "True"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_forked_child_reads_again():
    code = (
        "import os; from fastmlp import _threads\n"
        "os.sched_getaffinity = lambda pid: set(range(8))\n"
        "_threads.time.monotonic = lambda: 100.0\n"
        "quota = [4]; _threads.cgroup_cpus = lambda: quota[0]\n"
        "assert _threads.get_num_threads() == 4\n"
        "quota[0] = 1\n"
        "assert _threads.get_num_threads() == 4\n"
        "child = os.fork()\n"
        "if child == 0: os._exit(_threads.get_num_threads())\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), _threads.get_num_threads())"
    )
    assert child(code) == "1 4"


def test_quota_counts_and_is_read_once_a_second(sixteen, monkeypatch):
    quotas = iter([4, 2])
    monkeypatch.setattr(_threads, "cgroup_cpus", lambda: next(quotas))
    now = [100.0]
    monkeypatch.setattr(_threads.time, "monotonic", lambda: now[0])
    assert [fm.get_num_threads() for _ in range(3)] == [4, 4, 4]
    now[0] = 100.9
    assert fm.get_num_threads() == 4
    now[0] = 101.1
    assert fm.get_num_threads() == 2


def test_without_affinity(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(_threads, "_quota", (0.0, 0, None))
    monkeypatch.setattr(_threads, "cgroup_cpus", lambda: None)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert fm.get_num_threads() == 6
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert (fm.get_num_threads(), _threads.describe()) == (1, "1 (1 CPU available)")


V1_CPU = "7:memory:/job\n4:cpu,cpuacct:/job\n3:cpuset:/job\n0::/\n"


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        # version 2
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "1000 100000\n"}, 1),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "300000 100000\n"}, 3),
        ("0::/a/b\n", {"a/b/cpu.max": "400000 100000\n", "a/cpu.max": "900000 100000\n"}, 4),
        ("0::/a\n", {"a/b/cpu.max": "100000 100000\n", "cpu.max": "500000 100000\n"}, 5),
        ("0::/of/the/host\n", {"cpu.max": "250000 50000\n"}, 5),
        ("0::/a:b\n", {"a:b/cpu.max": "300000 100000\n"}, 3),
        ("0::/../other\n", {}, None),
        ("0::/\n", {}, None),
        ("0::/\n", {"cpu.max": ""}, None),
        ("0::/\n", {"cpu.max": "200000 0\n"}, None),
        # version 1
        (V1_CPU, {"cpu/job/cpu.cfs_quota_us": "250000\n",
                  "cpu/job/cpu.cfs_period_us": "100000\n"}, 3),
        (V1_CPU, {"cpu,cpuacct/job/cpu.cfs_quota_us": "200000\n",
                  "cpu,cpuacct/job/cpu.cfs_period_us": "100000\n"}, 2),
        (V1_CPU, {"cpu/job/cpu.cfs_quota_us": "-1\n",
                  "cpu/job/cpu.cfs_period_us": "100000\n"}, None),
        (V1_CPU, {"cpu/job/cpu.cfs_quota_us": "-1\n", "cpu/job/cpu.cfs_period_us": "100000\n",
                  "cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4),
        (V1_CPU, {"cpu/job/cpu.cfs_quota_us": "250000\n"}, None),
        (V1_CPU, {"memory/job/cpu.max": "100000 100000\n"}, None),
        # neither
        (None, {"cpu.max": "200000 100000\n"}, None),
    ],
)  # fmt: skip
def test_cgroup_files(tmp_path, groups, files, expected):
    if groups is not None:
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/self/cgroup").write_text(groups)
    for name, text in files.items():
        path = tmp_path / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert _threads.cgroup_cpus(tmp_path) == expected


# --- threadpoolctl and joblib -------------------------------------------------------------------

TWO_CPUS = (  # whatever the machine has
    "import os; os.sched_getaffinity = lambda pid: {0, 1}\n"
    "from fastmlp import _threads; _threads.cgroup_cpus = lambda: None\n"
)


@pytest.fixture
def threadpoolctl():
    """The module, where it can register libraries and there is one to register."""
    pytest.importorskip("fastmlp.kernels", reason="not built", exc_type=ImportError)
    return pytest.importorskip("threadpoolctl", minversion="3.3")


def test_threadpoolctl_lists_fastmlp(threadpoolctl):
    code = (
        "import fastmlp, json, threadpoolctl\n"
        "print(json.dumps([i for i in threadpoolctl.threadpool_info()"
        " if i['internal_api'] == 'fastmlp']))"
    )
    (info,) = json.loads(child(code, FASTMLP_NUM_THREADS="1"))
    assert info["user_api"] == "fastmlp"
    assert info["num_threads"] == 1
    assert os.path.dirname(info["filepath"]).endswith(os.path.join("fastmlp", "_compiled"))


def test_a_module_of_the_same_name_is_not_ours(threadpoolctl, tmp_path):
    code = (
        "import ctypes, fastmlp, os, shutil, threadpoolctl\n"
        "find = lambda: [i['filepath'] for i in threadpoolctl.threadpool_info()"
        " if i['user_api'] == 'fastmlp']\n"
        f"(ours,) = find(); theirs = os.path.join({str(tmp_path)!r}, os.path.basename(ours))\n"
        "shutil.copy(ours, theirs); library = ctypes.CDLL(theirs)\n"
        "print(theirs in open('/proc/self/maps').read(), find() == [ours])"
    )
    if not os.path.exists("/proc/self/maps"):
        pytest.skip("no list of loaded libraries")
    assert child(code) == "True True"


def test_threadpoolctl_limits_and_restores(threadpoolctl):
    code = TWO_CPUS + (
        "import fastmlp as fm; from threadpoolctl import threadpool_limits\n"
        "for n in (None, 2, 64, 1):\n"
        "    fm.set_num_threads(n); before = _threads.describe()\n"
        "    with threadpool_limits(limits=1):\n"
        "        assert fm.get_num_threads() == 1\n"
        "        assert _threads.describe() == '1 (threadpoolctl)'\n"
        "        with threadpool_limits(limits=2):\n"
        "            assert fm.get_num_threads() == 2\n"
        "        assert fm.get_num_threads() == 1\n"
        "    assert _threads.describe() == before, (before, _threads.describe())\n"
        "fm.set_num_threads(None)\n"
        "for api, expected in (('fastmlp', 1), ('blas', 2), ('openmp', 2)):\n"
        "    with threadpool_limits(limits=1, user_api=api):\n"
        "        assert fm.get_num_threads() == expected, api\n"
        "with threadpool_limits(limits={'fastmlp': 1}):\n"
        "    assert fm.get_num_threads() == 1\n"
        "with threadpool_limits(limits=None):\n"
        "    assert fm.get_num_threads() == 2\n"
        "with threadpool_limits(limits=0):\n"
        "    assert fm.get_num_threads() == 1\n"
        "try:\n"
        "    with threadpool_limits(limits=1): raise KeyError\n"
        "except KeyError: pass\n"
        "assert _threads.choice() is None and fm.get_num_threads() == 2\n"
        "threadpool_limits(limits=1); print(fm.get_num_threads())"
    )
    assert child(code) == "1"


def test_limit_is_of_the_process(threadpoolctl):
    pytest.importorskip("threadpoolctl", minversion="3.8", reason="its own check came with 3.8")
    code = TWO_CPUS + (
        "import threadpoolctl, fastmlp\n"
        "(info,) = [i for i in threadpoolctl.threadpool_info(True) if i['user_api'] == 'fastmlp']\n"
        "print(info['thread_limit_scope'], _threads.choice())"
    )
    assert child(code) == "process None"


def test_threadpoolctl_imported_first_and_before_any_model(threadpoolctl):
    code = (
        "import threadpoolctl; threadpoolctl.threadpool_info(); import fastmlp as fm\n"
        "with threadpoolctl.threadpool_limits(1): print(fm.get_num_threads())"
    )
    assert child(code) == "1"


@pytest.mark.parametrize("module", ["None", "type(sys)('threadpoolctl')"])
def test_without_threadpoolctl_or_with_an_old_one(module):
    code = f"import sys; sys.modules['threadpoolctl'] = {module}\n{COUNT}"
    assert child(code, FASTMLP_NUM_THREADS="1") == "1"


def test_without_kernels(threadpoolctl):
    code = (
        "import sys; sys.modules['fastmlp._compiled.cpu'] = None\n"
        "from fastmlp import _threadpoolctl\n"
        "sys.modules['fastmlp._compiled.' + _threadpoolctl.LIBRARY] = None\n"
        "_threadpoolctl.register()\n" + COUNT
    )
    assert child(code, FASTMLP_NUM_THREADS="1") == "1"


def test_workers_of_joblib():
    pytest.importorskip("joblib", minversion="1.3")
    code = (
        "import joblib\n"
        "def count():\n"
        "    import fastmlp as fm; return fm.get_num_threads()\n"
        "with joblib.parallel_config(backend='loky', n_jobs=2, inner_max_num_threads=1):\n"
        "    print(joblib.Parallel()(joblib.delayed(count)() for _ in range(4)))"
    )
    assert child(code) == "[1, 1, 1, 1]"


# --- Where users see it -------------------------------------------------------------------------


def test_show_config_says_where_the_number_comes_from(sixteen, monkeypatch, capsys):
    pytest.importorskip("fastmlp.kernels", reason="not built", exc_type=ImportError)
    assert _config.config()["threads"] == "16 (16 CPUs available)"
    monkeypatch.setenv("FASTMLP_NUM_THREADS", "1")
    fm.show_config()
    assert "\nthreads          1 (FASTMLP_NUM_THREADS)\n" in capsys.readouterr().out


@pytest.mark.parametrize(("command", "n"), [("train", 3), ("evaluate", 2), ("predict", 1)])
def test_option_of_the_command(sixteen, capsys, tmp_path, command, n):
    model = str(tmp_path / "model.safetensors")
    short = ["--epochs", "1", "--hidden", "4", "--backend", "numpy", "--quiet"]
    assert cli.main(["train", *short, "--save", model]) == 0
    assert _threads.choice() is None
    arguments = [command, *(short if command == "train" else [model])]
    assert cli.main([*arguments, "--threads", str(n)]) == 0
    assert fm.get_num_threads() == n
    capsys.readouterr()
    assert cli.main([*arguments, "--threads", "0"]) == 2
    assert capsys.readouterr().err == "fastmlp: error: --threads must be at least 1, got 0.\n"
