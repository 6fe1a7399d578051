"""Model files: round trips, and damage of every kind."""

from __future__ import annotations

import json
import pathlib
import time

import numpy as np
import pytest
from safetensors.numpy import load_file

import fastmlp as fm
from fastmlp.io import model_file


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


def test_user_defined_classes_cannot_be_saved(path):
    class Mine(fm.Layer):
        pass

    class Dense(fm.Dense):
        pass

    for layer in (Mine(), Dense(2)):
        with pytest.raises(ValueError, match=r"layers\[0\] is a user-defined layer \("):
            fm.Sequential([layer], input_shape=3).save(path)
    model = fm.MLP(3, [], 2)
    model.optimizer = type("Mine", (fm.SGD,), {})()
    with pytest.raises(ValueError, match="user-defined optimizer, which model files cannot store"):
        model.save(path)
    model.optimizer, model.loss = fm.SGD(), type("Mine", (type(model.loss),), {})()
    with pytest.raises(ValueError, match="user-defined loss, which model files cannot store"):
        model.save(path)
    assert not path.exists()


def test_weights_that_are_not_finite_are_not_saved(saved):
    model, path = saved
    before = path.read_bytes()
    model._parameters["dense_0.bias"].value[1] = np.nan
    with pytest.raises(ValueError, match=r"dense_0\.bias contains NaN or infinity"):
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
    with refused(saved[1], "the tensors take 104 bytes, but the file has 105"):
        fm.load_model(saved[1])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "truncated"),
        (b"\x08\0\0\0", "truncated"),
        (b"\xff" * 8 + b"{}", "truncated"),
        (b"\x02" + b"\0" * 7 + b"[]", "the file is not a safetensors file"),
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
    with refused(path, "the header has 1048577 bytes, the limit is 1048576"):
        fm.load_model(path)


HEADER = b'{"__metadata__":{"fastmlp":"1","sha256":"x","architecture":"{}"}'


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (HEADER + b"," + HEADER[1:] + b"}", "a duplicate key"),
        (HEADER + b',"a":NaN}', "NaN is not valid JSON"),
        (HEADER + b',"a":' + b"[" * 100_000 + b"}", ""),
        (HEADER + b',"a":' + b"1" * 5000 + b"}", ""),
        (HEADER + b',"a":[]}', "tensor 'a' must have the keys dtype"),
        (HEADER.replace(b'"1"', b'"2"') + b"}", "the format version must be '1', got '2'"),
        (HEADER.replace(b'"1"', b"1") + b"}", "the format version must be '1', got 1"),
        (HEADER.replace(b'"sha256":"x",', b"") + b"}", "'sha256' is missing"),
        (HEADER.replace(b'"x"', b"3") + b"}", "the checksum is missing"),
        (HEADER.replace(b'"{}"', b"3") + b"}", "an entry of the metadata is not text"),
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
        ({"dtype": "F16"}, "must be F32 or F64, got 'F16'"),
        ({"dtype": ["F32"]}, "must be F32 or F64, got"),
        (
            {"shape": [True, 4]},
            "the shape of 'dense_0.weight' must be a list of non-negative integers",
        ),
        ({"shape": [3.0, 4]}, "must be a list of non-negative integers"),
        ({"shape": [-3, -4]}, "must be a list of non-negative integers"),
        ({"shape": "34"}, "must be a list of non-negative integers"),
        ({"shape": [1] * 9}, "got 9 and 2"),
        ({"shape": [2**62, 2**62]}, "the offsets of tensor .* do not match its shape"),
        ({"data_offsets": [0, 4]}, "the offsets of tensor .* do not match its shape"),
        ({"data_offsets": [0, 48, 48]}, "and 2 offsets, got 2 and 3"),
        ({"data_offsets": [8, 56]}, "overlap or leave gaps"),
        ({"more": 1}, "must have the keys"),
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
    with refused(path, "has 4097 tensors, the limit is 4096"):
        fm.load_model(path)
    for name in ("x" * 513, "a\0b"):
        write(path, metadata | {name: empty})
        with refused(path, "the name of a tensor is too long or contains NUL"):
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
        (lambda a: a["layers"][0].update(units=2**40), "the tensors do not match the architecture"),
        (lambda a: a["layers"][0].update(units=5), "the tensors do not match the architecture"),
        (lambda a: a.update(input_shape=[2**40]), "the tensors do not match the architecture"),
        (lambda a: a.update(input_shape=[4]), "the tensors do not match .*: dense_0.weight"),
        (lambda a: a["layers"].pop(), "the tensors do not match .*: dense_1.bias, dense_1.weight"),
        (lambda a: a.update(dtype="float64"), "the tensors are F32, but the model is float64"),
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
    with refused(saved[1], "contains NaN or infinity"):
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
