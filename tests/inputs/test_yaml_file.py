"""YAML files: plain data, YAML 1.2 scalars, and one clear error for anything else."""

import pytest

from simulator.inputs.errors import InputError
from simulator.inputs.yaml_file import load_yaml, parse_yaml


def test_scalars_follow_yaml_1_2():
    text = "a: 1e9\nb: on\nc: 010\nd: true\ne: null\nf: 1.5\ng: 2023-11-16\nh: 1_000\ni: 12:30\nj: ~\n"
    assert parse_yaml(text, "x") == {"a": 1e9, "b": "on", "c": 10, "d": True, "e": None, "f": 1.5, "g": "2023-11-16",
                                     "h": "1_000", "i": "12:30", "j": None}


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "\n".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]" for i in range(8))


@pytest.mark.parametrize(("text", "says"), [
    ("a: 1\na: 2", "given twice"), ("a: !!python/object/apply:os.system [ls]", "not allowed"), ("a: !mine 1", "not allowed"),
    ("a: [1, 2", "not valid YAML"), ("", "is empty"), ("a: " + "[" * 500 + "]" * 500, "nested deeper"), (BOMB, "too many values"),
    ("? [1, 2]\n: 3", "plain words"), ("a: *nowhere", "not valid YAML"), ("a: 1\n--- \nb: 2", "not valid YAML"), ("\x00", "not valid YAML"),
    ("a: &x [*x]", "nested|not valid|too many"), ("a: !!binary aGVsbG8=", "not allowed"), ("a: " + "9" * 6000, "line 1"),
])
def test_what_is_not_plain_data_is_refused(text, says):
    with pytest.raises(InputError, match=says) as error:
        parse_yaml(text, "file.yaml")
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("file.yaml")


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(InputError, match=r"missing\.yaml: no such file"):
        load_yaml(tmp_path / "missing.yaml")
    with pytest.raises(InputError, match="is a folder"):
        load_yaml(tmp_path)
    binary = tmp_path / "junk.yaml"
    binary.write_bytes(bytes(range(256)))
    with pytest.raises(InputError, match="not a text file"):
        load_yaml(binary)
