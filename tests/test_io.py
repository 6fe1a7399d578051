"""Model files: round trips, damage of every kind, and saves that fail half way."""

from __future__ import annotations

import json
import os
import pathlib
import stat
import subprocess
import sys
import time

import numpy as np
import pytest
from safetensors.numpy import load_file

import fastmlp as fm
from fastmlp.io import atomic, check_writable, model_file, write_atomically


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "model.safetensors"


@pytest.fixture
def saved(path: pathlib.Path) -> tuple[fm.Sequential, pathlib.Path]:
    model = fm.MLP(3, [4], 2, seed=1)
    model.save(path)
    return model, path


def compact(value):
    return json.dumps(value, separators=(",", ":"))


def write(path, header, data=b"", *, length=None):
    text = header if isinstance(header, bytes) else compact(header).encode()
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + data)


def parts(path):
    """Return the header of a file as a dict, the architecture in it as another, and the data."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    return header, json.loads(header["__metadata__"]["architecture"]), content[8 + length :]


def sign(header, data):
    """Give a forged header its right checksum and return its bytes."""
    header["__metadata__"]["sha256"] = "0" * 64
    text = compact(header)
    digest = model_file._digest(text.encode(), data)
    return text.replace("0" * 64, digest).encode()


# --- Round trips ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("as_path", [str, pathlib.Path])
def test_round_trip(dtype, as_path, path, toy):
    model = fm.Sequential(
        [
            fm.Flatten(),
            fm.Dense(5, activation="gelu", init=fm.initializers.Normal(std=0.3)),
            fm.Activation("tanh"),
            fm.Dense(3, use_bias=False, init="he_normal"),
        ],
        input_shape=(2, 3),
        dtype=dtype,
        seed=11,
    )
    x = toy[0].reshape(-1, 2, 3)
    model.fit(x, toy[1], epochs=2, optimizer=fm.SGD(0.123))
    model.save(as_path(path))
    again = fm.load_model(as_path(path))
    assert repr(again) == repr(model)
    assert [layer.config() for layer in again.layers] == [layer.config() for layer in model.layers]
    assert (again.optimizer.learning_rate, again.loss.name) == (0.123, "cross_entropy")
    for name, value in model.parameters.items():
        assert again.parameters[name].dtype == dtype
        np.testing.assert_array_equal(again.parameters[name], value)
    # Training goes on as if nothing had happened: the third epoch has the third order.
    model.fit(x, toy[1], epochs=1)
    again.fit(x, toy[1], epochs=1)
    np.testing.assert_array_equal(again.predict(x), model.predict(x))


def test_loss_and_metrics_come_back(path):
    model = fm.MLP(3, [], 1)
    model.compile(optimizer=fm.SGD(0.5), loss="mse", metrics=[])
    model.save(path)
    again = fm.load_model(path)
    assert (again.loss.name, again.metrics, again.optimizer.learning_rate) == ("mse", (), 0.5)


def test_a_regressor_that_was_never_trained_can_be_saved(path):
    model = fm.MLP(3, [], 1)
    model.save(path)
    np.testing.assert_array_equal(fm.load_model(path).predict(np.eye(3)), model.predict(np.eye(3)))


def test_same_model_same_bytes(path):
    contents = set()
    for _ in range(8):
        fm.MLP(3, [4], 2).save(path)
        contents.add(path.read_bytes())
    assert len(contents) == 1


def test_the_safetensors_library_reads_it(saved):
    model, path = saved
    tensors = load_file(path)
    assert tensors.keys() == model.parameters.keys()
    for name, value in model.parameters.items():
        np.testing.assert_array_equal(tensors[name], value)
    header, architecture, data = parts(path)
    assert header["__metadata__"]["fastmlp"] == "1"
    assert architecture["input_shape"] == [3]
    assert len(data) == 4 * model.num_parameters
    assert (len(path.read_bytes()) - len(data)) % 8 == 0


def test_function_as_initializer_is_left_out(path):
    layer = fm.Dense(2, init=lambda shape, *_: np.ones(shape))
    fm.Sequential([layer], input_shape=3).save(path)
    weight = fm.load_model(path).parameters["dense_0.weight"]
    np.testing.assert_array_equal(weight, np.ones((3, 2)))


def test_loaded_weights_are_writable_and_aligned(saved, toy):
    model = fm.load_model(saved[1])
    for parameter in model._parameters.values():
        assert parameter.value.flags.writeable
        assert parameter.value.flags.aligned
        assert parameter.value.flags.c_contiguous


def test_class_of_the_users_own_cannot_be_saved(path):
    class Mine(fm.Layer):
        pass

    class Dense(fm.Dense):
        pass

    for layer in (Mine(), Dense(2)):
        with pytest.raises(ValueError, match=r"layers\[0\] is of a class of your own"):
            fm.Sequential([layer], input_shape=3).save(path)
    model = fm.MLP(3, [], 2)
    model.optimizer = type("Mine", (fm.SGD,), {})()
    with pytest.raises(ValueError, match="user-defined optimizer, which model files cannot store"):
        model.save(path)
    model.optimizer, model.loss = fm.SGD(), type("Mine", (type(model.loss),), {})()
    with pytest.raises(ValueError, match="of a class of your own and cannot be saved"):
        model.save(path)
    assert not path.exists()


def test_weights_that_are_not_finite_are_not_saved(saved):
    model, path = saved
    before = path.read_bytes()
    model._parameters["dense_0.bias"].value[1] = np.nan
    with pytest.raises(ValueError, match=r"dense_0\.bias has NaN or infinity in it"):
        model.save(path)
    assert path.read_bytes() == before


# --- Damage ---------------------------------------------------------------------------------------


def refused(path, message=""):
    """Expect a FastmlpFormatError that names the file."""
    return pytest.raises(fm.FastmlpFormatError, match=rf"(?s)^{path} is not a readable.*{message}")


def test_every_flipped_bit_is_found(saved):
    content = saved[1].read_bytes()
    bits = range(8 * len(content))
    for bit in bits:
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        saved[1].write_bytes(damaged)
        with pytest.raises(fm.FastmlpFormatError):
            fm.load_model(saved[1])


def test_every_truncation_and_any_tail_is_found(saved):
    content = saved[1].read_bytes()
    for size in range(len(content)):
        saved[1].write_bytes(content[:size])
        with pytest.raises(fm.FastmlpFormatError):
            fm.load_model(saved[1])
    saved[1].write_bytes(content + b"\0")
    with refused(saved[1], "the tensors need 104 bytes, the file has 105"):
        fm.load_model(saved[1])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cut short"),
        (b"\x08\0\0\0", "cut short"),
        (b"\xff" * 8 + b"{}", "cut short"),
        (b"\x02" + b"\0" * 7 + b"[]", "it is not a safetensors file"),
        (b"\x02" + b"\0" * 7 + b"{}", "the metadata is not a JSON object"),
        (b"\x04" + b"\0" * 7 + b"{\xff\xff}", "utf-8"),
    ],
)
def test_not_a_model_at_all(path, content, message):
    path.write_bytes(content)
    with refused(path, message):
        fm.load_model(path)


def test_header_that_is_too_long_is_not_read(path):
    with open(path, "wb") as file:
        file.write((2**20 + 1).to_bytes(8, "little"))
        file.truncate(2**21)
    with refused(path, "a header of 1048577 bytes is too long, the limit is 1048576"):
        fm.load_model(path)


HEADER = b'{"__metadata__":{"fastmlp":"1","sha256":"x","architecture":"{}"}'


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (HEADER + b"," + HEADER[1:] + b"}", "a key stands twice"),
        (HEADER + b',"a":NaN}', "NaN is not JSON"),
        (HEADER + b',"a":' + b"[" * 100_000 + b"}", ""),
        (HEADER + b',"a":' + b"1" * 5000 + b"}", ""),
        (HEADER + b',"a":[]}', "the entry of tensor 'a' is not one"),
        (HEADER.replace(b'"1"', b'"2"') + b"}", "it is not a model of format 1, got '2'"),
        (HEADER.replace(b'"1"', b"1") + b"}", "it is not a model of format 1, got 1"),
        (HEADER.replace(b'"sha256":"x",', b"") + b"}", "'sha256' is missing"),
        (HEADER.replace(b'"x"', b"3") + b"}", "the checksum is missing"),
        (HEADER.replace(b'"{}"', b"3") + b"}", "the architecture is not text"),
        (HEADER.replace(b'"{}"', b'"[]"') + b"}", "the architecture is not a JSON object"),
        (HEADER + b"}", "'layers' is missing"),
    ],
)
def test_hostile_header(path, header, message):
    write(path, header)
    with refused(path, message):
        fm.load_model(path)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"dtype": "F16"}, "has dtype 'F16'"),
        ({"dtype": ["F32"]}, "has dtype"),
        ({"shape": [True, 4]}, "the shape of 'dense_0.weight' is not a list of integers"),
        ({"shape": [3.0, 4]}, "is not a list of integers"),
        ({"shape": [-3, -4]}, "is not a list of integers"),
        ({"shape": "34"}, "is not a list of integers"),
        ({"shape": [1] * 9}, "has 9 dimensions"),
        ({"shape": [2**62, 2**62]}, "a place that does not fit its shape"),
        ({"data_offsets": [0, 4]}, "a place that does not fit its shape"),
        ({"data_offsets": [0, 48, 48]}, "3 offsets"),
        ({"data_offsets": [8, 56]}, "overlap or leave gaps"),
        ({"more": 1}, "is not one"),
    ],
)
def test_hostile_tensor(saved, entry, message):
    header, _, data = parts(saved[1])
    header["dense_0.weight"] |= entry
    write(saved[1], sign(header, data), data)
    with refused(saved[1], message):
        fm.load_model(saved[1])


def test_too_many_tensors_and_too_long_names(path):
    metadata = json.loads(HEADER + b"}")
    empty = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    write(path, metadata | {str(i): empty for i in range(4097)})
    with refused(path, "4097 tensors are too many, the limit is 4096"):
        fm.load_model(path)
    for name in ("x" * 513, "a\0b"):
        write(path, metadata | {name: empty})
        with refused(path, "a name that is too long or has NUL"):
            fm.load_model(path)


def forge(path, change):
    """Rewrite a file with a changed architecture and a right checksum."""
    header, architecture, data = parts(path)
    change(architecture)
    header["__metadata__"]["architecture"] = json.dumps(architecture)
    write(path, sign(header, data), data)


@pytest.mark.alone
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a["layers"][0].update(units=2**40), "the tensors do not fit the architecture"),
        (lambda a: a["layers"][0].update(units=5), "the tensors do not fit the architecture"),
        (lambda a: a.update(input_shape=[2**40]), "the tensors do not fit the architecture"),
        (lambda a: a.update(input_shape=[4]), "the tensors do not fit .*: dense_0.weight"),
        (lambda a: a["layers"].pop(), "the tensors do not fit .*: dense_1.bias, dense_1.weight"),
        (lambda a: a.update(dtype="float64"), "the tensors are F32, the model is float64"),
        (lambda a: a.update(dtype="int8"), "dtype must be"),
        (lambda a: a.update(seed=-1), "seed must be at least 0"),
        (lambda a: a.update(seed="x"), "seed must be an integer"),
        (lambda a: a.update(input_shape=3), "not iterable"),
        (lambda a: a["layers"][0].update(layer="os.system"), "layer must be one of Dense, "),
        (lambda a: a["layers"][0].update(activation="os"), "activation must be one of"),
        (lambda a: a["layers"][0].update(init={"name": "x"}), "initializer must be one of"),
        (lambda a: a["layers"][0].update(init=3), "initializer must be"),
        (lambda a: a["layers"][0].update(command="ls"), "unexpected keyword argument"),
        (lambda a: a["layers"].append(3), ""),
        (lambda a: a.update(layers=3), "not iterable"),
        (lambda a: a.update(layers=[]), "at least one layer"),
        (lambda a: a.update(optimizer={"name": "sgd", "learning_rate": -1}), "learning_rate must"),
        (lambda a: a.update(optimizer=3), "optimizer must be one of"),
        (lambda a: a.update(loss="x"), "loss must be one of"),
        (lambda a: a.update(metrics=["x"]), "a metric must be one of"),
        (lambda a: a.update(epochs_begun=-1), "epochs_begun must be at least 0"),
        (lambda a: a.pop("loss"), "'loss' is missing"),
    ],
)
def test_forged_architecture(saved, change, message):
    forge(saved[1], change)
    start = time.perf_counter()
    with refused(saved[1], message):
        fm.load_model(saved[1])
    assert time.perf_counter() - start < 0.5


def test_forged_values(saved):
    header, _, data = parts(saved[1])
    data = np.float32("nan").tobytes() + data[4:]
    write(saved[1], sign(header, data), data)
    with refused(saved[1], "has NaN or infinity in it"):
        fm.load_model(saved[1])


def test_a_huge_honest_looking_file_costs_nothing(path):
    # 256 GiB of holes that the header accounts for, in a file whose architecture knows no tensors.
    header = json.loads(HEADER + b"}")
    header["a"] = {"dtype": "F32", "shape": [2**36], "data_offsets": [0, 2**38]}
    write(path, header)
    with open(path, "r+b") as file:
        file.truncate(8 + len(compact(header)) + 2**38)
    with refused(path):
        fm.load_model(path)


@pytest.mark.parametrize("name", ["missing.safetensors", "nowhere/missing.safetensors"])
def test_missing_file(tmp_path, name):
    with pytest.raises(FileNotFoundError, match="missing"):
        fm.load_model(tmp_path / name)
    with pytest.raises(IsADirectoryError):
        fm.load_model(tmp_path)


# --- Saves that fail ------------------------------------------------------------------------------


def test_save_to_a_directory_that_is_not_there_names_the_path(tmp_path):
    target = tmp_path / "nowhere" / "m.safetensors"
    with pytest.raises(FileNotFoundError) as caught:
        fm.MLP(2, [], 2).save(target)
    assert caught.value.filename == str(target)
    with pytest.raises(IsADirectoryError, match="is a folder; give the name of a file in it"):
        fm.MLP(2, [], 2).save(tmp_path)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("function", ["open", "write", "fsync", "close", "replace", "fchmod"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_every_call_of_a_save_may_fail(function, error, saved, monkeypatch):
    model, path = saved
    old = path.read_bytes()
    model.train_on_batch(np.eye(3), [0, 1, 1])
    right = getattr(os, function)
    for failing in range(1, 20):
        calls = 0

        def maybe(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls == failing:  # noqa: B023
                if function == "close":
                    right(*args)
                raise error
            return right(*args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(atomic.os, function, maybe)
            try:
                model.save(path)
                finished = True
            except type(error):
                finished = False
        assert os.listdir(path.parent) == [path.name]
        if finished:
            break
        replaced = path.read_bytes() != old
        # Only what comes after the new name may fail with the new file in place.
        assert not replaced or (function in ("open", "fsync", "close") and failing == 2)
        path.write_bytes(old)
    else:
        pytest.fail("the save never finished")
    np.testing.assert_array_equal(fm.load_model(path).predict(np.eye(3)), model.predict(np.eye(3)))


def test_short_writes_are_continued(path, monkeypatch):
    right = os.write
    monkeypatch.setattr(atomic.os, "write", lambda fd, data: right(fd, data[:7]))
    write_atomically(path, bytes(range(256)))
    assert path.read_bytes() == bytes(range(256))


def test_the_order_of_a_save_is_durable(path, monkeypatch):
    """Data reach the disk before the name, and the name before the save returns."""
    calls = []
    for name in ("open", "write", "fsync", "replace"):
        right = getattr(os, name)

        def record(*args, _name=name, _right=right, **kwargs):
            calls.append(_name)
            return _right(*args, **kwargs)

        monkeypatch.setattr(atomic.os, name, record)
    write_atomically(path, b"data")
    assert calls == ["open", "write", "fsync", "replace", "open", "fsync"]


def test_failure_of_the_last_step_says_so(path, monkeypatch):
    right, calls = os.fsync, []

    def fail_second(descriptor):
        calls.append(descriptor)
        if len(calls) == 2:
            raise OSError(5, "Input/output error")
        right(descriptor)

    monkeypatch.setattr(atomic.os, "fsync", fail_second)
    with pytest.raises(OSError, match="the file is written but may not outlast a loss of power"):
        write_atomically(path, b"data")
    assert path.read_bytes() == b"data"


def stale(target, process):
    """Return the name of what a process leaves that is killed as it writes a file."""
    return target.with_name(f".{target.name}.{process}-0123456789abcdef.tmp")


@pytest.fixture
def dead():
    """Return the number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.skipif(os.name == "nt", reason="there nobody knows whether a process lives")
def test_a_save_removes_what_killed_saves_of_the_same_file_left(path, dead):
    model, link = fm.MLP(3, [], 2), path.with_name("link")
    link.symlink_to(path)
    other, longer = path.with_name("other"), path.with_name(path.name + ".more")
    kept = [
        stale(path, os.getpid()),
        stale(path, 1),
        *(stale(each, dead) for each in (other, longer)),
    ]
    kept += [path.with_name(f".{path.name}.{dead}.tmp"), path.with_name(f".{path.name}.tmp")]
    for save in (model.save, lambda name: write_atomically(name, b"data")):
        for name in (path, link):
            for each in (stale(path, dead), *kept):
                each.write_bytes(b"half a file")
            save(name)
            assert sorted(path.parent.iterdir()) == sorted([path, link, *kept])


# A process that waits between the last byte and the new name until its input ends.
SLOW_SAVE = """if True:
    import sys
    from fastmlp.io import atomic
    right = atomic.os.replace
    def wait(*names):
        print("written", flush=True)
        sys.stdin.read()
        right(*names)
    atomic.os.replace = wait
    atomic.write_atomically(sys.argv[1], b"theirs")
"""


def test_what_a_living_process_writes_is_left_alone(path):
    command = [sys.executable, "-c", SLOW_SAVE, str(path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        assert process.stdout.readline() == "written\n"
        write_atomically(path, b"ours")
        assert path.read_bytes() == b"ours"
        process.communicate()
    assert process.returncode == 0
    assert path.read_bytes() == b"theirs"
    assert os.listdir(path.parent) == [path.name]


def test_a_folder_that_cannot_be_listed_is_no_failure(path, monkeypatch):
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(atomic.os, "listdir", refuse)
    write_atomically(path, b"data")
    assert path.read_bytes() == b"data"


def test_a_symbolic_link_stays_one(tmp_path):
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_bytes(b"old")
    link.symlink_to(real)
    write_atomically(link, b"new")
    assert link.is_symlink()
    assert real.read_bytes() == b"new"


@pytest.mark.skipif(os.name == "nt", reason="has no such modes")
@pytest.mark.parametrize(
    ("before", "after"), [(None, 0o640), (0o600, 0o600), (0o666, 0o666), (0o444, 0o644)]
)
def test_a_new_file_follows_the_umask_and_an_old_one_keeps_its_mode(before, after, path):
    if before is not None:
        path.write_bytes(b"old")
        path.chmod(before)
    umask = os.umask(0o027)
    try:
        write_atomically(path, b"new")
    finally:
        os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == after


@pytest.mark.skipif(os.name == "nt", reason="has no such modes")
def test_modes_that_cannot_be_set_are_no_failure(path, monkeypatch):
    path.write_bytes(b"old")

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(atomic.os, "fchmod", refuse)
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"


@pytest.mark.skipif(os.name == "nt", reason="has no such pipes")
def test_pipes_and_folders_are_not_replaced(tmp_path):
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    for path in (pipe, link):
        with pytest.raises(OSError, match="is a device or a pipe; give the name of") as caught:
            write_atomically(path, b"new")
        assert caught.value.filename == str(path)
    with pytest.raises(IsADirectoryError, match="is a folder"):
        write_atomically(tmp_path, b"new")
    assert stat.S_ISFIFO(pipe.stat().st_mode) and link.is_symlink()
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(OSError, match="nothing was written") as caught:
        write_atomically(loop, b"new")
    assert loop.is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["link", "loop", "pipe"]


def test_what_cannot_be_written_is_known_before(path):
    check_writable(path)
    assert os.listdir(path.parent) == []
    path.write_bytes(b"old")
    check_writable(path)
    assert (os.listdir(path.parent), path.read_bytes()) == ([path.name], b"old")
    with pytest.raises(OSError, match=r"File name too long; nothing .*: give it a shorter name"):
        check_writable(path.with_name("m" * 300))
    with pytest.raises(FileNotFoundError, match="its folder does not exist, or takes no files"):
        check_writable(path.parent / "nowhere" / "m")
    with pytest.raises(IsADirectoryError):
        check_writable(path.parent)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_no_permission(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError):
        fm.MLP(2, [], 2).save(tmp_path / "m")
